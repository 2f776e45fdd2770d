//! How fast something comes.

use std::collections::VecDeque;

use crate::primitives::Mono;

/// The rate is taken over so many seconds, the one that is under way among them.
const SECONDS: u64 = 5;

/// Bytes by the second in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate(VecDeque<(u64, u64)>);

impl Rate {
    pub(super) fn add(&mut self, bytes: u64, now: Mono) {
        let second = now.0 / 1000;
        match self.0.back_mut().filter(|(last, _)| *last == second) {
            Some((_, sum)) => *sum += bytes,
            None => self.0.push_back((second, bytes)),
        }
        while self.0.len() > SECONDS as usize {
            self.0.pop_front();
        }
    }

    pub(super) fn per_second(&self, now: Mono) -> u64 {
        let from = (now.0 / 1000).saturating_sub(SECONDS - 1);
        let lately = || self.0.iter().filter(|(second, _)| *second >= from);
        let Some((first, _)) = lately().next() else { return 0 };
        let millis = (now.0 - (*first * 1000).min(now.0)).max(250);
        lately().map(|(_, bytes)| bytes).sum::<u64>().saturating_mul(1000) / millis
    }
}
