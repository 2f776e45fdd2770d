//! What two peers say to each other on `/weft/content/1`.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{CHUNK_BYTES, MAX_MANIFEST_BYTES};
use crate::primitives::{DecodeError, Hash, decode, encode};

/// The most bytes of a request.
pub const MAX_CONTENT_REQUEST_BYTES: usize = 1 + 32 + 4;
/// The most bytes of a response: a chunk.
pub const MAX_CONTENT_RESPONSE_BYTES: usize = 1 + 4 + CHUNK_BYTES;

/// A request. The first byte says which; the protocol's name says the version.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ContentRequest {
    /// What does the file with this name consist of?
    Manifest(Hash),
    /// A piece of a file.
    Chunk {
        /// The hash of its manifest.
        content: Hash,
        /// Which chunk, from 0.
        index: u32,
    },
}

/// A response. The first byte says which, in this order from 0.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ContentResponse {
    /// An encoded [`Manifest`](super::Manifest).
    Manifest(Vec<u8>),
    /// The chunk's bytes.
    Chunk(Vec<u8>),
    /// That is not here, or no longer.
    Absent,
    /// It may be here, and the peer has been asked for too much: ask later.
    Busy,
}

impl ContentRequest {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When the bytes are no request of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, MAX_CONTENT_REQUEST_BYTES)
    }
}

impl ContentResponse {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a response.
    ///
    /// # Errors
    /// When the bytes are no response of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let response = decode(bytes, MAX_CONTENT_RESPONSE_BYTES)?;
        match &response {
            Self::Manifest(manifest) if manifest.len() > MAX_MANIFEST_BYTES => {
                Err(DecodeError::TooLong { got: manifest.len(), max: MAX_MANIFEST_BYTES })
            }
            _ => Ok(response),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_bytes_are_golden() {
        let content = Hash([0xab; 32]);
        let ab = "ab".repeat(32);
        for (request, bytes) in [
            (ContentRequest::Manifest(content), format!("00{ab}")),
            (ContentRequest::Chunk { content, index: 258 }, format!("01{ab}02010000")),
        ] {
            assert_eq!(hex::encode(request.to_bytes()), bytes);
            assert_eq!(ContentRequest::from_bytes(&request.to_bytes()), Ok(request));
        }
        for (response, bytes) in [
            (ContentResponse::Manifest(vec![1, 2]), "00020000000102"),
            (ContentResponse::Chunk(vec![3]), "010100000003"),
            (ContentResponse::Absent, "02"),
            (ContentResponse::Busy, "03"),
        ] {
            assert_eq!(hex::encode(response.to_bytes()), bytes);
            assert_eq!(ContentResponse::from_bytes(&response.to_bytes()), Ok(response));
        }
    }

    #[test]
    fn what_is_too_long_or_something_else_is_refused() {
        let long = |bytes| ContentResponse::Manifest(vec![0; bytes]).to_bytes();
        assert!(ContentResponse::from_bytes(&long(MAX_MANIFEST_BYTES)).is_ok());
        assert!(ContentResponse::from_bytes(&long(MAX_MANIFEST_BYTES + 1)).is_err());
        let chunk = |bytes| ContentResponse::Chunk(vec![0; bytes]).to_bytes();
        assert_eq!(chunk(CHUNK_BYTES).len(), MAX_CONTENT_RESPONSE_BYTES);
        assert!(ContentResponse::from_bytes(&chunk(CHUNK_BYTES)).is_ok());
        assert!(ContentResponse::from_bytes(&chunk(CHUNK_BYTES + 1)).is_err());
        assert!(ContentResponse::from_bytes(&[4]).is_err());
        assert!(
            ContentRequest::from_bytes(&[0; 34]).is_err() && ContentRequest::from_bytes(&[2; 33]).is_err()
        );
    }
}
