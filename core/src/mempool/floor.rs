//! The rolling minimum: what a fee must pay for a byte after others had to leave.
//!
//! Bitcoin Core's `CTxMemPool::GetMinFee`, in slots and integers. When the pool evicts, the minimum rises above the best
//! that left, by what relaying costs: otherwise the same bytes could be sent through the network again and again, each
//! time paying a coin more, and never be in a block. It halves in [`HALF_LIFE`] slots, twice as fast while the pool is
//! less than half full and four times as fast below a quarter.

use crate::primitives::Slot;

/// In how many slots the minimum halves in a pool that stays full: 20 minutes at 2 s.
pub const HALF_LIFE: u64 = 600;

/// A fee for 1,000 bytes that decays.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Floor {
    /// What it was when it last rose.
    peak: u64,
    /// How long ago that was, in slots of a full pool: those of an emptier one count for more.
    age: u64,
    /// The slot up to which `age` counts.
    counted: u64,
}

impl Floor {
    /// The fee for 1,000 bytes at `slot`, when the pool has held `bytes` of `max_bytes` since the last [`Self::settle`].
    pub(super) fn rate(&self, slot: Slot, bytes: usize, max_bytes: usize) -> u64 {
        if self.peak == 0 {
            return 0;
        }
        let age = self.age_at(slot, bytes, max_bytes);
        let halved = u32::try_from(age / HALF_LIFE)
            .ok()
            .and_then(|halvings| self.peak.checked_shr(halvings))
            .unwrap_or(0);
        // A straight line from one halving to the next: at most 7 % above the curve, and without fractions.
        let part = u128::from(halved) * u128::from(age % HALF_LIFE) / u128::from(2 * HALF_LIFE);
        halved - part as u64
    }

    /// Counts the slots up to `slot`: called before the pool's size changes.
    pub(super) fn settle(&mut self, slot: Slot, bytes: usize, max_bytes: usize) {
        self.age = self.age_at(slot, bytes, max_bytes);
        self.counted = self.counted.max(slot.0);
    }

    /// Raises it to `rate` at the slot it is settled to, unless it is there already.
    pub(super) fn raise(&mut self, rate: u64) {
        if rate > self.rate(Slot(self.counted), 0, 0) {
            (self.peak, self.age) = (rate, 0);
        }
    }

    fn age_at(&self, slot: Slot, bytes: usize, max_bytes: usize) -> u64 {
        let speed = if bytes < max_bytes / 4 {
            4
        } else if bytes < max_bytes / 2 {
            2
        } else {
            1
        };
        self.age.saturating_add(slot.0.saturating_sub(self.counted).saturating_mul(speed))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn raised(rate: u64) -> Floor {
        let mut floor = Floor::default();
        floor.settle(Slot(1_000), 100, 100);
        floor.raise(rate);
        floor
    }

    #[test]
    fn it_halves_in_its_half_life_and_falls_at_every_slot_until_it_is_gone() {
        let floor = raised(64_000);
        let rates: Vec<_> =
            (0..=20).map(|half| floor.rate(Slot(1_000 + half * HALF_LIFE), 100, 100)).collect();
        assert_eq!(rates[..4], [64_000, 32_000, 16_000, 8_000]);
        assert_eq!(rates[16..], [0; 5]);
        let slots: Vec<_> = (1_000..8_000).map(|slot| floor.rate(Slot(slot), 100, 100)).collect();
        assert!(slots.is_sorted_by(|before, after| before >= after));
        let mean = floor.rate(Slot(1_300), 100, 100) as f64 / (64_000.0 * 0.5_f64.sqrt());
        assert!((1.0..1.07).contains(&mean), "{mean} of the curve");
        assert_eq!(floor.rate(Slot(u64::MAX), 0, 100), 0);
        assert_eq!(floor.rate(Slot(0), 100, 100), 64_000, "a slot from before changes nothing");
    }

    #[test]
    fn it_falls_faster_in_an_emptier_pool() {
        let floor = raised(64_000);
        assert_eq!(floor.rate(Slot(1_000 + HALF_LIFE), 50, 100), 32_000);
        assert_eq!(floor.rate(Slot(1_000 + HALF_LIFE), 49, 100), 16_000);
        assert_eq!(floor.rate(Slot(1_000 + HALF_LIFE), 24, 100), 4_000);
    }

    #[test]
    fn how_often_it_is_looked_at_does_not_matter() {
        let (mut often, seldom) = (raised(64_001), raised(64_001));
        for slot in 1_000..3_000 {
            often.settle(Slot(slot), 100, 100);
            assert_eq!(often.rate(Slot(slot), 100, 100), seldom.rate(Slot(slot), 100, 100));
        }
    }

    #[test]
    fn it_rises_and_is_never_lowered_by_a_lesser_eviction() {
        let mut floor = raised(64_000);
        floor.raise(1_000);
        assert_eq!(floor.rate(Slot(1_000), 100, 100), 64_000);
        floor.settle(Slot(1_000 + HALF_LIFE), 100, 100);
        floor.raise(40_000);
        assert_eq!(floor.rate(Slot(1_000 + HALF_LIFE), 100, 100), 40_000);
    }
}
