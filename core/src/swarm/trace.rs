//! A lookup in the distributed hash table that is watched: each question, how near the one who is asked is, and whom it tells of.
//!
//! libp2p's Kademlia says of its own lookups only how they end. So this one is made by hand, with the same message (`FIND_NODE` of the
//! libp2p kad-dht specification) and by the same rule (three questions at once, to the nearest that have not been asked, until the
//! twenty nearest have answered), over one path where Kademlia's go over disjoint ones. What it finds goes nowhere but into its report.

mod message;

use std::collections::BTreeMap;

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    kad::{KBucketDistance, KBucketKey},
    request_response::{self, OutboundRequestId, ProtocolSupport},
};

pub use self::message::{FindNode, Near};
use super::direct_only::DirectOnly;
use crate::{
    node::{DhtAnswer, DhtId, DhtTarget, TraceStep, TraceView, dht_protocol},
    peers::Role,
    primitives::{Hash, Mono},
};

/// Questions at once, and how many of the nearest have to have answered: as in Kademlia.
const AT_ONCE: usize = 3;
const NEAREST: usize = 20;
/// The most questions of one lookup, and the longest it takes.
const MAX_STEPS: usize = 100;
const LONGEST_MILLIS: u64 = 60_000;
/// The most peers that are remembered: those told of by all who may be asked.
const MAX_HEARD: usize = MAX_STEPS * NEAREST;

pub(super) type Tracer = DirectOnly<request_response::Behaviour<FindNode>>;
pub(super) type TracerEvent = request_response::Event<Vec<u8>, Vec<Near>>;

/// Asks questions of Kademlia on the chain with this genesis, and answers none: those are Kademlia's.
pub(super) fn tracer(role: Role, genesis: Option<&Hash>, config: request_response::Config) -> Tracer {
    let name = genesis.and_then(|genesis| StreamProtocol::try_from_owned(dht_protocol(genesis)).ok());
    let protocols = name.map(|name| (name, ProtocolSupport::Outbound));
    DirectOnly::new(role, request_response::Behaviour::with_codec(FindNode, protocols, config), ())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Heard,
    Asked,
    Answered,
    Failed,
}

struct Candidate {
    near: Near,
    state: State,
    /// The step that told of it, from 1; 0 for those in our table.
    from: usize,
}

struct Trace {
    id: DhtId,
    /// What is asked for.
    wanted: Vec<u8>,
    target: KBucketKey<Vec<u8>>,
    begun: Mono,
    heard: BTreeMap<KBucketDistance, Candidate>,
    steps: Vec<TraceStep>,
    asked: BTreeMap<OutboundRequestId, (usize, KBucketDistance)>,
}

/// The lookups that are being watched.
#[derive(Default)]
pub(super) struct Traces(Vec<Trace>);

impl Traces {
    /// Begins a lookup from these peers.
    pub(super) fn begin(
        &mut self,
        local: PeerId,
        id: DhtId,
        target: DhtTarget,
        table: Vec<(PeerId, Vec<Multiaddr>)>,
        now: Mono,
    ) {
        let wanted = match target {
            DhtTarget::Peer(peer) => peer.to_bytes(),
            DhtTarget::Key(key) => super::dht::record_key(&key).to_vec(),
        };
        let target = KBucketKey::new(wanted.clone());
        let mut trace = Trace {
            id,
            wanted,
            target,
            begun: now,
            heard: BTreeMap::new(),
            steps: Vec::new(),
            asked: BTreeMap::new(),
        };
        for (peer, addresses) in table {
            trace.hear(local, Near { peer, addresses }, 0);
        }
        self.0.push(trace);
    }

    /// Asks what is to be asked next; answers with a lookup that has ended.
    pub(super) fn go_on(
        &mut self,
        tracer: &mut Tracer,
        only_relayed: impl Fn(&PeerId) -> bool,
        now: Mono,
    ) -> Option<(DhtId, DhtAnswer)> {
        for trace in &mut self.0 {
            while let Some(distance) = trace.next(now) {
                trace.ask(tracer, distance, &only_relayed, now);
            }
        }
        let ended = self.0.iter().position(|trace| trace.asked.is_empty())?;
        let trace = self.0.swap_remove(ended);
        Some((trace.id, DhtAnswer::Trace(Box::new(trace.report(now)))))
    }

    /// A question was answered, or will never be.
    pub(super) fn came(&mut self, local: PeerId, event: TracerEvent, now: Mono) {
        let (request, outcome) = match event {
            request_response::Event::Message {
                message: request_response::Message::Response { request_id, response },
                ..
            } => (request_id, Ok(response)),
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                (request_id, Err(error.to_string()))
            }
            _ => return,
        };
        for trace in &mut self.0 {
            if let Some((step, distance)) = trace.asked.remove(&request) {
                trace.came(local, step, distance, outcome, now);
                return;
            }
        }
    }
}

impl Trace {
    /// Takes note of a peer. Returns whether it is nearer than all so far.
    fn hear(&mut self, local: PeerId, near: Near, from: usize) -> bool {
        let distance = self.target.distance(&KBucketKey::from(near.peer));
        let nearest = self.heard.keys().next().is_none_or(|nearest| distance < *nearest);
        if near.peer == local || self.heard.len() >= MAX_HEARD || self.heard.contains_key(&distance) {
            return false;
        }
        self.heard.insert(distance, Candidate { near, state: State::Heard, from });
        nearest
    }

    fn next(&self, now: Mono) -> Option<KBucketDistance> {
        let over = self.steps.len() >= MAX_STEPS || now - self.begun > LONGEST_MILLIS;
        if self.asked.len() >= AT_ONCE || over {
            return None;
        }
        let alive = self.heard.iter().filter(|(_, candidate)| candidate.state != State::Failed).take(NEAREST);
        let mut heard = alive.filter(|(_, candidate)| candidate.state == State::Heard);
        heard.next().map(|(distance, _)| *distance)
    }

    fn ask(
        &mut self,
        tracer: &mut Tracer,
        distance: KBucketDistance,
        only_relayed: &impl Fn(&PeerId) -> bool,
        now: Mono,
    ) {
        let Some(candidate) = self.heard.get_mut(&distance) else { return };
        let peer = candidate.near.peer;
        let mut step = TraceStep {
            peer: peer.to_string(),
            distance: format!("{:064x}", distance.0),
            distance_bits: distance.ilog2().map_or(0, |bits| bits + 1),
            told_by: candidate.from,
            asked_millis: now - self.begun,
            took_millis: None,
            told: 0,
            nearer: 0,
            failed: None,
        };
        // A dial that a relayed connection stands in the way of is never over.
        let addresses: Vec<_> =
            candidate.near.addresses.iter().filter(|address| tracer.may_dial(address)).cloned().collect();
        if !tracer.is_connected(&peer) && (only_relayed(&peer) || addresses.is_empty()) {
            candidate.state = State::Failed;
            step.failed = Some("it cannot be reached directly".to_owned());
        } else {
            candidate.state = State::Asked;
            let request = tracer.send_request_with_addresses(&peer, self.wanted.clone(), addresses);
            self.asked.insert(request, (self.steps.len(), distance));
        }
        self.steps.push(step);
    }

    fn came(
        &mut self,
        local: PeerId,
        step: usize,
        distance: KBucketDistance,
        outcome: Result<Vec<Near>, String>,
        now: Mono,
    ) {
        let state = if outcome.is_ok() { State::Answered } else { State::Failed };
        if let Some(candidate) = self.heard.get_mut(&distance) {
            candidate.state = state;
        }
        let (mut told, mut nearer, mut failed) = (0, 0, None);
        match outcome {
            Ok(peers) => {
                told = peers.len();
                nearer = peers.into_iter().filter(|near| self.hear(local, near.clone(), step + 1)).count();
            }
            Err(error) => failed = Some(error),
        }
        if let Some(step) = self.steps.get_mut(step) {
            step.took_millis = Some((now - self.begun) - step.asked_millis);
            (step.told, step.nearer, step.failed) = (told, nearer, failed);
        }
    }

    fn report(self, now: Mono) -> TraceView {
        let answered = self.heard.iter().filter(|(_, candidate)| candidate.state == State::Answered);
        let nearest = answered.take(NEAREST).map(|(_, candidate)| candidate.near.peer.to_string()).collect();
        TraceView {
            key: hex::encode(self.target.hashed_bytes()),
            known: self.heard.values().filter(|candidate| candidate.from == 0).count(),
            steps: self.steps,
            nearest,
            took_millis: now - self.begun,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn nobody_is_asked_at_a_door_in_our_own_network() {
        let mut tracer = tracer(Role::Native, Some(&Hash([1; 32])), request_response::Config::default());
        let mut traces = Traces::default();
        let table = vec![(PeerId::random(), vec!["/ip4/192.168.0.1/tcp/1".parse().unwrap()])];
        traces.begin(PeerId::random(), DhtId(1), DhtTarget::Key(Hash([2; 32])), table, Mono(0));
        let Some((_, DhtAnswer::Trace(view))) = traces.go_on(&mut tracer, |_| false, Mono(0)) else {
            panic!("somebody was asked");
        };
        assert!(view.steps.len() == 1 && view.steps[0].failed.is_some());
    }

    /// A lookup that is begun with so many peers, none of whom can be reached, and goes on first at this time.
    fn watched(peers: usize, at: u64) -> TraceView {
        let mut tracer = tracer(Role::Native, Some(&Hash([1; 32])), request_response::Config::default());
        let mut traces = Traces::default();
        let table = (0..peers).map(|_| (PeerId::random(), Vec::new())).collect();
        traces.begin(PeerId::random(), DhtId(1), DhtTarget::Key(Hash([2; 32])), table, Mono(0));
        let Some((_, DhtAnswer::Trace(view))) = traces.go_on(&mut tracer, |_| false, Mono(at)) else {
            panic!("somebody was asked");
        };
        *view
    }

    #[test]
    fn a_lookup_asks_so_many_and_for_so_long_and_then_ends() {
        let asked = |peers, at| watched(peers, at).steps.len();
        assert_eq!([asked(MAX_STEPS, 0), asked(MAX_STEPS + 1, 0)], [MAX_STEPS; 2]);
        assert_eq!([asked(3, LONGEST_MILLIS), asked(3, LONGEST_MILLIS + 1)], [3, 0]);
    }

    #[test]
    fn so_many_peers_are_remembered_whoever_tells_of_them() {
        assert_eq!([watched(MAX_HEARD, 0).known, watched(MAX_HEARD + 1, 0).known], [MAX_HEARD; 2]);
    }
}
