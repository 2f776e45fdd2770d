//! Execution: what a block's transactions do to the accounts.

use super::{Account, Diff, StubReached, Trie};
use crate::{
    chain::{Transaction, TransactionError},
    primitives::{Address, Amount, Slot},
};

/// What a transaction's validity depends on besides the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, borsh::BorshSerialize, borsh::BorshDeserialize)]
pub struct BlockContext {
    /// The block's slot.
    pub slot: Slot,
    /// The proposer's account, which receives all fees.
    pub fee_address: Address,
    /// The chain's minimum.
    pub min_fee_per_byte: u64,
}

/// Why a transaction cannot be executed on the state at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// No state could make it valid.
    #[error(transparent)]
    Never(#[from] TransactionError),
    /// Its last slot has passed.
    #[error("it was valid until slot {0}, which has passed")]
    Expired(Slot),
    /// The nonce is not the number of transactions the sender has sent.
    #[error("the nonce is {got}, and the account's next is {expected}")]
    Nonce {
        /// The transaction's nonce.
        got: u64,
        /// The sender's next.
        expected: u64,
    },
    /// The sender does not hold amount and fee.
    #[error("it costs {cost}, and the account holds {balance}")]
    Overdraft {
        /// Amount and fee together.
        cost: Amount,
        /// What the sender holds.
        balance: Amount,
    },
}

/// Why a block cannot be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExecutionError {
    /// The proposer included a transaction that is not valid there.
    #[error("transaction {index} is invalid: {error}")]
    Transfer {
        /// Its place in the block.
        index: u32,
        /// What is wrong.
        error: TransferError,
    },
    /// The partial state handed over lacks an account the block touches: a fault of ours, never of the block.
    #[error("the partial state does not hold all accounts the block touches")]
    Stub(#[from] StubReached),
}

/// The outcome of a block.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The accounts after the block.
    pub trie: Trie,
    /// What changed.
    pub diff: Diff,
}

impl TransferError {
    /// Checks that `transaction` can be executed by a sender in state `account`.
    ///
    /// # Errors
    /// Says why not.
    pub fn check(
        transaction: &Transaction,
        account: &Account,
        slot: Slot,
        min_fee_per_byte: u64,
    ) -> Result<(), Self> {
        let _ = (transaction, account, slot, min_fee_per_byte);
        todo!()
    }
}

/// Executes all transactions in order; the fees go to the proposer at the end.
///
/// # Errors
/// When any transaction is invalid at its place: then the whole block is.
pub fn execute(
    trie: &Trie,
    context: &BlockContext,
    transactions: &[Transaction],
) -> Result<Executed, ExecutionError> {
    let _ = (trie, context, transactions);
    todo!()
}

/// Executes those of the candidates that are valid at their turn, passing over the rest: how a block is built.
///
/// # Errors
/// Only when the partial state is too small.
pub fn select(
    trie: &Trie,
    context: &BlockContext,
    candidates: Vec<Transaction>,
) -> Result<(Vec<Transaction>, Executed), StubReached> {
    let _ = (trie, context, candidates);
    todo!()
}
