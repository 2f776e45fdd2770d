//! A small network under attack: a victim, a bystander behind it, a producer who feeds them a real chain, and intruders.

use std::collections::BTreeMap;

use weft_core::{
    chain::{Block, Body, Transaction, UnsignedHeader, UnsignedTransaction},
    gossip::{CompactBlock, Topic},
    node::{Command, Discovery, Input, OutboundId, Output, Protocol, Reply},
    primitives::{Now, Slot, encode},
};
use weft_testnet::{
    fixture::{ChainMaker, TestChain, address, key},
    sim::{EPOCH, NodeOptions, PeerIx, World},
};

/// The length of a slot.
const SLOT: u64 = 1_000;

/// What a victim holds against a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Blame {
    /// By the offences' names; empty for one that is no longer connected.
    pub(crate) offences: BTreeMap<String, u32>,
    pub(crate) banned: bool,
    /// Gossip that was rejected.
    pub(crate) rejected: u64,
}

impl Blame {
    pub(crate) fn none() -> Self {
        Self { offences: BTreeMap::new(), banned: false, rejected: 0 }
    }
}

pub(crate) struct Siege {
    pub(crate) world: World,
    pub(crate) chain: TestChain,
    pub(crate) maker: ChainMaker,
    pub(crate) victim: PeerIx,
    pub(crate) bystander: PeerIx,
    producer: PeerIx,
    requests: u64,
}

impl Siege {
    pub(crate) fn new(seed: u64) -> Self {
        let chain = TestChain::new(EPOCH, SLOT, 3, 20);
        let mut world = World::new(seed);
        let options = || NodeOptions {
            genesis: Some(chain.genesis.clone()),
            mempool_bytes: 64 << 10,
            discovery: Discovery { exchange: true, ..Discovery::OFF },
            ..NodeOptions::default()
        };
        let victim = world.add_node(options());
        let bystander = world.add_node(NodeOptions { bootstrap: vec![victim], ..options() });
        let producer = world.add_puppet(options(), |_: Now, _: Input, _: &mut Vec<Output>| {});
        let maker = ChainMaker::new(&chain);
        let mut siege = Self { world, chain, maker, victim, bystander, producer, requests: 0 };
        siege.connect(producer);
        siege
    }

    fn connect(&mut self, ix: PeerIx) {
        let address = self.world.address(self.victim);
        self.world.act(ix, Output::Dial(address));
        assert!(self.world.run_to(5_000, |world| world.is_connected(ix, self.victim)), "no connection");
        self.world.run_for(500);
    }

    /// A new peer that is connected to the victim and does what the script says.
    pub(crate) fn intruder(&mut self, script: impl FnMut(Now, Input, &mut Vec<Output>) + 'static) -> PeerIx {
        let options = NodeOptions { genesis: Some(self.chain.genesis.clone()), ..NodeOptions::default() };
        let ix = self.world.add_puppet(options, script);
        self.connect(ix);
        ix
    }

    /// A new peer that answers nothing.
    pub(crate) fn mute(&mut self) -> PeerIx {
        self.intruder(|_: Now, _: Input, _: &mut Vec<Output>| {})
    }

    /// The slot of this moment.
    pub(crate) fn slot(&self) -> Slot {
        Slot(self.world.elapsed() / SLOT)
    }

    /// Waits for the next slot.
    pub(crate) fn next_slot(&mut self) -> Slot {
        let slot = self.slot();
        while self.slot() == slot {
            self.world.run_for(50);
        }
        self.slot()
    }

    pub(crate) fn sign(&self, unsigned: UnsignedHeader, body: Body) -> Block {
        let key = self.maker.proposer(unsigned.slot).clone();
        Block { header: unsigned.sign(&key, &self.chain.hash()), body }
    }

    pub(crate) fn gossip(&mut self, from: PeerIx, data: Vec<u8>) {
        self.world.act(from, Output::Publish { topic: Topic::Block, data });
        self.world.run_for(2_000);
    }

    pub(crate) fn request(&mut self, from: PeerIx, protocol: Protocol, body: Vec<u8>) {
        self.requests += 1;
        let (id, peer) = (OutboundId(self.requests), self.world.peer_id(self.victim));
        self.world.act(from, Output::Request { id, peer, protocol, body });
        self.world.run_for(1_000);
    }

    /// What the victim holds against a peer.
    pub(crate) fn blame(&mut self, whom: PeerIx) -> Blame {
        let id = self.world.peer_id(whom).to_string();
        let Ok(Reply::Peers(peers)) = self.world.command(self.victim, Command::Peers) else {
            panic!("the victim does not tell its peers");
        };
        let view = peers.into_iter().find(|view| view.peer == id);
        let seen = self.world.seen(self.victim);
        Blame {
            offences: view.map(|view| view.offences).unwrap_or_default(),
            banned: seen.banned.contains(&whom),
            rejected: seen.rejected.get(&whom).copied().unwrap_or_default(),
        }
    }

    /// Checks that a proper block still goes through to everyone, and that the honest think well of each other.
    pub(crate) fn goes_on(&mut self, transactions: Vec<Transaction>) {
        let slot = self.next_slot();
        let block = self.maker.extend_at(slot, transactions);
        let (head, root) = (block.header.hash(), block.header.content.state_root);
        self.gossip(self.producer, encode(&CompactBlock::whole(&block)));
        for ix in [self.victim, self.bystander] {
            let chain = self.world.chain(ix);
            assert_eq!((chain.head, chain.state_root), (head, root), "{ix:?} does not take a proper block");
        }
        let producer = self.producer;
        assert_eq!(self.blame(producer), Blame::none());
        self.world.check_all();
    }
}

/// A payment of the first account, its first unless changed.
pub(crate) fn payment(siege: &Siege, change: impl FnOnce(&mut UnsignedTransaction)) -> Transaction {
    let mut unsigned = siege.chain.unsigned(0, address(&key("shop", 0)), 0);
    change(&mut unsigned);
    unsigned.sign(&siege.chain.accounts[0], &siege.chain.hash())
}
