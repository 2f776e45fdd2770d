//! The protocols of questions and answers between peers: their names, their bounds, and how they fail.

use crate::{
    content::{MAX_CONTENT_REQUEST_BYTES, MAX_CONTENT_RESPONSE_BYTES},
    node::rendezvous::{self, RENDEZVOUS_PROTOCOL},
    primitives::Hash,
};

/// A request/response protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Status and headers: `/weft/<chain>/sync/1`.
    Sync,
    /// Bodies: `/weft/<chain>/archive/1`.
    Archive,
    /// Transactions: `/weft/<chain>/tx/1`.
    Transactions,
    /// Chat history: `/weft/chat/1`.
    Chat,
    /// Peer exchange: `/weft/peers/1`.
    Peers,
    /// Files: `/weft/content/1`.
    Content,
    /// Who else is on this chain, asked of a relay: libp2p's `/rendezvous/1.0.0`.
    Rendezvous,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Sync,
        Self::Archive,
        Self::Transactions,
        Self::Chat,
        Self::Peers,
        Self::Content,
        Self::Rendezvous,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Archive => "archive",
            Self::Transactions => "tx",
            Self::Chat => "chat",
            Self::Peers => "peers",
            Self::Content => "content",
            Self::Rendezvous => "rendezvous",
        }
    }

    /// The name on the wire, on the chain with this genesis hash; `None` for protocols that need a chain, without one.
    #[must_use]
    pub fn name(self, genesis: Option<&Hash>) -> Option<String> {
        match self {
            Self::Chat | Self::Peers | Self::Content => Some(format!("/weft/{}/1", self.label())),
            // Its messages name the chain.
            Self::Rendezvous => genesis.map(|_| RENDEZVOUS_PROTOCOL.to_owned()),
            _ => genesis.map(|genesis| format!("/weft/{}/{}/1", genesis.short(), self.label())),
        }
    }

    /// The most bytes a request may have; the shell refuses more before reading them.
    #[must_use]
    pub const fn max_request(self) -> usize {
        match self {
            Self::Sync | Self::Archive => 16 << 10,
            Self::Transactions => 160 << 10,
            Self::Chat => 1 << 10,
            Self::Peers => 4 << 10,
            Self::Content => MAX_CONTENT_REQUEST_BYTES,
            Self::Rendezvous => rendezvous::MAX_REQUEST_BYTES,
        }
    }

    /// The most bytes a response may have; the shell refuses more before reading them.
    #[must_use]
    pub const fn max_response(self) -> usize {
        match self {
            Self::Sync => 512 << 10,
            Self::Archive => 3 << 20,
            Self::Transactions => 160 << 10,
            Self::Chat => 512 << 10,
            Self::Peers => 64 << 10,
            Self::Content => MAX_CONTENT_RESPONSE_BYTES,
            Self::Rendezvous => rendezvous::MAX_RESPONSE_BYTES,
        }
    }
}

/// A request from another peer, to be answered once; named by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u64);

/// A request to another peer, named by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutboundId(pub u64);

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// The other side does not speak the protocol, so it is on another chain or another kind of peer.
    #[error("the peer does not speak this protocol")]
    Unsupported,
    /// No answer in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// The connection closed first, or could not be used.
    #[error("the connection was lost")]
    ConnectionLost,
    /// The answer was larger than the protocol allows.
    #[error("the answer was larger than the protocol allows")]
    TooLarge,
}
