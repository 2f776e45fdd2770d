//! How many bytes went over each connection: those of the streams on it, without what securing and sharing it adds.
//!
//! A transport knows the bytes and not the connection's name, the swarm the name and not the bytes. So the transport leaves a new connection's count
//! with the peer and address it is for, and the behaviour takes it when the swarm tells of a connection like that.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    Multiaddr, PeerId,
    core::{
        ConnectedPoint, Endpoint, StreamMuxer,
        muxing::{StreamMuxerEvent, SubstreamBox},
        transport::PortUse,
    },
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm, dummy,
    },
};

/// Bytes on the streams of one connection.
#[derive(Debug, Default)]
struct Count {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Count {
    fn sent(&self, poll: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = poll {
            self.sent.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }

    fn received(&self, poll: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = poll {
            self.received.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
    }
}

/// Connections that the transport has made and the swarm has not told of. Who is refused there is dropped, and the count with it when the next one is made.
type New = Arc<Mutex<VecDeque<(PeerId, ConnectedPoint, Weak<Count>)>>>;

fn lock(new: &New) -> MutexGuard<'_, VecDeque<(PeerId, ConnectedPoint, Weak<Count>)>> {
    new.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The behaviour.
#[derive(Debug, Default)]
pub struct Meter {
    new: New,
    open: BTreeMap<ConnectionId, Arc<Count>>,
}

impl Meter {
    /// What counts at the transport.
    pub(super) fn metering(&self) -> Metering {
        Metering(self.new.clone())
    }

    /// How many bytes went over a connection: sent, and received.
    pub(super) fn bytes(&self, connection: ConnectionId) -> Option<(u64, u64)> {
        let count = self.open.get(&connection)?;
        Some((count.sent.load(Ordering::Relaxed), count.received.load(Ordering::Relaxed)))
    }
}

impl NetworkBehaviour for Meter {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let mut new = lock(&self.new);
                let like = |(peer, endpoint, _): &(PeerId, ConnectedPoint, Weak<Count>)| {
                    *peer == event.peer_id && endpoint == event.endpoint
                };
                let count = new.iter().position(like).and_then(|index| new.remove(index));
                if let Some(count) = count.and_then(|(.., count)| count.upgrade()) {
                    self.open.insert(event.connection_id, count);
                }
            }
            FromSwarm::ConnectionClosed(event) => {
                self.open.remove(&event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// The part of it at the transport.
#[derive(Clone, Debug)]
pub(super) struct Metering(New);

impl Metering {
    /// Counts what goes over a new connection to this peer.
    pub(super) fn metered<M>(&self, peer: PeerId, endpoint: ConnectedPoint, muxer: M) -> Metered<M> {
        let count = Arc::default();
        let mut new = lock(&self.0);
        // The swarm never tells of those that it refuses, however many there are.
        new.retain(|(.., count)| count.strong_count() > 0);
        new.push_back((peer, endpoint, Arc::downgrade(&count)));
        Metered { inner: muxer, count }
    }
}

/// A connection, or a stream on one, that is counted.
pub(super) struct Metered<T> {
    inner: T,
    count: Arc<Count>,
}

impl<M: StreamMuxer<Substream = SubstreamBox> + Unpin> StreamMuxer for Metered<M> {
    type Substream = Metered<SubstreamBox>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let poll = Pin::new(&mut self.inner).poll_inbound(cx);
        poll.map_ok(|inner| Metered { inner, count: self.count.clone() })
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, M::Error>> {
        let poll = Pin::new(&mut self.inner).poll_outbound(cx);
        poll.map_ok(|inner| Metered { inner, count: self.count.clone() })
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.count.received(&poll);
        poll
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_read_vectored(cx, buffers);
        self.count.received(&poll);
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.count.sent(&poll);
        poll
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        self.count.sent(&poll);
        poll
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}
