//! What becomes of a transaction that is offered, and why it may not be taken.

use crate::{
    primitives::{Amount, Hash},
    state::TransferError,
};

/// A transaction was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Its id.
    pub id: Hash,
    /// Whether it could be in the next block; otherwise it waits for an earlier one.
    pub pending: bool,
    /// The transaction of the same sender and nonce whose place it took.
    pub replaced: Option<Hash>,
    /// The transactions that had to leave to make room, worst first.
    pub evicted: Vec<Hash>,
    /// Others of the account that waited for this one and could be in the next block now, in nonce order.
    pub promoted: Vec<Hash>,
}

/// What following the head to another block did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// What left: executed, outbid by another transaction with the nonce, expired, or no longer affordable.
    pub left: Vec<Hash>,
    /// What waited for an earlier one and could be in the next block now, in nonce order for each account.
    pub promoted: Vec<Hash>,
}

/// What went through a mempool since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts {
    /// Transactions taken, replacements among them.
    pub admitted: u64,
    /// Those that gave way to another of the same sender and nonce.
    pub replaced: u64,
    /// Those that had to leave to make room.
    pub evicted: u64,
    /// Those whose last slot passed.
    pub expired: u64,
    /// Those that left with a block: executed, outbid in it, or no longer affordable.
    pub settled: u64,
}

/// Why the mempool does not take a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// It cannot be executed now, nor once its predecessors are.
    #[error(transparent)]
    Invalid(#[from] TransferError),
    /// The signature is not the sender's.
    #[error("the signature is not the sender's for this chain")]
    Signature,
    /// The very same transaction is already here.
    #[error("it is already in the mempool")]
    Known,
    /// Another one with the same sender and nonce is here, and this one does not pay enough to replace it.
    #[error("another transaction with this nonce is waiting; to replace it, offer a fee of at least {0}")]
    Underpriced(Amount),
    /// The nonce is so far ahead that more earlier transactions are missing than an account may have waiting.
    #[error("the nonce {got} is too far ahead: the account's next is {next}, so send the earlier ones first")]
    TooFarAhead {
        /// The transaction's nonce.
        got: u64,
        /// The sender's next, at the head.
        next: u64,
    },
    /// The account could pay for this one, but not for all that it has waiting.
    #[error("it costs {cost}, and the account's other waiting transactions leave {left}")]
    Committed {
        /// Amount and fee together.
        cost: Amount,
        /// The balance less the cost of the others.
        left: Amount,
    },
    /// The sender has as many transactions waiting as an account may.
    #[error("this account has as many transactions waiting as it may")]
    AccountFull,
    /// Others had to leave lately, and it pays no more than they did.
    #[error(
        "the mempool was full and takes no fee below {0} for a transaction of this size until that has passed"
    )]
    BelowMinimum(Amount),
    /// The peer that sent it has as many transactions here that wait for earlier ones as a peer may.
    #[error("the peer that sent it has as many transactions waiting for earlier ones as it may")]
    PeerFull,
    /// The mempool is full of transactions that pay more.
    #[error("the mempool is full; a fee of at least {0} would find room")]
    Full(Amount),
    /// The mempool is full, and since a transaction counts for no more than those it must follow, no fee of its own helps.
    #[error("the mempool is full, and this transaction must follow one that is missing or pays too little")]
    FullForFollower,
}

impl AdmissionError {
    /// The kind of refusal, for counters: `transaction-` and a few words.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Invalid(TransferError::Never(_)) => "transaction-never-valid",
            Self::Invalid(TransferError::Expired(_)) => "transaction-expired",
            Self::Invalid(TransferError::Nonce { .. }) => "transaction-nonce",
            Self::Invalid(TransferError::Overdraft { .. }) => "transaction-overdraft",
            Self::Signature => "transaction-signature",
            Self::Known => "transaction-known",
            Self::Underpriced(_) => "transaction-underpriced",
            Self::TooFarAhead { .. } => "transaction-too-far-ahead",
            Self::Committed { .. } => "transaction-unaffordable-chain",
            Self::AccountFull => "transaction-account-full",
            Self::BelowMinimum(_) => "transaction-below-minimum",
            Self::PeerFull => "transaction-peer-full",
            Self::Full(_) | Self::FullForFollower => "transaction-pool-full",
        }
    }

    /// Whether no block to come could make the mempool take it, short of a reorganisation.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Signature
                | Self::Invalid(
                    TransferError::Never(_) | TransferError::Expired(_) | TransferError::Nonce { .. }
                )
        )
    }
}
