//! The transactions this peer has met: a ring of ids with running numbers.
//!
//! What is remembered for each peer, which of them it has and what they are called between it and us, is remembered by
//! number, and forgotten when the ring forgets the id.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Range,
};

use super::index::Index;
use crate::primitives::{Hash, Mono};

/// How many ids are remembered, and so at most how many of what each peer has.
pub const MAX_KNOWN: usize = 32_768;
/// How long an id is remembered at least while there is room, in milliseconds: as long as gossip remembers messages. Whoever tells of it
/// later is asked for it once more, and it is known again.
const KNOWN_MILLIS: u64 = 2 * 60 * 1000;
/// How many of those that have been remembered for long enough leave with each that comes.
const LEAVING: u64 = 2;

/// The running number of an id in the ring.
pub(super) type Serial = u64;

/// What happened when an id was added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meeting {
    pub(super) serial: Serial,
    /// It was not there, or had lapsed.
    pub(super) is_news: bool,
    /// What left: few at a time.
    pub(super) forgotten: Range<Serial>,
}

#[derive(Debug)]
pub(super) struct Met {
    first: Serial,
    ids: VecDeque<(Hash, Mono)>,
    serials: Index,
    /// When what was met and not kept was dropped.
    lapsed: BTreeMap<Serial, Mono>,
}

impl Met {
    /// None yet. `secret` is what nobody else knows.
    pub(super) fn new(secret: u64) -> Self {
        Self { first: 0, ids: VecDeque::new(), serials: Index::new(secret), lapsed: BTreeMap::new() }
    }

    /// Adds an id; one that is there keeps its number.
    pub(super) fn add(&mut self, id: Hash, now: Mono) -> Meeting {
        let first = self.first;
        if let Some(serial) = self.serial(&id) {
            let is_news = self.lapsed.remove(&serial).is_some();
            return Meeting { serial, is_news, forgotten: first..first };
        }
        let serial = self.first + self.ids.len() as u64;
        self.serials.add(key(&id), serial, first);
        self.ids.push_back((id, now));
        while self.ids.len() > MAX_KNOWN || (self.first < first + LEAVING && self.is_oldest_old(now)) {
            self.ids.pop_front();
            self.lapsed.remove(&self.first);
            self.first += 1;
        }
        Meeting { serial, is_news: true, forgotten: first..self.first }
    }

    /// What nobody else knows.
    pub(super) const fn secret(&self) -> u64 {
        self.serials.secret()
    }

    /// The number of the oldest.
    pub(super) const fn first(&self) -> Serial {
        self.first
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn serial(&self, id: &Hash) -> Option<Serial> {
        self.serials.find(key(id), |serial| self.id(serial) == Some(id))
    }

    pub(super) fn id(&self, serial: Serial) -> Option<&Hash> {
        self.entry(serial).map(|(id, _)| id)
    }

    /// When an id was added.
    pub(super) fn since(&self, serial: Serial) -> Option<Mono> {
        self.entry(serial).map(|(_, time)| *time)
    }

    /// It was not kept, for a reason that may pass.
    pub(super) fn lapse(&mut self, id: &Hash, now: Mono) {
        if let Some(serial) = self.serial(id) {
            self.lapsed.insert(serial, now);
        }
    }

    /// When it was dropped, if it was and has not come again.
    pub(super) fn lapsed(&self, serial: Serial) -> Option<Mono> {
        self.lapsed.get(&serial).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Serial, &Hash)> {
        (self.first..).zip(self.ids.iter().map(|(id, _)| id))
    }

    fn entry(&self, serial: Serial) -> Option<&(Hash, Mono)> {
        self.ids.get(usize::try_from(serial.checked_sub(self.first)?).ok()?)
    }

    fn is_oldest_old(&self, now: Mono) -> bool {
        self.ids.front().is_some_and(|(_, since)| *since + KNOWN_MILLIS < now)
    }
}

/// What an id is looked up by.
fn key(id: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn id(number: u64) -> Hash {
        Hash::of(&number.to_le_bytes())
    }

    #[test]
    fn the_oldest_are_forgotten_with_all_there_is_about_them() {
        let mut met = Met::new(7);
        for number in 0..MAX_KNOWN as u64 {
            let expected = Meeting { serial: number, is_news: true, forgotten: 0..0 };
            assert_eq!(met.add(id(number), Mono(number)), expected);
        }
        met.lapse(&id(0), Mono(5));
        assert_eq!((met.serial(&id(0)), met.lapsed(0)), (Some(0), Some(Mono(5))));
        assert_eq!((met.id(7), met.since(7)), (Some(&id(7)), Some(Mono(7))));
        let newest = met.add(Hash::ZERO, Mono(9));
        assert_eq!(newest.forgotten, 0..1);
        assert_eq!((met.serial(&id(0)), met.id(0), met.lapsed(0)), (None, None, None));
        assert_eq!((met.ids.len(), met.lapsed.len()), (MAX_KNOWN, 0));
        assert_eq!(met.iter().next(), Some((1, &id(1))));
    }

    #[test]
    fn what_was_met_long_ago_is_forgotten_two_for_each_that_comes() {
        let mut met = Met::new(7);
        for number in 0..5 {
            met.add(id(number), Mono(number));
        }
        assert_eq!(met.add(id(5), Mono(KNOWN_MILLIS)).forgotten, 0..0);
        assert_eq!(met.add(id(6), Mono(KNOWN_MILLIS + 4)).forgotten, 0..2);
        assert_eq!(met.add(id(2), Mono(KNOWN_MILLIS + 9)).forgotten, 2..2, "known ones make no room");
        assert_eq!(met.add(id(0), Mono(KNOWN_MILLIS + 9)).forgotten, 2..4);
        assert_eq!((met.serial(&id(0)), met.serial(&id(3)), met.len()), (Some(7), None, 4));
    }

    #[test]
    fn what_lapsed_is_news_again_and_what_is_there_is_not() {
        let mut met = Met::new(7);
        met.add(id(1), Mono(1));
        assert!(!met.add(id(1), Mono(2)).is_news);
        met.lapse(&id(1), Mono(3));
        met.lapse(&id(2), Mono(3));
        assert_eq!(met.lapsed(0), Some(Mono(3)));
        assert_eq!(met.add(id(1), Mono(4)), Meeting { serial: 0, is_news: true, forgotten: 0..0 });
        assert!(!met.add(id(1), Mono(5)).is_news);
    }
}
