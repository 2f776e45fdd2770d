#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeMap;

use chacha20::ChaCha8Rng;
use libp2p::{Multiaddr, PeerId};
use rand_core::SeedableRng;

use super::*;
use crate::primitives::SecretKey;

const DAY: u64 = 24 * 60 * 60 * 1000;
const NOW: Wall = Wall(1_700_000_000_000);

fn peer(number: u32) -> PeerId {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    let key = SecretKey::from_seed(seed).public();
    super::super::identity::peer_id(&key).unwrap()
}

fn address(a: u8, b: u8, c: u8, d: u8) -> Multiaddr {
    format!("/ip4/{a}.{b}.{c}.{d}/tcp/4100").parse().unwrap()
}

fn rumour(peer: PeerId, at: &Multiaddr, teller: &Multiaddr) -> Rumour {
    let teller = Group::of(teller);
    Rumour { peer, addresses: vec![at.clone()], record: None, found: Found::Exchange, teller }
}

fn book() -> Book {
    Book::new([7; 32], BookShape::NATIVE, Guards::ALL)
}

fn small() -> Book {
    Book::new([7; 32], BookShape { new: 4, tried: 1, places: 1 }, Guards::ALL)
}

fn later(millis: u64) -> Wall {
    Wall(NOW.0 + millis)
}

#[test]
fn who_is_heard_of_is_new_and_who_answers_is_tried() {
    let (mut book, at) = (book(), address(8, 8, 8, 8));
    assert!(book.heard(rumour(peer(1), &at, &at), NOW));
    assert_eq!(book.count(), (1, 0));
    book.answered(&peer(1), &at, NOW);
    assert_eq!(book.count(), (0, 1));
    assert_eq!(book.found(&peer(1)).collect::<Vec<_>>(), [Found::Exchange]);
    assert!(!book.heard(Rumour { addresses: vec![], ..rumour(peer(2), &at, &at) }, NOW), "nowhere to dial");
}

#[test]
fn who_never_answers_is_given_up_and_who_once_did_is_not_at_once() {
    let (mut book, at) = (book(), address(8, 8, 8, 8));
    book.heard(rumour(peer(1), &at, &at), NOW);
    book.heard(rumour(peer(2), &at, &at), NOW);
    book.answered(&peer(2), &at, NOW);
    for attempt in 1..=4 {
        book.failed(&peer(1), later(attempt * TEST_MILLIS));
        book.failed(&peer(1), later(attempt * TEST_MILLIS + 1));
        book.failed(&peer(2), later(attempt * TEST_MILLIS));
        assert_eq!(book.entries.contains_key(&peer(1)), attempt < u64::from(NEVER_ANSWERED), "{attempt}");
        assert!(book.entries.contains_key(&peer(2)));
    }
    for attempt in 0..u64::from(LONG_SILENT) {
        book.failed(&peer(2), later(8 * DAY + attempt * TEST_MILLIS));
    }
    assert!(!book.entries.contains_key(&peer(2)));
}

#[test]
fn a_book_is_written_down_row_by_row_and_taken_back() {
    let mut book = book();
    for number in 0..50 {
        let at = address(8, number as u8, 8, 8);
        book.heard(rumour(peer(number), &at, &at), NOW);
        if number % 2 == 0 {
            book.answered(&peer(number), &at, NOW);
        }
    }
    let rows = book.take_changes();
    assert_eq!(rows.len(), 50);
    assert!(book.take_changes().is_empty());
    let mut again = super::Book::new([7; 32], BookShape::NATIVE, Guards::ALL);
    for (peer, row) in &rows {
        assert!(again.restore(*peer, row.as_ref().unwrap()));
        assert!(!again.restore(*peer, row.as_ref().unwrap()), "twice in the same place");
        assert!(!again.restore(*peer, &[1, 2, 3]));
    }
    assert_eq!(again.count(), book.count());
    assert_eq!(again.places, book.places);
    for _ in 0..NEVER_ANSWERED {
        let mut at = NOW;
        at.0 += DAY * u64::from(again.entries[&peer(1)].0.failures + 1);
        again.failed(&peer(1), at);
    }
    assert_eq!(again.take_changes(), [(peer(1), None)], "who is forgotten is wiped out");
}

#[test]
fn a_newer_record_replaces_addresses_but_not_the_one_that_answered() {
    let (mut book, at) = (book(), address(8, 8, 8, 8));
    let key = SecretKey::from_seed([1; 32]);
    let record = |issued, d| PeerRecord::sign(&key, &Hash::ZERO, Wall(issued), &[address(9, 9, 9, d)]);
    let told = |record: &PeerRecord| Rumour {
        peer: record.peer().unwrap(),
        addresses: record.addresses(),
        record: Some(record.clone()),
        found: Found::Exchange,
        teller: Group::of(&at),
    };
    let id = record(1, 1).peer().unwrap();
    let known = |book: &Book| book.entries[&id].0.addresses();
    book.heard(told(&record(5, 1)), NOW);
    book.answered(&id, &at, NOW);
    assert_eq!(known(&book), [at.clone(), address(9, 9, 9, 1)]);
    book.heard(told(&record(6, 2)), NOW);
    assert_eq!(known(&book), [at.clone(), address(9, 9, 9, 2)]);
    book.heard(told(&record(4, 3)), NOW);
    assert_eq!(
        book.entries[&id].0.record.as_ref().unwrap().issued(),
        Wall(6),
        "an older one changes nothing"
    );
}

#[test]
fn one_teller_fills_a_small_part_of_the_book_however_much_it_tells() {
    let (mut book, teller) = (book(), address(66, 6, 6, 6));
    for number in 0..30_000 {
        let at = address(8, (number >> 8) as u8, number as u8, 1);
        book.heard(rumour(peer(number), &at, &teller), NOW);
    }
    let (new, _) = book.count();
    assert!(new <= 64 * 64, "{new}");
    let buckets: std::collections::BTreeSet<_> = book.places.keys().map(bucket).collect();
    assert!(buckets.len() <= 64, "{}", buckets.len());
}

#[test]
fn one_network_fills_a_small_part_of_the_tried_however_many_answer_there() {
    let mut book = book();
    for number in 0..2_000 {
        let at = address(66, 6, (number >> 8) as u8, number as u8);
        let teller = address((number % 200) as u8 + 1, 1, 1, 1);
        book.heard(rumour(peer(number), &at, &teller), NOW);
        book.answered(&peer(number), &at, NOW);
    }
    let (_, tried) = book.count();
    assert!(tried <= 8 * 64, "{tried}");
    let tried = book.places.range(Place::Tried(0, 0)..).map(|(place, _)| bucket(place));
    assert!(tried.collect::<std::collections::BTreeSet<_>>().len() <= 8);
}

fn bucket(place: &Place) -> u16 {
    let (Place::New(bucket, _) | Place::Tried(bucket, _)) = place;
    *bucket
}

#[test]
fn a_tried_peer_gives_way_only_after_it_failed_a_test() {
    let mut book = small();
    let mut rng = ChaCha8Rng::from_seed([1; 32]);
    let (first, second) = (address(8, 8, 8, 8), address(9, 9, 9, 9));
    book.heard(rumour(peer(1), &first, &first), NOW);
    book.answered(&peer(1), &first, NOW);
    // Somebody else wants the only place there is, a day later.
    let mut now = later(DAY);
    book.heard(rumour(peer(2), &second, &second), now);
    book.answered(&peer(2), &second, now);
    assert!(book.entries[&peer(1)].0.is_tried && !book.entries[&peer(2)].0.is_tried);
    let (tested, _) = book.to_test(&mut rng, now, &|_| false, &|_, _| true).unwrap();
    assert_eq!(tested, peer(1));
    // It answers: it stays.
    book.answered(&peer(1), &first, now);
    book.settle(now);
    assert!(book.entries[&peer(1)].0.is_tried && book.clashes.is_empty());
    // A day later it does not: it goes.
    now = later(2 * DAY);
    book.answered(&peer(2), &second, now);
    assert_eq!(book.to_test(&mut rng, now, &|_| false, &|_, _| true).unwrap().0, peer(1));
    book.failed(&peer(1), now);
    assert!(book.entries[&peer(2)].0.is_tried);
    assert!(book.entries.get(&peer(1)).is_none_or(|(entry, _)| !entry.is_tried));
}

/// A book in which the second peer wants the place of the first, which is to be tested.
fn clashing() -> (Book, ChaCha8Rng) {
    let mut book = small();
    let (first, second) = (address(8, 8, 8, 8), address(9, 9, 9, 9));
    book.heard(rumour(peer(1), &first, &first), NOW);
    book.answered(&peer(1), &first, NOW);
    book.heard(rumour(peer(2), &second, &second), later(DAY));
    book.answered(&peer(2), &second, later(DAY));
    assert_eq!(book.clashes.len(), 1);
    (book, ChaCha8Rng::from_seed([1; 32]))
}

#[test]
fn a_tried_peer_that_is_connected_has_passed_its_test() {
    let (mut book, mut rng) = clashing();
    book.to_test(&mut rng, later(DAY), &|it| *it == peer(1), &|it, _| *it != peer(1));
    assert!(book.clashes.is_empty(), "nobody waits for its end");
    assert!(book.entries[&peer(1)].0.is_tried && !book.entries[&peer(2)].0.is_tried);
}

#[test]
fn a_tried_peer_that_cannot_be_tested_gives_way_in_time() {
    let (mut book, mut rng) = clashing();
    for _ in 1..CLASH_TURNS {
        assert_eq!(
            book.to_test(&mut rng, later(DAY), &|_| false, &|it, _| *it != peer(1)).map(|it| it.0),
            Some(peer(2))
        );
        assert!(book.entries[&peer(1)].0.is_tried);
    }
    book.to_test(&mut rng, later(DAY), &|_| false, &|_, _| false);
    assert!(book.clashes.is_empty() && book.entries[&peer(2)].0.is_tried);
}

#[test]
fn a_place_is_taken_from_the_useless_only() {
    let mut book = Book::new([7; 32], BookShape { new: 1, tried: 1, places: 1 }, Guards::ALL);
    let at = address(8, 8, 8, 8);
    assert!(book.heard(rumour(peer(1), &at, &at), NOW));
    assert!(!book.heard(rumour(peer(2), &at, &at), NOW));
    assert!(book.heard(rumour(peer(3), &at, &at), later(HORIZON_MILLIS + 1)));
    assert_eq!(book.count(), (1, 0));
}

#[test]
fn picks_spread_over_all_and_spare_those_that_fail() {
    let mut book = book();
    let mut rng = ChaCha8Rng::from_seed([2; 32]);
    assert!(book.pick(&mut rng, NOW, &|_, _| true).is_none());
    for number in 0..100 {
        let at = address(8, number as u8, 8, 8);
        book.heard(rumour(peer(number), &at, &at), NOW);
        if number < 50 {
            book.answered(&peer(number), &at, Wall(NOW.0 - DAY));
        }
    }
    // The one that answered once and has failed since.
    for attempt in 0..6 {
        book.failed(&peer(0), Wall(NOW.0 - DAY / 2 + attempt * TEST_MILLIS));
    }
    let mut picked = BTreeMap::new();
    for _ in 0..20_000 {
        let (peer, addresses) = book.pick(&mut rng, NOW, &|_, _| true).unwrap();
        assert_eq!(addresses.len(), 1);
        *picked.entry(peer).or_insert(0) += 1;
    }
    let count = |number| picked.get(&peer(number)).copied().unwrap_or(0);
    let least = (1..100).map(count).min();
    assert!(least > Some(60), "{least:?}");
    assert!(count(0) * 8 < (1..50).map(count).sum::<i32>() / 49, "{}", count(0));
    let tried: i32 = (0..50).map(count).sum();
    assert!((9_000..11_000).contains(&tried), "half of the picks are tried ones: {tried}");
    assert!(book.pick(&mut rng, NOW, &|_, _| false).is_none());
    let only = book.pick(&mut rng, NOW, &|candidate, _| *candidate == peer(7));
    assert!(only.is_none_or(|(picked, _)| picked == peer(7)));
}

#[test]
fn samples_are_of_those_that_can_be_passed_on() {
    let mut book = book();
    let mut rng = ChaCha8Rng::from_seed([3; 32]);
    for seed in 1..=40 {
        let issued = if seed <= 10 { Wall(NOW.0 - 2 * DAY) } else { NOW };
        let at = address(8, seed, 8, 8);
        let record = PeerRecord::sign(
            &SecretKey::from_seed([seed; 32]),
            &Hash::ZERO,
            issued,
            std::slice::from_ref(&at),
        );
        let told = Rumour { record: Some(record.clone()), ..rumour(record.peer().unwrap(), &at, &at) };
        assert!(book.heard(told, NOW));
    }
    let sample = book.sample(&mut rng, 12, NOW);
    assert_eq!(sample.len(), 12);
    assert!(sample.iter().all(|record| record.issued() == NOW));
    let all = book.sample(&mut rng, 100, NOW);
    let peers: std::collections::BTreeSet<_> = all.iter().map(PeerRecord::peer).collect();
    assert_eq!((all.len(), peers.len()), (30, 30), "each once");
}

/// How many of `picks` outbound connections reach an attacker who fills the book as well as it can from `networks` networks, each
/// with 200 addresses, when 300 honest peers in as many networks are known and a fifth of them are tried.
fn captured(mut book: Book, networks: u8, picks: u32) -> u32 {
    let mut rng = ChaCha8Rng::from_seed([4; 32]);
    let honest = |number: u32| peer(number);
    for number in 0..300 {
        let at = address(20 + (number / 200) as u8, (number % 200) as u8, 1, 1);
        let teller = address(20, (number * 7 % 200) as u8, 1, 1);
        book.heard(rumour(honest(number), &at, &teller), NOW);
        if number % 5 == 0 {
            book.answered(&honest(number), &at, NOW);
        }
    }
    let now = later(DAY);
    for round in 0..3 {
        for number in 0..u32::from(networks) * 200 {
            let network = (number / 200) as u8;
            let at = address(200, network, 1, (number % 200) as u8);
            let teller = address(200, (network + round) % networks, 9, 9);
            book.heard(rumour(peer(1_000 + number), &at, &teller), now);
            // It connects to us, and we test it: it answers.
            book.answered(&peer(1_000 + number), &at, now);
        }
    }
    let attackers: std::collections::BTreeSet<_> =
        (0..u32::from(networks) * 200).map(|it| peer(1_000 + it)).collect();
    let mut caught = 0;
    for _ in 0..picks {
        let (picked, _) = book.pick(&mut rng, later(2 * DAY), &|_, _| true).unwrap();
        caught += u32::from(attackers.contains(&picked));
    }
    caught
}

#[test]
fn who_knows_the_key_can_aim_at_one_place_and_nobody_else_can() {
    let at = address(8, 8, 8, 8);
    let place = |key: u8, number: u32| {
        let (mut book, peer) = (Book::new([key; 32], BookShape::NATIVE, Guards::ALL), peer(number));
        book.heard(rumour(peer, &at, &at), NOW);
        book.entries[&peer].1
    };
    let victim = place(7, 0);
    let aimed: Vec<u32> = (1..1_000).filter(|number| place(7, *number) == victim).collect();
    assert!(aimed.len() >= 8, "{} of a thousand names", aimed.len());
    let spread: std::collections::BTreeSet<Place> = aimed.iter().map(|number| place(8, *number)).collect();
    assert!(2 * spread.len() > aimed.len(), "{} names have {} places", aimed.len(), spread.len());
}

#[test]
fn an_attacker_with_few_networks_does_not_capture_all_connections() {
    for (networks, most) in [(1, 100), (10, 450)] {
        let caught = captured(book(), networks, 1_000);
        // From a plain list of all addresses, as many as it has of them.
        let from_list = 1_000 * u32::from(networks) * 200 / (u32::from(networks) * 200 + 300);
        println!("{networks} networks capture {caught} of 1,000 picks; of a plain list {from_list}");
        assert!(caught < most && caught * 2 < from_list, "{networks} networks: {caught}");
    }
}
