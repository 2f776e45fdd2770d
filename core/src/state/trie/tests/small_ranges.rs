//! Range proofs on all tries over eight keys: every range, and everything a liar can put together.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Eight keys that differ in three bits of different bytes.
fn universe() -> [Hash; 8] {
    std::array::from_fn(|index| {
        let mut key = Hash::ZERO;
        key.0[0] = (index as u8 & 4) << 5;
        key.0[1] = (index as u8 & 2) << 2;
        key.0[31] = index as u8 & 1;
        key
    })
}

/// One trie, and what is true of it.
struct Case {
    trie: Trie,
    root: Hash,
    model: Accounts,
}

impl Case {
    /// The trie of the keys whose bits are set in `members`.
    fn new(members: usize) -> Self {
        let keys = universe().into_iter().enumerate();
        let model: Accounts = keys
            .filter(|(index, _)| members >> index & 1 == 1)
            .map(|(index, key)| (key, account(index as u64, 7)))
            .collect();
        let trie = of(&model);
        Self { root: trie.root(), trie, model }
    }

    /// Every case with each of its ranges.
    fn each(mut visit: impl FnMut(&Self, &Hash, &Hash)) {
        let keys = universe();
        for members in 0..256 {
            let case = Self::new(members);
            for (first, from) in keys.iter().enumerate() {
                for to in &keys[first..] {
                    visit(&case, from, to);
                }
            }
        }
    }

    fn within(&self, from: &Hash, to: &Hash) -> Vec<(Hash, Account)> {
        self.model.range(from..=to).map(|(key, account)| (*key, *account)).collect()
    }

    /// Whether the proof is accepted. What it then says must be true.
    fn accepts(&self, proof: RangeProof, from: &Hash, to: &Hash) -> bool {
        let Ok(verified) = proof.verify(&self.root, from, to) else { return false };
        let mut truth = self.within(from, to);
        if let Some(next) = verified.next {
            assert!(*from < next && next <= *to);
            truth.retain(|(key, _)| *key < next);
            assert!(!truth.is_empty(), "it goes on");
        }
        assert_eq!(verified.leaves, truth);
        assert_eq!(verified.part.root(), of(&truth.into_iter().collect()).root());
        true
    }

    fn accounts(&self) -> Vec<(Hash, Account)> {
        self.model.iter().map(|(key, account)| (*key, *account)).collect()
    }
}

#[test]
fn every_range_of_every_small_trie_is_proven() {
    Case::each(|case, from, to| {
        let expected = case.within(from, to);
        for max in 1..=expected.len() + 1 {
            let proof = case.trie.prove_range(from, to, max).unwrap();
            let verified = proof.clone().verify(&case.root, from, to).unwrap();
            assert_eq!(verified.leaves.len(), expected.len().min(max));
            assert!(case.accepts(proof, from, to));
        }
    });
}

/// A liar who has the trie lists any of its accounts, with the hashes before and after any of them.
#[test]
fn no_choice_of_true_leaves_and_hashes_proves_a_lie() {
    let (mut tried, mut accepted) = (0, 0);
    Case::each(|case, from, to| {
        let accounts = case.accounts();
        let hashes = |side| {
            let mut lists: Vec<_> = accounts.iter().map(|(key, _)| case.trie.siblings(key, side)).collect();
            lists.push(Vec::new());
            lists.dedup();
            lists
        };
        let (befores, afters) = (hashes(true), hashes(false));
        for chosen in 0..1 << accounts.len() {
            let listed = accounts.iter().enumerate().filter(|(index, _)| chosen >> index & 1 == 1);
            let leaves: Vec<_> = listed.map(|(_, leaf)| *leaf).collect();
            for before in &befores {
                for after in &afters {
                    let proof =
                        RangeProof { leaves: leaves.clone(), before: before.clone(), after: after.clone() };
                    tried += 1;
                    accepted += usize::from(case.accepts(proof, from, to));
                }
            }
        }
    });
    assert!(tried > 1_000_000 && accepted > 256 * 36, "{accepted} of {tried}");
}

/// What differs from an honest proof in one place is refused, unless it is an honest proof that is cut elsewhere.
#[test]
fn no_honest_proof_changed_in_one_place_proves_a_lie() {
    Case::each(|case, from, to| {
        for max in [1, 2, 8] {
            let good = case.trie.prove_range(from, to, max).unwrap();
            for bad in changed(&case.trie, &good) {
                if case.accepts(bad.clone(), from, to) {
                    let honest = (1..=8).any(|max| case.trie.prove_range(from, to, max).unwrap() == bad);
                    assert!(honest || bad == good, "{bad:?}");
                }
            }
            for other_from in &universe() {
                for other_to in &universe() {
                    if other_from <= other_to {
                        case.accepts(good.clone(), other_from, other_to);
                    }
                }
            }
        }
    });
}

/// The hashes on one side of a proof, and those on the other.
type Lists = fn(&mut RangeProof) -> [&mut Vec<Sibling>; 2];

/// The proof with a leaf left out, added, or altered, and with a hash left out, doubled, swapped, moved or replaced.
fn changed(trie: &Trie, good: &RangeProof) -> Vec<RangeProof> {
    let mut all = Vec::new();
    let mut change = |edit: &dyn Fn(&mut RangeProof)| {
        let mut bad = good.clone();
        edit(&mut bad);
        all.push(bad);
    };
    for at in 0..good.leaves.len() {
        change(&|bad| _ = bad.leaves.remove(at));
        change(&|bad| bad.leaves[at].1.nonce += 1);
        change(&|bad| bad.leaves[at].1 = Account::default());
        change(&|bad| bad.leaves.insert(at, bad.leaves[at]));
        change(&|bad| bad.leaves.truncate(at));
        change(&|bad| bad.leaves.swap(0, at));
    }
    for key in universe() {
        let at = good.leaves.partition_point(|(listed, _)| *listed < key);
        change(&|bad| bad.leaves.insert(at, (key, account(1, 7))));
        change(&|bad| bad.leaves.insert(at, (key, trie.get(&key).unwrap())));
    }
    let lists: [Lists; 2] =
        [|proof| [&mut proof.before, &mut proof.after], |proof| [&mut proof.after, &mut proof.before]];
    for list in lists {
        let [own, other] = list(&mut good.clone()).map(|list| list.clone());
        change(&|bad| list(bad)[0].clear());
        change(&|bad| *list(bad)[0] = other.clone());
        for (at, sibling) in own.iter().enumerate() {
            change(&|bad| _ = list(bad)[0].remove(at));
            change(&|bad| list(bad)[0].insert(at, *sibling));
            change(&|bad| list(bad)[0].swap(0, at));
            change(&|bad| list(bad)[0][at].bit ^= 1);
            change(&|bad| list(bad)[0][at].hash = trie.root());
            change(&|bad| {
                let moved = list(bad)[0].remove(at);
                let place = other.partition_point(|sibling| sibling.bit < moved.bit);
                list(bad)[1].insert(place, moved);
            });
            for with in &other {
                change(&|bad| list(bad)[0][at].hash = with.hash);
            }
        }
    }
    all
}
