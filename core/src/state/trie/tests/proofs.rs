//! Account proofs against the model.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::primitives::DecodeError;

/// Each flip of one bit, if it still decodes.
pub(super) fn flips<T: BorshDeserialize>(bytes: &[u8]) -> impl Iterator<Item = (usize, T)> + '_ {
    (0..bytes.len() * 8).filter_map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        decode(&flipped, bytes.len()).ok().map(|value| (bit, value))
    })
}

fn prove(trie: &Trie, key: &Hash) -> AccountProof {
    let proof = trie.prove(key).unwrap();
    let bytes = encode(&proof);
    assert_eq!(decode(&bytes, AccountProof::MAX_LEN), Ok(proof.clone()));
    proof
}

/// Written out in `docs/FORMATS.md`.
#[test]
fn golden_proofs() {
    let trie = of(&Accounts::from([
        (key(0x80), account(1, 2)),
        (key(0x81), account(0, 1)),
        (key(0x01), account(u64::MAX, 0)),
    ]));
    let proof = |first| hex::encode(encode(&prove(&trie, &key(first))));
    let (low, high) = (
        "ad411d887d0a06e1ed18fa8f3c6f3fe1c771dc8941df3071c301ccb1bdadb750",
        "6f3521af40b65f377d424e11e40959dccfe08d2d1f636745965085f3222cd89c",
    );
    assert_eq!(proof(0x80), format!("0200000000{low}07{high}0101000000000000000200000000000000"));
    let (right, other) = ("0566bb548cc8921f967fee0031e4882a36c4944d39281e88da453aca64d56fbc", key(0x01));
    assert_eq!(proof(0x00), format!("0100000000{right}02{other}ffffffffffffffff0000000000000000"));
    assert_eq!(hex::encode(encode(&prove(&Trie::default(), &key(0)))), "0000000000");
}

#[test]
fn present_and_absent_accounts_are_proven() {
    for seed in 0..150 {
        let mut keys = Keys::new(seed);
        let (mut trie, mut model) = (Trie::default(), Accounts::new());
        for _ in 0..6 {
            let changes = keys.changes(20);
            trie = trie.update(&changes).unwrap();
            apply(&mut model, &changes);
            keys.next();
            for key in &keys.known {
                let expected = model.get(key).copied().unwrap_or_default();
                assert_eq!(prove(&trie, key).verify(&trie.root(), key), Ok(expected), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_witness_proves_what_it_holds_and_nothing_else() {
    for seed in 0..50 {
        let mut keys = Keys::new(seed);
        let whole = of(&keys.changes(60));
        let (held, other) = (keys.next(), Hash::of(&seed.to_le_bytes()));
        let witness = whole.witness(&BTreeSet::from([held]));
        assert_eq!(witness.prove(&held), whole.prove(&held), "seed {seed}");
        match witness.prove(&other) {
            Ok(proof) => assert_eq!(Ok(proof), whole.prove(&other)),
            Err(StubReached) => assert!(witness.get(&other).is_err()),
        }
    }
}

/// No proof says anything untrue of any key, and each of its bits counts.
#[test]
fn a_proof_says_what_is_true_or_is_refused() {
    for seed in 0..40 {
        let mut keys = Keys::new(seed);
        let trie = of(&keys.changes(1 << (seed % 6)));
        let (root, known) = (trie.root(), keys.known.clone());
        for proven in &known {
            let proof = prove(&trie, proven);
            for key in &known {
                if let Ok(said) = proof.verify(&root, key) {
                    assert_eq!(Ok(said), trie.get(key), "seed {seed}");
                }
            }
            assert_eq!(proof.verify(&Hash::ZERO, proven), Err(ProofError::Root));
        }
        for proven in [known[0], known[seed as usize % known.len()]] {
            for (bit, flipped) in flips::<AccountProof>(&encode(&prove(&trie, &proven))) {
                assert!(flipped.verify(&root, &proven).is_err(), "seed {seed}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_proof_of_another_state_is_refused() {
    let accounts = Accounts::from([(key(0), account(1, 1)), (key(0x80), account(2, 2))]);
    let (old, new) =
        (of(&accounts), of(&accounts).update(&Accounts::from([(key(0), account(1, 0))])).unwrap());
    assert_eq!(prove(&old, &key(0)).verify(&new.root(), &key(0)), Err(ProofError::Root));
    assert_eq!(prove(&old, &key(0x80)).verify(&new.root(), &key(0x80)), Err(ProofError::Root));
    assert_eq!(prove(&Trie::default(), &key(0)).verify(&new.root(), &key(0)), Err(ProofError::Root));
    assert_eq!(prove(&old, &key(0)).verify(&Trie::default().root(), &key(0)), Err(ProofError::Root));
}

/// Bytes by hand: what the proof's own fields cannot hold is refused before any hash is compared.
#[test]
fn proofs_of_no_trie_are_refused() {
    let judge = |parts: &[&[u8]], key: &Hash| {
        let bytes = parts.concat();
        decode::<AccountProof>(&bytes, AccountProof::MAX_LEN).unwrap().verify(&Hash::ZERO, key)
    };
    let step = |bit: u8| [[bit].as_slice(), &[7; 32]].concat();
    let (none, two) = ([0, 0, 0, 0], [2, 0, 0, 0]);
    let own = encode(&(1_u8, account(1, 1)));
    let absent = encode(&(1_u8, Account::default()));
    let other = |first| encode(&(2_u8, key(first), account(1, 1)));
    let zero = key(0);
    assert_eq!(judge(&[&two, &step(3), &step(9), &own], &zero), Err(ProofError::Root));
    assert_eq!(judge(&[&two, &step(9), &step(3), &own], &zero), Err(ProofError::Misplaced));
    assert_eq!(judge(&[&two, &step(3), &step(3), &own], &zero), Err(ProofError::Misplaced));
    assert_eq!(judge(&[&two, &step(3), &step(9), &[0]], &zero), Err(ProofError::Misplaced));
    assert_eq!(judge(&[&none, &absent], &zero), Err(ProofError::Absent));
    assert_eq!(judge(&[&none, &other(0)], &zero), Err(ProofError::Misplaced), "its own leaf as another's");
    assert_eq!(judge(&[&two, &step(3), &step(9), &other(8)], &zero), Err(ProofError::Root));
    assert_eq!(judge(&[&two, &step(3), &step(9), &other(0x10)], &zero), Err(ProofError::Misplaced));
}

#[test]
fn a_path_longer_than_any_is_refused_unread() {
    let path = |len: u32| [&len.to_le_bytes()[..], &[7].repeat(33 * len as usize), &[0]].concat();
    assert!(decode::<AccountProof>(&path(256), usize::MAX).is_ok());
    assert!(matches!(decode::<AccountProof>(&path(257), usize::MAX), Err(DecodeError::Malformed(_))));
    assert!(decode::<AccountProof>(&path(256), AccountProof::MAX_LEN).is_ok());
    assert!(matches!(
        decode::<AccountProof>(&[0; AccountProof::MAX_LEN + 1], AccountProof::MAX_LEN),
        Err(DecodeError::TooLong { .. })
    ));
}
