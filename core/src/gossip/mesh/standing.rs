//! One peer's score, computed as gossipsub's specification does.

use std::collections::BTreeMap;

use super::ScoreParameters;
use crate::gossip::Topic;

/// What is counted of one peer, in virtual time: the specification's peer score without what Weft switches off (P3, P6). The
/// library keeps its own; this is the simulator's, and what the properties of the parameters are tested on.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    topics: BTreeMap<Topic, Counters>,
    lapses: f64,
    points: f64,
}

#[derive(Clone, Debug, Default)]
struct Counters {
    /// Milliseconds in the mesh, while it is.
    in_mesh: Option<u64>,
    first: f64,
    invalid: f64,
}

impl Standing {
    /// The peer is in the mesh of a topic from now on.
    pub fn grafted(&mut self, topic: &Topic) {
        self.on(topic).in_mesh = Some(0);
    }

    /// It is no more.
    pub fn pruned(&mut self, topic: &Topic) {
        self.on(topic).in_mesh = None;
    }

    /// It was the first to deliver a valid message.
    pub fn delivered(&mut self, topic: &Topic, parameters: &ScoreParameters) {
        let cap = parameters.topic(topic).first_cap;
        let counters = self.on(topic);
        counters.first = (counters.first + 1.0).min(cap);
    }

    /// It delivered an invalid message.
    pub fn failed(&mut self, topic: &Topic) {
        self.on(topic).invalid += 1.0;
    }

    /// It broke a promise or grafted out of turn.
    pub fn lapsed(&mut self) {
        self.lapses += 1.0;
    }

    /// The ledger's score of it is this many points, at most 0.
    pub fn judged(&mut self, points: i32) {
        self.points = f64::from(points);
    }

    /// A tick has passed.
    pub fn tick(&mut self, parameters: &ScoreParameters) {
        let decayed = |value: f64, decay: f64| {
            let value = value * decay;
            if value < parameters.zero { 0.0 } else { value }
        };
        for (topic, counters) in &mut self.topics {
            let score = parameters.topic(topic);
            counters.first = decayed(counters.first, score.first_decay);
            counters.invalid = decayed(counters.invalid, score.invalid_decay);
            if let Some(millis) = &mut counters.in_mesh {
                *millis += parameters.tick_millis;
            }
        }
        self.lapses = decayed(self.lapses, parameters.lapse_decay);
    }

    /// The score.
    #[must_use]
    pub fn score(&self, parameters: &ScoreParameters) -> f64 {
        let mut sum = 0.0;
        for (topic, counters) in &self.topics {
            let score = parameters.topic(topic);
            let quanta = counters.in_mesh.unwrap_or(0) as f64 / score.in_mesh_quantum_millis as f64;
            sum += score.weight
                * (quanta.min(score.in_mesh_cap) * score.in_mesh_weight
                    + counters.first.min(score.first_cap) * score.first_weight
                    + counters.invalid * counters.invalid * score.invalid_weight);
        }
        let lapses = (self.lapses - parameters.lapses_tolerated).max(0.0);
        sum.min(parameters.topic_cap)
            + self.points * parameters.application_weight
            + lapses * lapses * parameters.lapse_weight
    }

    fn on(&mut self, topic: &Topic) -> &mut Counters {
        self.topics.entry(topic.clone()).or_default()
    }
}
