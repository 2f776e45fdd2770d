//! Answering peers that catch up.

use std::collections::VecDeque;

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
/// The most archive reads in flight for all peers: half of what a shell queues, so that our own never wait.
const MAX_SERVING_ALL: usize = 128;

/// What is needed to answer with headers from below the base.
pub(super) struct OldHeaders {
    /// Blocks of the asker's, highest first, of which the first on our chain counts; without any, the genesis block.
    starts: VecDeque<(Height, Hash)>,
    max: usize,
}

/// The chain above `start` among headers sorted by height. A crash can leave a block of a fork in the archive, so the way
/// is found backwards, from the last height of which there is just one.
fn chain_after(start: Height, headers: Vec<Header>) -> Vec<Header> {
    let alone = |at: usize| {
        let height = headers[at].height();
        (at == 0 || headers[at - 1].height() < height)
            && headers.get(at + 1).is_none_or(|next| next.height() > height)
    };
    let Some(last) = (0..headers.len()).rev().find(|at| alone(*at)) else { return Vec::new() };
    let mut chain: Vec<Header> = Vec::new();
    for header in headers[..=last].iter().rev().take_while(|header| header.height() > start) {
        if chain.last().is_none_or(|next| next.content.parent == header.hash()) {
            chain.push(header.clone());
        }
    }
    chain.reverse();
    chain
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
                self.headers_asked(fx, id, peer, &locator, max);
            }
            Ok(SyncRequest::Headers { .. }) | Err(_) => {
                fx.offend(peer, Offence::Malformed);
                fx.push(Output::Refuse(id));
            }
            // Proofs are not served yet.
            Ok(_) => fx.respond(id, encode(&SyncResponse::Busy)),
        }
    }

    fn headers_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        locator: &[(Height, Hash)],
        max: usize,
    ) {
        let base = self.tree.height(&self.tree.base()).unwrap_or_default();
        let shared = locator.iter().find(|(height, hash)| self.tree.on_best_chain(*height) == Some(*hash));
        if let Some((height, _)) = shared {
            fx.respond(id, encode(&SyncResponse::Headers(self.best_headers(height.0 + 1, max))));
        } else if base.0 == 0 {
            fx.respond(id, encode(&SyncResponse::Headers(self.best_headers(1, max))));
        } else {
            if !self.may_serve(fx, peer) {
                fx.respond(id, encode(&SyncResponse::Busy));
                return;
            }
            let below = locator.iter().filter(|(height, _)| *height < base && height.0 > 0);
            self.read_old_headers(fx, id, peer, OldHeaders { starts: below.copied().collect(), max });
        }
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

    fn best_headers(&self, from: u64, max: usize) -> Vec<Header> {
        let heights = (from..).take(max).map(Height);
        heights
            .map_while(|height| self.tree.on_best_chain(height))
            .filter_map(|hash| self.tree.header(&hash).cloned())
            .collect()
    }

    fn read_old_headers(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, old: OldHeaders) {
        let from = old.starts.front().map_or(Height(0), |(height, _)| *height);
        let archive = fx.archive(ArchiveRequest::Headers { from, count: old.max + 1 });
        self.archived.insert(archive, Archived::ServeHeaders(id, peer, old));
    }

    /// Headers from the archive; what is above the base may still hold forks, and is left for the next question.
    pub(super) fn serve_old_headers(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        mut old: OldHeaders,
        rows: Vec<(Height, Hash, Vec<u8>)>,
    ) {
        if let Some(start) = old.starts.front()
            && !rows.iter().any(|(height, hash, _)| (*height, *hash) == *start)
        {
            // The asker is on a branch that we have settled against: is the next one of its blocks on ours?
            old.starts.pop_front();
            self.read_old_headers(fx, id, peer, old);
            return;
        }
        self.served(&peer);
        let base = self.tree.height(&self.tree.base()).unwrap_or_default();
        let headers = rows.iter().filter(|(height, ..)| *height <= base);
        let headers: Vec<_> =
            headers.filter_map(|(.., bytes)| decode::<Header>(bytes, Header::LEN).ok()).collect();
        let start = old.starts.front().map_or(Height(0), |(height, _)| *height);
        fx.respond(id, encode(&SyncResponse::Headers(chain_after(start, headers))));
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
        fx.respond(id, encode(&BodiesResponse(bodies)));
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::UnsignedHeader,
        primitives::{PublicKey, Signature, Slot},
    };

    fn header(height: u64, parent: Hash, salt: u8) -> Header {
        let roots = [Hash([salt; 32]); 6];
        let content = UnsignedHeader::new(Height(height), Slot(height), parent, roots, 0, PublicKey([0; 32]));
        Header { content, signature: Signature([0; 64]) }
    }

    fn chain(length: u64) -> Vec<Header> {
        let mut chain: Vec<Header> = vec![header(1, Hash::ZERO, 0)];
        for height in 2..=length {
            let parent = chain[chain.len() - 1].hash();
            chain.push(header(height, parent, 0));
        }
        chain
    }

    #[test]
    fn a_fork_that_a_crash_left_in_the_archive_is_not_served() {
        let chain = chain(6);
        for at in 1..6 {
            let mut rows = chain.clone();
            rows.push(header(chain[at].height().0, chain[at - 1].hash(), 9));
            rows.sort_by_key(|header| (header.height(), header.hash()));
            let served = chain_after(Height(1), rows);
            let whole = if at == 5 { 5 } else { 6 };
            assert_eq!(served, chain[1..whole], "a fork at height {}", at + 1);
        }
        assert_eq!(chain_after(Height(6), chain.clone()), []);
        assert_eq!(chain_after(Height(0), Vec::new()), []);
        assert_eq!(chain_after(Height(0), chain.clone()), chain);
    }
}
