//! Passing transactions on: who is sent what, who is told of what, and what is asked for.
//!
//! Three modes, chosen by configuration. *Push* sends each peer what it is not known to have: fastest, and each
//! transaction crosses nearly every link once. *Pull* announces short ids and lets the other fetch: a round trip more a
//! hop, and each transaction reaches a peer once. *Push-pull* pushes to the square root of the peers, chosen by sender,
//! announces to the rest, and compares what both have by sketches, with one peer at a time, to close what gaps remain.
//! A peer says in its `Hello` how it wants to learn of transactions, so that peers of all modes work together.
//!
//! [`TransactionRelay`] does no I/O: after every call, drain [`TransactionRelay::poll`].
//!
//! A transaction that arrives is *in check* from [`TransactionRelay::request`] or [`TransactionRelay::answered`] until the
//! node says what became of it with [`accepted`](TransactionRelay::accepted), [`refused`](TransactionRelay::refused) or
//! [`dropped`](TransactionRelay::dropped). In the meantime it is not checked a second time, however many peers send it,
//! and all who did are remembered, since all of them answer for a signature that is wrong.

mod answering;
mod checks;
mod counts;
mod fetching;
mod hearing;
mod held;
mod index;
mod marks;
mod message;
mod met;
mod notices;
mod offers;
mod outbox;
mod peer;
mod policy;
mod recent;
mod reconciling;
mod sending;
mod short;
mod sketch;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

pub use checks::{MAX_IN_CHECK, MAX_IN_CHECK_OF_PEER};
pub use counts::{RelayCounts, TxBytes};
pub use fetching::{
    COVER_MILLIS, FETCH_GATHER_MILLIS, FETCH_PAUSE_MILLIS, FETCH_TIMEOUT_MILLIS, PUSH_WAIT_MILLIS,
};
use libp2p::PeerId;
pub use message::{
    Announcement, MAX_TX_MESSAGE_BYTES, ParseTxModeError, ShortId, Symbol, TxMode, TxRefusal, TxRequest,
    TxResponse,
};
pub use met::MAX_KNOWN;
pub use notices::{MAX_ANNOUNCED, MAX_NOTICES};
pub use offers::MAX_OFFERS;
pub use peer::{BYTES, ITEMS, REFUSALS};
pub use policy::MAX_DIRECT_BYTES;
pub use reconciling::{
    FIRST_SYMBOLS, MAX_SKETCHED, SETTLED_MILLIS, SKETCH_LIFE_MILLIS, SKETCH_MILLIS, SKETCH_PAUSE_MILLIS,
};
pub use sketch::MAX_SYMBOLS;

use self::{
    checks::Checks,
    fetching::Fetch,
    met::{Met, Serial},
    notices::Notice,
    outbox::{Outbox, Parcel},
    peer::{Allowances, Greeting, Link, Peer},
    policy::{Policy, Way},
    recent::Recent,
    reconciling::Reconciler,
};
use crate::{
    chain::Transaction,
    mempool::Mempool,
    peers::{Offence, Remembered},
    primitives::{DecodeError, Hash, Mono},
};

/// Which side of a connection has dialled the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenedBy {
    /// This one.
    Us,
    /// The other.
    Them,
}

/// How long transactions are gathered before a push, in milliseconds: a bundle costs little more than one.
pub const GATHER_MILLIS: u64 = 50;
/// How long transactions are gathered before they are announced, in milliseconds, by the one of two peers that does so
/// first. A fetch waits for [`PUSH_WAIT_MILLIS`] anyway, so that this delays little; and it bounds a peer to ten messages
/// a second to each other, however many transactions there are.
pub const ANNOUNCE_MILLIS: u64 = 100;
/// The same for the other of the two, in milliseconds: by then the first one's announcement is here, and what it names
/// need not be announced back. So each link carries most announcements once, at no cost in state.
pub const ANNOUNCE_SECOND_MILLIS: u64 = 250;
/// The most transactions in a request.
pub const MAX_BATCH_COUNT: usize = 256;
/// The most bytes of transactions in a request.
pub const MAX_BATCH_BYTES: usize = 128 << 10;
/// The most pushes and announcements to one peer that wait for their answer: one on the way while the other is being read.
/// Besides those there are at most one fetch, one sketch, one `Hello` and one fee filter.
pub const MAX_IN_FLIGHT: usize = 2;
/// How many ids are remembered of what was refused for good.
pub const MAX_REFUSED: usize = 32_768;
/// How long a refusal is remembered, in milliseconds: 5 minutes.
pub const REFUSED_MILLIS: u64 = 5 * 60 * 1000;
/// How long what was dropped is not asked for again, in milliseconds.
pub const DROPPED_MILLIS: u64 = 60 * 1000;
/// The most transactions that wait to be sent to one peer: eight requests, more than the slowest link needs in a while.
pub const MAX_OUTBOX_COUNT: usize = 8 * MAX_BATCH_COUNT;
/// The most bytes of transactions that wait to be sent to one peer.
pub const MAX_OUTBOX_BYTES: usize = 8 * MAX_BATCH_BYTES;
/// The most transactions, besides our own, that a newly connected peer is told of: about one block of a quiet chain.
pub const MAX_INTRODUCED: usize = 1024;
/// How long a peer is left alone after a request failed or found it busy, in milliseconds.
pub const PAUSE_MILLIS: u64 = 1000;
/// How often a transaction is sent again to a peer after a request failed.
const MAX_FAILURES: u8 = 2;
/// How long a peer may take to say `Hello`, in milliseconds, before it is taken for one that never does.
pub const GREETING_MILLIS: u64 = 3_000;
/// How long until `Hello` is said again after it found nobody, in milliseconds.
pub const GREETING_PAUSE_MILLIS: u64 = 4_000;
/// How often it is said again.
const MAX_GREETINGS_FAILED: u8 = 4;
/// How long a salt stays, in milliseconds. One that changes later is a peer that restarted and came back unnoticed.
pub const SALT_MILLIS: u64 = 10_000;
/// How long from one fee filter to the next, in milliseconds.
pub const FEE_FILTER_MILLIS: u64 = 10_000;

/// What the relay asks of the mempool.
pub trait Pool {
    /// The transaction with this id.
    fn get(&self, id: &Hash) -> Option<&Transaction>;
    /// Those that could be in a block, the best first and none before one it must follow.
    fn best(&self) -> impl Iterator<Item = (Hash, &Transaction)>;
}

impl Pool for Mempool {
    fn get(&self, id: &Hash) -> Option<&Transaction> {
        self.get(id)
    }

    fn best(&self) -> impl Iterator<Item = (Hash, &Transaction)> {
        self.iter_best()
    }
}

/// What this peer takes of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// Nothing: it is light and could not judge. It says so in its `Hello` by a fee that no transaction pays.
    Nothing,
    /// Nothing yet: it is starting.
    Later,
    /// Everything.
    All,
}

/// A request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutgoingId(u64);

/// A request to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its name, for [`TransactionRelay::answered`] or [`TransactionRelay::failed`].
    pub id: OutgoingId,
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
    /// What the peer is to blame for.
    pub offence: Option<Offence>,
}

/// What to do about an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Transactions that are now in check.
    pub check: Vec<Transaction>,
    /// What is wrong with it.
    pub error: Option<AnswerError>,
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
    /// A transaction is of another size than announced.
    #[error("a transaction has another size than was announced")]
    FalseSize,
}

impl AnswerError {
    /// What the peer is to blame for.
    #[must_use]
    pub const fn offence(&self) -> Offence {
        match self {
            Self::Malformed(_) => Offence::Malformed,
            Self::Unexpected => Offence::Unrequested,
            Self::FalseSize => Offence::FalseAnnouncement,
        }
    }
}

/// What a request in flight carries.
#[derive(Debug)]
enum Flight {
    Hello,
    Push(VecDeque<Parcel>),
    Announce(Vec<Notice>),
    Fetch(Box<Fetch>),
    Sketch,
    FeeFilter,
}

/// Who is sent which transactions, and which of those that arrive are worth checking.
#[derive(Debug)]
pub struct TransactionRelay {
    policy: Policy,
    intake: Intake,
    /// The least fee per 1,000 bytes that we take.
    min_fee_rate: u64,
    peers: BTreeMap<PeerId, Peer>,
    /// What each peer may bring. This outlives connections, so that coming back allows nothing more.
    allowances: Remembered<Allowances>,
    /// Allowances do not count.
    unbounded: bool,
    in_flight: BTreeMap<OutgoingId, (PeerId, Flight)>,
    checks: Checks,
    met: Met,
    refused: Recent,
    reconciler: Reconciler,
    next_id: u64,
    salts: u64,
    turns: u64,
    /// Nothing is due before this time: most calls of a busy peer find nothing to say. What changes much forgets it; what
    /// happens all the time only moves it nearer.
    quiet: Option<Mono>,
    counts: RelayCounts,
}

impl TransactionRelay {
    /// A relay without peers. `seed` is what nobody else knows.
    #[must_use]
    pub fn new(mode: TxMode, intake: Intake, min_fee_rate: u64, seed: [u64; 2]) -> Self {
        let policy = Policy::new(mode, seed);
        Self {
            met: Met::new(policy.secret()),
            policy,
            intake,
            min_fee_rate,
            peers: BTreeMap::new(),
            allowances: Remembered::default(),
            unbounded: false,
            in_flight: BTreeMap::new(),
            checks: Checks::default(),
            refused: Recent::new(MAX_REFUSED),
            reconciler: Reconciler::default(),
            next_id: 0,
            salts: 0,
            turns: 0,
            quiet: None,
            counts: RelayCounts::default(),
        }
    }

    /// Peers may bring as much as they like from now on, or not: to see what their allowances cost.
    pub const fn set_unbounded(&mut self, unbounded: bool) {
        self.unbounded = unbounded;
    }

    /// A peer that speaks the protocol is there, over a connection that one of us `opened`. It is told of the best of what waits in the
    /// mempool; of anything else only as far as [`Self::forward_to`] is called.
    pub fn peer_connected(&mut self, peer: PeerId, opened: OpenedBy, now: Mono) {
        self.quiet = None;
        if self.peers.contains_key(&peer) {
            return;
        }
        // Where all push, nobody says anything first.
        let (greeting, link) = if self.mode() == TxMode::Push {
            (Greeting::Unneeded, Link::Plain)
        } else {
            (Greeting::Due(now), Link::Unknown(now + GREETING_MILLIS))
        };
        let salt = self.policy.salt(&peer, self.salts);
        self.salts += 1;
        self.peers.insert(peer, Peer { dialled: opened == OpenedBy::Us, ..Peer::new(salt, greeting, link) });
    }

    /// Whether this side opened the connection over which a peer exchanges transactions with it.
    #[must_use]
    pub fn is_dialled(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.dialled)
    }

    /// A peer is there with whom no transactions are exchanged. It is told so in a `Hello`, as by a light peer: with a fee that no
    /// transaction pays. Whatever it asks or brings in spite of that is refused.
    pub fn peer_connected_for_blocks(&mut self, peer: PeerId, now: Mono) {
        self.quiet = None;
        let salt = self.policy.salt(&peer, self.salts);
        self.salts += 1;
        self.peers.entry(peer).or_insert_with(|| Peer::for_blocks(salt, now));
    }

    /// A peer is gone, and with it all that was kept for it but what it may bring. It still answers for what it sent.
    pub fn peer_disconnected(&mut self, peer: &PeerId, now: Mono) {
        self.quiet = None;
        self.peers.remove(peer);
        self.in_flight.retain(|_, (other, _)| other != peer);
        self.reconciler.abandon(peer);
        self.uncover(now);
    }

    /// What this peer takes changes: others are told.
    pub fn set_intake(&mut self, intake: Intake, now: Mono) {
        if intake == self.intake {
            return;
        }
        self.quiet = None;
        let was_light = self.intake == Intake::Nothing;
        self.intake = intake;
        if was_light != (intake == Intake::Nothing) {
            for peer in self.peers.values_mut() {
                peer.greeting = Greeting::Due(now);
            }
        }
    }

    /// The least fee per 1,000 bytes that this peer takes. Others are told when it has moved by more than a quarter.
    pub fn set_min_fee_rate(&mut self, rate: u64) {
        if rate != self.min_fee_rate {
            self.quiet = None;
            self.min_fee_rate = rate;
        }
    }

    /// The least fee per 1,000 bytes that half of the peers take, as far as they have said and take any.
    #[must_use]
    pub fn usual_min_fee_rate(&self) -> u64 {
        let mut rates: Vec<_> =
            self.peers.values().filter(|peer| !peer.is_light()).map(|peer| peer.min_fee_rate).collect();
        rates.sort_unstable();
        rates.get(rates.len() / 2).copied().unwrap_or(0)
    }

    /// A transaction in check is in the mempool now. Pass it on with [`Self::forward`].
    pub fn accepted(&mut self, id: &Hash) {
        let could_fetch = self.can_fetch();
        self.checks.end(id);
        if !could_fetch {
            self.quiet = None;
        }
    }

    /// A transaction can never be taken: it is not checked again for a while. Returns who sent it while it was in check;
    /// whether they are to blame depends on why it was refused.
    pub fn refused(&mut self, id: &Hash, now: Mono) -> Vec<PeerId> {
        self.quiet = None;
        self.refused.add(*id, now);
        self.checks.end(id)
    }

    /// A transaction in check was not taken, for a reason that may pass.
    pub fn dropped(&mut self, id: &Hash, now: Mono) {
        self.quiet = None;
        self.met.lapse(id, now);
        self.checks.end(id);
    }

    /// Passes a transaction on to every peer that is not known to have it, in the way that is due to it.
    pub fn forward(&mut self, transaction: &Transaction, now: Mono) {
        self.forward_known(transaction.id(), transaction, now);
    }

    /// The same, for whoever knows the transaction's `id`.
    pub fn forward_known(&mut self, id: Hash, transaction: &Transaction, now: Mono) {
        let takes_part =
            |peer: &Peer| !peer.closed && !peer.is_light() && peer.mode() == Some(TxMode::PushPull);
        let candidates = self.peers.iter().enumerate().filter(|(_, (_, peer))| takes_part(peer));
        let candidates = candidates.map(|(place, (id, peer))| (place, id, peer.dialled));
        let chosen = self.policy.chosen(&transaction.sender(), candidates);
        let serial = self.meet(id, now);
        let transaction = Arc::new(transaction.clone());
        let is_light = self.intake == Intake::Nothing;
        for (place, peer) in self.peers.values_mut().enumerate() {
            let is_chosen = is_light || chosen.contains(&place);
            self.counts.unsent += enqueue(&self.policy, peer, is_chosen, serial, id, &transaction, now);
            let due = [peer.push_due(), peer.announcement_due()].into_iter().flatten().min();
            self.quiet = self.quiet.map(|quiet| due.map_or(quiet, |due| quiet.min(due)));
        }
    }

    /// Passes a transaction on to one peer if it is not known to have it: how a newcomer learns of our own.
    pub fn forward_to(&mut self, peer: &PeerId, transaction: &Transaction, now: Mono) {
        self.quiet = None;
        let id = transaction.id();
        let serial = self.meet(id, now);
        if let Some(peer) = self.peers.get_mut(peer) {
            let transaction = Arc::new(transaction.clone());
            self.counts.unsent += enqueue(&self.policy, peer, true, serial, id, &transaction, now);
        }
    }

    /// What went by.
    #[must_use]
    pub const fn counts(&self) -> RelayCounts {
        self.counts
    }

    /// How this peer wants to learn of transactions.
    const fn mode(&self) -> TxMode {
        match self.intake {
            Intake::Nothing => TxMode::Pull,
            Intake::Later | Intake::All => self.policy.mode,
        }
    }

    /// The least fee that others are told.
    const fn fee_rate(&self) -> u64 {
        match self.intake {
            Intake::Nothing => u64::MAX,
            Intake::Later | Intake::All => self.min_fee_rate,
        }
    }

    /// Whether no transactions are exchanged with a peer.
    fn is_for_blocks(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_some_and(|peer| peer.for_blocks)
    }

    /// Remembers a transaction, and under which names others know it.
    fn meet(&mut self, id: Hash, now: Mono) -> Serial {
        let meeting = self.met.add(id, now);
        for peer in self.peers.values_mut() {
            meeting.forgotten.clone().for_each(|serial| peer.forget(serial));
            if meeting.is_news {
                peer.learn(meeting.serial, &id, self.met.first());
            }
        }
        meeting.serial
    }

    /// A fetch is over, or has had its time: others may be asked for what it did not bring.
    fn uncover(&mut self, now: Mono) {
        self.peers.values_mut().for_each(|peer| peer.offers.release(now));
    }

    /// Ends a request, unless its peer is gone.
    fn finish(&mut self, id: OutgoingId) -> Option<(PeerId, Flight)> {
        let (peer_id, flight) = self.in_flight.remove(&id)?;
        let peer = self.peers.get_mut(&peer_id)?;
        match &flight {
            Flight::Push(_) | Flight::Announce(_) => peer.sending -= 1,
            Flight::Fetch(_) => peer.fetching = false,
            Flight::FeeFilter => peer.telling_fee = false,
            Flight::Hello | Flight::Sketch => {}
        }
        Some((peer_id, flight))
    }
}

/// The fee per 1,000 bytes.
fn fee_rate(transaction: &Transaction) -> u64 {
    transaction.content.fee.0.saturating_mul(1000) / transaction.encoded_len() as u64
}

/// Puts a transaction where it waits for its way to a peer. Returns how many will not be sent because of it.
fn enqueue(
    policy: &Policy,
    peer: &mut Peer,
    is_chosen: bool,
    serial: Serial,
    id: Hash,
    transaction: &Arc<Transaction>,
    now: Mono,
) -> u64 {
    if peer.closed || peer.known.contains(serial) || fee_rate(transaction) < peer.min_fee_rate {
        return 0;
    }
    let bytes = transaction.encoded_len();
    // What is not known yet waits as a push, which can still become an announcement.
    match peer.mode().map_or(Way::Push, |mode| policy.way(mode, is_chosen, bytes)) {
        Way::Push if !peer.takes_no_push => {
            if peer.outbox.is_empty() {
                peer.gathered = now + GATHER_MILLIS;
            }
            peer.outbox.append(serial, id, transaction.clone())
        }
        Way::Announce if !peer.takes_no_announcement => announce(peer, serial, id, bytes, now),
        Way::Push | Way::Announce => 0,
    }
}

/// Puts a transaction among what is announced to a peer. Returns how many will not be because of it.
fn announce(peer: &mut Peer, serial: Serial, id: Hash, bytes: usize, now: Mono) -> u64 {
    if peer.notices.is_empty() {
        let first = matches!(&peer.link, Link::Session(session) if session.first);
        peer.notices_gathered = now + if first { ANNOUNCE_MILLIS } else { ANNOUNCE_SECOND_MILLIS };
    }
    peer.notices.append(serial, id, u32::try_from(bytes).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
