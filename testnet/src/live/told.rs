//! What happened in a live run, put in order once it is over.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use weft_core::primitives::Hash;

use super::said::Said;
use crate::measure::{Measure, Micros};

enum Happened {
    /// So many peers run from now on.
    Up(u64),
    /// A transaction was handed to a peer.
    Submitted(usize, Hash),
    /// A peer told something of itself.
    Said(usize, Said),
}

/// Everything that was seen and heard.
pub(super) struct Told {
    /// Microseconds since the Unix epoch when the run began.
    begun: u64,
    events: Vec<(Micros, Happened)>,
}

/// What is seen only when all is put together.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Two peers that called different blocks of one height final, in words.
    pub(super) conflicts: Vec<String>,
    /// How many blocks were undone, each time that a peer left a branch.
    pub(super) left: Vec<u64>,
    /// The highest block that each peer called final.
    pub(super) finalised: BTreeMap<usize, u64>,
}

/// Microseconds since the Unix epoch.
fn wall() -> u64 {
    // Before 1970 it is 1970.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

impl Told {
    /// A run that begins now.
    pub(super) fn new() -> Self {
        Self { begun: wall(), events: Vec::new() }
    }

    fn now(&self) -> Micros {
        wall().saturating_sub(self.begun)
    }

    pub(super) fn up(&mut self, peers: u64) {
        self.events.push((self.now(), Happened::Up(peers)));
    }

    pub(super) fn submitted(&mut self, ix: usize, id: Hash) {
        self.events.push((self.now(), Happened::Submitted(ix, id)));
    }

    /// A peer said something, at microseconds since the Unix epoch.
    pub(super) fn said(&mut self, at: u64, ix: usize, said: Said) {
        self.events.push((at.saturating_sub(self.begun), Happened::Said(ix, said)));
    }

    /// Tells all of it in order. `bodies` are the transactions of blocks.
    pub(super) fn replay(mut self, measure: &mut Measure, bodies: &BTreeMap<Hash, Vec<Hash>>) -> Found {
        self.events.sort_by_key(|(at, _)| *at);
        let mut found = Found::default();
        let mut up = 0;
        let mut finals: BTreeMap<u64, (usize, Hash)> = BTreeMap::new();
        for (at, happened) in self.events {
            match happened {
                Happened::Up(peers) => up = peers,
                Happened::Submitted(ix, id) => measure.transaction_submitted(at, ix, id, up),
                Happened::Said(ix, Said::Proposed(hash)) => measure.block_published(at, ix, hash, up),
                Happened::Said(ix, Said::Executed(hash)) => {
                    measure.block_executed(at, ix, &hash);
                    for id in bodies.get(&hash).into_iter().flatten() {
                        measure.transaction_came(at, ix, id, true);
                    }
                }
                Happened::Said(ix, Said::Took(id)) => measure.transaction_came(at, ix, &id, false),
                Happened::Said(_, Said::Left(undone)) => found.left.push(undone),
                Happened::Said(ix, Said::Final(height, hash)) => {
                    measure.block_final(at, &hash);
                    let highest = found.finalised.entry(ix).or_default();
                    *highest = height.max(*highest);
                    let (first, known) = *finals.entry(height).or_insert((ix, hash));
                    if known != hash {
                        found.conflicts.push(format!(
                            "peer {first} calls {known} final at height {height}, and peer {ix} {hash}"
                        ));
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_out_of_order_is_told_in_order() {
        let (block, id) = (Hash([1; 32]), Hash([2; 32]));
        let mut told = Told { begun: 1_000, events: Vec::new() };
        told.events.push((0, Happened::Up(2)));
        told.events.push((5, Happened::Submitted(0, id)));
        told.said(1_060, 1, Said::Executed(block));
        told.said(1_090, 1, Said::Final(16, block));
        told.said(1_020, 0, Said::Proposed(block));
        told.said(1_095, 0, Said::Final(16, Hash([3; 32])));
        let mut measure = Measure::new(0..1_000);
        let found = told.replay(&mut measure, &BTreeMap::from([(block, vec![id])]));
        assert_eq!((measure.block.quantile(1.0), measure.finality.quantile(1.0)), (40, 70));
        // It came with the block, since the pool was never heard of.
        assert_eq!((measure.with_block, measure.transactions().delivered), (1, 1.0));
        assert_eq!((found.conflicts.len(), found.finalised[&0]), (1, 16));
    }
}
