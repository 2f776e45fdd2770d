//! Downloading the accounts of a finalised checkpoint, the *pivot*, from many peers at once.
//!
//! The keys fall into sixteen ranges by their first four bits, and keys are hashes, so the ranges are about equally full. Each is
//! asked for from its beginning on, one piece at a time, of whichever peer has least to do, and each piece comes with a
//! proof. So a piece from one peer goes on where another's ended, and what a peer fails to bring is asked of the next.
//! An answer that takes too long is asked of someone else, with a patience that doubles; slow peers are asked less, and
//! never punished. A peer that does not serve this pivot is not asked again until the pivot moves.
//!
//! The pivot moves while the download goes on, since servers keep the state of few checkpoints: the changes up to the
//! new pivot are applied to the keys that are here already ([`StateSync::is_covered`]), and the ranges go on under the
//! new root. Nothing is ever healed, and at the end the root of the whole must be the pivot's.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use libp2p::PeerId;

use super::Pace;
use crate::{
    chain::Header,
    primitives::{Hash, Mono},
    state::{Trie, VerifiedRange},
};

/// The number of ranges: one for each value of a key's first four bits.
const RANGES: usize = 16;
/// The most pieces in flight to one peer.
const MAX_REQUESTS_PER_PEER: usize = 4;
/// The shortest patience with an answer.
const STALL_MIN_MILLIS: u64 = 2_000;
/// The longest.
const STALL_MAX_MILLIS: u64 = 64_000;
/// How long a peer that failed to answer is not asked again; doubles with each failure in a row.
const REST_MILLIS: u64 = 1_000;

/// A question for accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The checkpoint's hash.
    pub pivot: Hash,
    /// The first key wanted.
    pub from: Hash,
    /// The last key wanted.
    pub to: Hash,
}

/// How far the download is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Accounts that are here.
    pub done: u64,
    /// Accounts there are, as far as the share of the key space that is covered tells.
    pub total: u64,
    /// Accounts a second, lately.
    pub rate: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flight {
    /// Nobody is asked.
    None,
    /// Asked of this peer at this time.
    Asked(PeerId, Mono),
    /// Came from this peer, and its proof is being checked.
    Checking(PeerId),
}

#[derive(Clone, Copy, Debug)]
struct Range {
    /// The first key that is missing; `None` when none is.
    next: Option<Hash>,
    flight: Flight,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    requests: usize,
    resting_until: Mono,
    failures: u32,
    /// It does not serve this pivot.
    gone: bool,
}

/// The download's state.
#[derive(Clone, Debug)]
pub struct StateSync {
    pivot: Header,
    pivot_hash: Hash,
    ranges: [Range; RANGES],
    have: Trie,
    accounts: u64,
    peers: BTreeMap<PeerId, Peer>,
    patience: u64,
    pace: Pace,
}

/// The first key of a range.
const fn first(index: usize) -> Hash {
    let mut key = [0; 32];
    key[0] = (index as u8) << 4;
    Hash(key)
}

/// The last key of a range.
const fn last(index: usize) -> Hash {
    let mut key = [0xff; 32];
    key[0] = ((index as u8) << 4) | 0x0f;
    Hash(key)
}

/// The range of a key.
const fn range_of(key: &Hash) -> usize {
    (key.0[0] >> 4) as usize
}

impl StateSync {
    /// Nothing yet of the accounts after this block.
    #[must_use]
    pub fn new(pivot: Header) -> Self {
        let range = |index| Range { next: Some(first(index)), flight: Flight::None };
        Self {
            pivot_hash: pivot.hash(),
            pivot,
            ranges: std::array::from_fn(range),
            have: Trie::default(),
            accounts: 0,
            peers: BTreeMap::new(),
            patience: STALL_MIN_MILLIS,
            pace: Pace::default(),
        }
    }

    /// The checkpoint whose accounts are downloaded.
    #[must_use]
    pub const fn pivot(&self) -> &Header {
        &self.pivot
    }

    /// The accounts that are here.
    #[must_use]
    pub const fn have(&self) -> &Trie {
        &self.have
    }

    /// A peer that may be asked.
    pub fn add_peer(&mut self, peer: PeerId) {
        self.peers.entry(peer).or_default();
    }

    /// A peer is gone; what it owed is asked of others.
    pub fn remove_peer(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
        for range in &mut self.ranges {
            if matches!(range.flight, Flight::Asked(by, _) if by == *peer) {
                range.flight = Flight::None;
            }
        }
    }

    /// Whom to ask for what now. Counts as asked.
    pub fn ask(&mut self, now: Mono) -> Vec<(PeerId, Piece)> {
        self.give_up_on_stalled(now);
        let mut plan = Vec::new();
        for (index, range) in self.ranges.iter_mut().enumerate() {
            let (Some(from), Flight::None) = (range.next, range.flight) else { continue };
            let able = self.peers.iter_mut().filter(|(_, peer)| {
                !peer.gone && peer.resting_until <= now && peer.requests < MAX_REQUESTS_PER_PEER
            });
            let Some((id, peer)) = able.min_by_key(|(_, peer)| peer.requests) else { break };
            peer.requests += 1;
            range.flight = Flight::Asked(*id, now);
            plan.push((*id, Piece { pivot: self.pivot_hash, from, to: last(index) }));
        }
        plan
    }

    fn give_up_on_stalled(&mut self, now: Mono) {
        let mut slow = Vec::new();
        for range in &mut self.ranges {
            if let Flight::Asked(peer, since) = range.flight
                && since + self.patience <= now
            {
                range.flight = Flight::None;
                slow.push(peer);
            }
        }
        if slow.is_empty() {
            return;
        }
        self.patience = (self.patience * 2).min(STALL_MAX_MILLIS);
        slow.sort_unstable();
        slow.dedup();
        for peer in slow {
            self.rest(&peer, now);
        }
    }

    fn rest(&mut self, peer: &PeerId, now: Mono) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.failures = (state.failures + 1).min(6);
            state.resting_until = now + (REST_MILLIS << state.failures);
        }
    }

    /// A request to this peer is over, well or not.
    fn over(&mut self, peer: &PeerId) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.requests = state.requests.saturating_sub(1);
        }
    }

    /// The range that waits for this piece, if one does, whoever was asked last.
    fn waiting(&mut self, piece: &Piece) -> Option<&mut Range> {
        let current = piece.pivot == self.pivot_hash;
        let range = &mut self.ranges[range_of(&piece.from)];
        (current && range.next == Some(piece.from)).then_some(range)
    }

    /// A peer answered with a proof. Returns whether it is worth checking; report with [`Self::verified`] or
    /// [`Self::refused`] then. An answer that comes late is as good as any, as long as nobody else's has come.
    pub fn came(&mut self, peer: PeerId, piece: &Piece) -> bool {
        self.over(&peer);
        let Some(range) = self.waiting(piece) else { return false };
        if matches!(range.flight, Flight::Checking(_)) {
            return false;
        }
        range.flight = Flight::Checking(peer);
        true
    }

    fn release(&mut self, peer: &PeerId, piece: &Piece) {
        if let Some(range) = self.waiting(piece)
            && matches!(range.flight, Flight::Asked(by, _) | Flight::Checking(by) if by == *peer)
        {
            range.flight = Flight::None;
        }
    }

    /// A peer does not serve the state of the piece's pivot, which is no fault.
    pub fn gone(&mut self, peer: &PeerId, piece: &Piece) {
        self.over(peer);
        self.release(peer, piece);
        if piece.pivot == self.pivot_hash
            && let Some(state) = self.peers.get_mut(peer)
        {
            state.gone = true;
        }
    }

    /// A request got no answer: the peer rests a while.
    pub fn failed(&mut self, peer: &PeerId, piece: &Piece, now: Mono) {
        self.over(peer);
        self.release(peer, piece);
        self.rest(peer, now);
    }

    /// The proof of a piece that came is none, or could not be checked.
    pub fn refused(&mut self, peer: &PeerId, piece: &Piece) {
        self.release(peer, piece);
    }

    /// The proof of a piece that came is right. Returns whether the accounts are new here.
    pub fn verified(&mut self, peer: &PeerId, piece: &Piece, range: &VerifiedRange, now: Mono) -> bool {
        let Some(waiting) = self.waiting(piece) else { return false };
        waiting.flight = Flight::None;
        waiting.next = range.next;
        let merged = self.have.merge(&range.part);
        self.have = merged.expect("a trie made of leaves has no stubs");
        self.accounts += range.leaves.len() as u64;
        self.patience = (self.patience * 7 / 8).max(STALL_MIN_MILLIS);
        if let Some(state) = self.peers.get_mut(peer) {
            state.failures = 0;
        }
        self.pace.note(self.accounts, now);
        true
    }

    /// Whether all accounts are here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.ranges.iter().all(|range| range.next.is_none())
    }

    /// Whether peers are here and none of them serves this pivot: it must move.
    #[must_use]
    pub fn is_stranded(&self) -> bool {
        !self.is_complete() && !self.peers.is_empty() && self.peers.values().all(|peer| peer.gone)
    }

    /// Whether the account at a key, or that there is none, is here already.
    #[must_use]
    pub fn is_covered(&self, key: &Hash) -> bool {
        self.ranges[range_of(key)].next.is_none_or(|next| *key < next)
    }

    /// The download goes on at a later block. `have` is what was here with the changes up to that block applied; what was
    /// asked for under the old pivot is asked for again.
    pub fn moved(&mut self, pivot: Header, have: Trie) {
        self.pivot_hash = pivot.hash();
        self.pivot = pivot;
        self.have = have;
        for range in &mut self.ranges {
            range.flight = Flight::None;
        }
        for peer in self.peers.values_mut() {
            peer.gone = false;
        }
    }

    /// How far the download is.
    #[must_use]
    pub fn progress(&self, now: Mono) -> Progress {
        let top = |key: &Hash| u64::from_be_bytes([0, 0, 0, 0, key.0[0], key.0[1], key.0[2], key.0[3]]);
        let share = 1_u64 << 28;
        let covered: u64 = (0..RANGES)
            .map(|index| self.ranges[index].next.map_or(share, |next| top(&next) - top(&first(index))))
            .sum();
        let whole = share * RANGES as u64;
        let estimate = u128::from(self.accounts) * u128::from(whole) / u128::from(covered.max(1));
        let total = u64::try_from(estimate).unwrap_or(u64::MAX).max(self.accounts);
        Progress { done: self.accounts, total, rate: self.pace.rate(now) }
    }

    /// When something may be overdue, or a peer has rested.
    #[must_use]
    pub fn next_due(&self, now: Mono) -> Option<Mono> {
        let stalled = self.ranges.iter().filter_map(|range| match range.flight {
            Flight::Asked(_, since) => Some(since + self.patience),
            Flight::None | Flight::Checking(_) => None,
        });
        let rested = self.peers.values().map(|peer| peer.resting_until);
        stalled.chain(rested).filter(|due| *due > now).min()
    }
}
