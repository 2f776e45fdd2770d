//! The ways in which a peer finds others. Each can be switched off, so that a person decides whom it asks, and a test sees what each does
//! alone.

use std::{fmt, str::FromStr};

use super::{Config, Discovery, NodeLists};
use crate::peers::is_name;

/// A way to find other peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// The addresses that it is given at the start.
    Bootstrap,
    /// Names in the DNS that stand for such addresses.
    Names,
    /// Signed lists of peers.
    Lists,
    /// Other peers, who are asked for more.
    Exchange,
    /// Lookups in the distributed hash table.
    Dht,
    /// What others have written down at a relay.
    Rendezvous,
}

impl Way {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Bootstrap, Self::Names, Self::Lists, Self::Exchange, Self::Dht, Self::Rendezvous];

    /// Its name where it is written down.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Names => "dns",
            Self::Lists => "node-list",
            Self::Exchange => "exchange",
            Self::Dht => "dht",
            Self::Rendezvous => "rendezvous",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no such way to find peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such way to find peers")]
pub struct ParseWayError;

impl FromStr for Way {
    type Err = ParseWayError;

    fn from_str(text: &str) -> Result<Self, ParseWayError> {
        Self::ALL.into_iter().find(|way| way.name() == text).ok_or(ParseWayError)
    }
}

impl Config {
    /// Switches a way to find peers off.
    pub fn switch_off(&mut self, way: Way) {
        match way {
            Way::Bootstrap => self.bootstrap.retain(is_name),
            Way::Names => self.bootstrap.retain(|address| !is_name(address)),
            Way::Lists => self.lists = NodeLists::default(),
            Way::Exchange => self.discovery.exchange = false,
            Way::Dht => self.discovery.dht = false,
            Way::Rendezvous => self.discovery.rendezvous = false,
        }
        let Discovery { exchange, dht, rendezvous, .. } = self.discovery;
        if !(exchange || dht || rendezvous) {
            // Nobody tells the address book of anybody then, and whom it knows from earlier is not to be dialled either.
            self.discovery.outbound = 0;
        }
    }
}
