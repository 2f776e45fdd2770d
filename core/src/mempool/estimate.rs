//! What fee gets a transaction into a block soon, from what blocks took lately and from what waits now.
//!
//! Two questions, and the dearer answer counts. *The last blocks:* a block with room left would have taken anything at the
//! minimum; a full one had a price, the lowest tenth of what is in it. *The pool:* whoever wants to be in one of the next
//! blocks must come before what fills them. Both say only what is paid now: a crowd that comes after is not foreseen, but
//! for some headroom once others had to leave.
//! Bitcoin Core's estimator follows every transaction to its block for weeks instead, since its blocks come in ten
//! minutes and its fees swing by the hour.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Mempool, rate::FeeRate};
use crate::{
    chain::{Body, MAX_BLOCK_TRANSACTIONS, MAX_SYSTEM_BYTES, Transaction},
    primitives::{Amount, Hash, Slot},
};

/// How many blocks are looked back at.
pub const LOOK_BACK: usize = 20;
/// The bytes of transactions a block can have beside the largest system items.
pub(crate) const BLOCK_ROOM: usize = Body::MAX_LEN - MAX_SYSTEM_BYTES;
/// For the next block, the next 3 and the next 10: how many blocks may pass, and which share of the last blocks, in
/// percent, must have been cheaper.
const GOALS: [(usize, usize); 3] = [(1, 90), (3, 50), (10, 10)];
/// What the goals add to a minimum that has risen, in percent of it: it is still rising perhaps, and not the same at every
/// peer. Who pays just enough here would be refused elsewhere, and wait until it has fallen.
const HEADROOM: [u64; 3] = [100, 50, 25];

/// Fees for 1,000 bytes; [`fee_for`](super::fee_for) says what that is for a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeEstimate {
    /// To be taken at all: [`Mempool::min_fee_rate`].
    pub minimum: u64,
    /// For the next block.
    pub next: u64,
    /// For one of the next three.
    pub soon: u64,
    /// For one of the next ten.
    pub slow: u64,
    /// How many blocks this looked back at.
    pub blocks: usize,
    /// How many of them were full.
    pub full: usize,
}

/// How many times our own minimum others' counts at most: they may say what they like.
const MAX_ELSEWHERE: u64 = 16;

/// What the last blocks of the best chain took.
#[derive(Debug, Default)]
pub struct Estimator {
    /// The newest last: its hash, and what it cost to be in it if it was full.
    blocks: VecDeque<(Hash, Option<FeeRate>)>,
}

impl Estimator {
    /// A block was added to the best chain.
    pub fn done(&mut self, hash: Hash, transactions: &[Transaction]) {
        let mut rates: Vec<_> = transactions
            .iter()
            .map(|transaction| (transaction.content.fee, transaction.encoded_len()))
            .map(|(fee, bytes)| (FeeRate::new(fee, bytes), bytes))
            .collect();
        rates.sort_unstable_by_key(|(rate, _)| *rate);
        let bytes: usize = rates.iter().map(|(_, bytes)| bytes).sum();
        let full = rates.len() >= MAX_BLOCK_TRANSACTIONS || bytes + Transaction::MAX_LEN > BLOCK_ROOM;
        let mut below = 0;
        let cheapest = rates.iter().find(|(_, own)| {
            below += own;
            below * 10 >= bytes
        });
        let price = cheapest.map(|(rate, _)| *rate).filter(|_| full);
        self.blocks.push_back((hash, price));
        if self.blocks.len() > LOOK_BACK {
            self.blocks.pop_front();
        }
    }

    /// A reorganisation took a block off the best chain.
    pub fn undone(&mut self, hash: &Hash) {
        self.blocks.retain(|(other, _)| other != hash);
    }

    /// What to pay. `slot` is the earliest that the next block can have, and `elsewhere` the least fee for 1,000 bytes that
    /// is taken at other peers. Costs a walk over the pool's best ten blocks.
    #[must_use]
    pub fn estimate(&self, pool: &Mempool, slot: Slot, elsewhere: u64) -> FeeEstimate {
        let minimum = pool.min_fee_rate(slot);
        let usual = minimum.max(elsewhere.min(minimum.saturating_mul(MAX_ELSEWHERE)));
        let risen = usual > pool.limits.min_fee_per_byte.saturating_mul(1000);
        let mut paid: Vec<u64> =
            self.blocks.iter().map(|(_, price)| price.map_or(0, FeeRate::per_thousand)).collect();
        paid.sort_unstable();
        let waits = prices(pool.pending_rates());
        let mut rates =
            HEADROOM.map(|percent| usual.saturating_add(if risen { usual / 100 * percent } else { 0 }));
        for ((rate, wait), (_, percent)) in rates.iter_mut().zip(waits).zip(GOALS) {
            // The nearest-rank percentile.
            let rank = (paid.len() * percent).div_ceil(100).saturating_sub(1);
            *rate = (*rate).max(paid.get(rank).copied().unwrap_or(0)).max(wait);
        }
        let [next, soon, slow] = rates;
        let full = self.blocks.iter().filter(|(_, price)| price.is_some()).count();
        FeeEstimate { minimum, next, soon, slow, blocks: self.blocks.len(), full }
    }
}

/// For each goal, the fee for 1,000 bytes that comes before enough of what waits, best first; 0 when all of it fits.
fn prices(waiting: impl Iterator<Item = (FeeRate, usize)>) -> [u64; 3] {
    let mut prices = [0; 3];
    let mut goals = GOALS.iter().zip(&mut prices).peekable();
    let (mut blocks, mut count, mut bytes) = (1, 0, 0);
    let mut last = FeeRate::of_thousand(0);
    for (rate, own) in waiting {
        if count == MAX_BLOCK_TRANSACTIONS || bytes + own > BLOCK_ROOM {
            // To be in the first `blocks` blocks, come before the last one there.
            if goals.peek().is_some_and(|((goal, _), _)| *goal == blocks)
                && let Some((_, price)) = goals.next()
            {
                *price = last.per_thousand().saturating_add(1);
            }
            if goals.peek().is_none() {
                break;
            }
            (blocks, count, bytes) = (blocks + 1, 0, 0);
        }
        count += 1;
        bytes += own;
        last = rate;
    }
    prices
}

/// The least fee of a transaction of `bytes` bytes that pays `rate` for 1,000.
#[must_use]
pub fn fee_for(rate: u64, bytes: usize) -> Amount {
    // Nearly always so few that a cheaper division will do.
    let exact = || u64::try_from((u128::from(rate) * bytes as u128).div_ceil(1000)).unwrap_or(u64::MAX);
    Amount(rate.checked_mul(bytes as u64).map_or_else(exact, |product| product.div_ceil(1000)))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::UnsignedTransaction,
        mempool::Limits,
        primitives::{Address, PublicKey, Signature},
    };

    const SLOT: Slot = Slot(10);

    fn paying(fee: u64) -> Transaction {
        let (from, to) = (PublicKey([1; 32]), Address([9; 32]));
        let content = UnsignedTransaction::transfer(from, to, Amount(1), Amount(fee), 0, Slot(100));
        Transaction { content, signature: Signature([0; 64]) }
    }

    fn empty_pool() -> Mempool {
        Mempool::new(Limits::new(1 << 20, 2))
    }

    fn block(estimator: &mut Estimator, number: u8, fees: impl Iterator<Item = u64>) {
        let transactions: Vec<_> = fees.map(paying).collect();
        estimator.done(Hash([number; 32]), &transactions);
    }

    fn rates(estimator: &Estimator) -> [u64; 3] {
        let estimate = estimator.estimate(&empty_pool(), SLOT, 0);
        [estimate.next, estimate.soon, estimate.slow]
    }

    #[test]
    fn blocks_with_room_cost_the_minimum_whatever_was_paid() {
        let mut estimator = Estimator::default();
        assert_eq!(rates(&estimator), [2_000; 3]);
        (0..30).for_each(|number| block(&mut estimator, number, (0..100).map(|_| 90_000)));
        let estimate = estimator.estimate(&empty_pool(), SLOT, 0);
        assert_eq!((estimate.minimum, estimate.blocks, estimate.full), (2_000, LOOK_BACK, 0));
        assert_eq!(rates(&estimator), [2_000; 3]);
    }

    #[test]
    fn full_blocks_cost_their_lowest_tenth_and_the_goals_ask_for_more_or_fewer_of_them() {
        let full = |of: u64| (0..MAX_BLOCK_TRANSACTIONS as u64).map(move |index| 165 * (of + index % 100));
        let mut estimator = Estimator::default();
        (0..20).for_each(|number| block(&mut estimator, number, full(10 * (1 + u64::from(number)))));
        // The lowest tenth of `of .. of + 100` ends at `of + 9`; of is 10, 20, .. 200.
        assert_eq!(rates(&estimator), [(180 + 9) * 1000, (100 + 9) * 1000, (20 + 9) * 1000]);
        (14..20).for_each(|number| estimator.undone(&Hash([number; 32])));
        assert_eq!(rates(&estimator)[0], (130 + 9) * 1000);
        (30..40).for_each(|number| block(&mut estimator, number, std::iter::empty()));
        assert_eq!(rates(&estimator)[2], 2_000, "blocks with room came since");
    }

    #[test]
    fn what_waits_is_priced_by_where_each_block_would_end() {
        let crowd = |blocks: usize| {
            let count = blocks * MAX_BLOCK_TRANSACTIONS;
            (0..count as u64).map(move |index| (FeeRate::new(Amount(165 * (count as u64 - index)), 165), 165))
        };
        let at = |blocks: usize, of: usize| 1 + 1000 * (MAX_BLOCK_TRANSACTIONS * (of - blocks) + 1) as u64;
        assert_eq!(prices(crowd(1)), [0; 3]);
        assert_eq!(prices(crowd(2)), [at(1, 2), 0, 0]);
        assert_eq!(prices(crowd(11)), [at(1, 11), at(3, 11), at(10, 11)]);
        let large = (0..40_000).map(|_| (FeeRate::new(Amount(800), 400), 400));
        assert_eq!(prices(large), [2_001; 3], "bytes fill blocks too");
    }

    #[test]
    fn a_fee_for_a_rate_is_rounded_up() {
        assert_eq!(fee_for(1_000, 165), Amount(165));
        assert_eq!(fee_for(1_001, 165), Amount(166));
        assert_eq!(fee_for(u64::MAX, 1 << 20), Amount(u64::MAX));
        assert_eq!(fee_for(0, 165), Amount(0));
    }
}
