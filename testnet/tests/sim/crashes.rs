//! What a crash leaves is some prefix of the batches; every one of them must do.

use weft_testnet::{
    fixture::{address, key},
    sim::{Keep, NodeOptions, World},
};

use crate::town::{SLOT, Town, seeds};

/// Crashes up to this many batches after a start are tried, each with every prefix that the disk may have kept.
const BATCHES: u64 = 14;

#[test]
fn a_validator_restarted_from_every_prefix_rejoins_and_never_signs_twice_for_a_slot() {
    for seed in seeds(2) {
        let mut town = Town::new(seed, 3, 1);
        let (me, other) = (town.validators[1], town.validators[0]);
        town.world.run_for(5 * SLOT);
        let mut nonce = 0;
        for batches in 1..=BATCHES {
            for keep in 0.. {
                let before = town.world.proposals(me);
                let mut patience = 200;
                // There is always something new to put into a block, so that a slot's second block would differ.
                while !town.world.run_to(SLOT / 3, |world| world.applied(me) >= batches) {
                    town.world
                        .submit(other, town.chain.transfer(0, address(&key("shop", 0)), nonce))
                        .unwrap();
                    nonce += 1;
                    patience -= 1;
                    assert!(
                        patience > 0,
                        "seed {seed}: the validator stopped writing\n{}",
                        town.world.summary()
                    );
                }
                if keep > town.world.unsettled(me) {
                    break;
                }
                town.world.restart(me, Keep::Prefix(keep)).unwrap();
                town.world.run_until(30 * SLOT, |world| {
                    world.have_converged(&[me, other], 1) && world.proposals(me) > before
                });
                town.world.restart(me, Keep::All).unwrap();
            }
        }
        town.converge(1, 20 * SLOT);
        town.world.check_all();
    }
}

#[test]
fn a_follower_restarted_from_every_prefix_reaches_the_head() {
    let mut town = Town::new(5, 1, 1);
    town.world.run_for(40 * SLOT);
    // From here on the chain stands still, so that every peer has the same way to go.
    town.world.kill(town.validators[0]);
    let server = town.followers[0];
    let settled = |world: &mut World, me| world.have_converged(&[me, server], 1);
    let mut ended = false;
    for batches in 1..100 {
        let options = NodeOptions { bootstrap: vec![server], ..town.options() };
        let me = town.world.add_node(options);
        if !town.world.run_to(3 * SLOT, |world| world.applied(me) >= batches) {
            ended = true;
            break;
        }
        for keep in 0..=town.world.unsettled(me) {
            town.world.run_to(3 * SLOT, |world| world.applied(me) >= batches);
            town.world.restart(me, Keep::Prefix(keep.min(town.world.unsettled(me)))).unwrap();
        }
        town.world.run_until(20 * SLOT, |world| settled(world, me));
        town.world.kill(me);
    }
    assert!(ended, "more batches than were tried");
    town.world.check_all();
}
