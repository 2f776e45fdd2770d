//! Browsers that reach each other at once, or not at all.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use futures::channel::mpsc;

use super::*;
use crate::signalling::Happened as Heard;

type Task = Box<dyn FnOnce() + Send>;

/// What is between the browsers. What happens is told in its turn, as in a browser.
pub(super) struct Net {
    pump: mpsc::UnboundedSender<Task>,
    connections: Mutex<Vec<Option<ConnectionEvents>>>,
    open: AtomicUsize,
    walled: AtomicBool,
    clock: AtomicU64,
    /// By how much the clock goes on each time that somebody looks at it, in milliseconds.
    pace: AtomicU64,
}

impl Net {
    pub(super) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Task>) {
        let (pump, tasks) = mpsc::unbounded();
        let net = Self {
            pump,
            connections: Mutex::default(),
            open: AtomicUsize::new(0),
            walled: AtomicBool::new(false),
            clock: AtomicU64::new(0),
            pace: AtomicU64::new(0),
        };
        (Arc::new(net), tasks)
    }

    /// From now on nobody reaches anybody.
    pub(super) fn is_walled(&self) {
        self.walled.store(true, Ordering::Relaxed);
    }

    /// From now on so much time goes by each time that somebody looks at the clock.
    pub(super) fn passes(&self, millis: u64) {
        self.pace.store(millis, Ordering::Relaxed);
    }

    /// How many connection objects were made.
    pub(super) fn made(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// How many of them are not closed.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn soon(&self, task: impl FnOnce() + Send + 'static) {
        self.pump.unbounded_send(Box::new(task)).unwrap_or_default();
    }

    fn events(&self, id: usize) -> Option<ConnectionEvents> {
        self.connections.lock().unwrap().get(id).cloned().flatten()
    }
}

/// A browser's WebRTC.
pub(super) struct Fake(pub(super) Arc<Net>);

impl Backend for Fake {
    fn connect(&self, events: ConnectionEvents) -> Result<Box<dyn PeerConnection>, String> {
        let mut connections = self.0.connections.lock().unwrap();
        connections.push(Some(events));
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Connection { id: connections.len() - 1, other: None, net: self.0.clone() }))
    }

    fn now(&self) -> Mono {
        Mono(self.0.clock.fetch_add(self.0.pace.load(Ordering::Relaxed), Ordering::Relaxed))
    }

    fn random(&self) -> Result<[u8; 32], String> {
        Err("these agree over a relay".to_owned())
    }

    fn refused(&self, reason: &str) {
        panic!("{reason}");
    }
}

struct Connection {
    id: usize,
    other: Option<usize>,
    net: Arc<Net>,
}

fn sdp(id: usize) -> String {
    let fingerprint = format!("{id:08x}{}", "0".repeat(56));
    let pairs: Vec<_> = fingerprint.as_bytes().chunks(2).map(|it| std::str::from_utf8(it).unwrap()).collect();
    format!(
        "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=ice-ufrag:user\r\n\
         a=ice-pwd:4pZlmHcUZOGcUBmcpzGKIZ0k\r\na=fingerprint:sha-256 {}\r\n",
        pairs.join(":")
    )
}

fn id_of(sdp: &str) -> usize {
    let digits = sdp.split("sha-256 ").nth(1).unwrap().replace(':', "");
    usize::from_str_radix(&digits[..8], 16).unwrap()
}

impl Connection {
    fn tell(&self, id: usize, happened: Heard<'static>) {
        let net = self.net.clone();
        self.net.soon(move || {
            if let Some(events) = net.events(id) {
                events.happened(happened);
            }
        });
    }
}

impl PeerConnection for Connection {
    fn begin(&mut self, step: Step) {
        match step {
            Step::Offer => self.tell(self.id, Heard::Described(sdp(self.id))),
            Step::Answer(offer) => {
                self.other = Some(id_of(&offer));
                self.tell(self.id, Heard::Described(sdp(self.id)));
            }
            Step::Accept(answer) => {
                let other = id_of(&answer);
                self.other = Some(other);
                if self.net.walled.load(Ordering::Relaxed) {
                    self.tell(self.id, Heard::Unreachable);
                    self.tell(other, Heard::Unreachable);
                } else {
                    self.tell(other, Heard::Connected);
                    self.tell(self.id, Heard::Connected);
                    self.tell(self.id, Heard::InitOpened);
                }
            }
            Step::Try(_) => {}
            Step::CloseInit => self.tell(self.id, Heard::InitClosed),
        }
    }

    fn propose(&mut self) {
        unreachable!("these agree over a relay");
    }

    fn settle(&mut self, _: String, _: String) {
        unreachable!("these agree over a relay");
    }

    fn handshake(&mut self, _: ChannelEvents) -> Result<Box<dyn DataChannel>, String> {
        Err("these agree over a relay".to_owned())
    }

    fn open(&mut self, events: ChannelEvents) -> Result<Box<dyn DataChannel>, String> {
        let other = self.other.ok_or("not connected")?;
        let (near, far) = (Slot::default(), Slot::default());
        *near.lock().unwrap() = Some(events.clone());
        let channel = Channel { to: far.clone(), net: self.net.clone() };
        let net = self.net.clone();
        self.net.soon(move || {
            let back = Channel { to: near, net: net.clone() };
            match net.events(other).and_then(|other| other.arrived(Box::new(back))) {
                Some(theirs) => {
                    *far.lock().unwrap() = Some(theirs.clone());
                    theirs.opened();
                    events.opened();
                }
                None => events.closed(),
            }
        });
        Ok(Box::new(channel))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.net.open.fetch_sub(1, Ordering::Relaxed);
        self.net.connections.lock().unwrap()[self.id] = None;
        if let Some(other) = self.other {
            self.tell(other, Heard::Unreachable);
        }
    }
}

type Slot = Arc<Mutex<Option<ChannelEvents>>>;

struct Channel {
    to: Slot,
    net: Arc<Net>,
}

impl Channel {
    fn tell(&self, tell: impl FnOnce(&ChannelEvents) + Send + 'static) {
        let to = self.to.clone();
        self.net.soon(move || {
            let events = to.lock().unwrap().clone();
            if let Some(events) = events {
                tell(&events);
            }
        });
    }
}

impl DataChannel for Channel {
    fn send(&mut self, message: &[u8]) -> Result<(), String> {
        assert!(message.len() <= crate::signalling::MAX_FRAME_BYTES);
        let message = message.to_vec();
        self.tell(move |events| events.message(&message));
        Ok(())
    }

    fn waiting(&self) -> usize {
        0
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.tell(ChannelEvents::closed);
    }
}
