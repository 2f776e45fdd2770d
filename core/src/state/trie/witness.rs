//! Cutting a trie down to the paths of some keys, and putting the rest back.

use std::{collections::BTreeMap, sync::Arc};

use super::node::{Branch, Node};
use crate::primitives::Hash;

/// The node with all but the paths of these keys turned into stubs. Reorders the keys.
pub(super) fn cut(node: &Arc<Node>, keys: &mut [Hash]) -> Arc<Node> {
    if keys.is_empty() {
        return Arc::new(Node::Stub(node.hash()));
    }
    let Node::Branch(branch) = node.as_ref() else { return node.clone() };
    let (left, right) = split(branch, keys);
    Arc::new(Node::Branch(branch.with_sides([cut(&branch.sides[0], left), cut(&branch.sides[1], right)])))
}

/// Gathers, by hash, the nodes that [`cut`] turns into stubs.
pub(super) fn collect(node: &Arc<Node>, keys: &mut [Hash], parts: &mut BTreeMap<Hash, Arc<Node>>) {
    if keys.is_empty() {
        parts.insert(node.hash(), node.clone());
    } else if let Node::Branch(branch) = node.as_ref() {
        let (left, right) = split(branch, keys);
        collect(&branch.sides[0], left, parts);
        collect(&branch.sides[1], right, parts);
    }
}

/// The node with every stub replaced by the part with its hash. An update moves stubs to other places, but the hash
/// says what is beneath, wherever it hangs.
pub(super) fn fill(node: &Arc<Node>, parts: &BTreeMap<Hash, Arc<Node>>) -> Arc<Node> {
    match node.as_ref() {
        Node::Stub(hash) => parts.get(hash).unwrap_or(node).clone(),
        Node::Leaf(_) => node.clone(),
        Node::Branch(branch) => {
            let sides = branch.sides.each_ref().map(|side| fill(side, parts));
            if sides.iter().zip(&branch.sides).all(|(after, before)| Arc::ptr_eq(after, before)) {
                return node.clone();
            }
            Arc::new(Node::Branch(branch.with_sides(sides)))
        }
    }
}

/// Parts the keys by the branch's bit. They need not share the branch's prefix, so their order does not help.
fn split<'a>(branch: &Branch, keys: &'a mut [Hash]) -> (&'a mut [Hash], &'a mut [Hash]) {
    keys.sort_unstable_by_key(|key| key.bit(branch.bit));
    let middle = keys.partition_point(|key| !key.bit(branch.bit));
    keys.split_at_mut(middle)
}
