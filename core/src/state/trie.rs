//! The authenticated account trie.

use std::collections::{BTreeMap, BTreeSet};

use super::Account;
use crate::primitives::Hash;

/// The path led into a part of the trie that is known by its hash only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a part of the state that is known by its hash only")]
pub struct StubReached;

/// A path-compressed binary Merkle trie of accounts: immutable, shared, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Trie;

impl Trie {
    /// The root hash.
    #[must_use]
    pub fn root(&self) -> Hash {
        todo!()
    }

    /// The account at `key`; the default account when there is none.
    ///
    /// # Errors
    /// When the path leads into a stub of a partial trie.
    pub fn get(&self, key: &Hash) -> Result<Account, StubReached> {
        let _ = key;
        todo!()
    }

    /// The trie with these accounts set; an absent account removes its leaf.
    ///
    /// # Errors
    /// When a path leads into a stub of a partial trie.
    pub fn update(&self, changes: &BTreeMap<Hash, Account>) -> Result<Self, StubReached> {
        let _ = changes;
        todo!()
    }

    /// The part of this trie that reading and updating these keys needs; the rest becomes stubs.
    #[must_use]
    pub fn witness(&self, keys: &BTreeSet<Hash>) -> Self {
        let _ = keys;
        todo!()
    }

    /// This trie with every stub replaced by the part of `whole` that it stands for.
    ///
    /// `touched` are the keys the witness was cut for.
    #[must_use]
    pub fn graft(&self, whole: &Self, touched: &BTreeSet<Hash>) -> Self {
        let _ = (whole, touched);
        todo!()
    }
}
