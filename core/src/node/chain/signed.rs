//! The slots that a validator may still sign a header for: never one for the second time.
//!
//! The last slot signed would say it alone, were there no clocks that are set: one that was an hour ahead for a moment would silence
//! its validator for an hour once it is right. So the longest run of slots that were passed over lately is known too.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::primitives::Slot;

/// A run that ended so many slots ago was an outage, or a clock that nobody has set right for long: a new one takes its place, however
/// short it is.
const STALE_SLOTS: u64 = 1 << 16;

/// What is known of the slots that a key has signed for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Signed {
    /// The last ever. What is behind it is open.
    pub(super) last: Slot,
    /// Slots before that, none of which was signed for.
    pub(super) open: Open,
}

/// Slots from the first to before the second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Open(Slot, Slot);

impl Open {
    const fn len(self) -> u64 {
        self.1.0.saturating_sub(self.0.0)
    }
}

impl Signed {
    /// Whether a header for this slot is the first for it.
    pub(super) fn may_sign(&self, slot: Slot) -> bool {
        slot > self.last || (self.open.0..self.open.1).contains(&slot)
    }

    /// A header is about to be signed for a slot, if [it may](Self::may_sign).
    pub(super) fn sign(&mut self, slot: Slot) {
        let after = Slot(slot.0.saturating_add(1));
        if slot > self.last {
            let passed = Open(Slot(self.last.0.saturating_add(1)), slot);
            let is_stale = slot.0.saturating_sub(self.open.1.0) > STALE_SLOTS;
            // Of a key that has signed nothing yet nothing was passed over.
            if self.last != Slot(0) && (is_stale || passed.len() > self.open.len()) {
                self.open = passed;
            }
            self.last = slot;
        } else {
            // Time goes on from here; what it has passed over is given up.
            self.open = Open(after, self.open.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chacha20::ChaCha8Rng;
    use rand_core::{Rng, SeedableRng};
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn no_slot_is_signed_for_twice_however_the_clock_is_set() {
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (mut signed, mut all, mut now) = (Signed::default(), BTreeSet::new(), 1_000);
            for _ in 0..300 {
                now = match rng.next_u32() % 16 {
                    0 => now + u64::from(rng.next_u32() % 500),
                    1 => now - u64::from(rng.next_u32()).min(500).min(now),
                    _ => now + 1,
                };
                if signed.may_sign(Slot(now)) {
                    signed.sign(Slot(now));
                    assert!(all.insert(now), "slot {now} twice, seed {seed}");
                    assert!(!signed.may_sign(Slot(now)));
                }
            }
        }
    }

    #[test]
    fn an_outage_of_long_ago_does_not_hide_that_a_clock_was_ahead() {
        let mut signed = Signed::default();
        for slot in [5, 500_000, 500_000 + STALE_SLOTS, 500_010 + STALE_SLOTS, 507_000 + STALE_SLOTS] {
            assert!(signed.may_sign(Slot(slot)));
            signed.sign(Slot(slot));
        }
        assert!(signed.may_sign(Slot(500_020 + STALE_SLOTS)) && !signed.may_sign(Slot(400_000)));
    }

    #[test]
    fn a_clock_that_was_ahead_leaves_open_what_lies_between() {
        let mut signed = Signed::default();
        let mut sign = |slot: u64| {
            let may = signed.may_sign(Slot(slot));
            if may {
                signed.sign(Slot(slot));
            }
            may
        };
        // In every fourth slot, then an hour ahead, then right again, and at last where it was.
        assert!((100..140).step_by(4).all(&mut sign));
        assert!((7_300..7_340).step_by(4).all(&mut sign));
        assert!((160..7_300).step_by(4).all(&mut sign));
        assert!(!(7_300..7_340).step_by(4).any(&mut sign), "these are spent");
        assert!((7_340..7_400).step_by(4).all(&mut sign));
        // One that is set back does not sign again what it has signed.
        assert!(!(160..7_400).step_by(4).any(&mut sign));
    }
}
