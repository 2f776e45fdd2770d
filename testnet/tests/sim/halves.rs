//! Worlds that two threads run: they come to what others come to, and a seed gives one run however the threads take turns.

use weft_core::primitives::Hash;
use weft_testnet::{
    fixture::{address, key},
    sim::{EPOCH, Gossip, Keep, Kind, World, gossipsub::Rules},
};

use crate::town::{SLOT, Town, seeds};

/// Four validators and twelve followers who have found each other.
fn town(seed: u64) -> Town {
    let mut town = Town::with_gossip(seed, 4, 12, Gossip::Mesh(Rules::weft(SLOT, 4).into()));
    let world = &mut town.world;
    world.measure(0, 3_600_000);
    world.run_for(4 * SLOT);
    town
}

/// Payments from both halves, a crash, a partition that heals, peers that lose their connections. Answers what it came to.
fn busy_life(mut town: Town) -> (Hash, u64) {
    let to = address(&key("shop", 0));
    let mut paid = 0;
    for round in 0..3 {
        for account in 0..10 {
            let at = town.followers[account];
            let transaction = town.chain.transfer(account, to, round);
            town.world.measure_submitted(at, transaction.id());
            paid += u64::from(town.world.submit(at, transaction).is_ok());
        }
        town.world.run_for(2 * SLOT);
    }
    let (crashed, cut) = (town.followers[3], town.followers[7..].to_vec());
    town.world.kill(crashed);
    town.world.run_for(3 * SLOT);
    town.world.restart(crashed, Keep::All).expect("its disk is whole");
    town.world.split(&[&[town.validators.as_slice(), &town.followers[..7]].concat(), &cut]);
    town.world.run_for(8 * SLOT);
    town.world.heal();
    town.converge(44, 60 * SLOT);
    let all = town.all();
    let have_it = |world: &mut World| all.iter().all(|ix| world.account(*ix, to).balance.0 == paid);
    town.world.run_until(10 * SLOT, have_it);
    town.world.check_all();
    assert!(paid >= 20, "{paid} payments were taken");
    let measure = town.world.measured().expect("it was asked for");
    assert!(measure.blocks().count > 15, "{} blocks", measure.blocks().count);
    let delivered = measure.transactions().delivered;
    assert!(delivered > 0.9, "{delivered} of the payments came to everybody");
    let finalised = all.iter().map(|ix| town.world.seen(*ix).finalised.map_or(0, |it| it.height.0)).min();
    assert!(finalised.is_some_and(|height| height > 0), "{finalised:?}");
    let first_copies = measure.first_copy.count();
    assert!(first_copies > 15 * 8, "{first_copies} first copies of blocks");
    (town.world.trace(), town.world.copies(Kind::Block).1)
}

#[test]
fn a_world_in_halves_comes_to_what_a_whole_one_does_and_a_seed_gives_one_run() {
    for seed in seeds(2) {
        let halved = || {
            let mut town = town(seed);
            assert!(
                town.world.run_in_halves(),
                "no two halves are far enough from each other with seed {seed}"
            );
            busy_life(town)
        };
        let (first, second, whole) = (halved(), halved(), busy_life(town(seed)));
        assert_eq!(first, second, "the threads make a difference");
        assert_ne!(first.0, whole.0, "one of the halves has dice of its own");
    }
}

#[test]
fn whoever_is_scripted_keeps_a_world_whole() {
    let mut world = World::new(1);
    world.set_wall(EPOCH);
    world.set_gossip(Gossip::Mesh(Rules::weft(SLOT, 1).into()));
    world.add_puppet(Default::default(), |_, _, _: &mut Vec<_>| {});
    assert!(!world.run_in_halves());
}
