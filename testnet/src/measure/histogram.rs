//! Many durations in little memory.

use serde::Serialize;

/// Each power of two is split into so many buckets, so that no value is off by more than one part in as many.
const SPLIT_BITS: u32 = 6;
const SPLIT: usize = 1 << SPLIT_BITS;

/// Counts by value, in buckets that grow with the value. Values are microseconds here, and exact below 128.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    most: u64,
}

/// What a histogram says, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many values there are.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Half are at most this.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// Ninety-nine of a hundred.
    pub p99: f64,
    /// All.
    pub max: f64,
}

fn bucket(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    if bits <= SPLIT_BITS + 1 {
        return value as usize;
    }
    let shift = bits - SPLIT_BITS - 1;
    (shift as usize) * SPLIT + (value >> shift) as usize
}

/// The largest value of a bucket.
fn top(bucket: usize) -> u64 {
    if bucket < 2 * SPLIT {
        return bucket as u64;
    }
    let shift = bucket / SPLIT - 1;
    let head = (bucket - shift * SPLIT) as u64;
    (head << shift) | ((1 << shift) - 1)
}

impl Histogram {
    /// Adds a value.
    pub fn add(&mut self, value: u64) {
        let place = bucket(value);
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.most = self.most.max(value);
    }

    /// How many values there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The least value that at least this share of all are no greater than, to within a part in 64; 0 without values.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = (share * self.count as f64).ceil().max(1.0) as u64;
        let mut sum = 0;
        for (place, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted {
                return top(place).min(self.most);
            }
        }
        self.most
    }

    /// The mean, median and so on, of microseconds in milliseconds.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        let millis = |share| self.quantile(share) as f64 / 1000.0;
        let mean = if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 / 1000.0 };
        let max = self.most as f64 / 1000.0;
        Quantiles { count: self.count, mean, p50: millis(0.5), p90: millis(0.9), p99: millis(0.99), max }
    }

    /// The share of values up to each value, rising.
    #[must_use]
    pub fn cumulative(&self) -> Vec<(u64, f64)> {
        let mut sum = 0;
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled
            .map(|(place, count)| {
                sum += count;
                (top(place).min(self.most), sum as f64 / self.count as f64)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_values_to_within_a_part_in_64() {
        let mut histogram = Histogram::default();
        let values: Vec<u64> = (0..10_000).map(|index| index * index / 7).collect();
        values.iter().for_each(|value| histogram.add(*value));
        for share in [0.01, 0.5, 0.9, 0.99, 1.0] {
            let exact = values[(share * 10_000.0) as usize - 1];
            let found = histogram.quantile(share);
            assert!(found >= exact && found - exact <= exact / 64 + 1, "{share}: {found} for {exact}");
        }
        assert_eq!(histogram.quantiles().max, *values.last().unwrap() as f64 / 1000.0);
    }

    #[test]
    fn every_value_is_in_a_bucket_that_holds_it() {
        for value in (0..5_000).chain([u64::MAX / 3, u64::MAX, 1 << 40]) {
            let place = bucket(value);
            assert!(top(place) >= value, "{value}");
            assert!(place == 0 || top(place - 1) < value, "{value}");
        }
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}
