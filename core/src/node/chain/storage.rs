//! What of the chain is written down, and how a restart finds it again.
//!
//! The store holds the accounts at the *base*, a block so deep that its siblings no longer matter, and above it the
//! header and diff of every executed block that the archive already has. From any prefix of its batches a peer can
//! start: at worst it downloads the last blocks again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{
    Archived, Chain, history,
    light::{Begun, Light},
    row,
    signed::Signed,
};
use crate::{
    chain::{Certificate, Change, Checkpoint, ConsensusRecord, Genesis, Header, Link, Mmr, Transaction},
    finality::{BlockTree, Certified},
    mempool,
    node::{StartError, effects::Effects, work::Job},
    primitives::{Hash, Height, PublicKey, Slot, decode, encode},
    state::{self, Account, Diff, Trie},
    store::{ArchiveAnswer, ArchiveRequest, Batch, SCHEMA, Store, Table},
    sync::Strategy,
};

/// One row: what everything else in the store builds on. A peer that joins by proof has it once its state is installed.
const META: Table = Table("node/meta");
const META_KEY: &[u8] = b"meta";
/// Until then this one stands for it.
const BEGUN_KEY: &[u8] = b"begun";
/// What proof of conflicting finality has stopped this peer, in words.
const HALTED_KEY: &[u8] = b"halted";
/// For a peer that joined by proof: what it has of the chain before.
const JOINED_KEY: &[u8] = b"joined";
/// The height below which blocks were forgotten.
const PRUNED_KEY: &[u8] = b"pruned";
/// Validator key to the last slot it signed a header for.
pub(super) const SIGNED: Table = Table("node/signed");
/// Validator key to slots before that for which it signed none, where a clock that was ahead has passed them over.
pub(super) const OPEN: Table = Table("node/open");
/// Validator key to the link of its last vote.
pub(super) const VOTED: Table = Table("node/voted");
/// One row, under no key: the change that this peer's authority asks for.
pub(super) const WISH: Table = Table("node/wish");
/// Block hash to the record it yields, for executed blocks above the base whose record differs from their parent's.
const RECORDS: Table = Table("chain/records");
/// Height and hash of the target to a certificate and the target's record, as far back as contradictions are looked for.
const CERTIFIED: Table = Table("finality/certified");
/// Height and hash to the header of an executed block above the base.
const HEADERS: Table = Table("cold/headers");
/// How many rows are read at a time.
const PAGE: usize = 4096;

#[derive(BorshSerialize, BorshDeserialize)]
struct Meta {
    schema: u32,
    genesis: Hash,
    base: Header,
    /// The mountain range over all headers before the base.
    mmr_count: u64,
    mmr_peaks: Vec<Hash>,
    record: ConsensusRecord,
}

/// What a peer has of the chain before it joined: everything, if it has executed it from the genesis on.
#[derive(Clone, Copy, Debug, Default, BorshSerialize, BorshDeserialize)]
pub(super) struct Joined {
    /// The lowest block whose body it has; 0 for all.
    pub(super) oldest: Height,
    /// The height from which on it can prove what is final.
    pub(super) proven_from: Height,
}

/// A chain as the store has it.
pub(super) struct Opened {
    pub(super) tree: BlockTree,
    pub(super) tries: BTreeMap<Hash, Trie>,
    pub(super) written: BTreeSet<Hash>,
    /// How to make the trie of the head, unless it is here.
    pub(super) restore: Option<Job>,
    pub(super) own: BTreeMap<Hash, Transaction>,
    /// How the chain is joined, if it is not here yet.
    pub(super) light: Option<Light>,
    pub(super) joined: Joined,
}

/// The slots that this key has signed headers for.
pub(super) fn signed(store: &dyn Store, key: &PublicKey) -> Signed {
    let (last, open) = (store.get(SIGNED, &key.0), store.get(OPEN, &key.0));
    let last = last.and_then(|bytes| decode(&bytes, 8).ok()).unwrap_or_default();
    Signed { last, open: open.and_then(|bytes| decode(&bytes, 16).ok()).unwrap_or_default() }
}

/// The link that this key has voted for last.
pub(super) fn last_vote(store: &dyn Store, key: &PublicKey) -> Option<Link> {
    store.get(VOTED, &key.0).and_then(|bytes| decode(&bytes, 2 * 40).ok())
}

/// The change that this peer's authority asks for.
pub(super) fn wish(store: &dyn Store) -> Option<Change> {
    store.get(WISH, &[]).and_then(|bytes| decode(&bytes, 1 << 10).ok())
}

/// Why this peer has stopped for good, if it has.
pub(super) fn halted(store: &dyn Store) -> Option<String> {
    store.get(META, HALTED_KEY).and_then(|bytes| decode(&bytes, 1 << 20).ok())
}

/// Writes down that this peer has stopped for good.
pub(super) fn put_halted(batch: &mut Batch, reason: &str) {
    batch.put(META, HALTED_KEY, encode(&reason));
}

fn certified_key(target: &Checkpoint) -> Vec<u8> {
    header_key(target.height, &target.hash).to_vec()
}

/// Writes down a certificate, which may yet turn out to contradict another.
pub(super) fn put_certified(fx: &mut Effects, certified: &Certified) {
    let key = certified_key(&certified.certificate.link.target);
    if fx.store.get(CERTIFIED, &key).is_none() {
        let mut batch = Batch::default();
        batch.put(CERTIFIED, key, encode(&(&certified.certificate, &*certified.record)));
        fx.apply(batch);
    }
}

/// Removes the certificates of these targets.
pub(super) fn forget_certified(fx: &mut Effects, targets: &[Checkpoint]) {
    if !targets.is_empty() {
        let mut batch = Batch::default();
        targets.iter().for_each(|target| batch.delete(CERTIFIED, certified_key(target)));
        fx.apply(batch);
    }
}

/// The certificates written down.
pub(super) fn certified(store: &dyn Store) -> impl Iterator<Item = Certified> + '_ {
    rows(store, CERTIFIED).filter_map(|(_, bytes)| {
        let (certificate, record): (Certificate, ConsensusRecord) = decode(&bytes, usize::MAX).ok()?;
        Some(Certified { certificate, record: Arc::new(record) })
    })
}

/// Removes the rows of an executed block above the base.
pub(super) fn delete_block(batch: &mut Batch, height: Height, hash: &Hash) {
    settle_block(batch, height, hash);
    batch.delete(state::DIFFS, hash.0);
    history::forget_contents(batch, height, hash);
}

/// Removes the rows that an executed block has only above the base.
fn settle_block(batch: &mut Batch, height: Height, hash: &Hash) {
    batch.delete(HEADERS, header_key(height, hash));
    batch.delete(RECORDS, hash.0);
}

pub(super) fn header_key(height: Height, hash: &Hash) -> Vec<u8> {
    [height.0.to_be_bytes().as_slice(), &hash.0].concat()
}

pub(super) fn corrupt(what: impl Into<String>) -> StartError {
    StartError::Corrupt(what.into())
}

/// All rows of a table, a page at a time.
pub(super) fn rows(store: &dyn Store, table: Table) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    let mut next = Some(Vec::new());
    std::iter::from_fn(move || {
        let page = store.range(table, next.as_ref()?, PAGE);
        next = page.last().filter(|_| page.len() == PAGE).map(|(key, _)| [key.as_slice(), &[0]].concat());
        Some(page)
    })
    .flatten()
}

/// The format of a row: it comes first, so that it can be read even when the rest has another shape.
fn schema(store: &dyn Store, key: &[u8]) -> Option<u32> {
    store.get(META, key)?.first_chunk().copied().map(u32::from_le_bytes)
}

/// Opens what the store holds of this chain, or begins it.
pub(super) fn open(genesis: &Genesis, strategy: Strategy, fx: &mut Effects) -> Result<Opened, StartError> {
    let stored = [META_KEY, BEGUN_KEY].into_iter().filter_map(|key| schema(&*fx.store, key));
    if let Some(schema) = stored.into_iter().find(|schema| *schema != SCHEMA) {
        return Err(StartError::Schema { stored: schema, supported: SCHEMA });
    }
    let meta = row::<Meta>(&*fx.store, META, META_KEY)?;
    let begun = row::<Begun>(&*fx.store, META, BEGUN_KEY)?;
    let of = meta.as_ref().map(|meta| meta.genesis).or_else(|| begun.as_ref().map(Begun::genesis));
    if let Some(stored) = of.filter(|stored| *stored != genesis.hash()) {
        return Err(StartError::OtherChain { stored, given: genesis.hash() });
    }
    match meta {
        Some(meta) => reopen(&*fx.store, meta),
        None if strategy == Strategy::Full => {
            write_genesis(genesis, fx);
            at_genesis(genesis)
        }
        None => {
            let mut opened = at_genesis(genesis)?;
            let header = opened.tree.header(&opened.tree.base()).ok_or_else(|| corrupt("the genesis"))?;
            opened.own = own(&*fx.store)?;
            opened.light = Some(Light::open(strategy, genesis, header, begun, fx));
            Ok(opened)
        }
    }
}

fn grants(genesis: &Genesis) -> BTreeMap<Hash, Account> {
    let account = |amount| Account { nonce: 0, balance: amount };
    genesis.grants.iter().map(|grant| (grant.address.trie_key(), account(grant.amount))).collect()
}

fn genesis_trie(genesis: &Genesis) -> Trie {
    Trie::default().update(&grants(genesis)).expect("a trie made of leaves has no stubs")
}

/// Writes down the genesis as the base, over whatever was downloaded.
pub(super) fn write_genesis(genesis: &Genesis, fx: &mut Effects) {
    let mut batch = Batch::default();
    remove_leaves(&*fx.store, &mut batch);
    for (key, account) in grants(genesis) {
        batch.put(state::LEAVES, key.0, encode(&account));
    }
    let header = genesis.header(genesis_trie(genesis).root());
    put_base(&mut batch, genesis.hash(), &header, &Mmr::default(), &ConsensusRecord::of_genesis(genesis));
    fx.apply(batch);
}

/// Removes all accounts.
pub(super) fn remove_leaves(store: &dyn Store, batch: &mut Batch) {
    rows(store, state::LEAVES).for_each(|(key, _)| batch.delete(state::LEAVES, key));
}

/// Sets the row that everything else builds on.
pub(super) fn put_base(batch: &mut Batch, genesis: Hash, base: &Header, mmr: &Mmr, record: &ConsensusRecord) {
    let meta = Meta {
        schema: SCHEMA,
        genesis,
        base: base.clone(),
        mmr_count: mmr.count(),
        mmr_peaks: mmr.peaks().to_vec(),
        record: record.clone(),
    };
    batch.put(META, META_KEY, encode(&meta));
    batch.delete(META, BEGUN_KEY);
}

/// Writes down how far a peer has joined.
pub(super) fn put_begun(batch: &mut Batch, begun: &Begun) {
    batch.put(META, BEGUN_KEY, encode(begun));
}

/// Writes down what a peer has of the chain before it joined.
pub(super) fn put_joined(batch: &mut Batch, joined: &Joined) {
    batch.put(META, JOINED_KEY, encode(joined));
}

/// The height below which blocks were forgotten; 0 when none were.
pub(super) fn pruned(store: &dyn Store) -> Height {
    store.get(META, PRUNED_KEY).and_then(|bytes| decode(&bytes, 8).ok()).unwrap_or_default()
}

/// Writes down below which height blocks are forgotten.
pub(super) fn put_pruned(batch: &mut Batch, below: Height) {
    batch.put(META, PRUNED_KEY, encode(&below));
}

fn at_genesis(genesis: &Genesis) -> Result<Opened, StartError> {
    let trie = genesis_trie(genesis);
    let header = genesis.header(trie.root());
    let record = ConsensusRecord::of_genesis(genesis);
    let hash = header.hash();
    Ok(Opened {
        tree: BlockTree::new(header, Mmr::default(), Arc::new(record)),
        tries: BTreeMap::from([(hash, trie)]),
        written: BTreeSet::from([hash]),
        restore: None,
        own: BTreeMap::new(),
        light: None,
        joined: Joined::default(),
    })
}

/// The transactions that were submitted here and are not settled.
fn own(store: &dyn Store) -> Result<BTreeMap<Hash, Transaction>, StartError> {
    let own = rows(store, mempool::OWN).map(|(_, value)| {
        let transaction: Transaction = decode(&value, Transaction::MAX_LEN)
            .map_err(|error| corrupt(format!("a transaction of your own: {error}")))?;
        Ok((transaction.id(), transaction))
    });
    own.collect()
}

fn reopen(store: &dyn Store, meta: Meta) -> Result<Opened, StartError> {
    let mmr = Mmr::from_peaks(meta.mmr_count, meta.mmr_peaks).ok_or_else(|| corrupt("the header range"))?;
    let mut tree = BlockTree::new(meta.base, mmr, Arc::new(meta.record));
    let mut written = BTreeSet::from([tree.base()]);
    for (_, bytes) in rows(store, HEADERS) {
        let header: Header =
            decode(&bytes, Header::LEN).map_err(|error| corrupt(format!("a header: {error}")))?;
        let parent = header.content.parent;
        // A row may be that of a fork whose first blocks were still on their way to the disk.
        let Ok(hash) = tree.insert(header) else { continue };
        let record = match row::<ConsensusRecord>(store, RECORDS, &hash.0)? {
            Some(record) => Arc::new(record),
            None => tree.record(&parent).cloned().ok_or_else(|| corrupt("a record"))?,
        };
        tree.executed(&hash, record);
        written.insert(hash);
    }
    let mut accounts = Vec::new();
    for (key, value) in rows(store, state::LEAVES) {
        let key = Hash(key.try_into().map_err(|_| corrupt("an account's key"))?);
        accounts.push((key, decode(&value, 16).map_err(|error| corrupt(format!("an account: {error}")))?));
    }
    let (_, path) = tree.path(&tree.base(), &tree.head());
    let mut changes = BTreeMap::new();
    for hash in path {
        let diff: Diff =
            row(store, state::DIFFS, &hash.0)?.ok_or_else(|| corrupt(format!("block {hash} has no diff")))?;
        changes.extend(diff.forward());
    }
    accounts.extend(changes);
    let restore = Some(Job::Update { trie: Trie::default(), changes: accounts });
    let joined = row(store, META, JOINED_KEY)?.unwrap_or_default();
    let own = own(store)?;
    Ok(Opened { tree, tries: BTreeMap::new(), written, restore, own, light: None, joined })
}

impl Chain {
    /// The stored state is rebuilt; if it is what the stored head says, the peer can begin.
    pub(super) fn restored(&mut self, fx: &mut Effects, trie: Trie) {
        let head = self.tree.head();
        let right = self.tree.header(&head).is_some_and(|header| header.content.state_root == trie.root());
        if !right {
            fx.raise(
                "the stored accounts do not fit the stored chain: the data is corrupt. Stop the peer, move the data \
                 directory away, and synchronise again"
                    .to_owned(),
            );
            return;
        }
        self.tries.insert(head, trie);
        self.starting = false;
        self.download.replan();
        tracing::info!(height = %self.head_height(), "the stored state is rebuilt");
        // The block a peer joined at has no body here.
        if self.head_height() >= self.oldest() && self.head_height().0 > 0 {
            let keys = vec![(self.head_height(), head)];
            let id = fx.archive(ArchiveRequest::Bodies { keys, max_bytes: 0 });
            self.archived.insert(id, Archived::Check);
        }
        self.rebuild_pivots(fx);
        self.reinsert_own(fx);
        self.notify_sync(fx);
    }

    /// The store speaks of a block only once the archive has it. If it has not, one of the two was changed from outside.
    pub(super) fn archive_checked(fx: &mut Effects, answer: &ArchiveAnswer) {
        if !matches!(answer, ArchiveAnswer::Bodies(bodies) if matches!(bodies[..], [Some(_)])) {
            fx.raise(
                "the archive lacks blocks that the store knows: old blocks cannot be served. Stop the peer, move the data \
                 directory away, and synchronise again"
                    .to_owned(),
            );
        }
    }

    /// A block is in the archive for good: now its rows may say that it is executed.
    pub(super) fn block_archived(&mut self, fx: &mut Effects, hash: Hash, contents: Vec<u8>) {
        let (Some(header), Some(diff)) = (self.tree.header(&hash), self.diffs.remove(&hash)) else { return };
        let mut batch = Batch::default();
        batch.put(HEADERS, header_key(header.height(), &hash), encode(header));
        batch.put(state::DIFFS, hash.0, encode(&*diff));
        history::note_contents(&mut batch, header.height(), &hash, contents);
        let (record, before) = (self.tree.record(&hash), self.tree.record(&header.content.parent));
        if let Some(record) = record.filter(|record| before.is_none_or(|before| before != *record)) {
            batch.put(RECORDS, hash.0, encode(&**record));
        }
        fx.apply(batch);
        self.written.insert(hash);
        self.advance_base(fx);
    }

    /// Folds what is final into the base.
    pub(super) fn advance_base(&mut self, fx: &mut Effects) {
        let new_base = self.tree.finalised();
        // Blocks are written in order, so the last one mostly tells for all.
        if new_base == self.tree.base() || !self.written.contains(&new_base) {
            return;
        }
        let settled = self.finalised_height();
        let (_, path) = self.tree.path(&self.tree.base(), &new_base);
        if !path.iter().all(|hash| self.written.contains(hash)) {
            return;
        }
        let Some(accounts) = self.changes(fx, &self.tree.base(), &new_base) else { return };
        let mut batch = Batch::default();
        for (key, account) in accounts {
            if account.is_absent() {
                batch.delete(state::LEAVES, key.0);
            } else {
                batch.put(state::LEAVES, key.0, encode(&account));
            }
        }
        let (Some(header), Some(mmr), Some(record)) =
            (self.tree.header(&new_base), self.tree.mmr_before(&new_base), self.tree.record(&new_base))
        else {
            return;
        };
        put_base(&mut batch, self.id, header, &mmr, record);
        let settled_slot = header.slot();
        self.keep_pivots(fx, &mut batch, &path);
        self.keep_history(&*fx.store, &mut batch, &path);
        let (below, forks) = self.tree.advance_base(&new_base);
        for (height, hash) in &forks {
            delete_block(&mut batch, *height, hash);
            self.diffs.remove(hash);
        }
        let below: Vec<_> = below.iter().map(|header| (header.height(), header.hash())).collect();
        for (height, hash) in below.into_iter().chain(forks.iter().copied()).chain([(settled, new_base)]) {
            settle_block(&mut batch, height, &hash);
            if hash != new_base {
                self.written.remove(&hash);
                self.waiting.remove(&hash);
            }
        }
        for id in self.settled_own(fx, settled_slot) {
            batch.delete(mempool::OWN, id.0);
            self.own.remove(&id);
        }
        fx.apply(batch);
        self.rebuild_pivots(fx);
        self.prune(fx);
        self.review_wish(fx);
        self.download.replan();
        if !forks.is_empty() {
            let id = fx.archive(ArchiveRequest::Delete(forks));
            self.archived.insert(id, Archived::Forks);
        }
    }

    /// Own transactions that need no longer be kept: the settled chain has passed them.
    fn settled_own(&self, fx: &Effects, settled: Slot) -> Vec<Hash> {
        let passed = |own: &Transaction| {
            let leaf = fx.store.get(state::LEAVES, &own.sender().trie_key().0);
            let account: Account = leaf.and_then(|bytes| decode(&bytes, 16).ok()).unwrap_or_default();
            own.content.valid_until < settled || own.content.nonce < account.nonce
        };
        self.own.iter().filter(|(_, own)| passed(own)).map(|(id, _)| *id).collect()
    }
}
