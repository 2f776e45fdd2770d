//! Proof that a checkpoint is final, from one that is known to be, without the blocks between.
//!
//! A [`Fragment`] holds a checkpoint S, the next checkpoint T, both records, and the certificate of the link S to T. It
//! proves S if more than two thirds of those who count have signed the link, and who counts is told by T's record.
//! T's record is not believed by itself: its set in force must be the one in force in the last record proven, or the one
//! pending there, and then the last set is outgoing and counts beside it. So each step is signed by more than two
//! thirds of a set that is known already, hence by an honest authority, as long as more than two thirds of every set
//! were honest *at its time*. Such an authority signs only for a target it has executed and whose record it has computed, so the
//! record is right, and so is S, which it names as justified.
//!
//! DESIGN.md asks for more in each fragment, an inclusion proof of S in T and the links from the checkpoint before: they
//! would prove again what that honest authority has computed. Between two fragments any number of checkpoints may be missing, as long as
//! the set does not change twice.
//!
//! # What this does not prove
//! That S builds on the checkpoint known before. With more than a third of a set dishonest there can be two final chains, and
//! fragments lead from the one to the other. So a peer that has acted on a checkpoint asks for an [`Ancestor`](super::Ancestor) too before it
//! goes on, unless it has the headers between the two; with one of another block it has the proof that finality is broken.
//! Who joins has acted on nothing, and asks for none.
//!
//! Keys that were in force long ago can sign another history at any time, since nothing here is tied to the clock. Whoever
//! holds more than two thirds of an *old* set can make fragments that this module accepts. Only something newer
//! than those keys protects from that: a checkpoint that a person got from somebody they trust, at most
//! [`WEAK_SUBJECTIVITY_SLOTS`](super::WEAK_SUBJECTIVITY_SLOTS) old.

#[cfg(test)]
mod tests;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    chain::{
        CHECKPOINT_INTERVAL, Certificate, CertificateError, Checkpoint, ConsensusRecord, Genesis, Header,
    },
    primitives::{Hash, SignatureBatch},
};

/// The proof that one checkpoint is final, for whoever knows an earlier one.
///
/// With 256 authorities in three sets it has at most 192 KiB.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Fragment {
    /// The checkpoint that is final.
    pub checkpoint: Header,
    /// Its consensus record.
    pub record: ConsensusRecord,
    /// The next checkpoint.
    pub child: Header,
    /// The record of that one, which says who counts.
    pub child_record: ConsensusRecord,
    /// The link from the one to the other.
    pub certificate: Certificate,
}

/// What is known to be final: where the next proof starts from.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Proven {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its record.
    pub record: ConsensusRecord,
}

/// Why a fragment proves nothing, whatever its signatures are. Whoever sent it made it up, or did not check it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// Its checkpoint is not above the last one proven.
    #[error("the checkpoint is not above the last one")]
    NotAbove,
    /// A record is not the one that its header commits to.
    #[error("a record is not the one its header commits to")]
    Record,
    /// The certificate is not that of the link between the two headers, or that link finalises nothing.
    #[error("the certificate is not that of the link from the checkpoint to the next")]
    Link,
    /// The set in force is not one that the last record vouches for.
    #[error("the authority set is neither the last one nor the one that was to follow it")]
    Set,
    /// The certificate proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

impl Proven {
    /// The beginning of every chain.
    #[must_use]
    pub fn genesis(genesis: &Genesis) -> Self {
        let record = ConsensusRecord::of_genesis(genesis);
        Self { checkpoint: record.finalised, record }
    }

    /// A header that is believed for another reason, if this is its record.
    #[must_use]
    pub fn believed(header: &Header, record: ConsensusRecord) -> Option<Self> {
        let checkpoint = Checkpoint { height: header.height(), hash: header.hash() };
        (record.root() == header.content.consensus_root).then_some(Self { checkpoint, record })
    }

    /// Checks all of a fragment but its signatures, and says what is proven if they are right.
    ///
    /// # Errors
    /// Says why it would prove nothing.
    pub fn follow(&self, fragment: &Fragment) -> Result<Self, FragmentError> {
        let Fragment { checkpoint, record, child, child_record, certificate } = fragment;
        if checkpoint.height() <= self.checkpoint.height {
            return Err(FragmentError::NotAbove);
        }
        if record.root() != checkpoint.content.consensus_root
            || child_record.root() != child.content.consensus_root
        {
            return Err(FragmentError::Record);
        }
        let source = Checkpoint { height: checkpoint.height(), hash: checkpoint.hash() };
        let target = Checkpoint { height: child.height(), hash: child.hash() };
        let next = checkpoint.height().0.checked_add(CHECKPOINT_INTERVAL);
        if certificate.link.source != source
            || certificate.link.target != target
            || next != Some(child.height().0)
        {
            return Err(FragmentError::Link);
        }
        let same = child_record.set == self.record.set;
        let handed_over = || {
            let pending = self.record.pending.as_ref().is_some_and(|pending| pending.set == child_record.set);
            let outgoing = child_record.outgoing.as_ref();
            pending && outgoing.is_some_and(|outgoing| outgoing.set == self.record.set)
        };
        if !same && !handed_over() {
            return Err(FragmentError::Set);
        }
        certificate.check(child_record)?;
        Ok(Self { checkpoint: source, record: record.clone() })
    }

    /// [`Self::follow`], one after the other.
    ///
    /// # Errors
    /// Says which is the first that would prove nothing, and why.
    pub fn follow_all(&self, fragments: &[Fragment]) -> Result<Self, (usize, FragmentError)> {
        let mut known = self.clone();
        for (index, fragment) in fragments.iter().enumerate() {
            known = known.follow(fragment).map_err(|error| (index, error))?;
        }
        Ok(known)
    }
}

impl Fragment {
    /// Adds the claim that all signatures are right to a batch. The headers' own signatures need no check: their
    /// hashes, of which the signature is part, are what the votes sign.
    pub fn add_to_batch(&self, genesis: &Hash, batch: &mut SignatureBatch) {
        self.certificate.add_to_batch(genesis, &self.child_record, batch);
    }
}
