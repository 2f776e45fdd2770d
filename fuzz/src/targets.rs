//! The targets, by the folder of core they are about.

pub mod chain;
pub mod content;
pub mod fetch;
pub mod gossip;
pub mod mempool;
pub mod node;
pub mod peers;
pub mod relay;
pub mod rendezvous;
pub mod signalling;
pub mod state;
pub mod store;
pub mod stun;
pub mod swarm;
pub mod sync;
pub mod text;
