//! Connections: dials, ends, partitions, bans.

use libp2p::{Multiaddr, multiaddr::Protocol as Part};
use weft_core::node::{ConnectionId, Input, Link, OutboundId, Protocol, RequestFailure, Role};

use super::{
    event::{Event, Micros},
    network::{base_delay, jittered},
    peer::{PeerIx, resolve},
    world::World,
};

/// How long a dial to someone who does not answer takes to fail.
const DIAL_TIMEOUT: Micros = 10_000_000;

impl World {
    /// One packet's way.
    pub(super) fn delay(&mut self, a: PeerIx, b: PeerIx) -> Micros {
        let base = base_delay(self.seed, (a, self.peers[a.0].country), (b, self.peers[b.0].country));
        jittered(base, &self.network, &mut self.dice)
    }

    pub(super) fn is_lost(&mut self) -> bool {
        self.dice.chance(self.network.loss)
    }

    pub(super) fn is_cut(&self, a: PeerIx, b: PeerIx) -> bool {
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
        if self.is_cut(ix, target) {
            self.fail_dial(ix, DIAL_TIMEOUT, address, "no answer");
        } else if id.is_some_and(|id| id != self.peers[target.0].id) {
            self.fail_dial(ix, round_trip, address, "somebody else is at this address");
        } else {
            self.queue.push(self.now + round_trip, ix, life, Event::Established { target, address });
        }
    }

    fn fail_dial(&mut self, ix: PeerIx, after: Micros, address: Multiaddr, reason: &str) {
        self.tell(ix, self.now + after, Input::DialFailed { address, reason: reason.to_owned() });
    }

    /// The handshake is over.
    pub(super) fn establish(&mut self, ix: PeerIx, target: PeerIx, address: Multiaddr) {
        if self.is_cut(ix, target) {
            return self.fail_dial(ix, DIAL_TIMEOUT, address, "no answer");
        }
        if !self.peers[target.0].is_up() {
            return self.fail_dial(ix, 0, address, "connection refused");
        }
        if self.peers[ix.0].banned.contains(&target) || self.peers[target.0].banned.contains(&ix) {
            return self.fail_dial(ix, 0, address, "the peer is banned");
        }
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        // The caller's end of a connection has no address that others could dial.
        let from = Multiaddr::empty().with(Part::Memory((1 << 32) + self.connections));
        let ping = self.delay(ix, target) + self.delay(ix, target);
        for (me, other, address, outbound) in [(ix, target, address, true), (target, ix, from, false)] {
            self.peers[me.0].links.entry(other).or_default().insert(connection);
            let peer = self.peers[other.0].id;
            let connected = Input::Connected { peer, connection, link: Link::Direct, address, outbound };
            self.tell(me, self.now, connected);
            let (agent, protocols) = self.introduction(other);
            self.tell(me, self.now + ping, Input::Identified { peer, agent, protocols });
            self.tell(me, self.now + ping, Input::Pinged { peer, millis: ping / 1000 });
        }
    }

    fn introduction(&self, ix: PeerIx) -> (String, Vec<String>) {
        let peer = &self.peers[ix.0];
        let role = match peer.config.role {
            Role::Native => "native",
            Role::Relay => "relay",
            Role::Browser => "browser",
        };
        let protocols =
            Protocol::ALL.iter().filter_map(|protocol| protocol.name(peer.chain.as_ref())).collect();
        (format!("weft/{} ({role})", env!("CARGO_PKG_VERSION")), protocols)
    }

    /// Closes all connections to a peer: this side knows at once, the other when it hears.
    pub(super) fn disconnect(&mut self, ix: PeerIx, other: PeerIx) {
        let connections = self.peers[ix.0].links.get(&other).cloned().unwrap_or_default();
        let silence = if self.is_cut(ix, other) { self.network.cut_after * 1000 } else { 0 };
        let at = self.now + self.delay(ix, other) + silence;
        for connection in connections {
            self.unlink(ix, other, connection);
            let life = self.peers[other.0].life;
            self.queue.push(at, other, life, Event::Closed { other: ix, connection });
        }
    }

    /// Removes one end of a connection; requests over the last one are lost.
    pub(super) fn unlink(&mut self, ix: PeerIx, other: PeerIx, connection: ConnectionId) {
        let now = self.now;
        let other_id = self.peers[other.0].id;
        let peer = &mut self.peers[ix.0];
        let Some(connections) = peer.links.get_mut(&other) else { return };
        if !connections.remove(&connection) {
            return;
        }
        if connections.is_empty() {
            peer.links.remove(&other);
            let lost: Vec<OutboundId> =
                peer.outbound.iter().filter(|(_, to)| **to == other).map(|(id, _)| *id).collect();
            for id in lost {
                let outcome = Err(RequestFailure::ConnectionLost);
                self.queue.push(now, ix, peer.life, Event::Response { id, outcome });
            }
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
            for (&other, connections) in &peer.links {
                for &connection in connections {
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

    /// Whether two peers are connected, as the first sees it.
    #[must_use]
    pub fn is_connected(&self, ix: PeerIx, other: PeerIx) -> bool {
        self.peers[ix.0].is_linked(other)
    }
}
