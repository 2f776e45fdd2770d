//! The world itself: who is in it, what time it is, and what happens next.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use libp2p::{Multiaddr, PeerId};
use weft_core::{
    node::{CommandError, CommandId, Config, Input, Node, Output, Reply, StartError},
    peers::PeerRecord,
    primitives::{Hash, Mono, Now, SecretKey, Wall},
};

use super::{
    dice::{Dice, derive},
    disk::{Disk, Keep, Library, Storage},
    event::{Entry, Event, Micros, Queue},
    gossip::{Gossip, Names},
    gossipsub::MeshCounts,
    halves::Halves,
    ids::Ids,
    jobs::Shared,
    network::{Network, country},
    peer::{Actor, Faults, NodeOptions, Peer, PeerIx, Puppet, address, peer_id},
    scripts::{Scripted, Scripts},
    table::Table,
    trace::Trace,
    traffic::Traffic,
    watch::Watch,
};
use crate::measure::Measure;

/// When a world begins, in milliseconds since the Unix epoch, unless [`World::set_wall`] says otherwise.
pub const EPOCH: u64 = 1_800_000_000_000;

/// How often a condition is looked at, in milliseconds.
const LOOK_EVERY: u64 = 20;

/// Timeouts a node may have due at one instant before it is taken to be stuck.
const MOST_WAKES_AT_ONCE: u32 = 1_000;

/// Many peers in virtual time. See the [module](super).
pub struct World<S: Scripts = Scripted> {
    pub(super) seed: u64,
    pub(super) now: Micros,
    pub(super) epoch: u64,
    pub(super) queue: Queue,
    pub(super) dice: Dice,
    pub(super) network: Network,
    #[expect(
        clippy::vec_box,
        reason = "those of one half change places with outlines of them, and are large"
    )]
    pub(super) peers: Vec<Box<Peer>>,
    pub(super) scripts: S,
    /// Set where two threads are to run this world, and while they do not.
    pub(super) halves: Option<Box<Halves>>,
    /// While this is one half: how many are honest and up in the other.
    pub(super) up_elsewhere: u64,
    /// Looked up only, so that its order is of no account.
    pub(super) by_id: Arc<HashMap<PeerId, PeerIx>>,
    pub(super) table: Option<Table>,
    pub(super) sides: BTreeMap<PeerIx, usize>,
    pub(super) partition: u64,
    pub(super) shared: Shared,
    pub(super) library: Library,
    pub(super) trace: Trace,
    pub(super) watch: Watch,
    pub(super) measure: Option<Box<Measure>>,
    pub(super) ids: Ids,
    /// Whether what a peer holds and thinks is looked at after every step of it.
    pub(super) checks_steps: bool,
    pub(super) blame_allowed: bool,
    pub(super) conflict_allowed: bool,
    pub(super) connections: u64,
    pub(super) inbound: u64,
    pub(super) gossip: Gossip,
    pub(super) whole_blocks: bool,
    pub(super) refuses_requests: bool,
    pub(super) names: Names,
    pub(super) dns: BTreeMap<String, Vec<String>>,
    pub(super) lists: BTreeMap<String, Vec<u8>>,
    pub(super) judgements: u64,
    pub(super) commands: u64,
    pub(super) replies: BTreeMap<CommandId, Result<Reply, CommandError>>,
}

impl World {
    /// An empty world. The seed decides everything that is left to chance.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            now: 0,
            epoch: EPOCH,
            queue: Queue::default(),
            dice: Dice::new(seed),
            network: Network::default(),
            peers: Vec::new(),
            scripts: Scripted::default(),
            halves: None,
            up_elsewhere: 0,
            by_id: Arc::default(),
            table: None,
            sides: BTreeMap::new(),
            partition: 0,
            shared: Shared::default(),
            library: Library::default(),
            trace: Trace::new(),
            watch: Watch::default(),
            measure: None,
            ids: Ids::default(),
            checks_steps: true,
            blame_allowed: false,
            conflict_allowed: false,
            connections: 0,
            inbound: 0,
            gossip: Gossip::default(),
            whole_blocks: false,
            refuses_requests: false,
            names: Names::default(),
            dns: BTreeMap::new(),
            lists: BTreeMap::new(),
            judgements: 0,
            commands: 0,
            replies: BTreeMap::new(),
        }
    }

    /// Adds a peer and starts it.
    ///
    /// # Panics
    /// When it cannot start.
    pub fn add_node(&mut self, options: NodeOptions) -> PeerIx {
        let ix = self.add_resting(options);
        self.start(ix).unwrap_or_else(|error| panic!("{ix:?} cannot start: {error}"));
        ix
    }

    /// Adds a peer that is down until it is [restarted](Self::restart). Peers to connect to may join after it.
    pub fn add_resting(&mut self, options: NodeOptions) -> PeerIx {
        let bootstrap = options.bootstrap.iter().map(|ix| self.address(*ix)).collect();
        self.join(options, bootstrap, Actor::Down)
    }

    /// Adds a scripted peer, which says by itself whom it dials and what it listens to. The options tell which
    /// chain's protocols it speaks.
    pub fn add_puppet(&mut self, options: NodeOptions, puppet: impl Puppet + 'static) -> PeerIx {
        let ix = self.join(options, Vec::new(), Actor::Scripted);
        self.scripts.puppets.insert(ix, Box::new(puppet));
        self.start_heartbeat(ix);
        ix
    }

    fn join(&mut self, options: NodeOptions, bootstrap: Vec<Multiaddr>, actor: Actor) -> PeerIx {
        let ix = PeerIx(self.peers.len());
        let id = self.id_of(ix);
        let chain = options.genesis.as_ref().map(weft_core::chain::Genesis::hash);
        assert!(self.halves.is_none(), "whoever joins does so before the world is in halves");
        Arc::make_mut(&mut self.by_id).insert(id, ix);
        let is_altered = options.tamper.is_some();
        if let Some(tamper) = options.tamper {
            self.scripts.tampers.insert(ix, tamper);
        }
        let config = Config {
            local: id,
            role: options.role,
            genesis: options.genesis,
            key: Some(SecretKey::from_seed(derive(self.seed, "peer", ix.0 as u64))),
            discovery: options.discovery,
            slots: 0,
            validator: options.validator,
            bootstrap,
            lists: options.lists,
            strategy: options.strategy,
            prune: options.prune,
            mempool_bytes: options.mempool_bytes,
            tx_mode: options.tx_mode,
            max_inbound: options.max_inbound,
            proxies: Vec::new(),
            upload: options.role.upload(),
            max_jobs: options.max_jobs,
            without: options.without,
        };
        let country = options.access.country.unwrap_or_else(|| country(self.seed, ix));
        let peer = Peer::resting((id, chain), config, (country, options.access), Disk::new(options.storage));
        self.peers.push(Box::new(Peer {
            skew: options.skew_millis,
            is_altered,
            is_puppet: matches!(actor, Actor::Scripted),
            actor,
            started: self.now,
            lenient: options.lenient,
            ..peer
        }));
        ix
    }
}

impl<S: Scripts> World<S> {
    /// Sets one peer's clock on the wall so many milliseconds ahead of the others', or behind them.
    pub fn set_skew(&mut self, ix: PeerIx, millis: i64) {
        self.peers[ix.0].skew = millis;
    }

    /// What the clocks on the wall show now, in milliseconds since the Unix epoch. Stepping them is allowed.
    pub fn set_wall(&mut self, wall: u64) {
        self.epoch = wall - self.now / 1000;
    }

    /// How good the links are from now on.
    pub fn set_network(&mut self, network: Network) {
        self.network = network;
    }

    /// What the DNS says from now on when asked for the TXT records of a name.
    pub fn set_dns(&mut self, name: &str, records: Vec<String>) {
        self.dns.insert(name.to_owned(), records);
    }

    /// What is had from now on from this URL when a list of peers is fetched there; nothing when there is none.
    pub fn set_list(&mut self, url: &str, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => self.lists.insert(url.to_owned(), bytes),
            None => self.lists.remove(url),
        };
    }

    /// What goes wrong on a peer's machine from now on.
    pub fn set_faults(&mut self, ix: PeerIx, faults: Faults) {
        self.peers[ix.0].faults = faults;
    }

    /// Lets honest peers blame each other: for runs with faults that look like malice.
    pub fn allow_blame(&mut self) {
        self.blame_allowed = true;
    }

    /// Lets honest peers differ on what is final: for runs in which a third or more of a set equivocates.
    pub fn allow_conflicting_finality(&mut self) {
        self.conflict_allowed = true;
    }

    /// The fingerprint of everything that has happened.
    #[must_use]
    pub fn trace(&self) -> Hash {
        match &self.halves {
            None => self.trace.hash(),
            Some(halves) => halves.trace(&self.trace),
        }
    }

    /// Milliseconds since the world began.
    #[must_use]
    pub fn elapsed(&self) -> u64 {
        self.now / 1000
    }

    fn start(&mut self, ix: PeerIx) -> Result<(), StartError> {
        let peer = &mut self.peers[ix.0];
        peer.started = self.now;
        // Another life, other randomness.
        let seed = derive(self.seed, "node", ((ix.0 as u64) << 32) | u64::from(peer.life));
        let (config, store) = (peer.config.clone(), peer.disk.store());
        let node = Node::new(config, store, seed, self.now_of(ix))?;
        let peer = &mut self.peers[ix.0];
        peer.actor = Actor::Node(Box::new(node));
        let listening = Input::Listening(address(ix, peer.access.host, peer.id));
        self.drain(ix);
        self.tell(ix, self.now, listening);
        self.start_heartbeat(ix);
        Ok(())
    }

    /// Ends a peer at once, as `kill -9` or a power cut does.
    pub fn kill(&mut self, ix: PeerIx) {
        self.keep_blame(ix);
        let links: Vec<_> = std::mem::take(&mut self.peers[ix.0].links).into_iter().collect();
        for (other, link) in links {
            let at = self.now + self.delay(ix, other);
            for connection in link.connections {
                let life = self.peers[other.0].life;
                self.queue.push(at, other, life, Event::Closed { other: ix, connection });
            }
        }
        self.peers[ix.0].end_life();
    }

    /// Stops a peer's process until [`Self::resume`]: what reaches it waits.
    pub fn pause(&mut self, ix: PeerIx) {
        let peer = &mut self.peers[ix.0];
        if peer.is_up() {
            peer.paused.get_or_insert_default();
        }
    }

    /// Lets a paused peer go on: all that waited happens at once, in order.
    pub fn resume(&mut self, ix: PeerIx) {
        for entry in self.peers[ix.0].paused.take().unwrap_or_default() {
            self.queue.push_entry(self.now, entry);
        }
        // The timer that it had may be any of those; it looks anew.
        self.peers[ix.0].wake = None;
        if self.peers[ix.0].is_up() {
            self.drain(ix);
        }
    }

    /// Whether a peer is up and not paused.
    #[must_use]
    pub fn is_running(&self, ix: PeerIx) -> bool {
        self.peers[ix.0].is_up() && self.peers[ix.0].paused.is_none()
    }

    /// What a peer sent and received, in all its lives.
    #[must_use]
    pub fn traffic(&self, ix: PeerIx) -> &Traffic {
        &self.peers[ix.0].traffic
    }

    /// What a peer's part in meshes came to, in all its lives.
    #[must_use]
    pub fn mesh_counts(&self, ix: PeerIx) -> MeshCounts {
        self.peers[ix.0].mesh
    }

    /// Starts a peer again, after ending it if need be, with what its disk kept.
    ///
    /// # Errors
    /// When what is on the disk does not let it start.
    pub fn restart(&mut self, ix: PeerIx, keep: Keep) -> Result<(), StartError> {
        let storage = self.peers[ix.0].disk.after_crash(keep);
        self.restart_with(ix, storage)
    }

    /// Starts a peer again with another disk.
    ///
    /// # Errors
    /// When what is on the disk does not let it start.
    pub fn restart_with(&mut self, ix: PeerIx, storage: Storage) -> Result<(), StartError> {
        if self.peers[ix.0].is_up() {
            self.kill(ix);
        }
        self.peers[ix.0].disk = Disk::new(storage);
        self.start(ix)
    }

    /// A peer's libp2p id.
    #[must_use]
    pub fn peer_id(&self, ix: PeerIx) -> PeerId {
        self.peers[ix.0].id
    }

    /// The id that the peer has or will have.
    fn id_of(&self, ix: PeerIx) -> PeerId {
        peer_id(derive(self.seed, "peer", ix.0 as u64))
    }

    /// Where a peer listens, or will once it joins unless it has an IP address.
    #[must_use]
    pub fn address(&self, ix: PeerIx) -> Multiaddr {
        match self.peers.get(ix.0) {
            Some(peer) => address(ix, peer.access.host, peer.id),
            None => address(ix, None, self.id_of(ix)),
        }
    }

    /// The peer with this id.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn find(&self, id: &str) -> PeerIx {
        let id: PeerId = id.parse().expect("peers are shown by their id");
        *self.by_id.get(&id).expect("everyone is of this world")
    }

    /// What a peer says of itself, signed now, as it may be passed on: for puppets.
    ///
    /// # Panics
    /// Never: every peer of a world has a key.
    #[must_use]
    pub fn record(&self, ix: PeerIx) -> PeerRecord {
        let peer = &self.peers[ix.0];
        let key = peer.config.key.as_ref().expect("every peer joins with a key");
        let chain = peer.chain.unwrap_or(Hash::ZERO);
        PeerRecord::sign(key, &chain, self.now_of(ix).wall, &[self.address(ix)])
    }

    /// The real nodes that are up.
    pub fn nodes(&self) -> impl Iterator<Item = PeerIx> + '_ {
        (0..self.peers.len()).map(PeerIx).filter(|ix| matches!(self.peers[ix.0].actor, Actor::Node(_)))
    }

    /// Both clocks of a peer.
    #[must_use]
    pub fn now_of(&self, ix: PeerIx) -> Now {
        let peer = &self.peers[ix.0];
        let wall = (self.epoch + self.now / 1000).saturating_add_signed(peer.skew);
        Now { mono: Mono((self.now - peer.started) / 1000), wall: Wall(wall) }
    }

    /// Makes a peer do something, whatever it is: for puppets.
    pub fn act(&mut self, ix: PeerIx, output: Output) {
        self.carry_out(ix, output);
    }

    /// Runs for so many milliseconds.
    pub fn run_for(&mut self, millis: u64) {
        self.run_up_to(self.now + millis * 1000);
    }

    /// Runs until the condition holds, for at most so many milliseconds; answers how many it took.
    ///
    /// # Panics
    /// When the condition does not come to hold.
    pub fn run_until(&mut self, millis: u64, mut condition: impl FnMut(&mut Self) -> bool) -> u64 {
        let start = self.elapsed();
        while !condition(self) {
            if self.elapsed() >= start + millis {
                let summary = self.summary();
                panic!("the condition does not hold after {millis} ms\n{summary}");
            }
            self.run_for(LOOK_EVERY);
        }
        self.elapsed() - start
    }

    /// Runs to the very event after which the condition holds, for at most so many milliseconds; answers whether it
    /// came to hold.
    pub fn run_to(&mut self, millis: u64, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let limit = self.now + millis * 1000;
        while !condition(self) {
            if !self.step(limit) {
                return condition(self);
            }
        }
        true
    }

    /// Lets the next event happen, if it lies no later than `limit`; otherwise time moves on to `limit`.
    pub(super) fn step(&mut self, limit: Micros) -> bool {
        let Some((at, entry)) = self.next_until(limit) else {
            self.now = limit;
            return false;
        };
        self.happen(at, entry);
        true
    }

    /// Lets an event happen.
    pub(super) fn happen(&mut self, at: Micros, mut entry: Entry) {
        self.now = at;
        let ix = entry.to;
        let peer = &mut self.peers[ix.0];
        if peer.life != entry.life || !peer.is_up() {
            return;
        }
        if let Some(held) = &mut peer.paused {
            held.push(entry);
            return;
        }
        if let Some(load) = entry.load.take()
            && let Some(through) = self.land(ix, load)
        {
            self.queue.push_entry(through, entry);
            return;
        }
        match entry.event {
            Event::Wake => self.wake(ix),
            Event::Tell(input) => self.deliver(ix, *input),
            Event::Established { target, address } => self.establish(ix, target, address),
            Event::Closed { other, connection } => self.unlink(ix, other, connection),
            Event::CutOff { other, connection, partition } => self.cut_off(ix, other, connection, partition),
            Event::Gossip { from, rpc } => self.arrive_gossip(ix, from, rpc),
            Event::Heartbeat => self.heartbeat(ix),
            Event::Request { from, life, id, protocol, body } => {
                self.arrive_request(ix, (from, life), id, protocol, body);
            }
            Event::Response { id, outcome } => self.arrive_response(ix, id, outcome),
            Event::CommitStart => self.start_commit(ix),
            Event::CommitDone => self.finish_commit(ix),
            Event::Archive { id, request } => self.answer_archive(ix, id, request),
            Event::Worked(input) => {
                self.peers[ix.0].jobs -= 1;
                self.deliver(ix, *input);
            }
        }
    }

    fn wake(&mut self, ix: PeerIx) {
        let now = self.now_of(ix);
        let peer = &mut self.peers[ix.0];
        if peer.wake != Some(self.now) {
            return;
        }
        peer.wake = None;
        let Actor::Node(node) = &mut peer.actor else { return };
        if node.poll_timeout().is_some_and(|due| due <= now.mono) {
            if peer.wakes_now.0 == self.now {
                peer.wakes_now.1 += 1;
                assert!(peer.wakes_now.1 < MOST_WAKES_AT_ONCE, "{ix:?} never stops asking for a timeout");
            } else {
                peer.wakes_now = (self.now, 0);
            }
            node.handle_timeout(now);
        }
        self.drain(ix);
    }

    /// The seed this world was made with.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }
}

impl<S: Scripts> Drop for World<S> {
    /// Says how to see a failure again.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "the world of seed {} failed after {} ms; the same seed replays it",
                self.seed,
                self.elapsed()
            );
        }
    }
}
