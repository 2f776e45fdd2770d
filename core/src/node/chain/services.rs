//! What of the chain this peer has for others, and what it lacks that no connected peer has, as keys of the distributed hash table.

use super::Chain;
use crate::{
    node::{
        SyncPhase,
        services::{RANGE, archive_key, offered_ranges, snapshot_key},
    },
    primitives::{Hash, Height, Mono},
};

impl Chain {
    /// The keys of what it serves: accounts of final checkpoints, and each range of blocks that it has from its beginning on.
    pub(in crate::node) fn served_keys(&self) -> impl Iterator<Item = Hash> + '_ {
        let has_state = !self.is_light() && !self.starting;
        let snapshot = (has_state && self.pivots.newest().is_some()).then(|| snapshot_key(&self.id));
        let ranges = offered_ranges(self.oldest(), self.head_height());
        snapshot
            .into_iter()
            .chain(ranges.filter(move |_| has_state).map(|range| archive_key(&self.id, range)))
    }

    /// The key of what it needs and no connected peer has: accounts while it joins by proof, else the next block.
    pub(in crate::node) fn needed_key(&self, now: Mono) -> Option<Hash> {
        let phase = self.sync_view(now).phase;
        if self.is_light() && matches!(phase, SyncPhase::Searching | SyncPhase::Proof | SyncPhase::State) {
            return Some(snapshot_key(&self.id));
        }
        let next = Height(self.head_height().0.saturating_add(1));
        let missing = !self.is_light() && self.scheduler.claimed() >= next && !self.scheduler.is_served(next);
        missing.then(|| archive_key(&self.id, next.0 / RANGE))
    }
}
