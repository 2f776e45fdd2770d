//! A file that is fetched from several peers, some of whom lie.

use std::{collections::BTreeSet, sync::OnceLock};

use libp2p::PeerId;
use weft_core::{
    content::{Arrival, CHUNK_BYTES, ContentResponse, Failed, Fetch, Maker, Manifest, Part},
    primitives::Mono,
};

use super::gossip::peer;
use crate::steps::{step, steps};

// The kinds of steps. Where there is a first byte, it chooses a peer, or one of the questions that are not answered.
const ADD: u8 = 0;
const RIGHT: u8 = 1;
const FLIPPED: u8 = 2;
const RAW: u8 = 3;
const ABSENT: u8 = 4;
const BUSY: u8 = 5;
const FAIL: u8 = 6;
const NONSENSE: u8 = 7;
const GONE: u8 = 8;
const WAIT: u8 = 9;
const KINDS: u8 = 10;
/// The peers there are.
const PEERS: u8 = 6;
/// The most steps of one input: many of them mean that a chunk is hashed.
const MAX_STEPS: usize = 64;

/// A whole chunk and a bit, and what it consists of.
fn file() -> &'static (Manifest, Vec<Vec<u8>>) {
    static FILE: OnceLock<(Manifest, Vec<Vec<u8>>)> = OnceLock::new();
    FILE.get_or_init(|| {
        let chunks = vec![vec![1; CHUNK_BYTES], vec![3; 40]];
        let mut maker = Maker::default();
        chunks.iter().for_each(|chunk| maker.add(chunk).expect("a chunk"));
        (maker.finish("a song.ogg"), chunks)
    })
}

/// What an honest peer answers.
fn right(part: Part) -> ContentResponse {
    let (manifest, chunks) = file();
    match part {
        Part::Manifest => ContentResponse::Manifest(manifest.to_bytes()),
        Part::Chunk(index) => ContentResponse::Chunk(chunks[index as usize].clone()),
    }
}

fn some_peer(byte: u8) -> PeerId {
    static PEERS_OF: OnceLock<Vec<PeerId>> = OnceLock::new();
    PEERS_OF.get_or_init(|| (0..PEERS).map(peer).collect())[usize::from(byte % PEERS)]
}

struct Bench {
    fetch: Fetch,
    now: Mono,
    /// What was asked of whom, and not answered as far as we know: who is given up is not waited for.
    asked: Vec<(PeerId, Part)>,
    liars: BTreeSet<PeerId>,
    has_manifest: bool,
    chunks: BTreeSet<u32>,
}

impl Bench {
    fn in_flight(&self) -> usize {
        self.fetch.held()[2].count
    }

    /// Asks all that is to be asked.
    fn ask(&mut self) {
        while let Some((peer, part)) = self.fetch.next_ask(self.now) {
            assert!(!self.liars.contains(&peer), "a liar is asked again");
            match part {
                Part::Manifest => assert!(!self.has_manifest, "it is here"),
                Part::Chunk(index) => {
                    assert!(self.has_manifest && (index as usize) < file().1.len());
                    assert!(!self.chunks.contains(&index), "chunk {index} is here");
                }
            }
            self.asked.push((peer, part));
        }
        for held in self.fetch.held() {
            assert!(held.count <= held.limit, "{} {} of {}", held.count, held.what, held.limit);
        }
        assert_eq!(self.fetch.is_done(), self.chunks.len() == file().1.len());
    }

    fn answer(&mut self, (peer, part): (PeerId, Part), response: ContentResponse) {
        let is_right = response == right(part);
        let is_other = matches!(response, ContentResponse::Manifest(_) | ContentResponse::Chunk(_));
        let waiting = self.in_flight();
        let arrival = self.fetch.answered(&peer, part, response, self.now);
        let was_asked = self.in_flight() < waiting;
        match arrival {
            Arrival::Manifest(manifest) => {
                assert!(is_right && manifest == file().0, "a forged manifest");
                assert!(!std::mem::replace(&mut self.has_manifest, true), "a second manifest");
            }
            Arrival::Chunk(index, bytes) => {
                assert!(is_right && part == Part::Chunk(index) && bytes == file().1[index as usize]);
                assert!(self.chunks.insert(index), "chunk {index} for the second time");
            }
            Arrival::Wrong(_) => {
                assert!(!is_right && is_other, "an honest peer is blamed");
                self.liars.insert(peer);
            }
            Arrival::NoFile(error) => panic!("the file is none: {error}"),
            Arrival::Nothing => assert!(!was_asked || is_right || !is_other, "a lie that nobody sees"),
        }
        assert!(!self.liars.contains(&peer) || !self.fetch.add(peer), "a liar is let in again");
    }

    fn step(&mut self, kind: u8, data: &[u8]) {
        let (first, rest) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
        let peer = some_peer(first);
        let question = (!self.asked.is_empty()).then(|| usize::from(first) % self.asked.len());
        match (kind, question) {
            (ADD, _) => assert!(!self.fetch.add(peer) || !self.liars.contains(&peer)),
            (NONSENSE, _) => {
                self.fetch.gave_nonsense(&peer);
                self.liars.insert(peer);
            }
            (GONE, _) => self.fetch.gone(&peer),
            (WAIT, _) => {
                let millis = data.first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
                self.now = self.now + u64::from(millis);
            }
            (_, Some(at)) => {
                let question = self.asked.swap_remove(at);
                let response = match kind {
                    RIGHT => Ok(right(question.1)),
                    FLIPPED => Ok(flipped(right(question.1), rest)),
                    RAW => ContentResponse::from_bytes(rest).map_err(|_| Failed::NoAnswer),
                    ABSENT => Ok(ContentResponse::Absent),
                    BUSY => Ok(ContentResponse::Busy),
                    _ if rest.first().is_some_and(|byte| byte & 1 != 0) => Err(Failed::Unsupported),
                    _ => Err(Failed::NoAnswer),
                };
                match response {
                    Ok(response) => self.answer(question, response),
                    Err(why) => self.fetch.failed(&question.0, question.1, why, self.now),
                }
            }
            (_, None) => {}
        }
        self.ask();
    }
}

/// An answer with one bit that is another.
fn flipped(response: ContentResponse, how: &[u8]) -> ContentResponse {
    let flip = |mut bytes: Vec<u8>| {
        let at = how.first_chunk().map_or(0, |bytes| usize::from(u16::from_le_bytes(*bytes))) % bytes.len();
        bytes[at] ^= 1 << (how.last().copied().unwrap_or_default() % 8);
        bytes
    };
    match response {
        ContentResponse::Manifest(bytes) => ContentResponse::Manifest(flip(bytes)),
        ContentResponse::Chunk(bytes) => ContentResponse::Chunk(flip(bytes)),
        other => other,
    }
}

/// See the [module](self). Valid when the whole file has come.
pub fn fetch(data: &[u8]) -> bool {
    let mut bench = Bench {
        fetch: Fetch::new(file().0.hash()),
        now: Mono(1),
        asked: Vec::new(),
        liars: BTreeSet::new(),
        has_manifest: false,
        chunks: BTreeSet::new(),
    };
    for (kind, bytes) in steps(data).take(MAX_STEPS) {
        bench.step(kind % KINDS, bytes);
    }
    assert!(!bench.fetch.is_done() || bench.fetch.next_due(bench.now).is_none());
    bench.fetch.is_done()
}

/// From one peer, from three, and from three of whom two lie or are slow.
pub fn fetch_seeds() -> Vec<Vec<u8>> {
    let add = |count: u8| (0..count).flat_map(|who| step(ADD, &[who])).collect::<Vec<_>>();
    let answers = |count: usize| step(RIGHT, &[0]).repeat(count);
    let trouble = [
        step(FLIPPED, &[0, 5, 0, 3]),
        step(RIGHT, &[0]),
        step(ABSENT, &[0]),
        step(FLIPPED, &[1, 9, 1, 1]),
        step(RAW, &[&[0], ContentResponse::Chunk(vec![3; 40]).to_bytes().as_slice()].concat()),
        step(BUSY, &[0]),
        step(FAIL, &[0, 0]),
        step(WAIT, &9_000_u16.to_le_bytes()),
        step(GONE, &[1]),
        step(NONSENSE, &[2]),
    ];
    vec![
        [add(1), answers(3)].concat(),
        [add(3), answers(8)].concat(),
        [add(3), trouble.concat(), step(ADD, &[3]), step(ADD, &[4]), answers(20)].concat(),
    ]
}
