//! The mempool as a plain list: slow, and with nothing kept that could go stale.

use std::cmp::Ordering;

use super::*;
use crate::primitives::encode;

#[derive(Clone)]
struct Item {
    transaction: Transaction,
    arrival: u64,
    source: Source,
}

/// Where an item stands, worked out anew each time.
#[derive(Clone)]
struct Place {
    item: Item,
    queued: bool,
    fee: u128,
    bytes: u128,
    position: u64,
}

impl Place {
    fn nonce(&self) -> u64 {
        self.item.transaction.content.nonce
    }

    fn id(&self) -> Hash {
        self.item.transaction.id()
    }

    fn order(&self, other: &Self) -> Ordering {
        let rate = (other.fee * self.bytes).cmp(&(self.fee * other.bytes));
        let rest = (self.position, self.nonce()).cmp(&(other.position, other.nonce()));
        self.queued.cmp(&other.queued).then(rate).then(rest)
    }
}

pub(super) struct Model {
    limits: Limits,
    items: Vec<Item>,
    accounts: BTreeMap<Address, Account>,
    arrivals: u64,
    /// The rolling minimum as it was when it rose, and how many slots of a full pool that is ago.
    peak: u64,
    age: u64,
    slot: u64,
}

fn cost(item: &Item) -> u64 {
    item.transaction.content.amount.0 + item.transaction.content.fee.0
}

fn bytes(item: &Item) -> usize {
    encode(&item.transaction).len()
}

impl Model {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, items: Vec::new(), accounts: BTreeMap::new(), arrivals: 0, peak: 0, age: 0, slot: 0 }
    }

    /// Lets the slots pass one by one.
    fn pass(&mut self, slot: Slot) {
        let held: usize = self.items.iter().map(bytes).sum();
        while self.slot < slot.0 {
            self.slot += 1;
            self.age += match held {
                held if held < self.limits.max_bytes / 4 => 4,
                held if held < self.limits.max_bytes / 2 => 2,
                _ => 1,
            };
        }
    }

    fn rolling(&self) -> u64 {
        let halved = (0..self.age / 600).fold(self.peak, |rate, _| rate / 2);
        halved - (u128::from(halved) * u128::from(self.age % 600) / 1200) as u64
    }

    fn minimum(&self) -> u64 {
        self.rolling().max(1000 * self.limits.min_fee_per_byte)
    }

    fn queued(&self) -> impl Iterator<Item = Place> {
        self.places(&self.items).into_iter().filter(|place| place.queued)
    }

    /// The items of one account in nonce order.
    fn chain(items: &[Item], sender: &Address) -> Vec<Item> {
        let mut chain: Vec<_> =
            items.iter().filter(|item| item.transaction.sender() == *sender).cloned().collect();
        chain.sort_by_key(|item| item.transaction.content.nonce);
        chain
    }

    /// All items, best first.
    fn places(&self, items: &[Item]) -> Vec<Place> {
        let mut places = Vec::new();
        for (sender, account) in &self.accounts {
            let mut run = account.nonce;
            let chain = Self::chain(items, sender);
            for (index, item) in chain.iter().enumerate() {
                let pending = item.transaction.content.nonce == run && run < account.nonce + 16;
                run += u64::from(pending);
                let rates = chain[..=index].iter();
                let least = rates.min_by(|a, b| {
                    let left = u128::from(a.transaction.content.fee.0) * bytes(b) as u128;
                    left.cmp(&(u128::from(b.transaction.content.fee.0) * bytes(a) as u128))
                });
                let least = least.unwrap();
                places.push(Place {
                    item: item.clone(),
                    queued: !pending,
                    fee: u128::from(least.transaction.content.fee.0),
                    bytes: bytes(least) as u128,
                    position: chain[..=index].iter().map(|item| item.arrival).max().unwrap(),
                });
            }
        }
        places.sort_by(Place::order);
        places
    }

    pub(super) fn insert(
        &mut self,
        transaction: &Transaction,
        account: &Account,
        slot: Slot,
        source: Source,
    ) -> Result<Admitted, AdmissionError> {
        self.pass(slot);
        let sender = transaction.sender();
        let content = &transaction.content;
        transaction.check(self.limits.min_fee_per_byte).map_err(TransferError::Never)?;
        let item = Item { transaction: transaction.clone(), arrival: self.arrivals, source };
        if self.items.iter().any(|other| other.transaction == *transaction) {
            return Err(AdmissionError::Known);
        }
        if content.valid_until < slot {
            return Err(TransferError::Expired(content.valid_until).into());
        }
        if content.nonce < account.nonce {
            return Err(TransferError::Nonce { got: content.nonce, expected: account.nonce }.into());
        }
        if content.nonce >= account.nonce + 32 {
            return Err(AdmissionError::TooFarAhead { got: content.nonce, next: account.nonce });
        }
        let own_cost = Amount(cost(&item));
        if own_cost > account.balance {
            return Err(TransferError::Overdraft { cost: own_cost, balance: account.balance }.into());
        }
        let chain = Self::chain(&self.items, &sender);
        let old = chain.iter().find(|other| other.transaction.content.nonce == content.nonce);
        let floor = Amount((self.minimum() * bytes(&item) as u64).div_ceil(1000));
        let floor = if source == Source::Undone { Amount(0) } else { floor };
        if let Some(old) = old {
            let fee = old.transaction.content.fee.0;
            let least = Amount((fee + fee.div_ceil(10)).max(fee + bytes(&item) as u64));
            if content.fee < least {
                return Err(AdmissionError::Underpriced(least.max(floor)));
            }
        }
        if content.fee < floor {
            return Err(AdmissionError::BelowMinimum(floor));
        }
        let replaced = old.map(|old| old.transaction.id());
        let others: u64 = chain.iter().map(cost).sum::<u64>() - old.map_or(0, cost);
        let left = account.balance.saturating_sub(others);
        if own_cost > left {
            return Err(AdmissionError::Committed { cost: own_cost, left });
        }

        self.accounts.insert(sender, *account);
        let mut items = self.items.clone();
        items.retain(|other| Some(other.transaction.id()) != replaced);
        items.push(item);
        let mut places = self.places(&items);
        let of_sender = places.iter().filter(|place| place.item.transaction.sender() == sender);
        if of_sender.filter(|place| place.queued).count() > 16 {
            return Err(AdmissionError::AccountFull);
        }
        let newcomer = places.iter().find(|place| place.id() == transaction.id()).unwrap().clone();
        if newcomer.queued && source != Source::Own && source != Source::Undone {
            let of_peer: Vec<_> =
                places.iter().filter(|place| place.queued && place.item.source == source).collect();
            let sum: usize = of_peer.iter().map(|place| bytes(&place.item)).sum();
            if of_peer.len() > self.limits.max_queued_of_peer || sum > self.limits.max_queued_bytes_of_peer {
                return Err(AdmissionError::PeerFull);
            }
        }
        let total = |places: &[Place]| places.iter().map(|place| bytes(&place.item)).sum::<usize>();
        let before = places.clone();
        let (mut evicted, mut raised) = (Vec::new(), 0);
        while total(&places) > self.limits.max_bytes {
            let worst = places.pop().unwrap();
            evicted.push(worst.id());
            if !worst.queued {
                raised = raised.max((worst.fee * 1000).div_ceil(worst.bytes) as u64 + 1000);
            }
        }
        if evicted.contains(&transaction.id()) {
            return Err(self.fee_for_room(before, &newcomer));
        }
        items.retain(|item| !evicted.contains(&item.transaction.id()));
        let waited: Vec<_> = self.queued().map(|place| place.id()).collect();
        self.items = items;
        self.arrivals += 1;
        if raised > self.rolling() {
            (self.peak, self.age) = (raised, 0);
        }
        let pending = places.iter().filter(|place| !place.queued && waited.contains(&place.id()));
        let mut promoted: Vec<_> = pending.map(|place| (place.nonce(), place.id())).collect();
        promoted.sort();
        let promoted = promoted.into_iter().map(|(_, id)| id).collect();
        Ok(Admitted { id: transaction.id(), pending: !newcomer.queued, replaced, evicted, promoted })
    }

    /// What it would have to pay: more than the best of those that would leave if it stayed.
    fn fee_for_room(&self, mut places: Vec<Place>, newcomer: &Place) -> AdmissionError {
        let sender = newcomer.item.transaction.sender();
        let followed: Vec<_> = places
            .iter()
            .filter(|place| place.item.transaction.sender() == sender && place.nonce() < newcomer.nonce())
            .cloned()
            .collect();
        let kept = |place: &Place| {
            place.id() == newcomer.id() || followed.iter().any(|other| other.id() == place.id())
        };
        let mut best = None;
        while places.iter().map(|place| bytes(&place.item)).sum::<usize>() > self.limits.max_bytes {
            let Some(worst) = places.iter().rposition(|place| !kept(place)) else {
                return AdmissionError::FullForFollower;
            };
            best = Some(places.remove(worst));
        }
        let best = best.unwrap();
        let fee = Amount((best.fee * bytes(&newcomer.item) as u128 / best.bytes) as u64 + 1);
        let bound = followed.iter().any(|other| other.fee * best.bytes <= best.fee * other.bytes);
        if bound || newcomer.queued && !best.queued {
            return AdmissionError::FullForFollower;
        }
        AdmissionError::Full(fee)
    }

    /// What left and what was promoted, both sorted.
    pub(super) fn on_head(&mut self, changes: &[(Address, Account)], slot: Slot) -> Moved {
        self.pass(slot);
        let waited: Vec<_> = self.queued().map(|place| place.id()).collect();
        self.accounts.extend(changes.iter().copied());
        let mut kept = Vec::new();
        for (sender, account) in &self.accounts {
            let (mut spent, mut run, mut queued) = (0, account.nonce, 0);
            for item in Self::chain(&self.items, sender) {
                let content = &item.transaction.content;
                let window = account.nonce..account.nonce + 32;
                if content.valid_until < slot
                    || !window.contains(&content.nonce)
                    || spent + cost(&item) > account.balance.0
                {
                    continue;
                }
                if content.nonce == run && run < account.nonce + 16 {
                    run += 1;
                } else if queued < 16 {
                    queued += 1;
                } else {
                    continue;
                }
                spent += cost(&item);
                kept.push(item);
            }
        }
        let stays = |item: &Item| kept.iter().any(|other| other.transaction == item.transaction);
        let mut left: Vec<_> =
            self.items.iter().filter(|item| !stays(item)).map(|item| item.transaction.id()).collect();
        left.sort();
        self.items = kept;
        let pending = self.places(&self.items).into_iter().filter(|place| !place.queued);
        let mut promoted: Vec<_> = pending.map(|place| place.id()).filter(|id| waited.contains(id)).collect();
        promoted.sort();
        Moved { left, promoted }
    }

    /// Holds the pool against the list, and both against the caps.
    pub(super) fn compare(&self, pool: &Mempool, accounts: &[Account], slot: Slot, context: &str) {
        let places = self.places(&self.items);
        let pending: Vec<_> = places.iter().filter(|place| !place.queued).map(Place::id).collect();
        let best: Vec<_> = pool.iter_best().map(|(id, _)| id).collect();
        assert_eq!(best, pending, "{context}: order");
        let blocks = pool.best(usize::MAX, usize::MAX);
        assert_eq!(blocks.iter().map(Transaction::id).collect::<Vec<_>>(), pending, "{context}: block");
        assert_eq!(pool.queued_count(), places.len() - pending.len(), "{context}: queued");
        assert_eq!(pool.pending_count(), pending.len(), "{context}: pending");
        assert_eq!(pool.bytes(), self.items.iter().map(bytes).sum::<usize>(), "{context}: bytes");
        assert_eq!(pool.min_fee_rate(slot), self.minimum(), "{context}: minimum");
        for number in 0..3 {
            let queued: Vec<_> = self.queued().filter(|place| place.item.source == peer(number)).collect();
            let Source::Peer(id) = peer(number) else { continue };
            let load = pool.queued_of.of(&id);
            assert_eq!(load.count, queued.len(), "{context}: queued of {number}");
            assert_eq!(load.bytes, queued.iter().map(|place| bytes(&place.item)).sum::<usize>(), "{context}");
        }
        assert!(
            places.iter().all(|place| pool.is_pending(&place.id()) != place.queued),
            "{context}: is pending"
        );
        let histogram = pool.fee_histogram();
        assert_eq!(histogram.iter().map(|bucket| bucket.count).sum::<usize>(), pending.len(), "{context}");
        assert!(pool.bytes() <= self.limits.max_bytes, "{context}: cap");
        assert_eq!(pool.by_id.len(), places.len(), "{context}: index by id");
        assert_eq!(pool.by_expiry.len(), places.len(), "{context}: index by expiry");
        assert_eq!(pool.chains.values().map(|chain| chain.entries.len()).sum::<usize>(), places.len());
        assert!(pool.chains.values().all(|chain| !chain.entries.is_empty()), "{context}: empty chain");
        assert!(
            places.iter().all(|place| pool.get(&place.id()) == Some(&place.item.transaction)),
            "{context}"
        );

        let mut executed: BTreeMap<Address, Account> = BTreeMap::new();
        for transaction in &blocks {
            let sender = transaction.sender();
            let at_head = accounts[transaction.content.from.0[0] as usize];
            let account = executed.entry(sender).or_insert(at_head);
            assert_eq!(account.nonce, transaction.content.nonce, "{context}: a block in this order is valid");
            account.nonce += 1;
            let after = account.balance.0.checked_sub(transaction.cost().unwrap().0);
            account.balance = Amount(after.expect("each is affordable at its turn"));
        }
        for (who, at_head) in accounts.iter().enumerate() {
            let sender = address(who as u8);
            let chain = Self::chain(&self.items, &sender);
            let mut nonce = at_head.nonce;
            while chain.iter().any(|item| item.transaction.content.nonce == nonce) {
                nonce += 1;
            }
            let balance = executed.get(&sender).unwrap_or(at_head).balance;
            assert_eq!(pool.next_nonce(&sender.trie_key(), at_head), nonce, "{context}: next nonce");
            assert_eq!(pool.pending_balance(&sender.trie_key(), at_head), balance, "{context}: balance");
        }
    }
}
