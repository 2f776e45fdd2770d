//! Range proofs against the model: random tries, and the edge cases that go-ethereum's range proofs are tested with.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{proofs::flips, *};

const LAST: Hash = Hash([255; 32]);

fn prove(trie: &Trie, from: &Hash, to: &Hash, max: usize) -> RangeProof {
    let proof = trie.prove_range(from, to, max).unwrap();
    let bytes = encode(&proof);
    assert_eq!(decode(&bytes, RangeProof::MAX_LEN), Ok(proof.clone()));
    proof
}

fn within(model: &Accounts, from: &Hash, to: &Hash) -> Vec<(Hash, Account)> {
    model.range(from..=to).map(|(key, account)| (*key, *account)).collect()
}

/// Proves and verifies a range, and checks that all of it is covered.
fn covered(model: &Accounts, from: &Hash, to: &Hash) -> RangeProof {
    let trie = of(model);
    let proof = prove(&trie, from, to, usize::MAX);
    let verified = proof.clone().verify(&trie.root(), from, to).unwrap();
    assert_eq!(verified.leaves, within(model, from, to));
    assert_eq!(verified.next, None);
    proof
}

/// Many accounts with keys that are hashes, as in use.
fn many(count: u32) -> Accounts {
    (0..count).map(|index| (Hash::of(&index.to_le_bytes()), account(1, index.into()))).collect()
}

fn neighbour(key: &Hash, up: bool) -> Hash {
    let mut key = *key;
    for byte in key.0.iter_mut().rev() {
        *byte = if up { byte.wrapping_add(1) } else { byte.wrapping_sub(1) };
        if *byte != if up { 0 } else { 255 } {
            break;
        }
    }
    key
}

/// Others are written out in `docs/FORMATS.md`.
#[test]
fn golden_proof() {
    let trie = of(&(0..8).map(|index| (key(index << 5), account(1, index.into()))).collect());
    let proof = prove(&trie, &key(0x41), &key(0xa0), 100);
    let leaf = |first: u8| hex::encode(encode(&(key(first << 5), account(1, first.into()))));
    let leaves = [2, 3, 4, 5].map(leaf).concat();
    let before = "016527086eadb13a9eebbb069071ab83a30a51adbc3f4055b87b6501d850378544";
    let after = "01de3f4f50f11c4ab0e8e3bba87d541bd1e3b9425343fd00991a90cb8ed658c183";
    let expected = format!("04000000{leaves}01000000{before}01000000{after}");
    assert_eq!(hex::encode(encode(&proof)), expected);
}

#[test]
fn random_ranges_are_proven_and_the_proof_is_no_longer_than_needed() {
    for seed in 0..200 {
        let mut keys = Keys::new(seed);
        let model: Accounts =
            keys.changes(60).into_iter().filter(|(_, account)| !account.is_absent()).collect();
        let trie = of(&model);
        for _ in 0..20 {
            let (a, b) = (keys.next(), keys.next());
            let (from, to) = (a.min(b), a.max(b));
            let max = 1 + keys.below(12);
            let proof = prove(&trie, &from, &to, max);
            let expected = within(&model, &from, &to);
            let verified = proof.verify(&trie.root(), &from, &to).unwrap();
            let given = expected.len().min(max);
            assert_eq!(verified.leaves, expected[..given], "seed {seed}");
            assert_eq!(verified.part.root(), of(&verified.leaves.iter().copied().collect()).root());
            // A list cut at its last account, with more accounts further on, may not know that it is complete.
            match verified.next {
                None => assert_eq!(given, expected.len(), "seed {seed}"),
                Some(next) => assert_eq!(next, neighbour(&expected[given - 1].0, true), "seed {seed}"),
            }
        }
    }
}

#[test]
fn a_state_is_put_together_from_its_ranges_in_any_order() {
    for seed in 0..60 {
        let mut keys = Keys::new(seed);
        let model: Accounts =
            keys.changes(200).into_iter().filter(|(_, account)| !account.is_absent()).collect();
        let whole = of(&model);
        let (mut parts, mut from) = (Vec::new(), Some(Hash::ZERO));
        while let Some(start) = from {
            let proof = prove(&whole, &start, &LAST, 1 + keys.below(40));
            let verified = proof.verify(&whole.root(), &start, &LAST).unwrap();
            parts.push(verified.part);
            from = verified.next;
        }
        for last in (1..parts.len()).rev() {
            parts.swap(last, keys.below(last + 1));
        }
        let built = parts.iter().fold(Trie::default(), |built, part| built.merge(part).unwrap());
        assert_eq!(built.root(), whole.root(), "seed {seed}");
        assert_eq!(encode(&built), encode(&whole));
    }
}

#[test]
fn merging_takes_the_accounts_of_both_and_the_second_ones_where_both_have_one() {
    for seed in 0..200 {
        let mut keys = Keys::new(seed);
        let (mut one, mut other) = (Accounts::new(), Accounts::new());
        apply(&mut one, &keys.changes(30));
        apply(&mut other, &keys.changes(30));
        let merged = of(&one).merge(&of(&other)).unwrap();
        let mut both = one.clone();
        both.extend(&other);
        assert_eq!(encode(&merged), encode(&of(&both)), "seed {seed}");
    }
    let whole = of(&many(50));
    let partial = whole.witness(&BTreeSet::from([Hash::ZERO]));
    assert_eq!(partial.merge(&whole).unwrap_err(), StubReached);
}

#[test]
fn proofs_of_a_whole_state_are_hardly_more_than_its_leaves() {
    let trie = of(&many(20_000));
    let (mut from, mut bytes) = (Some(Hash::ZERO), 0);
    while let Some(start) = from {
        let proof = prove(&trie, &start, &LAST, 4096);
        bytes += encode(&proof).len();
        from = proof.verify(&trie.root(), &start, &LAST).unwrap().next;
    }
    let leaves = 48 * 20_000;
    assert!(bytes * 100 < leaves * 101, "{bytes} bytes for {leaves} of leaves");
}

#[test]
fn the_largest_proof_is_within_its_bounds() {
    let trie = of(&many(9000));
    let proof = prove(&trie, &Hash::ZERO, &LAST, usize::MAX);
    assert_eq!(proof.leaves.len(), RangeProof::MAX_LEAVES);
    assert!(encode(&proof).len() <= RangeProof::MAX_LEN);
    let next = neighbour(&proof.leaves[RangeProof::MAX_LEAVES - 1].0, true);
    assert_eq!(proof.verify(&trie.root(), &Hash::ZERO, &LAST).unwrap().next, Some(next));
}

/// Edges that are accounts, edges that are not, and edges on the same side of all accounts.
#[test]
fn edges_may_be_accounts_or_not() {
    let model = many(300);
    let keys: Vec<_> = model.keys().copied().collect();
    for (first, last) in [(0, 299), (0, 0), (299, 299), (17, 18), (17, 17), (40, 250)] {
        for from in [keys[first], neighbour(&keys[first], false), neighbour(&keys[first], true)] {
            for to in [keys[last], neighbour(&keys[last], false), neighbour(&keys[last], true)] {
                if from <= to {
                    covered(&model, &from, &to);
                }
            }
        }
    }
    covered(&model, &Hash::ZERO, &LAST);
    covered(&model, &Hash::ZERO, &Hash::ZERO);
    covered(&model, &LAST, &LAST);
    covered(&model, &Hash::ZERO, &neighbour(&keys[0], false));
    covered(&model, &neighbour(&keys[299], true), &LAST);
}

#[test]
fn a_whole_trie_one_leaf_and_no_leaf_need_no_hashes() {
    for count in [0, 1, 2, 100] {
        let proof = covered(&many(count), &Hash::ZERO, &LAST);
        assert_eq!((proof.leaves.len(), proof.before.len(), proof.after.len()), (count as usize, 0, 0));
    }
    let one = Accounts::from([(key(0x40), account(1, 1))]);
    for (from, to) in [(0, 0x3f), (0x41, 0xff), (0x40, 0x40), (0x3f, 0x41), (0, 0x40), (0x40, 0xff)] {
        covered(&one, &key(from), &key(to));
    }
    assert_eq!(covered(&Accounts::new(), &key(3), &key(5)).leaves, []);
}

#[test]
fn an_empty_range_is_proven_by_its_neighbours() {
    let model = many(100);
    let keys: Vec<_> = model.keys().copied().collect();
    let (from, to) = (neighbour(&keys[10], true), neighbour(&keys[11], false));
    let proof = covered(&model, &from, &to);
    let listed: Vec<_> = proof.leaves.iter().map(|(key, _)| *key).collect();
    assert_eq!(listed, keys[10..12]);
    // Nothing is shown to be missing by leaving out what is there.
    for count in 0..2 {
        let mut hiding = proof.clone();
        hiding.leaves.truncate(count);
        assert!(hiding.verify(&of(&model).root(), &from, &to).is_err());
    }
}

/// With accounts left out at its edges, the range is proven only up to where they are.
#[test]
fn accounts_are_not_hidden_at_an_edge() {
    let trie = of(&many(200));
    let keys: Vec<_> = many(200).into_keys().collect();
    let (from, to) = (neighbour(&keys[20], false), neighbour(&keys[60], true));
    // An honest proof for a smaller range, offered for this one.
    let inner = |first: usize, last: usize| prove(&trie, &keys[first], &keys[last], 1000);
    assert_eq!(inner(21, 60).verify(&trie.root(), &from, &to).unwrap_err(), ProofError::Gap);
    assert_eq!(inner(20, 60).verify(&trie.root(), &from, &to).unwrap_err(), ProofError::Gap);
    let cut = inner(20, 59).verify(&trie.root(), &keys[20], &to).unwrap();
    assert_eq!(cut.next, Some(neighbour(&keys[59], true)));
    let before_it = prove(&trie, &keys[3], &keys[9], 1000);
    assert_eq!(before_it.clone().verify(&trie.root(), &from, &to).unwrap_err(), ProofError::Unneeded);
    let mut last_only = prove(&trie, &keys[9], &keys[9], 1);
    assert_eq!(last_only.leaves.len(), 1);
    assert_eq!(last_only.clone().verify(&trie.root(), &from, &to).unwrap_err(), ProofError::Nothing);
    last_only.after.clear();
    assert_eq!(last_only.verify(&trie.root(), &from, &to).unwrap_err(), ProofError::Root);
    assert_eq!(inner(20, 60).verify(&trie.root(), &to, &from).unwrap_err(), ProofError::Nothing);
}

/// Leaves changed, left out, added, unordered, repeated or emptied.
#[test]
fn a_list_that_is_not_the_states_is_refused() {
    let trie = of(&many(120));
    let keys: Vec<_> = many(120).into_keys().collect();
    for (first, last) in [(0, 119), (0, 5), (100, 119), (30, 70), (8, 8)] {
        let (from, to) = (keys[first], keys[last]);
        let good = prove(&trie, &from, &to, 1000);
        let refused = |change: &dyn Fn(&mut RangeProof)| {
            let mut bad = good.clone();
            change(&mut bad);
            assert_ne!(bad, good);
            bad.verify(&trie.root(), &from, &to).unwrap_err()
        };
        let middle = (last - first) / 2;
        assert_eq!(refused(&|bad| bad.leaves[middle].1.balance.0 += 1), ProofError::Root);
        assert_eq!(refused(&|bad| bad.leaves[middle].1 = Account::default()), ProofError::Absent);
        assert_eq!(refused(&|bad| bad.leaves.insert(middle, bad.leaves[middle])), ProofError::Misplaced);
        refused(&|bad| bad.leaves[middle].0 = neighbour(&bad.leaves[middle].0, true));
        refused(&|bad| _ = bad.leaves.remove(middle));
        refused(&|bad| bad.leaves.clear());
        if last > first {
            assert_eq!(refused(&|bad| bad.leaves.swap(middle, middle + 1)), ProofError::Misplaced);
            assert_eq!(refused(&|bad| bad.leaves.reverse()), ProofError::Misplaced);
            let added = neighbour(&keys[first + middle], true);
            let insert = |bad: &mut RangeProof| bad.leaves.insert(middle + 1, (added, account(1, 1)));
            assert_eq!(refused(&insert), ProofError::Root);
            // An account that does not exist changes no root, and is refused all the same.
            let insert = |bad: &mut RangeProof| bad.leaves.insert(middle + 1, (added, Account::default()));
            assert_eq!(refused(&insert), ProofError::Absent);
        }
    }
}

/// True leaves and hashes that the range does not need.
#[test]
fn a_bloated_proof_is_refused() {
    let trie = of(&many(120));
    let keys: Vec<_> = many(120).into_keys().collect();
    let wide = prove(&trie, &keys[29], &keys[71], 1000);
    assert_eq!(wide.clone().verify(&trie.root(), &keys[30], &keys[71]).unwrap_err(), ProofError::Unneeded);
    assert_eq!(wide.clone().verify(&trie.root(), &keys[29], &keys[70]).unwrap_err(), ProofError::Unneeded);
    let mut stuffed = wide.clone();
    stuffed.before.push(Sibling { bit: 255, hash: Hash::ZERO });
    assert!(stuffed.verify(&trie.root(), &keys[29], &keys[71]).is_err());
    let claims = |leaves: u32, before: u32| {
        let none = 0_u32.to_le_bytes();
        let leaves = [&leaves.to_le_bytes()[..], &vec![1; 48 * leaves as usize]].concat();
        let before = [&before.to_le_bytes()[..], &vec![1; 33 * before as usize]].concat();
        decode::<RangeProof>(&[leaves, before, none.to_vec()].concat(), usize::MAX).is_ok()
    };
    let most = RangeProof::MAX_LEAVES as u32 + 2;
    assert_eq!([(most, 256), (most + 1, 0), (0, 257)].map(|(a, b)| claims(a, b)), [true, false, false]);
}

#[test]
fn a_range_proof_with_any_bit_flipped_is_refused() {
    let trie = of(&many(60));
    let keys: Vec<_> = many(60).into_keys().collect();
    for (from, to, max) in [
        (Hash::ZERO, LAST, 5),
        (keys[20], keys[24], 100),
        (neighbour(&keys[20], true), neighbour(&keys[25], false), 100),
        (neighbour(&keys[20], true), neighbour(&keys[21], false), 100),
        (neighbour(&keys[59], true), LAST, 100),
    ] {
        let good = prove(&trie, &from, &to, max);
        for (bit, flipped) in flips::<RangeProof>(&encode(&good)) {
            assert!(flipped.verify(&trie.root(), &from, &to).is_err(), "bit {bit} of {from} to {to}");
        }
        assert!(good.verify(&trie.root(), &from, &to).is_ok());
    }
}

#[test]
fn what_a_partial_trie_does_not_hold_is_not_proven() {
    let whole = of(&many(100));
    let keys: Vec<_> = many(100).into_keys().collect();
    let partial = whole.witness(&keys[..42].iter().copied().collect());
    for to in &keys {
        match partial.prove_range(&Hash::ZERO, to, 100) {
            Ok(proof) => {
                assert!(*to < keys[42]);
                assert_eq!(Ok(proof), whole.prove_range(&Hash::ZERO, to, 100));
            }
            Err(StubReached) => assert!(*to >= keys[41]),
        }
    }
}
