//! What waits to be announced to one peer.

use std::collections::BTreeMap;

use super::met::Serial;
use crate::primitives::Hash;

/// The most transactions announced in one message: 12 KiB.
pub const MAX_ANNOUNCED: usize = 1024;
/// The most announcements that wait for one peer; past it the oldest go, which reconciliation finds again.
pub const MAX_NOTICES: usize = 4096;

/// A transaction to announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) id: Hash,
    /// Its number among those that were met.
    pub(super) serial: Serial,
    /// Its encoded bytes.
    pub(super) size: u32,
    /// How often it was sent in vain.
    pub(super) failures: u8,
    /// Its place in the order of arrival, which it keeps when it must be sent again.
    place: u64,
}

/// A bounded queue in order of arrival, from which what the peer turns out to have can be taken.
#[derive(Debug, Default)]
pub(super) struct Notices {
    notices: BTreeMap<u64, Notice>,
    places: BTreeMap<Hash, u64>,
    next_place: u64,
}

impl Notices {
    /// Appends a transaction unless it is here. Returns how many of the oldest had to leave.
    pub(super) fn append(&mut self, serial: Serial, id: Hash, size: u32) -> u64 {
        let place = self.next_place;
        self.next_place += 1;
        self.put(Notice { id, serial, size, failures: 0, place })
    }

    /// Puts one back where it was. Returns how many of the oldest had to leave, itself perhaps.
    pub(super) fn put(&mut self, notice: Notice) -> u64 {
        if self.places.contains_key(&notice.id) {
            return 0;
        }
        self.places.insert(notice.id, notice.place);
        self.notices.insert(notice.place, notice);
        if self.notices.len() <= MAX_NOTICES {
            return 0;
        }
        self.pop();
        1
    }

    pub(super) fn remove(&mut self, id: &Hash) {
        if let Some(place) = self.places.remove(id) {
            self.notices.remove(&place);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.notices.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.notices.is_empty()
    }

    pub(super) fn has_full_batch(&self) -> bool {
        self.notices.len() >= MAX_ANNOUNCED
    }

    /// Takes what the next message announces.
    pub(super) fn take_batch(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.pop()).take(MAX_ANNOUNCED).collect()
    }

    fn pop(&mut self) -> Option<Notice> {
        let (_, notice) = self.notices.pop_first()?;
        self.places.remove(&notice.id);
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_order_is_kept_through_failures_and_the_oldest_go_past_the_bound() {
        let id = |number: usize| Hash::of(&number.to_le_bytes());
        let mut notices = Notices::default();
        for number in 0..MAX_NOTICES {
            assert_eq!(notices.append(number as Serial, id(number), 165), 0);
            assert_eq!(notices.append(number as Serial, id(number), 165), 0, "twice is once");
        }
        let batch = notices.take_batch();
        assert_eq!(batch.len(), MAX_ANNOUNCED);
        assert_eq!(notices.append(0, id(MAX_NOTICES), 165), 0);
        assert_eq!(batch.iter().map(|notice| notices.put(*notice)).sum::<u64>(), 1, "the oldest itself");
        notices.remove(&id(1));
        assert_eq!(notices.take_batch().first().map(|notice| notice.id), Some(id(2)));
        assert!(notices.has_full_batch() && !notices.is_empty());
    }
}
