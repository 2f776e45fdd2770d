//! Many real tables in one process, of which a quarter leaves and is replaced, three times: whether what was provided before is still
//! found, by how many questions and over how many hops; and the same when a record is told to one peer in place of the twenty nearest to
//! its key. Those who provide only ask, as most tabs do, so that what is told of them is found with those who serve or not at all.
//!
//! They are thirty, or a hundred where `WEFT_FULL` is set: with `--nocapture` that prints what docs/BENCHMARKS.md has.

use std::{cell::RefCell, collections::BTreeMap, fmt, num::NonZeroUsize, rc::Rc, time::Duration};

use chacha20::ChaCha8Rng;
use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
    executor::{LocalPool, LocalSpawner},
    future::{Either, join_all, select},
    task::LocalSpawnExt,
};
use futures_timer::Delay;
use libp2p::{
    Swarm, Transport,
    core::{transport::MemoryTransport, upgrade::Version},
    identity::Keypair,
    kad::QueryStats,
    multiaddr::Protocol,
    noise,
    swarm::{self, SwarmEvent},
    yamux,
};
use rand_core::{Rng, SeedableRng};

use super::*;

/// Those who only ask; each provides a key, and none of them leaves.
const PROVIDERS: usize = 40;
/// In a round one of so many servers leaves, of those who were there from the beginning, and as many come.
const LEAVING: usize = 4;
const ROUNDS: usize = 3;
/// With how many servers a node that comes begins.
const BEGINS: usize = 3;
/// A dial that has not led to a connection by then never does.
const DIAL: Duration = Duration::from_secs(10);
/// How often a swarm is polled to which nothing happens: Kademlia looks at its deadlines only then.
const TICK: Duration = Duration::from_secs(1);

/// Those who serve the table, at any time.
fn servers() -> usize {
    if std::env::var_os("WEFT_FULL").is_some() { 100 } else { 30 }
}

type Command = Box<dyn FnOnce(&mut Kademlia)>;

/// Lookups under way: their names, what they have found, and who waits.
type Waiting = Rc<RefCell<Vec<(QueryId, BTreeSet<PeerId>, oneshot::Sender<Ended>)>>>;

/// A lookup that ended: what it found, and what it took.
struct Ended {
    providers: BTreeSet<PeerId>,
    stats: QueryStats,
}

/// Where those who serve listen: what `identify` tells, which is not part of this.
type Places = Rc<RefCell<BTreeMap<PeerId, Multiaddr>>>;

struct Node {
    id: PeerId,
    /// Dropped, the node is gone.
    commands: mpsc::UnboundedSender<Command>,
    waiting: Waiting,
}

impl Node {
    async fn ended(
        &self,
        begin: impl FnOnce(&mut kad::Behaviour<MemoryStore>) -> QueryId + 'static,
    ) -> Ended {
        let (done, ended) = oneshot::channel();
        let waiting = self.waiting.clone();
        self.command(move |kademlia| {
            let id = begin(kademlia.as_mut().unwrap());
            waiting.borrow_mut().push((id, BTreeSet::new(), done));
        });
        ended.await.unwrap()
    }

    async fn refresh(&self) {
        self.ended(|kademlia| kademlia.bootstrap().unwrap()).await;
    }

    /// Whom it has in its table.
    async fn table(&self) -> Vec<PeerId> {
        let (done, told) = oneshot::channel();
        self.command(move |kademlia| {
            let _ = done.send(everybody(kademlia).into_iter().map(|(peer, _)| peer).collect());
        });
        told.await.unwrap()
    }

    fn command(&self, command: impl FnOnce(&mut Kademlia) + 'static) {
        assert!(self.commands.unbounded_send(Box::new(command)).is_ok());
    }
}

async fn run(
    mut swarm: Swarm<Kademlia>,
    mut commands: mpsc::UnboundedReceiver<Command>,
    waiting: Waiting,
    places: Places,
    connected: oneshot::Sender<()>,
) {
    let mut connected = Some(connected);
    let mut strangers = Strangers::default();
    let mut tick = Delay::new(TICK);
    loop {
        let event = match select(swarm.next(), select(commands.next(), &mut tick)).await {
            Either::Left((event, _)) => event.expect("a swarm does not end"),
            Either::Right((Either::Left((Some(command), _)), _)) => {
                command(swarm.behaviour_mut());
                continue;
            }
            Either::Right((Either::Left((None, _)), _)) => break,
            Either::Right((Either::Right(_), _)) => {
                tick.reset(TICK);
                continue;
            }
        };
        match event {
            // Both sides: who comes would else be in tables and have nobody in its own until somebody asks it something.
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                let place = places.borrow().get(&peer_id).cloned();
                if let (Some(kademlia), Some(place)) = (swarm.behaviour_mut().as_mut(), place) {
                    kademlia.add_address(&peer_id, place);
                    let _ = connected.take().map(|connected| connected.send(()));
                }
            }
            SwarmEvent::Behaviour(kad::Event::InboundRequest { request }) => {
                handled(swarm.behaviour_mut(), &mut strangers, request, Mono(0));
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
    places.borrow_mut().remove(swarm.local_peer_id());
}

/// All nodes of a run.
struct World {
    pool: LocalSpawner,
    places: Places,
    dice: ChaCha8Rng,
    /// To how many a record is told; `None` for the twenty that are the library's default.
    replication: Option<NonZeroUsize>,
    servers: Vec<Node>,
    providers: Vec<Node>,
}

impl World {
    fn pick(&mut self, of: usize) -> usize {
        self.dice.next_u64() as usize % of
    }

    /// Starts a node; it is connected, and knows its neighbourhood, unless it is the first.
    async fn come(&mut self, mode: Mode) -> Node {
        static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(7_000_000);
        let mut secret = [0; 32];
        self.dice.fill_bytes(&mut secret);
        let key = Keypair::ed25519_from_bytes(secret).unwrap();
        let id = key.public().to_peer_id();
        let transport = MemoryTransport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .timeout(DIAL)
            .boxed();
        let mut config = config(&Hash([7; 32]));
        if let Some(count) = self.replication.filter(|_| mode == Mode::Client) {
            config.set_replication_factor(count);
        }
        let mut behaviour = kad::Behaviour::with_config(id, memory_store(id), config);
        behaviour.set_mode(Some(mode));
        let behaviour = DirectOnly::new(Role::Native, Toggle::from(Some(behaviour)), ());
        // Longer than any run.
        let config =
            swarm::Config::without_executor().with_idle_connection_timeout(Duration::from_secs(3_600));
        let mut swarm = Swarm::new(transport, behaviour, id, config);
        for _ in 0..BEGINS.min(self.servers.len()) {
            let begin = self.pick(self.servers.len());
            let place = self.places.borrow()[&self.servers[begin].id].clone();
            swarm.dial(place).unwrap();
        }
        if mode == Mode::Server {
            let address: Multiaddr =
                Protocol::Memory(NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)).into();
            swarm.listen_on(address.clone()).unwrap();
            self.places.borrow_mut().insert(id, address);
        }
        let (commands, heard) = mpsc::unbounded();
        let (connected, is_connected) = oneshot::channel();
        let node = Node { id, commands, waiting: Rc::default() };
        let running = run(swarm, heard, node.waiting.clone(), self.places.clone(), connected);
        self.pool.spawn_local(running).unwrap();
        if !self.servers.is_empty() {
            is_connected.await.unwrap();
            node.refresh().await;
        }
        node
    }

    /// Everybody's key is looked for by one server each.
    async fn look(&mut self, keys: &[RecordKey]) -> Outcome {
        let mut tables = BTreeMap::new();
        for node in &self.servers {
            tables.insert(node.id, node.table().await);
        }
        let mut outcome = Outcome::default();
        for (at, key) in keys.iter().enumerate() {
            let asker = self.pick(self.servers.len());
            let asker = &self.servers[asker];
            let way = hops(&tables, asker.id, key);
            outcome.hops += way;
            outcome.most_hops = outcome.most_hops.max(way);
            let wanted = key.clone();
            let ended = asker.ended(move |kademlia| kademlia.get_providers(wanted)).await;
            outcome.found += usize::from(ended.providers.contains(&self.providers[at].id));
            outcome.questions += ended.stats.num_requests();
            outcome.unanswered += ended.stats.num_failures();
        }
        outcome
    }
}

/// What came of looking for all keys.
#[derive(Debug, Default)]
struct Outcome {
    found: usize,
    questions: u32,
    unanswered: u32,
    /// Tables from that of the asker to that of whoever is nearest to the key: of all lookups, and of the longest.
    hops: usize,
    most_hops: usize,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |sum: f64| sum / PROVIDERS as f64;
        write!(
            f,
            "{} of {PROVIDERS} found; a lookup asked {:.1}, of whom {:.1} did not answer; {:.2} hops, at most {}",
            self.found,
            each(f64::from(self.questions)),
            each(f64::from(self.unanswered)),
            each(self.hops as f64),
            self.most_hops
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

/// What is found before anybody leaves and after each round. Prints it, and how many messages it took to provide.
fn outcomes(replication: Option<NonZeroUsize>) -> Vec<Outcome> {
    let mut pool = LocalPool::new();
    let mut world = World {
        pool: pool.spawner(),
        places: Places::default(),
        dice: ChaCha8Rng::from_seed([5; 32]),
        replication,
        servers: Vec::new(),
        providers: Vec::new(),
    };
    let count = servers();
    pool.run_until(async {
        for _ in 0..count {
            let node = world.come(Mode::Server).await;
            world.servers.push(node);
        }
        // The first know few of those who came later.
        join_all(world.servers.iter().map(Node::refresh)).await;
        for _ in 0..PROVIDERS {
            let node = world.come(Mode::Client).await;
            world.providers.push(node);
        }
        let keys: Vec<_> = (0..PROVIDERS).map(|index| record_key(&Hash([index as u8 + 1; 32]))).collect();
        let mut told = 0;
        for (node, key) in world.providers.iter().zip(keys.clone()) {
            told += node.ended(|kademlia| kademlia.start_providing(key).unwrap()).await.stats.num_requests();
        }
        let (copies, each) = (replication.map_or(20, NonZeroUsize::get), f64::from(told) / PROVIDERS as f64);
        println!("told to the {copies} nearest of {count}, which takes {each:.1} messages:");
        let mut outcomes = Vec::new();
        for round in 0..=ROUNDS {
            if round > 0 {
                let leaving = count / LEAVING;
                for left in 0..leaving {
                    // Of the first, who stand before those who came since.
                    let first = count - (round - 1) * leaving - left;
                    let gone = world.pick(first);
                    world.servers.remove(gone);
                }
                while world.servers.len() < count {
                    let node = world.come(Mode::Server).await;
                    world.servers.push(node);
                }
            }
            let outcome = world.look(&keys).await;
            println!("  {} % replaced: {outcome}", 100 * round / LEAVING);
            outcomes.push(outcome);
        }
        outcomes
    })
}

#[test]
fn what_is_told_to_the_twenty_nearest_outlives_most_of_them_and_what_one_knows_does_not() {
    let (twenty, one) = (outcomes(None), outcomes(Some(NonZeroUsize::MIN)));
    for outcome in &twenty {
        assert!(outcome.found * 100 >= PROVIDERS * 95, "{twenty:?}");
        assert!(outcome.most_hops <= 7, "more tables than the number of servers has bits: {twenty:?}");
    }
    assert!(one[0].found * 100 >= PROVIDERS * 95, "while nobody has left one is enough: {one:?}");
    assert!(one[ROUNDS].found * 3 <= PROVIDERS * 2, "{one:?}");
}
