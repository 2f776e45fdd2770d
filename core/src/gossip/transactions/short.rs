//! Short ids: what two peers call a transaction between themselves.
//!
//! SipHash-2-4 (Aumasson and Bernstein, 2012) of the id, keyed with the salts that both said in their `Hello`, the lesser
//! first. Nobody can aim two transactions at one short id for a pair of peers without having talked to one of them, and
//! then only for that pair. The price: the same transaction has another name with every peer, so that two announcements
//! cannot be told to be the same before it is here.

use siphasher::sip::SipHasher24;

use super::ShortId;
use crate::primitives::Hash;

/// The key of one pair of peers.
#[derive(Clone, Debug)]
pub(super) struct PairKey(SipHasher24);

impl PairKey {
    /// The same for both sides.
    pub(super) fn new(ours: u64, theirs: u64) -> Self {
        Self(SipHasher24::new_with_keys(ours.min(theirs), ours.max(theirs)))
    }

    pub(super) fn short(&self, id: &Hash) -> ShortId {
        ShortId(self.0.hash(&id.0).to_le_bytes())
    }

    /// What a sketch knows a short id by: where it goes, and its checksum. Eight bytes are hashed here and 32 above, so
    /// that the two never are the same.
    pub(super) fn trace(&self, short: &ShortId) -> u64 {
        self.0.hash(&short.0)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn golden_short_id_that_both_sides_agree_on() {
        let (ours, theirs) = (PairKey::new(1, 2), PairKey::new(2, 1));
        let id = Hash([7; 32]);
        assert_eq!(ours.short(&id), theirs.short(&id));
        assert_ne!(ours.short(&id), PairKey::new(1, 3).short(&id));
        assert_eq!(hex::encode(ours.short(&id).0), "65777b6d75ed80f3");
        assert_ne!(ours.trace(&ours.short(&id)), ours.trace(&ShortId([7; 8])));
    }
}
