//! Blocks that only gossip brings: every request that anybody makes is refused, and announcements have all transactions in them.

use weft_testnet::{
    fixture::{address, key},
    sim::Network,
};

use crate::town::{SLOT, Town, seeds};

/// For how many slots payments are made while nobody is answered, and how many more there are for the last of them.
const SLOTS: u64 = 60;
const AFTER: u64 = 10;
const VALIDATORS: usize = 5;
const FOLLOWERS: usize = 20;

/// A town in which somebody pays at each proposer in each slot, blocks are announced whole, and nobody is answered what he asks.
fn unanswered(seed: u64, loss: f64) -> Town {
    let mut town = Town::meshed(seed, [VALIDATORS, 0, FOLLOWERS], 1 << 20);
    town.world.announce_whole_blocks();
    town.world.run_for(5 * SLOT);
    town.world.refuse_requests();
    // What was asked before may be answered still.
    town.world.run_for(SLOT);
    town.world.set_network(Network { loss, ..Network::default() });
    let before = downloaded(&town);
    let now = town.world.elapsed();
    town.world.measure(now, now + SLOTS * SLOT);
    for nonce in 0..SLOTS {
        for account in 0..VALIDATORS {
            let payment = town.chain.transfer(account, address(&key("shop", 0)), nonce);
            town.world.submit(town.validators[account], payment).expect("a good payment");
        }
        town.world.run_for(SLOT);
    }
    town.world.run_for(AFTER * SLOT);
    assert_eq!(downloaded(&town), before, "seed {seed}: somebody was answered");
    town
}

/// Bytes of all answers so far.
fn downloaded(town: &Town) -> u64 {
    town.all().into_iter().map(|ix| town.world.seen(ix).downloaded).sum()
}

#[test]
fn gossip_alone_brings_every_block_to_everyone() {
    for loss in [0.0, 0.05] {
        for seed in seeds(2) {
            let mut town = unanswered(seed, loss);
            let measured = town.world.measured().expect("it was");
            let (blocks, within) = (measured.blocks(), measured.blocks_within(0.99, None));
            assert!(blocks.count > SLOTS - 5, "seed {seed}: {} blocks", blocks.count);
            assert_eq!(blocks.delivered, 1.0, "{loss} lost, seed {seed}");
            assert!(
                within.is_some_and(|micros| micros < SLOT * 1000),
                "{loss} lost, seed {seed}: {within:?}"
            );
            for ix in town.all() {
                let paid = town.world.account(ix, address(&key("shop", 0))).balance.0;
                assert_eq!(paid, SLOTS * VALIDATORS as u64, "{loss} lost, seed {seed}: {ix:?}");
                let chain = town.world.chain(ix);
                assert!(chain.finalised.0 + 40 > chain.height.0, "votes come as well: {chain:?}");
            }
            town.world.check_all();
        }
    }
}
