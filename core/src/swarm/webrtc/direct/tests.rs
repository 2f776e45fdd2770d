use std::sync::{Mutex, atomic::AtomicUsize};

use futures::executor::block_on;
use libp2p::core::{Endpoint, Transport as _, transport::PortUse};

use super::{
    super::{DataChannel, PeerConnection},
    *,
};
use crate::{primitives::Mono, signalling::Step};

const ADDRESS: &str =
    "/ip4/192.0.2.7/udp/39901/webrtc-direct/certhash/uEiDikp5KVUgkLta1EjUN-IKbHk-dUBg8VzKgf5nXxLK46w";

/// A browser that keeps to no offer but the one it made.
#[derive(Default)]
struct Strict {
    made: AtomicUsize,
    told: Mutex<Vec<String>>,
}

impl Backend for Strict {
    fn connect(&self, events: ConnectionEvents) -> Result<Box<dyn PeerConnection>, String> {
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Connection(events)))
    }

    fn now(&self) -> Mono {
        Mono(0)
    }

    fn random(&self) -> Result<[u8; 32], String> {
        Ok([7; 32])
    }

    fn refused(&self, reason: &str) {
        self.told.lock().unwrap().push(reason.to_owned());
    }
}

struct Connection(ConnectionEvents);

fn offer() -> String {
    format!(
        "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=ice-ufrag:user\r\n\
         a=ice-pwd:4pZlmHcUZOGcUBmcpzGKIZ0k\r\na=fingerprint:sha-256 {}\r\n",
        ["AB"; 32].join(":")
    )
}

impl PeerConnection for Connection {
    fn begin(&mut self, step: Step) {
        unreachable!("nothing is agreed on over a relay: {step:?}");
    }

    fn propose(&mut self) {
        self.0.happened(Happened::Described(offer()));
    }

    fn settle(&mut self, changed: String, answer: String) {
        assert!(changed != offer() && answer.contains("192.0.2.7"));
        self.0.happened(Happened::Refused("it was modified in a non-acceptable way".to_owned()));
    }

    fn handshake(&mut self, _: ChannelEvents) -> Result<Box<dyn DataChannel>, String> {
        Ok(Box::new(Deaf))
    }

    fn open(&mut self, _: ChannelEvents) -> Result<Box<dyn DataChannel>, String> {
        unreachable!("nobody has proven who is there");
    }
}

struct Deaf;

impl DataChannel for Deaf {
    fn send(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn waiting(&self) -> usize {
        0
    }
}

#[test]
fn a_browser_that_forbids_it_is_asked_once_and_the_person_told() {
    let browser = Arc::new(Strict::default());
    let mut transport = DirectTransport::new(Keypair::generate_ed25519(), browser.clone());
    let mut dial = |address: &str| {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        transport.dial(address.parse().unwrap(), options)
    };
    assert!(matches!(dial("/ip4/192.0.2.7/tcp/1/ws"), Err(TransportError::MultiaddrNotSupported(_))));
    let (first, second) = (dial(ADDRESS).unwrap(), dial(ADDRESS).unwrap());
    assert!(matches!(block_on(first), Err(DirectError::Refused(_))));
    assert!(matches!(block_on(second), Err(DirectError::Refused(_))));
    assert!(matches!(dial(ADDRESS), Err(TransportError::Other(DirectError::RefusedBefore))));
    assert_eq!(browser.made.load(Ordering::Relaxed), 2, "no connection object is made in vain");
    assert_eq!(*browser.told.lock().unwrap(), ["it was modified in a non-acceptable way"]);
}
