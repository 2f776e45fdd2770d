//! Where a peer is, in its own words, as libp2p has it: a signed envelope (RFC 0002 of its specifications) around a routing record
//! (RFC 0003).

use libp2p::{Multiaddr, PeerId};

use crate::{
    peers::peer_id,
    primitives::{PublicKey, SecretKey, Signature, Wall},
    signalling::protobuf::{Fields, Value, put_bytes, put_number, put_value},
};

/// The most bytes of a record: eight addresses and a signature.
pub(super) const MAX_RECORD_BYTES: usize = 2 << 10;
/// The most addresses of a peer, and bytes of one, that count.
const MAX_ADDRESSES: usize = 8;
const MAX_ADDRESS_BYTES: usize = 160;

/// What an ed25519 key begins with in libp2p's form: its type is 1, its data has 32 bytes.
const ED25519: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// A way to say what an envelope holds.
struct Form {
    domain: &'static [u8],
    payload: &'static [u8],
}

/// The form of the specification, which is written, and the one that rust-libp2p writes unless it is told otherwise.
const FORMS: [Form; 2] = [
    Form { domain: b"libp2p-peer-record", payload: &[0x03, 0x01] },
    Form { domain: b"libp2p-routing-state", payload: b"/libp2p/routing-state-record" },
];

impl Form {
    /// What is signed: each part after its length.
    fn signed(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [self.domain, self.payload, payload] {
            put_number(&mut bytes, part.len() as u64);
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

/// What the peer with this key says of itself; addresses past the most, and those that are too long, are left out.
#[must_use]
pub fn sign(key: &SecretKey, local: &PeerId, now: Wall, addresses: &[Multiaddr]) -> Vec<u8> {
    let mut payload = Vec::new();
    put_bytes(&mut payload, 1, &local.to_bytes());
    // Of two records the one with the higher number counts; libp2p takes seconds.
    put_value(&mut payload, 2, now.0 / 1000);
    let addresses = addresses.iter().map(Multiaddr::to_vec).filter(|bytes| bytes.len() <= MAX_ADDRESS_BYTES);
    for address in addresses.take(MAX_ADDRESSES) {
        let mut info = Vec::new();
        put_bytes(&mut info, 1, &address);
        put_bytes(&mut payload, 3, &info);
    }
    let [form, _] = &FORMS;
    let mut envelope = Vec::new();
    put_bytes(&mut envelope, 1, &[ED25519.as_slice(), &key.public().0].concat());
    put_bytes(&mut envelope, 2, form.payload);
    put_bytes(&mut envelope, 3, &payload);
    put_bytes(&mut envelope, 5, &key.sign_foreign(&form.signed(&payload)).0);
    envelope
}

/// Why a record tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFault {
    /// It is in a form, or signed with a kind of key, that is not known here: another implementation's perhaps.
    Unread,
    /// It is not signed by the peer it names, which whoever passes it on could see.
    Forged,
}

/// Whose record this is, and where that peer says it is. Addresses of a kind that is not known here are left out.
///
/// # Errors
/// Why it tells nothing.
pub fn verify(record: &[u8]) -> Result<(PeerId, Vec<Multiaddr>), RecordFault> {
    let read = read(record).ok_or(RecordFault::Unread)?;
    let is_signed = read.key.verify_foreign(&read.signed, &read.signature);
    let addresses = read.addresses.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok());
    match peer_id(&read.key).filter(|signer| is_signed && *signer == read.named) {
        Some(signer) => Ok((signer, addresses.collect())),
        None => Err(RecordFault::Forged),
    }
}

/// An envelope and what is in it.
struct Read {
    key: PublicKey,
    signed: Vec<u8>,
    signature: Signature,
    named: PeerId,
    addresses: Vec<Vec<u8>>,
}

fn read(record: &[u8]) -> Option<Read> {
    if record.len() > MAX_RECORD_BYTES {
        return None;
    }
    let mut parts: [&[u8]; 6] = [&[]; 6];
    for field in Fields(record) {
        if let (at @ 1..=5, Value::Bytes(part)) = field.ok()? {
            parts[usize::try_from(at).ok()?] = part;
        }
    }
    let [_, key, kind, payload, _, signature] = parts;
    let key = PublicKey(key.strip_prefix(&ED25519)?.try_into().ok()?);
    let signature = Signature(signature.try_into().ok()?);
    let form = FORMS.iter().find(|form| form.payload == kind)?;
    let (mut named, mut addresses) = (None, Vec::new());
    for field in Fields(payload) {
        match field.ok()? {
            (1, Value::Bytes(peer)) => named = PeerId::from_bytes(peer).ok(),
            (3, Value::Bytes(info)) if addresses.len() < MAX_ADDRESSES => {
                for field in Fields(info) {
                    if let (1, Value::Bytes(address)) = field.ok()?
                        && address.len() <= MAX_ADDRESS_BYTES
                    {
                        addresses.push(address.to_vec());
                    }
                }
            }
            _ => {}
        }
    }
    Some(Read { key, signed: form.signed(payload), signature, named: named?, addresses })
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed([7; 32])
    }

    fn local() -> PeerId {
        peer_id(&key().public()).unwrap()
    }

    fn address() -> Multiaddr {
        "/ip4/8.8.8.8/tcp/4100".parse().unwrap()
    }

    #[test]
    fn a_record_names_its_peer_and_where_it_is_and_nobody_can_change_it() {
        let record = sign(&key(), &local(), Wall(1_000_000), &[address()]);
        assert_eq!(verify(&record), Ok((local(), vec![address()])));
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 1;
            assert!(verify(&changed).is_err(), "byte {at}");
            assert!(verify(&record[..at]).is_err(), "the first {at} bytes");
        }
    }

    #[test]
    fn a_record_of_somebody_else_is_none() {
        let other = SecretKey::from_seed([8; 32]);
        let forged = sign(&other, &local(), Wall(0), &[address()]);
        assert_eq!(verify(&forged), Err(RecordFault::Forged));
        let mut forged = sign(&key(), &local(), Wall(0), &[address()]);
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(verify(&forged), Err(RecordFault::Forged));
    }

    #[test]
    fn a_record_has_a_size_whatever_there_is_to_tell() {
        let long: Multiaddr = format!("/dns4/{}/tcp/1", "a".repeat(200)).parse().unwrap();
        let record = sign(&key(), &local(), Wall(u64::MAX), &[&[long][..], &vec![address(); 100]].concat());
        assert_eq!(verify(&record), Ok((local(), vec![address(); MAX_ADDRESSES])));
        assert!(record.len() <= MAX_RECORD_BYTES);
    }

    #[test]
    fn what_another_version_says_is_no_forgery() {
        // An envelope around a payload with one address that no parser here knows, rightly signed.
        let (key, strange) = (key(), vec![0xff; 5]);
        let mut payload = Vec::new();
        put_bytes(&mut payload, 1, &local().to_bytes());
        for address in [strange, address().to_vec()] {
            let mut info = Vec::new();
            put_bytes(&mut info, 1, &address);
            put_bytes(&mut payload, 3, &info);
        }
        let envelope = |form: &Form, kind: [u8; 4]| {
            let mut envelope = Vec::new();
            put_bytes(&mut envelope, 1, &[kind.as_slice(), &key.public().0].concat());
            put_bytes(&mut envelope, 2, form.payload);
            put_bytes(&mut envelope, 3, &payload);
            put_bytes(&mut envelope, 5, &key.sign_foreign(&form.signed(&payload)).0);
            envelope
        };
        assert_eq!(verify(&envelope(&FORMS[0], ED25519)), Ok((local(), vec![address()])));
        let secp = [0x08, 0x02, 0x12, 0x20];
        assert_eq!(verify(&envelope(&FORMS[0], secp)), Err(RecordFault::Unread));
        let other = Form { domain: b"libp2p-peer-record", payload: &[0x03, 0x02] };
        assert_eq!(verify(&envelope(&other, ED25519)), Err(RecordFault::Unread));
        assert_eq!(verify(b"something else"), Err(RecordFault::Unread));
    }
}
