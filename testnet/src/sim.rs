//! A world in virtual time: many real [`Node`](weft_core::node::Node)s, and everything a shell would do for them.
//!
//! The world carries out what nodes ask for (dials, requests, gossip, jobs, storage) after modelled delays, and jumps
//! from one event to the next. All chance comes from one seed: the same seed and the same calls give the same run, byte
//! for byte, which [`World::trace`] attests. A run that panics prints its seed.
//!
//! What is real: every decision a peer makes. What is a model: links (delay, jitter, loss), the disk's writer, the
//! duration of jobs, and gossip, which floods with deduplication and verdicts but has no mesh.

mod commands;
mod connections;
mod dice;
mod disk;
mod drive;
mod event;
mod gossip;
mod jobs;
mod network;
mod peer;
mod requests;
mod trace;
mod watch;
mod world;

pub use disk::{Archived, Keep, Storage};
pub use network::Network;
pub use peer::{Faults, NodeOptions, PeerIx, Puppet, Seen, Tamper};
pub use world::{EPOCH, World};
