//! Peers that stand still for a while, as frozen tabs and machines that sleep do, and come back by themselves.

use weft_testnet::sim::{Keep, World};

use crate::town::{Town, seeds};

fn height(world: &mut World, town: &[weft_testnet::sim::PeerIx]) -> u64 {
    world.chain(town[0]).height.0
}

#[test]
fn a_peer_that_stood_still_says_so_and_catches_up_also_when_its_peers_have_left_meanwhile() {
    for seed in seeds(3) {
        let mut town = Town::new(seed, 3, 4);
        town.world.run_for(10_000);
        let sleeper = town.followers[0];
        town.world.pause(sleeper);
        // Everybody else is restarted while it sleeps.
        town.world.run_for(60_000);
        for ix in town.validators.clone().into_iter().chain(town.followers[1..].to_vec()) {
            town.world.kill(ix);
            town.world.restart(ix, Keep::All).unwrap();
            town.world.run_for(5_000);
        }
        town.world.run_for(60_000);
        let behind = height(&mut town.world, &town.validators);
        town.world.resume(sleeper);
        town.world.run_until(20_000, |world| world.chain(sleeper).height.0 >= behind);
        let woke = &town.world.seen(sleeper).woke;
        assert!(woke.len() == 1 && woke[0] > 100_000, "seed {seed}: {woke:?}");
        let validator = town.validators[0];
        assert!(town.world.seen(validator).woke.is_empty(), "seed {seed}: who ran on has nothing to say");
    }
}
