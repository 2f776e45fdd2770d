//! Proposing: one block at most in each of our slots, and never two signatures for one slot, whatever happens.
//!
//! The slot is written down, durably, before the block leaves. A peer that is killed in between has lost the block, not
//! its word.

use std::sync::Arc;

use super::{Chain, Promise, Purpose, signed::Signed, storage};
use crate::{
    chain::{
        Ballot, Block, Body, ConsensusRecord, Header, Link, MAX_BLOCK_TRANSACTIONS, SignedBallot,
        Transaction, UnsignedHeader, Vote,
    },
    gossip::Topic,
    mempool::BLOCK_ROOM,
    node::{Output, effects::Effects, work::Job},
    primitives::{Hash, PublicKey, SecretKey, Slot, encode},
    state::Executed,
    store::Batch,
};

/// The proposing half of a validator.
pub(super) struct Proposer {
    key: SecretKey,
    signed: Signed,
    /// The slot that was tried last in this run.
    last_tried: Option<Slot>,
    pub(super) building: bool,
}

impl Proposer {
    pub(super) fn new(key: SecretKey, signed: Signed) -> Self {
        Self { key, signed, last_tried: None, building: false }
    }

    pub(super) fn public(&self) -> PublicKey {
        self.key.public()
    }

    pub(super) fn vote(&self, link: Link, genesis: &Hash) -> Vote {
        Vote::sign(link, &self.key, genesis)
    }

    pub(super) fn ballot(&self, content: Ballot, genesis: &Hash) -> SignedBallot {
        SignedBallot::sign(content, &self.key, genesis)
    }
}

impl Chain {
    /// Begins a block, if it is our turn and nothing stands against it.
    pub(super) fn propose(&mut self, fx: &mut Effects) {
        let slot = self.slot(fx);
        let Some(proposer) = &self.proposer else { return };
        if !proposer.signed.may_sign(slot) || proposer.last_tried == Some(slot) || proposer.building {
            return;
        }
        let head = self.tree.head();
        let (Some(record), Some(parent)) = (self.tree.record(&head), self.tree.header(&head)) else { return };
        let our_turn = |proposer: &Proposer| record.set.proposer(slot).key == proposer.public();
        // Behind the best header chain a block of ours would only make a fork. But a header whose body never comes must
        // not silence us: one or two of them are waited for half a slot only.
        let ahead =
            self.tree.height(&self.tree.target()).unwrap_or_default().saturating_sub(parent.height().0).0;
        let early = fx.now.wall.0 < self.genesis.slot_start(slot).0 + self.genesis.slot_millis / 2;
        let behind = self.download.is_behind(ahead, fx.now.mono) || (ahead > 0 && early);
        if slot <= parent.slot() || behind || !Self::storage_works(fx) {
            return;
        }
        let Some(trie) = self.tries.get(&head).cloned() else { return };
        let context = self.context_for(&head, slot);
        let Some(proposer) = self.proposer.as_mut().filter(|proposer| our_turn(proposer)) else { return };
        proposer.building = true;
        proposer.last_tried = Some(slot);
        let candidates = Arc::new(self.mempool.best(MAX_BLOCK_TRANSACTIONS, BLOCK_ROOM));
        self.jobs.urgent(fx, Purpose::Build(head, slot), Job::Build { trie, context, candidates });
    }

    pub(super) fn built(
        &mut self,
        fx: &mut Effects,
        parent: Hash,
        slot: Slot,
        transactions: Vec<Transaction>,
        executed: Executed,
    ) {
        let (now_slot, head) = (self.slot(fx), self.tree.head());
        let Some(proposer) = &mut self.proposer else { return };
        proposer.building = false;
        if head != parent && slot == now_slot {
            // Somebody's block came in between: build on that, while the slot lasts.
            proposer.last_tried = None;
            self.propose(fx);
            return;
        }
        if slot.0 + 1 < now_slot.0 || !Self::storage_works(fx) {
            fx.refuse("own-block-too-late");
            return;
        }
        let (Some(before), Some(record), Some(mmr)) =
            (self.tree.header(&parent), self.tree.record(&parent), self.tree.mmr_after(&parent))
        else {
            return;
        };
        let system = self.system_items(fx, &parent);
        let Some(height) = before.height().checked_add(1) else { return };
        let yielded = match self.yielded(&parent, height, &system) {
            Ok(yielded) => yielded,
            Err(error) => {
                tracing::error!(%error, "our own system items do not fit; the block goes without");
                fx.refuse("own-system-items");
                Arc::clone(record)
            }
        };
        // Items that do not fit are left out together.
        let system = if Arc::ptr_eq(&yielded, record) { Vec::new() } else { system };
        let body = Body { transactions, system };
        let roots = [
            body.tx_root(),
            body.system_root(),
            executed.trie.root(),
            executed.diff.root(),
            yielded.root(),
            mmr.root(),
        ];
        let set_id = record.set.id;
        let Some(proposer) = &mut self.proposer else { return };
        let header = UnsignedHeader::new(height, slot, parent, roots, set_id, proposer.public());
        // From here on the slot is spent.
        proposer.signed.sign(slot);
        let mut batch = Batch::default();
        batch.put(storage::SIGNED, proposer.public().0, encode(&proposer.signed.last));
        batch.put(storage::OPEN, proposer.public().0, encode(&proposer.signed.open));
        let header = header.sign(&proposer.key, &self.id);
        let seq = fx.apply_now(batch);
        let block = Block { header, body };
        self.promises.push((seq, Promise::Publish(Box::new(block), Box::new(executed), yielded)));
    }

    /// Our own block may leave: the disk knows that its slot is spent.
    pub(super) fn publish(
        &mut self,
        fx: &mut Effects,
        block: Block,
        executed: Executed,
        record: Arc<ConsensusRecord>,
    ) {
        let data = encode(&self.announcement(fx, &block));
        let Block { header, body } = block;
        let (height, slot) = (header.height(), Header::slot(&header));
        let Ok(hash) = self.tree.insert(header.clone()) else { return };
        let body = Arc::new(body);
        tracing::debug!(%height, %slot, %hash, transactions = body.transactions.len(), "proposed a block");
        fx.push(Output::Publish { topic: Topic::Block, data });
        self.announced_own(fx, hash, &header, &body);
        self.complete(fx, hash, body, executed, record);
    }
}
