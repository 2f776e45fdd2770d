//! Blocks that gossip does not bring are asked for, and a proposer that is down costs little.

use weft_core::{
    node::{Output, Verdict, Without},
    primitives::Now,
};
use weft_testnet::sim::{NodeOptions, PeerIx};

use crate::town::{SLOT, Town, seeds};

const SLOTS: u64 = 30;

/// A follower whose only neighbour passes nothing on by gossip, and answers what it is asked: how many slots the follower ends without the
/// newest block.
fn behind(seed: u64, seeking: bool) -> u64 {
    let mut town = Town::new(seed, 3, 0);
    let silent = town.world.add_node(NodeOptions {
        bootstrap: town.validators.clone(),
        tamper: Some(Box::new(|_: Now, output: Output| match output {
            Output::Judge { id, verdict: Verdict::Accept } => {
                vec![Output::Judge { id, verdict: Verdict::Ignore }]
            }
            output => vec![output],
        })),
        ..town.options()
    });
    let without = Without { seeking: !seeking, ..Without::default() };
    let follower = town.world.add_node(NodeOptions { bootstrap: vec![silent], without, ..town.options() });
    town.world.run_for(5 * SLOT);
    let height = |town: &Town, ix: PeerIx| town.world.seen(ix).head.as_ref().map_or(0, |head| head.height.0);
    // To the end of a slot.
    town.world.run_for(SLOT - town.world.elapsed() % SLOT - 50);
    let mut behind = 0;
    for _ in 0..SLOTS {
        town.world.run_for(SLOT);
        behind += u64::from(height(&town, follower) < height(&town, town.validators[0]));
    }
    behind
}

#[test]
fn who_is_told_nothing_of_blocks_asks_for_them_in_the_slot() {
    for seed in seeds(3) {
        assert!(behind(seed, true) <= 1, "seed {seed}");
        assert!(behind(seed, false) > SLOTS / 2, "seed {seed}: without, it hears of them each ten seconds");
    }
}

#[test]
fn a_proposer_that_is_down_costs_two_questions_for_each_of_its_slots() {
    for seed in seeds(3) {
        let asked = |seeking: bool| {
            let mut town = Town::with_absent(seed, [2, 1, 0], 1 << 20);
            let without = Without { seeking: !seeking, ..Without::default() };
            let bootstrap = town.validators.clone();
            let follower = town.world.add_node(NodeOptions { bootstrap, without, ..town.options() });
            town.world.run_for(3 * SLOTS * SLOT);
            town.world.seen(follower).requests
        };
        let more = asked(true).saturating_sub(asked(false));
        assert!((1..=2 * SLOTS + 12).contains(&more), "seed {seed}: {more} questions for {SLOTS} slots");
    }
}
