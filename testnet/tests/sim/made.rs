//! Chains made in advance: they keep every rule, and a peer starts from one as if it had followed it.

use std::collections::BTreeMap;

use weft_core::{
    chain::{Block, ConsensusRecord, Mmr, SystemItem},
    primitives::{Hash, Height, verify_each},
    store::{Store, Table},
};
use weft_testnet::{
    fixture::{ChainMaker, LongChain, TestChain, address, key},
    sim::{EPOCH, NodeOptions, Storage, World},
};

const SLOT: u64 = 1_000;

/// 200 blocks in which one authority comes and another goes.
fn made() -> LongChain {
    let chain = TestChain::with_bystanders(EPOCH, SLOT, 4, 3, 50);
    LongChain::make(ChainMaker::voting(&chain), &chain, 200, |maker, height| {
        match height {
            20 => maker.let_in(4),
            90 => maker.put_out(0),
            _ => {}
        }
        vec![chain.transfer(height as usize % 3, address(&key("payee", height)), (height - 1) / 3)]
    })
}

/// Whether all signatures of a block are right, its certificate's by the record of the target.
fn is_signed(made: &LongChain, block: &Block, target: Option<&ConsensusRecord>) -> bool {
    let genesis = made.chain.hash();
    verify_each(1, |_, batch| {
        block.header.add_to_batch(&genesis, batch);
        block.body.transactions.iter().for_each(|transaction| transaction.add_to_batch(&genesis, batch));
        block.body.system.iter().for_each(|item| item.add_to_batch(&genesis, target, batch));
    }) == [true]
}

#[test]
fn a_made_chain_keeps_every_rule_and_hands_over_twice() {
    let made = made();
    let mut before = made.header(Height(0)).clone();
    let mut record = ConsensusRecord::of_genesis(&made.chain.genesis);
    let mut targets = BTreeMap::from([(made.chain.hash(), record.clone())]);
    let mut mmr = Mmr::default();
    for block in &made.blocks {
        let height = block.header.height();
        mmr.push(&before.hash());
        block.header.check_after(&before, &record.set, &mmr.root()).unwrap();
        block.body.check(&block.header).unwrap();
        let target = block.body.system.iter().find_map(|item| match item {
            SystemItem::Certificate(certificate) => targets.get(&certificate.link.target.hash),
            SystemItem::Ballot(_) | SystemItem::Evidence(_) => None,
        });
        assert!(is_signed(&made, block, target), "a signature in block {}", height.0);
        record = record.after(height, &block.body.system, target).unwrap();
        assert_eq!(record.root(), block.header.content.consensus_root);
        assert_eq!(record, **made.record(height));
        assert_eq!(made.diff(height).root(), block.header.content.diff_root);
        targets.insert(block.header.hash(), record.clone());
        before = block.header.clone();
    }
    assert_eq!((record.set.id, record.justified.height.0, record.finalised.height.0), (2, 192, 176));
    let keys: Vec<_> = record.set.authorities.iter().map(|authority| authority.key).collect();
    assert_eq!(keys, [1, 2, 3, 4].map(|index| key("validator", index).public()));
    assert_eq!(record.outgoing, None, "the first set still counts");
}

#[test]
fn with_a_third_silent_nothing_is_final_until_they_are_back() {
    let chain = TestChain::new(EPOCH, SLOT, 3, 0);
    let mut maker = ChainMaker::voting(&chain);
    maker.silence(&[1]);
    (0..50).for_each(|_| drop(maker.extend(Vec::new())));
    assert_eq!(maker.record().justified.height, Height(0));
    maker.silence(&[]);
    (0..40).for_each(|_| drop(maker.extend(Vec::new())));
    assert_eq!((maker.record().justified.height, maker.record().finalised.height), (Height(80), Height(64)));
}

/// All rows of the tables that hold the chain.
fn rows(storage: &Storage) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let tables = [
        "node/meta",
        "chain/contents",
        "cold/headers",
        "chain/records",
        "chain/settled",
        "finality/certificates",
        "finality/checkpoints",
        "finality/fragments",
        "finality/pivots",
        "finality/trees",
        "finality/turns",
        "cold/diffs",
        "state/leaves",
    ];
    let rows =
        |name| storage.store.range(Table(name), &[], usize::MAX).into_iter().map(move |(k, v)| (name, k, v));
    tables.into_iter().flat_map(rows).collect()
}

#[test]
fn a_peer_starts_at_the_tip_of_a_made_chain_with_the_rows_of_one_that_followed_it() {
    let made = made();
    let mut world = World::new(1);
    world.set_wall(made.now().0);
    let options = || NodeOptions { genesis: Some(made.chain.genesis.clone()), ..NodeOptions::default() };
    let ix = world.add_node(NodeOptions { storage: made.storage(), ..options() });
    let head = |world: &mut World, ix| -> (u64, Hash, Hash) {
        let chain = world.chain(ix);
        (chain.height.0, chain.head, chain.state_root)
    };
    let tip = made.tip.head();
    world.run_until(10_000, |world| head(world, ix) == (200, tip.hash(), tip.content.state_root));
    let late = world.add_node(NodeOptions { bootstrap: vec![ix], ..options() });
    world.run_until(60_000, |world| head(world, late) == head(world, ix));
    world.run_for(1_000);
    assert!(world.seen(ix).past_alarms.is_empty(), "{:?}", world.seen(ix).past_alarms);
    let (followed, given) = (rows(&world.storage(late)), rows(&made.storage()));
    for (followed, given) in followed.iter().zip(&given) {
        assert_eq!(followed, given);
    }
    assert_eq!(followed.len(), given.len());
    assert_eq!(world.storage(late).archive, made.storage().archive);
    world.check_all();
}
