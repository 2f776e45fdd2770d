//! What the pending transactions pay, in a few buckets, for people to look at.

use serde::{Deserialize, Serialize};

use super::{Mempool, rate::FeeRate};

/// The most buckets: each second one begins at twice the rate, so the last at 4,096 times the chain's minimum.
pub const MAX_BUCKETS: usize = 25;

/// Pending transactions of similar rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeeBucket {
    /// The least fee for 1,000 bytes in this bucket; the next one's is the end, and the last has none.
    pub from: u64,
    /// The number of transactions.
    pub count: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl Mempool {
    /// The pending transactions by their effective rates, the lowest first: every bucket between the lowest and the
    /// highest that hold any, at most [`MAX_BUCKETS`]. Costs a walk over all of them.
    #[must_use]
    pub fn fee_histogram(&self) -> Vec<FeeBucket> {
        let base = 1000_u64.saturating_mul(self.limits.relay_fee_per_byte());
        let from = |index: usize| {
            let doubled = base.saturating_mul(1 << (index / 2));
            if index.is_multiple_of(2) { doubled } else { doubled.saturating_add(doubled / 2) }
        };
        let mut buckets: Vec<_> =
            (0..MAX_BUCKETS).map(|index| FeeBucket { from: from(index), count: 0, bytes: 0 }).collect();
        // Best first, so the bucket only ever goes down.
        let mut index = MAX_BUCKETS - 1;
        for (rate, bytes) in self.pending_rates() {
            while index > 0 && rate < FeeRate::of_thousand(buckets[index].from) {
                index -= 1;
            }
            buckets[index].count += 1;
            buckets[index].bytes += bytes;
        }
        let filled = |bucket: &FeeBucket| bucket.count > 0;
        let Some(last) = buckets.iter().rposition(filled) else { return Vec::new() };
        buckets.truncate(last + 1);
        buckets.drain(..buckets.iter().position(filled).unwrap_or(0));
        buckets
    }
}
