//! How much one peer may ask for.

use crate::primitives::Mono;

/// The most bytes a peer may ask for at once: the state of 600,000 accounts.
const MOST: u64 = 32 << 20;
/// How many bytes a peer may ask for in a millisecond, in the long run: 8 MB a second.
const PER_MILLI: u64 = 8_000;

/// Bytes of proofs and states that a peer may still be sent.
#[derive(Debug)]
pub(in super::super) struct Budget {
    left: u64,
    at: Mono,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: MOST, at: Mono::default() }
    }
}

impl Budget {
    /// Whether anything is left at this time. The last answer may take it below nothing.
    pub(super) fn is_left(&mut self, now: Mono) -> bool {
        let earned = now.0.saturating_sub(self.at.0).saturating_mul(PER_MILLI);
        self.left = self.left.saturating_add(earned).min(MOST);
        self.at = now;
        self.left > 0
    }

    /// Takes the size of an answer.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn what_is_spent_comes_back_with_time_and_no_more_than_that() {
        let mut budget = Budget::default();
        let answers = std::iter::repeat_with(|| {
            let left = budget.is_left(Mono(7));
            budget.spend(384 << 10);
            left
        });
        assert_eq!(answers.take(200).filter(|left| *left).count(), 86);
        assert!(budget.is_left(Mono(8)));
        budget.spend(8_000);
        assert!(!budget.is_left(Mono(8)));
        assert!(budget.is_left(Mono(u64::MAX)));
        budget.spend(32 << 20);
        assert!(!budget.is_left(Mono(u64::MAX)));
    }
}
