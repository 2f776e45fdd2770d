//! The one state machine that owns all of a peer.

mod io;
mod view;
mod work;

use libp2p::{Multiaddr, PeerId};

pub use io::*;
pub use view::*;
pub use work::*;

use crate::{
    chain::{Genesis, GenesisError},
    primitives::{Hash, Mono, Now, SecretKey},
    store::Store,
};

/// What a peer is, decided before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This peer's id.
    pub local: PeerId,
    /// Its kind.
    pub role: Role,
    /// The chain to follow; without one only peers and chat run.
    pub genesis: Option<Genesis>,
    /// Propose blocks with this key.
    pub validator: Option<SecretKey>,
    /// Peers to connect to, and to come back to.
    pub bootstrap: Vec<Multiaddr>,
    /// The most bytes of transactions the mempool holds.
    pub mempool_bytes: usize,
    /// The most jobs in flight: about twice the number of workers.
    pub max_jobs: usize,
}

/// Why a peer cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The genesis is not one.
    #[error("the genesis is invalid: {0}")]
    Genesis(#[from] GenesisError),
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

/// A peer's state machine. See the module documentation for how to drive it.
#[derive(Debug)]
pub struct Node;

impl Node {
    /// A peer with what `store` holds. `seed` is all the randomness it will ever have.
    ///
    /// # Errors
    /// When genesis or store do not allow a start.
    pub fn new(
        config: Config,
        store: Box<dyn Store + Send>,
        seed: [u8; 32],
        now: Now,
    ) -> Result<Self, StartError> {
        let _ = (config, store, seed, now);
        Ok(Self)
    }

    /// Takes in what happened. Drain [`Self::poll_output`] afterwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        let _ = (now, input);
    }

    /// The next effect to carry out, or `None` when there is none until the next `handle`.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When [`Self::handle_timeout`] wants to be called; changes with every `handle`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        None
    }

    /// Does what is due. Calling it early or twice is harmless. Drain [`Self::poll_output`] afterwards.
    pub fn handle_timeout(&mut self, now: Now) {
        let _ = now;
    }
}
