//! Who is connected, and how that came about.

mod room;
mod standing;

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId, multiaddr};

use self::{room::Virtues, standing::Written};
use super::{
    ConnectionId, DialFailure, Event, Link, LinkState, LinkView, Output, PeerView,
    effects::Effects,
    finding::Finding,
    metrics::Snapshot,
    reaching::Reaching,
    upgrades::{Act, Upgrades},
};
use crate::{
    peers::{
        AddressRange, Dialer, Found, Ledger, Offence, Role, Scope, circuit_of, is_believable, is_circuit,
        without_host,
    },
    primitives::{Height, Held, Mono},
};

/// How often gossip is told how far scores have healed.
const HEAL_MILLIS: u64 = 60 * 1000;

/// The most addresses of our own that are kept, and the most of them through one relay.
const MAX_ADDRESSES: usize = 64;
const MAX_ADDRESSES_OF_RELAY: usize = 8;

#[derive(Debug)]
struct Connection {
    link: Link,
    address: Multiaddr,
    /// Where that is, if hosts can be told apart there.
    host: Option<AddressRange>,
    outbound: bool,
    /// There was a circuit when it was opened.
    upgraded: bool,
    /// It was told to close, and has not yet.
    closing: bool,
    /// Bytes sent and received, as far as the shell has told.
    carried: (u64, u64),
}

#[derive(Debug, Default)]
struct Peer {
    connections: BTreeMap<ConnectionId, Connection>,
    agent: Option<String>,
    ping_millis: Option<u64>,
    /// The other chain it follows, by the first digits of its genesis hash.
    other_chain: Option<String>,
    offences: BTreeMap<Offence, u32>,
    /// Its score as gossip was told it.
    told: i32,
    /// Points that being one of many from one host costs it in gossip.
    crowding: i32,
    virtues: Virtues,
}

pub(super) struct Connections {
    peers: BTreeMap<PeerId, Peer>,
    pub(super) addresses: Vec<Multiaddr>,
    ledger: Ledger,
    written: Written,
    dialer: Dialer,
    upgrades: Upgrades,
    /// Peers that turned out to be reached over a circuit only.
    given_up: Vec<PeerId>,
    local: PeerId,
    role: Role,
    /// Whom a person named since the start.
    asked_for: BTreeSet<PeerId>,
    /// The most connections that others opened.
    max_inbound: usize,
    /// Whether somebody makes room for a newcomer when there are as many.
    evicts: bool,
    /// Where proxies are through which others come.
    pub(super) proxies: Vec<AddressRange>,
    /// Orders groups of addresses in a way that nobody else knows.
    group_key: [u8; 32],
    /// When to tell gossip how far scores have healed.
    heal: Mono,
    /// Gossip may have been told of a score that heals.
    hurt: bool,
    /// What peers did wrong, since the start.
    booked: BTreeMap<&'static str, u64>,
}

/// What a new or lost connection means for the peer as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// This is the first connection over which requests can be sent.
    Arrived,
    /// That was the last one.
    Left,
    /// Nothing has changed.
    Same,
    /// The peer is banned and on its way out: to the rest of the node it was never here.
    Unwanted,
}

impl Connections {
    pub(super) fn new(
        (local, role): (PeerId, Role),
        bootstrap: Vec<Multiaddr>,
        (max_inbound, evicts): (usize, bool),
        group_key: [u8; 32],
        fx: &Effects,
    ) -> Self {
        let mut dialer = Dialer::default();
        for address in bootstrap {
            dialer.add_fixed(circuit_of(&address), fx.now.mono);
        }
        Self {
            peers: BTreeMap::new(),
            addresses: Vec::new(),
            ledger: Ledger::default(),
            written: Written::default(),
            dialer,
            upgrades: Upgrades::new(local, role == Role::Browser),
            given_up: Vec::new(),
            local,
            role,
            asked_for: BTreeSet::new(),
            max_inbound,
            evicts,
            proxies: Vec::new(),
            group_key,
            heal: Mono(0),
            hurt: false,
            booked: BTreeMap::new(),
        }
    }

    /// The address that somebody connected from, without that of a proxy, which tells nothing of who is behind it.
    pub(super) fn behind_proxy(&self, address: Multiaddr) -> Multiaddr {
        if self.proxies.iter().any(|range| range.covers(&address)) { without_host(&address) } else { address }
    }

    pub(super) fn connected(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        connection: ConnectionId,
        link: Link,
        address: Multiaddr,
        outbound: bool,
    ) -> Presence {
        let barred = link == Link::Direct && self.ledger.is_barred(&peer, &address, fx.now.mono);
        if barred || self.ledger.is_banned(&peer, fx.now.mono) {
            self.dialer.forget(&peer);
            fx.push(Output::Disconnect(peer));
            return Presence::Unwanted;
        }
        self.dialer.connected(peer, &address, fx.now.mono);
        self.upgrades.connected(peer, connection, link, (&address, outbound), fx.now.mono);
        if outbound {
            fx.lower(&unreachable_prefix(&address));
        }
        let virtues = Virtues::of(fx.now.mono);
        let state = self.peers.entry(peer).or_insert_with(|| Peer { virtues, ..Peer::default() });
        let had_direct = state.is_direct();
        let has_circuit = state.connections.values().any(|it| it.link == Link::Relayed);
        let upgraded = link == Link::Direct && has_circuit;
        state.connections.insert(
            connection,
            Connection {
                link,
                host: AddressRange::of_host(&address),
                address,
                outbound,
                upgraded,
                closing: false,
                carried: (0, 0),
            },
        );
        fx.notify(Event::Peers);
        let arrived = !had_direct && state.is_direct();
        if arrived {
            state.told = 0;
            let host = state.host();
            self.tell(fx, peer);
            self.tell_neighbours(fx, host);
        }
        if !outbound {
            self.make_room(fx, peer);
        }
        if arrived { Presence::Arrived } else { Presence::Same }
    }

    pub(super) fn disconnected(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        connection: ConnectionId,
    ) -> Presence {
        let Some(state) = self.peers.get_mut(&peer) else { return Presence::Same };
        self.upgrades.disconnected(peer, connection, fx.now.mono);
        let (had_direct, host) = (state.is_direct(), state.host());
        state.connections.remove(&connection);
        let direct = state.is_direct();
        if state.connections.is_empty() {
            self.peers.remove(&peer);
            let jitter = fx.random();
            for (address, failures) in self.dialer.disconnected(peer, jitter, fx.now.mono) {
                tracing::debug!(%address, failures, "a connection is lost");
                if failures == 3 {
                    fx.raise(format!("{}; still trying", shut_prefix(&address)));
                }
            }
        }
        let other_host = self.peers.get(&peer).and_then(Peer::host).filter(|other| host != Some(*other));
        self.tell_neighbours(fx, host);
        self.tell_neighbours(fx, other_host);
        fx.notify(Event::Peers);
        if had_direct && !direct { Presence::Left } else { Presence::Same }
    }

    /// A dial failed; `false` when that says nothing of the peer: it was to get from a circuit to a direct connection, and the
    /// peer is still there, or the peer is being dialled elsewhere, as when a hole is punched.
    pub(super) fn dial_failed(
        &mut self,
        fx: &mut Effects,
        address: &Multiaddr,
        reason: &DialFailure,
    ) -> bool {
        if self.upgrades.failed(address, fx.now.mono) {
            tracing::info!(%address, %reason, "no direct connection; the relayed one stays");
            fx.refuse("no-direct-way");
            fx.notify(Event::Peers);
            return false;
        }
        if *reason == DialFailure::Busy {
            self.dialer.busy(address, fx.now.mono);
            return false;
        }
        let jitter = fx.random();
        let failures = self.dialer.failed(address, jitter, fx.now.mono);
        tracing::debug!(%address, failures, %reason, "dial failed");
        if failures == 3 {
            fx.raise(format!("{}: {reason}; still trying", unreachable_prefix(address)));
        }
        true
    }

    pub(super) fn dial(&mut self, fx: &mut Effects, address: Multiaddr) {
        if let Some(multiaddr::Protocol::P2p(peer)) = address.iter().last() {
            self.asked_for.insert(peer);
        }
        self.dialer.add_fixed(circuit_of(&address), fx.now.mono);
    }

    /// Dials a peer that was found along the way, until it has failed so many times in a row.
    pub(super) fn found(&mut self, fx: &Effects, peer: PeerId, address: Multiaddr, tries: u32) {
        if peer != self.local && !is_unwanted(&self.ledger, Some(&peer), &address, fx.now.mono) {
            let address = address.with_p2p(peer).unwrap_or_else(|unchanged| unchanged);
            // What is reached by `/webrtc` is first reached over the relay.
            self.dialer.add_found(circuit_of(&address), tries, fx.now.mono);
        }
    }

    /// Waits no longer with dials that failed before.
    pub(super) fn hurry(&mut self, fx: &Effects) {
        self.dialer.hurry(fx.now.mono);
    }

    /// Ends the connection to a peer that is not needed, and does not come back to it.
    pub(super) fn let_go(&mut self, fx: &mut Effects, peer: &PeerId) {
        self.dialer.forget(peer);
        self.show_out(fx, peer);
    }

    /// Whether a person named the peer, or a list that a person named did.
    pub(super) fn is_named(&self, peer: &PeerId) -> bool {
        self.dialer.is_fixed(peer)
    }

    /// How it is known if it was named: a tab has those to begin with from a list, others have them from a person.
    pub(super) fn naming(&self, peer: &PeerId) -> Option<Found> {
        let by_list = self.role == Role::Browser && !self.asked_for.contains(peer);
        self.is_named(peer).then_some(if by_list { Found::NodeList } else { Found::Named })
    }

    /// Comes back to a connected peer once it is gone, as to one that was found along the way, until that has failed.
    pub(super) fn keep(&mut self, fx: &Effects, peer: PeerId, address: Multiaddr) {
        let address = circuit_of(&address.with_p2p(peer).unwrap_or_else(|unchanged| unchanged));
        self.dialer.add_found(address.clone(), 1, fx.now.mono);
        self.dialer.connected(peer, &address, fx.now.mono);
    }

    /// Whether the peer may be dialled, and is not already.
    pub(super) fn is_free(&self, peer: &PeerId, now: Mono) -> bool {
        *peer != self.local
            && !self.peers.contains_key(peer)
            && !self.dialer.knows(peer)
            && !self.ledger.is_banned(peer, now)
    }

    /// Where a connected peer is, as the oldest direct connection shows, and whether we dialled.
    pub(super) fn direct_link(&self, peer: &PeerId) -> Option<(&Multiaddr, bool)> {
        let direct = self.peers.get(peer)?.connections.values().find(|it| it.link == Link::Direct)?;
        Some((&direct.address, direct.outbound))
    }

    /// Whether an address that some peer told, we do not know which, may mean to us what it meant there: it reaches as far as the
    /// furthest of our connections. One neighbour in our own network must not let the whole world name addresses there.
    pub(super) fn is_believable(&self, address: &Multiaddr) -> bool {
        let links = self.peers.values().flat_map(|peer| peer.connections.values());
        let direct = links.filter(|link| link.link == Link::Direct);
        let furthest = direct.filter_map(|link| Scope::of(&link.address)).max().unwrap_or(Scope::World);
        is_believable(self.role, address, furthest)
    }

    /// Where a peer was dialled through a relay, if it was and still is connected there.
    pub(super) fn dialled_circuit(&self, peer: &PeerId) -> Option<&Multiaddr> {
        let mut circuits = self.peers.get(peer)?.connections.values().filter(|it| it.link == Link::Relayed);
        circuits.find(|it| it.outbound).map(|it| &it.address)
    }

    /// Whether there is a circuit to a peer.
    pub(super) fn has_circuit(&self, peer: &PeerId) -> bool {
        let state = self.peers.get(peer);
        state.is_some_and(|state| state.connections.values().any(|it| it.link == Link::Relayed))
    }

    /// Whether a peer is connected in any way.
    pub(super) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// Does not come back to a peer once it is gone, unless a person named it.
    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.dialer.forget(peer);
    }

    /// Where a connected peer is.
    pub(super) fn direct_address(&self, peer: &PeerId) -> Option<&Multiaddr> {
        self.direct_link(peer).map(|(address, _)| address)
    }

    /// Whether the node wanted the connection, and not a lookup in the distributed hash table.
    pub(super) fn is_sought(&self, peer: &PeerId) -> bool {
        self.dialer.knows(peer)
    }

    /// Others reach us here. A relay says itself where it passes connections on, so it has a share of the list, and all of them
    /// together half of it.
    pub(super) fn listening(&mut self, fx: &mut Effects, address: Multiaddr) {
        if self.addresses.contains(&address) {
            return;
        }
        let through = self.addresses.iter().filter(|other| is_circuit(other));
        let of_relay = through.clone().filter(|other| relay_of(other) == relay_of(&address)).count();
        let crowded = is_circuit(&address)
            && (of_relay >= MAX_ADDRESSES_OF_RELAY || through.count() >= MAX_ADDRESSES / 2);
        if crowded || self.addresses.len() >= MAX_ADDRESSES {
            fx.refuse("own-addresses-full");
            return;
        }
        self.addresses.push(address);
    }

    pub(super) fn not_listening(&mut self, address: &Multiaddr) {
        self.addresses.retain(|other| other != address);
    }

    pub(super) fn identified(
        &mut self,
        fx: &mut Effects,
        peer: &PeerId,
        agent: String,
        protocols: &[String],
        chain: Option<&str>,
    ) {
        let Some(state) = self.peers.get_mut(peer) else { return };
        self.upgrades.identified(peer, protocols);
        state.agent = Some(agent.chars().filter(|c| !c.is_control()).take(128).collect());
        let theirs = protocols.iter().find_map(|name| name.strip_prefix("/weft/")?.strip_suffix("/sync/1"));
        state.other_chain = match (theirs, chain) {
            (Some(theirs), Some(ours)) if theirs != ours => Some(theirs.chars().take(8).collect()),
            _ => None,
        };
        if let (Some(theirs), Some(ours)) = (&state.other_chain, chain) {
            tracing::warn!(%peer, theirs, ours, "a peer follows another chain; its blocks are of no use here");
            fx.refuse("other-chain");
            if self.dialer.is_fixed(peer) {
                let short: String =
                    peer.to_base58().chars().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect();
                fx.raise(format!(
                    "the peer …{short} you named follows chain {theirs}, and this peer follows {ours}: \
                     the genesis files differ"
                ));
            }
        }
        fx.notify(Event::Peers);
    }

    pub(super) fn carried(&mut self, peer: &PeerId, connection: ConnectionId, carried: (u64, u64)) {
        let connections = self.peers.get_mut(peer).map(|state| &mut state.connections);
        if let Some(state) = connections.and_then(|it| it.get_mut(&connection)) {
            state.carried = carried;
        }
    }

    pub(super) fn pinged(&mut self, peer: &PeerId, millis: u64) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.ping_millis = Some(millis);
            let least = &mut state.virtues.least_ping;
            *least = Some(least.map_or(millis, |known| known.min(millis)));
        }
    }

    /// Books what peers did wrong, and acts on it.
    pub(super) fn book(&mut self, fx: &mut Effects) {
        self.credit(fx);
        for (peer, offence) in std::mem::take(&mut fx.offences) {
            fx.refuse(offence.name());
            *self.booked.entry(offence.name()).or_default() += 1;
            let host = self.peers.get(&peer).and_then(Peer::host).filter(|host| self.may_be_banned(*host));
            let consequence = self.ledger.report(peer, offence, host, fx.now);
            let score = self.ledger.score(&peer, fx.now.mono);
            tracing::warn!(%peer, %offence, score, ?consequence, "a peer misbehaved");
            if let Some(state) = self.peers.get_mut(&peer) {
                *state.offences.entry(offence).or_default() += 1;
            }
            self.tell(fx, peer);
            self.follow(fx, peer, &consequence);
            fx.notify(Event::Peers);
        }
    }

    /// Dials, ends bans and tells of healed scores, as far as due.
    pub(super) fn tick(&mut self, fx: &mut Effects) {
        let now = fx.now.mono;
        if self.heal <= now {
            self.heal = now + HEAL_MILLIS;
            self.tell_all(fx);
            self.write_down(fx);
        }
        for whom in self.ledger.end_bans(now) {
            fx.push(Output::Unban(whom));
        }
        for address in self.dialer.settle(now) {
            fx.lower(&shut_prefix(&address));
        }
        let ledger = &self.ledger;
        for address in self.dialer.due(now, |peer, at| is_unwanted(ledger, peer, at, now)) {
            fx.push(Output::Dial(address));
        }
        for act in self.upgrades.tick(now) {
            match act {
                Act::Dial(address) => {
                    fx.push(Output::Dial(address));
                    fx.notify(Event::Peers);
                }
                Act::Close(peer, connection) => fx.push(Output::Close { peer, connection }),
                Act::GiveUp(peer) => self.stay_relayed(fx, peer),
            }
        }
    }

    /// There is no direct way to a peer. Whom a person named is kept on the circuit; to others of our own choice it is of no use, and a
    /// relay has few.
    fn stay_relayed(&mut self, fx: &mut Effects, peer: PeerId) {
        let outbound =
            self.peers.get(&peer).is_some_and(|state| state.connections.values().any(|it| it.outbound));
        if outbound && !self.dialer.is_fixed(&peer) {
            self.let_go(fx, &peer);
            self.given_up.push(peer);
        }
        fx.notify(Event::Peers);
    }

    /// Peers to whom there was no direct way, since this was last asked.
    pub(super) fn take_given_up(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.given_up)
    }

    pub(super) fn next_due(&self, now: Mono) -> Option<Mono> {
        let dial = self.dialer.next_due(|peer, at| is_unwanted(&self.ledger, peer, at, now));
        let heal = (self.hurt || !self.written.changed.is_empty()).then_some(self.heal);
        dial.into_iter().chain(self.ledger.next_end()).chain(heal).chain(self.upgrades.next_due()).min()
    }

    /// The number of connected peers.
    pub(super) fn count(&self) -> usize {
        self.peers.len()
    }

    /// How much is remembered of peers, and how many addresses are believed to be our own.
    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        let own = Held::new("own addresses", self.addresses.len(), MAX_ADDRESSES);
        self.ledger.held().chain([self.dialer.held(), self.upgrades.held(), own])
    }

    pub(super) fn blamed(&self, now: Mono) -> impl Iterator<Item = (PeerId, i32)> + '_ {
        self.ledger.blamed(now)
    }

    /// What metrics tell of peers.
    pub(super) fn measure(&self, snapshot: &mut Snapshot) {
        snapshot.direct_peers = self.direct().count() as u64;
        snapshot.relayed_peers = self.peers.len() as u64 - snapshot.direct_peers;
        for connection in self.peers.values().flat_map(|state| state.connections.values()) {
            *snapshot.connections.entry(connection.transport().to_owned()).or_default() += 1;
        }
        snapshot.offences.clone_from(&self.booked);
    }

    /// The peers that requests can be sent to.
    pub(super) fn direct(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers.iter().filter(|(_, state)| state.is_direct()).map(|(peer, _)| *peer)
    }

    pub(super) fn views(
        &self,
        fx: &Effects,
        finding: &Finding,
        reaching: &Reaching,
        height: impl Fn(&PeerId) -> Option<Height>,
    ) -> Vec<PeerView> {
        let view = |(peer, state): (&PeerId, &Peer)| PeerView {
            peer: peer.to_string(),
            agent: state.agent.clone(),
            links: state
                .connections
                .values()
                .map(|it| it.view(self.upgrades.is_under_way(peer) || reaching.is_upgrading(peer)))
                .collect(),
            height: height(peer),
            score: self.ledger.score(peer, fx.now.mono),
            trusted: self.ledger.is_trusted(peer),
            deeds: self.deeds(peer),
            for_blocks: finding.is_for_blocks(peer),
            offences: state.offences.iter().map(|(offence, count)| (offence.to_string(), *count)).collect(),
            other_chain: state.other_chain.clone(),
            ping_millis: state.ping_millis,
            found: finding
                .found(peer, self.naming(peer), state.connections.values().any(|it| !it.outbound))
                .into_iter()
                .map(|found| found.label().to_owned())
                .collect(),
        };
        self.peers.iter().map(view).collect()
    }
}

/// Whether a peer, or an address, is banned.
fn is_unwanted(ledger: &Ledger, peer: Option<&PeerId>, address: &Multiaddr, now: Mono) -> bool {
    match peer {
        Some(peer) => ledger.is_banned(peer, now) || ledger.is_barred(peer, address, now),
        None => ledger.is_range_banned(address, now),
    }
}

/// The relay through which an address leads, if it says so.
fn relay_of(address: &Multiaddr) -> Option<PeerId> {
    let before = address.iter().take_while(|part| !matches!(part, multiaddr::Protocol::P2pCircuit));
    before.last().and_then(|part| if let multiaddr::Protocol::P2p(relay) = part { Some(relay) } else { None })
}

fn shut_prefix(address: &Multiaddr) -> String {
    format!("{address} lets us in and closes at once, as a peer does that is full or has banned this one")
}

fn unreachable_prefix(address: &Multiaddr) -> String {
    format!("cannot reach {address}")
}

impl Peer {
    fn is_direct(&self) -> bool {
        self.connections.values().any(|connection| connection.link == Link::Direct)
    }
}

impl Connection {
    fn transport(&self) -> &'static str {
        use multiaddr::Protocol;
        if self.link == Link::Relayed {
            return "relayed";
        }
        let mut transport = "tcp";
        for part in &self.address {
            transport = match part {
                Protocol::Ws(_) | Protocol::Wss(_) => "websocket",
                Protocol::QuicV1 => "quic",
                Protocol::WebRTCDirect => "webrtc-direct",
                Protocol::WebRTC => "webrtc",
                Protocol::Memory(_) => "memory",
                _ => transport,
            };
        }
        transport
    }

    fn view(&self, upgrading: bool) -> LinkView {
        LinkView {
            transport: self.transport().to_owned(),
            address: self.address.to_string(),
            outbound: self.outbound,
            sent: self.carried.0,
            received: self.carried.1,
            state: match self.link {
                Link::Direct if self.upgraded => LinkState::Upgraded,
                Link::Direct => LinkState::Direct,
                Link::Relayed if upgrading => LinkState::Upgrading,
                Link::Relayed => LinkState::Relayed,
            },
        }
    }
}
