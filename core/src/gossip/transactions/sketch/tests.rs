//! The exact difference, whatever the sets; and what lies decode to.

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

mod oracle;

fn ids(rng: &mut ChaCha8Rng, count: usize) -> Vec<ShortId> {
    (0..count).map(|_| ShortId(rng.next_u64().to_le_bytes())).collect()
}

fn set(parts: &[&[ShortId]]) -> BTreeSet<ShortId> {
    parts.iter().flat_map(|part| part.iter().copied()).collect()
}

/// Compares, taking symbols in doubling batches as the relay does. Returns the outcome and how many symbols it took.
fn compare(key: &PairKey, ours: BTreeSet<ShortId>, symbols: &[Symbol]) -> (Progress, usize) {
    let mut comparison = Comparison::new(key.clone(), ours);
    let mut next = 16;
    while comparison.len() < symbols.len() {
        let batch = &symbols[comparison.len()..next.min(symbols.len())];
        match comparison.add(batch) {
            Progress::More => next = 2 * comparison.len(),
            ended => return (ended, comparison.len()),
        }
    }
    (Progress::More, comparison.len())
}

#[test]
fn reconciliation_yields_the_exact_difference() {
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let key = PairKey::new(rng.next_u64(), rng.next_u64());
        let mut count = |most: u64| (rng.next_u64() % (most + 1)) as usize;
        let (shared, mine, other) = (count(3000), count(150), count(150));
        let [shared, mine, other] = [shared, mine, other].map(|count| ids(&mut rng, count));
        let theirs = sketch(&key, set(&[&shared, &other]), MAX_SYMBOLS);
        let (outcome, taken) = compare(&key, set(&[&shared, &mine]), &theirs);
        let expected = Difference {
            theirs: set(&[&other]).into_iter().collect(),
            ours: set(&[&mine]).into_iter().collect(),
        };
        assert_eq!(outcome, Progress::Done(expected), "seed {seed}");
        let difference = mine.len() + other.len();
        assert!(taken <= 16 || taken <= 4 * difference, "seed {seed}: {taken} symbols for {difference}");
    }
}

#[test]
fn the_symbols_an_id_of_the_difference_costs_are_near_the_papers() {
    let mut total = 0;
    for seed in 0..20 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let key = PairKey::new(seed, 1);
        let (shared, other) = (ids(&mut rng, 500), ids(&mut rng, 300));
        let theirs = sketch(&key, set(&[&shared, &other]), MAX_SYMBOLS);
        let mut comparison = Comparison::new(key, set(&[&shared]));
        total += 1 + theirs
            .iter()
            .position(|symbol| comparison.add(std::slice::from_ref(symbol)) != Progress::More)
            .expect("300 fit");
    }
    let each = total as f64 / (20.0 * 300.0);
    assert!((1.2..1.5).contains(&each), "{each} symbols an id");
}

#[test]
fn equal_sets_and_empty_ones_need_one_batch() {
    let key = PairKey::new(1, 2);
    let some = ids(&mut ChaCha8Rng::seed_from_u64(3), 100);
    for one in [set(&[]), set(&[&some])] {
        let symbols = sketch(&key, one.iter().copied(), 16);
        assert_eq!(compare(&key, one, &symbols), (Progress::Done(Difference::default()), 16));
    }
    assert_eq!(Comparison::new(key, set(&[])).add(&[]), Progress::More, "nothing proves nothing");
}

#[test]
fn a_difference_past_the_cap_does_not_decode() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let key = PairKey::new(1, 2);
    let theirs = sketch(&key, ids(&mut rng, 3000), MAX_SYMBOLS);
    assert_eq!(compare(&key, set(&[]), &theirs), (Progress::More, MAX_SYMBOLS));
}

#[test]
fn symbols_that_no_set_has_are_junk_or_never_decode() {
    let key = PairKey::new(1, 2);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let ours = ids(&mut rng, 50);
    let alone = |short: ShortId, count| {
        let walker = Walker::new(&key, short);
        Symbol { ids: walker.short.0, checksum: walker.checksum, count }
    };
    let stranger = ids(&mut rng, 1)[0];
    let mut against_empty = Comparison::new(key.clone(), BTreeSet::new());
    assert_eq!(against_empty.add(&[alone(stranger, -1)]), Progress::Junk, "we do not have it");
    let mut has_it = Comparison::new(key.clone(), set(&[&ours]));
    let mut symbols = sketch(&key, ours.iter().copied(), 4);
    combine(&mut symbols[0], &alone(ours[0], 1));
    assert_eq!(has_it.add(&symbols), Progress::Junk, "we have it too");
    for seed in 0..100 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut comparison = Comparison::new(key.clone(), set(&[&ours]));
        // Half of them with a true checksum and a count that makes them look single.
        let symbols: Vec<_> = (0..MAX_SYMBOLS + 5)
            .map(|index| {
                let our_count = comparison.symbols.get(index).map_or(0, |symbol| symbol.count);
                let short = ShortId(rng.next_u64().to_le_bytes());
                let mut symbol = alone(short, [1, -1, i32::MAX, i32::MIN][index % 4]);
                if index % 2 == 0 {
                    symbol.count = symbol.count.wrapping_add(our_count);
                }
                symbol
            })
            .collect();
        let outcome = comparison.add(&symbols);
        assert!(matches!(outcome, Progress::Junk | Progress::More), "seed {seed}: {outcome:?}");
        assert!(comparison.recovered.len() <= MAX_SYMBOLS);
    }
}

#[test]
fn golden_symbols() {
    let key = PairKey::new(1, 2);
    let symbols = sketch(&key, [ShortId([1; 8]), ShortId([2; 8]), ShortId([3; 8])], 6);
    let text: Vec<_> = symbols.iter().map(|symbol| hex::encode(crate::primitives::encode(symbol))).collect();
    let expected = [
        "00000000000000003cce08e303000000",
        "00000000000000003cce08e303000000",
        "010101010101010115a9bb9c02000000",
        "00000000000000000000000000000000",
        "0303030303030303331d45f401000000",
        "02020202020202021a7af68b02000000",
    ];
    assert_eq!(text, expected);
}
