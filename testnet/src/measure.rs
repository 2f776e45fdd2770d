//! What a run is measured by: how long blocks and transactions take to everybody, and how much it costs.
//!
//! The same for virtual and real peers: whoever runs them says what happened, in the order of its time, and peers are numbers.

mod histogram;

pub use histogram::{Histogram, Quantiles};

use std::{collections::BTreeMap, mem, ops::Range};

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
    author: usize,
    /// Who was up when it began, its author among them.
    expected: u64,
    reached: Peers,
}

impl Spreading {
    fn new(now: Micros, author: usize, expected: u64) -> Self {
        let mut reached = Peers::default();
        reached.add(author);
        Self { since: now, last: now, author, expected, reached }
    }

    /// How many of those who were up it is on its way to, its author not among them.
    fn others(&self) -> u64 {
        self.expected.saturating_sub(1)
    }

    /// How long it took to this peer, the first time.
    fn reach(&mut self, now: Micros, ix: usize) -> Option<Micros> {
        if !self.reached.add(ix) {
            return None;
        }
        self.last = self.last.max(now);
        Some(now.saturating_sub(self.since))
    }
}

/// A block came to a peer.
struct BlockDelivery {
    author: u32,
    to: u32,
    took: Micros,
}

/// Something that is to be measured.
enum Note {
    Published { now: Micros, ix: usize, hash: Hash, up: u64 },
    FirstCopy(Micros),
    Executed { now: Micros, ix: usize, hash: Hash },
    Final { now: Micros, hash: Hash },
    Came { now: Micros, ix: usize, id: Hash, in_block: bool },
}

/// Measurements, of what begins within a span of time.
#[derive(Default)]
pub struct Measure {
    span: Range<Micros>,
    /// What is kept for another to measure, where this one measures nothing itself.
    notes: Option<Vec<Note>>,
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
    /// From submission to arrival at a peer in whatever way, each peer's.
    pub transaction_anyhow: Histogram,
    /// What `block` counts, one by one.
    deliveries: Vec<BlockDelivery>,
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

    /// One that keeps what it is told, for [`Self::absorb`].
    pub(crate) fn for_another(&self) -> Self {
        Self { span: self.span.clone(), notes: Some(Vec::new()), ..Self::default() }
    }

    /// Measures what another has kept, and which is no earlier than what this one was told, but for what happened at the same time
    /// elsewhere.
    pub(crate) fn absorb(&mut self, other: &mut Self) {
        for note in other.notes.iter_mut().flat_map(mem::take) {
            match note {
                Note::Published { now, ix, hash, up } => self.block_published(now, ix, hash, up),
                Note::FirstCopy(took) => self.first_copy_came(took),
                Note::Executed { now, ix, hash } => self.block_executed(now, ix, &hash),
                Note::Final { now, hash } => self.block_final(now, &hash),
                Note::Came { now, ix, id, in_block } => self.transaction_came(now, ix, &id, in_block),
            }
        }
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

    /// Microseconds within which this share of all deliveries of blocks came about, whether or not the others ever did; none if that
    /// share never did. Of one author's blocks, or all.
    #[must_use]
    pub fn blocks_within(&self, share: f64, author: Option<usize>) -> Option<Micros> {
        let is_of = |other: usize| author.is_none_or(|author| author == other);
        let expected = self.blocks.values().filter(|block| is_of(block.author)).map(Spreading::others).sum();
        within(share, expected, self.times(|it| is_of(it.author as usize)))
    }

    /// The same of all deliveries to one peer, and how many blocks of others it never had.
    #[must_use]
    pub fn blocks_to(&self, ix: usize, share: f64) -> (Option<Micros>, u64) {
        let expected = self.blocks.values().filter(|block| block.author != ix).count() as u64;
        let times = self.times(|it| it.to as usize == ix);
        let missed = expected.saturating_sub(times.len() as u64);
        (within(share, expected, times), missed)
    }

    fn times(&self, of: impl Fn(&BlockDelivery) -> bool) -> Vec<Micros> {
        self.deliveries.iter().filter(|it| of(it)).map(|it| it.took).collect()
    }

    /// The same of transactions, by their protocol or with a block.
    #[must_use]
    pub fn transactions_within(&self, share: f64) -> Option<Micros> {
        let expected: u64 = self.transactions.values().map(Spreading::others).sum();
        let times = &self.transaction_anyhow;
        let wanted = (share * expected as f64).ceil();
        let came = wanted <= times.count() as f64 && expected > 0;
        came.then(|| times.quantile(wanted / times.count() as f64))
    }

    /// When each block was published, in their order, and how long it took to reach everybody; none for one that has not.
    #[must_use]
    pub fn each_block(&self) -> Vec<(Micros, Option<Micros>)> {
        let took = |block: &Spreading| {
            let everywhere = block.reached.count >= block.expected;
            (block.since, everywhere.then(|| block.last.saturating_sub(block.since)))
        };
        let mut all: Vec<_> = self.blocks.values().map(took).collect();
        all.sort_unstable();
        all
    }

    /// Whether what begins now is measured.
    pub(crate) fn spans(&self, now: Micros) -> bool {
        self.span.contains(&now)
    }

    /// A peer publishes a block while `up` peers run.
    pub(crate) fn block_published(&mut self, now: Micros, ix: usize, hash: Hash, up: u64) {
        if let Some(notes) = &mut self.notes {
            notes.push(Note::Published { now, ix, hash, up });
        } else if self.spans(now) {
            self.blocks.entry(hash).or_insert_with(|| Spreading::new(now, ix, up));
        }
    }

    /// The first copy of a block came to a peer so long after it was published.
    pub(crate) fn first_copy_came(&mut self, took: Micros) {
        match &mut self.notes {
            Some(notes) => notes.push(Note::FirstCopy(took)),
            None => self.first_copy.add(took),
        }
    }

    /// A peer has executed a block.
    pub(crate) fn block_executed(&mut self, now: Micros, ix: usize, hash: &Hash) {
        if let Some(notes) = &mut self.notes {
            return notes.push(Note::Executed { now, ix, hash: *hash });
        }
        let Some(block) = self.blocks.get_mut(hash) else { return };
        if let Some(took) = block.reach(now, ix) {
            self.block.add(took);
            let [author, to] = [block.author, ix].map(|ix| u32::try_from(ix).unwrap_or(u32::MAX));
            self.deliveries.push(BlockDelivery { author, to, took });
        }
    }

    /// A peer calls a block final.
    pub(crate) fn block_final(&mut self, now: Micros, hash: &Hash) {
        if let Some(notes) = &mut self.notes {
            return notes.push(Note::Final { now, hash: *hash });
        }
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
        if let Some(notes) = &mut self.notes {
            return notes.push(Note::Came { now, ix, id: *id, in_block });
        }
        let Some(took) = self.transactions.get_mut(id).and_then(|known| known.reach(now, ix)) else { return };
        self.transaction_anyhow.add(took);
        if in_block {
            self.with_block += 1;
        } else {
            self.transaction.add(took);
        }
    }
}

/// The time by which this share of so many had come, if it has.
fn within(share: f64, expected: u64, mut times: Vec<Micros>) -> Option<Micros> {
    times.sort_unstable();
    let wanted = (share * expected as f64).ceil() as usize;
    wanted.checked_sub(1).and_then(|place| times.get(place)).copied()
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
    fn what_never_comes_counts_among_the_slowest() {
        let mut measure = Measure::new(0..1_000);
        let (early, late) = (Hash([1; 32]), Hash([2; 32]));
        measure.block_published(5, 0, early, 4);
        measure.block_published(6, 1, late, 3);
        for (now, ix, hash) in [(10, 1, early), (20, 2, early), (30, 3, early), (46, 0, late)] {
            measure.block_executed(now, ix, &hash);
        }
        assert_eq!(
            (measure.blocks_within(0.5, None), measure.blocks_within(0.8, None)),
            (Some(25), Some(40))
        );
        assert_eq!(measure.blocks_within(0.9, None), None, "one of five never comes");
        assert_eq!(
            (measure.blocks_within(1.0, Some(0)), measure.blocks_within(1.0, Some(1))),
            (Some(25), None)
        );
        assert_eq!((measure.blocks_to(0, 0.5), measure.blocks_to(2, 0.5)), ((Some(40), 0), (Some(15), 1)));
        assert_eq!(measure.each_block(), [(5, Some(25)), (6, None)]);
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
