//! A validator that is killed a hundred times, at moments drawn from a seed, keeps every promise it made: what it took
//! it keeps, and it never signs two blocks for one slot.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use weft_core::primitives::{Address, Hash};
use weft_testnet::{
    fixture::{address, key},
    live::{Chain, LiveError, NodeOptions, PATIENCE, Process, wait_for},
};

const KILLS: usize = 100;
const SEED: u64 = 7;
/// A kill comes at most so long after the start, or after the peer was ready.
const LATEST_MILLIS: u64 = 500;

/// Every block that was seen by slot and proposer.
#[derive(Default)]
struct Seen(BTreeMap<(u64, String), BTreeSet<Hash>>);

impl Seen {
    fn look(&mut self, peer: &Process) -> Result<(), LiveError> {
        for block in peer.blocks(64)?.into_iter().filter(|block| block.height.0 > 0) {
            self.0.entry((block.slot.0, block.proposer.to_string())).or_default().insert(block.hash);
        }
        Ok(())
    }
}

/// Pays one unit at a time through `peer` for a while, counting what it promised to keep.
fn pay(chain: &Chain, peer: &Process, to: Address, promised: &mut u64, until: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < until {
        // Refused only when the account has as many waiting as it may.
        if peer.submit(&chain.payment(to, 1, *promised).unwrap()).is_ok() {
            *promised += 1;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_validator_killed_a_hundred_times_loses_nothing_and_never_signs_twice_for_a_slot() {
    let chain = Chain::new(500, 2).unwrap();
    let mut other =
        chain.node("other", &NodeOptions { validator: Some(1), ..NodeOptions::default() }).unwrap();
    let bootstrap = other.tcp_addresses();
    let watcher = NodeOptions { bootstrap: bootstrap.clone(), ..NodeOptions::default() };
    let mut watcher = chain.node("watcher", &watcher).unwrap();
    let options = NodeOptions { validator: Some(0), bootstrap, ..NodeOptions::default() };
    let payer = address(&chain.key(&chain.faucet_key()).unwrap());
    let payee = address(&key("payee", 0));

    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut seen = Seen::default();
    let mut promised = 0;
    for kill in 0..KILLS {
        let delay = Duration::from_millis(random.next_u64() % LATEST_MILLIS);
        // One kill in four comes while it starts.
        if random.next_u64() % 4 == 0 {
            let mut victim =
                Process::start("victim", chain.node_command("victim", &options), chain.dir()).unwrap();
            thread::sleep(delay);
            victim.kill();
            continue;
        }
        let mut victim = chain.node("victim", &options).unwrap();
        let kept = wait_for("it knows what it promised", PATIENCE, || {
            victim.check()?;
            match victim.account(&payer) {
                Ok(account) => Ok(Some(account.next_nonce).filter(|kept| *kept >= promised)),
                // Still reading its disk.
                Err(LiveError::Answer(_)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        // A payment may have been kept that it was killed before promising.
        promised = kept.unwrap_or_else(|error| {
            let kept = (victim.account(&payer).unwrap(), other.account(&payer).unwrap());
            panic!("after {kill} kills, {promised} payments were promised, and {kept:?} are kept: {error}")
        });
        pay(&chain, &victim, payee, &mut promised, delay);
        seen.look(&victim).unwrap();
        victim.kill();
        seen.look(&other).unwrap();
        seen.look(&watcher).unwrap();
    }

    assert!(promised > KILLS as u64 / 4, "the kills were of a validator at work: {promised} payments");
    let victim = chain.node("victim", &options).unwrap();
    for peer in [&mut other, &mut watcher] {
        wait_for("every payment is in a block", PATIENCE, || {
            peer.check()?;
            Ok((peer.account(&payee)?.balance.0 == promised).then_some(()))
        })
        .unwrap();
    }
    let own = victim.chain().unwrap().validator.unwrap();
    wait_for("it proposes again", PATIENCE, || {
        seen.look(&other)?;
        Ok(other.blocks(4)?.iter().any(|block| block.proposer == own).then_some(()))
    })
    .unwrap();
    let twice: Vec<_> = seen.0.iter().filter(|(_, blocks)| blocks.len() > 1).collect();
    assert!(twice.is_empty(), "signed twice for a slot: {twice:?}");
    let slots = seen.0.keys().filter(|(_, proposer)| *proposer == own.to_string()).count();
    assert!(slots > KILLS / 4, "blocks of the killed validator were seen: {slots}");
    for peer in [&other, &watcher] {
        let scores: Vec<i32> = peer.peers().unwrap().iter().map(|peer| peer.score).collect();
        assert!(scores.iter().all(|score| *score == 0), "nobody is blamed for dying: {scores:?}");
    }
}
