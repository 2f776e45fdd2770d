//! Comparing what we have with what one other peer has, one peer at a time, to close the gaps that pushes and
//! announcements leave.
//!
//! Both sides take the best of their pools, so that a large pool and a small one still compare what matters: what the
//! next blocks are made of.

use std::collections::BTreeMap;

use libp2p::PeerId;

use super::{
    ShortId, Symbol, TxRequest,
    short::PairKey,
    sketch::{Comparison, Difference, MAX_SYMBOLS, Progress},
};
use crate::primitives::{Hash, Mono};

/// How long from one comparison to the next, in milliseconds. With eight peers each has its turn every 40 s, and a
/// comparison that finds nothing costs 300 bytes.
pub const SKETCH_MILLIS: u64 = 5_000;
/// The most transactions that are compared: as many as a block has.
pub const MAX_SKETCHED: usize = 4_096;
/// How many symbols are asked for first; then as many as there are, until they decode.
pub const FIRST_SYMBOLS: usize = 16;
/// How long a peer is left alone with sketches after one did not decode or was not answered, in milliseconds.
pub const SKETCH_PAUSE_MILLIS: u64 = 60_000;
/// How long the rest of a sketch is kept for a peer, in milliseconds.
pub const SKETCH_LIFE_MILLIS: u64 = 30_000;
/// How old something only we have must be before it is announced, in milliseconds: younger, it is on its way.
pub const SETTLED_MILLIS: u64 = 2_000;
/// What beginning a sketch counts as, in items: the work of as many announcements.
pub(super) const SKETCH_ITEMS: usize = 512;

/// A comparison under way.
#[derive(Debug)]
struct Running {
    peer: PeerId,
    comparison: Comparison,
    /// What we compare, by its name between us.
    ids: BTreeMap<ShortId, Hash>,
    /// How many symbols the request in flight asks for.
    asked: Option<usize>,
}

/// What came of an answer.
#[derive(Debug)]
pub(super) enum Compared {
    /// It goes on.
    More,
    /// Found: what only they have, and what only we have.
    Done(Vec<ShortId>, Vec<Hash>),
    /// It does not decode.
    Failed,
    /// That is more than was asked for.
    TooMany,
}

#[derive(Debug, Default)]
pub(super) struct Reconciler {
    running: Option<Running>,
    /// When the next comparison begins, at the earliest.
    next_at: Mono,
}

impl Reconciler {
    /// When a peer's turn is; `sketch_at` is when it is ready, zero for one that is new.
    pub(super) fn turn(&self, sketch_at: Mono) -> Mono {
        if sketch_at == Mono(0) { sketch_at } else { sketch_at.max(self.next_at) }
    }

    /// Whether nobody else may begin now.
    pub(super) const fn is_busy(&self) -> bool {
        self.running.is_some()
    }

    /// Whether it waits for [`Self::next_request`].
    pub(super) fn has_request(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.asked.is_none())
    }

    /// There is nothing to compare, or it has begun.
    pub(super) fn wait(&mut self, now: Mono) {
        self.next_at = now + SKETCH_MILLIS;
    }

    pub(super) fn begin(&mut self, peer: PeerId, key: PairKey, ids: BTreeMap<ShortId, Hash>) {
        let comparison = Comparison::new(key, ids.keys().copied().collect());
        self.running = Some(Running { peer, comparison, ids, asked: None });
    }

    /// What to ask next.
    pub(super) fn next_request(&mut self) -> Option<(PeerId, TxRequest)> {
        let running = self.running.as_mut().filter(|running| running.asked.is_none())?;
        let offset = running.comparison.len();
        let count = offset.max(FIRST_SYMBOLS).min(MAX_SYMBOLS - offset);
        running.asked = Some(count);
        Some((running.peer, TxRequest::Sketch { offset: offset as u32, count: count as u32 }))
    }

    pub(super) fn answered(&mut self, peer: &PeerId, symbols: &[Symbol]) -> Option<Compared> {
        let mut running = self.running.take().filter(|running| running.peer == *peer)?;
        let asked = running.asked.take().unwrap_or(0);
        if symbols.len() > asked {
            return Some(Compared::TooMany);
        }
        if symbols.is_empty() {
            return Some(Compared::Failed);
        }
        Some(match running.comparison.add(symbols) {
            Progress::More if running.comparison.len() < MAX_SYMBOLS => {
                self.running = Some(running);
                Compared::More
            }
            Progress::More | Progress::Junk => Compared::Failed,
            Progress::Done(Difference { theirs, ours }) => {
                let ours = ours.iter().filter_map(|short| running.ids.get(short).copied()).collect();
                Compared::Done(theirs, ours)
            }
        })
    }

    /// The peer is gone, or gave no answer. Says whether a comparison with it ended.
    pub(super) fn abandon(&mut self, peer: &PeerId) -> bool {
        self.running.take_if(|running| running.peer == *peer).is_some()
    }
}
