//! Connections that end when they are told to.
//!
//! libp2p closes a connection in order: what is still to be sent is sent first, and until then it counts as open, among the limits too. Who
//! stops reading would keep its place as long as it likes. So closing takes so long at most, and then the connection is dropped.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::FutureExt;
use futures_timer::Delay;
use libp2p::core::{StreamMuxer, muxing::StreamMuxerEvent};

/// How long a connection may take to close.
const PATIENCE: Duration = Duration::from_secs(3);

/// A connection that drops what it cannot close.
pub(super) struct Closing<M> {
    inner: M,
    deadline: Option<Delay>,
}

impl<M> Closing<M> {
    pub(super) const fn new(inner: M) -> Self {
        Self { inner, deadline: None }
    }
}

impl<M: StreamMuxer<Error = io::Error> + Unpin> StreamMuxer for Closing<M> {
    type Substream = M::Substream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<M::Substream>> {
        Pin::new(&mut self.inner).poll_inbound(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<M::Substream>> {
        Pin::new(&mut self.inner).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(closed) = Pin::new(&mut self.inner).poll_close(cx) {
            return Poll::Ready(closed);
        }
        ready!(self.deadline.get_or_insert_with(|| Delay::new(PATIENCE)).poll_unpin(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side did not let it close")))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
