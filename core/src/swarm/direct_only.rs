//! Keeps a protocol off relayed connections.
//!
//! rust-libp2p knows no limited connections: gossip and requests begin on a circuit as on any other connection, and are cut
//! when the relay's limit is reached. [`DirectOnly`] goes around a behaviour that is for direct connections and hides the
//! others from it, so a peer that is reached over a circuit alone is to it no peer at all, one that is reached both ways is
//! served over the direct one, and when that closes, the peer is gone.
//!
//! What such a behaviour knows of addresses, strangers have told it. So of those that it adds to a dial only such are taken that can be
//! dialled here and that reach as far as the furthest connection: nobody sends us to doors in our own network.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    task::{Context, Poll},
};

use either::Either;
use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    multiaddr::Protocol,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::{ConnectionClosed, ConnectionEstablished},
        dummy,
    },
};

use crate::peers::{Role, Scope, can_dial, is_believable};

/// Whether a connection with this address goes through a relay: one that is only signalled there (`/p2p-circuit/webrtc`) does
/// not.
pub(super) fn is_circuit(address: &Multiaddr) -> bool {
    address.iter().fold(false, |circuit, part| match part {
        Protocol::P2pCircuit => true,
        Protocol::WebRTC => false,
        _ => circuit,
    })
}

/// The same of an open connection.
pub(super) fn is_relayed(endpoint: &ConnectedPoint) -> bool {
    is_circuit(match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
    })
}

/// The open direct connections, each with how far it reaches.
#[derive(Default)]
struct Direct(BTreeMap<PeerId, Vec<(ConnectionId, Option<Scope>)>>);

impl Direct {
    /// Takes note of a new connection and says how many there were to the peer.
    fn opened(&mut self, peer: PeerId, id: ConnectionId, scope: Option<Scope>) -> usize {
        let open = self.0.entry(peer).or_default();
        open.push((id, scope));
        open.len() - 1
    }

    /// Forgets a connection and says how many are left to the peer.
    fn closed(&mut self, peer: PeerId, id: ConnectionId) -> usize {
        let Some(open) = self.0.get_mut(&peer) else { return 0 };
        open.retain(|(other, _)| *other != id);
        let left = open.len();
        if left == 0 {
            self.0.remove(&peer);
        }
        left
    }

    /// One of the peer's connections: the oldest.
    fn any(&self, peer: &PeerId) -> Option<ConnectionId> {
        self.0.get(peer)?.first().map(|(id, _)| *id)
    }

    /// How far the furthest reaches.
    fn furthest(&self) -> Scope {
        self.0.values().flatten().filter_map(|(_, scope)| *scope).max().unwrap_or(Scope::World)
    }
}

/// A behaviour that sees direct connections only, and what its owner keeps beside it.
pub struct DirectOnly<B, N = ()> {
    inner: B,
    role: Role,
    pub(super) notes: N,
    direct: Direct,
}

impl<B, N> DirectOnly<B, N> {
    pub(super) fn new(role: Role, inner: B, notes: N) -> Self {
        Self { inner, role, notes, direct: Direct::default() }
    }

    /// Whether an address may be dialled that some stranger told.
    pub(super) fn may_dial(&self, address: &Multiaddr) -> bool {
        can_dial(self.role, address) && is_believable(self.role, address, self.direct.furthest())
    }
}

impl<B, N> Deref for DirectOnly<B, N> {
    type Target = B;

    fn deref(&self) -> &B {
        &self.inner
    }
}

impl<B, N> DerefMut for DirectOnly<B, N> {
    fn deref_mut(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B: NetworkBehaviour, N: 'static> NetworkBehaviour for DirectOnly<B, N> {
    type ConnectionHandler = Either<THandler<B>, dummy::ConnectionHandler>;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_circuit(local) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote).map(Either::Left)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut told = self.inner.handle_pending_outbound_connection(id, peer, addresses, role)?;
        told.retain(|address| self.may_dial(address));
        Ok(told)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if is_circuit(address) {
            return Ok(Either::Right(dummy::ConnectionHandler));
        }
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use).map(Either::Left)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let event = match event {
            FromSwarm::ConnectionEstablished(event) if is_relayed(event.endpoint) => return,
            FromSwarm::ConnectionEstablished(event) => {
                let scope = Scope::of(event.endpoint.get_remote_address());
                let other_established = self.direct.opened(event.peer_id, event.connection_id, scope);
                FromSwarm::ConnectionEstablished(ConnectionEstablished { other_established, ..event })
            }
            FromSwarm::ConnectionClosed(event) if is_relayed(event.endpoint) => return,
            FromSwarm::ConnectionClosed(event) => {
                let remaining_established = self.direct.closed(event.peer_id, event.connection_id);
                FromSwarm::ConnectionClosed(ConnectionClosed { remaining_established, ..event })
            }
            FromSwarm::AddressChange(event) if is_relayed(event.old) => return,
            other => other,
        };
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {
            Either::Left(event) => self.inner.on_connection_handler_event(peer, id, event),
            Either::Right(never) => match never {},
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            let Poll::Ready(action) = self.inner.poll(cx) else { return Poll::Pending };
            let action = match action {
                ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::Any, event } => {
                    // As with the swarm's own choice, what is meant for a peer that is gone is dropped.
                    let Some(id) = self.direct.any(&peer_id) else { continue };
                    ToSwarm::NotifyHandler { peer_id, handler: NotifyHandler::One(id), event }
                }
                other => other,
            };
            return Poll::Ready(action.map_in(Either::Left));
        }
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
