//! Ranges and their proofs against trees built from scratch.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::primitives::{Hasher, decode, encode};

fn header(index: u64) -> Hash {
    Hash::of(&index.to_le_bytes())
}

fn known(below: u64) -> impl Fn(u64) -> Option<Hash> {
    move |index| (index < below).then(|| header(index))
}

fn range(count: u64) -> Mmr {
    let mut mmr = Mmr::default();
    (0..count).for_each(|index| mmr.push(&header(index)));
    mmr
}

/// The root of a perfect tree, by its definition.
fn perfect(headers: &[Hash]) -> Hash {
    match headers {
        [header] => Hasher::tagged(&[0]).add(&header.0).finish(),
        _ => {
            let (left, right) = headers.split_at(headers.len() / 2);
            Hasher::tagged(&[1]).add(&perfect(left).0).add(&perfect(right).0).finish()
        }
    }
}

#[test]
fn peaks_are_the_perfect_trees_of_the_count() {
    let headers: Vec<_> = (0..300).map(header).collect();
    let mut mmr = Mmr::default();
    for count in 0..=headers.len() {
        let mut start = 0;
        let trees: Vec<_> = (0..9)
            .rev()
            .filter(|height| count >> height & 1 == 1)
            .map(|height| {
                let tree = perfect(&headers[start..start + (1 << height)]);
                start += 1 << height;
                tree
            })
            .collect();
        assert_eq!(mmr.peaks(), trees);
        assert_eq!(Mmr::from_peaks(count as u64, trees.clone()), Some(mmr.clone()));
        assert_eq!(Mmr::from_peaks(count as u64 ^ 1, trees), None);
        mmr.push(&header(count as u64));
    }
}

#[test]
fn a_range_round_trips_through_bytes_with_as_many_peaks_as_its_count_tells() {
    for count in 0..70 {
        let bytes = encode(&range(count));
        assert_eq!(bytes.len(), 8 + 32 * count.count_ones() as usize);
        assert_eq!(decode(&bytes, bytes.len()), Ok(range(count)));
        let more = [bytes.as_slice(), &[0; 32]].concat();
        assert!(decode::<Mmr>(&more, more.len()).is_err());
        assert!(count == 0 || decode::<Mmr>(&bytes[..bytes.len() - 32], bytes.len()).is_err());
    }
}

#[test]
fn every_header_is_proven_in_every_range_whatever_the_prover_keeps() {
    let full = 150;
    for grown in [0, 31, 32, 33, 64, 100, full] {
        let mut prover = MmrProver::default();
        prover.grow(grown, known(full)).unwrap();
        assert_eq!(prover.count(), grown / 32 * 32);
        for count in 1..=full {
            let root = range(count).root();
            for index in 0..count {
                let proof = prover.prove(index, count, known(count)).unwrap();
                assert!(
                    proof.verify(&root, count, index, &header(index)),
                    "{index} of {count}, {grown} kept"
                );
                let bytes = encode(&proof);
                assert_eq!(decode(&bytes, MmrProof::MAX_LEN), Ok(proof));
            }
        }
    }
}

#[test]
fn golden_proof() {
    let headers = |index: u64| Some(Hash([index as u8; 32]));
    let proof = MmrProver::default().prove(2, 7, headers).unwrap();
    let siblings = "7e14f3d3c9ad356fc347f27541758e9af6fa7b71480d1933065abd0b649f3f8d\
                    601ae0d333efaf511cc72652be96836dc134955fc1c681ff185f99b5a12b2ae5";
    let peaks = "d993d7ac6d208137a208b26a711fa8f4b441ab99a78f7c32f150995c2f4f5773\
                 0d604e0af588009fa5babdae6568deb547e996f0c3232dade6df0c5433163b07";
    assert_eq!(hex::encode(encode(&proof)), format!("02000000{siblings}02000000{peaks}"));
}

#[test]
fn growing_by_steps_keeps_what_growing_at_once_keeps() {
    let mut stepwise = MmrProver::default();
    for count in 0..=2200 {
        stepwise.grow(count, known(count)).unwrap();
    }
    let mut at_once = MmrProver::default();
    at_once.grow(2200, known(2200)).unwrap();
    assert_eq!(stepwise.levels, at_once.levels);
    assert_eq!(MmrProver::restore(at_once.trees().iter().copied()).levels, at_once.levels);
    assert!(stepwise.levels.iter().map(Vec::len).sum::<usize>() * 32 <= 2 * 2200);
}

#[test]
fn proving_asks_for_few_headers() {
    let mut prover = MmrProver::default();
    prover.grow(2048, known(2048)).unwrap();
    for (index, count, most) in [(0, 2048, 31), (1000, 2047, 62), (2047, 2048, 31), (2040, 2047, 30)] {
        let mut asked = 0;
        let counted = |index| {
            asked += 1;
            known(count)(index)
        };
        let proof = prover.prove(index, count, counted).unwrap();
        assert!(proof.verify(&range(count).root(), count, index, &header(index)));
        assert!(asked <= most, "{asked} headers for {index} of {count}");
    }
}

#[test]
fn what_is_not_there_is_not_proven() {
    let mut prover = MmrProver::default();
    prover.grow(40, known(40)).unwrap();
    let beyond = |index, count| prover.prove(index, count, known(40)).unwrap_err();
    assert_eq!(beyond(7, 7), MmrProveError::OutOfRange { index: 7, count: 7 });
    assert_eq!(beyond(0, 0), MmrProveError::OutOfRange { index: 0, count: 0 });
    assert_eq!(beyond(u64::MAX, u64::MAX), MmrProveError::OutOfRange { index: u64::MAX, count: u64::MAX });
    assert_eq!(beyond(3, 41), MmrProveError::Missing(40));
    assert!(matches!(beyond(3, u64::MAX), MmrProveError::Missing(_)));
    assert_eq!(prover.prove(3, 32, |_| None), Err(MmrProveError::Missing(2)));
    assert_eq!(prover.grow(100, known(70)), Err(MmrProveError::Missing(70)));
    assert_eq!(prover.count(), 64);
}

#[test]
fn a_proof_holds_for_its_header_place_count_and_root_only() {
    let prover = MmrProver::default();
    for count in 1..=20 {
        let root = range(count).root();
        for index in 0..count {
            let proof = prover.prove(index, count, known(count)).unwrap();
            for other in 0..24 {
                let place = proof.verify(&root, count, other, &header(index));
                assert_eq!(place, other == index, "{index} as {other} of {count}");
                assert_eq!(proof.verify(&root, count, index, &header(other)), other == index);
                assert_eq!(proof.verify(&root, other, index, &header(index)), other == count);
                assert_eq!(proof.verify(&range(other).root(), count, index, &header(index)), other == count);
            }
        }
    }
    let nothing: MmrProof = decode(&[0; 8], 8).unwrap();
    assert!(!nothing.verify(&range(0).root(), 0, 0, &header(0)));
    assert!(!nothing.verify(&range(1).root(), u64::MAX, u64::MAX, &header(0)));
}

/// `MmrProof` has no second form: each bit of it counts.
#[test]
fn a_proof_with_any_bit_flipped_is_refused() {
    for (index, count) in [(0, 1), (5, 16), (9, 11), (10, 11), (0, 23)] {
        let root = range(count).root();
        let bytes = encode(&MmrProver::default().prove(index, count, known(count)).unwrap());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(proof) = decode::<MmrProof>(&flipped, MmrProof::MAX_LEN) else { continue };
            assert!(!proof.verify(&root, count, index, &header(index)), "bit {bit} of {index} of {count}");
        }
    }
}

#[test]
fn a_proof_that_claims_more_hashes_than_there_can_be_is_refused_unread() {
    let hashes = |count: u32| [&count.to_le_bytes()[..], &vec![0; 32 * count as usize]].concat();
    for (siblings, peaks, fits) in [(64, 64, true), (65, 0, false), (0, 65, false)] {
        let bytes = [hashes(siblings), hashes(peaks)].concat();
        assert_eq!(decode::<MmrProof>(&bytes, usize::MAX).is_ok(), fits);
    }
    assert!(decode::<MmrProof>(&[255; 8], MmrProof::MAX_LEN).is_err());
}
