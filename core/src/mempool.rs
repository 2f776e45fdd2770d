//! The mempool: transactions that wait for a block, best first, under hard caps.
//!
//! Each account has a **chain** of waiting transactions by nonce. The part without a gap from the account's nonce is
//! *pending* and could be in the next block; the rest is *queued*. A transaction counts for its **effective rate**: the
//! least fee per byte of itself and all it must follow, since a block that wants it has to take those too. One order
//! over all transactions serves both ends: a block is filled from the front, and the back leaves when room is needed.
//!
//! What keeps it honest: an account's transactions together never cost more than it holds, so that nothing waits that
//! its sender could not pay for; a replacement pays for its own bytes on top of what it replaces; a newcomer that would
//! be the first to leave is refused, and told the fee that finds room.

mod admission;
mod chain;
mod rate;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use admission::{AdmissionError, Admitted};
use chain::{Chain, Rank, Waiting};

use crate::{
    chain::Transaction,
    primitives::{Address, Amount, Hash, Slot},
    state::{Account, TransferError},
    store::Table,
};

/// Transaction id to a transaction of our own that must survive a restart.
pub(crate) const OWN: Table = Table("mempool/own");
/// The most transactions of one account that are pending: as many blocks of it as one proposer should care to reorder.
pub const MAX_PENDING: usize = 16;
/// The most transactions of one account that are queued: enough for what gossip brings out of order.
pub const MAX_QUEUED: usize = 16;
/// How far past the account's nonce a nonce may be. More could never become pending by what an account may have waiting.
const MAX_AHEAD: u64 = (MAX_PENDING + MAX_QUEUED) as u64;
/// What a replacement adds to the fee it replaces, in percent, so that replacing is not free gossip.
const REPLACEMENT_PERCENT: u64 = 10;

/// The caps of one mempool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of encoded transactions. Memory in use is two to four times that: 64 MiB natively, 4 MiB in a tab.
    pub max_bytes: usize,
    /// The least fee per encoded byte: the chain's minimum.
    pub min_fee_per_byte: u64,
}

/// The waiting transactions. Accounts are told by the caller, always as they are at the head.
#[derive(Debug)]
pub struct Mempool {
    limits: Limits,
    /// By the account's key in the state trie; none is empty.
    chains: BTreeMap<Hash, Chain>,
    /// All transactions, the best first.
    order: BTreeMap<Rank, Arc<Waiting>>,
    by_id: BTreeMap<Hash, Arc<Waiting>>,
    by_expiry: BTreeSet<(Slot, Hash)>,
    bytes: usize,
    queued: usize,
    arrivals: u64,
}

/// What taking a transaction would do.
struct Plan {
    key: Hash,
    chain: Chain,
    admitted: Admitted,
}

impl Mempool {
    /// An empty mempool.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            chains: BTreeMap::new(),
            order: BTreeMap::new(),
            by_id: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            bytes: 0,
            queued: 0,
            arrivals: 0,
        }
    }

    /// Whether [`Self::insert`] would take the transaction, were its signature right: asked before the signature is
    /// checked, so that the costly check is spent only on what could be taken. `account` is the sender's at the head,
    /// `slot` the earliest that the next block can have.
    ///
    /// # Errors
    /// Says why not, and what would help.
    pub fn check(
        &self,
        transaction: &Transaction,
        account: &Account,
        slot: Slot,
    ) -> Result<(), AdmissionError> {
        self.plan(transaction, account, slot).map(|_| ())
    }

    /// Takes a transaction whose signature is known to be right. `account` is the sender's at the head, `slot` the
    /// earliest that the next block can have. After a reorganisation, what was undone is inserted like anything else.
    ///
    /// # Errors
    /// Says why not, and what would help; nothing has changed then.
    pub fn insert(
        &mut self,
        transaction: &Transaction,
        account: &Account,
        slot: Slot,
    ) -> Result<Admitted, AdmissionError> {
        let Plan { key, mut chain, admitted } = self.plan(transaction, account, slot)?;
        let evicted: Vec<_> = admitted.evicted.iter().filter_map(|id| self.by_id.get(id).cloned()).collect();
        chain.entries.retain(|(_, waiting)| !admitted.evicted.contains(&waiting.id));
        self.put(key, chain);
        for waiting in evicted.into_iter().filter(|waiting| waiting.key != key) {
            // The worst of all leave, and a chain's last is its worst, so these are at the ends of their chains.
            if let Some(Chain { account, entries }) = self.chains.get(&waiting.key) {
                let kept = entries.iter().filter(|(_, other)| other.id != waiting.id);
                let chain = Chain { account: *account, entries: kept.cloned().collect() };
                self.put(waiting.key, chain);
            }
        }
        self.arrivals += 1;
        Ok(admitted)
    }

    /// Follows the head to another block. `changes` are the accounts that differ, by their key in the state trie, the
    /// last word for an account counting: a block's [`Diff`](crate::state::Diff) forward, after a reorganisation the
    /// undone ones backward first. `slot` is the earliest that the next block can have. Without changes, this only
    /// drops what has expired.
    ///
    /// Returns the ids that left: executed, outbid by another transaction with the nonce, expired, or no longer
    /// affordable.
    pub fn on_head(&mut self, changes: impl IntoIterator<Item = (Hash, Account)>, slot: Slot) -> Vec<Hash> {
        let mut left = Vec::new();
        let mut accounts: BTreeMap<Hash, Account> =
            changes.into_iter().filter(|(key, _)| self.chains.contains_key(key)).collect();
        for (_, id) in self.by_expiry.range(..(slot, Hash::ZERO)) {
            left.push(*id);
            let key = self.by_id.get(id).map(|waiting| waiting.key);
            if let Some((key, chain)) = key.and_then(|key| Some((key, self.chains.get(&key)?))) {
                accounts.entry(key).or_insert(chain.account);
            }
        }
        for (key, account) in accounts {
            let Some(chain) = self.chains.get(&key) else { continue };
            let waiting = chain.entries.iter().map(|(_, waiting)| waiting);
            let valid = waiting.filter(|waiting| waiting.transaction.content.valid_until >= slot).cloned();
            let (chain, dropped) = Chain::settle(account, valid);
            left.extend(dropped.iter().map(|waiting| waiting.id));
            self.put(key, chain);
        }
        left
    }

    /// Whether the transaction is here.
    #[must_use]
    pub fn contains(&self, id: &Hash) -> bool {
        self.by_id.contains_key(id)
    }

    /// The transaction with this id.
    #[must_use]
    pub fn get(&self, id: &Hash) -> Option<&Transaction> {
        self.by_id.get(id).map(|waiting| &waiting.transaction)
    }

    /// All transactions, pending ones first, the best first.
    pub fn iter(&self) -> impl Iterator<Item = (Hash, &Transaction)> {
        self.order.values().map(|waiting| (waiting.id, &waiting.transaction))
    }

    /// The pending transactions, the best first and none before one it must follow.
    pub fn iter_best(&self) -> impl Iterator<Item = (Hash, &Transaction)> {
        self.pending().map(|waiting| (waiting.id, &waiting.transaction))
    }

    /// The pending transactions for a block, in an order in which it can have them: the best that together are at most
    /// this many and have at most this many bytes. One that does not fit is passed over with all that must follow it.
    #[must_use]
    pub fn best(&self, max_count: usize, max_bytes: usize) -> Vec<Transaction> {
        let mut chosen = Vec::new();
        let mut room = max_bytes;
        let mut passed_over = BTreeSet::new();
        for waiting in self.pending() {
            if chosen.len() == max_count || room < Transaction::EMPTY_LEN {
                break;
            }
            if waiting.bytes > room || passed_over.contains(&waiting.key) {
                passed_over.insert(waiting.key);
            } else {
                room -= waiting.bytes;
                chosen.push(waiting.transaction.clone());
            }
        }
        chosen
    }

    /// The number of transactions that could be in the next block.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        self.order.len() - self.queued
    }

    /// The number of transactions that wait for an earlier one.
    #[must_use]
    pub fn queued_count(&self) -> usize {
        self.queued
    }

    /// The encoded bytes of all transactions.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The nonce for the account's next transaction, counting those that wait without a gap.
    #[must_use]
    pub fn next_nonce(&self, address: &Address, account: &Account) -> u64 {
        self.chains.get(&address.trie_key()).map_or(account.nonce, Chain::next_nonce)
    }

    /// What the account will hold once its pending transactions are in a block, not counting what others send it.
    #[must_use]
    pub fn pending_balance(&self, address: &Address, account: &Account) -> Amount {
        self.chains.get(&address.trie_key()).map_or(account.balance, Chain::pending_balance)
    }

    fn pending(&self) -> impl Iterator<Item = &Arc<Waiting>> {
        self.order.iter().take_while(|(rank, _)| !rank.queued).map(|(_, waiting)| waiting)
    }

    fn plan(&self, transaction: &Transaction, account: &Account, slot: Slot) -> Result<Plan, AdmissionError> {
        let content = &transaction.content;
        transaction.check(self.limits.min_fee_per_byte).map_err(TransferError::Never)?;
        let id = transaction.id();
        if self.contains(&id) {
            return Err(AdmissionError::Known);
        }
        if content.valid_until < slot {
            return Err(TransferError::Expired(content.valid_until).into());
        }
        let ahead = content
            .nonce
            .checked_sub(account.nonce)
            .ok_or(TransferError::Nonce { got: content.nonce, expected: account.nonce })?;
        if ahead >= MAX_AHEAD {
            return Err(AdmissionError::TooFarAhead { got: content.nonce, next: account.nonce });
        }
        let cost = transaction.cost().unwrap_or(Amount(u64::MAX));
        if cost > account.balance {
            return Err(TransferError::Overdraft { cost, balance: account.balance }.into());
        }

        let key = transaction.sender().trie_key();
        let bytes = transaction.encoded_len();
        let before = self.chains.get(&key).map_or(&[][..], |chain| &chain.entries);
        let replaced = before.iter().map(|(_, old)| old).find(|old| old.nonce() == content.nonce);
        let least = replaced.map(|old| self.replacement_fee(old, bytes));
        if let Some(least) = least.filter(|least| content.fee < *least) {
            return Err(AdmissionError::Underpriced(least));
        }
        let others = || before.iter().map(|(_, other)| other).filter(|other| other.nonce() != content.nonce);
        let left = others().fold(account.balance, |left, other| left.saturating_sub(other.cost));
        if cost > left {
            return Err(AdmissionError::Committed { cost, left });
        }

        let waiting = Waiting {
            transaction: transaction.clone(),
            id,
            key,
            bytes,
            cost: cost.0,
            arrival: self.arrivals,
        };
        let mut waiting: Vec<_> = others().cloned().chain([Arc::new(waiting)]).collect();
        waiting.sort_by_key(|waiting| waiting.nonce());
        let (chain, dropped) = Chain::settle(*account, waiting);
        let rank = chain.entries.iter().find(|(_, other)| other.id == id).map(|(rank, _)| *rank);
        let Some(rank) = rank.filter(|_| dropped.is_empty()) else {
            return Err(AdmissionError::AccountFull);
        };
        let evicted = self.make_room(&key, &chain, &rank)?;
        let admitted = Admitted { id, pending: !rank.queued, replaced: replaced.map(|old| old.id), evicted };
        Ok(Plan { key, chain, admitted })
    }

    /// The least fee with which a transaction of `bytes` bytes takes the place of `old`.
    fn replacement_fee(&self, old: &Waiting, bytes: usize) -> Amount {
        let fee = old.transaction.content.fee.0;
        let raised =
            fee.saturating_add((u128::from(fee) * u128::from(REPLACEMENT_PERCENT)).div_ceil(100) as u64);
        let relayed = self.limits.min_fee_per_byte.saturating_mul(bytes as u64).saturating_add(fee);
        Amount(raised.max(relayed))
    }

    /// Which transactions leave, worst first, for `chain` to take the place of what the account `key` has here. The
    /// newcomer in it is the one of rank `newcomer`.
    fn make_room(&self, key: &Hash, chain: &Chain, newcomer: &Rank) -> Result<Vec<Hash>, AdmissionError> {
        let sum = |entries: &[(Rank, Arc<Waiting>)]| entries.iter().map(|(_, waiting)| waiting.bytes).sum();
        let before: usize = self.chains.get(key).map_or(0, |chain| sum(&chain.entries));
        let after: usize = self.bytes - before + sum(&chain.entries);
        let excess = after.saturating_sub(self.limits.max_bytes);
        if excess == 0 {
            return Ok(Vec::new());
        }

        let mut own = chain.entries.iter().rev().map(|(rank, waiting)| (rank, waiting)).peekable();
        let mut others = self.order.iter().rev().filter(|(_, waiting)| waiting.key != *key).peekable();
        let mut worst_first = std::iter::from_fn(|| match (own.peek(), others.peek()) {
            (Some((own_rank, _)), Some((rank, _))) if own_rank < rank => others.next(),
            (None, Some(_)) => others.next(),
            _ => own.next(),
        });
        let (mut victims, mut freed, mut refused) = (Vec::new(), 0, None);
        let mut best_victim = None;
        while freed < excess {
            let Some((rank, waiting)) = worst_first.next() else {
                return Err(AdmissionError::FullForFollower);
            };
            if rank == newcomer {
                refused = Some(waiting.bytes);
            } else if waiting.key != *key || rank > newcomer {
                freed += waiting.bytes;
                victims.push(waiting.id);
                best_victim = Some(rank);
            }
        }
        let (Some(bytes), Some(best_victim)) = (refused, best_victim) else { return Ok(victims) };

        // To stay, it must come before the best of those that would leave in its stead; and it counts for no more than
        // what it must follow.
        let followed = chain.entries.iter().map(|(rank, _)| rank).take_while(|rank| *rank < newcomer).last();
        let unbound = followed.is_none_or(|rank| rank.rate.0 > best_victim.rate.0);
        let helps = unbound && newcomer.queued <= best_victim.queued;
        let fee = best_victim.rate.0.fee_to_beat(bytes).filter(|_| helps);
        Err(fee.map_or(AdmissionError::FullForFollower, AdmissionError::Full))
    }

    /// Lets `chain` take the place of what the account `key` has here.
    fn put(&mut self, key: Hash, chain: Chain) {
        let old = self.chains.remove(&key).map_or_else(Vec::new, |old| old.entries);
        for (rank, waiting) in &old {
            self.order.remove(rank);
            self.by_id.remove(&waiting.id);
            self.by_expiry.remove(&(waiting.transaction.content.valid_until, waiting.id));
            self.bytes -= waiting.bytes;
            self.queued -= usize::from(rank.queued);
        }
        for (rank, waiting) in &chain.entries {
            self.order.insert(*rank, waiting.clone());
            self.by_id.insert(waiting.id, waiting.clone());
            self.by_expiry.insert((waiting.transaction.content.valid_until, waiting.id));
            self.bytes += waiting.bytes;
            self.queued += usize::from(rank.queued);
        }
        if !chain.entries.is_empty() {
            self.chains.insert(key, chain);
        }
    }
}
