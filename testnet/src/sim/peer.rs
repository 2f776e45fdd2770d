//! One peer of a world, with the shell's side of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use libp2p::{Multiaddr, PeerId, identity::Keypair, multiaddr::Protocol as Part};
use weft_core::{
    chain::{Checkpoint, Genesis, Transaction},
    gossip::TxMode,
    node::{
        BlockSummary, ChatView, Config, ConnectionId, Discovery, Event, GossipId, InboundId, Input, Node,
        NodeLists, OutboundId, Output, Protocol, Prune, Role, Without,
    },
    peers::AddressRange,
    primitives::{Hash, Now, SecretKey},
    sync::Strategy,
};

use super::{
    access::Access,
    disk::{Disk, Storage},
    event::{Entry, Micros},
    gossip::{Judging, Seen as Remembered, TopicIx},
    gossipsub::{MeshCounts, Neighbour, Router},
    traffic::{ByKind, Traffic},
};

/// A peer of a world, by the order of joining.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerIx(pub usize);

/// Replaces an output of a real node by others before the world carries them out: how a liar is made.
pub type Tamper = Box<dyn FnMut(Now, Output) -> Vec<Output>>;

/// A scripted peer: takes what a node would take, and does whatever it likes.
pub trait Puppet {
    /// Reacts to an input by adding outputs.
    fn handle(&mut self, now: Now, input: Input, outputs: &mut Vec<Output>);
}

impl<F: FnMut(Now, Input, &mut Vec<Output>)> Puppet for F {
    fn handle(&mut self, now: Now, input: Input, outputs: &mut Vec<Output>) {
        self(now, input, outputs);
    }
}

/// What a new peer is.
pub struct NodeOptions {
    /// The chain it follows.
    pub genesis: Option<Genesis>,
    /// It proposes with this key.
    pub validator: Option<SecretKey>,
    /// Whom it connects to.
    pub bootstrap: Vec<PeerIx>,
    /// Where lists of others can be had, as [`World::set_list`](super::World::set_list) says.
    pub lists: NodeLists,
    /// Its kind.
    pub role: Role,
    /// How it joins the chain.
    pub strategy: Strategy,
    /// How much of the past it keeps.
    pub prune: Prune,
    /// The mempool's bound in bytes.
    pub mempool_bytes: usize,
    /// How it passes transactions on.
    pub tx_mode: TxMode,
    /// How it looks for others.
    pub discovery: Discovery,
    /// The most jobs in flight; there are half as many workers.
    pub max_jobs: usize,
    /// What it does without.
    pub without: Without,
    /// The most peers that may be here because they connected.
    pub max_inbound: usize,
    /// How far its clock is off, in milliseconds.
    pub skew_millis: i64,
    /// What it finds on its disk.
    pub storage: Storage,
    /// Makes a liar of it.
    pub tamper: Option<Tamper>,
    /// How it reaches the Internet.
    pub access: Access,
    /// Its shell shows nobody out: it carries out no ban and no disconnection, and tells gossip no score of the ledger's. To see what the
    /// ledger is good for.
    pub lenient: bool,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            genesis: None,
            validator: None,
            bootstrap: Vec::new(),
            lists: NodeLists::default(),
            role: Role::Native,
            strategy: Strategy::Full,
            prune: Prune::Archive,
            mempool_bytes: 8 << 20,
            tx_mode: TxMode::default(),
            discovery: Discovery::OFF,
            without: Without::default(),
            max_inbound: usize::MAX,
            max_jobs: 4,
            skew_millis: 0,
            storage: Storage::default(),
            tamper: None,
            access: Access::default(),
            lenient: false,
        }
    }
}

/// What goes wrong on a peer's own machine, as probabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// A worker dies.
    pub work: f64,
    /// The archive answers with an error.
    pub archive: f64,
}

/// What a peer told its person, and what happened to it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The last block it announced: its head.
    pub head: Option<BlockSummary>,
    /// The number of blocks it announced.
    pub blocks: u64,
    /// The last checkpoint it called final.
    pub finalised: Option<Checkpoint>,
    /// How deep each reorganisation went.
    pub reorganised: Vec<u64>,
    /// Chat messages, in order.
    pub chat: Vec<ChatView>,
    /// The alarms that are on.
    pub alarms: BTreeSet<String>,
    /// Every alarm there ever was.
    pub past_alarms: BTreeSet<String>,
    /// Gossip it rejected, by who passed it on.
    pub rejected: BTreeMap<PeerIx, u64>,
    /// Gossip copies that came again.
    pub duplicates: u64,
    /// Whom it banned.
    pub banned: BTreeSet<PeerIx>,
    /// Messages that the shell refused since they were larger than their protocol allows.
    pub oversized: u64,
    /// The most requests to one peer that were in flight at a time.
    pub most_in_flight: usize,
    /// Jobs that were lost.
    pub lost_jobs: u64,
    /// Archive requests that were answered with an error.
    pub archive_failures: u64,
    /// Requests it sent.
    pub requests: u64,
    /// For how long it stood still, each time.
    pub woke: Vec<u64>,
    /// Bytes of the answers it got.
    pub downloaded: u64,
}

impl Seen {
    pub(super) fn note(&mut self, event: Event) {
        match event {
            Event::Block(summary) => {
                self.blocks += 1;
                self.head = Some(summary);
            }
            Event::Reorganised(depth) => self.reorganised.push(depth),
            Event::Finalised(checkpoint) => self.finalised = Some(checkpoint),
            Event::Chat(message) => self.chat.push(message),
            Event::Alarm(text) => {
                self.past_alarms.insert(text.clone());
                self.alarms.insert(text);
            }
            Event::AlarmOver(text) => {
                self.alarms.remove(&text);
            }
            Event::Woke(millis) => self.woke.push(millis),
            Event::Peers | Event::Mempool | Event::Sync(_) => {}
        }
    }
}

pub(super) enum Actor {
    Node(Box<Node>),
    /// What it does is among the world's scripts.
    Scripted,
    Down,
}

/// A request that waits for this peer's answer.
pub(super) struct Inbound {
    pub(super) from: PeerIx,
    pub(super) life: u32,
    pub(super) id: OutboundId,
    pub(super) protocol: Protocol,
}

/// A neighbour, over one connection or several.
pub(super) struct Link {
    pub(super) connections: BTreeSet<ConnectionId>,
    /// Whether this side dialled first.
    pub(super) outbound: bool,
    /// What one packet takes without jitter.
    pub(super) base: Micros,
    /// Requests to it that have no answer.
    pub(super) asked: usize,
    pub(super) neighbour: Neighbour,
}

pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) config: Config,
    pub(super) chain: Option<Hash>,
    pub(super) country: usize,
    pub(super) skew: i64,
    /// Its outputs are altered, by one of the world's scripts.
    pub(super) is_altered: bool,
    /// It does what a script says, for as long as it is up.
    pub(super) is_puppet: bool,
    pub(super) actor: Actor,
    pub(super) life: u32,
    pub(super) started: Micros,
    pub(super) wake: Option<Micros>,
    /// When it was last woken, and how often since at that very instant.
    pub(super) wakes_now: (Micros, u32),
    pub(super) access: Access,
    pub(super) lenient: bool,
    /// When the uplink has sent what waits in it.
    pub(super) up_free: Micros,
    /// When the downlink has received what waits for it.
    pub(super) down_free: Micros,
    pub(super) traffic: Traffic,
    /// What happens to it once it goes on, while it is paused.
    pub(super) paused: Option<Vec<Entry>>,
    pub(super) links: BTreeMap<PeerIx, Link>,
    pub(super) banned: BTreeSet<PeerIx>,
    pub(super) barred: BTreeSet<AddressRange>,
    pub(super) topics: Vec<TopicIx>,
    pub(super) remembered: Remembered,
    pub(super) router: Router,
    pub(super) mesh: MeshCounts,
    /// Copies of messages that were the first.
    pub(super) firsts: ByKind,
    /// Copies of messages that came again, without what transports add.
    pub(super) repeats: ByKind,
    pub(super) judging: BTreeMap<GossipId, Judging>,
    /// What it chose for its last block, where blocks are announced whole.
    pub(super) built: Vec<Transaction>,
    pub(super) published: u64,
    pub(super) outbound: BTreeMap<OutboundId, (PeerIx, Protocol)>,
    pub(super) inbound: BTreeMap<InboundId, Inbound>,
    pub(super) disk: Disk,
    pub(super) workers: Vec<Micros>,
    pub(super) jobs: usize,
    pub(super) faults: Faults,
    pub(super) seen: Seen,
    /// What it blamed others for in earlier lives, by the names of offences.
    pub(super) blamed: BTreeMap<&'static str, u64>,
}

impl Peer {
    /// One that is down: its id and chain, where it is and how it reaches the Internet, what is on its disk.
    pub(super) fn resting(
        (id, chain): (PeerId, Option<Hash>),
        config: Config,
        (country, access): (usize, Access),
        disk: Disk,
    ) -> Self {
        let workers = vec![0; config.max_jobs.div_ceil(2).max(1)];
        Self {
            id,
            config,
            chain,
            country,
            skew: 0,
            is_altered: false,
            is_puppet: false,
            actor: Actor::Down,
            life: 0,
            started: 0,
            wake: None,
            wakes_now: (0, 0),
            access,
            lenient: false,
            up_free: 0,
            down_free: 0,
            traffic: Traffic::default(),
            paused: None,
            links: BTreeMap::new(),
            banned: BTreeSet::new(),
            barred: BTreeSet::new(),
            topics: Vec::new(),
            remembered: Remembered::default(),
            router: Router::default(),
            mesh: MeshCounts::default(),
            firsts: ByKind::default(),
            repeats: ByKind::default(),
            judging: BTreeMap::new(),
            built: Vec::new(),
            published: 0,
            outbound: BTreeMap::new(),
            inbound: BTreeMap::new(),
            disk,
            workers,
            jobs: 0,
            faults: Faults::default(),
            seen: Seen::default(),
            blamed: BTreeMap::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        !matches!(self.actor, Actor::Down)
    }

    pub(super) fn is_scripted(&self) -> bool {
        matches!(self.actor, Actor::Scripted)
    }

    /// Whether it lets nobody in who connects from there, or dials nobody there.
    pub(super) fn bars(&self, address: &Multiaddr) -> bool {
        self.barred.iter().any(|range| range.covers(address))
    }

    /// Whether it runs the real thing, unaltered, or did while it was up.
    pub(super) fn is_honest(&self) -> bool {
        !self.is_altered && !self.is_puppet
    }

    pub(super) fn is_linked(&self, other: PeerIx) -> bool {
        self.links.contains_key(&other)
    }

    pub(super) fn has_dialled(&self, other: PeerIx) -> bool {
        self.links.get(&other).is_some_and(|link| link.outbound)
    }

    /// Forgets what a process forgets when it ends.
    pub(super) fn end_life(&mut self) {
        self.actor = Actor::Down;
        self.life += 1;
        self.wake = None;
        self.links.clear();
        self.banned.clear();
        self.barred.clear();
        self.topics.clear();
        self.remembered.clear();
        self.router.clear();
        self.up_free = 0;
        self.down_free = 0;
        self.paused = None;
        self.judging.clear();
        self.built.clear();
        self.outbound.clear();
        self.inbound.clear();
        self.workers.fill(0);
        self.jobs = 0;
        self.seen.alarms.clear();
    }
}

/// The id of the peer with this seed.
pub(super) fn peer_id(seed: [u8; 32]) -> PeerId {
    Keypair::ed25519_from_bytes(seed).expect("any 32 bytes are an ed25519 seed").public().to_peer_id()
}

/// Where a peer listens. On an IP address its port tells which peer it is, of some 60,000.
pub(super) fn address(ix: PeerIx, host: Option<Ipv4Addr>, id: PeerId) -> Multiaddr {
    let at = match (host, u16::try_from(ix.0 + 1)) {
        (Some(host), Ok(port)) => Multiaddr::empty().with(Part::Ip4(host)).with(Part::Tcp(port)),
        _ => Multiaddr::empty().with(Part::Memory(ix.0 as u64 + 1)),
    };
    at.with(Part::P2p(id))
}

/// Which peer an address means, and the id it insists on.
pub(super) fn resolve(address: &Multiaddr) -> Option<(PeerIx, Option<PeerId>)> {
    let mut parts = address.iter();
    let port = match parts.next() {
        Some(Part::Memory(port)) => port,
        Some(Part::Ip4(_)) => match parts.next() {
            Some(Part::Tcp(port)) => u64::from(port),
            _ => return None,
        },
        _ => return None,
    };
    let id = match parts.next() {
        Some(Part::P2p(id)) => Some(id),
        Some(_) => return None,
        None => None,
    };
    Some((PeerIx(usize::try_from(port.checked_sub(1)?).ok()?), id))
}
