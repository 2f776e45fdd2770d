//! A Merkle mountain range over headers: one small, append-only commitment to all of history.

use crate::primitives::{Hash, Hasher};

/// The peaks of a Merkle mountain range (Todd, 2012): one perfect tree for each set bit of the leaf count, largest
/// first. Appending costs one hash on average; the root commits to the count and all peaks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mmr {
    count: u64,
    peaks: Vec<Hash>,
}

impl Mmr {
    /// Appends a header's hash.
    pub fn push(&mut self, header: &Hash) {
        let mut node = Hasher::tagged(&[0]).add(&header.0).finish();
        for _ in 0..self.count.trailing_ones() {
            let left = self.peaks.pop().expect("a set bit of the count has its peak");
            node = Hasher::tagged(&[1]).add(&left.0).add(&node.0).finish();
        }
        self.peaks.push(node);
        self.count += 1;
    }

    /// The range with one more header.
    #[must_use]
    pub fn with(&self, header: &Hash) -> Self {
        let mut next = self.clone();
        next.push(header);
        next
    }

    /// The number of headers.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The commitment to count and peaks.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut hasher = Hasher::tagged(&[2]);
        hasher.add(&self.count.to_le_bytes());
        for peak in &self.peaks {
            hasher.add(&peak.0);
        }
        hasher.finish()
    }

    /// The peaks, largest tree first: with the count, all there is to store.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The range with this count and these peaks, or `None` when they do not fit each other.
    #[must_use]
    pub fn from_peaks(count: u64, peaks: Vec<Hash>) -> Option<Self> {
        (count.count_ones() as usize == peaks.len()).then_some(Self { count, peaks })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn peaks_are_the_perfect_trees_of_the_count() {
        let leaf = |byte: u8| Hasher::tagged(&[0]).add(&[byte; 32]).finish();
        let node = |l: Hash, r: Hash| Hasher::tagged(&[1]).add(&l.0).add(&r.0).finish();
        let mut mmr = Mmr::default();
        for byte in 0..7 {
            mmr.push(&Hash([byte; 32]));
        }
        let four = node(node(leaf(0), leaf(1)), node(leaf(2), leaf(3)));
        assert_eq!(mmr.peaks(), [four, node(leaf(4), leaf(5)), leaf(6)]);
        assert_eq!(Mmr::from_peaks(7, mmr.peaks().to_vec()), Some(mmr.clone()));
        assert_eq!(Mmr::from_peaks(8, mmr.peaks().to_vec()), None);
    }
}
