//! What keeps strangers from choosing whom a peer is connected to.

use super::BookShape;

/// The guards of the address book and of the choice of connections, after Heilman et al., Eclipse Attacks on Bitcoin's Peer-to-Peer
/// Network, 2015. All are on; a simulation switches them off one by one, to see what each is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guards {
    /// Which buckets a peer may be in depends on the network of who told of it, and once it is tried on its own.
    pub groups: bool,
    /// A tried peer gives its place away only when it no longer answers.
    pub test_before_evict: bool,
    /// After a restart it comes back first to peers that it was connected to.
    pub anchors: bool,
    /// One connection of our own to each network.
    pub diversity: bool,
    /// Now and then a peer that it has only heard of is dialled, to see whether it is there.
    pub feelers: bool,
    /// The last of its own connections are for blocks only, so that nobody finds out who is there.
    pub for_blocks: bool,
    /// While all places are taken, somebody without virtues makes room for a newcomer.
    pub eviction: bool,
    /// How large the book is, if not as the peer's role has it.
    pub shape: Option<BookShape>,
}

impl Guards {
    /// All of them.
    pub const ALL: Self = Self {
        groups: true,
        test_before_evict: true,
        anchors: true,
        diversity: true,
        feelers: true,
        for_blocks: true,
        eviction: true,
        shape: None,
    };
}
