//! Fragments of small chains whose records follow the real rules; nothing else in their headers is real.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeMap;

use super::*;
use crate::{
    chain::{Authority, Ballot, Change, Link, SignedBallot, SystemItem, UnsignedHeader, Vote, is_checkpoint},
    primitives::{Address, Height, PublicKey, SecretKey, Signature, Slot, decode, encode, verify_each},
};

fn key(index: u8) -> SecretKey {
    SecretKey::from_seed([index + 1; 32])
}

fn authority(index: u8) -> Authority {
    Authority { key: key(index).public(), fee_address: Address([index; 32]) }
}

fn genesis() -> Genesis {
    Genesis {
        name: "warp".into(),
        time: 0,
        slot_millis: 1000,
        min_fee_per_byte: 1,
        authorities: (0..4).map(authority).collect(),
        grants: Vec::new(),
    }
}

/// A branch: every block with its record, the genesis first.
#[derive(Clone)]
struct Branch {
    blocks: Vec<(Header, ConsensusRecord)>,
}

impl Branch {
    fn new() -> Self {
        let record = ConsensusRecord::of_genesis(&genesis());
        Self { blocks: vec![(genesis().header(Hash::ZERO), record)] }
    }

    fn record(&self) -> &ConsensusRecord {
        &self.blocks[self.blocks.len() - 1].1
    }

    /// A block with these items; `salt` sets it apart from others.
    fn extend(&mut self, items: &[SystemItem], salt: u8) {
        let (parent, before) = &self.blocks[self.blocks.len() - 1];
        let height = parent.height().checked_add(1).unwrap();
        let target = items.iter().find_map(|item| match item {
            SystemItem::Certificate(certificate) => {
                let height = usize::try_from(certificate.link.target.height.0).unwrap();
                Some(&self.blocks[height].1)
            }
            _ => None,
        });
        let record = before.after(height, items, target).unwrap();
        let salt = Hash([salt; 32]);
        let roots = [salt, salt, salt, salt, record.root(), salt];
        let slot = Slot(parent.slot().0 + 1);
        let content = UnsignedHeader::new(
            height,
            slot,
            parent.hash(),
            roots,
            before.set.id,
            before.set.proposer(slot).key,
        );
        self.blocks.push((Header { content, signature: Signature([salt.0[0]; 64]) }, record));
    }

    /// Blocks without items up to the next checkpoint, inclusive.
    fn reach_checkpoint(&mut self, salt: u8) {
        self.extend(&[], salt);
        while !is_checkpoint(self.blocks[self.blocks.len() - 1].0.height()) {
            self.extend(&[], salt);
        }
    }

    fn checkpoint(&self, height: u64) -> Checkpoint {
        let (header, record) = &self.blocks[usize::try_from(height).unwrap()];
        match height {
            0 => record.finalised,
            _ => Checkpoint { height: Height(height), hash: header.hash() },
        }
    }

    /// The certificate of the checkpoint at this height, from the one its record calls justified.
    fn certify(&self, height: u64, signers: &[u8]) -> Certificate {
        let record = &self.blocks[usize::try_from(height).unwrap()].1;
        certify(Link { source: record.justified, target: self.checkpoint(height) }, record, signers)
    }

    /// Grows by one checkpoint whose certificate the next block carries.
    fn grow(&mut self, signers: &[u8], salt: u8) {
        self.reach_checkpoint(salt);
        let height = self.blocks.len() as u64 - 1;
        self.extend(&[SystemItem::Certificate(self.certify(height, signers))], salt);
    }

    /// The proof of the checkpoint at this height.
    fn fragment(&self, height: u64, signers: &[u8]) -> Fragment {
        let at = |height: u64| self.blocks[usize::try_from(height).unwrap()].clone();
        let ((checkpoint, record), (child, child_record)) = (at(height), at(height + CHECKPOINT_INTERVAL));
        let certificate = self.certify(height + CHECKPOINT_INTERVAL, signers);
        Fragment { checkpoint, record, child, child_record, certificate }
    }

    /// Lets the set decide on a change.
    fn decide(&mut self, change: &Change, voters: &[u8], salt: u8) {
        let set_id = self.record().set.id;
        for voter in voters {
            let ballot = Ballot { set_id, serial: 1, by: key(*voter).public(), change: change.clone() };
            let ballot = SignedBallot::sign(ballot, &key(*voter), &genesis().hash());
            self.extend(&[SystemItem::Ballot(ballot)], salt);
        }
        assert!(self.record().pending.is_some());
    }
}

fn certify(link: Link, record: &ConsensusRecord, signers: &[u8]) -> Certificate {
    let sign =
        |index: &u8| (key(*index).public(), Vote::sign(link, &key(*index), &genesis().hash()).signature);
    let votes: BTreeMap<PublicKey, Signature> = signers.iter().map(sign).collect();
    let places = (0..).zip(record.voters());
    let signatures = places.filter_map(|(place, voter)| Some((place, *votes.get(&voter)?))).collect();
    Certificate { link, signatures }
}

fn signed(fragment: &Fragment) -> bool {
    let add = |_, batch: &mut SignatureBatch| fragment.add_to_batch(&genesis().hash(), batch);
    verify_each(1, add) == [true]
}

/// What a fragment proves, signatures included.
fn proves(known: &Proven, fragment: &Fragment) -> Option<Proven> {
    known.follow(fragment).ok().filter(|_| signed(fragment))
}

fn start() -> Proven {
    Proven::genesis(&genesis())
}

/// A chain in which 4 joins the four of the genesis: decided between 16 and 32, in force above 48, alone above 80.
fn handed_over() -> Branch {
    let mut branch = Branch::new();
    branch.grow(&[0, 1, 2], 0);
    branch.decide(&Change::Add(authority(4)), &[0, 1, 2], 0);
    branch.grow(&[0, 1, 2], 0);
    branch.grow(&[0, 1, 2], 0);
    assert_eq!((branch.record().set.id, branch.record().outgoing.is_some()), (1, true));
    branch.grow(&[0, 1, 2, 4], 0);
    branch.grow(&[0, 1, 2, 4], 0);
    assert_eq!(branch.record().outgoing, None);
    branch.grow(&[0, 1, 3, 4], 0);
    branch
}

#[test]
fn golden_bytes() {
    let mut branch = Branch::new();
    branch.grow(&[0, 1, 2], 0);
    branch.grow(&[0, 1, 2], 0);
    let bytes = encode(&branch.fragment(16, &[0, 1, 2]));
    assert_eq!(bytes.len(), 2 * Header::LEN + 2 * (8 + 4 + 4 * 64 + 1 + 1 + 4 + 80) + 80 + 4 + 3 * 66);
    assert_eq!(
        Hash::of(&bytes).to_string(),
        "4d806afcc4ddf4d3278b4449c875226880e0bc942c501898986bfb9009ce1848"
    );
}

#[test]
fn a_checkpoint_is_proven_from_any_earlier_one_of_its_set() {
    let mut branch = Branch::new();
    for _ in 0..6 {
        branch.grow(&[0, 1, 3], 0);
    }
    for from in [0, 16, 32] {
        let known = match from {
            0 => start(),
            _ => proves(&start(), &branch.fragment(from, &[0, 1, 3])).unwrap(),
        };
        for height in [48, 64, 80] {
            let proven = proves(&known, &branch.fragment(height, &[0, 1, 3])).unwrap();
            assert_eq!(proven.checkpoint, branch.checkpoint(height));
            assert_eq!(proven.record, branch.blocks[usize::try_from(height).unwrap()].1);
        }
    }
    let known = proves(&start(), &branch.fragment(48, &[0, 1, 3])).unwrap();
    for below in [16, 32, 48] {
        assert_eq!(known.follow(&branch.fragment(below, &[0, 1, 3])), Err(FragmentError::NotAbove));
    }
}

/// There is no second form of a fragment: every bit counts.
#[test]
fn a_fragment_with_any_bit_flipped_is_refused() {
    let branch = handed_over();
    let known = proves(&start(), &branch.fragment(32, &[0, 1, 2])).unwrap();
    let fragment = branch.fragment(48, &[0, 1, 2, 4]);
    assert!(proves(&known, &fragment).is_some());
    let bytes = encode(&fragment);
    let mut by_signature = 0;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(flipped) = decode::<Fragment>(&flipped, bytes.len()) else { continue };
        if known.follow(&flipped).is_ok() {
            assert!(!signed(&flipped), "bit {bit} does not matter");
            by_signature += 1;
        }
    }
    // What only the check of signatures tells is their own bytes, and that the third is named for voter 3 instead of 2;
    // all else is bound by hashes.
    assert_eq!(by_signature, 4 * 64 * 8 + 1);
}

#[test]
fn each_rule_refuses_what_only_it_forbids() {
    let mut branch = Branch::new();
    branch.grow(&[0, 1, 2], 0);
    branch.grow(&[0, 1, 2], 0);
    branch.grow(&[0, 1, 2], 0);
    let good = branch.fragment(16, &[0, 1, 2]);
    let refused = |change: &dyn Fn(&mut Fragment)| {
        let mut fragment = good.clone();
        change(&mut fragment);
        start().follow(&fragment).unwrap_err()
    };
    let other = branch.fragment(32, &[0, 1, 2]);
    assert_eq!(refused(&|it| it.record = other.record.clone()), FragmentError::Record);
    assert_eq!(refused(&|it| it.child_record = good.record.clone()), FragmentError::Record);
    assert_eq!(refused(&|it| it.certificate = other.certificate.clone()), FragmentError::Link);
    assert_eq!(refused(&|it| it.checkpoint.signature.0[0] ^= 1), FragmentError::Link);
    assert_eq!(refused(&|it| it.child.signature.0[0] ^= 1), FragmentError::Link);
    let skips = |it: &mut Fragment| {
        (it.child, it.child_record) = branch.blocks[48].clone();
        let target = branch.checkpoint(48);
        it.certificate =
            certify(Link { source: it.certificate.link.source, target }, &it.child_record, &[0, 1, 2]);
    };
    assert_eq!(refused(&skips), FragmentError::Link);
    let few = |it: &mut Fragment| it.certificate.signatures.truncate(2);
    assert_eq!(refused(&few), FragmentError::Certificate(CertificateError::Quorum));
    let twice = |it: &mut Fragment| it.certificate.signatures[1].0 = 0;
    assert_eq!(refused(&twice), FragmentError::Certificate(CertificateError::Signers));
    let mut forged = good.clone();
    forged.certificate.signatures.swap(0, 1);
    let (first, second) = (forged.certificate.signatures[0].1, forged.certificate.signatures[1].1);
    forged.certificate.signatures[0] = (0, first);
    forged.certificate.signatures[1] = (1, second);
    assert!(start().follow(&forged).is_ok() && !signed(&forged));
}

#[test]
fn a_record_that_does_not_name_the_checkpoint_as_justified_does_not_count_for_it() {
    let mut branch = Branch::new();
    branch.reach_checkpoint(0);
    branch.reach_checkpoint(0);
    let mut fragment = branch.fragment(16, &[0, 1, 2]);
    let link = Link { source: branch.checkpoint(16), target: branch.checkpoint(32) };
    fragment.certificate = certify(link, &fragment.child_record, &[0, 1, 2, 3]);
    assert_eq!(
        start().follow(&fragment),
        Err(FragmentError::Certificate(CertificateError::Link)),
        "its record says that genesis is justified"
    );
}

#[test]
fn a_set_is_accepted_when_it_was_pending_and_the_one_before_counts_too() {
    let branch = handed_over();
    let pending = proves(&start(), &branch.fragment(32, &[0, 1, 2])).unwrap();
    assert!(pending.record.pending.is_some());
    let in_force = branch.fragment(48, &[0, 1, 2, 4]);
    assert_eq!(in_force.child_record.set.id, 1);
    assert_eq!(start().follow(&in_force), Err(FragmentError::Set), "nothing known says that it was pending");

    // More than two thirds of the new set, but not of the old.
    let new_only = branch.fragment(48, &[0, 1, 4]);
    assert_eq!(
        pending.follow(&new_only),
        Err(FragmentError::Certificate(CertificateError::Quorum)),
        "both sets are counted"
    );
    let last = proves(&pending, &in_force).unwrap();
    let alone = proves(&last, &branch.fragment(64, &[0, 1, 2, 4])).unwrap();
    assert_eq!(alone.record.set.id, 1);
    assert!(proves(&alone, &branch.fragment(80, &[0, 1, 3, 4])).is_some());
}

#[test]
fn the_first_checkpoint_with_a_new_set_in_force_cannot_be_left_out() {
    let branch = handed_over();
    let pending = proves(&start(), &branch.fragment(32, &[0, 1, 2])).unwrap();
    let later = branch.fragment(80, &[0, 1, 3, 4]);
    assert_eq!(later.child_record.outgoing, None);
    assert_eq!(pending.follow(&later), Err(FragmentError::Set), "only the new set would count");
}

#[test]
fn of_two_branches_around_a_hand_off_only_the_one_both_sets_signed_is_proven() {
    // One branch decides to add 4 and hands over; on the other the old set goes on.
    let with = handed_over();
    let mut without = Branch::new();
    without.grow(&[0, 1, 2], 0);
    for _ in 0..6 {
        without.grow(&[0, 1, 2], 9);
    }
    let pending = proves(&start(), &with.fragment(32, &[0, 1, 2])).unwrap();
    // The old set signing both breaks a slashing rule; a peer that has followed one branch is not led back.
    assert_eq!(pending.follow(&without.fragment(32, &[0, 1, 2])), Err(FragmentError::NotAbove));
    let beyond = proves(&pending, &with.fragment(48, &[0, 1, 2, 4])).unwrap();
    let in_force = proves(&beyond, &with.fragment(64, &[0, 1, 2, 4])).unwrap();
    assert_eq!(
        in_force.follow(&without.fragment(80, &[0, 1, 2])).map(|_| ()).unwrap_err(),
        FragmentError::Set
    );
    // A branch on which the new set alone claims to be in force proves nothing to those before it.
    let (mut child, mut child_record) = with.blocks[64].clone();
    child_record.outgoing = None;
    child.content.consensus_root = child_record.root();
    let link = Link {
        source: with.checkpoint(48),
        target: Checkpoint { height: child.height(), hash: child.hash() },
    };
    let certificate = certify(link, &child_record, &[0, 1, 4, 3]);
    let forged = Fragment { child, child_record, certificate, ..with.fragment(48, &[0, 1, 2, 4]) };
    assert_eq!(pending.follow(&forged), Err(FragmentError::Set));
}

/// The documented limit of warp sync, and what protects from it.
#[test]
fn old_keys_can_forge_history_for_those_who_know_the_genesis_only() {
    let honest = handed_over();
    // Three of the first four, long out of office perhaps, sign another history.
    let mut forged = Branch::new();
    for _ in 0..8 {
        forged.grow(&[0, 1, 2], 66);
    }
    let lie = forged.fragment(112, &[0, 1, 2]);
    assert_eq!(proves(&start(), &lie).unwrap().checkpoint, forged.checkpoint(112));

    let (header, record) = honest.blocks[80].clone();
    assert!(Proven::believed(&header, honest.blocks[64].1.clone()).is_none());
    let checkpoint = Proven::believed(&header, record).unwrap();
    assert_eq!(checkpoint.follow(&lie), Err(FragmentError::Set));
    let mut more = honest;
    more.grow(&[0, 1, 2, 4], 0);
    more.grow(&[0, 1, 2, 4], 0);
    assert!(proves(&checkpoint, &more.fragment(112, &[0, 1, 2, 4])).is_some());
}

#[test]
fn the_first_bad_fragment_of_many_is_named() {
    let mut branch = Branch::new();
    for _ in 0..5 {
        branch.grow(&[0, 1, 2], 0);
    }
    let mut fragments: Vec<_> = [16, 32, 48].map(|height| branch.fragment(height, &[0, 1, 2])).into();
    assert_eq!(start().follow_all(&fragments).unwrap().checkpoint, branch.checkpoint(48));
    assert_eq!(start().follow_all(&[]), Ok(start()));
    fragments[1].certificate.signatures.pop();
    let error = FragmentError::Certificate(CertificateError::Quorum);
    assert_eq!(start().follow_all(&fragments), Err((1, error)));
    fragments.swap(0, 2);
    assert_eq!(start().follow_all(&fragments), Err((1, FragmentError::NotAbove)));
}

#[test]
fn hostile_records_do_not_panic() {
    let mut branch = Branch::new();
    branch.grow(&[0, 1, 2], 0);
    branch.grow(&[0, 1, 2], 0);
    let mut fragment = branch.fragment(16, &[0, 1, 2]);
    fragment.child_record.set.authorities.clear();
    fragment.child.content.consensus_root = fragment.child_record.root();
    fragment.certificate.link.target.hash = fragment.child.hash();
    assert_eq!(start().follow(&fragment), Err(FragmentError::Set));
    fragment.checkpoint.content.height = Height(u64::MAX);
    fragment.certificate.link.source =
        Checkpoint { height: Height(u64::MAX), hash: fragment.checkpoint.hash() };
    assert_eq!(start().follow(&fragment), Err(FragmentError::Link));
}
