//! What is said at a rendezvous: libp2p's messages (`rendezvous/README.md` of its specifications).

use super::record::MAX_RECORD_BYTES;
use crate::signalling::{
    Malformed,
    protobuf::{Fields, Value, put_bytes, put_value},
};

/// The most bytes of a request: a record and little else.
pub(in crate::node) const MAX_REQUEST_BYTES: usize = 4 << 10;
/// The most bytes of an answer: as many records as are told of at once.
pub(in crate::node) const MAX_RESPONSE_BYTES: usize = 80 << 10;
/// The most registrations in an answer.
pub(super) const MAX_TOLD: usize = 32;
/// The most bytes of a cookie.
const MAX_COOKIE_BYTES: usize = 256;

const REGISTER: u64 = 0;
const REGISTERED: u64 = 1;
const UNREGISTER: u64 = 2;
const DISCOVER: u64 = 3;
const DISCOVERED: u64 = 4;

/// Why a rendezvous point refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub(super) u64);

impl Refusal {
    pub(super) const NAMESPACE: Self = Self(100);
    pub(super) const RECORD: Self = Self(101);
    pub(super) const TTL: Self = Self(102);
    pub(super) const UNAUTHORIZED: Self = Self(200);
    pub(super) const UNAVAILABLE: Self = Self(400);
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To be found by others.
    Register {
        /// By those who ask for this.
        namespace: String,
        /// Who and where the asker is, [signed](super::sign).
        record: Vec<u8>,
        /// For so long.
        seconds: Option<u64>,
    },
    /// To be found no longer.
    Unregister {
        /// Where it registered.
        namespace: String,
    },
    /// To be told of others.
    Discover {
        /// Those who registered there.
        namespace: Option<String>,
        /// So many at most.
        limit: Option<u64>,
        /// What the last answer came with, to be told only of who came since.
        cookie: Vec<u8>,
    },
}

/// A peer that wants to be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Where it registered.
    pub namespace: String,
    /// Who and where it is, [signed](super::sign).
    pub record: Vec<u8>,
    /// For how much longer.
    pub seconds: u64,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// For so many seconds.
    Registered(Result<u64, Refusal>),
    /// These, and a cookie.
    Discovered(Result<(Vec<Registration>, Vec<u8>), Refusal>),
}

/// The bytes of one field, at most so many.
fn bytes(value: Value<'_>, max: usize) -> Result<Vec<u8>, Malformed> {
    match value {
        Value::Bytes(bytes) if bytes.len() <= max => Ok(bytes.to_vec()),
        _ => Err(Malformed::Field),
    }
}

fn text(value: Value<'_>) -> Result<String, Malformed> {
    String::from_utf8(bytes(value, 255)?).map_err(|_| Malformed::Field)
}

fn number(value: Value<'_>) -> Result<u64, Malformed> {
    match value {
        Value::Number(number) => Ok(number),
        _ => Err(Malformed::Field),
    }
}

/// The type of a message, and the part of it that belongs to that type.
fn parts(message: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let (mut kind, mut found) = (None, [None; 7]);
    for field in Fields(message) {
        match field? {
            (1, value) => kind = Some(number(value)?),
            (at @ 2..=6, Value::Bytes(part)) => found[at as usize] = Some(part),
            _ => {}
        }
    }
    let kind = kind.filter(|kind| *kind <= DISCOVERED).ok_or(Malformed::Field)?;
    Ok((kind, found[kind as usize + 2].ok_or(Malformed::Field)?))
}

fn message(kind: u64, part: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(part.len() + 8);
    put_value(&mut bytes, 1, kind);
    put_bytes(&mut bytes, kind as u8 + 2, part);
    bytes
}

fn put_registration(part: &mut Vec<u8>, namespace: &str, record: &[u8], seconds: Option<u64>) {
    put_bytes(part, 1, namespace.as_bytes());
    put_bytes(part, 2, record);
    if let Some(seconds) = seconds {
        put_value(part, 3, seconds);
    }
}

fn registration(part: &[u8]) -> Result<(String, Vec<u8>, Option<u64>), Malformed> {
    let (mut namespace, mut record, mut seconds) = (None, None, None);
    for field in Fields(part) {
        match field? {
            (1, value) => namespace = Some(text(value)?),
            (2, value) => record = Some(bytes(value, MAX_RECORD_BYTES)?),
            (3, value) => seconds = Some(number(value)?),
            _ => {}
        }
    }
    Ok((namespace.ok_or(Malformed::Field)?, record.ok_or(Malformed::Field)?, seconds))
}

impl Request {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut part = Vec::new();
        match self {
            Self::Register { namespace, record, seconds } => {
                put_registration(&mut part, namespace, record, *seconds);
                message(REGISTER, &part)
            }
            Self::Unregister { namespace } => {
                put_bytes(&mut part, 1, namespace.as_bytes());
                message(UNREGISTER, &part)
            }
            Self::Discover { namespace, limit, cookie } => {
                if let Some(namespace) = namespace {
                    put_bytes(&mut part, 1, namespace.as_bytes());
                }
                if let Some(limit) = limit {
                    put_value(&mut part, 2, *limit);
                }
                if !cookie.is_empty() {
                    put_bytes(&mut part, 3, cookie);
                }
                message(DISCOVER, &part)
            }
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, part) = parts(bytes)?;
        match kind {
            REGISTER => {
                let (namespace, record, seconds) = registration(part)?;
                Ok(Self::Register { namespace, record, seconds })
            }
            UNREGISTER => {
                let mut namespace = None;
                for field in Fields(part) {
                    if let (1, value) = field? {
                        namespace = Some(text(value)?);
                    }
                }
                Ok(Self::Unregister { namespace: namespace.ok_or(Malformed::Field)? })
            }
            DISCOVER => {
                let (mut namespace, mut limit, mut cookie) = (None, None, Vec::new());
                for field in Fields(part) {
                    match field? {
                        (1, value) => namespace = Some(text(value)?),
                        (2, value) => limit = Some(number(value)?),
                        (3, value) => cookie = self::bytes(value, MAX_COOKIE_BYTES)?,
                        _ => {}
                    }
                }
                Ok(Self::Discover { namespace, limit, cookie })
            }
            _ => Err(Malformed::Field),
        }
    }
}

impl Response {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut part = Vec::new();
        match self {
            Self::Registered(outcome) => {
                put_value(&mut part, 1, outcome.err().map_or(0, |refusal| refusal.0));
                if let Ok(seconds) = outcome {
                    put_value(&mut part, 3, *seconds);
                }
                message(REGISTERED, &part)
            }
            Self::Discovered(outcome) => {
                if let Ok((registrations, cookie)) = outcome {
                    for told in registrations {
                        let mut bytes = Vec::new();
                        put_registration(&mut bytes, &told.namespace, &told.record, Some(told.seconds));
                        put_bytes(&mut part, 1, &bytes);
                    }
                    put_bytes(&mut part, 2, cookie);
                }
                put_value(&mut part, 3, outcome.as_ref().err().map_or(0, |refusal| refusal.0));
                message(DISCOVERED, &part)
            }
        }
    }

    /// Reads a response.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let (kind, part) = parts(bytes)?;
        match kind {
            REGISTERED => {
                let (mut status, mut seconds) = (None, None);
                for field in Fields(part) {
                    match field? {
                        (1, value) => status = Some(number(value)?),
                        (3, value) => seconds = Some(number(value)?),
                        _ => {}
                    }
                }
                Ok(Self::Registered(match status.ok_or(Malformed::Field)? {
                    0 => Ok(seconds.ok_or(Malformed::Field)?),
                    refusal => Err(Refusal(refusal)),
                }))
            }
            DISCOVERED => {
                let (mut registrations, mut cookie, mut status) = (Vec::new(), Vec::new(), None);
                for field in Fields(part) {
                    match field? {
                        (1, Value::Bytes(told)) if registrations.len() < MAX_TOLD => {
                            let (namespace, record, seconds) = registration(told)?;
                            let seconds = seconds.ok_or(Malformed::Field)?;
                            registrations.push(Registration { namespace, record, seconds });
                        }
                        (1, _) => return Err(Malformed::Field),
                        (2, value) => cookie = self::bytes(value, MAX_COOKIE_BYTES)?,
                        (3, value) => status = Some(number(value)?),
                        _ => {}
                    }
                }
                Ok(Self::Discovered(match status.ok_or(Malformed::Field)? {
                    0 => Ok((registrations, cookie)),
                    refusal => Err(Refusal(refusal)),
                }))
            }
            _ => Err(Malformed::Field),
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let request =
            Request::Register { namespace: "weft/01".into(), record: vec![1, 2], seconds: Some(7200) };
        assert_eq!(
            hex::encode(request.to_bytes()),
            "080012100a07776566742f303112020102".to_owned() + "18a038"
        );
        let request = Request::Unregister { namespace: "a".into() };
        assert_eq!(hex::encode(request.to_bytes()), "080222030a0161");
        let request = Request::Discover { namespace: Some("a".into()), limit: Some(32), cookie: vec![9; 3] };
        assert_eq!(hex::encode(request.to_bytes()), "08032a0a0a016110201a03090909");
        let response = Response::Registered(Ok(7200));
        assert_eq!(hex::encode(response.to_bytes()), "08011a05080018a038");
        let response = Response::Registered(Err(Refusal::UNAVAILABLE));
        assert_eq!(hex::encode(response.to_bytes()), "08011a03089003");
        let told = Registration { namespace: "a".into(), record: vec![5], seconds: 60 };
        let response = Response::Discovered(Ok((vec![told], vec![9])));
        assert_eq!(
            hex::encode(response.to_bytes()),
            "0804320f0a080a01611201051".to_owned() + "83c1201091800"
        );
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let told = Registration { namespace: "a".into(), record: vec![5; 100], seconds: 60 };
        for request in [
            Request::Register { namespace: "weft/01".into(), record: vec![1; 300], seconds: None },
            Request::Unregister { namespace: "weft/01".into() },
            Request::Discover { namespace: None, limit: None, cookie: Vec::new() },
        ] {
            assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
        }
        for response in [
            Response::Registered(Ok(60)),
            Response::Registered(Err(Refusal::RECORD)),
            Response::Discovered(Err(Refusal::NAMESPACE)),
            Response::Discovered(Ok((vec![told; MAX_TOLD], vec![1; 20]))),
        ] {
            assert_eq!(Response::from_bytes(&response.to_bytes()), Ok(response));
        }
    }

    #[test]
    fn what_is_no_message_or_too_much_is_malformed() {
        let told = Registration { namespace: "a".into(), record: vec![5], seconds: 60 };
        let many = Response::Discovered(Ok((vec![told; MAX_TOLD + 1], Vec::new()))).to_bytes();
        for bytes in [&[][..], &[8, 1], &[8, 9, 26, 0], &[8, 1, 26, 0], &[8, 4, 50, 0], &many] {
            assert!(Response::from_bytes(bytes).is_err(), "{bytes:?}");
        }
        let long =
            Request::Register { namespace: "a".into(), record: vec![0; MAX_RECORD_BYTES + 1], seconds: None };
        let name = Request::Unregister { namespace: "a".repeat(256) };
        let answer = Response::Registered(Ok(1)).to_bytes();
        for bytes in [&[][..], &[8, 0], &[8, 0, 18, 0], &answer, &long.to_bytes(), &name.to_bytes()] {
            assert!(Request::from_bytes(bytes).is_err(), "{bytes:?}");
        }
    }
}
