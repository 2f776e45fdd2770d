//! A hundred real tables in one process, half of which leave and are replaced: whether what was provided before is still found, by how many
//! questions and over how many hops; and the same when a record is told to one peer in place of the twenty nearest to its key.
//!
//! Run with `--nocapture` it prints what docs/BENCHMARKS.md has.

use std::{cell::RefCell, collections::BTreeMap, num::NonZeroUsize, rc::Rc};

use chacha20::ChaCha8Rng;
use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
    executor::{LocalPool, LocalSpawner},
    future::{Either, join_all, select},
    task::LocalSpawnExt,
};
use libp2p::{
    Swarm, Transport,
    core::{ConnectedPoint, transport::MemoryTransport, upgrade::Version},
    identity::Keypair,
    kad::QueryStats,
    multiaddr::Protocol,
    noise,
    swarm::{self, SwarmEvent},
    yamux,
};
use rand_core::{Rng, SeedableRng};

use super::*;

const NODES: usize = 100;
/// So many of them provide a key each, and stay.
const PROVIDERS: usize = 30;
/// Lookups after the churn, each of another key than the one before.
const LOOKUPS: usize = 60;
/// Where a node that comes begins.
const BEGINS: usize = 3;

type Command = Box<dyn FnOnce(&mut Kademlia)>;

/// Lookups under way: their names, what they have found, and who waits.
type Waiting = Rc<RefCell<Vec<(QueryId, BTreeSet<PeerId>, oneshot::Sender<Ended>)>>>;

/// A lookup that ended: what it found, and what it took.
struct Ended {
    providers: BTreeSet<PeerId>,
    stats: QueryStats,
}

struct Node {
    id: PeerId,
    address: Multiaddr,
    /// Dropped, the node is gone.
    commands: mpsc::UnboundedSender<Command>,
    waiting: Waiting,
}

/// Where everybody listens: what `identify` tells, which is not part of this.
type Places = Rc<RefCell<BTreeMap<PeerId, Multiaddr>>>;

fn behaviour(local: PeerId, replication: Option<usize>) -> Kademlia {
    let mut config = config(&Hash([7; 32]));
    if let Some(count) = replication.and_then(NonZeroUsize::new) {
        config.set_replication_factor(count);
    }
    let mut behaviour = kad::Behaviour::with_config(local, memory_store(local), config);
    behaviour.set_mode(Some(Mode::Server));
    DirectOnly::new(Role::Native, Toggle::from(Some(behaviour)), ())
}

impl Node {
    /// Starts one that tells so many of what it provides.
    fn start(pool: &LocalSpawner, places: &Places, begin: &[Multiaddr], replication: Option<usize>) -> Self {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(7_000_000);
        let key = Keypair::generate_ed25519();
        let id = key.public().to_peer_id();
        let address: Multiaddr =
            Protocol::Memory(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)).into();
        places.borrow_mut().insert(id, address.clone());
        let transport = MemoryTransport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let config = swarm::Config::without_executor()
            .with_idle_connection_timeout(std::time::Duration::from_secs(600));
        let mut swarm = Swarm::new(transport, behaviour(id, replication), id, config);
        swarm.listen_on(address.clone()).unwrap();
        for place in begin {
            swarm.dial(place.clone()).unwrap();
        }
        let (commands, heard) = mpsc::unbounded();
        let node = Self { id, address, commands, waiting: Rc::default() };
        pool.spawn_local(run(swarm, heard, node.waiting.clone(), places.clone())).unwrap();
        node
    }

    async fn ended(
        &self,
        begin: impl FnOnce(&mut kad::Behaviour<MemoryStore>) -> QueryId + 'static,
    ) -> Ended {
        let (done, ended) = oneshot::channel();
        let waiting = self.waiting.clone();
        let command = move |kademlia: &mut Kademlia| {
            let id = begin(kademlia.as_mut().unwrap());
            waiting.borrow_mut().push((id, BTreeSet::new(), done));
        };
        assert!(self.commands.unbounded_send(Box::new(command)).is_ok());
        ended.await.unwrap()
    }

    /// Whom it has in its table.
    async fn table(&self) -> Vec<PeerId> {
        let (done, told) = oneshot::channel();
        let command = move |kademlia: &mut Kademlia| {
            let _ = done.send(everybody(kademlia).into_iter().map(|(peer, _)| peer).collect());
        };
        assert!(self.commands.unbounded_send(Box::new(command)).is_ok());
        told.await.unwrap()
    }
}

async fn run(
    mut swarm: Swarm<Kademlia>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    waiting: Waiting,
    places: Places,
) {
    let mut strangers = Strangers::default();
    loop {
        let event = match select(swarm.next(), commands.next()).await {
            Either::Left((event, _)) => event.expect("a swarm does not end"),
            Either::Right((Some(command), _)) => {
                command(swarm.behaviour_mut());
                continue;
            }
            Either::Right((None, _)) => return,
        };
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id, endpoint: ConnectedPoint::Listener { .. }, ..
            } => {
                let place = places.borrow().get(&peer_id).cloned();
                if let (Some(kademlia), Some(place)) = (swarm.behaviour_mut().as_mut(), place) {
                    kademlia.add_address(&peer_id, place);
                }
            }
            SwarmEvent::Behaviour(kad::Event::InboundRequest { request }) => {
                handled(swarm.behaviour_mut(), &mut strangers, request);
            }
            SwarmEvent::Behaviour(kad::Event::OutboundQueryProgressed { id, result, stats, step }) => {
                let mut waiting = waiting.borrow_mut();
                let Some(at) = waiting.iter().position(|(name, ..)| *name == id) else { continue };
                if let QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })) =
                    result
                {
                    waiting[at].1.extend(providers);
                }
                if step.last {
                    let (_, providers, done) = waiting.swap_remove(at);
                    let _ = done.send(Ended { providers, stats });
                }
            }
            _ => {}
        }
    }
}

/// What came of it.
#[derive(Debug)]
struct Outcome {
    found: usize,
    /// Questions of a lookup on average, and how many of them had no answer.
    questions: f64,
    unanswered: f64,
    /// Messages to provide a key, on average.
    told: f64,
    /// Tables from that of the asker to that of whoever is nearest to the key: on average, and at most.
    hops: (f64, usize),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { found, questions, unanswered, told, hops: (mean, most) } = self;
        write!(
            f,
            "{found} of {LOOKUPS} found; a lookup asked {questions:.1}, of whom {unanswered:.1} did not answer; \
             providing told {told:.1}; {mean:.1} hops, at most {most}"
        )
    }
}

fn distance(peer: &PeerId, key: &RecordKey) -> kad::KBucketDistance {
    kad::KBucketKey::from(*peer).distance(&kad::KBucketKey::new(key.to_vec()))
}

/// How many tables lead from a node to whoever is nearest to a key.
fn hops(tables: &BTreeMap<PeerId, Vec<PeerId>>, from: PeerId, key: &RecordKey) -> usize {
    let (mut at, mut hops) = (from, 0);
    loop {
        let alive = tables[&at].iter().filter(|peer| tables.contains_key(peer));
        match alive.min_by_key(|peer| distance(peer, key)) {
            Some(next) if distance(next, key) < distance(&at, key) => (at, hops) = (*next, hops + 1),
            _ => return hops,
        }
    }
}

/// Nodes provide, half of the others leave and as many come, and then somebody looks for each.
fn outcome(replication: Option<usize>, seed: u8) -> Outcome {
    let mut pool = LocalPool::new();
    let spawner = pool.spawner();
    let places = Places::default();
    let dice = RefCell::new(ChaCha8Rng::from_seed([seed; 32]));
    let pick = |of: usize| dice.borrow_mut().next_u64() as usize % of;
    pool.run_until(async {
        let mut nodes: Vec<Node> = Vec::new();
        let come = async |nodes: &mut Vec<Node>, replication| {
            let begin: Vec<_> = match nodes.len() {
                0 => Vec::new(),
                count => (0..BEGINS).map(|_| nodes[pick(count)].address.clone()).collect(),
            };
            let node = Node::start(&spawner, &places, &begin, replication);
            // Until it is connected it has nobody to ask.
            while !begin.is_empty() && node.table().await.is_empty() {
                futures_timer::Delay::new(std::time::Duration::from_millis(1)).await;
            }
            if !begin.is_empty() {
                node.ended(|kademlia| kademlia.bootstrap().unwrap()).await;
            }
            nodes.push(node);
        };
        for _ in 0..NODES {
            let replication = replication.filter(|_| nodes.len() < PROVIDERS);
            come(&mut nodes, replication).await;
        }
        // The first know few of those who came later.
        join_all(nodes.iter().map(|node| node.ended(|kademlia| kademlia.bootstrap().unwrap()))).await;
        let keys: Vec<_> = (0..PROVIDERS).map(|index| record_key(&Hash([index as u8 + 1; 32]))).collect();
        let mut told = 0;
        for (node, key) in nodes.iter().zip(keys.clone()) {
            told +=
                node.ended(move |kademlia| kademlia.start_providing(key).unwrap()).await.stats.num_requests();
        }
        for _ in 0..NODES / 2 {
            let gone = PROVIDERS + pick(nodes.len() - PROVIDERS);
            nodes.remove(gone);
            if nodes.len() == PROVIDERS {
                break;
            }
        }
        while nodes.len() < NODES {
            come(&mut nodes, None).await;
        }
        let mut tables = BTreeMap::new();
        for node in &nodes {
            tables.insert(node.id, node.table().await);
        }
        let (mut found, mut questions, mut unanswered) = (0, 0, 0);
        let (mut all, mut most) = (0, 0);
        for index in 0..LOOKUPS {
            let (at, asker) = (index % PROVIDERS, &nodes[PROVIDERS + index % (NODES - PROVIDERS)]);
            let key = keys[at].clone();
            let way = hops(&tables, asker.id, &key);
            (all, most) = (all + way, most.max(way));
            let ended = asker.ended(move |kademlia| kademlia.get_providers(key)).await;
            found += usize::from(ended.providers.contains(&nodes[at].id));
            questions += ended.stats.num_requests();
            unanswered += ended.stats.num_failures();
        }
        let lookups = LOOKUPS as f64;
        Outcome {
            found,
            questions: f64::from(questions) / lookups,
            unanswered: f64::from(unanswered) / lookups,
            told: f64::from(told) / PROVIDERS as f64,
            hops: (all as f64 / lookups, most),
        }
    })
}

#[test]
fn what_is_told_to_the_twenty_nearest_outlives_half_of_all_and_what_one_knows_does_not() {
    let (twenty, one) = (outcome(None, 1), outcome(Some(1), 1));
    println!("told to the twenty nearest: {twenty}");
    println!("told to one: {one}");
    assert!(twenty.found * 100 >= LOOKUPS * 95, "{twenty:?}");
    assert!(one.found * 100 <= LOOKUPS * 80, "{one:?}");
    assert!(twenty.hops.1 <= 7, "more tables than the number of nodes has bits: {twenty:?}");
}
