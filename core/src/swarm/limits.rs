//! How many connections a peer takes.

use super::{pending::Pending, places::Places};
use crate::node::Role;

/// How many connections a peer takes. One costs about 100 KiB when idle and up to a few MiB under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Opened by others.
    pub inbound: u32,
    /// Opened by this peer.
    pub outbound: u32,
    /// Not secured yet, each way. They cost others nothing, so there are few.
    pub pending: u32,
    /// So many of those that others open may come from one host: a school comes back at once after a relay's restart.
    pub pending_of_host: u32,
    /// To one peer: a direct one, a relayed one, and as many again while they are being replaced.
    pub per_peer: u32,
}

impl Limits {
    /// For a peer among others: ten times a full gossip mesh.
    pub const PEER: Self = Self { inbound: 120, outbound: 60, pending: 60, pending_of_host: 8, per_peer: 4 };

    /// For a relay: each of its reservations is a connection, and about as many peers come by without one.
    pub const RELAY: Self =
        Self { inbound: 2048, outbound: 120, pending: 256, pending_of_host: 32, per_peer: 4 };

    /// For a tab, which shares a page's memory and its some 500 WebRTC connections: three times a full gossip mesh. Two tabs may
    /// open circuits to each other over several relays at once.
    pub const TAB: Self = Self { inbound: 18, outbound: 40, pending: 24, pending_of_host: 8, per_peer: 6 };

    /// Those of a peer of this kind.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Native => Self::PEER,
            Role::Relay => Self::RELAY,
            Role::Browser => Self::TAB,
        }
    }

    /// The most connections of others that stay. The rest of [`Self::inbound`] is for newcomers, until another has closed for them.
    #[must_use]
    pub const fn guests(self) -> usize {
        let spare = self.inbound / 8;
        (self.inbound - spare) as usize
    }

    pub(super) const fn pending(self) -> Pending {
        Pending::new(self.pending_of_host as usize)
    }

    pub(super) fn places(self) -> Places {
        Places::new(self)
    }
}
