//! Messages in a stream of bytes, each after its length.

use super::protobuf::put_number;

/// Why bytes are none of the messages of this folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The length is more than a message may have, or is not written as it should be.
    #[error("a message is longer than it may be")]
    TooLong,
    /// A number has no end.
    #[error("a number has no end")]
    Number,
    /// A field is longer than what holds it.
    #[error("a field is longer than its message")]
    Truncated,
    /// A field of an unknown kind, whose end nobody knows.
    #[error("a field is of no known kind")]
    Field,
    /// The message lacks what it cannot do without, or says what no version of it says.
    #[error("a message says nothing that is known")]
    Meaning,
    /// A text is not one.
    #[error("a text is not UTF-8")]
    Text,
}

/// Cuts a stream of bytes into messages. It holds less than one message at a time.
#[derive(Clone, Debug)]
pub struct Prefixed {
    /// The most bytes of a message, without its length.
    max: usize,
    held: Vec<u8>,
    broken: bool,
}

impl Prefixed {
    /// For messages of at most so many bytes, fewer than 2^21.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Self { max, held: Vec::new(), broken: false }
    }

    /// Takes the next bytes off `bytes`, as many as belong to the message that has begun, and returns that message when it is
    /// whole. Call it until it returns `None`.
    ///
    /// # Errors
    /// When a message is longer than it may be; nothing is read after that.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        if self.broken {
            return Err(Malformed::TooLong);
        }
        loop {
            let Some((begin, length)) = self.length()? else {
                let Some((first, rest)) = bytes.split_first() else { return Ok(None) };
                self.held.push(*first);
                *bytes = rest;
                continue;
            };
            let missing = begin + length - self.held.len();
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            self.held.extend_from_slice(taken);
            *bytes = rest;
            if taken.len() < missing {
                return Ok(None);
            }
            let message = self.held.split_off(begin);
            self.held = Vec::new();
            return Ok(Some(message));
        }
    }

    /// Where the message begins and how long it is, once that is known.
    fn length(&mut self) -> Result<Option<(usize, usize)>, Malformed> {
        let mut length = 0;
        for (index, byte) in self.held.iter().enumerate().take(3) {
            length |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                // A last byte of nothing is what the specification of these numbers forbids.
                if length > self.max || index > 0 && *byte == 0 {
                    break;
                }
                return Ok(Some((index + 1, length)));
            }
            if index == 2 {
                break;
            }
            if index + 1 == self.held.len() {
                return Ok(None);
            }
        }
        if self.held.is_empty() {
            return Ok(None);
        }
        self.broken = true;
        self.held = Vec::new();
        Err(Malformed::TooLong)
    }
}

/// A message with its length before it.
pub(super) fn prefixed(message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(message.len() + 3);
    put_number(&mut bytes, message.len() as u64);
    bytes.extend_from_slice(message);
    bytes
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const MAX: usize = 16 << 10;

    fn cut(bytes: &[u8], step: usize) -> Result<Vec<Vec<u8>>, Malformed> {
        let (mut stream, mut messages) = (Prefixed::new(MAX), Vec::new());
        for mut chunk in bytes.chunks(step) {
            while let Some(message) = stream.next(&mut chunk)? {
                messages.push(message);
            }
            assert!(chunk.is_empty());
        }
        Ok(messages)
    }

    #[test]
    fn messages_come_out_however_the_bytes_arrive() {
        let messages = [vec![], vec![1], vec![2; 127], vec![3; 128], vec![4; MAX]];
        let bytes: Vec<u8> = messages.iter().flat_map(|message| prefixed(message)).collect();
        for step in [1, 2, 3, 100, 129, bytes.len()] {
            assert_eq!(cut(&bytes, step).unwrap(), messages, "in steps of {step}");
        }
    }

    #[test]
    fn too_long_a_message_is_refused_before_it_comes() {
        let mut long = Vec::new();
        put_number(&mut long, MAX as u64 + 1);
        assert_eq!(cut(&long, 1), Err(Malformed::TooLong));
        assert_eq!(cut(&[0xff, 0xff, 0xff, 0xff], 1), Err(Malformed::TooLong));
        assert_eq!(cut(&[0x81, 0x80, 0x00], 1), Err(Malformed::TooLong), "no number is written in two ways");
        let mut stream = Prefixed::new(4);
        assert!(stream.next(&mut [5].as_slice()).is_err());
        assert!(stream.next(&mut [1, 1].as_slice()).is_err(), "it stays broken");
    }

    #[test]
    fn less_than_a_message_is_held() {
        let mut stream = Prefixed::new(MAX);
        let bytes = prefixed(&[7; 1000]);
        for chunk in bytes[..900].chunks(100) {
            assert_eq!(stream.next(&mut &*chunk), Ok(None));
        }
        assert_eq!(stream.held.len(), 900);
        assert!(stream.next(&mut &bytes[900..]).unwrap().is_some());
        assert_eq!(stream.held.capacity(), 0);
    }
}
