//! What the protocol itself puts into a block: certificates, ballots, and evidence against equivocators.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Ballot, Certificate, ConsensusRecord, Header, Vote};
use crate::primitives::{Domain, Hash, PublicKey, SecretKey, Signature, SignatureBatch, encode};

/// One system item of a body.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SystemItem {
    /// Justifies a checkpoint below the block; at most one a block.
    Certificate(Certificate),
    /// An authority's wish about the set.
    Ballot(SignedBallot),
    /// Proof that an authority of the set in force has equivocated.
    Evidence(Evidence),
}

impl SystemItem {
    /// Adds the claim that all of the item's signatures are right to a batch. `target` is the record of the certificate's
    /// target; without it a certificate adds nothing.
    pub fn add_to_batch(&self, genesis: &Hash, target: Option<&ConsensusRecord>, batch: &mut SignatureBatch) {
        match self {
            Self::Certificate(certificate) => {
                if let Some(record) = target {
                    certificate.add_to_batch(genesis, record, batch);
                }
            }
            Self::Ballot(ballot) => ballot.add_to_batch(genesis, batch),
            Self::Evidence(evidence) => evidence.add_to_batch(genesis, batch),
        }
    }
}

/// A ballot as it stands in a block.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SignedBallot {
    /// What was signed.
    pub content: Ballot,
    /// By the key the ballot names.
    pub signature: Signature,
}

impl SignedBallot {
    /// Signs a ballot, which should name this key.
    #[must_use]
    pub fn sign(content: Ballot, key: &SecretKey, genesis: &Hash) -> Self {
        let signature = key.sign(Domain::Ballot, genesis, &encode(&content));
        Self { content, signature }
    }

    /// Adds the claim that the signature is right to a batch.
    pub fn add_to_batch(&self, genesis: &Hash, batch: &mut SignatureBatch) {
        batch.add(&self.content.by, Domain::Ballot, genesis, &encode(&self.content), &self.signature);
    }
}

/// Two statements that no honest authority signs both.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Evidence {
    /// Two headers for one slot.
    Headers(Box<[Header; 2]>),
    /// Two votes that break a slashing rule: see [`Link::conflicts_with`](super::Link::conflicts_with).
    Votes(Box<[Vote; 2]>),
}

impl Evidence {
    /// The most bytes encoded evidence has.
    pub const MAX_LEN: usize = 1 + 2 * Header::LEN;

    /// Who is guilty if both signatures are right; `None` when the two statements do not contradict each other.
    #[must_use]
    pub fn guilty(&self) -> Option<PublicKey> {
        match self {
            Self::Headers(pair) => {
                let [a, b] = pair.as_ref();
                let same = a.content.proposer == b.content.proposer && a.slot() == b.slot();
                (same && a.content != b.content).then_some(a.content.proposer)
            }
            Self::Votes(pair) => {
                let [a, b] = pair.as_ref();
                (a.by == b.by && a.link.conflicts_with(&b.link)).then_some(a.by)
            }
        }
    }

    /// Adds the claim that both signatures are right to a batch.
    pub fn add_to_batch(&self, genesis: &Hash, batch: &mut SignatureBatch) {
        match self {
            Self::Headers(pair) => pair.iter().for_each(|header| header.add_to_batch(genesis, batch)),
            Self::Votes(pair) => pair.iter().for_each(|vote| vote.add_to_batch(genesis, batch)),
        }
    }
}
