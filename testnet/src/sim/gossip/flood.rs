//! The flood: every copy goes to every connected subscriber, once, after the receiver before has accepted it.
//!
//! There is no mesh, no lazy gossip and no scoring, and who is subscribed is known without being said.

use std::sync::Arc;

use super::{Message, Rpc};
use crate::sim::{peer::PeerIx, scripts::Scripts, world::World};

impl<S: Scripts> World<S> {
    /// Sends a copy to everyone connected who listens; answers how many that were.
    pub(super) fn flood(&mut self, ix: PeerIx, message: &Arc<Message>, except: Option<PeerIx>) -> usize {
        let listeners: Vec<PeerIx> = self.peers[ix.0]
            .links
            .keys()
            .copied()
            .filter(|&to| {
                Some(to) != except && to != message.author && self.peers[to.0].topics.contains(&message.topic)
            })
            .collect();
        for &to in &listeners {
            self.send_rpc(ix, to, Rpc::Message(Arc::clone(message)));
        }
        listeners.len()
    }
}
