//! Finding peers beyond those a person names: what is kept of whom, whom to ask for more, and whom to connect to.

mod choosing;
mod hearsay;
mod kept;
mod own;

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId, multiaddr};

use self::kept::{ABOUT, KEY};
use super::{
    Protocol,
    connections::Connections,
    effects::{Ask, Effects},
};
use crate::{
    peers::{
        Book, BookShape, Bucket, Found, Group, Guards, PeerRecord, PeersRequest, Role, Rumour, Scope,
        can_dial, can_dial_through,
    },
    primitives::{Hash, Held, Mono, SecretKey, encode},
    store::Batch,
};

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
/// The most connections that lookups leave behind: more than are in use by one at a time.
const MAX_LEFT: usize = 16;

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
    /// What keeps strangers from choosing its connections: [all](Guards::ALL), but in simulations.
    pub guards: Guards,
}

impl Discovery {
    /// Only peers that are named are dialled, and nobody is told of.
    pub const OFF: Self =
        Self { exchange: false, outbound: 0, dht: false, rendezvous: false, guards: Guards::ALL };

    /// How many of its own connections are for blocks only, once it has the others: a quarter, and at most two. Neither transactions
    /// nor addresses of peers pass there, so that nobody can find out by them who is connected to whom, and cut off a peer whose
    /// other connections he knows.
    #[must_use]
    pub const fn for_blocks(&self) -> usize {
        if !self.guards.for_blocks {
            return 0;
        }
        if self.outbound >= 4 * MAX_FOR_BLOCKS { MAX_FOR_BLOCKS } else { self.outbound / 4 }
    }

    /// What a peer of this kind does unless it is told otherwise.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        let outbound = match role {
            Role::Native | Role::Relay => 8,
            // Each is a WebSocket, a gossip neighbour and a server of blocks: a tab needs fewer.
            Role::Browser => 4,
        };
        Self { exchange: true, outbound, dht: true, rendezvous: true, guards: Guards::ALL }
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
        let usual = if role == Role::Browser { BookShape::BROWSER } else { BookShape::NATIVE };
        let guards = discovery.guards;
        let shape = guards.shape.unwrap_or(usual);
        let mut finding = Self {
            local,
            role,
            key,
            chain: chain.unwrap_or(Hash::ZERO),
            discovery,
            book: Book::new(secret, shape, guards),
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
        if guards.anchors {
            finding.dial_anchors(connections, fx);
        }
        if discovery.outbound > 0 {
            finding.look = Some(fx.now.mono + LOOK_MILLIS);
            finding.feeler = guards.feelers.then_some(fx.now.mono + FEELER_MILLIS);
        }
        finding
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

    /// Counts a connected peer among those of our own choice.
    fn take(&mut self, peer: PeerId) {
        self.left.retain(|other| *other != peer);
        if !self.outbound.contains(&peer) {
            self.outbound.push(peer);
        }
    }

    /// Whether there is another connection of our own to the network in which a peer is.
    fn is_crowded(&self, connections: &Connections, peer: &PeerId) -> bool {
        if !self.discovery.guards.diversity {
            return false;
        }
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
    /// How much is kept of others.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        self.book.held().chain([self.held_guests(), self.held_askers()])
    }

    pub(super) fn known(&self) -> (usize, usize) {
        self.book.count()
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
