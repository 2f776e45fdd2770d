//! A stream on a data channel, as libp2p reads and writes it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, FutureExt, task::AtomicWaker};
use futures_timer::Delay;

use super::{DataChannel, HIGH_WATER};
use crate::signalling::{Channel, ChannelError, Read};

/// How long a stream that nobody holds any more waits for the other side to confirm that it has all.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes that all streams of one connection keep unread. A browser cannot be told to pause a channel, so this is what several of
/// the largest answers have, and past it a stream is reset.
pub(super) const MAX_UNREAD: usize = 16 << 20;

/// What all streams of a connection share.
#[derive(Default)]
pub(super) struct Common {
    /// Bytes that wait for readers.
    pub(super) unread: AtomicUsize,
    /// The task that looks after the connection.
    pub(super) task: AtomicWaker,
    /// The other side does not confirm the ends of streams.
    pub(super) unconfirmed: bool,
}

/// One stream: the machine, and the channel under it.
pub(super) struct Link {
    machine: Channel,
    /// `None` before it is attached, and after it is closed.
    channel: Option<Box<dyn DataChannel>>,
    is_open: bool,
    is_closed: bool,
    /// Nobody holds the stream; what to do about it after how long.
    dropped: Option<Delay>,
    /// What was added to the connection's sum.
    counted: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A stream, of which the holder, the connection, and the platform's events each have one.
#[derive(Clone)]
pub(super) struct Shared {
    link: Arc<Mutex<Link>>,
    common: Arc<Common>,
}

impl Shared {
    pub(super) fn new(common: &Arc<Common>) -> Self {
        let machine = if common.unconfirmed { Channel::unconfirmed() } else { Channel::default() };
        let link = Link {
            machine,
            channel: None,
            is_open: false,
            is_closed: false,
            dropped: None,
            counted: 0,
            reader: None,
            writer: None,
        };
        Self { link: Arc::new(Mutex::new(link)), common: common.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn attach(&self, channel: Box<dyn DataChannel>) {
        self.lock().channel = Some(channel);
    }

    /// Changes something, sends the signs that follow from it, and wakes whom it concerns.
    fn change<T>(&self, change: impl FnOnce(&mut Link, usize) -> T) -> T {
        let (outcome, wakers) = {
            let mut link = self.lock();
            let room = MAX_UNREAD.saturating_sub(self.common.unread.load(Ordering::Relaxed));
            let outcome = change(&mut link, room);
            link.settle();
            self.count(&mut link);
            (outcome, [link.reader.take(), link.writer.take()])
        };
        wakers.into_iter().flatten().for_each(Waker::wake);
        outcome
    }

    fn count(&self, link: &mut Link) {
        let unread = link.machine.unread();
        self.common.unread.fetch_add(unread, Ordering::Relaxed);
        self.common.unread.fetch_sub(link.counted, Ordering::Relaxed);
        link.counted = unread;
    }

    /// Whether the stream is over and can be forgotten; looks after one that nobody holds.
    pub(super) fn poll_over(&self, cx: &mut Context<'_>) -> bool {
        let mut link = self.lock();
        let late = link.dropped.as_mut().is_some_and(|delay| delay.poll_unpin(cx).is_ready());
        let needless = link.dropped.is_some() && (late || !link.is_open || link.machine.is_over());
        if link.is_closed || needless {
            link.channel = None;
            return true;
        }
        false
    }

    /// The connection is gone, and the channel with it.
    pub(super) fn lost(&self) {
        self.change(|link, _| link.closed());
    }
}

impl Link {
    fn settle(&mut self) {
        if !self.is_open {
            return;
        }
        while let Some(channel) = &mut self.channel
            && let Some(sign) = self.machine.poll_sign()
        {
            if channel.send(&sign).is_err() {
                self.closed();
            }
        }
    }

    fn closed(&mut self) {
        self.machine.closed();
        self.is_closed = true;
        self.channel = None;
    }
}

/// Tells a stream what happens to its data channel.
#[derive(Clone)]
pub struct ChannelEvents(pub(super) Shared);

impl ChannelEvents {
    /// It is open.
    pub fn opened(&self) {
        self.0.change(|link, _| link.is_open = true);
    }

    /// A message arrived.
    pub fn message(&self, bytes: &[u8]) {
        if let Err(error) = self.0.change(|link, room| link.machine.received(bytes, room)) {
            tracing::debug!(%error, "a stream was given up");
        }
        self.0.common.task.wake();
    }

    /// No more than [`LOW_WATER`](super::LOW_WATER) bytes wait to be sent.
    pub fn drained(&self) {
        self.0.change(|_, _| ());
    }

    /// It is closed.
    pub fn closed(&self) {
        self.0.change(|link, _| link.closed());
        self.0.common.task.wake();
    }
}

/// A stream in the hands of whoever reads and writes it.
pub struct Stream(Shared);

impl Stream {
    pub(super) const fn new(shared: Shared) -> Self {
        Self(shared)
    }
}

fn broken(error: ChannelError) -> io::Error {
    let kind = match error {
        ChannelError::Malformed(_) => io::ErrorKind::InvalidData,
        ChannelError::Stopped | ChannelError::Finished => io::ErrorKind::BrokenPipe,
        ChannelError::AfterEnd | ChannelError::Overflow | ChannelError::Reset => {
            io::ErrorKind::ConnectionReset
        }
    };
    io::Error::new(kind, error)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut link = self.0.lock();
        let read = link.machine.read(buffer);
        self.0.count(&mut link);
        match read.map_err(broken)? {
            Read::Bytes(count) => Poll::Ready(Ok(count)),
            Read::End => Poll::Ready(Ok(0)),
            Read::Nothing => {
                link.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut guard = self.0.lock();
        let link = &mut *guard;
        link.machine.can_write().map_err(broken)?;
        let Some(channel) = link.channel.as_mut().filter(|it| link.is_open && it.waiting() < HIGH_WATER)
        else {
            link.writer = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let (frame, count) = link.machine.write(bytes).map_err(broken)?;
        match channel.send(&frame) {
            Ok(()) => Poll::Ready(Ok(count)),
            Err(reason) => {
                link.machine.give_up(ChannelError::Reset);
                Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, reason)))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is written is the platform's, which sends it by itself.
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        {
            let mut link = self.0.lock();
            if !link.is_open && !link.is_closed {
                link.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        // That the other side has all is waited for after the stream is dropped: nobody needs to wait for it.
        self.0.change(|link, _| link.machine.finish());
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.change(|link, _| {
            link.machine.dropped();
            link.dropped = Some(Delay::new(CONFIRM_TIMEOUT));
        });
        self.0.common.task.wake();
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
