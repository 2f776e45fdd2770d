//! Runs a session between a signalling stream and a connection object, until there is a connection.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    AsyncRead, AsyncWrite, AsyncWriteExt, FutureExt, channel::mpsc, future::BoxFuture, io::AsyncReadExt,
};
use futures_timer::Delay;
use libp2p::{PeerId, swarm::Stream};

use super::{Backend, ConnectionEvents, Muxer, PeerConnection, Refusals, WebrtcError};
use crate::{
    node::Refused,
    signalling::{Action, Happened, Session, SessionError, Side},
};

/// How much of the stream is read at once.
const CHUNK: usize = 4 << 10;

/// How long the other side may take to close its half of a signalling stream that has served its purpose.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(5);

/// What an agreement leaves behind.
#[derive(Clone)]
pub(super) struct Ends {
    /// Where the stream goes to be closed in order.
    pub(super) done: mpsc::UnboundedSender<Stream>,
    /// Where it is told what was refused of the other side.
    pub(super) refusals: Refusals,
}

/// One agreement under way.
pub(super) struct Negotiation {
    side: Side,
    peer: PeerId,
    backend: Arc<dyn Backend>,
    session: Session,
    stream: Option<Stream>,
    /// What is still to be written.
    outgoing: Vec<u8>,
    has_ended: bool,
    connection: Option<Box<dyn PeerConnection>>,
    events: ConnectionEvents,
    timer: Delay,
    is_finished: bool,
    ends: Ends,
}

impl Negotiation {
    /// Begins one. Only now is there a connection object: browsers have few.
    pub(super) fn new(
        side: Side,
        peer: PeerId,
        stream: Stream,
        backend: Arc<dyn Backend>,
        ends: Ends,
    ) -> Result<Self, WebrtcError> {
        let events = ConnectionEvents::default();
        let connection = backend.connect(events.clone()).map_err(SessionError::Browser)?;
        let session = Session::new(side, backend.now());
        let wait = session.poll_timeout().map_or(0, |deadline| deadline - backend.now());
        Ok(Self {
            side,
            peer,
            backend,
            session,
            stream: Some(stream),
            outgoing: Vec::new(),
            has_ended: false,
            connection: Some(connection),
            events,
            timer: Delay::new(Duration::from_millis(wait)),
            is_finished: false,
            ends,
        })
    }

    fn advance(&mut self, cx: &mut Context<'_>) -> Result<(), SessionError> {
        loop {
            if self.timer.poll_unpin(cx).is_ready() {
                let now = self.backend.now();
                self.session.handle_timeout(now)?;
                // The clocks differ a little.
                let wait = self.session.poll_timeout().map_or(1000, |deadline| (deadline - now).max(1));
                self.timer.reset(Duration::from_millis(wait));
                continue;
            }
            if let Some(happened) = self.events.poll_happened(cx) {
                self.session.handle(self.backend.now(), happened)?;
                continue;
            }
            if let Some(action) = self.session.poll_action() {
                match (action, &mut self.connection) {
                    (Action::Send(bytes), _) => self.outgoing.extend(bytes),
                    (Action::Do(step), Some(connection)) => connection.begin(step),
                    (Action::Do(_), None) => {}
                    (Action::Finish, _) => self.is_finished = true,
                }
                continue;
            }
            if self.write(cx) || self.read(cx)? {
                continue;
            }
            return Ok(());
        }
    }

    /// Writes what it can, and says whether it could.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.outgoing.is_empty()) else { return false };
        match Pin::new(&mut *stream).poll_write(cx, &self.outgoing) {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.outgoing.drain(..count);
                if self.outgoing.is_empty() {
                    let _ = Pin::new(stream).poll_flush(cx);
                }
                true
            }
            // Broken: reading says so too.
            Poll::Ready(_) => {
                self.outgoing.clear();
                true
            }
            Poll::Pending => false,
        }
    }

    /// Reads what there is, and says whether something was.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, SessionError> {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.has_ended) else { return Ok(false) };
        // Writing is pushed on by this too.
        let _ = Pin::new(&mut *stream).poll_flush(cx);
        let mut buffer = [0; CHUNK];
        let now = self.backend.now();
        match Pin::new(stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.session.handle(now, Happened::Received(&buffer[..count]))?;
            }
            Poll::Ready(_) => {
                self.has_ended = true;
                self.session.handle(now, Happened::Ended)?;
            }
            Poll::Pending => return Ok(false),
        }
        Ok(true)
    }
}

impl Future for Negotiation {
    type Output = Result<(PeerId, Muxer), WebrtcError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let outcome = this.advance(cx);
        match (outcome, this.is_finished) {
            (Err(error), _) => {
                // Dropped, the stream is reset and the connection closed.
                (this.stream, this.connection) = (None, None);
                let was_described = this.session.parts().described.is_some();
                if let Some(refused) = refused(&error, this.side, was_described) {
                    this.ends.refusals.tell(refused);
                }
                Poll::Ready(Err(error.into()))
            }
            (Ok(()), true) => {
                let connection = this.connection.take().expect("a future is not polled after its end");
                if let Some(stream) = this.stream.take() {
                    // Fails only when the transport is gone.
                    let _ = this.ends.done.unbounded_send(stream);
                }
                let parts = this.session.parts();
                tracing::info!(peer = %this.peer, ?parts, "a direct connection by WebRTC");
                Poll::Ready(Ok((this.peer, Muxer::new(connection, this.events.clone()))))
            }
            (Ok(()), false) => Poll::Pending,
        }
    }
}

impl Drop for Negotiation {
    fn drop(&mut self) {
        if !self.is_finished {
            self.events.close();
        }
    }
}

/// What was refused of the other side, where an agreement came to nothing for that. That there is no way, or the other side has left, is no
/// refusal; and who does not answer what we began has refused us.
const fn refused(error: &SessionError, side: Side, was_described: bool) -> Option<Refused> {
    match error {
        SessionError::Malformed(_) | SessionError::OutOfTurn(_) | SessionError::Reflected => {
            Some(Refused::SignallingMessage)
        }
        SessionError::Sdp(_) => Some(Refused::SignallingDescription),
        SessionError::TooManyCandidates => Some(Refused::SignallingAddresses),
        SessionError::TimedOut if matches!(side, Side::Answerer) && !was_described => {
            Some(Refused::SignallingStalled)
        }
        SessionError::TimedOut
        | SessionError::Ended
        | SessionError::Browser(_)
        | SessionError::Unreachable => None,
    }
}

/// Closes a signalling stream and waits for the other side to do so too: a reset would look to it like failure.
pub(super) fn goodbye(mut stream: Stream) -> BoxFuture<'static, ()> {
    let close = async move {
        let mut buffer = [0; CHUNK];
        // What still comes is about addresses, and no use any more.
        if stream.close().await.is_ok() {
            while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        }
    };
    async move {
        futures::future::select(std::pin::pin!(close), Delay::new(GOODBYE_TIMEOUT)).await;
    }
    .boxed()
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests {
    use super::*;

    #[test]
    fn only_who_begins_and_then_says_nothing_has_stalled() {
        let late = SessionError::TimedOut;
        assert_eq!(refused(&late, Side::Answerer, false), Some(Refused::SignallingStalled));
        assert_eq!(refused(&late, Side::Answerer, true), None, "no way was found in time");
        assert_eq!(refused(&late, Side::Offerer, false), None);
        for nobodys in [SessionError::Ended, SessionError::Unreachable, SessionError::Browser(String::new())]
        {
            assert_eq!(refused(&nobodys, Side::Answerer, false), None, "{nobodys}");
        }
    }
}
