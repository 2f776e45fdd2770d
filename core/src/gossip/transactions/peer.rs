//! What is kept for one peer.

use super::{
    MAX_IN_FLIGHT, ShortId, Symbol, TxMode,
    fetching::Patience,
    index::Index,
    marks::Marks,
    met::{Met, Serial},
    notices::Notices,
    offers::Offers,
    outbox::Outbox,
    short::PairKey,
};
use crate::{
    peers::{Allowance, Bucket},
    primitives::{Hash, Mono},
};

/// How much one peer may bring: transactions, announcements and symbols, and what goes with a message. Twice what full
/// blocks every 2 s bring where everything is pushed.
pub const ITEMS: Allowance = Allowance { per_second: 4_096, burst: 16_384 };
/// How many bytes one peer may bring and be answered: two and a half times what full blocks of transfers are.
pub const BYTES: Allowance = Allowance { per_second: 1 << 20, burst: 4 << 20 };
/// How often it may go on without being blamed when it is told that this is too much. An honest peer pauses then.
pub const REFUSALS: Allowance = Allowance { per_second: 4, burst: 64 };
/// What any message counts as, in items.
const MESSAGE_ITEMS: u64 = 4;

/// What one peer may bring.
#[derive(Debug)]
pub(super) struct Allowances {
    items: Bucket,
    bytes: Bucket,
    refusals: Bucket,
}

impl Allowances {
    pub(super) const fn new() -> Self {
        Self { items: Bucket::new(ITEMS), bytes: Bucket::new(BYTES), refusals: Bucket::new(REFUSALS) }
    }

    /// Whether a message of so many bytes may be read.
    pub(super) fn may_bring(&mut self, bytes: usize, now: Mono) -> bool {
        self.bytes.take(bytes as u64, now)
    }

    /// Whether a message with so many items may be acted on.
    pub(super) fn may_ask(&mut self, items: usize, now: Mono) -> bool {
        self.items.take(MESSAGE_ITEMS + items as u64, now)
    }

    /// It was sent an answer of so many bytes.
    pub(super) fn answered(&mut self, bytes: usize) {
        self.bytes.spend(bytes as u64);
    }

    /// It brought too much. Says whether that is an offence by now.
    pub(super) fn overrun(&mut self, now: Mono) -> bool {
        !self.refusals.take(1, now)
    }
}

/// What is known of how a peer wants to learn of transactions.
#[derive(Debug)]
pub(super) enum Link {
    /// It has said nothing, and until this time it is waited for.
    Unknown(Mono),
    /// It has said nothing: it takes what everybody takes, pushes.
    Plain,
    /// It has said `Hello`.
    Session(Session),
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: PairKey,
    /// Their half of it.
    pub(super) salt: u64,
    pub(super) mode: TxMode,
    /// Of two that would do the same, this side does it first.
    pub(super) first: bool,
    pub(super) since: Mono,
    /// What what we met is called between us.
    shorts: Index,
}

impl Session {
    /// What is called so between us, if we remember it.
    pub(super) fn serial(&self, short: ShortId, met: &Met) -> Option<Serial> {
        self.shorts.find(u64::from_le_bytes(short.0), |serial| met.id(serial).is_some())
    }

    fn call(&mut self, short: ShortId, serial: Serial, first: Serial) {
        self.shorts.add(u64::from_le_bytes(short.0), serial, first);
    }
}

/// How far our own `Hello` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Nobody has asked for it.
    Unneeded,
    /// It is to be said at this time.
    Due(Mono),
    /// It is on the way.
    Sent,
    /// The other has it.
    Answered,
}

/// Symbols that a peer is being sent.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) symbols: Vec<Symbol>,
    pub(super) next: usize,
    pub(super) until: Mono,
}

#[derive(Debug)]
pub(super) struct Peer {
    /// This side dialled it.
    pub(super) dialled: bool,
    pub(super) link: Link,
    pub(super) our_salt: u64,
    pub(super) greeting: Greeting,
    /// How often `Hello` was said in vain.
    pub(super) greetings_failed: u8,
    /// The least fee per 1,000 bytes that it takes.
    pub(super) min_fee_rate: u64,
    /// The one of ours that it was told.
    pub(super) told_fee_rate: u64,
    /// When it may be told again.
    pub(super) fee_due: Mono,
    pub(super) telling_fee: bool,
    /// What it has, or was told of.
    pub(super) known: Marks,
    pub(super) outbox: Outbox,
    pub(super) notices: Notices,
    pub(super) offers: Offers,
    /// Pushes and announcements in flight.
    pub(super) sending: usize,
    pub(super) fetching: bool,
    /// When what waits has been gathered for long enough; a full message does not wait for it.
    pub(super) gathered: Mono,
    /// The same for announcements.
    pub(super) notices_gathered: Mono,
    /// When the pause after a failure is over.
    pub(super) resumes: Mono,
    pub(super) patience: Patience,
    /// When it was last fetched from, in turns.
    pub(super) turn: u64,
    /// It takes no pushes.
    pub(super) takes_no_push: bool,
    /// It takes no announcements.
    pub(super) takes_no_announcement: bool,
    /// It answers no sketches.
    pub(super) sketches_not: bool,
    /// It does not speak the protocol, or not with us.
    pub(super) closed: bool,
    /// No transactions are exchanged with it, and it is to be told so.
    pub(super) for_blocks: bool,
    /// It is to be told of what has been waiting in the pool.
    pub(super) introduce: bool,
    /// When its set is compared with ours, at the earliest; zero for at once.
    pub(super) sketch_at: Mono,
    pub(super) served: Option<Served>,
}

impl Peer {
    pub(super) fn new(our_salt: u64, greeting: Greeting, link: Link) -> Self {
        Self {
            dialled: false,
            link,
            our_salt,
            greeting,
            greetings_failed: 0,
            min_fee_rate: 0,
            told_fee_rate: 0,
            fee_due: Mono(0),
            telling_fee: false,
            known: Marks::default(),
            outbox: Outbox::default(),
            notices: Notices::default(),
            offers: Offers::default(),
            sending: 0,
            fetching: false,
            gathered: Mono(0),
            notices_gathered: Mono(0),
            resumes: Mono(0),
            patience: Patience::default(),
            turn: 0,
            takes_no_push: false,
            takes_no_announcement: false,
            sketches_not: false,
            closed: false,
            for_blocks: false,
            introduce: true,
            sketch_at: Mono(0),
            served: None,
        }
    }

    /// One with whom no transactions are exchanged.
    pub(super) fn for_blocks(our_salt: u64, now: Mono) -> Self {
        Self { closed: true, for_blocks: true, ..Self::new(our_salt, Greeting::Due(now), Link::Plain) }
    }

    /// The session, once short ids mean the same to both.
    pub(super) const fn session(&self) -> Option<&Session> {
        match (&self.link, self.greeting) {
            (Link::Session(session), Greeting::Answered) => Some(session),
            _ => None,
        }
    }

    /// How it wants to learn of transactions, if that is known.
    pub(super) const fn mode(&self) -> Option<TxMode> {
        match &self.link {
            Link::Unknown(_) => None,
            Link::Plain => Some(TxMode::Push),
            Link::Session(session) => Some(session.mode),
        }
    }

    /// It takes nothing but what it asks for.
    pub(super) const fn is_light(&self) -> bool {
        self.min_fee_rate == u64::MAX
    }

    /// Begins a session with the other's half of the key.
    pub(super) fn begin(&mut self, salt: u64, mode: TxMode, met: &Met, now: Mono) {
        let key = PairKey::new(self.our_salt, salt);
        let (first, shorts) = (self.our_salt < salt, Index::new(met.secret()));
        let mut session = Session { key, salt, mode, first, since: now, shorts };
        for (serial, id) in met.iter() {
            session.call(session.key.short(id), serial, met.first());
        }
        self.link = Link::Session(session);
        self.offers = Offers::default();
        self.served = None;
    }

    /// We met a transaction, and remember none before `first`. If it was announced, the peer has it.
    pub(super) fn learn(&mut self, serial: Serial, id: &Hash, first: Serial) {
        if let Link::Session(session) = &mut self.link {
            let short = session.key.short(id);
            session.call(short, serial, first);
            if self.offers.remove(&short) {
                self.known.insert(serial);
            }
        }
    }

    pub(super) fn forget(&mut self, serial: Serial) {
        self.known.remove(serial);
    }

    /// It has a transaction, so that it need not be sent it.
    pub(super) fn has(&mut self, serial: Serial, id: &Hash) {
        self.known.insert(serial);
        self.outbox.remove(id);
        self.notices.remove(id);
    }

    /// When the next push may leave, if there is one.
    pub(super) fn push_due(&self) -> Option<Mono> {
        if self.closed || self.outbox.is_empty() || self.sending == MAX_IN_FLIGHT {
            return None;
        }
        let known = match self.link {
            Link::Unknown(until) => until,
            Link::Plain | Link::Session(_) => Mono(0),
        };
        let gathered = if self.outbox.has_full_batch() { Mono(0) } else { self.gathered };
        Some(known.max(gathered).max(self.resumes))
    }

    /// When the next announcements may leave, if there are any.
    pub(super) fn announcement_due(&self) -> Option<Mono> {
        if self.closed || self.notices.is_empty() || self.sending == MAX_IN_FLIGHT {
            return None;
        }
        self.session()?;
        let gathered = if self.notices.has_full_batch() { Mono(0) } else { self.notices_gathered };
        Some(gathered.max(self.resumes))
    }

    /// When the next fetch may leave, if there is one.
    pub(super) fn fetch_due(&self) -> Option<Mono> {
        if self.closed || self.fetching {
            return None;
        }
        self.session()?;
        Some(self.offers.next_due()?.max(self.patience.resumes))
    }
}
