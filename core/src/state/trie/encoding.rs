//! A trie as bytes: its nodes from the root down, each behind a tag, left before right.
//!
//! | tag | node | follows |
//! |---|---|---|
//! | 0 | the empty trie, at the root only | nothing |
//! | 1 | leaf | key, nonce, balance |
//! | 2 | branch | bit, left, right |
//! | 3 | stub | hash |
//! | 4 | branch of two stubs | bit, prefix with zeros from `bit` on, left hash, right hash |
//!
//! Tag 4 is what is left where all leaves on a witness's paths were removed: no leaf beneath tells the prefix.

use std::{
    io::{Error, ErrorKind, Read, Result, Write},
    sync::Arc,
};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{
    Account, Trie,
    node::{Node, common_bits},
};
use crate::primitives::Hash;

const EMPTY: u8 = 0;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
const STUB: u8 = 3;
const STUBS: u8 = 4;

impl BorshSerialize for Trie {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        match &self.0 {
            None => EMPTY.serialize(writer),
            Some(root) => write(root, writer),
        }
    }
}

impl BorshDeserialize for Trie {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        match u8::deserialize_reader(reader)? {
            EMPTY => Ok(Self(None)),
            tag => Ok(Self(Some(read(tag, 0, reader)?))),
        }
    }
}

fn write<W: Write>(node: &Node, writer: &mut W) -> Result<()> {
    match node {
        Node::Stub(hash) => (STUB, hash).serialize(writer),
        Node::Leaf(leaf) => (LEAF, leaf.key, leaf.account).serialize(writer),
        Node::Branch(branch) => match (branch.sides[0].as_ref(), branch.sides[1].as_ref()) {
            (Node::Stub(left), Node::Stub(right)) => {
                (STUBS, branch.bit, masked(branch.prefix, branch.bit), left, right).serialize(writer)
            }
            (left, right) => {
                (BRANCH, branch.bit).serialize(writer)?;
                write(left, writer)?;
                write(right, writer)
            }
        },
    }
}

/// Reads the node behind `tag`. Its bit is at least `from`, and its children's larger than its own, so hostile bytes
/// lead no deeper than 256 calls.
fn read<R: Read>(tag: u8, from: u16, reader: &mut R) -> Result<Arc<Node>> {
    match tag {
        LEAF => {
            let (key, account) = <(Hash, Account)>::deserialize_reader(reader)?;
            if account.is_absent() {
                return Err(malformed("a leaf without an account"));
            }
            Ok(Node::leaf(key, account))
        }
        BRANCH => {
            let bit = read_bit(from, reader)?;
            let left = read(u8::deserialize_reader(reader)?, u16::from(bit) + 1, reader)?;
            let right = read(u8::deserialize_reader(reader)?, u16::from(bit) + 1, reader)?;
            Ok(Node::branch(common_prefix(bit, &left, &right)?, bit, [left, right]))
        }
        STUB => Ok(Arc::new(Node::Stub(Hash::deserialize_reader(reader)?))),
        STUBS => {
            let bit = read_bit(from, reader)?;
            let (prefix, left, right) = <(Hash, Hash, Hash)>::deserialize_reader(reader)?;
            if prefix != masked(prefix, bit) {
                return Err(malformed("a prefix longer than its branch's"));
            }
            Ok(Node::branch(prefix, bit, [left, right].map(|hash| Arc::new(Node::Stub(hash)))))
        }
        _ => Err(malformed("no such kind of node")),
    }
}

fn read_bit<R: Read>(from: u16, reader: &mut R) -> Result<u8> {
    let bit = u8::deserialize_reader(reader)?;
    if u16::from(bit) < from {
        return Err(malformed("a branch whose bit does not come after its parent's"));
    }
    Ok(bit)
}

/// The prefix that both sides agree on, each being on its own side of `bit`.
fn common_prefix(bit: u8, left: &Node, right: &Node) -> Result<Hash> {
    let (left, right) = (left.prefix(), right.prefix());
    if left.is_some_and(|(key, _)| key.bit(bit)) || right.is_some_and(|(key, _)| !key.bit(bit)) {
        return Err(malformed("a leaf on the wrong side of a branch"));
    }
    match (left, right) {
        (Some((left, _)), Some((right, _))) if common_bits(left, right) < bit.into() => {
            Err(malformed("keys that part before their branch"))
        }
        (Some((key, _)), _) | (None, Some((key, _))) => Ok(*key),
        (None, None) => Err(malformed("a branch of two stubs without its prefix")),
    }
}

/// The key with zeros from `bit` on.
fn masked(mut key: Hash, bit: u8) -> Hash {
    let byte = usize::from(bit >> 3);
    key.0[byte] &= !(0xff >> (bit & 7));
    key.0[byte + 1..].fill(0);
    key
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
