//! A Merkle mountain range over headers: one small, append-only commitment to all of history.

mod proof;

#[cfg(test)]
mod tests;

use std::io::{Read, Result, Write};

use borsh::{BorshDeserialize, BorshSerialize};
pub use proof::{MmrProof, MmrProveError, MmrProver};

use crate::primitives::Hash;

/// The peaks of a Merkle mountain range (Todd, 2012): one perfect tree for each set bit of the leaf count, largest
/// first. Appending costs one hash on average; the root commits to the count and all peaks.
///
/// It encodes as the count and the peaks, whose number the count tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mmr {
    count: u64,
    peaks: Vec<Hash>,
}

impl Mmr {
    /// Appends a header's hash.
    pub fn push(&mut self, header: &Hash) {
        let mut hash = leaf(header);
        for _ in 0..self.count.trailing_ones() {
            let left = self.peaks.pop().expect("a set bit of the count has its peak");
            hash = node(&left, &hash);
        }
        self.peaks.push(hash);
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
        root(self.count, &self.peaks)
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

impl BorshSerialize for Mmr {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        self.count.serialize(writer)?;
        self.peaks.iter().try_for_each(|peak| peak.serialize(writer))
    }
}

impl BorshDeserialize for Mmr {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let count = u64::deserialize_reader(reader)?;
        let peaks =
            (0..count.count_ones()).map(|_| Hash::deserialize_reader(reader)).collect::<Result<_>>()?;
        Ok(Self { count, peaks })
    }
}

/// The hash of a leaf, which holds a header's hash.
fn leaf(header: &Hash) -> Hash {
    let mut bytes = [0; 33];
    bytes[1..].copy_from_slice(&header.0);
    Hash::of(&bytes)
}

/// The hash of two trees of one height, side by side.
fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash::of(&bytes)
}

/// The commitment to a count and its peaks.
fn root<'a>(count: u64, peaks: impl IntoIterator<Item = &'a Hash>) -> Hash {
    let mut bytes = Vec::with_capacity(9 + 32 * count.count_ones() as usize);
    bytes.push(2);
    bytes.extend_from_slice(&count.to_le_bytes());
    peaks.into_iter().for_each(|peak| bytes.extend_from_slice(&peak.0));
    Hash::of(&bytes)
}
