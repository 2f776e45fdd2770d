//! The mempool: transactions that wait for a block, best first, under hard caps.
//!
//! Each account has a **chain** of waiting transactions by nonce. The part without a gap from the account's nonce is
//! *pending* and could be in the next block; the rest is *queued*. A transaction counts for its **effective rate**: the
//! least fee per byte of itself and all it must follow, since a block that wants it has to take those too. One order
//! over all transactions serves both ends: a block is filled from the front, and the back leaves when room is needed.
//!
//! What keeps it honest: an account's transactions together never cost more than it holds, so that nothing waits that
//! its sender could not pay for; a replacement pays for its own bytes on top of what it replaces; a newcomer that would
//! be the first to leave is refused, and told the fee that finds room; after something had to leave, the minimum rises
//! above what it paid; and what waits for a gap is accounted to the peer that sent it.

mod admission;
mod chain;
mod estimate;
mod floor;
mod histogram;
mod plan;
mod rate;
mod source;
#[cfg(test)]
mod tests;
mod weighed;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    sync::Arc,
};

pub use admission::{AdmissionError, Admitted, Moved, PoolCounts};
use chain::{Chain, Entry, Rank, Waiting};
pub(crate) use estimate::BLOCK_ROOM;
pub use estimate::{Estimator, FeeEstimate, LOOK_BACK, fee_for};
use floor::Floor;
pub use floor::HALF_LIFE;
pub use histogram::{FeeBucket, MAX_BUCKETS};
use plan::{Plan, promoted};
use rate::FeeRate;
pub use source::Source;
pub use weighed::Weighed;

use crate::{
    chain::Transaction,
    primitives::{Amount, Hash, Slot},
    state::Account,
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
/// The most queued transactions accounted to one peer: 16 accounts that have all they may.
pub const MAX_QUEUED_OF_PEER: usize = 256;
/// Which part of the pool's bytes those may have at most: a 64th, so that it would take dozens of peers to fill the pool
/// with what can be in no block; but no less than one account's.
const PEER_SHARE: usize = 64;
/// How many transactions in a row a block may pass over before it is as good as full, as in Bitcoin Core's assembler.
const MAX_PASSED_OVER: usize = 1_000;

/// The caps of one mempool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of encoded transactions. Memory in use is two to four times that: 64 MiB natively, 4 MiB in a tab.
    pub max_bytes: usize,
    /// The least fee per encoded byte: the chain's minimum.
    pub min_fee_per_byte: u64,
    /// The most queued transactions that one peer sent.
    pub max_queued_of_peer: usize,
    /// The most bytes of those.
    pub max_queued_bytes_of_peer: usize,
}

impl Limits {
    /// The usual ones for a pool of this size.
    #[must_use]
    pub const fn new(max_bytes: usize, min_fee_per_byte: u64) -> Self {
        let share = max_bytes / PEER_SHARE;
        let account = MAX_QUEUED * Transaction::MAX_LEN;
        let max_queued_bytes_of_peer = if share < account { account } else { share };
        Self { max_bytes, min_fee_per_byte, max_queued_of_peer: MAX_QUEUED_OF_PEER, max_queued_bytes_of_peer }
    }

    /// What passing a byte on costs at least, for whoever replaces or evicts: the chain's minimum, and never nothing.
    const fn relay_fee_per_byte(&self) -> u64 {
        if self.min_fee_per_byte == 0 { 1 } else { self.min_fee_per_byte }
    }
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
    /// By the last slot for which they are valid, and their arrival.
    by_expiry: BTreeMap<(Slot, u64), Arc<Waiting>>,
    bytes: usize,
    queued: usize,
    queued_of: source::Accounts,
    arrivals: u64,
    floor: Floor,
    counts: PoolCounts,
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
            by_expiry: BTreeMap::new(),
            bytes: 0,
            queued: 0,
            queued_of: source::Accounts::default(),
            arrivals: 0,
            floor: Floor::default(),
            counts: PoolCounts::default(),
        }
    }

    /// Whether [`Self::insert`] would take the transaction, were its signature right: asked before the signature is
    /// checked, so that the costly check is spent only on what could be taken. `account` is the sender's at the head,
    /// `slot` the earliest that the next block can have, `source` who vouches for it.
    ///
    /// # Errors
    /// Says why not, and what would help.
    pub fn check(
        &self,
        transaction: &Transaction,
        account: &Account,
        slot: Slot,
        source: Source,
    ) -> Result<(), AdmissionError> {
        self.would_take(&Weighed::new(transaction.clone()), account, slot, source)
    }

    /// [`Self::check`] of a transaction that is weighed already.
    ///
    /// # Errors
    /// Says why not, and what would help.
    pub fn would_take(
        &self,
        weighed: &Weighed,
        account: &Account,
        slot: Slot,
        source: Source,
    ) -> Result<(), AdmissionError> {
        self.has_place(weighed, account, slot, source)
    }

    /// Takes a transaction whose signature is known to be right. `account` is the sender's at the head, `slot` the
    /// earliest that the next block can have, `source` who vouches for it.
    ///
    /// # Errors
    /// Says why not, and what would help; nothing has changed then.
    pub fn insert(
        &mut self,
        transaction: &Transaction,
        account: &Account,
        slot: Slot,
        source: Source,
    ) -> Result<Admitted, AdmissionError> {
        self.take(Weighed::new(transaction.clone()), account, slot, source)
    }

    /// [`Self::insert`] of a transaction that is weighed already.
    ///
    /// # Errors
    /// Says why not, and what would help; nothing has changed then.
    pub fn take(
        &mut self,
        weighed: Weighed,
        account: &Account,
        slot: Slot,
        source: Source,
    ) -> Result<Admitted, AdmissionError> {
        let Plan { key, mut chain, admitted, outbid } = self.plan(weighed, account, slot, source)?;
        self.floor.settle(slot, self.bytes, self.limits.max_bytes);
        let evicted: Vec<_> = admitted.evicted.iter().filter_map(|id| self.by_id.get(id).cloned()).collect();
        if !evicted.is_empty() {
            chain.entries.retain(|(_, waiting)| !admitted.evicted.contains(&waiting.id));
        }
        self.put(key, chain);
        for waiting in evicted.into_iter().filter(|waiting| waiting.key != key) {
            // The worst of all leave, and a chain's last is its worst, so these are at the ends of their chains.
            if let Some(Chain { account, entries }) = self.chains.get(&waiting.key) {
                let kept = entries.iter().filter(|(_, other)| other.id != waiting.id);
                let chain = Chain { account: *account, entries: kept.cloned().collect() };
                self.put(waiting.key, chain);
            }
        }
        if let Some(rate) = outbid {
            let relaying = self.limits.relay_fee_per_byte().saturating_mul(1000);
            self.floor.raise(rate.per_thousand().saturating_add(relaying));
        }
        self.arrivals += 1;
        self.counts.admitted += 1;
        self.counts.replaced += u64::from(admitted.replaced.is_some());
        self.counts.evicted += admitted.evicted.len() as u64;
        Ok(admitted)
    }

    /// Follows the head to another block. `changes` are the accounts that differ, by their key in the state trie, the
    /// last word for an account counting: a block's [`Diff`](crate::state::Diff) forward, after a reorganisation the
    /// undone ones backward first. `slot` is the earliest that the next block can have. Without changes, this only
    /// drops what has expired.
    pub fn on_head(&mut self, changes: impl IntoIterator<Item = (Hash, Account)>, slot: Slot) -> Moved {
        self.floor.settle(slot, self.bytes, self.limits.max_bytes);
        let mut moved = Moved::default();
        let mut accounts: BTreeMap<Hash, Account> =
            changes.into_iter().filter(|(key, _)| self.chains.contains_key(key)).collect();
        for (_, waiting) in self.by_expiry.range(..(slot, 0)) {
            moved.left.push(waiting.id);
            if let Some(chain) = self.chains.get(&waiting.key) {
                accounts.entry(waiting.key).or_insert(chain.account);
            }
        }
        let expired = moved.left.len();
        for (key, account) in accounts {
            let Some(before) = self.chains.get(&key) else { continue };
            let waiting = before.entries.iter().map(|(_, waiting)| waiting);
            let valid = waiting.filter(|waiting| waiting.transaction.content.valid_until >= slot).cloned();
            let (chain, dropped) = Chain::settle(account, valid);
            moved.left.extend(dropped.iter().map(|waiting| waiting.id));
            moved.promoted.extend(promoted(&before.entries, &chain));
            self.put(key, chain);
        }
        self.counts.expired += expired as u64;
        self.counts.settled += (moved.left.len() - expired) as u64;
        moved
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

    /// Whether the transaction is here and could be in the next block.
    #[must_use]
    pub fn is_pending(&self, id: &Hash) -> bool {
        let chain = self.by_id.get(id).and_then(|waiting| self.chains.get(&waiting.key));
        chain.is_some_and(|chain| chain.pending().any(|waiting| waiting.id == *id))
    }

    /// The least fee for 1,000 bytes that is taken at `slot`: the chain's minimum, or more for a while after others had to
    /// leave.
    #[must_use]
    pub fn min_fee_rate(&self, slot: Slot) -> u64 {
        let chains = self.limits.min_fee_per_byte.saturating_mul(1000);
        chains.max(self.floor.rate(slot, self.bytes, self.limits.max_bytes))
    }

    /// What went through since the start.
    #[must_use]
    pub fn counts(&self) -> PoolCounts {
        self.counts
    }

    /// The pending transactions, the best first and none before one it must follow.
    pub fn iter_best(&self) -> impl Iterator<Item = (Hash, &Transaction)> {
        self.pending().map(|waiting| (waiting.id, &waiting.transaction))
    }

    /// The pending transactions for a block, in an order in which it can have them: the best that together are at most
    /// this many and have at most this many bytes. One that does not fit is passed over with all that must follow it, and
    /// after a thousand of those in a row nobody looks further. So this costs what is chosen, not what waits.
    #[must_use]
    pub fn best(&self, max_count: usize, max_bytes: usize) -> Vec<Transaction> {
        let mut chosen = Vec::new();
        let mut room = max_bytes;
        let mut passed_over = BTreeSet::new();
        let mut in_a_row = 0;
        for waiting in self.pending() {
            if chosen.len() == max_count || room < Transaction::EMPTY_LEN || in_a_row == MAX_PASSED_OVER {
                break;
            }
            if waiting.bytes > room || passed_over.contains(&waiting.key) {
                passed_over.insert(waiting.key);
                in_a_row += 1;
            } else {
                in_a_row = 0;
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

    /// The nonce for the next transaction of the account with this key in the state trie, counting those that wait without a
    /// gap.
    #[must_use]
    pub fn next_nonce(&self, key: &Hash, account: &Account) -> u64 {
        self.chains.get(key).map_or(account.nonce, Chain::next_nonce)
    }

    /// What that account will hold once its pending transactions are in a block, not counting what others send it.
    #[must_use]
    pub fn pending_balance(&self, key: &Hash, account: &Account) -> Amount {
        self.chains.get(key).map_or(account.balance, Chain::pending_balance)
    }

    fn pending(&self) -> impl Iterator<Item = &Arc<Waiting>> {
        self.order.iter().take_while(|(rank, _)| !rank.queued).map(|(_, waiting)| waiting)
    }

    /// The effective rates and sizes of the pending transactions, the best first.
    fn pending_rates(&self) -> impl Iterator<Item = (FeeRate, usize)> {
        let pending = self.order.iter().take_while(|(rank, _)| !rank.queued);
        pending.map(|(rank, waiting)| (rank.rate.0, waiting.bytes))
    }

    /// Lets `chain` take the place of what the account `key` has here. What keeps its rank is not touched: a rank is that of
    /// one transaction, and both are sorted by it.
    fn put(&mut self, key: Hash, chain: Chain) {
        let missing_in = |others: &[Entry], entries: &[Entry]| {
            let is_missing =
                |(rank, _): &&Entry| others.binary_search_by_key(rank, |(other, _)| *other).is_err();
            entries.iter().filter(is_missing).cloned().collect::<Vec<_>>()
        };
        let (gone, new) = match self.chains.entry(key) {
            btree_map::Entry::Vacant(_) if chain.entries.is_empty() => return,
            btree_map::Entry::Vacant(place) => (Vec::new(), place.insert(chain).entries.clone()),
            btree_map::Entry::Occupied(mut place) => {
                let old = &place.get().entries;
                let parted = (missing_in(&chain.entries, old), missing_in(old, &chain.entries));
                if chain.entries.is_empty() {
                    place.remove();
                } else {
                    place.insert(chain);
                }
                parted
            }
        };
        for (rank, waiting) in gone {
            self.order.remove(&rank);
            self.by_id.remove(&waiting.id);
            self.by_expiry.remove(&waiting.expiry());
            self.bytes -= waiting.bytes;
            if rank.queued {
                self.queued -= 1;
                self.queued_of.remove(waiting.source, waiting.bytes);
            }
        }
        for (rank, waiting) in new {
            self.bytes += waiting.bytes;
            if rank.queued {
                self.queued += 1;
                self.queued_of.add(waiting.source, waiting.bytes);
            }
            self.by_id.insert(waiting.id, Arc::clone(&waiting));
            self.by_expiry.insert(waiting.expiry(), Arc::clone(&waiting));
            self.order.insert(rank, waiting);
        }
    }
}
