//! How a peer reaches the Internet: its bandwidth, whether it can be dialled, and the way of a packet.

use std::net::Ipv4Addr;

use super::{
    event::{Event, Load, Micros},
    peer::PeerIx,
    scripts::Scripts,
    traffic::{Kind, on_the_wire},
    world::World,
};

/// A wait for the downlink that is shorter than this, in microseconds, is not worth an event of its own.
const UNNOTICED: Micros = 50;

/// Whether others can open connections to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nat {
    /// Everybody can.
    #[default]
    Open,
    /// After signalling through a relay, which takes two more round trips: a tab, or a peer behind a mapping that keeps
    /// its ports.
    Signalled,
    /// Nobody can.
    Closed,
}

/// A peer's access to the Internet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Bits a second it can send; unlimited without one. What waits leaves in order, as from one queue.
    pub up: Option<u64>,
    /// Bits a second it can receive; unlimited without one.
    pub down: Option<u64>,
    /// Whether it can be dialled.
    pub nat: Nat,
    /// Where it is, as [`country_named`](super::country_named) tells; left to the seed without one.
    pub country: Option<usize>,
    /// The IP address it dials from and is dialled at. Without one it has an address that no range covers, and that is in no group with
    /// another's.
    pub host: Option<Ipv4Addr>,
}

/// The time that bytes take through a link of so many bits a second.
fn through(bytes: usize, bits_a_second: Option<u64>) -> Micros {
    bits_a_second.map_or(0, |rate| (bytes as u64 * 8 * 1_000_000).div_ceil(rate.max(1)))
}

impl<S: Scripts> World<S> {
    /// Puts something on its way to a peer, which it reaches as this event unless it is lost.
    pub(super) fn send(&mut self, from: PeerIx, to: PeerIx, kind: Kind, payload: usize, event: Event) {
        let life = self.peers[to.0].life;
        self.send_to_life(from, (to, life), kind, payload, event);
    }

    /// The same, for something that only one life of the receiver waits for.
    pub(super) fn send_to_life(
        &mut self,
        from: PeerIx,
        (to, life): (PeerIx, u32),
        kind: Kind,
        payload: usize,
        event: Event,
    ) {
        let bytes = on_the_wire(payload);
        let left = self.leave(from, kind, bytes);
        if self.is_cut(from, to) || self.is_lost() {
            return;
        }
        let at = left + self.delay(from, to);
        self.queue.push_load(at, to, life, Load::new(kind, bytes), event);
    }

    /// When something that is sent now has left the uplink.
    fn leave(&mut self, from: PeerIx, kind: Kind, bytes: usize) -> Micros {
        let peer = &mut self.peers[from.0];
        peer.traffic.note_sent(kind, bytes);
        peer.up_free = peer.up_free.max(self.now) + through(bytes, peer.access.up);
        peer.up_free
    }

    /// Counts something small that travels and that the receiver has no use for, without the event.
    pub(super) fn send_in_vain(&mut self, from: PeerIx, to: PeerIx, kind: Kind, payload: usize) {
        let bytes = on_the_wire(payload);
        self.leave(from, kind, bytes);
        self.peers[to.0].traffic.note_received(kind, bytes);
    }

    /// Takes what has reached a peer's downlink; answers when it is through, if that is not now.
    pub(super) fn land(&mut self, to: PeerIx, load: Load) -> Option<Micros> {
        let (kind, bytes) = load.parts();
        let peer = &mut self.peers[to.0];
        peer.traffic.note_received(kind, bytes);
        peer.down_free = peer.down_free.max(self.now) + through(bytes, peer.access.down);
        (peer.down_free > self.now + UNNOTICED).then_some(peer.down_free)
    }
}
