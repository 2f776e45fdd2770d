//! From a gossiped or downloaded block to the head of the chain.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use libp2p::PeerId;

use super::{Archived, Chain, MAX_WAITING_BYTES, Purpose, RECENT_DEPTH, Recent, Waiting, history, row};
use crate::{
    chain::{Body, ConsensusRecord, Header, RecordError, SystemItem},
    finality::{BlockTree, InsertError, Stage},
    gossip::{CompactBlock, CompactError},
    node::{Event, GossipMessage, SyncPhase, Verdict, effects::Effects, work::Job},
    peers::{Offence, Service},
    primitives::{Hash, Height, Slot, decode, encode},
    state::{self, Account, BlockContext, Diff, Executed, ExecutionError, Trie},
    store::{ArchiveRequest, ArchivedBlock, Store},
    sync::WINDOW,
};

/// The most gossiped headers of one peer whose signatures are being checked at a time.
const MAX_VERIFYING: usize = 8;
/// The most gossiped blocks held until their slot begins.
pub(super) const MAX_HELD: usize = 16;
/// Of these, the most that one peer sent.
const MAX_HELD_OF_PEER: usize = 2;

impl Chain {
    /// A block was announced by gossip: it is judged by header, proposer and slot before it is forwarded, and put together
    /// and executed after.
    pub(in crate::node) fn gossiped(&mut self, fx: &mut Effects, message: GossipMessage) {
        let Ok(block) = decode::<CompactBlock>(&message.data, CompactBlock::MAX_LEN) else {
            fx.judge(message.id, Verdict::Reject);
            fx.offend(message.from, Offence::Malformed);
            return;
        };
        let hash = block.header.hash();
        let Some(tree) = self.followed().filter(|_| !self.is_halted() && !self.verifying.contains_key(&hash))
        else {
            fx.judge(message.id, Verdict::Ignore);
            return;
        };
        if self.is_early(fx, block.header.slot()) {
            self.hold(fx, message, block.header.slot());
            return;
        }
        let verdict = match tree.check(&hash, &block.header) {
            Ok(()) => match block.check() {
                Ok(()) => None,
                Err(CompactError::Body(_)) => Some(Verdict::Reject),
                Err(error) => {
                    tracing::debug!(%hash, %error, "an announced block is none");
                    fx.judge(message.id, Verdict::Reject);
                    fx.offend(message.from, Offence::Malformed);
                    return;
                }
            },
            Err(InsertError::Invalid(error)) => {
                tracing::debug!(%hash, %error, "a gossiped header cannot follow its parent");
                Some(Verdict::Reject)
            }
            Err(InsertError::UnknownParent) => {
                self.follow_unknown(fx, message.from, &block.header);
                Some(Verdict::Ignore)
            }
            Err(InsertError::Known) => {
                let verdict = self.known_announced(fx, hash, message.from, block);
                fx.judge(message.id, verdict);
                return;
            }
            Err(InsertError::UnknownSet) => Some(Verdict::Ignore),
            Err(InsertError::TooMany | InsertError::InvalidParent | InsertError::Finalised) => {
                fx.refuse("block-beyond-caps");
                Some(Verdict::Ignore)
            }
        };
        match verdict {
            Some(verdict) => {
                fx.judge(message.id, verdict);
                if verdict == Verdict::Reject {
                    fx.offend(message.from, Offence::InvalidBlock);
                }
            }
            None if self.verifying.values().filter(|from| **from == message.from).count()
                >= MAX_VERIFYING =>
            {
                fx.refuse("headers-in-check");
                fx.judge(message.id, Verdict::Ignore);
            }
            None => {
                self.verifying.insert(hash, message.from);
                let job =
                    Job::VerifyHeaders { genesis: self.id, headers: Arc::new(vec![block.header.clone()]) };
                self.jobs.urgent(fx, Purpose::Gossip(message, Box::new(block)), job);
            }
        }
    }

    /// The tree that new headers go to, when there is one.
    fn followed(&self) -> Option<&BlockTree> {
        match &self.light {
            Some(light) => light.tip_tree(),
            None => Some(&self.tree).filter(|_| !self.starting),
        }
    }

    pub(super) fn take_body(&mut self, fx: &mut Effects, hash: Hash, body: Body) {
        if self.is_light() {
            self.tip_body(fx, hash, body);
        } else {
            self.accept_body(fx, hash, body);
        }
    }

    /// Whether a slot begins more than a quarter slot from now.
    pub(super) fn is_early(&self, fx: &Effects, slot: Slot) -> bool {
        self.genesis.slot_start(slot).0 > fx.now.wall.0.saturating_add(self.genesis.slot_millis / 4)
    }

    /// Keeps a block of a slot to come until then, if that is soon and there is room.
    fn hold(&mut self, fx: &mut Effects, message: GossipMessage, slot: Slot) {
        let of_peer = self.held.iter().filter(|(_, held)| held.from == message.from).count();
        let soon = slot.0 <= self.slot(fx).0 + 2;
        if soon && self.held.len() < MAX_HELD && of_peer < MAX_HELD_OF_PEER {
            self.held.push_back((slot, message));
        } else {
            fx.refuse("block-from-the-future");
            fx.judge(message.id, Verdict::Ignore);
        }
    }

    pub(super) fn release_held(&mut self, fx: &mut Effects) {
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        let (early, due): (VecDeque<_>, VecDeque<_>) =
            held.into_iter().partition(|(slot, _)| self.is_early(fx, *slot));
        self.held = early;
        for (_, message) in due {
            self.gossiped(fx, message);
        }
    }

    pub(super) fn gossiped_header_verified(
        &mut self,
        fx: &mut Effects,
        message: &GossipMessage,
        block: CompactBlock,
        valid: bool,
    ) {
        self.verifying.remove(&block.header.hash());
        if !valid {
            fx.judge(message.id, Verdict::Reject);
            fx.offend(message.from, Offence::BadSignature);
            return;
        }
        let height = block.header.height();
        let header = block.header.clone();
        if self.is_light() {
            let taken = self.tip_insert(fx, header);
            let verdict = if taken.is_ok() { Verdict::Accept } else { Verdict::Ignore };
            fx.judge(message.id, verdict);
            if let Ok(hash) = taken {
                fx.services.push((message.from, Service::Block));
                self.announced(fx, hash, message.from, block);
                self.notify_sync(fx);
            }
            return;
        }
        match self.tree.insert(header) {
            Ok(hash) => {
                fx.judge(message.id, Verdict::Accept);
                fx.services.push((message.from, Service::Block));
                self.scheduler.seen(message.from, height);
                self.header_taken(fx, &hash);
                self.announced(fx, hash, message.from, block);
            }
            Err(_) => fx.judge(message.id, Verdict::Ignore),
        }
    }

    /// Takes in a body that its header commits to.
    pub(super) fn accept_body(&mut self, fx: &mut Effects, hash: Hash, body: Body) {
        let Some(header) = self.tree.header(&hash) else { return };
        let near = header.height().0 <= self.head_height().0 + WINDOW as u64;
        if !near || self.tree.stage(&hash) != Some(Stage::Header) || self.waiting.contains_key(&hash) {
            return;
        }
        let transactions: usize = body.transactions.iter().map(crate::chain::Transaction::encoded_len).sum();
        let bytes = transactions + body.system.iter().map(|item| encode(item).len()).sum::<usize>();
        let ready = self.tree.stage(&header.content.parent) == Some(Stage::Executed);
        if self.waiting_bytes() + bytes > MAX_WAITING_BYTES && !(ready && self.make_room(bytes)) {
            fx.refuse("bodies-beyond-memory");
            return;
        }
        let unknown: Vec<_> = body
            .transactions
            .iter()
            .filter(|transaction| !self.mempool.contains(&transaction.id()))
            .cloned()
            .collect();
        let body = Arc::new(body);
        let waiting = Waiting { body: Arc::clone(&body), bytes, verified: false, record: None, busy: false };
        self.waiting.insert(hash, waiting);
        self.body_here(fx, &hash, &body);
        if unknown.is_empty() {
            self.body_verified(fx, &hash, true);
        } else {
            let job = Job::VerifyTransactions { genesis: self.id, transactions: Arc::new(unknown) };
            self.jobs.add(fx, Purpose::Signatures(hash), job);
        }
    }

    /// Lets bodies go that cannot be executed yet, the highest first, so that one that can be finds room: whoever fills
    /// memory with blocks that never come to their turn must not stop the chain.
    fn make_room(&mut self, bytes: usize) -> bool {
        let executable = |tree: &BlockTree, hash: &Hash| {
            let parent = tree.header(hash).map(|header| header.content.parent);
            parent.is_some_and(|parent| tree.stage(&parent) == Some(Stage::Executed))
        };
        let mut idle: Vec<_> = self
            .waiting
            .keys()
            .filter(|hash| !executable(&self.tree, hash))
            .map(|hash| (self.tree.height(hash), *hash))
            .collect();
        idle.sort();
        while self.waiting_bytes() + bytes > MAX_WAITING_BYTES {
            let Some((_, hash)) = idle.pop() else { return false };
            self.drop_waiting(&hash);
        }
        true
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.values().map(|waiting| waiting.bytes).sum()
    }

    pub(super) fn drop_waiting(&mut self, hash: &Hash) {
        self.waiting.remove(hash);
        self.download.replan();
    }

    pub(super) fn body_verified(&mut self, fx: &mut Effects, hash: &Hash, valid: bool) {
        if !valid {
            tracing::warn!(%hash, "a block holds a transaction with a wrong signature");
            self.invalidate(fx, hash);
        } else if let Some(waiting) = self.waiting.get_mut(hash) {
            waiting.verified = true;
            self.execute_if_ready(fx, *hash);
        }
    }

    fn context(&self, parent: &Hash, slot: Slot) -> Option<BlockContext> {
        let record = self.tree.record(parent)?;
        Some(BlockContext {
            slot,
            fee_address: record.set.proposer(slot).fee_address,
            min_fee_per_byte: self.genesis.min_fee_per_byte,
        })
    }

    pub(super) fn context_for(&self, parent: &Hash, slot: Slot) -> BlockContext {
        self.context(parent, slot).expect("the parent is in the tree")
    }

    pub(super) fn execute_if_ready(&mut self, fx: &mut Effects, hash: Hash) {
        let Some(header) = self.tree.header(&hash) else { return };
        let (parent, slot) = (header.content.parent, header.slot());
        let height = header.height();
        let Some(waiting) = self.waiting.get(&hash) else { return };
        if !waiting.verified || waiting.busy || self.tree.stage(&parent) != Some(Stage::Executed) {
            return;
        }
        if waiting.record.is_none() {
            let body = Arc::clone(&waiting.body);
            self.check_items(fx, hash, &parent, height, &body.system);
            return;
        }
        let Some(trie) = self.tries.get(&parent).cloned() else {
            self.rewind(fx, parent);
            return;
        };
        let Some(waiting) = self.waiting.get_mut(&hash) else { return };
        waiting.busy = true;
        let transactions = Arc::new(waiting.body.transactions.clone());
        let context = self.context_for(&parent, slot);
        let job = Job::Execute { trie, context, transactions };
        self.jobs.urgent(fx, Purpose::Execute(hash), job);
    }

    /// The record that a block with these items yields, if it may carry them.
    pub(super) fn yielded(
        &self,
        parent: &Hash,
        height: Height,
        items: &[SystemItem],
    ) -> Result<Arc<ConsensusRecord>, RecordError> {
        let before = self.tree.record(parent).expect("the parent is in the tree");
        if items.is_empty() {
            return Ok(Arc::clone(before));
        }
        let target = self.target_record(parent, items);
        before.after(height, items, target.as_deref()).map(Arc::new)
    }

    /// Checks what the system items of a body do, and has their signatures checked.
    fn check_items(
        &mut self,
        fx: &mut Effects,
        hash: Hash,
        parent: &Hash,
        height: Height,
        items: &[SystemItem],
    ) {
        let Some(header) = self.tree.header(&hash) else { return };
        let proposer = header.content.proposer;
        let right = |record: &Arc<ConsensusRecord>| record.root() == header.content.consensus_root;
        let record = match self.yielded(parent, height, items) {
            Ok(record) if right(&record) => record,
            outcome => {
                let wrong =
                    outcome.err().map_or("wrong consensus root".to_owned(), |error| error.to_string());
                tracing::warn!(%hash, %proposer, wrong, "a properly signed block is invalid: its proposer's doing");
                self.invalidate(fx, &hash);
                return;
            }
        };
        if items.is_empty() {
            self.items_verified(fx, &hash, record, true);
            return;
        }
        let target = self.target_record(parent, items);
        if let Some(waiting) = self.waiting.get_mut(&hash) {
            waiting.busy = true;
            let job = Job::VerifyItems { genesis: self.id, items: Arc::new(items.to_vec()), target };
            self.jobs.urgent(fx, Purpose::Items(hash, record), job);
        }
    }

    pub(super) fn items_verified(
        &mut self,
        fx: &mut Effects,
        hash: &Hash,
        record: Arc<ConsensusRecord>,
        valid: bool,
    ) {
        if !valid {
            tracing::warn!(%hash, "a block holds a system item with a wrong signature");
            self.invalidate(fx, hash);
        } else if let Some(waiting) = self.waiting.get_mut(hash) {
            waiting.busy = false;
            waiting.record = Some(record);
            self.execute_if_ready(fx, *hash);
        }
    }

    /// Makes the accounts after an executed block that is not near the head, for a branch that starts there.
    fn rewind(&mut self, fx: &mut Effects, hash: Hash) {
        if !self.rewinding.insert(hash) {
            return;
        }
        let head = self.tree.head();
        let Some(trie) = self.tries.get(&head).cloned() else { return };
        let Some(changes) = self.changes(fx, &head, &hash) else { return };
        let changes = changes.into_iter().collect();
        self.jobs.urgent(fx, Purpose::Rewind(hash), Job::Update { trie, changes });
    }

    pub(super) fn rewound(&mut self, fx: &mut Effects, hash: Hash, trie: Trie) {
        self.rewinding.remove(&hash);
        if self.tree.header(&hash).is_some_and(|header| header.content.state_root == trie.root()) {
            self.tries.insert(hash, trie);
            self.execute_children(fx, &hash);
        }
    }

    fn execute_children(&mut self, fx: &mut Effects, hash: &Hash) {
        for child in self.tree.children(hash).to_vec() {
            self.execute_if_ready(fx, child);
        }
    }

    pub(super) fn executed(
        &mut self,
        fx: &mut Effects,
        hash: Hash,
        outcome: Result<Executed, ExecutionError>,
    ) {
        let Some(waiting) = self.waiting.remove(&hash) else { return };
        let Some(header) = self.tree.header(&hash) else { return };
        let Some(record) = waiting.record else { return };
        let content = &header.content;
        let wrong = match &outcome {
            Err(error) => Some(error.to_string()),
            Ok(executed) if executed.trie.root() != content.state_root => Some("wrong state root".to_owned()),
            Ok(executed) if executed.diff.root() != content.diff_root => Some("wrong diff root".to_owned()),
            Ok(_) => None,
        };
        match (outcome, wrong) {
            (Ok(executed), None) => {
                self.complete(fx, hash, waiting.body, executed, record);
            }
            (_, wrong) => {
                let proposer = content.proposer;
                tracing::warn!(%hash, %proposer, wrong, "a properly signed block is invalid: its proposer's doing");
                self.invalidate(fx, &hash);
            }
        }
    }

    pub(super) fn invalidate(&mut self, fx: &mut Effects, hash: &Hash) {
        fx.refuse("invalid-signed-block");
        for hash in self.tree.invalidate(hash) {
            self.waiting.remove(&hash);
        }
        self.waiting.remove(hash);
        self.download.replan();
    }

    /// A block is executed and right: it may become the head, and goes to the archive.
    pub(super) fn complete(
        &mut self,
        fx: &mut Effects,
        hash: Hash,
        body: Arc<Body>,
        executed: Executed,
        record: Arc<ConsensusRecord>,
    ) {
        let Some(header) = self.tree.header(&hash).cloned() else { return };
        let id = fx.archive(ArchiveRequest::Put(vec![ArchivedBlock {
            height: header.height(),
            hash,
            header: encode(&header),
            body: encode(&*body),
        }]));
        self.archived.insert(id, Archived::Block(hash, history::contents(&body)));
        self.tries.insert(hash, executed.trie);
        self.diffs.insert(hash, Arc::new(executed.diff));
        let system = body.system.clone();
        self.recent.insert(hash, Recent { body, executed_at: fx.now.wall });
        let old = self.tree.head();
        let (moved, invalid) = self.tree.executed(&hash, record);
        for hash in &invalid {
            fx.refuse("invalid-signed-block");
            self.waiting.remove(hash);
        }
        if moved {
            self.head_moved(fx, old);
        } else {
            // It is on the way to a better branch: what is still missing there is another block now.
            self.download.replan();
        }
        self.compact_executed(fx, &hash);
        self.count_block(fx, &hash, &system);
        self.follow_finality(fx);
        self.vote(fx);
        self.execute_children(fx, &hash);
    }

    pub(super) fn head_moved(&mut self, fx: &mut Effects, old: Hash) {
        let head = self.tree.head();
        let (undone, done) = self.tree.path(&old, &head);
        if !undone.is_empty() {
            tracing::info!(undone = undone.len(), done = done.len(), %head, "the best chain moved to another branch");
            fx.notify(Event::Reorganised(undone.len() as u64));
        }
        self.download.head_moved(fx, &self.tree, &undone, &done);
        self.pool_follows(fx, &undone, &done);
        let follows = self.sync_view(fx.now.mono).phase == SyncPhase::Following;
        for hash in &done {
            if let Some(summary) = self.summary(hash) {
                if follows {
                    let start = self.genesis.slot_start(summary.slot).0;
                    fx.delays.add(summary.executed_at.saturating_sub(start));
                }
                fx.notify(Event::Block(summary));
            }
        }
        self.forget_old();
        self.notify_sync(fx);
    }

    /// Drops what is kept only near the head.
    fn forget_old(&mut self) {
        let oldest = self.head_height().saturating_sub(RECENT_DEPTH);
        let (tree, head) = (&self.tree, self.tree.head());
        let near = |hash: &Hash| tree.height(hash).is_some_and(|height| height >= oldest) || *hash == head;
        self.tries.retain(|hash, _| near(hash));
        self.recent.retain(|hash, _| near(hash));
    }

    /// What an executed block above the base changed. While a chain does not become final these are many, so they are in
    /// memory only until the store has them.
    fn diff(&self, store: &dyn Store, hash: &Hash) -> Option<Arc<Diff>> {
        match self.diffs.get(hash) {
            Some(diff) => Some(Arc::clone(diff)),
            None => row(store, state::DIFFS, &hash.0).ok().flatten().map(Arc::new),
        }
    }

    /// The accounts that change on the way from one executed block to another. `None`, and an alarm, when the store does not
    /// have what it should.
    pub(super) fn changes(
        &self,
        fx: &mut Effects,
        from: &Hash,
        to: &Hash,
    ) -> Option<BTreeMap<Hash, Account>> {
        let (undo, redo) = self.tree.path(from, to);
        self.changes_of(fx, &undo, &redo)
    }

    /// [`Self::changes`] when the way is known: blocks to undo, tip first, and blocks to do, oldest first.
    pub(super) fn changes_of(
        &self,
        fx: &mut Effects,
        undo: &[Hash],
        redo: &[Hash],
    ) -> Option<BTreeMap<Hash, Account>> {
        let mut changes = BTreeMap::new();
        for (hash, back) in undo.iter().map(|hash| (hash, true)).chain(redo.iter().map(|hash| (hash, false)))
        {
            let Some(diff) = self.diff(&*fx.store, hash) else {
                fx.raise(format!(
                    "the stored changes of block {hash} are damaged or missing. Stop the peer, move the data directory \
                     away, and synchronise again"
                ));
                return None;
            };
            if back {
                changes.extend(diff.backward());
            } else {
                changes.extend(diff.forward());
            }
        }
        Some(changes)
    }

    /// A block whose parent is unknown here: someone knows more.
    fn follow_unknown(&mut self, fx: &mut Effects, from: PeerId, header: &Header) {
        if self.is_light() {
            self.tip_misses(from);
            return;
        }
        self.scheduler.seen(from, header.height());
        self.seek_parent(fx, from, header.content.parent);
    }
}
