//! Peers that know of others only by a signed list, and of whom to believe; and lists that are not what they should be.

use libp2p::{Multiaddr, PeerId};
use weft_core::{
    node::{Command, NodeLists, PeerView, Reply, StatusView},
    peers::NodeList,
    primitives::{SecretKey, Wall},
};
use weft_testnet::{
    fixture::TestChain,
    sim::{EPOCH, Keep, NodeOptions, PeerIx, World},
};

use crate::{
    exchange::peers,
    town::{SLOT, seeds},
};

const RELAY: &str = "https://relay.example/bootstrap.json";
const MIRROR: &str = "http://mirror.example/list.json";
const HOUR: u64 = 60 * 60 * 1000;

/// Who signs lists, in the tests.
fn signer() -> SecretKey {
    SecretKey::from_seed([7; 32])
}

/// A list of these peers, signed by that key so many milliseconds after the beginning, and good for an hour.
fn list(world: &World, chain: &TestChain, key: &SecretKey, after: u64, peers: &[PeerIx]) -> NodeList {
    let peers: Vec<(PeerId, Vec<Multiaddr>)> =
        peers.iter().map(|ix| (world.peer_id(*ix), vec![world.address(*ix)])).collect();
    NodeList::sign(key, chain.genesis.hash(), Wall(EPOCH + after), HOUR, &peers, &[])
}

fn json(list: &NodeList) -> Option<Vec<u8>> {
    Some(serde_json::to_vec(list).expect("a list is JSON"))
}

/// Three peers that nobody knows, and one that is told of two places and of the signer, with all other ways switched off.
fn world(seed: u64) -> (World, TestChain, Vec<PeerIx>, PeerIx) {
    let (chain, mut world) = (TestChain::new(EPOCH, SLOT, 1, 2), World::new(seed));
    let options = || NodeOptions { genesis: Some(chain.genesis.clone()), ..NodeOptions::default() };
    let others = (0..3).map(|_| world.add_node(options())).collect();
    let known = list(&world, &chain, &signer(), 0, &[]).signer().expect("it has signed");
    let sources = [format!("{RELAY}#{known}"), MIRROR.to_owned()];
    let sources = sources.map(|text| text.parse().expect("the tests write URLs")).into();
    let lists = NodeLists { sources, signers: Vec::new() };
    let asks = world.add_node(NodeOptions { lists, ..options() });
    (world, chain, others, asks)
}

fn status(world: &mut World, ix: PeerIx) -> StatusView {
    match world.command(ix, Command::Status) {
        Ok(Reply::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

fn refused(world: &mut World, ix: PeerIx, reason: &str) -> u64 {
    status(world, ix).refusals.get(reason).copied().unwrap_or_default()
}

fn connected(world: &mut World, ix: PeerIx) -> Vec<PeerView> {
    peers(world, ix).into_iter().filter(|peer| !peer.links.is_empty()).collect()
}

#[test]
fn a_list_leads_to_peers_from_a_mirror_too_when_the_relay_is_gone() {
    for seed in seeds(3) {
        let (mut world, chain, others, asks) = world(seed);
        let mirrored = list(&world, &chain, &signer(), 0, &others[..1]);
        world.set_list(MIRROR, json(&mirrored));
        world.run_for(3_000);
        let seen = connected(&mut world, asks);
        assert_eq!(seen.len(), 1, "seed {seed}");
        assert_eq!(status(&mut world, asks).alarms, Vec::<String>::new(), "seed {seed}");
        // Another list, once that peer is gone.
        world.kill(others[0]);
        let newer = list(&world, &chain, &signer(), 1_000, &others[1..]);
        world.set_list(MIRROR, json(&newer));
        world.run_for(60_000);
        assert_eq!(connected(&mut world, asks).len(), 2, "seed {seed}");
    }
}

#[test]
fn what_is_no_list_for_us_is_refused_and_said_and_an_honest_mirror_is_enough() {
    let stranger = SecretKey::from_seed([8; 32]);
    let (mut world, chain, others, asks) = world(1);
    let honest = list(&world, &chain, &signer(), 0, &others[..1]);
    let mut poisoned = list(&world, &chain, &signer(), 0, &others[1..2]);
    poisoned.peers[0].addresses = vec![world.address(others[2]).to_string()];
    let mut other_chain = list(&world, &chain, &signer(), 0, &others[1..2]);
    other_chain.chain = weft_core::primitives::Hash([9; 32]);
    let cases = [
        ("node-list-signature", json(&poisoned)),
        ("node-list-stranger", json(&list(&world, &chain, &stranger, 0, &others[1..2]))),
        ("node-list-ahead", json(&list(&world, &chain, &signer(), HOUR, &others[1..2]))),
        ("node-list-malformed", Some(b"<html>moved</html>".to_vec())),
        ("node-list-of-another-chain", json(&other_chain)),
    ];
    for (reason, bytes) in cases {
        world.set_list(RELAY, bytes);
        let before = refused(&mut world, asks, reason);
        world.run_until(400_000, |world| refused(world, asks, reason) > before);
        assert!(connected(&mut world, asks).is_empty(), "{reason}");
        let alarms = status(&mut world, asks).alarms;
        assert!(alarms.iter().any(|alarm| alarm.contains(RELAY)), "{reason}: {alarms:?}");
    }
    world.set_list(MIRROR, json(&honest));
    world.run_until(400_000, |world| connected(world, asks).len() == 1);
    let alarms = status(&mut world, asks).alarms;
    assert!(alarms.iter().all(|alarm| !alarm.contains(MIRROR)), "{alarms:?}");
}

#[test]
fn an_expired_list_and_one_older_than_was_seen_are_refused_also_after_a_restart() {
    let (mut world, chain, others, asks) = world(2);
    let newest = list(&world, &chain, &signer(), 1_000, &others[..1]);
    let older = list(&world, &chain, &signer(), 999, &others[1..2]);
    world.set_list(RELAY, json(&newest));
    world.run_for(3_000);
    assert_eq!(connected(&mut world, asks).len(), 1);
    world.set_list(RELAY, None);
    world.set_list(MIRROR, json(&older));
    world.kill(asks);
    world.kill(others[0]);
    world.run_for(1_000);
    world.restart(asks, Keep::All).expect("it starts");
    world.run_for(20_000);
    assert!(refused(&mut world, asks, "node-list-older") > 0);
    assert!(connected(&mut world, asks).is_empty());
    let alarms = status(&mut world, asks).alarms;
    assert!(alarms.iter().any(|alarm| alarm.contains("no list of peers can be used")), "{alarms:?}");
    // What was good is no longer once its time is over.
    world.set_list(MIRROR, json(&newest));
    world.run_for(2 * HOUR);
    assert!(refused(&mut world, asks, "node-list-expired") > 0);
    let fresh = list(&world, &chain, &signer(), 2 * HOUR, &others[1..2]);
    world.set_list(MIRROR, json(&fresh));
    world.run_until(400_000, |world| connected(world, asks).len() == 1);
    assert!(status(&mut world, asks).alarms.is_empty());
}
