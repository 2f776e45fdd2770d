//! Peers that join by proof know the newest blocks too, before and without executing them.

use weft_core::{
    chain::{Authority, Change},
    node::{BlockRef, Command, Reply, SyncPhase},
    primitives::Hash,
    sync::{Strategy, SyncResponse},
};
use weft_testnet::{
    fixture::{address, key},
    sim::{Keep, NodeOptions, PeerIx, World},
};

use crate::{
    finality::is_stalled,
    strategies::{answers, blames, join, made, servers},
    town::{SLOT, Town, seeds},
};

impl Town {
    fn light(&mut self, bootstrap: Vec<PeerIx>) -> PeerIx {
        self.world.add_node(NodeOptions { bootstrap, strategy: Strategy::Light, ..self.options() })
    }
}

/// Asserts that a light peer's head is at most two blocks behind another's, and on its chain.
fn assert_keeps_up(town: &mut Town, light: PeerIx, full: PeerIx) {
    let (seen, known) = (town.world.chain(light), town.world.chain(full));
    assert!(seen.height.0 + 2 >= known.height.0, "{} of {}", seen.height, known.height);
    let same = town.block(full, BlockRef::Height(seen.height.0)).map(|block| block.summary.hash);
    assert!(
        same == Ok(seen.head) || seen.height > known.height,
        "{seen:?} is on another branch than {known:?}"
    );
}

fn newest(world: &mut World, ix: PeerIx) -> Vec<u64> {
    match world.command(ix, Command::RecentBlocks(64)) {
        Ok(Reply::Blocks(blocks)) => blocks.iter().map(|block| block.height.0).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_light_peer_knows_the_head_before_it_is_final() {
    for seed in seeds(3) {
        let mut town = Town::new(seed, 4, 1);
        town.world.run_for(100 * SLOT);
        let light = town.light(vec![town.validators[0], town.validators[1]]);
        town.world.run_until(10 * SLOT, |world| world.chain(light).sync.phase == SyncPhase::Light);
        for _ in 0..40 {
            town.world.run_for(3 * SLOT);
            let full = town.followers[0];
            assert_keeps_up(&mut town, light, full);
        }
        let chain = town.world.chain(light);
        assert!(chain.finalised < chain.height && chain.finalised.0 >= 160, "{chain:?}");
        assert!(town.world.seen(light).past_alarms.is_empty());
        // Of what came since it is here it can show the blocks.
        let shown = newest(&mut town.world, light);
        assert_eq!((shown.len(), shown[0]), (64, chain.height.0));
        assert!(shown.windows(2).all(|pair| pair[0] == pair[1] + 1), "{shown:?}");
        let block = town.block(light, BlockRef::Height(shown[3])).unwrap();
        assert_eq!(Ok(block.clone()).map(|block| (block.parent, block.transactions.len())), {
            let full = town.followers[0];
            let known = town.block(full, BlockRef::Hash(block.summary.hash));
            known.map(|block| (block.parent, block.transactions.len()))
        });
        town.world.check_all();
    }
}

#[test]
fn a_light_peer_hands_on_the_blocks_it_has_judged() {
    for seed in seeds(3) {
        let mut town = Town::new(seed, 4, 0);
        town.world.run_for(60 * SLOT);
        let last = town.validators.pop().unwrap();
        let light = town.light(vec![town.validators[0]]);
        let full = town.world.add_node(NodeOptions { bootstrap: vec![last, light], ..town.options() });
        town.followers.push(full);
        town.world.run_until(20 * SLOT, |world| world.chain(light).sync.phase == SyncPhase::Light);
        town.converge(60, 10 * SLOT);
        // From now on nobody but the light peer knows both sides.
        town.world.kill(last);
        town.world.run_for(60 * SLOT);
        let others = town.validators.iter().any(|ix| town.world.is_connected(full, *ix));
        assert!(town.world.is_connected(full, light) && !others);
        let (known, seen) = (town.world.chain(town.validators[0]), town.world.chain(full));
        assert!(known.height.0 > 90 && seen.height.0 + 2 >= known.height.0, "{known:?} {seen:?}");
    }
}

#[test]
fn a_light_peer_waits_for_proof_where_the_authorities_change_and_goes_on() {
    for seed in seeds(2) {
        let mut town = Town::new(seed, 4, 1);
        town.world.run_for(60 * SLOT);
        let light = town.light(town.validators.clone());
        let new = Authority { key: key("newcomer", 0).public(), fee_address: address(&key("fees", 0)) };
        let validator = Some(key("newcomer", 0));
        let bootstrap = town.validators.clone();
        let ix = town.world.add_node(NodeOptions { validator, bootstrap, ..town.options() });
        town.followers.push(ix);
        town.world.run_for(20 * SLOT);
        assert_keeps_up(&mut town, light, ix);
        for ix in &town.validators {
            let done = town.world.command(*ix, Command::Propose(Change::Add(new.clone())));
            assert_eq!(done, Ok(Reply::Done));
        }
        town.world.run_until(200 * SLOT, |world| world.chain(light).set_id == 1);
        town.world.run_for(5 * SLOT);
        assert_keeps_up(&mut town, light, ix);
        assert_eq!(town.world.chain(light).authorities, 5);
        town.world.check_all();
    }
}

#[test]
fn while_nothing_becomes_final_peers_still_join_in_every_way() {
    for strategy in [Strategy::Snap, Strategy::Warp, Strategy::Fast, Strategy::Light] {
        let mut town = Town::new(3, 4, 2);
        town.world.run_for(60 * SLOT);
        let silent: Vec<PeerIx> = town.validators.split_off(2);
        silent.iter().for_each(|ix| town.world.kill(*ix));
        town.world.run_for(300 * SLOT);
        let stalled = town.world.chain(town.followers[0]);
        assert!(stalled.height.0 > stalled.finalised.0 + 96);
        let bootstrap = town.followers.clone();
        let late = town.world.add_node(NodeOptions { bootstrap, strategy, ..town.options() });
        let all = [town.all(), vec![late]].concat();
        let alike = |world: &mut World| {
            let head = world.chain(all[0]).head;
            head != stalled.head && all.iter().all(|ix| world.chain(*ix).head == head)
        };
        town.world.run_until(120 * SLOT, alike);
        let joined = town.world.chain(late);
        assert_eq!((joined.finalised, joined.finalised_hash), (stalled.finalised, stalled.finalised_hash));
        // It says so as all others do, until they are back.
        town.world.run_until(10 * SLOT, |world| all.iter().all(|ix| is_stalled(world, *ix)));
        for ix in silent {
            town.world.restart(ix, Keep::All).unwrap();
        }
        town.world.run_until(200 * SLOT, |world| world.chain(late).finalised > stalled.height);
        town.world.run_until(10 * SLOT, |world| !all.iter().any(|ix| is_stalled(world, *ix)));
    }
}

#[test]
fn who_sends_a_light_peer_headers_that_nobody_signed_is_blamed() {
    let forged = answers(|response| match response {
        SyncResponse::Headers(mut headers) => {
            let last = headers.last_mut()?;
            last.content.state_root = Hash([9; 32]);
            Some(SyncResponse::Headers(headers))
        }
        _ => Some(response),
    });
    let (mut world, servers) = servers(8, vec![forged, None]);
    let light = join(&mut world, &servers[..1], Strategy::Light);
    world.run_until(60_000, |world| blames(world, light, servers[0]));
    let address = world.address(servers[1]);
    assert_eq!(world.command(light, Command::Dial(address)), Ok(Reply::Done));
    world.run_until(60_000, |world| world.chain(light).head == made().tip.head().hash());
    assert!(!blames(&mut world, light, servers[1]));
}
