//! The questions that anybody may put to a relay by STUN.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use weft_relay::stun::answer;

/// The longest answer: an address of IPv6 or eight attributes that nobody knows, and the fingerprint.
const LONGEST: usize = 80;

/// A question. Its answer repeats its number, is short, and is no question.
pub fn stun(data: &[u8]) -> bool {
    for from in [SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), SocketAddr::from((Ipv6Addr::LOCALHOST, 1))] {
        let Some(said) = answer(data, from) else { return false };
        assert!(said.len() <= LONGEST && said.len().is_multiple_of(4), "an answer of {} bytes", said.len());
        assert_eq!(said[4..20], data[4..20], "another question's answer");
        assert_eq!(usize::from(u16::from_be_bytes([said[2], said[3]])) + 20, said.len());
        assert_eq!(answer(&said, from), None, "two relays would answer each other for ever");
    }
    true
}

/// Questions with nothing, with what may be ignored, with what may not, and with a fingerprint.
pub fn stun_seeds() -> Vec<Vec<u8>> {
    let question = |attributes: &[u8]| {
        let len = u8::try_from(attributes.len()).expect("short");
        [&[0, 1, 0, len, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], attributes].concat()
    };
    vec![
        question(&[]),
        question(&[0x80, 0x22, 0, 4, b'w', b'e', b'f', b't']),
        question(&[0, 6, 0, 3, b'a', b':', b'b', 0, 0, 0x24, 0, 4, 0, 0, 0, 1]),
        question(&[0, 3, 0, 4, 0, 0, 0, 6]),
        question(&FINGERPRINT),
    ]
}

/// The fingerprint of the question that has nothing else.
const FINGERPRINT: [u8; 8] = [0x80, 0x28, 0, 4, 0x5b, 0x20, 0xf9, 0xcc];
