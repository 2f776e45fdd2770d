//! What two peers say to each other on `/weft/chat/1`, and what a chat message may contain.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};
use libp2p::PeerId;

use super::MAX_LINES;
use crate::{
    gossip::Room,
    primitives::{DecodeError, decode, encode},
};

/// The most bytes of a chat message's text: a page, and few enough to forward to everyone.
pub const MAX_TEXT_BYTES: usize = 4096;
/// The most bytes of a request for history: a room's longest name, and room for growth.
pub const MAX_CHAT_REQUEST_BYTES: usize = 1 << 10;
/// The most bytes of a history: twice what a room keeps, since other peers may count differently.
pub const MAX_CHAT_RESPONSE_BYTES: usize = 512 << 10;

/// Why bytes are not the text of a chat message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// There is nothing in it.
    #[error("a message cannot be empty")]
    Empty,
    /// It is too long.
    #[error("the message has {0} bytes, of which at most {MAX_TEXT_BYTES} are allowed")]
    TooLong(usize),
    /// It is not UTF-8.
    #[error("the message is not UTF-8 text")]
    NotText,
    /// It has control characters other than line feed and tab.
    #[error("the message contains control characters")]
    Control,
}

/// The text of a chat message.
///
/// # Errors
/// When it is none that a peer would pass on.
pub fn check_text(data: &[u8]) -> Result<&str, TextError> {
    if data.is_empty() {
        return Err(TextError::Empty);
    }
    if data.len() > MAX_TEXT_BYTES {
        return Err(TextError::TooLong(data.len()));
    }
    let text = std::str::from_utf8(data).map_err(|_| TextError::NotText)?;
    let refused = |c: char| c.is_control() && c != '\n' && c != '\t';
    if text.contains(refused) { Err(TextError::Control) } else { Ok(text) }
}

/// A message's author on the wire: the bytes of a peer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author(pub PeerId);

impl BorshSerialize for Author {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        self.0.to_bytes().serialize(writer)
    }
}

impl BorshDeserialize for Author {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let bytes = Vec::<u8>::deserialize_reader(reader)?;
        let id = PeerId::from_bytes(&bytes)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a peer id"))?;
        if id.to_bytes() == bytes {
            Ok(Self(id))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "not the shortest form of a peer id"))
        }
    }
}

/// A message as another peer tells it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Told {
    /// Who is said to have written it.
    pub author: Author,
    /// The author's sequence number in the room's topic. An author who tells its own messages need not know it.
    pub sequence: Option<u64>,
    /// What was said.
    pub text: String,
    /// When the teller heard it, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// A request. The first byte says which; the protocol's name says the version.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ChatRequest {
    /// What was said in a room lately?
    History {
        /// Which room.
        room: Room,
        /// At most so many messages, the latest.
        max: u32,
    },
}

/// A response. The first byte says which, in this order from 0.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum ChatResponse {
    /// At most 256 messages, oldest first.
    Messages(Vec<Told>),
    /// The peer does not take part in the room.
    NotInRoom,
}

/// Why an answer about history is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// More messages than were asked for.
    #[error("{0} messages were told, of which at most {MAX_LINES} were asked for")]
    TooMany(usize),
    /// A message has a text that nobody would have passed on.
    #[error("a message that nobody could have heard: {0}")]
    Text(#[from] TextError),
}

impl ChatRequest {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When there are more than [`MAX_CHAT_REQUEST_BYTES`], or they are no request of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, MAX_CHAT_REQUEST_BYTES)
    }
}

impl ChatResponse {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a response, and judges what it says as far as that needs nothing else.
    ///
    /// # Errors
    /// When no honest peer of this version could have sent it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HistoryError> {
        let response: Self = decode(bytes, MAX_CHAT_RESPONSE_BYTES)?;
        if let Self::Messages(messages) = &response {
            if messages.len() > MAX_LINES {
                return Err(HistoryError::TooMany(messages.len()));
            }
            for message in messages {
                check_text(message.text.as_bytes())?;
            }
        }
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn told(text: &str) -> Told {
        let author = PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &[7; 32]].concat()).unwrap();
        Told { author: Author(author), sequence: Some(258), text: text.to_owned(), at: 1000 }
    }

    #[test]
    fn golden_bytes_of_every_message() {
        let request = ChatRequest::History { room: "lobby".parse().unwrap(), max: 256 };
        assert_eq!(hex::encode(request.to_bytes()), "00050000006c6f62627900010000");
        assert_eq!(ChatRequest::from_bytes(&request.to_bytes()), Ok(request));
        let author = format!("26000000002408011220{}", "07".repeat(32));
        let own = Told { sequence: None, ..told("ho") };
        let messages = ChatResponse::Messages(vec![told("hi"), own]);
        let expected = format!(
            "0002000000{author}010201000000000000020000006869e803000000000000\
             {author}0002000000686fe803000000000000"
        );
        assert_eq!(hex::encode(messages.to_bytes()), expected);
        assert_eq!(ChatResponse::from_bytes(&messages.to_bytes()), Ok(messages));
        assert_eq!(hex::encode(ChatResponse::NotInRoom.to_bytes()), "01");
        assert_eq!(ChatResponse::from_bytes(&[1]), Ok(ChatResponse::NotInRoom));
    }

    #[test]
    fn truncated_oversized_and_unknown_messages_are_refused() {
        let request = ChatRequest::History { room: "lobby".parse().unwrap(), max: 256 }.to_bytes();
        let response = ChatResponse::Messages(vec![told("hi")]).to_bytes();
        for end in 0..request.len() {
            assert!(ChatRequest::from_bytes(&request[..end]).is_err(), "{end} bytes");
        }
        for end in 0..response.len() {
            assert!(ChatResponse::from_bytes(&response[..end]).is_err(), "{end} bytes");
        }
        assert!(ChatRequest::from_bytes(&[&request[..], &[0]].concat()).is_err(), "a byte too many");
        assert!(ChatRequest::from_bytes(&encode(&(1_u8, "lobby", 5_u32))).is_err(), "an unknown request");
        assert!(ChatRequest::from_bytes(&encode(&(0_u8, "Lobby!", 5_u32))).is_err(), "no room's name");
        assert!(ChatRequest::from_bytes(&vec![0; MAX_CHAT_REQUEST_BYTES + 1]).is_err());
        assert!(ChatResponse::from_bytes(&[2]).is_err(), "an unknown response");
        assert!(ChatResponse::from_bytes(&[0, 255, 255, 255, 255]).is_err(), "a false count");
        assert!(ChatResponse::from_bytes(&vec![0; MAX_CHAT_RESPONSE_BYTES + 1]).is_err());
        let stranger = encode(&(0_u8, 1_u32, vec![9_u8; 38], 0_u8, "hi", 5_u64));
        assert!(ChatResponse::from_bytes(&stranger).is_err(), "no peer id");
    }

    #[test]
    fn a_history_that_no_honest_peer_has_is_refused() {
        let many = ChatResponse::Messages(vec![told("hi"); MAX_LINES + 1]).to_bytes();
        assert_eq!(ChatResponse::from_bytes(&many), Err(HistoryError::TooMany(MAX_LINES + 1)));
        let bell = ChatResponse::Messages(vec![told("hi\u{7}")]).to_bytes();
        assert_eq!(ChatResponse::from_bytes(&bell), Err(HistoryError::Text(TextError::Control)));
    }

    #[test]
    fn text_is_bounded_utf8_without_control_characters() {
        assert_eq!(check_text("Grüße,\n\tWelt".as_bytes()), Ok("Grüße,\n\tWelt"));
        assert_eq!(check_text(b""), Err(TextError::Empty));
        assert!(check_text(&[b'x'; MAX_TEXT_BYTES]).is_ok());
        assert_eq!(check_text(&[b'x'; MAX_TEXT_BYTES + 1]), Err(TextError::TooLong(MAX_TEXT_BYTES + 1)));
        assert_eq!(check_text(&[0xff]), Err(TextError::NotText));
        for control in ["\r", "\u{0}", "\u{1b}[31m", "\u{7f}", "\u{85}"] {
            assert_eq!(check_text(control.as_bytes()), Err(TextError::Control), "{control:?}");
        }
    }
}
