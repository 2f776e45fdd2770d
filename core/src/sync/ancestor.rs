//! Proof of which block is on a final chain at some height.
//!
//! A [`Fragment`](super::Fragment) proves that a checkpoint is final, and not that it builds on one that was final before. Whoever has
//! acted on the earlier one asks for this as well before they go on: if the later one has another block in its place, more
//! than a third of the authorities have broken their word.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    chain::{Header, MmrProof},
    primitives::{Hash, Height},
};

/// The block at one height of the chain that leads to a checkpoint, by the checkpoint's root over all earlier headers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ancestor {
    /// The hash of the block's header.
    pub hash: Hash,
    /// The place of that header among those before the checkpoint.
    pub proof: MmrProof,
}

impl Ancestor {
    /// The most bytes an encoded one has.
    pub const MAX_LEN: usize = 32 + MmrProof::MAX_LEN;

    /// Whether this proves which block is at a height of the chain that leads to a checkpoint.
    #[must_use]
    pub fn verify(&self, checkpoint: &Header, height: Height) -> bool {
        let (root, count) = (&checkpoint.content.mmr_root, checkpoint.height().0);
        self.proof.verify(root, count, height.0, &self.hash)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::{Mmr, MmrProver, UnsignedHeader},
        primitives::{PublicKey, Signature, Slot, decode, encode},
    };

    fn block(height: u64) -> Hash {
        Hash::of(&height.to_le_bytes())
    }

    /// A checkpoint on a chain of such blocks.
    fn checkpoint() -> Header {
        let mut mmr = Mmr::default();
        (0..48).for_each(|height| mmr.push(&block(height)));
        let mut roots = [Hash::ZERO; 6];
        roots[5] = mmr.root();
        let content = UnsignedHeader::new(Height(48), Slot(48), block(47), roots, 0, PublicKey([0; 32]));
        Header { content, signature: Signature([0; 64]) }
    }

    fn ancestor(height: u64) -> Ancestor {
        let proof = MmrProver::default().prove(height, 48, |height| Some(block(height))).unwrap();
        Ancestor { hash: block(height), proof }
    }

    #[test]
    fn only_the_block_at_that_height_is_proven() {
        let checkpoint = checkpoint();
        for height in 0..48 {
            let ancestor = ancestor(height);
            assert!(ancestor.verify(&checkpoint, Height(height)));
            assert!(!ancestor.verify(&checkpoint, Height((height + 1) % 48)));
            assert!(encode(&ancestor).len() <= Ancestor::MAX_LEN);
        }
        assert!(
            !ancestor(3).verify(&checkpoint, Height(48))
                && !ancestor(3).verify(&checkpoint, Height(u64::MAX))
        );
        let other = Ancestor { hash: block(4), ..ancestor(3) };
        assert!(!other.verify(&checkpoint, Height(3)));
    }

    #[test]
    fn every_bit_counts() {
        let (checkpoint, bytes) = (checkpoint(), encode(&ancestor(32)));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(flipped) = decode::<Ancestor>(&flipped, bytes.len()) else { continue };
            assert!(!flipped.verify(&checkpoint, Height(32)), "bit {bit} does not matter");
        }
    }
}
