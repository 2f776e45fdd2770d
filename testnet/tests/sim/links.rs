//! Links: bandwidth, queues, and who can be dialled.

use std::{cell::RefCell, rc::Rc};

use weft_core::{
    gossip::Topic,
    node::{Input, OutboundId, Output, Protocol, Verdict},
    primitives::Now,
};
use weft_testnet::{
    fixture::TestChain,
    sim::{Access, EPOCH, Kind, Nat, Network, NodeOptions, PeerIx, World, country_named},
};

type Log = Rc<RefCell<Vec<(u64, Input)>>>;

/// Everybody is in one country, and no packet is late by chance.
fn world() -> World {
    let mut world = World::new(1);
    world.set_network(Network { jitter: 0.0, ..Network::default() });
    world
}

fn options(access: Access) -> NodeOptions {
    let genesis = Some(TestChain::new(EPOCH, 1_000, 1, 0).genesis);
    NodeOptions { genesis, access, ..NodeOptions::default() }
}

fn listener(world: &mut World, access: Access) -> (PeerIx, Log) {
    let log = Log::default();
    let kept = Rc::clone(&log);
    let ix = world.add_puppet(options(access), move |now: Now, input: Input, outputs: &mut Vec<Output>| {
        match &input {
            Input::Request { id, .. } => outputs.push(Output::Respond { id: *id, body: vec![0; 100_000] }),
            Input::Gossip(message) => {
                outputs.push(Output::Judge { id: message.id, verdict: Verdict::Accept });
            }
            _ => {}
        }
        kept.borrow_mut().push((now.mono.0, input));
    });
    world.act(ix, Output::Subscribe(Topic::Block));
    (ix, log)
}

fn dial(world: &mut World, from: PeerIx, to: PeerIx) {
    let address = world.address(to);
    world.act(from, Output::Dial(address));
}

fn when(log: &Log, matches: impl Fn(&Input) -> bool) -> Vec<u64> {
    log.borrow().iter().filter(|(_, input)| matches(input)).map(|(at, _)| *at).collect()
}

#[test]
fn copies_leave_a_narrow_uplink_one_after_the_other() {
    let mut world = world();
    let narrow = Access { up: Some(1_000_000), ..Access::default() };
    let (from, _) = listener(&mut world, narrow);
    let others: Vec<_> = (0..4).map(|_| listener(&mut world, Access::default())).collect();
    for (other, _) in &others {
        dial(&mut world, *other, from);
    }
    world.run_for(2_000);
    world.act(from, Output::Publish { topic: Topic::Block, data: vec![7; 12_500] });
    world.run_for(5_000);
    // A copy takes a tenth of a second through a megabit, so the last leaves 0.3 s after the first, and more for headers.
    let mut came: Vec<u64> =
        others.iter().flat_map(|(_, log)| when(log, |it| matches!(it, Input::Gossip(_)))).collect();
    came.sort_unstable();
    assert_eq!(came.len(), 4);
    let fast = came[0] - 2_000;
    assert!((100..600).contains(&fast), "the first came after {fast} ms");
    assert!(came[3] - came[0] >= 100, "{came:?}");
    let sent = world.traffic(from).sent[Kind::Block];
    assert_eq!(sent.messages, 4);
    assert!((4 * 12_500..4 * 14_000).contains(&sent.bytes), "{sent:?}");
    let received = world.traffic(others[0].0).received[Kind::Block];
    assert_eq!((received.messages, received.bytes), (1, sent.bytes / 4));
}

#[test]
fn answers_queue_at_a_narrow_downlink() {
    let mut world = world();
    let narrow = Access { down: Some(8_000_000), ..Access::default() };
    let (me, log) = listener(&mut world, narrow);
    let others: Vec<_> = (0..3).map(|_| listener(&mut world, Access::default())).collect();
    for (other, _) in &others {
        dial(&mut world, *other, me);
    }
    world.run_for(2_000);
    for (id, (other, _)) in others.iter().enumerate() {
        let peer = world.peer_id(*other);
        let request =
            Output::Request { id: OutboundId(id as u64), peer, protocol: Protocol::Sync, body: vec![7] };
        world.act(me, request);
    }
    world.run_for(5_000);
    let mut came = when(&log, |input| matches!(input, Input::Response { outcome: Ok(_), .. }));
    came.sort_unstable();
    // 100 kB take a tenth of a second through eight megabits.
    assert_eq!(came.len(), 3);
    assert!(came[2] - came[1] >= 100 && came[1] - came[0] >= 100, "{came:?}");
    let received = world.traffic(me).received[Kind::Sync];
    assert!(received.messages == 3 && received.bytes > 300_000, "{received:?}");
}

#[test]
fn who_is_behind_a_closed_nat_dials_and_is_not_dialled() {
    let mut world = world();
    let (open, _) = listener(&mut world, Access::default());
    let (closed, _) = listener(&mut world, Access { nat: Nat::Closed, ..Access::default() });
    let (signalled, _) = listener(&mut world, Access { nat: Nat::Signalled, ..Access::default() });
    dial(&mut world, open, closed);
    dial(&mut world, open, signalled);
    world.run_for(12_000);
    assert!(!world.is_connected(open, closed));
    assert!(world.is_connected(open, signalled));
    dial(&mut world, closed, open);
    world.run_for(2_000);
    assert!(world.is_connected(open, closed));
}

#[test]
fn a_paused_peer_hears_everything_once_it_goes_on_and_nothing_before() {
    let mut world = world();
    let here = Access { country: country_named("DE"), ..Access::default() };
    let (a, _) = listener(&mut world, here);
    let (b, log) = listener(&mut world, here);
    dial(&mut world, a, b);
    world.run_for(2_000);
    world.pause(b);
    world.act(a, Output::Publish { topic: Topic::Block, data: vec![1] });
    world.run_for(10_000);
    assert_eq!(when(&log, |input| matches!(input, Input::Gossip(_))), [0_u64; 0]);
    world.resume(b);
    world.run_for(1);
    assert_eq!(when(&log, |input| matches!(input, Input::Gossip(_))), [12_000]);
}

#[test]
fn more_than_a_thousand_peers_may_be_woken_at_one_instant() {
    let mut world = World::new(1);
    for _ in 0..1_100 {
        // Each has somebody to dial at once.
        let bootstrap = vec![PeerIx(0)];
        world.add_node(NodeOptions { bootstrap, ..NodeOptions::default() });
    }
    world.run_for(5_000);
    assert_eq!(world.neighbours(PeerIx(0)).len(), 1_099);
}
