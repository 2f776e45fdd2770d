//! The accounts: an authenticated trie, per-block diffs, and the execution of transactions.

mod account;
mod diff;
mod execution;
mod trie;

pub use account::Account;
pub use diff::{AccountChange, Diff};
pub use execution::{BlockContext, Executed, ExecutionError, TransferError, execute, select};
pub use trie::{StubReached, Trie};
