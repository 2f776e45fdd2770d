//! Hole punching (DCUtR) that nobody can use to have doors in our own network tried.
//!
//! The library dials whatever the other side of a circuit says are its addresses. They may not be changed on the way; but the swarm asks each behaviour
//! about a dial and then hands its addresses to the transport, in one step in which nothing else is dialled. So [`Punch`] says there which addresses are
//! [refused](Refused), and [`Guarded`] refuses them: those that no stranger is believed, as in lookups, and more than a few.
//!
//! Who is at the far end of a circuit may be open to all, and we behind a router that nobody gets through. A punch fails then, since both sides answer the
//! connection that one of them was to begin. So the side that was called dials the other one plainly, too, as the specification has it ("connection
//! reversal"), which the library leaves out.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        Endpoint,
        transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent},
    },
    dcutr,
    multiaddr::Protocol,
    swarm::{
        self, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dial_opts::PeerCondition,
    },
};
use weft_core::{
    node::Role,
    peers::{Scope, is_believable},
};

/// The most addresses of one peer that are dialled at once: as many as we tell of ourselves have room in a record.
const MAX_ADDRESSES: usize = 8;

/// The addresses that the dial under way must leave out.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused(Arc<Mutex<BTreeSet<Multiaddr>>>);

impl Refused {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<Multiaddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address without the peer at its end, which the swarm adds.
fn place(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// The behaviour.
pub struct Punch {
    inner: dcutr::Behaviour,
    refused: Refused,
    /// Dials that the library has asked for.
    asked: BTreeSet<ConnectionId>,
    /// How far the direct connections reach.
    reach: BTreeMap<ConnectionId, Scope>,
    /// Peers with a circuit to us that were dialled back.
    reversed: BTreeSet<PeerId>,
    /// Dials back that are still to be done.
    to_dial: VecDeque<swarm::dial_opts::DialOpts>,
}

impl Punch {
    pub(super) fn new(local: PeerId, refused: Refused) -> Self {
        Self {
            inner: dcutr::Behaviour::new(local),
            refused,
            asked: BTreeSet::new(),
            reach: BTreeMap::new(),
            reversed: BTreeSet::new(),
            to_dial: VecDeque::new(),
        }
    }

    /// Dials a peer that called us through a relay, once, at the addresses it named. From a port of its own: from the one we listen at goes the punch.
    fn reverse(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if !addresses.is_empty() && self.reversed.insert(peer) {
            let plain = swarm::dial_opts::DialOpts::peer_id(peer).addresses(addresses);
            self.to_dial.push_back(plain.condition(PeerCondition::Always).allocate_new_port().build());
        }
    }

    fn to_refuse(&self, addresses: &[Multiaddr]) -> BTreeSet<Multiaddr> {
        let furthest = self.reach.values().max().copied().unwrap_or(Scope::World);
        let mut room = MAX_ADDRESSES;
        let mut is_refused = |address: &Multiaddr| {
            let taken = room > 0 && is_believable(Role::Native, address, furthest);
            room -= usize::from(taken);
            !taken
        };
        let places = addresses.iter().map(place).collect::<BTreeSet<_>>();
        places.into_iter().filter(|address| is_refused(address)).collect()
    }
}

impl NetworkBehaviour for Punch {
    type ConnectionHandler = <dcutr::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = dcutr::Event;

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
        let asked = self.asked.remove(&id);
        let to_refuse = if asked { self.to_refuse(addresses) } else { BTreeSet::new() };
        if !to_refuse.is_empty() {
            tracing::debug!(
                ?peer,
                ?to_refuse,
                "addresses that a peer named for hole punching are not dialled"
            );
        }
        if let Some(peer) = peer
            && asked
            && role == Endpoint::Listener
        {
            let believed = addresses.iter().filter(|address| !to_refuse.contains(&place(address))).cloned();
            self.reverse(peer, believed.collect());
        }
        *self.refused.lock() = to_refuse;
        self.inner.handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(opened) if !opened.endpoint.is_relayed() => {
                if let Some(scope) = Scope::of(opened.endpoint.get_remote_address()) {
                    self.reach.insert(opened.connection_id, scope);
                }
            }
            FromSwarm::DialFailure(failed) => {
                self.asked.remove(&failed.connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.reach.remove(&closed.connection_id);
                if closed.remaining_established == 0 {
                    self.reversed.remove(&closed.peer_id);
                }
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(opts) = self.to_dial.pop_front() {
            return Poll::Ready(ToSwarm::Dial { opts });
        }
        let poll = self.inner.poll(cx);
        if let Poll::Ready(ToSwarm::Dial { opts }) = &poll {
            self.asked.insert(opts.connection_id());
        }
        poll
    }
}

/// A transport that dials all but what is refused.
pub(super) struct Guarded<T> {
    inner: T,
    refused: Refused,
}

impl<T> Guarded<T> {
    pub(super) const fn new(inner: T, refused: Refused) -> Self {
        Self { inner, refused }
    }
}

impl<T: Transport + Unpin> Transport for Guarded<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        if self.refused.lock().contains(&place(&address)) {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io};

    use futures::{
        StreamExt,
        future::{Ready, ready},
    };
    use libp2p::{
        Swarm,
        core::muxing::StreamMuxerBox,
        swarm::{self, dial_opts},
    };

    use super::*;

    /// A transport that reaches nobody and remembers whom it was to.
    #[derive(Default)]
    struct Unreached(Arc<Mutex<Vec<String>>>);

    impl Transport for Unreached {
        type Output = (PeerId, StreamMuxerBox);
        type Error = io::Error;
        type ListenerUpgrade = Ready<io::Result<Self::Output>>;
        type Dial = Ready<io::Result<Self::Output>>;

        fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
            Err(TransportError::MultiaddrNotSupported(address))
        }

        fn remove_listener(&mut self, _: ListenerId) -> bool {
            false
        }

        fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
            self.0.lock().unwrap().push(place(&address).to_string());
            Ok(ready(Err(io::ErrorKind::ConnectionRefused.into())))
        }

        fn poll(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
            Poll::Pending
        }
    }

    const NEAR: [&str; 5] = [
        "/ip4/127.0.0.1/tcp/22",
        "/ip4/192.168.1.1/tcp/80",
        "/ip6/::1/udp/53/quic-v1",
        "/ip4/169.254.169.254/tcp/80",
        "/dns4/router.example/tcp/80",
    ];

    /// A swarm that reaches nobody, and whom it was to reach.
    fn swarm() -> (Swarm<Punch>, Arc<Mutex<Vec<String>>>) {
        let transport = Unreached::default();
        let seen = transport.0.clone();
        let refused = Refused::default();
        let local = PeerId::random();
        let guarded = Guarded::new(transport, refused.clone()).boxed();
        let config = swarm::Config::without_executor();
        (Swarm::new(guarded, Punch::new(local, refused), local, config), seen)
    }

    fn dialled(by_library: bool, named: &[String]) -> Vec<String> {
        let (mut swarm, seen) = swarm();
        let addresses = named.iter().map(|text| text.parse().unwrap()).collect();
        let options = dial_opts::DialOpts::peer_id(PeerId::random()).addresses(addresses).build();
        if by_library {
            swarm.behaviour_mut().asked.insert(options.connection_id());
        }
        swarm.dial(options).unwrap();
        let seen = seen.lock().unwrap();
        seen.clone()
    }

    #[tokio::test]
    async fn who_calls_through_a_relay_is_dialled_back_once_where_a_stranger_is_believed() {
        let (mut swarm, seen) = swarm();
        let (peer, far) = (PeerId::random(), "/ip4/9.8.7.6/udp/4/quic-v1");
        let addresses: Vec<Multiaddr> = [far, NEAR[0]].iter().map(|text| text.parse().unwrap()).collect();
        for _ in 0..2 {
            let punch = dial_opts::DialOpts::peer_id(peer).addresses(addresses.clone());
            let punch = punch.condition(PeerCondition::Always).override_role().build();
            swarm.behaviour_mut().asked.insert(punch.connection_id());
            swarm.dial(punch).unwrap();
        }
        assert_eq!(seen.lock().unwrap().len(), 2);
        poll_fn(|cx| {
            while swarm.poll_next_unpin(cx).is_ready() {}
            Poll::Ready(())
        })
        .await;
        assert_eq!(*seen.lock().unwrap(), [far; 3]);
    }

    #[tokio::test]
    async fn only_far_addresses_are_dialled_for_a_stranger_at_the_other_end_of_a_circuit() {
        let far = "/ip4/9.8.7.6/udp/4/quic-v1".to_owned();
        let named: Vec<String> = NEAR.iter().map(|it| (*it).to_owned()).chain([far.clone()]).collect();
        assert_eq!(dialled(true, &named), [far]);
        // What we dial of our own accord is our own affair.
        assert_eq!(dialled(false, &named).len(), named.len());
    }

    #[tokio::test]
    async fn nobody_has_us_dial_a_hundred_places() {
        let named: Vec<String> = (1..=100).map(|host| format!("/ip4/9.8.7.{host}/tcp/4")).collect();
        assert_eq!(dialled(true, &named).len(), MAX_ADDRESSES);
    }

    #[test]
    fn in_our_own_network_neighbours_punch_by_its_addresses() {
        let mut punch = Punch::new(PeerId::random(), Refused::default());
        let near: Multiaddr = "/ip4/192.168.1.7/tcp/4100".parse().unwrap();
        let refused = |punch: &Punch| punch.to_refuse(std::slice::from_ref(&near)).len();
        assert_eq!(refused(&punch), 1);
        punch.reach.insert(ConnectionId::new_unchecked(1), Scope::Network);
        assert_eq!(refused(&punch), 0, "all whom we know are near");
        punch.reach.insert(ConnectionId::new_unchecked(2), Scope::World);
        assert_eq!(refused(&punch), 1, "somebody is not");
    }
}
