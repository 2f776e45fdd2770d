#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    chain::{Authority, Genesis, UnsignedHeader},
    primitives::{Address, SecretKey, merkle_root},
};

fn key(index: u8) -> SecretKey {
    SecretKey::from_seed([index + 1; 32])
}

fn genesis() -> Genesis {
    let authorities =
        (0..3).map(|index| Authority { key: key(index).public(), fee_address: Address([index; 32]) });
    Genesis {
        name: "tree".into(),
        time: 0,
        slot_millis: 1000,
        min_fee_per_byte: 1,
        authorities: authorities.collect(),
        grants: Vec::new(),
    }
}

fn tree() -> BlockTree {
    let genesis = genesis();
    let record = Arc::new(ConsensusRecord::of_genesis(&genesis));
    BlockTree::new(genesis.header(Hash::ZERO), Mmr::default(), record)
}

/// A header for `slot` on `parent`; `salt` makes it differ from others of its slot.
fn child(tree: &BlockTree, parent: &Hash, slot: u64, salt: u8) -> Header {
    let before = tree.header(parent).unwrap();
    let nothing = merkle_root::<&[u8]>([]);
    let record = tree.record(parent).unwrap();
    let roots =
        [nothing, nothing, Hash([salt; 32]), nothing, record.root(), tree.mmr_after(parent).unwrap().root()];
    let height = before.height().checked_add(1).unwrap();
    let signer = key(u8::try_from(slot % 3).unwrap());
    UnsignedHeader::new(height, Slot(slot), *parent, roots, 0, signer.public())
        .sign(&signer, &genesis().hash())
}

fn grow(tree: &mut BlockTree, parent: &Hash, slot: u64, salt: u8) -> Hash {
    let header = child(tree, parent, slot, salt);
    tree.insert(header).unwrap()
}

fn execute(tree: &mut BlockTree, hash: &Hash) -> bool {
    let record = Arc::clone(tree.record(hash).unwrap());
    tree.executed(hash, record).0
}

#[test]
fn the_longest_branch_wins_and_ties_go_to_the_lowest_hash() {
    let mut tree = tree();
    let base = tree.base();
    let a = grow(&mut tree, &base, 1, 0);
    let b = grow(&mut tree, &base, 2, 0);
    assert_eq!(tree.target(), a.min(b));
    execute(&mut tree, &a);
    execute(&mut tree, &b);
    assert_eq!(tree.head(), a.min(b));
    let longer = grow(&mut tree, &a.max(b), 3, 0);
    assert!(execute(&mut tree, &longer));
    assert_eq!((tree.head(), tree.target()), (longer, longer));
    assert_eq!(tree.on_best_chain(Height(1)), Some(a.max(b)));
    assert_eq!(tree.path(&a.min(b), &longer), (vec![a.min(b)], vec![a.max(b), longer]));
}

#[test]
fn an_invalid_block_takes_its_descendants_along() {
    let mut tree = tree();
    let base = tree.base();
    let a = grow(&mut tree, &base, 1, 0);
    let b = grow(&mut tree, &a, 2, 0);
    let other = grow(&mut tree, &base, 3, 0);
    assert_eq!(tree.target(), b);
    assert_eq!(tree.invalidate(&a), [a, b]);
    assert_eq!(tree.target(), other);
    let late = child(&tree, &b, 4, 0);
    assert_eq!(tree.insert(late), Err(InsertError::InvalidParent));
}

#[test]
fn at_most_two_headers_of_a_proposer_and_slot_are_stored() {
    let mut tree = tree();
    let base = tree.base();
    grow(&mut tree, &base, 1, 0);
    grow(&mut tree, &base, 1, 1);
    let third = child(&tree, &base, 1, 2);
    assert_eq!(tree.insert(third), Err(InsertError::TooMany));
    let again = child(&tree, &base, 1, 0);
    assert_eq!(tree.insert(again), Err(InsertError::Known));
}

#[test]
fn headers_that_do_not_follow_are_refused() {
    let mut tree = tree();
    let base = tree.base();
    let mut orphan = child(&tree, &base, 1, 0);
    orphan.content.parent = Hash([5; 32]);
    assert_eq!(tree.insert(orphan), Err(InsertError::UnknownParent));
    let mut wrong = child(&tree, &base, 1, 0);
    wrong.content.mmr_root = Hash::ZERO;
    assert_eq!(tree.insert(wrong), Err(InsertError::Invalid(HeaderError::Mmr)));
}

#[test]
fn the_base_moves_up_and_drops_what_does_not_descend_from_it() {
    let mut tree = tree();
    let base = tree.base();
    let a = grow(&mut tree, &base, 1, 0);
    let side = grow(&mut tree, &base, 2, 0);
    let b = grow(&mut tree, &a, 4, 0);
    let c = grow(&mut tree, &b, 5, 0);
    for hash in [a, b, c] {
        execute(&mut tree, &hash);
    }
    let (settled, dropped) = tree.advance_base(&b);
    assert_eq!(settled.iter().map(Header::hash).collect::<Vec<_>>(), [base, a]);
    assert_eq!(dropped, [(Height(1), side)]);
    assert_eq!((tree.base(), tree.head(), tree.count()), (b, c, 2));
    assert_eq!((tree.on_best_chain(Height(1)), tree.on_best_chain(Height(2))), (None, Some(b)));
    assert_eq!(tree.mmr_after(&c).unwrap().count(), 4);
}

/// 40 blocks with a fork at each height, and the base moved up twice on the way.
#[test]
fn each_block_has_the_range_over_all_headers_below_it() {
    let mut tree = tree();
    let mut chain = vec![tree.base()];
    let mut range = Mmr::default();
    for height in 1..=40_u64 {
        let parent = chain[chain.len() - 1];
        assert_eq!(tree.mmr_before(&parent), Some(range.clone()));
        let fork = grow(&mut tree, &parent, 3 * height, 1);
        range.push(&parent);
        let tip = grow(&mut tree, &parent, 3 * height + 1, 0);
        for hash in [fork, tip] {
            assert_eq!(tree.mmr_before(&hash), Some(range.clone()));
            assert_eq!(tree.mmr_after(&hash), Some(range.with(&hash)));
        }
        execute(&mut tree, &tip);
        chain.push(tip);
        if height % 17 == 0 {
            tree.advance_base(&chain[chain.len() - 4]);
        }
    }
    let late = chain[chain.len() - 3];
    let late = grow(&mut tree, &late, 500, 0);
    assert_eq!(tree.mmr_before(&late).unwrap().count(), 39);
}

#[test]
fn what_is_ahead_is_in_order() {
    let mut tree = tree();
    let mut tip = tree.base();
    let mut all = Vec::new();
    for slot in 1..=5 {
        tip = grow(&mut tree, &tip, slot, 0);
        all.push(tip);
    }
    assert_eq!(tree.ahead(3), all[..3]);
    execute(&mut tree, &all[0]);
    assert_eq!(tree.ahead(10), all[1..]);
}

/// Executes a block with a record of its own making.
fn execute_as(
    tree: &mut BlockTree,
    hash: &Hash,
    change: impl FnOnce(&mut ConsensusRecord),
) -> (bool, Vec<Hash>) {
    let parent = tree.header(hash).unwrap().content.parent;
    let mut record = (**tree.record(&parent).unwrap()).clone();
    change(&mut record);
    tree.executed(hash, Arc::new(record))
}

/// Executed blocks in slots from 1 on, one in each.
fn executed_chain(tree: &mut BlockTree, slots: std::ops::RangeInclusive<u64>, salt: u8) -> Vec<Hash> {
    let mut tip = tree.base();
    slots
        .map(|slot| {
            tip = grow(tree, &tip, slot, salt);
            execute(tree, &tip);
            tip
        })
        .collect()
}

#[test]
fn a_justified_checkpoint_outweighs_a_longer_branch() {
    let mut tree = tree();
    let short = executed_chain(&mut tree, 1..=3, 0);
    let long = executed_chain(&mut tree, 1..=5, 1);
    assert_eq!(tree.head(), long[4]);
    assert!(tree.justify(&short[1]));
    assert_eq!((tree.head(), tree.target()), (short[2], short[2]));
    assert_eq!(tree.on_best_chain(Height(1)), Some(short[0]));
    assert_eq!(tree.on_best_chain(Height(4)), None);
    // What builds on it inherits that, also when it comes later.
    let next = grow(&mut tree, &short[2], 4, 0);
    assert_eq!(tree.target(), next);
}

#[test]
fn nothing_that_contradicts_a_finalised_block_is_kept_or_taken_in() {
    let mut tree = tree();
    let short = executed_chain(&mut tree, 1..=2, 0);
    let long = executed_chain(&mut tree, 1..=5, 1);
    let late = child(&tree, &short[0], 3, 7);
    let on_base = child(&tree, &tree.base(), 5, 7);
    assert_eq!(tree.finalise(&short[1]), Some(true));
    assert_eq!(tree.head(), short[1]);
    let left: BTreeSet<Hash> = tree.prune().into_iter().map(|(_, hash)| hash).collect();
    assert_eq!(left, long.iter().copied().collect());
    assert_eq!(tree.target(), short[1]);
    assert_eq!(tree.insert(late), Err(InsertError::Finalised));
    assert_eq!(tree.insert(on_base), Err(InsertError::Finalised));
    assert_eq!(tree.finalise(&short[0]), None, "what is final stays so");
    let next = grow(&mut tree, &short[1], 3, 0);
    assert_eq!(tree.finalise(&next), None, "it is not executed");
}

#[test]
fn forks_below_each_finalised_block_go_and_those_above_it_stay() {
    let mut tree = tree();
    let base = tree.base();
    let chain = executed_chain(&mut tree, 1..=6, 0);
    // One fork beside each block, and one block on each fork.
    let parents = std::iter::once(&base).chain(&chain[..5]);
    let forks: Vec<_> = (7..)
        .zip(parents)
        .map(|(slot, parent)| {
            let fork = grow(&mut tree, parent, slot, 1);
            [fork, grow(&mut tree, &fork, slot + 1, 2)]
        })
        .collect();
    let heights = |tree: &BlockTree, hashes: &[[Hash; 2]]| -> Vec<_> {
        let mut all: Vec<_> =
            hashes.iter().flatten().map(|hash| (tree.height(hash).unwrap(), *hash)).collect();
        all.sort();
        all
    };
    for (finalised, gone) in [(1, 0..2), (4, 2..5)] {
        assert_eq!(tree.finalise(&chain[finalised]), Some(false));
        let expected = heights(&tree, &forks[gone]);
        let mut left = tree.prune();
        left.sort();
        assert_eq!(left, expected);
        assert_eq!(tree.prune(), []);
    }
    assert_eq!(tree.count(), 1 + 6 + 2);
    tree.advance_base(&chain[4]);
    assert_eq!((tree.prune(), tree.count()), (Vec::new(), 1 + 1 + 2));
}

#[test]
fn headers_beyond_a_change_of_the_set_wait_for_the_block_that_makes_it() {
    let mut tree = tree();
    let base = tree.base();
    let a = grow(&mut tree, &base, 1, 0);
    let b = grow(&mut tree, &a, 2, 0);
    let mut beyond = child(&tree, &b, 3, 0).content;
    beyond.set_id = 1;
    let beyond = beyond.sign(&key(0), &genesis().hash());
    assert_eq!(tree.insert(beyond.clone()), Err(InsertError::UnknownSet));
    execute(&mut tree, &a);
    execute_as(&mut tree, &b, |record| record.set.id = 1);
    assert!(tree.insert(beyond).is_ok());
}

#[test]
fn headers_judged_by_a_set_that_was_gone_already_turn_out_invalid() {
    let mut tree = tree();
    let base = tree.base();
    let a = grow(&mut tree, &base, 1, 0);
    let b = grow(&mut tree, &a, 2, 0);
    let c = grow(&mut tree, &b, 3, 0);
    assert_eq!(tree.target(), c);
    let (moved, invalid) = execute_as(&mut tree, &a, |record| record.set.id = 1);
    assert!(moved);
    assert_eq!(invalid.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([b, c]));
    assert_eq!((tree.head(), tree.target()), (a, a));
}
