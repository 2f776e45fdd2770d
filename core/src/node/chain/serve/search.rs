//! Finding an old transaction and proving it: in the index, then in the archive. And proving which block is where.

use std::collections::BTreeMap;

use libp2p::PeerId;

use super::{
    super::{Chain, history},
    Old,
    headers::SPARE,
};
use crate::{
    chain::{Body, Header, MmrProof},
    node::{InboundId, effects::Effects},
    peers::Traffic,
    primitives::{Hash, Height, InclusionProof, decode, encode},
    store::{ArchiveAnswer, ArchiveRequest},
    sync::{Ancestor, SyncResponse, TransactionProof},
};

/// What a look into the index, or a proof of a block's place, costs a peer of its quota, in bytes.
const LOOK: usize = 64 << 10;
/// The headers of so many blocks are under one tree that the prover keeps.
const TREE: u64 = 32;

/// The search for a transaction.
pub(in super::super) struct Search {
    /// The checkpoint's hash.
    pivot: Hash,
    id: Hash,
    /// Blocks that may hold it, the next to look into first.
    candidates: Vec<(Height, Hash)>,
    /// The header of the block whose body is being read, and its way to the checkpoint.
    block: Option<(Header, Option<MmrProof>)>,
}

impl Chain {
    pub(super) fn transaction_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        pivot: Hash,
        transaction: Hash,
    ) {
        let height = self.pivots.get(&pivot).map(|pivot| pivot.header.height());
        fx.answered(peer, Traffic::Sync, LOOK);
        let candidates =
            height.map_or_else(Vec::new, |height| history::find(&*fx.store, &transaction, height));
        let search = Search { pivot, id: transaction, candidates, block: None };
        self.look_into_next(fx, id, peer, search);
    }

    /// Which block is at a height, on the way to a checkpoint?
    pub(super) fn ancestor_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        height: Height,
        pivot: Hash,
    ) {
        fx.answered(peer, Traffic::Sync, LOOK);
        if self.pivots.get(&pivot).is_none_or(|pivot| pivot.header.height() <= height) {
            Self::answer(fx, id, peer, &SyncResponse::Ancestor(None));
            return;
        }
        self.read_old(fx, id, peer, Old::Ancestor(height, pivot), headers_around(height));
    }

    /// The archive has the headers around that block.
    pub(super) fn ancestor(
        &self,
        fx: &Effects,
        height: Height,
        pivot: &Hash,
        rows: &[(Height, Hash, Vec<u8>)],
    ) -> Option<Ancestor> {
        let checkpoint = &self.pivots.get(pivot)?.header;
        let around = around(rows)?;
        let hash = *around.get(&height.0)?;
        let proof = self.ancestry(&*fx.store, height, checkpoint.height(), &around)?;
        let ancestor = Ancestor { hash, proof };
        ancestor.verify(checkpoint, height).then_some(ancestor)
    }

    fn look_into_next(&mut self, fx: &mut Effects, id: InboundId, peer: PeerId, mut search: Search) {
        search.block = None;
        let Some((height, _)) = search.candidates.first() else {
            Self::answer(fx, id, peer, &SyncResponse::Transaction(None));
            return;
        };
        let request = headers_around(*height);
        self.read_old(fx, id, peer, Old::Transaction(Box::new(search)), request);
    }

    /// The archive has the headers around the block, or its body.
    pub(super) fn search_on(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        mut search: Search,
        answer: &ArchiveAnswer,
    ) {
        if search.candidates.is_empty() {
            return;
        }
        let (height, hash) = search.candidates[0];
        match (answer, search.block.take()) {
            (ArchiveAnswer::Headers(rows), None) => {
                search.block = self.way_to_checkpoint(fx, &search.pivot, (height, hash), rows);
                if search.block.is_some() {
                    let request = ArchiveRequest::Bodies { keys: vec![(height, hash)], max_bytes: 0 };
                    self.read_old(fx, id, peer, Old::Transaction(Box::new(search)), request);
                    return;
                }
            }
            (ArchiveAnswer::Bodies(bodies), Some(block)) => {
                let body = bodies.first().and_then(Option::as_ref);
                let body = body.and_then(|bytes| decode::<Body>(bytes, Body::MAX_LEN).ok());
                if let Some(proof) = body.and_then(|body| prove(body, &search.id, block)) {
                    Self::answer(fx, id, peer, &SyncResponse::Transaction(Some(Box::new(proof))));
                    return;
                }
            }
            _ => {}
        }
        search.candidates.remove(0);
        self.look_into_next(fx, id, peer, search);
    }

    /// The header of a block among those read, and the proof that it is before the checkpoint.
    fn way_to_checkpoint(
        &self,
        fx: &Effects,
        pivot: &Hash,
        (height, hash): (Height, Hash),
        rows: &[(Height, Hash, Vec<u8>)],
    ) -> Option<(Header, Option<MmrProof>)> {
        let checkpoint = &self.pivots.get(pivot)?.header;
        let (.., bytes) = rows.iter().find(|(at, of, _)| (*at, *of) == (height, hash))?;
        let header = decode::<Header>(bytes, Header::LEN).ok()?;
        if hash == *pivot {
            return Some((header, None));
        }
        let proof = self.ancestry(&*fx.store, height, checkpoint.height(), &around(rows)?)?;
        let right = proof.verify(&checkpoint.content.mmr_root, checkpoint.height().0, height.0, &hash);
        right.then_some((header, Some(proof)))
    }
}

/// The headers under the tree that the prover keeps over a block, and some more.
fn headers_around(height: Height) -> ArchiveRequest {
    let from = Height(height.0 - height.0 % TREE);
    ArchiveRequest::Headers { from, count: usize::try_from(TREE).unwrap_or_default() + SPARE }
}

/// The hashes of headers by height. Each header names its parent; so blocks of forks, which a crash may leave, need not be told
/// apart here.
fn around(rows: &[(Height, Hash, Vec<u8>)]) -> Option<BTreeMap<u64, Hash>> {
    let mut around = BTreeMap::new();
    for (at, of, bytes) in rows {
        let read = decode::<Header>(bytes, Header::LEN).ok()?;
        around.entry(at.0).or_insert(*of);
        if let Some(below) = at.0.checked_sub(1) {
            around.insert(below, read.content.parent);
        }
    }
    Some(around)
}

/// Proves that a transaction is in a body, if it is.
fn prove(
    mut body: Body,
    id: &Hash,
    (header, ancestry): (Header, Option<MmrProof>),
) -> Option<TransactionProof> {
    let index = body.transactions.iter().position(|transaction| transaction.id() == *id)?;
    let inclusion = InclusionProof::make(body.transactions.iter().map(encode), index)?;
    Some(TransactionProof { transaction: body.transactions.swap_remove(index), header, inclusion, ancestry })
}
