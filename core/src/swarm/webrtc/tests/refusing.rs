//! What strangers say on a signalling stream, who have streams of it and no browser.

use futures::{AsyncWriteExt, channel::oneshot, future::pending};

use super::*;
use crate::{
    signalling::{DEADLINE_MILLIS, Kind, Message},
    swarm::webrtc::behaviour::Ask,
};

/// A peer that opens signalling streams when it is asked for one, and takes no part in what is said there.
fn stranger() -> (Peer, mpsc::Sender<Ask>) {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let (relayed, relay) = relay::client::new(id);
    let transport = relayed
        .or_transport(MemoryTransport::default())
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let ((asks, asked), (opened, _)) = (mpsc::channel(1), mpsc::channel(1));
    let (refuse, refused) = mpsc::channel(1);
    let webrtc = WebrtcBehaviour::new(asked, opened, (Refusals(refuse), refused));
    let behaviour = Behaviour::new(&key, Role::Browser, Some(&genesis()), Extra { relay, webrtc });
    let swarm = crate::swarm::swarm(transport, behaviour, id, swarm::Config::without_executor());
    (Peer { id, swarm }, asks)
}

/// What `b` refuses when `a` opens a stream and says this.
async fn refused(a: &mut Peer, b: &mut Peer, asks: &mut mpsc::Sender<Ask>, says: &[u8]) -> Refused {
    let (reply, stream) = oneshot::channel();
    asks.try_send(Ask { peer: b.id, reply }).unwrap();
    let speaks = async move {
        let mut stream = stream.await.unwrap().unwrap();
        // Who is not listened to cannot write to the end.
        if stream.write_all(says).await.is_ok() {
            let _ = stream.flush().await;
        }
        pending::<()>().await;
    };
    let refused = until(a, b, |event| match event {
        Either::Right(SwarmEvent::Behaviour(BehaviourEvent::Extra(ExtraEvent::Webrtc(refused)))) => {
            Some(*refused)
        }
        _ => None,
    });
    match select(std::pin::pin!(refused), std::pin::pin!(speaks)).await {
        Either::Left((refused, _)) => refused,
        Either::Right(((), _)) => unreachable!(),
    }
}

fn message(kind: Kind, data: &str) -> Vec<u8> {
    Message { kind, data: data.to_owned() }.encode()
}

/// A description with so many addresses in it.
fn sdp(candidates: usize) -> String {
    let fingerprint = ["AB"; 32].join(":");
    let candidates = "a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host\r\n".repeat(candidates);
    format!(
        "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=ice-ufrag:user\r\n\
         a=ice-pwd:4pZlmHcUZOGcUBmcpzGKIZ0k\r\na=fingerprint:sha-256 {fingerprint}\r\n{candidates}"
    )
}

#[test]
fn what_a_stranger_says_amiss_is_refused_and_told() {
    with_relay(|net, address| async move {
        let ((mut a, mut asks), mut b) = (stranger(), peer(&net));
        circuit(&mut a, &mut b, &address).await;
        for (says, why) in [
            (vec![0xff; 64], Refused::SignallingMessage),
            (message(Kind::Answer, &sdp(1)), Refused::SignallingMessage),
            (message(Kind::Offer, "v=0\r\n"), Refused::SignallingDescription),
            (message(Kind::Offer, &sdp(65)), Refused::SignallingAddresses),
        ] {
            assert_eq!(refused(&mut a, &mut b, &mut asks, &says).await, why);
        }
        assert!(b.swarm.is_connected(&a.id), "the circuit stays");
    });
}

#[test]
fn who_begins_too_often_is_refused_and_that_is_told() {
    with_relay(|net, address| async move {
        let ((mut a, mut asks), mut b) = (stranger(), peer(&net));
        circuit(&mut a, &mut b, &address).await;
        let mut begun = 0;
        while refused(&mut a, &mut b, &mut asks, &[0xff; 64]).await == Refused::SignallingMessage {
            begun += 1;
        }
        assert_eq!(begun, 32);
        assert_eq!(refused(&mut a, &mut b, &mut asks, &[]).await, Refused::SignallingTooMany);
    });
}

#[test]
fn who_begins_and_says_nothing_is_given_up_and_that_is_told() {
    with_relay(|net, address| async move {
        net.passes(DEADLINE_MILLIS - 100);
        let ((mut a, mut asks), mut b) = (stranger(), peer(&net));
        circuit(&mut a, &mut b, &address).await;
        assert_eq!(refused(&mut a, &mut b, &mut asks, &[]).await, Refused::SignallingStalled);
        assert_eq!((net.made(), net.open()), (1, 0), "its connection object is closed");
        assert!(b.swarm.is_connected(&a.id), "the circuit stays");
    });
}
