//! The votes that are not final history yet: gathered into certificates, and watched for equivocation.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    chain::{Certificate, Checkpoint, ConsensusRecord, Evidence, Link, Vote},
    primitives::{Height, Held, PublicKey, Signature},
};

/// The most votes kept of one authority: four checkpoints a minute with slots of a second, so half an hour without
/// finality; beyond that the lowest go.
const MAX_OF_VOTER: usize = 128;
/// How far below the finalised height votes are kept, in blocks.
const KEEP_BELOW: u64 = 1024;
/// Two votes for one target height prove an equivocation; more prove nothing further.
const MAX_OF_HEIGHT: usize = 2;

/// What a vote brought, once its signature is known to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It counts.
    Counts,
    /// It counts for nothing: known already, or more than anyone needs.
    Nothing,
    /// It contradicts an earlier vote of the same authority.
    Equivocation(Evidence),
}

/// A certificate with the record that says who counts for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The certificate.
    pub certificate: Certificate,
    /// The record of its target.
    pub record: Arc<ConsensusRecord>,
}

/// Votes for checkpoints above the finalised one, and the certificates made of them or met in bodies.
#[derive(Clone, Debug, Default)]
pub struct VotePool {
    by_voter: BTreeMap<PublicKey, Vec<Vote>>,
    certified: BTreeMap<Checkpoint, Certified>,
}

impl VotePool {
    /// How many votes are held of the authority of which most are.
    #[must_use]
    pub fn held(&self) -> Held {
        let most = self.by_voter.values().map(Vec::len).max().unwrap_or(0);
        Held::new("votes of an authority", most, MAX_OF_VOTER)
    }

    /// Whether a vote would be new, so that its signature is worth checking.
    #[must_use]
    pub fn is_news(&self, vote: &Vote) -> bool {
        let votes = self.by_voter.get(&vote.by).map_or(&[][..], Vec::as_slice);
        let of_height = votes.iter().filter(|known| known.link.target.height == vote.link.target.height);
        let known = votes.iter().any(|known| known.link == vote.link);
        let full = votes.len() >= MAX_OF_VOTER
            && votes.iter().all(|known| known.link.target.height >= vote.link.target.height);
        !known && !full && of_height.count() < MAX_OF_HEIGHT
    }

    /// Whether the same authority has cast a vote that this one contradicts.
    #[must_use]
    pub fn contradicts(&self, vote: &Vote) -> bool {
        let votes = self.by_voter.get(&vote.by).map_or(&[][..], Vec::as_slice);
        votes.iter().any(|known| known.link.conflicts_with(&vote.link))
    }

    /// Takes in a vote whose signature is right.
    pub fn add(&mut self, vote: Vote) -> Counted {
        if !self.is_news(&vote) {
            return Counted::Nothing;
        }
        let votes = self.by_voter.entry(vote.by).or_default();
        let contradicted = votes.iter().find(|known| known.link.conflicts_with(&vote.link)).cloned();
        votes.push(vote.clone());
        if votes.len() > MAX_OF_VOTER
            && let Some(lowest) = (0..votes.len()).min_by_key(|at| votes[*at].link.target.height)
        {
            votes.remove(lowest);
        }
        match contradicted {
            Some(known) => Counted::Equivocation(Evidence::Votes(Box::new([known, vote]))),
            None => Counted::Counts,
        }
    }

    /// Makes the certificate of a target, given its record, if votes for it suffice and none is held yet.
    pub fn certify(&mut self, target: Checkpoint, record: &Arc<ConsensusRecord>) -> Option<&Certified> {
        if self.certified.contains_key(&target) {
            return None;
        }
        let link = Link { source: record.justified, target };
        let votes: BTreeMap<PublicKey, Signature> = self
            .by_voter
            .values()
            .flatten()
            .filter(|vote| vote.link == link)
            .map(|vote| (vote.by, vote.signature))
            .collect();
        let certificate = Certificate::assemble(link, record, &votes)?;
        // All its votes are here already, so it can bring no evidence.
        self.hold(Certified { certificate, record: Arc::clone(record) });
        self.certified.get(&target)
    }

    /// Keeps a certificate that is known to be right, and its votes with it. Returns proof against those who have voted
    /// otherwise as well.
    pub fn hold(&mut self, certified: Certified) -> Vec<Evidence> {
        let votes = certified.certificate.votes(&certified.record);
        let counted: Vec<_> = votes.into_iter().map(|vote| self.add(vote)).collect();
        self.certified.entry(certified.certificate.link.target).or_insert(certified);
        let evidence = counted.into_iter().filter_map(|counted| match counted {
            Counted::Equivocation(evidence) => Some(evidence),
            Counted::Counts | Counted::Nothing => None,
        });
        evidence.collect()
    }

    /// The certificates held, lowest target first.
    pub fn certified(&self) -> impl DoubleEndedIterator<Item = &Certified> {
        self.certified.values()
    }

    /// Whether a checkpoint's certificate is held.
    #[must_use]
    pub fn is_certified(&self, checkpoint: &Checkpoint) -> bool {
        self.certified.contains_key(checkpoint)
    }

    /// The certificates that lead to or past a height. Where two chains have different final checkpoints, one of these on the
    /// one contradicts one of these on the other, with the height of the lower checkpoint.
    pub fn around(&self, height: Height) -> impl Iterator<Item = &Certified> {
        self.certified.values().filter(move |certified| {
            let link = certified.certificate.link;
            link.source.height <= height && height <= link.target.height
        })
    }

    /// Two certificates that contradict each other, and everyone who signed both sides: more than a third of a set has
    /// broken a slashing rule. None while fewer have.
    #[must_use]
    pub fn conflict(&self) -> Option<(Certificate, Certificate, BTreeSet<PublicKey>)> {
        let all: Vec<&Certified> = self.certified.values().collect();
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                if one.certificate.link.conflicts_with(&other.certificate.link) {
                    let signers = |certified: &Certified| certified.certificate.signers(&certified.record);
                    let (Ok(a), Ok(b)) = (signers(one), signers(other)) else { continue };
                    let guilty = a.intersection(&b).copied().collect();
                    return Some((one.certificate.clone(), other.certificate.clone(), guilty));
                }
            }
        }
        None
    }

    /// Forgets votes and certificates for targets deep below a finalised height. The rest stays, since a contradiction
    /// may yet turn up. Returns the targets whose certificates are forgotten.
    pub fn finalised(&mut self, height: Height) -> Vec<Checkpoint> {
        let near = |target: Height| target >= height.saturating_sub(KEEP_BELOW);
        for votes in self.by_voter.values_mut() {
            votes.retain(|vote| near(vote.link.target.height));
        }
        self.by_voter.retain(|_, votes| !votes.is_empty());
        let (kept, forgotten): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.certified).into_iter().partition(|(target, _)| near(target.height));
        self.certified = kept;
        forgotten.into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::CHECKPOINT_INTERVAL,
        primitives::{Hash, SecretKey},
    };

    /// A vote of an authority for the checkpoint so many steps up. Nobody looks at its signature.
    fn vote(by: u8, step: u64, branch: u8) -> Vote {
        let at = |step: u64, branch| Checkpoint {
            height: Height(step * CHECKPOINT_INTERVAL),
            hash: Hash([branch; 32]),
        };
        let by = SecretKey::from_seed([by; 32]).public();
        Vote { link: Link { source: at(0, 0), target: at(step, branch) }, by, signature: Signature([0; 64]) }
    }

    #[test]
    fn of_one_authority_so_many_votes_are_held_the_highest_and_two_of_a_height() {
        let mut pool = VotePool::default();
        let most = MAX_OF_VOTER as u64;
        for step in 2..most + 2 {
            assert_eq!(pool.add(vote(1, step, 1)), Counted::Counts);
        }
        assert_eq!(pool.held().count, MAX_OF_VOTER);
        assert!(!pool.is_news(&vote(1, 1, 1)), "it would be the first to go");
        assert!(pool.is_news(&vote(2, 1, 1)), "of another authority it is news");
        assert_eq!(pool.add(vote(1, most + 2, 1)), Counted::Counts);
        assert_eq!(pool.held().count, MAX_OF_VOTER);
        assert!(
            pool.by_voter.values().flatten().all(|vote| vote.link.target.height.0 > 2 * CHECKPOINT_INTERVAL)
        );
        assert!(matches!(pool.add(vote(1, 50, 2)), Counted::Equivocation(_)));
        assert_eq!(pool.add(vote(1, 50, 3)), Counted::Nothing, "two prove it");
    }

    #[test]
    fn votes_are_held_so_far_below_what_is_final() {
        let mut pool = VotePool::default();
        let at = KEEP_BELOW / CHECKPOINT_INTERVAL;
        for step in [1, 2, at] {
            pool.add(vote(1, step, 1));
        }
        pool.finalised(Height(KEEP_BELOW + 2 * CHECKPOINT_INTERVAL));
        let heights: Vec<_> =
            pool.by_voter.values().flatten().map(|vote| vote.link.target.height.0).collect();
        assert_eq!(heights, [2 * CHECKPOINT_INTERVAL, KEEP_BELOW]);
    }
}
