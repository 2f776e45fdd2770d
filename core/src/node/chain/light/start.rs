//! How joining begins, what of it is written down, and how it ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Download, Light, Ready, STUCK_ALARM, Stage};
use crate::{
    chain::{ConsensusRecord, Genesis, Header, Mmr},
    finality::BlockTree,
    node::{
        chain::{
            Chain,
            pivots::{Pivot, Pivots},
            storage,
        },
        effects::Effects,
    },
    primitives::{Hash, Height},
    state::Trie,
    store::{Batch, SCHEMA},
    sync::{Proven, ProvenSets, Strategy},
};

/// The row of a peer that joins by proof, until the state is installed. It begins as
/// [`Meta`](super::super::storage) does.
#[derive(BorshSerialize, BorshDeserialize)]
pub(in crate::node::chain) struct Begun {
    schema: u32,
    genesis: Hash,
    /// The newest checkpoint known to be final, and its header.
    proven: Proven,
    header: Header,
    /// The person's checkpoint, or zeros.
    anchor: Hash,
}

impl Begun {
    pub(in crate::node::chain) const fn genesis(&self) -> Hash {
        self.genesis
    }
}

impl Light {
    /// Begins to join, or goes on: a peer that stays light does from what it has proven, others prove it afresh, so that they can
    /// hand on the whole proof. What was downloaded of a state is removed.
    pub(in crate::node::chain) fn open(
        strategy: Strategy,
        genesis: &Genesis,
        header: &Header,
        begun: Option<Begun>,
        fx: &mut Effects,
    ) -> Self {
        let mut batch = Batch::default();
        storage::remove_leaves(&*fx.store, &mut batch);
        if !batch.is_empty() {
            fx.apply(batch);
        }
        let now = fx.now.mono;
        let mut light = Self::new(strategy, Proven::genesis(genesis), header.clone(), now);
        if let Some(begun) = begun.filter(|begun| begun.anchor == anchor(strategy))
            && strategy == Strategy::Light
        {
            light.start = begun.proven.clone();
            (light.proven, light.header, light.acted) = (begun.proven, begun.header, true);
        }
        if storage::halted(&*fx.store).is_some() {
            light.refuse();
        }
        light
    }
}

fn anchor(strategy: Strategy) -> Hash {
    match strategy {
        Strategy::Checkpoint(hash) => hash,
        _ => Hash::ZERO,
    }
}

impl Chain {
    /// Writes down what is proven.
    pub(super) fn remember_proven(&self, fx: &mut Effects) {
        let Some(light) = &self.light else { return };
        let begun = Begun {
            schema: SCHEMA,
            genesis: self.id,
            proven: light.proven.clone(),
            header: light.header.clone(),
            anchor: anchor(light.strategy),
        };
        let mut batch = Batch::default();
        storage::put_begun(&mut batch, &begun);
        fx.apply(batch);
    }

    /// A chain on which nothing is final yet is short: it is executed from its genesis on. Returns whether that is so.
    pub(super) fn begin_if_nothing_is_final(&mut self, fx: &mut Effects) -> bool {
        let Some(light) = &self.light else { return false };
        let joins = !matches!(light.strategy, Strategy::Light | Strategy::Checkpoint(_));
        let nothing = light.proven.checkpoint.height.0 == 0
            && light.asking.is_none()
            && !light.busy
            && light.servers.values().all(|server| server.finalised.0 == 0);
        if !joins || !nothing || !light.is_gathered(fx.now.mono) {
            return false;
        }
        tracing::info!("nothing is final on this chain yet: it is executed from the genesis on");
        storage::write_genesis(&self.genesis, fx);
        self.begin_to_follow(fx);
        true
    }

    /// When no peer knows the way from the pivot to a newer one, and none serves it any more, what is here is of no use.
    pub(super) fn start_over_if_lost(&mut self, fx: &mut Effects) {
        let Some(light) = &mut self.light else { return };
        let Some(Download { sync, .. }) = &light.state else { return };
        let Some(journey) = light.journey.as_ref().filter(|_| !light.busy && sync.is_stranded()) else {
            return;
        };
        let to = journey.to();
        if light.nobody_has(to.height, &to.hash) {
            fx.refuse("pivot-lost");
            self.start_over(fx);
        }
    }

    /// Downloads the state from the beginning, at the newest checkpoint proven.
    fn start_over(&mut self, fx: &mut Effects) {
        let Some(light) = &mut self.light else { return };
        (light.state, light.journey, light.guide) = (None, None, None);
        light.stage = Stage::Proof;
        for server in light.servers.values_mut() {
            server.lacks = None;
        }
        let mut batch = Batch::default();
        storage::remove_leaves(&*fx.store, &mut batch);
        fx.apply(batch);
    }

    /// If all accounts are here, they must be those of the pivot; then the peer goes on from there as any other, a fast one
    /// once it has all headers before it.
    pub(super) fn install_if_complete(&mut self, fx: &mut Effects) {
        let Some(light) = &mut self.light else { return };
        let Some(Download { mmr, record, sync }) =
            light.state.take_if(|download| download.sync.is_complete() && !light.busy)
        else {
            return;
        };
        let (header, trie) = (sync.pivot().clone(), sync.have().clone());
        if trie.root() != header.content.state_root {
            // Every range and every change was proven, so this is our own doing.
            tracing::warn!(height = %header.height(), "the downloaded accounts do not add up to the state root");
            fx.refuse("state-root");
            self.start_over(fx);
            return;
        }
        tracing::info!(height = %header.height(), "the state is downloaded");
        if light.strategy == Strategy::Fast {
            let sets = ProvenSets::new(&light.start.record, &light.fragments);
            self.begin_checked_backfill(fx, &header);
            let Some(light) = &mut self.light else { return };
            light.stage = Stage::Headers;
            light.ready = Some(Ready { header, mmr, record, trie, sets });
            if self.backfill.is_none() {
                self.headers_are_checked(fx);
            }
        } else {
            self.install(fx, header, &mmr, record, trie);
        }
    }

    /// All headers before the state of a fast peer are here, and right.
    pub(in crate::node::chain) fn headers_are_checked(&mut self, fx: &mut Effects) {
        let ready = self.light.as_mut().and_then(|light| light.ready.take());
        if let Some(Ready { header, mmr, record, trie, .. }) = ready {
            self.install(fx, header, &mmr, record, trie);
        }
    }

    fn install(&mut self, fx: &mut Effects, header: Header, mmr: &Mmr, record: ConsensusRecord, trie: Trie) {
        let Some(light) = &self.light else { return };
        let hash = header.hash();
        let mut batch = Batch::default();
        storage::put_base(&mut batch, self.id, &header, mmr, &record);
        self.joined = storage::Joined {
            oldest: Height(header.height().0.saturating_add(1)),
            proven_from: light.start.checkpoint.height,
        };
        storage::put_joined(&mut batch, &self.joined);
        let pivot = Pivot { header: header.clone(), mmr: mmr.clone(), trie: Some(trie.clone()) };
        let fragments = light.fragments.iter().filter(|it| it.checkpoint.height() <= header.height());
        self.pivots = Pivots::joined(&mut batch, &light.start.record, fragments, pivot, &record);
        self.begin_backfill(fx, &mut batch, &header);
        fx.apply(batch);
        self.tree = BlockTree::new(header, mmr.clone(), Arc::new(record));
        self.tries = BTreeMap::from([(hash, trie)]);
        self.diffs.clear();
        self.written = BTreeSet::from([hash]);
        self.begin_to_follow(fx);
    }

    fn begin_to_follow(&mut self, fx: &mut Effects) {
        self.light = None;
        self.starting = false;
        fx.lower(STUCK_ALARM);
        self.download.replan();
        self.pool_grows_up(fx);
        self.notify_sync(fx);
    }
}
