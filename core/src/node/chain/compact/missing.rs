//! What a block lacks is asked for, and told to those who ask.

use std::sync::Arc;

use libp2p::PeerId;

use super::{Announced, Chain, MAX_PARKED, MAX_PARKED_OF_PEER, PARKED_MILLIS, Parked, Question, State};
use crate::{
    chain::{Body, Transaction},
    node::{
        InboundId, Protocol, RequestFailure,
        effects::{Ask, Effects},
    },
    peers::Offence,
    primitives::{Hash, decode, encode},
    sync::{SyncRequest, SyncResponse},
};

/// After how long another peer is asked as well: a long round trip and some.
pub(super) const FIRST_OTHER_MILLIS: u64 = 400;

/// After how long one more is.
const NEXT_OTHER_MILLIS: u64 = 200;

/// The most peers that are asked besides the announcer.
const MAX_OTHERS: usize = 3;

impl Chain {
    /// The announcer answers what it was asked for, or does not.
    pub(in crate::node) fn missing_answered(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        hash: Hash,
        outcome: Result<Vec<u8>, RequestFailure>,
    ) {
        let answer = outcome.map(|bytes| decode::<SyncResponse>(&bytes, Protocol::Sync.max_response()));
        let offence = match &answer {
            Ok(Ok(SyncResponse::BlockTransactions(_) | SyncResponse::Busy)) => None,
            Ok(Ok(_)) | Err(RequestFailure::TooLarge) => Some(Offence::Unrequested),
            Ok(Err(_)) => Some(Offence::Malformed),
            Err(_) => None,
        };
        if let Some(offence) = offence {
            fx.offend(peer, offence);
        }
        let failed = offence.is_some() || answer.is_err();
        // Once it was given up on, another answer may have come.
        let Some(announced) = self.compact.announced.get_mut(&hash) else { return };
        let State::Asked(question) = &mut announced.state else { return };
        if question.asked.insert(peer, false) != Some(true) {
            return;
        }
        if failed {
            self.scheduler.failed(&peer, fx.now.mono);
        }
        let Ok(Ok(SyncResponse::BlockTransactions(Some(transactions)))) = answer else {
            let all_answered = question.asked.values().all(|awaited| !awaited);
            if !self.ask_another(fx, hash) && all_answered {
                self.want_whole(fx, hash);
            }
            return;
        };
        let state = std::mem::replace(&mut announced.state, State::Wanted(fx.now.mono));
        let State::Asked(Question { mut rebuild, announcer, asked, .. }) = state else { return };
        // An announcer that is still to answer is slower than one who was asked after it, and rests.
        let slow = asked.iter().filter(|(slow, awaited)| **awaited && **slow == announcer);
        slow.for_each(|(slow, _)| self.scheduler.failed(slow, fx.now.mono));
        if rebuild.give(transactions).is_err() {
            // Of two peers that contradict each other either may be right.
            if peer == announcer {
                fx.offend(peer, Offence::WrongBody);
            }
            self.want_whole(fx, hash);
        } else if self.rebuilt(fx, hash, *rebuild) {
            self.compact.counts.after_round_trip += 1;
        }
    }

    /// Asks one more peer for what a block lacks. Returns whether there is one, and not too many were asked before.
    pub(super) fn ask_another(&mut self, fx: &mut Effects, hash: Hash) -> bool {
        let Some(Announced { height, state: State::Asked(question), .. }) =
            self.compact.announced.get_mut(&hash)
        else {
            return false;
        };
        // Later than the fall-back, unless somebody is asked now.
        question.next = question.until;
        if question.asked.len() > MAX_OTHERS {
            return false;
        }
        let near =
            self.scheduler.near(*height, fx.now.mono).filter(|peer| !question.asked.contains_key(peer));
        let near: Vec<PeerId> = near.collect();
        let Some(drawn) = fx.random().checked_rem(near.len() as u64) else { return false };
        let peer = near[drawn as usize];
        question.asked.insert(peer, true);
        question.next = fx.now.mono + NEXT_OTHER_MILLIS;
        let missing = question.rebuild.missing();
        ask_for(fx, peer, hash, missing);
        true
    }

    /// Somebody to whom this peer passed an announcement on lacks these transactions of it.
    pub(in crate::node::chain) fn missing_asked(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        block: Hash,
        indices: Vec<u16>,
    ) {
        let of_peer = self.compact.parked.iter().filter(|parked| parked.peer == peer).count();
        let room = self.compact.parked.len() < MAX_PARKED && of_peer < MAX_PARKED_OF_PEER;
        match self.compact.announced.get(&block).map(|announced| &announced.state) {
            Some(State::Asked(_)) if room => {
                let until = fx.now.mono + PARKED_MILLIS;
                self.compact.parked.push(Parked { block, id, peer, indices, until });
            }
            Some(State::Here(Some(body))) => {
                let body = Arc::clone(body);
                self.answer_missing(fx, id, peer, Some(&body), &indices);
            }
            _ => self.answer_missing(fx, id, peer, None, &indices),
        }
    }

    pub(super) fn answer_missing(
        &mut self,
        fx: &mut Effects,
        id: InboundId,
        peer: PeerId,
        body: Option<&Body>,
        indices: &[u16],
    ) {
        let find = |body: &Body| {
            let transactions = indices.iter().map(|at| body.transactions.get(usize::from(*at)).cloned());
            transactions.collect::<Option<Vec<_>>>()
        };
        // An invalid block may have transactions that are too long.
        let fits = |found: &Vec<Transaction>| {
            let bytes: usize = found.iter().map(Transaction::encoded_len).sum();
            bytes + 16 <= Protocol::Sync.max_response()
        };
        let found = body.and_then(find).filter(fits);
        Self::answer(fx, id, peer, &SyncResponse::BlockTransactions(found));
    }

    /// Answers the questions that waited for a block: it is here, or will not be.
    pub(super) fn answer_parked(&mut self, fx: &mut Effects, hash: &Hash) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.compact.parked).into_iter().partition(|parked| parked.block == *hash);
        self.compact.parked = later;
        for parked in due {
            self.missing_asked(fx, parked.id, parked.peer, parked.block, parked.indices);
        }
    }
}

/// Asks a peer for transactions of a block.
pub(super) fn ask_for(fx: &mut Effects, peer: PeerId, block: Hash, indices: Vec<u16>) {
    let body = encode(&SyncRequest::BlockTransactions { block, indices });
    fx.ask(peer, Protocol::Sync, Ask::Missing(block), body);
}
