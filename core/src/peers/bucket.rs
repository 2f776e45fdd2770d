//! Token buckets: how much of something one peer may bring or ask for in a time.

use crate::primitives::Mono;

/// What one unit takes from a bucket, which fills by its rate every millisecond.
const UNIT: u64 = 1000;

/// A bucket's shape, in units of whatever it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Units a second in the long run.
    pub per_second: u64,
    /// Units at once, after a silence.
    pub burst: u64,
}

/// A bucket that fills with time up to its burst, and from which what is done takes.
#[derive(Clone, Debug)]
pub struct Bucket {
    allowance: Allowance,
    /// Thousandths of a unit, as of a time.
    left: u64,
    as_of: Mono,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn new(allowance: Allowance) -> Self {
        Self { allowance, left: allowance.burst.saturating_mul(UNIT), as_of: Mono(0) }
    }

    /// Whether there are so many units; more than the burst counts as the burst, so that nothing is refused for ever.
    #[must_use]
    pub fn has(&mut self, units: u64, now: Mono) -> bool {
        let full = self.allowance.burst.saturating_mul(UNIT);
        let earned = now.0.saturating_sub(self.as_of.0).saturating_mul(self.allowance.per_second);
        self.left = self.left.saturating_add(earned).min(full);
        self.as_of = self.as_of.max(now);
        self.left >= units.saturating_mul(UNIT).min(full)
    }

    /// Takes so many units, or as many as there are: for what is known only once it is done.
    pub fn spend(&mut self, units: u64) {
        self.left = self.left.saturating_sub(units.saturating_mul(UNIT));
    }

    /// Takes so many units if they are there, and says whether.
    #[must_use]
    pub fn take(&mut self, units: u64, now: Mono) -> bool {
        let allowed = self.has(units, now);
        if allowed {
            self.spend(units);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_a_steady_pace() {
        let mut bucket = Bucket::new(Allowance { per_second: 5, burst: 3 });
        let mut taken = |now| bucket.take(1, Mono(now));
        assert_eq!([7; 5].map(&mut taken), [true, true, true, false, false]);
        assert_eq!([206, 207, 208, 406, 407].map(&mut taken), [false, true, false, false, true]);
        assert_eq!([60_000; 4].map(taken), [true, true, true, false]);
    }

    #[test]
    fn what_is_larger_than_the_burst_takes_all_of_it_and_time_never_runs_back() {
        let mut bucket = Bucket::new(Allowance { per_second: 1, burst: 10 });
        assert!(bucket.take(1_000_000, Mono(5_000)));
        assert!(!bucket.take(1, Mono(4_000)) && !bucket.take(1, Mono(5_999)));
        assert!(bucket.take(1, Mono(6_000)));
        bucket.spend(u64::MAX);
        assert!(!bucket.has(1, Mono(6_500)));
        assert!(bucket.has(u64::MAX, Mono(u64::MAX)));
    }
}
