//! What came of a run: how late blocks were, and who was among whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use weft_core::{
    chain::Genesis,
    node::BlockSummary,
    primitives::{Hash, Slot, Wall},
};

use crate::{COOL_DOWN, SLOT_MILLIS, SLOTS};

/// What the clock shows, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// The slots whose blocks are measured.
pub(crate) struct Window {
    first: u64,
    genesis_time: u64,
}

impl Window {
    /// From the next slot on.
    pub(crate) fn from_next(genesis: &Genesis) -> Self {
        let slot = genesis.slot_at(Wall(now())).unwrap();
        Self { first: slot.0 + 1, genesis_time: genesis.time }
    }

    fn holds(&self, slot: Slot) -> bool {
        (self.first..self.first + SLOTS).contains(&slot.0)
    }

    /// Milliseconds from the begin of a slot to then.
    fn since(&self, slot: Slot, then: u64) -> u64 {
        then.saturating_sub(self.genesis_time + slot.0 * SLOT_MILLIS)
    }

    /// Whether all has arrived that arrives in time.
    pub(crate) fn is_over(&self) -> bool {
        now() >= self.genesis_time + (self.first + SLOTS + COOL_DOWN) * SLOT_MILLIS
    }
}

/// A block, and when it was at whom.
struct Spread {
    slot: Slot,
    /// The number of the validator that made it.
    author: usize,
    /// Milliseconds after the slot's begin, by peer.
    took: BTreeMap<usize, u64>,
}

/// The blocks of a window, and where they came to.
#[derive(Default)]
pub(crate) struct Deliveries {
    honest: usize,
    blocks: BTreeMap<Hash, Spread>,
}

impl Deliveries {
    /// To so many peers, of which the first are the validators.
    pub(crate) fn to(honest: usize) -> Self {
        Self { honest, blocks: BTreeMap::new() }
    }

    /// A peer has executed a block; `author` is who made it.
    pub(crate) fn came(&mut self, window: &Window, peer: usize, block: &BlockSummary, author: usize) {
        if window.holds(block.slot) {
            let spread = || Spread { slot: block.slot, author, took: BTreeMap::new() };
            let took = window.since(block.slot, block.executed_at);
            self.blocks.entry(block.hash).or_insert_with(spread).took.entry(peer).or_insert(took);
        }
    }

    /// Which blocks are not known to be at whom.
    pub(crate) fn outstanding(&self) -> Vec<(usize, Hash)> {
        let lack = |(hash, spread): (&Hash, &Spread)| {
            let lacking = (0..self.honest).filter(|peer| !spread.took.contains_key(peer));
            lacking.map(|peer| (peer, *hash)).collect::<Vec<_>>()
        };
        self.blocks.iter().flat_map(lack).collect()
    }

    /// All deliveries to others than the author, of all blocks or of those of one: milliseconds, the fastest first, and infinite what did
    /// not come in time to be counted.
    fn took(&self, of: Option<usize>) -> Vec<f64> {
        let mut took = Vec::new();
        for spread in self.blocks.values().filter(|spread| of.is_none_or(|author| author == spread.author)) {
            for peer in (0..self.honest).filter(|peer| *peer != spread.author) {
                let came = spread.took.get(&peer).filter(|took| **took <= COOL_DOWN * SLOT_MILLIS);
                took.push(came.map_or(f64::INFINITY, |took| *took as f64));
            }
        }
        took.sort_by(f64::total_cmp);
        took
    }

    /// How many slots have a block.
    fn slots(&self) -> usize {
        self.blocks.values().map(|spread| spread.slot).collect::<BTreeSet<_>>().len()
    }
}

/// The least of these within which such a share of all is.
fn within(took: &[f64], share: f64) -> f64 {
    let rank = (took.len() as f64 * share).ceil() as usize;
    took.get(rank.max(1) - 1).copied().unwrap_or(f64::INFINITY)
}

/// Whom honest peers are among: of each kind the fewest and the most that one has for neighbours, and how many there are in all meshes for
/// blocks.
#[derive(Clone, Copy)]
pub(crate) struct Company {
    pub(crate) honest: (usize, usize),
    pub(crate) sybils: (usize, usize),
    /// The members of all honest peers' meshes, and those among them that are Sybils.
    pub(crate) members: (u64, u64),
    pub(crate) peers: usize,
}

impl fmt::Display for Company {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = |count: u64| count as f64 / self.peers as f64;
        write!(
            f,
            "neighbours: {} to {} honest, {} to {} Sybils; in a mesh on average {:.1}, of them {:.1} Sybils",
            self.honest.0,
            self.honest.1,
            self.sybils.0,
            self.sybils.1,
            mean(self.members.0),
            mean(self.members.1)
        )
    }
}

/// What came of a run.
pub(crate) struct Reading {
    pub(crate) name: &'static str,
    pub(crate) defended: bool,
    pub(crate) company: Company,
    /// How many honest peers another banned, or thinks ill of.
    pub(crate) wronged: usize,
    pub(crate) deliveries: Deliveries,
    /// The number of the validator that is censored.
    pub(crate) censored: Option<usize>,
}

impl Reading {
    pub(crate) const HEAD: &str = "| attack | defence | blocks, slots with one | deliveries | p50, ms | p99, ms | most, ms | later than a slot | never | censored: p99, ms | wronged | neighbours: honest, Sybils | in a mesh: honest, Sybils |\n\
                                   |---|---|---|---|---|---|---|---|---|---|---|---|---|";

    /// Whether the bars are kept.
    pub(crate) fn holds(&self) -> bool {
        let took = self.deliveries.took(None);
        let never = took.iter().any(|took| took.is_infinite());
        within(&took, 0.99) < SLOT_MILLIS as f64 && !never && self.wronged == 0
    }
}

fn millis(millis: f64) -> String {
    if millis.is_finite() { format!("{millis:.0}") } else { "never".to_owned() }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.deliveries.took(None);
        let came = took.iter().filter(|took| took.is_finite());
        let late = came.clone().filter(|took| **took > SLOT_MILLIS as f64).count();
        let most = came.clone().copied().fold(0.0, f64::max);
        let censored = self.censored.map(|author| millis(within(&self.deliveries.took(Some(author)), 0.99)));
        let Company { honest, sybils, members, peers } = self.company;
        let mean = |count: u64| count as f64 / peers as f64;
        write!(
            f,
            "| `{}` | {} | {}, {} of {SLOTS} | {} | {} | {} | {most:.0} | {late} | {} | {} | {} | {}-{}, {}-{} | {:.1}, {:.1} |",
            self.name,
            if self.defended { "on" } else { "off" },
            self.deliveries.blocks.len(),
            self.deliveries.slots(),
            took.len(),
            millis(within(&took, 0.5)),
            millis(within(&took, 0.99)),
            took.len() - came.count(),
            censored.as_deref().unwrap_or("-"),
            self.wronged,
            honest.0,
            honest.1,
            sybils.0,
            sybils.1,
            mean(members.0 - members.1),
            mean(members.1),
        )
    }
}
