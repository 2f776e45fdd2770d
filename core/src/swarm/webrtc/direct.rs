//! The dialling side of WebRTC-direct, as a libp2p transport.
//!
//! The streams are those of `/webrtc`, but for the confirmation of their ends, which the library that answers takes for nonsense. Who is there
//! is proven on the channel with number 0 before any other opens, by noise bound to both certificates.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    AsyncWriteExt, FutureExt,
    future::{BoxFuture, Either, select},
};
use futures_timer::Delay;
use libp2p::{
    Multiaddr, PeerId,
    core::{
        UpgradeInfo,
        transport::{DialOpts, ListenerId, TransportError, TransportEvent},
        upgrade::InboundConnectionUpgrade,
    },
    identity::Keypair,
    noise,
};

use super::{
    Backend, ConnectionEvents, Muxer,
    stream::{ChannelEvents, Stream},
};
use crate::signalling::{Happened, Server};

/// How long a dial may take, as one by WebSocket.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// The platform makes no connection objects, in words.
    #[error("the browser makes no connection: {0}")]
    NoConnection(String),
    /// The platform forbids what WebRTC-direct needs, in words; it was told to [`Backend::refused`], and is not tried again.
    #[error("this browser does not let pages speak WebRTC-direct: {0}")]
    Refused(String),
    /// It did so before.
    #[error("this browser does not let pages speak WebRTC-direct")]
    RefusedBefore,
    /// The platform's offer is not one to go on from.
    #[error("the browser made an offer without a certificate")]
    NoOffer,
    /// The other side did not prove who it is.
    #[error(transparent)]
    Noise(#[from] noise::Error),
    /// The connection was lost, or could not be made.
    #[error(transparent)]
    Lost(#[from] io::Error),
    /// It took too long.
    #[error("nobody answered in time")]
    TimedOut,
}

/// The transport. It dials addresses with `/webrtc-direct/certhash/…`, and listens nowhere.
pub struct DirectTransport {
    key: Keypair,
    backend: Arc<dyn Backend>,
    is_refused: Arc<AtomicBool>,
}

impl DirectTransport {
    /// For the peer with this key.
    #[must_use]
    pub fn new(key: Keypair, backend: Arc<dyn Backend>) -> Self {
        Self { key, backend, is_refused: Arc::default() }
    }
}

type Dial = BoxFuture<'static, Result<(PeerId, Muxer), DirectError>>;

impl libp2p::core::Transport for DirectTransport {
    type Output = (PeerId, Muxer);
    type Error = DirectError;
    type ListenerUpgrade = Dial;
    type Dial = Dial;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<DirectError>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Dial, TransportError<DirectError>> {
        let Some(server) = Server::of(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        if self.is_refused.load(Ordering::Relaxed) {
            return Err(TransportError::Other(DirectError::RefusedBefore));
        }
        let (key, backend, is_refused) = (self.key.clone(), self.backend.clone(), self.is_refused.clone());
        Ok(async move {
            let dialled = match select(pin!(dial(&key, &*backend, &server)), Delay::new(DIAL_TIMEOUT)).await {
                Either::Left((dialled, _)) => dialled,
                Either::Right(_) => Err(DirectError::TimedOut),
            };
            if let Err(DirectError::Refused(reason)) = &dialled
                && !is_refused.swap(true, Ordering::Relaxed)
            {
                backend.refused(reason);
            }
            dialled
        }
        .boxed())
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Dial, DirectError>> {
        Poll::Pending
    }
}

async fn dial(key: &Keypair, backend: &dyn Backend, server: &Server) -> Result<(PeerId, Muxer), DirectError> {
    let events = ConnectionEvents::unconfirmed();
    let connection = backend.connect(events.clone()).map_err(DirectError::NoConnection)?;
    // Closes all when this ends early.
    let mut muxer = Muxer::new(connection, events.clone());
    let shared = events.stream()?.expect("a new connection has no streams");
    let handshake = Stream::new(shared.clone());
    let channel =
        muxer.connection()?.handshake(ChannelEvents(shared.clone())).map_err(DirectError::NoConnection)?;
    shared.attach(channel);

    muxer.connection()?.propose();
    let offer = loop {
        match poll_fn(|cx| happened(&events, cx)).await {
            Happened::Described(offer) => break offer,
            Happened::Refused(reason) => return Err(DirectError::NoConnection(reason)),
            Happened::Unreachable => return Err(unreachable()),
            _ => {}
        }
    };
    let random = backend.random().map_err(DirectError::NoConnection)?;
    let it = server.describe(&offer, random).ok_or(DirectError::NoOffer)?;
    muxer.connection()?.settle(it.offer, it.answer);

    // The side that answers speaks first, so that it can send half a round trip earlier.
    let noise = noise::Config::new(key)?.with_prologue(it.prologue);
    let name = noise.protocol_info().next().expect("noise has a name");
    let proven = noise.upgrade_inbound(handshake, name);
    let failed = async {
        loop {
            match poll_fn(|cx| happened(&events, cx)).await {
                Happened::Refused(reason) => return DirectError::Refused(reason),
                Happened::Unreachable => return unreachable(),
                _ => {}
            }
        }
    };
    let (peer, mut handshake) = match select(proven, pin!(failed)).await {
        Either::Left((proven, _)) => proven?,
        Either::Right((error, _)) => return Err(error),
    };
    handshake.close().await?;
    tracing::info!(%peer, "a connection by WebRTC-direct");
    Ok((peer, muxer.proven(handshake)))
}

fn happened(events: &ConnectionEvents, cx: &Context<'_>) -> Poll<Happened<'static>> {
    events.poll_happened(cx).map_or(Poll::Pending, Poll::Ready)
}

fn unreachable() -> DirectError {
    io::Error::new(io::ErrorKind::ConnectionRefused, "the other side cannot be reached").into()
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
