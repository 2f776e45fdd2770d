//! Votes and certificates of the finality gadget, after Casper FFG (Buterin and Griffith, 2017).
//!
//! A vote is a *link* between two checkpoints, signed by one authority. A certificate is one link with the signatures of
//! more than two thirds of those who count for it: it justifies the link's target, and it finalises the source when the
//! target is the very next checkpoint. Who counts is told by the target's own consensus record.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Checkpoint, ConsensusRecord};
use crate::primitives::{Domain, Hash, Height, PublicKey, SecretKey, Signature, SignatureBatch, encode};

/// Heights divisible by this are checkpoints.
pub const CHECKPOINT_INTERVAL: u64 = 16;

/// Whether blocks of this height are checkpoints.
#[must_use]
pub const fn is_checkpoint(height: Height) -> bool {
    height.0.is_multiple_of(CHECKPOINT_INTERVAL)
}

/// From one justified checkpoint to a later one: what a vote says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Link {
    /// The checkpoint that is justified already.
    pub source: Checkpoint,
    /// The checkpoint to justify.
    pub target: Checkpoint,
}

impl Link {
    /// Whether both ends are at heights of checkpoints, the target being the later one.
    #[must_use]
    pub const fn is_well_formed(&self) -> bool {
        is_checkpoint(self.source.height)
            && is_checkpoint(self.target.height)
            && self.target.height.0 > self.source.height.0
    }

    /// Whether a certificate of this link finalises its source: no checkpoint lies between.
    #[must_use]
    pub const fn finalises_source(&self) -> bool {
        matches!(self.target.height.0.checked_sub(self.source.height.0), Some(CHECKPOINT_INTERVAL))
    }

    /// Whether one authority's votes for both links are slashable: two votes for one target height, or one vote around the
    /// other.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let around = |outer: &Self, inner: &Self| {
            outer.source.height < inner.source.height && inner.target.height < outer.target.height
        };
        (self != other && self.target.height == other.target.height)
            || around(self, other)
            || around(other, self)
    }
}

/// One authority's vote.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// What it says.
    pub link: Link,
    /// The validator key.
    pub by: PublicKey,
    /// Over the link.
    pub signature: Signature,
}

impl Vote {
    /// The encoded length, which is the same for all votes.
    pub const LEN: usize = 2 * 40 + 32 + 64;

    /// Votes for a link on the chain with this genesis hash.
    #[must_use]
    pub fn sign(link: Link, key: &SecretKey, genesis: &Hash) -> Self {
        Self { link, by: key.public(), signature: key.sign(Domain::Vote, genesis, &encode(&link)) }
    }

    /// Adds the claim that the signature is right to a batch.
    pub fn add_to_batch(&self, genesis: &Hash, batch: &mut SignatureBatch) {
        batch.add(&self.by, Domain::Vote, genesis, &encode(&self.link), &self.signature);
    }
}

/// A link with the signatures that justify its target.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Certificate {
    /// What was voted for.
    pub link: Link,
    /// Signatures by the place of their keys among [`ConsensusRecord::voters`] of the target, in rising order.
    pub signatures: Vec<(u16, Signature)>,
}

/// Why a certificate proves nothing, whatever its signatures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The link's ends are not two checkpoints in order, or the source is not what the target's record says.
    #[error("the link is not from the checkpoint that the target's record calls justified")]
    Link,
    /// Places out of order, twice, or of nobody.
    #[error("a signature is named for nobody, or twice")]
    Signers,
    /// Not more than two thirds of every set that counts.
    #[error("not more than two thirds of each set that counts have signed")]
    Quorum,
}

impl Certificate {
    /// The certificate of a link, if these signatures are enough. `record` is the record of the link's target; the
    /// signatures are known to be right.
    #[must_use]
    pub fn assemble(
        link: Link,
        record: &ConsensusRecord,
        votes: &BTreeMap<PublicKey, Signature>,
    ) -> Option<Self> {
        let places = (0..).zip(record.voters());
        let signatures =
            places.filter_map(|(place, voter)| Some((place, *votes.get(&voter)?))).collect::<Vec<_>>();
        let certificate = Self { link, signatures };
        certificate.check(record).is_ok().then_some(certificate)
    }

    /// Checks everything but the signatures, given the record of the link's target.
    ///
    /// # Errors
    /// Says why it would prove nothing.
    pub fn check(&self, record: &ConsensusRecord) -> Result<(), CertificateError> {
        if !self.link.is_well_formed() || self.link.source != record.justified {
            return Err(CertificateError::Link);
        }
        let signers = self.signers(record)?;
        if record.is_quorum(&signers) { Ok(()) } else { Err(CertificateError::Quorum) }
    }

    /// The keys that signed, given the record of the link's target.
    ///
    /// # Errors
    /// [`CertificateError::Signers`] when places are out of order, twice, or of nobody.
    pub fn signers(&self, record: &ConsensusRecord) -> Result<BTreeSet<PublicKey>, CertificateError> {
        let rising = self.signatures.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let voters = record.voters();
        let keys: Option<BTreeSet<_>> =
            self.signatures.iter().map(|(place, _)| voters.get(usize::from(*place)).copied()).collect();
        keys.filter(|_| rising).ok_or(CertificateError::Signers)
    }

    /// Adds the claim that all signatures are right to a batch, given the record of the link's target. A signature that
    /// [`Self::check`] would refuse to name is left out.
    pub fn add_to_batch(&self, genesis: &Hash, record: &ConsensusRecord, batch: &mut SignatureBatch) {
        let (voters, payload) = (record.voters(), encode(&self.link));
        for (place, signature) in &self.signatures {
            if let Some(voter) = voters.get(usize::from(*place)) {
                batch.add(voter, Domain::Vote, genesis, &payload, signature);
            }
        }
    }

    /// The votes in this certificate, given the record of the link's target.
    #[must_use]
    pub fn votes(&self, record: &ConsensusRecord) -> Vec<Vote> {
        let voters = record.voters();
        let vote = |(place, signature): &(u16, Signature)| {
            let by = *voters.get(usize::from(*place))?;
            Some(Vote { link: self.link, by, signature: *signature })
        };
        self.signatures.iter().filter_map(vote).collect()
    }
}
