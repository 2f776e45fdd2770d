use futures::{FutureExt, future::poll_fn};

use super::*;
use crate::signalling::{Flag, Frame, MAX_PAYLOAD_BYTES};

/// What was sent on a channel, and how much is said to wait in it.
#[derive(Clone, Default)]
struct Wire {
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
    waiting: Arc<AtomicUsize>,
}

impl DataChannel for Wire {
    fn send(&mut self, message: &[u8]) -> Result<(), String> {
        self.sent.lock().unwrap().push(message.to_vec());
        Ok(())
    }

    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A stream, the wire under it, and what tells of it.
fn stream(common: &Arc<Common>) -> (Stream, Wire, ChannelEvents) {
    let (shared, wire) = (Shared::new(common), Wire::default());
    shared.attach(Box::new(wire.clone()));
    (Stream::new(shared.clone()), wire, ChannelEvents(shared))
}

fn read(stream: &mut Stream, buffer: &mut [u8]) -> Option<io::Result<usize>> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buffer)).now_or_never()
}

fn write(stream: &mut Stream, bytes: &[u8]) -> Option<io::Result<usize>> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).now_or_never()
}

fn reset() -> Vec<u8> {
    Frame::encode(Some(Flag::Reset), &[])
}

#[test]
fn all_streams_of_a_connection_share_one_bound_and_only_the_one_that_passes_it_is_reset() {
    let common = Arc::new(Common::default());
    let (mut one, first, events) = stream(&common);
    let (mut two, second, others) = stream(&common);
    events.opened();
    others.opened();
    let frame = Frame::encode(None, &[1; MAX_PAYLOAD_BYTES]);
    let many = MAX_UNREAD / MAX_PAYLOAD_BYTES;
    for _ in 0..many {
        events.message(&frame);
    }
    assert_eq!(common.unread.load(Ordering::Relaxed), many * MAX_PAYLOAD_BYTES);
    assert!(first.sent.lock().unwrap().is_empty());
    others.message(&frame);
    assert_eq!(*second.sent.lock().unwrap(), [reset()]);
    assert_eq!(read(&mut two, &mut [0]).unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    // Reading makes room.
    let mut buffer = vec![0; 4 * MAX_PAYLOAD_BYTES];
    assert_eq!(read(&mut one, &mut buffer).unwrap().unwrap(), buffer.len());
    for _ in 0..4 {
        events.message(&frame);
    }
    assert!(first.sent.lock().unwrap().is_empty());
    drop(one);
    assert_eq!(common.unread.load(Ordering::Relaxed), 0, "what nobody reads is not kept");
}

#[test]
fn sending_pauses_while_much_waits_and_before_the_channel_is_open() {
    let common = Arc::new(Common::default());
    let (mut stream, wire, events) = stream(&common);
    assert!(write(&mut stream, b"early").is_none());
    events.opened();
    assert_eq!(write(&mut stream, &[0; 100_000]).unwrap().unwrap(), MAX_PAYLOAD_BYTES);
    wire.waiting.store(HIGH_WATER, Ordering::Relaxed);
    assert!(write(&mut stream, b"later").is_none());
    wire.waiting.store(HIGH_WATER - 1, Ordering::Relaxed);
    assert_eq!(write(&mut stream, b"now").unwrap().unwrap(), 3);
    assert_eq!(wire.sent.lock().unwrap().len(), 2);
}

#[test]
fn a_stream_is_kept_until_the_other_side_has_all() {
    let common = Arc::new(Common::default());
    let (mut stream, wire, events) = stream(&common);
    events.opened();
    write(&mut stream, b"all").unwrap().unwrap();
    poll_fn(|cx| Pin::new(&mut stream).poll_close(cx)).now_or_never().unwrap().unwrap();
    events.message(&Frame::encode(Some(Flag::Fin), &[]));
    drop(stream);
    let shared = events.0.clone();
    let is_over = || poll_fn(|cx| Poll::Ready(shared.poll_over(cx))).now_or_never().unwrap();
    assert!(!is_over());
    events.message(&Frame::encode(Some(Flag::FinAck), &[]));
    assert!(is_over());
    let signs = [Flag::Fin, Flag::FinAck].map(|flag| Frame::encode(Some(flag), &[]));
    assert_eq!(wire.sent.lock().unwrap()[1..], signs);
}
