//! A block: its header, and the body the header commits to.

use std::io::{Error, ErrorKind, Read, Result as IoResult, Write};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Header, MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, MAX_SYSTEM_BYTES, Transaction};
use crate::primitives::{Hash, encode, merkle_root};

/// What the protocol itself puts into a block. No kind is defined yet, so every encoding of one is refused; finality
/// certificates, authority ballots and evidence will each be a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemItem {}

impl BorshSerialize for SystemItem {
    fn serialize<W: Write>(&self, _: &mut W) -> IoResult<()> {
        match *self {}
    }
}

impl BorshDeserialize for SystemItem {
    fn deserialize_reader<R: Read>(reader: &mut R) -> IoResult<Self> {
        let kind = u8::deserialize_reader(reader)?;
        Err(Error::new(ErrorKind::InvalidData, format!("system items of kind {kind} are not supported")))
    }
}

/// What a block does.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Body {
    /// Transfers, in the order they are executed.
    pub transactions: Vec<Transaction>,
    /// What the protocol itself adds.
    pub system: Vec<SystemItem>,
}

/// A header with its body.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// Who proposed it, on what, and what it commits to.
    pub header: Header,
    /// What it does.
    pub body: Body,
}

/// Why a body is not the one its header names, or breaks a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not the transactions or system items of this header.
    #[error("the body is not the one its header commits to")]
    Root,
    /// More than a block may hold.
    #[error("the body holds more than a block may")]
    TooLarge,
}

impl Body {
    /// The most bytes an encoded body has.
    pub const MAX_LEN: usize = MAX_BLOCK_BYTES - Header::LEN;

    /// The Merkle root of the transactions.
    #[must_use]
    pub fn tx_root(&self) -> Hash {
        merkle_root(self.transactions.iter().map(encode))
    }

    /// The Merkle root of the system items.
    #[must_use]
    pub fn system_root(&self) -> Hash {
        merkle_root(self.system.iter().map(encode))
    }

    /// Checks that this is the body `header` commits to and within the limits.
    ///
    /// # Errors
    /// [`BodyError::Root`] blames whoever sent the body; [`BodyError::TooLarge`] is the proposer's doing.
    pub fn check(&self, header: &Header) -> Result<(), BodyError> {
        if self.tx_root() != header.content.tx_root || self.system_root() != header.content.system_root {
            return Err(BodyError::Root);
        }
        let system: usize = self.system.iter().map(|item| encode(item).len()).sum();
        let transactions: usize = self.transactions.iter().map(Transaction::encoded_len).sum();
        if self.transactions.len() > MAX_BLOCK_TRANSACTIONS
            || system > MAX_SYSTEM_BYTES
            || 8 + transactions + system > Self::MAX_LEN
        {
            return Err(BodyError::TooLarge);
        }
        Ok(())
    }
}
