//! The list commitment of transactions, system items and diffs.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Hash, Hasher, at_most};

/// The Merkle tree hash of RFC 6962, section 2.1, with BLAKE3: a leaf is hashed behind a zero byte, an inner node behind
/// a one, and an unpaired node rises unchanged. The root of no leaves is the hash of nothing.
#[must_use]
pub fn merkle_root<I: AsRef<[u8]>>(leaves: impl IntoIterator<Item = I>) -> Hash {
    let mut level: Vec<Hash> = leaves.into_iter().map(|item| leaf(item.as_ref())).collect();
    if level.is_empty() {
        return Hash::of(&[]);
    }
    while level.len() > 1 {
        level = above(&level);
    }
    level[0]
}

fn leaf(bytes: &[u8]) -> Hash {
    Hasher::tagged(&[0]).add(bytes).finish()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.0);
    bytes[33..].copy_from_slice(&right.0);
    Hash::of(&bytes)
}

/// The hashes one level up.
fn above(level: &[Hash]) -> Vec<Hash> {
    let pairs = level.chunks(2);
    pairs.map(|pair| if let [left, right] = pair { node(left, right) } else { pair[0] }).collect()
}

/// A proof that something is in a list, under the list's root: RFC 6962, section 2.1.1.
///
/// The root does not commit to the list's length, so place and length are told, not proven.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InclusionProof {
    index: u32,
    count: u32,
    /// The hashes beside the path from the leaf up.
    #[borsh(deserialize_with = "at_most::<32, _, _>")]
    siblings: Vec<Hash>,
}

impl InclusionProof {
    /// The most bytes an encoded proof has.
    pub const MAX_LEN: usize = 4 + 4 + 4 + 32 * 32;

    /// Proves that what is at `index` among these leaves is there; `None` when there is nothing.
    #[must_use]
    pub fn make<I: AsRef<[u8]>>(leaves: impl IntoIterator<Item = I>, index: usize) -> Option<Self> {
        let mut level: Vec<Hash> = leaves.into_iter().map(|item| leaf(item.as_ref())).collect();
        let (place, count) = (u32::try_from(index).ok()?, u32::try_from(level.len()).ok()?);
        if place >= count {
            return None;
        }
        let (mut at, mut siblings) = (index, Vec::new());
        while level.len() > 1 {
            siblings.extend(level.get(at ^ 1));
            level = above(&level);
            at /= 2;
        }
        Some(Self { index: place, count, siblings })
    }

    /// Whether this proves that a list with this root holds `item`.
    #[must_use]
    pub fn verify(&self, root: &Hash, item: &[u8]) -> bool {
        let (mut at, mut last) = (self.index, self.count.wrapping_sub(1));
        if self.index >= self.count {
            return false;
        }
        let mut hash = leaf(item);
        let mut siblings = self.siblings.iter();
        while last > 0 {
            // The last of an odd number rises as it is.
            if at < last || at % 2 == 1 {
                let Some(sibling) = siblings.next() else { return false };
                hash = if at % 2 == 1 { node(sibling, &hash) } else { node(&hash, sibling) };
            }
            (at, last) = (at / 2, last / 2);
        }
        siblings.next().is_none() && hash == *root
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::primitives::{decode, encode};

    #[test]
    fn shape_is_that_of_rfc_6962() {
        let leaf = |byte: u8| Hasher::tagged(&[0]).add(&[byte]).finish();
        let node = |l: Hash, r: Hash| Hasher::tagged(&[1]).add(&l.0).add(&r.0).finish();
        assert_eq!(merkle_root::<&[u8]>([]), Hash::of(&[]));
        assert_eq!(merkle_root([[1]]), leaf(1));
        assert_eq!(merkle_root([[1], [2], [3]]), node(node(leaf(1), leaf(2)), leaf(3)));
        let five = node(node(node(leaf(1), leaf(2)), node(leaf(3), leaf(4))), leaf(5));
        assert_eq!(merkle_root([[1], [2], [3], [4], [5]]), five);
    }

    fn list(count: u32) -> Vec<[u8; 4]> {
        (0..count).map(u32::to_le_bytes).collect()
    }

    #[test]
    fn every_item_of_every_list_is_proven_and_no_other() {
        for count in 0..=40 {
            let (items, root) = (list(count), merkle_root(list(count)));
            for index in 0..count {
                let proof = InclusionProof::make(&items, index as usize).unwrap();
                for (other, item) in list(41).iter().enumerate() {
                    assert_eq!(proof.verify(&root, item), other == index as usize, "{other} of {count}");
                }
                assert!(!proof.verify(&merkle_root(list(count + 1)), &items[index as usize]));
            }
            assert_eq!(InclusionProof::make(&items, count as usize), None);
        }
    }

    #[test]
    fn any_bit_flipped_in_a_proof_is_noticed_and_no_claim_makes_it_large() {
        for (index, count) in [(0, 1), (2, 3), (4, 5), (5, 16), (22, 23)] {
            let (items, root) = (list(count), merkle_root(list(count)));
            let bytes = encode(&InclusionProof::make(&items, index).unwrap());
            for bit in 8 * 8..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let Ok(proof) = decode::<InclusionProof>(&flipped, InclusionProof::MAX_LEN) else { continue };
                assert!(!proof.verify(&root, &items[index]), "bit {bit} of {index} of {count}");
            }
        }
        for (index, count) in [(u32::MAX, u32::MAX), (0, 0), (1, 0), (5, 5), (0, u32::MAX)] {
            let proof = InclusionProof { index, count, siblings: Vec::new() };
            assert!(!proof.verify(&merkle_root([[1]]), &[1]));
        }
        let long = [&[0; 8][..], &33_u32.to_le_bytes(), &[0; 33 * 32]].concat();
        assert!(decode::<InclusionProof>(&long, usize::MAX).is_err());
    }

    #[test]
    fn golden_bytes() {
        let proof = InclusionProof { index: 1, count: 3, siblings: vec![Hash([7; 32])] };
        let bytes = format!("010000000300000001000000{}", "07".repeat(32));
        assert_eq!(hex::encode(encode(&proof)), bytes);
    }
}
