//! Fetches in flight, and when to ask another announcer.
//!
//! A transaction has another short id with every peer, so what two of them announce cannot be told to be the same before
//! it is here. Of two announcements of one size, only one is therefore asked for at a time: a fetch *covers* as many
//! announcements of the same size, of each other peer, as it asks for. What comes is recognised under all its names, and
//! what is left is asked for elsewhere once the answer is here, or after [`COVER_MILLIS`].
//!
//! Whoever announces and delivers nothing could so keep others from being asked, under a new name each second. Therefore nobody who
//! delivered when last asked waits for somebody who did not, and no announcement waits for longer than [`POSTPONED_MILLIS`], whatever
//! the others do.

use std::collections::BTreeMap;

use super::{ShortId, offers::Offer, short::PairKey};
use crate::primitives::Mono;

/// How long a transaction that was announced is expected to be pushed by somebody else, in milliseconds.
pub const PUSH_WAIT_MILLIS: u64 = 500;
/// How long announcements are gathered before a fetch, in milliseconds; where nobody pushes, this is the whole wait.
pub const FETCH_GATHER_MILLIS: u64 = 100;
/// How long a fetch keeps others from being asked for what may be the same, in milliseconds: two long round trips.
pub const COVER_MILLIS: u64 = 1_000;
/// How long an announcement waits for fetches from others, all together, in milliseconds.
pub(super) const POSTPONED_MILLIS: u64 = 2 * COVER_MILLIS;
/// How long a fetch may take before its peer counts as slow, in milliseconds. Its answer is still taken.
pub const FETCH_TIMEOUT_MILLIS: u64 = 5_000;
/// How long a peer is not fetched from after it did not deliver, in milliseconds: this, doubling with each time in a row.
pub const FETCH_PAUSE_MILLIS: u64 = 1_000;
/// How often that pause doubles: to 64 s.
const MAX_DOUBLINGS: u32 = 6;

/// A request for transactions, in flight.
#[derive(Debug)]
pub(super) struct Fetch {
    /// What the names mean.
    pub(super) key: PairKey,
    pub(super) items: BTreeMap<ShortId, Offer>,
    pub(super) sent: Mono,
    /// It keeps others from being asked.
    pub(super) covers: bool,
    /// It has taken too long.
    pub(super) late: bool,
}

impl Fetch {
    pub(super) fn new(key: PairKey, items: Vec<(ShortId, Offer)>, now: Mono) -> Self {
        Self { key, items: items.into_iter().collect(), sent: now, covers: true, late: false }
    }

    /// When something is to be done about it.
    pub(super) fn next_due(&self) -> Option<Mono> {
        if self.covers {
            Some(self.sent + COVER_MILLIS)
        } else if !self.late {
            Some(self.sent + FETCH_TIMEOUT_MILLIS)
        } else {
            None
        }
    }
}

/// What requests in flight to other peers may bring.
#[derive(Debug, Default)]
pub(super) struct Cover {
    sizes: BTreeMap<u32, usize>,
    /// How many of unknown size.
    unknown: usize,
    /// When the last of them ends.
    pub(super) end: Mono,
}

impl Cover {
    pub(super) fn add(&mut self, fetch: &Fetch) {
        for offer in fetch.items.values() {
            match offer.size {
                Some(size) => *self.sizes.entry(size).or_default() += 1,
                None => self.unknown += 1,
            }
        }
        self.end = self.end.max(fetch.sent + COVER_MILLIS);
    }

    /// Whether something of this size may be on its way already; if so, it counts.
    pub(super) fn takes(&mut self, size: Option<u32>) -> bool {
        let exact = match size {
            Some(size) => self.sizes.get_mut(&size).filter(|count| **count > 0),
            None => self.sizes.values_mut().find(|count| **count > 0),
        };
        let Some(count) = exact.or_else(|| Some(&mut self.unknown).filter(|count| **count > 0)) else {
            return false;
        };
        *count -= 1;
        true
    }
}

/// How well a peer delivers.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// How often in a row it did not.
    strikes: u32,
    /// It is not asked before this.
    pub(super) resumes: Mono,
    /// It did when it was asked last.
    pub(super) delivers: bool,
}

impl Patience {
    /// It did not deliver, or is slow.
    pub(super) fn lose(&mut self, now: Mono) {
        self.resumes = now + (FETCH_PAUSE_MILLIS << self.strikes.min(MAX_DOUBLINGS));
        self.strikes += 1;
        self.delivers = false;
    }

    /// It delivered.
    pub(super) fn regain(&mut self) {
        self.strikes = 0;
        self.delivers = true;
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::offers::Offers, *};

    #[test]
    fn a_fetch_covers_as_many_of_each_size_as_it_asks_for() {
        let mut offers = Offers::default();
        for (number, size) in [(1, Some(165)), (2, Some(165)), (3, Some(200)), (4, None)] {
            offers.add(ShortId([number; 8]), size, Mono(0));
        }
        let fetch = Fetch::new(PairKey::new(1, 2), offers.take_batch(Mono(0), |_| false, Mono(0)), Mono(7));
        let mut cover = Cover::default();
        cover.add(&fetch);
        assert_eq!(cover.end, Mono(7 + COVER_MILLIS));
        let asked = [Some(165), Some(165), Some(201), Some(165), None, None];
        assert_eq!(asked.map(|size| cover.takes(size)), [true, true, true, false, true, false]);
        assert!(!Cover::default().takes(None));
    }

    #[test]
    fn the_pause_doubles_while_nothing_comes() {
        let mut patience = Patience::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            patience.lose(Mono(0));
            pauses.push(patience.resumes.0 / 1000);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 64]);
        patience.regain();
        patience.lose(Mono(0));
        assert_eq!(patience.resumes, Mono(1000));
    }
}
