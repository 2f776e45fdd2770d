//! Counts connections, and refuses those that are too many.
//!
//! The library has a behaviour for it, but that keeps an entry for every peer that ever was connected: who comes again and again under a new
//! key, which costs nothing, would fill memory. Here nothing is kept of those who are gone.

use std::{
    collections::{BTreeMap, BTreeSet},
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

use super::Limits;

/// The connections that there are, and those that are being secured.
#[derive(Debug)]
pub struct Places {
    limits: Limits,
    inbound: Way,
    outbound: Way,
    /// Open ones with each peer that has any.
    peers: BTreeMap<PeerId, u32>,
}

/// The connections that one side opened.
#[derive(Debug, Default)]
struct Way {
    pending: BTreeSet<ConnectionId>,
    open: u32,
}

/// Why a connection is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Full {
    #[error("too many connections are being secured: {0} at most")]
    Pending(u32),
    #[error("too many connections that others opened: {0} at most")]
    Inbound(u32),
    #[error("too many connections that this peer opened: {0} at most")]
    Outbound(u32),
    #[error("too many connections with that peer: {0} at most")]
    OfPeer(u32),
}

impl Way {
    fn begin(&mut self, id: ConnectionId, most: u32) -> Result<(), ConnectionDenied> {
        if self.pending.len() >= most as usize {
            return Err(ConnectionDenied::new(Full::Pending(most)));
        }
        self.pending.insert(id);
        Ok(())
    }
}

impl Places {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, inbound: Way::default(), outbound: Way::default(), peers: BTreeMap::new() }
    }

    /// Whether another connection with this peer may open, of which there may be so many that this side opened.
    fn open(&self, peer: &PeerId, way: &Way, most: u32, full: Full) -> Result<(), Full> {
        if way.open >= most {
            return Err(full);
        }
        let of_peer = self.peers.get(peer).copied().unwrap_or_default();
        if of_peer >= self.limits.per_peer {
            return Err(Full::OfPeer(self.limits.per_peer));
        }
        Ok(())
    }

    const fn way(&mut self, dialled: bool) -> &mut Way {
        if dialled { &mut self.outbound } else { &mut self.inbound }
    }
}

impl NetworkBehaviour for Places {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inbound.begin(id, self.limits.pending)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inbound.pending.remove(&id);
        let most = self.limits.inbound;
        self.open(&peer, &self.inbound, most, Full::Inbound(most)).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.outbound.begin(id, self.limits.pending)?;
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.outbound.pending.remove(&id);
        let most = self.limits.outbound;
        self.open(&peer, &self.outbound, most, Full::Outbound(most)).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(opened) => {
                self.way(opened.endpoint.is_dialer()).open += 1;
                *self.peers.entry(opened.peer_id).or_default() += 1;
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.way(closed.endpoint.is_dialer()).open -= 1;
                if closed.remaining_established == 0 {
                    self.peers.remove(&closed.peer_id);
                } else if let Some(count) = self.peers.get_mut(&closed.peer_id) {
                    *count -= 1;
                }
            }
            FromSwarm::DialFailure(failure) => {
                self.outbound.pending.remove(&failure.connection_id);
            }
            FromSwarm::ListenFailure(failure) => {
                self.inbound.pending.remove(&failure.connection_id);
            }
            _ => {}
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

    use libp2p::{
        core::ConnectedPoint,
        swarm::{ConnectionClosed, DialError, ListenError, behaviour::*},
    };

    use super::*;

    const LIMITS: Limits = Limits { inbound: 5, outbound: 3, pending: 4, pending_of_host: 4, per_peer: 2 };

    fn nowhere() -> Multiaddr {
        Multiaddr::empty()
    }

    fn endpoint(dialled: bool) -> ConnectedPoint {
        if dialled {
            let (role_override, port_use) = (Endpoint::Dialer, PortUse::Reuse);
            ConnectedPoint::Dialer { address: nowhere(), role_override, port_use }
        } else {
            ConnectedPoint::Listener { local_addr: nowhere(), send_back_addr: nowhere() }
        }
    }

    /// A connection begins; whether it may.
    fn begins(places: &mut Places, id: usize, dialled: bool) -> bool {
        let (id, at) = (ConnectionId::new_unchecked(id), nowhere());
        if dialled {
            places.handle_pending_outbound_connection(id, None, &[], Endpoint::Dialer).is_ok()
        } else {
            places.handle_pending_inbound_connection(id, &at, &at).is_ok()
        }
    }

    /// One is secured; why it may not open.
    fn opens(places: &mut Places, id: usize, peer: PeerId, dialled: bool) -> Option<Full> {
        let (id, at) = (ConnectionId::new_unchecked(id), nowhere());
        let secured = if dialled {
            places.handle_established_outbound_connection(id, peer, &at, Endpoint::Dialer, PortUse::Reuse)
        } else {
            places.handle_established_inbound_connection(id, peer, &at, &at)
        };
        match secured {
            Err(denied) => Some(denied.downcast().unwrap()),
            Ok(_) => {
                let endpoint = endpoint(dialled);
                places.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                    peer_id: peer,
                    connection_id: id,
                    endpoint: &endpoint,
                    failed_addresses: &[],
                    other_established: 0,
                }));
                None
            }
        }
    }

    fn closes(places: &mut Places, id: usize, peer: PeerId, dialled: bool, remaining: usize) {
        let endpoint = endpoint(dialled);
        places.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: peer,
            connection_id: ConnectionId::new_unchecked(id),
            endpoint: &endpoint,
            cause: None,
            remaining_established: remaining,
        }));
    }

    #[test]
    fn so_many_are_secured_at_a_time_each_way_until_they_are_or_fail() {
        let mut places = Places::new(LIMITS);
        for (first, dialled) in [(0, false), (100, true)] {
            let begun = (first..first + 10).filter(|id| begins(&mut places, *id, dialled)).count();
            assert_eq!(begun, LIMITS.pending as usize);
            assert_eq!(opens(&mut places, first, PeerId::random(), dialled), None);
            assert!(begins(&mut places, first + 20, dialled) && !begins(&mut places, first + 21, dialled));
        }
        let (at, error) = (nowhere(), ListenError::Aborted);
        places.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
            local_addr: &at,
            send_back_addr: &at,
            error: &error,
            connection_id: ConnectionId::new_unchecked(1),
            peer_id: None,
        }));
        places.on_swarm_event(FromSwarm::DialFailure(DialFailure {
            peer_id: None,
            error: &DialError::Aborted,
            connection_id: ConnectionId::new_unchecked(101),
        }));
        for (id, dialled) in [(30, false), (130, true)] {
            assert!(begins(&mut places, id, dialled) && !begins(&mut places, id + 1, dialled));
        }
    }

    #[test]
    fn so_many_are_open_each_way_and_with_one_peer() {
        let mut places = Places::new(LIMITS);
        let peer = PeerId::random();
        assert_eq!(opens(&mut places, 0, peer, false), None);
        assert_eq!(opens(&mut places, 1, peer, true), None);
        for dialled in [false, true] {
            assert_eq!(opens(&mut places, 2, peer, dialled), Some(Full::OfPeer(LIMITS.per_peer)));
        }
        for id in 10..14 {
            assert_eq!(opens(&mut places, id, PeerId::random(), false), None);
        }
        assert_eq!(opens(&mut places, 20, PeerId::random(), false), Some(Full::Inbound(LIMITS.inbound)));
        for id in 21..23 {
            assert_eq!(opens(&mut places, id, PeerId::random(), true), None);
        }
        assert_eq!(opens(&mut places, 30, PeerId::random(), true), Some(Full::Outbound(LIMITS.outbound)));
        closes(&mut places, 0, peer, false, 1);
        assert_eq!(opens(&mut places, 31, peer, false), None, "there is room again");
        assert_eq!(opens(&mut places, 32, peer, false), Some(Full::Inbound(LIMITS.inbound)));
    }

    #[test]
    fn nothing_is_kept_of_those_who_are_gone() {
        let mut places = Places::new(LIMITS);
        for id in 0..1_000 {
            let peer = PeerId::random();
            assert!(begins(&mut places, id, false));
            assert_eq!(opens(&mut places, id, peer, false), None);
            closes(&mut places, id, peer, false, 0);
        }
        assert!(places.peers.is_empty() && places.inbound.pending.is_empty());
    }
}
