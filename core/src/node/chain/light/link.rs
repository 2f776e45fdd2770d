//! From one proven checkpoint to the next: the newer one must build on the older.
//!
//! Fragments prove that a checkpoint is final, whatever was final before: authorities that finalise two chains can lead a peer from the one
//! to the other. So whoever has acted on a checkpoint gives it up only for one that is known to build on it: by the
//! headers that are followed, or by a proof of which block the newer one has in its place. If it is another, finality is
//! broken, and this peer stops as those do that hold two contradicting certificates.

use libp2p::PeerId;

use super::{Light, Question, STUCK_ALARM, checkpoint};
use crate::{
    chain::Header,
    node::{
        chain::{Chain, finality::STALLED_ALARM, storage},
        effects::{Effects, LightAsk},
    },
    peers::Offence,
    primitives::{Hash, Mono},
    store::Batch,
    sync::{Ancestor, Fragment, Proven, Strategy, SyncRequest},
};

/// A checkpoint that is proven to be final, and not to build on the one that is known here.
pub(super) struct Unlinked {
    header: Header,
    proven: Proven,
    /// What proved it since that one.
    pub(super) fragments: Vec<Fragment>,
}

impl Unlinked {
    pub(super) const fn new(header: Header, proven: Proven) -> Self {
        Self { header, proven, fragments: Vec::new() }
    }
}

impl Light {
    /// What fragments go on from.
    pub(super) fn newest(&self) -> &Proven {
        self.unlinked.as_ref().map_or(&self.proven, |newer| &newer.proven)
    }

    /// Something is about to rest on the newest checkpoint.
    pub(in crate::node::chain) const fn act(&mut self) {
        self.acted = true;
    }

    /// Whom to ask whether the newer checkpoint builds on what is known here.
    pub(super) fn link_question(&self, now: Mono) -> Option<Question> {
        let pivot = self.unlinked.as_ref().map(|newer| checkpoint(&newer.header))?;
        let able = self.servers.iter().find(|(_, server)| {
            server.finalised >= pivot.height
                && server.links_no != Some(pivot.hash)
                && server.resting_until <= now
        });
        let request = SyncRequest::Ancestor { height: self.header.height(), pivot: pivot.hash };
        able.map(|(peer, _)| (*peer, LightAsk::Ancestor(pivot.hash), request))
    }
}

impl Chain {
    /// A newer checkpoint is proven to be final.
    pub(super) fn newer_proven(&mut self, fx: &mut Effects, newer: Unlinked) {
        let Some(light) = &mut self.light else { return };
        if light.acted && light.tip_tree().is_none_or(|tree| tree.header(&newer.header.hash()).is_none()) {
            light.unlinked = Some(newer);
        } else {
            self.go_on_from(fx, newer);
        }
    }

    /// The headers that are followed may lead to the newer checkpoint by now.
    pub(super) fn link_by_tip(&mut self, fx: &mut Effects) {
        if let Some(newer) = self.light.as_mut().and_then(|light| light.unlinked.take()) {
            self.newer_proven(fx, newer);
        }
    }

    /// The newer checkpoint is the one to go on from.
    fn go_on_from(&mut self, fx: &mut Effects, newer: Unlinked) {
        let Some(light) = &mut self.light else { return };
        (light.header, light.proven) = (newer.header, newer.proven);
        light.pace.note(light.header.height().0, fx.now.mono);
        light.rebase_tip();
        if light.strategy != Strategy::Light {
            light.fragments.extend(newer.fragments);
        }
        fx.lower(STUCK_ALARM);
        fx.lower(STALLED_ALARM);
        self.forget_expired(fx);
        self.remember_proven(fx);
        self.notify_sync(fx);
    }

    /// Which block the checkpoint `of` has in the place of the one that is known here.
    pub(super) fn ancestor_came(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        of: Hash,
        found: Option<Ancestor>,
    ) {
        let Some(light) = &mut self.light else { return };
        let Some(newer) = light.unlinked.take_if(|newer| newer.header.hash() == of) else { return };
        match found {
            None => {
                fx.refuse("ancestor-not-shown");
                if let Some(server) = light.servers.get_mut(&peer) {
                    server.links_no = Some(of);
                }
                light.unlinked = Some(newer);
            }
            Some(found) if !found.verify(&newer.header, light.header.height()) => {
                fx.offend(peer, Offence::BadProof);
                light.unlinked = Some(newer);
            }
            Some(found) if found.hash == light.header.hash() => {
                light.advance(&peer, fx.now.mono);
                self.go_on_from(fx, newer);
            }
            Some(found) => self.finality_is_broken(fx, &newer.header, &found.hash),
        }
    }

    /// Two chains are final that contradict each other. Nothing that could be shown from now on is worth anything until
    /// people have looked.
    fn finality_is_broken(&mut self, fx: &mut Effects, newer: &Header, instead: &Hash) {
        let Some(light) = &mut self.light else { return };
        let known = checkpoint(&light.header);
        light.refuse();
        let reason = format!(
            "finality is broken: block {} at height {} was proven to be final, and so is block {} at height {}, which builds \
             on {instead} instead. More than a third of the authorities have signed for both. This peer proves and follows \
             nothing any more, not after a restart either: agree with others which chain goes on, remove this peer's data, and \
             synchronise from a checkpoint of it",
            known.hash,
            known.height,
            newer.hash(),
            newer.height(),
        );
        let mut batch = Batch::default();
        storage::put_halted(&mut batch, &reason);
        fx.apply(batch);
        fx.raise(reason);
        self.notify_sync(fx);
    }
}
