//! The waiting transactions of one account, a chain by nonce.
//!
//! A chain is never patched: whenever the account or its transactions change, [`Chain::settle`] derives all of it anew,
//! which for at most 32 transactions is cheap, and leaves one place where the rules stand.

use std::{cmp::Reverse, sync::Arc};

use super::{MAX_AHEAD, MAX_PENDING, MAX_QUEUED, Source, rate::FeeRate};
use crate::{
    chain::Transaction,
    primitives::{Amount, Hash, Slot},
    state::Account,
};

/// A transaction in the mempool, and what is often asked of it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) transaction: Transaction,
    pub(super) id: Hash,
    /// The sender's key in the state trie.
    pub(super) key: Hash,
    pub(super) bytes: usize,
    pub(super) cost: u64,
    /// Counts up with each transaction taken.
    pub(super) arrival: u64,
    pub(super) source: Source,
}

impl Waiting {
    pub(super) fn nonce(&self) -> u64 {
        self.transaction.content.nonce
    }

    /// Its place among all by when they expire.
    pub(super) fn expiry(&self) -> (Slot, u64) {
        (self.transaction.content.valid_until, self.arrival)
    }
}

/// A transaction's place among all: less is better.
///
/// Along a chain every field of this grows or stays, and the last one grows, so no transaction comes before one it must
/// follow. No two are equal: an arrival belongs to one transaction, so the same position means the same chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Whether an earlier transaction is missing.
    pub(super) queued: bool,
    /// The effective rate: the least of the transaction's own and those it must follow.
    pub(super) rate: Reverse<FeeRate>,
    /// The latest arrival of the transaction and those it must follow: first come, first served.
    position: u64,
    nonce: u64,
}

/// A waiting transaction at its place.
pub(super) type Entry = (Rank, Arc<Waiting>);

/// One account's transactions in nonce order. Together they cost no more than the account holds.
#[derive(Debug)]
pub(super) struct Chain {
    /// The account at the head.
    pub(super) account: Account,
    /// Pending ones first, then queued ones; ranks ascend.
    pub(super) entries: Vec<Entry>,
}

impl Chain {
    /// Derives the chain from the account and what it has waiting, in nonce order. The second value is what cannot stay:
    /// executed already, no longer affordable after those before it, or past a cap.
    pub(super) fn settle(
        account: Account,
        waiting: impl IntoIterator<Item = Arc<Waiting>>,
    ) -> (Self, Vec<Arc<Waiting>>) {
        let mut chain = Self { account, entries: Vec::new() };
        let mut dropped = Vec::new();
        let (mut pending, mut queued, mut spent, mut position) = (0, 0, 0_u64, 0);
        let mut rate: Option<FeeRate> = None;
        for waiting in waiting {
            let ahead = waiting.nonce().checked_sub(account.nonce);
            let after = spent.checked_add(waiting.cost).filter(|sum| *sum <= account.balance.0);
            let (Some(ahead), Some(after)) = (ahead.filter(|ahead| *ahead < MAX_AHEAD), after) else {
                dropped.push(waiting);
                continue;
            };
            if ahead == pending && pending < MAX_PENDING as u64 {
                pending += 1;
            } else if queued < MAX_QUEUED {
                queued += 1;
            } else {
                dropped.push(waiting);
                continue;
            }
            spent = after;
            position = position.max(waiting.arrival);
            let own = FeeRate::new(waiting.transaction.content.fee, waiting.bytes);
            let least = rate.map_or(own, |rate| rate.min(own));
            rate = Some(least);
            let rank = Rank { queued: queued > 0, rate: Reverse(least), position, nonce: waiting.nonce() };
            chain.entries.push((rank, waiting));
        }
        (chain, dropped)
    }

    /// The transactions that could be in the next block, in nonce order.
    pub(super) fn pending(&self) -> impl Iterator<Item = &Arc<Waiting>> {
        self.entries.iter().take_while(|(rank, _)| !rank.queued).map(|(_, waiting)| waiting)
    }

    /// The nonce of the first transaction that is neither executed nor here.
    pub(super) fn next_nonce(&self) -> u64 {
        let first = self.account.nonce;
        let expected = |index: u64, waiting: &Waiting| waiting.nonce().checked_sub(first) == Some(index);
        let run = (0..).zip(&self.entries).take_while(|(index, (_, waiting))| expected(*index, waiting));
        first.saturating_add(run.count() as u64)
    }

    /// What the account holds once its pending transactions are executed, not counting what others send it.
    pub(super) fn pending_balance(&self) -> Amount {
        self.account.balance.saturating_sub(self.pending().map(|waiting| waiting.cost).sum())
    }
}
