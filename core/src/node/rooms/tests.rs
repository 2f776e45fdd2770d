//! Two nodes without a chain in one room, their effects carried out by hand.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use libp2p::identity::Keypair;

use crate::{
    gossip::{MAX_TEXT_BYTES, Room, SayError, TextError, Topic, TxMode},
    node::{
        ChatView, Command, CommandError, CommandId, Config, ConnectionId, GossipId, GossipMessage, InboundId,
        Input, Link, Node, NodeLists, Output, Protocol, Reply, Role, Verdict, Without,
    },
    primitives::{Mono, Now, Wall},
    store::MemoryStore,
    sync::Strategy,
};

const NOW: Now = Now { mono: Mono(5), wall: Wall(1_000_000) };

fn peer(seed: u8) -> libp2p::PeerId {
    Keypair::ed25519_from_bytes([seed; 32]).unwrap().public().to_peer_id()
}

fn node(seed: u8) -> Node {
    node_as(seed, Role::Native)
}

fn node_as(seed: u8, role: Role) -> Node {
    let config = Config {
        local: peer(seed),
        role,
        genesis: None,
        key: None,
        discovery: crate::node::Discovery::OFF,
        slots: 0,
        validator: None,
        bootstrap: Vec::new(),
        lists: NodeLists::default(),
        strategy: Strategy::Full,
        prune: crate::node::Prune::Archive,
        mempool_bytes: 0,
        tx_mode: TxMode::default(),
        max_inbound: 8,
        proxies: Vec::new(),
        upload: Role::Native.upload(),
        max_jobs: 1,
        without: Without::default(),
    };
    Node::new(config, Box::new(MemoryStore::default()), [seed; 32], NOW).unwrap()
}

fn lobby() -> Room {
    "lobby".parse().unwrap()
}

fn give(node: &mut Node, input: Input) -> Vec<Output> {
    node.handle(NOW, input);
    std::iter::from_fn(|| node.poll_output()).collect()
}

fn connect(node: &mut Node, other: u8) -> Vec<Output> {
    let address = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
    let (peer, connection) = (peer(other), ConnectionId(u64::from(other)));
    give(node, Input::Connected { peer, connection, link: Link::Direct, address, outbound: true })
}

fn say(node: &mut Node, text: &str) -> (Vec<Output>, Result<Reply, CommandError>) {
    let outputs = give(node, Input::Command(CommandId(1), Command::Say(lobby(), text.to_owned())));
    let reply = outputs.iter().find_map(|output| match output {
        Output::Reply(_, reply) => Some(reply.as_ref().clone()),
        _ => None,
    });
    (outputs, reply.unwrap())
}

fn hear(node: &mut Node, author: u8, data: &[u8]) -> Option<Verdict> {
    let message = GossipMessage {
        id: GossipId(7),
        topic: Topic::Chat(lobby()),
        from: peer(author),
        author: peer(author),
        sequence: 1,
        data: data.to_vec(),
    };
    give(node, Input::Gossip(message)).into_iter().find_map(|output| match output {
        Output::Judge { verdict, .. } => Some(verdict),
        _ => None,
    })
}

fn history(node: &mut Node) -> Vec<ChatView> {
    let outputs = give(node, Input::Command(CommandId(1), Command::History(lobby())));
    let reply = outputs.into_iter().find_map(|output| match output {
        Output::Reply(_, reply) => Some(*reply),
        _ => None,
    });
    match reply {
        Some(Ok(Reply::History(lines))) => lines,
        other => panic!("no history: {other:?}"),
    }
}

#[test]
fn what_is_said_is_published_after_joining_and_heard_with_a_verdict() {
    let mut node = node(1);
    let (outputs, reply) = say(&mut node, "hello");
    assert_eq!(reply, Ok(Reply::Done));
    let place = |wanted: fn(&Output) -> bool| outputs.iter().position(wanted).unwrap();
    let subscribed = place(|output| matches!(output, Output::Subscribe(Topic::Chat(_))));
    let published = place(|output| matches!(output, Output::Publish { data, .. } if data == b"hello"));
    assert!(subscribed < published);
    assert_eq!(hear(&mut node, 2, b"hello yourself"), Some(Verdict::Accept));
    assert_eq!(hear(&mut node, 2, b"hello yourself"), Some(Verdict::Ignore));
    assert_eq!(hear(&mut node, 2, &[0xff]), Some(Verdict::Reject));
    let lines: Vec<_> = history(&mut node).into_iter().map(|line| (line.own, line.text)).collect();
    assert_eq!(lines, [(true, "hello".to_owned()), (false, "hello yourself".to_owned())]);
    let outputs = give(&mut node, Input::Command(CommandId(1), Command::Leave(lobby())));
    assert!(outputs.iter().any(|output| matches!(output, Output::Unsubscribe(_))));
    assert_eq!(hear(&mut node, 2, b"anyone?"), Some(Verdict::Ignore));
}

#[test]
fn what_cannot_be_said_is_refused_in_words_and_not_published() {
    let mut node = node(1);
    let (outputs, reply) = say(&mut node, &"x".repeat(MAX_TEXT_BYTES + 1));
    let expected = CommandError::Say(SayError::Text(TextError::TooLong(MAX_TEXT_BYTES + 1)));
    assert_eq!(reply, Err(expected));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Publish { .. })));
}

#[test]
fn a_peer_that_arrives_is_asked_what_was_said_and_its_answer_is_shown_as_hearsay() {
    let mut old = node(1);
    assert_eq!(say(&mut old, "before you came").1, Ok(Reply::Done));
    let mut new = node(2);
    give(&mut new, Input::Command(CommandId(1), Command::Join(lobby())));
    let asked = connect(&mut new, 1).into_iter().find_map(|output| match output {
        Output::Request { id, peer: to, protocol: Protocol::Chat, body } if to == peer(1) => Some((id, body)),
        _ => None,
    });
    let (id, body) = asked.expect("the newcomer asks");
    let request = Input::Request { id: InboundId(1), peer: peer(2), protocol: Protocol::Chat, body };
    let answer = give(&mut old, request).into_iter().find_map(|output| match output {
        Output::Respond { body, .. } => Some(body),
        _ => None,
    });
    give(&mut new, Input::Response { id, outcome: Ok(answer.expect("an answer")) });
    let lines = history(&mut new);
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].text.as_str(), lines[0].own), ("before you came", false));
    assert_eq!(lines[0].author, peer(1).to_string());
    assert_eq!(lines[0].told_by, Some(peer(1).to_string()));
    let garbage = Input::Request { id: InboundId(2), peer: peer(2), protocol: Protocol::Chat, body: vec![9] };
    let outputs = give(&mut old, garbage);
    assert!(outputs.iter().any(|output| matches!(output, Output::Refuse(InboundId(2)))));
}

fn enter(node: &mut Node, guest: u8, room: &str) -> Vec<Topic> {
    let outputs = give(node, Input::RoomEntered { peer: peer(guest), room: room.parse().unwrap() });
    let topics = outputs.into_iter().filter_map(|output| match output {
        Output::Subscribe(topic) => Some(topic),
        _ => None,
    });
    topics.collect()
}

#[test]
fn a_relay_takes_part_in_its_guests_rooms_and_another_peer_does_not() {
    let mut relay = node_as(1, Role::Relay);
    assert_eq!(enter(&mut relay, 2, "lobby"), [Topic::Chat(lobby())]);
    assert!(enter(&mut relay, 3, "lobby").is_empty(), "it is there already");
    assert_eq!(hear(&mut relay, 2, b"hello"), Some(Verdict::Accept));
    assert!(enter(&mut node(1), 2, "lobby").is_empty());
}

#[test]
fn a_relay_hosts_so_many_rooms_and_gives_up_those_without_guests() {
    let mut relay = node_as(1, Role::Relay);
    let hosted = (0..40).filter(|index| {
        let guest = 10 + u8::try_from(index / 10).unwrap();
        connect(&mut relay, guest);
        !enter(&mut relay, guest, &format!("room-{index}")).is_empty()
    });
    assert_eq!(hosted.count(), 32, "eight for each of four guests");
    assert!(enter(&mut relay, 20, "late").is_empty(), "full");
    give(&mut relay, Input::Disconnected { peer: peer(10), connection: ConnectionId(10) });
    assert_eq!(enter(&mut relay, 20, "late"), [Topic::Chat("late".parse().unwrap())]);
}
