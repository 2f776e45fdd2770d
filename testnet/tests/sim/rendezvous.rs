//! Peers that meet at a relay's rendezvous, with all other ways of finding each other off.

use std::collections::BTreeSet;

use std::collections::BTreeMap;

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

/// A field of protobuf that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let (low, high) = ((bytes.len() % 128) as u8, (bytes.len() / 128) as u8);
    if high == 0 {
        field.push(low)
    } else {
        field.extend([low | 0x80, high])
    }
    field.extend_from_slice(bytes);
    field
}

/// What a peer holds against a relay that tells of one registration, with this record.
fn told(record: &[u8]) -> BTreeMap<String, u64> {
    let (chain, mut world) = (chain(), World::new(4));
    world.allow_blame();
    let namespace = format!("weft/{}", chain.genesis.hash().short());
    // DISCOVER_RESPONSE { registrations, cookie, status OK }.
    let told = [field(1, namespace.as_bytes()), field(2, record), vec![24, 60]].concat();
    let part = [field(1, &told), field(2, &[9]), vec![24, 0]].concat();
    let body = [vec![8, 4], field(6, &part)].concat();
    let puppet = move |_: Now, input: Input, outputs: &mut Vec<Output>| {
        if let Input::Request { id, protocol: Protocol::Rendezvous, .. } = input {
            outputs.push(Output::Respond { id, body: body.clone() });
        }
    };
    let liar = world.add_puppet(options(&chain, Role::Relay, Vec::new(), ON), puppet);
    let victim = world.add_node(options(&chain, Role::Native, vec![liar], ON));
    world.run_for(10_000);
    world.status(victim).refusals
}

#[test]
fn a_relay_that_tells_of_peers_who_did_not_sign_is_blamed_and_one_that_is_not_understood_is_not() {
    let key = [[8, 1, 18, 32].as_slice(), &[7; 32]].concat();
    let payload = field(1, &[[0, 36, 8, 1, 18, 32].as_slice(), &[7; 32]].concat());
    let parts =
        |kind: &[u8]| [field(1, &key), field(2, kind), field(3, &payload), field(5, &[1; 64])].concat();
    let forged = told(&parts(&[3, 1]));
    assert_eq!(forged.get("bad-signature"), Some(&1), "{forged:?}");
    for unread in [parts(&[3, 9]), vec![1, 2]] {
        let refusals = told(&unread);
        assert_eq!(refusals.get("bad-signature"), None);
        assert!(refusals.get("rendezvous-record-unread").is_some_and(|count| *count > 0), "{refusals:?}");
    }
}
