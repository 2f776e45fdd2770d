//! Peers that find those they need by what is said in the distributed hash table, with every other way to find each other off.

use weft_core::{
    node::{Command, Discovery, SyncPhase},
    sync::Strategy,
};
use weft_testnet::{
    fixture::{ChainMaker, LongChain, TestChain},
    sim::{EPOCH, NodeOptions, PeerIx, World},
};

use crate::town::{SLOT, seeds};

const TABLE: Discovery = Discovery { dht: true, ..Discovery::OFF };

fn options(chain: &TestChain, bootstrap: Vec<PeerIx>) -> NodeOptions {
    NodeOptions {
        genesis: Some(chain.genesis.clone()),
        bootstrap,
        discovery: TABLE,
        ..NodeOptions::default()
    }
}

#[test]
fn those_in_a_room_find_each_other_past_a_neighbour_who_is_not_in_it() {
    for seed in seeds(3) {
        for with_table in [true, false] {
            let (chain, mut world) = (TestChain::new(EPOCH, SLOT, 1, 2), World::new(seed));
            if with_table {
                world.with_table();
            }
            let hub = world.add_node(options(&chain, Vec::new()));
            let [one, two] = [0, 1].map(|_| world.add_node(options(&chain, vec![hub])));
            world.run_for(5_000);
            let room: weft_core::gossip::Room = "garden".parse().expect("a room");
            for ix in [one, two] {
                world.command(ix, Command::Join(room.clone())).expect("it joins");
                world.run_for(3_000);
            }
            world.run_for(20_000);
            assert_eq!(world.is_connected(one, two), with_table, "seed {seed}");
            world.command(one, Command::Say(room, "good morning".to_owned())).expect("it says");
            world.run_for(5_000);
            let heard = world.seen(two).chat.iter().any(|message| message.text == "good morning");
            assert_eq!(heard, with_table, "seed {seed}");
        }
    }
}

#[test]
fn who_joins_by_proof_finds_somebody_who_serves_accounts() {
    let chain = TestChain::new(EPOCH, SLOT, 4, 3);
    let made = LongChain::make(ChainMaker::voting(&chain), &chain, 80, |_, _| Vec::new());
    for with_table in [true, false] {
        let mut world = World::new(5);
        world.set_wall(made.now().0);
        if with_table {
            world.with_table();
        }
        // A neighbour on the same chain that never has a state.
        let light = NodeOptions { strategy: Strategy::Light, ..options(&chain, Vec::new()) };
        let hub = world.add_node(light);
        let server = world.add_node(NodeOptions { storage: made.storage(), ..options(&chain, vec![hub]) });
        world.run_for(10_000);
        let snap = NodeOptions { strategy: Strategy::Snap, ..options(&chain, vec![hub]) };
        let newcomer = world.add_node(snap);
        world.run_for(60_000);
        let chain = world.chain(newcomer);
        let there = chain.sync.phase == SyncPhase::Following && chain.head == made.tip.head().hash();
        assert_eq!((there, world.is_connected(newcomer, server)), (with_table, with_table));
    }
}
