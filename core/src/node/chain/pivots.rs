//! What is kept of the finalised chain so that others can join without executing it.
//!
//! - *Fragments*: proofs that checkpoints are final; those at which the authorities change, for good, and the newest.
//! - *Pivots*: the accounts after the last finalised checkpoints, so that a peer that downloads them from several others finds
//!   all with the same ones, for as long as that takes. The newest is kept however old it is.
//! - How the accounts changed in the last blocks below the base, so that whoever has an older pivot follows by these.
//! - The consensus records of checkpoints, and of the blocks at which the authorities change.
//!
//! All this is written down in the batch that moves the base. Certificates that finalise what is above it come before
//! their block's own rows, so that a crash leaves no finalised checkpoint without its proof.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};

use super::{
    Chain, Purpose, row,
    storage::{corrupt, rows},
};
use crate::{
    chain::{
        Ballot, Certificate, Checkpoint, ConsensusRecord, Header, Mmr, OutgoingSet, PendingSet, is_checkpoint,
    },
    finality::BlockTree,
    node::{StartError, effects::Effects, work::Job},
    primitives::{Hash, Height, decode, encode},
    state::{self, Diff, Trie},
    store::{Batch, Store, Table},
    sync::Fragment,
};

/// Height of the source and hash of the target to a certificate that finalises a checkpoint above the base.
const CERTIFICATES: Table = Table("finality/certificates");
/// Height to whether the authorities change there, and the fragment.
const FRAGMENTS: Table = Table("finality/fragments");
/// Height to the hash and record of a finalised block with other authorities than its parent: see [`authorities`].
const TURNS: Table = Table("finality/turns");
/// Height to what the record of a finalised checkpoint has besides its authorities.
const CHECKPOINTS: Table = Table("finality/checkpoints");
/// Height to a checkpoint whose accounts are served.
const PIVOTS: Table = Table("finality/pivots");
/// Height to the header of a finalised block whose diff is kept.
const SETTLED: Table = Table("chain/settled");

/// The most checkpoints whose accounts are served.
pub(super) const MAX_PIVOTS: usize = 8;
/// How many blocks below the base diffs are kept for.
pub(super) const KEPT_DIFFS: u64 = 1024;
/// How many blocks below the base the records of checkpoints are kept for: more than a checkpoint given by a person
/// may be old, if each slot had a block.
const KEPT_CHECKPOINTS: u64 = 320_000;

/// A finalised checkpoint whose accounts are served.
pub(super) struct Pivot {
    pub(super) header: Header,
    /// The mountain range over all headers before it.
    pub(super) mmr: Mmr,
    /// The accounts after it; being rebuilt while there is none.
    pub(super) trie: Option<Trie>,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct PivotRow {
    header: Header,
    mmr: Mmr,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct CheckpointRow {
    hash: Hash,
    /// Where the authorities of its record came to be what they are: a row of [`TURNS`].
    turn: Height,
    justified: Checkpoint,
    finalised: Checkpoint,
    ballots: Vec<Ballot>,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Pivots {
    /// Oldest first.
    served: Vec<Pivot>,
    /// The heights of the checkpoints whose records are kept.
    names: BTreeMap<Hash, Height>,
    /// The last height at which the authorities changed; none until the base has moved.
    turn: Option<Height>,
    /// The height of the newest fragment, whether it is kept for good, and its record.
    newest: Option<(Height, bool, ConsensusRecord)>,
    /// A pivot's accounts are being rebuilt.
    rebuilding: bool,
}

fn height_key(height: Height) -> [u8; 8] {
    height.0.to_be_bytes()
}

fn key_height(key: &[u8]) -> Option<Height> {
    key.first_chunk().map(|bytes| Height(u64::from_be_bytes(*bytes)))
}

/// The part of a record that says who has a voice: it seldom changes.
fn authorities(record: &ConsensusRecord) -> (u64, &Option<OutgoingSet>, &Option<PendingSet>) {
    (record.set.id, &record.outgoing, &record.pending)
}

/// Whether a peer that knows a record of a finalised checkpoint needs the fragment of this later one to go on: a set is
/// pending there that was not, or in force that was not.
fn is_turn(before: &ConsensusRecord, record: &ConsensusRecord) -> bool {
    record.set.id > before.set.id || (record.pending.is_some() && record.pending != before.pending)
}

impl Pivots {
    /// How many checkpoints' accounts are served.
    pub(super) fn served(&self) -> usize {
        self.served.len()
    }

    /// What the store holds. `trie` is that of the base, if it is at hand.
    pub(super) fn open(store: &dyn Store, tree: &BlockTree, trie: Option<&Trie>) -> Result<Self, StartError> {
        let mut pivots = Self::default();
        for (_, bytes) in rows(store, PIVOTS) {
            let row: PivotRow =
                decode(&bytes, usize::MAX).map_err(|error| corrupt(format!("a pivot: {error}")))?;
            pivots.served.push(Pivot { header: row.header, mmr: row.mmr, trie: None });
        }
        let base = tree.base();
        if pivots.served.is_empty()
            && let (Some(header), Some(mmr)) = (tree.header(&base), tree.mmr_before(&base))
            && is_checkpoint(header.height())
        {
            pivots.served.push(Pivot { header: header.clone(), mmr, trie: trie.cloned() });
        }
        for (key, bytes) in rows(store, CHECKPOINTS) {
            let height = key_height(&key).ok_or_else(|| corrupt("a checkpoint's height"))?;
            let hash = bytes.first_chunk().ok_or_else(|| corrupt("a checkpoint's hash"))?;
            pivots.names.insert(Hash(*hash), height);
        }
        pivots.turn = rows(store, TURNS).filter_map(|(key, _)| key_height(&key)).last();
        if let Some((key, bytes)) = rows(store, FRAGMENTS).last() {
            let (kept, fragment): (bool, Fragment) =
                decode(&bytes, usize::MAX).map_err(|error| corrupt(format!("a fragment: {error}")))?;
            pivots.newest = key_height(&key).map(|height| (height, kept, fragment.record));
        }
        Ok(pivots)
    }

    /// What a peer has that joined at this checkpoint, proven by these fragments, lowest first, from a block with the record
    /// `start` on.
    pub(super) fn joined<'a>(
        batch: &mut Batch,
        start: &ConsensusRecord,
        fragments: impl Iterator<Item = &'a Fragment>,
        pivot: Pivot,
        record: &ConsensusRecord,
    ) -> Self {
        let mut pivots = Self::default();
        for fragment in fragments {
            pivots.note_fragment(batch, fragment, start);
        }
        let (height, hash) = (pivot.header.height(), pivot.header.hash());
        pivots.note_turn(batch, height, &hash, record);
        pivots.note_checkpoint(batch, height, &hash, record);
        pivots.note_pivot(batch, pivot);
        pivots
    }

    /// A checkpoint whose accounts are served, by its header's hash.
    pub(super) fn get(&self, hash: &Hash) -> Option<&Pivot> {
        self.served.iter().rev().find(|pivot| pivot.header.hash() == *hash)
    }

    /// The height of the oldest checkpoint whose accounts are served.
    pub(super) fn oldest(&self) -> Option<Height> {
        self.served.first().map(|pivot| pivot.header.height())
    }

    /// The newest checkpoint whose accounts are served, or soon will be.
    pub(super) fn newest(&self) -> Option<&Header> {
        self.served.last().map(|pivot| &pivot.header)
    }

    /// Whether the checkpoint of this height is known, and is another one.
    pub(super) fn has_other(&self, claimed: &Checkpoint) -> bool {
        let mut of_height = self.names.iter().filter(|(_, height)| **height == claimed.height).peekable();
        of_height.peek().is_some() && of_height.all(|(hash, _)| *hash != claimed.hash)
    }

    /// The height of a finalised checkpoint whose record is kept.
    pub(super) fn height(&self, hash: &Hash) -> Option<Height> {
        self.names.get(hash).copied()
    }

    /// The fragments above a height, lowest first, together at most `max_bytes` long after the first; and whether the newest
    /// is among them.
    pub(super) fn fragments(
        &self,
        store: &dyn Store,
        above: Height,
        max_bytes: usize,
    ) -> (Vec<Fragment>, bool) {
        let mut fragments = Vec::new();
        let (mut bytes, mut next) = (0, above.0.checked_add(1));
        while let Some(from) = next
            && let [(key, value)] = &store.range(FRAGMENTS, &height_key(Height(from)), 1)[..]
        {
            bytes += value.len();
            if !fragments.is_empty() && bytes > max_bytes {
                return (fragments, false);
            }
            let Ok((_, fragment)) = decode::<(bool, Fragment)>(value, usize::MAX) else { break };
            fragments.push(fragment);
            next = key_height(key).and_then(|height| height.0.checked_add(1));
        }
        (fragments, true)
    }

    /// The header of a finalised block below the base or at it, if its diff is kept.
    pub(super) fn settled_header(store: &dyn Store, height: Height) -> Option<Header> {
        decode(&store.get(SETTLED, &height_key(height))?, Header::LEN).ok()
    }

    /// The header and changes of a finalised block below the base or at it, if they are kept.
    pub(super) fn settled(store: &dyn Store, height: Height) -> Option<(Header, Diff)> {
        let header = Self::settled_header(store, height)?;
        let diff = decode(&store.get(state::DIFFS, &header.hash().0)?, usize::MAX).ok()?;
        Some((header, diff))
    }

    /// The record of a finalised block at or below the base, if it is kept.
    pub(super) fn record(store: &dyn Store, height: Height, hash: &Hash) -> Option<ConsensusRecord> {
        let turn =
            |height: Height| row::<(Hash, ConsensusRecord)>(store, TURNS, &height_key(height)).ok().flatten();
        if let Some((_, record)) = turn(height).filter(|(of, _)| of == hash) {
            return Some(record);
        }
        let row: CheckpointRow = row(store, CHECKPOINTS, &height_key(height)).ok().flatten()?;
        let (_, record) = turn(row.turn).filter(|_| row.hash == *hash)?;
        let CheckpointRow { justified, finalised, ballots, .. } = row;
        Some(ConsensusRecord { justified, finalised, ballots, ..record })
    }

    fn note_turn(&mut self, batch: &mut Batch, height: Height, hash: &Hash, record: &ConsensusRecord) {
        batch.put(TURNS, height_key(height), encode(&(*hash, record)));
        self.turn = Some(height);
    }

    fn note_checkpoint(&mut self, batch: &mut Batch, height: Height, hash: &Hash, record: &ConsensusRecord) {
        let row = CheckpointRow {
            hash: *hash,
            turn: self.turn.unwrap_or_default(),
            justified: record.justified,
            finalised: record.finalised,
            ballots: record.ballots.clone(),
        };
        batch.put(CHECKPOINTS, height_key(height), encode(&row));
        self.names.insert(*hash, height);
    }

    fn note_fragment(&mut self, batch: &mut Batch, fragment: &Fragment, before: &ConsensusRecord) {
        let height = fragment.checkpoint.height();
        let before = match &self.newest {
            Some((replaced, false, record)) => {
                batch.delete(FRAGMENTS, height_key(*replaced));
                record
            }
            Some((_, true, record)) => record,
            None => before,
        };
        let kept = is_turn(before, &fragment.record);
        batch.put(FRAGMENTS, height_key(height), encode(&(kept, fragment)));
        self.newest = Some((height, kept, fragment.record.clone()));
    }

    fn note_pivot(&mut self, batch: &mut Batch, pivot: Pivot) {
        let row = PivotRow { header: pivot.header.clone(), mmr: pivot.mmr.clone() };
        batch.put(PIVOTS, height_key(pivot.header.height()), encode(&row));
        self.served.push(pivot);
        if self.served.len() > MAX_PIVOTS {
            let gone = self.served.remove(0);
            batch.delete(PIVOTS, height_key(gone.header.height()));
        }
    }

    /// Forgets what is too far below the base.
    fn forget_old(&mut self, store: &dyn Store, batch: &mut Batch, base: Height) {
        let kept = base.saturating_sub(KEPT_DIFFS);
        for (key, bytes) in
            rows(store, SETTLED).take_while(|(key, _)| key_height(key).is_none_or(|at| at <= kept))
        {
            if let Ok(header) = decode::<Header>(&bytes, Header::LEN) {
                batch.delete(state::DIFFS, header.hash().0);
            }
            batch.delete(SETTLED, key);
        }
        let kept = base.saturating_sub(KEPT_CHECKPOINTS);
        for (key, bytes) in
            rows(store, CHECKPOINTS).take_while(|(key, _)| key_height(key).is_none_or(|at| at < kept))
        {
            if let Some(hash) = bytes.first_chunk() {
                self.names.remove(&Hash(*hash));
            }
            batch.delete(CHECKPOINTS, key);
        }
        for (key, _) in
            rows(store, CERTIFICATES).take_while(|(key, _)| key_height(key).is_none_or(|at| at <= base))
        {
            batch.delete(CERTIFICATES, key);
        }
    }
}

/// The fragment that one of the stored certificates makes of a checkpoint in the tree.
fn fragment_of(store: &dyn Store, tree: &BlockTree, height: Height, hash: &Hash) -> Option<Fragment> {
    let certificates = store.range(CERTIFICATES, &height_key(height), 4);
    let of_height = certificates.iter().filter(|(key, _)| key_height(key) == Some(height));
    of_height
        .filter_map(|(_, bytes)| decode::<Certificate>(bytes, usize::MAX).ok())
        .filter(|certificate| certificate.link.source.hash == *hash)
        .find_map(|certificate| {
            let child = certificate.link.target.hash;
            let fragment = Fragment {
                checkpoint: tree.header(hash)?.clone(),
                record: (**tree.record(hash)?).clone(),
                child: tree.header(&child)?.clone(),
                child_record: (**tree.record(&child)?).clone(),
                certificate,
            };
            tree.is_ancestor(hash, &child).then_some(fragment)
        })
}

impl Chain {
    /// Writes down a certificate, whose signatures are right, before the block that carries it: if it makes its source
    /// final, the proof must not be lost.
    pub(super) fn note_certificate(&self, fx: &mut Effects, certificate: &Certificate) {
        let source = certificate.link.source;
        if certificate.link.finalises_source() && source.height > self.base_height() {
            let key = [&height_key(source.height)[..], &certificate.link.target.hash.0].concat();
            if fx.store.get(CERTIFICATES, &key).is_some() {
                return;
            }
            let mut batch = Batch::default();
            batch.put(CERTIFICATES, key, encode(certificate));
            fx.apply(batch);
        }
    }

    /// The base is about to move up along `path`, which begins with its child and is still in the tree.
    pub(super) fn keep_pivots(&mut self, fx: &Effects, batch: &mut Batch, path: &[Hash]) {
        let store = &*fx.store;
        let Self { tree, tries, pivots, .. } = self;
        let base = tree.base();
        let (Some(header), Some(mut before)) = (tree.header(&base), tree.record(&base)) else { return };
        if pivots.turn.is_none() {
            pivots.note_turn(batch, header.height(), &base, before);
            if is_checkpoint(header.height()) {
                pivots.note_checkpoint(batch, header.height(), &base, before);
            }
            for pivot in pivots.served.split_off(0) {
                pivots.note_pivot(batch, pivot);
            }
        }
        let base_record = before;
        for hash in path {
            let (Some(header), Some(record)) = (tree.header(hash), tree.record(hash)) else { return };
            let height = header.height();
            batch.put(SETTLED, height_key(height), encode(header));
            if authorities(record) != authorities(before) {
                pivots.note_turn(batch, height, hash, record);
            }
            if is_checkpoint(height) {
                pivots.note_checkpoint(batch, height, hash, record);
                if let Some(fragment) = fragment_of(store, tree, height, hash) {
                    pivots.note_fragment(batch, &fragment, base_record);
                    if let Some(mmr) = tree.mmr_before(hash) {
                        let (header, trie) = (header.clone(), tries.get(hash).cloned());
                        pivots.note_pivot(batch, Pivot { header, mmr, trie });
                    }
                }
            }
            before = record;
        }
        let settled = path.last().and_then(|hash| tree.height(hash)).unwrap_or_default();
        pivots.forget_old(store, batch, settled);
    }

    /// Makes the accounts of the newest pivot that has none, from those of the next newer one or of the head. To be called
    /// when the rows of the base are as the tree is, and the head's accounts are here.
    pub(super) fn rebuild_pivots(&mut self, fx: &mut Effects) {
        if self.pivots.rebuilding {
            return;
        }
        let Some(at) = self.pivots.served.iter().rposition(|pivot| pivot.trie.is_none()) else { return };
        let (hash, height) = (self.pivots.served[at].header.hash(), self.pivots.served[at].header.height());
        let newer = self
            .pivots
            .served
            .get(at + 1)
            .and_then(|pivot| Some((pivot.header.height(), pivot.trie.clone()?)));
        let mut changes = BTreeMap::new();
        let (from, trie) = match newer {
            Some(newer) => newer,
            None => {
                let head = self.tree.head();
                let Some(trie) = self.tries.get(&head).cloned() else { return };
                let Some(back) = self.changes(fx, &head, &self.tree.base()) else { return };
                changes = back;
                (self.base_height(), trie)
            }
        };
        for height in (height.0 + 1..=from.0).rev().map(Height) {
            let Some((_, diff)) = Pivots::settled(&*fx.store, height) else {
                // Nothing older can be made either.
                self.pivots.served.drain(..=at);
                return;
            };
            changes.extend(diff.backward());
        }
        self.pivots.rebuilding = true;
        let changes = changes.into_iter().collect();
        self.jobs.add(fx, Purpose::Pivot(hash), Job::Update { trie, changes });
    }

    /// A pivot's accounts are made, or cannot be.
    pub(super) fn pivot_rebuilt(&mut self, fx: &mut Effects, hash: &Hash, trie: Option<Trie>) {
        self.pivots.rebuilding = false;
        let Some(at) = self.pivots.served.iter().position(|pivot| pivot.header.hash() == *hash) else {
            self.rebuild_pivots(fx);
            return;
        };
        let pivot = &mut self.pivots.served[at];
        match trie.filter(|trie| trie.root() == pivot.header.content.state_root) {
            Some(trie) => pivot.trie = Some(trie),
            None => {
                tracing::warn!(height = %pivot.header.height(), "the accounts of a checkpoint could not be made again");
                self.pivots.served.remove(at);
            }
        }
        self.rebuild_pivots(fx);
    }

    pub(super) fn base_height(&self) -> Height {
        self.tree.height(&self.tree.base()).unwrap_or_default()
    }
}
