#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeMap;

use super::*;
use crate::{
    chain::{
        Authority, CHECKPOINT_INTERVAL, Checkpoint, Genesis, Header, Link, SignedBallot, UnsignedHeader, Vote,
    },
    primitives::{Address, Hash, SecretKey, Signature, Slot},
};

const CHAIN: Hash = Hash([9; 32]);

fn key(index: u8) -> SecretKey {
    SecretKey::from_seed([index + 1; 32])
}

fn authority(index: u8) -> Authority {
    Authority { key: key(index).public(), fee_address: Address([index; 32]) }
}

fn genesis(count: u8) -> ConsensusRecord {
    ConsensusRecord::of_genesis(&Genesis {
        name: "transition".into(),
        time: 0,
        slot_millis: 1000,
        min_fee_per_byte: 1,
        authorities: (0..count).map(authority).collect(),
        grants: Vec::new(),
    })
}

fn at(height: u64) -> Checkpoint {
    Checkpoint {
        height: Height(height),
        hash: Hash([u8::try_from(height / CHECKPOINT_INTERVAL).unwrap(); 32]),
    }
}

/// A certificate from `target`'s justified checkpoint, by these authorities.
fn certificate(target: &ConsensusRecord, height: u64, signers: &[u8]) -> Certificate {
    let link = Link { source: target.justified, target: at(height) };
    let votes: BTreeMap<PublicKey, Signature> = signers
        .iter()
        .map(|index| (key(*index).public(), Vote::sign(link, &key(*index), &CHAIN).signature))
        .collect();
    let places = (0..).zip(target.voters());
    let signatures = places.filter_map(|(place, voter)| Some((place, *votes.get(&voter)?))).collect();
    Certificate { link, signatures }
}

fn certify(
    record: &ConsensusRecord,
    height: u64,
    target: &ConsensusRecord,
    at: u64,
    by: &[u8],
) -> ConsensusRecord {
    let item = SystemItem::Certificate(certificate(target, at, by));
    record.after(Height(height), &[item], Some(target)).unwrap()
}

fn ballot(record: &ConsensusRecord, by: u8, serial: u64, change: Change) -> SystemItem {
    let content = Ballot { set_id: record.set.id, serial, by: key(by).public(), change };
    SystemItem::Ballot(SignedBallot::sign(content, &key(by), &CHAIN))
}

fn equivocation(by: u8) -> Evidence {
    let header = |salt| -> Header {
        UnsignedHeader::new(Height(1), Slot(1), Hash::ZERO, [Hash([salt; 32]); 6], 0, key(by).public())
            .sign(&key(by), &CHAIN)
    };
    Evidence::Headers(Box::new([header(1), header(2)]))
}

#[test]
fn a_certificate_justifies_and_the_next_one_finalises() {
    let record = genesis(4);
    let justified = certify(&record, 17, &record, 16, &[0, 1, 2]);
    // Genesis is final already, and 16 follows it directly.
    assert_eq!((justified.justified, justified.finalised), (at(16), record.justified));
    let finalised = certify(&justified, 33, &justified, 32, &[1, 2, 3]);
    assert_eq!((finalised.justified, finalised.finalised), (at(32), at(16)));
    let skipped = certify(&finalised, 66, &finalised, 64, &[0, 1, 2]);
    assert_eq!((skipped.justified, skipped.finalised), (at(64), at(16)), "48 lies between");
}

#[test]
fn two_thirds_are_not_enough() {
    for count in 1..=9_u8 {
        let record = genesis(count);
        for signers in 0..=count {
            let by: Vec<u8> = (0..signers).collect();
            let enough = 3 * u32::from(signers) > 2 * u32::from(count);
            let certificate = certificate(&record, 16, &by);
            assert_eq!(certificate.check(&record).is_ok(), enough, "{signers} of {count}");
        }
    }
}

#[test]
fn a_block_carries_one_certificate_from_the_justified_checkpoint_to_an_ancestor() {
    let record = genesis(4);
    let good = SystemItem::Certificate(certificate(&record, 16, &[0, 1, 2]));
    let judge = |record: &ConsensusRecord, items: &[SystemItem], target: Option<&ConsensusRecord>| {
        record.after(Height(20), items, target).map(|_| ())
    };
    assert_eq!(judge(&record, std::slice::from_ref(&good), Some(&record)), Ok(()));
    assert_eq!(judge(&record, std::slice::from_ref(&good), None), Err(RecordError::NotAncestor));
    let twice = judge(&record, &[good.clone(), good.clone()], Some(&record));
    assert_eq!(twice, Err(RecordError::SecondCertificate));
    let later = record.after(Height(17), std::slice::from_ref(&good), Some(&record)).unwrap();
    assert_eq!(judge(&later, std::slice::from_ref(&good), Some(&record)), Err(RecordError::NotFromJustified));

    let SystemItem::Certificate(good) = good else { unreachable!() };
    let spoil = |change: fn(&mut Certificate)| {
        let mut bad = good.clone();
        change(&mut bad);
        judge(&record, &[SystemItem::Certificate(bad)], Some(&record)).unwrap_err()
    };
    let link = RecordError::Certificate(CertificateError::Link);
    let signers = RecordError::Certificate(CertificateError::Signers);
    assert_eq!(spoil(|bad| bad.link.target.height = Height(17)), link);
    assert_eq!(spoil(|bad| bad.link.target.height = Height(0)), link);
    assert_eq!(spoil(|bad| bad.link.source.hash = Hash::ZERO), RecordError::NotFromJustified);
    assert_eq!(spoil(|bad| bad.signatures.reverse()), signers);
    assert_eq!(spoil(|bad| bad.signatures[1].0 = 0), signers);
    assert_eq!(spoil(|bad| bad.signatures[2].0 = 4), signers);
    let quorum = RecordError::Certificate(CertificateError::Quorum);
    assert_eq!(spoil(|bad| bad.signatures.truncate(2)), quorum);
}

#[test]
fn a_hand_off_waits_until_a_checkpoint_recording_it_is_final_and_both_sets_count_until_the_next() {
    let record = genesis(4);
    let add = Change::Add(authority(7));
    let ballots: Vec<_> = (0..3).map(|by| ballot(&record, by, 1, add.clone())).collect();
    let two = record.after(Height(5), &ballots[..2], None).unwrap();
    assert_eq!((two.ballots.len(), two.pending.is_some()), (2, false));
    let decided = two.after(Height(6), &ballots[2..], None).unwrap();
    assert!(decided.ballots.is_empty());
    assert_eq!(decided.pending.as_ref().unwrap().since, Height(6));
    assert_eq!(decided.pending.as_ref().unwrap().set.authorities.len(), 5);

    // 0 -> 16 finalises genesis only, whose record does not know the hand-off.
    let first = certify(&decided, 17, &decided, 16, &[0, 1, 2]);
    assert_eq!((first.set.id, first.pending.is_some()), (0, true));
    let second = certify(&first, 34, &first, 32, &[0, 1, 2]);
    assert_eq!((second.set.id, second.set.authorities.len(), second.pending.is_some()), (1, 5, false));
    assert_eq!(second.outgoing, Some(OutgoingSet { set: record.set.clone(), since: Height(34) }));

    // From here both sets must agree: 4 of 5, and 3 of the old 4.
    assert_eq!(second.voters().len(), 5);
    let counts = |by: &[u8]| certificate(&second, 48, by).check(&second).is_ok();
    assert!(counts(&[0, 1, 2, 3]) && counts(&[0, 1, 2, 7]));
    assert!(!counts(&[0, 1, 2]) && !counts(&[0, 1, 7]));
    let third = certify(&second, 49, &second, 48, &[0, 1, 2, 7]);
    assert!(third.outgoing.is_some(), "32 is final, whose record has the old set in force");
    let fourth = certify(&third, 65, &third, 64, &[0, 1, 2, 7]);
    assert_eq!((fourth.finalised, fourth.outgoing), (at(48), None));
}

#[test]
fn one_hand_off_is_decided_at_a_time() {
    let record = genesis(4);
    let convicted = record.after(Height(3), &[SystemItem::Evidence(equivocation(3))], None).unwrap();
    assert_eq!(convicted.pending.as_ref().unwrap().set.authorities.len(), 3);
    let more = convicted.after(Height(4), &[SystemItem::Evidence(equivocation(2))], None);
    assert_eq!(more, Err(RecordError::Pending));
    let add = ballot(&record, 0, 1, Change::Add(authority(7)));
    assert_eq!(convicted.after(Height(4), &[add], None), Err(RecordError::Pending));
}

#[test]
fn a_ballot_counts_once_for_an_authority_of_the_set_that_decides() {
    let record = genesis(3);
    let add = Change::Add(authority(7));
    let judge = |record: &ConsensusRecord, item: SystemItem| record.after(Height(2), &[item], None);
    let open = judge(&record, ballot(&record, 0, 5, add.clone())).unwrap();
    assert_eq!(judge(&open, ballot(&record, 0, 5, add.clone())), Err(RecordError::Ballot));
    assert_eq!(judge(&open, ballot(&record, 9, 5, add.clone())), Err(RecordError::Ballot));
    let mut other_set = record.clone();
    other_set.set.id = 1;
    assert_eq!(judge(&open, ballot(&other_set, 1, 5, add)), Err(RecordError::Ballot));
    for change in [Change::Add(authority(1)), Change::Remove(key(9).public())] {
        assert_eq!(judge(&open, ballot(&record, 1, 1, change)), Err(RecordError::Change));
    }
    let changed = judge(&open, ballot(&record, 0, 6, Change::Remove(key(2).public()))).unwrap();
    assert_eq!(changed.ballots.len(), 1);
    let alone = genesis(1);
    let last = ballot(&alone, 0, 1, Change::Remove(key(0).public()));
    assert_eq!(judge(&alone, last), Err(RecordError::Change));
}

#[test]
fn only_contradictions_of_an_authority_in_force_are_evidence() {
    let record = genesis(4);
    let judge = |evidence: Evidence| record.after(Height(2), &[SystemItem::Evidence(evidence)], None);
    assert!(judge(equivocation(3)).is_ok());
    assert_eq!(judge(equivocation(9)), Err(RecordError::Evidence));
    let Evidence::Headers(pair) = equivocation(3) else { unreachable!() };
    let same = Evidence::Headers(Box::new([pair[0].clone(), pair[0].clone()]));
    assert_eq!(judge(same), Err(RecordError::Evidence));
    let Evidence::Headers(other) = equivocation(2) else { unreachable!() };
    let two_people = Evidence::Headers(Box::new([pair[0].clone(), other[1].clone()]));
    assert_eq!(judge(two_people), Err(RecordError::Evidence));

    let vote = |source, target, salt: u8| {
        let mut link = Link { source: at(source), target: at(target) };
        link.target.hash.0[31] = salt;
        Vote::sign(link, &key(3), &CHAIN)
    };
    let votes = |a: &Vote, b: &Vote| judge(Evidence::Votes(Box::new([a.clone(), b.clone()]))).is_ok();
    assert!(votes(&vote(0, 32, 0), &vote(0, 32, 1)), "two votes for one height");
    assert!(votes(&vote(0, 64, 0), &vote(16, 32, 0)), "one around the other");
    assert!(votes(&vote(16, 32, 0), &vote(0, 64, 0)), "in either order");
    assert!(!votes(&vote(0, 32, 0), &vote(0, 32, 0)), "the same vote twice");
    assert!(!votes(&vote(0, 16, 0), &vote(16, 32, 0)), "one after the other");
    assert!(!votes(&vote(0, 32, 0), &vote(0, 48, 0)), "one source");
}
