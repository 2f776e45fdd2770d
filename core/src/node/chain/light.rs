//! Joining the chain by proof instead of by execution.
//!
//! While a peer does this it has no chain of its own yet: it knows one finalised checkpoint, at first the genesis. The steps:
//! 1. *Anchor*: with a checkpoint from the person, its header and record are asked for, and nothing older is believed.
//! 2. *Proof*: fragments are asked of whoever claims the highest finalised checkpoint, until nobody shows more.
//! 3. *Pivot*: what that checkpoint's header does not tell is asked for.
//! 4. *State*: its accounts are downloaded from all peers. When servers forget the pivot it moves, by the changes up to a newer one.
//! 5. *Headers*, for a fast peer only: every header from there back to the genesis is downloaded, and its signature checked
//!    against the set that the fragments prove for its height.
//! 6. The state is [installed](Chain::install): the peer goes on from there as any other.
//!
//! A light peer stops after the proof, and follows newer ones. Beside both, the headers above the newest checkpoint are
//! [followed](tip). What a person asks for is [looked up](super::lookup).
//!
//! A checkpoint that this peer has acted on, because it shows or follows something that rests on it, is given up for a newer one only
//! if that one builds on it: see [`link`].
//!
//! One question is in flight at a time, and while accounts are downloaded those for accounts beside it. Accounts are
//! written down as they come, but only the batch that installs the state says that there is a chain: after a crash before
//! it, what was downloaded is removed, and all begins again at the last proven checkpoint at the earliest.

mod answers;
mod link;
mod start;
mod tip;

pub(super) use answers::{Arrival, Candidates, read};
use link::Unlinked;
pub(super) use start::Begun;
pub(super) use tip::MAX_TIP;
use tip::Tip;

use std::collections::BTreeMap;

use libp2p::PeerId;

use super::{
    Chain,
    finality::{STALLED_AFTER, raise_stalled},
};
use crate::{
    chain::{CHECKPOINT_INTERVAL, Checkpoint, ConsensusRecord, Header, Mmr},
    node::{
        BackfillView, OutboundId, Protocol, SyncPhase, SyncView,
        effects::{Ask, Effects, LightAsk},
    },
    primitives::{Hash, Height, Mono, encode},
    state::Trie,
    sync::{Fragment, Journey, Pace, Proven, ProvenSets, StateSync, Strategy, SyncRequest, SyncStatus},
};

/// So many peers are heard before a proof counts as the newest, or one second is waited for more.
const ENOUGH_PEERS: usize = 3;
const GATHER_MILLIS: u64 = 1_000;
/// Nothing finalised is believed only after a longer wait.
const GATHER_NOTHING_MILLIS: u64 = 5_000;
/// The shortest patience with an answer.
const PATIENCE_MIN_MILLIS: u64 = 2_000;
/// The longest.
const PATIENCE_MAX_MILLIS: u64 = 64_000;
/// How long a peer that failed to answer is not asked again; doubles with each failure in a row.
const REST_MILLIS: u64 = 1_000;
/// How often peers are asked where they are, at least.
const STATUS_MILLIS: u64 = 10_000;
/// A pivot moves once it is so many blocks behind: servers keep the accounts of eight checkpoints.
const OLD_PIVOT: u64 = 4 * CHECKPOINT_INTERVAL;
/// Without any step forward for so long, people are told.
const STUCK_MILLIS: u64 = 30_000;
/// How the alarm about it begins.
pub(super) const STUCK_ALARM: &str = "no peer brings what joining the chain needs";
/// How the alarm about a chain that contradicts what is believed begins.
const OTHER_ALARM: &str = "a peer proves another chain than the one this peer has joined";

/// Where joining is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Anchor(Hash),
    Proof,
    Pivot,
    State,
    Headers,
    /// A light peer that knows the newest checkpoint.
    Follow,
    /// What the person asked for cannot be had, or finality is broken; an alarm says why.
    Refused,
}

/// A peer that may be asked.
#[derive(Clone, Copy, Debug, Default)]
struct Server {
    /// The height of the finalised checkpoint it claims.
    finalised: Height,
    /// The height it claims to be at.
    height: Height,
    resting_until: Mono,
    failures: u32,
    /// A checkpoint that it does not know, or has no state or changes for.
    lacks: Option<Hash>,
    /// A checkpoint that it cannot show to build on what is known here.
    links_no: Option<Hash>,
    /// It is on another chain than what is believed here.
    other: bool,
}

/// The question whose answer is awaited.
#[derive(Clone, Copy, Debug)]
struct Asking {
    id: OutboundId,
    peer: PeerId,
    since: Mono,
}

/// Whom to ask for what.
type Question = (PeerId, LightAsk, SyncRequest);

/// See the [module](self).
pub(super) struct Light {
    strategy: Strategy,
    stage: Stage,
    /// The newest checkpoint known to be final.
    proven: Proven,
    /// Its header.
    header: Header,
    /// Where the proof began: at the genesis, or at the person's checkpoint.
    start: Proven,
    /// What proved it since the genesis, or the person's checkpoint, unless this peer stays light.
    fragments: Vec<Fragment>,
    /// Something that this peer shows or follows rests on it.
    acted: bool,
    /// A newer one, not known yet to build on it.
    unlinked: Option<Unlinked>,
    servers: BTreeMap<PeerId, Server>,
    asking: Option<Asking>,
    /// A job is checking fragments, or applying changes.
    busy: bool,
    patience: u64,
    next_status: Mono,
    /// When the first peer was heard.
    heard: Option<Mono>,
    /// When the last step forward was made.
    moved: Mono,
    /// How fast the height grows up to which all is proven.
    pace: Pace,
    state: Option<Download>,
    /// Changes on the way to a newer pivot, the last one proven.
    journey: Option<Journey>,
    /// Who brings them.
    guide: Option<PeerId>,
    /// All that is needed to go on, while a fast peer checks the headers before it.
    ready: Option<Ready>,
    /// The blocks above the newest checkpoint.
    tip: Option<Tip>,
}

/// A state that is here, and its root is right.
struct Ready {
    header: Header,
    mmr: Mmr,
    record: ConsensusRecord,
    trie: Trie,
    /// What the headers before it are checked against.
    sets: ProvenSets,
}

/// The accounts of a pivot, and what is needed to go on from it.
struct Download {
    /// The mountain range before the pivot's header.
    mmr: Mmr,
    /// The record of the pivot.
    record: ConsensusRecord,
    sync: StateSync,
}

impl Light {
    fn new(strategy: Strategy, proven: Proven, header: Header, now: Mono) -> Self {
        let stage = match strategy {
            Strategy::Checkpoint(hash) => Stage::Anchor(hash),
            _ => Stage::Proof,
        };
        Self {
            strategy,
            stage,
            start: proven.clone(),
            proven,
            header,
            fragments: Vec::new(),
            acted: false,
            unlinked: None,
            servers: BTreeMap::new(),
            asking: None,
            busy: false,
            patience: PATIENCE_MIN_MILLIS,
            next_status: now,
            heard: None,
            moved: now,
            pace: Pace::default(),
            state: None,
            journey: None,
            guide: None,
            ready: None,
            tip: None,
        }
    }

    /// Whether every header before the state is being checked.
    pub(super) fn is_checking_headers(&self) -> bool {
        self.stage == Stage::Headers
    }

    /// Whether a header can be one of the chain, by what is proven of its authorities.
    pub(super) fn admits(&self, header: &Header) -> bool {
        self.ready.as_ref().is_some_and(|ready| ready.sets.admit(header))
    }

    /// A peer brought headers.
    pub(super) fn headers_came(&mut self, peer: &PeerId, now: Mono) {
        self.advance(peer, now);
    }

    /// What was proven turned out to be no chain.
    pub(super) fn refuse(&mut self) {
        self.stage = Stage::Refused;
        (self.state, self.journey, self.ready) = (None, None, None);
        (self.tip, self.unlinked) = (None, None);
    }

    /// The newest header known to be final.
    pub(super) const fn header(&self) -> &Header {
        &self.header
    }

    /// The same, unless what proved it turned out to be false.
    pub(super) fn believed(&self) -> Option<&Header> {
        (self.stage != Stage::Refused).then_some(&self.header)
    }

    /// What is known to be final.
    pub(super) const fn proven(&self) -> &Proven {
        &self.proven
    }

    fn status_came(&mut self, peer: PeerId, status: &SyncStatus, now: Mono) {
        let server = self.servers.entry(peer).or_default();
        (server.finalised, server.height) = (status.finalised.height, status.height);
        self.heard.get_or_insert(now);
        if let Some(Download { sync, .. }) = &mut self.state {
            sync.add_peer(peer);
        }
    }

    fn remove_peer(&mut self, peer: &PeerId) {
        self.servers.remove(peer);
        if self.asking.is_some_and(|asking| asking.peer == *peer) {
            self.lose_answer();
        }
        if let Some(Download { sync, .. }) = &mut self.state {
            sync.remove_peer(peer);
        }
    }

    /// Nothing more is expected from whoever was asked last. A journey comes from one peer, so it begins again.
    fn lose_answer(&mut self) {
        (self.asking, self.guide) = (None, None);
        if let (Some(Download { sync, .. }), Some(journey)) = (&self.state, &self.journey) {
            self.journey = Some(Journey::new(checkpoint(sync.pivot()), journey.to()));
        }
    }

    pub(super) fn rest(&mut self, peer: &PeerId, now: Mono) {
        if let Some(server) = self.servers.get_mut(peer) {
            server.failures = (server.failures + 1).min(6);
            server.resting_until = now + (REST_MILLIS << server.failures);
        }
    }

    /// A step forward was made, with this peer's help.
    fn advance(&mut self, peer: &PeerId, now: Mono) {
        self.moved = now;
        self.patience = (self.patience * 7 / 8).max(PATIENCE_MIN_MILLIS);
        if let Some(server) = self.servers.get_mut(peer) {
            server.failures = 0;
        }
    }

    fn give_up_on_stalled(&mut self, now: Mono) {
        if let Some(Asking { peer, since, .. }) = self.asking
            && since + self.patience <= now
        {
            self.lose_answer();
            self.patience = (self.patience * 2).min(PATIENCE_MAX_MILLIS);
            self.rest(&peer, now);
        }
    }

    /// The best claim among peers that could be asked now.
    fn best_claim(&self, now: Mono) -> Option<(Height, PeerId)> {
        let able = self.servers.iter().filter(|(_, server)| !server.other && server.resting_until <= now);
        able.map(|(peer, server)| (server.finalised, *peer)).max_by_key(|(height, _)| *height)
    }

    /// A peer that could be asked about a checkpoint now.
    fn server_of(&self, height: Height, hash: &Hash, now: Mono) -> Option<PeerId> {
        let able = self.servers.iter().find(|(_, server)| {
            server.finalised >= height && server.lacks != Some(*hash) && server.resting_until <= now
        });
        able.map(|(peer, _)| *peer)
    }

    /// Whom to ask for a proof under a checkpoint: whoever has failed least, but for some.
    pub(super) fn prover(&self, height: Height, but: &[PeerId], now: Mono) -> Option<PeerId> {
        let able = self.servers.iter().filter(|(peer, server)| {
            server.finalised >= height && !server.other && server.resting_until <= now && !but.contains(peer)
        });
        able.min_by_key(|(_, server)| server.failures).map(|(peer, _)| *peer)
    }

    /// Whether no peer that claims a checkpoint has what it takes.
    fn nobody_has(&self, height: Height, hash: &Hash) -> bool {
        let mut claim = self.servers.values().filter(|server| server.finalised >= height).peekable();
        claim.peek().is_some() && claim.all(|server| server.lacks == Some(*hash))
    }

    /// Whether enough was heard to believe that nothing newer is final.
    fn is_gathered(&self, now: Mono) -> bool {
        let wait = if self.proven.checkpoint.height.0 == 0 { GATHER_NOTHING_MILLIS } else { GATHER_MILLIS };
        self.servers.len() >= ENOUGH_PEERS || self.heard.is_some_and(|heard| heard + wait <= now)
    }

    /// Whether the headers that are followed run far ahead of the last checkpoint that anybody calls final.
    fn is_stalled(&self) -> bool {
        let known = self.header.height();
        let claimed = self.servers.values().any(|server| !server.other && server.finalised > known);
        !claimed && self.unlinked.is_none() && self.tip_height().0 > known.0.saturating_add(STALLED_AFTER)
    }

    /// Whether the accounts' pivot should move.
    fn wants_newer(&self, now: Mono) -> bool {
        let Some(Download { sync, .. }) = &self.state else { return true };
        let old = sync.pivot().height().0 + OLD_PIVOT;
        sync.is_stranded() || self.best_claim(now).is_some_and(|(height, _)| height.0 >= old)
    }

    /// Takes the steps that need no answer, and says what to ask whom next.
    fn next(&mut self, now: Mono) -> Option<Question> {
        self.give_up_on_stalled(now);
        if self.asking.is_some() || self.busy {
            return None;
        }
        let Checkpoint { height, hash } = self.proven.checkpoint;
        let from = self.newest().checkpoint.height;
        let newer = self.best_claim(now).filter(|(claim, _)| *claim > from);
        let proof = newer.map(|(_, peer)| (peer, LightAsk::Warp, SyncRequest::Warp { from }));
        if self.unlinked.is_some() {
            return proof.or_else(|| self.link_question(now)).or_else(|| self.tip_question(now));
        }
        match self.stage {
            Stage::Refused => None,
            Stage::Headers => self.tip_question(now),
            Stage::Anchor(hash) => {
                let peer = self.server_of(Height(1), &hash, now)?;
                Some((peer, LightAsk::Checkpoint, SyncRequest::Checkpoint { hash }))
            }
            Stage::Proof | Stage::Follow => {
                if proof.is_none() && self.stage == Stage::Proof && self.is_gathered(now) && height.0 > 0 {
                    let stays = self.strategy == Strategy::Light;
                    self.stage = if stays { Stage::Follow } else { Stage::Pivot };
                    self.acted |= stays;
                    return self.next(now);
                }
                if self.stage == Stage::Proof { proof } else { proof.or_else(|| self.tip_question(now)) }
            }
            Stage::Pivot if self.nobody_has(height, &hash) => proof,
            Stage::Pivot => {
                let peer = self.server_of(height, &hash, now)?;
                Some((peer, LightAsk::Pivot(hash), SyncRequest::Pivot { hash }))
            }
            Stage::State => self.next_move(proof, now).or_else(|| self.tip_question(now)),
        }
    }

    /// How the pivot moves, if it should.
    fn next_move(&mut self, proof: Option<Question>, now: Mono) -> Option<Question> {
        let pivot = self.state.as_ref().map(|download| checkpoint(download.sync.pivot()))?;
        if self.journey.is_none() && self.wants_newer(now) {
            if self.proven.checkpoint.height <= pivot.height || proof.is_some() {
                return proof;
            }
            self.journey = Some(Journey::new(pivot, self.proven.checkpoint));
        }
        let journey = self.journey.as_ref()?;
        let to = journey.to();
        let peer = self.guide.or_else(|| self.server_of(to.height, &to.hash, now))?;
        Some((peer, LightAsk::Diffs, SyncRequest::Diffs { from: journey.at(), to }))
    }

    fn next_due(&self, now: Mono) -> Mono {
        let asking = self.asking.iter().map(|asking| asking.since + self.patience);
        let rested = self.servers.values().map(|server| server.resting_until);
        let heard = self
            .heard
            .iter()
            .flat_map(|heard| [GATHER_MILLIS, GATHER_NOTHING_MILLIS].map(|wait| *heard + wait));
        let state = self.state.iter().filter_map(|download| download.sync.next_due(now));
        let stuck = [self.moved + STUCK_MILLIS];
        let dues = asking.chain(rested).chain(heard).chain(state).chain(stuck);
        dues.filter(|due| *due > now).fold(self.next_status, Mono::min)
    }

    fn view(&self, now: Mono, headers: Option<BackfillView>) -> SyncView {
        let height = self.proven.checkpoint.height.0;
        let claimed = self.servers.values().map(|server| server.finalised.0).max().unwrap_or(0).max(height);
        let view = |phase, done, total, rate| {
            let seconds_left = Pace::seconds_left(rate, total - done);
            SyncView { phase, done, total, rate, seconds_left, backfill: None }
        };
        let blocks = |phase| view(phase, height, claimed, self.pace.rate(now));
        match (self.stage, &self.state) {
            (Stage::Headers, _) => {
                let (done, total) = headers.map_or((0, 0), |headers| (headers.done, headers.total));
                view(SyncPhase::Headers, done, total, headers.map_or(0, |headers| headers.rate))
            }
            (Stage::Follow, _) => view(SyncPhase::Light, height, self.tip_height().0.max(height), 0),
            (Stage::State, Some(Download { sync, .. })) => {
                let progress = sync.progress(now);
                view(SyncPhase::State, progress.done, progress.total, progress.rate)
            }
            _ if self.servers.is_empty() => blocks(SyncPhase::Searching),
            _ => blocks(SyncPhase::Proof),
        }
    }
}

/// A header as a checkpoint. Not for the genesis, whose checkpoint has another hash.
fn checkpoint(header: &Header) -> Checkpoint {
    Checkpoint { height: header.height(), hash: header.hash() }
}

impl Chain {
    /// Whether this peer is joining by proof, or stays light.
    pub(in crate::node) const fn is_light(&self) -> bool {
        self.light.is_some()
    }

    pub(super) fn light_status(&mut self, fx: &Effects, peer: PeerId, status: &SyncStatus) {
        if let Some(light) = &mut self.light {
            light.status_came(peer, status, fx.now.mono);
        }
    }

    pub(super) fn light_left(&mut self, peer: &PeerId) {
        if let Some(light) = &mut self.light {
            light.remove_peer(peer);
        }
    }

    pub(super) fn light_due(&self, fx: &Effects) -> Option<Mono> {
        self.light.as_ref().map(|light| light.next_due(fx.now.mono))
    }

    pub(super) fn light_view(&self, now: Mono) -> Option<SyncView> {
        self.light.as_ref().map(|light| light.view(now, self.backfill_view(now)))
    }

    /// Asks for whatever can be asked for now.
    pub(super) fn light_tick(&mut self, fx: &mut Effects) {
        let now = fx.now.mono;
        let Some(light) = &mut self.light else { return };
        if light.next_status <= now {
            light.next_status = now + STATUS_MILLIS.min(CHECKPOINT_INTERVAL * self.genesis.slot_millis / 2);
            self.ask_statuses(fx);
        }
        if self.begin_if_nothing_is_final(fx) {
            return;
        }
        self.link_by_tip(fx);
        let Some(light) = &mut self.light else { return };
        if let Some((peer, ask, request)) = light.next(now) {
            let id = fx.ask(peer, Protocol::Sync, Ask::Light(ask), encode(&request));
            light.asking = Some(Asking { id, peer, since: now });
        }
        if light.journey.is_none()
            && !light.busy
            && let Some(Download { sync, .. }) = &mut light.state
        {
            for (peer, piece) in sync.ask(now) {
                let request = SyncRequest::Range { pivot: piece.pivot, from: piece.from, to: piece.to };
                fx.ask(peer, Protocol::Sync, Ask::Light(LightAsk::Range(piece)), encode(&request));
            }
        }
        self.start_over_if_lost(fx);
        if self.light.as_ref().is_some_and(Light::is_stalled) {
            raise_stalled(fx);
        }
        if let Some(light) = &self.light
            && light.stage != Stage::Refused
            && (light.stage != Stage::Follow || light.unlinked.is_some())
            && !light.servers.is_empty()
            && light.moved + STUCK_MILLIS <= now
        {
            fx.raise(format!("{STUCK_ALARM}; it goes on asking"));
        }
    }
}
