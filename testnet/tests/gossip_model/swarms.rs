//! The library's swarms.

use std::{
    collections::BTreeMap,
    io,
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
        MessageAcceptance, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, RawMessage,
        TopicHash, TopicScoreParams,
    },
    identity::Keypair,
    noise,
    swarm::{self, SwarmEvent},
    tcp, yamux,
};
use tokio::{sync::mpsc, task::JoinSet};
use weft_core::{
    gossip::{MeshParameters, ScoreParameters, Topic},
    primitives::Hasher,
};

use super::{
    AFTER, BYTES, Found, Mesh, PEERS, SPAM, SPAM_COUNT, SPAMMER, Setting, Spammed, Tree, author, dials,
    neighbours,
};

/// A run that hangs ends after this long.
const PATIENCE: Duration = Duration::from_secs(600);

fn run<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run)
}

fn topic() -> IdentTopic {
    IdentTopic::new("blocks")
}

/// Counts every copy of what is counted as it comes, before the library looks whether it is the first.
#[derive(Clone)]
struct Counter {
    copies: Arc<AtomicU64>,
    messages: u8,
}

impl DataTransform for Counter {
    fn inbound_transform(&self, raw: RawMessage) -> io::Result<Message> {
        if raw.data.first().is_some_and(|message| *message < self.messages) {
            self.copies.fetch_add(1, Ordering::Relaxed);
        }
        let RawMessage { source, data, sequence_number, topic, .. } = raw;
        Ok(Message { source, data, sequence_number, topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

type Real = Behaviour<Counter, AllowAllSubscriptionFilter>;

/// What the parameters are to the library.
fn scores(parameters: &ScoreParameters) -> (PeerScoreParams, PeerScoreThresholds) {
    let score = parameters.topic(&Topic::Block);
    let of_topic = TopicScoreParams {
        topic_weight: score.weight,
        time_in_mesh_weight: score.in_mesh_weight,
        time_in_mesh_quantum: Duration::from_millis(score.in_mesh_quantum_millis),
        time_in_mesh_cap: score.in_mesh_cap,
        first_message_deliveries_weight: score.first_weight,
        first_message_deliveries_decay: score.first_decay,
        first_message_deliveries_cap: score.first_cap,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: score.invalid_weight,
        invalid_message_deliveries_decay: score.invalid_decay,
        ..TopicScoreParams::default()
    };
    let scores = PeerScoreParams {
        topics: [(topic().hash(), of_topic)].into(),
        topic_score_cap: parameters.topic_cap,
        app_specific_weight: parameters.application_weight,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: parameters.lapse_weight,
        behaviour_penalty_threshold: parameters.lapses_tolerated,
        behaviour_penalty_decay: parameters.lapse_decay,
        decay_interval: Duration::from_millis(parameters.tick_millis),
        decay_to_zero: parameters.zero,
        retain_score: Duration::from_millis(parameters.retain_millis),
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        gossip_threshold: parameters.gossip_threshold,
        publish_threshold: parameters.publish_threshold,
        graylist_threshold: parameters.graylist_threshold,
        opportunistic_graft_threshold: parameters.opportunity_threshold,
        ..PeerScoreThresholds::default()
    };
    (scores, thresholds)
}

fn swarm(counter: &Counter, setting: &Setting) -> Swarm<Real> {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let transport = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let mesh = &setting.mesh;
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
        .opportunistic_graft_ticks(mesh.opportunity_heartbeats)
        .opportunistic_graft_peers(mesh.opportunity_peers)
        .message_id_fn(|message| MessageId::new(&Hasher::tagged(b"content").add(&message.data).finish().0))
        .build()
        .unwrap();
    let mut behaviour =
        Real::new_with_transform(MessageAuthenticity::Signed(key), config, counter.clone()).unwrap();
    if let Some(parameters) = &setting.scores {
        let (scores, thresholds) = scores(parameters);
        behaviour.with_peer_score(scores, thresholds).unwrap();
    }
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
    Mesh(Vec<(PeerId, f64)>),
}

async fn peer(
    me: usize,
    setting: Setting,
    mut swarm: Swarm<Real>,
    mut told: mpsc::UnboundedReceiver<Tell>,
    say: mpsc::UnboundedSender<(usize, Said)>,
) {
    let topic = topic();
    // What is judged later.
    let mut held = JoinSet::new();
    loop {
        let said = tokio::select! {
            told = told.recv() => match told {
                Some(Tell::Publish(message)) => {
                    swarm.behaviour_mut().publish(topic.clone(), vec![message; BYTES]).unwrap();
                    continue;
                }
                Some(Tell::SayMesh) => {
                    let (gossip, topic) = (swarm.behaviour(), topic.hash());
                    let members = gossip.mesh_peers(&topic);
                    Said::Mesh(members.map(|it| (*it, gossip.peer_score(it).unwrap_or(0.0))).collect())
                }
                None => return,
            },
            Some(due) = held.join_next() => {
                let (id, from): (MessageId, PeerId) = due.unwrap();
                swarm.behaviour_mut().report_message_validation_result(&id, &from, MessageAcceptance::Accept);
                continue;
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(Event::Message { propagation_source: from, message_id: id, message }) => {
                    let first = message.data[0];
                    if first < SPAM && setting.holds {
                        let hold = Duration::from_millis(setting.hold(me, first));
                        held.spawn(async move {
                            tokio::time::sleep(hold).await;
                            (id, from)
                        });
                    } else {
                        let verdict =
                            if first < SPAM { MessageAcceptance::Accept } else { MessageAcceptance::Reject };
                        swarm.behaviour_mut().report_message_validation_result(&id, &from, verdict);
                    }
                    Said::Heard(first, from)
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
    spam: BTreeMap<usize, usize>,
    /// Ends the peers with the run.
    _peers: JoinSet<()>,
}

impl Crowd {
    /// Fifty that all know of all their neighbours that they take part.
    async fn new(counter: &Counter, setting: &Setting) -> Self {
        let mut swarms: Vec<Swarm<Real>> = (0..PEERS).map(|_| swarm(counter, setting)).collect();
        let ids = swarms.iter().enumerate().map(|(me, swarm)| (*swarm.local_peer_id(), me)).collect();
        let mut addresses: Vec<Multiaddr> = Vec::new();
        for swarm in &mut swarms {
            swarm.behaviour_mut().subscribe(&topic()).unwrap();
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
            peers.spawn(peer(me, setting.clone(), swarm, told, say.clone()));
            tell.push(to);
        }
        let mut crowd = Self { tell, said, ids, spam: BTreeMap::new(), _peers: peers };
        crowd.meet().await;
        crowd
    }

    async fn next(&mut self) -> (usize, Said) {
        let next = tokio::time::timeout(PATIENCE, self.said.recv()).await;
        next.expect("the swarms have fallen silent").expect("no swarm has ended")
    }

    async fn meet(&mut self) {
        let wanted: Vec<usize> = neighbours().iter().map(Vec::len).collect();
        let mut have = vec![0; PEERS];
        while have != wanted {
            if let (me, Said::Neighbours(count)) = self.next().await {
                have[me] = count;
            }
        }
    }

    /// All meshes, once this holds of each.
    async fn meshes(&mut self, mesh: &MeshParameters, is_right: impl Fn(&Mesh) -> bool) -> Vec<Mesh> {
        loop {
            let mut meshes = BTreeMap::new();
            self.tell.iter().for_each(|tell| tell.send(Tell::SayMesh).unwrap());
            while meshes.len() < PEERS {
                match self.next().await {
                    (me, Said::Mesh(members)) => {
                        let members = members.into_iter().map(|(id, score)| (self.ids[&id], score));
                        meshes.insert(me, members.collect::<Mesh>());
                    }
                    (me, Said::Heard(heard, _)) if heard >= SPAM => *self.spam.entry(me).or_default() += 1,
                    _ => {}
                }
            }
            if meshes.values().all(&is_right) {
                return meshes.into_values().collect();
            }
            tokio::time::sleep(Duration::from_millis(mesh.heartbeat_millis)).await;
        }
    }

    /// Publishes a message and returns once all others have heard it, but for `without`.
    async fn spread(&mut self, message: u8, without: Option<usize>, tree: &mut Tree) {
        self.tell[author(message)].send(Tell::Publish(message)).unwrap();
        let mut missing = PEERS - 1 - usize::from(without.is_some());
        while missing > 0 {
            match self.next().await {
                (me, Said::Heard(heard, _)) if heard >= SPAM => *self.spam.entry(me).or_default() += 1,
                (me, Said::Heard(heard, from)) => {
                    assert_eq!(tree.insert((heard, me), self.ids[&from]), None, "{me} heard {heard} twice");
                    missing -= usize::from(Some(me) != without);
                }
                _ => {}
            }
        }
    }
}

/// Spreads messages.
pub(super) fn spread(setting: &Setting) -> Found {
    run(async {
        let counter = Counter { copies: Arc::default(), messages: setting.messages };
        let mut crowd = Crowd::new(&counter, setting).await;
        let bounds = setting.mesh.low..=setting.mesh.high;
        let before = crowd.meshes(&setting.mesh, |mesh| bounds.contains(&mesh.len())).await;
        let mut tree = Tree::new();
        for message in 0..setting.messages + AFTER {
            crowd.spread(message, None, &mut tree).await;
        }
        let after = crowd.meshes(&setting.mesh, |_| true).await;
        Found::new(setting, &tree, counter.copies.load(Ordering::Relaxed), &[before, after])
    })
}

/// Has one peer spread spam beside good messages.
pub(super) fn spam(setting: &Setting) -> Spammed {
    run(async {
        let counter = Counter { copies: Arc::default(), messages: setting.messages };
        let mut crowd = Crowd::new(&counter, setting).await;
        let bounds = setting.mesh.low..=setting.mesh.high;
        crowd.meshes(&setting.mesh, |mesh| bounds.contains(&mesh.len())).await;
        let mut tree = Tree::new();
        for message in 0..SPAM_COUNT {
            crowd.tell[SPAMMER].send(Tell::Publish(SPAM + message)).unwrap();
            crowd.spread(message, Some(SPAMMER), &mut tree).await;
        }
        crowd.meshes(&setting.mesh, |mesh| !mesh.contains_key(&SPAMMER)).await;
        for message in SPAM_COUNT..SPAM_COUNT + AFTER {
            crowd.spread(message, Some(SPAMMER), &mut tree).await;
        }
        let after = SPAM_COUNT..SPAM_COUNT + AFTER;
        let told = after.filter(|message| tree.contains_key(&(*message, SPAMMER))).count();
        Spammed { heard: crowd.spam, told }
    })
}
