//! What is said on a signalling stream.

use super::{
    Malformed,
    prefixed::prefixed,
    protobuf::{Fields, Value, put_bytes, put_small},
};

/// The most bytes of a message, without its length: many times what browsers say.
pub const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// How the one who opened the stream wants to connect: an SDP.
    Offer,
    /// How the other one does: an SDP.
    Answer,
    /// An address that may work: what `RTCIceCandidate.toJSON()` gives, as JSON.
    Candidate,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub data: String,
}

impl Message {
    /// The bytes that go on the stream, length and all.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.data.len() + 8);
        let kind = match self.kind {
            Kind::Offer => 0,
            Kind::Answer => 1,
            Kind::Candidate => 2,
        };
        put_small(&mut bytes, 1, kind);
        put_bytes(&mut bytes, 2, self.data.as_bytes());
        prefixed(&bytes)
    }

    /// Reads what came after a length. Fields of later versions are passed over, and of a field that comes twice the last counts, as
    /// in all of Protocol Buffers.
    ///
    /// # Errors
    /// When it is no message, or lacks kind or data.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut kind, mut data) = (None, None);
        for field in Fields(bytes) {
            match field? {
                (1, Value::Number(number)) => {
                    kind = Some(match number {
                        0 => Kind::Offer,
                        1 => Kind::Answer,
                        2 => Kind::Candidate,
                        _ => return Err(Malformed::Meaning),
                    });
                }
                (2, Value::Bytes(bytes)) => data = Some(bytes),
                (1 | 2, _) => return Err(Malformed::Field),
                _ => {}
            }
        }
        let (kind, data) = kind.zip(data).ok_or(Malformed::Meaning)?;
        let data = std::str::from_utf8(data).map_err(|_| Malformed::Text)?.to_owned();
        Ok(Self { kind, data })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn message(kind: Kind, data: &str) -> Message {
        Message { kind, data: data.to_owned() }
    }

    /// As js-libp2p 3.3 writes them.
    #[test]
    fn golden_bytes() {
        for (kind, data, bytes) in [
            (Kind::Offer, "v=0", "0708001203763d30"),
            (Kind::Answer, "v=0", "0708011203763d30"),
            (Kind::Candidate, "{}", "06080212027b7d"),
            (Kind::Candidate, "", "0408021200"),
        ] {
            let message = message(kind, data);
            assert_eq!(hex::encode(message.encode()), bytes);
            assert_eq!(Message::decode(&hex::decode(bytes).unwrap()[1..]), Ok(message));
        }
        let long = message(Kind::Offer, &"a".repeat(300));
        assert_eq!(hex::encode(&long.encode()[..7]), "b102080012ac02");
    }

    #[test]
    fn later_versions_may_add_fields() {
        let bytes = [&[0x1a, 2, 9, 9, 0x20, 5], &message(Kind::Answer, "x").encode()[1..]].concat();
        assert_eq!(Message::decode(&bytes), Ok(message(Kind::Answer, "x")));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        assert_eq!(Message::decode(&[]), Err(Malformed::Meaning));
        assert_eq!(Message::decode(&[8, 0]), Err(Malformed::Meaning), "no data");
        assert_eq!(Message::decode(&[18, 1, b'a']), Err(Malformed::Meaning), "no kind");
        assert_eq!(Message::decode(&[8, 3, 18, 0]), Err(Malformed::Meaning), "an unknown kind");
        assert_eq!(Message::decode(&[10, 1, 0, 18, 0]), Err(Malformed::Field), "a kind that is a text");
        assert_eq!(Message::decode(&[8, 0, 18, 1, 0xff]), Err(Malformed::Text));
        assert_eq!(Message::decode(&[8, 0, 18, 2, b'a']), Err(Malformed::Truncated));
    }
}
