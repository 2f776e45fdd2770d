//! Where money lives: the hash of a public key, written so that a typo is noticed.

use std::{fmt, str::FromStr};

use bech32::{Bech32m, Hrp};
use borsh::{BorshDeserialize, BorshSerialize};

use super::{Hash, PublicKey};

const PREFIX: Hrp = Hrp::parse_unchecked("weft");

/// An account's name: the BLAKE3 hash of its public key. Text is Bech32m (BIP 350) with prefix `weft`, whose checksum
/// catches any four wrong characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Address(pub [u8; 32]);

impl Address {
    /// The address that `key` can spend from.
    #[must_use]
    pub fn of(key: &PublicKey) -> Self {
        Self(Hash::of(&key.0).0)
    }

    /// The key of this account in the state trie: the address hashed once more, so that nobody chooses a place in it.
    #[must_use]
    pub fn trie_key(&self) -> Hash {
        Hash::of(&self.0)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_to_fmt::<Bech32m, _>(f, PREFIX, &self.0).map_err(|_| fmt::Error)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The checksum or the alphabet is wrong: most likely a typo.
    #[error("this is not an address: check it for a missing or mistyped character")]
    Malformed,
    /// A valid Bech32m text, but not of this network or length.
    #[error("an address begins with `weft1` and is 63 characters long")]
    OtherKind,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let checked = bech32::primitives::decode::CheckedHrpstring::new::<Bech32m>(text)
            .map_err(|_| AddressError::Malformed)?;
        if checked.hrp() != PREFIX || checked.byte_iter().len() != 32 {
            return Err(AddressError::OtherKind);
        }
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(checked.byte_iter()) {
            *to = from;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn text_round_trips_and_a_typo_is_noticed() {
        let address = Address([7; 32]);
        let text = address.to_string();
        assert_eq!(text.len(), 63);
        assert_eq!(text.parse(), Ok(address));
        for at in 5..text.len() {
            let mut typo = text.clone().into_bytes();
            typo[at] = if typo[at] == b'q' { b'p' } else { b'q' };
            let typo = String::from_utf8(typo).unwrap();
            assert_eq!(typo.parse::<Address>(), Err(AddressError::Malformed), "{typo}");
        }
    }

    #[test]
    fn other_networks_and_lengths_are_refused() {
        let other = bech32::encode::<Bech32m>(Hrp::parse_unchecked("tb"), &[7; 32]).unwrap();
        let short = bech32::encode::<Bech32m>(PREFIX, &[7; 31]).unwrap();
        assert_eq!(other.parse::<Address>(), Err(AddressError::OtherKind));
        assert_eq!(short.parse::<Address>(), Err(AddressError::OtherKind));
    }
}
