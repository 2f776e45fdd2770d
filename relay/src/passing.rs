//! Passing connections on to peers that nobody can dial, and how much of it there is.
//!
//! The library keeps to its limits and tells nobody how near they are. Its events are counted here, on their way to nobody.

use std::{
    convert::Infallible,
    sync::{
        Arc,
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
use weft_core::primitives::Held;

/// How many slots and circuits there are.
#[derive(Debug)]
pub(crate) struct Tally {
    slots: AtomicUsize,
    circuits: AtomicUsize,
    limits: [usize; 2],
}

impl Tally {
    /// For the metrics.
    pub(crate) fn held(&self) -> [Held; 2] {
        let [slots, circuits] = self.limits;
        [
            Held::new("slots of others", self.slots.load(Ordering::Relaxed), slots),
            Held::new("circuits of others", self.circuits.load(Ordering::Relaxed), circuits),
        ]
    }

    fn note(&self, event: &Event) {
        match event {
            Event::ReservationReqAccepted { renewed: false, .. } => more(&self.slots),
            Event::ReservationClosed { .. } | Event::ReservationTimedOut { .. } => less(&self.slots),
            Event::CircuitReqAccepted { .. } => more(&self.circuits),
            Event::CircuitClosed { .. } => less(&self.circuits),
            _ => {}
        }
    }
}

fn more(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn less(count: &AtomicUsize) {
    // The swarm alone writes, so nothing comes between reading and writing.
    let before = count.load(Ordering::Relaxed);
    count.store(before.saturating_sub(1), Ordering::Relaxed);
}

/// The library's relay.
pub(crate) struct Passing {
    inner: Behaviour,
    tally: Arc<Tally>,
}

impl Passing {
    pub(crate) fn new(local: PeerId, config: Config) -> Self {
        let limits = [config.max_reservations, config.max_circuits];
        let tally = Tally { slots: AtomicUsize::new(0), circuits: AtomicUsize::new(0), limits };
        Self { inner: Behaviour::new(local, config), tally: Arc::new(tally) }
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
