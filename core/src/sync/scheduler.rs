//! Whom to ask for what.
//!
//! Headers are asked of one peer at a time, the one that claims to be furthest. Bodies are asked of all peers at once,
//! in order, inside a window above the head. An answer that the head waits for and that does not come in time is asked
//! of someone else; the patience doubles when it was somebody who has brought something before, so that our own line may be what is
//! slow, and shrinks again with every body that arrives. Slow peers are asked less, and never punished. Who has never brought anything
//! comes after those who have, whatever it says it has: saying so costs nothing.

use std::collections::BTreeMap;

use libp2p::PeerId;

use super::MAX_BODIES;
use crate::primitives::{Hash, Height, Mono};

/// How far above the head bodies are asked for, in blocks.
pub const WINDOW: usize = 1024;
/// The most requests for bodies in flight to one peer, each of up to [`MAX_BODIES`].
const MAX_REQUESTS_PER_PEER: usize = 4;
/// The shortest patience with an answer that the head waits for.
const STALL_MIN_MILLIS: u64 = 2_000;
/// The longest.
const STALL_MAX_MILLIS: u64 = 64_000;
/// How long to wait for headers before asking someone else, if the one that was asked has brought something before.
const HEADERS_TIMEOUT_MILLIS: u64 = 10_000;
/// The same if it has not.
const FIRST_HEADERS_TIMEOUT_MILLIS: u64 = 2_000;
/// How long a peer that failed to answer is not asked again; doubles with each failure in a row.
const REST_MILLIS: u64 = 1_000;

#[derive(Clone, Debug, Default)]
struct Peer {
    /// The height it says it is at.
    height: Height,
    /// The lowest block it says it serves.
    oldest: Height,
    /// Requests for bodies in flight.
    requests: usize,
    /// Not to be asked before.
    resting_until: Mono,
    /// Failures in a row.
    failures: u32,
    /// It has brought headers or bodies that were new.
    proven: bool,
    /// How often it brought a block that gossip did not.
    found: u32,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    peer: PeerId,
    since: Mono,
}

/// The download schedule.
#[derive(Clone, Debug)]
pub struct Scheduler {
    peers: BTreeMap<PeerId, Peer>,
    headers: Option<InFlight>,
    bodies: BTreeMap<Hash, InFlight>,
    patience: u64,
    /// Who says that it has something counts as one that has brought something.
    trusting: bool,
}

impl Default for Scheduler {
    fn default() -> Self {
        let (peers, bodies) = Default::default();
        Self { peers, headers: None, bodies, patience: STALL_MIN_MILLIS, trusting: false }
    }
}

impl Scheduler {
    /// One for which who says that it has something counts as one that has brought something: to see what it is worth to tell them apart.
    #[must_use]
    pub fn trusting() -> Self {
        Self { trusting: true, ..Self::default() }
    }

    /// Whether a peer has brought something.
    fn is_proven(&self, peer: &PeerId) -> bool {
        self.trusting || self.peers.get(peer).is_some_and(|peer| peer.proven)
    }

    /// A peer said where it is, and the lowest block it serves.
    pub fn status(&mut self, peer: PeerId, height: Height, oldest: Height) {
        let state = self.peers.entry(peer).or_default();
        (state.height, state.oldest) = (height, oldest);
    }

    /// A peer is gone; what it owed is asked of others.
    pub fn remove(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
        self.bodies.retain(|_, flight| flight.peer != *peer);
        if self.headers.is_some_and(|flight| flight.peer == *peer) {
            self.headers = None;
        }
    }

    /// A peer that has said where it is has shown a block of this height.
    pub fn seen(&mut self, peer: PeerId, height: Height) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.height = state.height.max(height);
        }
    }

    /// The height a peer says it is at.
    #[must_use]
    pub fn height(&self, peer: &PeerId) -> Option<Height> {
        self.peers.get(peer).map(|peer| peer.height)
    }

    /// Whether a peer failed to answer lately, and is given a rest.
    #[must_use]
    pub fn is_resting(&self, peer: &PeerId, now: Mono) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.resting_until > now)
    }

    /// A peer brought a block that gossip did not.
    pub fn found(&mut self, peer: &PeerId) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.found = state.found.saturating_add(1);
        }
    }

    /// Those who have said where they are and are not resting, and how often each of them brought a block that gossip did not.
    pub fn rested(&self, now: Mono) -> impl Iterator<Item = (PeerId, u32)> {
        let rested = self.peers.iter().filter(move |(_, peer)| peer.resting_until <= now);
        rested.map(|(id, peer)| (*id, peer.found))
    }

    /// Until when headers are awaited.
    fn headers_until(&self) -> Option<Mono> {
        let flight = self.headers?;
        let patience =
            if self.is_proven(&flight.peer) { HEADERS_TIMEOUT_MILLIS } else { FIRST_HEADERS_TIMEOUT_MILLIS };
        Some(flight.since + patience)
    }

    /// Those who said that they have the block before this height, and are not resting.
    pub fn near(&self, height: Height, now: Mono) -> impl Iterator<Item = PeerId> {
        let near = self
            .peers
            .iter()
            .filter(move |(_, peer)| peer.height.0 + 1 >= height.0 && peer.resting_until <= now);
        near.map(|(id, _)| *id)
    }

    /// Whether any peer has said where it is.
    #[must_use]
    pub fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    /// The greatest height any peer claims.
    #[must_use]
    pub fn claimed(&self) -> Height {
        self.peers.values().map(|peer| peer.height).max().unwrap_or_default()
    }

    /// Whether any peer says that it has the block of this height.
    #[must_use]
    pub fn is_served(&self, height: Height) -> bool {
        self.peers.values().any(|peer| peer.oldest <= height && height <= peer.height)
    }

    /// Whom to ask for headers now, if any peer claims to be above `height`. Counts as asked.
    pub fn ask_headers(&mut self, height: Height, now: Mono) -> Option<PeerId> {
        if let (Some(flight), Some(until)) = (self.headers, self.headers_until()) {
            if now < until {
                return None;
            }
            self.failed(&flight.peer, now);
        }
        let able = self.peers.iter().filter(|(_, peer)| {
            peer.height > height && peer.oldest.0 <= height.0 + 1 && peer.resting_until <= now
        });
        let best = able.max_by_key(|(_, peer)| {
            let rank = (!self.trusting).then_some((peer.proven, std::cmp::Reverse(peer.failures)));
            (rank, peer.height)
        });
        let peer = best.map(|(id, _)| *id)?;
        self.headers = Some(InFlight { peer, since: now });
        Some(peer)
    }

    /// This peer is asked for headers because of something it sent. Returns whether to.
    pub fn ask_headers_of(&mut self, peer: PeerId, now: Mono) -> bool {
        let resting = self.is_resting(&peer, now);
        let free = self.headers_until().is_none_or(|until| now >= until);
        if free && !resting {
            self.headers = Some(InFlight { peer, since: now });
        }
        free && !resting
    }

    /// Headers came from a peer, or it had none; `highest` is the best height it really has shown. A claim beyond that
    /// is forgotten when `exhausted`: it showed all it has.
    pub fn headers_came(&mut self, peer: &PeerId, highest: Height, exhausted: bool, now: Mono) {
        if self.headers.is_some_and(|flight| flight.peer == *peer) {
            self.headers = None;
        }
        let Some(state) = self.peers.get_mut(peer) else { return };
        if exhausted && state.height.0 > highest.0 + 2 {
            // It claimed more than it has, and may do so again at once: others come first.
            state.height = highest;
            self.failed(peer, now);
        } else {
            state.failures = 0;
            state.proven |= !exhausted;
            state.height = if exhausted { highest } else { state.height.max(highest) };
        }
    }

    /// A request to this peer failed: it rests a while.
    pub fn failed(&mut self, peer: &PeerId, now: Mono) {
        if self.headers.is_some_and(|flight| flight.peer == *peer) {
            self.headers = None;
        }
        if let Some(state) = self.peers.get_mut(peer) {
            state.failures = (state.failures + 1).min(6);
            state.resting_until = now + (REST_MILLIS << state.failures);
        }
    }

    /// Which bodies to ask of whom. `wanted` are the blocks above the head without a body here, in order.
    pub fn ask_bodies(&mut self, wanted: &[(Height, Hash)], now: Mono) -> Vec<(PeerId, Vec<(Height, Hash)>)> {
        self.give_up_on_stalled(wanted, now);
        let mut free = wanted.iter().filter(|(_, hash)| !self.bodies.contains_key(hash)).copied().peekable();
        let mut plan: Vec<(PeerId, Vec<(Height, Hash)>)> = Vec::new();
        let trusting = self.trusting;
        let mut flights = Vec::new();
        while let Some(&(height, _)) = free.peek() {
            let able = self.peers.iter_mut().filter(|(_, peer)| {
                (peer.oldest..=peer.height).contains(&height)
                    && peer.resting_until <= now
                    && peer.requests < MAX_REQUESTS_PER_PEER
            });
            let Some((id, peer)) = able.min_by_key(|(_, peer)| (!peer.proven && !trusting, peer.requests))
            else {
                break;
            };
            let mut keys = Vec::new();
            while keys.len() < MAX_BODIES
                && let Some(key) = free.next_if(|(height, _)| *height <= peer.height)
            {
                keys.push(key);
            }
            peer.requests += 1;
            flights.extend(keys.iter().map(|(_, hash)| (*hash, InFlight { peer: *id, since: now })));
            plan.push((*id, keys));
        }
        drop(free);
        self.bodies.extend(flights);
        plan
    }

    /// The first wanted body is what the head waits for: if whoever owes it has been too slow, let someone else try.
    fn give_up_on_stalled(&mut self, wanted: &[(Height, Hash)], now: Mono) {
        let Some(flight) = wanted.first().and_then(|(_, hash)| self.bodies.get(hash)).copied() else {
            return;
        };
        if now < flight.since + self.patience {
            return;
        }
        if self.is_proven(&flight.peer) {
            self.patience = (self.patience * 2).min(STALL_MAX_MILLIS);
        }
        self.bodies.retain(|_, other| other.peer != flight.peer);
        self.failed(&flight.peer, now);
    }

    /// A request for bodies is over, well or not. What it owed and did not bring is asked for again.
    pub fn bodies_came(&mut self, peer: &PeerId, asked: &[(Height, Hash)], brought: usize) {
        for (_, hash) in asked {
            if self.bodies.get(hash).is_some_and(|flight| flight.peer == *peer) {
                self.bodies.remove(hash);
            }
        }
        if let Some(state) = self.peers.get_mut(peer) {
            state.requests = state.requests.saturating_sub(1);
            if brought > 0 {
                state.failures = 0;
                state.proven = true;
            }
        }
        if brought > 0 {
            self.patience = (self.patience * 7 / 8).max(STALL_MIN_MILLIS);
        }
    }

    /// When something may be overdue.
    #[must_use]
    pub fn next_due(&self, now: Mono) -> Option<Mono> {
        let stalled = self.bodies.values().map(|flight| flight.since + self.patience);
        let headers = self.headers_until().into_iter();
        let rested = self.peers.values().map(|peer| peer.resting_until).filter(|until| *until > now);
        stalled.chain(headers).chain(rested).filter(|due| *due > now).min()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn peer(byte: u8) -> PeerId {
        let mut seed = [byte; 32];
        libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
    }

    fn wanted(count: u64) -> Vec<(Height, Hash)> {
        (1..=count).map(|height| (Height(height), Hash::of(&height.to_le_bytes()))).collect()
    }

    #[test]
    fn bodies_are_spread_over_peers_in_order_and_within_bounds() {
        let mut scheduler = Scheduler::default();
        for byte in 1..=3 {
            scheduler.status(peer(byte), Height(1000), Height(0));
        }
        let plan = scheduler.ask_bodies(&wanted(1000), Mono(0));
        assert_eq!(plan.len(), 3 * MAX_REQUESTS_PER_PEER);
        let asked: Vec<_> = plan.iter().flat_map(|(_, keys)| keys.clone()).collect();
        assert_eq!(asked, wanted(1000)[..3 * MAX_REQUESTS_PER_PEER * MAX_BODIES]);
        assert!(scheduler.ask_bodies(&wanted(1000), Mono(0)).is_empty());
    }

    #[test]
    fn a_peer_is_not_asked_for_what_it_does_not_claim() {
        let mut scheduler = Scheduler::default();
        scheduler.status(peer(1), Height(3), Height(0));
        let plan = scheduler.ask_bodies(&wanted(10), Mono(0));
        assert_eq!(plan, [(peer(1), wanted(3))]);
    }

    #[test]
    fn a_peer_is_not_asked_for_what_is_older_than_it_serves() {
        let mut scheduler = Scheduler::default();
        scheduler.status(peer(1), Height(9), Height(4));
        assert_eq!(scheduler.ask_headers(Height(2), Mono(0)), None);
        assert_eq!(scheduler.ask_bodies(&wanted(9), Mono(0)), []);
        assert_eq!(scheduler.ask_headers(Height(3), Mono(0)), Some(peer(1)));
        assert_eq!(scheduler.ask_bodies(&wanted(9)[3..], Mono(0)), [(peer(1), wanted(9)[3..].to_vec())]);
    }

    #[test]
    fn a_stalled_body_is_asked_of_someone_else_with_growing_patience() {
        let mut scheduler = Scheduler::default();
        scheduler.status(peer(1), Height(5), Height(0));
        scheduler.headers_came(&peer(1), Height(5), false, Mono(0));
        let first = scheduler.ask_bodies(&wanted(5), Mono(0));
        assert_eq!(first[0].0, peer(1));
        scheduler.status(peer(2), Height(5), Height(0));
        assert!(scheduler.ask_bodies(&wanted(5), Mono(STALL_MIN_MILLIS - 1)).is_empty());
        let second = scheduler.ask_bodies(&wanted(5), Mono(STALL_MIN_MILLIS));
        assert_eq!(second, [(peer(2), wanted(5))]);
        assert_eq!(scheduler.patience, 2 * STALL_MIN_MILLIS);
        scheduler.bodies_came(&peer(2), &wanted(5), 5);
        assert!(scheduler.patience < 2 * STALL_MIN_MILLIS);
        scheduler.bodies_came(&peer(1), &wanted(5), 5);
    }

    #[test]
    fn those_who_never_brought_anything_come_last_and_make_nobody_patient() {
        let mut scheduler = Scheduler::default();
        for byte in 1..=4 {
            scheduler.status(peer(byte), Height(100), Height(0));
        }
        scheduler.status(peer(9), Height(5), Height(0));
        scheduler.bodies_came(&peer(9), &[], 1);
        for round in 0..MAX_REQUESTS_PER_PEER as u64 {
            let key = vec![(Height(round + 1), Hash::of(&(1_000 + round).to_le_bytes()))];
            assert_eq!(
                scheduler.ask_bodies(&key, Mono(0)),
                [(peer(9), key)],
                "it says least, and is believed"
            );
        }
        let others = scheduler.ask_bodies(&wanted(1), Mono(0));
        assert!(others.len() == 1 && others[0].0 != peer(9), "no more than it can take");
        for late in 1..=3 {
            assert_eq!(scheduler.ask_bodies(&wanted(1), Mono(late * STALL_MIN_MILLIS)).len(), 1);
        }
        assert_eq!(scheduler.patience, STALL_MIN_MILLIS, "nothing says that our line is slow");
    }

    #[test]
    fn who_says_it_has_headers_and_never_brought_any_is_waited_for_no_longer_than_two_seconds() {
        let mut scheduler = Scheduler::default();
        scheduler.status(peer(1), Height(1_000), Height(0));
        scheduler.status(peer(2), Height(10), Height(0));
        assert_eq!(scheduler.ask_headers(Height(5), Mono(0)), Some(peer(1)));
        assert_eq!(scheduler.ask_headers(Height(5), Mono(1_999)), None);
        assert_eq!(scheduler.next_due(Mono(0)), Some(Mono(2_000)));
        assert_eq!(scheduler.ask_headers(Height(5), Mono(2_000)), Some(peer(2)));
        scheduler.headers_came(&peer(2), Height(10), false, Mono(2_100));
        scheduler.status(peer(2), Height(20), Height(0));
        assert_eq!(scheduler.ask_headers(Height(10), Mono(2_100)), Some(peer(2)));
        assert_eq!(scheduler.ask_headers(Height(10), Mono(12_000)), None, "it has brought some");
        assert_eq!(scheduler.ask_headers(Height(10), Mono(12_100)), Some(peer(1)));
    }

    #[test]
    fn what_a_lost_peer_owed_is_asked_again() {
        let mut scheduler = Scheduler::default();
        scheduler.status(peer(1), Height(5), Height(0));
        scheduler.ask_bodies(&wanted(5), Mono(0));
        scheduler.remove(&peer(1));
        scheduler.status(peer(2), Height(5), Height(0));
        assert_eq!(scheduler.ask_bodies(&wanted(5), Mono(1)), [(peer(2), wanted(5))]);
    }

    #[test]
    fn headers_are_asked_of_the_furthest_and_false_claims_are_forgotten() {
        let mut scheduler = Scheduler::default();
        scheduler.status(peer(1), Height(10), Height(0));
        scheduler.status(peer(2), Height(1_000_000), Height(0));
        assert_eq!(scheduler.ask_headers(Height(5), Mono(0)), Some(peer(2)));
        assert_eq!(scheduler.ask_headers(Height(5), Mono(0)), None);
        scheduler.headers_came(&peer(2), Height(5), true, Mono(0));
        assert_eq!(scheduler.ask_headers(Height(5), Mono(1)), Some(peer(1)));
        assert_eq!(scheduler.claimed(), Height(10));
    }

    #[test]
    fn a_peer_that_does_not_answer_rests() {
        let mut scheduler = Scheduler::default();
        scheduler.status(peer(1), Height(10), Height(0));
        assert_eq!(scheduler.ask_headers(Height(5), Mono(0)), Some(peer(1)));
        assert_eq!(scheduler.ask_headers(Height(5), Mono(HEADERS_TIMEOUT_MILLIS)), None);
        let rested = scheduler.next_due(Mono(HEADERS_TIMEOUT_MILLIS)).unwrap();
        assert_eq!(scheduler.ask_headers(Height(5), rested), Some(peer(1)));
    }
}
