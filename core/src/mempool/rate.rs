//! Fees compared by what they pay for a byte.

use std::cmp::Ordering;

use crate::primitives::Amount;

/// A fee per byte, as the exact fraction it is: two rates are compared by cross-multiplication, never by rounding.
#[derive(Clone, Copy, Debug)]
pub(super) struct FeeRate {
    fee: u64,
    bytes: u64,
}

impl FeeRate {
    /// What `fee` pays for each of `bytes` bytes; a transaction is never empty.
    pub(super) fn new(fee: Amount, bytes: usize) -> Self {
        Self { fee: fee.0, bytes: bytes.max(1) as u64 }
    }

    /// A fee for 1,000 bytes.
    pub(super) fn of_thousand(fee: u64) -> Self {
        Self { fee, bytes: 1000 }
    }

    /// What this pays for 1,000 bytes, rounded up, and capped at the largest number.
    pub(super) fn per_thousand(self) -> u64 {
        let exact = (u128::from(self.fee) * 1000).div_ceil(u128::from(self.bytes));
        u64::try_from(exact).unwrap_or(u64::MAX)
    }

    /// The least fee with which `bytes` bytes pay strictly more than this, or `None` past the largest amount.
    pub(super) fn fee_to_beat(self, bytes: usize) -> Option<Amount> {
        let matching = u128::from(self.fee) * bytes as u128 / u128::from(self.bytes);
        u64::try_from(matching).ok()?.checked_add(1).map(Amount)
    }
}

impl Ord for FeeRate {
    fn cmp(&self, other: &Self) -> Ordering {
        let left = u128::from(self.fee) * u128::from(other.bytes);
        let right = u128::from(other.fee) * u128::from(self.bytes);
        left.cmp(&right)
    }
}

impl PartialOrd for FeeRate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for FeeRate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for FeeRate {}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn rates_are_compared_as_fractions() {
        let rate = |fee, bytes| FeeRate::new(Amount(fee), bytes);
        assert_eq!(rate(1, 3), rate(2, 6));
        assert!(rate(u64::MAX, 200) > rate(u64::MAX - 1, 200));
        assert!(rate(u64::MAX, 201) < rate(u64::MAX, 200));
        assert!(rate(1001, 10) > rate(100, 1));
    }

    #[test]
    fn the_fee_to_beat_is_the_least_that_does() {
        for (fee, bytes, own) in [(300, 165, 165), (301, 165, 400), (7, 3, 2), (0, 5, 5)] {
            let rate = FeeRate::new(Amount(fee), bytes);
            let least = rate.fee_to_beat(own).unwrap();
            assert!(FeeRate::new(least, own) > rate);
            assert!(FeeRate::new(Amount(least.0 - 1), own) <= rate);
        }
        assert_eq!(FeeRate::new(Amount(u64::MAX), 165).fee_to_beat(165), None);
    }
}
