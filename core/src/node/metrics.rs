//! What is measured of a running peer, as one table, and the table as text that Prometheus reads.
//!
//! A row of [`METRICS`] is all there is to a metric: its name, what it counts, in words, and how it is read from a [`Snapshot`].
//! [`render`] writes them in the OpenMetrics text format 1.0. To add one, add a row; a test demands that the
//! dashboard in `docs/grafana.json` shows it.

mod snapshot;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

pub use snapshot::{ChainSnapshot, Count, Delays, GossipTraffic, RequestTraffic, Snapshot};

use super::{SyncPhase, Verdict};
use crate::gossip::{RelayCounts, TxBytes};

/// The content type of what [`render`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at the start of the peer.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often a value fell below each of several bounds.
    Histogram,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name; its last word is the unit, but for counters, whose samples add `_total`.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts, in words.
    pub help: &'static str,
    /// The labels of its samples, in order.
    pub labels: &'static [&'static str],
    read: fn(&Snapshot, &mut Samples<'_>),
}

/// The samples of one metric, as they are written.
struct Samples<'a> {
    metric: &'a Metric,
    text: &'a mut String,
}

impl Samples<'_> {
    fn add(&mut self, labels: &[&str], value: u64) {
        let suffix = if self.metric.kind == Kind::Counter { "_total" } else { "" };
        self.line(suffix, labels, None, &value.to_string());
    }

    fn chain(&mut self, snapshot: &Snapshot, read: fn(&ChainSnapshot) -> u64) {
        if let Some(chain) = &snapshot.chain {
            self.add(&[], read(chain));
        }
    }

    fn histogram(&mut self, delays: &Delays) {
        let mut sum = 0;
        for (bound, count) in Delays::BOUNDS.iter().zip(&delays.counts) {
            sum += count;
            self.line("_bucket", &[], Some(&seconds(*bound)), &sum.to_string());
        }
        sum += delays.above;
        self.line("_bucket", &[], Some("+Inf"), &sum.to_string());
        self.line("_sum", &[], None, &seconds(delays.sum_millis));
        self.line("_count", &[], None, &sum.to_string());
    }

    fn line(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: &str) {
        self.text.push_str(self.metric.name);
        self.text.push_str(suffix);
        let names = self.metric.labels.iter().copied().zip(labels.iter().copied());
        let mut before = '{';
        for (name, value) in names.chain(bound.map(|bound| ("le", bound))) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            // Writing to a string does not fail.
            let _ = write!(self.text, "{before}{name}=\"{value}\"");
            before = ',';
        }
        if before == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// Milliseconds as seconds with a decimal point.
fn seconds(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

/// All metrics of this snapshot, in the OpenMetrics text format.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for metric in &METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let (name, help) = (metric.name, metric.help);
        let unit = name.rsplit('_').next().unwrap_or(name);
        let _ = write!(text, "# TYPE {name} {kind}\n# UNIT {name} {unit}\n# HELP {name} {help}\n");
        (metric.read)(snapshot, &mut Samples { metric, text: &mut text });
    }
    text.push_str("# EOF\n");
    text
}

/// Every metric there is.
pub static METRICS: [Metric; 48] = [
    Metric {
        name: "weft_connected_peers",
        kind: Kind::Gauge,
        help: "Peers connected, by the best link there is to each: direct, or through a relay only.",
        labels: &["link"],
        read: |s, out| {
            out.add(&["direct"], s.direct_peers);
            out.add(&["relayed"], s.relayed_peers);
        },
    },
    Metric {
        name: "weft_open_connections",
        kind: Kind::Gauge,
        help: "Connections open, by transport.",
        labels: &["transport"],
        read: |s, out| s.connections.iter().for_each(|(transport, count)| out.add(&[transport], *count)),
    },
    Metric {
        name: "weft_proven_addresses",
        kind: Kind::Gauge,
        help: "Addresses at which others can dial this peer, by how that is known.",
        labels: &["by"],
        read: |s, out| s.proven.iter().for_each(|(by, count)| out.add(&[by], *count)),
    },
    Metric {
        name: "weft_held_slots",
        kind: Kind::Gauge,
        help: "Relays that pass connections on to this peer.",
        labels: &[],
        read: |s, out| out.add(&[], s.slots),
    },
    Metric {
        name: "weft_circuit_upgrades",
        kind: Kind::Counter,
        help: "Attempts to replace a connection through a relay by a direct one, by what became of them.",
        labels: &["outcome"],
        read: |s, out| {
            out.add(&["succeeded"], s.upgrades.succeeded);
            out.add(&["failed"], s.upgrades.failed);
        },
    },
    Metric {
        name: "weft_address_book_peers",
        kind: Kind::Gauge,
        help: "Peers in the address book: new ones, which we have only heard of, and tried ones, which have answered.",
        labels: &["state"],
        read: |s, out| {
            out.add(&["new"], s.known_peers[0]);
            out.add(&["tried"], s.known_peers[1]);
        },
    },
    Metric {
        name: "weft_gossip_mesh_peers",
        kind: Kind::Gauge,
        help: "Peers in the mesh of a topic.",
        labels: &["topic"],
        read: |s, out| s.mesh.iter().for_each(|(topic, count)| out.add(&[topic], *count)),
    },
    Metric {
        name: "weft_gossip_received_messages",
        kind: Kind::Counter,
        help: "Gossip messages that arrived, duplicates among them.",
        labels: &["kind"],
        read: |s, out| each(&s.gossip, out, |traffic| traffic.received.number),
    },
    Metric {
        name: "weft_gossip_duplicate_messages",
        kind: Kind::Counter,
        help: "Gossip messages that arrived and were here already.",
        labels: &["kind"],
        read: |s, out| each(&s.gossip, out, GossipTraffic::duplicates),
    },
    Metric {
        name: "weft_gossip_received_bytes",
        kind: Kind::Counter,
        help: "Bytes of gossip messages that arrived, without what gossipsub adds to them.",
        labels: &["kind"],
        read: |s, out| each(&s.gossip, out, |traffic| traffic.received.bytes),
    },
    Metric {
        name: "weft_gossip_published_messages",
        kind: Kind::Counter,
        help: "Gossip messages that this peer is the author of.",
        labels: &["kind"],
        read: |s, out| each(&s.gossip, out, |traffic| traffic.published.number),
    },
    Metric {
        name: "weft_gossip_published_bytes",
        kind: Kind::Counter,
        help: "Bytes of gossip messages that this peer is the author of, each counted once.",
        labels: &["kind"],
        read: |s, out| each(&s.gossip, out, |traffic| traffic.published.bytes),
    },
    Metric {
        name: "weft_gossip_verdict_messages",
        kind: Kind::Counter,
        help: "Gossip messages judged: accepted and passed on, rejected with blame, or ignored.",
        labels: &["verdict"],
        read: |s, out| {
            for (verdict, name) in
                [(Verdict::Accept, "accept"), (Verdict::Reject, "reject"), (Verdict::Ignore, "ignore")]
            {
                out.add(&[name], s.verdicts[verdict as usize]);
            }
        },
    },
    Metric {
        name: "weft_request_sent_messages",
        kind: Kind::Counter,
        help: "Requests and responses sent, by protocol.",
        labels: &["protocol", "part"],
        read: |s, out| parts(s, out, |traffic| [traffic.asked.number, traffic.answered.number]),
    },
    Metric {
        name: "weft_request_sent_bytes",
        kind: Kind::Counter,
        help: "Bytes of requests and responses sent, by protocol.",
        labels: &["protocol", "part"],
        read: |s, out| parts(s, out, |traffic| [traffic.asked.bytes, traffic.answered.bytes]),
    },
    Metric {
        name: "weft_request_received_messages",
        kind: Kind::Counter,
        help: "Requests and responses received, by protocol.",
        labels: &["protocol", "part"],
        read: |s, out| parts(s, out, |traffic| [traffic.was_asked.number, traffic.was_answered.number]),
    },
    Metric {
        name: "weft_request_received_bytes",
        kind: Kind::Counter,
        help: "Bytes of requests and responses received, by protocol.",
        labels: &["protocol", "part"],
        read: |s, out| parts(s, out, |traffic| [traffic.was_asked.bytes, traffic.was_answered.bytes]),
    },
    Metric {
        name: "weft_request_failures",
        kind: Kind::Counter,
        help: "Requests that ended without an answer, by protocol.",
        labels: &["protocol"],
        read: |s, out| each(&s.requests, out, |traffic| traffic.failed),
    },
    Metric {
        name: "weft_request_waiting_answers",
        kind: Kind::Gauge,
        help: "Requests of this peer that wait for an answer.",
        labels: &[],
        read: |s, out| out.add(&[], s.asked),
    },
    Metric {
        name: "weft_content_files",
        kind: Kind::Gauge,
        help: "Files named by their content that are here or begun.",
        labels: &[],
        read: |s, out| out.add(&[], s.content[0]),
    },
    Metric {
        name: "weft_content_bytes",
        kind: Kind::Gauge,
        help: "Bytes of such files that are here.",
        labels: &[],
        read: |s, out| out.add(&[], s.content[1]),
    },
    Metric {
        name: "weft_held_items",
        kind: Kind::Gauge,
        help: "How much is held of what strangers bring; where each of them has a limit, of whoever has most.",
        labels: &["what"],
        read: |s, out| s.held.iter().for_each(|held| out.add(&[held.what], held.count as u64)),
    },
    Metric {
        name: "weft_limit_items",
        kind: Kind::Gauge,
        help: "How much of it there may be.",
        labels: &["what"],
        read: |s, out| s.held.iter().for_each(|held| out.add(&[held.what], held.limit as u64)),
    },
    Metric {
        name: "weft_refused_items",
        kind: Kind::Counter,
        help: "Things from outside that were refused, by reason.",
        labels: &["reason"],
        read: |s, out| s.refusals.iter().for_each(|(reason, count)| out.add(&[reason], *count)),
    },
    Metric {
        name: "weft_peer_offences",
        kind: Kind::Counter,
        help: "Misbehaviour of peers, by what it was.",
        labels: &["offence"],
        read: |s, out| s.offences.iter().for_each(|(offence, count)| out.add(&[offence], *count)),
    },
    Metric {
        name: "weft_active_alarms",
        kind: Kind::Gauge,
        help: "Things that are wrong and that a person should know.",
        labels: &[],
        read: |s, out| out.add(&[], s.alarms),
    },
    Metric {
        name: "weft_chain_head_height",
        kind: Kind::Gauge,
        help: "The height of the best executed block.",
        labels: &[],
        read: |s, out| out.chain(s, |chain| chain.head),
    },
    Metric {
        name: "weft_chain_justified_height",
        kind: Kind::Gauge,
        help: "The height of the justified checkpoint.",
        labels: &[],
        read: |s, out| out.chain(s, |chain| chain.justified),
    },
    Metric {
        name: "weft_chain_finalised_height",
        kind: Kind::Gauge,
        help: "The height of the finalised checkpoint.",
        labels: &[],
        read: |s, out| out.chain(s, |chain| chain.finalised),
    },
    Metric {
        name: "weft_chain_authorities",
        kind: Kind::Gauge,
        help: "Authorities in force.",
        labels: &[],
        read: |s, out| out.chain(s, |chain| chain.authorities),
    },
    Metric {
        name: "weft_chain_sync_phase",
        kind: Kind::Gauge,
        help: "1 for the phase of synchronisation the peer is in, 0 for the others.",
        labels: &["phase"],
        read: |s, out| {
            if let Some(chain) = &s.chain {
                PHASES.iter().for_each(|(phase, name)| out.add(&[name], u64::from(*phase == chain.phase)));
            }
        },
    },
    Metric {
        name: "weft_chain_block_delay_seconds",
        kind: Kind::Histogram,
        help: "From the start of a block's slot until it was executed here, while the peer follows the chain.",
        labels: &[],
        read: |s, out| {
            if let Some(chain) = &s.chain {
                out.histogram(&chain.delays);
            }
        },
    },
    Metric {
        name: "weft_block_rebuilt_blocks",
        kind: Kind::Counter,
        help: "Announced blocks, by how their bodies came: put together at once, after a round trip, or left to download.",
        labels: &["outcome"],
        read: |s, out| {
            if let Some(ChainSnapshot { blocks, .. }) = &s.chain {
                out.add(&["at-once"], blocks.at_once);
                out.add(&["after-round-trip"], blocks.after_round_trip);
                out.add(&["fell-back"], blocks.fell_back);
            }
        },
    },
    Metric {
        name: "weft_block_announced_transactions",
        kind: Kind::Counter,
        help: "Transactions of announced blocks: sent along, found here, or missing.",
        labels: &["state"],
        read: |s, out| {
            if let Some(ChainSnapshot { blocks, .. }) = &s.chain {
                out.add(&["prefilled"], blocks.prefilled);
                out.add(&["found"], blocks.found);
                out.add(&["missing"], blocks.missing);
            }
        },
    },
    Metric {
        name: "weft_relay_handled_transactions",
        kind: Kind::Counter,
        help: "Transactions that were pushed, announced, asked for and fetched, each counted for each peer.",
        labels: &["event"],
        read: |s, out| {
            if let Some(ChainSnapshot { relay, .. }) = &s.chain {
                out.add(&["received"], relay.received);
                out.add(&["duplicate"], relay.duplicates);
                out.add(&["pushed"], relay.pushed);
                out.add(&["announced"], relay.announced);
                out.add(&["unsent"], relay.unsent);
                out.add(&["heard"], relay.heard);
                out.add(&["asked"], relay.asked);
                out.add(&["fetched"], relay.fetched);
                out.add(&["undelivered"], relay.undelivered);
                out.add(&["served"], relay.served);
            }
        },
    },
    Metric {
        name: "weft_relay_sent_bytes",
        kind: Kind::Counter,
        help: "Bytes of requests and responses about transactions sent, by kind of message.",
        labels: &["kind"],
        read: |s, out| relayed(s, out, |relay| &relay.bytes_sent),
    },
    Metric {
        name: "weft_relay_received_bytes",
        kind: Kind::Counter,
        help: "Bytes of requests and responses about transactions received, by kind of message.",
        labels: &["kind"],
        read: |s, out| relayed(s, out, |relay| &relay.bytes_received),
    },
    Metric {
        name: "weft_relay_compared_sketches",
        kind: Kind::Counter,
        help: "Sketches of mempools compared with a peer's, by whether the difference came out.",
        labels: &["outcome"],
        read: |s, out| {
            if let Some(ChainSnapshot { relay, .. }) = &s.chain {
                out.add(&["decoded"], relay.sketches_decoded);
                out.add(&["failed"], relay.sketches_failed);
            }
        },
    },
    Metric {
        name: "weft_mempool_waiting_transactions",
        kind: Kind::Gauge,
        help: "Transactions in the mempool: pending ones fit the next block, queued ones wait for an earlier one.",
        labels: &["state"],
        read: |s, out| {
            if let Some(chain) = &s.chain {
                out.add(&["pending"], chain.pending);
                out.add(&["queued"], chain.queued);
            }
        },
    },
    Metric {
        name: "weft_mempool_held_bytes",
        kind: Kind::Gauge,
        help: "Bytes of all transactions in the mempool.",
        labels: &[],
        read: |s, out| out.chain(s, |chain| chain.mempool_bytes),
    },
    Metric {
        name: "weft_mempool_moved_transactions",
        kind: Kind::Counter,
        help: "Transactions that came into the mempool or left it, by why.",
        labels: &["event"],
        read: |s, out| {
            if let Some(ChainSnapshot { pool, .. }) = &s.chain {
                out.add(&["admitted"], pool.admitted);
                out.add(&["replaced"], pool.replaced);
                out.add(&["evicted"], pool.evicted);
                out.add(&["expired"], pool.expired);
                out.add(&["settled"], pool.settled);
            }
        },
    },
    Metric {
        name: "weft_mempool_floor_units",
        kind: Kind::Gauge,
        help: "The least fee for 1,000 bytes of a transaction that the mempool takes; it rises while there is no room.",
        labels: &[],
        read: |s, out| out.chain(s, |chain| chain.fee_floor),
    },
    Metric {
        name: "weft_work_running_jobs",
        kind: Kind::Gauge,
        help: "Jobs that workers are at.",
        labels: &[],
        read: |s, out| out.chain(s, |chain| chain.jobs_running),
    },
    Metric {
        name: "weft_work_waiting_jobs",
        kind: Kind::Gauge,
        help: "Jobs that wait for a worker.",
        labels: &[],
        read: |s, out| out.chain(s, |chain| chain.jobs_waiting),
    },
    Metric {
        name: "weft_disk_used_bytes",
        kind: Kind::Gauge,
        help: "Bytes on disk of the chain and all that belongs to it; missing where nothing is kept.",
        labels: &[],
        read: |s, out| s.stored_bytes.iter().for_each(|bytes| out.add(&[], *bytes)),
    },
    Metric {
        name: "weft_certificate_expiry_seconds",
        kind: Kind::Gauge,
        help: "When the certificate for https and wss ends, in seconds since 1970; missing where there is none.",
        labels: &[],
        read: |s, out| s.certificate.iter().for_each(|[until, _]| out.add(&[], *until)),
    },
    Metric {
        name: "weft_certificate_refused_files",
        kind: Kind::Gauge,
        help: "1 while the files of the certificate cannot be used and the last good one is in use; missing where there is none.",
        labels: &[],
        read: |s, out| s.certificate.iter().for_each(|[_, refused]| out.add(&[], *refused)),
    },
    Metric {
        name: "weft_stun_answers",
        kind: Kind::Counter,
        help: "Questions by STUN that were answered; missing where none are.",
        labels: &[],
        read: |s, out| s.stun_answers.iter().for_each(|count| out.add(&[], *count)),
    },
];

/// Every phase, with its name in JSON.
const PHASES: [(SyncPhase, &str); 8] = [
    (SyncPhase::Starting, "starting"),
    (SyncPhase::Searching, "searching"),
    (SyncPhase::Proof, "proof"),
    (SyncPhase::State, "state"),
    (SyncPhase::Light, "light"),
    (SyncPhase::Headers, "headers"),
    (SyncPhase::Bodies, "bodies"),
    (SyncPhase::Following, "following"),
];

type Traffics<T> = std::collections::BTreeMap<&'static str, T>;

fn each<T>(traffics: &Traffics<T>, out: &mut Samples<'_>, read: impl Fn(&T) -> u64) {
    traffics.iter().for_each(|(name, traffic)| out.add(&[name], read(traffic)));
}

fn relayed(snapshot: &Snapshot, out: &mut Samples<'_>, read: impl Fn(&RelayCounts) -> &TxBytes) {
    if let Some(chain) = &snapshot.chain {
        read(&chain.relay).by_kind().iter().for_each(|(kind, bytes)| out.add(&[kind], *bytes));
    }
}

fn parts(snapshot: &Snapshot, out: &mut Samples<'_>, read: impl Fn(&RequestTraffic) -> [u64; 2]) {
    for (protocol, traffic) in &snapshot.requests {
        let [request, response] = read(traffic);
        out.add(&[protocol, "request"], request);
        out.add(&[protocol, "response"], response);
    }
}
