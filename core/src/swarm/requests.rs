//! Requests in flight, both ways, by the names the node knows them by.

use std::collections::BTreeMap;

use libp2p::request_response::{InboundRequestId, OutboundFailure, OutboundRequestId, ResponseChannel};

use super::codec::Oversized;
use crate::{
    node::{InboundId, OutboundId, Protocol, RequestFailure},
    primitives::Held,
};

/// Requests from others that wait for our answer, over all peers. More are refused unheard, and counted.
pub(super) const MAX_INBOUND: usize = 1024;

struct Waiting {
    key: (Protocol, InboundRequestId),
    channel: ResponseChannel<Vec<u8>>,
}

#[derive(Default)]
pub(super) struct Requests {
    outbound: BTreeMap<(Protocol, OutboundRequestId), OutboundId>,
    inbound: BTreeMap<InboundId, Waiting>,
    names: BTreeMap<(Protocol, InboundRequestId), InboundId>,
    next: u64,
}

impl Requests {
    pub(super) fn held(&self) -> Held {
        Held::new("requests that wait for our answer", self.inbound.len(), MAX_INBOUND)
    }

    pub(super) fn sent(&mut self, protocol: Protocol, request: OutboundRequestId, id: OutboundId) {
        self.outbound.insert((protocol, request), id);
    }

    pub(super) fn answered(&mut self, protocol: Protocol, request: OutboundRequestId) -> Option<OutboundId> {
        self.outbound.remove(&(protocol, request))
    }

    /// Names a request until it is answered; `None` when too many wait already, and then it is refused.
    pub(super) fn received(
        &mut self,
        protocol: Protocol,
        request: InboundRequestId,
        channel: ResponseChannel<Vec<u8>>,
    ) -> Option<InboundId> {
        if self.inbound.len() == MAX_INBOUND {
            return None;
        }
        let id = InboundId(self.next);
        self.next += 1;
        let key = (protocol, request);
        self.inbound.insert(id, Waiting { key, channel });
        self.names.insert(key, id);
        Some(id)
    }

    /// Where the answer goes, unless it comes too late. Dropping the channel refuses the request.
    pub(super) fn take(&mut self, id: InboundId) -> Option<(Protocol, ResponseChannel<Vec<u8>>)> {
        let waiting = self.inbound.remove(&id)?;
        self.names.remove(&waiting.key);
        Some((waiting.key.0, waiting.channel))
    }

    /// Nobody waits for this answer any more.
    pub(super) fn gone(&mut self, protocol: Protocol, request: InboundRequestId) {
        if let Some(id) = self.names.remove(&(protocol, request)) {
            self.inbound.remove(&id);
        }
    }
}

/// What the node is told about a request that failed.
pub(super) fn failure(error: &OutboundFailure) -> RequestFailure {
    match error {
        OutboundFailure::Timeout => RequestFailure::Timeout,
        OutboundFailure::UnsupportedProtocols => RequestFailure::Unsupported,
        OutboundFailure::Io(error) if Oversized::caused(error) => RequestFailure::TooLarge,
        OutboundFailure::DialFailure | OutboundFailure::ConnectionClosed | OutboundFailure::Io(_) => {
            RequestFailure::ConnectionLost
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_answer_that_is_too_large_is_told_from_a_lost_connection() {
        let oversized = io::Error::new(io::ErrorKind::InvalidData, Oversized { len: 11, max: 10 });
        assert_eq!(failure(&OutboundFailure::Io(oversized)), RequestFailure::TooLarge);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(failure(&OutboundFailure::Io(reset)), RequestFailure::ConnectionLost);
    }
}
