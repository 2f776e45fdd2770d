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
///
/// One pass from left to right. `open` has the branches above the last leaf that still lack a right side, each as its bit and
/// its left side, the uppermost first; how many bits the next key shares says which of them are complete.
pub(super) fn build(accounts: &[Change]) -> Option<Arc<Node>> {
    let mut existing = accounts.iter().filter(|(_, account)| !account.is_absent());
    let &(mut last, account) = existing.next()?;
    let mut node = Node::leaf(last, account);
    let mut open: Vec<(u8, Arc<Node>)> = Vec::new();
    for &(key, account) in existing {
        let bit = u8::try_from(common_bits(&last, &key)).expect("no key comes twice, so two keys part");
        while let Some((above, left)) = open.pop_if(|(above, _)| *above > bit) {
            node = Node::branch(last, above, [left, node]);
        }
        open.push((bit, node));
        node = Node::leaf(key, account);
        last = key;
    }
    while let Some((bit, left)) = open.pop() {
        node = Node::branch(last, bit, [left, node]);
    }
    Some(node)
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
