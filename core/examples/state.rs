//! How fast the trie is changed, and how fast a state is taken over in ranges, against hashing alone and against `jmt`.
//!
//! On 100,000 accounts, one thread. *Update* sets 400 accounts; `jmt`, natively only, computes the same update with
//! BLAKE3 on its own store in memory, and is not timed when it writes to that store. *Apply* decodes the range proofs
//! of the whole state, 4,096 accounts each, verifies them and puts the trie together. What is hashed in both cases, leaf
//! by leaf and branch by branch, is hashed again with nothing around it. All take turns; the results are ratios.

mod platform;

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
};

use chacha20::ChaCha8Rng;
use platform::{millis, report, say};
use rand_core::{Rng, SeedableRng};
use weft_core::{
    primitives::{Amount, Hash, decode, encode},
    state::{Account, RangeProof, Trie},
};

const ACCOUNTS: u32 = 100_000;
const CHANGED: usize = 400;
const UPDATES: usize = 40;
const LEAVES: usize = 4096;
const ROUNDS: usize = 11;
const LAST: Hash = Hash([255; 32]);

type Accounts = BTreeMap<Hash, Account>;

/// The trie that ours is compared with, holding the same accounts.
#[cfg(not(target_arch = "wasm32"))]
mod other {
    use jmt::{JellyfishMerkleTree, KeyHash, SimpleHasher, mock::MockTreeStore, storage::TreeWriter};
    use weft_core::primitives::encode;

    use super::{Accounts, millis};

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

    #[derive(Default)]
    pub(crate) struct Other {
        store: MockTreeStore,
        version: u64,
    }

    impl Other {
        /// What computing this update took.
        pub(crate) fn update(&mut self, changes: &Accounts) -> Option<f64> {
            let values: Vec<_> =
                changes.iter().map(|(key, account)| (KeyHash(key.0), Some(encode(account)))).collect();
            let start = millis();
            let tree = JellyfishMerkleTree::<_, Blake3>::new(&self.store);
            let (_, update) = tree.put_value_set(values, self.version).expect("all nodes are in the store");
            let took = millis() - start;
            self.store.write_node_batch(&update.node_batch).expect("each node is written once");
            self.version += 1;
            Some(took)
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod other {
    #[derive(Default)]
    pub(crate) struct Other {}

    impl Other {
        pub(crate) fn update(&mut self, _: &super::Accounts) -> Option<f64> {
            None
        }
    }
}

/// The branches on the paths of these keys, as their bits and prefixes.
fn branches<'a>(trie: &Trie, keys: impl Iterator<Item = &'a Hash>) -> usize {
    let mut seen = BTreeSet::new();
    for key in keys {
        let proof = encode(&trie.prove(key).expect("a whole trie"));
        let (count, path) = proof.split_at(4);
        let count = u32::from_le_bytes(count.try_into().expect("four bytes")) as usize;
        for branch in path.chunks(33).take(count) {
            let bit = branch[0];
            let prefix: Vec<bool> = (0..bit).map(|bit| key.bit(bit)).collect();
            seen.insert((bit, prefix));
        }
    }
    seen.len()
}

/// What hashing so many leaves and so many branches took, and the leaves alone.
fn hashing(leaves: usize, branches: usize) -> (f64, f64) {
    let start = millis();
    let mut leaf = [0; 49];
    for index in 0..leaves {
        leaf[1..9].copy_from_slice(&(index as u64).to_le_bytes());
        black_box(Hash::of(black_box(&leaf)));
    }
    let alone = millis() - start;
    let (mut branch, mut key) = ([0; 64], *b"weft/state/branch_______________");
    for index in 0..branches {
        branch[..8].copy_from_slice(&(index as u64).to_le_bytes());
        key[31] = index as u8 % 17;
        black_box(Hash::keyed(&key, black_box(&branch)));
    }
    (millis() - start, alone)
}

/// What taking over a state from its encoded ranges took.
fn apply(root: &Hash, ranges: &[Vec<u8>]) -> f64 {
    let start = millis();
    let (mut trie, mut from) = (Trie::default(), Some(Hash::ZERO));
    for bytes in ranges {
        let proof: RangeProof = decode(bytes, RangeProof::MAX_LEN).expect("made here");
        let verified = proof.verify(root, &from.expect("not the last"), &LAST).expect("a true proof");
        trie = trie.merge(&verified.part).expect("no part has stubs");
        from = verified.next;
    }
    assert_eq!((trie.root(), from), (*root, None));
    millis() - start
}

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let rich = Account { nonce: 0, balance: Amount(1 << 40) };
    let accounts: Accounts = (0..ACCOUNTS).map(|index| (Hash::of(&index.to_le_bytes()), rich)).collect();
    let mut trie = Trie::default().update(&accounts).expect("a whole trie");
    let mut other = other::Other::default();
    other.update(&accounts);

    let (mut updates, mut updates_jmt) = (Vec::new(), Vec::new());
    for nonce in 0..ROUNDS as u64 {
        let (mut own, mut hashed, mut theirs) = (0.0, 0.0, None);
        for _ in 0..UPDATES {
            let mut changes = Accounts::new();
            while changes.len() < CHANGED {
                let key = Hash::of(&(rng.next_u32() % ACCOUNTS).to_le_bytes());
                changes.insert(key, Account { nonce: nonce + 1, balance: Amount(rng.next_u64() >> 1) });
            }
            let branches = branches(&trie, changes.keys());
            let start = millis();
            let next = trie.update(&changes).expect("a whole trie");
            own += millis() - start;
            hashed += hashing(CHANGED, branches).0;
            if let Some(took) = other.update(&changes) {
                theirs = Some(theirs.unwrap_or(0.0) + took);
            }
            trie = next;
        }
        let per = |time: f64| time / UPDATES as f64;
        updates.push((per(own), per(hashed)));
        updates_jmt.extend(theirs.map(|theirs| (per(own), per(theirs))));
    }
    say(&format!("{CHANGED} accounts set among {ACCOUNTS}, {ROUNDS} rounds of {UPDATES} updates"));
    report("update", "hashing", updates);
    if !updates_jmt.is_empty() {
        report("update", "jmt", updates_jmt);
    }

    let (root, mut ranges, mut from) = (trie.root(), Vec::new(), Some(Hash::ZERO));
    while let Some(start) = from {
        let proof = trie.prove_range(&start, &LAST, LEAVES).expect("a whole trie");
        ranges.push(encode(&proof));
        from = proof.verify(&root, &start, &LAST).expect("a true proof").next;
    }
    let bytes: usize = ranges.iter().map(Vec::len).sum();
    let leaves = ACCOUNTS as usize;
    say(&format!(
        "the state of {ACCOUNTS} accounts in {} ranges: {bytes} bytes, {:.4} of its leaves'",
        ranges.len(),
        bytes as f64 / (48 * leaves) as f64
    ));
    let (mut both, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (hashed, leaves_only) = hashing(leaves, leaves - 1);
        let took = apply(&root, &ranges);
        both.push((took, hashed));
        alone.push((took, leaves_only));
    }
    report("apply", "hashing leaves and branches", both);
    report("apply", "hashing leaves", alone);
}
