//! Blocks told by the ids of their transactions, which the receivers mostly have. After BIP 152.
//!
//! A compact block is a header, six bytes for each transaction, those transactions whole that the receivers probably lack, and all
//! system items. Short ids are keyed with the header's hash: whoever sends transactions does not know it, and so cannot make
//! two whose short ids collide. Everyone gossips the same bytes, so there is no nonce of the sender's as in Bitcoin.
//!
//! Only the header is signed. What is beside it is proven by putting the body together and comparing the header's roots:
//! see [`Rebuild`].

mod rebuild;
#[cfg(test)]
mod tests;

use borsh::{BorshDeserialize, BorshSerialize};
pub use rebuild::{Rebuild, Unasked};
use siphasher::sip::SipHasher24;

use crate::{
    chain::{
        Block, Body, BodyError, Header, MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, MAX_SYSTEM_BYTES,
        SystemItem, Transaction,
    },
    primitives::{Hash, at_most, encode, merkle_root},
};

/// The most encoded bytes of prefilled transactions beside short ids. A header says nothing of those before the body is
/// whole, so this is what somebody may add to a good header and have passed on.
pub const MAX_PREFILLED_BYTES: usize = 32 << 10;

/// A transaction's id within one block: the low six bytes, lowest first, of the SipHash-2-4 of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct CompactId(pub [u8; 6]);

/// What the short ids of one block are made with.
#[derive(Clone, Copy, Debug)]
pub struct CompactKey(SipHasher24);

impl CompactKey {
    /// The key of the block whose header has this hash: the first and the second 8 bytes of it, little-endian.
    #[must_use]
    pub fn of(block: &Hash) -> Self {
        let half = |at: usize| {
            let bytes = block.0[at..].first_chunk().expect("a hash has 32 bytes");
            u64::from_le_bytes(*bytes)
        };
        Self(SipHasher24::new_with_keys(half(0), half(8)))
    }

    /// The short id of the transaction with this id.
    #[must_use]
    pub fn short(&self, id: &Hash) -> CompactId {
        let [a, b, c, d, e, f, ..] = self.0.hash(&id.0).to_le_bytes();
        CompactId([a, b, c, d, e, f])
    }
}

/// A transaction that a compact block holds whole.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Prefilled {
    /// How many transactions told by short ids come between it and the prefilled one before.
    pub skip: u16,
    /// The transaction.
    pub transaction: Transaction,
}

/// A block as it is gossiped. Its transactions are those of both lists together, at most
/// [`MAX_BLOCK_TRANSACTIONS`]; where each prefilled one belongs, its `skip` says, and the others follow in order.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct CompactBlock {
    /// The block's header.
    pub header: Header,
    /// The transactions that are not prefilled, in order.
    #[borsh(deserialize_with = "at_most::<MAX_BLOCK_TRANSACTIONS, _, _>")]
    pub short: Vec<CompactId>,
    /// The others, in order: at most [`MAX_PREFILLED_BYTES`], unless all are.
    #[borsh(deserialize_with = "at_most::<MAX_BLOCK_TRANSACTIONS, _, _>")]
    pub prefilled: Vec<Prefilled>,
    /// All system items.
    pub system: Vec<SystemItem>,
}

/// Why a compact block cannot be one, whatever its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompactError {
    /// More transactions than a block may hold.
    #[error("it has more transactions than a block may")]
    TooMany,
    /// A prefilled transaction is past the end.
    #[error("it has fewer short ids than its prefilled transactions skip")]
    Skip,
    /// More is prefilled than may be beside short ids.
    #[error("it has more than {MAX_PREFILLED_BYTES} bytes of prefilled transactions beside short ids")]
    Prefilled,
    /// What it holds whole is not what its header commits to, or more than a block may hold.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl CompactBlock {
    /// The most bytes one has.
    pub const MAX_LEN: usize = MAX_BLOCK_BYTES;

    /// Tells a block by short ids, but for the transactions at those places for which `whole` says so.
    #[must_use]
    pub fn new(block: &Block, mut whole: impl FnMut(usize) -> bool) -> Self {
        let key = CompactKey::of(&block.header.hash());
        let (mut short, mut prefilled, mut skip) = (Vec::new(), Vec::new(), 0);
        for (place, transaction) in block.body.transactions.iter().enumerate() {
            if whole(place) {
                prefilled.push(Prefilled { skip, transaction: transaction.clone() });
                skip = 0;
            } else {
                short.push(key.short(&transaction.id()));
                skip += 1;
            }
        }
        Self { header: block.header.clone(), short, prefilled, system: block.body.system.clone() }
    }

    /// Holds all of a block. What is larger than [`Self::MAX_LEN`] that way nobody takes.
    #[must_use]
    pub fn whole(block: &Block) -> Self {
        Self::new(block, |_| true)
    }

    /// The number of transactions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.short.len() + self.prefilled.len()
    }

    /// Whether the block has no transactions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks what can be told before the body is whole: the limits, the system items, and the transactions if all are
    /// prefilled. What fails nobody may pass on.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), CompactError> {
        if self.len() > MAX_BLOCK_TRANSACTIONS {
            return Err(CompactError::TooMany);
        }
        let skipped: usize = self.prefilled.iter().map(|prefilled| usize::from(prefilled.skip)).sum();
        if skipped > self.short.len() {
            return Err(CompactError::Skip);
        }
        let prefilled = || self.prefilled.iter().map(|prefilled| &prefilled.transaction);
        let bytes: usize = prefilled().map(Transaction::encoded_len).sum();
        let system: usize = self.system.iter().map(|item| encode(item).len()).sum();
        if system > MAX_SYSTEM_BYTES || 8 + bytes + system > Body::MAX_LEN {
            return Err(BodyError::TooLarge.into());
        }
        let content = &self.header.content;
        let is_whole = self.short.is_empty();
        if merkle_root(self.system.iter().map(encode)) != content.system_root
            || is_whole && merkle_root(prefilled().map(encode)) != content.tx_root
        {
            return Err(BodyError::Root.into());
        }
        if !is_whole && bytes > MAX_PREFILLED_BYTES {
            return Err(CompactError::Prefilled);
        }
        Ok(())
    }
}
