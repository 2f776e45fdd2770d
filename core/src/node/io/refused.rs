//! What the swarm refuses by itself, before it would come to the node.

/// What was refused. The node counts it, so that a person sees it with all else that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// What came on a signalling stream is no message, is out of turn or for the second time, or is our own description.
    SignallingMessage,
    /// A description of a connection on a signalling stream.
    SignallingDescription,
    /// More or longer addresses on a signalling stream than a side may tell.
    SignallingAddresses,
    /// An agreement that another side began and did not go on with.
    SignallingStalled,
    /// An agreement that another side began while too many were, or too often.
    SignallingTooMany,
    /// A provider record for the distributed hash table.
    DhtRecord,
    /// A value for the distributed hash table, which holds none.
    DhtValue,
    /// A request that came while as many as may be waited for our answer.
    RequestUnheard,
    /// An answer to us that is larger than its protocol allows.
    AnswerOversized,
}

impl Refused {
    /// The name for people and in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SignallingMessage => "signalling-message",
            Self::SignallingDescription => "signalling-description",
            Self::SignallingAddresses => "signalling-addresses",
            Self::SignallingStalled => "signalling-stalled",
            Self::SignallingTooMany => "signalling-too-many",
            Self::DhtRecord => "dht-record",
            Self::DhtValue => "dht-value",
            Self::RequestUnheard => "request-unheard",
            Self::AnswerOversized => "answer-oversized",
        }
    }
}
