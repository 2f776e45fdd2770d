//! What a run came to: as a table, as JSON, and as plots.

mod plot;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs, io,
    path::Path,
};

use serde::Serialize;
use weft_core::primitives::Hash;

use super::{
    Histogram, Kind, PeerIx, Quantiles, Spread, World,
    run::{Submitted, role_name},
};
use crate::scenario::{Expectations, GossipKind, Scenario};

/// How something spread.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Delivery {
    /// How many there were.
    pub count: u64,
    /// The share of deliveries that came about, of those to peers that were up at the beginning.
    pub delivered: f64,
    /// Milliseconds to each peer.
    pub each: Quantiles,
    /// Milliseconds to the last peer that got it.
    pub last: Quantiles,
}

/// What went over peers' links, of one kind.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Bytes {
    /// Messages that all peers sent.
    pub messages: u64,
    /// Bytes that all peers sent.
    pub bytes: u64,
    /// Bytes sent, mean of all peers.
    pub mean_a_peer: f64,
    /// Bytes sent by the peer that sent most.
    pub most_of_a_peer: u64,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The fingerprint of everything that happened; the same seed gives the same.
    pub trace: Hash,
    /// How gossip was modelled, in words.
    pub gossip: String,
    /// The number of peers.
    pub peers: usize,
    /// Virtual seconds.
    pub seconds: u64,
    /// From a block's publication to the first copy of it.
    pub first_copy: Quantiles,
    /// From a block's publication to its execution.
    pub blocks: Delivery,
    /// From a transaction's submission to its arrival by the transactions' own protocol.
    pub transactions: Delivery,
    /// Transactions that a peer first had with a block: counted as delivered, and not among the times.
    pub first_with_block: u64,
    /// Transactions accepted by the pools they were submitted to.
    pub accepted: u64,
    /// Transactions refused there.
    pub refused: u64,
    /// Transactions that were due when no account was free to pay.
    pub not_submitted: u64,
    /// From a block's publication until a peer calls it final, for checkpoints.
    pub finality: Quantiles,
    /// The lowest and highest height that a running peer calls final at the end.
    pub finalised: (u64, u64),
    /// Transactions in a pool, looked at every five seconds: the median.
    pub pool_p50: u64,
    /// The most.
    pub pool_max: u64,
    /// How often a peer left a branch.
    pub reorganisations: u64,
    /// The most blocks undone at once.
    pub deepest: u64,
    /// Copies received again for each first one, by kind of gossip.
    pub duplicates: BTreeMap<&'static str, f64>,
    /// What was sent, by kind.
    pub bytes: BTreeMap<&'static str, Bytes>,
    /// Bytes sent, mean of the peers of a role.
    pub bytes_by_role: BTreeMap<&'static str, f64>,
    /// Messages asked for after IHAVE, and those that then came.
    pub fetched: (u64, u64),
    /// Copies spared by IDONTWANT.
    pub spared: u64,
    /// How blocks and transactions spread over time, for plots.
    #[serde(skip)]
    curves: Curves,
}

#[derive(Clone, Debug, Default)]
struct Curves {
    blocks: Histogram,
    first_copies: Histogram,
    transactions: Histogram,
}

const fn gossip_name(kind: GossipKind) -> &'static str {
    match kind {
        GossipKind::Model => "a model of gossipsub v1.2 with Weft's parameters (not the library)",
        GossipKind::Library => "a model of gossipsub v1.2 with rust-libp2p's defaults (not the library)",
        GossipKind::Flood => "a model: flood to every neighbour",
    }
}

impl Report {
    pub(super) fn of(
        scenario: &Scenario,
        world: &World,
        trace: Hash,
        submitted: Submitted,
        finalised: &[u64],
    ) -> Self {
        let peers: Vec<PeerIx> = (0..scenario.count()).map(PeerIx).collect();
        let measured = world.measured();
        let quantiles = |of: Option<&Histogram>| of.map(Histogram::quantiles).unwrap_or_default();
        let delivery = |spread: Option<Spread>, each: Option<&Histogram>| {
            let spread = spread.unwrap_or_default();
            let last = spread.everyone.quantiles();
            Delivery { count: spread.count, delivered: spread.delivered, each: quantiles(each), last }
        };
        let first_copies = measured.map(|it| &it.copies[Kind::Block as usize]);
        let (mut wanted, mut fetched, mut spared, mut reorganisations, mut deepest) = (0, 0, 0, 0, 0);
        for &ix in &peers {
            let counts = world.mesh_counts(ix);
            wanted += counts.wanted;
            fetched += counts.fetched;
            spared += counts.spared;
            let depths = &world.seen(ix).reorganised;
            reorganisations += depths.len() as u64;
            deepest = depths.iter().copied().fold(deepest, u64::max);
        }
        let duplicates = [Kind::Block, Kind::Vote].map(|kind| {
            let (again, first) = world.copies(kind);
            (kind.name(), if first == 0 { 0.0 } else { again as f64 / first as f64 })
        });
        Self {
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            trace,
            gossip: gossip_name(scenario.gossip).to_owned(),
            peers: peers.len(),
            seconds: scenario.seconds,
            first_copy: quantiles(first_copies),
            blocks: delivery(measured.map(|it| it.blocks()), measured.map(|it| &it.block)),
            transactions: delivery(measured.map(|it| it.transactions()), measured.map(|it| &it.transaction)),
            first_with_block: measured.map_or(0, |it| it.with_block),
            accepted: submitted.accepted,
            refused: submitted.refused,
            not_submitted: submitted.skipped,
            finality: quantiles(measured.map(|it| &it.finality)),
            finalised: (
                finalised.iter().copied().min().unwrap_or(0),
                finalised.iter().copied().max().unwrap_or(0),
            ),
            pool_p50: measured.map_or(0, |it| it.pool.quantile(0.5)),
            pool_max: measured.map_or(0, |it| it.pool.quantile(1.0)),
            reorganisations,
            deepest,
            duplicates: duplicates.into_iter().collect(),
            bytes: Kind::ALL
                .into_iter()
                .map(|kind| (kind.name(), bytes(world, &peers, kind)))
                .filter(|(_, bytes)| bytes.messages > 0)
                .collect(),
            bytes_by_role: by_role(scenario, world),
            fetched: (wanted, fetched),
            spared,
            curves: Curves {
                blocks: measured.map(|it| it.block.clone()).unwrap_or_default(),
                first_copies: first_copies.cloned().unwrap_or_default(),
                transactions: measured.map(|it| it.transaction.clone()).unwrap_or_default(),
            },
        }
    }

    /// Expectations that were not met, in words.
    #[must_use]
    pub fn failures(&self, expect: &Expectations) -> Vec<String> {
        let mut failures = Vec::new();
        let (low, high) = self.finalised;
        if expect.finalised_within.is_some_and(|most| high - low > most) {
            failures.push(format!("peers call heights from {low} to {high} final"));
        }
        let shares = [
            ("blocks", self.blocks.delivered, expect.blocks_delivered),
            ("transactions", self.transactions.delivered, expect.transactions_delivered),
        ];
        for (what, share, least) in shares {
            if let Some(least) = least.filter(|least| share < *least) {
                failures.push(format!("{share:.4} of deliveries of {what} came about, not {least}"));
            }
        }
        let times = [
            ("blocks", self.blocks.each.p99, expect.blocks_p99_millis),
            ("transactions", self.transactions.each.p99, expect.transactions_p99_millis),
        ];
        for (what, millis, most) in times {
            if let Some(most) = most.filter(|most| millis > *most) {
                failures
                    .push(format!("99 of 100 deliveries of {what} took up to {millis:.0} ms, not {most}"));
            }
        }
        failures
    }

    /// Writes `report.json` and the plots into a directory, which is made.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        fs::write(directory.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        let title =
            format!("{}, {} peers, seed {}. Gossip: {}", self.scenario, self.peers, self.seed, self.gossip);
        let curves = [
            ("first copy of a block", self.curves.first_copies.cumulative()),
            ("block executed", self.curves.blocks.cumulative()),
            ("transaction", self.curves.transactions.cumulative()),
        ];
        fs::write(directory.join("delivery.svg"), plot::cumulative(&title, &curves))?;
        let bars: Vec<(String, f64)> =
            self.bytes.iter().map(|(kind, it)| ((*kind).to_owned(), it.mean_a_peer / 1000.0)).collect();
        fs::write(directory.join("bytes.svg"), plot::bars(&title, "kB sent by a peer, mean", &bars))?;
        let bars: Vec<(String, f64)> =
            self.duplicates.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        fs::write(directory.join("duplicates.svg"), plot::bars(&title, "further copies of a message", &bars))
    }
}

fn bytes(world: &World, peers: &[PeerIx], kind: Kind) -> Bytes {
    let sent = peers.iter().map(|ix| world.traffic(*ix).sent[kind]);
    let mut sum = Bytes::default();
    for amount in sent {
        sum.messages += amount.messages;
        sum.bytes += amount.bytes;
        sum.most_of_a_peer = sum.most_of_a_peer.max(amount.bytes);
    }
    sum.mean_a_peer = sum.bytes as f64 / peers.len().max(1) as f64;
    sum
}

fn by_role(scenario: &Scenario, world: &World) -> BTreeMap<&'static str, f64> {
    let mut sums: BTreeMap<&'static str, (f64, f64)> = BTreeMap::new();
    for (index, group) in scenario.groups().enumerate() {
        let traffic = world.traffic(PeerIx(index));
        let bytes: u64 = Kind::ALL.into_iter().map(|kind| traffic.sent[kind].bytes).sum();
        let (sum, count) = sums.entry(role_name(group.role)).or_default();
        *sum += bytes as f64;
        *count += 1.0;
    }
    sums.into_iter().map(|(role, (sum, count))| (role, sum / count)).collect()
}

impl fmt::Display for Report {
    /// The table for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} peers, {} s, seed {}", self.scenario, self.peers, self.seconds, self.seed)?;
        writeln!(f, "gossip is {}", self.gossip)?;
        writeln!(f, "{:<34}{:>9}{:>9}{:>9}{:>9}{:>9}", "milliseconds", "count", "p50", "p90", "p99", "max")?;
        let rows = [
            ("block published to first copy", self.first_copy),
            ("block published to executed", self.blocks.each),
            ("block published to last peer", self.blocks.last),
            ("transaction to each peer", self.transactions.each),
            ("transaction to last peer", self.transactions.last),
            ("block published to final", self.finality),
        ];
        for (name, it) in rows.into_iter().filter(|(_, it)| it.count > 0) {
            writeln!(
                f,
                "{name:<34}{:>9}{:>9.0}{:>9.0}{:>9.0}{:>9.0}",
                it.count, it.p50, it.p90, it.p99, it.max
            )?;
        }
        writeln!(
            f,
            "delivered: blocks {:.5} of {}, transactions {:.5} of {} ({} deliveries first with a block)",
            self.blocks.delivered,
            self.blocks.count,
            self.transactions.delivered,
            self.transactions.count,
            self.first_with_block
        )?;
        writeln!(
            f,
            "transactions accepted {}, refused {}, not submitted {}; in a pool: median {}, most {}",
            self.accepted, self.refused, self.not_submitted, self.pool_p50, self.pool_max
        )?;
        writeln!(
            f,
            "final: heights {} to {}; branches left {}, at most {} blocks deep",
            self.finalised.0, self.finalised.1, self.reorganisations, self.deepest
        )?;
        writeln!(f, "{:<34}{:>12}{:>14}{:>14}", "sent", "messages", "kB a peer", "kB at most")?;
        for (kind, it) in &self.bytes {
            let (mean, most) = (it.mean_a_peer / 1000.0, it.most_of_a_peer as f64 / 1000.0);
            writeln!(f, "{kind:<34}{:>12}{mean:>14.1}{most:>14.1}", it.messages)?;
        }
        let mut line = String::new();
        for (role, bytes) in &self.bytes_by_role {
            write!(line, " {role} {:.1}", bytes / 1000.0)?;
        }
        writeln!(f, "kB sent by a peer, by role:{line}")?;
        let mut line = String::new();
        for (kind, count) in &self.duplicates {
            write!(line, " {kind} {count:.2}")?;
        }
        writeln!(f, "further copies of a message:{line}; spared by IDONTWANT {}", self.spared)?;
        writeln!(f, "asked for after IHAVE {}, of which came {}", self.fetched.0, self.fetched.1)?;
        write!(f, "trace {}", self.trace)
    }
}
