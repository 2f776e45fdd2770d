//! A version byte that refuses every other version.

use std::io::{Error, ErrorKind, Read, Result, Write};

use borsh::{BorshDeserialize, BorshSerialize};

/// Encodes as the byte `N`; decoding any other byte fails and says which version it met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Version<const N: u8>;

impl<const N: u8> BorshSerialize for Version<N> {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        writer.write_all(&[N])
    }
}

impl<const N: u8> BorshDeserialize for Version<N> {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        match u8::deserialize_reader(reader)? {
            version if version == N => Ok(Self),
            version => Err(Error::new(
                ErrorKind::InvalidData,
                format!("version {version} is not supported, only version {N} is"),
            )),
        }
    }
}
