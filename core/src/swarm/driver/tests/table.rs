//! Who answers others' questions of the distributed hash table, and who only asks.

use libp2p::kad::{self, store::MemoryStore};

use super::*;
use crate::{
    node::{DhtAnswer, DhtId, DhtQuery, Refused},
    swarm::dht,
};

/// The table, as a person sees it.
async fn known(peer: &Peer) -> Vec<String> {
    peer.react(|input| match input {
        Input::Command(id, _) => Some(Output::Reply(*id, Box::new(Ok(Reply::RoutingTable(Vec::new()))))),
        _ => None,
    });
    let Ok(Reply::RoutingTable(buckets)) = peer.handle.call(Command::RoutingTable).await else {
        panic!("a table was asked for")
    };
    buckets.into_iter().flat_map(|bucket| bucket.peers).collect()
}

/// Whether a peer says that it answers such questions.
async fn serves(to: &mut Peer, from: PeerId) -> bool {
    let name = crate::node::dht_protocol(&chain("ours").hash());
    to.told(|input| match input {
        Input::Identified { peer, protocols, .. } if peer == from => Some(protocols.contains(&name)),
        _ => None,
    })
    .await
}

#[test]
fn who_serves_says_so_and_who_does_no_longer_takes_it_back() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, Some(chain("ours"))));
        a.dial(&mut b).await;
        assert!(!serves(&mut a, b.id).await, "nobody serves who was not told to");
        b.put_out(Output::ServeDht(true));
        while !serves(&mut a, b.id).await {}
        b.put_out(Output::ServeDht(false));
        while serves(&mut a, b.id).await {}
    });
}

#[test]
fn who_serves_is_in_the_table_of_those_who_ask_and_they_in_nobodys() {
    run(|spawner| async move {
        let [mut a, mut b] = [0; 2].map(|_| Peer::start(&spawner, Some(chain("ours"))));
        a.dial(&mut b).await;
        b.put_out(Output::ServeDht(true));
        while !serves(&mut a, b.id).await {}
        a.told(|input| match input {
            Input::Discovered { peer, found: Found::Dht, .. } => (peer == b.id).then_some(()),
            _ => None,
        })
        .await;
        assert_eq!(known(&a).await, [b.id.to_string()]);
        assert!(known(&b).await.is_empty());
    });
}

/// A stranger that speaks the table's protocol under this name says this to a peer. Returns when it has, or cannot.
async fn tells(
    spawner: &LocalSpawner,
    (peer, name): (&Peer, String),
    told: impl FnOnce(&mut kad::Behaviour<MemoryStore>),
) {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let transport = MemoryTransport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let mut config = kad::Config::new(StreamProtocol::try_from_owned(name).unwrap());
    config.set_max_packet_size(1 << 20);
    let mut behaviour = kad::Behaviour::with_config(id, MemoryStore::new(id), config);
    behaviour.set_mode(Some(kad::Mode::Client));
    behaviour.add_address(&peer.id, peer.address.clone());
    told(&mut behaviour);
    let idle = swarm::Config::without_executor().with_idle_connection_timeout(Duration::from_secs(60));
    let mut swarm = Swarm::new(transport, behaviour, id, idle);
    loop {
        if let SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { result, .. }) =
            swarm.select_next_some().await
            && matches!(result, kad::QueryResult::PutRecord(_) | kad::QueryResult::StartProviding(_))
        {
            break;
        }
    }
    // Nobody answers who is told of a provider, so it may still be on its way.
    spawner.spawn_local(swarm.for_each(|_| std::future::ready(()))).unwrap();
}

/// What a peer refuses of what it is told next for the table, if it does.
async fn refused(peer: &mut Peer) -> Option<Refused> {
    peer.told(|input| matches!(input, Input::TableTold(_)).then_some(())).await;
    match peer.told.next().now_or_never().flatten() {
        Some(Input::Refused(what)) => Some(what),
        _ => None,
    }
}

fn value() -> kad::Record {
    kad::Record::new(dht::record_key(&Hash([7; 32])), b"anything".to_vec())
}

#[test]
fn a_value_and_a_key_of_another_kind_are_refused_and_that_is_told() {
    run(|spawner| async move {
        let mut a = Peer::start(&spawner, Some(chain("ours")));
        a.put_out(Output::ServeDht(true));
        let (to, name) = (a.id, crate::node::dht_protocol(&chain("ours").hash()));
        tells(&spawner, (&a, name.clone()), |kad| {
            kad.put_record_to(value(), std::iter::once(to), kad::Quorum::One);
        })
        .await;
        assert_eq!(refused(&mut a).await, Some(Refused::DhtValue));
        for (key, expected) in [
            (kad::RecordKey::from(vec![7; 34]), Some(Refused::DhtRecord)),
            (dht::record_key(&Hash([7; 32])), None),
        ] {
            tells(&spawner, (&a, name.clone()), |kad| {
                kad.start_providing(key).unwrap();
            })
            .await;
            assert_eq!(refused(&mut a).await, expected);
        }
    });
}

#[test]
fn what_is_larger_than_a_message_of_the_table_is_not_read_and_harms_nobody() {
    run(|spawner| async move {
        let mut a = Peer::start(&spawner, Some(chain("ours")));
        a.put_out(Output::ServeDht(true));
        let (to, name) = (a.id, crate::node::dht_protocol(&chain("ours").hash()));
        tells(&spawner, (&a, name.clone()), |kad| {
            let large = kad::Record { value: vec![7; 16 << 10], ..value() };
            kad.put_record_to(large, std::iter::once(to), kad::Quorum::One);
        })
        .await;
        tells(&spawner, (&a, name), |kad| {
            kad.start_providing(dht::record_key(&Hash([7; 32]))).unwrap();
        })
        .await;
        // A value that was read would have been refused first.
        a.told(|input| {
            assert!(!matches!(input, Input::Refused(_)), "{input:?}");
            matches!(input, Input::TableTold(_)).then_some(())
        })
        .await;
    });
}

#[test]
fn who_is_of_another_chain_gets_nowhere_in_the_table() {
    run(|spawner| async move {
        let [mut a, mut b] = ["ours", "theirs"].map(|name| Peer::start(&spawner, Some(chain(name))));
        for peer in [&a, &b] {
            peer.put_out(Output::ServeDht(true));
        }
        a.dial(&mut b).await;
        b.told(|input| matches!(input, Input::Identified { .. }).then_some(())).await;
        let (to, name) = (a.id, crate::node::dht_protocol(&chain("theirs").hash()));
        tells(&spawner, (&a, name), |kad| {
            kad.put_record_to(value(), std::iter::once(to), kad::Quorum::One);
        })
        .await;
        // Even who knows where the other one is learns nothing there, and tells it nothing.
        b.put_out(Output::Routable { peer: a.id, address: a.address.clone() });
        for (id, query) in [(1, DhtQuery::Provide(Hash([7; 32]))), (2, DhtQuery::Providers(Hash([7; 32])))] {
            b.put_out(Output::Dht(DhtId(id), query));
            let outcome = b
                .told(|input| match input {
                    Input::Dht(of, outcome) if of == DhtId(id) => Some(outcome),
                    _ => None,
                })
                .await;
            assert!(
                !matches!(&outcome, Ok(DhtAnswer::Providers(others)) if others.contains(&a.id)),
                "{outcome:?}"
            );
        }
        while let Some(input) = a.told.next().now_or_never().flatten() {
            assert!(!matches!(input, Input::TableTold(_) | Input::Refused(_)), "{input:?}");
        }
        assert!(known(&a).await.is_empty());
    });
}
