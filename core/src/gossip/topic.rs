//! What is gossiped about, and what it is called on the wire.

use std::{fmt, io, str::FromStr};

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::primitives::Hash;

/// A chat room's name: 1 to 64 lower-case letters, digits, `-` or `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Room(String);

/// A text is not a room's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a room's name is 1 to 64 lower-case letters, digits, `-` or `_`")]
pub struct RoomError;

impl FromStr for Room {
    type Err = RoomError;

    fn from_str(text: &str) -> Result<Self, RoomError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RoomError)
        }
    }
}

impl TryFrom<String> for Room {
    type Error = RoomError;

    fn try_from(text: String) -> Result<Self, RoomError> {
        text.parse()
    }
}

impl From<Room> for String {
    fn from(room: Room) -> Self {
        room.0
    }
}

impl BorshSerialize for Room {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        BorshSerialize::serialize(&self.0, writer)
    }
}

impl BorshDeserialize for Room {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let text = String::deserialize_reader(reader)?;
        text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A gossipsub topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// New blocks of the chain.
    Block,
    /// Votes for checkpoints.
    Vote,
    /// Proof that an authority has equivocated.
    Evidence,
    /// One chat room; rooms do not belong to a chain.
    Chat(Room),
}

impl Topic {
    /// The topics that everybody who follows a chain takes part in.
    pub const OF_CHAIN: [Self; 3] = [Self::Block, Self::Vote, Self::Evidence];

    /// The topic's name on the wire, on the chain with this genesis hash.
    #[must_use]
    pub fn name(&self, genesis: &Hash) -> String {
        match self {
            Self::Block => format!("/weft/{}/block", genesis.short()),
            Self::Vote => format!("/weft/{}/vote", genesis.short()),
            Self::Evidence => format!("/weft/{}/evidence", genesis.short()),
            Self::Chat(room) => format!("/weft/chat/{room}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn names_are_those_of_the_wire_table() {
        let genesis = Hash([0xab; 32]);
        let room: Room = "lobby-1".parse().unwrap();
        assert_eq!(Topic::Block.name(&genesis), "/weft/abababab/block");
        assert_eq!(Topic::Vote.name(&genesis), "/weft/abababab/vote");
        assert_eq!(Topic::Evidence.name(&genesis), "/weft/abababab/evidence");
        assert_eq!(Topic::Chat(room).name(&genesis), "/weft/chat/lobby-1");
    }

    #[test]
    fn other_room_names_are_refused() {
        for bad in ["", "Lobby", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert_eq!(bad.parse::<Room>(), Err(RoomError), "{bad:?}");
        }
    }
}
