//! The simulator's model of gossipsub beside the library: fifty real swarms over TCP on loopback, and fifty modelled peers with
//! the same parameters and the same connections. How large meshes become, how many copies of a message come, and over how
//! many hops the first one, must agree within [`TOLERANCE`].
//!
//! Nothing here waits for a time: the swarms' heartbeats take as long as they take, and a message is published once the one
//! before has reached everybody.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport,
    core::upgrade::Version,
    gossipsub::{
        AllowAllSubscriptionFilter, Behaviour, ConfigBuilder, DataTransform, Event, IdentTopic, Message,
        MessageAcceptance, MessageAuthenticity, MessageId, RawMessage, TopicHash,
    },
    identity::Keypair,
    noise,
    swarm::{self, SwarmEvent},
    tcp, yamux,
};
use tokio::{sync::mpsc, task::JoinSet};
use weft_core::{
    gossip::{MeshParameters, Topic},
    node::{Input, Output, Role, Verdict},
    primitives::{Hasher, Now},
};
use weft_testnet::{
    fixture::TestChain,
    scenario::Scenario,
    sim::{EPOCH, Gossip, Kind, Network, NodeOptions, PeerIx, World, gossipsub::Rules},
};

const PEERS: usize = 50;
/// Messages that are counted.
const MESSAGES: u8 = 60;
/// More that follow, so that of those counted no copy is still on its way when all is over.
const AFTER: u8 = 10;
/// Large enough for IDONTWANT.
const BYTES: usize = 3_000;
/// How far from the library's the model's mean mesh, copies and hops may be.
const TOLERANCE: f64 = 0.25;
/// A run that hangs ends after this long.
const PATIENCE: Duration = Duration::from_secs(600);

fn mesh(flood_publish: bool) -> MeshParameters {
    MeshParameters { flood_publish, ..MeshParameters::for_role(Role::Native) }
}

fn author(message: u8) -> usize {
    usize::from(message) * 7 % PEERS
}

/// Whom each peer dials.
fn dials() -> Vec<Vec<usize>> {
    let text = format!(
        "name = \"fifty\"\nseed = 9\nseconds = 60\nslot-millis = 1000\n\
         [[peers]]\nname = \"all\"\nrole = \"native\"\ncount = {PEERS}\nvalidators = 1\ndials = 8\n"
    );
    Scenario::parse(&text).unwrap().dials()
}

/// Whom each peer is connected to, by number.
fn neighbours() -> Vec<usize> {
    let dials = dials();
    let mut count: Vec<usize> = dials.iter().map(Vec::len).collect();
    dials.iter().flatten().for_each(|to| count[*to] += 1);
    count
}

/// From whom each peer had each message first, by number.
type Tree = BTreeMap<(u8, usize), usize>;

/// What a run came to.
#[derive(Debug)]
struct Found {
    /// Of those who should have heard, who did.
    delivered: f64,
    /// The least, mean and greatest number of peers in a mesh.
    mesh: (usize, f64, usize),
    /// Copies that each received of each message.
    copies: f64,
    /// How many times a message was passed on before it first came.
    hops: f64,
}

impl Found {
    fn new(tree: &Tree, copies: u64, meshes: &[usize]) -> Self {
        let counted = || tree.keys().filter(|(message, _)| *message < MESSAGES);
        let mut hops = 0;
        for &(message, to) in counted() {
            let mut at = to;
            while at != author(message) {
                hops += 1;
                at = tree[&(message, at)];
            }
        }
        let heard = counted().count() as f64;
        Self {
            delivered: heard / (f64::from(MESSAGES) * (PEERS - 1) as f64),
            mesh: (
                meshes.iter().copied().min().unwrap(),
                meshes.iter().sum::<usize>() as f64 / PEERS as f64,
                meshes.iter().copied().max().unwrap(),
            ),
            copies: copies as f64 / heard,
            hops: f64::from(hops) / heard,
        }
    }
}

fn modelled(mesh: &MeshParameters) -> Found {
    let genesis = TestChain::new(EPOCH, 1_000, 1, 0).genesis;
    let mut world = World::new(1);
    // On loopback what takes time is the processor's turn, which comes when it comes.
    world.set_network(Network { flat_micros: Some(300), jitter: 1.0, ..Network::default() });
    world.set_gossip(Gossip::Mesh(Rules::plain(mesh.clone(), None).into()));
    let tree = Rc::new(RefCell::new(Tree::new()));
    let ids: Rc<RefCell<BTreeMap<PeerId, usize>>> = Rc::default();
    let peers: Vec<PeerIx> = (0..PEERS)
        .map(|me| {
            let (tree, ids) = (Rc::clone(&tree), Rc::clone(&ids));
            let options = NodeOptions { genesis: Some(genesis.clone()), ..NodeOptions::default() };
            world.add_puppet(options, move |_: Now, input: Input, outputs: &mut Vec<Output>| {
                if let Input::Gossip(message) = input {
                    tree.borrow_mut().insert((message.data[0], me), ids.borrow()[&message.from]);
                    outputs.push(Output::Judge { id: message.id, verdict: Verdict::Accept });
                }
            })
        })
        .collect();
    for (me, dials) in dials().into_iter().enumerate() {
        ids.borrow_mut().insert(world.peer_id(peers[me]), me);
        world.act(peers[me], Output::Subscribe(Topic::Block));
        for to in dials {
            let address = world.address(peers[to]);
            world.act(peers[me], Output::Dial(address));
        }
    }
    world.run_for(10_000);
    let meshes: Vec<usize> = peers.iter().map(|ix| world.mesh(*ix, &Topic::Block).len()).collect();
    for message in 0..MESSAGES {
        world
            .act(peers[author(message)], Output::Publish { topic: Topic::Block, data: vec![message; BYTES] });
        world.run_for(100);
    }
    let copies = peers.iter().map(|ix| world.traffic(*ix).received[Kind::Block].messages).sum();
    let tree = tree.borrow();
    Found::new(&tree, copies, &meshes)
}

/// Counts every copy of what is counted as it comes, before the library looks whether it is the first.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl DataTransform for Counter {
    fn inbound_transform(&self, raw: RawMessage) -> io::Result<Message> {
        if raw.data.first().is_some_and(|message| *message < MESSAGES) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        let RawMessage { source, data, sequence_number, topic, .. } = raw;
        Ok(Message { source, data, sequence_number, topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

type Real = Behaviour<Counter, AllowAllSubscriptionFilter>;

fn swarm(counter: &Counter, mesh: &MeshParameters) -> Swarm<Real> {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let transport = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let config = ConfigBuilder::default()
        .validate_messages()
        .heartbeat_interval(Duration::from_millis(mesh.heartbeat_millis))
        .mesh_n(mesh.target)
        .mesh_n_low(mesh.low)
        .mesh_n_high(mesh.high)
        .mesh_outbound_min(mesh.outbound)
        .retain_scores(mesh.best)
        .gossip_lazy(mesh.lazy)
        .gossip_factor(mesh.gossip_factor)
        .history_length(mesh.history)
        .history_gossip(mesh.history_told)
        .idontwant_message_size_threshold(mesh.idontwant_bytes)
        .flood_publish(mesh.flood_publish)
        .prune_backoff(Duration::from_millis(mesh.prune_backoff_millis))
        .message_id_fn(|message| MessageId::new(&Hasher::tagged(b"content").add(&message.data).finish().0))
        .build()
        .unwrap();
    let behaviour =
        Real::new_with_transform(MessageAuthenticity::Signed(key), config, counter.clone()).unwrap();
    // A busy machine may take long over a handshake, and nobody else keeps these connections open.
    let idle = swarm::Config::with_tokio_executor().with_idle_connection_timeout(PATIENCE);
    Swarm::new(transport, behaviour, id, idle)
}

/// What a real peer is told.
enum Tell {
    Publish(u8),
    SayMesh,
}

/// What a real peer says.
#[derive(Debug)]
enum Said {
    /// So many neighbours take part.
    Neighbours(usize),
    Heard(u8, PeerId),
    Mesh(usize),
}

async fn peer(
    me: usize,
    mut swarm: Swarm<Real>,
    mut told: mpsc::UnboundedReceiver<Tell>,
    say: mpsc::UnboundedSender<(usize, Said)>,
) {
    let topic = IdentTopic::new("blocks");
    loop {
        let said = tokio::select! {
            told = told.recv() => match told {
                Some(Tell::Publish(message)) => {
                    swarm.behaviour_mut().publish(topic.clone(), vec![message; BYTES]).unwrap();
                    continue;
                }
                Some(Tell::SayMesh) => Said::Mesh(swarm.behaviour().mesh_peers(&topic.hash()).count()),
                None => return,
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(Event::Message { propagation_source, message_id, message }) => {
                    let accept = MessageAcceptance::Accept;
                    swarm.behaviour_mut().report_message_validation_result(&message_id, &propagation_source, accept);
                    Said::Heard(message.data[0], propagation_source)
                }
                SwarmEvent::Behaviour(Event::Subscribed { .. }) => {
                    let taking_part = swarm.behaviour().all_peers().filter(|(_, topics)| !topics.is_empty());
                    Said::Neighbours(taking_part.count())
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{me} cannot dial: {error}"),
                _ => continue,
            },
        };
        let _ = say.send((me, said));
    }
}

/// The swarms' side of the run: what they are told, and what they say.
struct Crowd {
    tell: Vec<mpsc::UnboundedSender<Tell>>,
    said: mpsc::UnboundedReceiver<(usize, Said)>,
    ids: BTreeMap<PeerId, usize>,
    /// Ends the peers with the run.
    _peers: JoinSet<()>,
}

impl Crowd {
    async fn new(counter: &Counter, mesh: &MeshParameters) -> Self {
        let mut swarms: Vec<Swarm<Real>> = (0..PEERS).map(|_| swarm(counter, mesh)).collect();
        let ids = swarms.iter().enumerate().map(|(me, swarm)| (*swarm.local_peer_id(), me)).collect();
        let mut addresses: Vec<Multiaddr> = Vec::new();
        for swarm in &mut swarms {
            swarm.behaviour_mut().subscribe(&IdentTopic::new("blocks")).unwrap();
            swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
            let address = loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    break address;
                }
            };
            addresses.push(address.with_p2p(*swarm.local_peer_id()).unwrap());
        }
        let (say, said) = mpsc::unbounded_channel();
        let (mut tell, mut peers) = (Vec::new(), JoinSet::new());
        for (me, (mut swarm, dials)) in swarms.into_iter().zip(dials()).enumerate() {
            for to in dials {
                swarm.dial(addresses[to].clone()).unwrap();
            }
            let (to, told) = mpsc::unbounded_channel();
            peers.spawn(peer(me, swarm, told, say.clone()));
            tell.push(to);
        }
        Self { tell, said, ids, _peers: peers }
    }

    async fn next(&mut self) -> (usize, Said) {
        let next = tokio::time::timeout(PATIENCE, self.said.recv()).await;
        next.expect("the swarms have fallen silent").expect("no swarm has ended")
    }

    /// Returns once everybody knows of all its neighbours that they take part.
    async fn meet(&mut self) {
        let wanted = neighbours();
        let mut have = vec![0; PEERS];
        while have != wanted {
            if let (me, Said::Neighbours(count)) = self.next().await {
                have[me] = count;
            }
        }
    }

    /// The size of each mesh, once all are within their bounds.
    async fn meshes(&mut self, mesh: &MeshParameters) -> Vec<usize> {
        loop {
            let mut sizes = BTreeMap::new();
            self.tell.iter().for_each(|tell| tell.send(Tell::SayMesh).unwrap());
            while sizes.len() < PEERS {
                if let (me, Said::Mesh(size)) = self.next().await {
                    sizes.insert(me, size);
                }
            }
            if sizes.values().all(|size| (mesh.low..=mesh.high).contains(size)) {
                return sizes.into_values().collect();
            }
            tokio::time::sleep(Duration::from_millis(mesh.heartbeat_millis)).await;
        }
    }

    /// Publishes a message and returns once all have heard it.
    async fn spread(&mut self, message: u8, tree: &mut Tree) {
        self.tell[author(message)].send(Tell::Publish(message)).unwrap();
        for _ in 1..PEERS {
            loop {
                if let (me, Said::Heard(heard, from)) = self.next().await {
                    assert_eq!(heard, message, "{me} heard again of what all have heard");
                    assert_eq!(tree.insert((message, me), self.ids[&from]), None);
                    break;
                }
            }
        }
    }
}

async fn real(mesh: &MeshParameters) -> Found {
    let counter = Counter::default();
    let mut crowd = Crowd::new(&counter, mesh).await;
    crowd.meet().await;
    let meshes = crowd.meshes(mesh).await;
    let mut tree = Tree::new();
    for message in 0..MESSAGES + AFTER {
        crowd.spread(message, &mut tree).await;
    }
    Found::new(&tree, counter.0.load(Ordering::Relaxed), &meshes)
}

fn compare(flood_publish: bool) {
    let mesh = mesh(flood_publish);
    let modelled = modelled(&mesh);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let real = runtime.block_on(real(&mesh));
    println!("model: {modelled:.3?}\nreal:  {real:.3?}");
    assert!(modelled.delivered == 1.0 && real.delivered == 1.0, "{modelled:?} and {real:?}");
    // Up to two more than the bound between two heartbeats: whom a peer dialled itself it may graft beyond it.
    assert!(modelled.mesh.0 >= mesh.low && modelled.mesh.2 <= mesh.high + 2, "{modelled:?}");
    for (what, model, real) in [
        ("peers in a mesh", modelled.mesh.1, real.mesh.1),
        ("copies", modelled.copies, real.copies),
        ("hops", modelled.hops, real.hops),
    ] {
        let apart = (model / real - 1.0).abs();
        assert!(apart < TOLERANCE, "{what}: {model:.2} in the model, {real:.2} in the library");
    }
}

#[test]
fn with_messages_of_ones_own_to_everybody_the_model_is_near_the_library() {
    compare(true);
}

#[test]
fn with_messages_of_ones_own_to_the_mesh_the_model_is_near_the_library() {
    compare(false);
}
