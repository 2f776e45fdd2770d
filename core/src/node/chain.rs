//! The part of a node that follows a chain.
//!
//! Blocks come from gossip and from downloads, and go the same way from there: header into the tree, body checked
//! against it, signatures verified, executed after their parent, archived, and written down. Each step that costs is a
//! job; each that must survive waits for the disk.

mod authority;
mod backfill;
mod blocks;
mod claims;
mod compact;
mod download;
mod finality;
mod gather;
mod held;
mod history;
mod light;
mod lookup;
mod pivots;
mod pool;
mod propose;
mod prune;
mod queries;
mod relay;
mod seek;
mod serve;
mod services;
mod storage;
mod undone;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use libp2p::PeerId;

use super::{
    ArchiveId, CommandId, Config, GossipMessage, InboundId, Prune, StartError, WorkId,
    effects::Effects,
    jobs::{Jobs, Outcome},
    work::JobResult,
};
use crate::{
    chain::{Block, Body, ConsensusRecord, Evidence, Genesis, Header, MmrProver, Transaction, Vote},
    finality::{BlockTree, Certified},
    gossip::{CompactBlock, Intake, OpenedBy, TransactionRelay},
    mempool::{Estimator, Limits, Mempool},
    primitives::{Hash, Height, Mono, PublicKey, Slot, Wall},
    state::{Diff, Executed, Trie},
    store::{ArchiveAnswer, ArchiveFailure, Seq, Store},
    sync::{Backfill, Fragment, Piece, Scheduler, Strategy},
};
use claims::Claims;
use compact::Compact;
pub use compact::{BlockArrival, BlockCounts};
use download::Download;
use finality::Gadget;
use gather::Gatherer;
use light::{Arrival, Candidates, Light};
pub(super) use lookup::Lookup;
use pivots::Pivots;
use propose::Proposer;
use seek::Seek;
use storage::{Joined, Opened};
use undone::Undone;

/// How many blocks below the head bodies and tries stay in memory.
const RECENT_DEPTH: u64 = 64;
/// The most bytes of bodies waiting for execution.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// How the alarm about lost jobs begins; it is over when a job succeeds.
const WORKER_ALARM: &str = "a worker failed twice at the same job";

/// What a job was for.
enum Purpose {
    /// The signature of a gossiped block's header.
    Gossip(GossipMessage, Box<CompactBlock>),
    /// The signatures of headers from before the checkpoint that is joined at.
    OldHeaders(Arc<Vec<Header>>),
    /// The signatures of headers a peer sent, which have these hashes.
    Headers(PeerId, Arc<Vec<Header>>, Vec<Hash>),
    /// The signatures of a body's transactions.
    Signatures(Hash),
    /// The signatures of a body's system items, which yield this record.
    Items(Hash, Arc<ConsensusRecord>),
    /// The signatures of gossiped votes.
    Votes(Vec<(GossipMessage, Vote)>),
    /// The signatures of a proof of finality that a peer was asked for.
    Claim(PeerId, Arc<Vec<Fragment>>),
    /// The signatures of a certificate that may contradict what is final here.
    Contradiction(PeerId, Box<Certified>),
    /// The signatures of gossiped evidence.
    Evidence(GossipMessage, Box<Evidence>),
    /// Executing a block.
    Execute(Hash),
    /// The trie after a block, from the head's and the diffs between.
    Rewind(Hash),
    /// Building our own block on this parent.
    Build(Hash, Slot),
    /// The signatures of transactions for the pool.
    Pool(pool::Candidates),
    /// The trie of the stored head.
    Restore,
    /// The signatures of fragments.
    Warp(Candidates),
    /// The signatures of headers above the newest proven checkpoint.
    Tip(PeerId, Arc<Vec<Header>>, Vec<Hash>),
    /// The proof of a piece of the state.
    Range(PeerId, Piece),
    /// The accounts that are here, with the changes up to a newer pivot.
    Arrival(Box<Arrival>),
    /// The trie of a checkpoint that is served.
    Pivot(Hash),
}

/// What an answer of the archive is for.
enum Archived {
    /// This block is archived, which holds these transactions.
    Block(Hash, Vec<u8>),
    /// Old forks, or old blocks, are gone.
    Forks,
    /// Bodies of blocks that were undone, whose transactions wait again.
    Undone(Undone),
    /// These headers from before the block at which this peer joined are archived.
    OldHeaders(Vec<Header>),
    /// Whether the archive holds what the store says it does.
    Check,
    /// Headers for a peer.
    ServeHeaders(InboundId, PeerId, serve::OldHeaders),
    /// Something else for a peer that needs old headers or one old body.
    Serve(InboundId, PeerId, serve::Old),
    /// Bodies for a peer.
    ServeBodies(InboundId, PeerId),
    /// A block for a person: its header by height.
    ShowHeader(CommandId, Height),
    /// A block for a person: its body.
    ShowBody(CommandId, Box<Header>),
    /// A transaction for a person: the body of the first of the blocks that may hold it.
    ShowTransaction(CommandId, Hash, Vec<(Height, Hash)>),
}

/// A body that is here before its block is executed.
struct Waiting {
    body: Arc<Body>,
    bytes: usize,
    verified: bool,
    /// The record that the block yields, once its system items are known to be right.
    record: Option<Arc<ConsensusRecord>>,
    /// Its system items are being checked, or it is being executed.
    busy: bool,
}

/// A block that is near the head.
#[derive(Clone)]
struct Recent {
    body: Arc<Body>,
    /// When it was executed, or came to a peer that does not execute it.
    executed_at: Wall,
}

/// What happens once a batch is durable.
enum Promise {
    /// Our own block may leave.
    Publish(Box<Block>, Box<Executed>, Arc<ConsensusRecord>),
    /// Our own vote may leave.
    Vote(Box<Vote>),
    /// What we ask for by ballot is written down.
    Wished(CommandId),
    /// Blocks below this height may be forgotten.
    Prune(Height),
    /// Our own transaction is accepted, and may leave.
    Accepted(CommandId, Box<Transaction>),
}

pub(super) struct Chain {
    genesis: Genesis,
    id: Hash,
    tree: BlockTree,
    /// The accounts after blocks near the head.
    tries: BTreeMap<Hash, Trie>,
    /// What executed blocks changed whose rows are not written yet.
    diffs: BTreeMap<Hash, Arc<Diff>>,
    waiting: BTreeMap<Hash, Waiting>,
    recent: BTreeMap<Hash, Recent>,
    /// Executed blocks whose rows are written, after the archive had them.
    written: BTreeSet<Hash>,
    /// Gossiped blocks whose header is being verified, and who sent them.
    verifying: BTreeMap<Hash, PeerId>,
    /// Gossiped blocks of a slot that has not begun.
    held: VecDeque<(Slot, GossipMessage)>,
    /// Announced blocks on the way to their bodies.
    compact: Compact,
    rewinding: BTreeSet<Hash>,
    jobs: Jobs<Purpose>,
    archived: BTreeMap<ArchiveId, Archived>,
    promises: Vec<(Seq, Promise)>,
    mempool: Mempool,
    /// The most bytes that it holds.
    mempool_bytes: usize,
    gatherer: Gatherer,
    estimator: Estimator,
    relay: TransactionRelay,
    scheduler: Scheduler,
    download: Download,
    /// Looks for blocks that gossip does not bring.
    seek: Option<Seek>,
    proposer: Option<Proposer>,
    gadget: Gadget,
    pivots: Pivots,
    claims: Claims,
    /// What proves that a header is final.
    prover: MmrProver,
    /// Own transactions that are written down until they are settled.
    own: BTreeMap<Hash, Transaction>,
    /// Archive reads in flight for each peer.
    serving: BTreeMap<PeerId, usize>,
    /// The stored state is being rebuilt, or there is none yet.
    starting: bool,
    /// How this peer joins the chain, while it does.
    light: Option<Light>,
    /// What it has of the chain before it joined.
    joined: Joined,
    /// How this peer joins, or joined.
    strategy: Strategy,
    /// The headers from before it joined, while they are downloaded.
    backfill: Option<Backfill>,
    /// How much of the past is kept.
    prune: Prune,
    /// Blocks below this height were forgotten since.
    pruned: Height,
    last_mempool_event: Mono,
}

impl Chain {
    pub(super) fn open(config: &Config, genesis: Genesis, fx: &mut Effects) -> Result<Self, StartError> {
        genesis.check()?;
        if config.validator.is_some() && config.strategy == Strategy::Light {
            return Err(StartError::LightValidator);
        }
        let id = genesis.hash();
        let Opened { tree, tries, written, restore, own, light, joined } =
            storage::open(&genesis, config.strategy, fx)?;
        let proposer = config.validator.clone().map(|key| {
            let last_signed = storage::last_signed(&*fx.store, &key.public());
            Proposer::new(key, last_signed)
        });
        let voted = config.validator.as_ref().and_then(|key| storage::last_vote(&*fx.store, &key.public()));
        let gadget = Gadget::open(voted, fx);
        let pivots = Pivots::open(&*fx.store, &tree, tries.get(&tree.base()))?;
        let starting = restore.is_some() || light.is_some();
        let min_fee_rate = genesis.min_fee_per_byte.saturating_mul(1000);
        let intake = match (&light, starting) {
            (Some(_), _) => Intake::Nothing,
            (None, true) => Intake::Later,
            (None, false) => Intake::All,
        };
        let seed = [fx.random(), fx.random()];
        let mut relay = TransactionRelay::new(config.tx_mode, intake, min_fee_rate, seed);
        relay.set_unbounded(config.without.quotas);
        let mut chain = Self {
            id,
            tree,
            tries,
            diffs: BTreeMap::new(),
            waiting: BTreeMap::new(),
            recent: BTreeMap::new(),
            written,
            verifying: BTreeMap::new(),
            held: VecDeque::new(),
            compact: Compact::default(),
            rewinding: BTreeSet::new(),
            jobs: Jobs::new(config.max_jobs),
            archived: BTreeMap::new(),
            promises: Vec::new(),
            mempool: Mempool::new(Limits::new(config.mempool_bytes, genesis.min_fee_per_byte)),
            mempool_bytes: config.mempool_bytes,
            gatherer: Gatherer::default(),
            estimator: Estimator::default(),
            genesis,
            relay,
            scheduler: if config.without.seeking { Scheduler::trusting() } else { Scheduler::default() },
            download: Download::default(),
            seek: (!config.without.seeking).then(Seek::default),
            proposer,
            gadget,
            pivots,
            claims: Claims::default(),
            prover: history::open(&*fx.store)?,
            strategy: config.strategy,
            backfill: if light.is_some() { None } else { backfill::reopen(&*fx.store, config.strategy)? },
            own,
            serving: BTreeMap::new(),
            starting,
            light,
            joined,
            prune: config.prune,
            pruned: storage::pruned(&*fx.store),
            last_mempool_event: Mono::default(),
        };
        if let Some(id) = chain.prune_again(fx) {
            chain.archived.insert(id, Archived::Forks);
        }
        if let Some(job) = restore {
            chain.jobs.urgent(fx, Purpose::Restore, job);
        } else if !chain.starting {
            chain.reinsert_own(fx);
        }
        Ok(chain)
    }

    /// The genesis hash.
    pub(super) const fn id(&self) -> Hash {
        self.id
    }

    /// The last slot this peer's clock has entered; 0 before the genesis time.
    fn slot(&self, fx: &Effects) -> Slot {
        self.genesis.slot_at(fx.now.wall).unwrap_or_default()
    }

    fn head_height(&self) -> Height {
        self.tree.height(&self.tree.head()).expect("the head is in the tree")
    }

    /// Whether everything this peer promises can still be kept.
    fn storage_works(fx: &Effects) -> bool {
        fx.storage_failed.is_none()
    }

    /// A peer is there, over a connection that one of us `opened`.
    pub(super) fn peer_arrived(&mut self, fx: &mut Effects, peer: PeerId, opened: OpenedBy) {
        self.relay.peer_connected(peer, opened, fx.now.mono);
        self.introduce(fx, &peer);
        self.ask_status(fx, peer);
    }

    /// The same over a link on which there are no transactions.
    pub(super) fn peer_arrived_for_blocks(&mut self, fx: &mut Effects, peer: PeerId) {
        self.relay.peer_connected_for_blocks(peer, fx.now.mono);
        self.ask_status(fx, peer);
    }

    /// Transactions are exchanged with a peer from now on.
    pub(super) fn peer_widened(&mut self, fx: &mut Effects, peer: PeerId) {
        self.relay.peer_disconnected(&peer, fx.now.mono);
        // Only peers that this side dialled are for blocks only.
        self.relay.peer_connected(peer, OpenedBy::Us, fx.now.mono);
        self.introduce(fx, &peer);
    }

    pub(super) fn peer_left(&mut self, fx: &Effects, peer: &PeerId) {
        self.relay.peer_disconnected(peer, fx.now.mono);
        self.scheduler.remove(peer);
        self.forget_peer(peer);
        self.light_left(peer);
        if let Some(backfill) = &mut self.backfill {
            backfill.remove_peer(peer);
        }
        self.serving.remove(peer);
    }

    /// Whether a job checks transactions for the mempool, and nothing else.
    pub(super) fn is_for_pool(&self, id: WorkId) -> bool {
        matches!(self.jobs.purpose(id), Some(Purpose::Pool(_)))
    }

    pub(super) fn work_done(&mut self, fx: &mut Effects, id: WorkId, result: JobResult) {
        match self.jobs.done(fx, id, result) {
            Outcome::Done(purpose, result) => {
                fx.lower(WORKER_ALARM);
                self.job_done(fx, purpose, result);
            }
            Outcome::Lost(purpose) => self.job_lost(fx, purpose),
            Outcome::Nothing => {}
        }
    }

    pub(super) fn work_failed(&mut self, fx: &mut Effects, id: WorkId) {
        if let Outcome::Lost(purpose) = self.jobs.failed(fx, id) {
            self.job_lost(fx, purpose);
        }
    }

    fn job_done(&mut self, fx: &mut Effects, purpose: Purpose, result: JobResult) {
        match (purpose, result) {
            (Purpose::Gossip(message, block), JobResult::Verified(valid)) => {
                self.gossiped_header_verified(fx, &message, *block, valid == [true]);
            }
            (Purpose::Headers(peer, headers, hashes), JobResult::Verified(valid)) => {
                self.headers_verified(fx, peer, hashes.into_iter().zip(headers.iter()), &valid);
            }
            (Purpose::OldHeaders(headers), JobResult::Verified(valid)) => {
                self.old_headers_verified(fx, &headers, Some(&valid));
            }
            (Purpose::Signatures(hash), JobResult::Verified(valid)) => {
                self.body_verified(fx, &hash, valid.iter().all(|valid| *valid));
            }
            (Purpose::Items(hash, record), JobResult::Verified(valid)) => {
                self.items_verified(fx, &hash, record, valid.iter().all(|valid| *valid));
            }
            (Purpose::Votes(line), JobResult::Verified(valid)) => self.votes_verified(fx, line, Some(&valid)),
            (Purpose::Evidence(message, evidence), JobResult::Verified(valid)) => {
                self.evidence_verified(fx, &message, *evidence, valid == [true]);
            }
            (Purpose::Claim(peer, fragments), JobResult::Verified(valid)) => {
                self.claim_verified(fx, peer, &fragments, &valid);
            }
            (Purpose::Contradiction(peer, certified), JobResult::Verified(valid)) => {
                self.contradiction_verified(fx, peer, *certified, valid == [true]);
            }
            (Purpose::Execute(hash), JobResult::Executed(outcome)) => self.executed(fx, hash, outcome),
            (Purpose::Rewind(hash), JobResult::Updated(trie)) => self.rewound(fx, hash, trie),
            (Purpose::Build(parent, slot), JobResult::Built(transactions, executed)) => {
                self.built(fx, parent, slot, transactions, executed);
            }
            (Purpose::Pool(candidates), JobResult::Verified(valid)) => {
                self.pool_verified(fx, candidates, &valid);
            }
            (Purpose::Restore, JobResult::Updated(trie)) => self.restored(fx, trie),
            (Purpose::Warp(candidates), JobResult::Verified(valid)) => {
                self.fragments_verified(fx, candidates, Some(&valid));
            }
            (Purpose::Tip(peer, headers, hashes), JobResult::Verified(valid)) => {
                self.tip_headers_verified(fx, peer, hashes.into_iter().zip(headers.iter()), &valid);
            }
            (Purpose::Range(peer, piece), JobResult::Range(outcome)) => {
                self.range_verified(fx, peer, &piece, Some(outcome));
            }
            (Purpose::Arrival(arrival), JobResult::Updated(trie)) => {
                self.arrived_at_pivot(fx, *arrival, Some(trie));
            }
            (Purpose::Pivot(hash), JobResult::Updated(trie)) => self.pivot_rebuilt(fx, &hash, Some(trie)),
            (purpose, _) => self.job_lost(fx, purpose),
        }
    }

    /// A job could not be run, twice. Whatever it was for is forgotten, so that it can be tried afresh.
    fn job_lost(&mut self, fx: &mut Effects, purpose: Purpose) {
        fx.refuse("job-lost");
        fx.raise(format!("{WORKER_ALARM}; the peer goes on without its result"));
        match purpose {
            Purpose::Gossip(message, block) => {
                self.verifying.remove(&block.header.hash());
                fx.judge(message.id, super::Verdict::Ignore);
            }
            Purpose::Headers(peer, ..) => self.headers_lost(fx, &peer),
            Purpose::OldHeaders(headers) => self.old_headers_verified(fx, &headers, None),
            Purpose::Votes(line) => self.votes_verified(fx, line, None),
            Purpose::Evidence(message, _) => fx.judge(message.id, super::Verdict::Ignore),
            Purpose::Signatures(hash) | Purpose::Items(hash, _) | Purpose::Execute(hash) => {
                self.drop_waiting(&hash)
            }
            Purpose::Rewind(hash) => {
                self.rewinding.remove(&hash);
            }
            Purpose::Build(..) => {
                if let Some(proposer) = &mut self.proposer {
                    proposer.building = false;
                }
            }
            Purpose::Claim(..) | Purpose::Contradiction(..) => {}
            Purpose::Pool(candidates) => self.pool_lost(fx, candidates),
            Purpose::Pivot(hash) => self.pivot_rebuilt(fx, &hash, None),
            Purpose::Warp(candidates) => self.fragments_verified(fx, candidates, None),
            Purpose::Tip(..) => self.tip_headers_lost(),
            Purpose::Range(peer, piece) => self.range_verified(fx, peer, &piece, None),
            Purpose::Arrival(arrival) => self.arrived_at_pivot(fx, *arrival, None),
            Purpose::Restore => {
                fx.raise("the stored state could not be rebuilt; restart the peer".to_owned())
            }
        }
    }

    pub(super) fn archive_answered(
        &mut self,
        fx: &mut Effects,
        id: ArchiveId,
        answer: Result<ArchiveAnswer, ArchiveFailure>,
    ) {
        let Some(purpose) = self.archived.remove(&id) else { return };
        let answer = answer.map(ArchiveAnswer::without_empty_bodies);
        match (purpose, answer) {
            (Archived::Block(hash, contents), Ok(ArchiveAnswer::Stored)) => {
                self.block_archived(fx, hash, contents);
            }
            (Archived::OldHeaders(headers), Ok(ArchiveAnswer::Stored)) => {
                self.old_headers_kept(fx, &headers);
            }
            (
                Archived::Block(..) | Archived::Forks | Archived::Check | Archived::OldHeaders(_),
                Err(failure),
            ) => {
                super::storage_failed(fx, failure.0);
            }
            (Archived::Check, Ok(answer)) => Self::archive_checked(fx, &answer),
            (Archived::Undone(undone), answer) => self.undone_read(fx, undone, answer.ok()),
            (Archived::ServeHeaders(id, peer, old), Ok(ArchiveAnswer::Headers(headers))) => {
                self.serve_old_headers(fx, id, peer, old, headers);
            }
            (Archived::ServeBodies(id, peer), Ok(ArchiveAnswer::Bodies(bodies))) => {
                self.serve_bodies(fx, id, &peer, bodies);
            }
            (Archived::ShowHeader(command, height), Ok(ArchiveAnswer::Headers(headers))) => {
                self.show_old_header(fx, command, height, &headers);
            }
            (Archived::ShowBody(command, header), Ok(ArchiveAnswer::Bodies(bodies))) => {
                self.show_body(fx, command, &header, &bodies);
            }
            (Archived::ShowTransaction(command, id, blocks), answer) => {
                self.show_transaction_of(fx, command, id, blocks, answer.ok().as_ref());
            }
            (Archived::Serve(id, peer, old), Ok(answer)) => self.serve_old(fx, id, &peer, old, &answer),
            (
                Archived::ServeHeaders(id, peer, _)
                | Archived::ServeBodies(id, peer)
                | Archived::Serve(id, peer, _),
                _,
            ) => {
                self.served(&peer);
                fx.push(super::Output::Refuse(id));
            }
            (Archived::ShowHeader(command, _) | Archived::ShowBody(command, _), _) => {
                fx.reply(command, Err(super::CommandError::NoSuchBlock));
            }
            (Archived::Block(..) | Archived::Forks | Archived::OldHeaders(_), Ok(_)) => {}
        }
    }

    /// Keeps what was promised, as far as the disk has got.
    pub(super) fn keep_promises(&mut self, fx: &mut Effects) {
        if self.promises.is_empty() {
            return;
        }
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.promises).into_iter().partition(|(seq, _)| fx.is_durable(*seq));
        self.promises = later;
        for (_, promise) in due {
            match promise {
                Promise::Publish(block, executed, record) => self.publish(fx, *block, *executed, record),
                Promise::Vote(vote) => self.publish_vote(fx, *vote),
                Promise::Prune(below) => self.forget_pruned(fx, below),
                Promise::Wished(command) => fx.reply(command, Ok(super::Reply::Done)),
                Promise::Accepted(command, transaction) => self.own_accepted(fx, command, *transaction),
            }
        }
    }

    /// Nothing more can be promised: whoever waits is told so.
    pub(super) fn break_promises(&mut self, fx: &mut Effects, reason: &str) {
        for (_, promise) in std::mem::take(&mut self.promises) {
            if let Promise::Accepted(command, _) | Promise::Wished(command) = promise {
                fx.reply(command, Err(super::CommandError::Storage(reason.to_owned())));
            }
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, fx: &mut Effects) {
        self.release_held(fx);
        self.compact_tick(fx);
        if !self.starting && !self.is_halted() {
            self.propose(fx);
            self.seek_tick(fx);
            self.download(fx);
        }
        self.light_tick(fx);
        self.backfill_tick(fx);
        self.relay_transactions(fx);
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn next_due(&self, fx: &Effects) -> Mono {
        let next_slot = self.genesis.slot_start(Slot(self.slot(fx).0 + 1));
        // A held block may be judged a quarter slot early, and a proposer may have waited half a slot.
        let quarter = self.genesis.slot_millis / 4;
        let wakes =
            [next_slot.0.saturating_sub(2 * quarter), next_slot.0.saturating_sub(quarter), next_slot.0];
        let wake = wakes.into_iter().find(|at| *at > fx.now.wall.0).unwrap_or(fx.now.wall.0 + 1);
        let slot = fx.now.mono + (wake - fx.now.wall.0);
        let runs = !self.starting && !self.is_halted();
        let download = self.download.next_due().filter(|_| runs);
        let seek = self.seek_due(fx).filter(|_| runs);
        let relay = self.relay.poll_timeout();
        let others = [relay, download, seek, self.light_due(fx), self.backfill_due(fx), self.compact_due()];
        others.into_iter().flatten().fold(slot, Mono::min)
    }

    /// The key this peer proposes with.
    fn validator(&self) -> Option<PublicKey> {
        self.proposer.as_ref().map(Proposer::public)
    }
}

/// Reads a row that core wrote itself.
fn row<T: borsh::BorshDeserialize>(
    store: &dyn Store,
    table: crate::store::Table,
    key: &[u8],
) -> Result<Option<T>, StartError> {
    let Some(bytes) = store.get(table, key) else { return Ok(None) };
    let value = crate::primitives::decode(&bytes, usize::MAX);
    value.map(Some).map_err(|error| StartError::Corrupt(format!("a row of {}: {error}", table.0)))
}
