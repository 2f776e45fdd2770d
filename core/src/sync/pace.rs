//! How fast something goes, lately.

use std::collections::VecDeque;

use crate::primitives::Mono;

/// Over so long.
const LATELY_MILLIS: u64 = 5_000;

/// How much was done when.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    samples: VecDeque<(Mono, u64)>,
}

impl Pace {
    /// So much is done by now.
    pub fn note(&mut self, done: u64, now: Mono) {
        self.samples.push_back((now, done));
        while self.samples.front().is_some_and(|(at, _)| *at + LATELY_MILLIS < now) {
            self.samples.pop_front();
        }
    }

    /// How much is done a second; 0 when that cannot be told.
    #[must_use]
    pub fn rate(&self, now: Mono) -> u32 {
        let recent = || self.samples.iter().filter(|(at, _)| *at + LATELY_MILLIS >= now);
        let rate = match (recent().next(), recent().next_back()) {
            (Some((start, low)), Some((end, high))) if end > start => {
                high.saturating_sub(*low).saturating_mul(1000) / (*end - *start)
            }
            _ => 0,
        };
        u32::try_from(rate).unwrap_or(u32::MAX)
    }

    /// The seconds that what is left takes at a rate; none when nothing is left, or nothing is being done.
    #[must_use]
    pub fn seconds_left(rate: u32, left: u64) -> Option<u64> {
        (rate > 0 && left > 0).then(|| left.div_ceil(u64::from(rate)))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let mut pace = Pace::default();
        assert_eq!(pace.rate(Mono(0)), 0);
        pace.note(100, Mono(1_000));
        assert_eq!(pace.rate(Mono(1_000)), 0, "one look tells nothing");
        pace.note(300, Mono(2_000));
        assert_eq!(pace.rate(Mono(2_000)), 200);
        pace.note(310, Mono(6_500));
        assert_eq!(pace.rate(Mono(6_500)), 2, "the first is too long ago");
        assert_eq!(pace.rate(Mono(20_000)), 0, "nothing has come since");
        pace.note(u64::MAX, Mono(6_501));
        assert_eq!(pace.rate(Mono(6_501)), u32::MAX);
    }

    #[test]
    fn what_is_left_takes_as_long_as_the_rate_says() {
        assert_eq!(Pace::seconds_left(3, 10), Some(4));
        assert_eq!((Pace::seconds_left(0, 10), Pace::seconds_left(3, 0)), (None, None));
    }
}
