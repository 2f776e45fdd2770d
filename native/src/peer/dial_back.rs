//! Dialling others back, so that they find out whether they can be reached: the answering side of AutoNAT v2.
//!
//! The library dials whatever it is asked to, as often as it is asked. Here is decided what is too much: an address nearer than
//! the asker itself (a stranger must not make this peer knock at doors in its own network), the same one again, too often for one
//! peer or host, which coming back does not make less, and too much at once. The asker is told that the dial failed, and does not ask again.
//! For a router that drops the dial without a word that is the only answer there is: the library lets its question run out. A connection that has served its purpose is closed.

use std::{
    collections::{BTreeMap, VecDeque},
    task::{Context, Poll},
    time::Instant,
};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::server::{Behaviour, Event},
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use weft_core::{
    peers::{AddressRange, Allowance, Bucket, Remembered, Scope, has_name, is_circuit},
    primitives::Mono,
};

/// The most dials under way.
const MAX_DIALS: usize = 32;
/// What one peer may ask for: this many dials at once, and then one in ten seconds.
const ALLOWANCE: Allowance = Allowance { per_second: 1, burst: 160 };
/// What all peers of one host may: four times as much.
const ALLOWANCE_OF_HOST: Allowance = Allowance { per_second: 4, burst: 640 };
/// What one costs of either.
const COST: u64 = 10;
/// The most addresses of a peer that are remembered.
const MAX_REMEMBERED: usize = 32;

/// Why somebody is not dialled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the address is nearer than who asks")]
    Nearer,
    #[error("a name can stand for any address")]
    Name,
    #[error("the address was dialled before")]
    Again,
    #[error("this peer, or others of its host, ask too often")]
    TooOften,
    #[error("too many others are dialled back at this moment")]
    Busy,
}

struct Asker {
    /// From how far it asks.
    scope: Option<Scope>,
    /// Where that is, if hosts can be told apart there.
    host: Option<AddressRange>,
    /// What was dialled for it.
    dialled: VecDeque<Multiaddr>,
}

/// Dials peers back that ask for it.
pub struct DialBack {
    inner: Behaviour,
    started: Instant,
    /// Where proxies are through which others come.
    proxies: Vec<AddressRange>,
    /// Peers that are connected, and may ask.
    askers: BTreeMap<PeerId, Asker>,
    /// What is left to peers and hosts, whether they are connected or not.
    peers: Remembered<Bucket>,
    hosts: Remembered<Bucket, AddressRange>,
    /// Dials under way, and connections that came of them.
    dials: BTreeMap<ConnectionId, PeerId>,
    served: VecDeque<(PeerId, ConnectionId)>,
}

impl DialBack {
    /// Dials nobody back who comes through one of these proxies: where it is, is not known.
    #[must_use]
    pub fn new(proxies: Vec<AddressRange>) -> Self {
        Self {
            inner: Behaviour::default(),
            started: Instant::now(),
            proxies,
            askers: BTreeMap::new(),
            peers: Remembered::default(),
            hosts: Remembered::default(),
            dials: BTreeMap::new(),
            served: VecDeque::new(),
        }
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn may_dial(&mut self, peer: &PeerId, addresses: &[Multiaddr]) -> Result<(), Refusal> {
        let now = self.now();
        let Some(asker) = self.askers.get_mut(peer) else { return Err(Refusal::Nearer) };
        if !self.peers.of(peer, now, || Bucket::new(ALLOWANCE)).take(COST, now) {
            return Err(Refusal::TooOften);
        }
        let of_host = asker.host.map(|host| self.hosts.of(&host, now, || Bucket::new(ALLOWANCE_OF_HOST)));
        if of_host.is_some_and(|bucket| !bucket.take(COST, now)) {
            return Err(Refusal::TooOften);
        }
        if addresses.iter().any(|address| asker.dialled.contains(address)) {
            return Err(Refusal::Again);
        }
        if addresses.iter().any(has_name) {
            return Err(Refusal::Name);
        }
        let nearer = |address: &Multiaddr| is_circuit(address) || Scope::of(address) < asker.scope;
        if asker.scope.is_none() || addresses.iter().any(nearer) {
            return Err(Refusal::Nearer);
        }
        if self.dials.len() > MAX_DIALS {
            return Err(Refusal::Busy);
        }
        asker.dialled.extend(addresses.iter().cloned());
        let forgotten = asker.dialled.len().saturating_sub(MAX_REMEMBERED);
        asker.dialled.drain(..forgotten);
        Ok(())
    }
}

impl NetworkBehaviour for DialBack {
    type ConnectionHandler = THandler<Behaviour>;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if !is_circuit(local) {
            let proxied = self.proxies.iter().any(|range| range.covers(remote));
            let scope = Scope::of(remote).filter(|_| !proxied);
            let host = AddressRange::of_host(remote).filter(|_| !proxied);
            let asker =
                self.askers.entry(peer).or_insert_with(|| Asker { scope, host, dialled: VecDeque::new() });
            asker.scope = asker.scope.max(scope);
            asker.host = asker.host.or(host);
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if let Some(peer) = self.dials.get(&id).copied()
            && let Err(refusal) = self.may_dial(&peer, addresses)
        {
            tracing::debug!(%peer, ?addresses, %refusal, "not dialled back");
            return Err(ConnectionDenied::new(refusal));
        }
        Ok(Vec::new())
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
        match &event {
            FromSwarm::DialFailure(failure) => {
                self.dials.remove(&failure.connection_id);
            }
            FromSwarm::ConnectionClosed(closed) => {
                self.dials.remove(&closed.connection_id);
                if closed.remaining_established == 0 {
                    self.askers.remove(&closed.peer_id);
                }
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        if self.dials.contains_key(&id) {
            self.served.push_back((peer, id));
        }
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, id)) = self.served.pop_front() {
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(id) });
        }
        let polled = self.inner.poll(cx);
        if let Poll::Ready(ToSwarm::Dial { opts }) = &polled
            && let Some(peer) = opts.get_peer_id()
        {
            self.dials.insert(opts.connection_id(), peer);
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{core::ConnectedPoint, swarm::ConnectionClosed};

    use super::*;

    fn asked_from(remote: &str) -> (DialBack, PeerId) {
        asked_through(&[], remote)
    }

    fn asked_through(proxies: &[&str], remote: &str) -> (DialBack, PeerId) {
        let proxies = proxies.iter().map(|range| range.parse().unwrap()).collect();
        let (mut server, peer) = (DialBack::new(proxies), PeerId::random());
        comes(&mut server, peer, remote);
        (server, peer)
    }

    fn comes(server: &mut DialBack, peer: PeerId, remote: &str) {
        let local = "/ip4/8.8.8.8/tcp/1".parse().unwrap();
        let id = ConnectionId::new_unchecked(1);
        server.handle_established_inbound_connection(id, peer, &local, &remote.parse().unwrap()).unwrap();
    }

    /// As the swarm tells of the end of its last connection.
    fn leaves(server: &mut DialBack, peer: PeerId) {
        let address = "/ip4/9.9.9.9/tcp/5".parse().unwrap();
        server.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: peer,
            connection_id: ConnectionId::new_unchecked(1),
            endpoint: &ConnectedPoint::Listener { local_addr: address, send_back_addr: Multiaddr::empty() },
            cause: None,
            remaining_established: 0,
        }));
    }

    fn asks(server: &mut DialBack, peer: &PeerId, address: &str) -> Result<(), Refusal> {
        server.may_dial(peer, &[address.parse().unwrap()])
    }

    #[test]
    fn nobody_makes_this_peer_knock_at_doors_in_its_own_network() {
        let (mut server, peer) = asked_from("/ip4/9.9.9.9/tcp/5");
        assert_eq!(asks(&mut server, &peer, "/ip4/9.9.9.9/tcp/5"), Ok(()));
        assert_eq!(asks(&mut server, &peer, "/ip4/1.1.1.1/udp/5/quic-v1"), Ok(()));
        for nearer in ["/ip4/127.0.0.1/tcp/5", "/ip4/192.168.0.1/tcp/5", "/ip4/0.0.0.0/tcp/5", "/p2p-circuit"]
        {
            assert_eq!(asks(&mut server, &peer, nearer), Err(Refusal::Nearer), "{nearer}");
        }
        for name in ["/dns4/relay.example.org/tcp/5", "/dns/localhost/udp/5/quic-v1"] {
            assert_eq!(asks(&mut server, &peer, name), Err(Refusal::Name), "{name}");
        }
        let (mut server, peer) = asked_from("/ip4/127.0.0.1/tcp/5");
        assert_eq!(asks(&mut server, &peer, "/ip4/127.0.0.1/tcp/6"), Ok(()));
        assert_eq!(asks(&mut server, &PeerId::random(), "/ip4/9.9.9.9/tcp/5"), Err(Refusal::Nearer));
    }

    #[test]
    fn who_comes_through_a_proxy_is_not_dialled_back() {
        let (mut server, peer) = asked_through(&["127.0.0.0/8"], "/ip4/127.0.0.1/tcp/5/ws");
        for address in ["/ip4/127.0.0.1/tcp/22", "/ip4/192.168.0.1/tcp/5", "/ip4/9.9.9.9/tcp/5"] {
            assert_eq!(asks(&mut server, &peer, address), Err(Refusal::Nearer), "{address}");
        }
        let (mut server, peer) = asked_through(&["127.0.0.0/8"], "/ip4/9.9.9.9/tcp/5");
        assert_eq!(asks(&mut server, &peer, "/ip4/9.9.9.9/tcp/5"), Ok(()));
    }

    #[test]
    fn one_peer_is_not_dialled_back_again_and_again() {
        let (mut server, peer) = asked_from("/ip4/9.9.9.9/tcp/5");
        let mut ask = |port: u16| asks(&mut server, &peer, &format!("/ip4/9.9.9.9/tcp/{port}"));
        let dialled = (1..100).filter(|port| ask(*port).is_ok()).count();
        assert_eq!(dialled as u64, ALLOWANCE.burst / COST);
        assert_eq!(ask(100), Err(Refusal::TooOften));
    }

    #[test]
    fn coming_back_fills_no_allowance_and_neither_do_new_keys() {
        let (mut server, peer) = asked_from("/ip4/9.9.9.9/tcp/5");
        let mut dialled = 0;
        // Nothing is dialled twice while its peer is here, so that it has reason to leave.
        for round in 0..20 {
            comes(&mut server, peer, "/ip4/9.9.9.9/tcp/5");
            dialled += u64::from(asks(&mut server, &peer, "/ip4/9.9.9.9/tcp/5").is_ok());
            assert_eq!(dialled, (round + 1).min(ALLOWANCE.burst / COST));
            leaves(&mut server, peer);
        }
        for _ in 0..100 {
            let other = PeerId::random();
            comes(&mut server, other, "/ip4/9.9.9.9/tcp/7");
            dialled += u64::from(asks(&mut server, &other, "/ip4/9.9.9.9/tcp/7").is_ok());
        }
        assert_eq!(dialled, ALLOWANCE_OF_HOST.burst / COST);
        let elsewhere = PeerId::random();
        comes(&mut server, elsewhere, "/ip4/9.9.9.8/tcp/5");
        assert_eq!(asks(&mut server, &elsewhere, "/ip4/9.9.9.8/tcp/5"), Ok(()));
    }

    #[test]
    fn what_did_not_answer_is_not_dialled_again_until_the_peer_has_left() {
        let (mut server, peer) = asked_from("/ip4/9.9.9.9/tcp/5");
        assert_eq!(asks(&mut server, &peer, "/ip4/9.9.9.9/tcp/5"), Ok(()));
        assert_eq!(asks(&mut server, &peer, "/ip4/9.9.9.9/tcp/5"), Err(Refusal::Again));
        assert_eq!(asks(&mut server, &peer, "/ip4/9.9.9.9/tcp/6"), Ok(()));
    }

    #[test]
    fn only_so_many_are_dialled_back_at_once() {
        let (mut server, peer) = asked_from("/ip4/9.9.9.9/tcp/5");
        for id in 0..=MAX_DIALS {
            server.dials.insert(ConnectionId::new_unchecked(100 + id), peer);
        }
        assert_eq!(asks(&mut server, &peer, "/ip4/9.9.9.9/tcp/5"), Err(Refusal::Busy));
    }
}
