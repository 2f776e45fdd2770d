//! What is sent on a data channel: bytes of the stream, and the signs that a data channel lacks.

use super::{
    Malformed,
    prefixed::prefixed,
    protobuf::{Fields, Value, put_bytes, put_small},
};

/// The most bytes of a frame, its length included: what all browsers pass on whole.
pub const MAX_FRAME_BYTES: usize = 16 << 10;
/// The most bytes of the stream in a frame: it has 2 for its length, 2 for a flag, and 3 around them.
pub const MAX_PAYLOAD_BYTES: usize = MAX_FRAME_BYTES - 7;

/// A sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// Nothing more is sent.
    Fin,
    /// Nothing more is read.
    StopSending,
    /// The stream is given up.
    Reset,
    /// All was received, up to [`Flag::Fin`].
    FinAck,
}

/// A frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The sign, which is about what comes after [`Self::payload`].
    pub flag: Option<Flag>,
    /// The next bytes of the stream.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The bytes that go on the channel, length and all; the payload is at most [`MAX_PAYLOAD_BYTES`].
    #[must_use]
    pub fn encode(flag: Option<Flag>, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(payload.len() + 6);
        if let Some(flag) = flag {
            let number = match flag {
                Flag::Fin => 0,
                Flag::StopSending => 1,
                Flag::Reset => 2,
                Flag::FinAck => 3,
            };
            put_small(&mut bytes, 1, number);
        }
        if !payload.is_empty() {
            put_bytes(&mut bytes, 2, payload);
        }
        prefixed(&bytes)
    }

    /// Reads what came after a length.
    ///
    /// # Errors
    /// When it is no frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (mut flag, mut payload) = (None, &[][..]);
        for field in Fields(bytes) {
            match field? {
                (1, Value::Number(number)) => {
                    flag = Some(match number {
                        0 => Flag::Fin,
                        1 => Flag::StopSending,
                        2 => Flag::Reset,
                        3 => Flag::FinAck,
                        _ => return Err(Malformed::Meaning),
                    });
                }
                (2, Value::Bytes(bytes)) => payload = bytes,
                (1 | 2, _) => return Err(Malformed::Field),
                _ => {}
            }
        }
        Ok(Self { flag, payload: payload.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// As rust-libp2p's `webrtc-direct` and js-libp2p write them.
    #[test]
    fn golden_bytes() {
        for (flag, payload, bytes) in [
            (None, &b"hi"[..], "0412026869"),
            (Some(Flag::Fin), b"", "020800"),
            (Some(Flag::StopSending), b"", "020801"),
            (Some(Flag::Reset), b"", "020802"),
            (Some(Flag::FinAck), b"", "020803"),
            (Some(Flag::Fin), b"a", "050800120161"),
            (None, b"", "00"),
        ] {
            assert_eq!(hex::encode(Frame::encode(flag, payload)), bytes);
            let frame = Frame { flag, payload: payload.to_vec() };
            assert_eq!(Frame::decode(&hex::decode(bytes).unwrap()[1..]), Ok(frame));
        }
    }

    #[test]
    fn the_largest_frame_is_as_large_as_it_may_be() {
        assert_eq!(Frame::encode(Some(Flag::Fin), &[0; MAX_PAYLOAD_BYTES]).len(), MAX_FRAME_BYTES);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        assert_eq!(Frame::decode(&[8, 4]), Err(Malformed::Meaning));
        assert_eq!(Frame::decode(&[16, 0]), Err(Malformed::Field));
        assert_eq!(Frame::decode(&[18, 2, 0]), Err(Malformed::Truncated));
    }
}
