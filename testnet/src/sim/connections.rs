//! Connections: dials, ends, partitions, bans.

use std::collections::BTreeSet;

use libp2p::{Multiaddr, multiaddr::Protocol as Part};
use weft_core::node::{ConnectionId, Input, Link, OutboundId, Protocol, RequestFailure, Role};

use super::{
    access::Nat,
    event::{Event, Micros},
    gossip::Gossip,
    gossipsub::Neighbour,
    network::{base_delay, jittered},
    peer::{Link as Neighbourhood, PeerIx, resolve},
    scripts::Scripts,
    world::World,
};

/// How long a dial to someone who does not answer takes to fail.
const DIAL_TIMEOUT: Micros = 10_000_000;

impl<S: Scripts> World<S> {
    /// One packet's way.
    pub(super) fn delay(&mut self, a: PeerIx, b: PeerIx) -> Micros {
        let known = self.peers[a.0].links.get(&b).map(|link| link.base);
        let base = known.unwrap_or_else(|| self.base(a, b));
        jittered(base, &self.network, &mut self.dice)
    }

    fn base(&self, a: PeerIx, b: PeerIx) -> Micros {
        if let Some(flat) = self.network.flat_micros {
            return flat;
        }
        base_delay(self.seed, (a, self.peers[a.0].country), (b, self.peers[b.0].country))
    }

    pub(super) fn is_lost(&mut self) -> bool {
        self.dice.chance(self.network.loss)
    }

    pub(super) fn is_cut(&self, a: PeerIx, b: PeerIx) -> bool {
        if self.sides.is_empty() {
            return false;
        }
        let side = |ix: PeerIx| self.sides.get(&ix).copied().unwrap_or(0);
        side(a) != side(b)
    }

    pub(super) fn dial(&mut self, ix: PeerIx, address: Multiaddr) {
        let life = self.peers[ix.0].life;
        let target = resolve(&address).filter(|(to, _)| to.0 < self.peers.len() && *to != ix);
        let Some((target, id)) = target else {
            return self.fail_dial(ix, 1_000, address, "there is nobody at this address");
        };
        let round_trip = self.delay(ix, target) + self.delay(ix, target);
        if self.is_cut(ix, target) || self.peers[target.0].access.nat == Nat::Closed {
            self.fail_dial(ix, DIAL_TIMEOUT, address, "no answer");
        } else if id.is_some_and(|id| id != self.peers[target.0].id) {
            self.fail_dial(ix, round_trip, address, "somebody else is at this address");
        } else {
            let signalling = match self.peers[target.0].access.nat {
                Nat::Signalled => 2 * round_trip,
                Nat::Open | Nat::Closed => 0,
            };
            let (at, event) = (self.now + round_trip + signalling, Event::Established { target, address });
            if self.queue.is_away(target) {
                self.queue.push_joint(at, ix, life, event);
            } else {
                self.queue.push(at, ix, life, event);
            }
        }
    }

    fn fail_dial(&mut self, ix: PeerIx, after: Micros, address: Multiaddr, reason: &str) {
        self.tell(ix, self.now + after, Input::DialFailed { address, reason: reason.into() });
    }

    /// The handshake is over.
    pub(super) fn establish(&mut self, ix: PeerIx, target: PeerIx, address: Multiaddr) {
        if self.is_cut(ix, target) {
            return self.fail_dial(ix, DIAL_TIMEOUT, address, "no answer");
        }
        if !self.peers[target.0].is_up() {
            return self.fail_dial(ix, 0, address, "connection refused");
        }
        // The caller's end of a connection has no address that others could dial.
        let from = match self.peers[ix.0].access.host {
            Some(host) => Multiaddr::empty().with(Part::Ip4(host)).with(Part::Tcp(u16::MAX)),
            None => Multiaddr::empty().with(Part::Memory((1 << 32) + self.connections + 1)),
        };
        let barred = self.peers[ix.0].bars(&address) || self.peers[target.0].bars(&from);
        if barred || self.peers[ix.0].banned.contains(&target) || self.peers[target.0].banned.contains(&ix) {
            return self.fail_dial(ix, 0, address, "the peer is banned");
        }
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let ping = self.delay(ix, target) + self.delay(ix, target);
        for (me, other, address, outbound) in [(ix, target, address, true), (target, ix, from, false)] {
            let base = self.base(me, other);
            let link = self.peers[me.0].links.entry(other).or_insert_with(|| Neighbourhood {
                connections: BTreeSet::new(),
                outbound,
                base,
                asked: 0,
                neighbour: Neighbour::default(),
            });
            link.connections.insert(connection);
            let first = link.connections.len() == 1;
            let peer = self.peers[other.0].id;
            let connected = Input::Connected { peer, connection, link: Link::Direct, address, outbound };
            self.tell(me, self.now, connected);
            let (agent, protocols) = self.introduction(other);
            self.tell(
                me,
                self.now + ping,
                Input::Identified { peer, agent, protocols, addresses: Vec::new() },
            );
            self.tell(me, self.now + ping, Input::Pinged { peer, millis: ping / 1000 });
            if first && matches!(self.gossip, Gossip::Mesh(_)) {
                self.mesh_met(me, other);
            }
        }
    }

    fn introduction(&self, ix: PeerIx) -> (String, Vec<String>) {
        let peer = &self.peers[ix.0];
        let role = match peer.config.role {
            Role::Native => "native",
            Role::Relay => "relay",
            Role::Browser => "browser",
        };
        let speaks =
            |protocol: &Protocol| *protocol != Protocol::Rendezvous || peer.config.role == Role::Relay;
        let spoken = Protocol::ALL.into_iter().filter(speaks);
        let protocols = spoken.filter_map(|protocol| protocol.name(peer.chain.as_ref())).collect();
        (format!("weft/{} ({role})", env!("CARGO_PKG_VERSION")), protocols)
    }

    /// Closes all connections to a peer: this side knows at once, the other when it hears.
    pub(super) fn disconnect(&mut self, ix: PeerIx, other: PeerIx) {
        let link = self.peers[ix.0].links.get(&other);
        let connections = link.map(|link| link.connections.clone()).unwrap_or_default();
        let at = self.heard_at(ix, other);
        for connection in connections {
            self.close_one(ix, other, connection, at);
        }
    }

    /// Closes one of the connections to a peer, in the same way.
    pub(super) fn close(&mut self, ix: PeerIx, other: PeerIx, connection: ConnectionId) {
        let at = self.heard_at(ix, other);
        self.close_one(ix, other, connection, at);
    }

    /// When the other side hears that a connection closes.
    fn heard_at(&mut self, ix: PeerIx, other: PeerIx) -> Micros {
        let silence = if self.is_cut(ix, other) { self.network.cut_after * 1000 } else { 0 };
        self.now + self.delay(ix, other) + silence
    }

    fn close_one(&mut self, ix: PeerIx, other: PeerIx, connection: ConnectionId, at: Micros) {
        self.unlink(ix, other, connection);
        let life = self.peers[other.0].life;
        self.queue.push(at, other, life, Event::Closed { other: ix, connection });
    }

    /// Removes one end of a connection; requests over the last one are lost.
    pub(super) fn unlink(&mut self, ix: PeerIx, other: PeerIx, connection: ConnectionId) {
        let now = self.now;
        let other_id = self.peers[other.0].id;
        let peer = &mut self.peers[ix.0];
        let Some(link) = peer.links.get_mut(&other) else { return };
        if !link.connections.remove(&connection) {
            return;
        }
        if link.connections.is_empty() {
            peer.links.remove(&other);
            let lost: Vec<OutboundId> =
                peer.outbound.iter().filter(|(_, (to, _))| *to == other).map(|(id, _)| *id).collect();
            for id in lost {
                let outcome = Err(RequestFailure::ConnectionLost);
                self.queue.push(now, ix, peer.life, Event::Response { id, outcome });
            }
            self.mesh_lost(ix, other);
        }
        self.tell(ix, now, Input::Disconnected { peer: other_id, connection });
    }

    pub(super) fn cut_off(&mut self, ix: PeerIx, other: PeerIx, connection: ConnectionId, partition: u64) {
        if partition == self.partition {
            self.unlink(ix, other, connection);
        }
    }

    pub(super) fn ban(&mut self, ix: PeerIx, other: PeerIx) {
        self.watch_blame(ix, other, "banned");
        self.peers[ix.0].banned.insert(other);
        self.peers[ix.0].seen.banned.insert(other);
        self.disconnect(ix, other);
    }

    /// Cuts the world into groups that hear nothing of each other; peers that are in no group stay with the first.
    /// Connections across last a while ([`Network::cut_after`](super::Network::cut_after)); nothing gets through.
    pub fn split(&mut self, groups: &[&[PeerIx]]) {
        self.partition += 1;
        self.sides = groups
            .iter()
            .enumerate()
            .flat_map(|(side, group)| group.iter().map(move |ix| (*ix, side)))
            .collect();
        let at = self.now + self.network.cut_after * 1000;
        for ix in (0..self.peers.len()).map(PeerIx) {
            let peer = &self.peers[ix.0];
            for (&other, link) in &peer.links {
                for &connection in &link.connections {
                    if self.is_cut(ix, other) {
                        let event = Event::CutOff { other, connection, partition: self.partition };
                        self.queue.push(at, ix, peer.life, event);
                    }
                }
            }
        }
    }

    /// Ends the partition. Connections that were given up stay down until somebody dials.
    pub fn heal(&mut self) {
        self.partition += 1;
        self.sides.clear();
    }

    /// Whom a peer is connected to, as it sees it.
    #[must_use]
    pub fn neighbours(&self, ix: PeerIx) -> Vec<PeerIx> {
        self.peers[ix.0].links.keys().copied().collect()
    }

    /// Whether two peers are connected, as the first sees it.
    #[must_use]
    pub fn is_connected(&self, ix: PeerIx, other: PeerIx) -> bool {
        self.peers[ix.0].is_linked(other)
    }
}
