//! Answering with headers, from the tree or from the archive.

use std::collections::VecDeque;

use libp2p::PeerId;

use super::{
    super::{Archived, Chain},
    Old,
};
use crate::{
    chain::Header,
    node::{InboundId, effects::Effects},
    primitives::{Hash, Height, decode, encode},
    store::ArchiveRequest,
    sync::{MAX_HEADERS, SyncResponse},
};

/// How many more headers than wanted are read from the archive, for blocks of forks that a crash left there.
pub(super) const SPARE: usize = 64;

/// What is needed to answer with headers from below the base.
pub(in super::super) struct OldHeaders {
    /// Blocks of the asker's, highest first, of which the first on our chain counts; without any, the genesis block.
    starts: VecDeque<(Height, Hash)>,
    max: usize,
}

/// The chain above `start`, at most `max` of it, among headers sorted by height. A crash can leave a block of a fork in the archive, so the way
/// is found backwards, from the last height of which there is just one.
fn chain_after(start: Height, max: usize, headers: &[Header]) -> Vec<Header> {
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
    chain.truncate(max);
    chain
}

/// The headers before a block among headers sorted by height, at most `max`, oldest first.
fn chain_before(block: (Height, Hash), max: usize, rows: &[(Height, Hash, Vec<u8>)]) -> Vec<Header> {
    let mut wanted = block;
    let mut chain = Vec::new();
    for (height, hash, bytes) in rows.iter().rev() {
        if (*height, *hash) == wanted
            && chain.len() <= max
            && let Ok(header) = decode::<Header>(bytes, Header::LEN)
        {
            wanted = (height.saturating_sub(1), header.content.parent);
            chain.push(header);
        }
    }
    chain.reverse();
    chain.pop();
    chain
}

impl Chain {
    pub(super) fn headers_asked(
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
            let headers = self.best_headers(height.0 + 1, max);
            Self::answer(fx, id, peer, &SyncResponse::Headers(headers));
        } else if base.0 == 0 {
            Self::answer(fx, id, peer, &SyncResponse::Headers(self.best_headers(1, max)));
        } else {
            let oldest = self.oldest();
            let served = |height: &Height| *height < base && height.0 > 0 && height.0 + 1 >= oldest.0;
            let starts: VecDeque<_> = locator.iter().filter(|(height, _)| served(height)).copied().collect();
            if starts.is_empty() && oldest.0 > 1 {
                // The asker is further behind than what is here.
                fx.respond(id, encode(&SyncResponse::Headers(Vec::new())));
                return;
            }
            if !self.may_serve(fx, peer) {
                fx.respond(id, encode(&SyncResponse::Busy));
                return;
            }
            self.read_old_headers(fx, id, peer, OldHeaders { starts, max });
        }
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
    pub(in super::super) fn serve_old_headers(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        mut old: OldHeaders,
        rows: Vec<(Height, Hash, Vec<u8>)>,
    ) {
        let base = self.tree.height(&self.tree.base()).unwrap_or_default();
        let start = old.starts.front().copied().unwrap_or_default();
        let headers = rows.iter().filter(|(height, ..)| *height <= base);
        let headers: Vec<_> =
            headers.filter_map(|(.., bytes)| decode::<Header>(bytes, Header::LEN).ok()).collect();
        let chain = chain_after(start.0, old.max, &headers);
        // The block below the oldest one here is known by its child.
        let known = rows.iter().any(|(height, hash, _)| (*height, *hash) == start)
            || chain.first().is_some_and(|first| first.content.parent == start.1);
        if !old.starts.is_empty() && !known {
            // The asker is on a branch that we have settled against: is the next one of its blocks on ours?
            old.starts.pop_front();
            if old.starts.is_empty() && self.oldest().0 > 1 {
                self.served(&peer);
                fx.respond(id, encode(&SyncResponse::Headers(Vec::new())));
            } else {
                self.read_old_headers(fx, id, peer, old);
            }
            return;
        }
        self.served(&peer);
        Self::answer(fx, id, peer, &SyncResponse::Headers(chain));
    }

    /// A question for the headers before a block.
    pub(super) fn headers_before_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        (height, hash): (Height, Hash),
        max: usize,
    ) {
        if height > self.base_height() {
            let known = self.tree.height(&hash) == Some(height);
            let headers = if known { self.tree_before(&hash, max) } else { Vec::new() };
            Self::answer(fx, id, peer, &SyncResponse::Headers(headers));
        } else {
            let from = Height(height.0.saturating_sub(max as u64));
            let request = ArchiveRequest::Headers { from, count: max.min(MAX_HEADERS) + 1 + SPARE };
            self.read_old(fx, id, peer, Old::Before((height, hash), max), request);
        }
    }

    /// The headers before a block above the base, down to the base.
    fn tree_before(&self, hash: &Hash, max: usize) -> Vec<Header> {
        let parent = |header: &Header| self.tree.header(&header.content.parent);
        let above = self.tree.header(hash).and_then(parent);
        let mut headers: Vec<_> =
            std::iter::successors(above, |header| parent(header)).take(max).cloned().collect();
        headers.reverse();
        headers
    }

    pub(super) fn old_headers_before(
        block: (Height, Hash),
        max: usize,
        rows: &[(Height, Hash, Vec<u8>)],
    ) -> SyncResponse {
        SyncResponse::Headers(chain_before(block, max, rows))
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
    fn the_headers_before_a_block_are_linked_to_it_whatever_else_lies_there() {
        let chain = chain(6);
        let fork = header(3, chain[1].hash(), 9);
        let mut rows: Vec<_> = chain
            .iter()
            .chain([&fork])
            .map(|header| (header.height(), header.hash(), encode(header)))
            .collect();
        rows.sort();
        let at = |header: &Header| (header.height(), header.hash());
        assert_eq!(chain_before(at(&chain[4]), 3, &rows), chain[1..4]);
        assert_eq!(chain_before(at(&chain[4]), 9, &rows), chain[..4]);
        assert_eq!(chain_before(at(&fork), 9, &rows), chain[..2]);
        assert_eq!(chain_before(at(&chain[0]), 9, &rows), []);
        assert_eq!(chain_before(at(&chain[4]), 0, &rows), []);
        assert_eq!(chain_before((Height(5), Hash::ZERO), 9, &rows), []);
        assert_eq!(chain_before((Height(4), chain[4].hash()), 9, &rows), []);
    }

    #[test]
    fn a_fork_that_a_crash_left_in_the_archive_is_not_served() {
        let chain = chain(6);
        for at in 1..6 {
            let mut rows = chain.clone();
            rows.push(header(chain[at].height().0, chain[at - 1].hash(), 9));
            rows.sort_by_key(|header| (header.height(), header.hash()));
            let served = chain_after(Height(1), 9, &rows);
            let whole = if at == 5 { 5 } else { 6 };
            assert_eq!(served, chain[1..whole], "a fork at height {}", at + 1);
        }
        assert_eq!(chain_after(Height(6), 9, &chain), []);
        assert_eq!(chain_after(Height(0), 9, &[]), []);
        assert_eq!(chain_after(Height(0), 9, &chain), chain);
    }

    #[test]
    fn no_more_headers_are_served_than_were_asked_for() {
        let chain = chain(6);
        // The genesis block is in no archive, so one header more than wanted is read.
        assert_eq!(chain_after(Height(0), 5, &chain), chain[..5]);
        assert_eq!(chain_after(Height(2), 3, &chain), chain[2..5]);
    }
}
