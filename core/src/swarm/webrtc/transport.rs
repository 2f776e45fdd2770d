//! Makes connections of signalling streams, as a libp2p transport.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use futures::{
    FutureExt, SinkExt, StreamExt,
    channel::{mpsc, oneshot},
    future::BoxFuture,
    stream::FuturesUnordered,
};
use libp2p::{
    Multiaddr, PeerId,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    multiaddr::Protocol,
    swarm::Stream,
};

use super::{
    Backend, Muxer, Refusals,
    behaviour::Ask,
    negotiation::{Ends, Negotiation, goodbye},
    webrtc_peer,
};
use crate::{
    node::Refused,
    peers::{Allowance, Bucket},
    signalling::{SessionError, Side},
};

/// Agreements that others began and that are under way at once.
const MAX_INBOUND: usize = 8;
/// How many agreements others may begin: Chromium makes some 500 connection objects for a page and then no more until some are
/// collected, and most are to be left for connections that we want.
const INBOUND_ALLOWANCE: Allowance = Allowance { per_second: 1, burst: 32 * INBOUND_COST };
/// What one takes of that: four a minute in the long run.
const INBOUND_COST: u64 = 15;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum WebrtcError {
    /// There is no signalling stream to the peer, in words.
    #[error("{0}")]
    NoStream(String),
    /// The sides did not come to an agreement.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The swarm has ended.
    #[error("the peer has stopped")]
    Stopped,
}

/// Why an agreement that another side begins is not gone into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Denied {
    #[error("both sides began at once, and ours goes on")]
    OursGoesOn,
    #[error("too many want a direct connection at once")]
    TooMany,
    #[error("it has begun already")]
    Begun,
    #[error("too many wanted one lately")]
    TooOften,
}

/// Peers with whom an agreement is under way.
#[derive(Clone, Default)]
struct Busy(Arc<Mutex<BTreeSet<PeerId>>>);

/// That it is, until dropped.
struct Mark(Busy, PeerId);

impl Busy {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<PeerId>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn mark(&self, peer: PeerId) -> Option<Mark> {
        self.lock().insert(peer).then(|| Mark(self.clone(), peer))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// The part of `/webrtc` that is a transport. It takes addresses that end in `/webrtc/p2p/<id>`, and has to be asked before libp2p's relay
/// transport, which would dial a circuit there.
pub struct Transport {
    local: PeerId,
    backend: Arc<dyn Backend>,
    asks: mpsc::Sender<Ask>,
    incoming: mpsc::Receiver<(PeerId, Stream)>,
    listener: ListenerId,
    /// Agreements that we began, and that others did.
    outbound: Busy,
    inbound: Busy,
    allowance: Bucket,
    ends: Ends,
    done: mpsc::UnboundedReceiver<Stream>,
    goodbyes: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl Transport {
    pub(super) fn new(
        local: PeerId,
        backend: Arc<dyn Backend>,
        asks: mpsc::Sender<Ask>,
        incoming: mpsc::Receiver<(PeerId, Stream)>,
        refusals: Refusals,
    ) -> Self {
        let (to_close, done) = mpsc::unbounded();
        Self {
            local,
            backend,
            asks,
            incoming,
            listener: ListenerId::next(),
            outbound: Busy::default(),
            inbound: Busy::default(),
            allowance: Bucket::new(INBOUND_ALLOWANCE),
            ends: Ends { done: to_close, refusals },
            done,
            goodbyes: FuturesUnordered::new(),
        }
    }

    /// Whether a stream that another side opened is answered, and the mark that it is.
    fn admit(&mut self, peer: PeerId) -> Result<Mark, Denied> {
        // When both begin at once, what the one with the smaller id began goes on.
        if self.local < peer && self.outbound.lock().contains(&peer) {
            return Err(Denied::OursGoesOn);
        }
        if self.inbound.lock().len() >= MAX_INBOUND {
            return Err(Denied::TooMany);
        }
        let mark = self.inbound.mark(peer).ok_or(Denied::Begun)?;
        let now = self.backend.now();
        if self.allowance.take(INBOUND_COST, now) { Ok(mark) } else { Err(Denied::TooOften) }
    }
}

type Upgrade = BoxFuture<'static, Result<(PeerId, Muxer), WebrtcError>>;

impl libp2p::core::Transport for Transport {
    type Output = (PeerId, Muxer);
    type Error = WebrtcError;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<WebrtcError>> {
        // It listens on every relayed connection there is.
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Upgrade, TransportError<WebrtcError>> {
        let Some(peer) = webrtc_peer(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let (mut asks, outbound) = (self.asks.clone(), self.outbound.clone());
        let (backend, ends) = (self.backend.clone(), self.ends.clone());
        Ok(async move {
            let Some(_mark) = outbound.mark(peer) else {
                return Err(WebrtcError::NoStream("it is being dialled already".to_owned()));
            };
            let (reply, stream) = oneshot::channel();
            asks.send(Ask { peer, reply }).await.map_err(|_| WebrtcError::Stopped)?;
            let stream = stream.await.map_err(|_| {
                WebrtcError::NoStream("the relayed connection to the peer was lost".to_owned())
            })?;
            let stream = stream.map_err(WebrtcError::NoStream)?;
            Negotiation::new(Side::Offerer, peer, stream, backend, ends)?.await
        }
        .boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Upgrade, WebrtcError>> {
        while let Poll::Ready(Some(stream)) = self.done.poll_next_unpin(cx) {
            self.goodbyes.push(goodbye(stream));
        }
        while let Poll::Ready(Some(())) = self.goodbyes.poll_next_unpin(cx) {}
        while let Poll::Ready(Some((peer, stream))) = self.incoming.poll_next_unpin(cx) {
            let mark = match self.admit(peer) {
                Ok(mark) => mark,
                Err(reason) => {
                    tracing::debug!(%peer, %reason, "a direct connection was refused");
                    // That both begin at once is nobody's fault, and one of the two goes on.
                    if reason != Denied::OursGoesOn {
                        self.ends.refusals.tell(Refused::SignallingTooMany);
                    }
                    continue;
                }
            };
            let (backend, ends) = (self.backend.clone(), self.ends.clone());
            let upgrade = async move {
                let _mark = mark;
                Negotiation::new(Side::Answerer, peer, stream, backend, ends)?.await
            };
            return Poll::Ready(TransportEvent::Incoming {
                listener_id: self.listener,
                upgrade: upgrade.boxed(),
                local_addr: Protocol::WebRTC.into(),
                send_back_addr: Multiaddr::from(Protocol::WebRTC).with(Protocol::P2p(peer)),
            });
        }
        Poll::Pending
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
