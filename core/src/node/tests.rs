//! One node alone, driven by hand. Several nodes together are tested in `weft-testnet`.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod caps;
mod finding;
mod offers;
mod room;
mod serving;
mod standing;
mod table;
mod tabs;
mod uploads;
mod waking;
mod ways;

use std::collections::VecDeque;

use libp2p::{Multiaddr, multiaddr};

use super::*;
use crate::{
    chain::{Authority, Block, Checkpoint, Genesis, Grant, Transaction, UnsignedTransaction, Vote},
    content::ContentRequest,
    gossip::{ChatRooms, CompactBlock, Rebuild, TxMode, TxRequest},
    peers::{Found, OVERRUNS, Traffic},
    primitives::{Address, Amount, Domain, Height, PublicKey, SecretKey, Slot, Wall, decode, encode},
    store::{ArchiveAnswer, ArchiveRequest, Batch, MemoryStore, Seq, Table},
    sync::{BodiesRequest, Strategy, SyncRequest, SyncStatus},
};

const SLOT: u64 = 1000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn address(seed: u8) -> Address {
    Address::of(&key(seed).public())
}

pub(super) fn genesis() -> Genesis {
    Genesis {
        name: "alone".into(),
        time: 10_000,
        slot_millis: SLOT,
        min_fee_per_byte: 1,
        authorities: vec![Authority { key: key(1).public(), fee_address: address(9) }],
        grants: vec![Grant { address: address(5), amount: Amount(1_000_000) }],
    }
}

fn config(validator: bool) -> Config {
    let mut seed = [3; 32];
    let keypair = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap();
    Config {
        local: keypair.public().to_peer_id(),
        role: Role::Native,
        genesis: Some(genesis()),
        key: None,
        discovery: super::Discovery::OFF,
        slots: 0,
        validator: validator.then(|| key(1)),
        bootstrap: Vec::new(),
        lists: NodeLists::default(),
        strategy: Strategy::Full,
        prune: crate::node::Prune::Archive,
        mempool_bytes: 1 << 20,
        tx_mode: TxMode::default(),
        max_inbound: 8,
        proxies: Vec::new(),
        upload: Role::Native.upload(),
        max_jobs: 4,
        without: Without::default(),
    }
}

/// A store with a disk behind it that is as slow as the test wants.
#[derive(Default)]
struct SlowStore(MemoryStore);

impl Store for SlowStore {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(table, key)
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.range(table, from, limit)
    }

    fn apply(&mut self, batch: Batch) -> Seq {
        self.0.apply(batch)
    }

    fn durable_at_once(&self) -> bool {
        false
    }
}

/// A node whose jobs and archive answer at once; everything else is kept for the test to look at.
struct Alone {
    node: Node,
    mono: u64,
    outputs: VecDeque<Output>,
}

impl Alone {
    fn new(validator: bool, store: impl Store + Send + 'static) -> Self {
        Self::with(config(validator), store)
    }

    fn with(config: Config, store: impl Store + Send + 'static) -> Self {
        let now = Now { mono: Mono(0), wall: Wall(10_000) };
        let node = Node::new(config, Box::new(store), [7; 32], now).unwrap();
        let mut alone = Self { node, mono: 0, outputs: VecDeque::new() };
        alone.drain();
        alone
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.mono), wall: Wall(10_000 + self.mono) }
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            let answer = match output {
                Output::Work(id, job) => Input::WorkDone(id, job.run()),
                Output::Archive(id, ArchiveRequest::Put(_)) => Input::Archive(id, Ok(ArchiveAnswer::Stored)),
                other => {
                    self.outputs.push_back(other);
                    continue;
                }
            };
            self.node.handle(self.now(), answer);
        }
    }

    /// Lets time pass to `mono`, stopping wherever the node wants to be woken.
    fn run_to(&mut self, mono: u64) {
        while self.mono < mono {
            let wake = self.node.poll_timeout().map_or(mono, |wake| wake.0.clamp(self.mono + 1, mono));
            self.mono = wake;
            self.node.handle_timeout(self.now());
            self.drain();
        }
    }

    /// Connects another peer.
    fn meet(&mut self, number: u8) -> PeerId {
        let mut seed = [10 + number; 32];
        let peer = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id();
        let (connection, link) = (ConnectionId(number.into()), Link::Direct);
        let address = format!("/ip4/10.0.0.{number}/tcp/1").parse().unwrap();
        self.handle(Input::Connected { peer, connection, link, address, outbound: false });
        peer
    }

    fn published(&mut self) -> Vec<Block> {
        let outputs = std::mem::take(&mut self.outputs);
        let blocks = outputs.into_iter().filter_map(|output| match output {
            Output::Publish { topic: Topic::Block, data, .. } => {
                let compact: CompactBlock = decode(&data, CompactBlock::MAX_LEN).unwrap();
                let header = compact.header.clone();
                // All blocks here are so small that they are announced whole.
                Some(Block { header, body: Rebuild::new(compact).unwrap().finish().unwrap() })
            }
            _ => None,
        });
        blocks.collect()
    }

    fn ask(&mut self, command: Command) -> Result<Reply, CommandError> {
        self.handle(Input::Command(CommandId(1), command));
        self.reply().expect("an answer at once")
    }

    fn reply(&mut self) -> Option<Result<Reply, CommandError>> {
        let at = self.outputs.iter().position(|output| matches!(output, Output::Reply(..)))?;
        match self.outputs.remove(at) {
            Some(Output::Reply(_, reply)) => Some(*reply),
            _ => None,
        }
    }

    fn chain(&mut self) -> ChainView {
        match self.ask(Command::Status) {
            Ok(Reply::Status(status)) => status.chain.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn height(&mut self) -> u64 {
        self.chain().height.0
    }
}

fn transfer(nonce: u64) -> Transaction {
    UnsignedTransaction::transfer(key(5).public(), address(6), Amount(10), Amount(500), nonce, Slot(1000))
        .sign(&key(5), &genesis().hash())
}

#[test]
fn a_lone_validator_proposes_in_every_slot_and_its_blocks_check() {
    let mut alone = Alone::new(true, MemoryStore::default());
    alone.run_to(5 * SLOT + 10);
    let blocks = alone.published();
    assert_eq!(blocks.iter().map(|block| block.header.slot().0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for pair in blocks.windows(2) {
        assert_eq!(pair[1].header.content.parent, pair[0].header.hash());
    }
    for block in &blocks {
        let public: PublicKey = key(1).public();
        let content = &block.header.content;
        assert!(public.verify(Domain::Header, &genesis().hash(), &encode(content), &block.header.signature));
        assert!(block.body.check(&block.header).is_ok());
    }
    assert_eq!(alone.height(), 5);
}

#[test]
fn a_submitted_transfer_is_in_the_next_block_and_moves_the_money() {
    let mut alone = Alone::new(true, MemoryStore::default());
    let id = transfer(0).id();
    assert_eq!(alone.ask(Command::Submit(transfer(0))), Ok(Reply::Submitted(id)));
    alone.run_to(SLOT);
    let blocks = alone.published();
    assert_eq!(blocks[0].body.transactions, [transfer(0)]);
    let balance = |alone: &mut Alone, who| match alone.ask(Command::Account(address(who))) {
        Ok(Reply::Account(view)) => view.balance.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(balance(&mut alone, 5), 1_000_000 - 510);
    assert_eq!(balance(&mut alone, 6), 10);
    assert_eq!(balance(&mut alone, 9), 500);
    let again = alone.ask(Command::Submit(transfer(0)));
    assert!(matches!(again, Err(CommandError::Refused(_))), "{again:?}");
}

#[test]
fn what_peers_push_while_signatures_are_checked_is_checked_together_and_each_answers_for_its_own() {
    let mut alone = Alone::new(true, MemoryStore::default());
    let mut forged = transfer(2);
    forged.signature.0[5] ^= 1;
    let mut jobs = VecDeque::new();
    let peers: Vec<_> = (0..4).map(|id| alone.meet(id)).collect();
    let pushed = [transfer(0), transfer(1), forged, transfer(3)];
    for (id, (peer, transaction)) in (0..).zip(peers.iter().zip(pushed)) {
        let body = TxRequest::Push(vec![transaction]).to_bytes();
        let (id, peer, protocol) = (InboundId(id), *peer, Protocol::Transactions);
        alone.node.handle(alone.now(), Input::Request { id, peer, protocol, body });
    }
    let mut sizes = Vec::new();
    loop {
        while let Some(output) = alone.node.poll_output() {
            if let Output::Work(id, job) = output {
                jobs.push_back((id, job));
            }
        }
        let Some((id, job)) = jobs.pop_front() else { break };
        if let Job::VerifyTransactions { transactions, .. } = &job {
            sizes.push(transactions.len());
        }
        alone.node.handle(alone.now(), Input::WorkDone(id, job.run()));
    }
    assert_eq!(sizes, [1, 3]);
    let Ok(Reply::Mempool(pool)) = alone.ask(Command::Mempool(0)) else { panic!("a view of the pool") };
    assert_eq!((pool.pending, pool.queued), (2, 1));
    let Ok(Reply::Peers(views)) = alone.ask(Command::Peers) else { panic!("the peers") };
    let blamed = |view: &&PeerView| !view.offences.is_empty();
    let blamed: Vec<_> = views.iter().filter(blamed).map(|view| view.peer.clone()).collect();
    assert_eq!(blamed, [peers[2].to_string()]);
}

/// What a peer says that costs its quota of this kind, the number of times it has said something before given.
fn said(traffic: Traffic, peer: PeerId, number: u64) -> Input {
    let request = |protocol, body| Input::Request { id: InboundId(number), peer, protocol, body };
    let gossip = |topic| {
        let (id, from, data) = (GossipId(number), peer, b"noise".to_vec());
        Input::Gossip(GossipMessage { id, topic, from, author: peer, sequence: number, data })
    };
    let zero = Hash::ZERO;
    match traffic {
        Traffic::Status => {
            let finalised = crate::chain::Checkpoint { height: Height(0), hash: genesis().hash() };
            let (genesis, height, oldest) = (genesis().hash(), Height(0), Height(0));
            let status = SyncStatus { genesis, head: genesis, height, finalised, oldest };
            request(Protocol::Sync, encode(&SyncRequest::Status(status)))
        }
        Traffic::Sync => request(Protocol::Sync, encode(&SyncRequest::Pivot { hash: zero })),
        Traffic::Missing => {
            let asked = SyncRequest::BlockTransactions { block: zero, indices: vec![0] };
            request(Protocol::Sync, encode(&asked))
        }
        Traffic::Archive => request(Protocol::Archive, encode(&BodiesRequest(Vec::new()))),
        Traffic::History => request(Protocol::Chat, ChatRooms::ask("lobby".parse().unwrap())),
        Traffic::Content => request(Protocol::Content, ContentRequest::Manifest(zero).to_bytes()),
        Traffic::Blocks => gossip(Topic::Block),
        Traffic::Votes => gossip(Topic::Vote),
        Traffic::Evidence => gossip(Topic::Evidence),
        Traffic::Chat => gossip(Topic::Chat("lobby".parse().unwrap())),
        Traffic::Table => Input::TableTold(peer),
    }
}

#[test]
fn what_a_peer_asks_or_brings_past_its_quota_is_not_looked_at_and_blamed_when_it_goes_on() {
    for traffic in Traffic::ALL {
        let mut alone = Alone::new(false, MemoryStore::default());
        let (greedy, modest) = (alone.meet(0), alone.meet(1));
        let refused =
            |alone: &Alone| alone.node.fx.refusals.get(traffic.refusal()).copied().unwrap_or_default();
        let flooded = |alone: &mut Alone| {
            let Ok(Reply::Peers(views)) = alone.ask(Command::Peers) else { panic!("the peers") };
            let floods = |peer: PeerId| {
                let view = views.iter().find(|view| view.peer == peer.to_string());
                view.and_then(|view| view.offences.get("flood").copied()).unwrap_or_default()
            };
            [floods(greedy), floods(modest)]
        };
        let burst = traffic.quota().items.burst;
        (0..burst).for_each(|number| alone.handle(said(traffic, greedy, number)));
        assert_eq!(refused(&alone), 0, "{traffic:?}");
        (0..OVERRUNS.burst).for_each(|number| alone.handle(said(traffic, greedy, burst + number)));
        assert_eq!(refused(&alone), OVERRUNS.burst, "{traffic:?}");
        assert_eq!(flooded(&mut alone), [0, 0], "{traffic:?}");
        alone.handle(said(traffic, modest, 0));
        (0..5).for_each(|number| alone.handle(said(traffic, greedy, 2 * burst + number)));
        assert_eq!(refused(&alone), OVERRUNS.burst + 5, "{traffic:?}");
        assert_eq!(flooded(&mut alone), [5, 0], "{traffic:?}");
    }
}

#[test]
fn a_vote_that_matters_is_judged_whoever_brings_it_first_and_past_any_quota() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let greedy = alone.meet(0);
    let chain = genesis().hash();
    let link = |height, block: u8| crate::chain::Link {
        source: Checkpoint { height: Height(0), hash: chain },
        target: Checkpoint { height: Height(height), hash: Hash([block; 32]) },
    };
    let mut number = 0;
    let mut said = |alone: &mut Alone, vote: &Vote| {
        number += 1;
        let (topic, data, id) = (Topic::Vote, encode(vote), GossipId(number));
        let (from, author, sequence) = (greedy, greedy, number);
        alone.outputs.clear();
        alone.handle(Input::Gossip(GossipMessage { id, topic, from, author, sequence, data }));
        alone.outputs.iter().find_map(|output| match output {
            Output::Judge { id: of, verdict } if *of == id => Some(*verdict),
            _ => None,
        })
    };
    // Nobody is blamed for a vote too far ahead: the sender may know a longer chain.
    let far = Vote::sign(link(1 << 20, 1), &key(1), &chain);
    for _ in 0..Traffic::Votes.quota().items.burst + OVERRUNS.burst / 2 {
        assert_eq!(said(&mut alone, &far), Some(Verdict::Ignore));
    }
    let refused = |alone: &Alone| alone.node.fx.refusals.get("quota-votes").copied().unwrap_or_default();
    assert_eq!(refused(&alone), OVERRUNS.burst / 2);
    let vote = Vote::sign(link(16, 2), &key(1), &chain);
    assert_eq!(said(&mut alone, &vote), Some(Verdict::Accept), "nobody else can bring it again");
    assert_eq!(said(&mut alone, &vote), Some(Verdict::Ignore), "it is known now");
    let stranger = Vote::sign(link(16, 2), &key(4), &chain);
    assert_eq!(said(&mut alone, &stranger), Some(Verdict::Ignore));
    let forged = Vote { signature: stranger.signature, ..Vote::sign(link(32, 3), &key(1), &chain) };
    assert_eq!(said(&mut alone, &forged), Some(Verdict::Reject));
    assert_eq!(refused(&alone), OVERRUNS.burst / 2 + 4, "each counts against its bringer");
}

#[test]
fn nothing_leaves_before_it_is_durable() {
    let mut alone = Alone::new(true, SlowStore::default());
    alone.handle(Input::Command(CommandId(1), Command::Submit(transfer(0))));
    assert!(alone.reply().is_none(), "not acknowledged yet");
    let flushed = |alone: &Alone| {
        let flushes = alone.outputs.iter().filter_map(|output| match output {
            Output::Flush(seq) => Some(*seq),
            _ => None,
        });
        flushes.max()
    };
    let seq = flushed(&alone).expect("a flush was asked for");
    alone.handle(Input::Persisted(seq));
    assert_eq!(alone.reply(), Some(Ok(Reply::Submitted(transfer(0).id()))));
    alone.run_to(SLOT + 1);
    let seq = flushed(&alone).expect("a flush was asked for");
    assert!(alone.published().is_empty(), "the slot is not written down yet");
    alone.handle(Input::Persisted(seq));
    assert_eq!(alone.published().len(), 1);
}

#[test]
fn failed_storage_ends_promises_and_proposals_and_is_said() {
    let mut alone = Alone::new(true, SlowStore::default());
    alone.handle(Input::Command(CommandId(1), Command::Submit(transfer(0))));
    alone.handle(Input::StorageFailed("disk full".into()));
    assert_eq!(alone.reply(), Some(Err(CommandError::Storage("disk full".into()))));
    alone.run_to(5 * SLOT);
    assert!(alone.published().is_empty());
    match alone.ask(Command::Status) {
        Ok(Reply::Status(status)) => assert!(status.alarms[0].contains("disk full"), "{:?}", status.alarms),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_restart_finds_the_chain_and_never_signs_a_slot_twice() {
    let mut alone = Alone::new(true, SharedStore::default());
    alone.run_to(3 * SLOT);
    let head = alone.published().last().unwrap().header.hash();
    let store = SharedStore(SHARED.with(|shared| shared.borrow().clone()));
    let now = alone.now();
    let node = Node::new(config(true), Box::new(store), [8; 32], now).unwrap();
    let mut again = Alone { node, mono: alone.mono, outputs: VecDeque::new() };
    again.drain();
    assert_eq!(again.height(), 3);
    again.run_to(4 * SLOT);
    let blocks = again.published();
    assert_eq!(blocks.iter().map(|block| block.header.slot().0).collect::<Vec<_>>(), [4]);
    assert_eq!(blocks[0].header.content.parent, head);
}

thread_local! {
    static SHARED: std::cell::RefCell<MemoryStore> = std::cell::RefCell::default();
}

/// A store whose rows outlive the node.
#[derive(Default)]
struct SharedStore(MemoryStore);

impl Store for SharedStore {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(table, key)
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.range(table, from, limit)
    }

    fn apply(&mut self, batch: Batch) -> Seq {
        let seq = self.0.apply(batch);
        SHARED.with(|shared| shared.replace(self.0.clone()));
        seq
    }

    fn durable_at_once(&self) -> bool {
        true
    }
}

#[test]
fn another_genesis_or_schema_is_refused() {
    let mut alone = Alone::new(true, SharedStore::default());
    alone.run_to(SLOT);
    let store = || SHARED.with(|shared| shared.borrow().clone());
    let mut other = config(true);
    other.genesis.as_mut().unwrap().name = "another".into();
    let refused = Node::new(other, Box::new(store()), [8; 32], alone.now()).err();
    assert!(matches!(refused, Some(StartError::OtherChain { .. })), "{refused:?}");
    let mut newer = store();
    let meta = newer.get(Table("node/meta"), b"meta").unwrap();
    let mut batch = Batch::default();
    batch.put(Table("node/meta"), *b"meta", [&9_u32.to_le_bytes(), &meta[4..]].concat());
    newer.apply(batch);
    let refused = Node::new(config(true), Box::new(newer), [8; 32], alone.now()).err();
    assert_eq!(refused, Some(StartError::Schema { stored: 9, supported: crate::store::SCHEMA }));
    let mut broken = store();
    let mut batch = Batch::default();
    batch.put(Table("node/meta"), *b"meta", meta[..meta.len() - 1].to_vec());
    broken.apply(batch);
    let refused = Node::new(config(true), Box::new(broken), [8; 32], alone.now()).err();
    assert!(matches!(refused, Some(StartError::Corrupt(_))), "{refused:?}");
}

#[test]
fn a_validator_cannot_be_light() {
    let light = Config { strategy: Strategy::Light, ..config(true) };
    let refused = Node::new(light, Box::new(MemoryStore::default()), [8; 32], Now::default()).err();
    assert_eq!(refused, Some(StartError::LightValidator));
}
