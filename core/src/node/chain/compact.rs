//! From an announced block to its body: from what is here, else from what the announcer is asked for, else whole from
//! anybody. If the announcer is slow others are asked for the same, one after the other: who else has announced a block the shell does not
//! tell, but by then most have it, and who waits for it too answers when it has.
//!
//! An announcement is passed on once its header is judged, so whoever passed it on may not have the body yet: questions for it
//! wait until it has. And only its header is signed, so somebody may have made up the rest: a peer that finds that its announcement
//! was not right answers no questions about it. So transactions that contradict the announcement are their sender's doing, and a body
//! that comes out wrong is nobody's.

mod entered;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use libp2p::PeerId;
use serde::{Deserialize, Serialize};

use super::Chain;
use crate::{
    chain::{Block, Body, BodyError, Header, Transaction},
    finality::Stage,
    gossip::{CompactBlock, Rebuild},
    node::{
        InboundId, Protocol, RequestFailure, Verdict,
        effects::{Ask, Effects},
    },
    peers::Offence,
    primitives::{Hash, Height, Held, Mono, Slot, decode, encode},
    sync::{MAX_MISSING, SyncRequest, SyncResponse, WINDOW},
};
use entered::Entered;

/// The most announced blocks remembered, and so the most bodies held for those who ask for parts of them.
const MAX_ANNOUNCED: usize = 32;
/// The most blocks whose missing transactions are waited for.
const MAX_REBUILDING: usize = 8;
/// How long the announcer is waited for.
const PATIENCE_MILLIS: u64 = 1_000;
/// After how long another peer is asked as well: a long round trip and some.
const FIRST_OTHER_MILLIS: u64 = 400;
/// After how long one more is.
const NEXT_OTHER_MILLIS: u64 = 200;
/// The most peers that are asked besides the announcer.
const MAX_OTHERS: usize = 3;
/// How long a question waits for the body here. What is left of the questioner's patience is for the way, so that it need not
/// take us for a peer that does not answer.
const PARKED_MILLIS: u64 = 500;
/// The most transactions of the mempool that are compared with an announcement: eight full blocks, a few milliseconds.
const MAX_COMPARED: usize = 32_768;
/// The most further announcements of a header that are compared: one that is made up may come first.
const MAX_AGAIN: u8 = 2;
/// The most questions that wait for a body, and of these the most of one peer.
const MAX_PARKED: usize = 64;
const MAX_PARKED_OF_PEER: usize = 4;
/// While a block that was announced is nowhere to be had, peers are asked so often where they are.
const HURRY_MILLIS: u64 = 1_000;
/// And for so long.
const HURRY_FOR_MILLIS: u64 = 10_000;
/// The number of blocks whose arrival is remembered.
const MAX_ARRIVALS: usize = 64;

const _: () = assert!(
    MAX_MISSING * Transaction::MAX_LEN + 16 <= Protocol::Sync.max_response(),
    "the transactions that one may ask for fit into an answer"
);

/// How announced blocks came to their bodies, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockCounts {
    /// First announcements of blocks with a right header.
    pub received: u64,
    /// Bodies put together from what was here.
    pub at_once: u64,
    /// Bodies put together with what the announcer was asked for.
    pub after_round_trip: u64,
    /// Bodies that could not be put together, and were left to the download.
    pub fell_back: u64,
    /// Announcements of a block that had been announced, or whose body was here.
    pub duplicates: u64,
    /// Transactions that announcements held whole.
    pub prefilled: u64,
    /// Transactions that were here.
    pub found: u64,
    /// Transactions that were not.
    pub missing: u64,
}

/// When an announced block's body was here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockArrival {
    /// The block's height.
    pub height: Height,
    /// The hash of its header.
    pub hash: Hash,
    /// Its slot.
    pub slot: Slot,
    /// Milliseconds since the slot began, by this peer's clock; 0 if that had not begun.
    pub delay_millis: u64,
}

/// How far an announced block is.
enum State {
    /// The announcer, and later others, are asked for what is missing.
    Asked(Question),
    /// The whole body is wanted since this time, from anybody.
    Wanted(Mono),
    /// The body is here; it is held for others if the announcement that this peer passed on was right.
    Here(Option<Arc<Body>>),
}

/// What is asked for to put a body together.
struct Question {
    rebuild: Box<Rebuild>,
    announcer: PeerId,
    /// Who was asked, and whether an answer is still awaited.
    asked: BTreeMap<PeerId, bool>,
    /// When another one is asked.
    next: Mono,
    until: Mono,
}

struct Announced {
    height: Height,
    slot: Slot,
    state: State,
    /// The announcement that this peer passed on was right.
    right: bool,
    /// How many further announcements were compared.
    again: u8,
}

/// A question for transactions of a block whose body is awaited.
struct Parked {
    block: Hash,
    id: InboundId,
    peer: PeerId,
    indices: Vec<u16>,
    until: Mono,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Compact {
    announced: BTreeMap<Hash, Announced>,
    /// Their hashes, in the order they came.
    order: VecDeque<Hash>,
    parked: Vec<Parked>,
    entered: Entered,
    arrivals: VecDeque<BlockArrival>,
    counts: BlockCounts,
    /// When to ask again who has the blocks that are wanted.
    next_hurry: Option<Mono>,
}

impl Compact {
    /// A transaction has entered the mempool.
    pub(super) fn entered(&mut self, id: Hash, transaction: Transaction, now: Mono) {
        self.entered.add(id, transaction, now);
    }

    /// Whether the download should leave a block alone.
    pub(super) fn awaits(&self, hash: &Hash) -> bool {
        self.announced.get(hash).is_some_and(|announced| matches!(announced.state, State::Asked(_)))
    }

    pub(super) const fn counts(&self) -> BlockCounts {
        self.counts
    }

    pub(super) fn arrivals(&self) -> impl Iterator<Item = &BlockArrival> {
        self.arrivals.iter()
    }

    pub(super) fn held(&self) -> impl Iterator<Item = Held> {
        let own = [
            Held::new("announced blocks", self.announced.len(), MAX_ANNOUNCED),
            Held::new("blocks that are put together", self.asked(), MAX_REBUILDING),
            Held::new("questions that wait for a body", self.parked.len(), MAX_PARKED),
        ];
        own.into_iter().chain([self.entered.held()])
    }

    fn next_due(&self) -> Option<Mono> {
        let asked = self.announced.values().filter_map(|announced| match announced.state {
            State::Asked(Question { next, until, .. }) => Some(next.min(until)),
            State::Wanted(_) | State::Here(_) => None,
        });
        asked.chain(self.parked.iter().map(|parked| parked.until)).chain(self.next_hurry).min()
    }

    fn remember(&mut self, hash: Hash, announced: Announced) {
        if self.announced.insert(hash, announced).is_none() {
            self.order.push_back(hash);
        }
        while self.order.len() > MAX_ANNOUNCED {
            if let Some(oldest) = self.order.pop_front() {
                self.announced.remove(&oldest);
            }
        }
    }

    fn asked(&self) -> usize {
        self.announced.values().filter(|announced| matches!(announced.state, State::Asked(_))).count()
    }
}

impl Chain {
    /// A block whose header is in the tree, rightly signed, was announced for the first time, by this peer.
    pub(super) fn announced(&mut self, fx: &mut Effects, hash: Hash, from: PeerId, compact: CompactBlock) {
        let (height, slot) = (compact.header.height(), compact.header.slot());
        let counts = &mut self.compact.counts;
        counts.received += 1;
        if !self.lacks_body(&hash, height) {
            return;
        }
        let (all, prefilled) = (compact.len(), compact.prefilled.len());
        let Ok(mut rebuild) = Rebuild::new(compact) else { return };
        self.find_here(&mut rebuild, height);
        let missing = rebuild.missing();
        let counts = &mut self.compact.counts;
        counts.prefilled += prefilled as u64;
        counts.found += (all - prefilled - missing.len()) as u64;
        counts.missing += missing.len() as u64;

        let now = fx.now.mono;
        let state = State::Wanted(now);
        self.compact.remember(hash, Announced { height, slot, state, right: false, again: 0 });
        if missing.is_empty() {
            if self.rebuilt(fx, hash, rebuild) {
                self.compact.counts.at_once += 1;
            }
        } else if missing.len() > MAX_MISSING
            || self.compact.asked() >= MAX_REBUILDING
            || self.scheduler.is_resting(&from, now)
        {
            self.want_whole(fx, hash);
        } else {
            if let Some(announced) = self.compact.announced.get_mut(&hash) {
                announced.state = State::Asked(Question {
                    rebuild: Box::new(rebuild),
                    announcer: from,
                    asked: BTreeMap::from([(from, true)]),
                    next: now + FIRST_OTHER_MILLIS,
                    until: now + PATIENCE_MILLIS,
                });
            }
            ask_for(fx, from, hash, missing);
        }
    }

    /// A block whose header is known, and so rightly signed, was announced. The first announcement of one that a download has
    /// brought is like any other; what comes after the first, in other bytes, is not passed on.
    pub(super) fn known_announced(
        &mut self,
        fx: &mut Effects,
        hash: Hash,
        from: PeerId,
        compact: CompactBlock,
    ) -> Verdict {
        let lacking = self.lacks_body(&hash, compact.header.height());
        if lacking && !self.compact.announced.contains_key(&hash) && compact.check().is_ok() {
            self.announced(fx, hash, from, compact);
            return Verdict::Accept;
        }
        self.compact.counts.duplicates += 1;
        if lacking {
            self.announced_again(fx, hash, compact);
        } else if self.announced_late(hash, compact) {
            return Verdict::Accept;
        }
        Verdict::Ignore
    }

    /// The first announcement of a block that is here already, since somebody was asked for it: our neighbours may still need it.
    /// Returns whether it is to be passed on, which a made-up one is not.
    fn announced_late(&mut self, hash: Hash, compact: CompactBlock) -> bool {
        let Some(body) = self.recent.get(&hash).map(|recent| Arc::clone(&recent.body)) else { return false };
        let (height, slot) = (compact.header.height(), compact.header.slot());
        if self.compact.announced.contains_key(&hash) || compact.check().is_err() {
            return false;
        }
        let right = Rebuild::new(compact).is_ok_and(|mut rebuild| {
            rebuild.find(body.transactions.iter().map(|it| (it.id(), it)));
            rebuild.missing().is_empty() && rebuild.finish().is_ok()
        });
        let state = State::Here(right.then_some(body));
        self.compact.remember(hash, Announced { height, slot, state, right, again: 0 });
        right
    }

    /// Another announcement of a block whose body is missing may bring it.
    fn announced_again(&mut self, fx: &mut Effects, hash: Hash, compact: CompactBlock) {
        let height = compact.header.height();
        let Some(announced) = self.compact.announced.get_mut(&hash) else { return };
        if announced.again >= MAX_AGAIN {
            return;
        }
        announced.again += 1;
        let Ok(mut rebuild) = Rebuild::new(compact) else { return };
        self.find_here(&mut rebuild, height);
        if let Ok(body) = rebuild.finish() {
            self.take_body(fx, hash, body);
        }
    }

    /// Our own block is announced.
    pub(super) fn announced_own(&mut self, fx: &Effects, hash: Hash, header: &Header, body: &Arc<Body>) {
        let (height, slot) = (header.height(), header.slot());
        let state = State::Here(Some(Arc::clone(body)));
        self.compact.remember(hash, Announced { height, slot, state, right: true, again: 0 });
        self.arrived(fx, height, hash, slot);
    }

    /// What we announce a block of ours with: whole if it is small, else with those transactions whole that peers
    /// probably lack.
    pub(super) fn announcement(&self, fx: &Effects, block: &Block) -> CompactBlock {
        let whole = self.compact.entered.fresh(&block.body.transactions, fx.now.mono);
        CompactBlock::new(block, |place| whole.contains(&place))
    }

    fn arrived(&mut self, fx: &Effects, height: Height, hash: Hash, slot: Slot) {
        let delay_millis = fx.now.wall.0.saturating_sub(self.genesis.slot_start(slot).0);
        let arrivals = &mut self.compact.arrivals;
        arrivals.push_back(BlockArrival { height, hash, slot, delay_millis });
        if arrivals.len() > MAX_ARRIVALS {
            arrivals.pop_front();
        }
    }

    /// Whether a header is in the tree, near the head, and without a body.
    fn lacks_body(&self, hash: &Hash, height: Height) -> bool {
        match &self.light {
            Some(light) => light.lacks_body(hash),
            None => {
                height.0 <= self.head_height().0 + WINDOW as u64
                    && self.tree.stage(hash) == Some(Stage::Header)
                    && !self.waiting.contains_key(hash)
            }
        }
    }

    /// Looks for what is in the mempool, was lately, or is in blocks that this one competes with.
    fn find_here(&self, rebuild: &mut Rebuild, height: Height) {
        rebuild.find(self.mempool.iter().take(MAX_COMPARED));
        rebuild.find(self.compact.entered.iter());
        let beside = self.recent.iter().filter(|(hash, _)| self.tree.height(hash) >= Some(height));
        for (_, recent) in beside {
            rebuild.find(recent.body.transactions.iter().map(|it| (it.id(), it)));
        }
    }

    /// All parts are here; answers whether they make the body.
    fn rebuilt(&mut self, fx: &mut Effects, hash: Hash, rebuild: Rebuild) -> bool {
        match rebuild.finish() {
            Ok(body) => {
                if let Some(announced) = self.compact.announced.get_mut(&hash) {
                    announced.right = true;
                }
                self.take_body(fx, hash, body);
                true
            }
            Err(BodyError::Root) => {
                fx.refuse("compact-block-of-another-body");
                self.want_whole(fx, hash);
                false
            }
            Err(BodyError::TooLarge) => {
                if !self.is_light() {
                    self.invalidate(fx, &hash);
                }
                self.want_whole(fx, hash);
                false
            }
        }
    }

    /// The body cannot be put together: it is downloaded from whoever has it, and those who asked us for parts of it should do
    /// the same. A light peer goes without.
    fn want_whole(&mut self, fx: &mut Effects, hash: Hash) {
        self.compact.counts.fell_back += 1;
        if let Some(announced) = self.compact.announced.get_mut(&hash) {
            announced.state = State::Wanted(fx.now.mono);
        }
        self.answer_parked(fx, &hash);
        if !self.is_light() {
            self.compact.next_hurry = Some(fx.now.mono + HURRY_MILLIS);
            self.download.hurry(fx.now.mono);
        }
    }

    /// The body of a block is here, in whatever way it came.
    pub(super) fn body_here(&mut self, fx: &mut Effects, hash: &Hash, body: &Arc<Body>) {
        let Some(announced) = self.compact.announced.get_mut(hash) else { return };
        if matches!(announced.state, State::Here(_)) {
            return;
        }
        announced.state = State::Here(announced.right.then(|| Arc::clone(body)));
        let (height, slot) = (announced.height, announced.slot);
        self.arrived(fx, height, *hash, slot);
        self.answer_parked(fx, hash);
    }

    /// A block is executed. If those to whom this peer announced it cannot be answered by parts, they are told who has it whole.
    pub(super) fn compact_executed(&mut self, fx: &mut Effects, hash: &Hash) {
        let announced = self.compact.announced.get(hash);
        if announced.is_some_and(|announced| matches!(announced.state, State::Here(None))) {
            self.ask_statuses(fx);
        }
    }

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
    fn ask_another(&mut self, fx: &mut Effects, hash: Hash) -> bool {
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
    pub(super) fn missing_asked(
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

    fn answer_missing(
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
    fn answer_parked(&mut self, fx: &mut Effects, hash: &Hash) {
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.compact.parked).into_iter().partition(|parked| parked.block == *hash);
        self.compact.parked = later;
        for parked in due {
            self.missing_asked(fx, parked.id, parked.peer, parked.block, parked.indices);
        }
    }

    pub(super) fn compact_tick(&mut self, fx: &mut Effects) {
        let now = fx.now.mono;
        let (mut slow, mut late) = (Vec::new(), Vec::new());
        for (hash, announced) in &self.compact.announced {
            match &announced.state {
                State::Asked(Question { until, announcer, asked, .. }) if *until <= now => {
                    late.push((*hash, asked.get(announcer).filter(|awaited| **awaited).map(|_| *announcer)));
                }
                State::Asked(question) if question.next <= now => slow.push(*hash),
                _ => {}
            }
        }
        for hash in slow {
            self.ask_another(fx, hash);
        }
        for (hash, announcer) in late {
            announcer.iter().for_each(|peer| self.scheduler.failed(peer, now));
            self.want_whole(fx, hash);
        }
        let (overdue, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.compact.parked).into_iter().partition(|parked| parked.until <= now);
        self.compact.parked = later;
        for parked in overdue {
            self.answer_missing(fx, parked.id, parked.peer, None, &parked.indices);
        }
        if self.compact.next_hurry.is_some_and(|due| due <= now) {
            let nowhere = self.compact.announced.iter().any(|(hash, announced)| match announced.state {
                State::Wanted(since) => {
                    now < since + HURRY_FOR_MILLIS && self.lacks_body(hash, announced.height)
                }
                State::Asked(_) | State::Here(_) => false,
            });
            self.compact.next_hurry = nowhere.then_some(now + HURRY_MILLIS);
            if nowhere {
                self.download.hurry(now);
            }
        }
    }

    pub(super) fn compact_due(&self) -> Option<Mono> {
        self.compact.next_due()
    }

    /// See [`crate::node::Node::block_counts`].
    pub(in crate::node) const fn block_counts(&self) -> BlockCounts {
        self.compact.counts()
    }

    /// See [`crate::node::Node::block_arrivals`].
    pub(in crate::node) fn block_arrivals(&self) -> impl Iterator<Item = &BlockArrival> {
        self.compact.arrivals()
    }
}

/// Asks a peer for transactions of a block.
fn ask_for(fx: &mut Effects, peer: PeerId, block: Hash, indices: Vec<u16>) {
    let body = encode(&SyncRequest::BlockTransactions { block, indices });
    fx.ask(peer, Protocol::Sync, Ask::Missing(block), body);
}
