//! What travels: its kinds, its size on the wire, and how much of it each peer sent and received.

use std::ops::{Index, IndexMut};

use serde::Serialize;
use weft_core::{gossip::Topic, node::Protocol};

/// What a link carries besides payload, for each segment of [`SEGMENT`] bytes: 20 for IPv4, 32 for TCP with timestamps,
/// 18 for Noise, 12 for yamux.
const SEGMENT_OVERHEAD: usize = 82;
/// Payload that fits into one segment.
const SEGMENT: usize = 1_370;

/// What negotiating a substream and framing add to a request.
pub(super) const REQUEST_OVERHEAD: usize = 90;
/// The same for a response.
pub(super) const RESPONSE_OVERHEAD: usize = 50;

/// What something that travels is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A gossiped block.
    Block,
    /// A gossiped vote.
    Vote,
    /// Gossiped evidence.
    Evidence,
    /// A gossiped chat message.
    Chat,
    /// Gossipsub's own: subscriptions, GRAFT, PRUNE, IHAVE, IWANT, IDONTWANT.
    Control,
    /// Requests and responses of `/sync/1`.
    Sync,
    /// Requests and responses of `/archive/1`.
    Archive,
    /// Requests and responses of `/tx/1`.
    Transactions,
    /// Requests and responses of `/weft/chat/1`.
    History,
    /// Requests and responses of `/weft/peers/1`.
    Peers,
    /// Requests and responses of `/weft/content/1`.
    Content,
    /// Requests and responses of `/rendezvous/1.0.0`.
    Rendezvous,
}

impl Kind {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 12] = [
        Self::Block,
        Self::Vote,
        Self::Evidence,
        Self::Chat,
        Self::Control,
        Self::Sync,
        Self::Archive,
        Self::Transactions,
        Self::History,
        Self::Peers,
        Self::Content,
        Self::Rendezvous,
    ];

    /// What messages of a topic are.
    pub(super) const fn of_topic(topic: &Topic) -> Self {
        match topic {
            Topic::Block => Self::Block,
            Topic::Vote => Self::Vote,
            Topic::Evidence => Self::Evidence,
            Topic::Chat(_) => Self::Chat,
        }
    }

    /// What requests of a protocol are.
    pub(super) const fn of_protocol(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Sync => Self::Sync,
            Protocol::Archive => Self::Archive,
            Protocol::Transactions => Self::Transactions,
            Protocol::Chat => Self::History,
            Protocol::Peers => Self::Peers,
            Protocol::Content => Self::Content,
            Protocol::Rendezvous => Self::Rendezvous,
        }
    }

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Vote => "vote",
            Self::Evidence => "evidence",
            Self::Chat => "chat",
            Self::Control => "control",
            Self::Sync => "sync",
            Self::Archive => "archive",
            Self::Transactions => "transactions",
            Self::History => "history",
            Self::Peers => "peers",
            Self::Content => "content",
            Self::Rendezvous => "rendezvous",
        }
    }
}

/// How often and how much, in bytes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// The number of messages.
    pub messages: u64,
    /// Their bytes, with what transports add.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

/// Amounts by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByKind([Amount; Kind::ALL.len()]);

impl Index<Kind> for ByKind {
    type Output = Amount;

    fn index(&self, kind: Kind) -> &Amount {
        &self.0[kind as usize]
    }
}

impl IndexMut<Kind> for ByKind {
    fn index_mut(&mut self, kind: Kind) -> &mut Amount {
        &mut self.0[kind as usize]
    }
}

/// What one peer sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Put on its uplink, whether it arrived or not.
    pub sent: ByKind,
    /// What arrived.
    pub received: ByKind,
}

impl Traffic {
    pub(super) fn note_sent(&mut self, kind: Kind, bytes: usize) {
        self.sent[kind].add(bytes);
    }

    pub(super) fn note_received(&mut self, kind: Kind, bytes: usize) {
        self.received[kind].add(bytes);
    }
}

/// The bytes that carry this much payload.
pub(super) const fn on_the_wire(payload: usize) -> usize {
    let segments = if payload == 0 { 1 } else { payload.div_ceil(SEGMENT) };
    payload + segments * SEGMENT_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        let mut traffic = Traffic::default();
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            traffic.note_sent(kind, place + 1);
            assert_eq!(traffic.sent[kind], Amount { messages: 1, bytes: place as u64 + 1 });
        }
    }

    #[test]
    fn every_segment_pays_for_its_headers() {
        assert_eq!(on_the_wire(0), 82);
        assert_eq!(on_the_wire(1_370), 1_452);
        assert_eq!(on_the_wire(1_371), 1_371 + 164);
    }
}
