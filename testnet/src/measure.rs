//! What a run is measured by: how long blocks and transactions take to everybody, and how much it costs.
//!
//! The same for virtual and real peers: whoever runs them says what happened, in the order of its time, and peers are numbers.

mod histogram;

pub use histogram::{Histogram, Quantiles};

use std::{collections::BTreeMap, ops::Range};

use weft_core::primitives::Hash;

/// Microseconds since the beginning of a run.
pub type Micros = u64;

/// A set of peers.
#[derive(Default)]
struct Peers {
    bits: Vec<u64>,
    count: u64,
}

impl Peers {
    /// Whether it was not there.
    fn add(&mut self, ix: usize) -> bool {
        let (word, bit) = (ix / 64, 1 << (ix % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let fresh = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        self.count += u64::from(fresh);
        fresh
    }
}

/// Something that is on its way to everybody.
struct Spreading {
    since: Micros,
    last: Micros,
    /// Who was up when it began, its author among them.
    expected: u64,
    reached: Peers,
}

impl Spreading {
    fn new(now: Micros, author: usize, expected: u64) -> Self {
        let mut reached = Peers::default();
        reached.add(author);
        Self { since: now, last: now, expected, reached }
    }

    /// How long it took to this peer, the first time.
    fn reach(&mut self, now: Micros, ix: usize) -> Option<Micros> {
        if !self.reached.add(ix) {
            return None;
        }
        self.last = now;
        Some(now.saturating_sub(self.since))
    }
}

/// Measurements, of what begins within a span of time.
#[derive(Default)]
pub struct Measure {
    span: Range<Micros>,
    blocks: BTreeMap<Hash, Spreading>,
    transactions: BTreeMap<Hash, Spreading>,
    /// From publishing a block to the first copy of it, each peer's.
    pub first_copy: Histogram,
    /// From publishing a block to its execution, each peer's.
    pub block: Histogram,
    /// From submission to arrival at a peer by the protocol of transactions, each peer's.
    pub transaction: Histogram,
    /// Transactions that a peer first had with a block.
    pub with_block: u64,
    /// From publishing a block to the time when a peer calls it final.
    pub finality: Histogram,
    /// Transactions in pools, looked at from time to time.
    pub pool: Histogram,
}

/// How far things spread.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// How many things.
    pub count: u64,
    /// Deliveries that came about, of those that could.
    pub delivered: f64,
    /// From the beginning to the last peer that got it.
    pub everyone: Histogram,
}

impl Measure {
    /// Of what begins within `span`.
    pub(crate) fn new(span: Range<Micros>) -> Self {
        Self { span, ..Self::default() }
    }

    fn spread(things: &BTreeMap<Hash, Spreading>) -> Spread {
        let mut everyone = Histogram::default();
        let (mut reached, mut expected) = (0, 0);
        for thing in things.values() {
            everyone.add(thing.last.saturating_sub(thing.since));
            // Who joined since may have it too.
            reached += thing.reached.count.min(thing.expected);
            expected += thing.expected;
        }
        let delivered = if expected == 0 { 1.0 } else { reached as f64 / expected as f64 };
        Spread { count: things.len() as u64, delivered, everyone }
    }

    /// How far blocks spread.
    #[must_use]
    pub fn blocks(&self) -> Spread {
        Self::spread(&self.blocks)
    }

    /// How far transactions spread, by their protocol or with a block.
    #[must_use]
    pub fn transactions(&self) -> Spread {
        Self::spread(&self.transactions)
    }

    /// Whether what begins now is measured.
    pub(crate) fn spans(&self, now: Micros) -> bool {
        self.span.contains(&now)
    }

    /// A peer publishes a block while `up` peers run.
    pub(crate) fn block_published(&mut self, now: Micros, ix: usize, hash: Hash, up: u64) {
        if self.spans(now) {
            self.blocks.entry(hash).or_insert_with(|| Spreading::new(now, ix, up));
        }
    }

    /// A peer has executed a block.
    pub(crate) fn block_executed(&mut self, now: Micros, ix: usize, hash: &Hash) {
        if let Some(took) = self.blocks.get_mut(hash).and_then(|block| block.reach(now, ix)) {
            self.block.add(took);
        }
    }

    /// A peer calls a block final.
    pub(crate) fn block_final(&mut self, now: Micros, hash: &Hash) {
        if let Some(block) = self.blocks.get(hash) {
            self.finality.add(now.saturating_sub(block.since));
        }
    }

    /// A transaction is submitted at a peer while `up` peers run.
    pub(crate) fn transaction_submitted(&mut self, now: Micros, ix: usize, id: Hash, up: u64) {
        if self.spans(now) {
            self.transactions.insert(id, Spreading::new(now, ix, up));
        }
    }

    /// A peer has a transaction, from a block or before it.
    pub(crate) fn transaction_came(&mut self, now: Micros, ix: usize, id: &Hash, in_block: bool) {
        let Some(took) = self.transactions.get_mut(id).and_then(|known| known.reach(now, ix)) else { return };
        if in_block {
            self.with_block += 1;
        } else {
            self.transaction.add(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_within_the_span_is_measured_until_it_is_everywhere() {
        let mut measure = Measure::new(1_000..2_000);
        let (early, block, late) = (Hash([1; 32]), Hash([2; 32]), Hash([3; 32]));
        measure.block_published(999, 0, early, 3);
        measure.block_published(1_000, 0, block, 3);
        measure.block_published(2_000, 0, late, 3);
        for (now, ix) in [(1_000, 0), (4_000, 1), (9_000, 1)] {
            measure.block_executed(now, ix, &block);
            measure.block_executed(now, ix, &late);
        }
        measure.block_final(8_000, &block);
        let spread = measure.blocks();
        // The author has it at once, and that is no delivery; the third never gets it.
        assert_eq!((spread.count, spread.delivered), (1, 2.0 / 3.0));
        assert_eq!((measure.block.count(), measure.block.quantile(1.0)), (1, 3_000));
        assert_eq!((spread.everyone.quantile(1.0), measure.finality.quantile(1.0)), (3_000, 7_000));
    }

    #[test]
    fn a_transaction_that_came_with_a_block_is_delivered_and_not_among_the_times() {
        let mut measure = Measure::new(0..10);
        let id = Hash([4; 32]);
        measure.transaction_submitted(5, 1, id, 3);
        measure.transaction_came(9, 0, &id, true);
        measure.transaction_came(12, 2, &id, false);
        measure.transaction_came(20, 0, &id, false);
        assert_eq!((measure.with_block, measure.transaction.count()), (1, 1));
        assert_eq!((measure.transaction.quantile(1.0), measure.transactions().delivered), (7, 1.0));
    }
}
