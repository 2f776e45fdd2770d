//! Tabs that reach each other directly, and a relay that tells them of each other.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    content::Cid,
    peers::{PeerRecord, PeersRequest, PeersResponse},
    signalling::PROTOCOL,
};

fn with(role: Role, discovery: Discovery) -> Alone {
    let config = Config { role, discovery, ..config(false) };
    let now = Now { mono: Mono(0), wall: Wall(10_000) };
    let node = Node::new(config, Box::new(MemoryStore::default()), [7; 32], now).unwrap();
    let mut alone = Alone { node, mono: 0, outputs: VecDeque::new() };
    alone.drain();
    alone
}

fn peer(seed: u8) -> PeerId {
    let mut seed = [seed; 32];
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

fn multiaddr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn relay() -> String {
    format!("/ip4/10.0.0.1/tcp/1/ws/p2p/{}", peer(100))
}

/// A peer asks for others, and brings what it says of itself.
fn ask(alone: &mut Alone, id: u64, from: PeerId, own: Option<PeerRecord>) -> Vec<PeerRecord> {
    let body = encode(&PeersRequest { chain: genesis().hash(), own });
    alone.handle(Input::Request { id: InboundId(id), peer: from, protocol: Protocol::Peers, body });
    let body = alone.outputs.iter().find_map(|output| match output {
        Output::Respond { id: of, body } if *of == InboundId(id) => Some(body.clone()),
        _ => None,
    });
    decode::<PeersResponse>(&body.unwrap(), 1 << 16).unwrap().0
}

fn meet(alone: &mut Alone, seed: u8) -> PeerId {
    let (peer, connection) = (peer(seed), ConnectionId(seed.into()));
    let address = multiaddr(&format!("/ip4/10.0.0.{seed}/tcp/1/ws"));
    alone.handle(Input::Connected { peer, connection, link: Link::Direct, address, outbound: false });
    peer
}

#[test]
fn a_relay_tells_tabs_of_the_tabs_that_are_connected_to_it_and_of_no_others() {
    let discovery = Discovery { exchange: true, ..Discovery::OFF };
    let mut relay_node = with(Role::Relay, discovery);
    let tabs = [11, 12].map(|seed| meet(&mut relay_node, seed));
    let own = |seed: u8, address: &str| {
        PeerRecord::sign(&key(seed), &genesis().hash(), Wall(10_000), &[multiaddr(address)])
    };
    let signalled = format!("{}/p2p-circuit/webrtc", relay());
    let first = own(11, &signalled);
    assert_eq!(ask(&mut relay_node, 1, tabs[0], Some(first.clone())), []);
    assert_eq!(ask(&mut relay_node, 2, tabs[1], Some(own(12, &signalled))), std::slice::from_ref(&first));
    assert_eq!(ask(&mut relay_node, 3, tabs[0], Some(first)).len(), 1);
    relay_node.handle(Input::Disconnected { peer: tabs[0], connection: ConnectionId(11) });
    assert_eq!(ask(&mut relay_node, 4, tabs[1], None), []);
    // Where somebody else is told to be is not passed on.
    let other = meet(&mut relay_node, 13);
    let lie = own(13, &format!("{signalled}/p2p/{}", peer(14)));
    ask(&mut relay_node, 5, other, Some(lie));
    assert!(ask(&mut relay_node, 6, tabs[1], None).iter().all(|record| record.peer() != Some(other)));
}

#[test]
fn a_relay_keeps_so_many_tabs_to_tell_of_and_takes_another_when_one_leaves() {
    const MOST: u16 = 1_024;
    let discovery = Discovery { exchange: true, ..Discovery::OFF };
    let config = Config { role: Role::Relay, discovery, max_inbound: 2_048, ..config(false) };
    let mut alone = Alone::with(config, MemoryStore::default());
    let told = [multiaddr(&format!("{}/p2p-circuit/webrtc", relay()))];
    // A tab that comes says where it is.
    let comes = |alone: &mut Alone, number: u16| {
        let mut seed = [200; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        let key = SecretKey::from_seed(seed);
        let (peer, connection) = (crate::peers::peer_id(&key.public()).unwrap(), ConnectionId(number.into()));
        let address = multiaddr(&format!("/ip4/10.{}.{}.1/tcp/1/ws", number / 256, number % 256));
        alone.handle(Input::Connected { peer, connection, link: Link::Direct, address, outbound: false });
        let own = PeerRecord::sign(&key, &genesis().hash(), Wall(10_000), &told);
        alone.outputs.clear();
        ask(alone, number.into(), peer, Some(own));
        peer
    };
    let held = |alone: &Alone| {
        let guests = alone.node.held().find(|held| held.what == "connected tabs to tell of").unwrap();
        (guests.count, guests.limit)
    };
    let first = comes(&mut alone, 0);
    (1..MOST).for_each(|number| _ = comes(&mut alone, number));
    assert_eq!(held(&alone), (1_024, 1_024));
    let late = comes(&mut alone, MOST);
    assert_eq!(held(&alone), (1_024, 1_024));
    alone.handle(Input::Disconnected { peer: late, connection: ConnectionId(MOST.into()) });
    assert_eq!(held(&alone).0, 1_024, "it was none of them");
    alone.handle(Input::Disconnected { peer: first, connection: ConnectionId(0) });
    assert_eq!(held(&alone).0, 1_023);
    comes(&mut alone, MOST + 1);
    assert_eq!(held(&alone).0, 1_024);
}

/// Waits for a dial, and says where to.
fn dialled(alone: &mut Alone) -> Option<Multiaddr> {
    let at = alone.outputs.iter().position(|output| matches!(output, Output::Dial(_)))?;
    match alone.outputs.remove(at) {
        Some(Output::Dial(address)) => Some(address),
        _ => None,
    }
}

fn link(alone: &mut Alone, of: PeerId) -> Vec<(LinkState, String)> {
    match alone.ask(Command::Peers) {
        Ok(Reply::Peers(peers)) => {
            let peer = peers.into_iter().find(|view| view.peer == of.to_string());
            peer.map_or_else(Vec::new, |view| {
                view.links.into_iter().map(|link| (link.state, link.transport)).collect()
            })
        }
        other => panic!("{other:?}"),
    }
}

fn named(name: &str) -> Vec<(LinkState, String)> {
    let state = match name {
        "webrtc" => LinkState::Direct,
        "relayed" => LinkState::Relayed,
        _ => return vec![(LinkState::Upgrading, "relayed".to_owned())],
    };
    vec![(state, name.to_owned())]
}

/// A tab that was told to dial another one, and is connected to it over the circuit.
fn on_a_circuit(alone: &mut Alone) -> (PeerId, Multiaddr) {
    let other = peer(50);
    let direct = multiaddr(&format!("{}/p2p-circuit/webrtc/p2p/{other}", relay()));
    let circuit = multiaddr(&format!("{}/p2p-circuit/p2p/{other}", relay()));
    assert_eq!(alone.ask(Command::Dial(direct.clone())), Ok(Reply::Done));
    assert_eq!(dialled(alone), Some(circuit.clone()), "first of all over the relay");
    let connection = ConnectionId(1);
    alone.handle(Input::Connected {
        peer: other,
        connection,
        link: Link::Relayed,
        address: circuit,
        outbound: true,
    });
    assert_eq!((dialled(alone), link(alone, other)), (None, named("relayed")));
    let protocols = vec!["/ipfs/ping/1.0.0".into(), PROTOCOL.into()];
    alone.handle(Input::Identified { peer: other, agent: "tab".into(), protocols, addresses: Vec::new() });
    assert_eq!(link(alone, other), named("upgrading"));
    (other, direct)
}

#[test]
fn a_tab_moves_from_the_circuit_to_a_direct_connection_and_closes_the_circuit() {
    let mut alone = with(Role::Browser, Discovery::OFF);
    let (other, direct) = on_a_circuit(&mut alone);
    assert_eq!(dialled(&mut alone), Some(direct.clone()));
    let connection = ConnectionId(2);
    alone.handle(Input::Connected {
        peer: other,
        connection,
        link: Link::Direct,
        address: direct,
        outbound: true,
    });
    assert_eq!(link(&mut alone, other).len(), 2);
    alone.run_to(alone.mono + 5_000);
    let closes: Vec<_> = alone
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Close { peer, connection } => Some((*peer, *connection)),
            _ => None,
        })
        .collect();
    assert_eq!(closes, [(other, ConnectionId(1))]);
    alone.handle(Input::Disconnected { peer: other, connection: ConnectionId(1) });
    assert_eq!(link(&mut alone, other), vec![(LinkState::Upgraded, "webrtc".to_owned())]);
    alone.run_to(alone.mono + 60_000);
    assert_eq!(dialled(&mut alone), None, "it has what it wants");
}

#[test]
fn a_circuit_stays_open_when_the_direct_connection_did_not_last() {
    let mut alone = with(Role::Browser, Discovery::OFF);
    let (other, direct) = on_a_circuit(&mut alone);
    let connection = ConnectionId(2);
    alone.handle(Input::Connected {
        peer: other,
        connection,
        link: Link::Direct,
        address: direct,
        outbound: true,
    });
    alone.run_to(alone.mono + 500);
    alone.handle(Input::Disconnected { peer: other, connection });
    alone.run_to(alone.mono + 5_000);
    assert!(!alone.outputs.iter().any(|output| matches!(output, Output::Close { .. })));
}

#[test]
fn a_tab_stays_on_the_circuit_when_there_is_no_direct_way_and_does_not_go_on_trying() {
    let mut alone = with(Role::Browser, Discovery::OFF);
    let (other, direct) = on_a_circuit(&mut alone);
    let mut tries = 0;
    for _ in 0..120 {
        if let Some(address) = dialled(&mut alone) {
            assert_eq!(address, direct);
            tries += 1;
            alone.handle(Input::DialFailed { address, reason: "no way".into() });
        }
        alone.run_to(alone.mono + 1_000);
    }
    assert_eq!(tries, 3);
    assert_eq!(link(&mut alone, other), named("relayed"));
    assert!(
        !alone.outputs.iter().any(|output| matches!(output, Output::Disconnect(_) | Output::Close { .. }))
    );
    match alone.ask(Command::Status) {
        Ok(Reply::Status(status)) => assert_eq!(status.refusals.get("no-direct-way"), Some(&3)),
        reply => panic!("{reply:?}"),
    }
}

/// Takes what was asked of the table.
fn asked(alone: &mut Alone) -> Vec<(DhtId, DhtQuery)> {
    let mut asked = Vec::new();
    alone.outputs.retain(|output| match output {
        Output::Dht(id, query @ (DhtQuery::Providers(_) | DhtQuery::FindPeer(_))) => {
            asked.push((*id, *query));
            false
        }
        _ => true,
    });
    asked
}

#[test]
fn a_tab_reaches_a_provider_that_is_a_tab_too_over_its_relay_and_then_directly() {
    let mut alone = with(Role::Browser, Discovery { dht: true, ..Discovery::OFF });
    let (provider, wanted) = (peer(50), Hash([7; 32]));
    let relay = format!("/ip4/8.8.8.8/tcp/1/ws/p2p/{}", peer(100));
    let direct = multiaddr(&format!("{relay}/p2p-circuit/webrtc/p2p/{provider}"));
    let circuit = multiaddr(&format!("{relay}/p2p-circuit/p2p/{provider}"));
    // Its record, as others passed it on: nobody has another address of it.
    let address = multiaddr(&format!("{relay}/p2p-circuit/webrtc"));
    alone.handle(Input::Discovered { peer: provider, address, found: Found::Exchange });
    let fetch = ContentCommand::Fetch { cid: Cid(wanted), offer: true };
    alone.ask(Command::Content(fetch)).unwrap();
    let [(id, DhtQuery::Providers(key))] = asked(&mut alone)[..] else { panic!("nobody is looked for") };
    assert_eq!(key, wanted);
    alone.handle(Input::Dht(id, Ok(DhtAnswer::Providers(vec![provider]))));
    let [(id, DhtQuery::FindPeer(sought))] = asked(&mut alone)[..] else { panic!("nor where it is") };
    assert_eq!((sought, dialled(&mut alone)), (provider, None));
    // The table places only those who answer questions there.
    alone.handle(Input::Dht(id, Ok(DhtAnswer::At(Vec::new()))));
    assert_eq!(dialled(&mut alone), Some(circuit.clone()), "first of all over the relay");

    let relayed = |connection, link, address| Input::Connected {
        peer: provider,
        connection: ConnectionId(connection),
        link,
        address,
        outbound: true,
    };
    alone.handle(relayed(1, Link::Relayed, circuit));
    let protocols = vec![PROTOCOL.into()];
    alone.handle(Input::Identified { peer: provider, agent: "tab".into(), protocols, addresses: Vec::new() });
    let content = |alone: &Alone| {
        alone.outputs.iter().any(
            |output| matches!(output, Output::Request { peer, protocol: Protocol::Content, .. } if *peer == provider),
        )
    };
    assert!(!content(&alone), "files do not go through relays");
    assert_eq!(dialled(&mut alone), Some(direct.clone()));
    alone.handle(relayed(2, Link::Direct, direct));
    alone.run_to(alone.mono + 1_000);
    assert!(content(&alone), "it is asked for the file");
}
