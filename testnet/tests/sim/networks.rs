//! Peers with addresses as the Internet has them: with whom one connects when somebody has many addresses in one network, whom it tests, and to whom
//! it comes back first.

use std::{collections::BTreeSet, net::Ipv4Addr};

use weft_core::node::{Command, Discovery, Reply};
use weft_testnet::{
    fixture::TestChain,
    sim::{Access, EPOCH, Keep, NodeOptions, PeerIx, World},
};

use crate::{
    exchange::peers,
    town::{SLOT, seeds},
};

const ON: Discovery = Discovery { exchange: true, outbound: 8, ..Discovery::OFF };

/// The honest ones are each in a network of its own.
const HONEST: usize = 16;
const SYBILS: usize = 60;
/// Those of the others who connect to the victim.
const TELLERS: usize = 3;

fn chain() -> TestChain {
    TestChain::new(EPOCH, SLOT, 1, 2)
}

fn options(chain: &TestChain, host: [u8; 4], bootstrap: Vec<PeerIx>) -> NodeOptions {
    let access = Access { host: Some(Ipv4Addr::from(host)), ..Access::default() };
    NodeOptions {
        genesis: Some(chain.genesis.clone()),
        bootstrap,
        discovery: ON,
        access,
        ..NodeOptions::default()
    }
}

fn honest(number: usize) -> [u8; 4] {
    [20, number as u8, 1, 1]
}

/// Whom a peer has dialled.
fn dialled(world: &mut World, ix: PeerIx) -> BTreeSet<PeerIx> {
    let own = peers(world, ix).into_iter().filter(|peer| peer.links.iter().any(|link| link.outbound));
    own.map(|peer| world.find(&peer.peer)).collect()
}

/// The tried peers in a peer's address book.
fn tried(world: &mut World, ix: PeerIx) -> u64 {
    match world.command(ix, Command::Metrics) {
        Ok(Reply::Metrics(snapshot)) => snapshot.known_peers[1],
        other => panic!("{other:?}"),
    }
}

/// How many of the connections of its own a peer has to one who is nearly everybody, from so many networks.
fn captured(seed: u64, networks: usize) -> usize {
    let (chain, mut world) = (chain(), World::new(seed));
    let hub = world.add_node(options(&chain, honest(0), Vec::new()));
    let victim = world.add_node(options(&chain, honest(1), vec![hub]));
    for number in 2..HONEST {
        world.add_node(options(&chain, honest(number), vec![hub]));
    }
    let sybil = |number: usize| [100, (number % networks) as u8, (number / networks) as u8, 7];
    // A few tell the victim of all the others, who dial nobody, so that they can be dialled.
    let discovery = Discovery { outbound: 0, ..ON };
    let mut sybils = Vec::new();
    for number in 0..SYBILS {
        let bootstrap = if number < TELLERS { vec![victim] } else { sybils[..TELLERS].to_vec() };
        sybils.push(world.add_node(NodeOptions { discovery, ..options(&chain, sybil(number), bootstrap) }));
    }
    let sybils = BTreeSet::from_iter(sybils);
    world.run_for(600_000);
    let own = dialled(&mut world, victim);
    assert!(own.len() >= ON.outbound, "seed {seed}: {own:?}");
    own.intersection(&sybils).count()
}

#[test]
fn who_has_many_addresses_in_one_network_captures_one_connection_of_ours() {
    for seed in seeds(3) {
        let (one, many) = (captured(seed, 1), captured(seed, SYBILS));
        println!("seed {seed}: of {} connections {one} from one network, {many} from {SYBILS}", ON.outbound);
        assert!(one <= 1, "seed {seed}: {one}");
        assert!(many >= 3, "seed {seed}: {many}: nothing was to be seen of what a network for each is worth");
    }
}

#[test]
fn who_has_enough_connections_still_finds_out_who_else_is_there() {
    for seed in seeds(3) {
        let (chain, mut world) = (chain(), World::new(seed));
        let hub = world.add_node(options(&chain, honest(0), Vec::new()));
        let discovery = Discovery { outbound: 2, ..ON };
        let all: Vec<_> = (1..HONEST)
            .map(|number| {
                world.add_node(NodeOptions { discovery, ..options(&chain, honest(number), vec![hub]) })
            })
            .collect();
        world.run_for(60_000);
        let before = tried(&mut world, all[0]);
        world.run_for(40 * 60_000);
        let (after, own) = (tried(&mut world, all[0]), dialled(&mut world, all[0]));
        assert!(after >= before + 4, "seed {seed}: {before}, {after}");
        assert!(own.len() <= 3, "seed {seed}: who was tested is let go: {own:?}");
    }
}

#[test]
fn after_a_restart_a_peer_comes_back_to_two_it_was_connected_to_before_anybody_else() {
    for seed in seeds(3) {
        let (chain, mut world) = (chain(), World::new(seed));
        let hub = world.add_node(options(&chain, honest(0), Vec::new()));
        let all: Vec<_> =
            (1..HONEST).map(|number| world.add_node(options(&chain, honest(number), vec![hub]))).collect();
        world.run_for(120_000);
        let before = dialled(&mut world, all[0]);
        world.kill(hub);
        world.kill(all[0]);
        world.run_for(1_000);
        world.restart(all[0], Keep::All).unwrap();
        // Nobody is chosen from the book before half a second.
        world.run_for(480);
        let first = dialled(&mut world, all[0]);
        assert!(first.len() == 2 || first.len() == 1 && before.contains(&hub), "seed {seed}: {first:?}");
        assert!(first.is_subset(&before), "seed {seed}: {first:?} of {before:?}");
    }
}
