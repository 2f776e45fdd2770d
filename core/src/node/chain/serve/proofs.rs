//! Answering with proofs, with the accounts of checkpoints, and with how they changed.

use libp2p::PeerId;

use super::{
    super::{Chain, pivots::Pivots},
    Old,
};
use crate::{
    chain::{Checkpoint, Header},
    node::{InboundId, effects::Effects},
    primitives::{Hash, Height},
    store::ArchiveRequest,
    sync::{BlockDiff, MAX_PROOF_BYTES, MAX_RANGE_LEAVES, PivotParts, SyncResponse},
};

/// How many headers of one height are looked at for the one asked for: the others are of forks that a crash left.
const MAX_OF_HEIGHT: usize = 8;

impl Chain {
    pub(super) fn warp_asked(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, from: Height) {
        if from < self.joined.proven_from {
            // What is here does not follow from so far back.
            Self::answer(fx, id, peer, &SyncResponse::Warp { fragments: Vec::new(), finished: true });
            return;
        }
        let (fragments, finished) = self.pivots.fragments(&*fx.store, from, MAX_PROOF_BYTES);
        Self::answer(fx, id, peer, &SyncResponse::Warp { fragments, finished });
    }

    pub(super) fn checkpoint_asked(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, hash: Hash) {
        let known = self.pivots.height(&hash);
        let record = known.and_then(|height| Some((height, Pivots::record(&*fx.store, height, &hash)?)));
        let Some((height, record)) = record else {
            Self::answer(fx, id, peer, &SyncResponse::Checkpoint(None));
            return;
        };
        let header = self.tree.header(&hash).or_else(|| self.pivots.get(&hash).map(|pivot| &pivot.header));
        match header.cloned() {
            Some(header) => {
                Self::answer(fx, id, peer, &SyncResponse::Checkpoint(Some(Box::new((header, record)))));
            }
            None => {
                let request = ArchiveRequest::Headers { from: height, count: MAX_OF_HEIGHT };
                self.read_old(fx, id, peer, Old::Checkpoint(hash, Box::new(record)), request);
            }
        }
    }

    pub(super) fn pivot_asked(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, hash: &Hash) {
        let response = match self.pivots.get(hash) {
            Some(pivot) if pivot.trie.is_none() => SyncResponse::Busy,
            Some(pivot) => SyncResponse::Pivot(Some(PivotParts { mmr: pivot.mmr.clone() })),
            None => SyncResponse::Pivot(None),
        };
        Self::answer(fx, id, peer, &response);
    }

    /// Nothing is hashed for a proof: it is read from the trie.
    pub(super) fn account_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        (pivot, key): (Hash, Hash),
    ) {
        let response = match self.pivots.get(&pivot).map(|pivot| &pivot.trie) {
            Some(None) => SyncResponse::Busy,
            Some(Some(trie)) => SyncResponse::Account(trie.prove(&key).ok()),
            None => SyncResponse::Account(None),
        };
        Self::answer(fx, id, peer, &response);
    }

    /// As [`Self::account_asked`]: a millisecond for the most accounts one answer holds.
    pub(super) fn range_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        pivot: Hash,
        (from, to): (Hash, Hash),
    ) {
        let response = match self.pivots.get(&pivot).map(|pivot| &pivot.trie) {
            Some(None) => SyncResponse::Busy,
            Some(Some(trie)) => SyncResponse::Range(trie.prove_range(&from, &to, MAX_RANGE_LEAVES).ok()),
            None => SyncResponse::Range(None),
        };
        Self::answer(fx, id, peer, &response);
    }

    pub(super) fn diffs_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        from: Height,
        to: Checkpoint,
    ) {
        let mut diffs = Vec::new();
        if self.pivots.height(&to.hash) == Some(to.height) {
            let mut bytes = 0;
            for height in (from.0.saturating_add(1)..=to.height.0).map(Height) {
                let Some((header, diff)) = Pivots::settled(&*fx.store, height) else { break };
                bytes += Header::LEN + 4 + 48 * diff.0.len();
                if !diffs.is_empty() && bytes > MAX_PROOF_BYTES {
                    break;
                }
                diffs.push(BlockDiff { header, accounts: diff.forward().collect() });
            }
        }
        Self::answer(fx, id, peer, &SyncResponse::Diffs(diffs));
    }
}
