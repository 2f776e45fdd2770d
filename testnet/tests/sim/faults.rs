//! Trouble on a peer's own machine: workers that die, an archive that cannot read, a disk that takes no more.

use weft_core::node::CommandError;
use weft_testnet::{
    fixture::{address, key},
    sim::{Faults, Keep, NodeOptions},
};

use crate::town::{SLOT, Town, seeds};

#[test]
fn lost_jobs_are_tried_again_and_the_chain_goes_on() {
    for seed in seeds(3) {
        let mut town = Town::new(seed, 3, 2);
        for ix in town.all() {
            town.world.set_faults(ix, Faults { work: 0.1, ..Faults::default() });
        }
        town.world.run_for(60 * SLOT);
        let lost: u64 = town.all().iter().map(|ix| town.world.seen(*ix).lost_jobs).sum();
        assert!(lost > 20, "only {lost} jobs were lost");
        for ix in town.all() {
            town.world.set_faults(ix, Faults::default());
        }
        town.converge(45, 20 * SLOT);
        town.world.check_all();
    }
}

#[test]
fn a_server_that_cannot_read_its_archive_delays_nobody_for_good() {
    let mut town = Town::new(1, 2, 0);
    town.world.run_for(100 * SLOT);
    let (broken, sound) = (town.validators[0], town.validators[1]);
    town.world.set_faults(broken, Faults { archive: 1.0, ..Faults::default() });
    let late = town.world.add_node(NodeOptions { bootstrap: vec![broken, sound], ..town.options() });
    town.world.run_until(60 * SLOT, |world| world.have_converged(&[late, sound], 90));
    town.world.check_all();
}

#[test]
fn a_validator_whose_storage_failed_stops_proposing_and_says_so() {
    let mut town = Town::new(2, 3, 1);
    town.world.run_for(10 * SLOT);
    let broken = town.validators[1];
    town.world.fail_storage(broken, "no space left on device");
    let before = town.world.proposals(broken);
    let alarms = town.world.status(broken).alarms;
    assert!(alarms.iter().any(|alarm| alarm.contains("no space left on device")), "{alarms:?}");
    let transaction = town.chain.transfer(0, address(&key("shop", 0)), 0);
    let refused = town.world.submit(broken, transaction).unwrap_err();
    assert!(matches!(refused, CommandError::Storage(_)), "{refused}");

    town.world.run_for(30 * SLOT);
    assert_eq!(town.world.proposals(broken), before, "it went on proposing");
    let others = [town.validators[0], town.validators[2], town.followers[0]];
    town.world.run_until(5 * SLOT, |world| world.have_converged(&others, 25));

    town.world.restart(broken, Keep::All).unwrap();
    town.converge(27, 20 * SLOT);
    town.world.run_until(10 * SLOT, |world| world.proposals(broken) > before);
    town.world.check_all();
}
