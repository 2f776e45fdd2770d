//! What is said next, and when.

use std::{collections::BTreeMap, sync::Arc};

use libp2p::PeerId;

use super::{
    Announcement, FEE_FILTER_MILLIS, FETCH_GATHER_MILLIS, Flight, Greeting, Intake, Link, MAX_BATCH_COUNT,
    MAX_IN_CHECK, MAX_INTRODUCED, Outgoing, OutgoingId, Pool, TransactionRelay, TxMode, TxRequest, announce,
    enqueue,
    fetching::{COVER_MILLIS, Cover, FETCH_TIMEOUT_MILLIS, Fetch},
    peer::Peer,
};
use crate::primitives::{Hash, Mono};

/// Later than anything.
const NEVER: Mono = Mono(u64::MAX);

/// When each part has something to do, if nothing else happens; and whether there is anything that time alone changes.
#[derive(Clone, Copy)]
struct Dues {
    introduction: Mono,
    control: Mono,
    fetch: Mono,
    push: Mono,
    announcement: Mono,
    sketch: Mono,
    /// Somebody is asked to deliver, and when something is to be done about that.
    fetching: bool,
    delivery: Mono,
    /// Somebody is new.
    new: bool,
}

impl Dues {
    const NEVER: Self = Self {
        introduction: NEVER,
        control: NEVER,
        fetch: NEVER,
        push: NEVER,
        announcement: NEVER,
        sketch: NEVER,
        fetching: false,
        delivery: NEVER,
        new: false,
    };

    fn first(&self) -> Mono {
        let said = self.control.min(self.fetch).min(self.push).min(self.announcement).min(self.sketch);
        said.min(self.introduction).min(self.delivery)
    }
}

impl TransactionRelay {
    /// The next request to send, or `None` when there is none by `now`.
    pub fn poll(&mut self, pool: &impl Pool, now: Mono) -> Option<Outgoing> {
        debug_assert!(
            self.quiet.is_none_or(|quiet| quiet <= self.due()),
            "something is due before it is looked for"
        );
        if self.quiet.is_some_and(|quiet| now < quiet) {
            return None;
        }
        let mut dues = self.dues();
        self.quiet = Some(dues.first()).filter(|due| now < *due);
        if self.quiet.is_some() {
            return None;
        }
        if self.settle(&dues, pool, now) {
            dues = self.dues();
        }
        // Only those who have something are asked: each looks through all peers for it.
        let (peer, request, flight) = None
            .or_else(|| (dues.control <= now).then(|| self.next_control(now)).flatten())
            .or_else(|| (dues.fetch <= now).then(|| self.next_fetch(now)).flatten())
            .or_else(|| (dues.push <= now).then(|| self.next_push(now)).flatten())
            .or_else(|| (dues.announcement <= now).then(|| self.next_announcement(now)).flatten())
            .or_else(|| (dues.sketch <= now).then(|| self.next_sketch(pool, now)).flatten())?;
        let id = OutgoingId(self.next_id);
        self.next_id += 1;
        let body = request.to_bytes();
        self.counts.bytes_sent.request(&request, body.len());
        self.in_flight.insert(id, (peer, flight));
        Some(Outgoing { id, peer, body })
    }

    /// When [`Self::poll`] will have something, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        Some(self.quiet.unwrap_or_else(|| self.due())).filter(|due| *due != NEVER)
    }

    /// The same, looked up among all that waits.
    pub(super) fn due(&self) -> Mono {
        self.dues().first()
    }

    fn dues(&self) -> Dues {
        let mut dues = Dues::NEVER;
        let can_fetch = self.can_fetch();
        for peer in self.peers.values() {
            self.add_dues(&mut dues, peer, can_fetch);
        }
        if dues.fetching {
            let fetches = self.in_flight.values().filter_map(|(_, flight)| match flight {
                Flight::Fetch(fetch) => fetch.next_due(),
                _ => None,
            });
            dues.delivery = fetches.fold(NEVER, Mono::min);
        }
        dues.sketch = if self.reconciler.has_request() {
            Mono(0)
        } else {
            self.next_turn().map_or(NEVER, |(turn, _)| turn)
        };
        dues
    }

    /// When something is to be said to a peer, sketches aside.
    fn add_dues(&self, dues: &mut Dues, peer: &Peer, can_fetch: bool) {
        if peer.introduce && !peer.closed {
            let due = if let Link::Unknown(until) = peer.link { until } else { Mono(0) };
            dues.introduction = dues.introduction.min(due);
        }
        let earlier = |part: &mut Mono, due: Option<Mono>| *part = due.map_or(*part, |due| due.min(*part));
        earlier(&mut dues.control, self.control_due(peer));
        if can_fetch {
            earlier(&mut dues.fetch, peer.fetch_due());
        }
        earlier(&mut dues.push, peer.push_due());
        earlier(&mut dues.announcement, peer.announcement_due());
        dues.fetching |= peer.fetching;
        dues.new |= peer.introduce || matches!(peer.link, Link::Unknown(_));
    }

    /// Something may be due to this peer earlier than before, and to nobody else.
    pub(super) fn hasten(&mut self, peer: &PeerId) {
        if let (Some(quiet), Some(peer)) = (self.quiet, self.peers.get(peer)) {
            let mut dues = Dues::NEVER;
            self.add_dues(&mut dues, peer, self.can_fetch());
            self.quiet = Some(quiet.min(dues.first()));
        }
    }

    /// What follows from time alone. Returns whether anything may be due earlier for it.
    fn settle(&mut self, dues: &Dues, pool: &impl Pool, now: Mono) -> bool {
        let mut changed = dues.fetching && self.settle_fetches(now);
        if dues.new {
            for peer in self.peers.values_mut() {
                if matches!(peer.link, Link::Unknown(until) if until <= now) {
                    peer.link = Link::Plain;
                    changed = true;
                }
            }
            changed |= self.introduce(pool, now);
        }
        changed
    }

    /// What follows from time for those who are asked to deliver. Returns whether anything does.
    fn settle_fetches(&mut self, now: Mono) -> bool {
        let (mut uncovered, mut late) = (false, false);
        for (peer, flight) in self.in_flight.values_mut() {
            let Flight::Fetch(fetch) = flight else { continue };
            if fetch.covers && fetch.sent + COVER_MILLIS <= now {
                fetch.covers = false;
                uncovered = true;
            }
            if !fetch.late && fetch.sent + FETCH_TIMEOUT_MILLIS <= now {
                fetch.late = true;
                late = true;
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.patience.lose(now);
                }
            }
        }
        if uncovered {
            self.uncover(now);
        }
        uncovered || late
    }

    /// Newcomers are told of the best of what waits: by a sketch where both sides take part in those. Returns whether there are any.
    fn introduce(&mut self, pool: &impl Pool, now: Mono) -> bool {
        let newcomer = |peer: &Peer| peer.introduce && !peer.closed && !matches!(peer.link, Link::Unknown(_));
        let newcomers: Vec<_> =
            self.peers.iter().filter(|(_, peer)| newcomer(peer)).map(|(id, _)| *id).collect();
        let any = !newcomers.is_empty();
        for peer_id in newcomers {
            let Some(peer) = self.peers.get_mut(&peer_id) else { continue };
            peer.introduce = false;
            if self.intake == Intake::Nothing || peer.is_light() {
                continue;
            }
            if self.policy.mode != TxMode::Push && peer.mode() != Some(TxMode::Push) {
                continue;
            }
            for (id, transaction) in pool.best().take(MAX_INTRODUCED) {
                let serial = self.meet(id, now);
                if let Some(peer) = self.peers.get_mut(&peer_id) {
                    let transaction = Arc::new(transaction.clone());
                    self.counts.unsent += enqueue(&self.policy, peer, true, serial, id, &transaction, now);
                }
            }
        }
        any
    }

    /// When a peer is to be told something about ourselves.
    fn control_due(&self, peer: &Peer) -> Option<Mono> {
        if peer.closed && !peer.for_blocks {
            return None;
        }
        if let Greeting::Due(at) = peer.greeting {
            return Some(at);
        }
        if peer.for_blocks {
            return None;
        }
        peer.session()?;
        let (told, rate) = (peer.told_fee_rate, self.fee_rate());
        let moved = rate.abs_diff(told) > told / 4;
        (moved && !peer.telling_fee).then_some(peer.fee_due)
    }

    fn next_control(&mut self, now: Mono) -> Option<(PeerId, TxRequest, Flight)> {
        let due = |peer: &Peer| self.control_due(peer).is_some_and(|due| due <= now);
        let peer_id = *self.peers.iter().find(|(_, peer)| due(peer))?.0;
        let (mut mode, mut min_fee_rate) = (self.mode(), self.fee_rate());
        let peer = self.peers.get_mut(&peer_id)?;
        if peer.for_blocks {
            (mode, min_fee_rate) = (TxMode::Pull, u64::MAX);
        }
        peer.told_fee_rate = min_fee_rate;
        peer.fee_due = now + FEE_FILTER_MILLIS;
        if matches!(peer.greeting, Greeting::Due(_)) {
            peer.greeting = Greeting::Sent;
            let hello = TxRequest::Hello { mode, salt: peer.our_salt, min_fee_rate };
            return Some((peer_id, hello, Flight::Hello));
        }
        peer.telling_fee = true;
        Some((peer_id, TxRequest::FeeFilter(min_fee_rate), Flight::FeeFilter))
    }

    /// Whether there is room for what a fetch brings.
    pub(super) fn can_fetch(&self) -> bool {
        self.intake == Intake::All && self.checks.len() + MAX_BATCH_COUNT <= MAX_IN_CHECK
    }

    /// Those who have waited longest come first.
    fn next_fetch(&mut self, now: Mono) -> Option<(PeerId, TxRequest, Flight)> {
        if !self.can_fetch() {
            return None;
        }
        let due = |peer: &Peer| peer.fetch_due().is_some_and(|due| due <= now);
        let mut announcers: Vec<_> =
            self.peers.iter().filter(|(_, peer)| due(peer)).map(|(id, peer)| (peer.turn, *id)).collect();
        announcers.sort_unstable();
        for (_, peer_id) in announcers {
            let delivers = |peer: &PeerId| self.peers.get(peer).is_some_and(|peer| peer.patience.delivers);
            let mut cover = Cover::default();
            for (other, flight) in self.in_flight.values() {
                if let Flight::Fetch(fetch) = flight
                    && fetch.covers
                    && *other != peer_id
                    && (delivers(other) || !delivers(&peer_id))
                {
                    cover.add(fetch);
                }
            }
            let Some(peer) = self.peers.get_mut(&peer_id) else { continue };
            let end = cover.end;
            let batch = peer.offers.take_batch(now + FETCH_GATHER_MILLIS, |size| cover.takes(size), end);
            let Some(session) = peer.session().filter(|_| !batch.is_empty()) else { continue };
            let key = session.key.clone();
            peer.fetching = true;
            self.turns += 1;
            peer.turn = self.turns;
            self.counts.asked += batch.len() as u64;
            let request = TxRequest::Fetch(batch.iter().map(|(short, _)| *short).collect());
            return Some((peer_id, request, Flight::Fetch(Box::new(Fetch::new(key, batch, now)))));
        }
        None
    }

    fn next_push(&mut self, now: Mono) -> Option<(PeerId, TxRequest, Flight)> {
        let due = |peer: &Peer| peer.push_due().is_some_and(|due| due <= now);
        let (peer_id, peer) = self.peers.iter_mut().find(|(_, peer)| due(peer))?;
        let batch = peer.outbox.take_batch();
        for parcel in &batch {
            if self.met.id(parcel.serial).is_some() {
                peer.known.insert(parcel.serial);
            }
        }
        peer.sending += 1;
        self.counts.pushed += batch.len() as u64;
        let transactions = batch.iter().map(|parcel| parcel.transaction.as_ref().clone()).collect();
        Some((*peer_id, TxRequest::Push(transactions), Flight::Push(batch)))
    }

    fn next_announcement(&mut self, now: Mono) -> Option<(PeerId, TxRequest, Flight)> {
        let due = |peer: &Peer| peer.announcement_due().is_some_and(|due| due <= now);
        let (peer_id, peer) = self.peers.iter_mut().find(|(_, peer)| due(peer))?;
        let batch = peer.notices.take_batch();
        let Link::Session(session) = &peer.link else { return None };
        let announcement = |id: &Hash, size: u32| Announcement { short: session.key.short(id), size };
        let announcements = batch.iter().map(|notice| announcement(&notice.id, notice.size)).collect();
        for notice in &batch {
            if self.met.id(notice.serial).is_some() {
                peer.known.insert(notice.serial);
            }
        }
        peer.sending += 1;
        self.counts.announced += batch.len() as u64;
        Some((*peer_id, TxRequest::Announce(announcements), Flight::Announce(batch)))
    }

    /// Whose turn it is to be compared with, and when.
    fn next_turn(&self) -> Option<(Mono, PeerId)> {
        if self.intake != Intake::All || self.policy.mode == TxMode::Push || self.reconciler.is_busy() {
            return None;
        }
        let takes_part = |peer: &Peer| {
            let mode = peer.session().map(|session| session.mode);
            !peer.closed
                && !peer.sketches_not
                && !peer.is_light()
                && mode.is_some_and(|mode| mode != TxMode::Push)
        };
        let peers = self.peers.iter().filter(|(_, peer)| takes_part(peer));
        let turn =
            peers.map(|(id, peer)| (self.reconciler.turn(peer.sketch_at), peer.sketch_at, *id)).min()?;
        Some((turn.0, turn.2))
    }

    fn next_sketch(&mut self, pool: &impl Pool, now: Mono) -> Option<(PeerId, TxRequest, Flight)> {
        if let Some((peer, request)) = self.reconciler.next_request() {
            return Some((peer, request, Flight::Sketch));
        }
        while let Some((_, peer_id)) = self.next_turn().filter(|(turn, _)| *turn <= now) {
            let ids = self.compared(&peer_id, pool, now);
            self.reconciler.wait(now);
            let Some(peer) = self.peers.get_mut(&peer_id) else { continue };
            peer.sketch_at = now.max(Mono(1));
            // Whoever has nothing is told by those who have something.
            let Some(session) = peer.session().filter(|_| !ids.is_empty()) else { continue };
            let key = session.key.clone();
            let ids: BTreeMap<_, _> = ids.into_iter().map(|id| (key.short(&id), id)).collect();
            self.reconciler.begin(peer_id, key, ids);
            let (peer, request) = self.reconciler.next_request()?;
            return Some((peer, request, Flight::Sketch));
        }
        None
    }

    /// Announces the best of what waits to a peer that a sketch did not help.
    pub(super) fn announce_best(&mut self, peer_id: &PeerId, pool: &impl Pool, now: Mono) {
        for (id, transaction) in pool.best().take(MAX_INTRODUCED) {
            let serial = self.meet(id, now);
            let Some(peer) = self.peers.get_mut(peer_id) else { return };
            if !peer.known.contains(serial) && super::fee_rate(transaction) >= peer.min_fee_rate {
                self.counts.unsent += announce(peer, serial, id, transaction.encoded_len(), now);
            }
        }
    }
}
