//! Every target on its seeds, on what is cut from them, and on many mutations: the same ones in every run.
#![expect(clippy::unwrap_used, reason = "a test may")]

use weft_fuzz::{Mutator, TARGETS, Target};

/// How many bytes of mutations each target sees.
const BYTES: usize = 4 << 20;
/// At most so many mutations, and at least a tenth of them.
const ROUNDS: usize = 4_000;

/// What fails is told with the input, so that it can be tried again.
fn run(target: &Target, input: &[u8]) -> bool {
    let outcome = std::panic::catch_unwind(|| (target.run)(input));
    outcome.unwrap_or_else(|_| panic!("{} fails on {}", target.name, hex(input)))
}

fn hex(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(4096).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes: {shown}", bytes.len())
}

/// Truncations, all single bits where that is not too much, and mutations.
fn torture(target: &Target) {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        assert!(run(target, seed), "{} refuses its seed {}", target.name, hex(seed));
        run(target, &[&seed[..], &[0]].concat());
        for cut in (0..seed.len()).step_by(seed.len() / 32 + 1) {
            run(target, &seed[..cut]);
        }
    }
    let mean = seeds.iter().map(Vec::len).sum::<usize>() / seeds.len() + 1;
    let rounds = (BYTES / mean).clamp(ROUNDS / 20, ROUNDS);
    let mut mutator = Mutator::new(0x77_65_66_74);
    for _ in 0..rounds {
        let (seed, other) = (mutator.pick(&seeds).unwrap().clone(), mutator.pick(&seeds).unwrap().clone());
        run(target, &mutator.spoil(&seed, &other));
    }
}

/// The targets are shared out so that they run at the same time.
fn share(of: usize, at: usize) {
    TARGETS.iter().skip(at).step_by(of).for_each(torture);
}

#[test]
fn no_mutation_breaks_the_targets_in_the_first_share() {
    share(4, 0);
}

#[test]
fn no_mutation_breaks_the_targets_in_the_second_share() {
    share(4, 1);
}

#[test]
fn no_mutation_breaks_the_targets_in_the_third_share() {
    share(4, 2);
}

#[test]
fn no_mutation_breaks_the_targets_in_the_fourth_share() {
    share(4, 3);
}

#[test]
fn every_target_has_a_binary_of_its_name() {
    let manifest = include_str!("../Cargo.toml");
    for target in TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{target:?}");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
}
