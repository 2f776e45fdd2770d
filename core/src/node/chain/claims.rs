//! A peer calls a checkpoint final that is not on our best chain: it is asked to prove it.
//!
//! After a partition the chain that is final need not be the longest, and a peer that knows only the other side's headers
//! would never leave its own. With the proof it goes over. And if the proof contradicts what is final here,
//! somebody has equivocated, and the proof tells who.

use std::sync::Arc;

use libp2p::PeerId;

use super::{Chain, Purpose};
use crate::{
    chain::{CHECKPOINT_INTERVAL, Checkpoint},
    finality::Certified,
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
        if self.starting || self.claims.next > fx.now.mono || !self.is_in_doubt(status) {
            return;
        }
        let Some(record) = self.tree.record(&self.tree.finalised()) else { return };
        // A contradiction shows at a height that both sides know of, so the proof may have to start lower.
        let from = self.finalised_height().min(claimed.height.saturating_sub(CHECKPOINT_INTERVAL));
        let known = Checkpoint { height: from, hash: self.id };
        self.claims.open = Some(Proven { checkpoint: known, record: (**record).clone() });
        self.claims.next = fx.now.mono + ASK_MILLIS;
        tracing::debug!(%peer, height = %claimed.height, "a peer calls a block final that is not on our best chain");
        fx.ask(peer, Protocol::Sync, Ask::Claim, encode(&SyncRequest::Warp { from }));
        // The branch itself, should it be unknown: its bodies are asked for once it is the better one.
        self.ask_headers_of(fx, peer);
    }

    /// Whether a peer's finalised checkpoint is news that ordinary synchronisation would not bring, or contradicts ours.
    fn is_in_doubt(&self, status: &SyncStatus) -> bool {
        let claimed = status.finalised;
        if claimed.height <= self.finalised_height() {
            return self.gadget.pool.knows_other(&claimed);
        }
        let top = self.tree.height(&self.tree.target()).unwrap_or_default();
        let longer = status.height > top;
        let ours = self.tree.header(&claimed.hash).is_some()
            && self.tree.is_ancestor(&claimed.hash, &self.tree.target());
        !longer && !ours
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
            let target = fragment.certificate.link.target;
            let (certificate, record) =
                (fragment.certificate.clone(), Arc::new(fragment.child_record.clone()));
            self.gadget.pool.hold(Certified { certificate, record });
            self.certificate_held(fx, target);
        }
        if !self.is_halted() {
            self.scheduler.seen(peer, fragments.last().map_or(Height(0), |last| last.child.height()));
        }
    }
}
