//! Fetching one file from several peers at once.
//!
//! First its manifest, from whoever brings it first; then its chunks, each of whoever has least to do. A peer is asked for as many chunks
//! at once as it answers in time: one more with every answer, half as many when it is slow, refuses or fails. A chunk that is waited
//! for too long is asked of somebody else too when there is nothing else to ask them for, and the first right answer counts. Slowness is never punished.
//! Bytes that are not those asked for can only be the doing of whoever sent them, who is not asked again.

mod rate;

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use self::rate::Rate;
use super::{ContentResponse, File, Manifest, ManifestError, shelf::Chunks};
use crate::{
    peers::Offence,
    primitives::{Hash, Held, Mono},
};

/// The most peers that one file is fetched from at a time.
const MAX_PEERS: usize = 20;
/// The most peers that are remembered for having lied about one file; when there are more, nobody new is asked.
const MAX_LIARS: usize = 256;
/// The most requests in flight for one file: 8 MiB of chunks.
const MAX_IN_FLIGHT: usize = 32;
/// The requests in flight to one peer, at first and at most.
const FIRST_WINDOW: usize = 2;
const MAX_WINDOW: usize = 8;
/// The manifest is asked of so many at once.
const MANIFEST_ASKS: usize = 3;
/// A chunk is asked of so many at most.
const MAX_ASKS: usize = 3;
/// The patience with an answer: so many times what the fastest peer takes, between these.
const PATIENCE_TIMES: u64 = 4;
const MIN_PATIENCE_MILLIS: u64 = 1_000;
const MAX_PATIENCE_MILLIS: u64 = 8_000;
/// How long a peer that refused or failed is not asked; doubles with each time in a row.
const REST_MILLIS: u64 = 500;
/// After so many failures in a row a peer is given up.
const MAX_STRIKES: u32 = 6;
/// A peer that lacked chunks may have them after so long: it may be fetching the same file.
const LACKING_MILLIS: u64 = 3_000;

/// What a peer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The manifest.
    Manifest,
    /// A chunk, by its number.
    Chunk(u32),
}

/// What an answer has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// What the file consists of: make a place for it.
    Manifest(Manifest),
    /// A chunk that was missing, and is right: keep it.
    Chunk(u32, Vec<u8>),
    /// What only a liar sends.
    Wrong(Offence),
    /// The name is right, and names no file, whoever brings it.
    NoFile(ManifestError),
    /// Nothing that is of use.
    Nothing,
}

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// There was no answer in time, or the connection could not be used.
    NoAnswer,
    /// The peer does not speak the protocol.
    Unsupported,
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that came a second, lately.
    pub bytes_per_second: u64,
    /// The peers it comes from.
    pub peers: usize,
}

#[derive(Clone, Debug)]
struct Provider {
    /// So many requests at once.
    window: usize,
    resting_until: Mono,
    strikes: u32,
    /// What an answer takes, on average.
    millis: Option<u64>,
    lacks: Chunks,
    lacking_until: Mono,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Mono,
    overdue: bool,
}

/// Fetching one file.
#[derive(Clone, Debug)]
pub struct Fetch {
    content: Hash,
    manifest: Option<Manifest>,
    have: Chunks,
    providers: BTreeMap<PeerId, Provider>,
    liars: BTreeSet<PeerId>,
    in_flight: BTreeMap<(Part, PeerId), Asked>,
    rate: Rate,
}

impl Fetch {
    /// How much this fetch holds.
    #[must_use]
    pub fn held(&self) -> [Held; 3] {
        [
            Held::new("peers asked for a file", self.providers.len(), MAX_PEERS),
            Held::new("peers that lied about a file", self.liars.len(), MAX_LIARS),
            Held::new("questions for a file in flight", self.in_flight.len(), MAX_IN_FLIGHT),
        ]
    }

    /// Nothing is known of the file but its name.
    #[must_use]
    pub fn new(content: Hash) -> Self {
        Self {
            content,
            manifest: None,
            have: Chunks::default(),
            providers: BTreeMap::new(),
            liars: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            rate: Rate::default(),
        }
    }

    /// A part of the file is here already: only the rest is asked for.
    #[must_use]
    pub fn of(content: Hash, file: &File) -> Self {
        let mut fetch = Self::new(content);
        fetch.have = Chunks::first(file.manifest.count());
        file.missing().for_each(|index| fetch.have.remove(index));
        fetch.manifest = Some(file.manifest.clone());
        fetch
    }

    /// A connected peer may have the file. Returns whether it will be asked.
    pub fn add(&mut self, peer: PeerId) -> bool {
        let known = self.providers.contains_key(&peer);
        let full = self.providers.len() >= MAX_PEERS || self.liars.len() >= MAX_LIARS;
        if known || full || self.liars.contains(&peer) {
            return known;
        }
        let provider = Provider {
            window: FIRST_WINDOW,
            resting_until: Mono(0),
            strikes: 0,
            millis: None,
            lacks: Chunks::default(),
            lacking_until: Mono(0),
        };
        self.providers.insert(peer, provider);
        true
    }

    /// A peer can no longer be asked.
    pub fn gone(&mut self, peer: &PeerId) {
        self.providers.remove(peer);
        self.in_flight.retain(|(_, other), _| other != peer);
    }

    /// Whether all of the file is here.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| self.have.count() == manifest.count())
    }

    /// Whether it comes from nobody.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.providers.is_empty()
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self, now: Mono) -> Progress {
        Progress { bytes_per_second: self.rate.per_second(now), peers: self.providers.len() }
    }

    /// What to ask of whom next; call it until there is nothing more.
    pub fn next_ask(&mut self, now: Mono) -> Option<(PeerId, Part)> {
        self.look_for_slow(now);
        if self.is_done() || self.in_flight.len() >= MAX_IN_FLIGHT {
            return None;
        }
        let mut ready: Vec<_> = self
            .providers
            .iter()
            .map(|(peer, it)| (self.busy(peer), it.millis, *peer, it.window, it.resting_until))
            .filter(|(busy, _, _, window, rests)| busy < window && *rests <= now)
            .map(|(busy, millis, peer, ..)| (busy, millis, peer))
            .collect();
        ready.sort_unstable();
        let found = ready.into_iter().find_map(|(_, _, peer)| Some((peer, self.part_for(&peer, now)?)));
        if let Some((peer, part)) = found {
            self.in_flight.insert((part, peer), Asked { at: now, overdue: false });
        }
        found
    }

    fn busy(&self, peer: &PeerId) -> usize {
        self.in_flight.keys().filter(|(_, other)| other == peer).count()
    }

    /// Whom a part was asked of, and whether it is waited for too long.
    fn asked_for(&self, part: Part) -> impl Iterator<Item = (&PeerId, bool)> {
        let of_part = move |entry: &(&(Part, PeerId), &Asked)| entry.0.0 == part;
        self.in_flight.iter().filter(of_part).map(|((_, peer), asked)| (peer, asked.overdue))
    }

    fn part_for(&self, peer: &PeerId, now: Mono) -> Option<Part> {
        let Some(manifest) = &self.manifest else {
            let waited_for = self.asked_for(Part::Manifest).filter(|(_, overdue)| !overdue).count();
            let asked = self.asked_for(Part::Manifest).any(|(other, _)| other == peer);
            return (waited_for < MANIFEST_ASKS && !asked).then_some(Part::Manifest);
        };
        let provider = self.providers.get(peer)?;
        let lacks = |index: u32| provider.lacking_until > now && provider.lacks.has(index);
        let wanted = |index: &u32| !self.have.has(*index) && !lacks(*index);
        let missing = || (0..manifest.count() as u32).filter(wanted);
        let untouched = missing().find(|index| self.asked_for(Part::Chunk(*index)).next().is_none());
        let overdue = || {
            missing().find(|index| {
                let asked = || self.asked_for(Part::Chunk(*index));
                asked().count() < MAX_ASKS && asked().all(|(other, overdue)| overdue && other != peer)
            })
        };
        untouched.or_else(overdue).map(Part::Chunk)
    }

    /// Those who keep us waiting longer than the fastest would are asked for less.
    fn look_for_slow(&mut self, now: Mono) {
        let patience = self.patience();
        for ((_, peer), asked) in &mut self.in_flight {
            if !asked.overdue && now - asked.at >= patience {
                asked.overdue = true;
                if let Some(provider) = self.providers.get_mut(peer) {
                    provider.window = (provider.window / 2).max(1);
                }
            }
        }
    }

    fn patience(&self) -> u64 {
        let fastest = self.providers.values().filter_map(|provider| provider.millis).min();
        let times = fastest.map_or(MAX_PATIENCE_MILLIS / 4, |millis| millis.saturating_mul(PATIENCE_TIMES));
        times.clamp(MIN_PATIENCE_MILLIS, MAX_PATIENCE_MILLIS)
    }

    /// A peer has answered.
    pub fn answered(&mut self, peer: &PeerId, part: Part, response: ContentResponse, now: Mono) -> Arrival {
        let Some(asked) = self.in_flight.remove(&(part, *peer)) else { return Arrival::Nothing };
        let arrival = match (part, response) {
            (Part::Manifest, ContentResponse::Manifest(bytes)) => {
                if Hash::of(&bytes) != self.content {
                    Arrival::Wrong(Offence::WrongBody)
                } else if self.manifest.is_some() {
                    Arrival::Nothing
                } else {
                    match Manifest::from_bytes(&bytes) {
                        Ok(manifest) => {
                            self.manifest = Some(manifest.clone());
                            Arrival::Manifest(manifest)
                        }
                        Err(error) => Arrival::NoFile(error),
                    }
                }
            }
            (Part::Chunk(index), ContentResponse::Chunk(bytes)) => {
                if !self.manifest.as_ref().is_some_and(|manifest| manifest.is_chunk(index, &bytes)) {
                    Arrival::Wrong(Offence::WrongBody)
                } else if self.have.insert(index) {
                    self.rate.add(bytes.len() as u64, now);
                    Arrival::Chunk(index, bytes)
                } else {
                    Arrival::Nothing
                }
            }
            (Part::Manifest, ContentResponse::Absent) => {
                self.gone(peer);
                return Arrival::Nothing;
            }
            (Part::Chunk(index), ContentResponse::Absent) => {
                if let Some(provider) = self.providers.get_mut(peer) {
                    if provider.lacking_until <= now {
                        provider.lacks = Chunks::default();
                        provider.lacking_until = now + LACKING_MILLIS;
                    }
                    provider.lacks.insert(index);
                }
                return Arrival::Nothing;
            }
            (_, ContentResponse::Busy) => {
                self.rest(peer, now);
                return Arrival::Nothing;
            }
            (_, ContentResponse::Manifest(_) | ContentResponse::Chunk(_)) => {
                Arrival::Wrong(Offence::Unrequested)
            }
        };
        match (&arrival, self.providers.get_mut(peer)) {
            (Arrival::Wrong(_), _) => {
                self.gone(peer);
                self.liars.insert(*peer);
            }
            (_, Some(provider)) => {
                let took = now - asked.at;
                provider.strikes = 0;
                provider.millis = Some(provider.millis.map_or(took, |before| (3 * before + took) / 4));
                if !asked.overdue {
                    provider.window = (provider.window + 1).min(MAX_WINDOW);
                }
            }
            (_, None) => {}
        }
        arrival
    }

    /// A request has failed.
    pub fn failed(&mut self, peer: &PeerId, part: Part, why: Failed, now: Mono) {
        if self.in_flight.remove(&(part, *peer)).is_some() {
            match why {
                Failed::Unsupported => self.gone(peer),
                Failed::NoAnswer => self.rest(peer, now),
            }
        }
    }

    /// A peer has sent what is no answer at all: it is not asked again.
    pub fn gave_nonsense(&mut self, peer: &PeerId) {
        self.gone(peer);
        self.liars.insert(*peer);
    }

    fn rest(&mut self, peer: &PeerId, now: Mono) {
        let Some(provider) = self.providers.get_mut(peer) else { return };
        // What was in flight together fails together, and counts once.
        if provider.resting_until > now {
            return;
        }
        provider.window = (provider.window / 2).max(1);
        provider.resting_until = now + (REST_MILLIS << provider.strikes);
        provider.strikes += 1;
        if provider.strikes >= MAX_STRIKES {
            self.gone(peer);
        }
    }

    /// When [`Self::next_ask`] may have more to ask for though nothing has come.
    #[must_use]
    pub fn next_due(&self, now: Mono) -> Option<Mono> {
        if self.is_done() {
            return None;
        }
        let patience = self.patience();
        let overdue = self.in_flight.values().filter(|asked| !asked.overdue).map(|asked| asked.at + patience);
        let rests = self.providers.values().flat_map(|it| [it.resting_until, it.lacking_until]);
        overdue.chain(rests.filter(|at| *at > now)).min()
    }
}

#[cfg(test)]
mod tests;
