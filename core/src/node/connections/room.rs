//! Room for those who connect to us: while there is none, somebody leaves for each newcomer.

use libp2p::PeerId;

use super::{Connections, Peer};
use crate::{
    node::{Link, Output, effects::Effects},
    peers::{Group, Guest, Service, to_leave},
    primitives::Mono,
};

/// What is remembered of a connected peer's virtues.
#[derive(Debug, Default)]
pub(super) struct Virtues {
    since: Mono,
    /// Its shortest round trip, in milliseconds.
    pub(super) least_ping: Option<u64>,
    block: Option<Mono>,
    transaction: Option<Mono>,
}

impl Virtues {
    /// Those of a newcomer.
    pub(super) fn of(now: Mono) -> Self {
        Self { since: now, ..Self::default() }
    }
}

impl Connections {
    /// Notes who was of use.
    pub(super) fn credit(&mut self, fx: &mut Effects) {
        for (peer, service) in std::mem::take(&mut fx.services) {
            self.ledger.credit(peer, service, fx.now.mono);
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            match service {
                Service::Answer => {}
                Service::Block => state.virtues.block = Some(fx.now.mono),
                Service::Transaction => state.virtues.transaction = Some(fx.now.mono),
            }
        }
    }

    /// A peer has connected to us. If there are too many of those, one of the others leaves, or the newcomer when all of them
    /// keep their places.
    pub(super) fn make_room(&mut self, fx: &mut Effects, newcomer: PeerId) {
        let count = self.peers.values().filter(|state| state.is_guest()).count();
        if count <= self.max_inbound || self.is_named(&newcomer) || self.ledger.is_trusted(&newcomer) {
            return;
        }
        let now = fx.now.mono;
        let guests = self.peers.iter().filter(|(peer, state)| {
            state.is_guest()
                && **peer != newcomer
                && !state.leaving
                && !self.is_named(peer)
                && !self.ledger.is_trusted(peer)
        });
        let guests: Vec<_> = guests
            .filter_map(|(peer, state)| {
                let direct = state.connections.values().find(|it| it.link == Link::Direct)?;
                Some(Guest {
                    peer: *peer,
                    group: Group::of(&direct.address),
                    since: state.virtues.since,
                    ping: state.virtues.least_ping,
                    block: state.virtues.block,
                    transaction: state.virtues.transaction,
                    score: self.ledger.score(peer, now),
                })
            })
            .collect();
        let leaves = to_leave(&guests, &self.group_key).unwrap_or(newcomer);
        fx.refuse(if leaves == newcomer { "inbound-full" } else { "inbound-evicted" });
        tracing::debug!(peer = %leaves, "there is no room: a peer that had connected to us leaves");
        if let Some(state) = self.peers.get_mut(&leaves) {
            state.leaving = true;
        }
        fx.push(Output::Disconnect(leaves));
    }
}

impl Peer {
    /// Whether it is here because it connected to us, and not through a relay.
    fn is_guest(&self) -> bool {
        let mut direct = self.connections.values().filter(|it| it.link == Link::Direct).peekable();
        !self.leaving && direct.peek().is_some() && direct.all(|it| !it.outbound)
    }
}
