//! The nodes: hashed when made, never changed.

use std::sync::Arc;

use super::{Account, StubReached};
use crate::primitives::Hash;

/// A non-empty part of the trie.
pub(super) enum Node {
    /// Known by its hash only.
    Stub(Hash),
    /// One account.
    Leaf(Leaf),
    /// Two parts whose keys first differ at one bit.
    Branch(Branch),
}

/// An account that exists.
pub(super) struct Leaf {
    hash: Hash,
    /// Its key.
    pub(super) key: Hash,
    /// Never absent.
    pub(super) account: Account,
}

/// The place where the keys beneath part. What a look-up needs stands together, mostly in one cache line.
#[repr(C)]
pub(super) struct Branch {
    /// The keys with a zero at `bit`, and those with a one there.
    pub(super) sides: [Arc<Node>; 2],
    /// The index of the first bit in which the two sides differ.
    pub(super) bit: u8,
    hash: Hash,
    /// A key whose bits before `bit` are those of all keys beneath; the others mean nothing.
    pub(super) prefix: Hash,
}

impl Node {
    /// A leaf with its hash.
    pub(super) fn leaf(key: Hash, account: Account) -> Arc<Self> {
        Arc::new(Self::Leaf(Leaf { hash: leaf_hash(&key, &account), key, account }))
    }

    /// A branch with its hash.
    pub(super) fn branch(prefix: Hash, bit: u8, sides: [Arc<Self>; 2]) -> Arc<Self> {
        let hash = branch_hash(bit, [&sides[0].hash(), &sides[1].hash()]);
        Arc::new(Self::Branch(Branch { sides, bit, hash, prefix }))
    }

    /// What this node adds to its parent's hash.
    pub(super) const fn hash(&self) -> Hash {
        match self {
            Self::Stub(hash) | Self::Leaf(Leaf { hash, .. }) | Self::Branch(Branch { hash, .. }) => *hash,
        }
    }

    /// The account at `key`, if this is where its path ends.
    pub(super) fn account(&self, key: &Hash) -> Result<Account, StubReached> {
        match self {
            Self::Leaf(leaf) if leaf.key == *key => Ok(leaf.account),
            Self::Leaf(_) => Ok(Account::default()),
            Self::Stub(_) | Self::Branch(_) => Err(StubReached),
        }
    }

    /// A key, and how many of its leading bits are those of all keys beneath: all 256 for a leaf. `None` for a stub.
    pub(super) fn prefix(&self) -> Option<(&Hash, u16)> {
        match self {
            Self::Stub(_) => None,
            Self::Leaf(leaf) => Some((&leaf.key, 256)),
            Self::Branch(branch) => Some((&branch.prefix, branch.bit.into())),
        }
    }
}

impl Branch {
    /// The child for keys with this bit.
    pub(super) fn side(&self, bit: bool) -> &Arc<Node> {
        &self.sides[usize::from(bit)]
    }

    /// The same branch with other nodes of the same hashes.
    pub(super) const fn with_sides(&self, sides: [Arc<Node>; 2]) -> Self {
        Self { sides, bit: self.bit, hash: self.hash, prefix: self.prefix }
    }
}

/// The hash of the empty trie.
pub(super) fn empty_hash() -> Hash {
    Hash::of(&[2])
}

/// The hash of a leaf.
pub(super) fn leaf_hash(key: &Hash, account: &Account) -> Hash {
    let mut bytes = [0; 49];
    bytes[1..33].copy_from_slice(&key.0);
    bytes[33..41].copy_from_slice(&account.nonce.to_le_bytes());
    bytes[41..].copy_from_slice(&account.balance.0.to_le_bytes());
    Hash::of(&bytes)
}

/// The hash of a branch, from those of its sides.
pub(super) fn branch_hash(bit: u8, sides: [&Hash; 2]) -> Hash {
    let mut key = *b"weft/state/branch_______________";
    key[31] = bit;
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&sides[0].0);
    bytes[32..].copy_from_slice(&sides[1].0);
    Hash::keyed(&key, &bytes)
}

/// How many leading bits two keys share: 256 when they are the same.
pub(super) fn common_bits(a: &Hash, b: &Hash) -> u16 {
    let mut bits = 0;
    for (a, b) in a.0.as_chunks().0.iter().zip(b.0.as_chunks().0) {
        let parting = u64::from_be_bytes(*a) ^ u64::from_be_bytes(*b);
        bits += parting.leading_zeros() as u16;
        if parting != 0 {
            break;
        }
    }
    bits
}
