//! What a person asks about the chain.

use super::{Archived, Chain, history};
use crate::{
    chain::{Body, Header, Transaction},
    node::{
        AccountView, BlockRef, BlockSummary, BlockView, ChainView, CommandError, CommandId, InBlock,
        MempoolView, Reply, TransactionStatus, TransactionView, Verified, effects::Effects,
        metrics::ChainSnapshot,
    },
    primitives::{Address, Hash, Height, decode},
    store::{ArchiveAnswer, ArchiveRequest},
};

/// The most blocks in one list.
const MAX_RECENT: usize = 64;
/// The most transactions in one view of the mempool.
const MAX_POOL_VIEW: usize = 1000;

fn transaction_view(id: Hash, transaction: &Transaction) -> TransactionView {
    let content = &transaction.content;
    TransactionView {
        id,
        from: transaction.sender(),
        to: content.to,
        amount: content.amount,
        fee: content.fee,
        nonce: content.nonce,
        bytes: transaction.encoded_len(),
        memo: String::from_utf8_lossy(&content.memo).into_owned(),
    }
}

/// A transaction that is in no block.
pub(super) fn waiting(transaction: &Transaction) -> TransactionStatus {
    TransactionStatus { transaction: transaction_view(transaction.id(), transaction), block: None }
}

/// A transaction that is in this block.
pub(super) fn in_block(transaction: &Transaction, block: InBlock) -> TransactionStatus {
    TransactionStatus { block: Some(block), ..waiting(transaction) }
}

pub(super) fn summarise(hash: Hash, header: &Header, body: &Body, executed_at: u64) -> BlockSummary {
    BlockSummary {
        height: header.height(),
        hash,
        slot: header.slot(),
        proposer: header.content.proposer,
        transactions: body.transactions.len(),
        bytes: Header::LEN + 8 + body.transactions.iter().map(Transaction::encoded_len).sum::<usize>(),
        executed_at,
    }
}

pub(super) fn block_view(hash: Hash, header: &Header, body: &Body, executed_at: u64) -> BlockView {
    BlockView {
        summary: summarise(hash, header, body, executed_at),
        parent: header.content.parent,
        state_root: header.content.state_root,
        transactions: body.transactions.iter().map(|tx| transaction_view(tx.id(), tx)).collect(),
    }
}

impl Chain {
    pub(in crate::node) fn chain_view(&self, fx: &Effects) -> ChainView {
        let (head, header, record) = match &self.light {
            Some(light) => (light.head().hash(), light.head(), &light.proven().record),
            None => {
                let head = self.tree.head();
                let header = self.tree.header(&head).expect("the head is in the tree");
                (head, header, &**self.tree.record(&head).expect("the head is in the tree"))
            }
        };
        let tree = &self.tree;
        let finalised = match &self.light {
            Some(light) => light.header(),
            None => tree.header(&tree.finalised()).expect("the finalised block is in the tree"),
        };
        let above = Height(header.height().0.saturating_add(1));
        let (joined_at, oldest) = match self.is_light() {
            true => (finalised.height(), above),
            false => (self.joined.oldest.saturating_sub(1), self.oldest()),
        };
        ChainView {
            name: self.genesis.name.clone(),
            genesis: self.id,
            slot_millis: self.genesis.slot_millis,
            min_fee_per_byte: self.genesis.min_fee_per_byte,
            slot: self.slot(fx),
            height: header.height(),
            head,
            state_root: header.content.state_root,
            justified: record.justified.height,
            finalised: finalised.height(),
            finalised_hash: finalised.hash(),
            finalised_state_root: finalised.content.state_root,
            joined_at,
            oldest,
            authorities: record.set.authorities.len(),
            set_id: record.set.id,
            sync: self.sync_view(fx.now.mono),
            pending: self.mempool.pending_count(),
            queued: self.mempool.queued_count(),
            validator: self.validator(),
        }
    }

    pub(in crate::node) fn measure(&self, fx: &Effects) -> ChainSnapshot {
        let view = self.chain_view(fx);
        let [jobs_running, jobs_waiting] = self.jobs.counts();
        ChainSnapshot {
            head: view.height.0,
            justified: view.justified.0,
            finalised: view.finalised.0,
            authorities: view.authorities as u64,
            phase: view.sync.phase,
            pending: view.pending as u64,
            queued: view.queued as u64,
            mempool_bytes: self.mempool.bytes() as u64,
            fee_floor: self.mempool.min_fee_rate(self.next_slot(fx)),
            pool: self.mempool.counts(),
            blocks: self.block_counts(),
            relay: self.relay_counts(),
            jobs_running,
            jobs_waiting,
            delays: fx.delays.clone(),
        }
    }

    pub(in crate::node) fn height_of(&self, peer: &libp2p::PeerId) -> Option<Height> {
        self.scheduler.height(peer)
    }

    pub(super) fn summary(&self, hash: &Hash) -> Option<BlockSummary> {
        let recent = self.recent.get(hash)?;
        Some(summarise(*hash, self.tree.header(hash)?, &recent.body, recent.executed_at.0))
    }

    pub(in crate::node) fn recent_blocks(&self, count: usize) -> Vec<BlockSummary> {
        if let Some(light) = &self.light {
            return light.recent_blocks(count.min(MAX_RECENT));
        }
        let top = self.head_height().0;
        let heights = (0..=top).rev().take(count.min(MAX_RECENT)).map(Height);
        heights.map_while(|height| self.summary(&self.tree.on_best_chain(height)?)).collect()
    }

    pub(in crate::node) fn account_view(&self, address: Address) -> Result<AccountView, CommandError> {
        if self.starting {
            return Err(CommandError::Starting);
        }
        let account = self.account(&address);
        Ok(AccountView {
            address,
            balance: account.balance,
            nonce: account.nonce,
            next_nonce: self.mempool.next_nonce(&address.trie_key(), &account),
            pending_balance: self.mempool.pending_balance(&address.trie_key(), &account),
            height: self.head_height(),
            verified: Verified::Executed,
        })
    }

    pub(in crate::node) fn mempool_view(&self, fx: &Effects, count: usize) -> MempoolView {
        let best = self.mempool.iter_best().take(count.min(MAX_POOL_VIEW));
        MempoolView {
            pending: self.mempool.pending_count(),
            queued: self.mempool.queued_count(),
            bytes: self.mempool.bytes(),
            fees: self.estimator.estimate(&self.mempool, self.next_slot(fx), self.relay.usual_min_fee_rate()),
            histogram: self.mempool.fee_histogram(),
            best: best.map(|(id, transaction)| transaction_view(id, transaction)).collect(),
        }
    }

    /// Shows a block, from memory or from the archive.
    pub(in crate::node) fn show_block(&mut self, fx: &mut Effects, command: CommandId, which: BlockRef) {
        if let Some(light) = &self.light {
            let block = light.block(which).map(Reply::Block).ok_or(CommandError::NoSuchBlock);
            fx.reply(command, block);
            return;
        }
        let hash = match which {
            BlockRef::Hash(hash) => Some(hash),
            BlockRef::Height(height) => self.tree.on_best_chain(Height(height)),
        };
        let known = hash.and_then(|hash| Some((hash, self.tree.header(&hash)?.clone())));
        match (known, which) {
            (Some((hash, header)), _) => {
                if let Some(recent) = self.recent.get(&hash) {
                    let view = block_view(hash, &header, &recent.body, recent.executed_at.0);
                    fx.reply(command, Ok(Reply::Block(view)));
                } else if header.height().0 == 0 {
                    fx.reply(command, Ok(Reply::Block(block_view(hash, &header, &Body::default(), 0))));
                } else {
                    self.read_body(fx, command, header);
                }
            }
            (None, BlockRef::Height(height)) => {
                let request = ArchiveRequest::Headers { from: Height(height), count: 1 };
                let id = fx.archive(request);
                self.archived.insert(id, Archived::ShowHeader(command, Height(height)));
            }
            (None, BlockRef::Hash(_)) => fx.reply(command, Err(CommandError::NoSuchBlock)),
        }
    }

    /// Shows a transaction: from a block near the head, from the mempool, or from whatever block the index names.
    pub(in crate::node) fn show_transaction(&mut self, fx: &mut Effects, command: CommandId, id: Hash) {
        if self.is_light() {
            self.look_up_transaction(fx, command, id);
            return;
        }
        if self.starting {
            fx.reply(command, Err(CommandError::Starting));
            return;
        }
        let recent =
            self.recent.iter().filter_map(|(hash, recent)| Some((self.tree.height(hash)?, hash, recent)));
        let found = recent
            .filter(|(height, hash, _)| self.tree.on_best_chain(*height) == Some(**hash))
            .find_map(|(height, hash, recent)| self.transaction_in(&recent.body, &id, (height, *hash)));
        if let Some(status) = found.or_else(|| self.mempool.get(&id).map(waiting)) {
            fx.reply(command, Ok(Reply::Transaction(Box::new(status))));
            return;
        }
        let mut blocks = history::find(&*fx.store, &id, Height(u64::MAX));
        blocks.retain(|(height, hash)| {
            *height <= self.base_height() || self.tree.on_best_chain(*height) == Some(*hash)
        });
        self.look_into(fx, command, id, blocks);
    }

    /// Reads the first of the blocks that may hold a transaction.
    fn look_into(&mut self, fx: &mut Effects, command: CommandId, id: Hash, blocks: Vec<(Height, Hash)>) {
        let Some(first) = blocks.first() else {
            self.look_up_transaction(fx, command, id);
            return;
        };
        let archive = fx.archive(ArchiveRequest::Bodies { keys: vec![*first], max_bytes: usize::MAX });
        self.archived.insert(archive, Archived::ShowTransaction(command, id, blocks));
    }

    pub(super) fn show_transaction_of(
        &mut self,
        fx: &mut Effects,
        command: CommandId,
        id: Hash,
        mut blocks: Vec<(Height, Hash)>,
        answer: Option<&ArchiveAnswer>,
    ) {
        if blocks.is_empty() {
            return;
        }
        let block = blocks.remove(0);
        let body = match answer {
            Some(ArchiveAnswer::Bodies(bodies)) => bodies.first().and_then(Option::as_ref),
            _ => None,
        };
        let body = body.and_then(|bytes| decode::<Body>(bytes, Body::MAX_LEN).ok());
        match body.and_then(|body| self.transaction_in(&body, &id, block)) {
            Some(status) => fx.reply(command, Ok(Reply::Transaction(Box::new(status)))),
            None => self.look_into(fx, command, id, blocks),
        }
    }

    /// A transaction of a block on the best chain, if it is there.
    fn transaction_in(
        &self,
        body: &Body,
        id: &Hash,
        (height, hash): (Height, Hash),
    ) -> Option<TransactionStatus> {
        let transaction = body.transactions.iter().find(|transaction| transaction.id() == *id)?;
        let finalised = height <= self.finalised_height();
        let (verified, as_of) = (Verified::Executed, self.head_height());
        Some(in_block(transaction, InBlock { height, hash, finalised, verified, as_of }))
    }

    fn read_body(&mut self, fx: &mut Effects, command: CommandId, header: Header) {
        let keys = vec![(header.height(), header.hash())];
        let id = fx.archive(ArchiveRequest::Bodies { keys, max_bytes: usize::MAX });
        self.archived.insert(id, Archived::ShowBody(command, Box::new(header)));
    }

    pub(super) fn show_old_header(
        &mut self,
        fx: &mut Effects,
        command: CommandId,
        height: Height,
        headers: &[(Height, Hash, Vec<u8>)],
    ) {
        let found = headers.first().filter(|(at, ..)| *at == height);
        match found.and_then(|(.., bytes)| decode::<Header>(bytes, Header::LEN).ok()) {
            Some(header) => self.read_body(fx, command, header),
            None => fx.reply(command, Err(CommandError::NoSuchBlock)),
        }
    }

    pub(super) fn show_body(
        &mut self,
        fx: &mut Effects,
        command: CommandId,
        header: &Header,
        bodies: &[Option<Vec<u8>>],
    ) {
        let body = bodies.first().and_then(Option::as_ref);
        let reply = match body.and_then(|bytes| decode::<Body>(bytes, Body::MAX_LEN).ok()) {
            Some(body) => Ok(Reply::Block(block_view(header.hash(), header, &body, 0))),
            None => Err(CommandError::NoSuchBlock),
        };
        fx.reply(command, reply);
    }
}
