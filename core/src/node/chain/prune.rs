//! Forgetting old blocks.
//!
//! First it is written down, durably, from where on blocks are here, then the archive forgets the others: so a peer never claims
//! a block that is gone. A crash between the two leaves blocks that nobody is told of, and the next start removes them.

use super::{Archived, Chain, Promise, history, pivots::KEPT_DIFFS, storage};
use crate::{
    node::{Prune, effects::Effects},
    primitives::Height,
    store::{ArchiveRequest, Batch},
};

/// Blocks are forgotten so many at a time.
const STEP: u64 = 64;

impl Chain {
    /// The lowest block that is here with its body; 0 when all are.
    pub(super) fn oldest(&self) -> Height {
        self.joined.oldest.max(self.pruned)
    }

    /// At the start: what is to be forgotten may still be there.
    pub(super) fn prune_again(&self, fx: &mut Effects) -> Option<crate::node::ArchiveId> {
        (self.pruned.0 > 0).then(|| fx.archive(ArchiveRequest::Prune { below: self.pruned }))
    }

    /// The base has moved: forgets the blocks that are too old by now.
    pub(super) fn prune(&mut self, fx: &mut Effects) {
        let served = self.pivots.oldest().unwrap_or_else(|| self.base_height());
        let kept = match self.prune {
            Prune::Archive => return,
            Prune::Full => served.min(self.base_height().saturating_sub(KEPT_DIFFS)),
            Prune::Light => served,
        };
        let below = Height(kept.0 - kept.0 % STEP);
        if below <= self.oldest() {
            return;
        }
        self.pruned = below;
        let mut batch = Batch::default();
        storage::put_pruned(&mut batch, below);
        history::forget_below(&*fx.store, &mut batch, below);
        let seq = fx.apply_now(batch);
        self.promises.push((seq, Promise::Prune(below)));
    }

    /// That they are not here any more is written down.
    pub(super) fn forget_pruned(&mut self, fx: &mut Effects, below: Height) {
        tracing::debug!(%below, "forgetting old blocks");
        let id = fx.archive(ArchiveRequest::Prune { below });
        self.archived.insert(id, Archived::Forks);
    }
}
