//! The canonical encoding: borsh, with the size checked before anything is read.
//!
//! Borsh has exactly one encoding of a value and refuses trailing bytes. Every variable length in our types is a borsh
//! `u32` count, and borsh reserves at most 4 KiB (for bytes and texts 1 MiB) ahead of what it has really read, so a decoder
//! needs memory in proportion to the bytes it was given, never to what they claim. An element that takes much more memory than
//! bytes is another matter: a list of such ones has a bound of its own.

use std::io::{Error, ErrorKind, Read};

use borsh::{BorshDeserialize, BorshSerialize};

/// Why bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than the bound of this type allows; nothing was read.
    #[error("{got} bytes, of which at most {max} are allowed")]
    TooLong {
        /// The length offered.
        got: usize,
        /// The most this decoder takes.
        max: usize,
    },
    /// The bytes do not encode a value of this type, or bytes are left over.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// Why encoding cannot fail.
const BOUNDED: &str = "writing to memory fails only for collections past u32::MAX, and ours are bounded";

/// The value's canonical bytes.
#[must_use]
pub fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    borsh::to_vec(value).expect(BOUNDED)
}

/// Appends the value's canonical bytes.
pub(super) fn encode_into<T: BorshSerialize>(value: &T, bytes: &mut Vec<u8>) {
    borsh::to_writer(bytes, value).expect(BOUNDED);
}

/// Reads exactly one value of at most `max` bytes.
///
/// # Errors
/// When there are more bytes than `max`, or when they are not one canonical value.
pub fn decode<T: BorshDeserialize>(bytes: &[u8], max: usize) -> Result<T, DecodeError> {
    if bytes.len() > max {
        return Err(DecodeError::TooLong { got: bytes.len(), max });
    }
    borsh::from_slice(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))
}

/// Reads a list and refuses one that claims more than `MAX` items before it reads any; for borsh's `deserialize_with`.
pub(crate) fn at_most<const MAX: usize, T: BorshDeserialize, R: Read>(
    reader: &mut R,
) -> std::io::Result<Vec<T>> {
    let count = u32::deserialize_reader(reader)? as usize;
    if count > MAX {
        return Err(Error::new(
            ErrorKind::InvalidData,
            format!("{count} items, of which at most {MAX} are allowed"),
        ));
    }
    (0..count).map(|_| T::deserialize_reader(reader)).collect()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn a_false_length_and_left_over_bytes_are_refused() {
        assert_eq!(decode::<Vec<u8>>(&encode(&vec![1_u8, 2]), 6), Ok(vec![1, 2]));
        assert!(matches!(decode::<Vec<u8>>(&[255, 255, 255, 255, 1], 100), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<u8>(&[1, 2], 100), Err(DecodeError::Malformed(_))));
        assert_eq!(decode::<u8>(&[1, 2], 1), Err(DecodeError::TooLong { got: 2, max: 1 }));
    }

    #[test]
    fn a_list_past_its_bound_is_refused_unread() {
        #[derive(Debug, PartialEq, BorshDeserialize)]
        struct Few(#[borsh(deserialize_with = "at_most::<2, _, _>")] Vec<u8>);

        assert_eq!(decode(&[2, 0, 0, 0, 5, 6], 6), Ok(Few(vec![5, 6])));
        for bytes in [[3, 0, 0, 0, 5, 6, 7].as_slice(), &[255; 4]] {
            let refused = decode::<Few>(bytes, 7).unwrap_err().to_string();
            assert!(refused.contains("at most 2"), "{refused}");
        }
    }
}
