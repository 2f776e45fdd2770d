//! The block tree: every header that descends from the base, how far each block has come, and which branch is best.
//!
//! The *base* is the oldest block; everything in the tree descends from it, and from the *finalised* block at or above it
//! everything that is still open. Branches are compared by the highest justified checkpoint, then the number of blocks, then
//! the lowest hash. A checkpoint counts as justified when a block's record says so, or when its certificate is known
//! though no body has it yet.
//!
//! A header whose parent is not executed is judged by the last record known on its branch. Where the authority set changes
//! that record is out of date: headers beyond the change wait until the block that makes it is executed.

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    chain::{ConsensusRecord, Header, HeaderError, Mmr, is_checkpoint},
    primitives::{Hash, Height, PublicKey, Slot},
};

/// The most headers stored for one proposer and slot: two prove an equivocation, more prove nothing further.
const MAX_PER_SLOT: usize = 2;

/// How far a block has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its header is valid after its parent's.
    Header,
    /// It was executed, and every root is right.
    Executed,
    /// It, or a block it builds on, is invalid though its header is properly signed: the proposer's doing.
    Invalid,
}

/// Why a header does not enter the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// It is there already.
    #[error("already known")]
    Known,
    /// Its parent is not in the tree.
    #[error("its parent is unknown here")]
    UnknownParent,
    /// It builds on an invalid block.
    #[error("it builds on an invalid block")]
    InvalidParent,
    /// Its proposer has signed too many headers for this slot.
    #[error("its proposer has signed too many headers for this slot")]
    TooMany,
    /// It names a set that only the execution of its ancestors can confirm.
    #[error("the authority set changes there, and the block that changes it is not executed yet")]
    UnknownSet,
    /// It leaves the finalised chain below the finalised block.
    #[error("it contradicts a finalised block")]
    Finalised,
    /// It can never follow its parent.
    #[error(transparent)]
    Invalid(#[from] HeaderError),
}

#[derive(Debug)]
struct Entry {
    header: Header,
    /// The mountain range over all headers up to this one: at the base, at checkpoints, and where nothing builds on it yet.
    /// Elsewhere it is made of the last one below.
    mmr: Option<Box<Mmr>>,
    /// The record this block yields; its parent's until it is executed.
    record: Arc<ConsensusRecord>,
    /// The highest checkpoint on this block's branch that is justified as far as is known.
    justified: Height,
    stage: Stage,
    children: Vec<Hash>,
}

/// Adds to a list that seldom has more than one element, without room for more.
fn push_tight(list: &mut Vec<Hash>, hash: Hash) {
    list.reserve_exact(1);
    list.push(hash);
}

/// Comparable merit of a branch's tip: greater is better.
type Merit = (Height, Height, Reverse<Hash>);

/// The tree of blocks above the base.
#[derive(Debug)]
pub struct BlockTree {
    base: Hash,
    // Boxed, since a map leaves room for values that are not there, and a chain that does not become final is long.
    entries: BTreeMap<Hash, Box<Entry>>,
    /// The mountain range over all headers before the base.
    before_base: Mmr,
    /// By slot first, so that a chain's headers are added at one end.
    by_slot: BTreeSet<(Slot, PublicKey, Hash)>,
    /// The best executed block.
    head: Hash,
    head_slot: Slot,
    /// Nothing that does not descend from this block is followed.
    finalised: Hash,
    finalised_height: Height,
    /// From here down to the base there is one branch.
    pruned: Hash,
    /// The best block that is not known to be invalid.
    target: Hash,
    /// The branch from base to head, by height.
    best_chain: BTreeMap<Height, Hash>,
}

impl BlockTree {
    /// A tree of the base alone, which counts as executed. `mmr` covers all headers before the base.
    #[must_use]
    pub fn new(base: Header, mmr: Mmr, record: Arc<ConsensusRecord>) -> Self {
        let (hash, height, head_slot) = (base.hash(), base.height(), base.slot());
        let justified = record.justified.height;
        let entry = Box::new(Entry {
            header: base,
            mmr: Some(Box::new(mmr.with(&hash))),
            record,
            justified,
            stage: Stage::Executed,
            children: Vec::new(),
        });
        Self {
            base: hash,
            finalised: hash,
            finalised_height: height,
            pruned: hash,
            entries: BTreeMap::from([(hash, entry)]),
            before_base: mmr,
            by_slot: BTreeSet::new(),
            head: hash,
            head_slot,
            target: hash,
            best_chain: BTreeMap::from([(height, hash)]),
        }
    }

    /// The oldest block of the tree.
    #[must_use]
    pub const fn base(&self) -> Hash {
        self.base
    }

    /// The newest block that is final.
    #[must_use]
    pub const fn finalised(&self) -> Hash {
        self.finalised
    }

    /// The best executed block.
    #[must_use]
    pub const fn head(&self) -> Hash {
        self.head
    }

    /// Its slot.
    #[must_use]
    pub const fn head_slot(&self) -> Slot {
        self.head_slot
    }

    /// The best block not known to be invalid: where synchronisation is going.
    #[must_use]
    pub const fn target(&self) -> Hash {
        self.target
    }

    /// The number of headers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// A header of the tree.
    #[must_use]
    pub fn header(&self, hash: &Hash) -> Option<&Header> {
        self.entries.get(hash).map(|entry| &entry.header)
    }

    /// A height in the tree.
    #[must_use]
    pub fn height(&self, hash: &Hash) -> Option<Height> {
        self.header(hash).map(Header::height)
    }

    /// How far a block has come, if it is in the tree.
    #[must_use]
    pub fn stage(&self, hash: &Hash) -> Option<Stage> {
        self.entries.get(hash).map(|entry| entry.stage)
    }

    /// The record that a block yields.
    #[must_use]
    pub fn record(&self, hash: &Hash) -> Option<&Arc<ConsensusRecord>> {
        self.entries.get(hash).map(|entry| &entry.record)
    }

    /// The mountain range over all headers up to and including this block's: what its children commit to.
    #[must_use]
    pub fn mmr_after(&self, hash: &Hash) -> Option<Mmr> {
        let (mut at, mut entry) = (*hash, self.entries.get(hash)?);
        let mut passed = Vec::new();
        while entry.mmr.is_none() {
            passed.push(at);
            at = entry.header.content.parent;
            entry = self.entries.get(&at)?;
        }
        let mut mmr = entry.mmr.as_deref()?.clone();
        passed.iter().rev().for_each(|hash| mmr.push(hash));
        Some(mmr)
    }

    /// The mountain range over all headers before this block's.
    #[must_use]
    pub fn mmr_before(&self, hash: &Hash) -> Option<Mmr> {
        if *hash == self.base {
            return Some(self.before_base.clone());
        }
        self.mmr_after(&self.header(hash)?.content.parent)
    }

    /// The block of the best executed chain at a height, if it is not below the base.
    #[must_use]
    pub fn on_best_chain(&self, height: Height) -> Option<Hash> {
        self.best_chain.get(&height).copied()
    }

    /// The children of a block.
    #[must_use]
    pub fn children(&self, hash: &Hash) -> &[Hash] {
        self.entries.get(hash).map_or(&[], |entry| &entry.children)
    }

    /// Checks whether a header could enter, all but its signature.
    ///
    /// # Errors
    /// Says why it could not.
    pub fn check(&self, hash: &Hash, header: &Header) -> Result<(), InsertError> {
        if self.entries.contains_key(hash) {
            return Err(InsertError::Known);
        }
        let parent = self.entries.get(&header.content.parent).ok_or(InsertError::UnknownParent)?;
        if parent.header.height() < self.finalised_height {
            return Err(InsertError::Finalised);
        }
        if parent.stage == Stage::Header && header.content.set_id > parent.record.set.id {
            return Err(InsertError::UnknownSet);
        }
        let mmr_root = match &parent.mmr {
            Some(mmr) => mmr.root(),
            None => self.mmr_after(&header.content.parent).ok_or(InsertError::UnknownParent)?.root(),
        };
        header.check_after(&parent.header, &parent.record.set, &mmr_root)?;
        if parent.stage == Stage::Invalid {
            return Err(InsertError::InvalidParent);
        }
        if self.of_slot(header).nth(MAX_PER_SLOT - 1).is_some() {
            return Err(InsertError::TooMany);
        }
        Ok(())
    }

    /// The headers for the slot of this one by its proposer.
    fn of_slot(&self, header: &Header) -> impl Iterator<Item = &Hash> {
        let at = |hash| (header.slot(), header.content.proposer, hash);
        self.by_slot.range(at(Hash::ZERO)..=at(Hash([0xff; 32]))).map(|(_, _, hash)| hash)
    }

    /// Takes in a header whose signature is known to be right.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn insert(&mut self, header: Header) -> Result<Hash, InsertError> {
        let hash = header.hash();
        self.insert_hashed(hash, header)?;
        Ok(hash)
    }

    /// [`Self::insert`] for one whose hash has been computed already.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn insert_hashed(&mut self, hash: Hash, header: Header) -> Result<(), InsertError> {
        debug_assert_eq!(hash, header.hash(), "the hash of another header");
        self.check(&hash, &header)?;
        let above = header.content.parent;
        let parent = self.entries.get_mut(&above).ok_or(InsertError::UnknownParent)?;
        push_tight(&mut parent.children, hash);
        let (justified, record) = (parent.justified, Arc::clone(&parent.record));
        let kept = above == self.base || is_checkpoint(parent.header.height());
        let mut mmr = match parent.mmr.take_if(|_| !kept) {
            Some(mmr) => mmr,
            None => Box::new(self.mmr_after(&above).ok_or(InsertError::UnknownParent)?),
        };
        mmr.push(&hash);
        self.by_slot.insert((header.slot(), header.content.proposer, hash));
        let (mmr, stage, children) = (Some(mmr), Stage::Header, Vec::new());
        let entry = Box::new(Entry { header, mmr, record, justified, stage, children });
        // A child of the target is better than it, since it is as justified and higher.
        if self.target == above || Self::merit_of(&hash, &entry) > self.merit(&self.target) {
            self.target = hash;
        }
        self.entries.insert(hash, entry);
        Ok(())
    }

    /// Notes that a block was executed after its parent, and yields this record. Returns whether the head moved, and the
    /// blocks that are invalid under that record: headers that were judged by one now out of date.
    pub fn executed(&mut self, hash: &Hash, record: Arc<ConsensusRecord>) -> (bool, Vec<Hash>) {
        let Some(entry) = self.entries.get_mut(hash) else { return (false, Vec::new()) };
        entry.stage = Stage::Executed;
        let news = !Arc::ptr_eq(&entry.record, &record);
        entry.justified = entry.justified.max(record.justified.height);
        entry.record = record;
        let invalid = if news { self.hand_down(hash) } else { Vec::new() };
        let moved = self.merit(hash) > self.merit(&self.head);
        if moved {
            self.switch_head(*hash);
        }
        (moved, invalid)
    }

    /// Hands a block's record down to the headers above it, and finds those that it makes invalid.
    fn hand_down(&mut self, hash: &Hash) -> Vec<Hash> {
        let mut wrong = Vec::new();
        let mut open = vec![*hash];
        while let Some(parent) = open.pop() {
            let (record, justified) =
                (Arc::clone(&self.entries[&parent].record), self.entries[&parent].justified);
            for child in self.children(&parent).to_vec() {
                let Some(entry) = self.entries.get_mut(&child) else { continue };
                entry.justified = entry.justified.max(justified);
                if entry.stage == Stage::Header {
                    entry.record = Arc::clone(&record);
                    let content = &entry.header.content;
                    if content.set_id != record.set.id
                        || content.proposer != record.set.proposer(content.slot).key
                    {
                        wrong.push(child);
                        continue;
                    }
                }
                open.push(child);
            }
        }
        let mut invalid: Vec<Hash> = wrong.iter().flat_map(|hash| self.invalidate(hash)).collect();
        if !invalid.contains(&self.target) {
            self.choose_target();
        }
        invalid.sort_unstable();
        invalid
    }

    /// Notes that a checkpoint of the tree is justified, whether or not a body says so. Returns whether the head moved.
    pub fn justify(&mut self, checkpoint: &Hash) -> bool {
        let Some(entry) = self.entries.get_mut(checkpoint) else { return false };
        entry.justified = entry.justified.max(entry.header.height());
        let mut open = vec![*checkpoint];
        while let Some(parent) = open.pop() {
            let justified = self.entries[&parent].justified;
            for child in self.children(&parent).to_vec() {
                if let Some(entry) = self.entries.get_mut(&child) {
                    entry.justified = entry.justified.max(justified);
                    open.push(child);
                }
            }
        }
        self.choose_target();
        let best = self.best(|stage| stage == Stage::Executed).unwrap_or(self.head);
        let moved = best != self.head;
        if moved {
            self.switch_head(best);
        }
        moved
    }

    /// Whether `ancestor` is `block` or below it on its branch. Both must be in the tree.
    #[must_use]
    pub fn is_ancestor(&self, ancestor: &Hash, block: &Hash) -> bool {
        let Some(height) = self.height(ancestor) else { return false };
        if let (Some(at), Some(known)) = (self.height(block), self.best_chain.get(&height))
            && at >= height
            && self.best_chain.get(&at) == Some(block)
        {
            return known == ancestor;
        }
        let mut at = *block;
        while let Some(entry) = self.entries.get(&at).filter(|entry| entry.header.height() > height) {
            at = entry.header.content.parent;
        }
        at == *ancestor
    }

    /// Notes that an executed block is final: from now on only what descends from it counts. Returns whether the head moved;
    /// `None` when the block is unknown, not executed, or not above the finalised one on its branch.
    /// [`Self::prune`] drops the rest.
    pub fn finalise(&mut self, hash: &Hash) -> Option<bool> {
        let above = self.stage(hash) == Some(Stage::Executed) && self.is_ancestor(&self.finalised, hash);
        if !above || *hash == self.finalised {
            return None;
        }
        self.finalised = *hash;
        self.finalised_height = self.entries[hash].header.height();
        let moved = !self.is_ancestor(hash, &self.head);
        if moved {
            let open = self.with_descendants(hash);
            let executed = open.iter().filter(|kept| self.stage(kept) == Some(Stage::Executed)).copied();
            let best = executed.max_by_key(|kept| self.merit(kept)).unwrap_or(*hash);
            self.switch_head(best);
        }
        Some(moved)
    }

    /// Drops every block that neither descends from the finalised one nor leads to it. Returns them.
    pub fn prune(&mut self) -> Vec<(Height, Hash)> {
        let mut left = Vec::new();
        let mut kept = self.finalised;
        while kept != self.pruned {
            let parent = self.entries[&kept].header.content.parent;
            let Some(entry) = self.entries.get_mut(&parent) else { break };
            for fork in std::mem::replace(&mut entry.children, vec![kept]) {
                if fork == kept {
                    continue;
                }
                for gone in self.with_descendants(&fork) {
                    left.extend(self.remove(&gone).map(|header| (header.height(), gone)));
                }
            }
            kept = parent;
        }
        self.pruned = self.finalised;
        if !self.entries.contains_key(&self.target) {
            self.choose_target();
        }
        left
    }

    fn with_descendants(&self, hash: &Hash) -> BTreeSet<Hash> {
        let mut found = BTreeSet::new();
        let mut open = vec![*hash];
        while let Some(hash) = open.pop() {
            open.extend(self.children(&hash));
            found.insert(hash);
        }
        found
    }

    fn remove(&mut self, hash: &Hash) -> Option<Header> {
        let entry = self.entries.remove(hash)?;
        self.by_slot.remove(&(entry.header.slot(), entry.header.content.proposer, *hash));
        Some(entry.header)
    }

    fn switch_head(&mut self, hash: Hash) {
        let (undone, done) = self.path(&self.head, &hash);
        for hash in undone {
            let height = self.entries[&hash].header.height();
            self.best_chain.remove(&height);
        }
        for hash in done {
            let height = self.entries[&hash].header.height();
            self.best_chain.insert(height, hash);
        }
        self.head = hash;
        self.head_slot = self.entries[&hash].header.slot();
    }

    /// Finds the best block that is not known to be invalid.
    fn choose_target(&mut self) {
        self.target = self.best(|stage| stage != Stage::Invalid).unwrap_or(self.base);
    }

    /// The best of the blocks that have come as far as this asks for.
    fn best(&self, stage: impl Fn(Stage) -> bool) -> Option<Hash> {
        let counted = self.entries.iter().filter(|(_, entry)| stage(entry.stage));
        counted.max_by_key(|(hash, entry)| Self::merit_of(hash, entry)).map(|(hash, _)| *hash)
    }

    /// The two headers for one slot by one proposer that this one is of, if there are two: proof that it equivocates.
    #[must_use]
    pub fn equivocation(&self, header: &Header) -> Option<[Header; 2]> {
        let mut both = self.of_slot(header).filter_map(|hash| self.header(hash));
        Some([both.next()?.clone(), both.next()?.clone()])
    }

    /// Notes that a block is invalid, and all that builds on it. Returns them all.
    pub fn invalidate(&mut self, hash: &Hash) -> Vec<Hash> {
        let mut invalid = Vec::new();
        let mut open = vec![*hash];
        while let Some(hash) = open.pop() {
            if let Some(entry) = self.entries.get_mut(&hash)
                && entry.stage == Stage::Header
            {
                entry.stage = Stage::Invalid;
                open.extend(&entry.children);
                invalid.push(hash);
            }
        }
        if invalid.contains(&self.target) {
            self.choose_target();
        }
        invalid
    }

    fn merit(&self, hash: &Hash) -> Merit {
        Self::merit_of(hash, &self.entries[hash])
    }

    const fn merit_of(hash: &Hash, entry: &Entry) -> Merit {
        (entry.justified, entry.header.height(), Reverse(*hash))
    }

    /// The way from one block to another: blocks to undo, tip first, and blocks to do, oldest first.
    ///
    /// Both must be in the tree.
    #[must_use]
    pub fn path(&self, from: &Hash, to: &Hash) -> (Vec<Hash>, Vec<Hash>) {
        let (mut undo, mut redo) = (Vec::new(), Vec::new());
        let (mut left, mut right) = (*from, *to);
        while left != right {
            let (left_entry, right_entry) = (&self.entries[&left], &self.entries[&right]);
            if left_entry.header.height() >= right_entry.header.height() {
                undo.push(left);
                left = left_entry.header.content.parent;
            } else {
                redo.push(right);
                right = right_entry.header.content.parent;
            }
        }
        redo.reverse();
        (undo, redo)
    }

    /// The blocks from the head to the target that are still to be executed, oldest first, at most `limit`.
    #[must_use]
    pub fn ahead(&self, limit: usize) -> Vec<Hash> {
        let (_, mut redo) = self.path(&self.head, &self.target);
        redo.retain(|hash| self.entries[hash].stage == Stage::Header);
        redo.truncate(limit);
        redo
    }

    /// Moves the base up the best chain to `hash`, dropping all that does not descend from it. Returns the blocks that
    /// leave: those of the best chain below the new base, oldest first, and those of other branches.
    pub fn advance_base(&mut self, hash: &Hash) -> (Vec<Header>, Vec<(Height, Hash)>) {
        let keep = self.with_descendants(hash);
        let (before, after) = (self.mmr_before(hash), self.mmr_after(hash).map(Box::new));
        if let (Some(before), Some(entry)) = (before, self.entries.get_mut(hash)) {
            self.before_base = before;
            entry.mmr = after;
        }
        let (mut settled, mut dropped) = (Vec::new(), Vec::new());
        for gone in self.entries.keys().copied().filter(|hash| !keep.contains(hash)).collect::<Vec<_>>() {
            let Some(header) = self.remove(&gone) else { continue };
            if self.best_chain.get(&header.height()) == Some(&gone) {
                settled.push(header);
            } else {
                dropped.push((header.height(), gone));
            }
        }
        settled.sort_by_key(Header::height);
        let base_height = self.entries[hash].header.height();
        self.best_chain = self.best_chain.split_off(&base_height);
        self.base = *hash;
        if !self.entries.contains_key(&self.finalised) {
            (self.finalised, self.finalised_height) = (*hash, base_height);
        }
        if !self.entries.contains_key(&self.pruned) {
            self.pruned = *hash;
        }
        if !self.entries.contains_key(&self.target) {
            self.target = self.head;
        }
        (settled, dropped)
    }
}
