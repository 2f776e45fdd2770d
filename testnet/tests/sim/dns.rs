//! Peers that know of others only by a name in the DNS.

use weft_core::{
    node::{Command, CommandError, Reply},
    peers::NameError,
};
use weft_testnet::{
    fixture::TestChain,
    sim::{EPOCH, NodeOptions, PeerIx, World},
};

use crate::town::{SLOT, seeds};

const NAME: &str = "/dnsaddr/seeds.example";
const RECORDS: &str = "_dnsaddr.seeds.example";

fn world(seed: u64, count: usize) -> (World, Vec<PeerIx>) {
    let (chain, mut world) = (TestChain::new(EPOCH, SLOT, 1, 2), World::new(seed));
    let options = || NodeOptions { genesis: Some(chain.genesis.clone()), ..NodeOptions::default() };
    let peers = (0..count).map(|_| world.add_node(options())).collect();
    (world, peers)
}

fn dial(world: &mut World, ix: PeerIx, address: &str) -> Result<Reply, CommandError> {
    world.command(ix, Command::Dial(address.parse().expect("the tests write multiaddresses")))
}

fn record(world: &World, ix: PeerIx) -> String {
    format!("dnsaddr={}", world.address(ix))
}

/// The ways in which those to whom this peer is connected were found.
fn ways(world: &mut World, ix: PeerIx) -> Vec<Vec<String>> {
    match world.command(ix, Command::Peers) {
        Ok(Reply::Peers(peers)) => peers.into_iter().map(|peer| peer.found).collect(),
        other => panic!("{other:?}"),
    }
}

fn alarms(world: &mut World, ix: PeerIx) -> Vec<String> {
    match world.command(ix, Command::Status) {
        Ok(Reply::Status(status)) => status.alarms,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_leads_to_a_peer_and_to_another_once_that_one_is_gone() {
    for seed in seeds(5) {
        let (mut world, peers) = world(seed, 3);
        let records = vec![record(&world, peers[1]), record(&world, peers[2]), "dnsaddr=nonsense".into()];
        world.set_dns(RECORDS, records);
        assert_eq!(dial(&mut world, peers[0], NAME), Ok(Reply::Done));
        world.run_for(2_000);
        assert!(!ways(&mut world, peers[0]).is_empty(), "seed {seed}");
        assert_eq!(alarms(&mut world, peers[0]), Vec::<String>::new(), "seed {seed}");
        world.kill(peers[1]);
        world.set_dns(RECORDS, vec![record(&world, peers[2])]);
        world.run_for(20_000);
        assert_eq!(ways(&mut world, peers[0]).len(), 1, "seed {seed}");
    }
}

#[test]
fn a_name_that_leads_nowhere_is_said_and_tried_until_it_leads_somewhere() {
    let (mut world, peers) = world(1, 2);
    assert_eq!(dial(&mut world, peers[0], NAME), Ok(Reply::Done));
    world.run_for(60_000);
    assert!(alarms(&mut world, peers[0])[0].contains("there is no such name"));
    world.set_dns(RECORDS, vec!["v=spf1 -all".into()]);
    world.run_for(120_000);
    assert!(alarms(&mut world, peers[0])[0].contains("no record of one that can be dialled"));
    let records = vec![record(&world, peers[1])];
    world.set_dns(RECORDS, records);
    world.run_for(10 * 60_000);
    assert_eq!(ways(&mut world, peers[0]).len(), 1);
    assert_eq!(alarms(&mut world, peers[0]), Vec::<String>::new());
}

#[test]
fn a_name_that_is_none_is_refused_with_a_reason() {
    let (mut world, peers) = world(1, 1);
    let outcome = dial(&mut world, peers[0], "/dnsaddr/seeds.example/tcp/1");
    assert_eq!(outcome, Err(CommandError::Name(NameError::Form)));
}
