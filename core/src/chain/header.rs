//! A block's header: what it builds on, what it commits to, and who proposed it.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{AuthoritySet, version::Version};
use crate::primitives::{
    Domain, Hash, Height, PublicKey, SecretKey, Signature, SignatureBatch, Slot, encode,
};

/// What a proposer signs.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct UnsignedHeader {
    pub(super) version: Version<1>,
    /// One more than the parent's.
    pub height: Height,
    /// Later than the parent's.
    pub slot: Slot,
    /// The hash of the parent's header.
    pub parent: Hash,
    /// The Merkle root of the body's encoded transactions.
    pub tx_root: Hash,
    /// The Merkle root of the body's encoded system items.
    pub system_root: Hash,
    /// The root of the account trie after this block.
    pub state_root: Hash,
    /// The Merkle root of this block's sorted account changes.
    pub diff_root: Hash,
    /// The hash of the consensus record that this block yields.
    pub consensus_root: Hash,
    /// The root of the mountain range over all earlier headers.
    pub mmr_root: Hash,
    /// The id of the authority set that the proposer belongs to.
    pub set_id: u64,
    /// The validator key of the slot's proposer.
    pub proposer: PublicKey,
}

/// A signed header.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// What was signed.
    pub content: UnsignedHeader,
    /// The proposer's signature over the content.
    pub signature: Signature,
}

/// Why a header cannot follow its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The height is not the parent's plus one.
    #[error("height {got} after a parent of height {parent}")]
    Height {
        /// The header's height.
        got: Height,
        /// The parent's.
        parent: Height,
    },
    /// The slot is not later than the parent's.
    #[error("slot {got} is not later than its parent's, {parent}")]
    Slot {
        /// The header's slot.
        got: Slot,
        /// The parent's.
        parent: Slot,
    },
    /// The proposer is not the slot's, or is named under another set's id.
    #[error("the proposer is not the one whose turn it is in slot {0}")]
    Proposer(Slot),
    /// The root over earlier headers is wrong.
    #[error("the root over all earlier headers is wrong")]
    Mmr,
}

impl UnsignedHeader {
    /// A header with these contents, at the current version.
    #[must_use]
    pub fn new(
        height: Height,
        slot: Slot,
        parent: Hash,
        [tx_root, system_root, state_root, diff_root, consensus_root, mmr_root]: [Hash; 6],
        set_id: u64,
        proposer: PublicKey,
    ) -> Self {
        Self {
            version: Version,
            height,
            slot,
            parent,
            tx_root,
            system_root,
            state_root,
            diff_root,
            consensus_root,
            mmr_root,
            set_id,
            proposer,
        }
    }

    /// Signs for the chain with this genesis hash.
    #[must_use]
    pub fn sign(self, key: &SecretKey, genesis: &Hash) -> Header {
        let signature = key.sign(Domain::Header, genesis, &encode(&self));
        Header { content: self, signature }
    }
}

impl Header {
    /// The encoded length, which is the same for all headers.
    pub const LEN: usize = 1 + 8 + 8 + 7 * 32 + 8 + 32 + 64;

    /// The block's identity: the hash of the whole header, signature included, so that a header whose hash is known
    /// to be right needs no further check.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&encode(self))
    }

    /// The height, for brevity.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.content.height
    }

    /// The slot, for brevity.
    #[must_use]
    pub const fn slot(&self) -> Slot {
        self.content.slot
    }

    /// Checks all that follows from the parent and the set in force after it, but not the signature, nor the roots
    /// that execution yields.
    ///
    /// # Errors
    /// When this header can never follow that parent.
    pub fn check_after(&self, parent: &Self, set: &AuthoritySet, mmr_root: &Hash) -> Result<(), HeaderError> {
        let content = &self.content;
        if Some(content.height) != parent.height().checked_add(1) {
            return Err(HeaderError::Height { got: content.height, parent: parent.height() });
        }
        if content.slot <= parent.slot() {
            return Err(HeaderError::Slot { got: content.slot, parent: parent.slot() });
        }
        if content.set_id != set.id || content.proposer != set.proposer(content.slot).key {
            return Err(HeaderError::Proposer(content.slot));
        }
        if content.mmr_root != *mmr_root {
            return Err(HeaderError::Mmr);
        }
        Ok(())
    }

    /// The hashes of these headers, if each builds on the one before it.
    #[must_use]
    pub fn linked(headers: &[Self]) -> Option<Vec<Hash>> {
        let mut hashes = Vec::with_capacity(headers.len());
        for header in headers {
            if hashes.last().is_some_and(|before| header.content.parent != *before) {
                return None;
            }
            hashes.push(header.hash());
        }
        Some(hashes)
    }

    /// Adds the claim that the signature is right to a batch.
    pub fn add_to_batch(&self, genesis: &Hash, batch: &mut SignatureBatch) {
        batch.add(&self.content.proposer, Domain::Header, genesis, &encode(&self.content), &self.signature);
    }
}
