//! A peer's numbers at one moment.

use std::collections::BTreeMap;

use crate::{
    gossip::RelayCounts,
    mempool::PoolCounts,
    node::{BlockCounts, SyncPhase, UpgradeCounts},
    primitives::Held,
};

/// What [`METRICS`](super::METRICS) are read from. The node fills in what it knows, the driver what went over the wire, the shell what is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Peers with a direct connection.
    pub direct_peers: u64,
    /// Peers that are reached through a relay only.
    pub relayed_peers: u64,
    /// Connections, by transport.
    pub connections: BTreeMap<String, u64>,
    /// Peers in the address book that have not answered yet, and that have.
    pub known_peers: [u64; 2],
    /// Files that are here or begun, and the bytes of them that are.
    pub content: [u64; 2],
    /// Addresses at which others can dial this peer, by how that is known.
    pub proven: BTreeMap<&'static str, u64>,
    /// Relays that pass connections on to it.
    pub slots: u64,
    /// What became of attempts to replace circuits by direct connections.
    pub upgrades: UpgradeCounts,
    /// Gossip messages accepted, rejected and ignored.
    pub verdicts: [u64; 3],
    /// Requests that wait for an answer.
    pub asked: u64,
    /// Things refused, by reason.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Misbehaviour of peers, by its name.
    pub offences: BTreeMap<&'static str, u64>,
    /// Alarms that are not over.
    pub alarms: u64,
    /// How much is held of what strangers bring; driver and shell add to it.
    pub held: Vec<Held>,
    /// The chain, when the peer follows one.
    pub chain: Option<ChainSnapshot>,
    /// By the driver: mesh sizes, by topic.
    pub mesh: BTreeMap<String, u64>,
    /// By the driver: gossip, by kind of message.
    pub gossip: BTreeMap<&'static str, GossipTraffic>,
    /// By the driver: requests, by protocol.
    pub requests: BTreeMap<&'static str, RequestTraffic>,
    /// By the shell: bytes on disk.
    pub stored_bytes: Option<u64>,
    /// By a shell that serves TLS: when its certificate ends, in seconds since 1970, and 1 while its files cannot be used, else 0.
    pub certificate: Option<[u64; 2]>,
    /// By a shell that answers STUN: how many questions it has answered.
    pub stun_answers: Option<u64>,
}

/// The numbers of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSnapshot {
    /// The height of the best executed block.
    pub head: u64,
    /// The height of the justified checkpoint.
    pub justified: u64,
    /// The height of the finalised checkpoint.
    pub finalised: u64,
    /// How many authorities are in force.
    pub authorities: u64,
    /// What the peer is doing.
    pub phase: SyncPhase,
    /// Transactions that fit the next block.
    pub pending: u64,
    /// Transactions that wait for an earlier one.
    pub queued: u64,
    /// Bytes of both.
    pub mempool_bytes: u64,
    /// The least fee for 1,000 bytes that the mempool takes.
    pub fee_floor: u64,
    /// What went through the mempool since the start.
    pub pool: PoolCounts,
    /// How announced blocks came to their bodies.
    pub blocks: BlockCounts,
    /// What was said about transactions.
    pub relay: RelayCounts,
    /// Jobs that workers are at.
    pub jobs_running: u64,
    /// Jobs in line.
    pub jobs_waiting: u64,
    /// How long after the start of their slots blocks were executed here.
    pub delays: Delays,
}

/// So many things, of so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub number: u64,
    /// How large together.
    pub bytes: u64,
}

impl Count {
    /// One more, of this size.
    pub fn add(&mut self, bytes: usize) {
        self.number += 1;
        self.bytes += bytes as u64;
    }
}

/// Gossip of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GossipTraffic {
    /// What arrived.
    pub received: Count,
    /// How much of it was new.
    pub new: u64,
    /// What this peer is the author of.
    pub published: Count,
}

impl GossipTraffic {
    /// What arrived and was here already.
    #[must_use]
    pub const fn duplicates(&self) -> u64 {
        self.received.number.saturating_sub(self.new)
    }
}

/// Requests of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestTraffic {
    /// Requests sent.
    pub asked: Count,
    /// Responses received to them.
    pub was_answered: Count,
    /// Requests sent that got none.
    pub failed: u64,
    /// Requests received.
    pub was_asked: Count,
    /// Responses sent to them.
    pub answered: Count,
}

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delays {
    /// How often at most as long as each bound, and longer than the one before.
    pub counts: [u64; Self::BOUNDS.len()],
    /// How often longer than all.
    pub above: u64,
    /// All of it together, in milliseconds.
    pub sum_millis: u64,
}

impl Delays {
    /// The bounds, in milliseconds.
    pub const BOUNDS: [u64; 12] = [25, 50, 100, 150, 200, 300, 500, 750, 1000, 2000, 4000, 8000];

    /// One more.
    pub fn add(&mut self, millis: u64) {
        let bucket = Self::BOUNDS.iter().position(|bound| millis <= *bound);
        *bucket.map_or(&mut self.above, |bucket| &mut self.counts[bucket]) += 1;
        self.sum_millis = self.sum_millis.saturating_add(millis);
    }
}
