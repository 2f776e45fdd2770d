//! All of a world's chance.

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use weft_core::primitives::Hasher;

/// A seeded source of chance.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self::from_seed(derive(seed, "world", 0))
    }

    pub(super) fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// A number from `low` up to and including `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    /// Keeps so many of these by lot, in an order by lot.
    pub(crate) fn draw<T>(&mut self, from: &mut Vec<T>, count: usize) {
        let count = count.min(from.len());
        for place in 0..count {
            let other = self.between(place as u64, from.len() as u64 - 1) as usize;
            from.swap(place, other);
        }
        from.truncate(count);
    }

    /// Whether something with this probability happens. Nothing is drawn for an impossible event, so that adding a
    /// fault that is off changes no run.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && ((self.0.next_u64() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }
}

/// A 32-byte seed for one purpose and one index, independent of everything drawn before.
pub(super) fn derive(seed: u64, purpose: &str, index: u64) -> [u8; 32] {
    Hasher::tagged(b"weft-sim")
        .add(&seed.to_le_bytes())
        .add(&index.to_le_bytes())
        .add(purpose.as_bytes())
        .finish()
        .0
}
