//! What must hold in every run, checked as it happens.

use std::collections::BTreeMap;

use borsh::BorshDeserialize;
use weft_core::{
    chain::Header,
    gossip::Topic,
    node::Command,
    node::Reply,
    primitives::{Hash, PublicKey, SecretKey, Slot},
};

use super::{peer::PeerIx, world::World};

/// What has been seen.
#[derive(Default)]
pub(super) struct Watch {
    /// The one header that each proposer signed for a slot.
    signed: BTreeMap<(PublicKey, Slot), Hash>,
}

impl World {
    /// An honest validator signs one header for a slot, also across its crashes.
    pub(super) fn watch_published(&mut self, ix: PeerIx, topic: &Topic, data: &[u8]) {
        if *topic != Topic::Block || !self.peers[ix.0].is_honest() {
            return;
        }
        let header =
            Header::deserialize(&mut &data[..]).expect("an honest announcement begins with a header");
        let own = self.peers[ix.0].config.validator.as_ref().map(SecretKey::public);
        assert_eq!(own, Some(header.content.proposer), "{ix:?} publishes only what it proposed");
        let first = *self
            .watch
            .signed
            .entry((header.content.proposer, header.slot()))
            .or_insert_with(|| header.hash());
        assert_eq!(first, header.hash(), "{ix:?} signed two headers for slot {}", header.slot());
    }

    /// Honest peers never blame honest peers.
    pub(super) fn watch_blame(&self, ix: PeerIx, other: PeerIx, what: &str) {
        let both = self.peers[ix.0].is_honest() && self.peers[other.0].is_honest();
        assert!(!both || self.blame_allowed, "{ix:?} {what} {other:?}, and both are honest");
    }

    /// The number of blocks that a validator has published so far, in all its lives.
    #[must_use]
    pub fn proposals(&self, ix: PeerIx) -> usize {
        let key = self.peers[ix.0].config.validator.as_ref().map(SecretKey::public);
        self.watch.signed.keys().filter(|(proposer, _)| Some(*proposer) == key).count()
    }

    /// Checks that no honest peer has a bad word for another honest one, that mempools are within their bounds, and
    /// that nothing handed to a peer was left lying.
    pub fn check_all(&mut self) {
        let up: Vec<PeerIx> = self.nodes().collect();
        for &ix in &up {
            let Ok(Reply::Peers(views)) = self.command(ix, Command::Peers) else {
                panic!("{ix:?} does not tell its peers");
            };
            for view in views {
                let other = self.find(&view.peer);
                let both = self.peers[ix.0].is_honest() && self.peers[other.0].is_honest();
                assert!(
                    !both || view.score == 0 || self.blame_allowed,
                    "{ix:?} gives {other:?} a score of {}, and both are honest",
                    view.score
                );
            }
            if self.peers[ix.0].chain.is_some() {
                let Ok(Reply::Mempool(pool)) = self.command(ix, Command::Mempool(0)) else {
                    panic!("{ix:?} does not show its mempool");
                };
                let bound = self.peers[ix.0].config.mempool_bytes;
                assert!(pool.bytes <= bound, "{ix:?} holds {} bytes of {bound} in its mempool", pool.bytes);
            }
        }
    }
}
