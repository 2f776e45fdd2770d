//! The list of peers to begin with that a relay serves as `/bootstrap.json`, signed by its peer key.
//!
//! The signature says who vouches for the list, for which chain and until when; it does not say that they can be
//! trusted. Whoever is dialled has to prove its id, and everything it tells about the chain is verified.

use borsh::BorshSerialize;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use super::identity::{peer_id, public_key};
use crate::primitives::{Domain, Hash, SecretKey, Signature, Wall, encode};

/// The most bytes of the JSON text.
pub const MAX_NODE_LIST_BYTES: usize = 64 << 10;
/// The most peers in a list.
const MAX_PEERS: usize = 64;
/// The most addresses of one of them.
const MAX_ADDRESSES: usize = 16;

/// A peer to begin with.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedPeer {
    /// Its peer id.
    pub id: String,
    /// Where it can be dialled, as multiaddresses.
    pub addresses: Vec<String>,
}

/// A signed list of peers, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeList {
    /// The genesis hash of the chain that the peers follow.
    pub chain: Hash,
    /// When it was signed, in milliseconds since the Unix epoch.
    pub issued: u64,
    /// When it is no longer to be used, in milliseconds since the Unix epoch.
    pub expires: u64,
    /// The peers.
    pub peers: Vec<ListedPeer>,
    /// The peer id of who signed.
    pub signer: String,
    /// The signature of the signer's peer key, as hex.
    pub signature: String,
}

/// Why a list of peers is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeListError {
    /// It is not a list at all, or a longer one than allowed.
    #[error("the list of peers cannot be read: {0}")]
    Malformed(String),
    /// It is for another chain.
    #[error("the list of peers is for chain {0}, and this is another")]
    OtherChain(Hash),
    /// It is too old, or the clock here is wrong.
    #[error("the list of peers has expired; if it was made just now, check this machine's clock")]
    Expired,
    /// The signature is not the signer's.
    #[error("the list of peers is not signed by the peer that it names as its signer")]
    Signature,
    /// Nobody in it has an address that can be read.
    #[error("the list of peers names nobody")]
    Empty,
}

#[derive(BorshSerialize)]
struct Signed<'a> {
    issued: u64,
    expires: u64,
    peers: &'a [ListedPeer],
}

impl NodeList {
    /// Signs a list for the chain with this genesis hash, good for `lifetime` milliseconds from `now`. `key` is the
    /// signer's peer key.
    #[must_use]
    pub fn sign(
        key: &SecretKey,
        chain: Hash,
        now: Wall,
        lifetime: u64,
        peers: &[(PeerId, Vec<Multiaddr>)],
    ) -> Self {
        let expires = now.0.saturating_add(lifetime);
        let peers = peers.iter().map(|(id, addresses)| ListedPeer {
            id: id.to_string(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
        });
        let peers: Vec<_> = peers.collect();
        let signed = encode(&Signed { issued: now.0, expires, peers: &peers });
        let signature = key.sign(Domain::NodeList, &chain, &signed);
        Self {
            chain,
            issued: now.0,
            expires,
            peers,
            signer: peer_id(&key.public()).map(|id| id.to_string()).unwrap_or_default(),
            signature: hex::encode(signature.0),
        }
    }

    /// The peers in the list, with the addresses that can be read, if it is for this chain, in time, and signed by
    /// whom it says.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn verify(&self, chain: &Hash, now: Wall) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, NodeListError> {
        if self.peers.len() > MAX_PEERS || self.peers.iter().any(|peer| peer.addresses.len() > MAX_ADDRESSES)
        {
            let bound = format!("more than {MAX_PEERS} peers, or {MAX_ADDRESSES} addresses of one");
            return Err(NodeListError::Malformed(bound));
        }
        if self.chain != *chain {
            return Err(NodeListError::OtherChain(self.chain));
        }
        if now.0 >= self.expires {
            return Err(NodeListError::Expired);
        }
        let signer =
            self.signer.parse().ok().as_ref().and_then(public_key).ok_or(NodeListError::Signature)?;
        let mut signature = Signature([0; 64]);
        hex::decode_to_slice(&self.signature, &mut signature.0).map_err(|_| NodeListError::Signature)?;
        let signed = encode(&Signed { issued: self.issued, expires: self.expires, peers: &self.peers });
        if !signer.verify(Domain::NodeList, chain, &signed, &signature) {
            return Err(NodeListError::Signature);
        }
        let peers = self.peers.iter().filter_map(|peer| {
            let addresses = peer.addresses.iter().filter_map(|address| address.parse().ok());
            Some((peer.id.parse().ok()?, addresses.collect::<Vec<_>>()))
        });
        let peers: Vec<_> = peers.filter(|(_, addresses)| !addresses.is_empty()).collect();
        if peers.is_empty() { Err(NodeListError::Empty) } else { Ok(peers) }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const CHAIN: Hash = Hash([3; 32]);
    const NOW: Wall = Wall(1000);

    fn key() -> SecretKey {
        SecretKey::from_seed([1; 32])
    }

    fn peers() -> Vec<(PeerId, Vec<Multiaddr>)> {
        let id = peer_id(&key().public()).unwrap();
        vec![(id, vec!["/ip4/127.0.0.1/tcp/9001/ws".parse().unwrap()])]
    }

    fn list() -> NodeList {
        NodeList::sign(&key(), CHAIN, NOW, 500, &peers())
    }

    #[test]
    fn a_signed_list_gives_its_peers_until_it_expires() {
        assert_eq!(list().verify(&CHAIN, NOW), Ok(peers()));
        assert_eq!(list().verify(&CHAIN, Wall(1499)), Ok(peers()));
        assert_eq!(list().verify(&CHAIN, Wall(1500)), Err(NodeListError::Expired));
    }

    #[test]
    fn the_signer_is_named_by_the_peer_id_that_libp2p_gives_the_key() {
        assert_eq!(list().signer, "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5");
    }

    #[test]
    fn nothing_can_be_changed() {
        let mut forged = list();
        forged.peers[0].addresses[0] = "/ip4/127.0.0.1/tcp/6666/ws".into();
        assert_eq!(forged.verify(&CHAIN, NOW), Err(NodeListError::Signature));
        let mut prolonged = list();
        prolonged.expires += 1;
        assert_eq!(prolonged.verify(&CHAIN, NOW), Err(NodeListError::Signature));
        let mut claimed = list();
        claimed.signer = peer_id(&SecretKey::from_seed([2; 32]).public()).unwrap().to_string();
        assert_eq!(claimed.verify(&CHAIN, NOW), Err(NodeListError::Signature));
        let other = Hash([4; 32]);
        assert_eq!(list().verify(&other, NOW), Err(NodeListError::OtherChain(CHAIN)));
        let mut moved = list();
        moved.chain = other;
        assert_eq!(moved.verify(&other, NOW), Err(NodeListError::Signature));
    }

    #[test]
    fn what_is_too_long_or_says_nothing_is_refused() {
        let mut long = list();
        long.peers = vec![long.peers[0].clone(); MAX_PEERS + 1];
        assert!(matches!(long.verify(&CHAIN, NOW), Err(NodeListError::Malformed(_))));
        let nobody = NodeList::sign(&key(), CHAIN, NOW, 500, &[]);
        assert_eq!(nobody.verify(&CHAIN, NOW), Err(NodeListError::Empty));
    }
}
