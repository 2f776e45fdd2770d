//! How fast each author may speak in a room.

use std::collections::BTreeMap;

use libp2p::PeerId;

use crate::{
    peers::{Allowance, Bucket},
    primitives::Mono,
};

/// The most authors whose pace is remembered in a room; past it, the one who spoke longest ago is forgotten.
pub(super) const MAX_AUTHORS: usize = 1024;

/// A token bucket for each author.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What each may say yet, and when it spoke last.
    buckets: BTreeMap<PeerId, (Bucket, Mono)>,
}

impl Pace {
    /// How many authors' pace is remembered.
    pub(super) fn authors(&self) -> usize {
        self.buckets.len()
    }

    /// Whether the author may speak now; if so, it counts.
    pub(super) fn allows(&mut self, author: PeerId, rate: Allowance, now: Mono) -> bool {
        if self.buckets.len() == MAX_AUTHORS && !self.buckets.contains_key(&author) {
            let oldest = self.buckets.iter().min_by_key(|(_, (_, time))| *time).map(|(author, _)| *author);
            oldest.map(|oldest| self.buckets.remove(&oldest));
        }
        let (bucket, time) = self.buckets.entry(author).or_insert((Bucket::new(rate), now));
        *time = now;
        bucket.take(1, now)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn author(number: u32) -> PeerId {
        let key = [number.to_le_bytes(); 8].concat();
        PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &key].concat()).unwrap()
    }

    #[test]
    fn a_burst_is_allowed_and_then_a_steady_pace() {
        let rate = Allowance { per_second: 5, burst: 3 };
        let mut pace = Pace::default();
        let mut said = |who, now| pace.allows(author(who), rate, Mono(now));
        assert_eq!([0; 5].map(|now| said(1, now)), [true, true, true, false, false]);
        assert!(said(2, 0), "others are not held back");
        assert_eq!([199, 200, 201, 399, 400].map(|now| said(1, now)), [false, true, false, false, true]);
        assert_eq!([60_000; 4].map(|now| said(1, now)), [true, true, true, false]);
    }

    #[test]
    fn the_memory_is_bounded() {
        let rate = Allowance { per_second: 5, burst: 1 };
        let mut pace = Pace::default();
        for number in 0..MAX_AUTHORS as u32 + 10 {
            assert!(pace.allows(author(number), rate, Mono(u64::from(number))));
        }
        assert_eq!(pace.buckets.len(), MAX_AUTHORS);
        assert!(!pace.buckets.contains_key(&author(9)) && pace.buckets.contains_key(&author(10)));
    }
}
