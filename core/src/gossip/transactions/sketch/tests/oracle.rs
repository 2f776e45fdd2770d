//! Our sketches against those of somebody else's implementation of the paper, symbol by symbol, with our hash in it.

use std::collections::BTreeSet;

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use riblt::{CodedSymbol, RatelessIBLT, UnmanagedRatelessIBLT};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{Comparison, MAX_SYMBOLS, PairKey, Progress, ShortId, Symbol, compare, ids, set, sketch};

/// The one key that the other implementation can know.
fn key() -> PairKey {
    PairKey::new(6, 7)
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Item(ShortId);

impl riblt::Symbol for Item {
    const BYTE_ARRAY_LENGTH: usize = 8;

    fn encode_to_bytes(&self) -> Vec<u8> {
        self.0.0.to_vec()
    }

    fn decode_from_bytes(bytes: &Vec<u8>) -> Self {
        Self(ShortId(bytes[..].try_into().unwrap()))
    }

    fn hash_(&self) -> u64 {
        key().trace(&self.0)
    }
}

type Theirs = RatelessIBLT<Item, Vec<Item>>;

fn theirs(ids: &BTreeSet<ShortId>) -> Theirs {
    RatelessIBLT::new(ids.iter().copied().map(Item).collect())
}

fn ours(symbol: &CodedSymbol<Item>) -> Symbol {
    let [a, b, c, d, ..] = symbol.hash.to_le_bytes();
    let count = i32::try_from(symbol.count).unwrap();
    Symbol { ids: symbol.sum[..].try_into().unwrap(), checksum: [a, b, c, d], count }
}

#[test]
fn the_symbols_are_those_of_another_implementation() {
    for (seed, count) in [(0, 0), (1, 1), (2, 2), (3, 50), (4, 1_000), (5, 4_096)] {
        let set = set(&[&ids(&mut ChaCha8Rng::seed_from_u64(seed), count)]);
        let (mine, mut other) = (sketch(&key(), set.iter().copied(), MAX_SYMBOLS), theirs(&set));
        for (index, symbol) in mine.iter().enumerate() {
            assert_eq!(*symbol, ours(&other.get_coded_symbol(index)), "symbol {index} of {count} ids");
        }
    }
}

#[test]
fn both_find_the_same_difference_in_as_many_symbols() {
    for seed in 0..40 {
        let mut rng = ChaCha8Rng::seed_from_u64(100 + seed);
        let mut count = |most: u64| (rng.next_u64() % (most + 1)) as usize;
        let counts = [count(1_000), count(60), count(60)];
        let [shared, mine, other] = counts.map(|count| ids(&mut rng, count));
        let (we, they) = (set(&[&shared, &mine]), set(&[&shared, &other]));
        let symbols = sketch(&key(), they.iter().copied(), MAX_SYMBOLS);
        let (outcome, _) = compare(&key(), we.clone(), &symbols);
        let Progress::Done(found) = outcome else { panic!("seed {seed}: {outcome:?}") };

        // One symbol more each time, until each can.
        let mut step = Comparison::new(key(), we.clone());
        let needed = 1 + symbols.iter().position(|it| step.add(&[*it]) != Progress::More).unwrap();
        let (mut local, mut remote) = (theirs(&we), theirs(&they));
        let decodes = |local: &mut Theirs, remote: &mut Theirs, count: usize| {
            let mut short = UnmanagedRatelessIBLT::new();
            (0..count).for_each(|index| short.add_coded_symbol(&remote.get_coded_symbol(index)));
            let mut rest = local.collapse(&short);
            let peeled = rest.peel_all_symbols();
            rest.is_empty().then_some(peeled)
        };
        assert!(needed == 1 || decodes(&mut local, &mut remote, needed - 1).is_none(), "seed {seed}");
        let peeled = decodes(&mut local, &mut remote, needed).expect("it decodes there too");
        let named = format!("{peeled:?}");
        assert_eq!(peeled.len(), found.ours.len() + found.theirs.len(), "seed {seed}: {named}");
        for (side, shorts) in [("Local", &found.ours), ("Remote", &found.theirs)] {
            for short in shorts {
                let expected = format!("{side}({:?})", Item(*short));
                assert!(named.contains(&expected), "seed {seed}: {expected} is not in {named}");
            }
        }
    }
}
