//! Two browsers agree on a WebRTC connection, and speak libp2p over it.
//!
//! Neither can be dialled, so they begin on a circuit through a relay that both are connected to. On it they exchange what
//! WebRTC needs (`/webrtc-signaling/0.0.1`), and go on without the relay: see `webrtc/webrtc.md` of the libp2p
//! specifications. The circuit is authenticated, and what is said there holds the fingerprint of the certificate that the
//! connection has to show, so nobody can come between.
//!
//! Peers that a browser can dial need no circuit: [`Server`] makes both descriptions from their address.
//!
//! A [`Session`] is one such agreement. A [`Channel`] is a libp2p stream on a data channel, which the browser can neither
//! half-close nor reset by itself (`webrtc/README.md` there). Both are state machines that hear what happened and say what
//! to do; a shell has the connection.

mod channel;
mod direct;
mod frame;
mod message;
mod prefixed;
pub(crate) mod protobuf;
mod sdp;
mod session;

pub use channel::{Channel, ChannelError, Read};
pub use direct::{Descriptions, Server};
pub use frame::{Flag, Frame, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES};
pub use message::{Kind, MAX_MESSAGE_BYTES, Message};
pub use prefixed::{Malformed, Prefixed};
pub use sdp::{MAX_SDP_BYTES, Sdp, SdpError};
pub use session::{
    Action, DEADLINE_MILLIS, Happened, MAX_CANDIDATE_BYTES, MAX_CANDIDATES, Parts, Session, SessionError,
    Side, Step,
};

/// The name of the protocol on a relayed connection.
pub const PROTOCOL: &str = "/webrtc-signaling/0.0.1";

/// The label of the data channel that is there only so that a connection has something to gather addresses for.
pub const INIT_LABEL: &str = "init";
