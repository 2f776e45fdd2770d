//! A transaction with what is asked of it again and again on its way into the pool, worked out once.

use crate::{
    chain::Transaction,
    primitives::{Amount, Hash},
};

/// A transaction and what follows from it alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighed {
    pub(super) transaction: Transaction,
    pub(super) id: Hash,
    /// The sender's key in the state trie.
    pub(super) key: Hash,
    pub(super) bytes: usize,
    /// What it costs its sender; the largest amount when it could never be paid.
    pub(super) cost: Amount,
}

impl Weighed {
    /// Weighs a transaction: three hashes.
    #[must_use]
    pub fn new(transaction: Transaction) -> Self {
        Self {
            id: transaction.id(),
            key: transaction.sender().trie_key(),
            bytes: transaction.encoded_len(),
            cost: transaction.cost().unwrap_or(Amount(u64::MAX)),
            transaction,
        }
    }

    /// The transaction.
    #[must_use]
    pub const fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> Hash {
        self.id
    }

    /// The sender's key in the state trie.
    #[must_use]
    pub const fn key(&self) -> Hash {
        self.key
    }
}
