//! Peer exchange, `/weft/peers/1`: peers pass on what others say of themselves, signed by those they are about.
//!
//! A peer that asks brings its own record, so that one that cannot be seen from outside by its connection is known too. How often
//! one is asked and may ask is bounded, so that nobody can learn the whole network, or fill the address book, at will.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Allowance, PeerRecord};
use crate::primitives::{Hash, SignatureBatch, at_most, verify_each};

/// The most records in an answer: few enough to verify at once.
pub const MAX_RECORDS: usize = 32;

/// How often one peer may ask: eight times at first, then twice a minute.
pub const EXCHANGE_ALLOWANCE: Allowance = Allowance { per_second: 1, burst: 8 * EXCHANGE_COST };

/// What one question takes of [`EXCHANGE_ALLOWANCE`].
pub const EXCHANGE_COST: u64 = 30;

/// A question for peers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PeersRequest {
    /// The genesis hash of the chain they should follow; zero for none.
    pub chain: Hash,
    /// What the asker says of itself, if it can be dialled.
    pub own: Option<PeerRecord>,
}

/// The peers told of, the one that answers among them if it can be dialled. None for a question that came too soon or is about
/// another chain.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PeersResponse(#[borsh(deserialize_with = "at_most::<MAX_RECORDS, _, _>")] pub Vec<PeerRecord>);

/// Whether each of these records is signed by whom it is about.
#[must_use]
pub fn verify_records(records: &[PeerRecord], chain: &Hash) -> Vec<bool> {
    verify_each(records.len(), |index, batch: &mut SignatureBatch| records[index].add_to_batch(chain, batch))
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::primitives::{SecretKey, Wall, decode, encode};

    const CHAIN: Hash = Hash([3; 32]);

    fn record(seed: u8) -> PeerRecord {
        PeerRecord::sign(&SecretKey::from_seed([seed; 32]), &CHAIN, Wall(7), &[])
    }

    #[test]
    fn golden_bytes() {
        let request = PeersRequest { chain: CHAIN, own: None };
        assert_eq!(hex::encode(encode(&request)), format!("{}00", "03".repeat(32)));
        let response = PeersResponse(vec![record(1)]);
        assert_eq!(encode(&response), [&[1, 0, 0, 0], encode(&record(1)).as_slice()].concat());
    }

    #[test]
    fn more_than_the_most_records_are_refused() {
        let most = encode(&PeersResponse(vec![record(1); MAX_RECORDS]));
        assert!(decode::<PeersResponse>(&most, 1 << 16).is_ok());
        let more = encode(&PeersResponse(vec![record(1); MAX_RECORDS + 1]));
        assert!(decode::<PeersResponse>(&more, 1 << 16).is_err());
    }

    #[test]
    fn each_record_is_judged_by_itself() {
        let other = PeerRecord::sign(&SecretKey::from_seed([2; 32]), &Hash([4; 32]), Wall(7), &[]);
        assert_eq!(verify_records(&[record(1), other, record(3)], &CHAIN), [true, false, true]);
    }
}
