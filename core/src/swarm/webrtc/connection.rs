//! A connection: first what the session hears of it, and then the streams on it.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
};

use libp2p::{
    core::muxing::{StreamMuxer, StreamMuxerEvent},
    noise,
};

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
    /// For a connection to a peer that does not confirm the ends of streams.
    pub(super) fn unconfirmed() -> Self {
        let common = Common { unconfirmed: true, ..Common::default() };
        Self { state: Arc::default(), common: Arc::new(common) }
    }

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

    /// A stream that we open; `None` when there are too many.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub(super) fn stream(&self) -> io::Result<Option<Shared>> {
        let mut state = self.lock();
        if state.is_lost {
            return Err(lost());
        }
        if state.streams.len() >= MAX_STREAMS {
            return Ok(None);
        }
        let shared = Shared::new(&self.common);
        state.streams.push(shared.clone());
        Ok(Some(shared))
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
    /// The channel that the two made sure on of each other. It stays open: its number must not be given to another.
    handshake: Option<noise::Output<Stream>>,
}

impl Muxer {
    pub(super) fn new(connection: Box<dyn PeerConnection>, events: ConnectionEvents) -> Self {
        Self { connection: Some(connection), events, handshake: None }
    }

    /// Goes on from a handshake on this channel.
    pub(super) fn proven(mut self, handshake: noise::Output<Stream>) -> Self {
        self.handshake = Some(handshake);
        self
    }

    /// The connection object, while it is not closed.
    pub(super) fn connection(&mut self) -> io::Result<&mut Box<dyn PeerConnection>> {
        self.connection.as_mut().ok_or_else(lost)
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the direct connection was lost")
}

impl StreamMuxer for Muxer {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.events.common.task.register(cx.waker());
        let mut state = self.events.lock();
        if state.is_lost {
            return Poll::Ready(Err(lost()));
        }
        state.arrived.pop_front().map_or(Poll::Pending, |shared| Poll::Ready(Ok(Stream::new(shared))))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let events = self.events.clone();
        events.common.task.register(cx.waker());
        let Some(shared) = events.stream()? else { return Poll::Pending };
        let connection = self.connection()?;
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
        (self.connection, self.handshake) = (None, None);
        Poll::Ready(Ok(()))
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        self.events.common.task.register(cx.waker());
        let streams = {
            let mut state = self.events.lock();
            // Addresses that are still found are of no use any more.
            state.happened.clear();
            if state.is_lost {
                return Poll::Ready(Err(lost()));
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

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests {
    use futures::{FutureExt, future::poll_fn};

    use super::*;
    use crate::signalling::Step;

    /// A platform that says yes to everything.
    struct Willing;

    impl PeerConnection for Willing {
        fn begin(&mut self, _: Step) {}

        fn propose(&mut self) {}

        fn settle(&mut self, _: String, _: String) {}

        fn handshake(&mut self, _: ChannelEvents) -> Result<Box<dyn DataChannel>, String> {
            Ok(Box::new(Self))
        }

        fn open(&mut self, _: ChannelEvents) -> Result<Box<dyn DataChannel>, String> {
            Ok(Box::new(Self))
        }
    }

    impl DataChannel for Willing {
        fn send(&mut self, _: &[u8]) -> Result<(), String> {
            Ok(())
        }

        fn waiting(&self) -> usize {
            0
        }
    }

    fn open(muxer: &mut Muxer) -> Option<Stream> {
        poll_fn(|cx| Pin::new(&mut *muxer).poll_outbound(cx)).now_or_never().map(Result::unwrap)
    }

    #[test]
    fn both_sides_together_open_so_many_streams_and_one_that_ends_makes_room_for_another() {
        let events = ConnectionEvents::default();
        let mut muxer = Muxer::new(Box::new(Willing), events.clone());
        let ours: Vec<_> = std::iter::from_fn(|| open(&mut muxer)).take(300).collect();
        let theirs: Vec<_> = std::iter::from_fn(|| events.arrived(Box::new(Willing))).take(300).collect();
        assert_eq!((ours.len(), theirs.len()), (300, 212));
        assert!(open(&mut muxer).is_none());

        theirs[0].closed();
        assert!(poll_fn(|cx| Pin::new(&mut muxer).poll(cx)).now_or_never().is_none());
        let more: Vec<_> = std::iter::from_fn(|| open(&mut muxer)).take(300).collect();
        assert_eq!(more.len(), 1);
        assert!(events.arrived(Box::new(Willing)).is_none());
    }
}
