//! Two peers behind a real relay, over the memory transport, and browsers that are played.

mod fake;
mod refusing;

use std::{sync::atomic::AtomicU64, time::Duration};

use futures::{
    StreamExt,
    executor::LocalPool,
    future::{Either, select},
    task::LocalSpawnExt,
};
use futures_timer::Delay;
use libp2p::{
    Multiaddr, Swarm, Transport as _,
    core::{muxing::StreamMuxerBox, transport::MemoryTransport, upgrade::Version},
    gossipsub::{self, IdentTopic},
    identity::Keypair,
    multiaddr::Protocol,
    noise, relay, request_response,
    swarm::{
        self, ConnectionId, NetworkBehaviour, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    yamux,
};

use self::fake::{Fake, Net};
use super::*;
use crate::{
    chain::{Authority, Genesis},
    node::Role,
    primitives::{Address, PublicKey},
    swarm::{Behaviour, BehaviourEvent},
};

#[derive(NetworkBehaviour)]
struct Extra {
    relay: relay::client::Behaviour,
    webrtc: WebrtcBehaviour,
}

type Tab = Behaviour<Extra>;
type Happened = SwarmEvent<BehaviourEvent<Extra>>;

struct Peer {
    id: PeerId,
    swarm: Swarm<Tab>,
}

fn genesis() -> Genesis {
    Genesis {
        name: "test".into(),
        time: 0,
        slot_millis: 1000,
        min_fee_per_byte: 1,
        authorities: vec![Authority { key: PublicKey([1; 32]), fee_address: Address([1; 32]) }],
        grants: Vec::new(),
    }
}

fn topic() -> IdentTopic {
    IdentTopic::new("/weft/chat/lobby")
}

/// A relay that is nothing else, and where to reach others through it.
fn relay() -> (Swarm<relay::Behaviour>, Multiaddr) {
    static NEXT: AtomicU64 = AtomicU64::new(3_000_000);
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let transport = MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = relay::Behaviour::new(id, relay::Config::default());
    let mut swarm = Swarm::new(transport, behaviour, id, swarm::Config::without_executor());
    let address: Multiaddr = Protocol::Memory(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)).into();
    swarm.listen_on(address.clone()).unwrap();
    swarm.add_external_address(address.clone());
    (swarm, address.with(Protocol::P2p(id)).with(Protocol::P2pCircuit))
}

fn peer(net: &Arc<Net>) -> Peer {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let (relayed, relay) = relay::client::new(id);
    let (direct, webrtc) = webrtc(id, Arc::new(Fake(net.clone())));
    let secured = relayed
        .or_transport(MemoryTransport::default())
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default());
    let transport = direct
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .or_transport(secured)
        .map(|either, _| match either {
            Either::Left((peer, muxer)) => (peer, muxer),
            Either::Right((peer, muxer)) => (peer, StreamMuxerBox::new(muxer)),
        })
        .boxed();
    let behaviour = Behaviour::new(&key, Role::Browser, Some(&genesis()), Extra { relay, webrtc });
    let mut swarm = crate::swarm::swarm(transport, behaviour, id, swarm::Config::without_executor());
    swarm.behaviour_mut().gossipsub.subscribe(&topic()).unwrap();
    Peer { id, swarm }
}

/// Lets both run until something happens at `a` (left) or `b` (right) that is waited for.
async fn until<T>(
    a: &mut Peer,
    b: &mut Peer,
    mut wanted: impl FnMut(Either<&Happened, &Happened>) -> Option<T>,
) -> T {
    loop {
        let found = futures::select! {
            event = a.swarm.select_next_some() => wanted(Either::Left(&event)),
            event = b.swarm.select_next_some() => wanted(Either::Right(&event)),
        };
        if let Some(found) = found {
            return found;
        }
    }
}

fn dial(from: &mut Peer, to: PeerId, address: Multiaddr) -> ConnectionId {
    let options = DialOpts::peer_id(to).condition(PeerCondition::Always).addresses(vec![address]).build();
    let id = options.connection_id();
    from.swarm.dial(options).unwrap();
    id
}

/// Opens a circuit from `a` to `b`, and says what each calls it.
async fn circuit(a: &mut Peer, b: &mut Peer, address: &Multiaddr) -> [ConnectionId; 2] {
    b.swarm.listen_on(address.clone()).unwrap();
    until(a, b, |event| match event {
        Either::Right(SwarmEvent::Behaviour(BehaviourEvent::Extra(ExtraEvent::Relay(
            relay::client::Event::ReservationReqAccepted { .. },
        )))) => Some(()),
        _ => None,
    })
    .await;
    let (ours, dialler) = (dial(a, b.id, address.clone().with(Protocol::P2p(b.id))), a.id);
    established(a, b, ours, dialler).await
}

/// Waits until both know the connection that `a` dialled, or `b` has one from it.
async fn established(a: &mut Peer, b: &mut Peer, ours: ConnectionId, dialler: PeerId) -> [ConnectionId; 2] {
    let (mut left, mut right) = (None, None);
    until(a, b, |event| {
        match event {
            Either::Left(SwarmEvent::ConnectionEstablished { connection_id, .. })
                if *connection_id == ours =>
            {
                left = Some(*connection_id);
            }
            Either::Left(SwarmEvent::OutgoingConnectionError { connection_id, error, .. })
                if *connection_id == ours =>
            {
                panic!("{error:?}");
            }
            Either::Right(SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. })
                if *peer_id == dialler =>
            {
                right = Some(*connection_id);
            }
            _ => {}
        }
        Some([left?, right?])
    })
    .await
}

/// Where `to` is dialled directly.
fn direct(circuit: &Multiaddr, to: PeerId) -> Multiaddr {
    circuit.clone().with(Protocol::WebRTC).with(Protocol::P2p(to))
}

/// A request of `a` is answered by `b` with so many bytes.
async fn answered(a: &mut Peer, b: &mut Peer, bytes: usize) {
    a.swarm.behaviour_mut().archive.send_request(&b.id, Ok(b"ask".to_vec()));
    let channel = until_with(a, b).await;
    b.swarm.behaviour_mut().archive.send_response(channel, vec![7; bytes]).unwrap();
    until(a, b, |event| match event {
        Either::Left(SwarmEvent::Behaviour(BehaviourEvent::Archive(request_response::Event::Message {
            message: request_response::Message::Response { response, .. },
            ..
        }))) => {
            assert_eq!(response.len(), bytes);
            Some(())
        }
        Either::Left(SwarmEvent::Behaviour(BehaviourEvent::Archive(
            request_response::Event::OutboundFailure { error, .. },
        ))) => panic!("{error}"),
        _ => None,
    })
    .await;
}

/// The next request at `b`.
async fn until_with(a: &mut Peer, b: &mut Peer) -> request_response::ResponseChannel<Vec<u8>> {
    loop {
        futures::select! {
            _ = a.swarm.select_next_some() => {}
            event = b.swarm.select_next_some() => {
                if let SwarmEvent::Behaviour(BehaviourEvent::Archive(request_response::Event::Message {
                    message: request_response::Message::Request { channel, .. },
                    ..
                })) = event {
                    return channel;
                }
            }
        }
    }
}

/// What `a` says arrives at `b`.
async fn heard(a: &mut Peer, b: &mut Peer, text: &str) {
    while a.swarm.behaviour_mut().gossipsub.publish(topic(), text.as_bytes()).is_err() {
        until(a, b, |_| Some(())).await;
    }
    until(a, b, |event| match event {
        Either::Right(SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message {
            message,
            ..
        }))) if message.data == text.as_bytes() => Some(()),
        _ => None,
    })
    .await;
}

/// Runs a test with a net, and a relay beside it.
fn with_relay<F: Future<Output = ()>>(test: impl FnOnce(Arc<Net>, Multiaddr) -> F) {
    let mut pool = LocalPool::new();
    let (net, pump) = Net::new();
    let (relay, address) = relay();
    pool.spawner().spawn_local(relay.for_each(|_| std::future::ready(()))).unwrap();
    pool.spawner().spawn_local(pump.for_each(|task| async move { task() })).unwrap();
    let test = test(net.clone(), address);
    pool.run_until(async {
        let late = Delay::new(Duration::from_secs(30));
        if let Either::Right(_) = select(std::pin::pin!(test), late).await {
            panic!("the test waited in vain");
        }
    });
    assert_eq!(net.open(), 0, "no connection object is left behind");
}

#[test]
fn two_peers_of_one_relay_get_a_direct_connection_and_keep_it_without_the_circuit() {
    with_relay(|net, address| async move {
        let (mut a, mut b) = (peer(&net), peer(&net));
        let relayed = circuit(&mut a, &mut b, &address).await;
        assert_eq!(net.made(), 0, "no connection object before it is needed");
        let (ours, dialler) = (dial(&mut a, b.id, direct(&address, b.id)), a.id);
        established(&mut a, &mut b, ours, dialler).await;
        assert_eq!(net.made(), 2);
        assert!(a.swarm.close_connection(relayed[0]));
        until(&mut a, &mut b, |event| match event {
            Either::Right(SwarmEvent::ConnectionClosed { connection_id, .. }) => {
                (*connection_id == relayed[1]).then_some(())
            }
            _ => None,
        })
        .await;
        heard(&mut a, &mut b, "there").await;
        heard(&mut b, &mut a, "and back").await;
        for bytes in [1, 100, 3 << 20] {
            answered(&mut a, &mut b, bytes).await;
            answered(&mut b, &mut a, bytes).await;
        }
        // One side leaves, and the other notices.
        let id = a.id;
        drop(a);
        let mut other = peer(&net);
        until(&mut other, &mut b, |event| match event {
            Either::Right(SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. }) => {
                (*peer_id == id).then_some(())
            }
            _ => None,
        })
        .await;
    });
}

#[test]
fn when_both_begin_at_once_one_connection_comes_of_it() {
    with_relay(|net, address| async move {
        let (mut a, mut b) = (peer(&net), peer(&net));
        circuit(&mut a, &mut b, &address).await;
        let dials = [
            dial(&mut a, b.id, direct(&address, b.id)),
            dial(
                &mut b,
                a.id,
                Multiaddr::from(Protocol::P2pCircuit).with(Protocol::WebRTC).with(Protocol::P2p(a.id)),
            ),
        ];
        let (mut ends, mut failed) = ([0; 2], 0);
        until(&mut a, &mut b, |event| {
            let (side, event) = match event {
                Either::Left(event) => (0, event),
                Either::Right(event) => (1, event),
            };
            match event {
                SwarmEvent::ConnectionEstablished { endpoint, .. } => {
                    let address = endpoint.get_remote_address();
                    ends[side] += usize::from(address.iter().any(|part| part == Protocol::WebRTC));
                }
                SwarmEvent::OutgoingConnectionError { connection_id, .. } => {
                    assert!(dials.contains(connection_id));
                    failed += 1;
                }
                _ => {}
            }
            (ends.iter().sum::<usize>() + failed >= 3).then_some(())
        })
        .await;
        assert_eq!((ends, failed), ([1, 1], 1));
        heard(&mut a, &mut b, "one is enough").await;
    });
}

#[test]
fn when_there_is_no_way_the_dial_fails_and_the_circuit_stays() {
    with_relay(|net, address| async move {
        let (mut a, mut b) = (peer(&net), peer(&net));
        circuit(&mut a, &mut b, &address).await;
        net.is_walled();
        let ours = dial(&mut a, b.id, direct(&address, b.id));
        let reason = until(&mut a, &mut b, |event| match event {
            Either::Left(SwarmEvent::OutgoingConnectionError { connection_id, error, .. })
                if *connection_id == ours =>
            {
                Some(format!("{error:?}"))
            }
            _ => None,
        })
        .await;
        assert!(reason.contains("Unreachable"), "{reason}");
        assert!(a.swarm.is_connected(&b.id) && b.swarm.is_connected(&a.id));
    });
}

#[test]
fn without_a_circuit_to_the_peer_there_is_nothing_to_agree_on() {
    with_relay(|net, address| async move {
        let (mut a, mut b) = (peer(&net), peer(&net));
        let ours = dial(&mut a, b.id, direct(&address, b.id));
        let reason = until(&mut a, &mut b, |event| match event {
            Either::Left(SwarmEvent::OutgoingConnectionError { connection_id, error, .. })
                if *connection_id == ours =>
            {
                Some(format!("{error:?}"))
            }
            _ => None,
        })
        .await;
        assert!(reason.contains("no relayed connection"), "{reason}");
        assert_eq!(net.made(), 0);
    });
}

#[test]
fn an_address_names_the_peer_after_webrtc_and_nothing_else() {
    let id = PeerId::random();
    for (address, peer) in [
        (format!("/ip4/1.2.3.4/tcp/1/ws/p2p/{id}/p2p-circuit/webrtc/p2p/{id}"), Some(id)),
        (format!("/webrtc/p2p/{id}"), Some(id)),
        (format!("/ip4/1.2.3.4/tcp/1/ws/p2p/{id}/p2p-circuit/webrtc"), None),
        (format!("/p2p-circuit/webrtc/p2p/{id}/p2p-circuit"), None),
        (format!("/ip4/1.2.3.4/tcp/1/ws/p2p/{id}/p2p-circuit/p2p/{id}"), None),
    ] {
        assert_eq!(webrtc_peer(&address.parse().unwrap()), peer, "{address}");
    }
}
