//! BLAKE3, and the 32 bytes it yields.

use std::{fmt, str::FromStr};

use borsh::{BorshDeserialize, BorshSerialize};

/// A BLAKE3 hash (BLAKE3 specification, 2020): 32 bytes, shown as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, BorshSerialize, BorshDeserialize)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// All zero bytes: the hash of nothing that exists.
    pub const ZERO: Self = Self([0; 32]);

    /// The hash of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The hash of `bytes` under a public key, BLAKE3's keyed mode: a tag that takes no room in the input, so that 64 bytes
    /// still are one block, at less than half the cost of 65.
    #[must_use]
    pub fn keyed(key: &[u8; 32], bytes: &[u8]) -> Self {
        Self(*blake3::keyed_hash(key, bytes).as_bytes())
    }

    /// The bit at `index`, counted from the most significant bit of the first byte.
    #[must_use]
    pub const fn bit(&self, index: u8) -> bool {
        self.0[(index >> 3) as usize] >> (7 - (index & 7)) & 1 == 1
    }

    /// The first 8 hex digits: what people and protocol names call a chain by.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// The text is not 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 64 hex digits")]
pub struct ParseHashError;

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseHashError)?;
        Ok(Self(bytes))
    }
}

/// Hashes parts one after the other, as if they were joined.
#[derive(Clone, Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// A hasher that has seen `tag` first. Tags keep the hashes of different things apart.
    #[must_use]
    pub fn tagged(tag: &[u8]) -> Self {
        let mut hasher = Self::default();
        hasher.add(tag);
        hasher
    }

    /// Hashes `bytes` after what came before.
    pub fn add(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// The hash of all parts.
    #[must_use]
    pub fn finish(&self) -> Hash {
        Hash(*self.0.finalize().as_bytes())
    }

    /// The extended output, from its beginning.
    pub(super) fn output(&self) -> HashOutput {
        HashOutput(self.0.finalize_xof())
    }
}

/// The extended output of a hash, read piece by piece.
pub(super) struct HashOutput(blake3::OutputReader);

impl HashOutput {
    /// The bytes that follow.
    pub(super) fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn text_round_trips_and_other_text_is_refused() {
        let hash = Hash::of(b"weft");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!("12".parse::<Hash>(), Err(ParseHashError));
        assert_eq!("zz".repeat(32).parse::<Hash>(), Err(ParseHashError));
    }

    #[test]
    fn bits_count_from_the_most_significant() {
        let mut bytes = [0; 32];
        bytes[0] = 0b1000_0000;
        bytes[31] = 1;
        let hash = Hash(bytes);
        assert!(hash.bit(0) && !hash.bit(1) && !hash.bit(254) && hash.bit(255));
    }
}
