//! Whether a transaction is taken, and what that would do: everything is decided here before anything changes.

use std::sync::Arc;

use super::{
    AdmissionError, Admitted, MAX_AHEAD, Mempool, REPLACEMENT_PERCENT, Source, Weighed,
    chain::{Chain, Entry, Rank, Waiting},
    estimate::fee_for,
    rate::FeeRate,
    source::Load,
};
use crate::{
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
type Victim = Entry;

impl Mempool {
    /// What can be said without working out where the transaction would stand. Answers what its account has here, and which
    /// of that it would take the place of.
    fn judge(
        &self,
        weighed: &Weighed,
        account: &Account,
        slot: Slot,
        source: Source,
    ) -> Result<(&[Entry], Option<Hash>), AdmissionError> {
        let Weighed { id, key, bytes, .. } = *weighed;
        let content = &weighed.transaction.content;
        weighed.transaction.check(self.limits.min_fee_per_byte).map_err(TransferError::Never)?;
        let before = self.chains.get(&key).map_or(&[][..], |chain| &chain.entries);
        let replaced = before.iter().map(|(_, old)| old).find(|old| old.nonce() == content.nonce);
        if replaced.is_some_and(|old| old.id == id) {
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
        let cost = weighed.cost;
        if cost > account.balance {
            return Err(TransferError::Overdraft { cost, balance: account.balance }.into());
        }

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
        let others = before.iter().map(|(_, other)| other).filter(|other| other.nonce() != content.nonce);
        let left = others.fold(account.balance, |left, other| left.saturating_sub(other.cost));
        if cost > left {
            return Err(AdmissionError::Committed { cost, left });
        }
        Ok((before, replaced.map(|old| old.id)))
    }

    /// Whether [`Self::plan`] finds a place.
    pub(super) fn has_place(
        &self,
        weighed: &Weighed,
        account: &Account,
        slot: Slot,
        source: Source,
    ) -> Result<(), AdmissionError> {
        let (before, _) = self.judge(weighed, account, slot, source)?;
        let is_only = before.is_empty() && weighed.transaction.content.nonce == account.nonce;
        if is_only && self.bytes + weighed.bytes <= self.limits.max_bytes {
            return Ok(());
        }
        self.plan(weighed.clone(), account, slot, source).map(|_| ())
    }

    pub(super) fn plan(
        &self,
        weighed: Weighed,
        account: &Account,
        slot: Slot,
        source: Source,
    ) -> Result<Plan, AdmissionError> {
        let (before, replaced) = self.judge(&weighed, account, slot, source)?;
        let Weighed { id, key, bytes, cost, .. } = weighed;
        let nonce = weighed.transaction.content.nonce;
        let others = || before.iter().map(|(_, other)| other).filter(move |other| other.nonce() != nonce);
        let waiting = Waiting {
            transaction: weighed.transaction,
            id,
            key,
            bytes,
            cost: cost.0,
            arrival: self.arrivals,
            source,
        };
        let newcomer = [Arc::new(waiting)];
        let (earlier, later) = (others().filter(|other| other.nonce() < nonce), others());
        let later = later.filter(|other| other.nonce() > nonce);
        let (chain, dropped) = Chain::settle(*account, earlier.chain(&newcomer).chain(later).cloned());
        let rank = chain.entries.iter().find(|(_, other)| other.id == id).map(|(rank, _)| *rank);
        let Some(rank) = rank.filter(|_| dropped.is_empty()) else {
            return Err(AdmissionError::AccountFull);
        };
        if rank.queued {
            self.check_peer(source, before, &chain)?;
        }
        let victims = self.make_room(&key, before, &chain, &rank)?;
        let evicted: Vec<_> = victims.iter().map(|(_, victim)| victim.id).collect();
        // What was queued left for want of an earlier one, whatever it offered to pay.
        let outbid = victims.iter().filter(|(rank, _)| !rank.queued).map(|(rank, _)| rank.rate.0).max();
        let mut promoted = promoted(before, &chain);
        promoted.retain(|other| *other != id && !evicted.contains(other));
        let admitted = Admitted { id, pending: !rank.queued, replaced, evicted, promoted };
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
    fn check_peer(&self, source: Source, before: &[Entry], chain: &Chain) -> Result<(), AdmissionError> {
        let Source::Peer(peer) = source else { return Ok(()) };
        let of_peer = |entries: &[Entry]| {
            let queued = entries.iter().filter(|(rank, other)| rank.queued && other.source == source);
            queued.fold(Load::default(), |load, (_, other)| Load {
                count: load.count + 1,
                bytes: load.bytes + other.bytes,
            })
        };
        let (all, before, after) = (self.queued_of.of(&peer), of_peer(before), of_peer(&chain.entries));
        let load = Load {
            count: all.count - before.count + after.count,
            bytes: all.bytes - before.bytes + after.bytes,
        };
        load.check(&self.limits)
    }

    /// Which transactions leave, worst first, for `chain` to take the place of what the account `key` has here, which is
    /// `before`. The newcomer in it is the one of rank `newcomer`.
    fn make_room(
        &self,
        key: &Hash,
        before: &[Entry],
        chain: &Chain,
        newcomer: &Rank,
    ) -> Result<Vec<Victim>, AdmissionError> {
        let sum = |entries: &[Entry]| entries.iter().map(|(_, waiting)| waiting.bytes).sum::<usize>();
        let after = self.bytes - sum(before) + sum(&chain.entries);
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

/// What of `chain` is pending, and was queued before.
pub(super) fn promoted(before: &[Entry], chain: &Chain) -> Vec<Hash> {
    let queued = |id: &Hash| before.iter().any(|(rank, other)| rank.queued && other.id == *id);
    chain.pending().map(|waiting| waiting.id).filter(queued).collect()
}
