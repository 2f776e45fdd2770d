//! The trie against a model that knows nothing of its tricks.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod proofs;
mod ranges;
mod small_ranges;

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::{proof::Sibling, *};
use crate::primitives::{Amount, Hasher, decode, encode};

type Accounts = BTreeMap<Hash, Account>;

/// The root by its definition, from scratch and bit by bit.
fn naive_root(accounts: &Accounts) -> Hash {
    fn part(accounts: &[(&Hash, &Account)], bit: u8) -> Hash {
        if let [(key, account)] = accounts {
            return Hasher::tagged(&[0])
                .add(&key.0)
                .add(&account.nonce.to_le_bytes())
                .add(&account.balance.0.to_le_bytes())
                .finish();
        }
        let (right, left): (Vec<_>, Vec<_>) = accounts.iter().partition(|(key, _)| key.bit(bit));
        if left.is_empty() || right.is_empty() {
            return part(accounts, bit.wrapping_add(1));
        }
        let sides = [left, right].map(|side| part(&side, bit.wrapping_add(1)).0);
        Hash::keyed(
            &[b"weft/state/branch______________".as_slice(), &[bit]].concat().try_into().unwrap(),
            &sides.concat(),
        )
    }
    let existing: Vec<_> = accounts.iter().filter(|(_, account)| !account.is_absent()).collect();
    if existing.is_empty() { Hasher::tagged(&[2]).finish() } else { part(&existing, 0) }
}

/// Keys that share prefixes of every length, so that all kinds of edges appear.
struct Keys {
    rng: ChaCha8Rng,
    known: Vec<Hash>,
}

impl Keys {
    fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), known: vec![Hash::ZERO, Hash([255; 32])] }
    }

    fn below(&mut self, end: usize) -> usize {
        (self.rng.next_u64() % end as u64) as usize
    }

    fn next(&mut self) -> Hash {
        let at = self.below(self.known.len());
        let mut key = self.known[at];
        match self.below(4) {
            0 => return key,
            1 => self.rng.fill_bytes(&mut key.0),
            _ => {
                let bit = self.below(256);
                key.0[bit / 8] ^= 128 >> (bit % 8);
                if self.below(2) == 0 {
                    self.rng.fill_bytes(&mut key.0[bit / 8 + 1..]);
                }
            }
        }
        self.known.push(key);
        key
    }

    fn account(&mut self) -> Account {
        match self.below(3) {
            0 => Account::default(),
            _ => Account { nonce: self.rng.next_u64() % 3, balance: Amount(self.rng.next_u64() % 3) },
        }
    }

    fn changes(&mut self, most: usize) -> Accounts {
        (0..self.below(most + 1)).map(|_| (self.next(), self.account())).collect()
    }
}

fn apply(model: &mut Accounts, changes: &Accounts) {
    model.extend(changes);
    model.retain(|_, account| !account.is_absent());
}

fn of(accounts: &Accounts) -> Trie {
    Trie::default().update(accounts).unwrap()
}

fn key(first: u8) -> Hash {
    let mut bytes = [0; 32];
    bytes[0] = first;
    Hash(bytes)
}

fn account(nonce: u64, balance: u64) -> Account {
    Account { nonce, balance: Amount(balance) }
}

#[test]
fn golden_roots() {
    let mut trie = Trie::default();
    assert_eq!(trie.root().to_string(), "ab13bedf42e84bae0f7c62c7dd6a8ada571e8829bed6ea558217f0361b5e25d0");
    trie = trie.update(&Accounts::from([(key(0x80), account(1, 2))])).unwrap();
    assert_eq!(trie.root().to_string(), "a1d198e60a19248f2ed93379af71be9bcf5873d5542ad94739ba683dc8bfe65b");
    let more = [(key(0x81), account(0, 1)), (key(0x01), account(u64::MAX, 0))];
    trie = trie.update(&Accounts::from(more)).unwrap();
    assert_eq!(trie.root().to_string(), "a23119779af85558af6f3d179eef99bff94b46709ac4aa6aa377ec0d47ad9702");
}

#[test]
fn updates_agree_with_a_model_rebuilt_each_time() {
    for seed in 0..150 {
        let mut keys = Keys::new(seed);
        let (mut trie, mut model) = (Trie::default(), Accounts::new());
        for _ in 0..12 {
            let changes = keys.changes(20);
            trie = trie.update(&changes).unwrap();
            apply(&mut model, &changes);
            assert_eq!(trie.root(), naive_root(&model), "seed {seed}");
        }
        for key in &keys.known {
            assert_eq!(trie.get(key).unwrap(), model.get(key).copied().unwrap_or_default());
        }
    }
}

#[test]
fn the_order_of_changes_does_not_matter() {
    for seed in 0..50 {
        let mut keys = Keys::new(seed);
        let accounts = keys.changes(60);
        let mut order: Vec<_> = accounts.iter().collect();
        for last in (1..order.len()).rev() {
            order.swap(last, keys.below(last + 1));
        }
        let mut trie = Trie::default();
        for (key, account) in order {
            trie = trie.update(&Accounts::from([(*key, *account)])).unwrap();
        }
        assert_eq!(trie.root(), of(&accounts).root(), "seed {seed}");
    }
}

#[test]
fn undoing_changes_restores_the_root() {
    for seed in 0..100 {
        let mut keys = Keys::new(seed);
        let before = of(&keys.changes(60));
        let changes = keys.changes(30);
        let undo = changes.keys().map(|key| (*key, before.get(key).unwrap())).collect();
        let after = before.update(&changes).unwrap();
        assert_eq!(after.update(&undo).unwrap().root(), before.root(), "seed {seed}");
    }
}

#[test]
fn changes_that_change_nothing_share_all_nodes() {
    let trie = of(&Keys::new(1).changes(60));
    let absent = Hash::of(b"absent");
    let same = Accounts::from([(Hash::ZERO, trie.get(&Hash::ZERO).unwrap()), (absent, Account::default())]);
    let updated = trie.update(&same).unwrap();
    assert!(Arc::ptr_eq(updated.0.as_ref().unwrap(), trie.0.as_ref().unwrap()));
}

#[test]
fn a_witness_reads_and_updates_like_the_whole() {
    for seed in 0..400 {
        let mut keys = Keys::new(seed);
        let whole = of(&keys.changes(80));
        let changes = keys.changes(12);
        let mut touched: BTreeSet<_> = changes.keys().copied().collect();
        touched.extend((0..3).map(|_| keys.next()));

        let sent = encode(&whole.witness(&touched));
        let witness: Trie = decode(&sent, sent.len()).unwrap();
        assert_eq!(witness.root(), whole.root(), "seed {seed}");
        for key in &touched {
            assert_eq!(witness.get(key), whole.get(key), "seed {seed}");
        }

        let expected = whole.update(&changes).unwrap();
        let returned = encode(&witness.update(&changes).unwrap());
        let partial: Trie = decode(&returned, returned.len()).unwrap();
        assert_eq!(partial.root(), expected.root(), "seed {seed}");
        let grafted = partial.graft(&whole, &touched);
        for key in &keys.known {
            assert_eq!(grafted.get(key), expected.get(key), "seed {seed}");
        }
        // What was grafted can go on as if it had never been cut.
        let more = keys.changes(30);
        assert_eq!(grafted.update(&more).unwrap().root(), expected.update(&more).unwrap().root());
    }
}

#[test]
fn what_a_witness_leaves_out_is_not_guessed() {
    let whole = of(&Accounts::from([(key(0), account(1, 1)), (key(0x80), account(2, 2))]));
    let witness = whole.witness(&BTreeSet::from([key(0)]));
    assert_eq!(witness.get(&key(0x80)), Err(StubReached));
    assert_eq!(witness.update(&Accounts::from([(key(0xc0), account(1, 1))])).unwrap_err(), StubReached);
    assert_eq!(whole.witness(&BTreeSet::new()).get(&key(0)), Err(StubReached));
    assert_eq!(Trie::default().witness(&BTreeSet::from([key(0)])).get(&key(0)), Ok(Account::default()));
}

#[test]
fn a_witness_is_small() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut accounts = Accounts::new();
    for _ in 0..4096 {
        let mut key = Hash::ZERO;
        rng.fill_bytes(&mut key.0);
        accounts.insert(key, account(1, 1));
    }
    let touched = accounts.keys().step_by(400).copied().collect();
    assert!(encode(&of(&accounts).witness(&touched)).len() < 11 * 20 * 35);
}

#[test]
fn a_whole_trie_round_trips_through_bytes() {
    for seed in 0..50 {
        let trie = of(&Keys::new(seed).changes(60));
        let bytes = encode(&trie);
        let decoded: Trie = decode(&bytes, bytes.len()).unwrap();
        assert_eq!(decoded.root(), trie.root());
        assert_eq!(encode(&decoded), bytes);
    }
    assert_eq!(encode(&Trie::default()), [0]);
}

fn refusal(parts: &[&[u8]]) -> String {
    let bytes = parts.concat();
    decode::<Trie>(&bytes, bytes.len()).unwrap_err().to_string()
}

fn leaf(key: Hash, account: Account) -> Vec<u8> {
    encode(&(1_u8, key, account))
}

#[test]
fn bytes_that_no_update_makes_are_refused() {
    let one = account(1, 1);
    let (zero, low, high) = (leaf(key(0), one), leaf(key(1), one), leaf(key(0x80), one));
    let stub = [[3].as_slice(), &[7; 32]].concat();
    assert!(decode::<Trie>(&[&[2, 0], zero.as_slice(), &high].concat(), 200).is_ok());
    assert!(refusal(&[&[9]]).contains("no such kind"));
    assert!(refusal(&[&leaf(key(0), Account::default())]).contains("without an account"));
    assert!(refusal(&[&[2, 0], &high, &zero]).contains("wrong side"));
    assert!(refusal(&[&[2, 0], &zero, &low]).contains("wrong side"));
    assert!(refusal(&[&[2, 7], &zero, &leaf(key(0x81), one)]).contains("part before"));
    assert!(refusal(&[&[2, 5, 2, 5], &zero, &zero, &zero]).contains("does not come after"));
    assert!(refusal(&[&[2, 255, 2, 255], &zero, &zero, &zero]).contains("does not come after"));
    assert!(refusal(&[&[2, 0], &stub, &stub]).contains("without its prefix"));
    assert!(refusal(&[&[4, 7], &[1; 32], &[7; 64]]).contains("a prefix longer"));
    assert!(refusal(&[&[2, 0], &zero]).contains("malformed"));
    assert!(refusal(&[&[2, 0, 0], &high]).contains("no such kind"));
    assert!(refusal(&[&zero, &[0]]).contains("malformed"));
}

#[test]
fn decoding_hostile_bytes_ends_early_and_never_panics() {
    let deep: Vec<u8> = (0..=255).flat_map(|bit| [2, bit]).chain([2, 255].repeat(100_000)).collect();
    assert!(refusal(&[&deep]).contains("does not come after"));

    let good = encode(&of(&Keys::new(3).changes(40)).witness(&BTreeSet::from([Hash::ZERO])));
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..2000 {
        let mut bytes = good.clone();
        let at = (rng.next_u64() % bytes.len() as u64) as usize;
        bytes[at] = rng.next_u64() as u8;
        if let Ok(trie) = decode::<Trie>(&bytes, bytes.len()) {
            assert_eq!(encode(&trie), bytes);
        }
    }
}
