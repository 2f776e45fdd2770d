//! What a peer says of itself, signed, so that others can pass it on and nobody can change it.
//!
//! A libp2p *peer record* (RFC 0003 of the libp2p specifications) says the same; this one is bound to a chain, and it expires.

use borsh::{BorshDeserialize, BorshSerialize};
use libp2p::{Multiaddr, PeerId};

use super::identity::peer_id;
use crate::primitives::{
    Domain, Hash, PublicKey, SecretKey, Signature, SignatureBatch, Wall, at_most, encode,
};

/// The most addresses of one peer.
pub const MAX_RECORD_ADDRESSES: usize = 8;
/// The most bytes of one of them.
const MAX_ADDRESS_BYTES: usize = 160;
/// How long a record is passed on and dialled: a day.
pub const RECORD_LIFETIME_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// How far in the future it may be signed: clocks differ.
const CLOCK_DRIFT_MILLIS: u64 = 10 * 60 * 1000;

/// The addresses of a peer, in the words of that peer.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PeerRecord {
    content: Content,
    signature: Signature,
}

#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Content {
    /// The peer's key, from which its id follows.
    key: PublicKey,
    /// When it was signed, in milliseconds since the Unix epoch; of two records the later one counts.
    issued: u64,
    #[borsh(deserialize_with = "addresses")]
    addresses: Vec<Vec<u8>>,
}

fn addresses<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Vec<Vec<u8>>> {
    let addresses: Vec<Vec<u8>> = at_most::<MAX_RECORD_ADDRESSES, _, _>(reader)?;
    if addresses.iter().any(|address| address.len() > MAX_ADDRESS_BYTES) {
        return Err(borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, "an address is too long"));
    }
    Ok(addresses)
}

impl PeerRecord {
    /// What the peer with this key says of itself on the chain with this genesis hash; addresses past the
    /// [most](MAX_RECORD_ADDRESSES), and those that are too long, are left out.
    #[must_use]
    pub fn sign(key: &SecretKey, chain: &Hash, now: Wall, addresses: &[Multiaddr]) -> Self {
        let addresses =
            addresses.iter().map(Multiaddr::to_vec).filter(|bytes| bytes.len() <= MAX_ADDRESS_BYTES);
        let addresses = addresses.take(MAX_RECORD_ADDRESSES).collect();
        let content = Content { key: key.public(), issued: now.0, addresses };
        let signature = key.sign(Domain::PeerRecord, chain, &encode(&content));
        Self { content, signature }
    }

    /// Whose it is; `None` when the key is none.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        peer_id(&self.content.key)
    }

    /// When it was signed.
    #[must_use]
    pub const fn issued(&self) -> Wall {
        Wall(self.content.issued)
    }

    /// Whether it can be used at this time: it is not too old, and not of the future.
    #[must_use]
    pub const fn is_timely(&self, now: Wall) -> bool {
        self.content.issued <= now.0.saturating_add(CLOCK_DRIFT_MILLIS)
            && now.0 < self.content.issued.saturating_add(RECORD_LIFETIME_MILLIS)
    }

    /// Where the peer can be dialled, without its id; what is no address is left out.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let parsed =
            self.content.addresses.iter().filter_map(|bytes| Multiaddr::try_from(bytes.clone()).ok());
        parsed.collect()
    }

    /// Adds the claim that the signature is right to a batch.
    pub(super) fn add_to_batch(&self, chain: &Hash, batch: &mut SignatureBatch) {
        batch.add(&self.content.key, Domain::PeerRecord, chain, &encode(&self.content), &self.signature);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::primitives::decode;

    const CHAIN: Hash = Hash([3; 32]);
    const NOW: Wall = Wall(1_000_000_000);

    fn key() -> SecretKey {
        SecretKey::from_seed([1; 32])
    }

    fn record() -> PeerRecord {
        PeerRecord::sign(&key(), &CHAIN, NOW, &["/ip4/8.8.8.8/tcp/4100".parse().unwrap()])
    }

    fn is_signed(record: &PeerRecord, chain: &Hash) -> bool {
        let mut batch = SignatureBatch::default();
        record.add_to_batch(chain, &mut batch);
        batch.verify()
    }

    #[test]
    fn a_record_names_its_peer_and_where_it_is() {
        let record = record();
        assert!(is_signed(&record, &CHAIN));
        let peer = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5".parse().unwrap();
        assert_eq!(record.peer(), Some(peer));
        assert_eq!(record.addresses(), ["/ip4/8.8.8.8/tcp/4100".parse::<Multiaddr>().unwrap()]);
    }

    #[test]
    fn a_record_is_for_one_chain_and_one_day() {
        let record = record();
        assert!(!is_signed(&record, &Hash([4; 32])));
        assert!(record.is_timely(NOW) && record.is_timely(Wall(NOW.0 - CLOCK_DRIFT_MILLIS)));
        assert!(!record.is_timely(Wall(NOW.0 - CLOCK_DRIFT_MILLIS - 1)));
        assert!(record.is_timely(Wall(NOW.0 + RECORD_LIFETIME_MILLIS - 1)));
        assert!(!record.is_timely(Wall(NOW.0 + RECORD_LIFETIME_MILLIS)));
    }

    #[test]
    fn with_any_bit_flipped_it_is_no_record_of_that_peer() {
        let bytes = encode(&record());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(flipped) = decode::<PeerRecord>(&flipped, 4096) {
                assert!(!is_signed(&flipped, &CHAIN), "bit {bit}");
            }
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = format!(
            "{}00ca9a3b0000000001000000080000000408080808061004{}",
            "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c",
            hex::encode(record().signature.0)
        );
        assert_eq!(hex::encode(encode(&record())), bytes);
    }

    #[test]
    fn what_is_too_long_is_refused_and_never_signed() {
        let many = vec!["/ip4/8.8.8.8/tcp/4100".parse::<Multiaddr>().unwrap(); 20];
        assert_eq!(PeerRecord::sign(&key(), &CHAIN, NOW, &many).addresses().len(), MAX_RECORD_ADDRESSES);
        let mut crowded = record();
        crowded.content.addresses = vec![vec![0]; MAX_RECORD_ADDRESSES + 1];
        assert!(decode::<PeerRecord>(&encode(&crowded), 4096).is_err());
        let mut long = record();
        long.content.addresses = vec![vec![0; MAX_ADDRESS_BYTES + 1]];
        assert!(decode::<PeerRecord>(&encode(&long), 4096).is_err());
    }
}
