//! The accounts: an authenticated trie, per-block diffs, and the execution of transactions.

mod account;
mod diff;
mod execution;
mod trie;

pub use account::Account;
pub use diff::{AccountChange, Diff};
pub use execution::{BlockContext, Executed, ExecutionError, TransferError, execute, select};
pub use trie::{AccountProof, ProofError, RangeProof, StubReached, Trie, VerifiedRange};

/// Trie key to account, at the base.
pub(crate) const LEAVES: crate::store::Table = crate::store::Table("state/leaves");
/// Block hash to what the block changed.
pub(crate) const DIFFS: crate::store::Table = crate::store::Table("cold/diffs");
