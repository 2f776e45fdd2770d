//! Catching up: asking peers where they are, for their headers, and for bodies.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use libp2p::PeerId;

use super::{Chain, MAX_WAITING_BYTES, Purpose};
use crate::{
    chain::{Body, Checkpoint, Header},
    finality::{BlockTree, InsertError, Stage},
    node::{
        Event, Protocol, RequestFailure, SyncPhase, SyncView,
        effects::{Ask, Effects},
        work::Job,
    },
    peers::{Offence, Service},
    primitives::{Hash, Height, Mono, decode, encode},
    sync::{
        BodiesRequest, BodiesResponse, MAX_BODIES, MAX_HEADERS, MAX_LOCATOR, SyncRequest, SyncResponse,
        SyncStatus, WINDOW, follow,
    },
};

/// How far headers may run ahead of the head: what a peer stores before it has executed anything of it.
pub(super) const MAX_HEADERS_AHEAD: usize = 8192;
/// With more headers than this above the head, the peer is catching up and does not propose.
const MAX_MISSING_BODIES: u64 = 2;
/// For so long headers without bodies are believed.
const FRUITLESS_MILLIS: u64 = 30_000;
/// How often peers are asked where they are, should gossip have missed something.
const STATUS_MILLIS: u64 = 10_000;
/// The rate of synchronisation is taken over so long.
const RATE_MILLIS: u64 = 5_000;
/// The least time between two progress events.
const EVENT_MILLIS: u64 = 250;

/// The plan of a download, and its pace.
#[derive(Default)]
pub(super) struct Download {
    peers: BTreeSet<PeerId>,
    /// How far down its own branch each of them has led us, beside our best one.
    branches: BTreeMap<PeerId, (Height, Hash)>,
    /// Blocks from the head to `target`, oldest first, without the head.
    ahead: VecDeque<Hash>,
    target: Option<Hash>,
    /// The plan must be made anew.
    stale: bool,
    /// Something happened that may allow a request.
    awake: bool,
    /// The set changes after this block: headers beyond it wait for its execution.
    set_change: Option<Hash>,
    /// The same of a branch that is not our best one: its execution may never come, unless that branch is proven final.
    set_change_aside: Option<Hash>,
    /// The signatures of downloaded headers are being checked; the next ones are asked for after that.
    checking: bool,
    /// Since when no body has come although headers ran ahead.
    fruitless_since: Option<Mono>,
    next_status: Mono,
    /// When an answer may be late, or a peer has rested.
    next_look: Option<Mono>,
    samples: VecDeque<(Mono, Height)>,
    last_event: Option<(Mono, SyncPhase)>,
}

impl Download {
    /// How many blocks whose headers are here wait for execution.
    pub(super) fn ahead(&self) -> usize {
        self.ahead.len()
    }

    pub(super) fn replan(&mut self) {
        self.stale = true;
        self.awake = true;
    }

    /// Whether headers this far above the head mean that the peer is catching up. Headers whose bodies nobody brings
    /// mean it for a while only, since whoever withholds them must not silence a proposer.
    pub(super) fn is_behind(&mut self, ahead: u64, now: Mono) -> bool {
        if ahead <= MAX_MISSING_BODIES {
            self.fruitless_since = None;
            return false;
        }
        let since = *self.fruitless_since.get_or_insert(now);
        now - since < FRUITLESS_MILLIS
    }

    /// The peers that may be asked.
    pub(super) fn peers(&self) -> impl Iterator<Item = &PeerId> {
        self.peers.iter()
    }

    /// The block of a branch beside our best one behind which headers cannot be judged before it is executed.
    pub(super) const fn set_change_aside(&self) -> Option<Hash> {
        self.set_change_aside
    }

    /// Whether blocks are missing below those that are known.
    pub(super) fn is_busy(&self) -> bool {
        self.ahead.len() as u64 > MAX_MISSING_BODIES
    }

    pub(super) fn wake(&mut self) {
        self.awake = true;
    }

    /// Somebody has a block that is wanted now: all are asked where they are.
    pub(super) fn hurry(&mut self, now: Mono) {
        self.next_status = now;
        self.replan();
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        let status = (!self.peers.is_empty()).then_some(self.next_status);
        status.into_iter().chain(self.next_look).min()
    }

    pub(super) fn head_moved(&mut self, fx: &Effects, tree: &BlockTree, undone: &[Hash], done: &[Hash]) {
        self.awake = true;
        for hash in done {
            if undone.is_empty() && self.ahead.front() == Some(hash) {
                self.ahead.pop_front();
            } else {
                self.stale = true;
            }
        }
        let height = tree.height(&tree.head()).unwrap_or_default();
        self.samples.push_back((fx.now.mono, height));
        while self.samples.front().is_some_and(|(at, _)| *at + RATE_MILLIS < fx.now.mono) {
            self.samples.pop_front();
        }
    }

    /// Blocks a second, lately.
    fn rate(&self, now: Mono) -> u32 {
        let recent = || self.samples.iter().filter(|(at, _)| *at + RATE_MILLIS >= now);
        let (Some((start, low)), Some((_, high))) = (recent().next(), recent().next_back()) else { return 0 };
        let elapsed = (now - *start).max(1);
        u32::try_from((high.0.saturating_sub(low.0)) * 1000 / elapsed).unwrap_or(u32::MAX)
    }
}

impl Chain {
    pub(super) fn own_status(&self) -> SyncStatus {
        let head = self.tree.head();
        let finalised = self.tree.finalised();
        let finalised = self
            .checkpoint(&finalised)
            .unwrap_or(Checkpoint { height: self.finalised_height(), hash: finalised });
        let height = self.head_height();
        SyncStatus { genesis: self.id, head, height, finalised, oldest: self.oldest() }
    }

    pub(super) fn ask_status(&mut self, fx: &mut Effects, peer: PeerId) {
        self.download.peers.insert(peer);
        let body = encode(&SyncRequest::Status(self.own_status()));
        fx.ask(peer, Protocol::Sync, Ask::Status, body);
    }

    pub(in crate::node) fn ask_statuses(&mut self, fx: &mut Effects) {
        for peer in self.download.peers.clone() {
            self.ask_status(fx, peer);
        }
    }

    pub(super) fn forget_peer(&mut self, peer: &PeerId) {
        self.download.peers.remove(peer);
        self.download.branches.remove(peer);
        self.download.wake();
    }

    /// A peer says where it is, asked or unasked.
    pub(super) fn status_came(&mut self, fx: &mut Effects, peer: PeerId, status: &SyncStatus) {
        if status.genesis != self.id {
            fx.offend(peer, Offence::WrongGenesis);
            return;
        }
        if self.download.peers.contains(&peer) {
            self.scheduler.status(peer, status.height, status.oldest);
            self.claim_came(fx, peer, status);
            self.light_status(fx, peer, status);
            if let Some(backfill) = &mut self.backfill {
                backfill.add_peer(peer);
            }
        }
        self.download.wake();
        self.notify_sync(fx);
    }

    /// Where a peer's branch was left, and our best chain at growing distances, highest first, from the target down to the base.
    fn locator(&self, peer: &PeerId) -> Vec<(Height, Hash)> {
        let top = self.tree.height(&self.tree.target()).unwrap_or_default();
        let base = self.tree.height(&self.tree.base()).unwrap_or_default();
        let target = self.tree.target();
        let aside =
            self.download.branches.get(peer).filter(|(_, hash)| {
                self.tree.header(hash).is_some() && !self.tree.is_ancestor(hash, &target)
            });
        let mut locator: Vec<_> = aside.copied().into_iter().chain([(top, target)]).collect();
        let mut step = 1;
        let head = self.head_height();
        let mut height = head;
        while height > base && locator.len() < MAX_LOCATOR - 1 {
            if let Some(hash) = self.tree.on_best_chain(height)
                && locator.last() != Some(&(height, hash))
            {
                locator.push((height, hash));
            }
            height = height.saturating_sub(step).max(base);
            step *= 2;
        }
        locator.push((base, self.tree.base()));
        locator.dedup();
        locator
    }

    pub(super) fn request_headers(&self, fx: &mut Effects, peer: PeerId) {
        let max = u32::try_from(MAX_HEADERS).expect("a small constant");
        let locator = self.locator(&peer);
        let body = encode(&SyncRequest::Headers { locator: locator.clone(), max });
        fx.ask(peer, Protocol::Sync, Ask::Headers(locator), body);
    }

    pub(super) fn ask_headers_of(&mut self, fx: &mut Effects, peer: PeerId) {
        if !self.download.checking && self.scheduler.ask_headers_of(peer, fx.now.mono) {
            self.request_headers(fx, peer);
        }
    }

    /// Asks for whatever can be asked for now.
    pub(super) fn download(&mut self, fx: &mut Effects) {
        let now = fx.now.mono;
        if self.download.next_status <= now {
            self.download.next_status = now + STATUS_MILLIS;
            self.ask_statuses(fx);
        }
        let overdue = self.download.next_look.is_some_and(|due| due <= now);
        if !self.download.awake && !overdue {
            return;
        }
        self.download.awake = false;
        let target = self.tree.target();
        if self.download.stale || self.download.target != Some(target) {
            self.download.ahead = self.tree.ahead(MAX_HEADERS_AHEAD).into();
            self.download.target = Some(target);
            self.download.stale = false;
        }
        if self.download.set_change.is_some_and(|hash| self.tree.stage(&hash) != Some(Stage::Header)) {
            self.download.set_change = None;
        }
        let headers = !self.download.checking && self.download.set_change.is_none();
        if headers && self.download.ahead.len() < MAX_HEADERS_AHEAD {
            let height = self.tree.height(&target).unwrap_or_default();
            if let Some(peer) = self.scheduler.ask_headers(height, now) {
                self.request_headers(fx, peer);
            }
        }
        // Near the memory bound only what the head waits for is fetched.
        let window = if self.waiting_bytes() < MAX_WAITING_BYTES / 2 { WINDOW } else { MAX_BODIES };
        let wanted: Vec<_> = self
            .download
            .ahead
            .iter()
            .take(window)
            .filter(|hash| !self.waiting.contains_key(hash) && !self.compact.awaits(hash))
            .filter_map(|hash| Some((self.tree.height(hash)?, *hash)))
            .collect();
        for (peer, keys) in self.scheduler.ask_bodies(&wanted, now) {
            let body = encode(&BodiesRequest(keys.clone()));
            fx.ask(peer, Protocol::Archive, Ask::Bodies(keys), body);
        }
        self.download.next_look = self.scheduler.next_due(now);
    }

    /// An answer on `/sync/1`.
    pub(in crate::node) fn sync_answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        ask: &Ask,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        self.download.wake();
        let bytes = match outcome {
            Ok(bytes) => bytes,
            Err(failure) => {
                if failure == RequestFailure::TooLarge {
                    fx.offend(peer, Offence::Unrequested);
                }
                self.scheduler.failed(&peer, fx.now.mono);
                return;
            }
        };
        match (ask, decode::<SyncResponse>(&bytes, Protocol::Sync.max_response())) {
            (Ask::Status, Ok(SyncResponse::Status(status))) => self.status_came(fx, peer, &status),
            (Ask::Headers(locator), Ok(SyncResponse::Headers(headers))) => {
                self.headers_came(fx, peer, locator, headers);
            }
            (Ask::Claim, Ok(SyncResponse::Warp { fragments, .. })) => {
                self.claim_answered(fx, peer, fragments);
            }
            (Ask::Contradiction, Ok(SyncResponse::Certificates(pairs))) => {
                self.contradiction_answered(fx, peer, pairs);
            }
            (Ask::Claim | Ask::Contradiction, Ok(SyncResponse::Busy)) => {}
            (_, Ok(SyncResponse::Busy)) => self.scheduler.failed(&peer, fx.now.mono),
            (_, Ok(_)) => {
                self.scheduler.failed(&peer, fx.now.mono);
                fx.offend(peer, Offence::Unrequested);
            }
            (_, Err(_)) => {
                self.scheduler.failed(&peer, fx.now.mono);
                fx.offend(peer, Offence::Malformed);
            }
        }
    }

    fn headers_came(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        locator: &[(Height, Hash)],
        mut headers: Vec<Header>,
    ) {
        let Some(mut hashes) = follow(locator, &headers) else {
            self.scheduler.failed(&peer, fx.now.mono);
            fx.offend(peer, Offence::Unrequested);
            return;
        };
        // Slots are what limits a proposer: one that could use those to come would outrun all the others by itself.
        let timely = headers.iter().take_while(|header| !self.is_early(fx, header.slot())).count();
        if timely < headers.len() {
            fx.refuse("headers-from-the-future");
            headers.truncate(timely);
            hashes.truncate(timely);
        }
        let top = self.tree.height(&self.tree.target()).unwrap_or_default();
        let highest = headers.last().map_or(top, Header::height);
        let known = hashes.iter().take_while(|hash| self.tree.header(hash).is_some()).count();
        let led = known.checked_sub(1).and_then(|last| Some((headers.get(last)?.height(), hashes[last])));
        let before = self.download.branches.get(&peer).map(|(height, _)| *height);
        // A peer may answer in parts. What is known already brings us forward only if it leads further up than last time.
        let forward = known < headers.len() || led.is_some_and(|(height, _)| Some(height) > before);
        match led.filter(|_| forward) {
            Some(led) => drop(self.download.branches.insert(peer, led)),
            None if !forward => drop(self.download.branches.remove(&peer)),
            None => {}
        }
        hashes.drain(..known);
        headers.drain(..known);
        if headers.is_empty() {
            self.scheduler.headers_came(&peer, highest, !forward, fx.now.mono);
            return;
        }
        let anchored =
            headers.first().is_some_and(|header| self.tree.header(&header.content.parent).is_some());
        if !anchored {
            // A branch that left ours below the base: not followed, and nobody's fault unless it is final there.
            fx.refuse("headers-below-base");
            self.ask_what_contradicts(fx, peer, self.finalised_height());
            self.scheduler.headers_came(&peer, top.min(highest), true, fx.now.mono);
            return;
        }
        self.scheduler.headers_came(&peer, highest, false, fx.now.mono);
        self.sought_came(&peer);
        self.download.checking = true;
        let headers = Arc::new(headers);
        let job = Job::VerifyHeaders { genesis: self.id, headers: Arc::clone(&headers) };
        self.jobs.urgent(fx, Purpose::Headers(peer, headers, hashes), job);
    }

    pub(super) fn headers_lost(&mut self, fx: &Effects, peer: &PeerId) {
        self.download.checking = false;
        self.scheduler.failed(peer, fx.now.mono);
    }

    pub(super) fn headers_verified<'a>(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        headers: impl Iterator<Item = (Hash, &'a Header)>,
        valid: &[bool],
    ) {
        self.download.checking = false;
        self.download.wake();
        for ((hash, header), valid) in headers.zip(valid) {
            if !valid {
                fx.offend(peer, Offence::BadSignature);
                break;
            }
            match self.tree.insert_hashed(hash, header.clone()) {
                Ok(()) => {
                    // It may have left while its headers were checked.
                    if self.download.peers.contains(&peer) {
                        self.download.branches.insert(peer, (header.height(), hash));
                    }
                    self.header_taken(fx, &hash);
                }
                Err(InsertError::Known) => {}
                Err(InsertError::UnknownSet) => {
                    let (parent, target) = (header.content.parent, self.tree.target());
                    if self.tree.is_ancestor(&parent, &target) {
                        self.download.set_change = Some(parent);
                    } else {
                        self.download.set_change_aside = Some(parent);
                        let top = self.tree.height(&target).unwrap_or_default();
                        self.scheduler.headers_came(&peer, top, true, fx.now.mono);
                    }
                    break;
                }
                Err(InsertError::Invalid(error)) => {
                    tracing::debug!(%peer, %error, "a downloaded header cannot follow its parent");
                    fx.offend(peer, Offence::InvalidBlock);
                    break;
                }
                Err(error) => {
                    tracing::debug!(%peer, %error, "a downloaded header was not stored");
                    let top = self.tree.height(&self.tree.target()).unwrap_or_default();
                    self.scheduler.headers_came(&peer, top, true, fx.now.mono);
                    break;
                }
            }
        }
        self.notify_sync(fx);
    }

    /// An answer on `/archive/1`.
    pub(in crate::node) fn bodies_answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        keys: &[(Height, Hash)],
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        self.download.wake();
        let mut brought = 0;
        match outcome.map(|bytes| decode::<BodiesResponse>(&bytes, Protocol::Archive.max_response())) {
            Ok(Ok(BodiesResponse(bodies))) if bodies.len() <= keys.len() => {
                for ((_, hash), bytes) in keys.iter().zip(bodies) {
                    let Some(bytes) = bytes else { continue };
                    let Some(header) = self.tree.header(hash) else { continue };
                    let body = decode::<Body>(&bytes, Body::MAX_LEN).ok();
                    let Some(body) = body.filter(|body| body.check(header).is_ok()) else {
                        fx.offend(peer, Offence::WrongBody);
                        brought = 0;
                        break;
                    };
                    brought += 1;
                    self.accept_body(fx, *hash, body);
                }
            }
            Ok(Ok(_)) => fx.offend(peer, Offence::Unrequested),
            Ok(Err(_)) => fx.offend(peer, Offence::Malformed),
            Err(RequestFailure::TooLarge) => fx.offend(peer, Offence::Unrequested),
            Err(_) => {}
        }
        if brought > 0 {
            fx.services.push((peer, Service::Answer));
            self.download.fruitless_since = Some(fx.now.mono);
        }
        self.scheduler.bodies_came(&peer, keys, brought);
        if brought == 0 {
            self.scheduler.failed(&peer, fx.now.mono);
        }
    }

    pub(super) fn sync_view(&self, now: Mono) -> SyncView {
        if let Some(view) = self.light_view(now) {
            return view;
        }
        let done = self.head_height().0;
        let headers = self.tree.height(&self.tree.target()).unwrap_or_default().0;
        let claimed = self.scheduler.claimed().0.max(headers);
        let rate = self.download.rate(now);
        let alone = !self.scheduler.has_peers() && self.validator().is_none();
        let (phase, total) = if self.starting {
            (SyncPhase::Starting, done)
        } else if headers > done + 1 {
            (SyncPhase::Bodies, claimed)
        } else if claimed > headers + 1 {
            (SyncPhase::Headers, claimed)
        } else if alone {
            (SyncPhase::Searching, done)
        } else {
            (SyncPhase::Following, headers)
        };
        let left = total.saturating_sub(done);
        let seconds_left = (rate > 0 && left > 0).then(|| left.div_ceil(u64::from(rate)));
        SyncView { phase, done, total, rate, seconds_left, backfill: self.backfill_view(now) }
    }

    pub(super) fn notify_sync(&mut self, fx: &mut Effects) {
        let view = self.sync_view(fx.now.mono);
        let news = self
            .download
            .last_event
            .is_none_or(|(at, phase)| phase != view.phase || at + EVENT_MILLIS <= fx.now.mono);
        if news {
            self.download.last_event = Some((fx.now.mono, view.phase));
            fx.notify(Event::Sync(view));
        }
    }
}
