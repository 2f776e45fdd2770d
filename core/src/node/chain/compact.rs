//! From an announced block to its body: from what is here, else from what the announcer is asked for, else whole from
//! anybody. If the announcer is slow others are asked for the same, one after the other: who else has announced a block the shell does not
//! tell, but by then most have it, and who waits for it too answers when it has.
//!
//! An announcement is passed on once its header is judged, so whoever passed it on may not have the body yet: questions for it
//! wait until it has. And only its header is signed, so somebody may have made up the rest: a peer that finds that its announcement
//! was not right answers no questions about it. So transactions that contradict the announcement are their sender's doing, and a body
//! that comes out wrong is nobody's.

mod counts;
mod entered;
mod missing;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use libp2p::PeerId;

pub use counts::{BlockArrival, BlockCounts};
use entered::Entered;
use missing::{FIRST_OTHER_MILLIS, ask_for};

use super::Chain;
use crate::{
    chain::{Block, Body, BodyError, Header, Transaction},
    finality::Stage,
    gossip::{CompactBlock, Rebuild},
    node::{InboundId, Protocol, Verdict, effects::Effects},
    primitives::{Hash, Height, Held, Mono, Slot},
    sync::{MAX_MISSING, WINDOW},
};
/// The most announced blocks remembered, and so the most bodies held for those who ask for parts of them.
const MAX_ANNOUNCED: usize = 32;
/// The most blocks whose missing transactions are waited for.
const MAX_REBUILDING: usize = 8;
/// How long the announcer is waited for.
const PATIENCE_MILLIS: u64 = 1_000;
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
    /// Whether any of them may be asked for: most of the time none is, and there is nothing to look through.
    may_ask: bool,
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
        let looked_at = if self.may_ask { usize::MAX } else { 0 };
        let asked = self.announced.values().take(looked_at).filter_map(|announced| match announced.state {
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
                self.compact.may_ask = true;
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

    pub(super) fn compact_tick(&mut self, fx: &mut Effects) {
        let now = fx.now.mono;
        let (mut slow, mut late) = (Vec::new(), Vec::new());
        if self.compact.may_ask {
            self.compact.may_ask = self.compact.asked() > 0;
        }
        let looked_at = if self.compact.may_ask { usize::MAX } else { 0 };
        for (hash, announced) in self.compact.announced.iter().take(looked_at) {
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
        let overdue: Vec<_> = self.compact.parked.extract_if(.., |parked| parked.until <= now).collect();
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
