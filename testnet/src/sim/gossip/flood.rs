//! The flood: every copy goes to every connected subscriber that has not sent it, once, after the receiver before has accepted it.
//!
//! There is no mesh, no lazy gossip and no scoring, and who is subscribed is known without being said.

use std::sync::Arc;

use super::{Message, Rpc};
use crate::sim::{peer::PeerIx, scripts::Scripts, world::World};

impl<S: Scripts> World<S> {
    /// Sends a copy to everyone connected who listens and is not known to have it; answers how many that were.
    pub(super) fn flood(&mut self, ix: PeerIx, message: &Arc<Message>, have: &[PeerIx]) -> usize {
        let listeners: Vec<PeerIx> = self.peers[ix.0]
            .links
            .keys()
            .copied()
            .filter(|&to| {
                !have.contains(&to)
                    && to != message.author
                    && self.peers[to.0].topics.contains(&message.topic)
            })
            .collect();
        for &to in &listeners {
            self.send_rpc(ix, to, Rpc::Message(Arc::clone(message)));
        }
        listeners.len()
    }
}
