//! The messages of `/weft/<chain>/sync/1` and `/weft/<chain>/archive/1`.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    chain::{Checkpoint, Header},
    primitives::{Hash, Height},
};

/// The most headers in one response: 345 bytes each.
pub const MAX_HEADERS: usize = 1024;
/// The most entries of a locator: enough for 2^30 blocks at doubling distances.
pub const MAX_LOCATOR: usize = 40;
/// The most bodies in one request.
pub const MAX_BODIES: usize = 16;
/// A server stops adding bodies once a response has so many bytes; one more body may take it past that.
pub const SOFT_RESPONSE_BYTES: usize = 2 << 20;

/// Where a peer is on the chain.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SyncStatus {
    /// The whole genesis hash, of which the protocol's name carries only a part.
    pub genesis: Hash,
    /// The best executed block.
    pub head: Hash,
    /// Its height.
    pub height: Height,
    /// The finalised checkpoint.
    pub finalised: Checkpoint,
}

/// A question about status or headers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SyncRequest {
    /// I am here; where are you? Answered with [`SyncResponse::Status`].
    Status(SyncStatus),
    /// The headers of your best chain after the highest of these blocks that is on it, or after the genesis block.
    /// Answered with [`SyncResponse::Headers`].
    Headers {
        /// Blocks of the asker's best chain, highest first, at growing distances; at most [`MAX_LOCATOR`].
        locator: Vec<(Height, Hash)>,
        /// The most headers wanted; at most [`MAX_HEADERS`].
        max: u32,
    },
}

/// An answer to a [`SyncRequest`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SyncResponse {
    /// Where the answering peer is.
    Status(SyncStatus),
    /// Headers in order, each the parent of the next; empty when there are none past the locator.
    Headers(Vec<Header>),
    /// The peer cannot answer now, because it is starting or its disk failed; it may be asked again later.
    Busy,
}

/// A question for bodies: at most [`MAX_BODIES`] of them.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BodiesRequest(pub Vec<(Height, Hash)>);

/// The encoded bodies in the order asked for; `None` for one the peer does not have; shorter than the question when the
/// response would grow too large.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BodiesResponse(pub Vec<Option<Vec<u8>>>);

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::primitives::{decode, encode};

    #[test]
    fn golden_bytes() {
        let status = SyncStatus {
            genesis: Hash([1; 32]),
            head: Hash([2; 32]),
            height: Height(3),
            finalised: Checkpoint { height: Height(4), hash: Hash([5; 32]) },
        };
        let status_bytes = format!(
            "{}{}0300000000000000{}{}",
            "01".repeat(32),
            "02".repeat(32),
            "0400000000000000",
            "05".repeat(32)
        );
        assert_eq!(hex::encode(encode(&SyncRequest::Status(status.clone()))), format!("00{status_bytes}"));
        assert_eq!(hex::encode(encode(&SyncResponse::Status(status))), format!("00{status_bytes}"));
        let headers = SyncRequest::Headers { locator: vec![(Height(1), Hash([7; 32]))], max: 9 };
        assert_eq!(
            hex::encode(encode(&headers)),
            format!("01010000000100000000000000{}09000000", "07".repeat(32))
        );
        assert_eq!(encode(&SyncResponse::Headers(Vec::new())), [1, 0, 0, 0, 0]);
        assert_eq!(encode(&SyncResponse::Busy), [2]);
        let bodies = BodiesRequest(vec![(Height(1), Hash([7; 32]))]);
        assert_eq!(hex::encode(encode(&bodies)), format!("010000000100000000000000{}", "07".repeat(32)));
        assert_eq!(encode(&BodiesResponse(vec![None, Some(vec![8])])), [2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 8]);
    }

    #[test]
    fn unknown_kinds_and_truncated_messages_are_refused() {
        let whole = encode(&SyncRequest::Headers { locator: vec![(Height(1), Hash::ZERO)], max: 9 });
        assert!(decode::<SyncRequest>(&whole, 1000).is_ok());
        for cut in 0..whole.len() {
            assert!(decode::<SyncRequest>(&whole[..cut], 1000).is_err());
        }
        assert!(decode::<SyncRequest>(&[9], 1000).is_err());
    }
}
