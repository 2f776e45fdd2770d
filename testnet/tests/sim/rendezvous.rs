//! Peers that meet at a relay's rendezvous, with all other ways of finding each other off.

use std::collections::BTreeSet;

use weft_core::{
    node::{Command, Discovery, Input, Output, PeerView, Protocol, Reply, Role},
    primitives::Now,
};
use weft_testnet::{
    fixture::TestChain,
    sim::{EPOCH, NodeOptions, PeerIx, World},
};

use crate::town::{SLOT, seeds};

const ON: Discovery = Discovery { rendezvous: true, outbound: 3, ..Discovery::OFF };

fn chain() -> TestChain {
    TestChain::new(EPOCH, SLOT, 1, 2)
}

fn options(chain: &TestChain, role: Role, bootstrap: Vec<PeerIx>, discovery: Discovery) -> NodeOptions {
    NodeOptions { genesis: Some(chain.genesis.clone()), role, bootstrap, discovery, ..NodeOptions::default() }
}

fn peers(world: &mut World, ix: PeerIx) -> Vec<PeerView> {
    match world.command(ix, Command::Peers) {
        Ok(Reply::Peers(peers)) => peers,
        other => panic!("{ix:?} answered {other:?} when asked for its peers"),
    }
}

/// A relay, and so many peers that know nobody else.
fn around_a_relay(seed: u64, discovery: Discovery) -> (World, PeerIx, Vec<PeerIx>) {
    let (chain, mut world) = (chain(), World::new(seed));
    let relay = world.add_node(options(&chain, Role::Relay, Vec::new(), ON));
    let leaves =
        (0..10).map(|_| world.add_node(options(&chain, Role::Native, vec![relay], discovery))).collect();
    (world, relay, leaves)
}

#[test]
fn who_knows_a_relay_meets_others_there_and_keeps_them_without_it() {
    for seed in seeds(5) {
        let (mut world, relay, leaves) = around_a_relay(seed, ON);
        world.run_for(60_000);
        for leaf in &leaves {
            let seen = peers(&mut world, *leaf);
            let dialled = seen.iter().filter(|peer| peer.links.iter().any(|link| link.outbound)).count();
            assert!(dialled >= 3, "seed {seed}: {leaf:?} dialled {dialled}");
            let ways: BTreeSet<_> = seen.iter().flat_map(|peer| &peer.found).map(String::as_str).collect();
            assert!(ways.contains("rendezvous"), "seed {seed}: {ways:?}");
            assert!(ways.is_subset(&["named", "rendezvous", "inbound"].into()), "seed {seed}: {ways:?}");
        }
        let refusals = world.status(relay).refusals;
        assert!(refusals.is_empty(), "seed {seed}: {refusals:?}");
        world.kill(relay);
        world.run_for(30_000);
        for leaf in &leaves {
            assert!(peers(&mut world, *leaf).len() >= 2, "seed {seed}: {leaf:?} fell off");
        }
    }
}

#[test]
fn who_is_told_not_to_come_meets_nobody_and_is_met_by_nobody() {
    let off = Discovery { rendezvous: false, ..ON };
    let (mut world, relay, leaves) = around_a_relay(3, off);
    let chain = chain();
    let alone = world.add_node(options(&chain, Role::Native, vec![relay], ON));
    world.run_for(60_000);
    for leaf in leaves.iter().chain([&alone]) {
        assert_eq!(peers(&mut world, *leaf).len(), 1, "{leaf:?}");
    }
}

#[test]
fn a_relay_that_tells_of_peers_who_did_not_sign_is_blamed() {
    let (chain, mut world) = (chain(), World::new(4));
    world.allow_blame();
    // One registration whose record is no record: DISCOVER_RESPONSE { registrations, cookie, status OK }.
    let lie = |namespace: &str| {
        let name = namespace.as_bytes();
        let told = [&[10, name.len() as u8], name, &[18, 2, 1, 2, 24, 60]].concat();
        let part = [&[10, told.len() as u8][..], &told, &[18, 1, 9, 24, 0]].concat();
        [&[8, 4, 50, part.len() as u8][..], &part].concat()
    };
    let namespace = format!("weft/{}", chain.genesis.hash().short());
    let puppet = move |_: Now, input: Input, outputs: &mut Vec<Output>| {
        if let Input::Request { id, protocol: Protocol::Rendezvous, .. } = input {
            outputs.push(Output::Respond { id, body: lie(&namespace) });
        }
    };
    let liar = world.add_puppet(options(&chain, Role::Relay, Vec::new(), ON), puppet);
    let victim = world.add_node(options(&chain, Role::Native, vec![liar], ON));
    world.run_for(10_000);
    let refusals = world.status(victim).refusals;
    assert_eq!(refusals.get("bad-signature"), Some(&1), "{refusals:?}");
}
