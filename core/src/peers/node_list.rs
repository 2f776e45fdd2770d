//! The list of peers to begin with that a relay serves as `/bootstrap.json`, signed by its peer key.
//!
//! The signature says who vouches for the list, for which chain and until when; it does not say that they can be
//! trusted. Whoever is dialled has to prove its id, and everything it tells about the chain is verified.

use borsh::BorshSerialize;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use serde::{Deserialize, Serialize};

use super::identity::{peer_id, public_key};
use crate::primitives::{Domain, Hash, SecretKey, Signature, Wall, encode};

/// The most bytes of the JSON text.
pub const MAX_NODE_LIST_BYTES: usize = 64 << 10;
/// The most peers in a list.
const MAX_PEERS: usize = 64;
/// The most addresses of one of them.
const MAX_ADDRESSES: usize = 16;
/// The most STUN servers: a browser asks all of them before each connection.
const MAX_STUN: usize = 4;

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
    /// Where STUN is answered (RFC 8489), as multiaddresses with `/udp/` and a port.
    pub stun: Vec<String>,
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
    /// It is signed by somebody whose lists nobody said to believe.
    #[error("the list of peers is signed by {0}, who is not known here")]
    Stranger(PeerId),
    /// It was signed in the future, as the clock here has it.
    #[error("the list of peers was signed in the future; check this machine's clock")]
    Ahead,
    /// A newer one of the same signer was seen before.
    #[error("the list of peers is older than one that was seen before")]
    Older,
}

impl NodeListError {
    /// The name in counts of what was refused.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "node-list-malformed",
            Self::OtherChain(_) => "node-list-of-another-chain",
            Self::Expired => "node-list-expired",
            Self::Signature => "node-list-signature",
            Self::Empty => "node-list-empty",
            Self::Stranger(_) => "node-list-stranger",
            Self::Ahead => "node-list-ahead",
            Self::Older => "node-list-older",
        }
    }
}

#[derive(BorshSerialize)]
struct Signed<'a> {
    issued: u64,
    expires: u64,
    peers: &'a [ListedPeer],
    stun: &'a [String],
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
        stun: &[Multiaddr],
    ) -> Self {
        let expires = now.0.saturating_add(lifetime);
        let peers = peers.iter().map(|(id, addresses)| ListedPeer {
            id: id.to_string(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
        });
        let peers: Vec<_> = peers.collect();
        let stun: Vec<_> = stun.iter().take(MAX_STUN).map(ToString::to_string).collect();
        let signed = encode(&Signed { issued: now.0, expires, peers: &peers, stun: &stun });
        let signature = key.sign(Domain::NodeList, &chain, &signed);
        Self {
            chain,
            issued: now.0,
            expires,
            peers,
            stun,
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
        if self.stun.len() > MAX_STUN {
            return Err(NodeListError::Malformed(format!("more than {MAX_STUN} STUN servers")));
        }
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
        let signed = encode(&Signed {
            issued: self.issued,
            expires: self.expires,
            peers: &self.peers,
            stun: &self.stun,
        });
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

    /// Who it says has signed it; [`Self::verify`] tells whether that is so.
    ///
    /// # Errors
    /// When that is no peer id.
    pub fn signer(&self) -> Result<PeerId, NodeListError> {
        self.signer.parse().map_err(|_| NodeListError::Signature)
    }

    /// The STUN servers as URIs (RFC 7064); what makes none is left out. Verify the list first.
    #[must_use]
    pub fn stun_uris(&self) -> Vec<String> {
        self.stun.iter().take(MAX_STUN).filter_map(|text| stun_uri(&text.parse().ok()?)).collect()
    }
}

fn stun_uri(address: &Multiaddr) -> Option<String> {
    let mut parts = address.iter();
    let (host, port) = (parts.next()?, parts.next()?);
    let host = match host {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => format!("[{ip}]"),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
            (plain && !name.is_empty() && name.len() <= 253).then(|| name.to_string())?
        }
        _ => return None,
    };
    match port {
        Protocol::Udp(port) if port > 0 && parts.next().is_none() => Some(format!("stun:{host}:{port}")),
        _ => None,
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
        NodeList::sign(&key(), CHAIN, NOW, 500, &peers(), &["/ip4/192.0.2.1/udp/3478".parse().unwrap()])
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
        let mut sent_elsewhere = list();
        sent_elsewhere.stun[0] = "/ip4/192.0.2.2/udp/3478".into();
        assert_eq!(sent_elsewhere.verify(&CHAIN, NOW), Err(NodeListError::Signature));
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
    fn stun_servers_become_uris_and_what_is_none_is_left_out() {
        let uri = |text: &str| stun_uri(&text.parse().unwrap());
        assert_eq!(list().stun_uris(), ["stun:192.0.2.1:3478"]);
        assert_eq!(uri("/ip6/2001:db8::1/udp/1").as_deref(), Some("stun:[2001:db8::1]:1"));
        assert_eq!(uri("/dns4/stun.example.org/udp/3478").as_deref(), Some("stun:stun.example.org:3478"));
        for bad in [
            "/ip4/192.0.2.1/tcp/3478",
            "/ip4/192.0.2.1/udp/0",
            "/ip4/192.0.2.1/udp/1/quic-v1",
            "/dns/a?b/udp/1",
        ] {
            assert_eq!(uri(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_too_long_or_says_nothing_is_refused() {
        let mut long = list();
        long.peers = vec![long.peers[0].clone(); MAX_PEERS + 1];
        assert!(matches!(long.verify(&CHAIN, NOW), Err(NodeListError::Malformed(_))));
        let mut curious = list();
        curious.stun = vec![curious.stun[0].clone(); MAX_STUN + 1];
        assert!(matches!(curious.verify(&CHAIN, NOW), Err(NodeListError::Malformed(_))));
        let nobody = NodeList::sign(&key(), CHAIN, NOW, 500, &[], &[]);
        assert_eq!(nobody.verify(&CHAIN, NOW), Err(NodeListError::Empty));
    }
}
