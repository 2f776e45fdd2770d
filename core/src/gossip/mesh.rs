//! How many neighbours gossip has, and what it thinks of them: gossipsub's parameters, derived in one place.
//!
//! Gossipsub (libp2p's specification, versions 1.0 to 1.2) sends a message in full to the *mesh*, a few neighbours for
//! each topic, tells some others its id once a *heartbeat* (`IHAVE`; they ask with `IWANT`), and keeps a score of
//! everybody. [`MeshParameters`] says how large the mesh is, [`ScoreParameters`] what the score is made of, and
//! [`Standing`] computes it as the specification does. `swarm` gives the numbers to the library, and the simulator to its
//! model of it, so both run with the same.

mod score;
mod standing;
#[cfg(test)]
mod tests;

pub use score::{ScoreParameters, TopicScore};
pub use standing::Standing;

use crate::peers::Role;

/// The size of the mesh and the pace of gossip. Names in parentheses are the specification's.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshParameters {
    /// Neighbours a topic that is rebuilt is given (`D`).
    pub target: usize,
    /// With fewer than these, more are grafted (`D_low`).
    pub low: usize,
    /// With more than these, some are pruned (`D_high`).
    pub high: usize,
    /// Of them, how many at least this peer dialled itself, if it dialled any: nobody can fill a mesh by dialling (`D_out`).
    pub outbound: usize,
    /// When pruning, this many of the best are kept (`D_score`).
    pub best: usize,
    /// Peers outside the mesh that are told ids at each heartbeat, at least (`D_lazy`).
    pub lazy: usize,
    /// The same as a share of all those outside, if that is more.
    pub gossip_factor: f64,
    /// The time between two heartbeats, in milliseconds.
    pub heartbeat_millis: u64,
    /// Heartbeats for which messages are kept, to be asked for (`mcache_len`).
    pub history: usize,
    /// Heartbeats for which their ids are told (`mcache_gossip`).
    pub history_told: usize,
    /// For how long an id is remembered as seen, in milliseconds.
    pub seen_millis: u64,
    /// In how much time whoever told an id has to deliver the message that it was asked for, in milliseconds.
    pub promise_millis: u64,
    /// A message of at least as many bytes is announced to the mesh by `IDONTWANT` as it arrives, so that they need not send it
    /// too.
    pub idontwant_bytes: usize,
    /// Own messages go to everybody on the topic, not to the mesh alone: nobody can keep them from leaving.
    pub flood_publish: bool,
    /// For how long whoever was pruned may not be grafted again, in milliseconds.
    pub prune_backoff_millis: u64,
    /// The same after leaving a topic.
    pub leave_backoff_millis: u64,
    /// Each so many heartbeats, a mesh whose median score is below the threshold gets new neighbours.
    pub opportunity_heartbeats: u64,
    /// How many it gets then.
    pub opportunity_peers: usize,
}

impl MeshParameters {
    /// What fits such a peer.
    ///
    /// - **Size.** Each message comes about `D - 1` times again, so bytes grow with `D`, and hops fall with its logarithm only. On lines
    ///   of 20 Mbit/s a block's copies leave 2 to 3 ms apart, which costs what the hops save: in the simulator the 8, 6 and 12 that
    ///   Ethereum runs with took a fifth more bytes than 6, 5 and 12, and no less time. A most of 9 takes 4 % off the
    ///   bytes and adds as much to the delay. A relay has more room, and for most tabs it is the only neighbour they have: whoever finds
    ///   no place in its mesh hears of a block a heartbeat late. A tab has fewer, since it sends over somebody's home line.
    /// - **Heartbeat.** The specification's second, with as many windows of history. At 700 ms the same ids are told half as often again,
    ///   which was 17 % more control messages, and nothing came sooner, with 5 % of messages lost either.
    /// - **Own messages** of a server or relay go to its mesh. To send them to all of some 16 neighbours keeps a home line busy
    ///   for 40 ms, before the last of them passes on what it got; the half of a hop that this saves is worth less (5 to 8 ms of
    ///   the p99 of blocks). Who would keep a message from leaving has to hold the whole mesh, of which `outbound` were dialled
    ///   from here, and everybody outside, who is told the id a heartbeat later. A tab's few messages are small and its mesh may
    ///   well be one relay's, so they go to everybody.
    ///
    /// - **Under attack.** Whoever starts among many Sybils has hardly anybody else in its meshes at first. Ids are told to everybody
    ///   outside the mesh, which are few: nobody who is connected to one honest peer is kept from a message for longer than a heartbeat
    ///   at each hop. A relay has too many guests for that and tells the specification's quarter. And it looks for better neighbours each
    ///   15 heartbeats, not 60: meshes of Sybils that bring nothing first have honest ones in them again within a minute. With a
    ///   quarter and 60, four Sybils for each honest peer that are there before it starts hold up every block for minutes
    ///   (`weft-testnet attack cold-boot`).
    ///
    /// `docs/BENCHMARKS.md` has the measurements beside the library's defaults.
    #[must_use]
    pub const fn for_role(role: Role) -> Self {
        let (target, low, high) = match role {
            Role::Relay => (16, 12, 32),
            Role::Native => (6, 5, 12),
            Role::Browser => (5, 4, 9),
        };
        Self {
            target,
            low,
            high,
            outbound: 2,
            best: 4,
            lazy: 6,
            gossip_factor: if matches!(role, Role::Relay) { 0.25 } else { 1.0 },
            heartbeat_millis: 1_000,
            history: 5,
            history_told: 3,
            seen_millis: 120_000,
            promise_millis: 3_000,
            idontwant_bytes: 1 << 10,
            flood_publish: matches!(role, Role::Browser),
            prune_backoff_millis: 60_000,
            leave_backoff_millis: 10_000,
            opportunity_heartbeats: 15,
            opportunity_peers: 2,
        }
    }
}
