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
pub(crate) fn sign(key: &SecretKey, local: &PeerId, now: Wall, addresses: &[Multiaddr]) -> Vec<u8> {
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

/// Whose record this is, and where that peer says it is; `None` when it is not signed by that peer.
pub(crate) fn verify(record: &[u8]) -> Option<(PeerId, Vec<Multiaddr>)> {
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
    if !key.verify_foreign(&form.signed(payload), &signature) {
        return None;
    }
    let signer = peer_id(&key)?;
    let (mut named, mut addresses) = (None, Vec::new());
    for field in Fields(payload) {
        match field.ok()? {
            (1, Value::Bytes(peer)) => named = PeerId::from_bytes(peer).ok(),
            (3, Value::Bytes(info)) if addresses.len() < MAX_ADDRESSES => {
                for field in Fields(info) {
                    if let (1, Value::Bytes(address)) = field.ok()?
                        && address.len() <= MAX_ADDRESS_BYTES
                    {
                        addresses.push(Multiaddr::try_from(address.to_vec()).ok()?);
                    }
                }
            }
            _ => {}
        }
    }
    (named == Some(signer)).then_some((signer, addresses))
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
        assert_eq!(verify(&record), Some((local(), vec![address()])));
        for at in 0..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 1;
            assert!(verify(&changed).is_none(), "byte {at}");
            assert!(verify(&record[..at]).is_none(), "the first {at} bytes");
        }
    }

    #[test]
    fn a_record_of_somebody_else_is_none() {
        let other = SecretKey::from_seed([8; 32]);
        assert!(verify(&sign(&other, &local(), Wall(0), &[address()])).is_none());
    }

    #[test]
    fn a_record_has_a_size_whatever_there_is_to_tell() {
        let long: Multiaddr = format!("/dns4/{}/tcp/1", "a".repeat(200)).parse().unwrap();
        let record = sign(&key(), &local(), Wall(u64::MAX), &[&[long][..], &vec![address(); 100]].concat());
        assert_eq!(verify(&record), Some((local(), vec![address(); MAX_ADDRESSES])));
        assert!(record.len() <= MAX_RECORD_BYTES);
    }
}
