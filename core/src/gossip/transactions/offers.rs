//! What one peer has announced and nobody has sent yet.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAX_BATCH_BYTES, MAX_BATCH_COUNT, ShortId, fetching::POSTPONED_MILLIS};
use crate::{chain::Transaction, primitives::Mono};

/// The most announcements remembered of one peer; more are ignored.
pub const MAX_OFFERS: usize = 4096;

/// A transaction that a peer says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// Its announced bytes; none where it was found by a sketch.
    pub(super) size: Option<u32>,
    /// How often it was asked for in vain.
    pub(super) failures: u8,
    /// When to ask for it.
    due: Mono,
    /// Until when it may wait for what others are asked for, once it has begun to.
    waits_until: Option<Mono>,
    /// Its place in the order of arrival.
    place: u64,
}

impl Offer {
    /// The bytes to count with.
    pub(super) fn bytes(&self) -> usize {
        self.size.map_or(Transaction::MAX_LEN, |size| size as usize)
    }
}

/// Bounded, asked for in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Offers {
    offers: BTreeMap<ShortId, Offer>,
    queue: BTreeMap<(Mono, u64), ShortId>,
    /// Those that wait since another peer is asked for what may be the same.
    postponed: BTreeSet<ShortId>,
    next_place: u64,
}

impl Offers {
    /// Adds an announcement, to be asked for at `due`. Says whether it is new and there is room.
    pub(super) fn add(&mut self, short: ShortId, size: Option<u32>, due: Mono) -> bool {
        if self.offers.len() == MAX_OFFERS || self.offers.contains_key(&short) {
            return false;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.put(short, Offer { size, failures: 0, due, waits_until: None, place });
        true
    }

    /// Puts one back that was asked for in vain.
    pub(super) fn put_back(&mut self, short: ShortId, offer: Offer, due: Mono) {
        if self.offers.len() < MAX_OFFERS && !self.offers.contains_key(&short) {
            self.put(short, Offer { due, ..offer });
        }
    }

    fn put(&mut self, short: ShortId, offer: Offer) {
        self.queue.insert((offer.due, offer.place), short);
        self.offers.insert(short, offer);
    }

    /// Says whether it was here.
    pub(super) fn remove(&mut self, short: &ShortId) -> bool {
        self.take(short).is_some()
    }

    fn take(&mut self, short: &ShortId) -> Option<Offer> {
        let offer = self.offers.remove(short)?;
        self.queue.remove(&(offer.due, offer.place));
        self.postponed.remove(short);
        Some(offer)
    }

    /// When the first is to be asked for.
    pub(super) fn next_due(&self) -> Option<Mono> {
        self.queue.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes what the next request asks for, in order of arrival: what is due by `until`, as much as a request may. What is `covered` by
    /// requests to others waits for `cover_end`, as long as it may.
    pub(super) fn take_batch(
        &mut self,
        until: Mono,
        mut covered: impl FnMut(Option<u32>) -> bool,
        cover_end: Mono,
    ) -> Vec<(ShortId, Offer)> {
        let mut batch = Vec::new();
        let (mut bytes, mut later) = (0, Vec::new());
        for short in self.queue.range(..=(until, u64::MAX)).map(|(_, short)| *short) {
            let Some(offer) = self.offers.get(&short) else { continue };
            if offer.waits_until.is_none_or(|end| until < end) && covered(offer.size) {
                later.push(short);
                continue;
            }
            bytes += offer.bytes();
            if batch.len() == MAX_BATCH_COUNT || bytes > MAX_BATCH_BYTES {
                break;
            }
            batch.push((short, *offer));
        }
        for (short, _) in &batch {
            self.take(short);
        }
        for short in later {
            if let Some(offer) = self.take(&short) {
                let waits_until = offer.waits_until.unwrap_or(until + POSTPONED_MILLIS);
                let due = offer.due.max(cover_end.min(waits_until));
                self.put(short, Offer { due, waits_until: Some(waits_until), ..offer });
                self.postponed.insert(short);
            }
        }
        batch
    }

    /// What was covered no longer is: it is asked for at `now`.
    pub(super) fn release(&mut self, now: Mono) {
        for short in std::mem::take(&mut self.postponed) {
            if let Some(offer) = self.take(&short) {
                self.put(short, Offer { due: now, ..offer });
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        debug_assert_eq!(self.offers.len(), self.queue.len());
        self.offers.len()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn short(number: u64) -> ShortId {
        ShortId(number.to_be_bytes())
    }

    fn taken(batch: &[(ShortId, Offer)]) -> Vec<u64> {
        batch.iter().map(|(short, _)| u64::from_be_bytes(short.0)).collect()
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_bytes_and_goes_by_age() {
        let mut offers = Offers::default();
        for number in 0..MAX_OFFERS as u64 {
            assert!(offers.add(short(number), Some(165), Mono(500 + number / 1000)));
            assert!(!offers.add(short(number), Some(166), Mono(0)), "announced before");
        }
        assert!(!offers.add(short(9999), Some(165), Mono(0)), "there is no more room");
        assert_eq!(offers.next_due(), Some(Mono(500)));
        assert!(offers.take_batch(Mono(499), |_| false, Mono(0)).is_empty());
        let batch = offers.take_batch(Mono(600), |_| false, Mono(0));
        assert_eq!(taken(&batch), (0..MAX_BATCH_COUNT as u64).collect::<Vec<_>>());
        assert!(offers.remove(&short(256)) && !offers.remove(&short(256)));
        let mut large = Offers::default();
        (0..256).for_each(|number| {
            large.add(short(number), Some(1000), Mono(0));
        });
        assert_eq!(large.take_batch(Mono(0), |_| false, Mono(0)).len(), MAX_BATCH_BYTES / 1000);
        assert_eq!(large.len(), 256 - MAX_BATCH_BYTES / 1000);
    }

    #[test]
    fn what_is_covered_waits_until_it_is_released_or_the_cover_ends() {
        let mut offers = Offers::default();
        offers.add(short(1), Some(165), Mono(10));
        offers.add(short(2), Some(170), Mono(10));
        offers.add(short(3), None, Mono(10));
        let batch = offers.take_batch(Mono(10), |size| size != Some(170), Mono(1_000));
        assert_eq!((taken(&batch), offers.next_due()), (vec![2], Some(Mono(1_000))));
        offers.release(Mono(20));
        assert_eq!(taken(&offers.take_batch(Mono(20), |_| false, Mono(0))), [1, 3]);
        offers.put_back(batch[0].0, batch[0].1, Mono(30));
        assert_eq!((offers.next_due(), offers.len()), (Some(Mono(30)), 1));
    }

    #[test]
    fn nothing_waits_for_others_longer_than_it_may() {
        let mut offers = Offers::default();
        offers.add(short(1), Some(165), Mono(0));
        let mut now = Mono(0);
        while offers.take_batch(now, |_| true, now + 100).is_empty() {
            offers.release(now + 100);
            now = now + 100;
        }
        assert_eq!(now, Mono(POSTPONED_MILLIS));
    }
}
