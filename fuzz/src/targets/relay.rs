//! A transaction relay that hears, and is answered, whatever the bytes say.
//!
//! The input's first byte chooses the mode. Then come steps.

use std::collections::{BTreeMap, VecDeque};

use weft_core::{
    chain::Transaction,
    gossip::{Intake, MAX_IN_CHECK, OpenedBy, OutgoingId, Pool, TransactionRelay, TxMode, TxResponse},
    primitives::{Hash, Mono},
};

use super::gossip::{peer, transactions_seeds};
use crate::{
    sample::sample,
    steps::{step, steps},
};

const MODES: [TxMode; 3] = [TxMode::Push, TxMode::Pull, TxMode::PushPull];
const INTAKES: [Intake; 3] = [Intake::Nothing, Intake::Later, Intake::All];

// The kinds of steps; a bit above them chooses the peer that it is about.
const REQUEST: u8 = 0;
const RESPONSE: u8 = 1;
const FAILURE: u8 = 2;
const UNSUPPORTED: u8 = 3;
const WAIT: u8 = 4;
const ACCEPT: u8 = 5;
const REFUSE: u8 = 6;
const DROP: u8 = 7;
const FORWARD: u8 = 8;
const RECONNECT: u8 = 9;
const INTAKE: u8 = 10;
const FEE: u8 = 11;
const KINDS: u8 = 12;
const SECOND_PEER: u8 = 0x80;
/// The most steps of one input, so that a long one of nothing but empty steps ends soon.
const MAX_STEPS: usize = 1_000;
/// More than there can be to say at once.
const MOST_SAID: usize = 10_000;

/// A pool that takes what the steps say.
#[derive(Default)]
struct Held(BTreeMap<Hash, Transaction>);

impl Pool for Held {
    fn get(&self, id: &Hash) -> Option<&Transaction> {
        self.0.get(id)
    }

    fn best(&self) -> impl Iterator<Item = (Hash, &Transaction)> {
        self.0.iter().map(|(id, transaction)| (*id, transaction))
    }
}

struct Bench {
    relay: TransactionRelay,
    pool: Held,
    now: Mono,
    asked: VecDeque<OutgoingId>,
    in_check: VecDeque<Transaction>,
}

impl Bench {
    fn new(mode: TxMode) -> Self {
        let relay = TransactionRelay::new(mode, Intake::All, 1000, [1, 2]);
        let mut bench = Self {
            relay,
            pool: Held::default(),
            now: Mono(1),
            asked: VecDeque::new(),
            in_check: VecDeque::new(),
        };
        for number in [1, 2] {
            let opened = if number == 1 { OpenedBy::Us } else { OpenedBy::Them };
            bench.relay.peer_connected(peer(number), opened, bench.now);
        }
        bench.drain();
        bench
    }

    /// What the relay says ends, and what it says is due is said.
    fn drain(&mut self) {
        for said in 0.. {
            assert!(said < MOST_SAID, "it says no end");
            let Some(outgoing) = self.relay.poll(&self.pool, self.now) else { break };
            self.asked.push_back(outgoing.id);
        }
        assert!(self.relay.poll_timeout().is_none_or(|due| due > self.now), "it is due, and says nothing");
        assert!(self.in_check.len() <= MAX_IN_CHECK);
    }

    fn step(&mut self, kind: u8, data: &[u8]) {
        let whom = peer(if kind & SECOND_PEER == 0 { 1 } else { 2 });
        let first = data.first().copied().unwrap_or_default();
        match kind & !SECOND_PEER {
            REQUEST => {
                if let Ok(answer) = self.relay.request(&whom, data, &self.pool, self.now) {
                    assert!(
                        TxResponse::from_bytes(&answer.response).is_ok(),
                        "it answers what nobody can read"
                    );
                    self.in_check.extend(answer.check);
                }
            }
            RESPONSE => {
                if let Some(id) = self.asked.pop_front() {
                    let answered = self.relay.answered(id, data, &self.pool, self.now);
                    self.in_check.extend(answered.check);
                }
            }
            FAILURE => {
                if let Some(id) = self.asked.pop_front() {
                    self.relay.failed(id, self.now);
                }
            }
            UNSUPPORTED => {
                if let Some(id) = self.asked.pop_front() {
                    self.relay.unsupported(id, self.now);
                }
            }
            WAIT => {
                let millis = data.first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
                self.now = self.now + u64::from(millis);
            }
            ACCEPT => {
                if let Some(transaction) = self.in_check.pop_front() {
                    self.relay.accepted(&transaction.id());
                    self.relay.forward(&transaction, self.now);
                    let before = self.pool.0.insert(transaction.id(), transaction);
                    assert!(before.is_none(), "what is here was checked again");
                }
            }
            REFUSE => {
                if let Some(transaction) = self.in_check.pop_front() {
                    assert!(!self.relay.refused(&transaction.id(), self.now).is_empty(), "nobody sent it");
                }
            }
            DROP => {
                if let Some(transaction) = self.in_check.pop_front() {
                    self.relay.dropped(&transaction.id(), self.now);
                }
            }
            FORWARD => {
                let all = sample().chain.blocks.iter().flat_map(|block| &block.body.transactions);
                if let Some(transaction) = all.cycle().nth(first.into()) {
                    self.relay.accepted(&transaction.id());
                    self.in_check.retain(|other| other != transaction);
                    self.pool.0.insert(transaction.id(), transaction.clone());
                    self.relay.forward(transaction, self.now);
                }
            }
            RECONNECT => {
                self.relay.peer_disconnected(&whom, self.now);
                self.relay.peer_connected(whom, OpenedBy::Them, self.now);
            }
            INTAKE => self.relay.set_intake(INTAKES[usize::from(first) % INTAKES.len()], self.now),
            FEE => self.relay.set_min_fee_rate(u64::from(first) * 1000),
            _ => {}
        }
        self.drain();
    }
}

/// See the [module](self).
pub fn relay(data: &[u8]) -> bool {
    let Some((mode, data)) = data.split_first() else { return false };
    let mut bench = Bench::new(MODES[usize::from(*mode) % MODES.len()]);
    for (kind, bytes) in steps(data).take(MAX_STEPS) {
        bench.step(((kind & !SECOND_PEER) % KINDS) | (kind & SECOND_PEER), bytes);
    }
    true
}

/// In each mode: both peers greet, everything is asked and answered, some of it is kept, and time goes by.
pub fn relay_seeds() -> Vec<Vec<u8>> {
    let messages = transactions_seeds();
    let done = TxResponse::Done.to_bytes();
    let seed = |mode: u8| {
        let mut seed = vec![mode];
        let mut add = |kind, data: &[u8]| seed.extend(step(kind, data));
        for bit in [0, SECOND_PEER] {
            add(REQUEST | bit, &messages[0]);
            add(RESPONSE, &done);
        }
        add(FORWARD, &[3]);
        for (index, message) in messages.iter().enumerate().skip(1) {
            let bit = if index % 2 == 0 { SECOND_PEER } else { 0 };
            add(if index < 6 { REQUEST | bit } else { RESPONSE }, message);
            add([ACCEPT, REFUSE, DROP, FAILURE][index % 4], &[]);
            add(WAIT, &1_200_u16.to_le_bytes());
        }
        add(INTAKE, &[0]);
        add(FEE, &[9]);
        add(WAIT, &60_000_u16.to_le_bytes());
        add(INTAKE, &[2]);
        add(RECONNECT, &[]);
        add(WAIT, &60_000_u16.to_le_bytes());
        seed
    };
    (0..3).map(seed).collect()
}
