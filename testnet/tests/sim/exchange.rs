//! Peers that find each other by asking those they know, and nothing else; and what becomes of those who answer with lies.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use weft_core::{
    node::{Command, Discovery, Input, OutboundId, Output, PeerView, Protocol, Reply},
    peers::{MAX_RECORDS, PeerRecord, PeersRequest, PeersResponse},
    primitives::{Hash, Now, SecretKey, Wall, decode, encode},
};
use weft_testnet::{
    fixture::TestChain,
    sim::{EPOCH, Keep, NodeOptions, PeerIx, World},
};

use crate::town::{SLOT, seeds};

const ON: Discovery = Discovery { exchange: true, outbound: 4, ..Discovery::OFF };

fn chain() -> TestChain {
    TestChain::new(EPOCH, SLOT, 1, 2)
}

fn options(chain: &TestChain, bootstrap: Vec<PeerIx>, discovery: Discovery) -> NodeOptions {
    NodeOptions { genesis: Some(chain.genesis.clone()), bootstrap, discovery, ..NodeOptions::default() }
}

pub(crate) fn peers(world: &mut World, ix: PeerIx) -> Vec<PeerView> {
    match world.command(ix, Command::Peers) {
        Ok(Reply::Peers(peers)) => peers,
        other => panic!("{ix:?} answered {other:?} when asked for its peers"),
    }
}

fn dialled(world: &mut World, ix: PeerIx) -> usize {
    peers(world, ix).iter().filter(|peer| peer.links.iter().any(|link| link.outbound)).count()
}

/// A hub, and so many peers that know nobody else.
fn around_a_hub(seed: u64, count: usize, discovery: Discovery) -> (World, PeerIx, Vec<PeerIx>) {
    let (chain, mut world) = (chain(), World::new(seed));
    let hub = world.add_node(options(&chain, Vec::new(), discovery));
    let leaves = (0..count).map(|_| world.add_node(options(&chain, vec![hub], discovery))).collect();
    (world, hub, leaves)
}

/// The peers that can be reached from one, over any number of others.
fn reached(world: &mut World, from: PeerIx) -> BTreeSet<PeerIx> {
    let (mut known, mut next) = (BTreeSet::from([from]), vec![from]);
    while let Some(ix) = next.pop() {
        for peer in peers(world, ix) {
            let other = world.find(&peer.peer);
            if known.insert(other) {
                next.push(other);
            }
        }
    }
    known
}

#[test]
fn who_knows_one_peer_gets_to_know_enough_and_does_without_the_first() {
    for seed in seeds(5) {
        let (mut world, hub, leaves) = around_a_hub(seed, 20, ON);
        world.run_for(60_000);
        for leaf in &leaves {
            assert!(dialled(&mut world, *leaf) >= 4, "seed {seed}: {leaf:?}");
            let ways: BTreeSet<_> =
                peers(&mut world, *leaf).into_iter().flat_map(|peer| peer.found).collect();
            assert!(ways.contains("named") && ways.contains("exchange"), "seed {seed}: {ways:?}");
        }
        world.kill(hub);
        world.run_for(60_000);
        assert_eq!(reached(&mut world, leaves[0]).len(), leaves.len(), "seed {seed}: they fell apart");
        // Who was connected to the hub has found somebody in its place.
        for leaf in &leaves {
            assert!(dialled(&mut world, *leaf) >= 4, "seed {seed}: {leaf:?} without the hub");
        }
    }
}

#[test]
fn without_exchange_nobody_gets_to_know_more_than_those_that_are_named() {
    let (mut world, _, leaves) = around_a_hub(3, 5, Discovery { exchange: false, ..ON });
    world.run_for(60_000);
    for leaf in &leaves {
        assert_eq!(peers(&mut world, *leaf).len(), 1);
    }
}

#[test]
fn who_needs_no_more_connections_makes_none() {
    let (mut world, _, leaves) = around_a_hub(4, 10, Discovery { outbound: 1, ..ON });
    world.run_for(60_000);
    for leaf in &leaves {
        assert_eq!(dialled(&mut world, *leaf), 1);
    }
}

#[test]
fn a_peer_comes_back_from_what_it_wrote_down_when_the_one_it_was_told_of_is_gone() {
    for seed in seeds(5) {
        let (mut world, hub, leaves) = around_a_hub(seed, 10, ON);
        world.run_for(60_000);
        world.kill(hub);
        world.kill(leaves[0]);
        world.run_for(5_000);
        world.restart(leaves[0], Keep::All).unwrap();
        world.run_for(30_000);
        assert!(dialled(&mut world, leaves[0]) >= 4, "seed {seed}");
    }
}

/// Answers questions for peers with whatever `tell` makes, and keeps what it is told itself.
fn teller(
    world: &mut World,
    chain: &TestChain,
    victim: PeerIx,
    mut tell: impl FnMut(Now) -> Vec<PeerRecord> + 'static,
) -> PeerIx {
    let at = world.address(victim);
    let puppet = move |now: Now, input: Input, outputs: &mut Vec<Output>| {
        if let Input::Request { id, protocol: Protocol::Peers, .. } = input {
            outputs.push(Output::Respond { id, body: encode(&PeersResponse(tell(now))) });
        }
    };
    let ix = world.add_puppet(options(chain, Vec::new(), ON), puppet);
    world.act(ix, Output::Dial(at));
    ix
}

fn key(number: u32) -> SecretKey {
    let mut seed = [8; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(seed)
}

fn at(number: u32) -> libp2p::Multiaddr {
    libp2p::Multiaddr::empty().with(libp2p::multiaddr::Protocol::Memory(1_000_000 + u64::from(number)))
}

fn refused(world: &mut World, ix: PeerIx, reason: &str) -> u64 {
    world.status(ix).refusals.get(reason).copied().unwrap_or_default()
}

#[test]
fn whoever_passes_on_what_nobody_signed_is_blamed() {
    let (chain, mut world) = (chain(), World::new(5));
    let victim = world.add_node(options(&chain, Vec::new(), ON));
    // Signed for another chain, so not signed for this one.
    world.allow_blame();
    teller(&mut world, &chain, victim, |now| {
        vec![PeerRecord::sign(&key(1), &Hash([9; 32]), now.wall, &[at(1)])]
    });
    world.run_for(10_000);
    assert_eq!(refused(&mut world, victim, "bad-signature"), 1);
}

#[test]
fn records_out_of_date_or_of_the_future_are_left_out_and_nobody_is_blamed() {
    let (chain, mut world) = (chain(), World::new(6));
    let victim = world.add_node(options(&chain, Vec::new(), ON));
    let genesis = chain.genesis.hash();
    teller(&mut world, &chain, victim, move |now| {
        let day = 24 * 60 * 60 * 1000;
        [Wall(now.wall.0 - day), Wall(now.wall.0 + day)]
            .map(|issued| PeerRecord::sign(&key(1), &genesis, issued, &[at(1)]))
            .to_vec()
    });
    world.run_for(10_000);
    assert_eq!(refused(&mut world, victim, "peer-record-out-of-date"), 2);
    let seen = peers(&mut world, victim);
    assert!(seen.len() == 1 && seen[0].offences.is_empty() && seen[0].score == 0, "{seen:?}");
}

#[test]
fn whoever_names_peers_that_do_not_exist_keeps_nobody_from_those_that_do() {
    for seed in seeds(3) {
        let (chain, mut world) = (chain(), World::new(seed));
        let genesis = chain.genesis.hash();
        let hub = world.add_node(options(&chain, Vec::new(), ON));
        let victim = world.add_node(options(&chain, vec![hub], ON));
        // They dial nobody else, so that the victim has to.
        for _ in 0..6 {
            world.add_node(options(&chain, vec![hub], Discovery { outbound: 0, ..ON }));
        }
        for liar in 1..=3 {
            let mut number = liar * 10_000;
            teller(&mut world, &chain, victim, move |now| {
                let nobody = |_| {
                    number += 1;
                    PeerRecord::sign(&key(number), &genesis, now.wall, &[at(number)])
                };
                (0..MAX_RECORDS).map(nobody).collect()
            });
        }
        world.run_for(180_000);
        let real =
            peers(&mut world, victim).iter().filter(|peer| peer.links.iter().any(|it| it.outbound)).count();
        assert!(real >= 4, "seed {seed}: {real} of 4");
    }
}

#[test]
fn who_asks_all_the_time_learns_no_more_and_is_not_blamed() {
    let (chain, mut world) = (chain(), World::new(7));
    let hub = world.add_node(options(&chain, Vec::new(), ON));
    for _ in 0..4 {
        world.add_node(options(&chain, vec![hub], ON));
    }
    world.run_for(20_000);
    let answers = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&answers);
    let puppet = move |_: Now, input: Input, _: &mut Vec<Output>| {
        if let Input::Response { outcome: Ok(bytes), .. } = input {
            let PeersResponse(records) = decode(&bytes, 1 << 16).unwrap();
            kept.borrow_mut().push(records.len());
        }
    };
    let asker = world.add_puppet(options(&chain, Vec::new(), ON), puppet);
    let (address, peer, genesis) = (world.address(hub), world.peer_id(hub), chain.genesis.hash());
    world.act(asker, Output::Dial(address));
    world.run_for(1_000);
    for id in 0..40 {
        let body = encode(&PeersRequest { chain: genesis, own: None });
        world.act(asker, Output::Request { id: OutboundId(id), peer, protocol: Protocol::Peers, body });
    }
    world.run_for(10_000);
    let answers = answers.take();
    assert_eq!(answers.len(), 40);
    let told = answers.iter().filter(|count| **count > 0).count();
    assert_eq!(told, 8, "{answers:?}");
    assert_eq!(refused(&mut world, hub, "peers-asked-too-often"), 32);
    assert!(peers(&mut world, hub).iter().all(|peer| peer.offences.is_empty()));
}
