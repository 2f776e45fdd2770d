//! The headers from before the block at which this peer joined: see [`Backfill`].
//!
//! A peer with the state of a checkpoint needs none of them. The strategy says who wants them all the same, and how far
//! back: they go to the archive, without bodies, so that others can have them from here; who forgets old blocks checks them and
//! keeps none. *Fast* has each of them, with the
//! signature of the right authority, before it believes the state. The others download them once they follow the chain, and no
//! faster than [`PACE`] allows, since nobody waits for them.
//!
//! How far it is is written down after the archive has the headers, so that a crash costs one answer.

use std::sync::Arc;

use libp2p::PeerId;

use super::{
    Archived, Chain, Purpose,
    light::{Light, read},
    row,
};
use crate::{
    chain::Header,
    node::{
        BackfillView, Protocol, Prune, RequestFailure, StartError,
        effects::{Ask, Effects},
        work::Job,
    },
    peers::Offence,
    primitives::{Hash, Mono, encode},
    store::{ArchiveRequest, ArchivedBlock, Batch, Store, Table},
    sync::{
        Backfill, BackfillError, Bounds, MAX_HEADERS, OldHeaders, OldProgress, Pace, Strategy, SyncResponse,
        WEAK_SUBJECTIVITY_SLOTS,
    },
};

/// One row, under no key: how far back the headers go that are in the archive without their bodies.
const OLD_HEADERS: Table = Table("chain/old-headers");

/// Headers that nobody waits for: 1,024 a second, which is 0.35 MB, a tenth of a modest line.
const PACE: Bounds = Bounds { slots: u64::MAX, headers: 256, millis: 250 };
/// Headers that the state waits for.
const AT_ONCE: Bounds = Bounds { slots: u64::MAX, headers: MAX_HEADERS, millis: 0 };

/// How the alarm about a chain that does not come from the genesis begins.
const BROKEN_ALARM: &str =
    "the headers before the checkpoint this peer joined at break the rules of the chain";

/// How a backfill goes on from a start, if the strategy wants one. Once its state is here, a fast peer does as a warp peer.
const fn bounds(strategy: Strategy) -> Option<Bounds> {
    match strategy {
        Strategy::Warp | Strategy::Fast => Some(PACE),
        Strategy::Checkpoint(_) => Some(Bounds { slots: WEAK_SUBJECTIVITY_SLOTS, ..PACE }),
        Strategy::Full | Strategy::Snap | Strategy::Light => None,
    }
}

fn stored(store: &dyn Store) -> Result<Option<OldHeaders>, StartError> {
    row(store, OLD_HEADERS, &[])
}

/// The backfill of a peer that has joined, as the store has it.
pub(super) fn reopen(store: &dyn Store, strategy: Strategy) -> Result<Option<Backfill>, StartError> {
    let bounds = bounds(strategy);
    let backfill =
        stored(store)?.zip(bounds).map(|(old, bounds)| Backfill::new(old, bounds, Mono::default()));
    Ok(backfill.filter(|backfill| !backfill.is_complete()))
}

impl Chain {
    /// The peer joins at this checkpoint. The tree still is that of the genesis.
    pub(super) fn begin_backfill(&mut self, fx: &Effects, batch: &mut Batch, pivot: &Header) {
        let before = stored(&*fx.store).ok().flatten();
        let old = OldHeaders::from(pivot.clone(), self.tree.base(), before);
        batch.put(OLD_HEADERS, [], encode(&old));
        self.set_backfill(fx, old, bounds(self.strategy));
    }

    /// Every header before this checkpoint is to be checked before its state is used.
    pub(super) fn begin_checked_backfill(&mut self, fx: &Effects, pivot: &Header) {
        let before = stored(&*fx.store).ok().flatten();
        let old = OldHeaders::from(pivot.clone(), self.tree.base(), before);
        self.set_backfill(fx, old, Some(AT_ONCE));
    }

    fn set_backfill(&mut self, fx: &Effects, old: OldHeaders, bounds: Option<Bounds>) {
        let backfill = bounds.map(|bounds| Backfill::new(old, bounds, fx.now.mono));
        self.backfill = backfill.filter(|backfill| !backfill.is_complete());
        if let Some(backfill) = &mut self.backfill {
            self.download.peers().for_each(|peer| backfill.add_peer(*peer));
        }
    }

    /// Whether headers may be asked for now: what the chain needs comes first.
    fn may_backfill(&self) -> bool {
        let checked = self.light.as_ref().is_some_and(Light::is_checking_headers);
        checked || (!self.starting && !self.download.is_busy())
    }

    /// Asks for whatever can be asked for now.
    pub(super) fn backfill_tick(&mut self, fx: &mut Effects) {
        if !self.may_backfill() || !Self::storage_works(fx) {
            return;
        }
        if let Some(backfill) = &mut self.backfill
            && let Some((peer, request)) = backfill.ask(fx.now.mono)
        {
            fx.ask(peer, Protocol::Sync, Ask::Backfill(backfill.low().hash()), encode(&request));
        }
    }

    pub(super) fn backfill_due(&self, fx: &Effects) -> Option<Mono> {
        let backfill = self.backfill.as_ref().filter(|_| self.may_backfill());
        backfill.and_then(|backfill| backfill.next_due(fx.now.mono))
    }

    pub(super) fn backfill_view(&self, now: Mono) -> Option<BackfillView> {
        let backfill = self.backfill.as_ref()?;
        let (OldProgress { done, total }, rate) = (backfill.progress(), backfill.rate(now));
        let seconds_left = Pace::seconds_left(rate, total.saturating_sub(done));
        Some(BackfillView { done, total, rate, seconds_left })
    }

    /// An answer with the headers before the one with this hash.
    pub(in crate::node) fn backfill_answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        before: &Hash,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        let response = read(fx, peer, outcome);
        // An answer that was given up on is right for what was here when it was asked for.
        let Some(backfill) = self.backfill.as_mut().filter(|it| it.low().hash() == *before) else { return };
        let now = fx.now.mono;
        let headers = match response {
            Some(SyncResponse::Headers(headers)) => headers,
            other => {
                backfill.failed(&peer, now);
                if other.is_some_and(|other| other != SyncResponse::Busy) {
                    fx.offend(peer, Offence::Unrequested);
                }
                return;
            }
        };
        match backfill.came(&peer, headers, now) {
            Ok(None) => {}
            Ok(Some(headers)) => self.check_old_headers(fx, peer, headers),
            Err(BackfillError::TooMany) => fx.offend(peer, Offence::Unrequested),
            Err(BackfillError::Unlinked) => fx.offend(peer, Offence::BadProof),
            Err(BackfillError::Broken) => self.headers_are_broken(fx),
        }
    }

    /// Linked headers go to the archive; before a state is believed, their authors are checked.
    fn check_old_headers(&mut self, fx: &mut Effects, peer: PeerId, headers: Vec<Header>) {
        let Some(light) = &mut self.light else {
            self.keep_old_headers(fx, headers);
            return;
        };
        light.headers_came(&peer, fx.now.mono);
        if !headers.iter().all(|header| light.admits(header)) {
            self.headers_are_broken(fx);
            return;
        }
        let headers = Arc::new(headers);
        let job = Job::VerifyHeaders { genesis: self.id, headers: Arc::clone(&headers) };
        self.jobs.add(fx, Purpose::OldHeaders(headers), job);
    }

    /// The signatures of old headers are checked; without a verdict they are asked for again.
    pub(super) fn old_headers_verified(
        &mut self,
        fx: &mut Effects,
        headers: &[Header],
        valid: Option<&[bool]>,
    ) {
        match valid {
            Some(valid) if valid.iter().all(|valid| *valid) => self.keep_old_headers(fx, headers.to_vec()),
            Some(_) => self.headers_are_broken(fx),
            None => {
                if let Some(backfill) = &mut self.backfill {
                    backfill.dropped();
                }
            }
        }
    }

    /// To the archive, unless old blocks are forgotten. The header above goes with them: it may not be there yet.
    fn keep_old_headers(&mut self, fx: &mut Effects, headers: Vec<Header>) {
        let Some(backfill) = &self.backfill else { return };
        if self.prune != Prune::Archive {
            self.old_headers_kept(fx, &headers);
            return;
        }
        let alone = |header: &Header| ArchivedBlock {
            height: header.height(),
            hash: header.hash(),
            header: encode(header),
            body: Vec::new(),
        };
        let blocks = headers.iter().chain([backfill.low()]).map(alone).collect();
        let id = fx.archive(ArchiveRequest::Put(blocks));
        self.archived.insert(id, Archived::OldHeaders(headers));
    }

    pub(super) fn old_headers_kept(&mut self, fx: &mut Effects, headers: &[Header]) {
        let Some(backfill) = &mut self.backfill else { return };
        backfill.kept(headers);
        let mut batch = Batch::default();
        batch.put(OLD_HEADERS, [], encode(backfill.old()));
        fx.apply(batch);
        if backfill.is_complete() {
            tracing::info!(height = %backfill.low().height(), "the old headers are downloaded");
            self.backfill = None;
            self.headers_are_checked(fx);
        }
        self.notify_sync(fx);
    }

    /// What more than two thirds have signed leads to no chain from the genesis. No server can have made that up.
    fn headers_are_broken(&mut self, fx: &mut Effects) {
        self.backfill = None;
        if let Some(light) = &mut self.light {
            light.refuse();
        }
        fx.refuse("old-headers-broken");
        fx.raise(format!(
            "{BROKEN_ALARM}. More than two thirds of a set of authorities have signed it, perhaps with old keys: compare \
             a checkpoint with somebody you trust, move the data directory away, and join again"
        ));
    }
}
