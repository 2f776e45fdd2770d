//! What the score is made of.

use super::MeshParameters;
use crate::{chain::CHECKPOINT_INTERVAL, gossip::Topic};

/// The library decays its counters no more often than this, in milliseconds.
const MIN_TICK_MILLIS: u64 = 1000;

/// A counter this small is none. A counter that decays "in n ticks" falls to this part of itself in n ticks.
const ZERO: f64 = 0.01;

/// What a topic of weight 1 gives a peer that has been in the mesh for [`IN_MESH_MILLIS`] (P1).
const MAX_IN_MESH: f64 = 10.0;
/// What it gives one that delivers messages first, at twice the rate of the average neighbour (P2).
const MAX_FIRST: f64 = 40.0;

/// After how long in the mesh there is no more to gain by staying: an hour.
const IN_MESH_MILLIS: u64 = 60 * 60 * 1000;

/// Weights of the topics, 1 together. Blocks matter most. Nobody waits for evidence.
const BLOCK_WEIGHT: f64 = 0.5;
const VOTE_WEIGHT: f64 = 0.4;
const EVIDENCE_WEIGHT: f64 = 0.1;
/// Talk gives nothing, or a peer could talk itself into a good standing; the weight only scales what spam costs.
const CHAT_WEIGHT: f64 = 0.05;

/// Ticks in which first deliveries are forgotten: of blocks, one a slot; of votes, a burst each 16 slots; of evidence, rare.
const BLOCK_TICKS: u64 = 20 * CHECKPOINT_INTERVAL;
const VOTE_TICKS: u64 = 10 * CHECKPOINT_INTERVAL;
const EVIDENCE_TICKS: u64 = 100 * CHECKPOINT_INTERVAL;
/// Ticks in which an invalid message is forgotten.
const INVALID_TICKS: u64 = 100 * CHECKPOINT_INTERVAL;
/// Ticks in which a broken promise or a graft out of turn is forgotten (P7).
const LAPSE_TICKS: u64 = 10 * CHECKPOINT_INTERVAL;

/// Lapses at a time that cost nothing: a tab that was hidden for a while breaks some promises.
const LAPSES_TOLERATED: f64 = 6.0;
/// Lapses a tick, on and on, that end at the gossip threshold.
const LAPSE_RATE: f64 = 1.0 / 3.0;

/// Below these a peer is told no ids and not believed any, is sent no messages of one's own, is not listened to.
const GOSSIP_THRESHOLD: f64 = -4_000.0;
const PUBLISH_THRESHOLD: f64 = -8_000.0;
const GRAYLIST_THRESHOLD: f64 = -16_000.0;

/// The points of the ledger at which the gossip threshold is reached: one offence of the highest grade. At twice as many
/// the ledger disconnects, and there the publish threshold is.
const POINTS_AT_GOSSIP_THRESHOLD: f64 = 10.0;

/// What gossipsub thinks of a peer, in numbers: derived from the slot time and the size of the committee, after Lighthouse's
/// derivation for Ethereum (`gossipsub_scoring_parameters.rs`).
///
/// Time is counted in *ticks* of a slot, but at least a second. A counter that decays in `n` ticks is multiplied by `0.01^(1/n)` at
/// each. A counter that grows by `r` a tick converges to `r / (1 - decay)`.
///
/// - **P1, time in the mesh**: in units of a slot, capped at an hour's worth, where it gives 10.
/// - **P2, first deliveries**: a mesh of `D` shares the expected rate `r`, so the average neighbour is first with `r / D` a tick.
///   The cap is what twice that converges to, and gives 40. With `D = 6` a neighbour that is always first is there in an eleventh of
///   the decay time. A message expected less often than it is forgotten has the cap 1.
/// - **P3, missing deliveries**: off, always. It takes silence for a fault, and a chain whose authorities are silent would have its peers prune each
///   other, when they need each other most. A neighbour that delivers nothing earns no P2 and gives way to one that
///   does, by opportunistic grafting.
/// - **P4, invalid messages**: the counter squared. One costs what all topics together can give at most, 50. So one invalid message
///   undoes the best standing, 9 go below the gossip threshold, 13 below the publish threshold, 18 below the graylist threshold,
///   whatever the peer has earned.
/// - **P5, the ledger's score**: 10 points are the gossip threshold. Credit from topics set against it is capped at half of what there is.
/// - **P6, peers behind one address**: off, since the library cannot see relays and would take all tabs of one for one.
/// - **P7, lapses** (promises broken, grafts out of turn): six at a time are free; one each third tick, on and on, converges to the gossip
///   threshold.
///
/// A score never disconnects anybody: that is the ledger's business, and the ledger hears of every invalid message by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreParameters {
    /// The time between two decays, in milliseconds.
    pub tick_millis: u64,
    /// Counters below this are none.
    pub zero: f64,
    /// For how long a peer that left with a bad score is remembered, in milliseconds: as long as an invalid message is.
    pub retain_millis: u64,
    /// The most that topics may give together.
    pub topic_cap: f64,
    /// What a point of the ledger's score counts (P5); the score is never positive.
    pub application_weight: f64,
    /// What the square of the lapses above those tolerated counts (P7).
    pub lapse_weight: f64,
    /// Lapses that cost nothing.
    pub lapses_tolerated: f64,
    /// By what they are multiplied at each tick.
    pub lapse_decay: f64,
    /// Below this, ids are neither told to a peer nor believed.
    pub gossip_threshold: f64,
    /// Below this, own messages are not sent to it.
    pub publish_threshold: f64,
    /// Below this, nothing it says is heard.
    pub graylist_threshold: f64,
    /// A mesh whose median is below this gets new neighbours: a tenth of what there is to earn.
    pub opportunity_threshold: f64,
    block: TopicScore,
    vote: TopicScore,
    evidence: TopicScore,
    /// What counts in each chat room.
    pub chat: TopicScore,
}

/// What a peer's doings on one topic count.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicScore {
    /// By what the sum for the topic is multiplied.
    pub weight: f64,
    /// What a quantum in the mesh counts (P1).
    pub in_mesh_weight: f64,
    /// The quantum, in milliseconds.
    pub in_mesh_quantum_millis: u64,
    /// The most quanta that count.
    pub in_mesh_cap: f64,
    /// What a first delivery counts (P2).
    pub first_weight: f64,
    /// By what their number is multiplied at each tick.
    pub first_decay: f64,
    /// The most that count.
    pub first_cap: f64,
    /// What the square of the invalid messages counts (P4).
    pub invalid_weight: f64,
    /// By what their number is multiplied at each tick.
    pub invalid_decay: f64,
}

impl ScoreParameters {
    /// The parameters for a chain with slots of so many milliseconds and so many authorities, in a mesh of this size. A peer that follows
    /// no chain gives any; only its chat topics count.
    ///
    /// A peer derives them once, from its genesis, and not again when the authorities change; only votes depend on their number. Where they
    /// have become more, a neighbour reaches the cap of first deliveries of votes (P2) sooner, where they have become fewer, later or never. What
    /// can be earned stays the same, and nothing that costs a peer depends on it.
    #[must_use]
    pub fn derive(slot_millis: u64, committee: usize, mesh: &MeshParameters) -> Self {
        let slot_millis = slot_millis.max(1);
        let tick_millis = slot_millis.max(MIN_TICK_MILLIS);
        let slots_per_tick = tick_millis as f64 / slot_millis as f64;
        let neighbours = mesh.target as f64;
        let max_positive = (MAX_IN_MESH + MAX_FIRST) * (BLOCK_WEIGHT + VOTE_WEIGHT + EVIDENCE_WEIGHT);

        let earning = |weight: f64, each_slot: f64, ticks: u64| {
            let in_mesh_cap = (IN_MESH_MILLIS as f64 / slot_millis as f64).max(1.0);
            let first_decay = decay(ticks);
            let rate = each_slot * slots_per_tick;
            let first_cap = converged(2.0 * rate / neighbours, first_decay).max(1.0);
            TopicScore {
                weight,
                in_mesh_weight: MAX_IN_MESH / in_mesh_cap,
                in_mesh_quantum_millis: slot_millis,
                in_mesh_cap,
                first_weight: MAX_FIRST / first_cap,
                first_decay,
                first_cap,
                invalid_weight: -max_positive / weight,
                invalid_decay: decay(INVALID_TICKS),
            }
        };
        let votes_each_slot = committee.max(1) as f64 / CHECKPOINT_INTERVAL as f64;
        let lapse_decay = decay(LAPSE_TICKS);
        let excess = converged(LAPSE_RATE, lapse_decay) - LAPSES_TOLERATED;
        Self {
            tick_millis,
            zero: ZERO,
            retain_millis: INVALID_TICKS * tick_millis,
            topic_cap: max_positive / 2.0,
            application_weight: -GOSSIP_THRESHOLD / POINTS_AT_GOSSIP_THRESHOLD,
            lapse_weight: GOSSIP_THRESHOLD / (excess * excess),
            lapses_tolerated: LAPSES_TOLERATED,
            lapse_decay,
            gossip_threshold: GOSSIP_THRESHOLD,
            publish_threshold: PUBLISH_THRESHOLD,
            graylist_threshold: GRAYLIST_THRESHOLD,
            opportunity_threshold: max_positive / 10.0,
            block: earning(BLOCK_WEIGHT, 1.0, BLOCK_TICKS),
            vote: earning(VOTE_WEIGHT, votes_each_slot, VOTE_TICKS),
            evidence: earning(EVIDENCE_WEIGHT, 1.0 / EVIDENCE_TICKS as f64, EVIDENCE_TICKS),
            chat: TopicScore {
                in_mesh_weight: 0.0,
                first_weight: 0.0,
                ..earning(CHAT_WEIGHT, 1.0, BLOCK_TICKS)
            },
        }
    }

    /// What counts on a topic.
    #[must_use]
    pub const fn topic(&self, topic: &Topic) -> &TopicScore {
        match topic {
            Topic::Block => &self.block,
            Topic::Vote => &self.vote,
            Topic::Evidence => &self.evidence,
            Topic::Chat(_) => &self.chat,
        }
    }
}

/// The factor that brings a counter to nothing in so many ticks.
fn decay(ticks: u64) -> f64 {
    ZERO.powf(1.0 / ticks as f64)
}

/// What a counter converges to that grows by `rate` a tick.
fn converged(rate: f64, decay: f64) -> f64 {
    rate / (1.0 - decay)
}
