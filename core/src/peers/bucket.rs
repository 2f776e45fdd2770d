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
    /// Thousandths of a unit, as of a time; below zero while what was spent too much is made up for.
    left: i64,
    as_of: Mono,
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub const fn new(allowance: Allowance) -> Self {
        Self { allowance, left: thousandths(allowance.burst), as_of: Mono(0) }
    }

    /// Whether there are so many units; more than the burst counts as the burst, so that nothing is refused for ever.
    #[must_use]
    pub fn has(&mut self, units: u64, now: Mono) -> bool {
        let full = thousandths(self.allowance.burst);
        let earned = now.0.saturating_sub(self.as_of.0).saturating_mul(self.allowance.per_second);
        self.left = self.left.saturating_add(i64::try_from(earned).unwrap_or(i64::MAX)).min(full);
        self.as_of = self.as_of.max(now);
        self.left >= thousandths(units).min(full)
    }

    /// Takes so many units, for what is known only once it is done: what is more than there are has to be made up for before there are
    /// any again, up to a burst.
    pub fn spend(&mut self, units: u64) {
        let least = -thousandths(self.allowance.burst);
        self.left = self.left.saturating_sub(thousandths(units)).max(least);
    }

    /// Takes so many units if they are there, and says whether.
    #[must_use]
    pub fn take(&mut self, units: u64, now: Mono) -> bool {
        let allowed = self.has(units, now);
        if allowed {
            self.left = self.left.saturating_sub(thousandths(units)).max(0);
        }
        allowed
    }
}

const fn thousandths(units: u64) -> i64 {
    // Not `try_from`, which is no constant function.
    let product = units.saturating_mul(UNIT);
    if product > i64::MAX.unsigned_abs() { i64::MAX } else { product.cast_signed() }
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

    #[test]
    fn in_the_long_run_no_more_is_spent_than_fills_it_however_large_each_is() {
        let mut bucket = Bucket::new(Allowance { per_second: 100, burst: 400 });
        let mut spent = 0;
        for now in 0..60_000 {
            if bucket.has(1, Mono(now)) {
                bucket.spend(150);
                spent += 150;
            }
        }
        assert!((6_000..=6_550).contains(&spent), "{spent}");
    }
}
