//! Proofs that a header is in a range, and what it takes to make them.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{leaf, node};
use crate::primitives::{Hash, at_most};

/// A proof that a header is at some place in a range of some count, under the range's root.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct MmrProof {
    /// The hashes beside the path from the header up to the peak of its tree.
    #[borsh(deserialize_with = "at_most::<64, _, _>")]
    siblings: Vec<Hash>,
    /// The other peaks, largest tree first.
    #[borsh(deserialize_with = "at_most::<64, _, _>")]
    peaks: Vec<Hash>,
}

impl MmrProof {
    /// The most bytes an encoded proof has.
    pub const MAX_LEN: usize = 2 * (4 + 64 * 32);

    /// Whether this proves that `header` is the one at `index` (the genesis is at 0) in the range of `count` headers with
    /// this root.
    ///
    /// Index and count say how many hashes there must be and how each is joined to the next. The root commits to the
    /// count, and leaves, nodes and roots are hashed behind different bytes, so a proof for another place has another root.
    #[must_use]
    pub fn verify(&self, root: &Hash, count: u64, index: u64, header: &Hash) -> bool {
        let Some(tree) = trees(count).find(|tree| tree.holds(index)) else { return false };
        if self.siblings.len() != tree.height as usize || self.peaks.len() + 1 != count.count_ones() as usize
        {
            return false;
        }
        let mut hash = leaf(header);
        for (height, sibling) in self.siblings.iter().enumerate() {
            hash = if index >> height & 1 == 1 { node(sibling, &hash) } else { node(&hash, sibling) };
        }
        // Larger trees are those of the count's higher bits.
        let larger = (count >> tree.height >> 1).count_ones() as usize;
        let peaks = self.peaks[..larger].iter().chain([&hash]).chain(&self.peaks[larger..]);
        super::root(count, peaks) == *root
    }
}

/// Why a proof cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MmrProveError {
    /// A range of this count has no header at this index.
    #[error("there is no header {index} among {count}")]
    OutOfRange {
        /// The place asked for.
        index: u64,
        /// The headers in the range.
        count: u64,
    },
    /// The hash of the header at this index is needed, and was not given.
    #[error("header {0} is needed, and is not at hand")]
    Missing(u64),
}

/// Makes proofs for the ranges of one chain, of this moment and of any earlier one.
///
/// It keeps the hashes of the perfect trees of 32 headers and more, which is about 2 bytes a header, and asks for the
/// hashes of single headers where it needs them.
#[derive(Clone, Debug, Default)]
pub struct MmrProver {
    /// The trees of height [`KEPT`], and of each height above; from left to right.
    pub(super) levels: Vec<Vec<Hash>>,
}

/// The height of the smallest trees whose hashes are kept.
const KEPT: u32 = 5;

impl MmrProver {
    /// The number of headers whose trees are kept: a multiple of 32.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.levels.first().map_or(0, |level| level.len() as u64) << KEPT
    }

    /// A prover that keeps what another kept, given that one's [`trees`](Self::trees).
    #[must_use]
    pub fn restore(trees: impl IntoIterator<Item = Hash>) -> Self {
        let mut prover = Self::default();
        trees.into_iter().for_each(|tree| prover.keep(tree));
        prover
    }

    /// The hashes of the kept trees of 32 headers, from left to right: all there is to store.
    #[must_use]
    pub fn trees(&self) -> &[Hash] {
        self.levels.first().map_or(&[], Vec::as_slice)
    }

    /// Keeps the trees of the first `count` headers, as far as they fill whole trees of 32.
    ///
    /// `header` gives the hash of the header at an index, and is asked for each once, in order, from
    /// [`count`](Self::count) on. What is kept is never looked at again, so these must be finalised headers.
    ///
    /// # Errors
    /// [`MmrProveError::Missing`] when `header` lacks one; what came before it is kept.
    pub fn grow(
        &mut self,
        count: u64,
        mut header: impl FnMut(u64) -> Option<Hash>,
    ) -> Result<(), MmrProveError> {
        for position in self.count() >> KEPT..count >> KEPT {
            let hash = self.hash(Tree { height: KEPT, position }, &mut header)?;
            self.keep(hash);
        }
        Ok(())
    }

    /// Keeps the next tree of 32 headers, and the larger ones it completes.
    fn keep(&mut self, mut hash: Hash) {
        for height in 0.. {
            if self.levels.len() == height {
                self.levels.push(Vec::new());
            }
            let level = &mut self.levels[height];
            let left = level.last().copied();
            level.push(hash);
            match left {
                Some(left) if level.len().is_multiple_of(2) => hash = node(&left, &hash),
                _ => break,
            }
        }
    }

    /// Proves that the header at `index` is in the range of the first `count` headers.
    ///
    /// `header` gives the hash of the header at an index. It is asked for at most 63 below [`count`](Self::count), and
    /// for all from there up to `count`.
    ///
    /// # Errors
    /// When there is no such place, or `header` lacks one that is needed.
    pub fn prove(
        &self,
        index: u64,
        count: u64,
        mut header: impl FnMut(u64) -> Option<Hash>,
    ) -> Result<MmrProof, MmrProveError> {
        if index >= count {
            return Err(MmrProveError::OutOfRange { index, count });
        }
        let mut proof = MmrProof { siblings: Vec::new(), peaks: Vec::new() };
        for tree in trees(count) {
            if !tree.holds(index) {
                proof.peaks.push(self.hash(tree, &mut header)?);
                continue;
            }
            for height in 0..tree.height {
                let beside = Tree { height, position: (index >> height) ^ 1 };
                proof.siblings.push(self.hash(beside, &mut header)?);
            }
        }
        Ok(proof)
    }

    /// The hash of a tree: kept, or made of the headers under it.
    fn hash(&self, tree: Tree, header: &mut impl FnMut(u64) -> Option<Hash>) -> Result<Hash, MmrProveError> {
        let Tree { height, position } = tree;
        let level = height.checked_sub(KEPT).and_then(|level| self.levels.get(level as usize));
        if let Some(hash) = level.and_then(|level| level.get(usize::try_from(position).ok()?)) {
            return Ok(*hash);
        }
        let Some(height) = height.checked_sub(1) else {
            return header(position).map(|hash| leaf(&hash)).ok_or(MmrProveError::Missing(position));
        };
        let left = self.hash(Tree { height, position: 2 * position }, header)?;
        let right = self.hash(Tree { height, position: 2 * position + 1 }, header)?;
        Ok(node(&left, &right))
    }
}

/// A perfect tree over `2^height` headers: the one at `position` among those of its height.
#[derive(Clone, Copy)]
struct Tree {
    height: u32,
    position: u64,
}

impl Tree {
    fn holds(&self, index: u64) -> bool {
        index >> self.height == self.position
    }
}

/// The trees of a range, largest first.
fn trees(count: u64) -> impl Iterator<Item = Tree> {
    let bits = (0..64).rev().filter(move |height| count >> height & 1 == 1);
    bits.map(move |height| Tree { height, position: (count >> height) - 1 })
}
