//! Proofs of one account, present or absent.
//!
//! A proof is the path of a key: the branches from the root down, each as its bit and the hash of the side not taken,
//! and what the path ends in, which is the key's own leaf, another key's leaf, or nothing if the trie is empty.
//!
//! # Why it proves
//! The root is that of a trie some update made, since whoever verifies takes it from a header that others vouch for. The
//! verifier computes hashes from the end of the path up to the root. Different kinds of nodes never hash alike (a leaf
//! and the empty trie begin with different bytes, a branch is hashed under a key that holds its bit), so unless somebody
//! found a collision of BLAKE3, each hash is that of a node of the trie: the same kind of node, the same bit, the same
//! sides. At each branch the verifier goes to the side of the key's bit, as a look-up does. So the leaf at the end is
//! the one where a look-up in the whole trie ends, and if it is another key's, the key is not in the trie. Prefixes need
//! no check: a leaf is where the look-up of its key ends, whatever prefixes the branches on the way have.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{
    Account, StubReached, Trie,
    node::{Node, branch_hash, empty_hash, leaf_hash},
};
use crate::primitives::{Hash, at_most};

/// A proof of what the account at one key is, under a state root.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AccountProof {
    /// The branches from the root down.
    #[borsh(deserialize_with = "at_most::<256, _, _>")]
    path: Vec<Sibling>,
    end: End,
}

/// A branch on a path, seen from the side that the path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct Sibling {
    /// The branch's bit.
    pub(super) bit: u8,
    /// The hash of the side that the path does not take.
    pub(super) hash: Hash,
}

/// Where a path ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
enum End {
    /// The trie is empty.
    Empty,
    /// At the key's own leaf.
    Own(Account),
    /// At the leaf of another key.
    Other(Hash, Account),
}

/// Why a proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum ProofError {
    /// Leaves or branches are not in ascending order, or stand where a trie cannot have them.
    #[error("leaves or branches where no trie has them")]
    Misplaced,
    /// An account that does not exist is listed as a leaf.
    #[error("a leaf without an account")]
    Absent,
    /// Leaves outside the range that it does not need.
    #[error("leaves that prove nothing of the range")]
    Unneeded,
    /// A part known by its hash only could hold accounts of the range.
    #[error("accounts of the range could be hidden")]
    Gap,
    /// The range is empty, or it tells nothing of where the range begins.
    #[error("it covers nothing of the range")]
    Nothing,
    /// The hashes do not add up to the root.
    #[error("it is not a proof for this root")]
    Root,
}

impl AccountProof {
    /// The most bytes an encoded proof has.
    pub const MAX_LEN: usize = 4 + 256 * 33 + 1 + 48;

    /// The account at `key` under `root`: the default account when it is proven absent.
    ///
    /// # Errors
    /// When this is not a proof for this key and root: whoever sent it lies, or holds another state.
    pub fn verify(&self, root: &Hash, key: &Hash) -> Result<Account, ProofError> {
        if !self.path.is_sorted_by(|above, below| above.bit < below.bit) {
            return Err(ProofError::Misplaced);
        }
        let (mut hash, account) = match &self.end {
            End::Empty if !self.path.is_empty() => return Err(ProofError::Misplaced),
            End::Empty => (empty_hash(), Account::default()),
            End::Own(account) | End::Other(_, account) if account.is_absent() => {
                return Err(ProofError::Absent);
            }
            End::Own(account) => (leaf_hash(key, account), *account),
            End::Other(other, account) => {
                let leaves_path = |sibling: &Sibling| key.bit(sibling.bit) != other.bit(sibling.bit);
                if key == other || self.path.iter().any(leaves_path) {
                    return Err(ProofError::Misplaced);
                }
                (leaf_hash(other, account), Account::default())
            }
        };
        for sibling in self.path.iter().rev() {
            hash = sibling.parent(&hash, key.bit(sibling.bit));
        }
        if hash == *root { Ok(account) } else { Err(ProofError::Root) }
    }
}

impl Sibling {
    /// The hash of the branch, when `hash` is that of its other side, the one for keys with this bit.
    pub(super) fn parent(&self, hash: &Hash, bit: bool) -> Hash {
        branch_hash(self.bit, if bit { [&self.hash, hash] } else { [hash, &self.hash] })
    }
}

impl Trie {
    /// Proves what the account at `key` is.
    ///
    /// # Errors
    /// When the path leads into a stub of a partial trie.
    pub fn prove(&self, key: &Hash) -> Result<AccountProof, StubReached> {
        let mut path = Vec::new();
        let Some(mut node) = self.0.as_deref() else {
            return Ok(AccountProof { path, end: End::Empty });
        };
        while let Node::Branch(branch) = node {
            let bit = key.bit(branch.bit);
            path.push(Sibling { bit: branch.bit, hash: branch.side(!bit).hash() });
            node = branch.side(bit);
        }
        let Node::Leaf(leaf) = node else { return Err(StubReached) };
        let end = if leaf.key == *key { End::Own(leaf.account) } else { End::Other(leaf.key, leaf.account) };
        Ok(AccountProof { path, end })
    }
}
