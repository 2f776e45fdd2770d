//! Setting and removing accounts: one pass over the sorted changes, in which each branch on their paths is hashed once.

use std::sync::Arc;

use super::{
    Account, StubReached,
    node::{Node, common_bits},
};
use crate::primitives::Hash;

/// A key and the account to set there.
type Change = (Hash, Account);

/// The node with these changes, which are sorted and whose paths all lead through it; `None` when nothing is left.
///
/// Each call is made with more shared bits than the one above it, so the recursion is at most 257 deep.
pub(super) fn set(node: &Arc<Node>, changes: &[Change]) -> Result<Option<Arc<Node>>, StubReached> {
    let [(first, account), ..] = changes else { return Ok(Some(node.clone())) };
    let (last, _) = changes[changes.len() - 1];
    let (prefix, len) = node.prefix().ok_or(StubReached)?;
    // The keys that share so many bits with the prefix are an interval, so the ends speak for all between them.
    let shared = common_bits(prefix, first).min(common_bits(prefix, &last));
    if let Ok(bit) = u8::try_from(shared)
        && shared < len
    {
        let (left, right) = split(changes, bit);
        let (left, right) =
            if prefix.bit(bit) { (build(left), set(node, right)?) } else { (set(node, left)?, build(right)) };
        return Ok(join(*prefix, bit, left, right));
    }
    match node.as_ref() {
        Node::Stub(_) => Err(StubReached),
        Node::Leaf(leaf) if leaf.account == *account => Ok(Some(node.clone())),
        Node::Leaf(leaf) => Ok((!account.is_absent()).then(|| Node::leaf(leaf.key, *account))),
        Node::Branch(branch) => {
            let [before_left, before_right] = &branch.sides;
            let (left, right) = split(changes, branch.bit);
            let (left, right) = (set(before_left, left)?, set(before_right, right)?);
            if is(left.as_ref(), before_left) && is(right.as_ref(), before_right) {
                return Ok(Some(node.clone()));
            }
            Ok(join(branch.prefix, branch.bit, left, right))
        }
    }
}

/// A new part of the trie from sorted accounts, of which the absent ones are passed over.
pub(super) fn build(mut accounts: &[Change]) -> Option<Arc<Node>> {
    while let [(_, account), rest @ ..] = accounts
        && account.is_absent()
    {
        accounts = rest;
    }
    while let [rest @ .., (_, account)] = accounts
        && account.is_absent()
    {
        accounts = rest;
    }
    let ([(first, account), ..], [.., (last, _)]) = (accounts, accounts) else { return None };
    let Ok(bit) = u8::try_from(common_bits(first, last)) else {
        return Some(Node::leaf(*first, *account));
    };
    let (left, right) = split(accounts, bit);
    join(*first, bit, build(left), build(right))
}

/// Parts sorted changes that share all bits before `bit`.
pub(super) fn split(changes: &[Change], bit: u8) -> (&[Change], &[Change]) {
    changes.split_at(changes.partition_point(|(key, _)| !key.bit(bit)))
}

/// What two sides make: a branch, or the one that is there.
pub(super) fn join(
    prefix: Hash,
    bit: u8,
    left: Option<Arc<Node>>,
    right: Option<Arc<Node>>,
) -> Option<Arc<Node>> {
    match (left, right) {
        (Some(left), Some(right)) => Some(Node::branch(prefix, bit, [left, right])),
        (one, None) | (None, one) => one,
    }
}

fn is(side: Option<&Arc<Node>>, before: &Arc<Node>) -> bool {
    side.is_some_and(|side| Arc::ptr_eq(side, before))
}
