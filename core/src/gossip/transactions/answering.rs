//! What became of what we said.

use libp2p::PeerId;

use super::{
    AnswerError, Answered, Flight, GREETING_PAUSE_MILLIS, Greeting, Link, MAX_FAILURES, MAX_GREETINGS_FAILED,
    OutgoingId, PAUSE_MILLIS, Pool, SETTLED_MILLIS, SKETCH_PAUSE_MILLIS, ShortId, Symbol, TransactionRelay,
    TxRefusal, TxResponse, announce, fetching::Fetch, notices::Notices, offers::Offers, outbox::Outbox,
    peer::Peer, reconciling::Compared,
};
use crate::{
    chain::Transaction,
    primitives::{Hash, Mono},
};

impl From<AnswerError> for Answered {
    fn from(error: AnswerError) -> Self {
        Self { check: Vec::new(), error: Some(error) }
    }
}

impl TransactionRelay {
    /// A request was answered.
    pub fn answered(&mut self, id: OutgoingId, body: &[u8], pool: &impl Pool, now: Mono) -> Answered {
        let quiet = self.quiet.take();
        let response = match TxResponse::from_bytes(body) {
            Ok(response) => response,
            Err(error) => {
                if let Some((peer_id, flight)) = self.finish(id) {
                    self.botched(&peer_id, &flight, now);
                }
                return AnswerError::from(error).into();
            }
        };
        self.counts.bytes_received.response(&response, body.len());
        let refusal = match response {
            TxResponse::Refused(TxRefusal::Busy) => {
                self.failed(id, now);
                return Answered::default();
            }
            TxResponse::Refused(refusal) => Some(refusal),
            _ => None,
        };
        let Some((peer_id, flight)) = self.finish(id) else { return Answered::default() };
        if refusal.is_some() {
            self.not_taken(&peer_id, &flight, now);
            return Answered::default();
        }
        match (flight, response) {
            (Flight::Hello, TxResponse::Done) => {
                if let Some(peer) = self.peers.get_mut(&peer_id) {
                    peer.greetings_failed = 0;
                    if peer.greeting == Greeting::Sent {
                        peer.greeting = Greeting::Answered;
                    }
                }
                Answered::default()
            }
            (Flight::Push(_) | Flight::Announce(_), TxResponse::Done) => {
                self.quiet = quiet;
                self.hasten(&peer_id);
                Answered::default()
            }
            (Flight::FeeFilter, TxResponse::Done) => Answered::default(),
            (Flight::Fetch(fetch), TxResponse::Transactions(transactions)) => {
                self.fetched(&peer_id, *fetch, transactions, pool, now)
            }
            (Flight::Sketch, TxResponse::Symbols(symbols)) => self.compare(&peer_id, &symbols, pool, now),
            (flight, _) => {
                self.botched(&peer_id, &flight, now);
                AnswerError::Unexpected.into()
            }
        }
    }

    /// A request got no answer, or the peer was busy. What it carried is sent again after a pause, a few times; who has
    /// it need not mind.
    pub fn failed(&mut self, id: OutgoingId, now: Mono) {
        self.quiet = None;
        let Some((peer_id, flight)) = self.finish(id) else { return };
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        match flight {
            Flight::Hello => {
                peer.greetings_failed += 1;
                if peer.greetings_failed < MAX_GREETINGS_FAILED {
                    peer.greeting = Greeting::Due(now + GREETING_PAUSE_MILLIS);
                } else {
                    be_plain(peer);
                }
            }
            Flight::Push(batch) => {
                peer.resumes = now + PAUSE_MILLIS;
                for mut parcel in batch {
                    parcel.failures += 1;
                    self.counts.unsent +=
                        if parcel.failures > MAX_FAILURES { 1 } else { peer.outbox.put(parcel) };
                }
            }
            Flight::Announce(batch) => {
                peer.resumes = now + PAUSE_MILLIS;
                for mut notice in batch {
                    notice.failures += 1;
                    self.counts.unsent +=
                        if notice.failures > MAX_FAILURES { 1 } else { peer.notices.put(notice) };
                }
            }
            Flight::Fetch(fetch) => {
                peer.patience.lose(now);
                self.counts.undelivered += fetch.items.len() as u64;
                for (short, mut offer) in fetch.items {
                    offer.failures += 1;
                    let is_met =
                        peer.session().is_none_or(|session| session.serial(short, &self.met).is_some());
                    if offer.failures <= MAX_FAILURES && !is_met {
                        peer.offers.put_back(short, offer, now);
                    }
                }
                self.uncover(now);
            }
            Flight::Sketch => self.sketch_failed(&peer_id, now),
            // The next change is told again.
            Flight::FeeFilter => peer.told_fee_rate = 0,
        }
    }

    /// The peer of a request does not speak the protocol: it is told nothing more.
    pub fn unsupported(&mut self, id: OutgoingId, now: Mono) {
        self.quiet = None;
        if let Some((peer_id, _)) = self.finish(id)
            && let Some(peer) = self.peers.get_mut(&peer_id)
        {
            (peer.closed, peer.for_blocks) = (true, false);
            (peer.outbox, peer.notices, peer.offers) =
                (Outbox::default(), Notices::default(), Offers::default());
            self.reconciler.abandon(&peer_id);
            self.uncover(now);
        }
    }

    /// The peer does not take such requests, in its mode or of that size: it gets no more of them.
    fn not_taken(&mut self, peer_id: &PeerId, flight: &Flight, now: Mono) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        match flight {
            Flight::Hello => be_plain(peer),
            Flight::Push(_) => {
                peer.takes_no_push = true;
                peer.outbox = Outbox::default();
            }
            Flight::Announce(_) => {
                peer.takes_no_announcement = true;
                peer.notices = Notices::default();
            }
            Flight::Fetch(fetch) => {
                peer.patience.lose(now);
                self.counts.undelivered += fetch.items.len() as u64;
                self.uncover(now);
            }
            Flight::Sketch => {
                peer.sketches_not = true;
                self.reconciler.abandon(peer_id);
            }
            Flight::FeeFilter => {}
        }
    }

    /// The answer was none: the peer is not asked for the same again.
    fn botched(&mut self, peer_id: &PeerId, flight: &Flight, now: Mono) {
        match flight {
            Flight::Hello => {
                if let Some(peer) = self.peers.get_mut(peer_id) {
                    be_plain(peer);
                }
            }
            Flight::Sketch => self.sketch_failed(peer_id, now),
            Flight::Fetch(_) => self.uncover(now),
            Flight::Push(_) | Flight::Announce(_) | Flight::FeeFilter => {}
        }
    }

    /// Transactions that were asked for.
    fn fetched(
        &mut self,
        peer_id: &PeerId,
        fetch: Fetch,
        transactions: Vec<Transaction>,
        pool: &impl Pool,
        now: Mono,
    ) -> Answered {
        let Fetch { key, mut items, .. } = fetch;
        let asked = items.len();
        let (mut error, mut came) = (None, Vec::new());
        for transaction in transactions {
            let Some(offer) = items.remove(&key.short(&transaction.id())) else {
                error = Some(AnswerError::Unexpected);
                break;
            };
            if offer.size.is_some_and(|size| size as usize != transaction.encoded_len()) {
                self.counts.false_sizes += 1;
                error = Some(AnswerError::FalseSize);
            }
            came.push(transaction);
        }
        self.counts.fetched += came.len() as u64;
        self.counts.undelivered += items.len() as u64;
        if let Some(peer) = self.peers.get_mut(peer_id) {
            // Some are in a block by now, or replaced. Few are, in the time of a round trip.
            if 2 * came.len() < asked {
                peer.patience.lose(now);
            } else {
                peer.patience.regain();
            }
        }
        came.truncate(self.checks.room(peer_id));
        let check = self.take_in(peer_id, came, pool, now);
        self.uncover(now);
        Answered { check, error }
    }

    /// Symbols that were asked for.
    fn compare(&mut self, peer_id: &PeerId, symbols: &[Symbol], pool: &impl Pool, now: Mono) -> Answered {
        match self.reconciler.answered(peer_id, symbols) {
            None | Some(Compared::More) => {}
            Some(Compared::Done(theirs, ours)) => {
                self.counts.sketches_decoded += 1;
                self.close_gaps(peer_id, &theirs, &ours, pool, now);
            }
            Some(Compared::Failed) => {
                self.sketch_failed(peer_id, now);
                self.announce_best(peer_id, pool, now);
            }
            Some(Compared::TooMany) => {
                self.sketch_failed(peer_id, now);
                return AnswerError::Unexpected.into();
            }
        }
        Answered::default()
    }

    /// What only they have is asked for like what they announce; what only we have is announced.
    fn close_gaps(
        &mut self,
        peer_id: &PeerId,
        theirs: &[ShortId],
        ours: &[Hash],
        pool: &impl Pool,
        now: Mono,
    ) {
        for short in theirs {
            self.counts.found += u64::from(self.offered(peer_id, *short, None, pool, now));
        }
        for id in ours {
            let Some(serial) = self.met.serial(id) else { continue };
            let settled = self.met.since(serial).is_some_and(|since| since + SETTLED_MILLIS <= now);
            let (Some(peer), Some(transaction)) = (self.peers.get_mut(peer_id), pool.get(id)) else {
                continue;
            };
            if settled && !peer.takes_no_announcement {
                peer.known.remove(serial);
                self.counts.unsent += announce(peer, serial, *id, transaction.encoded_len(), now);
            }
        }
    }

    fn sketch_failed(&mut self, peer_id: &PeerId, now: Mono) {
        self.reconciler.abandon(peer_id);
        self.counts.sketches_failed += 1;
        if let Some(peer) = self.peers.get_mut(peer_id) {
            peer.sketch_at = now + SKETCH_PAUSE_MILLIS;
        }
    }
}

/// The peer does not know `Hello`, or does not answer it: it is treated like one that never heard of it.
fn be_plain(peer: &mut Peer) {
    peer.greeting = Greeting::Unneeded;
    peer.link = Link::Plain;
    peer.offers = Offers::default();
}
