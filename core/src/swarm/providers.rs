//! Which provider records of strangers are held: so many of each peer, and all together so many that there is always room for our
//! own. When there are too many the oldest of whoever has most gives way; what is renewed in time is never the oldest. What is not renewed
//! in two days lapses. libp2p tells nobody of it then, but forgets it only when somebody asks for its key, and until then it would keep
//! others out.

use std::collections::BTreeMap;

use libp2p::{
    PeerId,
    kad::{
        ProviderRecord, RecordKey,
        store::{MemoryStore, RecordStore},
    },
    multiaddr::Protocol,
};

use super::dht::MAX_PROVIDERS;
use crate::primitives::{Held, Mono};

/// The most records of strangers.
pub(super) const MAX_STRANGERS: usize = 3_584;
/// How long a record is good for that is not renewed.
pub(super) const LAPSE_MILLIS: u64 = 48 * 60 * 60 * 1000;
/// The most of one peer: rooms, ranges of blocks, snapshots and files.
const MAX_OF_PEER: usize = 256;

/// Why a record is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("its key is none of ours")]
    Key,
    #[error("that peer provides enough")]
    Peer,
    #[error("that key has enough providers")]
    Providers,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// In the order they were told or renewed, and when that was.
    order: BTreeMap<u64, (PeerId, RecordKey, Mono)>,
    places: BTreeMap<PeerId, BTreeMap<Vec<u8>, u64>>,
    next: u64,
}

/// Whether this is a key as [`record_key`](super::dht::record_key) makes them.
fn is_ours(key: &RecordKey) -> bool {
    matches!(key.as_ref(), [0x1e, 0x20, hash @ ..] if hash.len() == 32)
}

impl Strangers {
    pub(super) fn held(&self) -> [Held; 2] {
        let of_peer = self.places.values().map(BTreeMap::len).max().unwrap_or(0);
        [
            Held::new("provider records of others", self.order.len(), MAX_STRANGERS),
            Held::new("provider records of a peer", of_peer, MAX_OF_PEER),
        ]
    }

    /// Takes in what a peer says of itself, which is in our table or is not.
    ///
    /// # Errors
    /// Says why it is not held.
    pub(super) fn add(
        &mut self,
        store: &mut MemoryStore,
        mut record: ProviderRecord,
        in_table: bool,
        now: Mono,
    ) -> Result<(), Refusal> {
        let (peer, key) = (record.provider, record.key.clone());
        if !is_ours(&key) {
            return Err(Refusal::Key);
        }
        self.lapse(store, now);
        // Where it is we ask for when we need it, and its own word for it may be long.
        record.addresses.clear();
        // libp2p tells nobody of a provider without an address, but for those whose address the table has; and who only asks is in no table.
        if !in_table {
            record.addresses.push(Protocol::P2p(peer).into());
        }
        let held = self.places.get(&peer);
        let place = held.and_then(|held| held.get(key.as_ref())).copied();
        if place.is_none() && held.is_some_and(|held| held.len() >= MAX_OF_PEER) {
            return Err(Refusal::Peer);
        }
        // Nobody gives way to a record that is not held in the end.
        let providers = store.providers(&key);
        if providers.len() >= MAX_PROVIDERS && providers.iter().all(|known| known.provider != peer) {
            return Err(Refusal::Providers);
        }
        while place.is_none() && self.order.len() >= MAX_STRANGERS {
            self.give_way(store);
        }
        let taken = store.add_provider(record).is_ok()
            && store.providers(&key).iter().any(|known| known.provider == peer);
        if let Some(place) = place {
            self.forget(place);
        }
        if !taken {
            return Err(Refusal::Providers);
        }
        self.order.insert(self.next, (peer, key.clone(), now));
        self.places.entry(peer).or_default().insert(key.to_vec(), self.next);
        self.next += 1;
        Ok(())
    }

    /// Forgets what was not renewed in time.
    fn lapse(&mut self, store: &mut MemoryStore, now: Mono) {
        while let Some((place, told)) =
            self.order.first_key_value().map(|(place, (.., told))| (*place, *told))
            && now - told >= LAPSE_MILLIS
            && let Some((peer, key)) = self.forget(place)
        {
            store.remove_provider(&key, &peer);
        }
    }

    fn forget(&mut self, place: u64) -> Option<(PeerId, RecordKey)> {
        let (peer, key, _) = self.order.remove(&place)?;
        if let Some(held) = self.places.get_mut(&peer) {
            held.remove(key.as_ref());
            if held.is_empty() {
                self.places.remove(&peer);
            }
        }
        Some((peer, key))
    }

    /// The oldest record of whoever has most.
    fn give_way(&mut self, store: &mut MemoryStore) {
        let most = self.places.values().map(BTreeMap::len).max().unwrap_or(0);
        let largest = self.places.values().filter(|held| held.len() == most);
        let oldest = largest.filter_map(|held| held.values().min()).min().copied();
        if let Some((peer, key)) = oldest.and_then(|place| self.forget(place)) {
            store.remove_provider(&key, &peer);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use libp2p::Multiaddr;

    use super::{
        super::dht::{memory_store, record_key},
        *,
    };
    use crate::primitives::Hash;

    const NOW: Mono = Mono(1_000);

    fn peer(number: u32) -> PeerId {
        let id = [[0, 36, 8, 1, 18, 32].as_slice(), &Hash::of(&number.to_le_bytes()).0].concat();
        PeerId::from_bytes(&id).unwrap()
    }

    fn record(number: u32, key: u32) -> ProviderRecord {
        let far: Multiaddr = "/ip4/8.8.8.8/tcp/4100".parse().unwrap();
        ProviderRecord::new(record_key(&Hash::of(&key.to_le_bytes())), peer(number), vec![far])
    }

    #[test]
    fn one_peer_fills_no_store_and_keeps_nobody_else_out() {
        let (mut strangers, mut store) = (Strangers::default(), memory_store(peer(0)));
        for key in 0..MAX_OF_PEER as u32 {
            assert_eq!(strangers.add(&mut store, record(1, key), true, NOW), Ok(()));
        }
        assert_eq!(strangers.add(&mut store, record(1, 70_000), true, NOW), Err(Refusal::Peer));
        assert_eq!(strangers.add(&mut store, record(1, 3), true, NOW), Ok(()), "what is renewed is held");
        assert_eq!(strangers.add(&mut store, record(2, 3), true, NOW), Ok(()));
        assert!(store.providers(&record(1, 3).key).iter().all(|held| held.addresses.is_empty()));
    }

    #[test]
    fn who_is_in_no_table_is_told_of_by_name_and_where_nobody_is_only_we_know() {
        let (mut strangers, mut store) = (Strangers::default(), memory_store(peer(0)));
        for (number, in_table, addresses) in
            [(1, true, Vec::new()), (2, false, vec![Protocol::P2p(peer(2)).into()])]
        {
            strangers.add(&mut store, record(number, 1), in_table, NOW).unwrap();
            let held = store.providers(&record(1, 1).key);
            assert_eq!(
                held.into_iter().find(|held| held.provider == peer(number)).unwrap().addresses,
                addresses
            );
        }
    }

    #[test]
    fn however_many_there_are_the_largest_gives_way_and_our_own_have_room() {
        let (mut strangers, mut store) = (Strangers::default(), memory_store(peer(0)));
        assert_eq!(strangers.add(&mut store, record(1, 1), true, NOW), Ok(()));
        for number in 0..40 {
            for key in 0..200 {
                strangers.add(&mut store, record(100 + number, 1_000 * number + key), true, NOW).unwrap();
            }
        }
        assert_eq!(strangers.order.len(), MAX_STRANGERS);
        assert_eq!(strangers.places.values().map(BTreeMap::len).sum::<usize>(), MAX_STRANGERS);
        assert_eq!(store.providers(&record(1, 1).key).len(), 1, "who has one record keeps it");
        for key in 0..512 {
            assert!(store.add_provider(record(0, 1_000_000 + key)).is_ok(), "our own, number {key}");
        }
    }

    #[test]
    fn what_is_not_told_again_within_two_days_lapses_and_keeps_nobody_out() {
        let (mut strangers, mut store) = (Strangers::default(), memory_store(peer(0)));
        let mut add = |number, key, after| {
            let added = strangers.add(&mut store, record(number, key), true, NOW + after);
            (added, strangers.order.len(), store.providers(&record(0, 1).key).len())
        };
        // One key with as many providers as it may have, and a peer with as many keys.
        for number in 0..MAX_PROVIDERS as u32 {
            assert_eq!(add(1 + number, 1, 0).0, Ok(()));
        }
        for key in 1..MAX_OF_PEER as u32 {
            assert_eq!(add(1, 1 + key, 1).0, Ok(()));
        }
        let all = MAX_PROVIDERS + MAX_OF_PEER - 1;
        // One of them tells it again after half of the time.
        assert_eq!(add(2, 1, LAPSE_MILLIS / 2), (Ok(()), all, MAX_PROVIDERS));
        assert_eq!(add(50, 1, LAPSE_MILLIS - 1), (Err(Refusal::Providers), all, MAX_PROVIDERS));
        assert_eq!(add(1, 70_000, LAPSE_MILLIS - 1), (Err(Refusal::Peer), all, MAX_PROVIDERS));
        assert_eq!(add(50, 1, LAPSE_MILLIS), (Ok(()), MAX_OF_PEER + 1, 2), "it, and who told it again");
        assert_eq!(add(1, 70_000, LAPSE_MILLIS + 1), (Ok(()), 3, 2));
        assert_eq!(add(51, 1, LAPSE_MILLIS * 3 / 2), (Ok(()), 3, 2), "who told it twice lapses too");
    }

    /// Poisoning of the key space, with what is here against it and without.
    #[test]
    fn who_floods_the_table_keeps_others_out_of_the_librarys_store_and_not_out_of_ours() {
        let flood = |mut add: Box<dyn FnMut(ProviderRecord) -> bool>| {
            (0..10_000_u32).filter(|key| add(record(1 + key % 20, *key))).count()
        };
        let honest = record(900, 90_000);
        let key = honest.key.clone();

        let plain = std::rc::Rc::new(std::cell::RefCell::new(memory_store(peer(0))));
        let store = plain.clone();
        let taken = flood(Box::new(move |record| store.borrow_mut().add_provider(record).is_ok()));
        assert!(taken >= MAX_STRANGERS, "{taken}");
        assert!(
            plain.borrow_mut().add_provider(honest.clone()).is_err(),
            "there is no room for anybody else"
        );

        let ours = std::rc::Rc::new(std::cell::RefCell::new((Strangers::default(), memory_store(peer(0)))));
        for _ in 0..2 {
            let both = ours.clone();
            flood(Box::new(move |record| {
                let (strangers, store) = &mut *both.borrow_mut();
                strangers.add(store, record, true, NOW).is_ok()
            }));
            let (strangers, store) = &mut *ours.borrow_mut();
            assert_eq!(strangers.add(store, honest.clone(), true, NOW), Ok(()), "it is let in");
            assert_eq!(store.providers(&key).len(), 1, "and stays");
        }
        let both = ours.clone();
        flood(Box::new(move |record| {
            let (strangers, store) = &mut *both.borrow_mut();
            strangers.add(store, record, true, NOW).is_ok()
        }));
        assert_eq!(ours.borrow().1.providers(&key).len(), 1, "whoever has most gives way");
    }

    #[test]
    fn what_is_refused_pushes_nobody_out() {
        let (mut strangers, mut store) = (Strangers::default(), memory_store(peer(0)));
        for number in 0..MAX_PROVIDERS as u32 {
            strangers.add(&mut store, record(1 + number, 1), true, NOW).unwrap();
        }
        for number in 0..(MAX_STRANGERS - MAX_PROVIDERS) as u32 {
            strangers.add(&mut store, record(1_000 + number, 1_000 + number), true, NOW).unwrap();
        }
        for number in 0..50 {
            assert_eq!(
                strangers.add(&mut store, record(100_000 + number, 1), true, NOW),
                Err(Refusal::Providers)
            );
        }
        assert_eq!(strangers.order.len(), MAX_STRANGERS);
        assert_eq!(store.providers(&record(1, 1).key).len(), MAX_PROVIDERS);
    }

    #[test]
    fn a_key_of_another_kind_or_with_enough_providers_is_refused() {
        let (mut strangers, mut store) = (Strangers::default(), memory_store(peer(0)));
        for bytes in [vec![], vec![7; 34], [&[0x1e, 0x20][..], &[7; 33]].concat()] {
            let other = ProviderRecord { key: RecordKey::from(bytes), ..record(1, 1) };
            assert_eq!(strangers.add(&mut store, other, true, NOW), Err(Refusal::Key));
        }
        for number in 0..20 {
            assert_eq!(strangers.add(&mut store, record(1 + number, 1), true, NOW), Ok(()));
        }
        assert_eq!(strangers.add(&mut store, record(50, 1), true, NOW), Err(Refusal::Providers));
        assert_eq!(strangers.order.len(), 20);
    }
}
