//! What a block's system items do to the consensus record: a pure function of the parent's record, the height, and the
//! items.
//!
//! The items are taken in order. A certificate justifies its target; when the target is the next checkpoint after the
//! source it finalises the source, and what waited for that happens: a hand-off that the source's record had pending takes
//! effect, and an outgoing set leaves once its successor was in force at the source. Ballots of more than two thirds, or
//! evidence alone, decide a hand-off. One hand-off is decided at a time: until it has taken effect, a block may
//! carry neither ballots nor evidence.

#[cfg(test)]
mod tests;

use super::{
    AuthoritySet, Ballot, Certificate, CertificateError, Change, ConsensusRecord, Evidence, MAX_AUTHORITIES,
    OutgoingSet, PendingSet, SystemItem,
};
use crate::primitives::{Height, PublicKey};

/// Why a block may not carry one of its system items. It is the proposer's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A second certificate.
    #[error("a block may carry one certificate only")]
    SecondCertificate,
    /// The target is not an ancestor of the block.
    #[error("the certificate's target is not an ancestor of the block")]
    NotAncestor,
    /// The source is not the justified checkpoint of the parent's record.
    #[error("the certificate does not start from the checkpoint justified so far")]
    NotFromJustified,
    /// The certificate proves nothing.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A ballot or evidence while a hand-off waits.
    #[error("a hand-off is decided already and has not taken effect yet")]
    Pending,
    /// A ballot of somebody else, of another set, or older than the open one.
    #[error("the ballot is not a new one of an authority in force")]
    Ballot,
    /// A change that cannot be made.
    #[error("the change asked for cannot be made to the set in force")]
    Change,
    /// Evidence that proves nothing, or against nobody in force.
    #[error("the evidence proves nothing against an authority in force")]
    Evidence,
}

impl ConsensusRecord {
    /// The record of a block of this height whose parent has this record and whose body has these items, all of whose
    /// signatures are right. `target` is the record of the certificate's target, given only when the target is an ancestor of the block.
    ///
    /// # Errors
    /// When the block may not carry one of the items.
    pub fn after(
        &self,
        height: Height,
        items: &[SystemItem],
        target: Option<&Self>,
    ) -> Result<Self, RecordError> {
        let mut record = self.clone();
        let mut certified = false;
        for item in items {
            match item {
                SystemItem::Certificate(_) if certified => return Err(RecordError::SecondCertificate),
                SystemItem::Certificate(certificate) => {
                    record.certify(height, certificate, target.ok_or(RecordError::NotAncestor)?)?;
                    certified = true;
                }
                SystemItem::Ballot(ballot) => record.cast(height, &ballot.content)?,
                SystemItem::Evidence(evidence) => record.convict(height, evidence)?,
            }
        }
        Ok(record)
    }

    /// Whether a block on a parent with this record may carry a certificate, given the record of the target, which is an
    /// ancestor of the block.
    ///
    /// # Errors
    /// Says why not.
    pub fn admits(&self, certificate: &Certificate, target: &Self) -> Result<(), RecordError> {
        if certificate.link.source != self.justified {
            return Err(RecordError::NotFromJustified);
        }
        Ok(certificate.check(target)?)
    }

    fn certify(
        &mut self,
        height: Height,
        certificate: &Certificate,
        target: &Self,
    ) -> Result<(), RecordError> {
        self.admits(certificate, target)?;
        let link = certificate.link;
        self.justified = link.target;
        if link.finalises_source() {
            self.finalised = link.source;
            self.hand_over(height);
        }
        Ok(())
    }

    /// What waited for the finalised checkpoint to be final happens.
    fn hand_over(&mut self, height: Height) {
        let finalised = self.finalised.height;
        // The successor came into force with the children of the block at `since`: from there on records name it.
        if self.outgoing.as_ref().is_some_and(|outgoing| outgoing.since <= finalised) {
            self.outgoing = None;
        }
        if self.pending.as_ref().is_some_and(|pending| pending.since <= finalised)
            && let Some(pending) = self.pending.take()
        {
            let set = std::mem::replace(&mut self.set, pending.set);
            self.outgoing = Some(OutgoingSet { set, since: height });
            self.ballots.clear();
        }
    }

    /// Whether a block on a parent with this record may carry this ballot.
    ///
    /// # Errors
    /// Says why not.
    pub fn admits_ballot(&self, ballot: &Ballot) -> Result<(), RecordError> {
        if self.pending.is_some() {
            return Err(RecordError::Pending);
        }
        let newer = self.open_ballot(&ballot.by).is_none_or(|open| ballot.serial > open.serial);
        if ballot.set_id != self.set.id || !self.set.contains(&ballot.by) || !newer {
            return Err(RecordError::Ballot);
        }
        self.set.with(&ballot.change).map(|_| ()).ok_or(RecordError::Change)
    }

    /// The open ballot of an authority.
    #[must_use]
    pub fn open_ballot(&self, by: &PublicKey) -> Option<&Ballot> {
        self.ballots.iter().find(|ballot| ballot.by == *by)
    }

    fn cast(&mut self, height: Height, ballot: &Ballot) -> Result<(), RecordError> {
        self.admits_ballot(ballot)?;
        self.ballots.retain(|open| open.by != ballot.by);
        let place = self.ballots.partition_point(|open| open.by < ballot.by);
        self.ballots.insert(place, ballot.clone());
        let for_it =
            self.ballots.iter().filter(|open| open.change == ballot.change).map(|open| open.by).collect();
        if self.set.is_quorum(&for_it) {
            self.decide(height, &ballot.change)?;
        }
        Ok(())
    }

    /// Whether a block on a parent with this record may carry this evidence.
    ///
    /// # Errors
    /// Says why not.
    pub fn admits_evidence(&self, evidence: &Evidence) -> Result<(), RecordError> {
        if self.pending.is_some() {
            return Err(RecordError::Pending);
        }
        let guilty = evidence.guilty().ok_or(RecordError::Evidence)?;
        self.set.with(&Change::Remove(guilty)).map(|_| ()).ok_or(RecordError::Evidence)
    }

    fn convict(&mut self, height: Height, evidence: &Evidence) -> Result<(), RecordError> {
        self.admits_evidence(evidence)?;
        let guilty = evidence.guilty().ok_or(RecordError::Evidence)?;
        self.decide(height, &Change::Remove(guilty))
    }

    fn decide(&mut self, height: Height, change: &Change) -> Result<(), RecordError> {
        let set = self.set.with(change).ok_or(RecordError::Change)?;
        self.pending = Some(PendingSet { set, since: height });
        self.ballots.clear();
        Ok(())
    }
}

impl AuthoritySet {
    /// Whether a change can be made to this set.
    #[must_use]
    pub fn admits(&self, change: &Change) -> bool {
        self.with(change).is_some()
    }

    /// The next set, with one change; `None` when the change cannot be made: one in that is in already, one out that is
    /// not in, too many, or none left.
    fn with(&self, change: &Change) -> Option<Self> {
        let mut authorities = self.authorities.clone();
        match change {
            Change::Add(authority)
                if !self.contains(&authority.key) && authorities.len() < MAX_AUTHORITIES =>
            {
                authorities.push(authority.clone());
            }
            Change::Remove(key) if self.contains(key) && authorities.len() > 1 => {
                authorities.retain(|authority| authority.key != *key);
            }
            Change::Add(_) | Change::Remove(_) => return None,
        }
        Some(Self { id: self.id.checked_add(1)?, authorities })
    }
}
