//! What others ask and bring.

use libp2p::PeerId;

use super::{
    Announcement, Answer, DROPPED_MILLIS, FETCH_GATHER_MILLIS, Greeting, Intake, Link, MAX_ANNOUNCED,
    MAX_BATCH_BYTES, MAX_BATCH_COUNT, MAX_SKETCHED, MAX_SYMBOLS, Outbox, PUSH_WAIT_MILLIS, Pool,
    REFUSED_MILLIS, SALT_MILLIS, SKETCH_LIFE_MILLIS, ShortId, Symbol, TransactionRelay, TxMode, TxRefusal,
    TxRequest, TxResponse, announce, fee_rate,
    met::Serial,
    peer::{Allowances, Peer, Served},
    policy::Way,
    reconciling::{SKETCH_ITEMS, SKETCH_MILLIS},
    sketch::sketch,
};
use crate::{
    chain::Transaction,
    peers::Offence,
    primitives::{DecodeError, Hash, Mono},
};

/// What became of a request.
struct Outcome {
    response: TxResponse,
    check: Vec<Transaction>,
    offence: Option<Offence>,
}

impl From<TxResponse> for Outcome {
    fn from(response: TxResponse) -> Self {
        Self { response, check: Vec::new(), offence: None }
    }
}

impl From<TxRefusal> for Outcome {
    fn from(refusal: TxRefusal) -> Self {
        TxResponse::Refused(refusal).into()
    }
}

impl TransactionRelay {
    /// Takes in a request.
    ///
    /// # Errors
    /// When the bytes are no request, for which the peer is to blame.
    pub fn request(
        &mut self,
        peer: &PeerId,
        body: &[u8],
        pool: &impl Pool,
        now: Mono,
    ) -> Result<Answer, DecodeError> {
        let outcome = match self.read(peer, body, now)? {
            Some(request) => {
                let is_common =
                    matches!(request, TxRequest::Push(_) | TxRequest::Announce(_) | TxRequest::Fetch(_));
                let outcome = self.act(peer, request, pool, now);
                if is_common {
                    self.hasten(peer);
                } else {
                    self.quiet = None;
                }
                outcome
            }
            None => self.overrun(peer, now),
        };
        self.counts.requests_refused += u64::from(matches!(outcome.response, TxResponse::Refused(_)));
        let response = outcome.response.to_bytes();
        self.counts.bytes_sent.response(&outcome.response, response.len());
        self.allowances(peer, now).answered(response.len());
        Ok(Answer { response, check: outcome.check, offence: outcome.offence })
    }

    /// Reads a request, unless the peer brings or asks for more than it may.
    fn read(&mut self, peer: &PeerId, body: &[u8], now: Mono) -> Result<Option<TxRequest>, DecodeError> {
        let unbounded = self.unbounded;
        let allowances = self.allowances.of(peer, now, Allowances::new);
        if !unbounded && !allowances.may_bring(body.len(), now) {
            return Ok(None);
        }
        let request = TxRequest::from_bytes(body)?;
        self.counts.bytes_received.request(&request, body.len());
        Ok((unbounded || allowances.may_ask(items(&request), now)).then_some(request))
    }

    fn allowances(&mut self, peer: &PeerId, now: Mono) -> &mut Allowances {
        self.allowances.of(peer, now, Allowances::new)
    }

    /// A peer brought too much. It is told so, and to blame when it goes on.
    fn overrun(&mut self, peer: &PeerId, now: Mono) -> Outcome {
        let offence = self.allowances(peer, now).overrun(now).then_some(Offence::Flood);
        Outcome { offence, ..TxRefusal::Busy.into() }
    }

    fn act(&mut self, peer: &PeerId, request: TxRequest, pool: &impl Pool, now: Mono) -> Outcome {
        match request {
            TxRequest::Hello { mode, salt, min_fee_rate } => {
                self.meet_waiting(pool, now);
                self.greeted(peer, mode, salt, min_fee_rate, now)
            }
            TxRequest::FeeFilter(rate) => self.fee_filtered(peer, rate),
            _ if self.is_for_blocks(peer) => TxRefusal::NotInThisMode.into(),
            TxRequest::Push(transactions) => match self.intake {
                Intake::Nothing => TxRefusal::NotInThisMode.into(),
                _ if transactions.len() > MAX_BATCH_COUNT => TxRefusal::TooMany.into(),
                Intake::Later => TxRefusal::Busy.into(),
                Intake::All if transactions.len() > self.checks.room(peer) => TxRefusal::Busy.into(),
                Intake::All => {
                    let check = self.take_in(peer, transactions, pool, now);
                    Outcome { response: TxResponse::Done, check, offence: None }
                }
            },
            TxRequest::Announce(announcements) => match self.intake {
                _ if self.mode() == TxMode::Push => TxRefusal::NotInThisMode.into(),
                Intake::Nothing => TxRefusal::NotInThisMode.into(),
                _ if announcements.len() > MAX_ANNOUNCED => TxRefusal::TooMany.into(),
                Intake::Later => TxRefusal::Busy.into(),
                Intake::All => self.announced(peer, &announcements, pool, now),
            },
            TxRequest::Fetch(shorts) if shorts.len() > MAX_BATCH_COUNT => TxRefusal::TooMany.into(),
            TxRequest::Fetch(shorts) => self.asked(peer, &shorts, pool),
            TxRequest::Sketch { offset, count } => match self.intake {
                _ if self.mode() == TxMode::Push => TxRefusal::NotInThisMode.into(),
                Intake::Nothing => TxRefusal::NotInThisMode.into(),
                Intake::Later => TxRefusal::Busy.into(),
                Intake::All => self.sketched(peer, offset as usize, count as usize, pool, now),
            },
        }
    }

    /// A peer says how it wants to learn of transactions. Whoever says so again with another salt has restarted.
    fn greeted(&mut self, peer: &PeerId, mode: TxMode, salt: u64, min_fee_rate: u64, now: Mono) -> Outcome {
        let Some(peer) = self.peers.get_mut(peer) else { return TxRefusal::Busy.into() };
        match &mut peer.link {
            Link::Session(session) if session.salt == salt => session.mode = mode,
            Link::Session(session) if now < session.since + SALT_MILLIS => return TxRefusal::Busy.into(),
            Link::Session(_) => {
                peer.known.clear();
                peer.begin(salt, mode, &self.met, now);
                peer.introduce = true;
                peer.greeting = Greeting::Due(now);
            }
            Link::Unknown(_) | Link::Plain => {
                peer.begin(salt, mode, &self.met, now);
                if peer.greeting == Greeting::Unneeded {
                    peer.greeting = Greeting::Due(now);
                }
            }
        }
        peer.introduce |= peer.is_light();
        peer.min_fee_rate = min_fee_rate;
        (peer.takes_no_push, peer.takes_no_announcement, peer.sketches_not) = (false, false, false);
        let first = matches!(&peer.link, Link::Session(session) if session.first);
        peer.sketch_at = if first { Mono(0) } else { now + SKETCH_MILLIS };
        if peer.is_light() {
            peer.outbox = Outbox::default();
        } else if self.policy.way(mode, true, 0) == Way::Announce {
            for parcel in std::mem::take(&mut peer.outbox).into_parcels() {
                let bytes = parcel.transaction.encoded_len();
                self.counts.unsent += announce(peer, parcel.serial, parcel.id, bytes, now);
            }
        }
        TxResponse::Done.into()
    }

    fn fee_filtered(&mut self, peer: &PeerId, rate: u64) -> Outcome {
        let Some(peer) = self.peers.get_mut(peer) else { return TxRefusal::Busy.into() };
        peer.introduce |= peer.is_light();
        peer.min_fee_rate = rate;
        TxResponse::Done.into()
    }

    /// Transactions that came: those that are worth it are now in check. There must be room for them.
    pub(super) fn take_in(
        &mut self,
        peer: &PeerId,
        transactions: Vec<Transaction>,
        pool: &impl Pool,
        now: Mono,
    ) -> Vec<Transaction> {
        self.refused.forget_before(Mono(now.0.saturating_sub(REFUSED_MILLIS)));
        self.counts.received += transactions.len() as u64;
        let mut check = Vec::new();
        for transaction in transactions {
            let id = transaction.id();
            let serial = self.meet(id, now);
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.has(serial, &id);
            }
            if self.checks.join(&id, *peer) || self.refused.contains(&id) || pool.get(&id).is_some() {
                self.counts.duplicates += 1;
            } else {
                self.checks.begin(id, *peer);
                check.push(transaction);
            }
        }
        check
    }

    /// A peer says what may be fetched from it.
    fn announced(
        &mut self,
        peer_id: &PeerId,
        announcements: &[Announcement],
        pool: &impl Pool,
        now: Mono,
    ) -> Outcome {
        let mut offence = None;
        for Announcement { short, size } in announcements {
            if (Transaction::EMPTY_LEN..=Transaction::MAX_LEN).contains(&(*size as usize)) {
                if !self.offered(peer_id, *short, Some(*size), pool, now) {
                    self.counts.heard_before += 1;
                }
            } else {
                self.counts.false_sizes += 1;
                offence = Some(Offence::FalseAnnouncement);
            }
        }
        self.counts.heard += announcements.len() as u64;
        Outcome { response: TxResponse::Done, check: Vec::new(), offence }
    }

    /// A peer has something. Says whether it is worth asking for.
    pub(super) fn offered(
        &mut self,
        peer_id: &PeerId,
        short: ShortId,
        size: Option<u32>,
        pool: &impl Pool,
        now: Mono,
    ) -> bool {
        let Some(peer) = self.peers.get(peer_id) else { return false };
        let Link::Session(session) = &peer.link else { return false };
        let serial = session.serial(short, &self.met);
        let met = serial.and_then(|serial| Some((serial, *self.met.id(serial)?)));
        let wanted = met.is_none_or(|(serial, id)| self.is_wanted(serial, &id, pool, now));
        let Some(peer) = self.peers.get_mut(peer_id) else { return false };
        if wanted {
            // Where somebody may still push it, that is waited for.
            let wait =
                if self.policy.mode == TxMode::PushPull { PUSH_WAIT_MILLIS } else { FETCH_GATHER_MILLIS };
            return peer.offers.add(short, size, now + wait);
        }
        if let Some((serial, id)) = met {
            peer.has(serial, &id);
        }
        false
    }

    /// Whether something we met is worth asking for: it is neither here nor refused, and was dropped a while ago.
    fn is_wanted(&self, serial: Serial, id: &Hash, pool: &impl Pool, now: Mono) -> bool {
        self.met.lapsed(serial).is_some_and(|dropped| dropped + DROPPED_MILLIS <= now)
            && !self.checks.contains(id)
            && !self.refused.contains(id)
            && pool.get(id).is_none()
    }

    /// A peer asks for transactions.
    fn asked(&mut self, peer: &PeerId, shorts: &[ShortId], pool: &impl Pool) -> Outcome {
        let Some(Peer { link: Link::Session(session), known, .. }) = self.peers.get_mut(peer) else {
            return TxRefusal::Busy.into();
        };
        let (mut found, mut bytes) = (Vec::new(), 0);
        for short in shorts {
            let Some(serial) = session.serial(*short, &self.met) else { continue };
            let Some(transaction) = self.met.id(serial).and_then(|id| pool.get(id)) else { continue };
            bytes += transaction.encoded_len();
            if bytes > MAX_BATCH_BYTES {
                break;
            }
            known.insert(serial);
            found.push(transaction.clone());
        }
        self.counts.served += found.len() as u64;
        TxResponse::Transactions(found).into()
    }

    /// A peer compares its transactions with ours.
    fn sketched(
        &mut self,
        peer_id: &PeerId,
        offset: usize,
        count: usize,
        pool: &impl Pool,
        now: Mono,
    ) -> Outcome {
        let end = offset.saturating_add(count);
        if count == 0 || end > MAX_SYMBOLS {
            return TxRefusal::TooMany.into();
        }
        if offset == 0 {
            let Some(symbols) = self.all_symbols(peer_id, pool, now) else { return TxRefusal::Busy.into() };
            if let Some(peer) = self.peers.get_mut(peer_id) {
                peer.served = Some(Served { symbols, next: 0, until: now + SKETCH_LIFE_MILLIS });
            }
        }
        let served = self.peers.get_mut(peer_id).and_then(|peer| peer.served.as_mut());
        let Some(served) = served.filter(|served| served.next == offset && now < served.until) else {
            return TxRefusal::Busy.into();
        };
        served.next = end;
        TxResponse::Symbols(served.symbols[offset..end].to_vec()).into()
    }

    /// The sketch of what we have, for a peer that has a session.
    fn all_symbols(&mut self, peer: &PeerId, pool: &impl Pool, now: Mono) -> Option<Vec<Symbol>> {
        let ids = self.compared(peer, pool, now);
        let Link::Session(session) = &self.peers.get(peer)?.link else { return None };
        Some(sketch(&session.key, ids.iter().map(|id| session.key.short(id)), MAX_SYMBOLS))
    }

    /// What is compared with a peer: the best that both of us would take.
    pub(super) fn compared(&mut self, peer: &PeerId, pool: &impl Pool, now: Mono) -> Vec<Hash> {
        let theirs = self.peers.get(peer).map_or(0, |peer| peer.min_fee_rate);
        let least = theirs.max(self.min_fee_rate);
        let best = pool.best().filter(|(_, transaction)| fee_rate(transaction) >= least);
        let ids: Vec<_> = best.take(MAX_SKETCHED).map(|(id, _)| id).collect();
        // Whoever finds them in a sketch must be able to ask for them.
        self.meet_all(&ids, now);
        ids
    }

    /// A newcomer may tell of what has been waiting here for so long that it was forgotten.
    fn meet_waiting(&mut self, pool: &impl Pool, now: Mono) {
        let ids: Vec<_> = pool.best().take(MAX_SKETCHED).map(|(id, _)| id).collect();
        self.meet_all(&ids, now);
    }

    fn meet_all(&mut self, ids: &[Hash], now: Mono) {
        for id in ids {
            if self.met.serial(id).is_none() {
                self.meet(*id, now);
            }
        }
    }
}

/// What a request counts as.
fn items(request: &TxRequest) -> usize {
    match request {
        TxRequest::Hello { .. } | TxRequest::FeeFilter(_) => 0,
        TxRequest::Push(transactions) => transactions.len(),
        TxRequest::Announce(announcements) => announcements.len(),
        TxRequest::Fetch(shorts) => shorts.len(),
        TxRequest::Sketch { offset: 0, .. } => SKETCH_ITEMS,
        TxRequest::Sketch { .. } => 0,
    }
}
