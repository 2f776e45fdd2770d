//! What comes back, and whom to blame for it.
//!
//! Whoever sends a proof has had to check it first, so one that does not hold is proven malice. That a peer does not have
//! something, or is slow, is no offence.

use std::sync::Arc;

use libp2p::PeerId;

use super::{Download, OTHER_ALARM, STUCK_ALARM, Stage, Unlinked};
use crate::{
    chain::{ConsensusRecord, Header, Mmr, is_checkpoint},
    node::{
        OutboundId, Protocol, RequestFailure,
        chain::{Chain, Purpose},
        effects::{Effects, LightAsk},
        work::Job,
    },
    peers::{Offence, Service},
    primitives::{Hash, decode, encode},
    state::{self, Account, ProofError, RangeProof, Trie, VerifiedRange},
    store::Batch,
    sync::{
        BlockDiff, Fragment, FragmentError, Piece, PivotParts, Proven, StateSync, SyncResponse,
        WEAK_SUBJECTIVITY_SLOTS,
    },
};

/// Fragments whose signatures are being checked.
pub(in crate::node::chain) struct Candidates {
    peer: PeerId,
    fragments: Arc<Vec<Fragment>>,
    /// What they prove if their signatures are right.
    proven: Proven,
}

/// The changes on a journey, being applied.
pub(in crate::node::chain) struct Arrival {
    header: Header,
    mmr: Mmr,
    /// Those that concern accounts that are here.
    changes: Vec<(Hash, Account)>,
}

/// What a peer answered, if it can be read.
pub(in crate::node::chain) fn read(
    fx: &mut Effects,
    peer: PeerId,
    outcome: Result<Vec<u8>, RequestFailure>,
) -> Option<SyncResponse> {
    match outcome.map(|bytes| decode(&bytes, Protocol::Sync.max_response())) {
        Ok(Ok(response)) => Some(response),
        Ok(Err(_)) => {
            fx.offend(peer, Offence::Malformed);
            None
        }
        Err(failure) => {
            if failure == RequestFailure::TooLarge {
                fx.offend(peer, Offence::Unrequested);
            }
            None
        }
    }
}

impl Chain {
    /// An answer to a question of [`Light`](super::Light).
    pub(in crate::node) fn light_answered(
        &mut self,
        fx: &mut Effects,
        id: OutboundId,
        peer: PeerId,
        ask: LightAsk,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        let now = fx.now.mono;
        let response = read(fx, peer, outcome);
        let Some(light) = &mut self.light else { return };
        let range = matches!(ask, LightAsk::Range(_));
        // What was given up on is not looked at: it was right for what was proven when it was asked for. Pieces of the
        // state say themselves which they are.
        if !range && light.asking.is_none_or(|asking| asking.id != id) {
            return;
        }
        if !range {
            light.asking = None;
        }
        match (ask, response) {
            (LightAsk::Range(piece), Some(SyncResponse::Range(proof))) => {
                self.range_came(fx, peer, piece, proof);
            }
            (LightAsk::Warp, Some(SyncResponse::Warp { fragments, .. })) => {
                self.fragments_came(fx, peer, fragments);
            }
            (LightAsk::Ancestor(of), Some(SyncResponse::Ancestor(found))) => {
                self.ancestor_came(fx, peer, of, found.map(|found| *found));
            }
            (LightAsk::Checkpoint, Some(SyncResponse::Checkpoint(found))) => {
                self.anchor_came(fx, peer, found);
            }
            (LightAsk::Pivot(hash), Some(SyncResponse::Pivot(parts))) => {
                self.pivot_came(fx, peer, hash, parts);
            }
            (LightAsk::Tip(hash), Some(SyncResponse::Pivot(parts))) => {
                self.tip_opened(fx, peer, hash, parts);
            }
            (LightAsk::Headers(locator), Some(SyncResponse::Headers(headers))) => {
                self.tip_headers_came(fx, peer, &locator, headers);
            }
            (LightAsk::Diffs, Some(SyncResponse::Diffs(diffs))) => self.diffs_came(fx, peer, diffs),
            (ask, response) => {
                if response.is_some_and(|response| response != SyncResponse::Busy) {
                    fx.offend(peer, Offence::Unrequested);
                }
                match (&mut light.state, ask) {
                    (Some(Download { sync, .. }), LightAsk::Range(piece)) => sync.failed(&peer, &piece, now),
                    _ => {
                        light.lose_answer();
                        light.rest(&peer, now);
                    }
                }
            }
        }
        self.notify_sync(fx);
    }

    /// The header and record of the person's checkpoint.
    fn anchor_came(&mut self, fx: &mut Effects, peer: PeerId, found: Option<Box<(Header, ConsensusRecord)>>) {
        let slot = self.slot(fx);
        let Some(light) = &mut self.light else { return };
        let Stage::Anchor(hash) = light.stage else { return };
        let Some((header, record)) = found.map(|found| *found) else {
            if let Some(server) = light.servers.get_mut(&peer) {
                server.lacks = Some(hash);
            }
            fx.refuse("checkpoint-unknown-to-peer");
            return;
        };
        let proven = Proven::believed(&header, record).filter(|proven| proven.checkpoint.hash == hash);
        let Some(proven) = proven.filter(|_| is_checkpoint(header.height())) else {
            fx.offend(peer, Offence::BadProof);
            return;
        };
        if header.slot().0.saturating_add(WEAK_SUBJECTIVITY_SLOTS) < slot.0 {
            light.stage = Stage::Refused;
            fx.raise(format!(
                "the checkpoint {hash} is of slot {}, more than {WEAK_SUBJECTIVITY_SLOTS} slots ago: keys that were \
                 given up since then could prove another chain. Get a newer checkpoint from somebody you trust",
                header.slot()
            ));
            return;
        }
        light.advance(&peer, fx.now.mono);
        light.start = proven.clone();
        (light.proven, light.header, light.stage) = (proven, header, Stage::Proof);
        self.remember_proven(fx);
    }

    fn fragments_came(&mut self, fx: &mut Effects, peer: PeerId, fragments: Vec<Fragment>) {
        let Some(light) = &mut self.light else { return };
        let known = light.newest();
        let height = known.checkpoint.height;
        if fragments.is_empty() {
            // It claimed more than it can show. Others come first.
            fx.refuse("finalised-head-not-shown");
            if let Some(server) = light.servers.get_mut(&peer) {
                server.finalised = height;
            }
            light.rest(&peer, fx.now.mono);
            return;
        }
        match known.follow_all(&fragments) {
            Ok(proven) => {
                light.busy = true;
                let fragments = Arc::new(fragments);
                let job = Job::VerifyWarp { genesis: self.id, fragments: Arc::clone(&fragments) };
                self.jobs.urgent(fx, Purpose::Warp(Candidates { peer, fragments, proven }), job);
            }
            Err((_, FragmentError::Set)) if height.0 > 0 => {
                // Either of us may have been deceived, by old keys or a wrong checkpoint; a person has to look.
                tracing::warn!(%peer, "fragments that do not follow from what is proven");
                fx.refuse("proof-of-another-chain");
                fx.raise(format!(
                    "{OTHER_ALARM}. One of the two is false, perhaps made with old keys: compare a checkpoint with \
                     somebody you trust"
                ));
                if let Some(server) = light.servers.get_mut(&peer) {
                    server.other = true;
                }
            }
            Err((at, error)) => {
                tracing::debug!(%peer, at, %error, "a fragment proves nothing");
                fx.offend(peer, Offence::BadProof);
            }
        }
    }

    pub(in crate::node::chain) fn fragments_verified(
        &mut self,
        fx: &mut Effects,
        candidates: Candidates,
        valid: Option<&[bool]>,
    ) {
        let Candidates { peer, fragments, proven } = candidates;
        let Some(light) = &mut self.light else { return };
        light.busy = false;
        let Some(valid) = valid else { return };
        if !valid.iter().all(|valid| *valid) {
            fx.offend(peer, Offence::BadProof);
            return;
        }
        let Some(last) = fragments.last() else { return };
        let claimed = light.servers.get(&peer).map_or(proven.checkpoint.height, |server| server.finalised);
        if let Some(server) = light.servers.get_mut(&peer) {
            server.finalised = claimed.max(proven.checkpoint.height);
        }
        let mut newer = Unlinked::new(last.checkpoint.clone(), proven);
        newer.fragments.extend(light.unlinked.take().into_iter().flat_map(|before| before.fragments));
        newer.fragments.extend(fragments.iter().cloned());
        light.advance(&peer, fx.now.mono);
        self.newer_proven(fx, newer);
    }

    fn pivot_came(&mut self, fx: &mut Effects, peer: PeerId, hash: Hash, parts: Option<PivotParts>) {
        let Some(light) = &mut self.light else { return };
        if light.stage != Stage::Pivot || light.header.hash() != hash {
            return;
        }
        let Some(parts) = parts else {
            if let Some(server) = light.servers.get_mut(&peer) {
                server.lacks = Some(hash);
            }
            return;
        };
        if !parts.are_of(&light.header) {
            fx.offend(peer, Offence::BadProof);
            return;
        }
        let PivotParts { mmr } = parts;
        light.advance(&peer, fx.now.mono);
        light.acted = true;
        light.open_tip(mmr.clone());
        let mut sync = StateSync::new(light.header.clone());
        for peer in light.servers.keys() {
            sync.add_peer(*peer);
        }
        light.state = Some(Download { mmr, record: light.proven.record.clone(), sync });
        light.stage = Stage::State;
    }

    fn range_came(&mut self, fx: &mut Effects, peer: PeerId, piece: Piece, proof: Option<RangeProof>) {
        let Some(light) = &mut self.light else { return };
        let Some(Download { sync, .. }) = &mut light.state else { return };
        let Some(proof) = proof else {
            sync.gone(&peer, &piece);
            return;
        };
        if sync.came(peer, &piece) {
            let root = sync.pivot().content.state_root;
            let job = Job::VerifyRange { root, from: piece.from, to: piece.to, proof: Box::new(proof) };
            self.jobs.add(fx, Purpose::Range(peer, piece), job);
        }
    }

    pub(in crate::node::chain) fn range_verified(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        piece: &Piece,
        outcome: Option<Result<Box<VerifiedRange>, ProofError>>,
    ) {
        let Some(light) = &mut self.light else { return };
        let Some(Download { sync, .. }) = &mut light.state else { return };
        match outcome {
            Some(Ok(range)) => {
                if !sync.verified(&peer, piece, &range, fx.now.mono) {
                    return;
                }
                light.advance(&peer, fx.now.mono);
                fx.services.push((peer, Service::Answer));
                let mut batch = Batch::default();
                for (key, account) in &range.leaves {
                    batch.put(state::LEAVES, key.0, encode(account));
                }
                fx.apply(batch);
                fx.lower(STUCK_ALARM);
                self.install_if_complete(fx);
                self.notify_sync(fx);
            }
            Some(Err(error)) => {
                tracing::debug!(%peer, %error, "a range proof proves nothing");
                sync.refused(&peer, piece);
                fx.offend(peer, Offence::BadProof);
            }
            None => sync.refused(&peer, piece),
        }
    }

    fn diffs_came(&mut self, fx: &mut Effects, peer: PeerId, diffs: Vec<BlockDiff>) {
        let Some(light) = &mut self.light else { return };
        let (Some(Download { mmr, sync, .. }), Some(mut journey)) = (&light.state, light.journey.take())
        else {
            return;
        };
        if diffs.is_empty() {
            let to = journey.to();
            if let Some(server) = light.servers.get_mut(&peer) {
                server.lacks = Some(to.hash);
            }
            light.journey = Some(journey);
            light.lose_answer();
            return;
        }
        if let Err(error) = journey.add(diffs) {
            tracing::debug!(%peer, %error, "changes that lead nowhere");
            fx.offend(peer, Offence::BadProof);
            light.journey = Some(journey);
            light.lose_answer();
            return;
        }
        if !journey.is_over() {
            light.journey = Some(journey);
            light.guide = Some(peer);
            return;
        }
        let mut range = mmr.with(&sync.pivot().hash());
        let Some((header, passed, changes)) = journey.finish() else { return };
        passed.iter().for_each(|hash| range.push(hash));
        let changes: Vec<_> = changes.into_iter().filter(|(key, _)| sync.is_covered(key)).collect();
        let job = Job::Update { trie: sync.have().clone(), changes: changes.clone() };
        light.busy = true;
        light.guide = None;
        light.advance(&peer, fx.now.mono);
        fx.services.push((peer, Service::Answer));
        self.jobs.urgent(fx, Purpose::Arrival(Box::new(Arrival { header, mmr: range, changes })), job);
    }

    pub(in crate::node::chain) fn arrived_at_pivot(
        &mut self,
        fx: &mut Effects,
        arrival: Arrival,
        trie: Option<Trie>,
    ) {
        let Arrival { header, mmr, changes } = arrival;
        let Some(light) = &mut self.light else { return };
        light.busy = false;
        let (Some(download), Some(trie)) = (&mut light.state, trie) else { return };
        download.sync.moved(header, trie);
        (download.mmr, download.record) = (mmr, light.proven.record.clone());
        let mut batch = Batch::default();
        for (key, account) in &changes {
            if account.is_absent() {
                batch.delete(state::LEAVES, key.0);
            } else {
                batch.put(state::LEAVES, key.0, encode(account));
            }
        }
        fx.apply(batch);
        self.install_if_complete(fx);
    }
}
