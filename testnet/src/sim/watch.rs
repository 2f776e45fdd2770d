//! What must hold in every run, checked as it happens.
//!
//! What a peer says and does is held against all that was said before, whenever it is: nobody honest signs two headers for a slot,
//! contradicts its votes, calls another block final than others do, rejects what the honest pass on, or bans them. What a peer holds and
//! thinks is looked at after every step of it: no more than its limits allow, and nothing ill of the honest. That costs a walk over some
//! fifty counts, so a world of many peers may leave it to [`World::check_held`] and [`World::check_standings`]
//! ([`World::check_when_asked`]). That no score falls without a reason only these two see.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use borsh::BorshDeserialize;
use weft_core::{
    chain::{Header, Link, Vote},
    gossip::Topic,
    node::{Command, DeedView, Event, Node, Reply},
    peers::Offence,
    primitives::{Hash, Height, Held, PublicKey, SecretKey, Slot},
};

use super::{peer::PeerIx, scripts::Scripts, world::World};

/// The offences of severity mid or above.
const GRAVE: [Offence; 8] = [
    Offence::WrongGenesis,
    Offence::BadSignature,
    Offence::BadProof,
    Offence::InvalidBlock,
    Offence::WrongBody,
    Offence::Malformed,
    Offence::Unrequested,
    Offence::InvalidTransaction,
];

/// What has been seen.
#[derive(Default)]
pub(super) struct Watch {
    /// The one header that each proposer signed for a slot.
    signed: BTreeMap<(PublicKey, Slot), Hash>,
    /// What each authority voted for.
    voted: BTreeMap<PublicKey, BTreeSet<Link>>,
    /// The one checkpoint of each height that somebody honest called final.
    finalised: BTreeMap<Height, Hash>,
    /// What peers thought of others when they were last looked at, as far as it was bad, and what for.
    standings: BTreeMap<(PeerIx, PeerIx), (i32, Vec<DeedView>)>,
}

/// Checks that a peer holds no more than it may.
fn check_held(ix: PeerIx, node: &Node) {
    for Held { what, count, limit } in node.held() {
        assert!(count <= limit, "{ix:?} holds {count} of \"{what}\", and may hold {limit}");
    }
}

impl Watch {
    /// Takes over what was seen in the other half of the world, which peers of this half may contradict.
    pub(super) fn absorb(&mut self, other: &mut Self, conflict_allowed: bool) {
        for (key, hash) in mem::take(&mut other.signed) {
            let first = *self.signed.entry(key).or_insert(hash);
            assert_eq!(first, hash, "{:?} signed two headers for slot {}", key.0, key.1);
        }
        for (by, links) in mem::take(&mut other.voted) {
            let votes = self.voted.entry(by).or_default();
            for link in links {
                let contradicted = votes.iter().find(|known| known.conflicts_with(&link));
                assert_eq!(contradicted, None, "{by:?} voted for {link:?}");
                votes.insert(link);
            }
        }
        for (height, hash) in mem::take(&mut other.finalised) {
            let first = *self.finalised.entry(height).or_insert(hash);
            assert!(
                first == hash || conflict_allowed,
                "two blocks of height {height} were called final: {first:?} and {hash:?}"
            );
        }
    }
}

impl<S: Scripts> World<S> {
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

    /// What a peer blamed others for in this life, of severity mid or above.
    fn blamed_now(&mut self, ix: PeerIx) -> BTreeMap<&'static str, u64> {
        if self.node(ix).is_none() || !self.peers[ix.0].is_honest() {
            return BTreeMap::new();
        }
        let refusals = self.status(ix).refusals;
        GRAVE
            .into_iter()
            .filter_map(|offence| Some((offence.name(), *refusals.get(offence.name())?)))
            .collect()
    }

    /// A life ends: what was counted in it is kept.
    pub(super) fn keep_blame(&mut self, ix: PeerIx) {
        for (offence, count) in self.blamed_now(ix) {
            *self.peers[ix.0].blamed.entry(offence).or_default() += count;
        }
    }

    /// Penalties of severity mid or above that honest peers gave anybody, in all their lives, by offence.
    pub fn penalties(&mut self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for ix in (0..self.peers.len()).map(PeerIx) {
            let now = self.blamed_now(ix);
            for (offence, count) in now.into_iter().chain(self.peers[ix.0].blamed.clone()) {
                *all.entry(offence).or_default() += count;
            }
        }
        all
    }

    /// The number of blocks that a validator has published so far, in all its lives.
    #[must_use]
    pub fn proposals(&self, ix: PeerIx) -> usize {
        let key = self.peers[ix.0].config.validator.as_ref().map(SecretKey::public);
        self.watch.signed.keys().filter(|(proposer, _)| Some(*proposer) == key).count()
    }

    /// Checks that no honest peer has a bad word for another honest one, that no score fell without a reason, and that every peer
    /// holds no more than it may.
    pub fn check_all(&mut self) {
        self.check_held();
        let up: Vec<PeerIx> = self.nodes().collect();
        up.into_iter().for_each(|ix| self.check_standings(ix));
    }

    /// From now on what peers hold and think is looked at when somebody asks, and no longer after every step: in a scenario of many
    /// peers every five virtual seconds.
    pub fn check_when_asked(&mut self) {
        self.checks_steps = false;
    }

    /// Checks that every peer that is up holds no more than it may of what others bring: mempools, queues and caches. It costs little
    /// and changes nothing.
    pub fn check_held(&self) {
        for (ix, node) in self.nodes().filter_map(|ix| Some((ix, self.node(ix)?))) {
            check_held(ix, node);
        }
    }

    /// Checks what a peer holds and thinks, now that it has done something.
    pub(super) fn check_step(&self, ix: PeerIx) {
        let Some(node) = self.node(ix).filter(|_| self.checks_steps) else { return };
        check_held(ix, node);
        for (other, score) in node.blamed() {
            if let Some(other) = self.by_id.get(&other) {
                self.watch_blame(ix, *other, &format!("gives a score of {score} to"));
            }
        }
    }

    /// Checks what a peer thinks of others: if it is honest, nothing bad of the honest; and of nobody worse than when it was last
    /// looked at, unless that one has done something since.
    pub fn check_standings(&mut self, ix: PeerIx) {
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
            let now = (view.score.min(0), view.deeds);
            if let Some(before) = self.watch.standings.get(&(ix, other)) {
                assert!(
                    now.0 >= before.0 || now.1 != before.1,
                    "{ix:?} gave {other:?} a score of {}, and gives it {} for no reason",
                    before.0,
                    now.0
                );
            }
            self.watch.standings.insert((ix, other), now);
        }
    }
}
