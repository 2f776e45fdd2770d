//! The list commitment of transactions, system items and diffs.

use super::{Hash, Hasher};

/// The Merkle tree hash of RFC 6962, section 2.1, with BLAKE3: a leaf is hashed behind a zero byte, an inner node behind
/// a one, and an unpaired node rises unchanged. The root of no leaves is the hash of nothing.
#[must_use]
pub fn merkle_root<I: AsRef<[u8]>>(leaves: impl IntoIterator<Item = I>) -> Hash {
    let mut level: Vec<Hash> =
        leaves.into_iter().map(|leaf| Hasher::tagged(&[0]).add(leaf.as_ref()).finish()).collect();
    if level.is_empty() {
        return Hash::of(&[]);
    }
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => {
                    let mut bytes = [1; 65];
                    bytes[1..33].copy_from_slice(&left.0);
                    bytes[33..].copy_from_slice(&right.0);
                    Hash::of(&bytes)
                }
                rest => rest[0],
            })
            .collect();
    }
    level[0]
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

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
}
