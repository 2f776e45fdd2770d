//! A set of chunks of one file.

use crate::content::MAX_CHUNKS;

const WORDS: usize = MAX_CHUNKS / 64;

/// A bit for each chunk that a file may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::content) struct Chunks([u64; WORDS]);

impl Chunks {
    /// All chunks of a file of so many.
    pub(in crate::content) fn first(count: usize) -> Self {
        let mut all = Self::default();
        for index in 0..count as u32 {
            all.insert(index);
        }
        all
    }

    pub(in crate::content) fn has(&self, index: u32) -> bool {
        self.0.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Adds a chunk. Returns whether that is new; one that no file has is not.
    pub(in crate::content) fn insert(&mut self, index: u32) -> bool {
        let new = !self.has(index);
        match self.0.get_mut(index as usize / 64) {
            Some(word) => *word |= 1 << (index % 64),
            None => return false,
        }
        new
    }

    pub(in crate::content) fn remove(&mut self, index: u32) {
        if let Some(word) = self.0.get_mut(index as usize / 64) {
            *word &= !(1 << (index % 64));
        }
    }

    pub(in crate::content) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// The set with these bytes, as far as a file of so many chunks has them.
    pub(super) fn from_bytes(bytes: &[u8], count: usize) -> Self {
        let mut set = Self::default();
        for (word, bytes) in set.0.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        let all = Self::first(count);
        set.0.iter_mut().zip(all.0).for_each(|(word, all)| *word &= all);
        set
    }
}
