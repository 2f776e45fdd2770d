//! The network most scenarios begin with: validators that know each other, and followers that know some of them.

use std::sync::Arc;

use weft_core::node::{BlockRef, BlockView, Command, CommandError, Reply};
use weft_testnet::{
    fixture::TestChain,
    sim::{EPOCH, Gossip, NodeOptions, PeerIx, World, gossipsub::Rules},
};

/// The length of a slot in most scenarios.
pub(crate) const SLOT: u64 = 1_000;

/// The seeds a scenario runs with: so many, or twenty times as many where `WEFT_FULL` is set, or just the one that
/// `WEFT_SIM_SEED` names.
pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    if let Some(seed) = std::env::var("WEFT_SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return seed..seed + 1;
    }
    0..count * if std::env::var_os("WEFT_FULL").is_some() { 20 } else { 1 }
}

pub(crate) struct Town {
    pub(crate) world: World,
    pub(crate) chain: TestChain,
    pub(crate) validators: Vec<PeerIx>,
    pub(crate) followers: Vec<PeerIx>,
    mempool_bytes: usize,
}

impl Town {
    pub(crate) fn new(seed: u64, validators: usize, followers: usize) -> Self {
        let mempool_bytes = NodeOptions::default().mempool_bytes;
        Self::build(seed, [validators, 0, followers], Gossip::default(), mempool_bytes)
    }

    pub(crate) fn with_gossip(seed: u64, validators: usize, followers: usize, gossip: Gossip) -> Self {
        Self::build(seed, [validators, 0, followers], gossip, NodeOptions::default().mempool_bytes)
    }

    /// So many validators, authorities that are not there, and followers, with mempools of this size.
    pub(crate) fn with_absent(seed: u64, peers: [usize; 3], mempool_bytes: usize) -> Self {
        Self::build(seed, peers, Gossip::default(), mempool_bytes)
    }

    /// The same with gossipsub as it is in Weft, and with followers that each know four who were there before.
    pub(crate) fn meshed(seed: u64, peers: [usize; 3], mempool_bytes: usize) -> Self {
        const KNOWN: usize = 4;
        let [validators, absent, followers] = peers;
        let gossip = Gossip::Mesh(Arc::new(Rules::weft(SLOT, validators + absent)));
        let mut town = Self::build(seed, [validators, absent, 0], gossip, mempool_bytes);
        for number in 0..followers {
            let all = town.all();
            let bootstrap =
                (0..KNOWN).map(|turn| all[(number + turn * all.len() / KNOWN) % all.len()]).collect();
            let ix = town.world.add_node(NodeOptions { bootstrap, ..town.options() });
            town.followers.push(ix);
        }
        town
    }

    fn build(seed: u64, peers: [usize; 3], gossip: Gossip, mempool_bytes: usize) -> Self {
        let [validators, absent, followers] = peers;
        let chain = TestChain::new(EPOCH, SLOT, validators + absent, 20);
        let mut world = World::new(seed);
        world.set_gossip(gossip);
        let mut town = Self { world, chain, validators: Vec::new(), followers: Vec::new(), mempool_bytes };
        for index in 0..validators {
            let validator = Some(town.chain.validators[index].clone());
            let bootstrap = town.validators.clone();
            let ix = town.world.add_node(NodeOptions { validator, bootstrap, ..town.options() });
            town.validators.push(ix);
        }
        for index in 0..followers {
            let mut bootstrap = vec![town.validators[index % validators]];
            bootstrap.extend(town.followers.last());
            let ix = town.world.add_node(NodeOptions { bootstrap, ..town.options() });
            town.followers.push(ix);
        }
        town
    }

    /// What a further peer of this chain starts from.
    pub(crate) fn options(&self) -> NodeOptions {
        let genesis = Some(self.chain.genesis.clone());
        NodeOptions { genesis, mempool_bytes: self.mempool_bytes, ..NodeOptions::default() }
    }

    pub(crate) fn all(&self) -> Vec<PeerIx> {
        [self.validators.as_slice(), &self.followers].concat()
    }

    /// Runs until everyone is at one head, at this height or above.
    pub(crate) fn converge(&mut self, height: u64, millis: u64) {
        let all = self.all();
        self.world.run_until(millis, |world| world.have_converged(&all, height));
    }

    /// A block as a peer shows it.
    pub(crate) fn block(&mut self, ix: PeerIx, which: BlockRef) -> Result<BlockView, CommandError> {
        match self.world.command(ix, Command::Block(which))? {
            Reply::Block(block) => Ok(block),
            other => panic!("{ix:?} answered {other:?} when asked for a block"),
        }
    }

    /// Every transaction on a peer's best chain, in order, with its block's height.
    pub(crate) fn transactions(&mut self, ix: PeerIx) -> Vec<(u64, weft_core::node::TransactionView)> {
        let head = self.world.chain(ix).height.0;
        (1..=head)
            .flat_map(|height| {
                let block = self.block(ix, BlockRef::Height(height)).expect("a block of the best chain");
                block.transactions.into_iter().map(move |transaction| (height, transaction))
            })
            .collect()
    }
}
