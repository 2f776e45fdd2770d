//! The one state machine that owns all of a peer.

mod chain;
mod commands;
mod connections;
mod content;
mod dht;
mod effects;
mod finding;
mod io;
mod jobs;
mod lists;
pub mod metrics;
mod offers;
mod pruning;
mod reaching;
pub(crate) mod rendezvous;
mod rooms;
mod seeds;
mod seeking;
mod services;
#[cfg(test)]
mod tests;
mod told;
mod upgrades;
mod view;
mod waking;
mod without;
mod work;

use chacha20::ChaCha8Rng;
use libp2p::{Multiaddr, PeerId, multiaddr};
use rand_core::SeedableRng;

pub use chain::{BlockArrival, BlockCounts};
pub use content::{FileState, FileView};
pub use dht::{DhtAnswer, DhtFailure, DhtId, DhtQuery, DhtTarget};
pub use finding::Discovery;
pub use io::*;
pub use lists::NodeLists;
pub use pruning::{ParsePruneError, Prune};
pub use reaching::UpgradeCounts;
pub use view::*;
pub use without::Without;
pub use work::*;

use self::{
    chain::Chain,
    connections::{Connections, Presence},
    content::Contents,
    dht::{Dht, Told},
    effects::{Ask, Asked, Effects},
    finding::Finding,
    lists::Lists,
    offers::Offers,
    reaching::Reaching,
    rendezvous::Rendezvous,
    rooms::Rooms,
    seeds::Seeds,
    seeking::Seeking,
    services::Services,
    waking::Waking,
};
use crate::{
    chain::{Genesis, GenesisError},
    gossip::{RelayCounts, Topic, TxMode},
    peers::{AddressRange, Found, Offence, Traffic, Uploads, is_name},
    primitives::{Hash, Held, Mono, Now, SecretKey},
    store::Store,
    sync::Strategy,
};

/// What a peer is, decided before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// This peer's id.
    pub local: PeerId,
    /// Its kind.
    pub role: Role,
    /// Signs what it tells others about itself; without it they cannot pass its addresses on.
    pub key: Option<SecretKey>,
    /// How it looks for others beyond those in `bootstrap`.
    pub discovery: Discovery,
    /// On how many relays it keeps a slot while nobody can dial it; see [`Role::slots`].
    pub slots: usize,
    /// The chain to follow; without one only peers and chat run.
    pub genesis: Option<Genesis>,
    /// Propose blocks with this key.
    pub validator: Option<SecretKey>,
    /// Peers to connect to, and to come back to.
    pub bootstrap: Vec<Multiaddr>,
    /// Where signed lists of others can be had. Those of the last peer of an address in `bootstrap` are believed.
    pub lists: NodeLists,
    /// How to join the chain, unless the store holds it already: then the peer goes on from there.
    pub strategy: Strategy,
    /// How much of the past it keeps.
    pub prune: Prune,
    /// The most bytes of transactions the mempool holds.
    pub mempool_bytes: usize,
    /// How it passes transactions on and wants to learn of them.
    pub tx_mode: TxMode,
    /// The most connections that others opened, less than the shell lets in, so that newcomers are heard before one of the others
    /// leaves.
    pub max_inbound: usize,
    /// Where proxies are through which others come: who connects from there could be anywhere, so nothing follows from its address.
    pub proxies: Vec<AddressRange>,
    /// How many bytes a second it sends to those who ask for blocks, states, files and history, half of it to one host; see [`Role::upload`].
    pub upload: u64,
    /// The most jobs in flight: about twice the number of workers.
    pub max_jobs: usize,
    /// What it does without: nothing, but in simulations and benchmarks.
    pub without: Without,
}

/// Why a peer cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The genesis is not one.
    #[error("the genesis is invalid: {0}")]
    Genesis(#[from] GenesisError),
    /// A validator must execute what it proposes and votes for.
    #[error(
        "a validator cannot be light, since it proposes and votes for what it has executed: choose another strategy"
    )]
    LightValidator,
    /// The store holds another chain.
    #[error(
        "the data directory belongs to chain {stored}, and the genesis given is {given}: use another directory"
    )]
    OtherChain {
        /// The genesis hash in the store.
        stored: Hash,
        /// The genesis hash of the configuration.
        given: Hash,
    },
    /// The store was written by another version.
    #[error("the data was written in format {stored}, and this version reads format {supported}")]
    Schema {
        /// The format in the store.
        stored: u32,
        /// The format this version reads.
        supported: u32,
    },
    /// What is stored makes no sense.
    #[error("the stored data is corrupt: {0}; move the data directory away and synchronise again")]
    Corrupt(String),
}

/// Later than anything.
const NEVER: Mono = Mono(u64::MAX);

/// How often a peer is dialled that the shell found in the local network.
const LOCAL_TRIES: u32 = 3;

/// A peer's state machine.
///
/// A shell feeds it with [`Self::handle`], carries out every [`Output`] of [`Self::poll_output`] until there is none,
/// and calls [`Self::handle_timeout`] no later than [`Self::poll_timeout`] says. The same seed and the same inputs at
/// the same times give the same outputs, byte for byte.
pub struct Node {
    local: PeerId,
    role: Role,
    fx: Effects,
    waking: Waking,
    connections: Connections,
    finding: Finding,
    seeds: Seeds,
    lists: Lists,
    dht: Dht,
    offers: Offers,
    seeking: Seeking,
    services: Services,
    contents: Contents,
    reaching: Reaching,
    rendezvous: Rendezvous,
    rooms: Rooms,
    chain: Option<Chain>,
    /// When the parts beside the chain have something to do, if nothing happens to them before; later than anything if never.
    rest_due: Mono,
}

impl Node {
    /// A peer with what `store` holds. `seed` is all the randomness it will ever have.
    ///
    /// # Errors
    /// When genesis or store do not allow a start.
    pub fn new(
        mut config: Config,
        store: Box<dyn Store + Send>,
        seed: [u8; 32],
        now: Now,
    ) -> Result<Self, StartError> {
        let group_key = Hash::of(&[&seed[..], b"groups of addresses"].concat()).0;
        let uploads = Uploads::new(config.upload);
        let mut fx = Effects::new(store, ChaCha8Rng::from_seed(seed), uploads, now);
        fx.unbounded = config.without.quotas;
        let known: Vec<_> = config.bootstrap.iter().filter_map(last_peer).collect();
        let (names, bootstrap) = std::mem::take(&mut config.bootstrap).into_iter().partition(is_name);
        let mut connections =
            Connections::new((config.local, config.role), bootstrap, (config.max_inbound, group_key), &fx);
        connections.proxies = std::mem::take(&mut config.proxies);
        connections.restore(&mut fx);
        let seeds = Seeds::new(config.role, names, &mut fx);
        let chain = match config.genesis.take() {
            Some(genesis) => Some(Chain::open(&config, genesis, &mut fx)?),
            None => None,
        };
        if chain.is_some() {
            Topic::OF_CHAIN.into_iter().for_each(|topic| fx.push(Output::Subscribe(topic)));
        }
        let lists = Lists::new(config.role, chain.as_ref().map(Chain::id), &config.lists, &known, &mut fx);
        let rooms = Rooms::new(config.local, config.role == Role::Relay);
        let dht = Dht::new((config.local, config.role), config.discovery.dht && chain.is_some());
        let rendezvous = Rendezvous::new(
            (config.local, config.role),
            config.key.clone(),
            chain.as_ref().map(Chain::id),
            config.discovery.rendezvous,
            &mut fx,
        );
        let finding = Finding::new(
            (config.local, config.role),
            config.key,
            chain.as_ref().map(Chain::id),
            config.discovery,
            &mut connections,
            &mut fx,
        );
        let (offers, mut seeking) = (Offers::default(), Seeking::new((config.local, config.role)));
        let contents = Contents::open(&mut fx, config.role, &mut seeking);
        let reaching = Reaching::new(config.role, config.slots);
        Ok(Self {
            local: config.local,
            role: config.role,
            fx,
            waking: Waking::new(now),
            connections,
            finding,
            seeds,
            lists,
            dht,
            offers,
            seeking,
            services: Services::default(),
            contents,
            reaching,
            rendezvous,
            rooms,
            chain,
            rest_due: Mono(0),
        })
    }

    /// Takes in what happened. Drain [`Self::poll_output`] afterwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.pass(now);
        // Most of what there is to handle on a busy chain, and of no concern to the other parts.
        let relayed = match &input {
            Input::Request { protocol, .. } => *protocol == Protocol::Transactions,
            Input::Response { id, .. } => {
                self.fx.asked.get(id).is_some_and(|asked| asked.protocol == Protocol::Transactions)
            }
            _ => false,
        };
        match input {
            Input::Resumed => match self.waking.resumed() {
                Some(millis) => self.wake(millis),
                None => self.connections.hurry(&self.fx),
            },
            Input::Offline => {
                tracing::info!("the platform says that there is no network");
                self.fx.raise(waking::OFFLINE.to_owned());
                self.doubt();
            }
            Input::Online => {
                self.fx.lower(waking::OFFLINE);
                self.wake(0);
            }
            Input::Connected { peer, connection, link, address, outbound } => {
                let address = if outbound { address } else { self.connections.behind_proxy(address) };
                let at = address.clone();
                let circuit = self.connections.dialled_circuit(&peer).cloned();
                let has_circuit = self.connections.has_circuit(&peer);
                let presence =
                    self.connections.connected(&mut self.fx, peer, connection, link, address, outbound);
                let first = presence == Presence::Arrived;
                if first {
                    self.arrived(peer, outbound && self.finding.is_for_blocks(&peer));
                }
                if presence == Presence::Unwanted {
                    tracing::debug!(%peer, "a banned peer got in, and is shown out");
                } else if link == Link::Direct {
                    self.fx.uploads.connected(peer, &at);
                    self.seeds.connected(&self.fx, &peer);
                    let (fx, connections) = (&mut self.fx, &mut self.connections);
                    // Where two peers met behind their routers nobody else finds them.
                    let at = circuit.filter(|_| first).unwrap_or(at);
                    self.finding.connected(fx, connections, peer, &at, outbound, first);
                    if has_circuit {
                        self.reaching.upgraded(&self.fx, peer);
                    }
                } else if self.connections.direct_link(&peer).is_some() {
                    self.reaching.upgraded(&self.fx, peer);
                } else {
                    self.reaching.relayed(&self.fx, peer);
                }
            }
            Input::Disconnected { peer, connection } => {
                if self.connections.disconnected(&mut self.fx, peer, connection) == Presence::Left {
                    self.fx.uploads.left(&peer);
                    self.waking.left(&peer);
                    self.rooms.peer_left(&peer);
                    self.contents.peer_left(&peer);
                    self.finding.disconnected(&self.fx, &peer);
                    self.seeds.disconnected(&self.fx, &peer);
                    self.reaching.left(&self.fx, &peer);
                    self.rendezvous.peer_left(&peer);
                    if let Some(chain) = &mut self.chain {
                        chain.peer_left(&self.fx, &peer);
                    }
                }
                if self.connections.count() == 0 {
                    self.lists.alone(&self.fx);
                }
                if !self.connections.is_connected(&peer) && self.reaching.gone(&self.fx, &peer) {
                    self.stays_relayed(&peer);
                }
            }
            Input::DialFailed { address, reason } => {
                if self.connections.dial_failed(&mut self.fx, &address, &reason) {
                    self.finding.dial_failed(&self.fx, &address);
                }
            }
            Input::Identified { peer, agent, protocols, addresses } => {
                self.identified(peer, agent, &protocols, &addresses);
            }
            Input::Carried { peer, connection, sent, received } => {
                self.connections.carried(&peer, connection, (sent, received));
            }
            Input::Pinged { peer, millis } => self.connections.pinged(&peer, millis),
            Input::Discovered { peer, address, found: Found::Dht } => {
                // The machinery runs where nobody takes part, too.
                if self.dht.is_on() {
                    self.finding.met_in_table(&mut self.fx, &self.connections, peer, address);
                }
            }
            Input::Discovered { peer, address, found } => {
                self.finding.discovered(&self.fx, peer, &address, found);
                // Who is near is few, and wanted; of the others so many are dialled as are missing.
                if found == Found::Mdns {
                    self.connections.found(&self.fx, peer, address, LOCAL_TRIES);
                }
            }
            Input::Resolved { name, outcome } => {
                let (connections, finding) = (&mut self.connections, &mut self.finding);
                self.seeds.resolved(&mut self.fx, connections, finding, &name, outcome);
            }
            Input::ListFetched { url, outcome } => {
                let (connections, finding) = (&mut self.connections, &mut self.finding);
                self.lists.fetched(&mut self.fx, connections, finding, &url, outcome);
            }
            Input::Dht(id, outcome) => {
                if let Some(told) = self.dht.answered(&mut self.fx, id, outcome) {
                    self.told(told);
                }
            }
            Input::Listening(address) => {
                self.connections.listening(&mut self.fx, address);
                self.dht.reachable(&mut self.fx, &self.connections.addresses);
                self.rendezvous.moved(&mut self.fx);
            }
            Input::NotListening(address) => {
                self.connections.not_listening(&address);
                self.dht.reachable(&mut self.fx, &self.connections.addresses);
                self.rendezvous.moved(&mut self.fx);
            }
            Input::Reachable { address, by } => self.reaching.reachable(address, by),
            Input::Unreachable(address) => self.reaching.unreachable(&self.fx, &address),
            Input::SlotGranted(relay) => {
                if self.reaching.granted(&relay) {
                    self.finding.tell_soon(&mut self.fx);
                    self.rendezvous.moved(&mut self.fx);
                }
            }
            Input::SlotLost { relay, reason } => self.reaching.lost(&mut self.fx, &relay, &reason),
            Input::UpgradeFailed { peer, reason } => {
                if self.reaching.upgrade_failed(&self.fx, &peer, &reason) {
                    self.stays_relayed(&peer);
                }
            }
            Input::Gossip(message) => self.gossip(message),
            Input::PublishedToNobody(topic) => self.rooms.published_to_nobody(&mut self.fx, &topic),
            Input::RoomEntered { peer, room } => {
                let peers: Vec<_> = self.connections.direct().collect();
                self.rooms.entered(&mut self.fx, peer, room, &peers);
            }
            Input::RoomLeft { peer, room } => self.rooms.guest_left(&peer, &room),
            Input::Request { id, peer, protocol, body } => self.request(id, peer, protocol, &body),
            Input::Oversized { peer, protocol } => {
                tracing::debug!(%peer, protocol = protocol.label(), "a request is larger than any may be");
                self.fx.offend(peer, Offence::Malformed);
            }
            Input::TableTold(peer) => {
                // The quota blames; there is nothing to refuse any more.
                let _ = self.fx.may(peer, Traffic::Table, 0);
            }
            Input::Response { id, outcome } => self.response(id, outcome),
            Input::WorkDone(id, result) => {
                if let Some(chain) = &mut self.chain {
                    chain.work_done(&mut self.fx, id, result);
                }
            }
            Input::WorkFailed(id) => {
                if let Some(chain) = &mut self.chain {
                    chain.work_failed(&mut self.fx, id);
                }
            }
            Input::Archive(id, answer) => {
                if let Some(chain) = &mut self.chain {
                    chain.archive_answered(&mut self.fx, id, answer);
                }
            }
            Input::Persisted(seq) => self.fx.persisted(seq),
            Input::StorageFailed(reason) => storage_failed(&mut self.fx, reason),
            Input::Command(id, command) => self.command(id, command),
        }
        self.settle_chain();
        if !relayed || self.rest_due <= now.mono || self.fx.has_judged() {
            self.settle_rest();
        }
    }

    /// The next effect to carry out, or `None` when there is none until the next `handle`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.fx.pop()
    }

    /// When [`Self::handle_timeout`] wants to be called; changes with every `handle`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        debug_assert!(
            self.rest_due <= self.fx.now.mono || self.rest_due == self.look_ahead(),
            "the parts beside the chain want to be looked after earlier or later than they said"
        );
        let chain = self.chain.as_ref().map(|chain| chain.next_due(&self.fx));
        let rest = Some(self.rest_due).filter(|due| *due != NEVER);
        chain.into_iter().chain(rest).min()
    }

    /// When the parts beside the chain have something to do.
    fn look_ahead(&self) -> Mono {
        let now = self.fx.now.mono;
        let lists = self.lists.next_due();
        let finding = [self.finding.next_due(), self.seeds.next_due(), lists, self.dht.next_due()];
        let content = [self.contents.next_due(now), self.offers.next_due(), self.seeking.next_due()];
        let content = content.into_iter().chain([self.services.next_due(&self.dht)]);
        let reaching =
            [self.reaching.next_due(now), self.rendezvous.next_due(), self.connections.next_due(now)];
        finding.into_iter().chain(content).chain(reaching).flatten().min().unwrap_or(NEVER)
    }

    /// How announced blocks came to their bodies; `None` without a chain.
    #[must_use]
    pub fn block_counts(&self) -> Option<BlockCounts> {
        self.chain.as_ref().map(Chain::block_counts)
    }

    /// When the bodies of the last 64 announced blocks were here, the oldest first.
    pub fn block_arrivals(&self) -> impl Iterator<Item = &BlockArrival> {
        self.chain.iter().flat_map(Chain::block_arrivals)
    }

    /// Does what is due. Calling it early or twice is harmless. Drain [`Self::poll_output`] afterwards.
    pub fn handle_timeout(&mut self, now: Now) {
        self.pass(now);
        self.settle_chain();
        self.settle_rest();
    }

    /// Lets time pass, and comes back when too much of it has.
    fn pass(&mut self, now: Now) {
        let due = self.waking.has_rested(now).then(|| self.poll_timeout()).flatten();
        self.fx.now = now;
        if let Some(millis) = self.waking.passed(now, due) {
            self.wake(millis);
        }
    }

    /// This peer stood still for so long, or was cut off: what others know of it, and it of them, may have changed without a word.
    fn wake(&mut self, millis: u64) {
        tracing::info!(millis, "back after standing still");
        self.fx.notify(Event::Woke(millis));
        self.connections.hurry(&self.fx);
        self.reaching.renew(&mut self.fx);
        self.doubt();
        // Whatever else has happened, the parts beside the chain have something to do now.
        self.rest_due = self.fx.now.mono;
    }

    /// Asks everybody where they are. Who says nothing is not there any more.
    fn doubt(&mut self) {
        if let Some(chain) = &mut self.chain {
            self.waking.doubt(self.connections.direct(), OutboundId(self.fx.id()));
            chain.ask_statuses(&mut self.fx);
        }
    }

    /// What the transaction relay did since the start; nothing without a chain.
    #[must_use]
    pub fn relay_counts(&self) -> Option<RelayCounts> {
        self.chain.as_ref().map(Chain::relay_counts)
    }

    /// How much the node holds of what strangers bring, and how much it may.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        self.chain.iter().flat_map(Chain::held)
    }

    /// What follows for the chain from whatever happened.
    fn settle_chain(&mut self) {
        if let Some(chain) = &mut self.chain {
            match self.fx.storage_failed.clone() {
                Some(reason) => chain.break_promises(&mut self.fx, &reason),
                None => chain.keep_promises(&mut self.fx),
            }
            chain.tick(&mut self.fx);
            // A store that is durable at once has kept what the tick promised.
            chain.keep_promises(&mut self.fx);
        }
    }

    /// What follows for all other parts.
    fn settle_rest(&mut self) {
        self.connections.answer_durable(&mut self.fx);
        self.connections.book(&mut self.fx);
        self.finding.tick(&mut self.fx, &mut self.connections);
        for peer in self.finding.take_widened() {
            if let Some(chain) = &mut self.chain {
                chain.peer_widened(&mut self.fx, peer);
            }
            self.fx.notify(Event::Peers);
        }
        self.rendezvous.tick(&mut self.fx, &self.finding, &self.connections);
        self.seeds.tick(&mut self.fx);
        self.lists.tick(&mut self.fx);
        self.dht.tick(&mut self.fx);
        let parts = (&mut self.dht, &mut self.offers, &mut self.seeking);
        self.contents.tick(&mut self.fx, parts);
        let parts = (&mut self.dht, &mut self.offers, &mut self.seeking);
        self.services.tick(&mut self.fx, parts, self.chain.as_ref(), &self.rooms);
        self.offers.tick(&mut self.fx, &mut self.dht);
        self.seeking.tick(&mut self.fx, &mut self.dht);
        for peer in self.reaching.tick(&mut self.fx, &mut self.connections) {
            self.stays_relayed(&peer);
        }
        self.connections.tick(&mut self.fx);
        self.rest_due = self.look_ahead();
    }

    /// A peer is reached through a relay and not otherwise, which is of little use: unless a person named it, it is not come back
    /// to when the relay ends the circuit.
    fn stays_relayed(&mut self, peer: &PeerId) {
        self.connections.forget(peer);
        self.finding.stays_relayed(&self.fx, peer);
    }

    fn arrived(&mut self, peer: PeerId, for_blocks: bool) {
        if let Some(chain) = &mut self.chain {
            match for_blocks {
                true => chain.peer_arrived_for_blocks(&mut self.fx, peer),
                false => chain.peer_arrived(&mut self.fx, peer),
            }
        }
        self.rooms.peer_arrived(&mut self.fx, peer);
        for key in self.seeking.arrived(&peer) {
            self.contents.provider(&key, peer);
        }
        self.contents.peer_arrived(peer);
    }

    /// The distributed hash table has told something that a part of the node wanted to know.
    fn told(&mut self, told: Told) {
        let (fx, connections) = (&mut self.fx, &mut self.connections);
        match told {
            Told::Offered(key, heard) => self.offers.said(fx, &key, heard),
            Told::Providers(key, peers) => {
                for peer in self.seeking.named(fx, &mut self.dht, connections, &key, peers) {
                    self.contents.provider(&key, peer);
                }
            }
            Told::Addresses(peer, mut addresses) => {
                // The table does not know where those are who only ask it, as tabs do; their relay's other guests may.
                addresses.extend(self.finding.addresses(&peer));
                self.seeking.located(fx, connections, peer, addresses);
            }
        }
    }

    fn identified(&mut self, peer: PeerId, agent: String, protocols: &[String], addresses: &[Multiaddr]) {
        let ours = self.chain.as_ref().map(|chain| chain.id().short());
        self.connections.identified(&mut self.fx, &peer, agent, protocols, ours.as_deref());
        self.reaching.identified(&self.fx, &self.connections, peer, protocols);
        if self.finding.is_for_blocks(&peer) {
            // It is told nothing of who and where we are, and others are told nothing of it.
            return;
        }
        let dialled = self.connections.direct_link(&peer).is_some_and(|(_, outbound)| outbound);
        self.rendezvous.identified(&mut self.fx, peer, protocols, dialled);
        let serves = self.chain.as_ref().is_some_and(|chain| protocols.contains(&dht_protocol(&chain.id())));
        if let Some((at, outbound)) = self.connections.direct_link(&peer).filter(|_| serves) {
            self.dht.met(&mut self.fx, peer, &at.clone(), outbound, addresses);
        }
    }

    fn gossip(&mut self, message: GossipMessage) {
        let traffic = match &message.topic {
            Topic::Block => Traffic::Blocks,
            Topic::Vote => Traffic::Votes,
            Topic::Evidence => Traffic::Evidence,
            Topic::Chat(_) => Traffic::Chat,
        };
        // Gossipsub passes on the first copy of a message and no other, whoever brought it. So a vote or evidence that may matter
        // is looked at although its bringer is past the quota, who could keep it from us for ever else.
        let matters = |chain: &Chain| chain.may_matter(&message);
        if !self.fx.may(message.from, traffic, message.data.len())
            && !self.chain.as_ref().is_some_and(matters)
        {
            self.fx.judge(message.id, Verdict::Ignore);
            return;
        }
        match (&message.topic, &mut self.chain) {
            (Topic::Block, Some(chain)) => chain.gossiped(&mut self.fx, message),
            (Topic::Vote, Some(chain)) => chain.vote_came(&mut self.fx, message),
            (Topic::Evidence, Some(chain)) => chain.evidence_came(&mut self.fx, message),
            (Topic::Block | Topic::Vote | Topic::Evidence, None) => {
                self.fx.judge(message.id, Verdict::Ignore)
            }
            (Topic::Chat(_), _) => self.rooms.heard(&mut self.fx, message),
        }
    }

    fn request(&mut self, id: InboundId, peer: PeerId, protocol: Protocol, body: &[u8]) {
        match (protocol, &mut self.chain) {
            (Protocol::Sync, Some(chain)) => chain.sync_asked(&mut self.fx, id, peer, body),
            (Protocol::Archive, Some(chain)) => chain.bodies_asked(&mut self.fx, id, peer, body),
            (Protocol::Transactions, Some(chain)) => {
                chain.transactions_asked(&mut self.fx, id, peer, body);
            }
            (Protocol::Chat, _) => self.rooms.asked(&mut self.fx, id, peer, body),
            (Protocol::Peers, _) => self.finding.asked(&mut self.fx, &self.connections, id, peer, body),
            (Protocol::Content, _) => self.contents.asked(&mut self.fx, id, peer, body),
            (Protocol::Rendezvous, _) => {
                self.rendezvous.asked(&mut self.fx, &self.connections, id, peer, body);
            }
            (_, None) => self.fx.push(Output::Refuse(id)),
        }
    }

    fn response(&mut self, id: OutboundId, outcome: Result<Vec<u8>, RequestFailure>) {
        let Some(Asked { peer, protocol, ask }) = self.fx.asked.remove(&id) else { return };
        tracing::trace!(%peer, ?protocol, failed = outcome.is_err(), "a request is over");
        if self.waking.answered(&peer, id, outcome.as_ref().err().copied()) {
            tracing::info!(%peer, "a peer that was here before is silent");
            self.fx.refuse("silent-after-waking");
            self.fx.push(Output::Disconnect(peer));
        }
        let fx = &mut self.fx;
        match (&ask, &mut self.chain) {
            (Ask::Status | Ask::Headers(_) | Ask::Claim | Ask::Contradiction, Some(chain)) => {
                chain.sync_answered(fx, peer, &ask, outcome)
            }
            (Ask::Lookup(lookup), Some(chain)) => chain.looked_up(fx, peer, (**lookup).clone(), outcome),
            (Ask::Missing(block), Some(chain)) => chain.missing_answered(fx, peer, *block, outcome),
            (Ask::Backfill(before), Some(chain)) => chain.backfill_answered(fx, peer, before, outcome),
            (Ask::Bodies(keys), Some(chain)) => chain.bodies_answered(fx, peer, keys, outcome),
            (Ask::Transactions(id), Some(chain)) => chain.transactions_answered(fx, peer, *id, outcome),
            (Ask::Light(ask), Some(chain)) => chain.light_answered(fx, id, peer, ask.clone(), outcome),
            (Ask::History(room), _) => self.rooms.answered(fx, peer, room, outcome),
            (Ask::Peers, _) => self.finding.answered(fx, &self.connections, peer, outcome),
            (Ask::Register | Ask::Discover, _) => {
                let (finding, connections) = (&mut self.finding, &self.connections);
                self.rendezvous.answered(fx, finding, connections, (peer, &ask), outcome);
            }
            (Ask::Content(content, part), _) => self.contents.answered(fx, peer, (*content, *part), outcome),
            (_, None) => {}
        }
    }
}

/// The peer at the end of an address, if there is one.
fn last_peer(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(multiaddr::Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The name of Kademlia on the chain with this genesis hash.
#[must_use]
pub(crate) fn dht_protocol(genesis: &Hash) -> String {
    format!("/weft/{}/kad/1", genesis.short())
}

/// The disk takes no more writes: nothing is promised any more, and the person is told.
fn storage_failed(fx: &mut Effects, reason: String) {
    fx.raise(format!(
        "storage failed, so this peer neither proposes nor accepts anything any more: {reason}; mend it and restart"
    ));
    fx.storage_failed.get_or_insert(reason);
}
