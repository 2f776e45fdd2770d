//! What the chain is made of: transactions, headers, blocks, the genesis and the consensus record.
//!
//! These types say what can be judged from a value alone, or from a value and its parent. What needs the accounts is
//! judged in [`state`](crate::state), and what needs the whole tree of blocks in [`finality`](crate::finality).

mod block;
mod genesis;
mod header;
mod mmr;
mod record;
mod system;
mod transaction;
mod transition;
mod version;
mod vote;

#[cfg(test)]
mod tests;

pub use block::{Block, Body, BodyError};
pub use genesis::{Genesis, GenesisError, Grant};
pub use header::{Header, HeaderError, UnsignedHeader};
pub use mmr::{Mmr, MmrProof, MmrProveError, MmrProver};
pub use record::{
    Authority, AuthoritySet, Ballot, Change, Checkpoint, ConsensusRecord, OutgoingSet, PendingSet,
};
pub use system::{Evidence, SignedBallot, SystemItem};
pub use transaction::{Transaction, TransactionError, UnsignedTransaction};
pub use transition::RecordError;
pub use vote::{CHECKPOINT_INTERVAL, Certificate, CertificateError, Link, Vote, is_checkpoint};

/// The most bytes an encoded block may have.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;
/// The most transactions a block may have.
pub const MAX_BLOCK_TRANSACTIONS: usize = 4096;
/// The most bytes the system items of a block may have, encoded together.
pub const MAX_SYSTEM_BYTES: usize = 64 << 10;
/// The most bytes a memo may have.
pub const MAX_MEMO_BYTES: usize = 256;
/// The most authorities a set may have.
pub const MAX_AUTHORITIES: usize = 256;
