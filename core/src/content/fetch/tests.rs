//! Whole files from peers that answer, answer late, lie, lack parts, or vanish.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::content::{CHUNK_BYTES, Maker};

fn peer(byte: u8) -> PeerId {
    let mut seed = [byte; 32];
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

/// A small generator, so that runs repeat.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

struct Source {
    manifest: Manifest,
    chunks: Vec<Vec<u8>>,
}

impl Source {
    fn new(seed: u64, bytes: usize) -> Self {
        let mut dice = Dice(seed);
        let file: Vec<u8> = (0..bytes).map(|_| dice.below(256) as u8).collect();
        let mut maker = Maker::default();
        file.chunks(CHUNK_BYTES).for_each(|chunk| maker.add(chunk).unwrap());
        Self { manifest: maker.finish("f"), chunks: file.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect() }
    }

    fn answer(&self, part: Part) -> ContentResponse {
        match part {
            Part::Manifest => ContentResponse::Manifest(self.manifest.to_bytes()),
            Part::Chunk(index) => ContentResponse::Chunk(self.chunks[index as usize].clone()),
        }
    }

    /// A fetch that knows what the file consists of.
    fn begun(&self, peers: &[PeerId]) -> Fetch {
        let mut fetch = Fetch::new(self.manifest.hash());
        peers.iter().for_each(|peer| assert!(fetch.add(*peer)));
        fetch.manifest = Some(self.manifest.clone());
        fetch
    }
}

fn asks(fetch: &mut Fetch, now: u64) -> Vec<(PeerId, Part)> {
    std::iter::from_fn(|| fetch.next_ask(Mono(now))).collect()
}

#[test]
fn any_file_comes_whole_from_several_at_once_and_nothing_twice() {
    for (seed, bytes) in [(1, 0), (2, 1), (3, CHUNK_BYTES), (4, 5 * CHUNK_BYTES + 1), (5, 40 * CHUNK_BYTES)] {
        let source = Source::new(seed, bytes);
        let peers = [peer(1), peer(2), peer(3)];
        let mut fetch = Fetch::new(source.manifest.hash());
        peers.iter().for_each(|peer| assert!(fetch.add(*peer)));
        let (mut file, mut from) = (vec![None; source.chunks.len()], BTreeMap::<_, u32>::new());
        let (mut dice, mut waiting, mut now) = (Dice(seed), Vec::new(), 0);
        while !fetch.is_done() {
            waiting.extend(asks(&mut fetch, now));
            now += 20;
            let (peer, part) = waiting.swap_remove(dice.below(waiting.len()));
            match fetch.answered(&peer, part, source.answer(part), Mono(now)) {
                Arrival::Manifest(manifest) => assert_eq!(manifest, source.manifest),
                Arrival::Chunk(index, bytes) => {
                    assert_eq!(file[index as usize].replace(bytes), None, "twice");
                    *from.entry(peer).or_default() += 1;
                }
                Arrival::Nothing if part == Part::Manifest => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(file.into_iter().map(Option::unwrap).collect::<Vec<_>>(), source.chunks);
        assert!(
            bytes < 40 * CHUNK_BYTES || from.len() == 3 && from.values().all(|chunks| *chunks >= 3),
            "{from:?}"
        );
        assert!(asks(&mut fetch, now).is_empty() && fetch.next_due(Mono(now)).is_none());
    }
}

#[test]
fn every_wrong_byte_blames_its_sender_and_nobody_else() {
    let source = Source::new(7, CHUNK_BYTES + 9);
    let (liar, honest) = (peer(1), peer(2));
    let manifest = source.manifest.to_bytes();
    for place in 0..manifest.len() {
        let mut fetch = Fetch::new(source.manifest.hash());
        assert!(fetch.add(liar));
        assert_eq!(asks(&mut fetch, 0), [(liar, Part::Manifest)]);
        let mut wrong = manifest.clone();
        wrong[place] ^= 1;
        let response = ContentResponse::Manifest(wrong);
        let arrival = fetch.answered(&liar, Part::Manifest, response, Mono(1));
        assert_eq!(arrival, Arrival::Wrong(Offence::WrongBody), "byte {place}");
        assert!(!fetch.add(liar), "it is not asked again");
        assert!(fetch.add(honest));
        assert_eq!(asks(&mut fetch, 2), [(honest, Part::Manifest)]);
    }
    for place in (0..CHUNK_BYTES).step_by(4_099).chain([CHUNK_BYTES - 1]) {
        let mut fetch = source.begun(&[liar]);
        assert_eq!(asks(&mut fetch, 0).len(), 2);
        let mut wrong = source.chunks[0].clone();
        wrong[place] ^= 0x80;
        let arrival = fetch.answered(&liar, Part::Chunk(0), ContentResponse::Chunk(wrong), Mono(1));
        assert_eq!(arrival, Arrival::Wrong(Offence::WrongBody), "byte {place}");
        assert!(fetch.add(honest));
        let again: BTreeSet<_> = asks(&mut fetch, 2).into_iter().collect();
        assert_eq!(again, BTreeSet::from([0, 1].map(|index| (honest, Part::Chunk(index)))));
        for index in [0, 1] {
            let arrival =
                fetch.answered(&honest, Part::Chunk(index), source.answer(Part::Chunk(index)), Mono(3));
            assert!(matches!(arrival, Arrival::Chunk(..)));
        }
        assert!(fetch.is_done());
    }
    // Right bytes in the wrong place, too few, too many, or of another kind.
    for response in [
        source.answer(Part::Chunk(1)),
        ContentResponse::Chunk(source.chunks[0][1..].to_vec()),
        ContentResponse::Chunk([&source.chunks[0][..], &[0]].concat()),
        ContentResponse::Chunk(Vec::new()),
        source.answer(Part::Manifest),
    ] {
        let mut fetch = source.begun(&[liar]);
        asks(&mut fetch, 0);
        assert!(matches!(fetch.answered(&liar, Part::Chunk(0), response, Mono(1)), Arrival::Wrong(_)));
    }
}

#[test]
fn a_name_of_something_else_ends_the_fetch_and_blames_nobody() {
    let bytes = b"no manifest".to_vec();
    let mut fetch = Fetch::new(Hash::of(&bytes));
    assert!(fetch.add(peer(1)));
    asks(&mut fetch, 0);
    let arrival = fetch.answered(&peer(1), Part::Manifest, ContentResponse::Manifest(bytes), Mono(1));
    assert!(matches!(arrival, Arrival::NoFile(ManifestError::Version(b'n'))), "{arrival:?}");
}

#[test]
fn what_is_waited_for_too_long_is_asked_elsewhere_and_the_slow_one_for_less() {
    let source = Source::new(8, 12 * CHUNK_BYTES);
    let (slow, fast) = (peer(1), peer(2));
    let mut fetch = source.begun(&[slow, fast]);
    let (mut held, mut now) = (BTreeSet::new(), 0);
    loop {
        for (peer, part) in asks(&mut fetch, now) {
            if peer == slow {
                held.insert(part);
            } else {
                let arrival = fetch.answered(&fast, part, source.answer(part), Mono(now + 50));
                assert!(matches!(arrival, Arrival::Chunk(..)), "{part:?} was not missing");
            }
        }
        now += 50;
        if fetch.is_done() {
            break;
        }
        if asks(&mut fetch.clone(), now).is_empty() {
            now = fetch.next_due(Mono(now)).unwrap().0;
        }
    }
    assert_eq!(held.len(), FIRST_WINDOW, "the slow one was not asked for more");
    assert!((MIN_PATIENCE_MILLIS..2 * MIN_PATIENCE_MILLIS).contains(&now), "{now}");
    assert_eq!(fetch.providers[&slow].window, 1);
    for part in held {
        assert_eq!(
            fetch.answered(&slow, part, source.answer(part), Mono(now)),
            Arrival::Nothing,
            "late, not wrong"
        );
    }
    assert!(!fetch.is_alone());
}

#[test]
fn who_vanishes_fails_or_is_busy_keeps_nothing_up() {
    let source = Source::new(9, 4 * CHUNK_BYTES);
    let [one, two] = [peer(1), peer(2)];
    let mut fetch = source.begun(&[one, two]);
    let asked = asks(&mut fetch, 0);
    assert_eq!(asked.len(), 4);
    fetch.gone(&one);
    assert!(asks(&mut fetch, 0).is_empty(), "the other has as much as it is asked for at once");
    for (_, part) in asked.into_iter().filter(|(peer, _)| *peer == two) {
        fetch.failed(&two, part, Failed::NoAnswer, Mono(10));
    }
    assert!(asks(&mut fetch, 10).is_empty(), "it rests");
    let due = fetch.next_due(Mono(10)).unwrap();
    assert_eq!(due, Mono(10 + REST_MILLIS));
    assert_eq!(asks(&mut fetch, due.0), [(two, Part::Chunk(0))]);
    assert_eq!(fetch.answered(&two, Part::Chunk(0), ContentResponse::Busy, due), Arrival::Nothing);
    let later = fetch.next_due(due).unwrap();
    assert_eq!(later, due + 2 * REST_MILLIS);
    let mut now = later;
    for _ in 0..MAX_STRIKES {
        for (peer, part) in asks(&mut fetch, now.0) {
            fetch.failed(&peer, part, Failed::NoAnswer, now);
        }
        now = fetch.next_due(now).unwrap_or(now);
    }
    assert!(fetch.is_alone(), "given up");
    assert!(fetch.add(two), "and it may come back");
    asks(&mut fetch, now.0);
    fetch.failed(&two, Part::Chunk(0), Failed::Unsupported, now);
    assert!(fetch.is_alone());
}

#[test]
fn who_lacks_a_chunk_is_asked_for_others_and_later_again() {
    let source = Source::new(10, 2 * CHUNK_BYTES);
    let mut fetch = source.begun(&[peer(1)]);
    assert_eq!(asks(&mut fetch, 0).len(), 2);
    for index in [0, 1] {
        fetch.answered(&peer(1), Part::Chunk(index), ContentResponse::Absent, Mono(1));
    }
    assert!(asks(&mut fetch, 1).is_empty());
    let due = fetch.next_due(Mono(1)).unwrap();
    assert_eq!(due, Mono(1 + LACKING_MILLIS));
    assert_eq!(asks(&mut fetch, due.0).len(), 2);

    let mut fetch = Fetch::new(source.manifest.hash());
    assert!(fetch.add(peer(1)));
    asks(&mut fetch, 0);
    fetch.answered(&peer(1), Part::Manifest, ContentResponse::Absent, Mono(1));
    assert!(fetch.is_alone());
}

#[test]
fn what_is_asked_at_once_is_bounded() {
    let source = Source::new(11, 64 * CHUNK_BYTES);
    let peers: Vec<_> = (1..=MAX_PEERS as u8).map(peer).collect();
    let mut fetch = source.begun(&peers);
    assert!(!fetch.add(peer(200)), "too many");
    let (mut now, mut most) = (0, 0);
    let mut waiting: Vec<(PeerId, Part)> = Vec::new();
    while !fetch.is_done() {
        waiting.extend(asks(&mut fetch, now));
        assert!(waiting.len() <= MAX_IN_FLIGHT);
        let busiest =
            peers.iter().map(|peer| waiting.iter().filter(|(other, _)| other == peer).count()).max();
        most = most.max(busiest.unwrap_or_default());
        now += 1;
        let (peer, part) = waiting.remove(0);
        fetch.answered(&peer, part, source.answer(part), Mono(now));
    }
    assert!(most <= MAX_WINDOW, "{most}");
    let mut fetch = Fetch::new(Hash::ZERO);
    for liar in 0..MAX_LIARS {
        let mut seed = [3; 32];
        seed[..8].copy_from_slice(&(liar as u64).to_le_bytes());
        let id = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id();
        assert!(fetch.add(id));
        fetch.gave_nonsense(&id);
    }
    assert!(!fetch.add(peer(1)));
}

#[test]
fn the_rate_is_that_of_the_last_seconds() {
    let mut rate = Rate::default();
    assert_eq!(rate.per_second(Mono(9)), 0);
    (0..8).for_each(|second| rate.add(1000, Mono(second * 1000)));
    assert_eq!(rate.per_second(Mono(8000)), 1000);
    assert_eq!(rate.per_second(Mono(60_000)), 0);
}
