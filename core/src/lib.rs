//! Everything a Weft peer decides: the same on a server and in a browser tab.
//!
//! This crate has no sockets, clocks, threads, files or entropy. A shell feeds [`node::Node`] with inputs and carries
//! out its outputs; `swarm` is the libp2p composition that every shell shares.

pub mod chain;
pub mod content;
pub mod finality;
pub mod gossip;
pub mod mempool;
pub mod node;
pub mod peers;
pub mod primitives;
pub mod signalling;
pub mod state;
pub mod store;
pub mod swarm;
pub mod sync;
