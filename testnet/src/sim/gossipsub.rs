//! A model of gossipsub v1.2, from its specification: a mesh for each topic, kept by heartbeats, GRAFT and PRUNE with
//! backoff; IHAVE and IWANT from a cache of messages; IDONTWANT on receipt, before the verdict; scores; own messages to all
//! subscribers. Its numbers are [`MeshParameters`] and [`ScoreParameters`], which the swarm gives to the library.
//!
//! Simplified, and so labelled: PRUNE brings no peer exchange, there is no fanout (a peer publishes only where it takes
//! part), of the scores P1, P2, P4, P5 and P7 count (P3 and P6 are off in Weft), and a copy that waits in an
//! uplink's queue is not taken back by a late IDONTWANT. Control messages of which the model can tell that they change
//! nothing are counted and not delivered.
//!
//! [`ScoreParameters`]: weft_core::gossip::ScoreParameters

mod heartbeat;
mod neighbour;
mod router;
mod rules;

use std::sync::Arc;

pub(super) use neighbour::Neighbour;
pub(super) use router::Router;
use rules::{MAX_ASKED, MAX_IHAVES, Part, RETRANSMISSIONS};
pub use rules::{Rules, library};
use weft_core::{
    gossip::{MeshParameters, Topic},
    node::Verdict,
};

use super::{
    event::Micros,
    gossip::{Gossip, Judging, Message, MessageIx, Rpc, TopicIx},
    peer::PeerIx,
    scripts::Scripts,
    world::World,
};

impl<S: Scripts> World<S> {
    /// The rules, where there is a mesh.
    fn rules(&self) -> Option<Arc<Rules>> {
        match &self.gossip {
            Gossip::Mesh(rules) => Some(Arc::clone(rules)),
            Gossip::Flood => None,
        }
    }

    fn part<'a>(&self, rules: &'a Rules, ix: PeerIx) -> &'a Part {
        let peer = &self.peers[ix.0];
        rules.of(peer.config.role, peer.is_scripted())
    }

    fn neighbour(&mut self, ix: PeerIx, other: PeerIx) -> Option<&mut Neighbour> {
        self.peers[ix.0].links.get_mut(&other).map(|link| &mut link.neighbour)
    }

    /// What gossip at a peer thinks of another; 0 where nobody is scored.
    #[must_use]
    pub fn score(&self, ix: PeerIx, other: PeerIx) -> f64 {
        let Gossip::Mesh(rules) = &self.gossip else { return 0.0 };
        let scores = self.part(rules, ix).scores.as_ref();
        let link = self.peers[ix.0].links.get(&other);
        link.map_or(0.0, |link| link.neighbour.score(scores))
    }

    /// The neighbours of a peer that take part in a topic and of which this holds.
    fn takers(&self, ix: PeerIx, topic: TopicIx, suits: impl Fn(PeerIx, &Neighbour) -> bool) -> Vec<PeerIx> {
        let links = self.peers[ix.0].links.iter();
        links
            .filter(|(other, link)| link.neighbour.takes_part(topic) && suits(**other, &link.neighbour))
            .map(|(other, _)| *other)
            .collect()
    }

    /// What a peer's ledger says of a neighbour (P5).
    pub(super) fn take_points(&mut self, ix: PeerIx, other: PeerIx, points: i32) {
        if let Some(neighbour) = self.neighbour(ix, other) {
            neighbour.standing.judged(points);
        }
    }

    /// The first connection to a neighbour is open.
    pub(super) fn mesh_met(&mut self, ix: PeerIx, other: PeerIx) {
        let topics = self.peers[ix.0].topics.clone();
        if !topics.is_empty() {
            self.send_rpc(ix, other, Rpc::Hello(topics));
        }
    }

    /// The last connection to a neighbour is gone.
    pub(super) fn mesh_lost(&mut self, ix: PeerIx, other: PeerIx) {
        self.peers[ix.0].router.forget(other);
    }

    pub(super) fn mesh_joined(&mut self, ix: PeerIx, topic: TopicIx) {
        self.peers[ix.0].router.join(topic);
        let neighbours: Vec<PeerIx> = self.peers[ix.0].links.keys().copied().collect();
        for other in neighbours {
            self.send_rpc(ix, other, Rpc::Subscribe(topic));
        }
        self.fill_own_mesh(ix, topic);
    }

    fn fill_own_mesh(&mut self, ix: PeerIx, topic: TopicIx) {
        if let Some(rules) = self.rules() {
            let mesh = &self.part(&rules, ix).mesh;
            self.fill_mesh(ix, topic, mesh);
        }
    }

    pub(super) fn mesh_left(&mut self, ix: PeerIx, topic: TopicIx) {
        let Some(rules) = self.rules() else { return };
        let backoff = self.part(&rules, ix).mesh.leave_backoff_millis * 1000;
        for other in self.peers[ix.0].router.leave(topic) {
            self.send_rpc(ix, other, Rpc::Prune(topic, backoff));
        }
        let neighbours: Vec<PeerIx> = self.peers[ix.0].links.keys().copied().collect();
        for other in neighbours {
            self.send_rpc(ix, other, Rpc::Unsubscribe(topic));
        }
    }

    /// Grafts what is missing to the mesh.
    fn fill_mesh(&mut self, ix: PeerIx, topic: TopicIx, rules: &MeshParameters) {
        let members = self.peers[ix.0].router.members(topic).len();
        if members >= rules.low {
            return;
        }
        let mut able = self.graftable(ix, topic);
        self.dice.draw(&mut able, rules.target - members);
        for other in able {
            self.graft(ix, other, topic);
        }
    }

    /// Whom a peer could graft now.
    fn graftable(&self, ix: PeerIx, topic: TopicIx) -> Vec<PeerIx> {
        let (router, now) = (&self.peers[ix.0].router, self.now);
        self.takers(ix, topic, |other, _| {
            !router.is_member(topic, other)
                && !router.backs_off(topic, other, now)
                && self.score(ix, other) >= 0.0
        })
    }

    fn graft(&mut self, ix: PeerIx, other: PeerIx, topic: TopicIx) {
        self.admit(ix, other, topic);
        self.send_rpc(ix, other, Rpc::Graft(topic));
    }

    fn admit(&mut self, ix: PeerIx, other: PeerIx, topic: TopicIx) {
        let peer = &mut self.peers[ix.0];
        peer.router.add(topic, other);
        if let Some(link) = peer.links.get_mut(&other) {
            link.neighbour.standing.grafted(self.names.of_topic(topic));
        }
    }

    fn expel(&mut self, ix: PeerIx, other: PeerIx, topic: TopicIx) {
        let peer = &mut self.peers[ix.0];
        peer.router.remove(topic, other);
        if let Some(link) = peer.links.get_mut(&other) {
            link.neighbour.standing.pruned(self.names.of_topic(topic));
        }
    }

    fn prune(&mut self, ix: PeerIx, other: PeerIx, topic: TopicIx) {
        let Some(rules) = self.rules() else { return };
        let backoff = self.part(&rules, ix).mesh.prune_backoff_millis * 1000;
        self.expel(ix, other, topic);
        self.peers[ix.0].router.back_off(topic, other, self.now + backoff);
        self.send_rpc(ix, other, Rpc::Prune(topic, backoff));
    }

    pub(super) fn mesh_heard(&mut self, ix: PeerIx, from: PeerIx, rpc: Rpc) {
        let Some(rules) = self.rules() else { return };
        let part = self.part(&rules, ix);
        let (mesh, score) = (&part.mesh, self.score(ix, from));
        if part.scores.as_ref().is_some_and(|scores| score < scores.graylist_threshold) {
            return;
        }
        let talks = part.scores.as_ref().is_none_or(|scores| score >= scores.gossip_threshold);
        match rpc {
            Rpc::Message(message) => self.mesh_message(ix, from, &message, part),
            Rpc::Hello(topics) => topics.into_iter().for_each(|topic| self.heard_joining(ix, from, topic)),
            Rpc::Subscribe(topic) => self.heard_joining(ix, from, topic),
            Rpc::Unsubscribe(topic) => {
                self.expel(ix, from, topic);
                if let Some(neighbour) = self.neighbour(ix, from) {
                    neighbour.leaves(topic);
                }
            }
            Rpc::Graft(topic) => self.grafted(ix, from, topic, score, mesh),
            Rpc::Prune(topic, backoff) => {
                self.expel(ix, from, topic);
                self.peers[ix.0].router.back_off(topic, from, self.now + backoff);
            }
            Rpc::IHave(topic, ids) if talks => self.told(ix, from, topic, &ids, mesh),
            Rpc::IWant(ids) if talks => self.asked(ix, from, &ids),
            Rpc::IHave(..) | Rpc::IWant(_) => {}
            Rpc::IDontWant(id) => {
                let now = self.now;
                if let Some(neighbour) = self.neighbour(ix, from) {
                    neighbour.does_not_want(id, now);
                }
            }
        }
    }

    fn heard_joining(&mut self, ix: PeerIx, from: PeerIx, topic: TopicIx) {
        if let Some(neighbour) = self.neighbour(ix, from) {
            neighbour.joins(topic);
        }
        if self.peers[ix.0].topics.contains(&topic) {
            self.fill_own_mesh(ix, topic);
        }
    }

    fn grafted(&mut self, ix: PeerIx, from: PeerIx, topic: TopicIx, score: f64, rules: &MeshParameters) {
        let peer = &self.peers[ix.0];
        if !peer.topics.contains(&topic) || peer.router.is_member(topic, from) {
            return;
        }
        let too_early = peer.router.backs_off(topic, from, self.now);
        let full = peer.router.members(topic).len() >= rules.high && !peer.has_dialled(from);
        if too_early && let Some(neighbour) = self.neighbour(ix, from) {
            neighbour.standing.lapsed();
        }
        if too_early || full || score < 0.0 {
            self.prune(ix, from, topic);
        } else {
            self.admit(ix, from, topic);
        }
    }

    /// IHAVE: asks for what is new.
    fn told(&mut self, ix: PeerIx, from: PeerIx, topic: TopicIx, ids: &[MessageIx], rules: &MeshParameters) {
        let now = self.now;
        let peer = &self.peers[ix.0];
        if !peer.topics.contains(&topic) {
            return;
        }
        let fresh = |id: &MessageIx| !peer.remembered.has(*id, now) && !peer.router.is_promised(*id, now);
        let mut wanted: Vec<MessageIx> = ids.iter().copied().filter(fresh).collect();
        let Some(neighbour) = self.neighbour(ix, from) else { return };
        neighbour.ihaves += 1;
        if neighbour.ihaves > MAX_IHAVES {
            return;
        }
        wanted.truncate(MAX_ASKED.saturating_sub(neighbour.asked));
        neighbour.asked += wanted.len();
        if wanted.is_empty() {
            return;
        }
        let until = now + rules.promise_millis * 1000;
        self.peers[ix.0].router.promise(from, &wanted, until);
        self.peers[ix.0].mesh.wanted += wanted.len() as u64;
        self.send_rpc(ix, from, Rpc::IWant(wanted));
    }

    /// IWANT: sends what is still cached.
    fn asked(&mut self, ix: PeerIx, from: PeerIx, ids: &[MessageIx]) {
        for id in ids {
            if let Some(message) = self.peers[ix.0].router.serve(*id, from, RETRANSMISSIONS) {
                self.send_rpc(ix, from, Rpc::Message(message));
            }
        }
    }

    fn mesh_message(&mut self, ix: PeerIx, from: PeerIx, message: &Arc<Message>, part: &Part) {
        if self.peers[ix.0].router.fulfil(message.index) {
            self.peers[ix.0].mesh.fetched += 1;
        }
        let Some(id) = self.take_message(ix, from, message) else {
            self.came_again(ix, from, message);
            return;
        };
        if message.bytes >= part.mesh.idontwant_bytes {
            let members = self.peers[ix.0].router.members(message.topic).to_vec();
            for other in members.into_iter().filter(|other| *other != from) {
                self.send_idontwant(ix, other, message);
            }
        }
        self.submit_to_judge(ix, from, message, id);
    }

    /// Another copy came. Who sent it while the first is judged is known to have it.
    pub(super) fn came_again(&mut self, ix: PeerIx, from: PeerIx, message: &Message) {
        let peer = &mut self.peers[ix.0];
        let waiting = peer.judging.values_mut().find(|judging| judging.message.index == message.index);
        if let Some(judging) = waiting {
            judging.also.push(from);
        }
    }

    fn send_idontwant(&mut self, ix: PeerIx, other: PeerIx, message: &Message) {
        self.peers[ix.0].mesh.idontwants += 1;
        let rpc = Rpc::IDontWant(message.index);
        let theirs = &self.peers[other.0];
        let passed_on = !self.queue.is_away(other)
            && theirs.remembered.has(message.index, self.now)
            && !theirs.judging.values().any(|judging| judging.message.index == message.index);
        if passed_on {
            let (kind, bytes) = rpc.weight();
            self.send_in_vain(ix, other, kind, bytes);
        } else {
            self.send_rpc(ix, other, rpc);
        }
    }

    pub(super) fn mesh_judged(&mut self, ix: PeerIx, judging: &Judging, verdict: Verdict, in_time: bool) {
        let Judging { message, from, also, .. } = judging;
        match verdict {
            Verdict::Accept => {
                self.note_delivered(ix, *from, message);
                if in_time {
                    self.peers[ix.0].router.cache(Arc::clone(message));
                    self.forward(ix, message, *from, also);
                }
            }
            Verdict::Ignore => {}
            Verdict::Reject => {
                for other in also.iter().chain([from]) {
                    if let Some(link) = self.peers[ix.0].links.get_mut(other) {
                        link.neighbour.standing.failed(self.names.of_topic(message.topic));
                    }
                }
            }
        }
    }

    fn note_delivered(&mut self, ix: PeerIx, from: PeerIx, message: &Message) {
        let Some(rules) = self.rules() else { return };
        let Some(scores) = &self.part(&rules, ix).scores else { return };
        if let Some(link) = self.peers[ix.0].links.get_mut(&from) {
            link.neighbour.standing.delivered(self.names.of_topic(message.topic), scores);
        }
    }

    fn forward(&mut self, ix: PeerIx, message: &Arc<Message>, from: PeerIx, also: &[PeerIx]) {
        let members = self.peers[ix.0].router.members(message.topic).to_vec();
        for other in members {
            if other != from && other != message.author && !also.contains(&other) {
                self.push(ix, other, message);
            }
        }
    }

    fn push(&mut self, ix: PeerIx, other: PeerIx, message: &Arc<Message>) {
        let link = self.peers[ix.0].links.get(&other);
        if link.is_some_and(|link| link.neighbour.wants(message.index, self.now)) {
            self.send_rpc(ix, other, Rpc::Message(Arc::clone(message)));
        } else {
            self.peers[ix.0].mesh.spared += 1;
        }
    }

    /// Sends an own message; answers to how many.
    pub(super) fn mesh_publish(&mut self, ix: PeerIx, message: &Arc<Message>) -> usize {
        let Some(rules) = self.rules() else { return 0 };
        let part = self.part(&rules, ix);
        self.peers[ix.0].router.cache(Arc::clone(message));
        let publish = part.scores.as_ref().map(|scores| scores.publish_threshold);
        let mut takers = self
            .takers(ix, message.topic, |other, _| publish.is_none_or(|least| self.score(ix, other) >= least));
        if !part.mesh.flood_publish {
            let router = &self.peers[ix.0].router;
            let (mut members, mut others): (Vec<PeerIx>, Vec<PeerIx>) =
                takers.into_iter().partition(|other| router.is_member(message.topic, *other));
            self.dice.draw(&mut others, part.mesh.target.saturating_sub(members.len()));
            members.append(&mut others);
            takers = members;
        }
        for &other in &takers {
            self.push(ix, other, message);
        }
        takers.len()
    }

    /// A peer's mesh on a topic, as it sees it.
    #[must_use]
    pub fn mesh(&self, ix: PeerIx, topic: &Topic) -> Vec<PeerIx> {
        let router = &self.peers[ix.0].router;
        let found = self.peers[ix.0].topics.iter().find(|other| self.names.of_topic(**other) == topic);
        found.map(|topic| router.members(*topic).to_vec()).unwrap_or_default()
    }
}

/// What a peer's part in meshes came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeshCounts {
    /// Messages asked for after IHAVE.
    pub wanted: u64,
    /// Of those, the ones that came while they were awaited.
    pub fetched: u64,
    /// IDONTWANT sent.
    pub idontwants: u64,
    /// Copies not sent because of IDONTWANT.
    pub spared: u64,
    /// Heartbeats.
    pub heartbeats: u64,
}

/// Between two heartbeats.
fn beat_of(parameters: &MeshParameters) -> Micros {
    parameters.heartbeat_millis.max(1) * 1000
}
