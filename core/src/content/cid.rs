//! The name of a file, as people pass it on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::primitives::Hash;

/// A content identifier of version 1 (multiformats CID specification): the bytes behind it are raw (0x55), and their hash is BLAKE3
/// (0x1e) of 32 bytes. The bytes are those of an encoded [`Manifest`](super::Manifest).
///
/// Its text is `b` for base32 and 58 digits of it, in lower case and without padding (RFC 4648). There is no other: it begins with
/// `bafkr4i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid(pub Hash);

/// Version, kind of content, kind of hash, length of the hash. All are one byte as varints.
const HEAD: [u8; 4] = [0x01, 0x55, 0x1e, 0x20];
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// `b`, and five bits a digit.
const LEN: usize = 1 + ((HEAD.len() + 32) * 8).div_ceil(5);

/// Why a text is not the name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCidError {
    /// It is no text of this length and these digits.
    #[error("a content identifier has {LEN} characters, begins with `b` and goes on in a to z and 2 to 7")]
    Text,
    /// It is one of another kind.
    #[error(
        "a content identifier of another kind: a file here is named by version 1, raw bytes, BLAKE3 of 32 bytes"
    )]
    Kind,
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(LEN);
        text.push('b');
        let (mut waiting, mut bits) = (0_u16, 0);
        for byte in HEAD.iter().chain(&self.0.0) {
            waiting = waiting << 8 | u16::from(*byte);
            bits += 8;
            while bits >= 5 {
                bits -= 5;
                text.push(char::from(DIGITS[usize::from(waiting >> bits & 31)]));
            }
            waiting &= (1 << bits) - 1;
        }
        if bits > 0 {
            text.push(char::from(DIGITS[usize::from(waiting << (5 - bits) & 31)]));
        }
        f.write_str(&text)
    }
}

impl FromStr for Cid {
    type Err = ParseCidError;

    fn from_str(text: &str) -> Result<Self, ParseCidError> {
        let digits = text.strip_prefix('b').filter(|_| text.len() == LEN).ok_or(ParseCidError::Text)?;
        let mut bytes = Vec::with_capacity(HEAD.len() + 32);
        let (mut waiting, mut bits) = (0_u16, 0);
        for digit in digits.bytes() {
            let value = DIGITS.iter().position(|other| *other == digit).ok_or(ParseCidError::Text)?;
            waiting = waiting << 5 | value as u16;
            bits += 5;
            if bits >= 8 {
                bits -= 8;
                bytes.push((waiting >> bits) as u8);
                waiting &= (1 << bits) - 1;
            }
        }
        let hash = bytes.strip_prefix(&HEAD).ok_or(ParseCidError::Kind)?;
        match <[u8; 32]>::try_from(hash) {
            // What is left of the last digit means nothing, so it has to be nothing: there is one text for each name.
            Ok(hash) if waiting == 0 => Ok(Self(Hash(hash))),
            _ => Err(ParseCidError::Text),
        }
    }
}

impl Serialize for Cid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// As Python's `base64.b32encode` has it.
    const OF_ZERO: &str = "bafkr4iaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn the_text_is_golden_and_round_trips() {
        assert_eq!(Cid(Hash::ZERO).to_string(), OF_ZERO);
        for seed in 0..64_u8 {
            let cid = Cid(Hash::of(&[seed]));
            assert_eq!(cid.to_string().len(), LEN);
            assert!(cid.to_string().starts_with("bafkr4i"));
            assert_eq!(cid.to_string().parse(), Ok(cid));
        }
    }

    #[test]
    fn no_other_text_names_a_file() {
        let cid = Cid(Hash::of(b"song"));
        let text = cid.to_string();
        for place in 0..LEN {
            for digit in DIGITS {
                let mut other = text.clone().into_bytes();
                other[place] = *digit;
                let other = String::from_utf8(other).unwrap();
                if other != text {
                    assert_ne!(other.parse(), Ok(cid), "{other}");
                }
            }
        }
        for other in
            ["", "b", &text[1..], &format!("{text}a"), &text.to_uppercase(), &format!("ä{}", &text[2..])]
        {
            assert_eq!(other.parse::<Cid>(), Err(ParseCidError::Text), "{other}");
        }
        let sha256 = "bafkreigaknpexyvxt76zgkitavbwx6ejgfheup5oybpm77f3pxzrvwpfdi";
        assert_eq!(sha256.parse::<Cid>(), Err(ParseCidError::Kind));
    }
}
