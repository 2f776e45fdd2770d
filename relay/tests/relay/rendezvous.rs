//! libp2p's own rendezvous client at our relay.

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, noise,
    rendezvous::{ErrorCode, Namespace, client},
    swarm::SwarmEvent,
    tcp, yamux,
};
use tokio::time::timeout;

use crate::{Fixture, PATIENCE};

/// A client of libp2p's that is connected to the relay.
async fn client(relay: &Multiaddr) -> Swarm<client::Behaviour> {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| client::Behaviour::new(key.clone()))
        .unwrap()
        .build();
    swarm.dial(relay.clone()).unwrap();
    let connected = async {
        while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
    };
    timeout(PATIENCE, connected).await.unwrap();
    swarm
}

async fn next(swarm: &mut Swarm<client::Behaviour>) -> client::Event {
    let told = async {
        loop {
            if let SwarmEvent::Behaviour(event) = swarm.select_next_some().await {
                return event;
            }
        }
    };
    timeout(PATIENCE, told).await.expect("an answer in time")
}

#[tokio::test]
async fn clients_of_libp2p_meet_at_it() {
    let fixture = Fixture::new();
    let relay = fixture.relay(&[]).await;
    let addresses = relay.addresses(2).await;
    let tcp = addresses.iter().find(|address| !address.to_string().ends_with("/ws")).unwrap();
    let chain = Namespace::new(format!("weft/{}", fixture.genesis.hash().short())).unwrap();
    let (mut one, mut two) = (client(tcp).await, client(tcp).await);
    let at: Multiaddr = "/ip4/127.0.0.1/tcp/4100".parse().unwrap();
    one.add_external_address(at.clone());
    let point: PeerId = relay.id();

    one.behaviour_mut().register(chain.clone(), point, None).unwrap();
    let event = next(&mut one).await;
    assert!(matches!(event, client::Event::Registered { ttl: 7200, .. }), "{event:?}");
    let found = |event: client::Event| match event {
        client::Event::Discovered { registrations, cookie, .. } => (registrations, cookie),
        other => panic!("{other:?}"),
    };
    two.behaviour_mut().discover(Some(chain.clone()), None, None, point);
    let (registrations, cookie) = found(next(&mut two).await);
    assert_eq!(registrations.len(), 1);
    assert_eq!(registrations[0].record.peer_id(), *one.local_peer_id());
    assert_eq!(registrations[0].record.addresses(), [at]);
    two.behaviour_mut().discover(Some(chain.clone()), Some(cookie), None, point);
    assert_eq!(found(next(&mut two).await).0, [], "nobody came since");

    one.behaviour_mut().register(Namespace::from_static("weft/other"), point, None).unwrap();
    let event = next(&mut one).await;
    let refused = matches!(&event, client::Event::RegisterFailed { error: ErrorCode::InvalidNamespace, .. });
    assert!(refused, "{event:?}");
    one.behaviour_mut().unregister(chain.clone(), point);
    let gone = async {
        loop {
            two.behaviour_mut().discover(Some(chain.clone()), None, None, point);
            if found(next(&mut two).await).0.is_empty() {
                return;
            }
            // What was said is on its way.
            drop(timeout(std::time::Duration::from_millis(100), one.select_next_some()).await);
        }
    };
    timeout(PATIENCE, gone).await.expect("who takes it back is not found");
    relay.stop().await.unwrap();
}
