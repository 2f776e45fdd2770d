//! The transactions that entered the mempool last, whether they are still there or not.
//!
//! A proposer takes those of the last second to be unknown to its peers. And one that was evicted or replaced soon after it
//! came may be in a block all the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    chain::Transaction,
    primitives::{Hash, Held, Mono},
};

/// The most bytes of transactions remembered: some 1,500.
const MAX_BYTES: usize = 256 << 10;
/// What entered the pool less than so long ago has not reached everyone.
const FRESH_MILLIS: u64 = 1_000;
/// A block with no more bytes of transactions is announced whole.
const SMALL_BYTES: usize = 1 << 10;
/// So many bytes may be prefilled in any case: with the rest of an announcement, what a connection carries before it
/// waits for an acknowledgement.
const MIN_PREFILLED_BYTES: usize = 3 << 10;
/// Of larger blocks this share of the bytes of all transactions is prefilled at most, so that a compact block stays one.
const PREFILLED_SHARE: usize = 11;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Entered {
    line: VecDeque<(Mono, Hash, Transaction)>,
    bytes: usize,
}

impl Entered {
    pub(super) fn add(&mut self, id: Hash, transaction: Transaction, now: Mono) {
        self.bytes += transaction.encoded_len();
        self.line.push_back((now, id, transaction));
        while self.bytes > MAX_BYTES {
            let Some((.., oldest)) = self.line.pop_front() else { return };
            self.bytes -= oldest.encoded_len();
        }
    }

    pub(super) const fn held(&self) -> Held {
        Held::new("bytes that entered the mempool last", self.bytes, MAX_BYTES)
    }

    /// All of them, the newest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Hash, &Transaction)> {
        self.line.iter().rev().map(|(_, id, transaction)| (*id, transaction))
    }

    /// The places of the transactions of a block that are prefilled: all, if they are small together; else those that
    /// entered the pool in the last second, the newest first, up to an eleventh of all bytes or 3 KiB.
    pub(super) fn fresh(&self, block: &[Transaction], now: Mono) -> BTreeSet<usize> {
        let all: usize = block.iter().map(Transaction::encoded_len).sum();
        if all <= SMALL_BYTES {
            return (0..block.len()).collect();
        }
        let mut fresh = self.line.iter().rev().take_while(|(at, ..)| now - *at < FRESH_MILLIS).peekable();
        if fresh.peek().is_none() {
            return BTreeSet::new();
        }
        let places: BTreeMap<Hash, usize> =
            block.iter().enumerate().map(|(place, transaction)| (transaction.id(), place)).collect();
        let mut room = MIN_PREFILLED_BYTES.max(all / PREFILLED_SHARE);
        let mut chosen = BTreeSet::new();
        for (_, id, transaction) in fresh {
            let Some(place) = places.get(id).filter(|place| !chosen.contains(*place)) else { continue };
            let Some(left) = room.checked_sub(transaction.encoded_len()) else { break };
            room = left;
            chosen.insert(*place);
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::UnsignedTransaction,
        primitives::{Address, Amount, PublicKey, Signature, Slot},
    };

    fn transaction(nonce: u64) -> Transaction {
        let (from, to) = (PublicKey([1; 32]), Address([2; 32]));
        let content = UnsignedTransaction::transfer(from, to, Amount(1), Amount(1), nonce, Slot(1));
        Transaction { content, signature: Signature([0; 64]) }
    }

    fn block(count: u64) -> Vec<Transaction> {
        (0..count).map(transaction).collect()
    }

    /// All enter the pool, one a millisecond.
    fn entered(block: &[Transaction]) -> Entered {
        let mut entered = Entered::default();
        for (at, transaction) in (0..).zip(block) {
            entered.add(transaction.id(), transaction.clone(), Mono(at));
        }
        entered
    }

    #[test]
    fn a_small_block_is_announced_whole_and_of_a_larger_one_what_is_fresh() {
        let small = block(5);
        assert_eq!(Entered::default().fresh(&small, Mono(0)), (0..5).collect());
        let large = block(200);
        assert_eq!(Entered::default().fresh(&large, Mono(0)), BTreeSet::new());
        let entered = entered(&large);
        assert_eq!(entered.fresh(&large, Mono(199)), (182..200).collect(), "an eleventh of them");
        assert_eq!(entered.fresh(&large, Mono(1_190)), (191..200).collect());
        assert_eq!(entered.fresh(&large, Mono(1_199)), BTreeSet::new());
        let few = MIN_PREFILLED_BYTES as u64 / Transaction::EMPTY_LEN as u64;
        assert_eq!(entered.fresh(&block(few), Mono(199)).len() as u64, few);
        let fresh = entered.fresh(&block(few + 10), Mono(199));
        assert_eq!(fresh, (10..few as usize + 10).collect(), "as many as 3 KiB hold");
    }

    #[test]
    fn what_enters_twice_is_prefilled_once() {
        let large = block(16);
        let mut entered = entered(&large);
        large
            .iter()
            .rev()
            .for_each(|transaction| entered.add(transaction.id(), transaction.clone(), Mono(20)));
        assert_eq!(entered.fresh(&large, Mono(20)), (0..16).collect());
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let many = block(2_000);
        let entered = entered(&many);
        let held: Vec<Hash> = entered.iter().map(|(id, _)| id).collect();
        assert_eq!(held.len(), MAX_BYTES / Transaction::EMPTY_LEN);
        assert_eq!(held[0], many[1_999].id());
        assert!(entered.bytes <= MAX_BYTES);
    }
}
