//! Execution: what a block's transactions do to the accounts.

#[cfg(test)]
mod tests;

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Account, AccountChange, Diff, StubReached, Trie};
use crate::{
    chain::{Transaction, TransactionError},
    primitives::{Address, Amount, Slot},
};

/// What a transaction's validity depends on besides the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockContext {
    /// The block's slot.
    pub slot: Slot,
    /// The proposer's account, which receives all fees.
    pub fee_address: Address,
    /// The chain's minimum.
    pub min_fee_per_byte: u64,
}

/// Why a transaction cannot be executed on the state at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum ExecutionError {
    /// The proposer included a transaction that is not valid there.
    #[error("transaction {index} is invalid: {error}")]
    Transfer {
        /// Its place in the block.
        index: u32,
        /// What is wrong.
        error: TransferError,
    },
    /// An account would hold more than there can be: the accounts did not come from a valid genesis.
    #[error("the accounts hold more money than there can be")]
    Overflow,
    /// The partial state handed over lacks an account the block touches: a fault of ours, never of the block.
    #[error("the partial state does not hold all accounts the block touches")]
    Stub(#[from] StubReached),
}

/// The outcome of a block.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
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
        transaction.check(min_fee_per_byte)?;
        let content = &transaction.content;
        if slot > content.valid_until {
            return Err(Self::Expired(content.valid_until));
        }
        if content.nonce != account.nonce {
            return Err(Self::Nonce { got: content.nonce, expected: account.nonce });
        }
        let cost = transaction.cost().ok_or(TransactionError::Overflow)?;
        if account.balance < cost {
            return Err(Self::Overdraft { cost, balance: account.balance });
        }
        Ok(())
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
    let mut overlay = Overlay::new(trie, context, transactions)?;
    for (index, transaction) in (0..).zip(transactions) {
        overlay.apply(index, transaction)?.map_err(|error| ExecutionError::Transfer { index, error })?;
    }
    overlay.finish()
}

/// Executes those of the candidates that are valid at their turn, passing over the rest: how a block is built.
///
/// # Errors
/// [`ExecutionError::Stub`] when the partial state is too small, and [`ExecutionError::Overflow`] when the accounts make
/// no sense; never because of a candidate.
pub fn select(
    trie: &Trie,
    context: &BlockContext,
    candidates: Vec<Transaction>,
) -> Result<(Vec<Transaction>, Executed), ExecutionError> {
    let mut overlay = Overlay::new(trie, context, &candidates)?;
    let mut chosen = Vec::with_capacity(candidates.len());
    for (index, candidate) in (0..).zip(candidates) {
        if overlay.apply(index, &candidate)?.is_ok() {
            chosen.push(candidate);
        }
    }
    Ok((chosen, overlay.finish()?))
}

/// The accounts that the transactions name, over the trie they were read from.
struct Overlay<'a> {
    trie: &'a Trie,
    context: &'a BlockContext,
    /// Sorted by key, each once.
    accounts: Vec<AccountChange>,
    /// For each transaction the places of its sender and receiver among the accounts.
    parties: Vec<[usize; 2]>,
    /// The place of the fee account.
    proposer: usize,
    fees: Amount,
}

impl<'a> Overlay<'a> {
    fn new(
        trie: &'a Trie,
        context: &'a BlockContext,
        transactions: &[Transaction],
    ) -> Result<Self, StubReached> {
        let parties: Vec<_> = transactions
            .iter()
            .map(|transaction| [transaction.sender(), transaction.content.to].map(|party| party.trie_key()))
            .collect();
        let proposer = context.fee_address.trie_key();
        let mut keys: Vec<_> = parties.iter().flatten().copied().chain([proposer]).collect();
        keys.sort_unstable();
        keys.dedup();
        let before = trie.get_all(&keys)?;
        let place = |key| keys.binary_search(&key).expect("the keys of all parties are among the keys");
        Ok(Self {
            trie,
            context,
            parties: parties.into_iter().map(|parties| parties.map(place)).collect(),
            proposer: place(proposer),
            accounts: keys
                .iter()
                .zip(before)
                .map(|(key, before)| AccountChange { key: *key, before, after: before })
                .collect(),
            fees: Amount(0),
        })
    }

    /// Executes one transaction. The inner error is the transaction's and leaves all as it was; after the outer one
    /// nothing can go on.
    fn apply(
        &mut self,
        index: u32,
        transaction: &Transaction,
    ) -> Result<Result<(), TransferError>, ExecutionError> {
        let BlockContext { slot, min_fee_per_byte, .. } = *self.context;
        let content = &transaction.content;
        let [sender, receiver] = self.parties[index as usize];
        let account = &mut self.accounts[sender].after;
        if let Err(error) = TransferError::check(transaction, account, slot, min_fee_per_byte) {
            return Ok(Err(error));
        }
        let cost = transaction.cost().ok_or(ExecutionError::Overflow)?;
        account.balance = account.balance.saturating_sub(cost.0);
        account.nonce = account.nonce.checked_add(1).ok_or(ExecutionError::Overflow)?;
        self.credit(receiver, content.amount)?;
        self.fees = self.fees.checked_add(content.fee.0).ok_or(ExecutionError::Overflow)?;
        Ok(Ok(()))
    }

    fn credit(&mut self, place: usize, amount: Amount) -> Result<(), ExecutionError> {
        let balance = &mut self.accounts[place].after.balance;
        *balance = balance.checked_add(amount.0).ok_or(ExecutionError::Overflow)?;
        Ok(())
    }

    /// Pays out the fees and puts the changed accounts into the trie.
    fn finish(mut self) -> Result<Executed, ExecutionError> {
        self.credit(self.proposer, self.fees)?;
        self.accounts.retain(|change| change.before != change.after);
        let diff = Diff(self.accounts);
        let changes: Vec<_> = diff.forward().collect();
        Ok(Executed { trie: self.trie.update_sorted(&changes)?, diff })
    }
}
