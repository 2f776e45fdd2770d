//! More want in than a peer has room for.

use weft_core::{
    node::{Input, Output},
    primitives::Now,
};
use weft_testnet::sim::{NodeOptions, PeerIx};

use crate::town::{SLOT, Town, seeds};

/// The most that may have connected to the victim.
const ROOM: usize = 24;

fn intruder(town: &mut Town, victim: PeerIx) -> PeerIx {
    let options = town.options();
    let ix = town.world.add_puppet(options, |_: Now, _: Input, _: &mut Vec<Output>| {});
    let address = town.world.address(victim);
    town.world.act(ix, Output::Dial(address));
    ix
}

#[test]
fn a_crowd_of_strangers_does_not_push_out_those_who_bring_the_blocks() {
    for seed in seeds(5) {
        let mut town = Town::new(seed, 3, 0);
        let victim = town.world.add_node(NodeOptions { max_inbound: ROOM, ..town.options() });
        // Strangers were there first.
        for _ in 0..ROOM {
            intruder(&mut town, victim);
        }
        town.world.run_for(2 * SLOT);
        let bringers: Vec<_> = (0..3)
            .map(|_| {
                let bootstrap = vec![victim, town.validators[0]];
                town.world.add_node(NodeOptions { bootstrap, ..town.options() })
            })
            .collect();
        town.world.run_for(5 * SLOT);
        for number in 0..200 {
            let stranger = intruder(&mut town, victim);
            let met = town.world.run_to(2_000, |world| world.is_connected(victim, stranger));
            assert!(met, "seed {seed}: stranger {number} is not let in");
            town.world.run_for(200);
            let here = town.world.neighbours(victim).len();
            assert!(here <= ROOM, "seed {seed}: {here} are connected");
        }
        let kept = bringers.iter().filter(|ix| town.world.is_connected(victim, **ix)).count();
        assert!(kept > 0, "seed {seed}: nobody is left who brings blocks");
        let late = town.world.add_node(NodeOptions { bootstrap: vec![victim], ..town.options() });
        let met = town.world.run_to(2 * SLOT, |world| world.is_connected(victim, late));
        assert!(met, "seed {seed}: a late one is let in");
        town.world.run_for(2 * SLOT);
        let height = town.world.chain(town.validators[0]).height;
        let behind = height.0 - town.world.chain(victim).height.0;
        assert!(behind <= 1, "seed {seed}: the victim is {behind} blocks behind");
    }
}
