//! Transactions in check: between their arrival and what the node makes of them.

use std::collections::BTreeMap;

use libp2p::PeerId;

use crate::primitives::Hash;

/// The most transactions in check at once, from all peers; past that, requests are answered with `Busy`.
pub const MAX_IN_CHECK: usize = 4096;
/// The most transactions in check that one peer was the first to send, so that none keeps the others out.
pub const MAX_IN_CHECK_OF_PEER: usize = 1024;
/// The most senders remembered of a transaction in check; those after them are not blamed.
const MAX_SENDERS: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Checks {
    /// Who sent each, the first first.
    senders: BTreeMap<Hash, Vec<PeerId>>,
    /// How many each peer was the first to send; none is zero.
    first: BTreeMap<PeerId, usize>,
}

impl Checks {
    pub(super) fn contains(&self, id: &Hash) -> bool {
        self.senders.contains_key(id)
    }

    pub(super) fn len(&self) -> usize {
        self.senders.len()
    }

    /// How many more this peer may be the first to send.
    pub(super) fn room(&self, peer: &PeerId) -> usize {
        let of_peer = self.first.get(peer).copied().unwrap_or(0);
        let all = MAX_IN_CHECK.saturating_sub(self.senders.len());
        MAX_IN_CHECK_OF_PEER.saturating_sub(of_peer).min(all)
    }

    /// Begins a check that this peer asked for first.
    pub(super) fn begin(&mut self, id: Hash, peer: PeerId) {
        self.senders.insert(id, vec![peer]);
        *self.first.entry(peer).or_default() += 1;
    }

    /// Another sender of something that may be in check; says whether it is.
    pub(super) fn join(&mut self, id: &Hash, peer: PeerId) -> bool {
        let Some(senders) = self.senders.get_mut(id) else { return false };
        if senders.len() < MAX_SENDERS && !senders.contains(&peer) {
            senders.push(peer);
        }
        true
    }

    /// Ends a check, and says who sent it.
    pub(super) fn end(&mut self, id: &Hash) -> Vec<PeerId> {
        let senders = self.senders.remove(id).unwrap_or_default();
        if let Some((first, count)) =
            senders.first().and_then(|first| Some((first, self.first.get_mut(first)?)))
        {
            *count -= 1;
            if *count == 0 {
                self.first.remove(first);
            }
        }
        senders
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> Vec<Hash> {
        self.senders.keys().copied().collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.senders.is_empty() && self.first.is_empty()
    }
}
