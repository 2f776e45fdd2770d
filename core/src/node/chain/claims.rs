//! A peer calls a checkpoint final that is not on our best chain: it is asked to prove it.
//!
//! After a partition the chain that is final need not be the longest, and a peer that knows only the other side's headers
//! would never leave its own. With the proof it goes over.
//!
//! And when another peer has something final that contradicts what is final here, more than a third of a set has equivocated. Which
//! certificates contradict each other, and so who it was, shows near the lower of the two checkpoints: the other side is asked for
//! its certificates there. Both sides do that, whichever is longer, and both stop.

use std::sync::Arc;

use libp2p::PeerId;

use super::{Chain, Purpose};
use crate::{
    chain::{Certificate, Checkpoint, ConsensusRecord, SystemItem},
    finality::{Certified, Stage},
    node::{
        Protocol,
        effects::{Ask, Effects},
        work::Job,
    },
    peers::Offence,
    primitives::{Height, Mono, encode},
    sync::{Fragment, Proven, SyncRequest, SyncStatus},
};

/// How often peers are asked for such a proof.
const ASK_MILLIS: u64 = 2_000;

/// The claim that is being looked into.
#[derive(Default)]
pub(super) struct Claims {
    /// What the proof starts from, while one is awaited or checked.
    open: Option<Proven>,
    next: Mono,
}

impl Chain {
    /// Looks at what a peer calls final.
    pub(super) fn claim_came(&mut self, fx: &mut Effects, peer: PeerId, status: &SyncStatus) {
        let claimed = status.finalised;
        if self.contradicts(&claimed) {
            self.ask_what_contradicts(fx, peer, claimed.height);
            return;
        }
        if self.starting || self.claims.next > fx.now.mono || !self.is_in_doubt(status) {
            return;
        }
        let Some(record) = self.tree.record(&self.tree.finalised()) else { return };
        let from = self.finalised_height();
        let known = Checkpoint { height: from, hash: self.id };
        self.claims.open = Some(Proven { checkpoint: known, record: (**record).clone() });
        self.claims.next = fx.now.mono + ASK_MILLIS;
        tracing::debug!(%peer, height = %claimed.height, "a peer calls a block final that is not on our best chain");
        fx.ask(peer, Protocol::Sync, Ask::Claim, encode(&SyncRequest::Warp { from }));
        // The branch itself, should it be unknown: its bodies are asked for once it is the better one.
        self.ask_headers_of(fx, peer);
    }

    /// Whether another checkpoint is final here at this height. One that is too old to be remembered is given the benefit of the doubt.
    fn contradicts(&self, claimed: &Checkpoint) -> bool {
        if self.starting || claimed.height.0 == 0 || claimed.height > self.finalised_height() {
            return false;
        }
        if claimed.height > self.base_height() {
            return self.tree.height(&claimed.hash) != Some(claimed.height)
                || !self.tree.is_ancestor(&claimed.hash, &self.tree.finalised());
        }
        self.pivots.has_other(claimed)
    }

    /// Asks a peer, whose final checkpoint and ours exclude each other as it seems, for the certificates that say so.
    pub(super) fn ask_what_contradicts(&mut self, fx: &mut Effects, peer: PeerId, around: Height) {
        if self.starting || self.is_halted() || self.claims.next > fx.now.mono {
            return;
        }
        self.claims.next = fx.now.mono + ASK_MILLIS;
        tracing::debug!(%peer, %around, "a peer calls something final that seems to contradict what is final here");
        fx.ask(peer, Protocol::Sync, Ask::Contradiction, encode(&SyncRequest::Certificates { around }));
    }

    /// The certificates that were asked for.
    pub(super) fn contradiction_answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        pairs: Vec<(Certificate, ConsensusRecord)>,
    ) {
        for (certificate, record) in pairs {
            if certificate.check(&record).is_err() {
                fx.offend(peer, Offence::BadProof);
                return;
            }
            // Anybody can make up a set that has signed anything. One that has a voice here has a voice there.
            let is_ours = |held: &Certified| {
                let outgoing = |record: &ConsensusRecord| record.outgoing.as_ref().map(|out| out.set.clone());
                held.record.set == record.set && outgoing(&held.record) == outgoing(&record)
            };
            if !self.gadget.pool.certified().any(is_ours) {
                fx.refuse("unproven-claim");
                continue;
            }
            let record = Arc::new(record);
            let items = Arc::new(vec![SystemItem::Certificate(certificate.clone())]);
            let job = Job::VerifyItems { genesis: self.id, items, target: Some(Arc::clone(&record)) };
            let certified = Certified { certificate, record };
            self.jobs.add(fx, Purpose::Contradiction(peer, Box::new(certified)), job);
        }
    }

    /// The signatures of such a certificate are checked.
    pub(super) fn contradiction_verified(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        certified: Certified,
        valid: bool,
    ) {
        if valid {
            let target = certified.certificate.link.target.hash;
            // The signatures are over the link: beyond who signed, the record is its sender's word, unless we know it ourselves.
            let executed = self.tree.stage(&target) == Some(Stage::Executed);
            let own = self.tree.record(&target).filter(|_| executed).cloned();
            let record = own.unwrap_or(certified.record);
            self.hold_certificate(fx, Certified { certificate: certified.certificate, record });
        } else {
            fx.offend(peer, Offence::BadSignature);
        }
    }

    /// Whether a peer's finalised checkpoint is news that ordinary synchronisation would not bring.
    fn is_in_doubt(&self, status: &SyncStatus) -> bool {
        let claimed = status.finalised;
        if claimed.height <= self.finalised_height() {
            return false;
        }
        let top = self.tree.height(&self.tree.target()).unwrap_or_default();
        let longer = status.height > top;
        let ours = self.tree.header(&claimed.hash).is_some()
            && self.tree.is_ancestor(&claimed.hash, &self.tree.target());
        // Where the other branch changes its authorities we cannot follow it by its headers, however long it is.
        let barred = self.download.set_change_aside();
        let barred = barred.is_some_and(|hash| self.tree.stage(&hash) == Some(Stage::Header));
        !ours && (!longer || barred)
    }

    /// The fragments that were asked for.
    pub(super) fn claim_answered(&mut self, fx: &mut Effects, peer: PeerId, fragments: Vec<Fragment>) {
        let Some(known) = self.claims.open.take() else { return };
        if fragments.is_empty() {
            return;
        }
        if let Err((_, error)) = known.follow_all(&fragments) {
            tracing::debug!(%peer, %error, "a proof of finality proves nothing here");
            // It starts from our set of today: an honest proof of another set's time fails too.
            fx.refuse("unproven-claim");
            return;
        }
        let fragments = Arc::new(fragments);
        let job = Job::VerifyWarp { genesis: self.id, fragments: Arc::clone(&fragments) };
        self.jobs.add(fx, Purpose::Claim(peer, fragments), job);
    }

    pub(super) fn claim_verified(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        fragments: &[Fragment],
        valid: &[bool],
    ) {
        for (fragment, valid) in fragments.iter().zip(valid) {
            if !valid {
                fx.offend(peer, Offence::BadSignature);
                return;
            }
            let (certificate, record) =
                (fragment.certificate.clone(), Arc::new(fragment.child_record.clone()));
            self.hold_certificate(fx, Certified { certificate, record });
        }
        if !self.is_halted() {
            self.scheduler.seen(peer, fragments.last().map_or(Height(0), |last| last.child.height()));
        }
    }
}
