use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::{
    primitives::Mono,
    swarm::webrtc::{ConnectionEvents, PeerConnection},
};

/// A clock that is set by hand, and nothing else.
#[derive(Default)]
struct Clock(AtomicU64);

impl Backend for Clock {
    fn connect(&self, _: ConnectionEvents) -> Result<Box<dyn PeerConnection>, String> {
        Err("nothing to connect".to_owned())
    }

    fn now(&self) -> Mono {
        Mono(self.0.load(Ordering::Relaxed))
    }

    fn random(&self) -> Result<[u8; 32], String> {
        Err("nothing to dial".to_owned())
    }

    fn refused(&self, reason: &str) {
        unreachable!("{reason}");
    }
}

fn transport(local: PeerId) -> (Transport, Arc<Clock>) {
    let clock = Arc::new(Clock::default());
    let ((asks, _), (_, incoming), (refuse, _)) = (mpsc::channel(1), mpsc::channel(1), mpsc::channel(1));
    (Transport::new(local, clock.clone(), asks, incoming, Refusals(refuse)), clock)
}

#[test]
fn others_begin_few_at_once_and_each_one_at_a_time() {
    let (mut transport, _) = transport(PeerId::random());
    let peer = PeerId::random();
    let mark = transport.admit(peer).unwrap();
    assert!(transport.admit(peer).is_err());
    drop(mark);
    let marks: Vec<_> = (0..MAX_INBOUND).map(|_| transport.admit(PeerId::random()).unwrap()).collect();
    assert!(transport.admit(PeerId::random()).is_err());
    drop(marks);
    assert!(transport.admit(PeerId::random()).is_ok());
}

#[test]
fn others_begin_few_in_a_time() {
    let (mut transport, clock) = transport(PeerId::random());
    let admitted = |transport: &mut Transport| {
        (0..1000).filter(|_| transport.admit(PeerId::random()).is_ok()).count() as u64
    };
    assert_eq!(admitted(&mut transport), INBOUND_ALLOWANCE.burst / INBOUND_COST);
    clock.0.store(60_000, Ordering::Relaxed);
    assert_eq!(admitted(&mut transport), 60 / INBOUND_COST);
}

#[test]
fn when_both_begin_what_the_smaller_id_began_goes_on() {
    let (one, other) = (PeerId::random(), PeerId::random());
    let (small, large) = (one.min(other), one.max(other));
    for (local, remote, admits) in [(small, large, false), (large, small, true)] {
        let (mut transport, _) = transport(local);
        let _dialling = transport.outbound.mark(remote).unwrap();
        assert_eq!(transport.admit(remote).is_ok(), admits);
    }
}
