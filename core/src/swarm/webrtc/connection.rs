//! A connection: first what the session hears of it, and then the streams on it.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use super::{
    DataChannel, PeerConnection,
    stream::{ChannelEvents, Common, Shared, Stream},
};
use crate::signalling::{Happened, MAX_CANDIDATES};

/// Streams open on one connection, both directions together: what all our protocols use at most to one peer, with room to spare.
const MAX_STREAMS: usize = 512;

/// What may wait for the session: all that a browser tells in one agreement.
const MAX_HAPPENED: usize = 2 * MAX_CANDIDATES + 16;

#[derive(Default)]
struct State {
    happened: VecDeque<Happened<'static>>,
    /// Streams that the other side has opened and nobody has taken.
    arrived: VecDeque<Shared>,
    streams: Vec<Shared>,
    is_lost: bool,
}

/// Tells what happens to a connection object.
#[derive(Clone, Default)]
pub struct ConnectionEvents {
    state: Arc<Mutex<State>>,
    common: Arc<Common>,
}

impl ConnectionEvents {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Something that the session waits for. [`Happened::Unreachable`] may come at any time, and ends the connection.
    pub fn happened(&self, happened: Happened<'static>) {
        if happened == Happened::Unreachable {
            self.close();
        }
        {
            let mut state = self.lock();
            if state.happened.len() < MAX_HAPPENED {
                state.happened.push_back(happened);
            }
        }
        self.common.task.wake();
    }

    /// The other side has opened a data channel. What happens to it is to be told to what comes back; `None` when there are too
    /// many, and the channel is closed again.
    #[must_use]
    pub fn arrived(&self, channel: Box<dyn DataChannel>) -> Option<ChannelEvents> {
        let shared = {
            let mut state = self.lock();
            if state.is_lost || state.streams.len() >= MAX_STREAMS {
                tracing::debug!("refused: the other side has opened too many streams");
                return None;
            }
            let shared = Shared::new(&self.common);
            state.streams.push(shared.clone());
            state.arrived.push_back(shared.clone());
            shared
        };
        shared.attach(channel);
        self.common.task.wake();
        Some(ChannelEvents(shared))
    }

    /// The connection is of no use any more, and neither are its streams.
    pub(super) fn close(&self) {
        let (streams, arrived) = {
            let mut state = self.lock();
            state.is_lost = true;
            (std::mem::take(&mut state.streams), std::mem::take(&mut state.arrived))
        };
        streams.iter().for_each(Shared::lost);
        drop(arrived);
        self.common.task.wake();
    }

    /// What the session has not heard yet.
    pub(super) fn poll_happened(&self, cx: &Context<'_>) -> Option<Happened<'static>> {
        self.common.task.register(cx.waker());
        self.lock().happened.pop_front()
    }
}

/// A connection that can be used.
pub struct Muxer {
    connection: Option<Box<dyn PeerConnection>>,
    events: ConnectionEvents,
}

impl Muxer {
    pub(super) fn new(connection: Box<dyn PeerConnection>, events: ConnectionEvents) -> Self {
        Self { connection: Some(connection), events }
    }

    fn lost() -> io::Error {
        io::Error::new(io::ErrorKind::ConnectionReset, "the direct connection was lost")
    }
}

impl StreamMuxer for Muxer {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.events.common.task.register(cx.waker());
        let mut state = self.events.lock();
        if state.is_lost {
            return Poll::Ready(Err(Self::lost()));
        }
        state.arrived.pop_front().map_or(Poll::Pending, |shared| Poll::Ready(Ok(Stream::new(shared))))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let events = self.events.clone();
        events.common.task.register(cx.waker());
        let shared = {
            let mut state = events.lock();
            if state.is_lost {
                return Poll::Ready(Err(Self::lost()));
            }
            if state.streams.len() >= MAX_STREAMS {
                return Poll::Pending;
            }
            let shared = Shared::new(&events.common);
            state.streams.push(shared.clone());
            shared
        };
        let Some(connection) = &mut self.connection else { return Poll::Ready(Err(Self::lost())) };
        let stream = Stream::new(shared.clone());
        match connection.open(ChannelEvents(shared.clone())) {
            Ok(channel) => {
                shared.attach(channel);
                Poll::Ready(Ok(stream))
            }
            Err(reason) => Poll::Ready(Err(io::Error::other(reason))),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection = None;
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.events.common.task.register(cx.waker());
        let streams = {
            let mut state = self.events.lock();
            // Addresses that are still found are of no use any more.
            state.happened.clear();
            if state.is_lost {
                return Poll::Ready(Err(Self::lost()));
            }
            std::mem::take(&mut state.streams)
        };
        // Closing a channel may call on the platform, so not while the state is locked.
        let (over, open): (Vec<_>, Vec<_>) = streams.into_iter().partition(|stream| stream.poll_over(cx));
        let mut state = self.events.lock();
        let came_since = std::mem::replace(&mut state.streams, open);
        state.streams.extend(came_since);
        drop(state);
        drop(over);
        Poll::Pending
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        self.events.close();
    }
}
