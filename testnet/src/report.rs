//! What a run came to: as a table, as JSON, and as plots.

mod plot;

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    fs, io,
    path::Path,
};

use serde::Serialize;
use weft_core::{node::Role, primitives::Hash};

use crate::{
    measure::{Histogram, Measure, Quantiles, Spread},
    play::Submitted,
    scenario::{Expectations, Scenario},
};

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was measured.
    pub report: Report,
    /// Expectations that were not met, in words; empty when all were.
    pub failures: Vec<String>,
}

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
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// The fingerprint of everything that happened; the same seed gives the same. None of real peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Hash>,
    /// Where gossip comes from, in words: which model, or real programs.
    pub gossip: String,
    /// What the bytes are, in words.
    pub bytes_are: String,
    /// What the scenario asks for and this run did not do, in words.
    pub not_reproduced: Vec<String>,
    /// The number of peers.
    pub peers: usize,
    /// Seconds, virtual ones in a simulation.
    pub seconds: u64,
    /// From a block's publication to the first copy of it, where that can be seen.
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
    /// Penalties of severity mid or above that peers gave each other, by offence; not known of real peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub penalties: Option<BTreeMap<&'static str, u64>>,
    /// What was sent, by kind.
    pub bytes: BTreeMap<&'static str, Bytes>,
    /// Bytes sent, mean of the peers of a role.
    pub bytes_by_role: BTreeMap<&'static str, f64>,
    /// What only a simulation counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelCounts>,
    /// What was done to real peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveCounts>,
    /// How blocks and transactions spread over time, for plots.
    #[serde(skip)]
    pub(crate) curves: Curves,
}

/// What only a simulation counts: of its model of gossipsub, and of what nodes did with announced blocks.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ModelCounts {
    /// Messages asked for after IHAVE, and those that then came.
    pub fetched: (u64, u64),
    /// Copies spared by IDONTWANT.
    pub spared: u64,
    /// Blocks that were announced to peers, in the lives that these had at the end.
    pub announcements: u64,
    /// Those whose bodies were put together from what was there.
    pub rebuilt_at_once: u64,
    /// Those that took a round trip for what was missing.
    pub rebuilt_after_round_trip: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Curves {
    blocks: Histogram,
    first_copies: Histogram,
    transactions: Histogram,
}

/// What was done to real peers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LiveCounts {
    /// How often a program or a browser was started.
    pub starts: u64,
    /// Connections that were closed to disconnect peers or to cut them off.
    pub closed: u64,
}

/// What a kind of peer is called in reports.
pub(crate) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Relay => "relay",
        Role::Native => "native",
        Role::Browser => "browser",
    }
}

impl Report {
    /// What everything that runs scenarios tells in the same way. `finalised` is what each running peer calls final at
    /// the end.
    pub(crate) fn of(
        scenario: &Scenario,
        measured: &Measure,
        submitted: Submitted,
        finalised: &[u64],
    ) -> Self {
        let delivery = |spread: Spread, each: &Histogram| {
            let last = spread.everyone.quantiles();
            Delivery { count: spread.count, delivered: spread.delivered, each: each.quantiles(), last }
        };
        Self {
            scenario: scenario.name.clone(),
            seed: scenario.seed,
            peers: scenario.count(),
            seconds: scenario.seconds,
            first_copy: measured.first_copy.quantiles(),
            blocks: delivery(measured.blocks(), &measured.block),
            transactions: delivery(measured.transactions(), &measured.transaction),
            first_with_block: measured.with_block,
            accepted: submitted.accepted,
            refused: submitted.refused,
            not_submitted: submitted.skipped,
            finality: measured.finality.quantiles(),
            finalised: (
                finalised.iter().copied().min().unwrap_or(0),
                finalised.iter().copied().max().unwrap_or(0),
            ),
            pool_p50: measured.pool.quantile(0.5),
            pool_max: measured.pool.quantile(1.0),
            curves: Curves {
                blocks: measured.block.clone(),
                first_copies: measured.first_copy.clone(),
                transactions: measured.transaction.clone(),
            },
            ..Self::default()
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
        if let (Some(most), Some(penalties)) = (expect.penalties, &self.penalties)
            && penalties.values().sum::<u64>() > most
        {
            failures.push(format!("peers gave each other penalties of severity mid or above: {penalties:?}"));
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

/// Means by role, of what each peer in turn sent.
pub(crate) fn mean_by_role(scenario: &Scenario, sent: impl Fn(usize) -> u64) -> BTreeMap<&'static str, f64> {
    let mut sums: BTreeMap<&'static str, (f64, f64)> = BTreeMap::new();
    for (index, group) in scenario.groups().enumerate() {
        let (sum, count) = sums.entry(role_name(group.role)).or_default();
        *sum += sent(index) as f64;
        *count += 1.0;
    }
    sums.into_iter().map(|(role, (sum, count))| (role, sum / count)).collect()
}

impl Bytes {
    /// Of what each peer sent: messages and bytes.
    pub(crate) fn of(sent: impl Iterator<Item = (u64, u64)>) -> Self {
        let (mut sum, mut peers) = (Self::default(), 0_usize);
        for (messages, bytes) in sent {
            sum.messages += messages;
            sum.bytes += bytes;
            sum.most_of_a_peer = sum.most_of_a_peer.max(bytes);
            peers += 1;
        }
        sum.mean_a_peer = sum.bytes as f64 / peers.max(1) as f64;
        sum
    }
}

impl fmt::Display for Report {
    /// The table for a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} peers, {} s, seed {}", self.scenario, self.peers, self.seconds, self.seed)?;
        writeln!(f, "gossip is {}", self.gossip)?;
        for what in &self.not_reproduced {
            writeln!(f, "not reproduced: {what}")?;
        }
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
        if let Some(penalties) = &self.penalties {
            let sum: u64 = penalties.values().sum();
            writeln!(f, "penalties of severity mid or above: {sum} {penalties:?}")?;
        }
        writeln!(f, "bytes are {}", self.bytes_are)?;
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
        write!(f, "further copies of a message:{line}")?;
        if let Some(model) = self.model {
            let (wanted, came) = model.fetched;
            write!(
                f,
                "; spared by IDONTWANT {}\nasked for after IHAVE {wanted}, of which came {came}\n\
                 bodies put together at once {} of {}, after a round trip {}",
                model.spared, model.rebuilt_at_once, model.announcements, model.rebuilt_after_round_trip
            )?;
        }
        if let Some(LiveCounts { starts, closed }) = self.live {
            write!(f, "\nstarted {starts} programs and browsers, closed {closed} connections")?;
        }
        self.trace.map_or(Ok(()), |trace| write!(f, "\ntrace {trace}"))
    }
}
