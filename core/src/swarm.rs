//! The libp2p composition every shell shares, and the driver that joins it to [`Node`](crate::node::Node).
//!
//! A shell makes a transport, a [`Behaviour`] with its own extras, a swarm of both ([`swarm`]) and a [`Driver`], and
//! runs it. All that a program wants of the peer goes through its [`Handle`].
//!
//! This folder is exempt from core's rule against clocks and entropy, because libp2p's behaviours read both themselves.
//! It knows no transport and no async runtime.

mod barred;
mod behaviour;
mod closing;
mod codec;
mod connections;
mod dht;
mod direct_only;
mod driver;
mod gossip;
mod handle;
mod limits;
mod meter;
mod pending;
mod places;
mod providers;
#[cfg(test)]
mod records;
mod requests;
mod shell;
mod trace;
mod traffic;
mod webrtc;

pub use behaviour::{Behaviour, BehaviourEvent, swarm};
pub use codec::{Codec, Oversized};
pub use driver::{Driver, Machine};
pub use gossip::Meshing;
pub use handle::{Events, Handle, Notice};
pub use limits::Limits;
pub use shell::{Inbox, InputSender, Shell, inputs};
pub use trace::{FindNode, Near};
pub use webrtc::{
    Backend, ChannelEvents, ConnectionEvents, DataChannel, DirectError, DirectTransport, LOW_WATER, Muxer,
    PeerConnection, WebrtcBehaviour, WebrtcError, WebrtcTransport, webrtc, webrtc_peer,
};
