//! The world itself, held to what it promises, with scripted peers.

use std::{cell::RefCell, rc::Rc};

use weft_core::{
    gossip::Topic,
    node::{Input, OutboundId, Output, Protocol, RequestFailure, Verdict},
    peers::Whom,
    primitives::Now,
};
use weft_testnet::{
    fixture::TestChain,
    sim::{EPOCH, Network, NodeOptions, PeerIx, World},
};

type Log = Rc<RefCell<Vec<(u64, Input)>>>;

fn options(chain: &TestChain) -> NodeOptions {
    NodeOptions { genesis: Some(chain.genesis.clone()), ..NodeOptions::default() }
}

/// A peer that writes down what it is told, answers every request with its own body twice over, and accepts all gossip.
fn listener(log: &Log) -> impl FnMut(Now, Input, &mut Vec<Output>) + 'static {
    let log = Rc::clone(log);
    move |now, input, outputs| {
        match &input {
            Input::Request { id, body, .. } => {
                outputs.push(Output::Respond { id: *id, body: [body.as_slice(), body].concat() });
            }
            Input::Gossip(message) => {
                outputs.push(Output::Judge { id: message.id, verdict: Verdict::Accept });
            }
            _ => {}
        }
        log.borrow_mut().push((now.mono.0, input));
    }
}

/// So many listeners in a row, each connected to the next.
fn row(world: &mut World, chain: &TestChain, count: usize) -> Vec<(PeerIx, Log)> {
    let peers: Vec<(PeerIx, Log)> = (0..count)
        .map(|_| {
            let log = Log::default();
            (world.add_puppet(options(chain), listener(&log)), log)
        })
        .collect();
    for pair in peers.windows(2) {
        let address = world.address(pair[1].0);
        world.act(pair[0].0, Output::Dial(address));
    }
    for (ix, _) in &peers {
        world.act(*ix, Output::Subscribe(Topic::Block));
    }
    world.run_for(2_000);
    peers
}

fn chain() -> TestChain {
    TestChain::new(EPOCH, 1_000, 1, 0)
}

fn ask(world: &mut World, from: PeerIx, to: PeerIx, id: u64, protocol: Protocol, body: Vec<u8>) {
    let peer = world.peer_id(to);
    world.act(from, Output::Request { id: OutboundId(id), peer, protocol, body });
}

fn responses(log: &Log) -> Vec<(u64, Result<Vec<u8>, RequestFailure>)> {
    let log = log.borrow();
    let outcome = |input: &Input| match input {
        Input::Response { id, outcome } => Some((id.0, outcome.clone())),
        _ => None,
    };
    log.iter().filter_map(|(_, input)| outcome(input)).collect()
}

fn gossip(log: &Log) -> usize {
    log.borrow().iter().filter(|(_, input)| matches!(input, Input::Gossip(_))).count()
}

#[test]
fn a_request_ends_in_its_answer_or_in_the_reason_there_is_none() {
    let mut world = World::new(1);
    let peers = row(&mut world, &chain(), 2);
    let other = TestChain::new(EPOCH, 999, 1, 0);
    let stranger = world.add_puppet(options(&other), listener(&Log::default()));
    let (me, log) = &peers[0];
    let address = world.address(stranger);
    world.act(*me, Output::Dial(address));
    world.run_for(2_000);

    ask(&mut world, *me, peers[1].0, 1, Protocol::Sync, vec![7]);
    ask(&mut world, *me, stranger, 2, Protocol::Sync, vec![7]);
    ask(&mut world, *me, stranger, 3, Protocol::Chat, vec![7]);
    world.run_for(2_000);
    ask(&mut world, *me, peers[1].0, 4, Protocol::Chat, vec![7; 1 << 11]);
    ask(&mut world, *me, *me, 5, Protocol::Chat, vec![7]);
    ask(&mut world, *me, peers[1].0, 6, Protocol::Transactions, vec![7; 100 << 10]);
    world.run_for(2_000);
    world.set_network(Network { loss: 1.0, ..Network::default() });
    ask(&mut world, *me, peers[1].0, 7, Protocol::Sync, vec![7]);
    world.run_for(20_000);

    let mut found = responses(log);
    found.sort_by_key(|(id, _)| *id);
    let expected = [
        (1, Ok(vec![7, 7])),
        (2, Err(RequestFailure::Unsupported)),
        (3, Ok(vec![7, 7])),
        (4, Err(RequestFailure::ConnectionLost)),
        (5, Err(RequestFailure::ConnectionLost)),
        (6, Err(RequestFailure::TooLarge)),
        (7, Err(RequestFailure::Timeout)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn gossip_reaches_everyone_once_and_goes_no_further_than_its_verdict() {
    let mut world = World::new(2);
    let peers = row(&mut world, &chain(), 4);
    let far = world.address(peers[2].0);
    world.act(peers[0].0, Output::Dial(far));
    let deaf = world.add_puppet(options(&chain()), |_: Now, _: Input, _: &mut Vec<Output>| {});
    let beyond = Log::default();
    let last = world.add_puppet(options(&chain()), listener(&beyond));
    world.act(deaf, Output::Subscribe(Topic::Block));
    world.act(last, Output::Subscribe(Topic::Block));
    for (from, to) in [(peers[3].0, deaf), (deaf, last)] {
        let address = world.address(to);
        world.act(from, Output::Dial(address));
    }
    world.run_for(2_000);

    world.act(peers[0].0, Output::Publish { topic: Topic::Block, data: vec![1, 2, 3] });
    world.run_for(2_000);
    let counts: Vec<usize> = peers.iter().map(|(_, log)| gossip(log)).collect();
    assert_eq!(counts, [0, 1, 1, 1]);
    assert_eq!(world.unjudged(deaf), 1);
    assert_eq!(gossip(&beyond), 0, "a peer that does not judge does not forward");
}

#[test]
fn a_partition_lets_nothing_through_and_ends_connections_after_a_while() {
    let mut world = World::new(3);
    let peers = row(&mut world, &chain(), 2);
    let (a, b) = (peers[0].0, peers[1].0);
    assert!(world.is_connected(a, b) && world.is_connected(b, a));

    world.split(&[&[a], &[b]]);
    ask(&mut world, a, b, 1, Protocol::Sync, vec![7]);
    world.run_for(4_000);
    assert!(world.is_connected(a, b));
    world.run_for(2_000);
    assert!(!world.is_connected(a, b) && !world.is_connected(b, a));
    assert_eq!(responses(&peers[0].1), [(1, Err(RequestFailure::ConnectionLost))]);

    let address = world.address(b);
    world.act(a, Output::Dial(address.clone()));
    world.run_for(11_000);
    assert!(matches!(peers[0].1.borrow().last(), Some((_, Input::DialFailed { .. }))));
    world.heal();
    world.act(a, Output::Dial(address));
    world.run_for(2_000);
    assert!(world.is_connected(a, b) && world.is_connected(b, a));
}

#[test]
fn a_ban_ends_connections_and_refuses_new_ones_until_it_is_lifted() {
    let mut world = World::new(4);
    let peers = row(&mut world, &chain(), 2);
    let (a, b) = (peers[0].0, peers[1].0);
    let banned = world.peer_id(a);
    let address = world.address(b);
    world.act(b, Output::Ban(Whom::Peer(banned)));
    world.run_for(2_000);
    assert!(!world.is_connected(a, b) && !world.is_connected(b, a));
    world.act(a, Output::Dial(address.clone()));
    world.run_for(2_000);
    assert!(!world.is_connected(a, b));
    world.act(b, Output::Unban(Whom::Peer(banned)));
    world.act(a, Output::Dial(address));
    world.run_for(2_000);
    assert!(world.is_connected(a, b));
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let run = |seed| {
        let mut world = World::new(seed);
        let peers = row(&mut world, &chain(), 5);
        world.set_network(Network { loss: 0.2, jitter: 0.5, ..Network::default() });
        for round in 0..50_u8 {
            let from = peers[usize::from(round) % 5].0;
            world.act(from, Output::Publish { topic: Topic::Block, data: vec![round] });
            ask(&mut world, peers[1].0, peers[2].0, u64::from(round), Protocol::Sync, vec![round]);
            world.run_for(100);
        }
        world.run_for(20_000);
        world.trace()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
