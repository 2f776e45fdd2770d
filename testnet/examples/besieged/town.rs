//! Honest peers, and the Sybils around them.

use std::{collections::BTreeSet, time::Duration};

use futures::{
    StreamExt,
    future::join_all,
    stream::{self, select_all},
};
use libp2p::{Multiaddr, identity::Keypair};
use weft::peer::{External, Peer, PeerConfig};
use weft_core::{
    node::{BlockRef, BlockSummary, Command, Event, PeerView, Reply, Without},
    primitives::{Hasher, PublicKey},
    swarm::Notice,
};
use weft_testnet::{attacks::Orders, fixture::TestChain, rogue::Sybil};

use crate::{
    Attack, SLOT_MILLIS, VALIDATORS,
    reading::{Company, Deliveries, Window, now},
};

/// How many honest peers one knows when it starts, and how many Sybils.
const KNOWN: usize = 3;
const KNOWN_SYBILS: usize = 8;
/// How often it is looked who has a block that is not its head.
const LOOK: Duration = Duration::from_millis(500);
/// How often it is looked where a peer that starts listens.
const LOOK_AT_START: Duration = Duration::from_millis(5);

/// Honest peers that run among Sybils.
pub(crate) struct Town {
    pub(crate) chain: TestChain,
    /// What the Sybils do.
    pub(crate) orders: Orders,
    /// The validators first.
    honest: Vec<Peer>,
    sybils: Vec<Sybil>,
}

impl Town {
    /// Starts the Sybils, and then honest peers one after the other, most of whose acquaintances are such; then all Sybils come to them all.
    pub(crate) async fn start(attack: &Attack, without: Without) -> Self {
        let chain = TestChain::new(now(), SLOT_MILLIS, VALIDATORS, 0);
        let orders = Orders::new((attack.conduct)(&chain.validators[0].public()));
        let mut sybils = Vec::new();
        for number in 1..=attack.sybils {
            sybils.push(Sybil::start(&chain.genesis, number, orders.clone()).await.unwrap());
        }
        let mut town = Self { chain, orders, honest: Vec::new(), sybils };
        let mut addresses: Vec<Multiaddr> = Vec::new();
        for number in 0..attack.honest {
            let mut config = PeerConfig::new(Keypair::generate_ed25519());
            config.genesis = Some(town.chain.genesis.clone());
            config.validator = town.chain.validators.get(number).cloned();
            config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
            config.external = External::Listening;
            config.log_progress = false;
            config.without = without;
            let acquaintances =
                drawn("honest", number, addresses.len(), KNOWN).map(|at| addresses[at].clone());
            let strangers = drawn("sybils", number, town.sybils.len(), KNOWN_SYBILS);
            let strangers = strangers.map(|at| town.sybils[at].address().clone());
            config.bootstrap = acquaintances.chain(strangers).collect();
            let peer = Peer::start(config).await.unwrap();
            addresses.push(address(&peer).await);
            town.honest.push(peer);
        }
        for sybil in &town.sybils {
            for target in &addresses {
                sybil.besiege(target.clone()).await.unwrap();
            }
        }
        town
    }

    /// Who is censored where somebody is.
    pub(crate) fn censored(&self) -> PublicKey {
        self.chain.validators[0].public()
    }

    /// Whom honest peers are among now.
    pub(crate) async fn company(&self) -> Company {
        let ids = self.ids();
        let (mut members, mut honest, mut sybils) = (0, Vec::new(), Vec::new());
        for peer in &self.honest {
            let Ok(Reply::Metrics(snapshot)) = peer.handle().call(Command::Metrics).await else {
                panic!("a peer does not tell how large its meshes are")
            };
            members += snapshot.mesh["block"];
            let views = neighbours(peer).await;
            let friends = views.iter().filter(|view| ids.contains(&view.peer)).count();
            honest.push(friends);
            sybils.push(views.len() - friends);
        }
        let of_sybils: u64 =
            join_all(self.sybils.iter().map(Sybil::meshes)).await.into_iter().map(Result::unwrap).sum();
        let range = |counts: Vec<usize>| (*counts.iter().min().unwrap(), *counts.iter().max().unwrap());
        Company {
            honest: range(honest),
            sybils: range(sybils),
            members: (members, of_sybils),
            peers: self.honest.len(),
        }
    }

    /// Notes where the blocks of a window come, until it is over.
    pub(crate) async fn watch(&self, window: &Window) -> Deliveries {
        let events = self.honest.iter().enumerate().map(async |(number, peer)| {
            let events = peer.handle().subscribe().await;
            stream::StreamExt::map(events, move |notice| (number, notice)).boxed()
        });
        let mut events = select_all(join_all(events).await);
        let mut deliveries = Deliveries::to(self.honest.len());
        let mut look = tokio::time::interval(LOOK);
        while !window.is_over() {
            tokio::select! {
                Some((number, notice)) = events.next() => match notice {
                    Notice::Event(Event::Block(block)) => {
                        deliveries.came(window, number, &block, self.author(&block));
                    }
                    Notice::Event(_) => {}
                    Notice::Lost(count) => panic!("{count} events are lost"),
                },
                // What lost to another branch is nobody's head.
                _ = look.tick() => for (number, hash) in deliveries.outstanding() {
                    let which = Command::Block(BlockRef::Hash(hash));
                    if let Ok(Reply::Block(block)) = self.honest[number].handle().call(which).await
                        && block.summary.executed_at > 0
                    {
                        deliveries.came(window, number, &block.summary, self.author(&block.summary));
                    }
                },
            }
        }
        deliveries
    }

    /// How many honest peers another one banned, or thinks ill of.
    pub(crate) async fn wronged(&self) -> usize {
        let ids = self.ids();
        let mut wronged = BTreeSet::new();
        for peer in &self.honest {
            let Ok(Reply::Bans(bans)) = peer.handle().call(Command::Bans).await else {
                panic!("a peer does not tell whom it bans")
            };
            wronged.extend(bans.bans.into_iter().map(|ban| ban.whom));
            let disliked = neighbours(peer).await.into_iter().filter(|view| view.score < 0);
            wronged.extend(disliked.map(|view| view.peer));
        }
        wronged.intersection(&ids).count()
    }

    pub(crate) async fn stop(self) {
        drop(self.sybils);
        for peer in self.honest {
            peer.stop().await.unwrap();
        }
    }

    fn ids(&self) -> BTreeSet<String> {
        self.honest.iter().map(|peer| peer.id().to_string()).collect()
    }

    /// The number of the validator that made a block.
    fn author(&self, block: &BlockSummary) -> usize {
        self.chain.validators.iter().position(|key| key.public() == block.proposer).unwrap()
    }
}

async fn neighbours(peer: &Peer) -> Vec<PeerView> {
    let Ok(Reply::Peers(views)) = peer.handle().call(Command::Peers).await else {
        panic!("a peer does not tell who its neighbours are")
    };
    views
}

/// Where a peer listens, once it does.
async fn address(peer: &Peer) -> Multiaddr {
    loop {
        let Ok(Reply::Status(status)) = peer.handle().call(Command::Status).await else {
            panic!("a peer does not tell how it is")
        };
        if let Some(address) = status.addresses.first() {
            return format!("{address}/p2p/{}", peer.id()).parse().unwrap();
        }
        tokio::time::sleep(LOOK_AT_START).await;
    }
}

/// So many numbers below `of`, by a lot that falls the same in each run.
fn drawn(what: &str, whom: usize, of: usize, count: usize) -> impl Iterator<Item = usize> + use<> {
    let lot = |number: &usize| {
        let mut hasher = Hasher::tagged(what.as_bytes());
        hasher.add(&whom.to_le_bytes()).add(&number.to_le_bytes()).finish()
    };
    let mut numbers: Vec<usize> = (0..of).collect();
    numbers.sort_by_key(lot);
    numbers.into_iter().take(count)
}
