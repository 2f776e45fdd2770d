//! Proof that a transaction is in a finalised block.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    chain::{Header, MmrProof, Transaction},
    primitives::{Hash, InclusionProof, encode},
};

/// A transaction with its way to a finalised checkpoint: its block's header commits to it, and the checkpoint commits to
/// that header, which it is itself or has before it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct TransactionProof {
    /// The transaction.
    pub transaction: Transaction,
    /// The header of its block.
    pub header: Header,
    /// The transaction among those of the block.
    pub inclusion: InclusionProof,
    /// The header among those before the checkpoint; none when it is the checkpoint's own.
    pub ancestry: Option<MmrProof>,
}

/// Why a proof proves nothing: whoever sent it made it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransactionProofError {
    /// It is of another transaction.
    #[error("it is not the transaction asked for")]
    Other,
    /// The block does not hold it.
    #[error("the block does not hold the transaction")]
    Inclusion,
    /// The block is not at or before the checkpoint on its chain.
    #[error("the block does not lead to the checkpoint")]
    Ancestry,
}

impl TransactionProof {
    /// The most bytes an encoded proof has.
    pub const MAX_LEN: usize =
        Transaction::MAX_LEN + Header::LEN + InclusionProof::MAX_LEN + 1 + MmrProof::MAX_LEN;

    /// Checks that the transaction with this id is in a block that this checkpoint, known to be final, makes final.
    ///
    /// # Errors
    /// Says where the proof breaks.
    pub fn verify(&self, checkpoint: &Header, id: &Hash) -> Result<(), TransactionProofError> {
        if self.transaction.id() != *id {
            return Err(TransactionProofError::Other);
        }
        if !self.inclusion.verify(&self.header.content.tx_root, &encode(&self.transaction)) {
            return Err(TransactionProofError::Inclusion);
        }
        let leads = match &self.ancestry {
            None => self.header == *checkpoint,
            Some(proof) => {
                let (root, count) = (&checkpoint.content.mmr_root, checkpoint.height().0);
                proof.verify(root, count, self.header.height().0, &self.header.hash())
            }
        };
        if leads { Ok(()) } else { Err(TransactionProofError::Ancestry) }
    }
}
