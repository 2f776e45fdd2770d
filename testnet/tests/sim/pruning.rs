//! Peers that forget old blocks: their disks stay small, they say what they have, and nobody is blamed for what is gone.

use std::sync::OnceLock;

use weft_core::{
    node::{Command, Discovery, Prune, Reply, SyncPhase},
    primitives::Height,
    sync::Strategy,
};
use weft_testnet::{
    fixture::{ChainMaker, LongChain, TestChain},
    sim::{EPOCH, Keep, NodeOptions, PeerIx, World},
};

const BLOCKS: u64 = 1_300;
/// Finality is at most so many blocks behind the head of the made chain.
const NOT_FINAL: usize = 48;
/// Blocks are forgotten so many at a time.
const STEP: usize = 64;

fn made() -> &'static LongChain {
    static CHAIN: OnceLock<LongChain> = OnceLock::new();
    CHAIN.get_or_init(|| {
        let chain = TestChain::new(EPOCH, 1_000, 4, 3);
        LongChain::make(ChainMaker::voting(&chain), &chain, BLOCKS, |_, _| Vec::new())
    })
}

fn options() -> NodeOptions {
    NodeOptions { genesis: Some(made().chain.genesis.clone()), ..NodeOptions::default() }
}

/// A world with one peer that has all of the chain.
fn world(seed: u64) -> (World, PeerIx) {
    let mut world = World::new(seed);
    world.set_wall(made().now().0);
    let archive = world.add_node(NodeOptions { storage: made().storage(), ..options() });
    world.run_for(3_000);
    (world, archive)
}

fn is_there(world: &mut World, ix: PeerIx) -> bool {
    let chain = world.chain(ix);
    chain.head == made().tip.head().hash() && chain.sync.phase == SyncPhase::Following
}

/// The heights of the blocks on a peer's disk, which are those it says it has and no others.
fn held(world: &mut World, ix: PeerIx) -> Vec<u64> {
    let oldest = world.chain(ix).oldest.0;
    let heights: Vec<u64> = world.storage(ix).archive.keys().map(|(height, _)| height.0).collect();
    assert!(heights.iter().copied().eq(oldest.max(1)..=BLOCKS), "it says that it has all from {oldest} on");
    heights
}

fn blames_nobody(world: &mut World, ix: PeerIx) {
    let seen = world.seen(ix);
    // That a killed peer cannot be reached is said, and true.
    let alarms: Vec<_> = seen.past_alarms.iter().filter(|alarm| !alarm.starts_with("cannot reach")).collect();
    assert!(seen.banned.is_empty() && alarms.is_empty(), "{:?} {alarms:?}", seen.banned);
    let Ok(Reply::Peers(peers)) = world.command(ix, Command::Peers) else { panic!("no peers") };
    assert!(peers.iter().all(|peer| peer.score >= 0 && peer.deeds.is_empty()), "{peers:?}");
}

#[test]
fn a_disk_is_as_large_as_its_mode_says_and_what_is_left_is_served() {
    for (prune, most) in [
        (Prune::Archive, BLOCKS as usize),
        (Prune::Full, 1_024 + STEP + NOT_FINAL),
        (Prune::Light, 8 * 16 + STEP + NOT_FINAL),
    ] {
        let (mut world, archive) = world(1);
        let pruned = world.add_node(NodeOptions { prune, bootstrap: vec![archive], ..options() });
        world.run_until(300_000, |world| is_there(world, pruned));
        world.run_for(5_000);
        let held_now = held(&mut world, pruned).len();
        assert!(held_now <= most, "{prune}: {held_now} blocks");
        assert_eq!(held_now == BLOCKS as usize, prune == Prune::Archive);

        // Beside one that has everything it keeps nobody from executing the chain from genesis on.
        let full = world.add_node(NodeOptions { bootstrap: vec![pruned, archive], ..options() });
        world.run_until(300_000, |world| is_there(world, full));
        blames_nobody(&mut world, full);
        // And alone it is enough for whoever takes over a state.
        world.kill(archive);
        let snap =
            world.add_node(NodeOptions { bootstrap: vec![pruned], strategy: Strategy::Snap, ..options() });
        world.run_until(300_000, |world| is_there(world, snap));
        blames_nobody(&mut world, snap);
        blames_nobody(&mut world, pruned);

        world.restart(pruned, Keep::All).unwrap();
        world.run_for(20_000);
        assert!(is_there(&mut world, pruned));
        blames_nobody(&mut world, pruned);
        assert_eq!(held(&mut world, pruned).len(), held_now);
    }
}

#[test]
fn whoever_wants_more_than_is_left_waits_for_somebody_who_has_it() {
    let (mut world, archive) = world(2);
    let pruned = world.add_node(NodeOptions { prune: Prune::Light, bootstrap: vec![archive], ..options() });
    world.run_until(300_000, |world| is_there(world, pruned));
    // It forgets in steps, and serves what it still has.
    world.run_for(5_000);
    world.kill(archive);
    let full = world.add_node(NodeOptions { bootstrap: vec![pruned], ..options() });
    world.run_for(60_000);
    assert_eq!(world.chain(full).height, Height(0));
    blames_nobody(&mut world, full);
    let storage = made().storage();
    let archive = world.add_node(NodeOptions { storage, bootstrap: vec![full], ..options() });
    world.run_until(300_000, |world| is_there(world, full));
    blames_nobody(&mut world, full);
    blames_nobody(&mut world, archive);
}

#[test]
fn whoever_wants_more_than_is_left_finds_somebody_who_has_it_in_the_table() {
    for with_table in [true, false] {
        let (mut world, archive) = world(3);
        let pruned =
            world.add_node(NodeOptions { prune: Prune::Light, bootstrap: vec![archive], ..options() });
        world.run_until(300_000, |world| is_there(world, pruned));
        world.kill(archive);
        if with_table {
            world.with_table();
        }
        // They share a neighbour, who has not what one needs and does not tell of the other.
        let discovery = Discovery { dht: true, ..Discovery::OFF };
        let named = || NodeOptions { bootstrap: vec![pruned], discovery, ..options() };
        let archive = world.add_node(NodeOptions { storage: made().storage(), ..named() });
        let full = world.add_node(named());
        world.run_for(60_000);
        assert_eq!(is_there(&mut world, full), with_table);
        assert_eq!(world.is_connected(full, archive), with_table);
        blames_nobody(&mut world, full);
    }
}

#[test]
fn a_crash_while_blocks_are_forgotten_leaves_no_false_claim() {
    let mut crashes = 0;
    for seed in 10..22 {
        let (mut world, archive) = world(seed);
        let options = NodeOptions { prune: Prune::Light, bootstrap: vec![archive], ..options() };
        let pruned = world.add_node(options);
        let lowest = |world: &World| {
            let storage = world.storage(pruned);
            storage.archive.keys().next().map_or(0, |(height, _)| height.0)
        };
        for _ in 0..3 {
            // At the very moment at which something is gone.
            let before = lowest(&world);
            if !world.run_to(60_000, |world| lowest(world) > before.max(1)) {
                break;
            }
            crashes += 1;
            world.restart(pruned, Keep::Prefix(0)).unwrap();
            world.run_for(10);
            let chain = world.chain(pruned);
            let archived = world.storage(pruned).archive;
            let last = archived.keys().next_back().map_or(0, |(height, _)| height.0);
            let oldest = chain.oldest.0.max(1);
            assert!(oldest <= chain.finalised.0.max(1), "seed {seed}: {oldest} of {}", chain.finalised);
            for height in oldest..=last {
                let key = (Height(height), made().header(Height(height)).hash());
                assert!(archived.contains_key(&key), "seed {seed}: says it has {height} of {}", chain.height);
            }
        }
        world.run_until(300_000, |world| is_there(world, pruned));
        world.run_for(5_000);
        assert!(held(&mut world, pruned).len() <= 8 * 16 + STEP + NOT_FINAL);
        blames_nobody(&mut world, pruned);
    }
    assert!(crashes >= 12, "{crashes}");
}
