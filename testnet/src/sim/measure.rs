//! What a run is measured by: how long blocks and transactions take to everybody, and how much it costs.

use std::collections::BTreeMap;

use weft_core::{
    chain::{Checkpoint, Transaction},
    gossip::{TxRequest, TxResponse},
    node::BlockSummary,
    primitives::Hash,
};

use super::{
    event::Micros, gossip::Message, histogram::Histogram, peer::PeerIx, traffic::Kind, world::World,
};

/// A set of peers.
#[derive(Default)]
struct Peers {
    bits: Vec<u64>,
    count: u64,
}

impl Peers {
    /// Whether it was not there.
    fn add(&mut self, ix: PeerIx) -> bool {
        let (word, bit) = (ix.0 / 64, 1 << (ix.0 % 64));
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        let fresh = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        self.count += u64::from(fresh);
        fresh
    }
}

/// Something that is on its way to everybody.
struct Spreading {
    since: Micros,
    last: Micros,
    /// Who was up when it began, besides its author.
    expected: u64,
    reached: Peers,
}

/// Measurements, of what begins within a span of time.
pub struct Measure {
    from: Micros,
    until: Micros,
    blocks: BTreeMap<Hash, Spreading>,
    transactions: BTreeMap<Hash, Spreading>,
    /// From publishing to the first copy, by kind.
    pub copies: [Histogram; Kind::ALL.len()],
    /// From publishing a block to its execution, each peer's.
    pub block: Histogram,
    /// From submission to arrival at a peer by the protocol of transactions, each peer's.
    pub transaction: Histogram,
    /// Transactions that a peer first had with a block.
    pub with_block: u64,
    /// From publishing a block to the time when a peer calls it final.
    pub finality: Histogram,
    /// Transactions in pools, looked at from time to time.
    pub pool: Histogram,
}

/// How far things spread.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// How many things.
    pub count: u64,
    /// Deliveries that came about, of those that could.
    pub delivered: f64,
    /// From the beginning to the last peer that got it.
    pub everyone: Histogram,
}

impl Measure {
    fn new(from: Micros, until: Micros) -> Self {
        Self {
            from,
            until,
            blocks: BTreeMap::new(),
            transactions: BTreeMap::new(),
            copies: Default::default(),
            block: Histogram::default(),
            transaction: Histogram::default(),
            with_block: 0,
            finality: Histogram::default(),
            pool: Histogram::default(),
        }
    }

    fn spread(things: &BTreeMap<Hash, Spreading>) -> Spread {
        let mut everyone = Histogram::default();
        let (mut reached, mut expected) = (0, 0);
        for thing in things.values() {
            everyone.add(thing.last - thing.since);
            // Who joined since may have it too.
            reached += thing.reached.count.min(thing.expected);
            expected += thing.expected;
        }
        let delivered = if expected == 0 { 1.0 } else { reached as f64 / expected as f64 };
        Spread { count: things.len() as u64, delivered, everyone }
    }

    /// How far blocks spread.
    #[must_use]
    pub fn blocks(&self) -> Spread {
        Self::spread(&self.blocks)
    }

    /// How far transactions spread, by their protocol or with a block.
    #[must_use]
    pub fn transactions(&self) -> Spread {
        Self::spread(&self.transactions)
    }

    fn spans(&self, now: Micros) -> bool {
        (self.from..self.until).contains(&now)
    }
}

impl World {
    /// Measures what begins in this span of milliseconds since the world began.
    pub fn measure(&mut self, from: u64, until: u64) {
        self.measure = Some(Box::new(Measure::new(from * 1000, until * 1000)));
    }

    /// What was measured.
    #[must_use]
    pub fn measured(&self) -> Option<&Measure> {
        self.measure.as_deref()
    }

    fn begin_to_spread(&self, ix: PeerIx) -> Spreading {
        let up = self.peers.iter().filter(|peer| peer.is_up()).count() as u64;
        let mut reached = Peers::default();
        reached.add(ix);
        Spreading { since: self.now, last: self.now, expected: up, reached }
    }

    pub(super) fn measure_published(&mut self, ix: PeerIx, hash: Hash) {
        if self.measure.as_ref().is_some_and(|measure| measure.spans(self.now)) {
            let spreading = self.begin_to_spread(ix);
            if let Some(measure) = &mut self.measure {
                measure.blocks.entry(hash).or_insert(spreading);
            }
        }
    }

    pub(super) fn measure_first_copy(&mut self, message: &Message) {
        if let Some(measure) = &mut self.measure
            && measure.spans(message.since)
        {
            measure.copies[message.kind as usize].add(self.now - message.since);
        }
    }

    pub(super) fn measure_block(&mut self, ix: PeerIx, summary: &BlockSummary) {
        let Some(measure) = &mut self.measure else { return };
        if let Some(block) = measure.blocks.get_mut(&summary.hash)
            && block.reached.add(ix)
        {
            block.last = self.now;
            measure.block.add(self.now - block.since);
        }
    }

    pub(super) fn measure_final(&mut self, checkpoint: &Checkpoint) {
        let Some(measure) = &mut self.measure else { return };
        if let Some(block) = measure.blocks.get(&checkpoint.hash) {
            measure.finality.add(self.now - block.since);
        }
    }

    /// A transaction is submitted at a peer.
    pub fn measure_submitted(&mut self, ix: PeerIx, id: Hash) {
        if self.measure.as_ref().is_some_and(|measure| measure.spans(self.now)) {
            let spreading = self.begin_to_spread(ix);
            if let Some(measure) = &mut self.measure {
                measure.transactions.insert(id, spreading);
            }
        }
    }

    pub(super) fn measure_request(&mut self, ix: PeerIx, body: &[u8]) {
        if self.measure.is_some()
            && let Ok(TxRequest::Push(transactions)) = TxRequest::from_bytes(body)
        {
            self.measure_transactions(ix, &transactions, false);
        }
    }

    pub(super) fn measure_response(&mut self, ix: PeerIx, body: &[u8]) {
        if self.measure.is_some()
            && let Ok(TxResponse::Transactions(transactions)) = TxResponse::from_bytes(body)
        {
            self.measure_transactions(ix, &transactions, false);
        }
    }

    /// A peer has these, from a block or before it.
    pub(super) fn measure_transactions(&mut self, ix: PeerIx, transactions: &[Transaction], in_block: bool) {
        let Some(measure) = &mut self.measure else { return };
        for transaction in transactions {
            if let Some(known) = measure.transactions.get_mut(&transaction.id())
                && known.reached.add(ix)
            {
                known.last = self.now;
                if in_block {
                    measure.with_block += 1;
                } else {
                    measure.transaction.add(self.now - known.since);
                }
            }
        }
    }

    /// Looks into a peer's pool.
    pub fn measure_pool(&mut self, ix: PeerIx) {
        let chain = self.status(ix).chain;
        if let (Some(chain), Some(measure)) = (chain, &mut self.measure) {
            measure.pool.add((chain.pending + chain.queued) as u64);
        }
    }

    /// How many copies of messages of a kind peers received again, and how many first ones there were to receive.
    #[must_use]
    pub fn copies(&self, kind: Kind) -> (u64, u64) {
        let sum = |of: fn(&super::peer::Peer) -> &super::traffic::ByKind| -> u64 {
            self.peers.iter().map(|peer| of(peer)[kind].messages).sum()
        };
        (sum(|peer| &peer.repeats), sum(|peer| &peer.firsts))
    }
}
