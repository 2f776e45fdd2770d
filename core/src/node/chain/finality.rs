//! Voting, counting votes, and following what they make final.
//!
//! An authority votes for the newest checkpoint of its best chain once a block builds on it, and writes the vote down,
//! durably, before it leaves. Everybody gathers votes into certificates; proposers put them into bodies, and fork choice
//! counts them even before.

use std::{collections::BTreeMap, sync::Arc};

use super::{Archived, Chain, Promise, Purpose, storage};
use crate::{
    chain::{Certificate, Change, Checkpoint, Evidence, Link, SystemItem, Vote, is_checkpoint},
    finality::{Certified, Counted, Stage, VotePool, Voter},
    gossip::Topic,
    node::{Event, GossipMessage, Output, Verdict, effects::Effects, work::Job},
    peers::Offence,
    primitives::{Hash, Height, PublicKey, decode, encode},
    store::{ArchiveRequest, Batch},
};

/// Votes are taken for checkpoints up to so many blocks above the head: whoever is further behind catches up first.
const MAX_VOTE_AHEAD: u64 = 1024;
/// The most gossiped votes that wait for their signatures to be checked.
pub(super) const MAX_VOTES_IN_LINE: usize = 1024;
/// Without a new finalised checkpoint for so many blocks, people are told. A healthy chain finalises 32 blocks back.
pub(super) const STALLED_AFTER: u64 = 96;
/// How the alarm about it begins.
pub(super) const STALLED_ALARM: &str = "the chain grows but is not finalised";

/// Tells people so.
pub(super) fn raise_stalled(fx: &mut Effects) {
    fx.raise(format!(
        "{STALLED_ALARM}: a third or more of the authorities do not vote, or vote on another branch. Blocks since the \
         last finalised one may still be undone"
    ));
}

/// The part of the chain that votes and counts.
pub(super) struct Gadget {
    pub(super) pool: VotePool,
    /// What this peer's validator key has bound itself to.
    voter: Voter,
    /// Gossiped votes whose signatures are to be checked next.
    line: Vec<(GossipMessage, Vote)>,
    checking: bool,
    /// Proof against authorities that are still in force.
    evidence: BTreeMap<PublicKey, Evidence>,
    /// What this peer's authority asks for by ballot, until it is so.
    pub(super) wish: Option<Change>,
    /// Finality is broken: why.
    halted: bool,
}

impl Gadget {
    /// How many gossiped votes wait for their signatures to be checked.
    pub(super) fn in_line(&self) -> usize {
        self.line.len()
    }

    /// With what the store has of it. A peer that has stopped for good says so again.
    pub(super) fn open(last_vote: Option<Link>, fx: &mut Effects) -> Self {
        let wish = storage::wish(&*fx.store);
        let halted = storage::halted(&*fx.store);
        if let Some(reason) = &halted {
            fx.raise(reason.clone());
        }
        let mut pool = VotePool::default();
        let mut evidence = Vec::new();
        for certified in storage::certified(&*fx.store) {
            evidence.extend(pool.hold(certified));
        }
        let evidence = evidence.into_iter().filter_map(|found| Some((found.guilty()?, found))).collect();
        Self {
            pool,
            voter: Voter::new(last_vote),
            line: Vec::new(),
            checking: false,
            evidence,
            wish,
            halted: halted.is_some(),
        }
    }
}

impl Chain {
    /// Whether proof of conflicting finality has stopped this peer.
    pub(super) const fn is_halted(&self) -> bool {
        self.gadget.halted
    }

    pub(super) fn finalised_height(&self) -> Height {
        self.tree.height(&self.tree.finalised()).unwrap_or_default()
    }

    /// The checkpoint that a block is, under the name that links use for it.
    pub(super) fn checkpoint(&self, hash: &Hash) -> Option<Checkpoint> {
        let height = self.tree.height(hash).filter(|height| is_checkpoint(*height))?;
        Some(Checkpoint { height, hash: if height.0 == 0 { self.id } else { *hash } })
    }

    /// A vote arrived by gossip.
    pub(in crate::node) fn vote_came(&mut self, fx: &mut Effects, message: GossipMessage) {
        let vote = decode::<Vote>(&message.data, Vote::LEN).ok().filter(|vote| vote.link.is_well_formed());
        let Some(vote) = vote else {
            fx.judge(message.id, Verdict::Reject);
            fx.offend(message.from, Offence::Malformed);
            return;
        };
        if !self.awaits_vote(&vote) {
            fx.judge(message.id, Verdict::Ignore);
            return;
        }
        if self.gadget.line.len() >= MAX_VOTES_IN_LINE {
            fx.refuse("votes-in-check");
            fx.judge(message.id, Verdict::Ignore);
            return;
        }
        self.gadget.line.push((message, vote));
        self.check_votes(fx);
    }

    /// Whether a vote is worth its signature's check.
    fn awaits_vote(&self, vote: &Vote) -> bool {
        let ahead = vote.link.target.height.0 > self.head_height().0 + MAX_VOTE_AHEAD;
        // What is final needs no more votes, but one that contradicts another is always worth knowing of.
        let pool = &self.gadget.pool;
        let late = vote.link.target.height <= self.finalised_height() && !pool.contradicts(vote);
        !self.starting && !ahead && !late && self.is_authority(&vote.by) && pool.is_news(vote)
    }

    /// Whether evidence against this key is worth its check.
    fn awaits_evidence(&self, guilty: &PublicKey) -> bool {
        !self.starting && self.is_authority(guilty) && !self.gadget.evidence.contains_key(guilty)
    }

    /// Whether gossip is a vote or evidence that is worth a check, as far as can be told without one.
    pub(in crate::node) fn may_matter(&self, message: &GossipMessage) -> bool {
        match message.topic {
            Topic::Vote => decode::<Vote>(&message.data, Vote::LEN)
                .is_ok_and(|vote| vote.link.is_well_formed() && self.awaits_vote(&vote)),
            Topic::Evidence => decode::<Evidence>(&message.data, Evidence::MAX_LEN)
                .is_ok_and(|evidence| evidence.guilty().is_some_and(|guilty| self.awaits_evidence(&guilty))),
            Topic::Block | Topic::Chat(_) => false,
        }
    }

    /// Whether a key votes now or may soon.
    fn is_authority(&self, key: &PublicKey) -> bool {
        let Some(record) = self.tree.record(&self.tree.head()) else { return false };
        record.voters().contains(key)
            || record.pending.as_ref().is_some_and(|pending| pending.set.contains(key))
    }

    /// Checks all votes in line together.
    fn check_votes(&mut self, fx: &mut Effects) {
        if self.gadget.checking || self.gadget.line.is_empty() {
            return;
        }
        self.gadget.checking = true;
        let line = std::mem::take(&mut self.gadget.line);
        let votes = line.iter().map(|(_, vote)| vote.clone()).collect();
        let job = Job::VerifyVotes { genesis: self.id, votes: Arc::new(votes) };
        self.jobs.urgent(fx, Purpose::Votes(line), job);
    }

    pub(super) fn votes_verified(
        &mut self,
        fx: &mut Effects,
        line: Vec<(GossipMessage, Vote)>,
        valid: Option<&[bool]>,
    ) {
        self.gadget.checking = false;
        for (at, (message, vote)) in line.into_iter().enumerate() {
            match valid.and_then(|valid| valid.get(at)) {
                None => fx.judge(message.id, Verdict::Ignore),
                Some(false) => {
                    fx.judge(message.id, Verdict::Reject);
                    fx.offend(message.from, Offence::BadSignature);
                }
                Some(true) => {
                    let news = self.count_vote(fx, vote);
                    fx.judge(message.id, if news { Verdict::Accept } else { Verdict::Ignore });
                }
            }
        }
        self.check_votes(fx);
    }

    /// Counts a vote whose signature is right. Returns whether it told anything new.
    fn count_vote(&mut self, fx: &mut Effects, vote: Vote) -> bool {
        let target = vote.link.target;
        match self.gadget.pool.add(vote) {
            Counted::Nothing => return false,
            Counted::Counts => {}
            Counted::Equivocation(evidence) => self.hold_evidence(fx, evidence),
        }
        self.certify(fx, target);
        true
    }

    /// Makes a checkpoint's certificate if it is executed here and enough have voted for it.
    fn certify(&mut self, fx: &mut Effects, target: Checkpoint) {
        if self.tree.stage(&target.hash) != Some(Stage::Executed) {
            return;
        }
        let Some(record) = self.tree.record(&target.hash).cloned() else { return };
        if self.gadget.pool.certify(target, &record).is_some() {
            tracing::debug!(height = %target.height, "a checkpoint is justified");
            self.certificate_held(fx, target);
        }
    }

    /// A block is executed: it may be a checkpoint that votes waited for, and its body may hold a certificate.
    pub(super) fn count_block(&mut self, fx: &mut Effects, hash: &Hash, items: &[SystemItem]) {
        for item in items {
            if let SystemItem::Certificate(certificate) = item {
                let target = certificate.link.target;
                if let Some(record) = self.tree.record(&target.hash).cloned() {
                    self.hold_certificate(fx, Certified { certificate: certificate.clone(), record });
                }
            }
        }
        if let Some(checkpoint) = self.checkpoint(hash) {
            self.certify(fx, checkpoint);
        }
    }

    /// Takes in a certificate that is known to be right.
    pub(super) fn hold_certificate(&mut self, fx: &mut Effects, certified: Certified) {
        let target = certified.certificate.link.target;
        for evidence in self.gadget.pool.hold(certified) {
            self.hold_evidence(fx, evidence);
        }
        self.certificate_held(fx, target);
    }

    /// A header is new: its proposer may have signed another one for its slot, and its certificate may have been here before it.
    pub(super) fn header_taken(&mut self, fx: &mut Effects, hash: &Hash) {
        if let Some(pair) = self.tree.header(hash).and_then(|header| self.tree.equivocation(header)) {
            self.hold_evidence(fx, Evidence::Headers(Box::new(pair)));
        }
        if let Some(checkpoint) = self.checkpoint(hash).filter(|one| self.gadget.pool.is_certified(one)) {
            self.certificate_held(fx, checkpoint);
        }
    }

    /// Lets fork choice know of a certificate, and stops if it contradicts another.
    pub(super) fn certificate_held(&mut self, fx: &mut Effects, target: Checkpoint) {
        if let Some((one, other, guilty)) = self.gadget.pool.conflict() {
            self.halt(fx, &one, &other, guilty.iter());
            return;
        }
        let held = self.gadget.pool.certified().find(|held| held.certificate.link.target == target);
        if let Some(held) = held {
            storage::put_certified(fx, held);
            self.note_certificate(fx, &held.certificate);
        }
        let old = self.tree.head();
        if self.tree.justify(&target.hash) {
            self.head_moved(fx, old);
        }
        self.download.replan();
        self.follow_finality(fx);
    }

    /// More than a third of a set has broken a slashing rule: nothing this peer could say about finality is worth
    /// anything until people have looked.
    fn halt<'a>(
        &mut self,
        fx: &mut Effects,
        one: &Certificate,
        other: &Certificate,
        guilty: impl Iterator<Item = &'a PublicKey>,
    ) {
        if self.gadget.halted {
            return;
        }
        self.gadget.halted = true;
        let guilty: Vec<String> = guilty.map(ToString::to_string).collect();
        let reason = format!(
            "finality is broken: certificates for {} at height {} and {} at height {} contradict each other. This peer \
             neither proposes, votes nor follows any more, not after a restart either: agree with others which chain goes \
             on, move the data directory away, and synchronise from a checkpoint of it. Guilty, by their own \
             signatures: {}",
            one.link.target.hash,
            one.link.target.height,
            other.link.target.hash,
            other.link.target.height,
            guilty.join(", ")
        );
        let mut batch = Batch::default();
        storage::put_halted(&mut batch, &reason);
        fx.apply(batch);
        fx.raise(reason);
    }

    /// Proof of an equivocation arrived by gossip.
    pub(in crate::node) fn evidence_came(&mut self, fx: &mut Effects, message: GossipMessage) {
        let evidence = decode::<Evidence>(&message.data, Evidence::MAX_LEN).ok();
        let Some((evidence, guilty)) =
            evidence.and_then(|found| Some((found.guilty()?, found))).map(|(guilty, found)| (found, guilty))
        else {
            fx.judge(message.id, Verdict::Reject);
            fx.offend(message.from, Offence::Malformed);
            return;
        };
        if !self.awaits_evidence(&guilty) {
            fx.judge(message.id, Verdict::Ignore);
            return;
        }
        let items = Arc::new(vec![SystemItem::Evidence(evidence.clone())]);
        let job = Job::VerifyItems { genesis: self.id, items, target: None };
        self.jobs.add(fx, Purpose::Evidence(message, Box::new(evidence)), job);
    }

    pub(super) fn evidence_verified(
        &mut self,
        fx: &mut Effects,
        message: &GossipMessage,
        evidence: Evidence,
        valid: bool,
    ) {
        if valid {
            fx.judge(message.id, Verdict::Accept);
            self.keep_evidence(evidence);
        } else {
            fx.judge(message.id, Verdict::Reject);
            fx.offend(message.from, Offence::BadSignature);
        }
    }

    /// This peer has found an equivocation itself: everybody is told.
    pub(super) fn hold_evidence(&mut self, fx: &mut Effects, evidence: Evidence) {
        let data = encode(&evidence);
        if self.keep_evidence(evidence) {
            fx.push(Output::Publish { topic: Topic::Evidence, data });
        }
    }

    fn keep_evidence(&mut self, evidence: Evidence) -> bool {
        let Some(guilty) = evidence.guilty().filter(|guilty| self.is_authority(guilty)) else { return false };
        if self.gadget.evidence.contains_key(&guilty) {
            return false;
        }
        tracing::warn!(%guilty, "an authority has equivocated");
        self.gadget.evidence.insert(guilty, evidence);
        true
    }

    /// What a block of ours on this parent should carry.
    pub(super) fn system_items(&self, fx: &Effects, parent: &Hash) -> Vec<SystemItem> {
        let Some(record) = self.tree.record(parent) else { return Vec::new() };
        let fits = |certified: &&Certified| {
            let target = certified.certificate.link.target.hash;
            record.admits(&certified.certificate, &certified.record).is_ok()
                && self.tree.is_ancestor(&target, parent)
        };
        let fitting = self.gadget.pool.certified().filter(fits);
        let best = fitting.max_by_key(|certified| {
            let link = certified.certificate.link;
            (link.finalises_source(), link.target.height)
        });
        let mut items: Vec<_> =
            best.into_iter().map(|best| SystemItem::Certificate(best.certificate.clone())).collect();
        // What a certificate in this very block changes is not looked at: the next block can carry the rest.
        if items.is_empty() {
            let evidence = self.gadget.evidence.values().find(|found| record.admits_evidence(found).is_ok());
            items.extend(evidence.cloned().map(SystemItem::Evidence));
        }
        if items.is_empty() {
            items.extend(self.own_ballot(fx, record));
        }
        items
    }

    /// The record of the certificate's target among these items, if it is an ancestor of a block on this parent.
    pub(super) fn target_record(
        &self,
        parent: &Hash,
        items: &[SystemItem],
    ) -> Option<Arc<crate::chain::ConsensusRecord>> {
        let certificate = items.iter().find_map(|item| match item {
            SystemItem::Certificate(certificate) => Some(certificate),
            SystemItem::Ballot(_) | SystemItem::Evidence(_) => None,
        })?;
        let target = certificate.link.target;
        let right = self.tree.height(&target.hash) == Some(target.height)
            && self.tree.is_ancestor(&target.hash, parent);
        self.tree.record(&target.hash).filter(|_| right).cloned()
    }

    /// Votes for the newest checkpoint of the best chain that a block builds on.
    pub(super) fn vote(&mut self, fx: &mut Effects) {
        let Some(key) = self.validator() else { return };
        let head = self.head_height();
        let missing = self.tree.height(&self.tree.target()).unwrap_or_default().saturating_sub(head.0).0;
        if self.halted_or_unsafe(fx) || missing > 2 {
            return;
        }
        let below = head.saturating_sub(1);
        let newest = Height(below.0 - below.0 % crate::chain::CHECKPOINT_INTERVAL);
        let Some(hash) = self.tree.on_best_chain(newest).filter(|_| newest > self.finalised_height()) else {
            return;
        };
        let (Some(record), Some(target)) = (self.tree.record(&hash), self.checkpoint(&hash)) else { return };
        let link = Link { source: record.justified, target };
        if !record.voters().contains(&key) || !self.gadget.voter.bind(&link) {
            return;
        }
        let Some(vote) = self.proposer.as_ref().map(|proposer| proposer.vote(link, &self.id)) else { return };
        let mut batch = Batch::default();
        batch.put(storage::VOTED, key.0, encode(&link));
        let seq = fx.apply_now(batch);
        self.promises.push((seq, Promise::Vote(Box::new(vote))));
    }

    fn halted_or_unsafe(&self, fx: &Effects) -> bool {
        self.gadget.halted || self.starting || !Self::storage_works(fx)
    }

    /// Our own vote may leave: the disk knows of it.
    pub(super) fn publish_vote(&mut self, fx: &mut Effects, vote: Vote) {
        tracing::debug!(target = %vote.link.target.height, source = %vote.link.source.height, "voted");
        fx.push(Output::Publish { topic: Topic::Vote, data: encode(&vote) });
        self.count_vote(fx, vote);
    }

    /// Moves the finalised block up to what the head's record, or a certificate that no body has yet, makes final.
    pub(super) fn follow_finality(&mut self, fx: &mut Effects) {
        let recorded = self.tree.record(&self.tree.head()).map(|record| record.finalised);
        let certified = self.gadget.pool.certified().map(|certified| certified.certificate.link);
        let certified = certified.filter(Link::finalises_source).map(|link| link.source);
        let best = certified.chain(recorded).filter(|checkpoint| {
            checkpoint.height > self.finalised_height()
                && self.tree.stage(&checkpoint.hash) == Some(Stage::Executed)
        });
        let Some(checkpoint) = best.max() else {
            self.watch_for_stall(fx);
            return;
        };
        let old = self.tree.head();
        let Some(moved) = self.tree.finalise(&checkpoint.hash) else { return };
        tracing::info!(height = %checkpoint.height, hash = %checkpoint.hash, "final");
        if moved {
            self.head_moved(fx, old);
        }
        fx.notify(Event::Finalised(checkpoint));
        let left = self.tree.prune();
        self.forget_forks(fx, &left);
        let forgotten = self.gadget.pool.finalised(checkpoint.height);
        storage::forget_certified(fx, &forgotten);
        fx.lower(STALLED_ALARM);
        let record = self.tree.record(&self.tree.head()).cloned();
        self.gadget
            .evidence
            .retain(|guilty, _| record.as_ref().is_some_and(|record| record.set.contains(guilty)));
        self.advance_base(fx);
        self.notify_sync(fx);
    }

    /// Blocks that contradict a final one are gone for good.
    fn forget_forks(&mut self, fx: &mut Effects, left: &[(Height, Hash)]) {
        if left.is_empty() {
            return;
        }
        let mut batch = Batch::default();
        for (height, hash) in left {
            storage::delete_block(&mut batch, *height, hash);
            self.diffs.remove(hash);
            self.written.remove(hash);
            self.waiting.remove(hash);
            self.tries.remove(hash);
            self.recent.remove(hash);
        }
        fx.apply(batch);
        let id = fx.archive(ArchiveRequest::Delete(left.to_vec()));
        self.archived.insert(id, Archived::Forks);
        self.download.replan();
    }

    /// Tells people when the chain grows without becoming final.
    fn watch_for_stall(&self, fx: &mut Effects) {
        let unfinalised = self.head_height().saturating_sub(self.finalised_height().0).0;
        let missing =
            self.tree.height(&self.tree.target()).unwrap_or_default().saturating_sub(self.head_height().0);
        if unfinalised > STALLED_AFTER && missing.0 <= 2 && !self.starting {
            raise_stalled(fx);
        }
    }
}
