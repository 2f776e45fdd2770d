//! Two peers behind a real relay, over the memory transport.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    executor::{LocalPool, LocalSpawner},
    future::select,
    task::LocalSpawnExt,
};
use futures_timer::Delay;
use libp2p::{
    Swarm, Transport,
    core::{transport::MemoryTransport, upgrade::Version},
    gossipsub::{self, IdentTopic, PublishError},
    identity::Keypair,
    noise, ping, relay, request_response,
    swarm::{
        self, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    yamux,
};

use super::*;
use crate::{
    chain::{Authority, Genesis},
    node::Role,
    primitives::{Address, PublicKey},
    swarm::{Behaviour, BehaviourEvent},
};

type Tab = Behaviour<relay::client::Behaviour>;
type Happened = SwarmEvent<BehaviourEvent<relay::client::Behaviour>>;

fn address() -> Multiaddr {
    static NEXT: AtomicU64 = AtomicU64::new(2_000_000);
    Protocol::Memory(NEXT.fetch_add(1, Ordering::Relaxed)).into()
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

/// Starts a relay that is nothing else, and says where it is.
fn relay(spawner: &LocalSpawner) -> Multiaddr {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let transport = MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = relay::Behaviour::new(id, relay::Config::default());
    let mut swarm = Swarm::new(transport, behaviour, id, swarm::Config::without_executor());
    let address = address();
    swarm.listen_on(address.clone()).unwrap();
    swarm.add_external_address(address.clone());
    spawner.spawn_local(swarm.for_each(|_| std::future::ready(()))).unwrap();
    address.with(Protocol::P2p(id))
}

struct Peer {
    id: PeerId,
    address: Multiaddr,
    swarm: Swarm<Tab>,
}

fn peer() -> Peer {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let (relayed, client) = relay::client::new(id);
    let transport = relayed
        .or_transport(MemoryTransport::default())
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = Behaviour::new(&key, Role::Browser, Some(&genesis()), client);
    let mut swarm = crate::swarm::swarm(transport, behaviour, id, swarm::Config::without_executor());
    let address = address();
    swarm.listen_on(address.clone()).unwrap();
    swarm.behaviour_mut().gossipsub.subscribe(&topic()).unwrap();
    Peer { id, address, swarm }
}

impl Peer {
    fn sees(&self, other: &Self) -> bool {
        self.swarm.behaviour().gossipsub.all_peers().any(|(peer, _)| *peer == other.id)
            || self.swarm.behaviour().sync.is_connected(&other.id)
    }

    fn publish(&mut self, text: &str) -> Result<(), PublishError> {
        self.swarm.behaviour_mut().gossipsub.publish(topic(), text.as_bytes()).map(drop)
    }
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

/// Connects `a` to `b`, and says what each calls the connection.
async fn connect(a: &mut Peer, b: &mut Peer, to: Multiaddr) -> [ConnectionId; 2] {
    let options = DialOpts::peer_id(b.id).condition(PeerCondition::Always).addresses(vec![to]).build();
    let (ours, dialler) = (options.connection_id(), a.id);
    a.swarm.dial(options).unwrap();
    let (mut left, mut right) = (None, None);
    until(a, b, |event| {
        match event {
            Either::Left(SwarmEvent::ConnectionEstablished { connection_id, .. })
                if *connection_id == ours =>
            {
                left = Some(*connection_id);
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

/// What `a` says arrives at `b`, and so do requests, all over this connection.
async fn talk(a: &mut Peer, b: &mut Peer, [ours, theirs]: [ConnectionId; 2], text: &str) {
    let other = b.id;
    until(a, b, |event| match event {
        Either::Left(SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Subscribed {
            peer_id,
            ..
        }))) if *peer_id == other => Some(()),
        _ => None,
    })
    .await;
    a.publish(text).unwrap();
    until(a, b, |event| match event {
        Either::Right(SwarmEvent::Behaviour(BehaviourEvent::Gossipsub(gossipsub::Event::Message {
            message,
            ..
        }))) if message.data == text.as_bytes() => Some(()),
        _ => None,
    })
    .await;
    for _ in 0..4 {
        a.swarm.behaviour_mut().sync.send_request(&other, Ok(b"ask".to_vec()));
        let over = until(a, b, |event| match event {
            Either::Right(SwarmEvent::Behaviour(BehaviourEvent::Sync(
                request_response::Event::Message { connection_id, .. },
            ))) => Some(*connection_id),
            _ => None,
        })
        .await;
        assert_eq!(over, theirs);
    }
    assert!(a.swarm.behaviour().sync.is_connected(&other), "{ours}");
}

async fn ends<T>(test: impl Future<Output = T>) {
    let late = Delay::new(Duration::from_secs(30));
    if let futures::future::Either::Right(_) = select(std::pin::pin!(test), late).await {
        panic!("the test waited in vain");
    }
}

#[test]
fn gossip_and_requests_keep_to_the_direct_connection() {
    let mut pool = LocalPool::new();
    let relay = relay(&pool.spawner());
    pool.run_until(ends(
        async {
            let (mut a, mut b) = (peer(), peer());
            let circuit = relay.with(Protocol::P2pCircuit);
            b.swarm.listen_on(circuit.clone()).unwrap();
            until(&mut a, &mut b, |event| match event {
                Either::Right(SwarmEvent::Behaviour(BehaviourEvent::Extra(
                    relay::client::Event::ReservationReqAccepted { .. },
                ))) => Some(()),
                _ => None,
            })
            .await;

            // On the circuit they ping each other, and that is all.
            let to = circuit.with(Protocol::P2p(b.id));
            connect(&mut a, &mut b, to).await;
            let (first, second) = (a.id, b.id);
            let (mut there, mut back) = (false, false);
            until(&mut a, &mut b, |event| {
                match event {
                    Either::Left(SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                        peer, ..
                    }))) => {
                        there |= *peer == second;
                    }
                    Either::Right(SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                        peer, ..
                    }))) => {
                        back |= *peer == first;
                    }
                    _ => {}
                }
                (there && back).then_some(())
            })
            .await;
            assert!(!a.sees(&b) && !b.sees(&a));
            assert!(matches!(a.publish("unheard"), Err(PublishError::NoPeersSubscribedToTopic)));

            for text in ["once", "once more"] {
                let to = b.address.clone();
                let names = connect(&mut a, &mut b, to).await;
                talk(&mut a, &mut b, names, text).await;
                assert!(a.swarm.close_connection(names[0]));
                let (mut here, mut there) = (false, false);
                until(&mut a, &mut b, |event| {
                    match event {
                        Either::Left(SwarmEvent::ConnectionClosed { connection_id, .. }) => {
                            here |= *connection_id == names[0];
                        }
                        Either::Right(SwarmEvent::ConnectionClosed { connection_id, .. }) => {
                            there |= *connection_id == names[1];
                        }
                        _ => {}
                    }
                    (here && there).then_some(())
                })
                .await;
                assert!(
                    a.swarm.is_connected(&b.id) && b.swarm.is_connected(&a.id),
                    "the circuit is still there"
                );
                assert!(!a.sees(&b) && !b.sees(&a));
                assert!(a.publish(text).is_err());
            }
        }
        .boxed_local(),
    ));
}

#[test]
fn connections_are_counted_without_circuits() {
    let (mut direct, peer) = (Direct::default(), PeerId::random());
    let [first, second] = [1, 2].map(ConnectionId::new_unchecked);
    assert_eq!(direct.any(&peer), None);
    assert_eq!(direct.opened(peer, first, None), 0);
    assert_eq!(direct.opened(peer, second, None), 1);
    assert_eq!(direct.any(&peer), Some(first));
    assert_eq!(direct.closed(peer, first), 1);
    assert_eq!(direct.any(&peer), Some(second));
    assert_eq!(direct.closed(peer, second), 0);
    assert_eq!(direct.any(&peer), None);
}

#[test]
fn strangers_send_nobody_to_doors_in_its_own_network() {
    let key = Keypair::generate_ed25519();
    let mut behaviour = Behaviour::new(&key, Role::Native, Some(&genesis()), swarm::dummy::Behaviour);
    let (named, neighbour) = (PeerId::random(), PeerId::random());
    let table = behaviour.kademlia.as_mut().unwrap();
    for text in ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip4/8.8.8.8/udp/1"]
    {
        table.add_address(&named, text.parse().unwrap());
    }
    let mut dialled = |direct: &[&str]| {
        let id = ConnectionId::new_unchecked(9);
        behaviour.kademlia.direct = Direct::default();
        for at in direct {
            behaviour.kademlia.direct.opened(neighbour, id, Scope::of(&at.parse().unwrap()));
        }
        let told =
            behaviour.handle_pending_outbound_connection(id, Some(named), &[], Endpoint::Dialer).unwrap();
        told.iter()
            .map(|address| address.iter().take(2).collect::<Multiaddr>().to_string())
            .collect::<Vec<_>>()
    };
    let (machine, network, world) = ("/ip4/127.0.0.1/tcp/1", "/ip4/192.168.0.1/tcp/1", "/ip4/8.8.8.8/tcp/1");
    assert_eq!(dialled(&[]), [world]);
    assert_eq!(
        dialled(&["/ip4/10.0.0.2/tcp/1", "/ip4/9.9.9.9/tcp/1"]),
        [world],
        "one neighbour changes nothing"
    );
    assert_eq!(dialled(&["/ip4/10.0.0.2/tcp/1"]), [network, world]);
    assert_eq!(dialled(&["/ip4/127.0.0.1/tcp/7"]), [machine, network, world]);
}

#[test]
fn what_is_only_signalled_over_a_relay_is_direct() {
    let id = PeerId::random();
    for (address, circuit) in [
        ("/ip4/1.2.3.4/tcp/1/ws".to_owned(), false),
        (format!("/ip4/1.2.3.4/tcp/1/p2p/{id}/p2p-circuit"), true),
        (format!("/ip4/1.2.3.4/tcp/1/p2p/{id}/p2p-circuit/p2p/{id}"), true),
        (format!("/ip4/1.2.3.4/tcp/1/p2p/{id}/p2p-circuit/webrtc/p2p/{id}"), false),
    ] {
        assert_eq!(is_circuit(&address.parse().unwrap()), circuit, "{address}");
    }
}
