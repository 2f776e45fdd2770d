//! What kind of peer one is.

use serde::{Deserialize, Serialize};

/// What kind of peer this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A server or desktop.
    Native,
    /// A circuit relay.
    Relay,
    /// A browser tab.
    Browser,
}

impl Role {
    /// On how many relays such a peer keeps a slot while nobody can dial it, unless it is told otherwise: one may fail.
    #[must_use]
    pub const fn slots(self) -> usize {
        match self {
            Self::Native | Self::Browser => 2,
            Self::Relay => 0,
        }
    }
    /// How many bytes a second such a peer sends to those who ask for blocks, states, files and history, unless it is told otherwise: half
    /// of a gigabit a second, and a quarter of that in a tab.
    #[must_use]
    pub const fn upload(self) -> u64 {
        match self {
            Self::Native | Self::Relay => 64 << 20,
            Self::Browser => 16 << 20,
        }
    }
}
