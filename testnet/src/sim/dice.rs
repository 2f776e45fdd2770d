//! All of a world's chance.

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use weft_core::primitives::Hasher;

/// A seeded source of chance.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::from_seed(derive(seed, "world", 0)))
    }

    /// A number from `low` up to and including `high`.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    /// Whether something with this probability happens. Nothing is drawn for an impossible event, so that adding a
    /// fault that is off changes no run.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
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
