//! Which connections are of our own choice, and with whom they are made.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn id(number: u8) -> PeerId {
    let mut seed = [10 + number; 32];
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

fn at(number: u8) -> Multiaddr {
    format!("/ip4/8.{number}.0.1/tcp/1").parse().unwrap()
}

/// A node that keeps two connections of its own.
fn seeker() -> Alone {
    let discovery = Discovery { outbound: 2, ..Discovery::OFF };
    Alone::with(Config { discovery, ..config(false) }, MemoryStore::default())
}

/// The book gets to know a peer.
fn hears(alone: &mut Alone, number: u8, address: &Multiaddr) {
    let (peer, address) = (id(number), address.clone());
    alone.handle(Input::Discovered { peer, address, found: Found::Dns });
}

fn opened(alone: &mut Alone, number: u8, address: &Multiaddr) {
    let (peer, connection) = (id(number), ConnectionId(number.into()));
    let (link, address) = (Link::Direct, address.clone());
    alone.handle(Input::Connected { peer, connection, link, address, outbound: true });
}

fn dialled(alone: &mut Alone) -> Vec<Multiaddr> {
    let outputs = std::mem::take(&mut alone.outputs);
    let dials = outputs.into_iter().filter_map(|output| match output {
        Output::Dial(to) => Some(to.iter().filter(|it| !matches!(it, multiaddr::Protocol::P2p(_))).collect()),
        _ => None,
    });
    dials.collect()
}

fn missing(alone: &Alone) -> usize {
    alone.node.finding.missing(&alone.node.connections)
}

#[test]
fn connections_that_lookups_made_are_none_of_our_own_and_no_anchors() {
    let mut alone = seeker();
    for stranger in 1..=4 {
        opened(&mut alone, stranger, &at(stranger));
    }
    assert_eq!(missing(&alone), 2);
    for number in 11..=12 {
        hears(&mut alone, number, &at(number));
    }
    alone.run_to(5_000);
    let dials = dialled(&mut alone);
    assert!(dials.contains(&at(11)) && dials.contains(&at(12)), "{dials:?}");
    for number in 11..=12 {
        opened(&mut alone, number, &at(number));
    }
    assert_eq!(missing(&alone), 0);
    alone.run_to(20_000);
    let anchors = alone.node.fx.store.get(Table("peers/about"), b"anchors").unwrap();
    let anchors: Vec<Vec<u8>> = decode(&anchors, 4096).unwrap();
    assert_eq!(anchors, [id(11), id(12)].map(|peer| peer.to_bytes()));
}

#[test]
fn a_connection_that_is_there_anyway_will_do_where_the_lot_falls_on_it_and_its_network_is_another() {
    let mut alone = seeker();
    let neighbour: Multiaddr = "/ip4/8.1.9.9/tcp/1".parse().unwrap();
    for (number, address) in [(1, at(1)), (2, neighbour)] {
        hears(&mut alone, number, &address);
        opened(&mut alone, number, &address);
    }
    alone.run_to(60_000);
    assert_eq!((dialled(&mut alone), missing(&alone)), (vec![], 1), "the two are in one network");
}

#[test]
fn peers_that_are_dialled_for_what_they_have_keep_no_place_of_our_own() {
    let mut alone = seeker();
    for provider in 1..=8 {
        alone.node.connections.found(&alone.node.fx, id(provider), at(provider), 1000);
    }
    hears(&mut alone, 11, &at(11));
    alone.run_to(5_000);
    assert!(dialled(&mut alone).contains(&at(11)));
}

#[test]
fn of_one_network_there_is_one_connection_of_our_own() {
    let mut alone = seeker();
    for (number, host) in (1..=5).zip(["8.1.0.1", "8.1.0.2", "8.1.1.1", "8.1.2.9", "8.1.255.1"]) {
        hears(&mut alone, number, &format!("/ip4/{host}/tcp/1").parse().unwrap());
    }
    alone.run_to(700);
    let first = dialled(&mut alone);
    assert_eq!(first.len(), 1, "{first:?}");
    let number = (1..=5).find(|number| alone.node.connections.is_sought(&id(*number))).unwrap();
    opened(&mut alone, number, &first[0]);
    alone.run_to(60_000);
    assert_eq!((dialled(&mut alone), missing(&alone)), (vec![], 1));
}

/// What goes into the table of the neighbour at this address, who says that it is in two places.
fn routable(alone: &mut Alone, number: u8, from: &str) -> Vec<String> {
    let (peer, connection, address) = (id(number), ConnectionId(number.into()), from.parse().unwrap());
    alone.handle(Input::Connected { peer, connection, link: Link::Direct, address, outbound: false });
    let addresses =
        ["/ip4/127.0.0.1/tcp/22", "/ip4/9.9.9.9/tcp/1"].map(|text| text.parse().unwrap()).to_vec();
    let (agent, protocols) = ("other".to_owned(), vec![dht_protocol(&genesis().hash())]);
    alone.handle(Input::Identified { peer, agent, protocols, addresses });
    let outputs = std::mem::take(&mut alone.outputs);
    let routable = outputs.into_iter().filter_map(|output| match output {
        Output::Routable { address, .. } => Some(address.to_string()),
        _ => None,
    });
    routable.collect()
}

#[test]
fn who_comes_through_a_proxy_is_no_neighbour() {
    let discovery = Discovery { dht: true, ..Discovery::OFF };
    let proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let mut plain = Alone::with(Config { discovery, ..config(false) }, MemoryStore::default());
    let mut proxied = Alone::with(Config { discovery, proxies, ..config(false) }, MemoryStore::default());
    let both = ["/ip4/127.0.0.1/tcp/22", "/ip4/9.9.9.9/tcp/1"];
    assert_eq!(routable(&mut plain, 1, "/ip4/127.0.0.1/tcp/7/ws"), both);
    assert_eq!(routable(&mut proxied, 1, "/ip4/127.0.0.1/tcp/7/ws"), both[1..]);
    assert_eq!(proxied.node.connections.direct_address(&id(1)), Some(&"/ws".parse().unwrap()));
    // One that we dial on our own machine is what it seems.
    opened(&mut proxied, 2, &"/ip4/127.0.0.1/tcp/9".parse().unwrap());
    assert_eq!(
        proxied.node.connections.direct_address(&id(2)),
        Some(&"/ip4/127.0.0.1/tcp/9".parse().unwrap())
    );
}

#[test]
fn who_has_many_keys_and_one_host_fills_no_more_of_the_book_by_the_table_than_one_teller_may() {
    let discovery = Discovery { dht: true, ..Discovery::OFF };
    let tab = Config { role: Role::Browser, discovery, ..config(false) };
    let mut alone = Alone::with(tab, MemoryStore::default());
    for number in 0..3_000_u16 {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        let peer = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id();
        let (connection, link) = (ConnectionId(number.into()), Link::Direct);
        let from = format!("/ip4/9.9.9.9/tcp/{}/ws", number + 1).parse().unwrap();
        let told: Multiaddr =
            format!("/ip4/{}.{}.0.1/tcp/1/ws", 11 + number / 200, number % 200).parse().unwrap();
        let rumour = Input::Discovered { peer, address: told, found: Found::Dht };
        alone.handle(rumour.clone());
        alone.handle(Input::Connected { peer, connection, link, address: from, outbound: false });
        alone.handle(rumour);
        alone.handle(Input::Disconnected { peer, connection });
        alone.outputs.clear();
    }
    // A teller reaches 64 of 128 buckets, each with 8 places.
    let (new, _) = alone.node.finding.known();
    assert!((200..=512).contains(&new), "{new}");
}

#[test]
fn what_the_table_brings_up_counts_only_where_somebody_is_connected_and_the_table_is_wanted() {
    for (dht, known) in [(true, 1), (false, 0)] {
        let mut alone = Alone::with(
            Config { discovery: Discovery { dht, ..Discovery::OFF }, ..config(false) },
            MemoryStore::default(),
        );
        let heard = |number| Input::Discovered { peer: id(number), address: at(number), found: Found::Dht };
        alone.handle(heard(1));
        assert_eq!(alone.node.finding.known(), (0, 0), "who is not here has told nothing");
        opened(&mut alone, 2, &at(2));
        alone.handle(heard(2));
        assert_eq!(alone.node.finding.known().0 + alone.node.finding.known().1, known, "dht: {dht}");
    }
}

#[test]
fn no_relay_chooses_all_our_addresses() {
    let mut alone = seeker();
    let circuit = |relay: u8, port: u16| -> Multiaddr {
        format!("/ip4/8.8.8.8/tcp/{port}/p2p/{}/p2p-circuit", id(relay)).parse().unwrap()
    };
    for port in 1..=100 {
        alone.handle(Input::Listening(circuit(1, port)));
    }
    assert_eq!(alone.node.connections.addresses.len(), 8);
    for relay in 2..=20 {
        (1..=100).for_each(|port| alone.handle(Input::Listening(circuit(relay, port))));
    }
    assert_eq!(alone.node.connections.addresses.len(), 32);
    alone.handle(Input::Listening(at(1)));
    assert!(alone.node.connections.addresses.contains(&at(1)), "there is room for those of our own");
}

#[test]
fn a_peer_is_tested_in_whichever_network_it_is_and_let_go_when_there_is_another_of_ours() {
    let mut alone = seeker();
    hears(&mut alone, 1, &at(1));
    alone.run_to(700);
    assert_eq!(dialled(&mut alone), [at(1)]);
    opened(&mut alone, 1, &at(1));
    let neighbour: Multiaddr = "/ip4/8.1.9.9/tcp/1".parse().unwrap();
    hears(&mut alone, 2, &neighbour);
    alone.run_to(100_000);
    assert_eq!((dialled(&mut alone), missing(&alone)), (vec![], 1));
    alone.run_to(125_000);
    assert_eq!(dialled(&mut alone), std::slice::from_ref(&neighbour), "to see whether it is there");
    opened(&mut alone, 2, &neighbour);
    assert!(alone.outputs.iter().any(|output| matches!(output, Output::Disconnect(peer) if *peer == id(2))));
}

#[test]
fn what_is_refused_is_counted_and_so_are_addresses_of_no_use() {
    let discovery = Discovery { dht: true, ..Discovery::OFF };
    let mut alone = Alone::with(Config { discovery, ..config(false) }, MemoryStore::default());
    let count = |alone: &Alone, why| alone.node.fx.refusals.get(why).copied().unwrap_or_default();
    for what in [Refused::SignallingMessage, Refused::DhtValue, Refused::DhtValue] {
        alone.handle(Input::Refused(what));
    }
    assert_eq!(["signalling-message", "dht-value"].map(|why| count(&alone, why)), [1, 2]);
    let (peer, protocol) = (id(9), Protocol::Sync);
    alone.handle(Input::Oversized { peer, protocol });
    assert_eq!(count(&alone, "request-oversized"), 1);
    // One that comes from outside tells of a machine in our own network, and of one that can be dialled.
    opened(&mut alone, 1, &at(1));
    for (address, refused) in [("/ip4/192.168.0.1/tcp/80", 1), ("/ip4/9.9.9.9/tcp/1", 1)] {
        let address = address.parse().unwrap();
        alone.handle(Input::Discovered { peer: id(1), address, found: Found::Dht });
        assert_eq!(count(&alone, "address-without-use"), refused);
    }
    // Of a peer that says where it is, too, something has to be of use.
    routable(&mut alone, 2, "/ip4/8.8.8.8/tcp/7");
    assert_eq!(count(&alone, "address-without-use"), 1);
    let (agent, protocols) = ("other".to_owned(), vec![dht_protocol(&genesis().hash())]);
    let addresses = vec!["/ip4/127.0.0.1/tcp/22".parse().unwrap()];
    alone.handle(Input::Identified { peer: id(2), agent, protocols, addresses });
    assert_eq!(count(&alone, "address-without-use"), 2);
}
