//! Putting two tries together.

use std::sync::Arc;

use super::{
    StubReached,
    node::{Branch, Node, common_bits},
};

/// The accounts of both nodes, `over`'s where both have one.
///
/// Each call is made with more shared bits than the one above it, so the recursion is at most 257 deep. It goes only
/// where both have accounts: two ranges side by side meet on one path.
pub(super) fn merge(node: &Arc<Node>, over: &Arc<Node>) -> Result<Arc<Node>, StubReached> {
    if Arc::ptr_eq(node, over) {
        return Ok(node.clone());
    }
    let (prefix, len) = node.prefix().ok_or(StubReached)?;
    let (over_prefix, over_len) = over.prefix().ok_or(StubReached)?;
    let shared = common_bits(prefix, over_prefix);
    if let Ok(bit) = u8::try_from(shared)
        && shared < len.min(over_len)
    {
        let sides = if prefix.bit(bit) { [over, node] } else { [node, over] };
        return Ok(Node::branch(*prefix, bit, sides.map(Arc::clone)));
    }
    match (node.as_ref(), over.as_ref()) {
        (Node::Branch(branch), Node::Branch(other)) if branch.bit == other.bit => {
            let [left, right] = &branch.sides;
            let sides = [merge(left, &other.sides[0])?, merge(right, &other.sides[1])?];
            Ok(Node::branch(branch.prefix, branch.bit, sides))
        }
        (Node::Branch(branch), _) if len < over_len => {
            let right = over_prefix.bit(branch.bit);
            Ok(replace(branch, right, merge(branch.side(right), over)?))
        }
        (_, Node::Branch(other)) => {
            let right = prefix.bit(other.bit);
            Ok(replace(other, right, merge(node, other.side(right))?))
        }
        _ => Ok(over.clone()),
    }
}

/// The branch with another node on one side.
fn replace(branch: &Branch, right: bool, side: Arc<Node>) -> Arc<Node> {
    let other = branch.side(!right).clone();
    let sides = if right { [other, side] } else { [side, other] };
    Node::branch(branch.prefix, branch.bit, sides)
}
