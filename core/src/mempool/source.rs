//! Where a transaction comes from, and how much of the future each peer may fill.
//!
//! A queued transaction costs its sender nothing until the gap before it closes, if ever. So those are accounted to the
//! peer that sent them, and past a cap that peer's are refused: one peer cannot fill the room for them, whatever number
//! of accounts it has. A refusal is no offence: the peer may have passed on in good faith what it holds as pending.

use std::collections::BTreeMap;

use libp2p::PeerId;

use super::{AdmissionError, Limits};

/// Who vouches for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A peer sent it.
    Peer(PeerId),
    /// A person submitted it here: exempt from what is limited by peer.
    Own,
    /// It was in a block that a reorganisation undid: exempt from that, and from the rolling minimum, since it was good
    /// enough for a block.
    Undone,
}

/// How many transactions and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) count: usize,
    pub(super) bytes: usize,
}

/// What is queued of each peer's.
#[derive(Debug, Default)]
pub(super) struct Accounts(BTreeMap<PeerId, Load>);

impl Accounts {
    pub(super) fn of(&self, peer: &PeerId) -> Load {
        self.0.get(peer).copied().unwrap_or_default()
    }

    /// The number of peers with something queued.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add(&mut self, source: Source, bytes: usize) {
        if let Source::Peer(peer) = source {
            let load = self.0.entry(peer).or_default();
            load.count += 1;
            load.bytes += bytes;
        }
    }

    pub(super) fn remove(&mut self, source: Source, bytes: usize) {
        if let Source::Peer(peer) = source
            && let Some(load) = self.0.get_mut(&peer)
        {
            load.count -= 1;
            load.bytes -= bytes;
            if load.count == 0 {
                self.0.remove(&peer);
            }
        }
    }
}

impl Load {
    /// Whether one peer may have so much queued.
    pub(super) fn check(self, limits: &Limits) -> Result<(), AdmissionError> {
        match self.count <= limits.max_queued_of_peer && self.bytes <= limits.max_queued_bytes_of_peer {
            true => Ok(()),
            false => Err(AdmissionError::PeerFull),
        }
    }
}
