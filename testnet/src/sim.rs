//! A world in virtual time: many real [`Node`](weft_core::node::Node)s, and everything a shell would do for them.
//!
//! The world carries out what nodes ask for (dials, requests, gossip, jobs, storage) after modelled delays, and jumps
//! from one event to the next. All chance comes from one seed: the same seed and the same calls give the same run, byte
//! for byte, which [`World::trace`] attests. A run that panics prints its seed.
//!
//! What must hold in every run is looked at after every step of a peer, and in a world of many peers now and then: see
//! [`World::check_when_asked`].
//!
//! What is real: every decision a peer makes. What is a model: links (delay, jitter, loss, bandwidth with a queue at each
//! end, whether a peer can be dialled), the disk's writer, the duration of jobs, and gossip: a flood, or
//! [gossipsub as its specification says](gossipsub).

mod access;
mod calendar;
mod commands;
mod connections;
mod dice;
mod disk;
mod drive;
mod event;
mod gossip;
pub mod gossipsub;
mod halves;
mod ids;
mod jobs;
mod measure;
mod network;
mod peer;
mod report;
mod requests;
mod run;
mod scripts;
mod table;
mod trace;
mod traffic;
mod watch;
mod whole;
mod world;

pub use access::{Access, Nat};
pub(crate) use dice::Dice;
pub use disk::{Archived, Contents, Keep, Storage};
pub use gossip::Gossip;
pub use network::{Network, country_named};
pub use peer::{Faults, NodeOptions, PeerIx, Puppet, Seen, Tamper};
pub use run::run;
pub use traffic::{Amount, ByKind, Kind, Traffic};
pub use world::{EPOCH, World};
