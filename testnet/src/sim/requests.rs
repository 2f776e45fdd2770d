//! Requests and responses between peers.

use weft_core::node::{InboundId, Input, OutboundId, Protocol, RequestFailure};

use super::{
    event::{Event, Micros},
    peer::{Inbound, PeerIx},
    scripts::Scripts,
    traffic::{Kind, REQUEST_OVERHEAD, RESPONSE_OVERHEAD},
    world::World,
};

/// How long a shell waits for an answer.
const TIMEOUT: Micros = 10_000_000;

impl<S: Scripts> World<S> {
    /// From now on every request is refused before the node it is for hears of it: what gets around does so by gossip.
    pub fn refuse_requests(&mut self) {
        self.refuses_requests = true;
    }

    pub(super) fn request(
        &mut self,
        ix: PeerIx,
        id: OutboundId,
        to: Option<PeerIx>,
        protocol: Protocol,
        body: Vec<u8>,
    ) {
        let life = self.peers[ix.0].life;
        self.peers[ix.0].seen.requests += 1;
        let linked = to.filter(|to| self.peers[ix.0].is_linked(*to));
        let Some(to) = linked else {
            // The answer of a shell that has no connection; it goes through the queue like every other.
            self.peers[ix.0].outbound.insert(id, (ix, protocol));
            let outcome = Err(RequestFailure::ConnectionLost);
            self.queue.push(self.now, ix, life, Event::Response { id, outcome });
            return;
        };
        let peer = &mut self.peers[ix.0];
        assert!(
            peer.outbound.insert(id, (to, protocol)).is_none(),
            "{ix:?} used the request id {id:?} twice"
        );
        if let Some(link) = peer.links.get_mut(&to) {
            link.asked += 1;
            peer.seen.most_in_flight = peer.seen.most_in_flight.max(link.asked);
        }
        self.queue.push_timeout(self.now + TIMEOUT, ix, life, id);

        if !self.share(ix, to, protocol) {
            self.turn_down(ix, to, id, RequestFailure::Unsupported);
        } else if self.refuses_requests {
            self.turn_down(ix, to, id, RequestFailure::ConnectionLost);
        } else {
            // Of what is too large only the length is read.
            let read = if body.len() > protocol.max_request() { 0 } else { body.len() };
            let (kind, bytes) = (Kind::of_protocol(protocol), read + REQUEST_OVERHEAD);
            self.send(ix, to, kind, bytes, Event::Request { from: ix, life, id, protocol, body });
        }
    }

    /// Whether both sides speak a protocol under one name.
    fn share(&self, ix: PeerIx, to: PeerIx, protocol: Protocol) -> bool {
        let [ours, theirs] = [ix, to].map(|ix| self.peers[ix.0].chain.as_ref());
        // Most peers are of one chain, and names take time to make.
        if ours.is_some() && ours == theirs {
            return true;
        }
        let name = protocol.name(ours);
        name.is_some() && name == protocol.name(theirs)
    }

    /// The other side's shell turns a request down before its node hears of it.
    fn turn_down(&mut self, ix: PeerIx, to: PeerIx, id: OutboundId, why: RequestFailure) {
        let at = self.now + self.delay(ix, to) + self.delay(ix, to);
        if !self.is_cut(ix, to) && !self.is_lost() {
            self.queue.push(at, ix, self.peers[ix.0].life, Event::Response { id, outcome: Err(why) });
        }
    }

    pub(super) fn arrive_request(
        &mut self,
        ix: PeerIx,
        (from, life): (PeerIx, u32),
        id: OutboundId,
        protocol: Protocol,
        body: Vec<u8>,
    ) {
        // One who has been restarted since then has another connection.
        if !self.peers[ix.0].is_linked(from) || self.peers[from.0].life != life {
            return;
        }
        if body.len() > protocol.max_request() {
            self.peers[ix.0].seen.oversized += 1;
            let outcome = Err(RequestFailure::ConnectionLost);
            let (kind, event) = (Kind::of_protocol(protocol), Event::Response { id, outcome });
            self.send_to_life(ix, (from, life), kind, RESPONSE_OVERHEAD, event);
            let peer = self.peers[from.0].id;
            self.deliver(ix, Input::Oversized { peer, protocol });
            return;
        }
        self.inbound += 1;
        let inbound = InboundId(self.inbound);
        self.peers[ix.0].inbound.insert(inbound, Inbound { from, life, id, protocol });
        let peer = self.peers[from.0].id;
        if protocol == Protocol::Transactions {
            self.measure_request(ix, &body);
        }
        self.deliver(ix, Input::Request { id: inbound, peer, protocol, body });
    }

    /// Carries an answer back, or the fact that there is none.
    pub(super) fn respond(&mut self, ix: PeerIx, inbound: InboundId, body: Option<Vec<u8>>) {
        let Some(request) = self.peers[ix.0].inbound.remove(&inbound) else {
            assert!(!self.peers[ix.0].is_honest(), "{ix:?} answered {inbound:?} twice, or was never asked");
            return;
        };
        let Inbound { from, life, id, protocol } = request;
        if !self.peers[ix.0].is_linked(from) {
            return;
        }
        let outcome = match body {
            None => Err(RequestFailure::ConnectionLost),
            Some(body) if body.len() > protocol.max_response() => Err(RequestFailure::TooLarge),
            Some(body) => Ok(body),
        };
        let bytes = RESPONSE_OVERHEAD + outcome.as_ref().map_or(0, Vec::len);
        let event = Event::Response { id, outcome };
        self.send_to_life(ix, (from, life), Kind::of_protocol(protocol), bytes, event);
    }

    pub(super) fn arrive_response(
        &mut self,
        ix: PeerIx,
        id: OutboundId,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        // Gone when the answer came before its timeout, or the connection ended before the answer.
        if let Some((to, protocol)) = self.peers[ix.0].outbound.remove(&id) {
            self.peers[ix.0].seen.oversized += u64::from(outcome == Err(RequestFailure::TooLarge));
            if let Some(link) = self.peers[ix.0].links.get_mut(&to) {
                link.asked = link.asked.saturating_sub(1);
            }
            if let (Protocol::Transactions, Ok(body)) = (protocol, &outcome) {
                self.measure_response(ix, body);
            }
            self.peers[ix.0].seen.downloaded += outcome.as_ref().map_or(0, |body| body.len() as u64);
            self.deliver(ix, Input::Response { id, outcome });
        }
    }

    /// The number of requests the peer was sent and has neither answered nor refused.
    #[must_use]
    pub fn unanswered(&self, ix: PeerIx) -> usize {
        self.peers[ix.0].inbound.len()
    }
}
