//! What a node is told at its start.

use libp2p::{Multiaddr, PeerId};

use super::{Discovery, NodeLists, Prune, Without};
use crate::{
    chain::{Genesis, GenesisError},
    gossip::TxMode,
    peers::{AddressRange, Role},
    primitives::{Hash, SecretKey},
    sync::Strategy,
};

/// What a peer is, decided before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This peer's id.
    pub local: PeerId,
    /// Its kind.
    pub role: Role,
    /// Signs what it tells others about itself; without it they cannot pass its addresses on.
    pub key: Option<SecretKey>,
    /// How it looks for others beyond those in `bootstrap`.
    pub discovery: Discovery,
    /// On how many relays it keeps a slot while nobody can dial it; see [`Role::slots`].
    pub slots: usize,
    /// The chain to follow; without one only peers and chat run.
    pub genesis: Option<Genesis>,
    /// Propose blocks with this key.
    pub validator: Option<SecretKey>,
    /// Peers to connect to, and to come back to.
    pub bootstrap: Vec<Multiaddr>,
    /// Where signed lists of others can be had. Those of the last peer of an address in `bootstrap` are believed.
    pub lists: NodeLists,
    /// How to join the chain, unless the store holds it already: then the peer goes on from there.
    pub strategy: Strategy,
    /// How much of the past it keeps.
    pub prune: Prune,
    /// The most bytes of transactions the mempool holds.
    pub mempool_bytes: usize,
    /// How it passes transactions on and wants to learn of them.
    pub tx_mode: TxMode,
    /// The most connections that others opened, less than the shell lets in, so that newcomers are heard before one of the others
    /// leaves.
    pub max_inbound: usize,
    /// Where proxies are through which others come: who connects from there could be anywhere, so nothing follows from its address.
    pub proxies: Vec<AddressRange>,
    /// How many bytes a second it sends to those who ask for blocks, states, files and history, half of it to one host; see [`Role::upload`].
    pub upload: u64,
    /// The most jobs in flight: about twice the number of workers.
    pub max_jobs: usize,
    /// What it does without: nothing, but in simulations and benchmarks.
    pub without: Without,
}

/// Why a peer cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The genesis is not one.
    #[error("the genesis is invalid: {0}")]
    Genesis(#[from] GenesisError),
    /// A validator must execute what it proposes and votes for.
    #[error(
        "a validator cannot be light, since it proposes and votes for what it has executed: choose another strategy"
    )]
    LightValidator,
    /// The store holds another chain.
    #[error(
        "the data directory belongs to chain {stored}, and the genesis given is {given}: use another directory"
    )]
    OtherChain {
        /// The genesis hash in the store.
        stored: Hash,
        /// The genesis hash of the configuration.
        given: Hash,
    },
    /// The store was written by another version.
    #[error("the data was written in format {stored}, and this version reads format {supported}")]
    Schema {
        /// The format in the store.
        stored: u32,
        /// The format this version reads.
        supported: u32,
    },
    /// What is stored makes no sense.
    #[error("the stored data is corrupt: {0}; move the data directory away and synchronise again")]
    Corrupt(String),
}
