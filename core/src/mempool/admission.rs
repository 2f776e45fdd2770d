//! Why a transaction is not taken.

use crate::{primitives::Amount, state::TransferError};

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
    /// The sender has as many transactions waiting as an account may.
    #[error("this account has as many transactions waiting as it may")]
    AccountFull,
    /// The mempool is full of transactions that pay more.
    #[error("the mempool is full; a fee of at least {0} would find room")]
    Full(Amount),
}
