//! The trie against `jmt`, the Jellyfish Merkle tree: another shape and other hashes, but the same accounts.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha8Rng;
use jmt::{JellyfishMerkleTree, KeyHash, SimpleHasher, mock::MockTreeStore, storage::TreeWriter};
use rand_core::{Rng, SeedableRng};
use weft_core::{
    primitives::{Amount, Hash, encode},
    state::{Account, Trie},
};

struct Blake3(blake3::Hasher);

impl SimpleHasher for Blake3 {
    fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self) -> [u8; 32] {
        *self.0.finalize().as_bytes()
    }
}

/// Few enough keys that accounts come and go.
fn any_key(rng: &mut ChaCha8Rng) -> Hash {
    Hash::of(&(rng.next_u32() % 300).to_le_bytes())
}

#[test]
fn both_tries_hold_the_same_accounts_and_prove_them() {
    for seed in 0..10 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (store, mut trie, mut live) = (MockTreeStore::default(), Trie::default(), BTreeSet::new());
        for version in 0..40 {
            let mut changes = BTreeMap::new();
            for _ in 0..1 + rng.next_u32() % 30 {
                let (nonce, balance) = (u64::from(rng.next_u32() % 2), Amount(u64::from(rng.next_u32() % 2)));
                changes.insert(any_key(&mut rng), Account { nonce, balance });
            }
            // jmt is told of removals of what is there only.
            changes.retain(|key, account| !account.is_absent() || live.contains(key));
            for (key, account) in &changes {
                let _ = if account.is_absent() { live.remove(key) } else { live.insert(*key) };
            }
            trie = trie.update(&changes).unwrap();
            let tree = JellyfishMerkleTree::<_, Blake3>::new(&store);
            let values = changes
                .iter()
                .map(|(key, account)| (KeyHash(key.0), (!account.is_absent()).then(|| encode(account))));
            let (root, update) = tree.put_value_set(values, version).unwrap();
            store.write_node_batch(&update.node_batch).unwrap();

            for index in 0_u32..300 {
                let key = Hash::of(&index.to_le_bytes());
                let ours = trie.prove(&key).unwrap().verify(&trie.root(), &key).unwrap();
                assert_eq!(ours, trie.get(&key).unwrap());
                let (theirs, proof) = tree.get_with_proof(KeyHash(key.0), version).unwrap();
                proof.verify(root, KeyHash(key.0), theirs.as_ref()).unwrap();
                assert_eq!(theirs, (!ours.is_absent()).then(|| encode(&ours)), "seed {seed}, {version}");
            }
            let last = Hash([255; 32]);
            let range = trie.prove_range(&Hash::ZERO, &last, usize::MAX).unwrap();
            let listed = range.verify(&trie.root(), &Hash::ZERO, &last).unwrap().leaves;
            assert!(listed.iter().map(|(key, _)| key).eq(&live), "seed {seed}, {version}");
        }
    }
}
