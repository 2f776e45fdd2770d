//! Connections over which only blocks pass: how many a peer makes, that they come back first, and what becomes of them in need.

use std::collections::BTreeSet;

use weft_core::node::Discovery;
use weft_testnet::{
    fixture::{TestChain, address, key},
    sim::{EPOCH, Keep, NodeOptions, PeerIx, World},
};

use crate::{
    exchange::peers,
    town::{SLOT, seeds},
};

const ON: Discovery = Discovery { exchange: true, outbound: 8, ..Discovery::OFF };

/// A validator, and so many peers that are told of it alone.
fn around_a_validator(seed: u64, count: usize, discovery: Discovery) -> (World, TestChain, Vec<PeerIx>) {
    let (chain, mut world) = (TestChain::new(EPOCH, SLOT, 1, 2), World::new(seed));
    let options =
        || NodeOptions { genesis: Some(chain.genesis.clone()), discovery, ..NodeOptions::default() };
    let validator = Some(chain.validators[0].clone());
    let first = world.add_node(NodeOptions { validator, ..options() });
    let all =
        (0..count).map(|_| world.add_node(NodeOptions { bootstrap: vec![first], ..options() })).collect();
    (world, chain, all)
}

fn for_blocks(world: &mut World, ix: PeerIx) -> BTreeSet<String> {
    let all = peers(world, ix).into_iter();
    all.filter(|peer| peer.for_blocks).map(|peer| peer.peer).collect()
}

#[test]
fn the_last_of_a_peers_connections_are_for_blocks_and_come_back_first_after_a_restart() {
    for seed in seeds(3) {
        let (mut world, chain, all) = around_a_validator(seed, 30, ON);
        world.run_for(120_000);
        let mut whole = 0;
        for ix in &all {
            let (seen, quiet) = (peers(&mut world, *ix), for_blocks(&mut world, *ix));
            let own = seen.iter().filter(|peer| peer.links.iter().any(|link| link.outbound)).count();
            whole += usize::from(quiet.len() == 2);
            assert!(own >= 8 && quiet.len() <= 2, "seed {seed}: {own}, {} of them for blocks", quiet.len());
            assert!(
                seen.iter()
                    .filter(|peer| peer.for_blocks)
                    .all(|peer| !peer.found.contains(&"named".to_owned())),
                "seed {seed}: whom a person named is for everything"
            );
        }
        // Two that dial each other at once have nothing to hide from each other, and keep that.
        assert!(4 * whole >= 3 * all.len(), "seed {seed}: only {whole} have both");
        // Transactions get around without them.
        let payment = chain.transfer(0, address(&key("shop", 0)), 0);
        world.submit(all[3], payment).unwrap();
        world.run_for(8_000);
        for ix in &all {
            assert!(world.account(*ix, address(&key("shop", 0))).balance.0 > 0, "seed {seed}: {ix:?}");
        }
        let one = *all.iter().find(|ix| for_blocks(&mut world, **ix).len() == 2).unwrap();
        let before = for_blocks(&mut world, one);
        world.kill(one);
        world.run_for(5_000);
        world.restart(one, Keep::All).unwrap();
        world.run_for(3_000);
        assert_eq!(for_blocks(&mut world, one), before, "seed {seed}");
    }
}

#[test]
fn where_nobody_else_is_left_a_connection_for_blocks_is_used_for_everything() {
    for seed in seeds(3) {
        let (mut world, _, all) = around_a_validator(seed, 12, Discovery { outbound: 4, ..ON });
        world.run_for(60_000);
        let quiet = for_blocks(&mut world, all[0]);
        assert_eq!(quiet.len(), 1, "seed {seed}");
        let left = world.find(quiet.first().unwrap());
        for ix in world.nodes().filter(|ix| *ix != all[0] && *ix != left).collect::<Vec<_>>() {
            world.kill(ix);
        }
        world.run_for(180_000);
        let seen = peers(&mut world, all[0]);
        assert_eq!(seen.len(), 1, "seed {seed}: {seen:?}");
        assert!(!seen[0].for_blocks, "seed {seed}");
    }
}
