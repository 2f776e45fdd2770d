#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use libp2p::identity::Keypair;

use super::*;
use crate::{
    chain::{Authority, UnsignedHeader},
    primitives::{Address, PublicKey, Signature, decode, encode},
};

const BOUNDS: Bounds = Bounds { slots: u64::MAX, headers: 10, millis: 250 };
const GENESIS: Hash = Hash([9; 32]);

fn header(height: u64, slot: u64, parent: Hash, set: u64, proposer: u8) -> Header {
    let content = UnsignedHeader::new(
        Height(height),
        Slot(slot),
        parent,
        [Hash::ZERO; 6],
        set,
        PublicKey([proposer; 32]),
    );
    Header { content, signature: Signature([0; 64]) }
}

/// The header at a height is at that place, and of twice as high a slot; the first is nobody's.
fn chain(length: u64) -> Vec<Header> {
    let mut chain = vec![header(0, 0, Hash::ZERO, 0, 0)];
    let mut parent = GENESIS;
    for height in 1..=length {
        chain.push(header(height, 2 * height, parent, 0, 0));
        parent = chain[height as usize].hash();
    }
    chain
}

fn peer(index: u8) -> PeerId {
    Keypair::ed25519_from_bytes([index; 32]).expect("any 32 bytes are a seed").public().to_peer_id()
}

fn backfill(old: OldHeaders, bounds: Bounds, peers: u8) -> Backfill {
    let mut backfill = Backfill::new(old, bounds, Mono(0));
    (1..=peers).for_each(|index| backfill.add_peer(peer(index)));
    backfill
}

/// The heights asked for, lowest first.
fn asked(request: &SyncRequest, chain: &[Header]) -> (usize, usize) {
    let SyncRequest::HeadersBefore { height, hash, max } = request else { panic!("{request:?}") };
    let top = height.0 as usize;
    assert_eq!(*hash, chain[top].hash());
    (top - *max as usize, top - 1)
}

/// Answers every question rightly until nothing is asked any more; returns whom was asked, and for what.
fn run(backfill: &mut Backfill, chain: &[Header]) -> Vec<(PeerId, usize, usize)> {
    let (mut now, mut questions) = (Mono(0), Vec::new());
    while !backfill.is_complete() {
        if let Some((peer, request)) = backfill.ask(now) {
            let (from, to) = asked(&request, chain);
            questions.push((peer, from, to));
            let headers = backfill.came(&peer, chain[from..=to].to_vec(), now).unwrap().unwrap();
            backfill.kept(&headers);
        } else {
            now = backfill.next_due(now).expect("something is due until all is here");
        }
    }
    assert_eq!((backfill.ask(now), backfill.next_due(now)), (None, None));
    questions
}

#[test]
fn headers_are_asked_for_down_to_the_first_of_each_peer_in_turn() {
    let chain = chain(43);
    let mut backfill = backfill(OldHeaders::from(chain[43].clone(), GENESIS, None), BOUNDS, 3);
    assert_eq!(backfill.progress(), OldProgress { done: 1, total: 43 });
    let questions = run(&mut backfill, &chain);
    let heights: Vec<_> = questions.iter().map(|(_, from, to)| (*from, *to)).collect();
    assert_eq!(heights, [(33, 42), (23, 32), (13, 22), (3, 12), (1, 2)]);
    for index in 1..=3 {
        assert!(questions.iter().filter(|(by, ..)| *by == peer(index)).count() >= 1, "peer {index} rests");
    }
    assert_eq!(backfill.progress(), OldProgress { done: 43, total: 43 });
}

#[test]
fn no_more_is_asked_for_in_a_time_than_the_bounds_allow() {
    let chain = chain(200);
    let mut backfill = backfill(OldHeaders::from(chain[200].clone(), GENESIS, None), BOUNDS, 2);
    let mut questions = 0;
    for now in 0..2_000 {
        if let Some((peer, request)) = backfill.ask(Mono(now)) {
            questions += 1;
            let (from, to) = asked(&request, &chain);
            let headers = backfill.came(&peer, chain[from..=to].to_vec(), Mono(now)).unwrap().unwrap();
            assert_eq!(backfill.ask(Mono(now)), None, "what came is not kept yet");
            backfill.kept(&headers);
        }
    }
    assert_eq!(questions, 8);
}

#[test]
fn it_ends_at_the_first_header_of_a_slot_that_is_too_old() {
    let chain = chain(60);
    let bounds = Bounds { slots: 21, ..BOUNDS };
    let mut backfill = backfill(OldHeaders::from(chain[60].clone(), GENESIS, None), bounds, 1);
    assert_eq!(backfill.progress().total, 22);
    let questions = run(&mut backfill, &chain);
    // Slot 99 is the last one wanted, and an answer is taken as a whole.
    assert_eq!(questions.len(), 2);
    assert_eq!(backfill.low().height(), Height(40));
}

#[test]
fn what_was_downloaded_from_an_older_block_is_not_downloaded_again() {
    let chain = chain(100);
    let mut first = backfill(OldHeaders::from(chain[64].clone(), GENESIS, None), BOUNDS, 1);
    for _ in 0..3 {
        let (by, request) = first.ask(first.next_due(Mono(0)).unwrap_or_default() + 10_000).unwrap();
        let (from, to) = asked(&request, &chain);
        let headers = first.came(&by, chain[from..=to].to_vec(), Mono(0)).unwrap().unwrap();
        first.kept(&headers);
    }
    let written: OldHeaders = decode(&encode(first.old()), usize::MAX).unwrap();
    assert_eq!(&written, first.old());
    assert_eq!(first.low().height(), Height(34));

    let old = OldHeaders::from(chain[64].clone(), GENESIS, Some(written.clone()));
    assert_eq!(old, written, "begun again at the same block");

    let mut again = backfill(OldHeaders::from(chain[80].clone(), GENESIS, Some(written.clone())), BOUNDS, 1);
    let heights: Vec<_> = run(&mut again, &chain).iter().map(|(_, from, to)| (*from, *to)).collect();
    assert_eq!(heights, [(70, 79), (64, 69), (24, 33), (14, 23), (4, 13), (1, 3)]);
    assert_eq!(again.progress(), OldProgress { done: 80, total: 80 });

    // A stretch of another chain is passed by.
    let mut other = chain[70].clone();
    other.content.state_root = Hash([1; 32]);
    let fork = OldHeaders::from(other, GENESIS, Some(written.clone()));
    let mut past = backfill(OldHeaders::from(chain[80].clone(), GENESIS, Some(fork)), BOUNDS, 1);
    run(&mut past, &chain);
    assert_eq!(past.old().stretches.len(), 1);

    let elsewhere = OldHeaders::from(chain[80].clone(), Hash::ZERO, Some(written));
    assert_eq!(elsewhere.stretches.len(), 1, "of another genesis");
}

#[test]
fn stretches_are_remembered_up_to_a_bound() {
    let chain = chain(40);
    let old = chain[1..].iter().fold(None, |old, top| Some(OldHeaders::from(top.clone(), GENESIS, old)));
    assert_eq!(old.unwrap().stretches.len(), MAX_STRETCHES);
}

#[test]
fn what_is_not_linked_or_too_much_is_told_from_what_no_server_can_have_made_up() {
    let chain = chain(30);
    let answer = |headers: Vec<Header>| {
        let mut backfill = backfill(OldHeaders::from(chain[30].clone(), GENESIS, None), BOUNDS, 1);
        let (by, _) = backfill.ask(Mono(0)).unwrap();
        backfill.came(&by, headers, Mono(0)).map(|headers| headers.map_or(0, |headers| headers.len()))
    };
    assert_eq!(answer(chain[20..30].to_vec()), Ok(10));
    assert_eq!(answer(chain[27..30].to_vec()), Ok(3), "a part will do");
    assert_eq!(answer(Vec::new()), Ok(0));
    assert_eq!(answer(chain[19..30].to_vec()), Err(BackfillError::TooMany));
    assert_eq!(answer(chain[20..29].to_vec()), Err(BackfillError::Unlinked), "the newest is missing");
    let without_one = [&chain[20..24], &chain[25..30]].concat();
    assert_eq!(answer(without_one), Err(BackfillError::Unlinked));
    let mut other = chain[20..30].to_vec();
    other[4].content.state_root = Hash([1; 32]);
    assert_eq!(answer(other), Err(BackfillError::Unlinked));

    let on_top_of = |parent: Header| {
        let top = header(30, 60, parent.hash(), 1, 0);
        let mut backfill = backfill(OldHeaders::from(top, GENESIS, None), BOUNDS, 1);
        let (by, _) = backfill.ask(Mono(0)).unwrap();
        backfill.came(&by, vec![parent], Mono(0)).map(|_| ())
    };
    assert_eq!(on_top_of(header(29, 59, Hash::ZERO, 1, 0)), Ok(()));
    for (height, slot, set) in [(28, 59, 1), (30, 59, 1), (u64::MAX, 59, 1), (29, 60, 1), (29, 59, 2)] {
        let parent = header(height, slot, Hash::ZERO, set, 0);
        assert_eq!(on_top_of(parent), Err(BackfillError::Broken), "height {height}, slot {slot}, set {set}");
    }
    let first = header(1, 1, Hash::ZERO, 0, 0);
    let second = header(2, 2, first.hash(), 0, 0);
    let mut backfill = backfill(OldHeaders::from(second, GENESIS, None), BOUNDS, 1);
    let (by, _) = backfill.ask(Mono(0)).unwrap();
    assert_eq!(backfill.came(&by, vec![first], Mono(0)), Err(BackfillError::Broken), "another genesis");
}

#[test]
fn a_peer_that_is_slow_has_nothing_or_leaves_is_passed_over() {
    let chain = chain(30);
    let mut backfill = backfill(OldHeaders::from(chain[30].clone(), GENESIS, None), BOUNDS, 2);
    let (slow, _) = backfill.ask(Mono(0)).unwrap();
    assert_eq!(backfill.ask(Mono(1_999)), None);
    let (other, _) = backfill.ask(Mono(2_000)).unwrap();
    assert_ne!(slow, other);
    assert_eq!(backfill.came(&slow, chain[20..30].to_vec(), Mono(2_100)), Ok(None), "given up on");
    assert_eq!(backfill.came(&other, Vec::new(), Mono(2_100)), Ok(None));
    // The slow one has rested by now, the one that has nothing is left alone for longer.
    assert_eq!(backfill.ask(Mono(3_000)), None);
    let (again, _) = backfill.ask(Mono(4_000)).unwrap();
    assert_eq!(again, slow);
    backfill.remove_peer(&slow);
    assert_eq!(backfill.ask(Mono(5_000)), None);
    assert_eq!(backfill.next_due(Mono(5_000)), Some(Mono(62_100)));
    let (back, request) = backfill.ask(Mono(62_100)).unwrap();
    assert_eq!((back, asked(&request, &chain)), (other, (20, 29)));
    let headers = backfill.came(&other, chain[20..30].to_vec(), Mono(62_100)).unwrap().unwrap();
    backfill.dropped();
    let (_, request) = backfill.ask(Mono(70_000)).unwrap();
    assert_eq!(asked(&request, &chain), (20, 29), "could not be checked, so they are asked for again");
    backfill.came(&other, headers.clone(), Mono(70_000)).unwrap();
    backfill.kept(&headers);
    assert_eq!(backfill.low().height(), Height(20));
}

#[test]
fn a_header_is_admitted_only_with_a_set_proven_for_its_height_and_from_whose_turn_it_is() {
    let set = |id: u64, keys: &[u8]| AuthoritySet {
        id,
        authorities: keys
            .iter()
            .map(|key| Authority { key: PublicKey([*key; 32]), fee_address: Address([*key; 32]) })
            .collect(),
    };
    let mut proven = ProvenSets { sets: BTreeMap::new(), after: BTreeMap::new() };
    for (height, id, keys) in [(0, 0, &[1, 2][..]), (32, 0, &[1, 2]), (64, 1, &[3]), (96, 1, &[3])] {
        proven.sets.insert(id, set(id, keys));
        proven.after.insert(Height(height), id);
    }
    let admitted = |height, slot, id, proposer| proven.admit(&header(height, slot, Hash::ZERO, id, proposer));
    assert!(admitted(1, 2, 0, 1) && admitted(1, 3, 0, 2));
    assert!(!admitted(1, 2, 0, 2), "it is another's turn");
    assert!(admitted(33, 2, 0, 1) && !admitted(33, 2, 1, 3), "the second set is not in force after block 32");
    for height in 34..=64 {
        assert!(admitted(height, 2, 0, 1) && admitted(height, 2, 1, 3), "the hand-off may be at {height}");
    }
    assert!(admitted(65, 2, 1, 3) && !admitted(65, 2, 0, 1), "the first set's time is over");
    assert!(admitted(200, 2, 1, 3) && !admitted(200, 2, 2, 3), "nothing is known of a third set");
}
