#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    chain::{Authority, Change, Evidence, Genesis, SignedBallot, SystemItem, UnsignedHeader},
    primitives::{Address, Slot, decode},
};

const CHAIN: Hash = Hash([9; 32]);

fn key(index: u8) -> SecretKey {
    SecretKey::from_seed([index + 1; 32])
}

fn record() -> ConsensusRecord {
    let authority = |index| Authority { key: key(index).public(), fee_address: Address([index; 32]) };
    ConsensusRecord::of_genesis(&Genesis {
        name: "votes".into(),
        time: 0,
        slot_millis: 1000,
        min_fee_per_byte: 1,
        authorities: (0..4).map(authority).collect(),
        grants: Vec::new(),
    })
}

fn link() -> Link {
    Link { source: record().justified, target: Checkpoint { height: Height(16), hash: Hash([3; 32]) } }
}

fn certificate() -> Certificate {
    let votes = (0..3).map(|index| (key(index).public(), Vote::sign(link(), &key(index), &CHAIN).signature));
    Certificate::assemble(link(), &record(), &votes.collect()).unwrap()
}

fn holds(add: impl FnOnce(&mut SignatureBatch)) -> bool {
    let mut batch = SignatureBatch::default();
    add(&mut batch);
    batch.verify()
}

/// Calls `still_good` with what each way of flipping one bit of every byte decodes to.
fn flip_every_byte<T: BorshDeserialize + BorshSerialize>(value: &T, mut still_good: impl FnMut(T) -> bool) {
    let bytes = encode(value);
    for at in 0..bytes.len() {
        let mut spoiled = bytes.clone();
        spoiled[at] ^= 1 << (at % 8);
        if let Ok(other) = decode::<T>(&spoiled, bytes.len()) {
            assert!(!still_good(other), "byte {at} may be anything");
        }
    }
}

#[test]
fn golden_bytes() {
    let vote = Vote::sign(link(), &key(0), &CHAIN);
    let checkpoint = |height: u64, hash: &Hash| [height.to_le_bytes().as_slice(), &hash.0].concat();
    let source = checkpoint(0, &record().justified.hash);
    let link = [source, checkpoint(16, &Hash([3; 32]))].concat();
    let expected = [link.as_slice(), &vote.by.0, &vote.signature.0].concat();
    assert_eq!(encode(&vote), expected);
    assert_eq!(expected.len(), Vote::LEN);

    let certificate = certificate();
    let mut expected = [link.as_slice(), &[3, 0, 0, 0]].concat();
    for (place, signature) in &certificate.signatures {
        expected.extend(place.to_le_bytes());
        expected.extend(signature.0);
    }
    assert_eq!(encode(&certificate), expected);
    assert_eq!(encode(&SystemItem::Certificate(certificate)), [&[0], expected.as_slice()].concat());

    let content = crate::chain::Ballot {
        set_id: 1,
        serial: 2,
        by: key(0).public(),
        change: Change::Remove(key(1).public()),
    };
    let ballot = SignedBallot::sign(content, &key(0), &CHAIN);
    let head = [[1_u64, 2].map(u64::to_le_bytes).concat(), key(0).public().0.to_vec()].concat();
    let expected = [&[1], head.as_slice(), &[1], &key(1).public().0, &ballot.signature.0].concat();
    assert_eq!(encode(&SystemItem::Ballot(ballot)), expected);

    let votes = Evidence::Votes(Box::new([vote.clone(), vote.clone()]));
    let expected = [&[2, 1], encode(&vote).as_slice(), &encode(&vote)].concat();
    assert_eq!(encode(&SystemItem::Evidence(votes)), expected);
}

#[test]
fn no_byte_of_a_vote_a_certificate_or_evidence_may_be_another() {
    let vote = Vote::sign(link(), &key(0), &CHAIN);
    assert!(holds(|batch| vote.add_to_batch(&CHAIN, batch)));
    assert!(!holds(|batch| vote.add_to_batch(&Hash::ZERO, batch)));
    flip_every_byte(&vote, |other| holds(|batch| other.add_to_batch(&CHAIN, batch)));

    let record = record();
    let good = |certificate: &Certificate| {
        certificate.check(&record).is_ok() && holds(|batch| certificate.add_to_batch(&CHAIN, &record, batch))
    };
    assert!(good(&certificate()));
    flip_every_byte(&certificate(), |other| good(&other));

    let header = |salt| {
        UnsignedHeader::new(Height(1), Slot(1), Hash::ZERO, [Hash([salt; 32]); 6], 0, key(3).public())
            .sign(&key(3), &CHAIN)
    };
    let evidence = Evidence::Headers(Box::new([header(1), header(2)]));
    let proves = |evidence: &Evidence| {
        evidence.guilty().is_some() && holds(|batch| evidence.add_to_batch(&CHAIN, batch))
    };
    assert!(proves(&evidence));
    flip_every_byte(&evidence, |other| proves(&other));
}
