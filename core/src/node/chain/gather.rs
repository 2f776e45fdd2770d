//! Gathering what many peers push into few signature checks.
//!
//! Alone, a signature costs twice what it costs among hundreds, and peers push as few as one at a time. So while a check
//! runs, what comes goes together into the next, unless it fills one by itself. Nothing waits while there is little to do,
//! and the more there is, the less each costs.

use std::collections::VecDeque;

use libp2p::PeerId;

use crate::{mempool::Weighed, primitives::Hash, state::Account};

/// The most transactions in one check: beyond that a batch gets hardly cheaper, and whoever comes next waits longer.
const MAX_TOGETHER: usize = 512;

/// A transaction that a peer pushed.
pub(super) struct Pushed {
    /// The first peer that did.
    pub(super) peer: PeerId,
    pub(super) weighed: Weighed,
    /// The sender's account after the block with this hash.
    pub(super) account: (Hash, Account),
}

/// Transactions that wait for a check to end: at most as many as the relay lets be in check.
#[derive(Default)]
pub(super) struct Gatherer {
    waiting: VecDeque<Pushed>,
    running: usize,
}

impl Gatherer {
    pub(super) fn add(&mut self, pushed: Pushed) {
        self.waiting.push_back(pushed);
    }

    /// What to check now. [`Self::checked`] must follow.
    pub(super) fn next(&mut self) -> Option<Vec<Pushed>> {
        let enough = if self.running == 0 { 1 } else { MAX_TOGETHER };
        if self.waiting.len() < enough {
            return None;
        }
        self.running += 1;
        let count = self.waiting.len().min(MAX_TOGETHER);
        Some(self.waiting.drain(..count).collect())
    }

    /// A check is over, well or not.
    pub(super) fn checked(&mut self) {
        self.running = self.running.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::{Transaction, UnsignedTransaction},
        primitives::{Address, Amount, PublicKey, Signature, Slot},
    };

    fn add(gatherer: &mut Gatherer, count: u64) {
        for nonce in 0..count {
            let (from, to) = (PublicKey([1; 32]), Address([2; 32]));
            let content = UnsignedTransaction::transfer(from, to, Amount(1), Amount(1), nonce, Slot(1));
            let transaction = Transaction { content, signature: Signature([0; 64]) };
            let key = [[0, 36, 8, 1, 18, 32].as_slice(), &[7; 32]].concat();
            let (peer, weighed) = (PeerId::from_bytes(&key).unwrap(), Weighed::new(transaction));
            gatherer.add(Pushed { peer, weighed, account: (Hash::ZERO, Account::default()) });
        }
    }

    fn next(gatherer: &mut Gatherer) -> Option<usize> {
        gatherer.next().map(|together| together.len())
    }

    #[test]
    fn what_comes_while_a_check_runs_waits_for_its_end_unless_it_fills_another() {
        let mut gatherer = Gatherer::default();
        assert_eq!(next(&mut gatherer), None);
        add(&mut gatherer, 1);
        assert_eq!(next(&mut gatherer), Some(1));
        add(&mut gatherer, MAX_TOGETHER as u64 - 1);
        assert_eq!(next(&mut gatherer), None);
        add(&mut gatherer, 3);
        assert_eq!((next(&mut gatherer), next(&mut gatherer)), (Some(MAX_TOGETHER), None));
        gatherer.checked();
        assert_eq!(next(&mut gatherer), None, "one still runs");
        gatherer.checked();
        assert_eq!((next(&mut gatherer), next(&mut gatherer)), (Some(2), None));
    }
}
