//! Peer ids are ed25519 keys (libp2p peer id specification).

use libp2p::PeerId;

use crate::primitives::PublicKey;

/// What the id of a peer with an ed25519 key begins with: an identity multihash of the key's protobuf form, whose type
/// is 1 and whose data is 32 bytes.
const ED25519: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// The id of the peer with this key.
pub(crate) fn peer_id(key: &PublicKey) -> Option<PeerId> {
    PeerId::from_bytes(&[ED25519.as_slice(), &key.0].concat()).ok()
}

/// The key in a peer's id; `None` for an id of another kind.
pub(super) fn public_key(peer: &PeerId) -> Option<PublicKey> {
    let bytes = peer.to_bytes();
    Some(PublicKey(bytes.strip_prefix(&ED25519)?.try_into().ok()?))
}
