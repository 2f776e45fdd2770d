//! Floods of transactions, of each kind that is no good to anybody.

use weft_core::{
    chain::Transaction,
    gossip::TxRequest,
    primitives::{Amount, Slot},
};

use super::{
    Attack, Reading, Setting,
    arena::{Arena, PAYERS, Plan, SLOT, Without, rules},
    sybil::Conduct,
};
use crate::fixture::{TestChain, address, key};

/// How long a flood lasts, and how often each Sybil sends, in milliseconds.
const LASTS: u64 = 45 * SLOT;
const EVERY: u64 = 2_000;
/// How many transactions at once.
const AT_ONCE: u64 = 50;
/// An honest peer sends none of these.
const OFFENCE: &str = "honest peers show nobody out: their shells carry out no ban and no disconnection";
/// These could be honest, one by one.
const LIMITS: &str = "the same. What keeps these out are limits of the pool, which cannot be switched off";
const NO_OFFENCE: Option<&str> = Some("nothing of it is an offence; the pool's own limits keep it out");

/// The attacks.
pub(super) const ATTACKS: &[Attack] = &[
    spam("spam-forged", "transactions with wrong signatures", OFFENCE, None, |setting| {
        flood(setting, forged)
    }),
    spam("spam-noise", "bytes that are no message", OFFENCE, None, |setting| flood(setting, noise)),
    spam("spam-replayed", "the same good transactions again and again", LIMITS, NO_OFFENCE, |setting| {
        flood(setting, replayed)
    }),
    spam("spam-future", "transactions with nonces to come, at high fees", LIMITS, NO_OFFENCE, |setting| {
        flood(setting, future)
    }),
    spam(
        "spam-expiring",
        "transactions that hold for two slots and lack the one before",
        LIMITS,
        NO_OFFENCE,
        |setting| flood(setting, expiring),
    ),
];

const fn spam(
    name: &'static str,
    about: &'static str,
    defence: &'static str,
    idle: Option<&'static str>,
    run: fn(&Setting) -> Vec<Reading>,
) -> Attack {
    Attack { name, about, defence, idle, open: None, modelled: true, run }
}

/// Ten Sybils send what `junk` makes, each to two honest peers.
fn flood(setting: &Setting, junk: fn(&TestChain, u64) -> Vec<u8>) -> Vec<Reading> {
    let plan = Plan { sybils: 10, lenient: !setting.defended, ..Plan::new(setting, 0, Conduct::Serve) };
    let mut arena = Arena::new(setting, &plan, rules(plan.validators, Without::Nothing));
    arena.run(10 * SLOT);
    arena.flood(EVERY, junk);
    let before = arena.judged();
    arena.measure(LASTS);
    let judged = (arena.judged() - before) / arena.honest.len() as f64;
    let mut readings = arena.readings();
    readings.push(Reading::most("transactions looked at and refused by a peer, mean", judged, f64::INFINITY));
    readings
}

/// The accounts that Sybils have the keys of are the last of those that exist.
fn own(chain: &TestChain, number: u64) -> usize {
    chain.accounts.len() - 1 - (number as usize) % (chain.accounts.len() - PAYERS)
}

fn push(transactions: Vec<Transaction>) -> Vec<u8> {
    TxRequest::Push(transactions).to_bytes()
}

fn forged(chain: &TestChain, round: u64) -> Vec<u8> {
    let one = |number| {
        let mut forged = chain.transfer(own(chain, number), address(&key("hoard", number)), round);
        forged.content.amount.0 += 1;
        forged
    };
    push((0..AT_ONCE).map(one).collect())
}

fn noise(_: &TestChain, round: u64) -> Vec<u8> {
    vec![0x80 | round as u8; 1_000]
}

fn replayed(chain: &TestChain, _: u64) -> Vec<u8> {
    push(
        (0..AT_ONCE).map(|number| chain.transfer(own(chain, number), address(&key("hoard", 0)), 0)).collect(),
    )
}

fn future(chain: &TestChain, round: u64) -> Vec<u8> {
    let one = |number| {
        let nonce = 1 + (number + round) % 16;
        chain.transfer_for(own(chain, number), address(&key("hoard", 0)), nonce, 9_000 + round)
    };
    push((0..AT_ONCE).map(one).collect())
}

fn expiring(chain: &TestChain, round: u64) -> Vec<u8> {
    let one = |number| {
        let account = own(chain, number);
        let mut content = chain.unsigned(account, address(&key("hoard", 0)), 2 + number % 8);
        content.valid_until = Slot(round * EVERY / SLOT + 2);
        content.fee = Amount(5_000);
        content.sign(&chain.accounts[account], &chain.hash())
    };
    push((0..AT_ONCE).map(one).collect())
}
