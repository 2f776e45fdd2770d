//! Where to find an old transaction, and what it takes to prove that its block is final.
//!
//! The index holds 8 bytes a transaction, in a row for each block, and is searched from end to end: that takes a
//! millisecond, costs no row a transaction, and is rare. What the 8 bytes find is compared with the block before it is believed.

use std::collections::BTreeMap;

use super::{
    Chain,
    pivots::Pivots,
    storage::{corrupt, header_key, rows},
};
use crate::{
    chain::{Body, MmrProof, MmrProver},
    node::StartError,
    primitives::{Hash, Height},
    store::{Batch, Store, Table},
};

/// Height and hash of a block to the first bytes of its transactions' ids, in order.
const CONTENTS: Table = Table("chain/contents");
/// Place to hash of a tree of 32 finalised headers: see [`MmrProver::trees`].
const TREES: Table = Table("finality/trees");
/// How many bytes of an id are kept.
const SHORT: usize = 8;
/// The most transactions in the index.
const MAX_TRANSACTIONS: usize = 1 << 18;
/// The most blocks that are looked into for one transaction.
const MAX_CANDIDATES: usize = 4;

/// The row of a block for the index: empty when it holds no transactions.
pub(super) fn contents(body: &Body) -> Vec<u8> {
    body.transactions.iter().flat_map(|transaction| transaction.id().0.into_iter().take(SHORT)).collect()
}

/// Adds a block to the index.
pub(super) fn note_contents(batch: &mut Batch, height: Height, hash: &Hash, contents: Vec<u8>) {
    if !contents.is_empty() {
        batch.put(CONTENTS, header_key(height, hash), contents);
    }
}

/// Takes a block out of the index.
pub(super) fn forget_contents(batch: &mut Batch, height: Height, hash: &Hash) {
    batch.delete(CONTENTS, header_key(height, hash));
}

/// Takes the blocks below a height out of the index.
pub(super) fn forget_below(store: &dyn Store, batch: &mut Batch, height: Height) {
    let low = height.0.to_be_bytes();
    for (key, _) in rows(store, CONTENTS).take_while(|(key, _)| key.as_slice() < &low[..]) {
        batch.delete(CONTENTS, key);
    }
}

/// The blocks up to a height that may hold a transaction, newest first.
pub(super) fn find(store: &dyn Store, id: &Hash, up_to: Height) -> Vec<(Height, Hash)> {
    let block = |key: Vec<u8>| {
        let (height, hash) = key.split_first_chunk()?;
        Some((Height(u64::from_be_bytes(*height)), Hash(hash.try_into().ok()?)))
    };
    let holding = rows(store, CONTENTS)
        .filter(|(_, contents)| contents.chunks(SHORT).any(|short| id.0.starts_with(short)))
        .filter_map(|(key, _)| block(key));
    let mut found: Vec<_> = holding.take_while(|(height, _)| *height <= up_to).collect();
    found.reverse();
    found.truncate(MAX_CANDIDATES);
    found
}

/// Keeps the index within bounds: the oldest blocks leave it first.
fn trim(store: &dyn Store, batch: &mut Batch) {
    let sizes: Vec<_> = rows(store, CONTENTS).map(|(key, contents)| (key, contents.len() / SHORT)).collect();
    let mut total: usize = sizes.iter().map(|(_, count)| count).sum();
    for (key, count) in sizes {
        if total <= MAX_TRANSACTIONS {
            return;
        }
        total -= count;
        batch.delete(CONTENTS, key);
    }
}

/// The trees over finalised headers as the store has them.
pub(super) fn open(store: &dyn Store) -> Result<MmrProver, StartError> {
    let trees: Result<Vec<Hash>, _> = rows(store, TREES)
        .map(|(_, bytes)| bytes.try_into().map(Hash).map_err(|_| corrupt("a tree of headers")))
        .collect();
    Ok(MmrProver::restore(trees?))
}

/// The hash of a finalised header, from its own row, or from that of its child: the genesis has none.
fn settled_hash(store: &dyn Store, height: u64) -> Option<Hash> {
    let header = |height: u64| Pivots::settled_header(store, Height(height));
    let named = || Some(header(height.checked_add(1)?)?.content.parent);
    header(height).map(|header| header.hash()).or_else(named)
}

impl Chain {
    /// The base is about to move up along `path`, which begins with its child and is still in the tree. A peer that has
    /// not all headers keeps no trees, and proves no transaction.
    pub(super) fn keep_history(&mut self, store: &dyn Store, batch: &mut Batch, path: &[Hash]) {
        trim(store, batch);
        let Self { tree, prover, .. } = self;
        let hashes: BTreeMap<u64, Hash> = std::iter::once(&tree.base())
            .chain(path)
            .filter_map(|hash| Some((tree.height(hash)?.0, *hash)))
            .collect();
        let (known, count) = (prover.trees().len(), hashes.keys().next_back().map_or(0, |last| last + 1));
        let hash = |height: u64| match hashes.get(&height) {
            Some(hash) => Some(*hash),
            None => settled_hash(store, height),
        };
        if let Err(error) = prover.grow(count, hash) {
            tracing::trace!(%error, "no trees over headers are kept");
        }
        for (place, tree) in (0_u64..).zip(prover.trees()).skip(known) {
            batch.put(TREES, place.to_be_bytes(), tree.0);
        }
    }

    /// Proves that a block of a known height is before a finalised checkpoint, given the headers around it.
    pub(super) fn ancestry(
        &self,
        store: &dyn Store,
        height: Height,
        checkpoint: Height,
        around: &BTreeMap<u64, Hash>,
    ) -> Option<MmrProof> {
        let hash = |height: u64| match around.get(&height) {
            Some(hash) => Some(*hash),
            None => settled_hash(store, height),
        };
        self.prover.prove(height.0, checkpoint.0, hash).ok()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::store::MemoryStore;

    /// What the index has of a transaction.
    fn short(id: &Hash) -> &[u8] {
        &id.0[..SHORT]
    }

    /// Adds a block that holds these transactions; returns its hash.
    fn note(store: &mut MemoryStore, height: u64, contents: Vec<u8>) -> Hash {
        let (mut batch, hash) = (Batch::default(), Hash::of(&height.to_le_bytes()));
        note_contents(&mut batch, Height(height), &hash, contents);
        store.apply(batch);
        hash
    }

    #[test]
    fn the_index_has_so_many_transactions_and_whole_blocks_leave_it_the_oldest_first() {
        const OF_A_BLOCK: usize = 4096;
        const BLOCKS: u64 = 64;
        let mut store = MemoryStore::default();
        let id = |height: u64| Hash::of(&[height.to_be_bytes(), *b"contents"].concat());
        let block = |height| short(&id(height)).repeat(OF_A_BLOCK);
        for height in 1..=BLOCKS {
            note(&mut store, height, block(height));
        }
        let trimmed = |store: &mut MemoryStore| {
            let mut batch = Batch::default();
            trim(store, &mut batch);
            store.apply(batch);
            rows(store, CONTENTS).map(|(_, contents)| contents.len() / SHORT).sum::<usize>()
        };
        assert_eq!(trimmed(&mut store), 262_144, "all that may be");
        let last = note(&mut store, BLOCKS + 1, short(&id(BLOCKS + 1)).to_vec());
        assert_eq!(trimmed(&mut store), 262_144 - OF_A_BLOCK + 1);
        let found = |height: u64| find(&store, &id(height), Height(BLOCKS + 1));
        assert_eq!((found(1).len(), found(2).len()), (0, 1));
        assert_eq!(found(BLOCKS + 1), [(Height(BLOCKS + 1), last)]);
    }

    #[test]
    fn the_newest_four_blocks_are_looked_into_for_an_id_that_many_seem_to_hold() {
        let (mut store, id) = (MemoryStore::default(), Hash::of(b"in many"));
        for height in 1..=9 {
            note(&mut store, height, short(&id).to_vec());
        }
        let heights = |up_to| -> Vec<_> {
            find(&store, &id, Height(up_to)).into_iter().map(|(height, _)| height.0).collect()
        };
        assert_eq!(heights(9), [9, 8, 7, 6]);
        assert_eq!(heights(7), [7, 6, 5, 4]);
    }
}
