//! Answering peers that catch up.

use libp2p::PeerId;

use super::{Archived, Chain};
use crate::{
    chain::Header,
    node::{InboundId, Output, Protocol, effects::Effects},
    peers::Offence,
    primitives::{Hash, Height, decode, encode},
    store::ArchiveRequest,
    sync::{
        BodiesRequest, BodiesResponse, MAX_BODIES, MAX_HEADERS, MAX_LOCATOR, SOFT_RESPONSE_BYTES,
        SyncRequest, SyncResponse,
    },
};

/// The most archive reads in flight for one peer; more are refused, and the peer asks again.
const MAX_SERVING: usize = 8;

/// What is needed to answer with headers from below the base.
pub(super) struct OldHeaders {
    /// The block of the asker's that should be on our chain.
    start: (Height, Hash),
    max: usize,
}

impl Chain {
    /// A question on `/sync/1`.
    pub(in crate::node) fn sync_asked(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, body: &[u8]) {
        match decode::<SyncRequest>(body, Protocol::Sync.max_request()) {
            Ok(SyncRequest::Status(status)) => {
                fx.respond(id, encode(&SyncResponse::Status(self.own_status())));
                self.status_came(fx, peer, &status);
            }
            Ok(SyncRequest::Headers { .. }) if self.starting => {
                fx.respond(id, encode(&SyncResponse::Busy));
            }
            Ok(SyncRequest::Headers { locator, max }) if locator.len() <= MAX_LOCATOR => {
                let max = usize::try_from(max).unwrap_or(MAX_HEADERS).min(MAX_HEADERS);
                self.headers_asked(fx, id, &locator, max);
            }
            _ => {
                fx.offend(peer, Offence::Malformed);
                fx.push(Output::Refuse(id));
            }
        }
    }

    fn headers_asked(&mut self, fx: &mut Effects, id: InboundId, locator: &[(Height, Hash)], max: usize) {
        let base = self.tree.height(&self.tree.base()).unwrap_or_default();
        let shared = locator.iter().find(|(height, hash)| self.tree.on_best_chain(*height) == Some(*hash));
        if let Some((height, _)) = shared {
            fx.respond(id, encode(&SyncResponse::Headers(self.best_headers(height.0 + 1, max))));
        } else if base.0 == 0 {
            fx.respond(id, encode(&SyncResponse::Headers(self.best_headers(1, max))));
        } else {
            let old = locator.iter().find(|(height, _)| *height < base).copied();
            let start = old.unwrap_or((Height(0), Hash::ZERO));
            self.read_old_headers(fx, id, OldHeaders { start, max });
        }
    }

    fn best_headers(&self, from: u64, max: usize) -> Vec<Header> {
        let heights = (from..).take(max).map(Height);
        heights
            .map_while(|height| self.tree.on_best_chain(height))
            .filter_map(|hash| self.tree.header(&hash).cloned())
            .collect()
    }

    fn read_old_headers(&mut self, fx: &mut Effects, id: InboundId, old: OldHeaders) {
        let request = ArchiveRequest::Headers { from: old.start.0, count: old.max + 1 };
        let archive = fx.archive(request);
        self.archived.insert(archive, Archived::ServeHeaders(id, old));
    }

    /// Headers from the archive; what is above the base may still hold forks, and is left for the next question.
    pub(super) fn serve_old_headers(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        old: OldHeaders,
        headers: Vec<(Height, Hash, Vec<u8>)>,
    ) {
        let base = self.tree.height(&self.tree.base()).unwrap_or_default();
        let settled: Vec<_> = headers.into_iter().filter(|(height, ..)| *height <= base).collect();
        let starts_there = settled.first().is_some_and(|(height, hash, _)| (*height, *hash) == old.start);
        if !starts_there && old.start.0.0 > 0 {
            // The asker is on a branch we have settled against: it hears our chain from the beginning.
            self.read_old_headers(fx, id, OldHeaders { start: (Height(0), Hash::ZERO), max: old.max });
            return;
        }
        let headers = settled
            .iter()
            .filter(|(height, ..)| *height > old.start.0)
            .take(old.max)
            .map_while(|(.., bytes)| decode::<Header>(bytes, Header::LEN).ok())
            .collect();
        fx.respond(id, encode(&SyncResponse::Headers(headers)));
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
        let serving = self.serving.entry(peer).or_default();
        if *serving >= MAX_SERVING {
            fx.refuse("archive-busy");
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
            fx.respond(id, encode(&BodiesResponse(bodies)));
            return;
        }
        *serving += 1;
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
        fx.respond(id, encode(&BodiesResponse(bodies)));
    }
}
