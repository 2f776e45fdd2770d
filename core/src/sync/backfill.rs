//! Downloading old headers, from the newest down: each is believed because the one above it names its hash.
//!
//! One question is in flight at a time, since only its answer tells what to ask for next, and the questions go round among
//! the peers. A header that is not the one named is proven malice. A header that *is* the one named and yet breaks a rule of
//! the chain is nobody's fault but that of those who signed what it led to: see [`BackfillError::Broken`].
//!
//! Headers come in *stretches* without a gap. A peer that dies while it downloads, and then begins at a newer block, has two:
//! when the newer one reaches the older, they become one, and nothing is downloaded twice.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};
use libp2p::PeerId;

use super::{Fragment, MAX_HEADERS, Pace, SyncRequest};
use crate::{
    chain::{AuthoritySet, ConsensusRecord, Header},
    primitives::{Hash, Height, Mono, Slot},
};

/// The shortest patience with an answer.
const PATIENCE_MIN_MILLIS: u64 = 2_000;
/// The longest.
const PATIENCE_MAX_MILLIS: u64 = 64_000;
/// How long a peer that failed to answer is not asked again; doubles with each failure in a row.
const REST_MILLIS: u64 = 1_000;
/// How long a peer that does not have the headers is not asked again: it may be downloading them itself.
const LACK_MILLIS: u64 = 60_000;
/// The most stretches that are remembered: as often a peer may die before it has one, and still download nothing twice.
const MAX_STRETCHES: usize = 16;

/// Headers without a gap between them, all of which are kept.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
struct Stretch {
    top: Height,
    top_hash: Hash,
    top_slot: Slot,
    /// The oldest.
    low: Header,
}

impl Stretch {
    fn of(header: Header) -> Self {
        Self { top: header.height(), top_hash: header.hash(), top_slot: header.slot(), low: header }
    }
}

/// How far old headers have come: what is written down of a download.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OldHeaders {
    /// The hash of the genesis header.
    genesis: Hash,
    /// What is being downloaded below, and then what lies further down: at least one, at most [`MAX_STRETCHES`].
    stretches: Vec<Stretch>,
}

impl OldHeaders {
    /// The beginning: this header alone, of the chain with this genesis header; and what was here `before`.
    #[must_use]
    pub fn from(top: Header, genesis: Hash, before: Option<Self>) -> Self {
        let before = before.into_iter().filter(|before| before.genesis == genesis);
        let (below, mut same): (Vec<_>, Vec<_>) =
            before.flat_map(|before| before.stretches).partition(|it| it.top < top.height());
        same.retain(|it| it.top_hash == top.hash());
        let growing = same.pop().unwrap_or_else(|| Stretch::of(top));
        Self { genesis, stretches: std::iter::once(growing).chain(below).take(MAX_STRETCHES).collect() }
    }

    /// The stretch that grows.
    fn growing(&self) -> &Stretch {
        &self.stretches[0]
    }

    /// More headers are kept, which are right below: the growing stretch becomes longer, and takes in what it reaches.
    fn extend(&mut self, headers: &[Header]) {
        let Some(low) = headers.first() else { return };
        self.stretches[0].low = low.clone();
        let hashes: BTreeSet<Hash> = headers.iter().map(Header::hash).collect();
        if let Some(at) = (1..self.stretches.len()).find(|at| hashes.contains(&self.stretches[*at].top_hash))
        {
            let met = self.stretches.remove(at);
            if met.low.height() < self.growing().low.height() {
                self.stretches[0].low = met.low;
            }
        }
        // What was passed by was of another chain.
        let reached = self.growing().low.height();
        let mut index = 0;
        self.stretches.retain(|it| {
            index += 1;
            index == 1 || it.top < reached
        });
    }
}

/// Where a download of old headers ends, and how fast it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Headers of earlier slots than this many before the newest are not wanted, but for one.
    pub slots: u64,
    /// The most headers to ask for at once; at most [`MAX_HEADERS`].
    pub headers: usize,
    /// The time from one question to the next, in milliseconds.
    pub millis: u64,
}

/// How far a download of old headers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldProgress {
    /// Headers that are here.
    pub done: u64,
    /// Headers there are at most.
    pub total: u64,
}

/// What is wrong with headers that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackfillError {
    /// More than were asked for.
    #[error("more headers than were asked for")]
    TooMany,
    /// They are not those that the header above them names.
    #[error("a header is not the one that the header above it names")]
    Unlinked,
    /// They are the ones named, and cannot be on the chain of this genesis: whoever signed what is above them has deceived us.
    #[error("the headers are linked, and are no chain from the genesis")]
    Broken,
}

#[derive(Clone, Copy, Debug, Default)]
struct Server {
    /// How often it was asked.
    asked: u64,
    resting_until: Mono,
    failures: u32,
}

/// The download's state.
#[derive(Clone, Debug)]
pub struct Backfill {
    old: OldHeaders,
    bounds: Bounds,
    servers: BTreeMap<PeerId, Server>,
    asking: Option<(PeerId, Mono)>,
    /// What came is being checked, or on its way to the disk.
    busy: bool,
    patience: u64,
    next: Mono,
    /// How many headers were here when more came.
    pace: Pace,
}

impl Backfill {
    /// Goes on from what is here.
    #[must_use]
    pub fn new(old: OldHeaders, bounds: Bounds, now: Mono) -> Self {
        let servers = BTreeMap::new();
        let (patience, pace) = (PATIENCE_MIN_MILLIS, Pace::default());
        Self { old, bounds, servers, asking: None, busy: false, patience, next: now, pace }
    }

    /// What is here.
    #[must_use]
    pub const fn old(&self) -> &OldHeaders {
        &self.old
    }

    /// The oldest header of those without a gap to the newest.
    #[must_use]
    pub fn low(&self) -> &Header {
        &self.old.growing().low
    }

    /// Whether there is nothing more to ask for.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let Stretch { top_slot, low, .. } = self.old.growing();
        low.height().0 <= 1 || low.slot().0 < top_slot.0.saturating_sub(self.bounds.slots)
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> OldProgress {
        let Stretch { top, low, .. } = self.old.growing();
        let done = top.0.saturating_sub(low.height().0) + 1;
        OldProgress { done, total: top.0.min(self.bounds.slots.saturating_add(1)).max(done) }
    }

    /// Headers a second, lately.
    #[must_use]
    pub fn rate(&self, now: Mono) -> u32 {
        self.pace.rate(now)
    }

    /// A peer is here that may be asked.
    pub fn add_peer(&mut self, peer: PeerId) {
        let least = self.servers.values().map(|server| server.asked).min().unwrap_or_default();
        self.servers.entry(peer).or_insert(Server { asked: least, ..Server::default() });
    }

    /// A peer is gone.
    pub fn remove_peer(&mut self, peer: &PeerId) {
        self.servers.remove(peer);
        self.asking = self.asking.filter(|(by, _)| by != peer);
    }

    /// Whom to ask for what now. Counts as asked.
    pub fn ask(&mut self, now: Mono) -> Option<(PeerId, SyncRequest)> {
        if let Some((peer, since)) = self.asking
            && since + self.patience <= now
        {
            self.patience = (self.patience * 2).min(PATIENCE_MAX_MILLIS);
            self.failed(&peer, now);
        }
        if self.asking.is_some() || self.busy || self.next > now || self.is_complete() {
            return None;
        }
        let able = self.servers.iter_mut().filter(|(_, server)| server.resting_until <= now);
        let (peer, server) = able.min_by_key(|(_, server)| server.asked)?;
        server.asked += 1;
        let peer = *peer;
        self.asking = Some((peer, now));
        self.next = now + self.bounds.millis;
        let max = u32::try_from(self.wanted()).unwrap_or(u32::MAX);
        let low = self.low();
        Some((peer, SyncRequest::HeadersBefore { height: low.height(), hash: low.hash(), max }))
    }

    /// How many headers the next question is for: no more than lie above the next stretch, with its newest one.
    fn wanted(&self) -> usize {
        let next = self.old.stretches.get(1).map_or(Height(1), |next| next.top);
        let gap = self.low().height().0.saturating_sub(next.0);
        usize::try_from(gap).unwrap_or(MAX_HEADERS).min(self.bounds.headers).min(MAX_HEADERS)
    }

    /// The peer that was asked brings headers, oldest first. Answers those that are linked to what is here, which are then to be
    /// [kept](Self::kept) or [dropped](Self::dropped); none, when the peer has none, or was not waited for any more.
    ///
    /// # Errors
    /// Says what is wrong with them.
    pub fn came(
        &mut self,
        peer: &PeerId,
        headers: Vec<Header>,
        now: Mono,
    ) -> Result<Option<Vec<Header>>, BackfillError> {
        if self.asking.is_none_or(|(by, _)| by != *peer) {
            return Ok(None);
        }
        self.asking = None;
        if headers.is_empty() {
            if let Some(server) = self.servers.get_mut(peer) {
                server.resting_until = now + LACK_MILLIS;
            }
            return Ok(None);
        }
        if headers.len() > self.wanted() {
            return Err(BackfillError::TooMany);
        }
        let mut above = self.low();
        for header in headers.iter().rev() {
            if header.hash() != above.content.parent {
                return Err(BackfillError::Unlinked);
            }
            let follows = header.height().0.checked_add(1) == Some(above.height().0)
                && header.slot() < above.slot()
                && header.content.set_id <= above.content.set_id;
            if !follows {
                return Err(BackfillError::Broken);
            }
            above = header;
        }
        if above.height().0 == 1 && above.content.parent != self.old.genesis {
            return Err(BackfillError::Broken);
        }
        self.patience = (self.patience * 7 / 8).max(PATIENCE_MIN_MILLIS);
        if let Some(server) = self.servers.get_mut(peer) {
            server.failures = 0;
        }
        self.busy = true;
        self.pace.note(self.progress().done, now);
        Ok(Some(headers))
    }

    /// A question got no answer, or none of use: the peer rests a while.
    pub fn failed(&mut self, peer: &PeerId, now: Mono) {
        self.asking = self.asking.filter(|(by, _)| by != peer);
        if let Some(server) = self.servers.get_mut(peer) {
            server.failures = (server.failures + 1).min(6);
            server.resting_until = now + (REST_MILLIS << server.failures);
        }
    }

    /// Headers that came are on the disk for good.
    pub fn kept(&mut self, headers: &[Header]) {
        self.busy = false;
        self.old.extend(headers);
    }

    /// Headers that came could not be checked, and are asked for again.
    pub fn dropped(&mut self) {
        self.busy = false;
    }

    /// When something may be overdue, or may be asked.
    #[must_use]
    pub fn next_due(&self, now: Mono) -> Option<Mono> {
        if self.is_complete() {
            return None;
        }
        let overdue = self.asking.iter().map(|(_, since)| *since + self.patience);
        let rested = self.servers.values().map(|server| server.resting_until);
        overdue.chain(rested).chain([self.next]).filter(|due| *due > now).min()
    }
}

/// The authority sets that a chain of fragments proves, and at which heights.
#[derive(Clone, Debug)]
pub struct ProvenSets {
    sets: BTreeMap<u64, AuthoritySet>,
    /// Height of a checkpoint to the id of the set in force after it.
    after: BTreeMap<Height, u64>,
}

impl ProvenSets {
    /// What fragments that are known to be right prove, from the genesis on.
    #[must_use]
    pub fn new(genesis: &ConsensusRecord, fragments: &[Fragment]) -> Self {
        let mut proven = Self { sets: BTreeMap::new(), after: BTreeMap::new() };
        proven.add(Height(0), genesis);
        for fragment in fragments {
            proven.add(fragment.checkpoint.height(), &fragment.record);
            proven.add(fragment.child.height(), &fragment.child_record);
        }
        proven
    }

    fn add(&mut self, height: Height, record: &ConsensusRecord) {
        self.sets.insert(record.set.id, record.set.clone());
        self.after.insert(height, record.set.id);
    }

    /// Whether a header names a set that can be in force at its height, and the one of its authorities whose turn it is.
    #[must_use]
    pub fn admit(&self, header: &Header) -> bool {
        let parent = header.height().saturating_sub(1);
        let id = header.content.set_id;
        let least = self.after.range(..=parent).next_back().map_or(0, |(_, id)| *id);
        let most = self.after.range(parent..).next().map_or(u64::MAX, |(_, id)| *id);
        let turn = |set: &AuthoritySet| set.proposer(header.slot()).key == header.content.proposer;
        (least..=most).contains(&id) && self.sets.get(&id).is_some_and(turn)
    }
}
