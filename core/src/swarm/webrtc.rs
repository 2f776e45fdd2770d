//! Direct connections between peers that nobody can dial: libp2p's `/webrtc`.
//!
//! [`webrtc`] makes a transport and a behaviour that belong together. The behaviour opens the signalling stream, on relayed
//! connections only; the transport runs the [session](crate::signalling::Session) on it and hands over the connection. What the
//! browser does is behind [`Backend`], so that all else is tested without one.
//!
//! [`DirectTransport`] dials peers that have an address, by WebRTC-direct, with the same connections and streams.
//!
//! An address is `<a relay's address>/p2p-circuit/webrtc/p2p/<id>`. Whoever dials it must have a relayed connection to that
//! peer: the [`node`](crate::node) sees to it. The other side is the one that the circuit has proven to be there: the stream that tells
//! the certificate's fingerprint runs over it.

mod behaviour;
mod connection;
mod direct;
mod negotiation;
mod stream;
#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
mod transport;

use std::sync::Arc;

use futures::channel::mpsc;
use libp2p::{Multiaddr, PeerId};

pub use self::{
    behaviour::Behaviour as WebrtcBehaviour,
    connection::{ConnectionEvents, Muxer},
    direct::{DirectError, DirectTransport},
    stream::ChannelEvents,
    transport::{Transport as WebrtcTransport, WebrtcError},
};
use crate::{node::Refused, primitives::Mono, signalling::Step};

/// Sending pauses while so many bytes wait in a data channel, and goes on when so few do.
const HIGH_WATER: usize = 256 << 10;
/// A [`DataChannel`] tells when no more than so many bytes wait in it.
pub const LOW_WATER: usize = 64 << 10;

/// Signalling streams that wait for the transport's attention, each way, and refusals that wait to be told.
const MAX_WAITING: usize = 16;

/// What a platform has of WebRTC.
pub trait Backend: Send + Sync + 'static {
    /// Makes a connection object. What happens to it is told to `events`.
    ///
    /// # Errors
    /// In words, when the platform makes no more of them.
    fn connect(&self, events: ConnectionEvents) -> Result<Box<dyn PeerConnection>, String>;

    /// What time it is.
    fn now(&self) -> Mono;

    /// Bytes that nobody can guess.
    ///
    /// # Errors
    /// In words, when the platform has none.
    fn random(&self) -> Result<[u8; 32], String>;

    /// The platform does not let WebRTC-direct be spoken, for this reason in its words: for the person to know.
    fn refused(&self, reason: &str);
}

/// A connection object. It is closed when it is dropped.
pub trait PeerConnection: Send + 'static {
    /// Begins something of which the [`ConnectionEvents`] tell the outcome.
    fn begin(&mut self, step: Step);

    /// Makes an offer, without keeping to it yet: ends in [`Happened::Described`](crate::signalling::Happened::Described).
    fn propose(&mut self);

    /// Keeps to this offer, which was changed since it was made, and takes this answer to it. Where the platform does not:
    /// [`Happened::Refused`](crate::signalling::Happened::Refused).
    fn settle(&mut self, offer: String, answer: String);

    /// Opens the data channel that both sides know of without a word: without a label, and with the number 0. What happens to it is told to
    /// `events`.
    ///
    /// # Errors
    /// In words, when the connection is of no use any more.
    fn handshake(&mut self, events: ChannelEvents) -> Result<Box<dyn DataChannel>, String>;

    /// Opens a data channel without a label. What happens to it is told to `events`.
    ///
    /// # Errors
    /// In words, when the connection is of no use any more.
    fn open(&mut self, events: ChannelEvents) -> Result<Box<dyn DataChannel>, String>;
}

/// A data channel. It is closed when it is dropped, after what waits in it is sent.
pub trait DataChannel: Send + 'static {
    /// Sends one message. Nothing may be told to the [`ChannelEvents`] before this returns.
    ///
    /// # Errors
    /// In words, when it cannot be sent.
    fn send(&mut self, message: &[u8]) -> Result<(), String>;

    /// How many bytes wait to be sent.
    fn waiting(&self) -> usize;
}

/// Joins the two: the transport asks for a stream to a peer, the behaviour tells of those that others open, and of what the transport
/// refused.
#[must_use]
pub fn webrtc(local: PeerId, backend: Arc<dyn Backend>) -> (WebrtcTransport, WebrtcBehaviour) {
    let (asks, asked) = mpsc::channel(MAX_WAITING);
    let (opened, incoming) = mpsc::channel(MAX_WAITING);
    let (refuse, refused) = mpsc::channel(MAX_WAITING);
    let refusals = Refusals(refuse);
    let transport = WebrtcTransport::new(local, backend, asks, incoming, refusals.clone());
    (transport, WebrtcBehaviour::new(asked, opened, (refusals, refused)))
}

/// Where it is told what was refused.
#[derive(Clone)]
struct Refusals(mpsc::Sender<Refused>);

impl Refusals {
    fn tell(&mut self, refused: Refused) {
        // When so many wait to be counted, one more tells nothing new; and nobody counts once the swarm has ended.
        let _ = self.0.try_send(refused);
    }
}

/// The peer that an address says can be reached by `/webrtc`.
#[must_use]
pub fn webrtc_peer(address: &Multiaddr) -> Option<PeerId> {
    use libp2p::multiaddr::Protocol;
    let mut last = address.iter().skip_while(|part| !matches!(part, Protocol::WebRTC)).skip(1);
    match (last.next(), last.next()) {
        (Some(Protocol::P2p(peer)), None) => Some(peer),
        _ => None,
    }
}
