//! The ways in which peers are found.

use borsh::{BorshDeserialize, BorshSerialize};

/// How this peer came to know of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub enum Found {
    /// A person gave its address.
    Named,
    /// It is in the list of peers that a relay serves.
    NodeList,
    /// It answered in the local network (multicast DNS, RFC 6762).
    Mdns,
    /// Another peer passed on what it says of itself.
    Exchange,
    /// It is in the distributed hash table.
    Dht,
    /// It connected to us.
    Inbound,
    /// The DNS has it (`/dnsaddr`).
    Dns,
    /// It registered with a relay (libp2p's rendezvous).
    Rendezvous,
}

impl Found {
    /// The word for it in output and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::NodeList => "node-list",
            Self::Mdns => "mdns",
            Self::Exchange => "exchange",
            Self::Dht => "dht",
            Self::Inbound => "inbound",
            Self::Dns => "dns",
            Self::Rendezvous => "rendezvous",
        }
    }
}
