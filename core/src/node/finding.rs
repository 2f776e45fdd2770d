//! Finding peers beyond those a person names: what is kept of whom, whom to ask for more, and whom to connect to.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId, multiaddr};

use super::{
    InboundId, Output, Protocol, RequestFailure,
    connections::Connections,
    effects::{Ask, Effects},
};
use crate::{
    peers::{
        Book, BookShape, Bucket, EXCHANGE_ALLOWANCE, EXCHANGE_COST, Found, Group, MAX_RECORDS, Offence,
        PeerRecord, PeersRequest, PeersResponse, RECORD_LIFETIME_MILLIS, Role, Rumour, Scope, can_dial,
        can_dial_through, is_believable, is_circuit, is_signalled, verify_records,
    },
    primitives::{Hash, Mono, SecretKey, decode, encode},
    store::{Batch, Table},
};

/// The book: peers by their ids.
const BOOK: Table = Table("peers/book");
/// What belongs to the book: its key, and the anchors.
const ABOUT: Table = Table("peers/about");
const KEY: &[u8] = b"key";
const ANCHORS: &[u8] = b"anchors";
/// Those of the anchors that were connected for blocks only.
const QUIET_ANCHORS: &[u8] = b"quiet-anchors";

/// How long after its arrival a peer is asked for others, and how much later by lot.
const FIRST_ASK_MILLIS: u64 = 300;
const SPREAD_MILLIS: u64 = 1_000;
/// How often it is asked again.
const ASK_MILLIS: u64 = 5 * 60 * 1000;
/// While connections are missing all are asked so soon, and then after ever longer, up to the last, which
/// [`EXCHANGE_ALLOWANCE`] allows for ever.
const FIRST_HURRY_MILLIS: u64 = 2 * 1000;
const LAST_HURRY_MILLIS: u64 = 64 * 1000;
/// Connections have been missing for a while when the pause is so long.
const LONG_HURRY_MILLIS: u64 = 16 * 1000;
/// The pause between two looks at whether connections are missing, and the one when there is nobody left to dial.
const LOOK_MILLIS: u64 = 500;
const NOBODY_MILLIS: u64 = 10_000;
/// How often a peer that is only known by name is dialled, to see whether it is there.
const FEELER_MILLIS: u64 = 2 * 60 * 1000;
/// How often the book is written down.
const SAVE_MILLIS: u64 = 10_000;
/// Own records are signed anew so often.
const SIGN_MILLIS: u64 = RECORD_LIFETIME_MILLIS / 4;
/// The oldest connections that are made again first after a restart, so that one who fills the book while we are down has not won.
const MAX_ANCHORS: usize = 2;
/// The most connections that lookups leave behind: more than are in use by one at a time.
const MAX_LEFT: usize = 16;
const ANCHOR_TRIES: u32 = 3;
/// The most connected tabs that are told of, and the most of them in one answer.
const MAX_GUESTS: usize = 1024;
const MAX_GUESTS_TOLD: usize = 8;
/// The most peers whose questions are counted.
const MAX_COUNTED: usize = 4096;

/// The most connections for blocks only.
const MAX_FOR_BLOCKS: usize = 2;

/// How a peer looks for others beyond those it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// Ask peers for others, and tell them of others: `/weft/peers/1`.
    pub exchange: bool,
    /// So many connections of its own to others it tries to keep, those to peers that were named among them; none for 0.
    pub outbound: usize,
    /// Take part in the distributed hash table: `/weft/<chain>/kad/1`.
    pub dht: bool,
    /// Register with relays, and ask them for others: `/rendezvous/1.0.0`; as a relay, let others do so.
    pub rendezvous: bool,
}

impl Discovery {
    /// Only peers that are named are dialled, and nobody is told of.
    pub const OFF: Self = Self { exchange: false, outbound: 0, dht: false, rendezvous: false };

    /// How many of its own connections are for blocks only, once it has the others: a quarter, and at most two. Neither transactions
    /// nor addresses of peers pass there, so that nobody can find out by them who is connected to whom, and cut off a peer whose
    /// other connections he knows.
    #[must_use]
    pub const fn for_blocks(&self) -> usize {
        if self.outbound >= 4 * MAX_FOR_BLOCKS { MAX_FOR_BLOCKS } else { self.outbound / 4 }
    }

    /// What a peer of this kind does unless it is told otherwise.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        match role {
            Role::Native | Role::Relay => Self { exchange: true, outbound: 8, dht: true, rendezvous: true },
            // Each is a WebSocket, a gossip neighbour and a server of blocks: a tab needs fewer.
            Role::Browser => Self { exchange: true, outbound: 4, dht: true, rendezvous: true },
        }
    }
}

pub(super) struct Finding {
    local: PeerId,
    role: Role,
    /// Signs what we say of ourselves.
    key: Option<SecretKey>,
    chain: Hash,
    discovery: Discovery,
    book: Book,
    own: Option<(Vec<Multiaddr>, PeerRecord)>,
    /// When to ask whom, and the same by peer.
    asks: BTreeSet<(Mono, PeerId)>,
    asked_at: BTreeMap<PeerId, Mono>,
    askers: BTreeMap<PeerId, Bucket>,
    /// When to ask all again should connections still be missing.
    hurry: Mono,
    hurry_pause: u64,
    /// When to see whether connections are missing.
    look: Option<Mono>,
    feeler: Option<Mono>,
    save: Option<Mono>,
    /// What connected tabs say of themselves: we cannot dial them, other tabs can.
    guests: BTreeMap<PeerId, PeerRecord>,
    /// Peers that are dialled to see whether they are there.
    feelers: BTreeSet<PeerId>,
    /// Peers that were chosen here to be dialled.
    chosen: BTreeSet<PeerId>,
    /// Those and the named ones that we are connected to of our own, the oldest first.
    outbound: Vec<PeerId>,
    /// Others to which something else opened a connection, a lookup as a rule, the oldest first. Strangers had a say in who they are.
    left: Vec<PeerId>,
    /// Those that are for blocks only, or will be once they are there.
    for_blocks: BTreeSet<PeerId>,
    /// Those that were, since this was last asked.
    widened: Vec<PeerId>,
    anchors: Vec<PeerId>,
}

impl Finding {
    pub(super) fn new(
        (local, role): (PeerId, Role),
        key: Option<SecretKey>,
        chain: Option<Hash>,
        discovery: Discovery,
        connections: &mut Connections,
        fx: &mut Effects,
    ) -> Self {
        let stored = fx.store.get(ABOUT, KEY).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let secret = stored.unwrap_or_else(|| {
            let mut secret = [0; 32];
            secret.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&fx.random().to_le_bytes()));
            secret
        });
        let shape = if role == Role::Browser { BookShape::BROWSER } else { BookShape::NATIVE };
        let mut finding = Self {
            local,
            role,
            key,
            chain: chain.unwrap_or(Hash::ZERO),
            discovery,
            book: Book::new(secret, shape),
            own: None,
            asks: BTreeSet::new(),
            asked_at: BTreeMap::new(),
            askers: BTreeMap::new(),
            hurry: fx.now.mono + FIRST_HURRY_MILLIS,
            hurry_pause: FIRST_HURRY_MILLIS,
            look: None,
            feeler: None,
            save: None,
            guests: BTreeMap::new(),
            feelers: BTreeSet::new(),
            chosen: BTreeSet::new(),
            outbound: Vec::new(),
            left: Vec::new(),
            for_blocks: BTreeSet::new(),
            widened: Vec::new(),
            anchors: Vec::new(),
        };
        if discovery == Discovery::OFF {
            return finding;
        }
        if stored.is_none() {
            let mut batch = Batch::default();
            batch.put(ABOUT, KEY, secret);
            fx.apply(batch);
        }
        finding.restore(fx);
        finding.dial_anchors(connections, fx);
        if discovery.outbound > 0 {
            finding.look = Some(fx.now.mono + LOOK_MILLIS);
            finding.feeler = Some(fx.now.mono + FEELER_MILLIS);
        }
        finding
    }

    /// Takes back what was written down; what makes no sense is left out and removed.
    fn restore(&mut self, fx: &mut Effects) {
        let mut from = Vec::new();
        let mut damaged = Batch::default();
        loop {
            let rows = fx.store.range(BOOK, &from, 1024);
            let Some((last, _)) = rows.last() else { break };
            from = [last.as_slice(), &[0]].concat();
            for (key, value) in rows {
                let restored = PeerId::from_bytes(&key).is_ok_and(|peer| self.book.restore(peer, &value));
                if !restored {
                    damaged.delete(BOOK, key);
                }
            }
        }
        if !damaged.is_empty() {
            fx.refuse("stored-peers-damaged");
            fx.apply(damaged);
        }
    }

    fn dial_anchors(&mut self, connections: &mut Connections, fx: &Effects) {
        self.anchors = stored_anchors(fx, ANCHORS);
        if self.discovery.for_blocks() > 0 {
            let quiet = stored_anchors(fx, QUIET_ANCHORS).into_iter();
            self.for_blocks.extend(quiet.filter(|anchor| !connections.is_named(anchor)));
        }
        for anchor in &self.anchors {
            for address in
                self.book.addresses(anchor).into_iter().filter(|it| can_dial(self.role, it)).take(1)
            {
                self.chosen.insert(*anchor);
                connections.found(fx, *anchor, address, ANCHOR_TRIES);
            }
        }
    }

    fn is_on(&self) -> bool {
        self.discovery != Discovery::OFF
    }

    /// A direct connection is open; `first` if it is the only one to the peer.
    pub(super) fn connected(
        &mut self,
        fx: &mut Effects,
        connections: &mut Connections,
        peer: PeerId,
        address: &Multiaddr,
        outbound: bool,
        first: bool,
    ) {
        if !self.is_on() {
            return;
        }
        if !outbound && first {
            // It knows us already, and has to do with us what peers have.
            self.for_blocks.remove(&peer);
        }
        // Over a circuit that the other side opened we agreed on a connection without knowing where it is.
        if outbound && Scope::of(address).is_some() {
            let address = without_peer(address);
            if let Some(found) = connections.naming(&peer) {
                let teller = Group::of(&address);
                let rumour = Rumour { peer, addresses: vec![address.clone()], record: None, found, teller };
                self.book.heard(rumour, fx.now.wall);
            }
            self.book.answered(&peer, &address, fx.now.wall);
            // Who has answered is worth more than the many that one has heard of.
            self.save = Some(fx.now.mono);
            // One that something else wanted is none of the connections we keep: who is looked up could be anybody.
            if connections.is_named(&peer) || self.is_sought(connections, &peer) {
                self.take(peer);
            } else if first && !self.left.contains(&peer) {
                self.left.push(peer);
            }
            let spare = self.outbound.len() > self.discovery.outbound || self.is_crowded(connections, &peer);
            if self.feelers.remove(&peer) && spare {
                connections.let_go(fx, &peer);
                return;
            }
            self.trim(fx, connections);
        }
        if first && self.discovery.exchange && !self.for_blocks.contains(&peer) {
            let after = FIRST_ASK_MILLIS + fx.random() % SPREAD_MILLIS;
            self.ask_at(peer, fx.now.mono + after);
        }
    }

    /// Whether the peer was chosen here, and is dialled, or would be again.
    fn is_sought(&self, connections: &Connections, peer: &PeerId) -> bool {
        self.chosen.contains(peer) && connections.is_sought(peer)
    }

    /// How many of the chosen peers are tried and not connected, over circuits for want of better included. Whom a person named is
    /// tried for ever, and keeps no place meanwhile.
    fn seeking(&self, connections: &Connections) -> usize {
        let tried = |peer: &&PeerId| connections.is_sought(peer) && !connections.is_named(peer);
        let chosen = self.chosen.iter().filter(tried);
        chosen.filter(|peer| connections.direct_link(peer).is_none()).count()
    }

    /// Forgets the choice of those who were tried in vain, or have left.
    fn unchoose(&mut self, connections: &Connections) {
        self.chosen.retain(|peer| connections.is_sought(peer));
    }

    /// Counts a connected peer among those of our own choice.
    fn take(&mut self, peer: PeerId) {
        self.left.retain(|other| *other != peer);
        if !self.outbound.contains(&peer) {
            self.outbound.push(peer);
        }
    }

    /// Whether there is another connection of our own to the network in which a peer is.
    fn is_crowded(&self, connections: &Connections, peer: &PeerId) -> bool {
        let group = |peer: &PeerId| {
            let at = connections.direct_address(peer)?;
            (Scope::of(at) == Some(Scope::World)).then(|| Group::of(at))
        };
        let own = group(peer);
        own.is_some() && self.outbound.iter().any(|other| other != peer && group(other) == own)
    }

    /// Ends the oldest of the connections that lookups in the distributed hash table have left behind, when there are many.
    fn trim(&self, fx: &mut Effects, connections: &mut Connections) {
        let left: Vec<_> = self.left.iter().filter(|peer| !connections.is_sought(peer)).copied().collect();
        for peer in left.iter().take(left.len().saturating_sub(MAX_LEFT)) {
            connections.let_go(fx, peer);
        }
    }

    /// The last direct connection to a peer is closed.
    pub(super) fn disconnected(&mut self, fx: &Effects, peer: &PeerId) {
        self.outbound.retain(|other| other != peer);
        self.left.retain(|other| other != peer);
        self.for_blocks.remove(peer);
        self.guests.remove(peer);
        if let Some(at) = self.asked_at.remove(peer) {
            self.asks.remove(&(at, *peer));
        }
        self.look_soon(fx);
    }

    pub(super) fn dial_failed(&mut self, fx: &Effects, address: &Multiaddr) {
        if let Some(multiaddr::Protocol::P2p(peer)) = address.iter().last().filter(|_| self.is_on()) {
            self.feelers.remove(&peer);
            self.for_blocks.remove(&peer);
            self.book.failed(&peer, fx.now.wall);
            self.dirty(fx);
            self.look_soon(fx);
        }
    }

    /// The shell found a peer by itself.
    pub(super) fn discovered(&mut self, fx: &Effects, peer: PeerId, address: &Multiaddr, found: Found) {
        if peer != self.local && can_dial(self.role, address) {
            let address = without_peer(address);
            let teller = Group::of(&address);
            let rumour = Rumour { peer, addresses: vec![address], record: None, found, teller };
            self.book.heard(rumour, fx.now.wall);
            // Else it is only known how it was found.
            if self.is_on() {
                self.dirty(fx);
                self.look_soon(fx);
            }
        }
    }

    /// All ways in which a connected peer was found.
    pub(super) fn found(&self, peer: &PeerId, naming: Option<Found>, inbound: bool) -> Vec<Found> {
        let mut found: BTreeSet<_> = self.book.found(peer).collect();
        found.extend(naming);
        if inbound {
            found.insert(Found::Inbound);
        }
        found.into_iter().collect()
    }

    /// Where a peer is said to be by others, or was.
    pub(super) fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.book.addresses(peer)
    }

    /// The number of new and of tried peers in the book.
    pub(super) fn known(&self) -> (usize, usize) {
        self.book.count()
    }

    /// Another peer asks for peers.
    pub(super) fn asked(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        id: InboundId,
        peer: PeerId,
        body: &[u8],
    ) {
        if !self.discovery.exchange {
            fx.push(Output::Refuse(id));
            return;
        }
        let Ok(request) = decode::<PeersRequest>(body, Protocol::Peers.max_request()) else {
            fx.offend(peer, Offence::Malformed);
            fx.push(Output::Refuse(id));
            return;
        };
        if self.askers.len() >= MAX_COUNTED {
            self.askers.retain(|asker, _| connections.direct_address(asker).is_some());
        }
        let bucket = self.askers.entry(peer).or_insert_with(|| Bucket::new(EXCHANGE_ALLOWANCE));
        let allowed = bucket.take(EXCHANGE_COST, fx.now.mono);
        let mut records = Vec::new();
        if request.chain != self.chain {
            fx.refuse("peers-of-another-chain");
        } else if self.for_blocks.contains(&peer) {
            fx.refuse("peers-asked-on-a-link-for-blocks");
        } else if !allowed {
            fx.refuse("peers-asked-too-often");
        } else {
            let named = request.own.as_ref().and_then(PeerRecord::peer);
            if request.own.is_some() && named != Some(peer) {
                fx.offend(peer, Offence::Unrequested);
            } else if let Some(own) = request.own {
                self.welcome(fx, peer, &own);
                self.told(fx, connections, peer, vec![own]);
            }
            records.extend(self.own_record(fx, connections).cloned());
            records.extend(self.some_guests(fx, &peer));
            let others = self.book.sample(&mut fx.rng, MAX_RECORDS - records.len(), fx.now.wall);
            records.extend(others.into_iter().filter(|record| record.peer() != Some(peer)));
        }
        fx.respond(id, encode(&PeersResponse(records)));
    }

    /// A peer that was asked for others answered.
    pub(super) fn answered(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        peer: PeerId,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        match outcome {
            Ok(bytes) => match decode::<PeersResponse>(&bytes, Protocol::Peers.max_response()) {
                Ok(PeersResponse(records)) => self.told(fx, connections, peer, records),
                Err(_) => fx.offend(peer, Offence::Malformed),
            },
            Err(RequestFailure::TooLarge) => fx.offend(peer, Offence::Unrequested),
            Err(_) => {}
        }
    }

    /// Takes note of what others say of themselves, as `teller` passed it on.
    fn told(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        teller: PeerId,
        records: Vec<PeerRecord>,
    ) {
        // Who has left cannot be asked where it told this from.
        let Some(from) = connections.direct_address(&teller) else { return };
        if verify_records(&records, &self.chain).contains(&false) {
            fx.offend(teller, Offence::BadSignature);
            return;
        }
        for record in records {
            let Some(peer) = record.peer().filter(|peer| *peer != self.local) else { continue };
            if !record.is_timely(fx.now.wall) {
                fx.refuse("peer-record-out-of-date");
                continue;
            }
            let addresses = self.believed(from, &peer, &record.addresses());
            if addresses.is_empty() {
                if !self.guests.contains_key(&peer) {
                    fx.refuse("peer-record-without-use");
                }
                continue;
            }
            let teller = Group::of(from);
            let rumour = Rumour { peer, addresses, record: Some(record), found: Found::Exchange, teller };
            if !self.book.heard(rumour, fx.now.wall) {
                fx.refuse("address-book-full");
            }
        }
        self.dirty(fx);
        self.look_soon(fx);
    }

    /// Those of a peer's addresses that somebody who is connected from `from` can tell of: no nearer than itself, and such as can be
    /// dialled here.
    fn believed(&self, from: &Multiaddr, peer: &PeerId, addresses: &[Multiaddr]) -> Vec<Multiaddr> {
        let scope = Scope::of(from).unwrap_or(Scope::World);
        let own = addresses.iter().filter(|address| is_of(address, peer));
        own.map(without_peer).filter(|address| is_believable(self.role, address, scope)).collect()
    }

    /// A peer is in the table of the distributed hash table. It has answered there, and says itself where it is.
    pub(super) fn met_in_table(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        peer: PeerId,
        address: Multiaddr,
    ) {
        self.heard_of(fx, connections, (peer, Found::Dht), peer, &[address]);
    }

    /// A peer that another one wrote down as it was told, as at a rendezvous.
    pub(super) fn met(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        teller: PeerId,
        peer: PeerId,
        addresses: &[Multiaddr],
    ) {
        self.heard_of(fx, connections, (teller, Found::Rendezvous), peer, addresses);
    }

    /// A connected peer has told where somebody is who did not sign it.
    fn heard_of(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        (teller, found): (PeerId, Found),
        peer: PeerId,
        addresses: &[Multiaddr],
    ) {
        // Who has left cannot be asked where it told this from.
        let Some(from) = connections.direct_address(&teller) else { return };
        let addresses = self.believed(from, &peer, addresses);
        if addresses.is_empty() {
            // One that only peers of another kind can dial.
            return;
        }
        let rumour = Rumour { peer, addresses, record: None, found, teller: Group::of(from) };
        if !self.book.heard(rumour, fx.now.wall) {
            fx.refuse("address-book-full");
        }
        self.dirty(fx);
        self.look_soon(fx);
    }

    /// How many connections to others are missing.
    pub(super) fn missing(&self, connections: &Connections) -> usize {
        self.discovery.outbound.saturating_sub(self.outbound.len() + self.seeking(connections))
    }

    /// Keeps what a connected peer says of itself that only tabs can make use of, to tell other tabs while it is connected.
    fn welcome(&mut self, fx: &Effects, peer: PeerId, own: &PeerRecord) {
        let addresses = own.addresses();
        let is_guest = addresses.iter().any(|address| is_signalled(address) && is_of(address, &peer))
            && !addresses.iter().any(|address| can_dial(self.role, address));
        let is_known = self.guests.contains_key(&peer) || self.guests.len() < MAX_GUESTS;
        let is_proven = || verify_records(std::slice::from_ref(own), &self.chain) == [true];
        if is_guest && is_known && own.is_timely(fx.now.wall) && is_proven() {
            self.guests.insert(peer, own.clone());
        }
    }

    /// Some of them, by lot.
    fn some_guests(&self, fx: &mut Effects, but: &PeerId) -> Vec<PeerRecord> {
        if self.guests.is_empty() {
            return Vec::new();
        }
        let skip = fx.random() as usize % self.guests.len();
        let lot = self.guests.iter().skip(skip).chain(self.guests.iter().take(skip));
        let lot = lot.filter(|(peer, record)| *peer != but && record.is_timely(fx.now.wall));
        lot.take(MAX_GUESTS_TOLD).map(|(_, record)| record.clone()).collect()
    }

    /// What we say of ourselves; nothing while nobody can dial us.
    fn own_record(&mut self, fx: &Effects, connections: &Connections) -> Option<&PeerRecord> {
        let key = self.key.as_ref()?;
        let addresses = self.own_addresses(connections);
        let is_current = self.own.as_ref().is_some_and(|(known, record)| {
            *known == addresses
                && record.issued() <= fx.now.wall
                && fx.now.wall.0 < record.issued().0.saturating_add(SIGN_MILLIS)
        });
        if !is_current {
            let record = PeerRecord::sign(key, &self.chain, fx.now.wall, &addresses);
            self.own = Some((addresses, record));
        }
        self.own.as_ref().filter(|(addresses, _)| !addresses.is_empty()).map(|(_, record)| record)
    }

    /// Where others reach us.
    pub(super) fn own_addresses(&self, connections: &Connections) -> Vec<Multiaddr> {
        let mut addresses: Vec<_> = connections
            .addresses
            .iter()
            .map(without_peer)
            .filter(|address| {
                let met = !is_circuit(address) || is_signalled(address) || self.is_met_there(address);
                Scope::of(address).is_some() && met
            })
            .collect();
        // The furthest first: of too many the nearest are left out.
        addresses.sort_by_key(|address| (std::cmp::Reverse(Scope::of(address)), is_circuit(address)));
        addresses.dedup();
        addresses
    }

    /// Whether others of our kind reach us through a relay at this address.
    fn is_met_there(&self, address: &Multiaddr) -> bool {
        self.role == Role::Native && can_dial_through(self.role, address)
    }

    /// There is no direct way to a peer that is reached through a relay: others are looked for in its stead.
    pub(super) fn stays_relayed(&mut self, fx: &Effects, peer: &PeerId) {
        if self.is_on() {
            self.book.failed(peer, fx.now.wall);
            self.dirty(fx);
            self.look_soon(fx);
        }
    }

    fn ask_at(&mut self, peer: PeerId, at: Mono) {
        if let Some(before) = self.asked_at.insert(peer, at) {
            self.asks.remove(&(before, peer));
        }
        self.asks.insert((at, peer));
    }

    /// Others reach us in a new way: those who are asked for peers, and told of us, are soon.
    pub(super) fn tell_soon(&mut self, fx: &mut Effects) {
        let peers: Vec<_> = self.asked_at.keys().copied().collect();
        for peer in peers {
            let soon = fx.now.mono + FIRST_ASK_MILLIS + fx.random() % SPREAD_MILLIS;
            if self.asked_at.get(&peer).is_some_and(|at| *at > soon) {
                self.ask_at(peer, soon);
            }
        }
    }

    /// Asks everybody once more, and sooner than they would be, but not again and again.
    fn ask_all(&mut self, fx: &mut Effects) {
        let now = fx.now.mono;
        if now < self.hurry {
            return;
        }
        self.hurry_pause = (2 * self.hurry_pause).min(LAST_HURRY_MILLIS);
        self.hurry = now + self.hurry_pause;
        let later: Vec<_> =
            self.asks.range((now + SPREAD_MILLIS, self.local)..).map(|(_, peer)| *peer).collect();
        for peer in later {
            let soon = now + fx.random() % SPREAD_MILLIS;
            self.ask_at(peer, soon);
        }
    }

    fn look_soon(&mut self, fx: &Effects) {
        if self.discovery.outbound > 0 {
            let soon = fx.now.mono + LOOK_MILLIS;
            self.look = Some(self.look.map_or(soon, |look| look.min(soon)));
        }
    }

    fn dirty(&mut self, fx: &Effects) {
        self.save.get_or_insert(fx.now.mono + SAVE_MILLIS);
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        let ask = self.asks.first().map(|(at, _)| *at);
        [ask, self.look, self.feeler, self.save].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, fx: &mut Effects, connections: &mut Connections) {
        let now = fx.now.mono;
        for peer in connections.take_given_up() {
            self.book.failed(&peer, fx.now.wall);
            self.dirty(fx);
        }
        while let Some((_, peer)) = self.asks.first().copied().filter(|(at, _)| *at <= now) {
            self.ask_at(peer, now + ASK_MILLIS + fx.random() % SPREAD_MILLIS);
            let own = self.own_record(fx, connections).cloned();
            let body = encode(&PeersRequest { chain: self.chain, own });
            fx.ask(peer, Protocol::Peers, Ask::Peers, body);
        }
        if self.look.is_some_and(|at| at <= now) {
            self.look = self.fill(fx, connections);
        }
        if self.feeler.is_some_and(|at| at <= now) {
            self.feeler = Some(now + FEELER_MILLIS);
            self.feel(fx, connections);
        }
        if self.save.is_some_and(|at| at <= now) {
            self.save = None;
            self.write_down(fx);
        }
    }

    /// Dials one more peer if connections are missing, and says when to look again.
    fn fill(&mut self, fx: &mut Effects, connections: &mut Connections) -> Option<Mono> {
        self.unchoose(connections);
        if self.missing(connections) == 0 {
            self.hurry_pause = FIRST_HURRY_MILLIS;
            return None;
        }
        // Whoever we know may know somebody new by now.
        self.ask_all(fx);
        let for_blocks = self.is_next_for_blocks(connections);
        let is_cut_off = self.hurry_pause >= LONG_HURRY_MILLIS
            && self.outbound.iter().all(|peer| self.for_blocks.contains(peer));
        let choice = self.choose(fx, connections, false);
        // Where there is nobody else they are of more use for everything.
        if is_cut_off || (choice.is_none() && !for_blocks) {
            self.widen_one(fx);
        }
        let Some((peer, address)) = choice else {
            return Some(fx.now.mono + NOBODY_MILLIS);
        };
        self.chosen.insert(peer);
        if self.left.contains(&peer) {
            connections.keep(fx, peer, address);
            self.take(peer);
            return Some(fx.now.mono + LOOK_MILLIS);
        }
        // Who is met through a relay is known there.
        if for_blocks && !is_circuit(&address) {
            self.for_blocks.insert(peer);
        }
        connections.found(fx, peer, address, 1);
        Some(fx.now.mono + LOOK_MILLIS)
    }

    /// Whether the next connection of our own is for blocks only: when only such are missing.
    fn is_next_for_blocks(&mut self, connections: &Connections) -> bool {
        let outbound = &self.outbound;
        self.for_blocks.retain(|peer| outbound.contains(peer) || connections.is_sought(peer));
        let full = (self.outbound.len() + self.seeking(connections)).saturating_sub(self.for_blocks.len());
        full + self.discovery.for_blocks() >= self.discovery.outbound
            && self.for_blocks.len() < self.discovery.for_blocks()
    }

    /// Whether neither transactions nor addresses of peers pass between us and a peer.
    pub(super) fn is_for_blocks(&self, peer: &PeerId) -> bool {
        self.for_blocks.contains(peer)
    }

    /// Makes use of a connection that is for blocks only, if there is one, for everything.
    fn widen_one(&mut self, fx: &mut Effects) {
        let Some(peer) = self.outbound.iter().copied().find(|peer| self.for_blocks.remove(peer)) else {
            return;
        };
        self.widened.push(peer);
        if self.discovery.exchange {
            let after = FIRST_ASK_MILLIS + fx.random() % SPREAD_MILLIS;
            self.ask_at(peer, fx.now.mono + after);
        }
    }

    /// Peers that were connected for blocks only, and now are for everything, since this was last asked.
    pub(super) fn take_widened(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.widened)
    }

    fn feel(&mut self, fx: &mut Effects, connections: &mut Connections) {
        self.unchoose(connections);
        if let Some((peer, address)) = self.choose(fx, connections, true) {
            self.feelers.insert(peer);
            self.chosen.insert(peer);
            connections.found(fx, peer, address, 1);
        }
    }

    /// A peer to dial and where, in no network in which we have a connection already, unless that is our own. Where something else has
    /// opened a connection to a peer, that will do. For a test any network will do: it lasts a moment.
    fn choose(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        test: bool,
    ) -> Option<(PeerId, Multiaddr)> {
        let taken: BTreeSet<_> = self
            .outbound
            .iter()
            .filter_map(|peer| Some(Group::of(connections.direct_address(peer)?)))
            .collect();
        let role = self.role;
        let usable = |address: &Multiaddr| {
            can_reach(role, address)
                && (test || Scope::of(address) != Some(Scope::World) || !taken.contains(&Group::of(address)))
        };
        let now = fx.now;
        let left =
            |peer: &PeerId| self.left.contains(peer).then(|| connections.direct_address(peer)).flatten();
        let wanted = |peer: &PeerId, addresses: &[Multiaddr]| match left(peer) {
            Some(at) => !test && usable(at),
            None => connections.is_free(peer, now.mono) && addresses.iter().any(usable),
        };
        let (peer, addresses) = if test {
            let here = |peer: &PeerId| connections.direct_address(peer).is_some();
            self.book.to_test(&mut fx.rng, now.wall, &here, &wanted)?
        } else {
            self.book.pick(&mut fx.rng, now.wall, &wanted)?
        };
        if let Some(at) = left(&peer) {
            return Some((peer, at.clone()));
        }
        // Through a relay only when there is no other way.
        let direct = addresses.iter().find(|address| usable(address) && !is_circuit(address)).cloned();
        Some((peer, direct.or_else(|| addresses.into_iter().find(usable))?))
    }

    fn write_down(&mut self, fx: &mut Effects) {
        let mut batch = Batch::default();
        for (peer, row) in self.book.take_changes() {
            match row {
                Some(row) => batch.put(BOOK, peer.to_bytes(), row),
                None => batch.delete(BOOK, peer.to_bytes()),
            }
        }
        // Those first of whom others know least.
        let (quiet, others): (Vec<PeerId>, Vec<PeerId>) =
            self.outbound.iter().copied().partition(|peer| self.for_blocks.contains(peer));
        let anchors: Vec<PeerId> = quiet.iter().chain(&others).copied().take(MAX_ANCHORS).collect();
        if anchors != self.anchors && !anchors.is_empty() {
            let bytes =
                |peers: &[PeerId]| encode(&peers.iter().map(|peer| peer.to_bytes()).collect::<Vec<_>>());
            batch.put(ABOUT, ANCHORS, bytes(&anchors));
            batch.put(ABOUT, QUIET_ANCHORS, bytes(&anchors[..quiet.len().min(anchors.len())]));
            self.anchors = anchors;
        }
        if !batch.is_empty() {
            fx.apply(batch);
        }
    }
}

fn stored_anchors(fx: &Effects, key: &[u8]) -> Vec<PeerId> {
    let stored = fx.store.get(ABOUT, key);
    let anchors: Vec<Vec<u8>> = stored.and_then(|bytes| decode(&bytes, 4096).ok()).unwrap_or_default();
    anchors.iter().filter_map(|bytes| PeerId::from_bytes(bytes).ok()).take(MAX_ANCHORS).collect()
}

fn without_peer(address: &Multiaddr) -> Multiaddr {
    match address.iter().last() {
        Some(multiaddr::Protocol::P2p(_)) => {
            let parts = address.iter().count();
            address.iter().take(parts - 1).collect()
        }
        _ => address.clone(),
    }
}

/// Whether a peer of this kind can connect to somebody at this address.
fn can_reach(role: Role, address: &Multiaddr) -> bool {
    can_dial(role, address) || can_dial_through(role, address)
}

/// Whether an address ends at this peer, or at nobody in particular. Before that it may lead through a relay.
fn is_of(address: &Multiaddr, peer: &PeerId) -> bool {
    address.iter().fold(true, |is, part| match part {
        multiaddr::Protocol::P2pCircuit => true,
        multiaddr::Protocol::P2p(other) => is && other == *peer,
        _ => is,
    })
}
