//! Every way to join one long chain: where it ends, and what it downloads.

use weft_core::{node::SyncPhase, primitives::Height, sync::Strategy};
use weft_testnet::{
    fixture::LongChain,
    sim::{NodeOptions, World},
};

/// The last finalised checkpoint.
const FINAL: Height = Height(19_968);
/// The key and the account.
const LEAF_BYTES: u64 = 48;

fn options() -> NodeOptions {
    NodeOptions { genesis: Some(LongChain::measured().chain.genesis.clone()), ..NodeOptions::default() }
}

/// Joins by three servers; answers how many bytes of answers that took until it followed the chain, and with the older
/// headers that some download after that.
fn join(strategy: Strategy) -> (u64, u64) {
    let made = LongChain::measured();
    let mut world = World::new(1);
    world.set_wall(made.now().0);
    let storage = made.storage();
    let servers: Vec<_> =
        (0..3).map(|_| world.add_node(NodeOptions { storage: storage.clone(), ..options() })).collect();
    world.run_for(3_000);
    let ix = world.add_node(NodeOptions { bootstrap: servers, strategy, ..options() });
    let phase = match strategy {
        Strategy::Light => SyncPhase::Light,
        _ => SyncPhase::Following,
    };
    let head = made.tip.head();
    world.run_until(1_800_000, |world| {
        let chain = world.chain(ix);
        (chain.sync.phase, chain.height) == (phase, head.height())
    });
    world.check_all();
    assert!(world.seen(ix).past_alarms.is_empty(), "{strategy}: {:?}", world.seen(ix).past_alarms);
    let chain = world.chain(ix);
    // The head tells by its hash what lies below.
    let end = (head.hash(), head.content.state_root);
    assert_eq!((chain.head, chain.state_root), end, "{strategy}");
    let last = made.header(FINAL);
    let end = (FINAL, last.hash(), last.content.state_root);
    let joined = (chain.finalised, chain.finalised_hash, chain.finalised_state_root);
    assert_eq!(joined, end, "{strategy}");
    let joined = world.seen(ix).downloaded;
    world.run_until(1_800_000, |world| world.chain(ix).sync.backfill.is_none());
    (joined, world.seen(ix).downloaded)
}

#[test]
fn every_strategy_ends_at_the_same_block_and_state_and_those_that_trust_more_download_less() {
    let made = LongChain::measured();
    let record = made.record(made.height());
    assert_eq!((made.height(), record.set.id, record.finalised.height), (Height(20_000), 8, FINAL));
    let accounts = made.accounts(made.height());
    assert!(accounts.len() >= 100_000, "{} accounts", accounts.len());
    assert_eq!(made.tip.trie().root(), made.tip.head().content.state_root);

    let leaves = LEAF_BYTES * made.accounts(FINAL).len() as u64;
    let anchor = Strategy::Checkpoint(made.header(FINAL).hash());
    println!("strategy     bytes to follow the chain   of the leaves' {leaves}   bytes in the end");
    let [full, fast, warp, snap, checkpoint, light] =
        [Strategy::Full, Strategy::Fast, Strategy::Warp, Strategy::Snap, anchor, Strategy::Light].map(
            |strategy| {
                let (bytes, whole) = join(strategy);
                let name = strategy.to_string();
                let name = name.split(':').next().unwrap_or_default();
                let share = bytes as f64 / leaves as f64;
                println!("{name:<12} {bytes:>25} {share:>23.3} {whole:>18}");
                (bytes, whole)
            },
        );
    assert!(full.0 > fast.0 && fast.0 > warp.0 && warp.0 >= snap.0 && snap.0 > light.0);
    assert!(snap.0 / 10 > light.0 && checkpoint.0 < fast.0);
    // In the end a warp peer has downloaded what a fast one has: what differs is what it checked first.
    assert!(full.1 > warp.1 && warp.1.abs_diff(fast.1) < fast.1 / 100 && warp.1 > snap.1);
    assert!(100 * snap.0 <= 115 * leaves, "{snap:?} bytes for {leaves} of leaves");
}
