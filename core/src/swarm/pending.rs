//! Lets no host keep the places of connections that are not secured yet.
//!
//! There are few of those, since they cost whoever opens them nothing; if one host could hold them all by saying nothing, nobody else would get
//! in.

use std::{
    collections::BTreeMap,
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

use crate::{peers::AddressRange, primitives::Held};

/// The connections that hosts have opened and that are not secured yet.
#[derive(Debug)]
pub struct Pending {
    /// The most of one host.
    most: usize,
    opened: BTreeMap<ConnectionId, AddressRange>,
}

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from that host are not secured yet")]
struct FromCrowd;

impl Pending {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, opened: BTreeMap::new() }
    }

    /// How many there are of the host that has most.
    pub(super) fn held(&self) -> Held {
        let mut hosts: Vec<_> = self.opened.values().collect();
        hosts.sort();
        let most = hosts.chunk_by(|one, other| one == other).map(<[_]>::len).max().unwrap_or(0);
        Held::new("connections of a host that are not secured", most, self.most)
    }
}

impl NetworkBehaviour for Pending {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        // In our own network, and behind a relay, hosts are not told apart.
        let Some(host) = AddressRange::of_host(remote) else { return Ok(()) };
        if self.opened.values().filter(|other| **other == host).count() >= self.most {
            return Err(ConnectionDenied::new(FromCrowd));
        }
        self.opened.insert(id, host);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.opened.remove(&id);
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

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.opened.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use libp2p::swarm::{ListenError, behaviour::ListenFailure};

    use super::*;

    const MOST: usize = 4;

    fn opens(pending: &mut Pending, id: usize, remote: &str) -> bool {
        let (id, local) = (ConnectionId::new_unchecked(id), Multiaddr::empty());
        pending.handle_pending_inbound_connection(id, &local, &remote.parse().unwrap()).is_ok()
    }

    #[test]
    fn one_host_cannot_keep_the_places_of_all() {
        let mut pending = Pending::new(MOST);
        let let_in = (0..100).filter(|id| opens(&mut pending, *id, "/ip4/9.9.9.9/tcp/5")).count();
        assert_eq!(let_in, MOST);
        assert!(opens(&mut pending, 200, "/ip4/9.9.9.8/tcp/5"), "its neighbour is another host");
        let let_in =
            (300..400).filter(|id| opens(&mut pending, *id, "/ip6/2a01:4f8::1/udp/5/quic-v1")).count();
        assert_eq!(let_in, MOST);
        assert!(!opens(&mut pending, 500, "/ip6/2a01:4f8::2/tcp/5"), "a host of IPv6 has many addresses");
        for id in 600..700 {
            assert!(opens(&mut pending, id, "/ip4/127.0.0.1/tcp/5"), "a proxy may be there");
        }
    }

    #[test]
    fn a_place_is_free_once_the_connection_is_secured_or_has_failed() {
        let (mut pending, nowhere) = (Pending::new(1), Multiaddr::empty());
        assert!(
            opens(&mut pending, 1, "/ip4/9.9.9.9/tcp/5") && !opens(&mut pending, 2, "/ip4/9.9.9.9/tcp/6")
        );
        let (first, peer) = (ConnectionId::new_unchecked(1), PeerId::random());
        pending.handle_established_inbound_connection(first, peer, &nowhere, &nowhere).unwrap();
        assert!(
            opens(&mut pending, 3, "/ip4/9.9.9.9/tcp/5") && !opens(&mut pending, 4, "/ip4/9.9.9.9/tcp/6")
        );
        pending.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
            local_addr: &nowhere,
            send_back_addr: &nowhere,
            error: &ListenError::Aborted,
            connection_id: ConnectionId::new_unchecked(3),
            peer_id: None,
        }));
        assert!(opens(&mut pending, 5, "/ip4/9.9.9.9/tcp/5"));
    }
}
