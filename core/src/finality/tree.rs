//! The block tree: every header that descends from the base, how far each block has come, and which branch is best.
//!
//! The *base* is the oldest block whose siblings no longer matter; everything in the tree descends from it. Branches
//! are compared by the highest justified checkpoint, then the number of blocks, then the lowest hash.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    chain::{ConsensusRecord, Header, HeaderError, Mmr},
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
    /// It can never follow its parent.
    #[error(transparent)]
    Invalid(#[from] HeaderError),
}

#[derive(Debug)]
struct Entry {
    header: Header,
    /// The mountain range over all headers before this one.
    mmr: Mmr,
    /// The record this block yields; its parent's until it is executed.
    record: Arc<ConsensusRecord>,
    stage: Stage,
    children: Vec<Hash>,
}

/// Comparable merit of a branch's tip: greater is better.
type Merit = (Height, Height, Reverse<Hash>);

/// The tree of blocks above the base.
#[derive(Debug)]
pub struct BlockTree {
    base: Hash,
    entries: BTreeMap<Hash, Entry>,
    by_slot: BTreeMap<(PublicKey, Slot), Vec<Hash>>,
    /// The best executed block.
    head: Hash,
    /// The best block that is not known to be invalid.
    target: Hash,
    /// The branch from base to head, by height.
    best_chain: BTreeMap<Height, Hash>,
}

impl BlockTree {
    /// A tree of the base alone, which counts as executed. `mmr` covers all headers before the base.
    #[must_use]
    pub fn new(base: Header, mmr: Mmr, record: Arc<ConsensusRecord>) -> Self {
        let (hash, height) = (base.hash(), base.height());
        let entry = Entry { header: base, mmr, record, stage: Stage::Executed, children: Vec::new() };
        Self {
            base: hash,
            entries: BTreeMap::from([(hash, entry)]),
            by_slot: BTreeMap::new(),
            head: hash,
            target: hash,
            best_chain: BTreeMap::from([(height, hash)]),
        }
    }

    /// The oldest block of the tree.
    #[must_use]
    pub const fn base(&self) -> Hash {
        self.base
    }

    /// The best executed block.
    #[must_use]
    pub const fn head(&self) -> Hash {
        self.head
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
        self.entries.get(hash).map(|entry| entry.mmr.with(hash))
    }

    /// The mountain range over all headers before this block's.
    #[must_use]
    pub fn mmr_before(&self, hash: &Hash) -> Option<&Mmr> {
        self.entries.get(hash).map(|entry| &entry.mmr)
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
        let mmr_root = parent.mmr.with(&header.content.parent).root();
        header.check_after(&parent.header, &parent.record.set, &mmr_root)?;
        if parent.stage == Stage::Invalid {
            return Err(InsertError::InvalidParent);
        }
        let of_slot = self.by_slot.get(&(header.content.proposer, header.slot()));
        if of_slot.is_some_and(|hashes| hashes.len() >= MAX_PER_SLOT) {
            return Err(InsertError::TooMany);
        }
        Ok(())
    }

    /// Takes in a header whose signature is known to be right.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn insert(&mut self, header: Header) -> Result<Hash, InsertError> {
        let hash = header.hash();
        self.check(&hash, &header)?;
        let parent = self.entries.get_mut(&header.content.parent).ok_or(InsertError::UnknownParent)?;
        parent.children.push(hash);
        let (mmr, record) = (parent.mmr.with(&header.content.parent), Arc::clone(&parent.record));
        self.by_slot.entry((header.content.proposer, header.slot())).or_default().push(hash);
        self.entries.insert(hash, Entry { header, mmr, record, stage: Stage::Header, children: Vec::new() });
        if self.merit(&hash) > self.merit(&self.target) {
            self.target = hash;
        }
        Ok(hash)
    }

    /// Notes that a block was executed after its parent, and yields this record. Returns whether the head moved.
    pub fn executed(&mut self, hash: &Hash, record: Arc<ConsensusRecord>) -> bool {
        let Some(entry) = self.entries.get_mut(hash) else { return false };
        entry.stage = Stage::Executed;
        entry.record = record;
        if self.merit(hash) <= self.merit(&self.head) {
            return false;
        }
        let (undone, done) = self.path(&self.head.clone(), hash);
        for hash in undone {
            let height = self.entries[&hash].header.height();
            self.best_chain.remove(&height);
        }
        for hash in done {
            let height = self.entries[&hash].header.height();
            self.best_chain.insert(height, hash);
        }
        self.head = *hash;
        true
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
            let valid = self.entries.iter().filter(|(_, entry)| entry.stage != Stage::Invalid);
            let best = valid.map(|(hash, _)| *hash).max_by_key(|hash| self.merit(hash));
            self.target = best.unwrap_or(self.base);
        }
        invalid
    }

    fn merit(&self, hash: &Hash) -> Merit {
        let entry = &self.entries[hash];
        (entry.record.justified.height, entry.header.height(), Reverse(*hash))
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
        let mut keep = BTreeSet::new();
        let mut open = vec![*hash];
        while let Some(hash) = open.pop() {
            open.extend(self.children(&hash));
            keep.insert(hash);
        }
        let (mut settled, mut dropped) = (Vec::new(), Vec::new());
        for gone in self.entries.keys().copied().filter(|hash| !keep.contains(hash)).collect::<Vec<_>>() {
            let Some(entry) = self.entries.remove(&gone) else { continue };
            let slot = (entry.header.content.proposer, entry.header.slot());
            if let Some(hashes) = self.by_slot.get_mut(&slot) {
                hashes.retain(|other| *other != gone);
                if hashes.is_empty() {
                    self.by_slot.remove(&slot);
                }
            }
            if self.best_chain.get(&entry.header.height()) == Some(&gone) {
                settled.push(entry.header);
            } else {
                dropped.push((entry.header.height(), gone));
            }
        }
        settled.sort_by_key(Header::height);
        let base_height = self.entries[hash].header.height();
        self.best_chain = self.best_chain.split_off(&base_height);
        self.base = *hash;
        if !self.entries.contains_key(&self.target) {
            self.target = self.head;
        }
        (settled, dropped)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::{Authority, Genesis, UnsignedHeader},
        primitives::{Address, SecretKey, merkle_root},
    };

    fn key(index: u8) -> SecretKey {
        SecretKey::from_seed([index + 1; 32])
    }

    fn genesis() -> Genesis {
        let authorities =
            (0..3).map(|index| Authority { key: key(index).public(), fee_address: Address([index; 32]) });
        Genesis {
            name: "tree".into(),
            time: 0,
            slot_millis: 1000,
            min_fee_per_byte: 1,
            authorities: authorities.collect(),
            grants: Vec::new(),
        }
    }

    fn tree() -> BlockTree {
        let genesis = genesis();
        let record = Arc::new(ConsensusRecord::of_genesis(&genesis));
        BlockTree::new(genesis.header(Hash::ZERO), Mmr::default(), record)
    }

    /// A header for `slot` on `parent`; `salt` makes it differ from others of its slot.
    fn child(tree: &BlockTree, parent: &Hash, slot: u64, salt: u8) -> Header {
        let before = tree.header(parent).unwrap();
        let nothing = merkle_root::<&[u8]>([]);
        let record = tree.record(parent).unwrap();
        let roots = [
            nothing,
            nothing,
            Hash([salt; 32]),
            nothing,
            record.root(),
            tree.mmr_after(parent).unwrap().root(),
        ];
        let height = before.height().checked_add(1).unwrap();
        let signer = key(u8::try_from(slot % 3).unwrap());
        UnsignedHeader::new(height, Slot(slot), *parent, roots, 0, signer.public())
            .sign(&signer, &genesis().hash())
    }

    fn grow(tree: &mut BlockTree, parent: &Hash, slot: u64, salt: u8) -> Hash {
        let header = child(tree, parent, slot, salt);
        tree.insert(header).unwrap()
    }

    fn execute(tree: &mut BlockTree, hash: &Hash) -> bool {
        let record = Arc::clone(tree.record(hash).unwrap());
        tree.executed(hash, record)
    }

    #[test]
    fn the_longest_branch_wins_and_ties_go_to_the_lowest_hash() {
        let mut tree = tree();
        let base = tree.base();
        let a = grow(&mut tree, &base, 1, 0);
        let b = grow(&mut tree, &base, 2, 0);
        assert_eq!(tree.target(), a.min(b));
        execute(&mut tree, &a);
        execute(&mut tree, &b);
        assert_eq!(tree.head(), a.min(b));
        let longer = grow(&mut tree, &a.max(b), 3, 0);
        assert!(execute(&mut tree, &longer));
        assert_eq!((tree.head(), tree.target()), (longer, longer));
        assert_eq!(tree.on_best_chain(Height(1)), Some(a.max(b)));
        assert_eq!(tree.path(&a.min(b), &longer), (vec![a.min(b)], vec![a.max(b), longer]));
    }

    #[test]
    fn an_invalid_block_takes_its_descendants_along() {
        let mut tree = tree();
        let base = tree.base();
        let a = grow(&mut tree, &base, 1, 0);
        let b = grow(&mut tree, &a, 2, 0);
        let other = grow(&mut tree, &base, 3, 0);
        assert_eq!(tree.target(), b);
        assert_eq!(tree.invalidate(&a), [a, b]);
        assert_eq!(tree.target(), other);
        let late = child(&tree, &b, 4, 0);
        assert_eq!(tree.insert(late), Err(InsertError::InvalidParent));
    }

    #[test]
    fn at_most_two_headers_of_a_proposer_and_slot_are_stored() {
        let mut tree = tree();
        let base = tree.base();
        grow(&mut tree, &base, 1, 0);
        grow(&mut tree, &base, 1, 1);
        let third = child(&tree, &base, 1, 2);
        assert_eq!(tree.insert(third), Err(InsertError::TooMany));
        let again = child(&tree, &base, 1, 0);
        assert_eq!(tree.insert(again), Err(InsertError::Known));
    }

    #[test]
    fn headers_that_do_not_follow_are_refused() {
        let mut tree = tree();
        let base = tree.base();
        let mut orphan = child(&tree, &base, 1, 0);
        orphan.content.parent = Hash([5; 32]);
        assert_eq!(tree.insert(orphan), Err(InsertError::UnknownParent));
        let mut wrong = child(&tree, &base, 1, 0);
        wrong.content.mmr_root = Hash::ZERO;
        assert_eq!(tree.insert(wrong), Err(InsertError::Invalid(HeaderError::Mmr)));
    }

    #[test]
    fn the_base_moves_up_and_drops_what_does_not_descend_from_it() {
        let mut tree = tree();
        let base = tree.base();
        let a = grow(&mut tree, &base, 1, 0);
        let side = grow(&mut tree, &base, 2, 0);
        let b = grow(&mut tree, &a, 4, 0);
        let c = grow(&mut tree, &b, 5, 0);
        for hash in [a, b, c] {
            execute(&mut tree, &hash);
        }
        let (settled, dropped) = tree.advance_base(&b);
        assert_eq!(settled.iter().map(Header::hash).collect::<Vec<_>>(), [base, a]);
        assert_eq!(dropped, [(Height(1), side)]);
        assert_eq!((tree.base(), tree.head(), tree.count()), (b, c, 2));
        assert_eq!((tree.on_best_chain(Height(1)), tree.on_best_chain(Height(2))), (None, Some(b)));
        assert_eq!(tree.mmr_after(&c).unwrap().count(), 4);
    }

    #[test]
    fn what_is_ahead_is_in_order() {
        let mut tree = tree();
        let mut tip = tree.base();
        let mut all = Vec::new();
        for slot in 1..=5 {
            tip = grow(&mut tree, &tip, slot, 0);
            all.push(tip);
        }
        assert_eq!(tree.ahead(3), all[..3]);
        execute(&mut tree, &all[0]);
        assert_eq!(tree.ahead(10), all[1..]);
    }
}
