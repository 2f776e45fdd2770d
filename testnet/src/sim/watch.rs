//! What must hold in every run, checked as it happens.

use std::collections::{BTreeMap, BTreeSet};

use borsh::BorshDeserialize;
use weft_core::{
    chain::{Header, Link, Vote},
    gossip::Topic,
    node::{Command, Event, Reply},
    primitives::{Hash, Height, PublicKey, SecretKey, Slot},
};

use super::{peer::PeerIx, world::World};

/// What has been seen.
#[derive(Default)]
pub(super) struct Watch {
    /// The one header that each proposer signed for a slot.
    signed: BTreeMap<(PublicKey, Slot), Hash>,
    /// What each authority voted for.
    voted: BTreeMap<PublicKey, BTreeSet<Link>>,
    /// The one checkpoint of each height that somebody honest called final.
    finalised: BTreeMap<Height, Hash>,
}

impl World {
    /// An honest validator signs one header for a slot, also across its crashes.
    pub(super) fn watch_published(&mut self, ix: PeerIx, topic: &Topic, data: &[u8]) {
        match topic {
            _ if !self.peers[ix.0].is_honest() => {}
            Topic::Block => self.watch_block(ix, data),
            Topic::Vote => self.watch_vote(ix, data),
            Topic::Evidence | Topic::Chat(_) => {}
        }
    }

    /// An honest authority never contradicts its votes, also across its crashes.
    fn watch_vote(&mut self, ix: PeerIx, data: &[u8]) {
        let vote = Vote::deserialize(&mut &data[..]).expect("an honest vote is one");
        let own = self.peers[ix.0].config.validator.as_ref().map(SecretKey::public);
        assert_eq!(own, Some(vote.by), "{ix:?} publishes only its own votes");
        let votes = self.watch.voted.entry(vote.by).or_default();
        let contradicted = votes.iter().find(|known| known.conflicts_with(&vote.link));
        assert_eq!(contradicted, None, "{ix:?} voted for {:?}", vote.link);
        votes.insert(vote.link);
    }

    /// No two honest peers call two blocks of one height final.
    pub(super) fn watch_event(&mut self, ix: PeerIx, event: &Event) {
        if let Event::Block(summary) = event {
            self.measure_block(ix, summary);
        }
        let Event::Finalised(checkpoint) = event else { return };
        self.measure_final(checkpoint);
        if self.peers[ix.0].is_honest() {
            let first = *self.watch.finalised.entry(checkpoint.height).or_insert(checkpoint.hash);
            assert!(
                first == checkpoint.hash || self.conflict_allowed,
                "{ix:?} calls {checkpoint:?} final, and somebody else {first:?}"
            );
        }
    }

    fn watch_block(&mut self, ix: PeerIx, data: &[u8]) {
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
        self.measure_published(ix, first);
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
                    !both || view.score >= 0 || self.blame_allowed,
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
