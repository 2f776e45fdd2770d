//! Lets nobody in from ranges of addresses that are banned, before a handshake costs anything.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};

use crate::peers::AddressRange;

/// The ranges. What connections there already are, the node closes: it knows whom a person trusts.
#[derive(Debug, Default)]
pub struct Barred(BTreeSet<AddressRange>);

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
#[error("connections from that address are banned")]
struct FromBarred;

impl Barred {
    pub(super) fn close(&mut self, range: AddressRange) {
        self.0.insert(range);
    }

    pub(super) fn open(&mut self, range: &AddressRange) {
        self.0.remove(range);
    }
}

impl NetworkBehaviour for Barred {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.0.iter().any(|range| range.covers(remote)) {
            return Err(ConnectionDenied::new(FromBarred));
        }
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
