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
mod outcomes;
mod pivots;
mod pool;
mod propose;
mod prune;
mod queries;
mod relay;
mod seek;
mod serve;
mod services;
mod settling;
mod signed;
mod storage;
mod undone;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use libp2p::PeerId;

use super::{ArchiveId, Config, GossipMessage, Prune, StartError, effects::Effects, jobs::Jobs};
use crate::{
    chain::{Body, ConsensusRecord, Genesis, MmrProver, Transaction},
    finality::BlockTree,
    gossip::{Intake, OpenedBy, TransactionRelay},
    mempool::{Estimator, Limits, Mempool},
    primitives::{Hash, Height, Mono, PublicKey, Slot, Wall},
    state::{Diff, Trie},
    store::{Seq, Store},
    sync::{Backfill, Scheduler, Strategy},
};
use claims::Claims;
use compact::Compact;
pub use compact::{BlockArrival, BlockCounts};
use download::Download;
use finality::Gadget;
use gather::Gatherer;
use light::Light;
pub(super) use lookup::Lookup;
use outcomes::{Archived, Purpose};
use pivots::Pivots;
use propose::Proposer;
use seek::Seek;
use settling::{Agenda, Promise};
use storage::{Joined, Opened};

/// How many blocks below the head bodies and tries stay in memory.
const RECENT_DEPTH: u64 = 64;
/// The most bytes of bodies waiting for execution.
const MAX_WAITING_BYTES: usize = 64 << 20;

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
    agenda: Agenda,
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
            let signed = storage::signed(&*fx.store, &key.public());
            Proposer::new(key, signed)
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
            agenda: Agenda::default(),
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
