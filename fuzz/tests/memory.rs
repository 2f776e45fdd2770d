//! No target needs much more memory than the bytes it is given. A test of its own, since memory is counted for a whole process.

use peak_alloc::PeakAlloc;
use weft_fuzz::{Mutator, TARGETS, Target};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a value needs in memory for each of its bytes: keys of maps, vectors within vectors, and a copy.
const PER_BYTE: usize = 16;
/// What a target needs anyhow: batches of signatures, a sample's record at hand, and 1 MiB that borsh reserves for bytes.
const ANYHOW: usize = (1 << 20) + (256 << 10);
/// A whole peer, and its transaction relay, also keep what they have learnt.
const NODE: usize = 32 << 20;

fn held(target: &Target, input: &[u8]) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    (target.run)(input);
    let needed = MEMORY.peak_usage().saturating_sub(before);
    let keeps = matches!(target.name, "node" | "transaction_relay" | "meeting_place" | "meeting_guest");
    let bound = PER_BYTE * input.len() + if keeps { NODE } else { ANYHOW };
    assert!(needed <= bound, "{} needs {needed} bytes for {}", target.name, input.len());
}

#[test]
fn memory_follows_what_was_received_never_what_it_claims() {
    let mut mutator = Mutator::new(1);
    // What that one keeps it writes itself.
    for target in TARGETS.iter().filter(|target| target.name != "journal") {
        let seeds = (target.seeds)();
        // What the targets keep for all their runs is made once.
        for seed in &seeds {
            (target.run)(seed);
        }
        for seed in &seeds {
            held(target, seed);
            for _ in 0..10 {
                held(target, &mutator.spoil(seed, seed));
            }
        }
        // A long tail of one byte behind the beginning of something valid: the cheapest elements there are.
        for seed in seeds.iter().filter(|seed| seed.len() < 4096) {
            for keep in [0, 1, 2, 5, 8, 9, 37, 69] {
                for fill in [0, 1, 0xff] {
                    let mut long = seed[..keep.min(seed.len())].to_vec();
                    long.extend(u32::to_le_bytes(90_000));
                    long.resize(100 << 10, fill);
                    held(target, &long);
                }
            }
        }
    }
}
