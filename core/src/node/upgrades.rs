//! From a circuit to a direct connection.
//!
//! A circuit is for signalling and small messages, so where both sides can speak `/webrtc` they move on from it. The side that opened the
//! circuit begins, as the specification has it; the other one waits for it first. When both opened one, the smaller id begins. What
//! fails is tried a few times, ever more patiently, and then not again for long: some networks let nobody through. Once there is a
//! direct connection the circuits are closed, after the time it takes to say goodbye on them.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::{ConnectionId, Link};
use crate::{
    peers::{Allowance, Bucket},
    primitives::{Held, Mono},
    signalling::PROTOCOL,
};

/// How often it is tried with one peer.
const MAX_TRIES: u32 = 3;
/// The pause after the first failure; four times as long after each further one.
const FIRST_PAUSE_MILLIS: u64 = 2_000;
/// How long failures with a peer are remembered, whether it stays or comes back.
const FORGET_MILLIS: u64 = 10 * 60 * 1000;
/// The most peers of which they are.
const MAX_REMEMBERED: usize = 256;
/// How long the side that did not open the circuit waits for the other to begin.
const PATIENCE_MILLIS: u64 = 5_000;
/// How long an attempt may take, should the shell never answer.
const ATTEMPT_MILLIS: u64 = 30_000;
/// How long a circuit stays open beside a direct connection: both sides close the signalling stream in that time.
const GOODBYE_MILLIS: u64 = 2_000;
/// All attempts together: each makes a connection object, of which a browser has some 500 at a time.
const ALLOWANCE: Allowance = Allowance { per_second: 1, burst: 16 * COST };
/// What one takes of that: four a minute in the long run.
const COST: u64 = 15;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Dial this address. Ends in a connection or in [`Upgrades::failed`].
    Dial(Multiaddr),
    /// Close this connection.
    Close(PeerId, ConnectionId),
    /// It will not be tried any more with this peer.
    GiveUp(PeerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Mono },
    Trying { since: Mono },
    GivenUp,
}

#[derive(Clone, Debug)]
struct Circuit {
    outbound: bool,
    /// Where the other side is dialled by `/webrtc`.
    address: Multiaddr,
}

#[derive(Clone, Debug)]
struct Peer {
    circuits: BTreeMap<ConnectionId, Circuit>,
    direct: u32,
    /// It has said that it can.
    able: bool,
    state: State,
    /// When the circuits are closed.
    close: Option<Mono>,
}

/// Failures with a peer, and when the last one was.
#[derive(Clone, Copy, Debug)]
struct Failures(u32, Mono);

/// All circuits of this peer, and what becomes of them.
pub(super) struct Upgrades {
    local: PeerId,
    /// Whether this side can.
    able: bool,
    peers: BTreeMap<PeerId, Peer>,
    /// How many circuits there are. Mostly none, and then nothing is ever due.
    circuits: usize,
    failures: BTreeMap<PeerId, Failures>,
    allowance: Bucket,
}

impl Upgrades {
    pub(super) fn held(&self) -> Held {
        Held::new("peers whose failed upgrades are remembered", self.failures.len(), MAX_REMEMBERED)
    }

    pub(super) fn new(local: PeerId, able: bool) -> Self {
        let allowance = Bucket::new(ALLOWANCE);
        Self { local, able, peers: BTreeMap::new(), circuits: 0, failures: BTreeMap::new(), allowance }
    }

    pub(super) fn connected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        link: Link,
        (address, outbound): (&Multiaddr, bool),
        now: Mono,
    ) {
        let state = self.peers.entry(peer).or_insert_with(|| Peer {
            circuits: BTreeMap::new(),
            direct: 0,
            able: false,
            state: State::Waiting { until: now },
            close: None,
        });
        match link {
            Link::Direct => {
                state.direct += 1;
                self.failures.remove(&peer);
            }
            Link::Relayed => {
                let address = signalled(address, peer);
                let old = state.circuits.insert(connection, Circuit { outbound, address });
                self.circuits += usize::from(old.is_none());
            }
        }
        state.close = (state.direct > 0 && !state.circuits.is_empty()).then(|| now + GOODBYE_MILLIS);
        self.wait(peer, now);
    }

    pub(super) fn disconnected(&mut self, peer: PeerId, connection: ConnectionId, now: Mono) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        match state.circuits.remove(&connection) {
            Some(_) => self.circuits -= 1,
            None => state.direct = state.direct.saturating_sub(1),
        }
        // A circuit stays when the direct connection did not last.
        if state.circuits.is_empty() || state.direct == 0 {
            state.close = None;
        }
        if state.circuits.is_empty() && state.direct == 0 {
            self.peers.remove(&peer);
            return;
        }
        self.wait(peer, now);
    }

    /// A peer has said which protocols it speaks, on one of its connections.
    pub(super) fn identified(&mut self, peer: &PeerId, protocols: &[String]) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.able |= protocols.iter().any(|name| name == PROTOCOL);
        }
    }

    /// A dial failed; `true` if it was one of ours.
    pub(super) fn failed(&mut self, address: &Multiaddr, now: Mono) -> bool {
        let found = self.peers.iter_mut().find(|(_, state)| {
            matches!(state.state, State::Trying { .. })
                && state.circuits.values().any(|circuit| circuit.address == *address)
        });
        let Some((peer, state)) = found else { return false };
        state.state = State::Waiting { until: now };
        let peer = *peer;
        if self.failures.len() >= MAX_REMEMBERED && !self.failures.contains_key(&peer) {
            let oldest = self.failures.iter().min_by_key(|(_, failures)| failures.1).map(|(peer, _)| *peer);
            self.failures.remove(&oldest.unwrap_or(peer));
        }
        let failures = self.failures.entry(peer).or_insert(Failures(0, now));
        *failures = Failures(failures.0 + 1, now);
        self.wait(peer, now);
        true
    }

    /// Whether a peer with nothing but circuits is about to be reached directly.
    pub(super) fn is_under_way(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|state| {
            self.able
                && state.able
                && state.direct == 0
                && !state.circuits.is_empty()
                && state.state != State::GivenUp
        })
    }

    /// Plans the next attempt, after what has just happened.
    fn wait(&mut self, peer: PeerId, now: Mono) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if matches!(state.state, State::Trying { .. }) && state.direct == 0 && !state.circuits.is_empty() {
            return;
        }
        let past = self.failures.get(&peer).filter(|failures| now - failures.1 < FORGET_MILLIS);
        let tries = past.map_or(0, |failures| failures.0);
        if tries >= MAX_TRIES {
            // Told once; what was told before stays told.
            state.state = State::Waiting { until: now };
            return;
        }
        let after_failure = past
            .map_or(now, |failures| failures.1 + (FIRST_PAUSE_MILLIS << (2 * failures.0.saturating_sub(1))));
        let opened = state.circuits.values().any(|circuit| circuit.outbound);
        let was_opened = state.circuits.values().any(|circuit| !circuit.outbound);
        let begins = opened && (!was_opened || self.local < peer);
        let patience = if begins { 0 } else { PATIENCE_MILLIS };
        state.state = State::Waiting { until: after_failure.max(now + patience) };
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        if self.circuits == 0 {
            return None;
        }
        let due = |state: &Peer| {
            let attempt = match state.state {
                State::Waiting { until } if self.able && state.is_wanted() => Some(until),
                State::Trying { since } => Some(since + ATTEMPT_MILLIS),
                _ => None,
            };
            attempt.into_iter().chain(state.close).min()
        };
        self.peers.values().filter_map(due).min()
    }

    /// What is due.
    pub(super) fn tick(&mut self, now: Mono) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.circuits == 0 {
            return acts;
        }
        for (peer, state) in &mut self.peers {
            if state.close.is_some_and(|at| at <= now) {
                state.close = None;
                acts.extend(state.circuits.keys().map(|connection| Act::Close(*peer, *connection)));
            }
            if let State::Trying { since } = state.state
                && since + ATTEMPT_MILLIS <= now
            {
                state.state = State::Waiting { until: now };
            }
            let State::Waiting { until } = state.state else { continue };
            if !self.able || !state.is_wanted() || until > now {
                continue;
            }
            let past = self.failures.get(peer).filter(|failures| now - failures.1 < FORGET_MILLIS);
            if past.is_some_and(|failures| failures.0 >= MAX_TRIES) {
                state.state = State::GivenUp;
                acts.push(Act::GiveUp(*peer));
                continue;
            }
            if !self.allowance.take(COST, now) {
                state.state = State::Waiting { until: now + FIRST_PAUSE_MILLIS };
                continue;
            }
            // The newest circuit has the most left of what a relay lets through.
            if let Some(circuit) = state.circuits.values().next_back() {
                state.state = State::Trying { since: now };
                acts.push(Act::Dial(circuit.address.clone()));
            }
        }
        acts
    }
}

impl Peer {
    fn is_wanted(&self) -> bool {
        self.able && self.direct == 0 && !self.circuits.is_empty()
    }
}

/// Where the other side of a circuit is dialled by `/webrtc`. Who was called knows no address of the relay, and needs none.
fn signalled(address: &Multiaddr, peer: PeerId) -> Multiaddr {
    let relay = address.iter().take_while(|part| *part != Protocol::P2pCircuit);
    let relay: Multiaddr = if address.iter().any(|part| part == Protocol::P2pCircuit) {
        relay.collect()
    } else {
        Multiaddr::empty()
    };
    relay.with(Protocol::P2pCircuit).with(Protocol::WebRTC).with(Protocol::P2p(peer))
}
