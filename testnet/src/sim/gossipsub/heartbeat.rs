//! The heartbeat: meshes are brought back to their size, and neighbours outside are told what there is.

use std::sync::Arc;

use weft_core::gossip::{MeshParameters, ScoreParameters};

use super::beat_of;
use crate::sim::{
    event::Event,
    gossip::{Gossip, MessageIx, Rpc, TopicIx},
    peer::PeerIx,
    scripts::Scripts,
    world::World,
};

impl<S: Scripts> World<S> {
    /// The peer has started; the first heartbeat comes at a time of its own.
    pub(in crate::sim) fn start_heartbeat(&mut self, ix: PeerIx) {
        if let Gossip::Mesh(rules) = &self.gossip {
            let beat = beat_of(&self.part(rules, ix).mesh);
            let first = self.dice.between(0, beat);
            self.queue.push(self.now + first, ix, self.peers[ix.0].life, Event::Heartbeat);
        }
    }

    pub(in crate::sim) fn heartbeat(&mut self, ix: PeerIx) {
        let Some(rules) = self.rules() else { return };
        let part = self.part(&rules, ix);
        let (rules, scores, now) = (&part.mesh, part.scores.as_ref(), self.now);
        self.peers[ix.0].mesh.heartbeats += 1;
        let beats = self.peers[ix.0].mesh.heartbeats;
        for link in self.peers[ix.0].links.values_mut() {
            link.neighbour.beat(scores, beat_of(rules), now);
        }
        for topic in self.peers[ix.0].router.topics() {
            if scores.is_some() {
                self.expel_unworthy(ix, topic);
            }
            self.fill_mesh(ix, topic, rules);
            self.thin_mesh(ix, topic, rules);
            self.reach_out(ix, topic, rules);
            if let Some(scores) = scores
                && beats.is_multiple_of(rules.opportunity_heartbeats.max(1))
            {
                self.take_opportunity(ix, topic, rules, scores);
            }
            self.tell_others(ix, topic, rules, scores);
        }
        for other in self.peers[ix.0].router.beat(rules.history, now) {
            if let Some(neighbour) = self.neighbour(ix, other) {
                neighbour.standing.lapsed();
            }
        }
        self.queue.push(now + beat_of(rules), ix, self.peers[ix.0].life, Event::Heartbeat);
    }

    fn expel_unworthy(&mut self, ix: PeerIx, topic: TopicIx) {
        let members = self.peers[ix.0].router.members(topic).to_vec();
        for other in members {
            if self.score(ix, other) < 0.0 {
                self.prune(ix, other, topic);
            }
        }
    }

    /// With too many in the mesh: keeps the best by score, and of the rest some by lot, so that enough of those kept were
    /// dialled by this peer.
    fn thin_mesh(&mut self, ix: PeerIx, topic: TopicIx, rules: &MeshParameters) {
        let mut members = self.peers[ix.0].router.members(topic).to_vec();
        if members.len() <= rules.high {
            return;
        }
        let all = members.len();
        self.dice.draw(&mut members, all);
        members.sort_by(|a, b| self.score(ix, *b).total_cmp(&self.score(ix, *a)));
        let rest = members.len().min(rules.best);
        let mut lot = members.split_off(rest);
        let count = lot.len();
        self.dice.draw(&mut lot, count);
        members.append(&mut lot);
        let peer = &self.peers[ix.0];
        let dialled = |other: &PeerIx| peer.has_dialled(*other);
        let kept = members[..rules.target].iter().filter(|other| dialled(other)).count();
        // Those dialled that lie beyond the cut change places with the last kept that were not.
        for _ in kept..rules.outbound {
            let beyond = (rules.target..members.len()).find(|place| dialled(&members[*place]));
            let within = (0..rules.target).rev().find(|place| !dialled(&members[*place]));
            if let (Some(beyond), Some(within)) = (beyond, within) {
                members.swap(beyond, within);
            }
        }
        for other in members.split_off(rules.target) {
            self.prune(ix, other, topic);
        }
    }

    /// With too few in the mesh that this peer dialled itself: grafts such.
    fn reach_out(&mut self, ix: PeerIx, topic: TopicIx, rules: &MeshParameters) {
        let peer = &self.peers[ix.0];
        let members = peer.router.members(topic);
        let have = members.iter().filter(|other| peer.has_dialled(**other)).count();
        if members.len() < rules.low || have >= rules.outbound {
            return;
        }
        let mut able = self.graftable(ix, topic);
        able.retain(|other| self.peers[ix.0].has_dialled(*other));
        self.dice.draw(&mut able, rules.outbound - have);
        for other in able {
            self.graft(ix, other, topic);
        }
    }

    /// With a mesh whose median score is low: grafts some who are worth more.
    fn take_opportunity(
        &mut self,
        ix: PeerIx,
        topic: TopicIx,
        rules: &MeshParameters,
        scores: &ScoreParameters,
    ) {
        let members = self.peers[ix.0].router.members(topic);
        let mut worth: Vec<f64> = members.iter().map(|other| self.score(ix, *other)).collect();
        worth.sort_by(f64::total_cmp);
        let Some(&median) = worth.get(worth.len() / 2) else { return };
        if median >= scores.opportunity_threshold {
            return;
        }
        let mut able = self.graftable(ix, topic);
        able.retain(|other| self.score(ix, *other) > median);
        self.dice.draw(&mut able, rules.opportunity_peers);
        for other in able {
            self.graft(ix, other, topic);
        }
    }

    /// IHAVE to some outside the mesh.
    fn tell_others(
        &mut self,
        ix: PeerIx,
        topic: TopicIx,
        rules: &MeshParameters,
        scores: Option<&ScoreParameters>,
    ) {
        let ids = self.peers[ix.0].router.recent(topic, rules.history_told);
        if ids.is_empty() {
            return;
        }
        let least = scores.map(|scores| scores.gossip_threshold);
        let router = &self.peers[ix.0].router;
        let mut others = self.takers(ix, topic, |other, _| {
            !router.is_member(topic, other) && least.is_none_or(|least| self.score(ix, other) >= least)
        });
        let share = (rules.gossip_factor * others.len() as f64) as usize;
        self.dice.draw(&mut others, rules.lazy.max(share));
        let ids: Arc<[MessageIx]> = ids.into();
        for other in others {
            let rpc = Rpc::IHave(topic, Arc::clone(&ids));
            let theirs = &self.peers[other.0];
            if !self.queue.is_away(other) && ids.iter().all(|id| theirs.remembered.has(*id, self.now)) {
                let (kind, bytes) = rpc.weight();
                self.send_in_vain(ix, other, kind, bytes);
            } else {
                self.send_rpc(ix, other, rpc);
            }
        }
    }
}
