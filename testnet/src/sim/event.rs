//! What lies ahead, in order.

use std::{cmp::Ordering, collections::BinaryHeap, sync::Arc};

use libp2p::Multiaddr;
use weft_core::{
    node::{ArchiveId, ConnectionId, Input, OutboundId, Protocol, RequestFailure},
    store::ArchiveRequest,
};

use super::{gossip::Copy, peer::PeerIx};

/// Virtual time in microseconds since the world began.
pub(super) type Micros = u64;

/// Something that will happen to one peer.
pub(super) enum Event {
    /// Its timer may be due.
    Wake,
    /// The shell tells it something.
    Tell(Input),
    /// A handshake that it began ends.
    Established { target: PeerIx, address: Multiaddr },
    /// The other side's end of a connection is gone.
    Closed { other: PeerIx, connection: ConnectionId },
    /// A connection across a partition has been silent for too long.
    CutOff { other: PeerIx, connection: ConnectionId, partition: u64 },
    /// A copy of a gossip message arrives.
    Gossip { from: PeerIx, copy: Arc<Copy> },
    /// A request arrives.
    /// `life` is that of the one who asks: it is answered only while that lasts.
    Request { from: PeerIx, life: u32, id: OutboundId, protocol: Protocol, body: Vec<u8> },
    /// The answer to a request arrives, or its absence is noticed.
    Response { id: OutboundId, outcome: Result<Vec<u8>, RequestFailure> },
    /// The disk's writer starts a commit.
    CommitStart,
    /// A commit is done.
    CommitDone,
    /// The archive carries out a request.
    Archive { id: ArchiveId, request: ArchiveRequest },
    /// A worker is done; the input says how it went.
    Worked(Input),
}

pub(super) struct Entry {
    pub(super) at: Micros,
    sequence: u64,
    pub(super) to: PeerIx,
    /// The life of the peer the event was meant for; a restart voids it.
    pub(super) life: u32,
    pub(super) event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    /// Earliest is greatest, since the heap yields its greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

/// Events by time, and by the order they were made in where times are equal.
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Entry>,
    sequence: u64,
}

impl Queue {
    pub(super) fn push(&mut self, at: Micros, to: PeerIx, life: u32, event: Event) {
        self.sequence += 1;
        self.heap.push(Entry { at, sequence: self.sequence, to, life, event });
    }

    /// The next event, unless it lies after `limit`.
    pub(super) fn pop_until(&mut self, limit: Micros) -> Option<Entry> {
        if self.heap.peek()?.at > limit {
            return None;
        }
        self.heap.pop()
    }
}
