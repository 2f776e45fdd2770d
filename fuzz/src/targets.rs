//! The targets, by the folder of core they are about.

pub mod chain;
pub mod content;
pub mod gossip;
pub mod mempool;
pub mod node;
pub mod relay;
pub mod signalling;
pub mod state;
pub mod store;
pub mod stun;
pub mod sync;
pub mod text;
