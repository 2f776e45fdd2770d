//! What happens in a world, told to what measures it.

use weft_core::{
    chain::{Checkpoint, Transaction},
    gossip::{TxRequest, TxResponse},
    node::BlockSummary,
    primitives::Hash,
};

use super::{gossip::Message, peer::PeerIx, scripts::Scripts, traffic::Kind, world::World};
use crate::measure::Measure;

impl<S: Scripts> World<S> {
    /// Measures what begins in this span of milliseconds since the world began.
    pub fn measure(&mut self, from: u64, until: u64) {
        self.measure = Some(Box::new(Measure::new(from * 1000..until * 1000)));
    }

    /// What was measured.
    #[must_use]
    pub fn measured(&self) -> Option<&Measure> {
        self.measure.as_deref()
    }

    /// Those that things are to reach: whoever is honest and up.
    pub(super) fn up(&self) -> u64 {
        let here = self.peers.iter().filter(|peer| peer.is_up() && peer.is_honest()).count() as u64;
        here + self.up_elsewhere
    }

    pub(super) fn measure_published(&mut self, ix: PeerIx, hash: Hash) {
        let (now, up) = (self.now, self.up());
        if let Some(measure) = &mut self.measure {
            measure.block_published(now, ix.0, hash, up);
        }
    }

    pub(super) fn measure_first_copy(&mut self, message: &Message) {
        if let Some(measure) = &mut self.measure
            && message.kind == Kind::Block
            && measure.spans(message.since)
        {
            measure.first_copy_came(self.now - message.since);
        }
    }

    pub(super) fn measure_block(&mut self, ix: PeerIx, summary: &BlockSummary) {
        let is_honest = self.peers[ix.0].is_honest();
        if let Some(measure) = self.measure.as_mut().filter(|_| is_honest) {
            measure.block_executed(self.now, ix.0, &summary.hash);
        }
    }

    pub(super) fn measure_final(&mut self, checkpoint: &Checkpoint) {
        if let Some(measure) = &mut self.measure {
            measure.block_final(self.now, &checkpoint.hash);
        }
    }

    /// A transaction is submitted at a peer.
    pub fn measure_submitted(&mut self, ix: PeerIx, id: Hash) {
        let (now, up) = (self.now, self.up());
        if let Some(measure) = &mut self.measure {
            measure.transaction_submitted(now, ix.0, id, up);
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
        let is_honest = self.peers[ix.0].is_honest();
        let Some(measure) = self.measure.as_mut().filter(|_| is_honest) else { return };
        for transaction in transactions {
            measure.transaction_came(self.now, ix.0, &self.ids.of(transaction), in_block);
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
