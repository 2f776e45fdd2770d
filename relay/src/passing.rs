//! Passing connections on to peers that nobody can dial, how much of it there is, and for how many of one host.
//!
//! The library keeps to its limits and tells nobody how near they are. Its events are counted here, on their way to nobody. It limits how
//! often a host asks for slots, and not how many it has, so that one host could have them all in time: that is asked here, where the library asks
//! whether somebody comes too often.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    relay::{Behaviour, Config, Event},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};
use weft_core::{peers::AddressRange, primitives::Held};

/// Who has slots, and how many circuits there are.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Each peer that has a slot, with its host; none for who is in our own network.
    peers: Mutex<BTreeMap<PeerId, Option<AddressRange>>>,
    circuits: AtomicUsize,
    limits: [usize; 2],
    /// The most peers of one host that have slots.
    of_host: usize,
}

impl Tally {
    /// For the metrics.
    pub(crate) fn held(&self) -> [Held; 2] {
        let [slots, circuits] = self.limits;
        [
            Held::new("peers with slots", self.peers().len(), slots),
            Held::new("circuits of others", self.circuits.load(Ordering::Relaxed), circuits),
        ]
    }

    /// Whether a peer may have a slot, or another, and notes that it has one if so. Nothing else is asked after this.
    fn admit(&self, peer: PeerId, address: &Multiaddr) -> bool {
        let host = AddressRange::of_host(address);
        let mut peers = self.peers();
        if !peers.contains_key(&peer)
            && host.is_some()
            && peers.values().filter(|other| **other == host).count() >= self.of_host
        {
            tracing::debug!(%peer, %address, "no slot: its host has as many as one may have");
            return false;
        }
        peers.insert(peer, host);
        true
    }

    fn note(&self, event: &Event) {
        match event {
            Event::ReservationTimedOut { src_peer_id } => self.left(src_peer_id),
            Event::CircuitReqAccepted { .. } => {
                self.circuits.fetch_add(1, Ordering::Relaxed);
            }
            Event::CircuitClosed { .. } => {
                // The swarm alone writes, so nothing comes between reading and writing.
                let before = self.circuits.load(Ordering::Relaxed);
                self.circuits.store(before.saturating_sub(1), Ordering::Relaxed);
            }
            // A slot is closed, the library says, whenever a connection is, whether there was one or not.
            _ => {}
        }
    }

    fn left(&self, peer: &PeerId) {
        self.peers().remove(peer);
    }

    /// What it holds is whole at every moment, so a panic elsewhere leaves nothing wrong in it.
    fn peers(&self) -> MutexGuard<'_, BTreeMap<PeerId, Option<AddressRange>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The library's relay.
pub(crate) struct Passing {
    inner: Behaviour,
    tally: Arc<Tally>,
}

impl Passing {
    /// One that keeps slots for at most so many peers of one host.
    pub(crate) fn new(local: PeerId, mut config: Config, of_host: usize) -> Self {
        let tally = Arc::new(Tally {
            peers: Mutex::default(),
            circuits: AtomicUsize::new(0),
            limits: [config.max_reservations, config.max_circuits],
            of_host,
        });
        let asked = Arc::clone(&tally);
        // The last, so that whom it admits nothing else turns away.
        config
            .reservation_rate_limiters
            .push(Box::new(move |peer, address: &Multiaddr, _| asked.admit(peer, address)));
        Self { inner: Behaviour::new(local, config), tally }
    }

    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }
}

impl NetworkBehaviour for Passing {
    type ConnectionHandler = THandler<Behaviour>;
    type ToSwarm = Infallible;

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
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = &event
            && closed.remaining_established == 0
        {
            self.tally.left(&closed.peer_id);
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match self.inner.poll(cx) {
                Poll::Ready(ToSwarm::GenerateEvent(event)) => self.tally.note(&event),
                Poll::Ready(other) => {
                    // Events were dealt with above.
                    return Poll::Ready(other.map_out(|_| unreachable!("not an event")));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(of_host: usize) -> Tally {
        Tally { peers: Mutex::default(), circuits: AtomicUsize::new(0), limits: [1024, 256], of_host }
    }

    fn at(address: &str) -> Multiaddr {
        address.parse().expect("an address")
    }

    #[test]
    fn a_host_has_slots_for_so_many_peers_and_others_have_theirs() {
        let tally = tally(3);
        let home = at("/ip4/20.0.0.1/tcp/4001");
        let peers: Vec<_> = (0..3).map(|_| PeerId::random()).collect();
        for peer in &peers {
            assert!(tally.admit(*peer, &home));
        }
        assert!(!tally.admit(PeerId::random(), &at("/ip4/20.0.0.1/udp/9/quic-v1")));
        assert!(tally.admit(peers[0], &home), "who has one renews it");
        assert!(tally.admit(PeerId::random(), &at("/ip4/20.0.0.2/tcp/4001")));
        assert_eq!(tally.held()[0].count, 4);
        tally.note(&Event::ReservationTimedOut { src_peer_id: peers[1] });
        assert!(tally.admit(PeerId::random(), &home), "one has left");
        assert!(!tally.admit(peers[1], &home));
    }

    #[test]
    fn a_customers_whole_network_is_one_host_and_our_own_network_is_none() {
        let tally = tally(1);
        assert!(tally.admit(PeerId::random(), &at("/ip6/2a00:1450::1/tcp/1")));
        assert!(!tally.admit(PeerId::random(), &at("/ip6/2a00:1450::2/tcp/1")));
        assert!(tally.admit(PeerId::random(), &at("/ip6/2a00:1450:0:1::1/tcp/1")));
        for _ in 0..10 {
            assert!(
                tally.admit(PeerId::random(), &at("/ip4/127.0.0.1/tcp/1")),
                "a proxy speaks for all its users"
            );
            assert!(tally.admit(PeerId::random(), &at("/ip4/192.168.1.2/tcp/1")));
        }
    }
}
