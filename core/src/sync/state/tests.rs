//! Whole downloads from servers that answer, answer late, lose the state, or vanish.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeSet;

use super::*;
use crate::{
    chain::UnsignedHeader,
    primitives::{Amount, Height, PublicKey, Signature, Slot},
    state::Account,
};

fn peer(byte: u8) -> PeerId {
    let mut seed = [byte; 32];
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

/// A header of which only the state root matters.
fn header(height: u64, trie: &Trie) -> Header {
    let mut roots = [Hash::ZERO; 6];
    roots[2] = trie.root();
    let content = UnsignedHeader::new(Height(height), Slot(height), Hash::ZERO, roots, 0, PublicKey([0; 32]));
    Header { content, signature: Signature([0; 64]) }
}

fn accounts(seed: u64, count: u64) -> BTreeMap<Hash, Account> {
    let account = |nonce| Account { nonce, balance: Amount(seed + 1) };
    (0..count).map(|index| (Hash::of(&(index % count.max(1)).to_le_bytes()), account(seed + index))).collect()
}

fn trie(accounts: &BTreeMap<Hash, Account>) -> Trie {
    Trie::default().update(accounts).unwrap()
}

fn answer(trie: &Trie, piece: &Piece, most: usize) -> VerifiedRange {
    let proof = trie.prove_range(&piece.from, &piece.to, most).unwrap();
    proof.verify(&trie.root(), &piece.from, &piece.to).unwrap()
}

/// A small generator, so that runs repeat.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

#[test]
fn ranges_cover_the_key_space() {
    assert_eq!(first(0), Hash::ZERO);
    assert_eq!(last(RANGES - 1), Hash([0xff; 32]));
    for index in 0..RANGES {
        assert_eq!((range_of(&first(index)), range_of(&last(index))), (index, index));
        assert!(index == 0 || last(index - 1) < first(index));
    }
}

#[test]
fn a_state_is_downloaded_from_many_peers_within_bounds() {
    let all = accounts(1, 5_000);
    let truth = trie(&all);
    let mut sync = StateSync::new(header(16, &truth));
    for byte in 1..=3 {
        sync.add_peer(peer(byte));
    }
    let mut served: BTreeMap<PeerId, usize> = BTreeMap::new();
    let mut found = BTreeMap::new();
    for round in 0.. {
        let plan = sync.ask(Mono(round));
        assert!(sync.ask(Mono(round)).is_empty(), "asked twice");
        if plan.is_empty() {
            break;
        }
        assert!(plan.len() <= RANGES);
        let mut of_peer: BTreeMap<PeerId, usize> = BTreeMap::new();
        for (peer, piece) in plan {
            *of_peer.entry(peer).or_default() += 1;
            assert!(sync.came(peer, &piece));
            let range = answer(&truth, &piece, 100);
            found.extend(range.leaves.iter().copied());
            assert!(sync.verified(&peer, &piece, &range, Mono(round)));
            *served.entry(peer).or_default() += 1;
        }
        assert!(of_peer.values().all(|count| *count <= MAX_REQUESTS_PER_PEER));
    }
    assert!(sync.is_complete());
    assert_eq!((found, sync.have().root()), (all, truth.root()));
    assert!(served.len() == 3 && served.values().all(|count| *count > 5), "{served:?}");
}

#[test]
fn an_empty_state_and_one_of_a_single_account_are_states_too() {
    for count in [0, 1] {
        let truth = trie(&accounts(1, count));
        let mut sync = StateSync::new(header(16, &truth));
        sync.add_peer(peer(1));
        while !sync.is_complete() {
            for (peer, piece) in sync.ask(Mono(0)) {
                sync.came(peer, &piece);
                let range = answer(&truth, &piece, 100);
                sync.verified(&peer, &piece, &range, Mono(0));
            }
        }
        assert_eq!(sync.have().root(), truth.root());
    }
}

#[test]
fn a_stalled_piece_is_asked_of_someone_else_with_growing_patience_and_its_late_answer_still_counts() {
    let truth = trie(&accounts(1, 1_000));
    let mut sync = StateSync::new(header(16, &truth));
    sync.add_peer(peer(1));
    let first = sync.ask(Mono(0));
    assert_eq!(first.len(), MAX_REQUESTS_PER_PEER);
    sync.add_peer(peer(2));
    assert_eq!(sync.ask(Mono(0)).len(), MAX_REQUESTS_PER_PEER);
    assert_eq!(sync.next_due(Mono(0)), Some(Mono(STALL_MIN_MILLIS)));
    let late: Vec<_> = first.iter().map(|(_, piece)| *piece).collect();
    // The second answers, the first does not.
    sync.add_peer(peer(3));
    let third = sync.ask(Mono(1));
    for (_, piece) in &third {
        assert!(sync.came(peer(3), piece));
        sync.verified(&peer(3), piece, &answer(&truth, piece, 9_999), Mono(1));
    }
    let again = sync.ask(Mono(STALL_MIN_MILLIS));
    assert!(again.iter().all(|(by, _)| *by == peer(3)), "the slow ones rest");
    assert_eq!(again.iter().map(|(_, piece)| *piece).collect::<Vec<_>>(), late[..again.len()]);
    assert_eq!(sync.patience, 2 * STALL_MIN_MILLIS);
    // The late answer is the first to come.
    assert!(sync.came(peer(1), &late[0]));
    assert!(!sync.came(peer(3), &late[0]), "one of two answers is enough");
    assert!(sync.verified(&peer(1), &late[0], &answer(&truth, &late[0], 9_999), Mono(2_001)));
    assert!(!sync.verified(&peer(3), &late[0], &answer(&truth, &late[0], 9_999), Mono(2_002)));
    assert!(sync.patience < 2 * STALL_MIN_MILLIS);
    for _ in 0..20 {
        sync.give_up_on_stalled(Mono(10_000_000));
        sync.ask(Mono(100_000_000));
        sync.give_up_on_stalled(Mono(200_000_000));
    }
    assert!(sync.patience <= STALL_MAX_MILLIS);
}

#[test]
fn what_a_lost_peer_owed_is_asked_again_and_what_was_refused_too() {
    let truth = trie(&accounts(1, 1_000));
    let mut sync = StateSync::new(header(16, &truth));
    sync.add_peer(peer(1));
    let plan = sync.ask(Mono(0));
    assert!(sync.came(peer(1), &plan[0].1));
    sync.refused(&peer(1), &plan[0].1);
    sync.remove_peer(&peer(1));
    sync.add_peer(peer(2));
    assert_eq!(
        sync.ask(Mono(1)).iter().map(|(_, piece)| *piece).collect::<Vec<_>>(),
        plan.iter().map(|(_, piece)| *piece).collect::<Vec<_>>()
    );
}

#[test]
fn peers_without_this_pivot_are_not_asked_until_it_moves() {
    let truth = trie(&accounts(1, 1_000));
    let mut sync = StateSync::new(header(16, &truth));
    sync.add_peer(peer(1));
    sync.add_peer(peer(2));
    let plan = sync.ask(Mono(0));
    for (by, piece) in &plan {
        sync.gone(by, piece);
    }
    assert!(sync.is_stranded() && sync.ask(Mono(99_999)).is_empty());
    sync.moved(header(32, &truth), Trie::default());
    assert!(!sync.is_stranded());
    assert_eq!(sync.ask(Mono(0)).len(), 2 * MAX_REQUESTS_PER_PEER);
    // An answer to a question about the old pivot changes nothing.
    assert!(!sync.came(peer(1), &plan[0].1));
    assert!(!sync.verified(&peer(1), &plan[0].1, &answer(&truth, &plan[0].1, 9), Mono(0)));
    sync.gone(&peer(1), &plan[0].1);
    assert!(!sync.peers[&peer(1)].gone);
}

#[test]
fn progress_is_told_from_the_share_of_keys_that_is_covered() {
    let truth = trie(&accounts(1, 4_000));
    let mut sync = StateSync::new(header(16, &truth));
    assert_eq!(sync.progress(Mono(0)), Progress::default());
    sync.add_peer(peer(1));
    for step in 1..=4 {
        for (by, piece) in sync.ask(Mono(step * 1000)) {
            sync.came(by, &piece);
            sync.verified(&by, &piece, &answer(&truth, &piece, 50), Mono(step * 1000));
        }
    }
    let progress = sync.progress(Mono(4_000));
    assert_eq!(progress.done, 4 * 4 * 50);
    assert!((3_500..4_500).contains(&progress.total), "{progress:?}");
    assert!((190..=260).contains(&progress.rate), "{progress:?}");
    assert_eq!(sync.progress(Mono(60_000)).rate, 0);
}

/// Servers that forget, stall, vanish and return, and a chain that goes on: whatever happens, what is downloaded in the end
/// is the state of the last pivot.
#[test]
fn a_download_ends_with_the_pivots_state_whatever_servers_do_and_however_often_the_pivot_moves() {
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let mut model = accounts(seed, 300);
        let mut truth = trie(&model);
        let mut height = 16;
        let mut sync = StateSync::new(header(height, &truth));
        let mut now = Mono(0);
        let mut rows = BTreeMap::new();
        let mut flying: Vec<(PeerId, Piece)> = Vec::new();
        for step in 0.. {
            assert!(step < 20_000, "seed {seed} does not end");
            now = now + 100;
            sync.add_peer(peer(1 + u8::try_from(dice.below(4)).unwrap()));
            flying.extend(sync.ask(now));
            let mut in_flight = BTreeSet::new();
            for range in &sync.ranges {
                if let (Flight::Asked(..), Some(next)) = (range.flight, range.next) {
                    assert!(in_flight.insert(next));
                }
            }
            if sync.is_complete() {
                break;
            }
            if flying.is_empty() {
                continue;
            }
            let (by, piece) = flying.swap_remove(dice.below(flying.len()));
            match dice.below(12) {
                0 => sync.failed(&by, &piece, now),
                1 => sync.gone(&by, &piece),
                2 => sync.remove_peer(&by),
                3 => flying.push((by, piece)),
                4 => {
                    if sync.came(by, &piece) {
                        sync.refused(&by, &piece);
                    }
                }
                5 => {
                    // The chain goes on: some accounts change, come or go.
                    let mut changes = BTreeMap::new();
                    for _ in 0..20 {
                        let key = Hash::of(&(dice.below(330) as u64).to_le_bytes());
                        let there = dice.below(4) > 0;
                        let balance = Amount(if there { 1 + dice.below(1_000) as u64 } else { 0 });
                        changes.insert(key, Account { nonce: 0, balance });
                    }
                    model.extend(&changes);
                    model.retain(|_, account| !account.is_absent());
                    truth = truth.update(&changes).unwrap();
                    changes.retain(|key, _| sync.is_covered(key));
                    rows.extend(&changes);
                    rows.retain(|_, account: &mut Account| !account.is_absent());
                    height += 16;
                    let have = sync.have().update(&changes).unwrap();
                    sync.moved(header(height, &truth), have);
                }
                _ => {
                    let current = piece.pivot == sync.pivot().hash();
                    if sync.came(by, &piece) {
                        assert!(current);
                        let range = answer(&truth, &piece, 1 + dice.below(20));
                        assert!(sync.verified(&by, &piece, &range, now));
                        rows.extend(range.leaves.iter().copied());
                    }
                }
            }
            if sync.is_stranded() {
                sync.moved(header(height, &truth), sync.have().clone());
            }
        }
        assert_eq!(sync.have().root(), sync.pivot().content.state_root, "seed {seed}");
        assert_eq!((sync.have().root(), rows), (truth.root(), model), "seed {seed}");
    }
}
