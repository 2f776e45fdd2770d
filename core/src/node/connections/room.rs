//! Room for those who connect to us: while there is none, a connection closes for each new one.

use libp2p::PeerId;

use super::{Connection, Connections, Peer};
use crate::{
    node::{ConnectionId, Link, Output, effects::Effects},
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

    /// Somebody has connected to us. If more such connections are open than may be, one closes: a further one to a peer that has
    /// another, or else those of a peer that does not keep its place. Who is on the way out counts no more, so that one who closes slowly
    /// gains nothing.
    pub(super) fn make_room(&mut self, fx: &mut Effects, newcomer: PeerId) {
        let open = self.peers.values().flat_map(Peer::open);
        if open.filter(|it| !it.outbound).count() <= self.max_inbound {
            return;
        }
        if let Some((peer, connection)) = self.surplus() {
            fx.refuse("inbound-surplus");
            tracing::debug!(%peer, "there is no room: of a peer's several connections one closes");
            if let Some(closing) =
                self.peers.get_mut(&peer).and_then(|state| state.connections.get_mut(&connection))
            {
                closing.closing = true;
            }
            return fx.push(Output::Close { peer, connection });
        }
        let now = fx.now.mono;
        let guests: Vec<_> = self
            .peers
            .iter()
            .filter(|(peer, _)| **peer != newcomer && !self.keeps_its_place(peer))
            .filter_map(|(peer, state)| {
                Some(Guest {
                    peer: *peer,
                    group: Group::of(&state.guest_at()?.address),
                    since: state.virtues.since,
                    ping: state.virtues.least_ping,
                    block: state.virtues.block,
                    transaction: state.virtues.transaction,
                    score: self.ledger.score(peer, now),
                })
            })
            .collect();
        let newcomer = Some(newcomer).filter(|newcomer| !self.keeps_its_place(newcomer));
        let evicted = self.evicts.then(|| to_leave(&guests, &self.group_key)).flatten();
        fx.refuse(if evicted.is_some() { "inbound-evicted" } else { "inbound-full" });
        let Some(leaves) = evicted.or(newcomer) else { return };
        tracing::debug!(peer = %leaves, "there is no room: a peer that had connected to us leaves");
        self.show_out(fx, &leaves);
    }

    /// Ends all connections to a peer.
    pub(super) fn show_out(&mut self, fx: &mut Effects, peer: &PeerId) {
        let state = self.peers.get_mut(peer);
        for connection in state.into_iter().flat_map(|state| state.connections.values_mut()) {
            connection.closing = true;
        }
        fx.push(Output::Disconnect(*peer));
    }

    /// Whether a person wants it here.
    fn keeps_its_place(&self, peer: &PeerId) -> bool {
        self.is_named(peer) || self.ledger.is_trusted(peer)
    }

    /// The youngest connection that others opened beside one that is as good, of the peer with most.
    fn surplus(&self) -> Option<(PeerId, ConnectionId)> {
        let spare = |(peer, state): (&PeerId, &Peer)| {
            let open = state.open().count();
            let direct = state.open().filter(|it| it.link == Link::Direct).count();
            let mut spare: Vec<_> = state
                .connections
                .iter()
                .filter(|(_, it)| !it.closing && !it.outbound)
                .filter(|(_, it)| if it.link == Link::Direct { direct > 1 } else { open > 1 })
                .map(|(id, it)| (it.link == Link::Relayed, *id))
                .collect();
            spare.sort_unstable();
            spare.last().map(|(_, id)| (open, *peer, *id))
        };
        self.peers.iter().filter_map(spare).max().map(|(_, peer, id)| (peer, id))
    }
}

impl Peer {
    /// The connections that are not on their way out.
    fn open(&self) -> impl Iterator<Item = &Connection> {
        self.connections.values().filter(|it| !it.closing)
    }

    /// One of its connections if it is here because it connected to us, a direct one if it has any.
    fn guest_at(&self) -> Option<&Connection> {
        let direct = |it: &&Connection| it.link == Link::Direct;
        let is_direct = self.open().any(|it| direct(&it));
        let mut counted = self.open().filter(|it| !is_direct || direct(it)).peekable();
        let first = counted.peek().copied();
        counted.all(|it| !it.outbound).then_some(first)?
    }
}
