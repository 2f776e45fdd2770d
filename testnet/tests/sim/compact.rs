//! Blocks that are announced by short ids: how they come to their bodies, and what liars can do about it.

use std::{cell::RefCell, rc::Rc};

use weft_core::{
    chain::{Block, Transaction},
    gossip::{CompactBlock, CompactId, Topic, TxResponse},
    node::{BlockCounts, Command, Input, Output, Protocol, Reply},
    primitives::{Hash, Height, Now, decode, encode},
    sync::{BodiesRequest, BodiesResponse, SyncRequest, SyncResponse, SyncStatus},
};
use weft_testnet::{
    fixture::{ChainMaker, TestChain, address, key},
    sim::{EPOCH, NodeOptions, PeerIx, World},
};

use crate::town::{SLOT, Town, seeds};

/// How a scripted peer answers: a silent one says where it is, and nothing else; a liar gives other transactions of a block
/// than it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Honest,
    Silent,
    Liar,
}

/// The blocks that scripted peers have. Of the newest they tell nothing but transactions for a while: a peer that happens
/// to ask them then where they are would have a block by download before it is announced.
#[derive(Default)]
struct Blocks {
    all: Vec<Block>,
    told: usize,
}

type Shelf = Rc<RefCell<Blocks>>;

/// How long after an announcement scripted peers tell of a block when they are asked where they are.
const UNTOLD_MILLIS: u64 = 300;

fn answer(
    chain: &TestChain,
    shelf: &Blocks,
    protocol: Protocol,
    body: &[u8],
    manner: Manner,
) -> Option<Vec<u8>> {
    let blocks = &shelf.all[..shelf.told];
    let sync = |response: SyncResponse| Some(encode(&response));
    if manner == Manner::Silent && !matches!(decode(body, body.len()), Ok(SyncRequest::Status(_))) {
        return None;
    }
    match protocol {
        Protocol::Sync => match decode(body, protocol.max_request()).ok()? {
            SyncRequest::Status(_) => {
                let genesis = chain.hash();
                let last = blocks.last().map(|block| &block.header);
                let finalised = weft_core::chain::Checkpoint { height: Height(0), hash: genesis };
                sync(SyncResponse::Status(SyncStatus {
                    genesis,
                    head: last.map_or(genesis, |header| header.hash()),
                    height: last.map_or(Height(0), |header| header.height()),
                    finalised,
                    oldest: Height(0),
                }))
            }
            SyncRequest::Headers { locator, .. } => {
                let known = locator.iter().map(|(height, _)| *height).max().unwrap_or_default();
                let headers = blocks.iter().map(|block| block.header.clone());
                sync(SyncResponse::Headers(headers.filter(|header| header.height() > known).collect()))
            }
            SyncRequest::BlockTransactions { block, indices } => {
                let block = shelf.all.iter().find(|known| known.header.hash() == block)?;
                let mut found: Vec<Transaction> =
                    indices.iter().map(|at| block.body.transactions[usize::from(*at)].clone()).collect();
                if manner == Manner::Liar {
                    found.reverse();
                }
                sync(SyncResponse::BlockTransactions(Some(found)))
            }
            _ => sync(SyncResponse::Busy),
        },
        Protocol::Archive => {
            let BodiesRequest(keys) = decode(body, protocol.max_request()).ok()?;
            let find = |hash: &Hash| blocks.iter().find(|block| block.header.hash() == *hash);
            let bodies = keys.iter().map(|(_, hash)| find(hash).map(|block| encode(&block.body)));
            Some(encode(&BodiesResponse(bodies.collect())))
        }
        Protocol::Transactions => Some(TxResponse::Done.to_bytes()),
        Protocol::Chat | Protocol::Peers | Protocol::Content | Protocol::Rendezvous => None,
    }
}

/// Honest peers that never propose, and scripted ones that bring them blocks.
struct Square {
    world: World,
    chain: TestChain,
    maker: ChainMaker,
    nodes: Vec<PeerIx>,
    shelf: Shelf,
    announced_at: u64,
}

impl Square {
    fn new(seed: u64, nodes: usize) -> Self {
        let chain = TestChain::new(EPOCH, SLOT, 3, 20);
        let mut world = World::new(seed);
        let mut all: Vec<PeerIx> = Vec::new();
        for at in 0..nodes {
            let bootstrap = [at.checked_sub(1), (at > 1).then_some(at / 2)];
            let bootstrap = bootstrap.into_iter().flatten().map(|at| all[at]).collect();
            all.push(world.add_node(NodeOptions {
                genesis: Some(chain.genesis.clone()),
                bootstrap,
                ..NodeOptions::default()
            }));
        }
        world.run_for(5_000);
        let maker = ChainMaker::new(&chain);
        Self { world, chain, maker, nodes: all, shelf: Shelf::default(), announced_at: 0 }
    }

    /// A scripted peer with these blocks, connected to the first node.
    fn scripted(&mut self, shelf: &Shelf, manner: Manner) -> PeerIx {
        let (chain, shelf) = (self.chain.clone(), Rc::clone(shelf));
        let script = move |_: Now, input: Input, outputs: &mut Vec<Output>| {
            let Input::Request { id, protocol, body, .. } = input else { return };
            if let Some(body) = answer(&chain, &shelf.borrow(), protocol, &body, manner) {
                outputs.push(Output::Respond { id, body });
            }
        };
        let options = NodeOptions { genesis: Some(self.chain.genesis.clone()), ..NodeOptions::default() };
        let ix = self.world.add_puppet(options, script);
        let address = self.world.address(self.nodes[0]);
        self.world.act(ix, Output::Dial(address));
        let first = self.nodes[0];
        assert!(self.world.run_to(5_000, |world| world.is_connected(ix, first)), "no connection");
        self.world.run_for(1_000);
        ix
    }

    fn source(&mut self, manner: Manner) -> PeerIx {
        let shelf = Rc::clone(&self.shelf);
        self.scripted(&shelf, manner)
    }

    /// Ten payments of each account, those of one account one after the other.
    fn payments(&self) -> Vec<Transaction> {
        let to = address(&key("shop", 0));
        (0..20)
            .flat_map(|from| (0..10).map(move |nonce| (from, nonce)))
            .map(|(from, nonce)| self.chain.transfer(from, to, nonce))
            .collect()
    }

    /// Lets everybody know these transactions.
    fn spread(&mut self, transactions: &[Transaction]) {
        for transaction in transactions {
            self.world.submit(self.nodes[0], transaction.clone()).expect("a fixture's payments are valid");
        }
        let nodes = self.nodes.clone();
        let count = transactions.len() as u64;
        self.world.run_until(20_000, |world| nodes.iter().all(|ix| world.chain(*ix).pending as u64 == count));
    }

    /// The next block, in a slot that has just begun.
    fn next(&mut self, transactions: Vec<Transaction>) -> Block {
        self.world.run_for(SLOT - self.world.elapsed() % SLOT);
        let slot = weft_core::primitives::Slot(self.world.elapsed() / SLOT);
        self.maker.extend_at(slot, transactions)
    }

    /// Announces a block, which the scripted peers have from then on.
    fn announce(&mut self, from: PeerIx, block: &Block, compact: &CompactBlock) {
        self.announce_telling(from, block, compact, UNTOLD_MILLIS);
    }

    /// The same, with another time after which they tell of it.
    fn announce_telling(&mut self, from: PeerIx, block: &Block, compact: &CompactBlock, after: u64) {
        self.announced_at = self.world.elapsed();
        self.publish(from, compact);
        self.shelf.borrow_mut().all.push(block.clone());
        self.world.run_for(after);
        self.shelf.borrow_mut().told += 1;
    }

    fn publish(&mut self, from: PeerIx, compact: &CompactBlock) {
        self.world.act(from, Output::Publish { topic: Topic::Block, data: encode(compact) });
    }

    /// Waits until everybody has the block; answers how long that took from its announcement, in milliseconds.
    fn reached(&mut self, block: &Block, millis: u64) -> u64 {
        let (nodes, head) = (self.nodes.clone(), block.header.hash());
        self.world.run_until(millis, |world| nodes.iter().all(|ix| world.chain(*ix).head == head));
        self.world.elapsed() - self.announced_at
    }

    fn counts(&self, ix: PeerIx) -> BlockCounts {
        self.world.node(ix).and_then(|node| node.block_counts()).expect("it is up and follows a chain")
    }

    /// What the first node holds against a peer.
    fn offences(&mut self, whom: PeerIx) -> Vec<String> {
        let id = self.world.peer_id(whom).to_string();
        let Ok(Reply::Peers(peers)) = self.world.command(self.nodes[0], Command::Peers) else {
            panic!("the first node does not tell its peers");
        };
        let view = peers.into_iter().find(|view| view.peer == id).expect("it is connected");
        view.offences.into_keys().collect()
    }
}

#[test]
fn a_block_of_known_transactions_reaches_everybody_without_a_question() {
    for seed in seeds(3) {
        let mut square = Square::new(seed, 20);
        let source = square.source(Manner::Silent);
        let payments = square.payments();
        square.spread(&payments);
        let block = square.next(payments);
        let compact = CompactBlock::new(&block, |_| false);
        assert!(5 * encode(&compact).len() < encode(&block).len());
        square.announce(source, &block, &compact);
        square.reached(&block, 3_000);
        let expected = BlockCounts { received: 1, at_once: 1, found: 200, ..BlockCounts::default() };
        for ix in square.nodes.clone() {
            assert_eq!(square.counts(ix), expected, "{ix:?}");
            let node = square.world.node(ix).unwrap();
            let arrivals: Vec<_> = node.block_arrivals().collect();
            assert_eq!((arrivals.len(), arrivals[0].hash), (1, block.header.hash()));
            assert!(arrivals[0].delay_millis < 3_000, "{arrivals:?}");
        }
        square.world.check_all();
    }
}

#[test]
fn what_only_the_proposer_has_costs_everybody_one_question() {
    for seed in seeds(3) {
        let mut square = Square::new(seed, 20);
        let source = square.source(Manner::Honest);
        let payments = square.payments();
        let known: Vec<_> = payments.iter().filter(|it| it.content.nonce < 7).cloned().collect();
        square.spread(&known);
        let block = square.next(payments);
        square.announce(source, &block, &CompactBlock::new(&block, |_| false));
        square.reached(&block, 3_000);
        let counts = BlockCounts { received: 1, found: 140, missing: 60, ..BlockCounts::default() };
        let expected = BlockCounts { after_round_trip: 1, ..counts };
        for ix in square.nodes.clone() {
            assert_eq!(square.counts(ix), expected, "{ix:?}");
        }
        assert_eq!(square.offences(source), [""; 0]);
        square.world.check_all();
    }
}

#[test]
fn more_than_one_may_ask_for_is_downloaded_whole() {
    let mut square = Square::new(1, 3);
    let source = square.source(Manner::Honest);
    let block = square.next(Vec::new());
    square.announce(source, &block, &CompactBlock::whole(&block));
    square.reached(&block, 3_000);
    let to = address(&key("shop", 0));
    let many = (0..1_100).map(|nonce| square.chain.transfer(nonce % 20, to, nonce as u64 / 20)).collect();
    let block = square.next(many);
    square.announce(source, &block, &CompactBlock::new(&block, |_| false));
    square.reached(&block, 8_000);
    assert_eq!(
        (square.counts(square.nodes[0]).fell_back, square.counts(square.nodes[0]).missing),
        (1, 1_100)
    );
    assert_eq!(square.offences(source), [""; 0]);
    square.world.check_all();
}

#[test]
fn short_ids_of_other_transactions_delay_a_block_and_blame_nobody() {
    for seed in seeds(3) {
        let mut square = Square::new(seed, 10);
        let source = square.source(Manner::Honest);
        let payments = square.payments();
        square.spread(&payments);
        let block = square.next(payments);
        let mut compact = CompactBlock::new(&block, |_| false);
        compact.short.swap(3, 4);
        square.announce(source, &block, &compact);
        let took = square.reached(&block, 8_000);
        for ix in square.nodes.clone() {
            let counts = square.counts(ix);
            assert_eq!((counts.received, counts.fell_back, counts.at_once), (1, 1, 0), "{ix:?}, {took} ms");
        }
        assert_eq!(square.offences(source), [""; 0]);
        square.world.check_all();
    }
}

#[test]
fn one_whose_answer_contradicts_its_announcement_is_blamed_and_nobody_else() {
    for seed in seeds(3).chain([45]) {
        let mut square = Square::new(seed, 10);
        let source = square.source(Manner::Honest);
        let liar = square.source(Manner::Liar);
        let payments = square.payments();
        square.spread(&payments[..150]);
        let block = square.next(payments);
        square.announce(liar, &block, &CompactBlock::new(&block, |_| false));
        square.reached(&block, 8_000);
        assert_eq!(square.offences(liar), ["wrong-body"]);
        assert_eq!(square.offences(source), [""; 0]);
        // A short id that is there twice is asked for, and the transaction of its place has another.
        let to = address(&key("shop", 0));
        let more: Vec<_> = (0..20).map(|from| square.chain.transfer(from, to, 10)).collect();
        square.spread(&more);
        let block = square.next(more);
        let mut compact = CompactBlock::new(&block, |_| false);
        compact.short[3] = compact.short[7];
        square.announce(source, &block, &compact);
        square.reached(&block, 8_000);
        assert_eq!(square.offences(source), ["wrong-body"]);
        square.world.check_all();
    }
}

#[test]
fn an_announcer_that_never_answers_delays_a_block_until_another_is_asked() {
    let mut delays = Vec::new();
    for seed in seeds(3).chain([30, 45]) {
        let mut square = Square::new(seed, 10);
        let source = square.source(Manner::Honest);
        let silent = square.source(Manner::Silent);
        let payments = square.payments();
        square.spread(&payments[..150]);
        let block = square.next(payments);
        square.announce(silent, &block, &CompactBlock::new(&block, |_| false));
        let took = square.reached(&block, 8_000);
        assert!(took >= 400, "{took}");
        delays.push(took);
        for whom in [source, silent] {
            assert_eq!(square.offences(whom), [""; 0]);
        }
        // It rests, and longer each time: it is not always waited for any more.
        let fell_back =
            |square: &Square| square.nodes.iter().map(|ix| square.counts(*ix).fell_back).sum::<u64>();
        let before = fell_back(&square);
        let to = address(&key("shop", 0));
        for nonce in 10..14 {
            let more = (0..20).map(|from| square.chain.transfer(from, to, nonce)).collect();
            let block = square.next(more);
            square.announce_telling(silent, &block, &CompactBlock::new(&block, |_| false), 0);
            square.reached(&block, 8_000);
        }
        assert!(fell_back(&square) > before, "it is asked first each time");
        for whom in [source, silent] {
            assert_eq!(square.offences(whom), [""; 0]);
        }
        square.world.check_all();
    }
    assert!(delays.iter().any(|took| *took < 1_000), "nobody got it from another: {delays:?}");
}

/// What somebody makes of the header of a block: as many short ids that nobody has, and a transaction that is not in it.
fn junk(block: &Block, other: &Transaction, salt: u8) -> CompactBlock {
    let mut compact = CompactBlock::new(block, |place| place == 0);
    compact.prefilled[0].transaction = other.clone();
    let made_up = |at: u8| CompactId([at, salt, 1, 2, 3, 4]);
    compact.short = (0..=u8::MAX).map(made_up).take(compact.short.len()).collect();
    compact
}

#[test]
fn a_good_header_with_made_up_contents_delays_a_block_and_nothing_more() {
    for seed in seeds(3) {
        let mut square = Square::new(seed, 10);
        let source = square.source(Manner::Honest);
        let nothing = Shelf::default();
        let intruder = square.scripted(&nothing, Manner::Silent);
        let payments = square.payments();
        square.spread(&payments);
        let other = square.chain.transfer(0, address(&key("thief", 0)), 0);
        let block = square.next(payments);
        square.publish(intruder, &junk(&block, &other, 0));
        nothing.borrow_mut().all.push(block.clone());
        square.world.run_for(300);
        for salt in 1..50 {
            square.publish(intruder, &junk(&block, &other, salt));
        }
        square.announce(source, &block, &CompactBlock::new(&block, |_| false));
        square.reached(&block, 8_000);
        for ix in square.nodes.clone() {
            assert_eq!(square.counts(ix).received, 1, "what is made up for a known header is not passed on");
        }
        for whom in [source, intruder] {
            assert_eq!(square.offences(whom), [""; 0]);
        }
        square.world.check_all();
    }
}

#[test]
fn announcements_for_unknown_parents_are_not_passed_on_and_blame_nobody() {
    let mut square = Square::new(1, 10);
    let source = square.source(Manner::Honest);
    let nothing = Shelf::default();
    let intruder = square.scripted(&nothing, Manner::Silent);
    let payments = square.payments();
    square.spread(&payments);
    let (mut unsigned, body, _) = square.maker.draft(weft_core::primitives::Slot(1), payments.clone());
    for number in 0..100 {
        unsigned.parent = Hash([number; 32]);
        let header = unsigned.clone().sign(square.maker.proposer(unsigned.slot), &square.chain.hash());
        let compact = CompactBlock::new(&Block { header, body: body.clone() }, |_| false);
        square.publish(intruder, &compact);
    }
    square.world.run_for(5_000);
    assert_eq!(square.offences(intruder), [""; 0]);
    for ix in square.nodes.clone() {
        assert_eq!(square.counts(ix), BlockCounts::default(), "{ix:?}");
    }
    let block = square.next(payments);
    square.announce(source, &block, &CompactBlock::new(&block, |_| false));
    square.reached(&block, 3_000);
    square.world.check_all();
}

#[test]
fn in_a_town_without_faults_every_block_is_put_together() {
    for seed in seeds(3) {
        let mut town = Town::new(seed, 4, 8);
        town.world.run_for(3 * SLOT);
        let to = address(&key("shop", 0));
        for nonce in 0..16 {
            for from in 0..20 {
                let at = town.followers[from % town.followers.len()];
                let transaction = town.chain.transfer(from, to, nonce);
                town.world.send_command(at, Command::Submit(transaction));
                town.world.run_for(50);
            }
        }
        town.converge(25, 15 * SLOT);
        let head = town.validators[0];
        let included = town.transactions(head).len();
        assert!(included > 300, "{included}");
        for ix in town.all() {
            let counts = town.world.node(ix).and_then(|node| node.block_counts()).unwrap();
            assert_eq!(counts.fell_back, 0, "{ix:?}: {counts:?}");
            // Payments come all the time, so the last before a slot are still on their way when its block is announced.
            assert!(4 * counts.missing < counts.found + counts.prefilled, "{ix:?}: {counts:?}");
        }
        // With what the proposer got in the last second, next to nobody has to ask for more.
        let counts = |ix: PeerIx| town.world.node(ix).and_then(|node| node.block_counts()).unwrap();
        let all: Vec<_> = town.all().into_iter().map(counts).collect();
        let asked: u64 = all.iter().map(|counts| counts.after_round_trip).sum();
        let received: u64 = all.iter().map(|counts| counts.received).sum();
        assert!(10 * asked < received, "seed {seed}: {asked} of {received} blocks cost a round trip");
        town.world.check_all();
    }
}
