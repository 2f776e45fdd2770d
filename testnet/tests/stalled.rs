//! What a chain that does not become final costs in memory. A test of its own, since memory is counted for a whole process.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::sync::{Arc, Mutex};

use libp2p::PeerId;
use peak_alloc::PeakAlloc;
use weft_core::{
    gossip::{CompactBlock, Topic, TxMode},
    node::{
        Command, CommandId, Config, Discovery, GossipId, GossipMessage, Input, Node, NodeLists, Output,
        Prune, Reply, Role, Without,
    },
    primitives::{Mono, Now, Wall, encode},
    store::{ArchiveAnswer, ArchiveRequest, Batch, MemoryStore, Seq, Store, Table},
    sync::Strategy,
};
use weft_testnet::fixture::{ChainMaker, TestChain};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a block above the finalised one may cost, whatever it holds: its header and its place in the tree.
const MOST: usize = 1_300;
const TRANSFERS: usize = 8;

/// A store whose cold rows can be taken away, as if they were on a disk.
#[derive(Default)]
struct Rows {
    hot: MemoryStore,
    cold: Arc<Mutex<MemoryStore>>,
}

impl Store for Rows {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        if table.is_cold() { self.cold.lock().unwrap().get(table, key) } else { self.hot.get(table, key) }
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        if table.is_cold() {
            self.cold.lock().unwrap().range(table, from, limit)
        } else {
            self.hot.range(table, from, limit)
        }
    }

    fn apply(&mut self, batch: Batch) -> Seq {
        let (cold, hot) = batch.0.into_iter().partition(|write| write.table.is_cold());
        self.cold.lock().unwrap().apply(Batch(cold));
        self.hot.apply(Batch(hot))
    }

    fn durable_at_once(&self) -> bool {
        true
    }
}

/// Carries out what the node wants. The archive is a disk too: nothing of it is kept here.
fn drain(node: &mut Node, now: Now) -> Option<Reply> {
    let mut reply = None;
    while let Some(output) = node.poll_output() {
        let answer = match output {
            Output::Work(id, job) => Input::WorkDone(id, job.run()),
            Output::Archive(id, ArchiveRequest::Headers { .. }) => {
                Input::Archive(id, Ok(ArchiveAnswer::Headers(Vec::new())))
            }
            Output::Archive(id, _) => Input::Archive(id, Ok(ArchiveAnswer::Stored)),
            Output::Flush(seq) => Input::Persisted(seq),
            Output::Reply(_, told) => {
                reply = told.ok();
                continue;
            }
            _ => continue,
        };
        node.handle(now, answer);
    }
    reply
}

/// The bytes in memory after so many blocks of which none became final, without and with cold rows.
fn bytes_after(blocks: u64) -> (usize, usize) {
    let chain = TestChain::with_bystanders(0, 1_000, 4, TRANSFERS, 10);
    let mut maker = ChainMaker::new(&chain);
    let before = MEMORY.current_usage();
    let rows = Rows::default();
    let cold = Arc::clone(&rows.cold);
    let config = Config {
        local: PeerId::random(),
        role: Role::Native,
        genesis: Some(chain.genesis.clone()),
        key: None,
        discovery: Discovery::OFF,
        slots: 0,
        validator: None,
        bootstrap: Vec::new(),
        lists: NodeLists::default(),
        strategy: Strategy::Full,
        prune: Prune::Archive,
        mempool_bytes: 1 << 20,
        tx_mode: TxMode::default(),
        max_inbound: 8,
        proxies: Vec::new(),
        upload: Role::Native.upload(),
        max_jobs: 4,
        without: Without::default(),
    };
    let at = |slot: u64| Now { mono: Mono(slot * 1_000), wall: Wall(slot * 1_000) };
    let mut node = Node::new(config, Box::new(rows), [7; 32], at(0)).unwrap();
    let from = PeerId::random();
    for height in 1..=blocks {
        let transfers =
            (0..TRANSFERS).map(|payer| chain.transfer(payer, chain.address((payer + 1) % 8), height - 1));
        let data = encode(&CompactBlock::whole(&maker.extend(transfers.collect())));
        let (id, topic) = (GossipId(height), Topic::Block);
        let message = GossipMessage { id, topic, from, author: from, sequence: height, data };
        node.handle(at(height), Input::Gossip(message));
        drain(&mut node, at(height));
    }
    node.handle(at(blocks), Input::Command(CommandId(1), Command::Status));
    let Some(Reply::Status(status)) = drain(&mut node, at(blocks)) else { panic!("no answer") };
    let status = status.chain.unwrap();
    assert_eq!((status.height.0, status.finalised.0), (blocks, 0));
    let all = MEMORY.current_usage() - before;
    let on_disk = std::mem::take(&mut *cold.lock().unwrap());
    let with_cold = MEMORY.current_usage();
    drop(on_disk);
    (all - (with_cold - MEMORY.current_usage()), all)
}

#[test]
fn a_block_that_is_not_final_costs_little_more_than_its_header() {
    let (few, many) = (300, 1_500);
    let (low, high) = (bytes_after(few), bytes_after(many));
    let each = |low: usize, high: usize| (high - low) / usize::try_from(many - few).unwrap();
    let (hot, all) = (each(low.0, high.0), each(low.1, high.1));
    println!("{hot} bytes a block of {TRANSFERS} transfers, and {} of rows that a disk can hold", all - hot);
    assert!(hot <= MOST, "{hot} bytes a block");
}
