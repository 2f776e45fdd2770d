//! Passing transactions on, in *push* mode: each peer is sent what it is not known to have.
//!
//! [`TransactionRelay`] decides who is sent what and when, and which of what arrives is worth the cost of checking. It
//! does no I/O: after every call, drain [`TransactionRelay::poll`].
//!
//! A transaction that arrives is *in check* from [`TransactionRelay::request`] until the node says what became of it
//! with [`accepted`](TransactionRelay::accepted), [`refused`](TransactionRelay::refused) or
//! [`dropped`](TransactionRelay::dropped). In the meantime it is not checked a second time, however many peers send it,
//! and all who did are remembered, since all of them answer for a signature that is wrong.

mod message;
mod outbox;
mod recent;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use libp2p::PeerId;
pub use message::{
    Announcement, MAX_TX_MESSAGE_BYTES, ShortId, Symbol, TxMode, TxRefusal, TxRequest, TxResponse,
};
use outbox::{Outbox, Parcel};
use recent::Recent;

use crate::{
    chain::Transaction,
    primitives::{DecodeError, Hash, Mono},
};

/// How long transactions are gathered before a push, in milliseconds: a bundle costs little more than one.
pub const GATHER_MILLIS: u64 = 50;
/// The most transactions in a request.
pub const MAX_BATCH_COUNT: usize = 256;
/// The most bytes of transactions in a request.
pub const MAX_BATCH_BYTES: usize = 128 << 10;
/// The most requests to one peer that wait for their answer: one on the way while the other is being read.
pub const MAX_IN_FLIGHT: usize = 2;
/// How many ids are remembered of what one peer has.
pub const MAX_KNOWN: usize = 32_768;
/// How many ids are remembered of what was refused for good.
pub const MAX_REFUSED: usize = 32_768;
/// How long a refusal is remembered, in milliseconds: 5 minutes.
pub const REFUSED_MILLIS: u64 = 5 * 60 * 1000;
/// The most transactions that wait to be sent to one peer: eight requests, more than the slowest link needs in a while.
pub const MAX_OUTBOX_COUNT: usize = 8 * MAX_BATCH_COUNT;
/// The most bytes of transactions that wait to be sent to one peer.
pub const MAX_OUTBOX_BYTES: usize = 8 * MAX_BATCH_BYTES;
/// The most transactions in check at once, from all peers; past that, requests are answered with `Busy`.
pub const MAX_IN_CHECK: usize = 4096;
/// The most transactions in check that one peer was the first to send, so that none keeps the others out.
pub const MAX_IN_CHECK_OF_PEER: usize = 1024;
/// The most senders remembered of a transaction in check; those after them are not blamed.
const MAX_SENDERS: usize = 16;
/// How long a peer is left alone after a request failed or found it busy, in milliseconds.
pub const PAUSE_MILLIS: u64 = 1000;
/// How often a transaction is sent again to a peer after a request failed.
const MAX_FAILURES: u8 = 2;

/// A push in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PushId(u64);

/// A request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Its name, for [`TransactionRelay::answered`] or [`TransactionRelay::failed`].
    pub id: PushId,
    /// To whom.
    pub peer: PeerId,
    /// What to say: an encoded [`TxRequest`].
    pub body: Vec<u8>,
}

/// What to do about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What to answer: an encoded [`TxResponse`].
    pub response: Vec<u8>,
    /// Transactions that are now in check.
    pub check: Vec<Transaction>,
}

/// Why a peer's answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It cannot be read.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// It answers another question.
    #[error("the answer does not fit the request")]
    Unexpected,
}

/// What went by, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounts {
    /// Transactions that arrived.
    pub received: u64,
    /// Of those, the ones that were here, in check or refused already.
    pub duplicates: u64,
    /// Transactions sent, counted for each peer.
    pub sent: u64,
    /// Transactions that were not sent to a peer because its queue was full or requests to it failed.
    pub unsent: u64,
    /// Requests answered with a refusal.
    pub requests_refused: u64,
}

/// Who is sent which transactions, and which of those that arrive are worth checking.
#[derive(Debug)]
pub struct TransactionRelay {
    peers: BTreeMap<PeerId, Peer>,
    in_flight: BTreeMap<PushId, (PeerId, VecDeque<Parcel>)>,
    /// Who sent each transaction in check, the first first.
    in_check: BTreeMap<Hash, Vec<PeerId>>,
    /// How many transactions in check each peer was the first to send; none is zero.
    in_check_of: BTreeMap<PeerId, usize>,
    refused: Recent,
    next_push: u64,
    counts: RelayCounts,
}

#[derive(Debug)]
struct Peer {
    /// What it has: it sent it, or was sent it.
    known: Recent,
    outbox: Outbox,
    in_flight: usize,
    /// When what waits has been gathered for long enough; a full request does not wait for it.
    gathered: Mono,
    /// When the pause after a failure is over.
    resumes: Mono,
    /// It takes no pushes.
    closed: bool,
}

impl Default for TransactionRelay {
    fn default() -> Self {
        Self::new()
    }
}

impl TransactionRelay {
    /// A relay without peers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            peers: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            in_check: BTreeMap::new(),
            in_check_of: BTreeMap::new(),
            refused: Recent::new(MAX_REFUSED),
            next_push: 0,
            counts: RelayCounts::default(),
        }
    }

    /// A peer that speaks the protocol is there. What waits in the mempool is sent to it only as far as
    /// [`Self::forward_to`] is called.
    pub fn peer_connected(&mut self, peer: PeerId) {
        self.peers.entry(peer).or_insert_with(|| Peer {
            known: Recent::new(MAX_KNOWN),
            outbox: Outbox::default(),
            in_flight: 0,
            gathered: Mono(0),
            resumes: Mono(0),
            closed: false,
        });
    }

    /// A peer is gone, and with it all that was kept for it. It still answers for what it sent.
    pub fn peer_disconnected(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
        self.in_flight.retain(|_, (other, _)| other != peer);
    }

    /// Takes in a request. `held` says whether a transaction is in the mempool.
    ///
    /// # Errors
    /// When the bytes are no request, for which the peer is to blame.
    pub fn request(
        &mut self,
        peer: &PeerId,
        body: &[u8],
        held: impl Fn(&Hash) -> bool,
        now: Mono,
    ) -> Result<Answer, DecodeError> {
        let outcome = match TxRequest::from_bytes(body)? {
            TxRequest::Push(transactions) if transactions.len() > MAX_BATCH_COUNT => Err(TxRefusal::TooMany),
            TxRequest::Push(transactions) => self.pushed(peer, transactions, held, now),
            TxRequest::Hello { .. }
            | TxRequest::Announce(_)
            | TxRequest::Fetch(_)
            | TxRequest::Sketch { .. }
            | TxRequest::FeeFilter(_) => Err(TxRefusal::NotInThisMode),
        };
        self.counts.requests_refused += u64::from(outcome.is_err());
        let (response, check) = match outcome {
            Ok(check) => (TxResponse::Done, check),
            Err(refusal) => (TxResponse::Refused(refusal), Vec::new()),
        };
        Ok(Answer { response: response.to_bytes(), check })
    }

    fn pushed(
        &mut self,
        peer: &PeerId,
        transactions: Vec<Transaction>,
        held: impl Fn(&Hash) -> bool,
        now: Mono,
    ) -> Result<Vec<Transaction>, TxRefusal> {
        let of_peer = self.in_check_of.get(peer).copied().unwrap_or(0);
        if self.in_check.len() + transactions.len() > MAX_IN_CHECK
            || of_peer + transactions.len() > MAX_IN_CHECK_OF_PEER
        {
            return Err(TxRefusal::Busy);
        }
        self.refused.forget_before(Mono(now.0.saturating_sub(REFUSED_MILLIS)));
        self.counts.received += transactions.len() as u64;
        let mut check = Vec::new();
        for transaction in transactions {
            let id = transaction.id();
            if let Some(peer) = self.peers.get_mut(peer) {
                peer.known.add(id, now);
                peer.outbox.remove(&id);
            }
            if let Some(senders) = self.in_check.get_mut(&id) {
                if senders.len() < MAX_SENDERS && !senders.contains(peer) {
                    senders.push(*peer);
                }
                self.counts.duplicates += 1;
            } else if self.refused.contains(&id) || held(&id) {
                self.counts.duplicates += 1;
            } else {
                self.in_check.insert(id, vec![*peer]);
                *self.in_check_of.entry(*peer).or_default() += 1;
                check.push(transaction);
            }
        }
        Ok(check)
    }

    /// A transaction in check is in the mempool now. Pass it on with [`Self::forward`].
    pub fn accepted(&mut self, id: &Hash) {
        self.end_check(id);
    }

    /// A transaction can never be taken: it is not checked again for a while. Returns who sent it while it was in check;
    /// whether they are to blame depends on why it was refused.
    pub fn refused(&mut self, id: &Hash, now: Mono) -> Vec<PeerId> {
        self.refused.add(*id, now);
        self.end_check(id)
    }

    /// A transaction in check was not taken, for a reason that may pass.
    pub fn dropped(&mut self, id: &Hash) {
        self.end_check(id);
    }

    /// Sends a transaction to every peer that is not known to have it.
    pub fn forward(&mut self, transaction: &Transaction, now: Mono) {
        let id = transaction.id();
        let transaction = Arc::new(transaction.clone());
        for peer in self.peers.values_mut() {
            self.counts.unsent += peer.enqueue(id, &transaction, now);
        }
    }

    /// Sends a transaction to one peer if it is not known to have it: how a newcomer learns what has been waiting.
    pub fn forward_to(&mut self, peer: &PeerId, transaction: &Transaction, now: Mono) {
        if let Some(peer) = self.peers.get_mut(peer) {
            self.counts.unsent += peer.enqueue(transaction.id(), &Arc::new(transaction.clone()), now);
        }
    }

    /// The next request to send, or `None` when there is none by `now`.
    pub fn poll(&mut self, now: Mono) -> Option<Push> {
        let (peer_id, peer) =
            self.peers.iter_mut().find(|(_, peer)| peer.wants_to_send().is_some_and(|due| due <= now))?;
        let batch = peer.outbox.take_batch();
        for parcel in &batch {
            peer.known.add(parcel.id, now);
        }
        peer.in_flight += 1;
        let id = PushId(self.next_push);
        self.next_push += 1;
        self.counts.sent += batch.len() as u64;
        let transactions = batch.iter().map(|parcel| parcel.transaction.as_ref().clone()).collect();
        let push = Push { id, peer: *peer_id, body: TxRequest::Push(transactions).to_bytes() };
        self.in_flight.insert(id, (*peer_id, batch));
        Some(push)
    }

    /// When [`Self::poll`] will have something, if nothing else happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.peers.values().filter_map(Peer::wants_to_send).min()
    }

    /// A push was answered.
    ///
    /// # Errors
    /// When the answer is none, for which the peer is to blame.
    pub fn answered(&mut self, id: PushId, body: &[u8], now: Mono) -> Result<(), AnswerError> {
        match TxResponse::from_bytes(body) {
            Ok(TxResponse::Done) => {
                self.finish(id);
                Ok(())
            }
            Ok(TxResponse::Refused(TxRefusal::Busy)) => {
                self.failed(id, now);
                Ok(())
            }
            Ok(TxResponse::Refused(TxRefusal::NotInThisMode | TxRefusal::TooMany)) => {
                self.unsupported(id);
                Ok(())
            }
            Ok(TxResponse::Transactions(_) | TxResponse::Symbols(_)) => {
                self.finish(id);
                Err(AnswerError::Unexpected)
            }
            Err(error) => {
                self.finish(id);
                Err(error.into())
            }
        }
    }

    /// A push got no answer. What it carried is sent again after a pause, a few times; who has it need not mind.
    pub fn failed(&mut self, id: PushId, now: Mono) {
        let mut unsent = 0;
        if let Some((peer, batch)) = self.finish(id) {
            peer.resumes = now + PAUSE_MILLIS;
            for mut parcel in batch {
                parcel.failures += 1;
                unsent += if parcel.failures > MAX_FAILURES { 1 } else { peer.outbox.put(parcel) };
            }
        }
        self.counts.unsent += unsent;
    }

    /// The peer of a push does not take pushes, or does not speak the protocol: it gets no more.
    pub fn unsupported(&mut self, id: PushId) {
        if let Some((peer, _)) = self.finish(id) {
            peer.closed = true;
            peer.outbox = Outbox::default();
        }
    }

    /// What went by.
    #[must_use]
    pub fn counts(&self) -> RelayCounts {
        self.counts
    }

    /// Returns who sent it.
    fn end_check(&mut self, id: &Hash) -> Vec<PeerId> {
        let senders = self.in_check.remove(id).unwrap_or_default();
        if let Some((first, count)) =
            senders.first().and_then(|first| Some((first, self.in_check_of.get_mut(first)?)))
        {
            *count -= 1;
            if *count == 0 {
                self.in_check_of.remove(first);
            }
        }
        senders
    }

    fn finish(&mut self, id: PushId) -> Option<(&mut Peer, VecDeque<Parcel>)> {
        let (peer, batch) = self.in_flight.remove(&id)?;
        let peer = self.peers.get_mut(&peer)?;
        peer.in_flight -= 1;
        Some((peer, batch))
    }
}

impl Peer {
    /// Returns how many transactions will not be sent because of it.
    fn enqueue(&mut self, id: Hash, transaction: &Arc<Transaction>, now: Mono) -> u64 {
        if self.closed || self.known.contains(&id) {
            return 0;
        }
        if self.outbox.is_empty() {
            self.gathered = now + GATHER_MILLIS;
        }
        self.outbox.append(id, transaction.clone())
    }

    /// When the next request may leave, if there is one.
    fn wants_to_send(&self) -> Option<Mono> {
        if self.closed || self.outbox.is_empty() || self.in_flight == MAX_IN_FLIGHT {
            None
        } else if self.outbox.has_full_batch() {
            Some(self.resumes)
        } else {
            Some(self.gathered.max(self.resumes))
        }
    }
}

#[cfg(test)]
mod tests;
