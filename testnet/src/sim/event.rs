//! What lies ahead, in order.

use std::{collections::VecDeque, mem, sync::Arc};

use libp2p::Multiaddr;
use weft_core::{
    node::{ArchiveId, ConnectionId, Input, OutboundId, Protocol, RequestFailure},
    store::ArchiveRequest,
};

use super::{calendar::Calendar, gossip::Rpc, peer::PeerIx, traffic::Kind};

/// Virtual time in microseconds since the world began.
pub(super) type Micros = u64;

/// Something that will happen to one peer. Small, since all of it is moved twice, and what is seldom and large is boxed.
pub(super) enum Event {
    /// Its timer may be due.
    Wake,
    /// The shell tells it something.
    Tell(Box<Input>),
    /// A handshake that it began ends.
    Established { target: PeerIx, address: Multiaddr },
    /// The other side's end of a connection is gone.
    Closed { other: PeerIx, connection: ConnectionId },
    /// A connection across a partition has been silent for too long.
    CutOff { other: PeerIx, connection: ConnectionId, partition: u64 },
    /// Something of gossip arrives.
    Gossip { from: PeerIx, rpc: Rpc },
    /// Gossip's timer is due.
    Heartbeat,
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
    Worked(Box<Input>),
}

/// What an event brings through the downlink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    kind: Kind,
    bytes: u32,
}

impl Load {
    pub(super) fn new(kind: Kind, bytes: usize) -> Self {
        Self { kind, bytes: u32::try_from(bytes).unwrap_or(u32::MAX) }
    }

    pub(super) fn parts(self) -> (Kind, usize) {
        (self.kind, self.bytes as usize)
    }
}

pub(super) struct Entry {
    pub(super) to: PeerIx,
    /// The life of the peer the event was meant for; a restart voids it.
    pub(super) life: u32,
    /// What has not come through the downlink yet.
    pub(super) load: Option<Load>,
    pub(super) event: Event,
}

const _: () = assert!(size_of::<Entry>() <= 96);

/// Events by time, and by the order they were made in where times are equal.
///
/// What is sorted is small; the events themselves stay where they are. Timeouts of requests are many, hardly ever come to
/// pass, and all are equally far ahead: they stand in a row of their own.
#[derive(Default)]
pub(super) struct Queue {
    calendar: Calendar,
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    timeouts: VecDeque<(Micros, u64, Timeout)>,
    sequence: u64,
    /// Where a world is in halves: which peers this queue is for.
    here: Option<Arc<[bool]>>,
    /// What is to happen to others, and belongs into another queue.
    away: Vec<(Micros, Entry)>,
    /// What is to happen to peers of both halves at once.
    joint: Vec<(Micros, Entry)>,
    /// Nothing joint may happen before this.
    parted_until: Micros,
}

struct Timeout {
    to: PeerIx,
    life: u32,
    id: OutboundId,
}

impl Queue {
    pub(super) fn push(&mut self, at: Micros, to: PeerIx, life: u32, event: Event) {
        self.push_entry(at, Entry { to, life, load: None, event });
    }

    pub(super) fn push_load(&mut self, at: Micros, to: PeerIx, life: u32, load: Load, event: Event) {
        self.push_entry(at, Entry { to, life, load: Some(load), event });
    }

    pub(super) fn push_entry(&mut self, at: Micros, entry: Entry) {
        if self.is_away(entry.to) {
            self.away.push((at, entry));
            return;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).expect("fewer events wait than fit into memory")
        });
        self.entries[place as usize] = Some(entry);
        self.sequence += 1;
        self.calendar.push((at, self.sequence, place));
    }

    /// A request that will have had no answer by then. Later calls may not name an earlier time.
    pub(super) fn push_timeout(&mut self, at: Micros, to: PeerIx, life: u32, id: OutboundId) {
        if self.is_away(to) {
            return self.push(at, to, life, Event::Response { id, outcome: Err(RequestFailure::Timeout) });
        }
        self.sequence += 1;
        self.timeouts.push_back((at, self.sequence, Timeout { to, life, id }));
    }

    /// Something that is to happen to this peer and one of the other half.
    pub(super) fn push_joint(&mut self, at: Micros, to: PeerIx, life: u32, event: Event) {
        self.joint.push((at.max(self.parted_until), Entry { to, life, load: None, event }));
    }

    /// Whether a peer is of the other half.
    pub(super) fn is_away(&self, ix: PeerIx) -> bool {
        self.here.as_ref().is_some_and(|here| !here[ix.0])
    }

    /// The queue is for these peers only from now on.
    pub(super) fn keep(&mut self, here: Arc<[bool]>) {
        self.here = Some(here);
        for (at, _, place) in self.calendar.take_all() {
            self.free.push(place);
            if let Some(entry) = self.entries[place as usize].take() {
                self.push_entry(at, entry);
            }
        }
        for (at, _, Timeout { to, life, id }) in mem::take(&mut self.timeouts) {
            self.push_timeout(at, to, life, id);
        }
    }

    /// What is to happen to others, taken out in the order in which it was put here.
    pub(super) fn take_away(&mut self) -> Vec<(Micros, Entry)> {
        mem::take(&mut self.away)
    }

    /// The same of what is to happen to peers of both halves.
    pub(super) fn take_joint(&mut self) -> Vec<(Micros, Entry)> {
        mem::take(&mut self.joint)
    }

    /// The halves do not meet before this.
    pub(super) fn part_until(&mut self, until: Micros) {
        self.parted_until = until;
    }

    /// When the next event is.
    pub(super) fn next_at(&self) -> Option<Micros> {
        let next = self.calendar.first().map(|(at, ..)| *at);
        let timeout = self.timeouts.front().map(|(at, ..)| *at);
        next.into_iter().chain(timeout).min()
    }

    /// The next event, unless it lies after `limit`.
    pub(super) fn pop_until(&mut self, limit: Micros) -> Option<(Micros, Entry)> {
        let next = self.calendar.first().map(|(at, sequence, _)| (*at, *sequence));
        let timeout = self.timeouts.front().map(|(at, sequence, _)| (*at, *sequence));
        if let Some(timeout) = timeout
            && next.is_none_or(|next| timeout < next)
        {
            if timeout.0 > limit {
                return None;
            }
            let (at, _, Timeout { to, life, id }) = self.timeouts.pop_front()?;
            let event = Event::Response { id, outcome: Err(RequestFailure::Timeout) };
            return Some((at, Entry { to, life, load: None, event }));
        }
        if next?.0 > limit {
            return None;
        }
        let (at, _, place) = self.calendar.pop()?;
        self.free.push(place);
        let entry = self.entries[place as usize].take().expect("a place is free only without an entry");
        Some((at, entry))
    }
}
