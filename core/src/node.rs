//! The one state machine that owns all of a peer.

mod chain;
mod commands;
mod config;
mod connections;
mod content;
mod dht;
mod effects;
mod finding;
mod inputs;
mod io;
mod jobs;
mod lists;
pub mod metrics;
mod offers;
mod pruning;
mod reaching;
pub mod rendezvous;
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
mod ways;
mod without;
mod work;

use chacha20::ChaCha8Rng;
use libp2p::PeerId;
use rand_core::SeedableRng;

pub use chain::{BlockArrival, BlockCounts};
pub use config::{Config, StartError};
pub use content::{FileState, FileView};
pub use dht::{DhtAnswer, DhtFailure, DhtId, DhtQuery, DhtTarget};
pub use finding::Discovery;
pub use io::*;
pub use lists::NodeLists;
pub use pruning::{ParsePruneError, Prune};
pub use reaching::UpgradeCounts;
pub use view::*;
pub use ways::{ParseWayError, Way};
pub use without::Without;
pub use work::*;

use self::{
    chain::Chain,
    connections::Connections,
    content::Contents,
    dht::{Dht, Told},
    effects::Effects,
    finding::Finding,
    inputs::{last_peer, storage_failed},
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
    gossip::{RelayCounts, Topic},
    peers::{Uploads, is_name},
    primitives::{Hash, Held, Mono, Now},
    store::Store,
};

/// Later than anything.
const NEVER: Mono = Mono(u64::MAX);

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
        let room = (config.max_inbound, config.discovery.guards.eviction);
        let mut connections = Connections::new((config.local, config.role), bootstrap, room, group_key, &fx);
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
        self.settle_chain(true);
        if self.rest_due <= now.mono || self.fx.has_judged() {
            self.settle_rest();
        }
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
            chain.hurry();
        }
    }

    /// What the transaction relay did since the start; nothing without a chain.
    #[must_use]
    pub fn relay_counts(&self) -> Option<RelayCounts> {
        self.chain.as_ref().map(Chain::relay_counts)
    }

    /// Whom the node thought ill of when it last did something, and how ill: points below 0.
    pub fn blamed(&self) -> impl Iterator<Item = (PeerId, i32)> + '_ {
        self.connections.blamed(self.fx.now.mono)
    }

    /// How much the node holds of what strangers bring, and how much it may.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        let finding = self.finding.held().chain(self.rendezvous.held()).chain([self.seeds.held()]);
        let content = self.contents.held().chain(self.seeking.held()).chain([self.dht.held()]);
        let reaching = self.connections.held().chain(self.reaching.held());
        let rest = self.rooms.held().chain(self.fx.held());
        let chain = self.chain.iter().flat_map(Chain::held);
        finding.chain(content).chain(reaching).chain(rest).chain(chain)
    }

    /// What follows for the chain from whatever happened.
    fn settle_chain(&mut self, transactions_only: bool) {
        if let Some(chain) = &mut self.chain {
            chain.settle(&mut self.fx, transactions_only);
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
}

/// The name of Kademlia on the chain with this genesis hash.
#[must_use]
pub(crate) fn dht_protocol(genesis: &Hash) -> String {
    format!("/weft/{}/kad/1", genesis.short())
}
