//! Blocks that gossip does not bring.
//!
//! Whoever holds back one proposer's blocks, and passes on everything else, loses nothing by it in gossip: nobody can score what was
//! left out. But slots say when a block is due, and a block says by its parent that there is one before it. When a block that should be here is not,
//! neighbours are asked for headers, one after the other: in turn the one that has brought such blocks most often, and one by
//! lot. So blocks come from whoever has them, in or out of the mesh, and after the first ones those neighbours are asked first that hold nothing
//! back. Nobody is blamed: who has no such block may not have it yet, and there may be none.

use std::collections::BTreeSet;

use libp2p::PeerId;

use super::Chain;
use crate::{
    chain::{Header, MAX_AUTHORITIES},
    node::effects::Effects,
    primitives::{Hash, Mono, PublicKey, Slot, Wall},
};

/// A block is late a quarter slot after its slot began, but no sooner than after this: a long round trip and some.
const LATE_MILLIS: u64 = 400;
/// After how long one more peer is asked.
const NEXT_MILLIS: u64 = 200;
/// The most that are asked for one block.
const MAX_SOUGHT_OF: usize = 12;
/// The most that are asked for a block of a proposer whose last one could not be found either: it is probably down.
const MAX_SOUGHT_OF_SILENT: usize = 2;
/// The most proposers that are remembered as silent: two sets.
const MAX_SILENT: usize = 2 * MAX_AUTHORITIES;

/// A block that should be here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The parent of one that was shown.
    Parent(Hash),
    /// This slot's, by this proposer.
    Slot(Slot, PublicKey),
}

/// The search for a block.
struct Search {
    wanted: Wanted,
    asked: BTreeSet<PeerId>,
    next: Mono,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Seek {
    search: Option<Search>,
    /// The last slot whose block was looked for, or came.
    slot: Slot,
    silent: BTreeSet<PublicKey>,
}

impl Seek {
    /// Whether the parent of a block is looked for.
    fn is_after_parent(&self) -> bool {
        self.search.as_ref().is_some_and(|search| matches!(search.wanted, Wanted::Parent(_)))
    }
}

impl Chain {
    /// A block was shown whose parent is not here; whoever showed it is asked first.
    pub(super) fn seek_parent(&mut self, fx: &mut Effects, from: PeerId, parent: Hash) {
        self.ask_headers_of(fx, from);
        // Whatever is looked for, a peer that is asked brings all that it has: one search at a time will do.
        if let Some(seek) = self.seek.as_mut().filter(|seek| !seek.is_after_parent()) {
            let next = fx.now.mono + LATE_MILLIS;
            let (wanted, asked) = (Wanted::Parent(parent), BTreeSet::from([from]));
            seek.search = Some(Search { wanted, asked, next });
        }
    }

    /// Headers that were new came from a peer.
    pub(super) fn sought_came(&mut self, peer: &PeerId) {
        let search = self.seek.as_ref().and_then(|seek| seek.search.as_ref());
        if search.is_some_and(|search| search.asked.contains(peer)) {
            self.scheduler.found(peer);
        }
    }

    /// Looks for what should be here and is not.
    pub(super) fn seek_tick(&mut self, fx: &mut Effects) {
        // Taken out while it is at work.
        let Some(mut seek) = self.seek.take() else { return };
        if !self.is_light() {
            self.begin_search(fx, &mut seek);
            self.go_on_seeking(fx, &mut seek);
        }
        self.seek = Some(seek);
    }

    /// When [`Self::seek_tick`] has to look whether this slot's block is here.
    pub(super) fn seek_late(&self, fx: &Effects) -> Option<Wall> {
        let seek = self.seek.as_ref().filter(|_| !self.is_light())?;
        let slot = self.slot(fx);
        self.late_at(slot).filter(|late| seek.slot < slot && *late > fx.now.wall)
    }

    /// When it has to ask one more peer.
    pub(super) fn seek_due(&self) -> Option<Mono> {
        let seek = self.seek.as_ref().filter(|_| !self.is_light())?;
        seek.search.as_ref().map(|search| search.next)
    }

    /// When a slot's block is late, if that is before the next slot.
    fn late_at(&self, slot: Slot) -> Option<Wall> {
        let after = (self.genesis.slot_millis / 4).max(LATE_MILLIS);
        let late = Wall(self.genesis.slot_start(slot).0.saturating_add(after));
        (after < self.genesis.slot_millis).then_some(late)
    }

    /// The slot of the best header.
    fn newest_slot(&self) -> Slot {
        self.tree.header(&self.tree.target()).map(Header::slot).unwrap_or_default()
    }

    /// Once a slot's block is late it is looked for, unless another is, or there is enough to download.
    fn begin_search(&self, fx: &Effects, seek: &mut Seek) {
        let slot = self.slot(fx);
        if seek.slot >= slot || self.late_at(slot).is_none_or(|late| fx.now.wall < late) {
            return;
        }
        seek.slot = slot;
        if seek.is_after_parent() || self.newest_slot() >= slot || self.download.is_busy() {
            return;
        }
        let Some(record) = self.tree.record(&self.tree.head()) else { return };
        let proposer = record.set.proposer(slot).key;
        if self.validator() != Some(proposer) {
            let (wanted, asked) = (Wanted::Slot(slot, proposer), BTreeSet::new());
            seek.search = Some(Search { wanted, asked, next: fx.now.mono });
        }
    }

    /// Ends the search if the block is here, and else asks one more peer, or gives up.
    fn go_on_seeking(&self, fx: &mut Effects, seek: &mut Seek) {
        let Some(mut search) = seek.search.take() else { return };
        let (found, over, most) = match search.wanted {
            Wanted::Parent(hash) => (self.tree.header(&hash).is_some(), false, MAX_SOUGHT_OF),
            Wanted::Slot(slot, proposer) => {
                let silent = seek.silent.contains(&proposer);
                let most = if silent { MAX_SOUGHT_OF_SILENT } else { MAX_SOUGHT_OF };
                (self.newest_slot() >= slot, slot < self.slot(fx), most)
            }
        };
        let gives_up = over || search.next <= fx.now.mono && search.asked.len() >= most;
        match search.wanted {
            Wanted::Slot(_, proposer) if found => {
                seek.silent.remove(&proposer);
            }
            Wanted::Slot(_, proposer) if gives_up && seek.silent.len() < MAX_SILENT => {
                seek.silent.insert(proposer);
            }
            Wanted::Slot(..) | Wanted::Parent(_) => {}
        }
        if found || gives_up {
            return;
        }
        if search.next <= fx.now.mono {
            search.next = fx.now.mono + NEXT_MILLIS;
            if let Some(peer) = self.whom_to_ask(fx, &search.asked) {
                search.asked.insert(peer);
                self.request_headers(fx, peer);
            }
        }
        seek.search = Some(search);
    }

    /// In turn the one that has brought such blocks most often, and one by lot. Every other lot is among those that this side dialled: who
    /// holds blocks back can connect to us under as many names as he likes, and is dialled no more often than others.
    fn whom_to_ask(&self, fx: &mut Effects, asked: &BTreeSet<PeerId>) -> Option<PeerId> {
        let rested = self.scheduler.rested(fx.now.mono).filter(|(peer, _)| !asked.contains(peer));
        let rested: Vec<(PeerId, u32)> = rested.collect();
        let best = rested.iter().max_by_key(|(_, found)| *found).filter(|(_, found)| *found > 0);
        if let Some((peer, _)) = best.filter(|_| asked.len().is_multiple_of(2)) {
            return Some(*peer);
        }
        let ours = rested.iter().filter(|(peer, _)| asked.len() % 4 < 2 && self.relay.is_dialled(peer));
        let mut among: Vec<PeerId> = ours.map(|(peer, _)| *peer).collect();
        if among.is_empty() {
            among = rested.into_iter().map(|(peer, _)| peer).collect();
        }
        let drawn = fx.random().checked_rem(among.len() as u64)?;
        Some(among[drawn as usize])
    }
}
