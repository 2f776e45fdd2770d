//! Answering peers that catch up.
//!
//! What is in memory is answered at once: proofs only read hashes that the tries have already. What lies in the archive is
//! read from there, a bounded number of times for each peer. Answers are large for the little it takes to ask for them, so
//! what a peer may be sent in a time is bounded: its [quota](crate::peers::Quotas).

mod headers;
mod proofs;
mod search;

use libp2p::PeerId;

use super::{Archived, Chain};
use crate::{
    chain::{ConsensusRecord, Header},
    node::{InboundId, Output, Protocol, effects::Effects},
    peers::{Offence, Traffic},
    primitives::{Hash, Height, decode, encode},
    store::{ArchiveAnswer, ArchiveRequest},
    sync::{
        BodiesRequest, BodiesResponse, MAX_BODIES, MAX_CERTIFICATES, MAX_HEADERS, MAX_LOCATOR,
        SOFT_RESPONSE_BYTES, SyncRequest, SyncResponse,
    },
};
pub(super) use headers::OldHeaders;
use search::Search;

/// The most archive reads in flight for one peer; more are refused, and the peer asks again.
const MAX_SERVING: usize = 8;
/// The most archive reads in flight for all peers: half of what a shell queues, so that our own never wait.
pub(super) const MAX_SERVING_ALL: usize = 128;

/// What makes an answer of what the archive reads.
pub(super) enum Old {
    /// The headers before this block, at most so many.
    Before((Height, Hash), usize),
    /// The header with this hash, whose record this is.
    Checkpoint(Hash, Box<ConsensusRecord>),
    /// The block at this height on the way to the checkpoint with this hash.
    Ancestor(Height, Hash),
    /// The block that holds a transaction, and what is around it.
    Transaction(Box<Search>),
}

fn bounded(max: u32) -> usize {
    usize::try_from(max).unwrap_or(MAX_HEADERS).min(MAX_HEADERS)
}

impl Chain {
    /// A question on `/sync/1`.
    pub(in crate::node) fn sync_asked(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, body: &[u8]) {
        let request = decode::<SyncRequest>(body, Protocol::Sync.max_request());
        let traffic = match &request {
            Ok(SyncRequest::Status(_)) => Traffic::Status,
            Ok(SyncRequest::BlockTransactions { .. }) => Traffic::Missing,
            _ => Traffic::Sync,
        };
        if !fx.may(peer, traffic, 0) {
            fx.respond(id, encode(&SyncResponse::Busy));
            return;
        }
        match request {
            Ok(SyncRequest::Status(status)) => {
                fx.respond(id, encode(&SyncResponse::Status(self.own_status())));
                self.status_came(fx, peer, &status);
            }
            Ok(SyncRequest::Headers { locator, .. }) if locator.len() > MAX_LOCATOR => {
                fx.offend(peer, Offence::Malformed);
                fx.push(Output::Refuse(id));
            }
            Ok(SyncRequest::BlockTransactions { indices, .. }) if !indices.is_sorted_by(|a, b| a < b) => {
                fx.offend(peer, Offence::Malformed);
                fx.push(Output::Refuse(id));
            }
            // A peer that is joining passes announcements on as well.
            Ok(request) if self.starting && !matches!(request, SyncRequest::BlockTransactions { .. }) => {
                fx.respond(id, encode(&SyncResponse::Busy));
            }
            Ok(SyncRequest::Headers { locator, max }) => {
                self.headers_asked(fx, id, peer, &locator, bounded(max));
            }
            Ok(SyncRequest::Warp { from }) => self.warp_asked(fx, id, peer, from),
            Ok(SyncRequest::Checkpoint { hash }) => self.checkpoint_asked(fx, id, peer, hash),
            Ok(SyncRequest::Pivot { hash }) => self.pivot_asked(fx, id, peer, &hash),
            Ok(SyncRequest::Diffs { from, to }) => self.diffs_asked(fx, id, peer, from, to),
            Ok(SyncRequest::HeadersBefore { height, hash, max }) => {
                self.headers_before_asked(fx, id, peer, (height, hash), bounded(max));
            }
            Ok(SyncRequest::Account { pivot, key }) => self.account_asked(fx, id, peer, (pivot, key)),
            Ok(SyncRequest::Range { from, to, .. }) if from > to => {
                fx.offend(peer, Offence::Malformed);
                fx.push(Output::Refuse(id));
            }
            Ok(SyncRequest::Range { pivot, from, to }) => {
                self.range_asked(fx, id, peer, pivot, (from, to));
            }
            Ok(SyncRequest::Transaction { pivot, id: transaction }) => {
                self.transaction_asked(fx, id, peer, pivot, transaction);
            }
            Ok(SyncRequest::Certificates { around }) => {
                let certified = self.gadget.pool.around(around).take(MAX_CERTIFICATES);
                let pairs = certified.map(|one| (one.certificate.clone(), (*one.record).clone()));
                Self::answer(fx, id, peer, &SyncResponse::Certificates(pairs.collect()));
            }
            Ok(SyncRequest::BlockTransactions { block, indices }) => {
                self.missing_asked(fx, id, peer, block, indices);
            }
            Ok(SyncRequest::Ancestor { height, pivot }) => self.ancestor_asked(fx, id, peer, height, pivot),
            Err(_) => {
                fx.offend(peer, Offence::Malformed);
                fx.push(Output::Refuse(id));
            }
        }
    }

    /// Answers, at the cost of the peer's quota.
    pub(super) fn answer(fx: &mut Effects, id: InboundId, peer: PeerId, response: &SyncResponse) {
        let traffic = match response {
            SyncResponse::BlockTransactions(_) => Traffic::Missing,
            _ => Traffic::Sync,
        };
        fx.respond_at_cost(id, peer, traffic, encode(response));
    }

    /// Counts one more archive read for a peer, if it may have one.
    fn may_serve(&mut self, fx: &mut Effects, peer: PeerId) -> bool {
        let all: usize = self.serving.values().sum();
        let serving = self.serving.entry(peer).or_default();
        if *serving >= MAX_SERVING || all >= MAX_SERVING_ALL {
            fx.refuse("archive-busy");
            return false;
        }
        *serving += 1;
        true
    }

    /// Reads from the archive what an answer needs, if the peer may have one more.
    fn read_old(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, old: Old, request: ArchiveRequest) {
        if !self.may_serve(fx, peer) {
            fx.respond(id, encode(&SyncResponse::Busy));
            return;
        }
        let archive = fx.archive(request);
        self.archived.insert(archive, Archived::Serve(id, peer, old));
    }

    /// The archive has what an answer needs, or not.
    pub(super) fn serve_old(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: &PeerId,
        old: Old,
        answer: &ArchiveAnswer,
    ) {
        self.served(peer);
        let response = match (old, answer) {
            (Old::Transaction(search), answer) => {
                self.search_on(fx, id, *peer, *search, answer);
                return;
            }
            (Old::Ancestor(height, pivot), ArchiveAnswer::Headers(rows)) => {
                SyncResponse::Ancestor(self.ancestor(fx, height, &pivot, rows).map(Box::new))
            }
            (Old::Before(block, max), ArchiveAnswer::Headers(rows)) => {
                Self::old_headers_before(block, max, rows)
            }
            (Old::Checkpoint(hash, record), ArchiveAnswer::Headers(rows)) => {
                let row = rows.iter().find(|(_, of, _)| *of == hash);
                let header = row.and_then(|(.., bytes)| decode::<Header>(bytes, Header::LEN).ok());
                SyncResponse::Checkpoint(header.map(|header| Box::new((header, *record))))
            }
            _ => SyncResponse::Busy,
        };
        Self::answer(fx, id, *peer, &response);
    }

    /// A question on `/archive/1`.
    pub(in crate::node) fn bodies_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        body: &[u8],
    ) {
        let keys = match decode::<BodiesRequest>(body, Protocol::Archive.max_request()) {
            Ok(BodiesRequest(keys)) if keys.len() <= MAX_BODIES => keys,
            _ => {
                fx.offend(peer, Offence::Malformed);
                fx.push(Output::Refuse(id));
                return;
            }
        };
        if !fx.may(peer, Traffic::Archive, 0) {
            fx.push(Output::Refuse(id));
            return;
        }
        if keys.iter().all(|(_, hash)| self.recent.contains_key(hash)) {
            let mut bytes = 0;
            let mut bodies = Vec::new();
            for (_, hash) in &keys {
                let body = self.recent.get(hash).map(|recent| encode(&*recent.body));
                bytes += body.as_ref().map_or(0, Vec::len);
                bodies.push(body);
                if bytes >= SOFT_RESPONSE_BYTES {
                    break;
                }
            }
            fx.respond_at_cost(id, peer, Traffic::Archive, encode(&BodiesResponse(bodies)));
            return;
        }
        if !self.may_serve(fx, peer) {
            fx.push(Output::Refuse(id));
            return;
        }
        let archive = fx.archive(ArchiveRequest::Bodies { keys, max_bytes: SOFT_RESPONSE_BYTES });
        self.archived.insert(archive, Archived::ServeBodies(id, peer));
    }

    pub(super) fn served(&mut self, peer: &PeerId) {
        if let Some(serving) = self.serving.get_mut(peer) {
            *serving = serving.saturating_sub(1);
        }
    }

    pub(super) fn serve_bodies(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: &PeerId,
        bodies: Vec<Option<Vec<u8>>>,
    ) {
        self.served(peer);
        fx.respond_at_cost(id, *peer, Traffic::Archive, encode(&BodiesResponse(bodies)));
    }
}
