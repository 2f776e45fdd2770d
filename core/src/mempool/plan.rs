//! Whether a transaction is taken, and what that would do: everything is decided here before anything changes.

use std::sync::Arc;

use super::{
    AdmissionError, Admitted, MAX_AHEAD, Mempool, REPLACEMENT_PERCENT, Source,
    chain::{Chain, Rank, Waiting},
    estimate::fee_for,
    rate::FeeRate,
    source::Load,
};
use crate::{
    chain::Transaction,
    primitives::{Amount, Hash, Slot},
    state::{Account, TransferError},
};

/// What taking a transaction would do.
pub(super) struct Plan {
    pub(super) key: Hash,
    pub(super) chain: Chain,
    pub(super) admitted: Admitted,
    /// The best rate of those that leave although they are pending.
    pub(super) outbid: Option<FeeRate>,
}

/// A transaction that leaves to make room.
type Victim = (Rank, Arc<Waiting>);

impl Mempool {
    pub(super) fn plan(
        &self,
        transaction: &Transaction,
        account: &Account,
        slot: Slot,
        source: Source,
    ) -> Result<Plan, AdmissionError> {
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
        let floor = match source {
            Source::Undone => Amount(0),
            Source::Peer(_) | Source::Own => fee_for(self.min_fee_rate(slot), bytes),
        };
        let least = replaced.map(|old| self.replacement_fee(old, bytes));
        if let Some(least) = least.filter(|least| content.fee < *least) {
            return Err(AdmissionError::Underpriced(least.max(floor)));
        }
        if content.fee < floor {
            return Err(AdmissionError::BelowMinimum(floor));
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
            source,
        };
        let mut waiting: Vec<_> = others().cloned().chain([Arc::new(waiting)]).collect();
        waiting.sort_by_key(|waiting| waiting.nonce());
        let (chain, dropped) = Chain::settle(*account, waiting);
        let rank = chain.entries.iter().find(|(_, other)| other.id == id).map(|(rank, _)| *rank);
        let Some(rank) = rank.filter(|_| dropped.is_empty()) else {
            return Err(AdmissionError::AccountFull);
        };
        if rank.queued {
            self.check_peer(source, &key, &chain)?;
        }
        let victims = self.make_room(&key, &chain, &rank)?;
        let evicted: Vec<_> = victims.iter().map(|(_, victim)| victim.id).collect();
        // What was queued left for want of an earlier one, whatever it offered to pay.
        let outbid = victims.iter().filter(|(rank, _)| !rank.queued).map(|(rank, _)| rank.rate.0).max();
        let mut promoted = self.promoted(&key, &chain);
        promoted.retain(|other| *other != id && !evicted.contains(other));
        let admitted =
            Admitted { id, pending: !rank.queued, replaced: replaced.map(|old| old.id), evicted, promoted };
        Ok(Plan { key, chain, admitted, outbid })
    }

    /// The least fee with which a transaction of `bytes` bytes takes the place of `old`.
    fn replacement_fee(&self, old: &Waiting, bytes: usize) -> Amount {
        let fee = old.transaction.content.fee.0;
        let raised =
            fee.saturating_add((u128::from(fee) * u128::from(REPLACEMENT_PERCENT)).div_ceil(100) as u64);
        let relayed = self.limits.relay_fee_per_byte().saturating_mul(bytes as u64).saturating_add(fee);
        Amount(raised.max(relayed))
    }

    /// Whether the peer that sent the newcomer in `chain` may have so much queued with it.
    fn check_peer(&self, source: Source, key: &Hash, chain: &Chain) -> Result<(), AdmissionError> {
        let Source::Peer(peer) = source else { return Ok(()) };
        let of_peer = |chain: &Chain| {
            let queued = chain.entries.iter().filter(|(rank, other)| rank.queued && other.source == source);
            queued.fold(Load::default(), |load, (_, other)| Load {
                count: load.count + 1,
                bytes: load.bytes + other.bytes,
            })
        };
        let (all, before) = (self.queued_of.of(&peer), self.chains.get(key).map(of_peer).unwrap_or_default());
        let after = of_peer(chain);
        let load = Load {
            count: all.count - before.count + after.count,
            bytes: all.bytes - before.bytes + after.bytes,
        };
        load.check(&self.limits)
    }

    /// What of `chain` is pending, and queued in what the account `key` has here.
    pub(super) fn promoted(&self, key: &Hash, chain: &Chain) -> Vec<Hash> {
        let Some(before) = self.chains.get(key) else { return Vec::new() };
        let queued = |id: &Hash| before.entries.iter().any(|(rank, other)| rank.queued && other.id == *id);
        chain.pending().map(|waiting| waiting.id).filter(queued).collect()
    }

    /// Which transactions leave, worst first, for `chain` to take the place of what the account `key` has here. The
    /// newcomer in it is the one of rank `newcomer`.
    fn make_room(&self, key: &Hash, chain: &Chain, newcomer: &Rank) -> Result<Vec<Victim>, AdmissionError> {
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
                victims.push((*rank, Arc::clone(waiting)));
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
}
