//! What the driver knows of a peer's numbers.

use super::{Engine, MAX_CALLS, Machine};
use crate::{
    gossip::Topic,
    node::metrics::Snapshot,
    primitives::Held,
    swarm::{Shell, gossip::MAX_TOPICS},
};

impl<S: Shell, N: Machine> Engine<S, N> {
    /// Adds what went over the wire to the node's numbers.
    pub(super) fn measure(&self, snapshot: &mut Snapshot) {
        let gossipsub = &self.swarm.behaviour().gossipsub;
        for (hash, topic) in self.gossip.topics() {
            let name = match topic {
                Topic::Block => "block".to_owned(),
                Topic::Vote => "vote".to_owned(),
                Topic::Evidence => "evidence".to_owned(),
                Topic::Chat(room) => format!("chat/{room}"),
            };
            snapshot.mesh.insert(name, gossipsub.mesh_peers(hash).count() as u64);
        }
        snapshot.gossip = gossipsub.notes.traffic();
        snapshot.requests = self.traffic.traffic();
        snapshot.held.extend(self.held());
    }

    /// How much the driver and the swarm hold of what strangers bring.
    fn held(&self) -> impl Iterator<Item = Held> {
        let behaviour = self.swarm.behaviour();
        let topics = behaviour.gossipsub.all_peers().map(|(_, topics)| topics.len()).max().unwrap_or(0);
        let own = [
            Held::new("topics of a peer", topics, MAX_TOPICS),
            Held::new("commands under way", self.calls.len(), MAX_CALLS),
            self.subscribers.held(),
            self.gossip.held(),
            self.requests.held(),
            behaviour.pending.held(),
        ];
        own.into_iter().chain(self.strangers.held())
    }
}
