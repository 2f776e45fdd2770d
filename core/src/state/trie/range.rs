//! Proofs of all accounts between two keys.
//!
//! A proof lists leaves in the order of their keys. The branches between two listed leaves follow from their keys, so
//! only what hangs outside is told by hashes: *before*, the left sides of the branches on the first listed leaf's path,
//! and *after*, the right sides on the last one's. To show that nothing of the range is among the first, the list
//! begins with the last leaf in front of the range, unless there is none or the range begins with a leaf; and likewise at
//! the end. Or the list is cut before the end of the range, and the proof covers the keys up to its last leaf.
//!
//! # Why it proves
//! As for an account, the root is that of a trie some update made, and hashes of different kinds of nodes differ. The
//! verifier computes the root from the leaves and the hashes it was given, so each branch it makes is one of the trie, with
//! the same bit and the same sides, down to the listed leaves and the parts known by their hash. A branch has smaller keys
//! on its left than on its right, so the whole trie read from left to right is sorted by key; and the verifier
//! reads: the parts before, the listed leaves, the parts after, with nothing between two listed leaves. So
//! - every listed leaf is in the trie, and the trie has no other keys between the first and the last of them;
//! - all keys of the parts before are smaller than the first, all keys of the parts after larger than the last.
//!
//! Hence no account of the range is hidden before the list if there are no parts before, or the first listed key is not
//! after the range's first; and so at its end. Where the hidden parts hang never matters, only on which side of the
//! list: it does no harm that branches do not commit to the prefixes of their keys.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

use super::{
    Account, ProofError, StubReached, Trie,
    node::{Node, branch_hash, common_bits, empty_hash, leaf_hash},
    proof::Sibling,
    update::{build, join, split},
};
use crate::primitives::{Hash, at_most};

/// A proof of what accounts there are between two keys, under a state root.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct RangeProof {
    /// The accounts of the range, with the one before and the one after it where they are needed.
    #[borsh(deserialize_with = "at_most::<{ RangeProof::MAX_LEAVES + 2 }, _, _>")]
    pub(super) leaves: Vec<(Hash, Account)>,
    /// The left sides of branches on the first leaf's path, from the root down.
    #[borsh(deserialize_with = "at_most::<256, _, _>")]
    pub(super) before: Vec<Sibling>,
    /// The right sides of branches on the last leaf's path, from the root down.
    #[borsh(deserialize_with = "at_most::<256, _, _>")]
    pub(super) after: Vec<Sibling>,
}

/// What a range proof proves.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub struct VerifiedRange {
    /// All accounts from the range's first key on, to its last or to where `next` says, sorted by key.
    pub leaves: Vec<(Hash, Account)>,
    /// The first key of the range that the proof does not cover, if there is one.
    pub next: Option<Hash>,
    /// The trie of these leaves alone, to [`merge`](Trie::merge) with those of other ranges.
    pub part: Trie,
}

impl RangeProof {
    /// The most accounts of a range in one proof.
    pub const MAX_LEAVES: usize = 8192;
    /// The most bytes an encoded proof has.
    pub const MAX_LEN: usize = 3 * 4 + (Self::MAX_LEAVES + 2) * 48 + 2 * 256 * 33;

    /// The number of leaves listed: what checking it costs.
    #[must_use]
    pub const fn leaf_count(&self) -> usize {
        self.leaves.len()
    }

    /// The accounts from `from` to `to`, both included, under `root`; perhaps not up to the end.
    ///
    /// # Errors
    /// When this is not a proof for these keys and this root: whoever sent it lies, or holds another state.
    pub fn verify(self, root: &Hash, from: &Hash, to: &Hash) -> Result<VerifiedRange, ProofError> {
        let Self { mut leaves, before, after } = self;
        if from > to {
            return Err(ProofError::Nothing);
        }
        let next = check(&leaves, &before, &after, from, to)?;
        let inside = |key: &Hash| from <= key && key <= to;
        let (hash, part) = rebuild(&leaves, &before, &after, &inside);
        if hash != *root {
            return Err(ProofError::Root);
        }
        leaves.retain(|(key, _)| inside(key));
        Ok(VerifiedRange { leaves, next, part: Trie(part) })
    }
}

/// Checks all but the hashes, and says where the range goes on.
fn check(
    leaves: &[(Hash, Account)],
    before: &[Sibling],
    after: &[Sibling],
    from: &Hash,
    to: &Hash,
) -> Result<Option<Hash>, ProofError> {
    if leaves.iter().any(|(_, account)| account.is_absent()) {
        return Err(ProofError::Absent);
    }
    let ([(first, _), ..], [.., (last, _)]) = (leaves, leaves) else {
        return if before.is_empty() && after.is_empty() { Ok(None) } else { Err(ProofError::Misplaced) };
    };
    // A branch that hangs before has the first key on its right, one that hangs after the last key on its left, and one
    // between two leaves neither: so no two branches of a path have one bit, and each leads further down.
    let descends = |siblings: &[Sibling], key: &Hash, side: bool| {
        siblings.is_sorted_by(|above, below| above.bit < below.bit)
            && siblings.iter().all(|sibling| key.bit(sibling.bit) == side)
    };
    let ascends = leaves.is_sorted_by(|(a, _), (b, _)| a < b);
    if !ascends || !descends(before, first, true) || !descends(after, last, false) {
        return Err(ProofError::Misplaced);
    }
    if let [_, (second, _), ..] = leaves
        && second <= from
    {
        return Err(ProofError::Unneeded);
    }
    if let [.., (second, _), _] = leaves
        && second >= to
    {
        return Err(ProofError::Unneeded);
    }
    if !before.is_empty() && first > from {
        return Err(ProofError::Gap);
    }
    if after.is_empty() || last >= to {
        return Ok(None);
    }
    if last < from { Err(ProofError::Nothing) } else { Ok(Some(successor(last))) }
}

/// The hash of the part of the trie that these leaves and hashes make, and the trie of those leaves that are inside.
fn rebuild(
    leaves: &[(Hash, Account)],
    before: &[Sibling],
    after: &[Sibling],
    inside: &impl Fn(&Hash) -> bool,
) -> (Hash, Option<Arc<Node>>) {
    let ([(first, account), ..], [.., (last, _)]) = (leaves, leaves) else { return (empty_hash(), None) };
    if before.is_empty() && after.is_empty() && inside(first) && inside(last) {
        let part = build(leaves);
        return (part.as_ref().map_or_else(empty_hash, |node| node.hash()), part);
    }
    let bit_of = |siblings: &[Sibling]| siblings.first().map_or(256, |sibling| sibling.bit.into());
    let parting = common_bits(first, last);
    let top = parting.min(bit_of(before)).min(bit_of(after));
    if let [sibling, rest @ ..] = before
        && u16::from(sibling.bit) == top
    {
        let (hash, part) = rebuild(leaves, rest, after, inside);
        return (sibling.parent(&hash, true), part);
    }
    if let [sibling, rest @ ..] = after
        && u16::from(sibling.bit) == top
    {
        let (hash, part) = rebuild(leaves, before, rest, inside);
        return (sibling.parent(&hash, false), part);
    }
    let Ok(bit) = u8::try_from(parting) else {
        let part = inside(first).then(|| Node::leaf(*first, *account));
        return (leaf_hash(first, account), part);
    };
    let (left, right) = split(leaves, bit);
    let (left, left_part) = rebuild(left, before, &[], inside);
    let (right, right_part) = rebuild(right, &[], after, inside);
    (branch_hash(bit, [&left, &right]), join(*first, bit, left_part, right_part))
}

/// The key after `key`, which is not the last.
fn successor(key: &Hash) -> Hash {
    let mut next = *key;
    for byte in next.0.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            break;
        }
    }
    next
}

impl Trie {
    /// Proves what accounts there are from `from` to `to`, both included: the first `max_leaves` of them, but at least one
    /// and at most [`RangeProof::MAX_LEAVES`]. Nobody accepts the answer if `from` comes after `to`.
    ///
    /// # Errors
    /// When it meets a stub of a partial trie on its way, which starts at the root.
    pub fn prove_range(&self, from: &Hash, to: &Hash, max_leaves: usize) -> Result<RangeProof, StubReached> {
        let leaves = self.listed(from, to, max_leaves.clamp(1, RangeProof::MAX_LEAVES))?;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        if let ([(first, _), ..], [.., (last, _)]) = (leaves.as_slice(), leaves.as_slice()) {
            before = self.siblings(first, true);
            after = self.siblings(last, false);
        }
        Ok(RangeProof { leaves, before, after })
    }

    /// The leaves a range proof lists.
    fn listed(&self, from: &Hash, to: &Hash, max: usize) -> Result<Vec<(Hash, Account)>, StubReached> {
        let mut leaves = Vec::new();
        let mut in_front = None;
        let mut coming: Vec<&Node> = self.0.as_deref().into_iter().collect();
        while let Some(node) = coming.pop() {
            if leaves.is_empty() {
                let (prefix, len) = node.prefix().ok_or(StubReached)?;
                let shared = common_bits(prefix, from);
                if u8::try_from(shared).is_ok_and(|bit| shared < len && from.bit(bit)) {
                    in_front = Some(node);
                    continue;
                }
            }
            match node {
                Node::Stub(_) => return Err(StubReached),
                Node::Branch(branch) => coming.extend([&*branch.sides[1], &*branch.sides[0]]),
                Node::Leaf(leaf) => {
                    if leaf.key <= *to && leaves.len() == max {
                        break;
                    }
                    leaves.push((leaf.key, leaf.account));
                    if leaf.key >= *to {
                        break;
                    }
                }
            }
        }
        if let Some(mut node) = in_front
            && leaves.first().is_none_or(|(first, _)| first != from)
        {
            while let Node::Branch(branch) = node {
                node = branch.side(true);
            }
            let Node::Leaf(leaf) = node else { return Err(StubReached) };
            leaves.insert(0, (leaf.key, leaf.account));
        }
        Ok(leaves)
    }

    /// The sides that the path of `key`, which is in the trie, leaves to its left or its right when it goes the way `taken`.
    pub(super) fn siblings(&self, key: &Hash, taken: bool) -> Vec<Sibling> {
        let mut siblings = Vec::new();
        let mut node = self.0.as_deref();
        while let Some(Node::Branch(branch)) = node {
            let bit = key.bit(branch.bit);
            if bit == taken {
                siblings.push(Sibling { bit: branch.bit, hash: branch.side(!bit).hash() });
            }
            node = Some(branch.side(bit));
        }
        siblings
    }
}
