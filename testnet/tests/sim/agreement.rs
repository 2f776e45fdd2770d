//! Validators and followers make one chain of what each of them sees.

use weft_core::node::{BlockRef, Command, Reply};
use weft_testnet::{
    fixture::{address, key},
    sim::{Keep, Network},
};

use crate::town::{SLOT, Town, seeds};

#[test]
fn validators_produce_in_their_slots_and_everyone_agrees() {
    for seed in seeds(6) {
        let mut town = Town::new(seed, 3, 4);
        town.world.run_for(60 * SLOT);
        town.converge(55, 2 * SLOT);
        let skipped =
            town.world.chain(town.followers[0]).slot.0 - town.world.chain(town.followers[0]).height.0;
        assert!(skipped <= 4, "seed {seed}: {skipped} slots without a block");
        town.world.check_all();
        for ix in town.all() {
            assert!(town.world.seen(ix).past_alarms.is_empty(), "{:?}", town.world.seen(ix).past_alarms);
        }
    }
}

#[test]
fn they_agree_under_loss_and_jitter() {
    for seed in seeds(4) {
        let mut town = Town::new(seed, 3, 4);
        town.world.set_network(Network { loss: 0.05, jitter: 1.0, ..Network::default() });
        town.world.run_for(90 * SLOT);
        town.converge(70, 10 * SLOT);
        town.world.check_all();
    }
}

#[test]
fn clocks_that_are_a_little_off_do_no_harm() {
    let mut town = Town::new(3, 3, 1);
    for skew in [-200, 200] {
        let options = weft_testnet::sim::NodeOptions {
            skew_millis: skew,
            bootstrap: town.validators.clone(),
            ..town.options()
        };
        let ix = town.world.add_node(options);
        town.followers.push(ix);
    }
    town.world.run_for(30 * SLOT);
    town.converge(25, 2 * SLOT);
    town.world.check_all();
}

#[test]
fn a_validator_whose_clock_was_an_hour_off_proposes_again_and_has_signed_nothing_twice() {
    const HOUR: i64 = 60 * 60 * 1000;
    for seed in seeds(2) {
        let mut town = Town::new(seed, 4, 2);
        town.world.run_for(20 * SLOT);
        let (honest, set) = (town.validators[0], town.validators[3]);
        let key = town.chain.validators[3].public();
        for skew in [HOUR, -HOUR, HOUR] {
            town.world.set_skew(set, skew);
            town.world.run_for(40 * SLOT);
            town.world.set_skew(set, 0);
            town.world.run_for(10 * SLOT);
            let above = town.world.chain(honest).height.0;
            town.world.run_for(24 * SLOT);
            let head = town.world.chain(honest).height.0;
            let proposed = (above + 1..=head).filter(|height| {
                let block = town.block(honest, BlockRef::Height(*height));
                block.is_ok_and(|block| block.summary.proposer == key)
            });
            assert!(proposed.count() >= 4, "six turns, and it hardly proposes; seed {seed}, {skew}");
        }
        town.converge(150, 5 * SLOT);
        town.world.check_all();
        for ix in town.all() {
            let Ok(Reply::Authorities(view)) = town.world.command(ix, Command::Authorities) else {
                panic!("{ix:?} does not tell who the authorities are");
            };
            assert_eq!((view.set_id, view.authorities.len(), view.pending.len()), (0, 4, 0));
        }
    }
}

#[test]
fn a_partition_forks_and_healing_brings_one_chain_and_every_transaction_back() {
    for seed in seeds(4) {
        let mut town = Town::new(seed, 3, 4);
        town.world.run_for(10 * SLOT);
        town.converge(7, 5 * SLOT);

        let minority = [&town.validators[2..], &town.followers].concat();
        town.world.split(&[&town.validators[..2], &minority]);
        town.world.run_for(10 * SLOT);
        let to = address(&key("shop", 0));
        for nonce in 0..3 {
            let transaction = town.chain.transfer(0, to, nonce);
            town.world.submit(minority[2], transaction).unwrap();
        }
        town.world.run_for(20 * SLOT);
        let (here, there) = (town.world.chain(minority[1]), town.world.chain(town.validators[0]));
        assert_ne!(here.head, there.head);
        assert!(here.height < there.height, "one validator makes fewer blocks than two");
        assert_eq!(town.world.account(minority[4], to).balance.0, 3, "the minority's chain has the payments");
        assert_eq!(town.world.account(town.validators[1], to).balance.0, 0);

        town.world.heal();
        town.converge(there.height.0 + 1, 90 * SLOT);
        let all = town.all();
        town.world.run_until(30 * SLOT, |world| all.iter().all(|ix| world.account(*ix, to).balance.0 == 3));
        for ix in minority {
            assert!(!town.world.seen(ix).reorganised.is_empty(), "{ix:?} left its branch");
        }
        town.world.check_all();
    }
}

#[test]
fn what_a_branch_of_a_hundred_blocks_held_comes_back_when_nobody_has_it_in_memory_any_more() {
    for restarts in [false, true] {
        let mut town = Town::new(9, 3, 4);
        town.world.run_for(10 * SLOT);
        town.converge(7, 5 * SLOT);

        let minority = [&town.validators[2..], &town.followers].concat();
        town.world.split(&[&town.validators[..2], &minority]);
        let to = address(&key("shop", 0));
        let payer = minority[3];
        for nonce in 0..3 {
            let transaction = town.chain.transfer(0, to, nonce);
            town.world.submit(payer, transaction).unwrap();
        }
        let watcher = minority[1];
        town.world.run_until(60 * SLOT, |world| world.account(watcher, to).balance.0 == 3);
        let paid_at = town.world.chain(watcher).height.0;
        town.world.run_until(600 * SLOT, |world| world.chain(watcher).height.0 > paid_at + 100);
        // Whoever made the payments sees to them; but it is gone.
        town.world.kill(payer);
        let minority: Vec<_> = minority.into_iter().filter(|ix| *ix != payer).collect();
        if restarts {
            minority.iter().for_each(|ix| town.world.restart(*ix, Keep::All).unwrap());
            town.world.run_for(5 * SLOT);
        }

        town.world.heal();
        let all: Vec<_> = town.all().into_iter().filter(|ix| *ix != payer).collect();
        let there = town.world.chain(town.validators[0]).height.0;
        town.world.run_until(120 * SLOT, |world| world.have_converged(&all, there + 1));
        for ix in minority {
            let undone = &town.world.seen(ix).reorganised;
            assert!(undone.iter().any(|count| *count > 100), "{ix:?} undid {undone:?}");
        }
        town.world.run_until(30 * SLOT, |world| all.iter().all(|ix| world.account(*ix, to).balance.0 == 3));
        town.world.check_all();
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = |seed| {
        let mut town = Town::new(seed, 3, 3);
        town.world.set_network(Network { loss: 0.05, jitter: 0.5, ..Network::default() });
        town.world.run_for(15 * SLOT);
        for nonce in 0..5 {
            let transaction = town.chain.transfer(1, address(&key("shop", 0)), nonce);
            town.world.submit(town.followers[0], transaction).unwrap();
        }
        town.world.run_for(15 * SLOT);
        town.world.trace()
    };
    let first = run(11);
    assert_eq!(first, run(11));
    assert_ne!(first, run(12));
}
