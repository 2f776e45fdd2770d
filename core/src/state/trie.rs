//! The authenticated account trie.
//!
//! A path-compressed binary trie over 256-bit keys, as in crit-bit trees: a branch stands only where two keys really
//! differ, and names the index of that bit. Its root commits to the set of accounts and to nothing else, so any order of
//! changes that ends in the same accounts ends in the same root.
//!
//! # Hashes
//! - a leaf: `H(0x00 || key || nonce || balance)`, both numbers as 8 little-endian bytes;
//! - a branch: `H_k(left || right)`, BLAKE3 keyed with 31 fixed bytes (`weft/state/branch`, filled up with `_`) and one
//!   that is the bit's index, 0 being the most significant bit of the first byte. Two hashes fill BLAKE3's block of 64
//!   bytes, so a tag among them would double the cost;
//! - the empty trie: `H(0x02)`.
//!
//! A branch does not hash the prefix that its keys share: any leaf beneath tells it. So a node's hash does not depend on
//! where it hangs, and when a leaf goes, its sibling takes the branch's place with its hash unchanged.
//!
//! # Partial tries
//! In a partial trie some nodes are *stubs*, known by their hash only. [`Trie::witness`] keeps, for each key, the *path*
//! of that key: the nodes met when one goes from the root to a leaf and at each branch to the side of the key's bit,
//! whether or not the leaf is the key's own. All else becomes stubs. That is enough for reading and for one
//! [`update`](Trie::update) of any of these keys, together, since an update hands each change down its path and
//! nowhere else:
//! - at a branch whose prefix all its changes share, each goes to the side of its bit;
//! - a change that leaves the prefix of a node above that node's bit is inserted in a new branch above the node, which
//!   needs the node's hash and prefix only; the changes that stay in the prefix stay on their paths;
//! - at a leaf the change replaces or removes it, or is put beside it.
//!
//! So no stub is ever opened, and a stub that loses its sibling rises by its hash alone. All changes must come in one
//! update: once a leaf is gone, another key's path may lead into the stub that took its place, and the next update
//! would answer [`StubReached`], never something wrong.

mod encoding;
mod merge;
mod node;
mod proof;
mod range;
mod update;
mod witness;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use borsh::{BorshDeserialize, BorshSerialize};
use node::{Node, empty_hash};
pub use proof::{AccountProof, ProofError};
pub use range::{RangeProof, VerifiedRange};

use super::Account;
use crate::primitives::Hash;

/// The path led into a part of the trie that is known by its hash only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
#[error("a part of the state that is known by its hash only")]
pub struct StubReached;

/// A path-compressed binary Merkle trie of accounts: immutable, shared, cheap to clone.
///
/// It encodes with its stubs. Decoding computes every hash anew and refuses what no update could have made, so the
/// [`root`](Self::root) of a decoded trie speaks for all it holds. One exception: the keys below a branch of two stubs
/// are told, not proven, which is harmless for reading. So update a partial trie only if you cut it yourself.
#[derive(Clone, Default)]
pub struct Trie(Option<Arc<Node>>);

impl Trie {
    /// The root hash.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.0.as_ref().map_or_else(empty_hash, |node| node.hash())
    }

    /// The account at `key`; the default account when there is none.
    ///
    /// # Errors
    /// When the path leads into a stub of a partial trie.
    pub fn get(&self, key: &Hash) -> Result<Account, StubReached> {
        let Some(mut node) = self.0.as_deref() else { return Ok(Account::default()) };
        while let Node::Branch(branch) = node {
            node = branch.side(key.bit(branch.bit));
        }
        node.account(key)
    }

    /// The accounts at these keys, in their order. All paths are walked abreast: each step waits for memory, and so they
    /// wait together.
    ///
    /// # Errors
    /// When a path leads into a stub of a partial trie.
    pub fn get_all(&self, keys: &[Hash]) -> Result<Vec<Account>, StubReached> {
        let Some(root) = self.0.as_deref() else { return Ok(vec![Account::default(); keys.len()]) };
        let mut nodes = vec![root; keys.len()];
        let mut walking = true;
        while walking {
            walking = false;
            for (node, key) in nodes.iter_mut().zip(keys) {
                if let Node::Branch(branch) = node {
                    *node = branch.side(key.bit(branch.bit));
                    walking = true;
                }
            }
        }
        nodes.iter().zip(keys).map(|(node, key)| node.account(key)).collect()
    }

    /// The trie with these accounts set; an absent account removes its leaf.
    ///
    /// # Errors
    /// When a path leads into a stub of a partial trie.
    pub fn update(&self, changes: &BTreeMap<Hash, Account>) -> Result<Self, StubReached> {
        let changes: Vec<_> = changes.iter().map(|(key, account)| (*key, *account)).collect();
        self.update_sorted(&changes)
    }

    /// [`Self::update`] with changes that are sorted by key already, each key once.
    pub(super) fn update_sorted(&self, changes: &[(Hash, Account)]) -> Result<Self, StubReached> {
        Ok(Self(match &self.0 {
            Some(root) => update::set(root, changes)?,
            None => update::build(changes),
        }))
    }

    /// The trie with all accounts of `part`, which replace those at the same keys.
    ///
    /// Cheap where the two do not mix: ranges of accounts side by side share their nodes with the result, and only the
    /// branches where they meet are hashed anew. So a state can be put together from its ranges in any order.
    ///
    /// # Errors
    /// When either has a stub where the other has accounts.
    pub fn merge(&self, part: &Self) -> Result<Self, StubReached> {
        Ok(Self(match (&self.0, &part.0) {
            (Some(root), Some(over)) => Some(merge::merge(root, over)?),
            (one, None) | (None, one) => one.clone(),
        }))
    }

    /// The part of this trie that reading these keys, and one update of them, needs; the rest becomes stubs.
    #[must_use]
    pub fn witness(&self, keys: &BTreeSet<Hash>) -> Self {
        let mut keys: Vec<_> = keys.iter().copied().collect();
        Self(self.0.as_ref().map(|root| witness::cut(root, &mut keys)))
    }

    /// This trie with every stub replaced by the part of `whole` that it stands for.
    ///
    /// `touched` are the keys the witness was cut for.
    #[must_use]
    pub fn graft(&self, whole: &Self, touched: &BTreeSet<Hash>) -> Self {
        let (Some(root), Some(whole)) = (&self.0, &whole.0) else { return self.clone() };
        let mut keys: Vec<_> = touched.iter().copied().collect();
        let mut parts = BTreeMap::new();
        witness::collect(whole, &mut keys, &mut parts);
        Self(Some(witness::fill(root, &parts)))
    }
}

impl fmt::Debug for Trie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trie").field(&self.root()).finish()
    }
}
