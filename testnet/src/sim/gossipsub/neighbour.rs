//! What one peer knows of a neighbour: what it takes part in, and how it behaved.

use weft_core::gossip::{ScoreParameters, Standing};

use crate::sim::{
    event::Micros,
    gossip::{MessageIx, TopicIx},
};

/// How long IDONTWANT is remembered, as in the library.
const UNWANTED_FOR: Micros = 3_000_000;

/// A neighbour.
#[derive(Default)]
pub(crate) struct Neighbour {
    /// What it said it takes part in.
    topics: Vec<TopicIx>,
    pub(super) standing: Standing,
    /// The time since the standing's last tick.
    since_tick: Micros,
    unwanted: Vec<(MessageIx, Micros)>,
    /// IHAVE heard since the last heartbeat.
    pub(super) ihaves: u32,
    /// Ids asked of it since the last heartbeat.
    pub(super) asked: usize,
}

impl Neighbour {
    pub(super) fn takes_part(&self, topic: TopicIx) -> bool {
        self.topics.contains(&topic)
    }

    pub(super) fn joins(&mut self, topic: TopicIx) {
        if !self.takes_part(topic) {
            self.topics.push(topic);
        }
    }

    pub(super) fn leaves(&mut self, topic: TopicIx) {
        self.topics.retain(|other| *other != topic);
    }

    pub(super) fn wants(&self, message: MessageIx, now: Micros) -> bool {
        !self.unwanted.iter().any(|(other, until)| *other == message && *until > now)
    }

    pub(super) fn does_not_want(&mut self, message: MessageIx, now: Micros) {
        self.unwanted.push((message, now + UNWANTED_FOR));
    }

    /// A heartbeat later, which is so long.
    pub(super) fn beat(&mut self, scores: Option<&ScoreParameters>, beat: Micros, now: Micros) {
        self.ihaves = 0;
        self.asked = 0;
        self.unwanted.retain(|(_, until)| *until > now);
        let Some(scores) = scores else { return };
        self.since_tick += beat;
        while self.since_tick >= scores.tick_millis * 1000 {
            self.since_tick -= scores.tick_millis * 1000;
            self.standing.tick(scores);
        }
    }

    /// What it is worth; 0 where nobody is scored.
    pub(super) fn score(&self, scores: Option<&ScoreParameters>) -> f64 {
        scores.map_or(0.0, |scores| self.standing.score(scores))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wanted_is_remembered_for_three_seconds() {
        let mut neighbour = Neighbour::default();
        neighbour.does_not_want(MessageIx(1), 0);
        assert!(!neighbour.wants(MessageIx(1), 2_999_999) && neighbour.wants(MessageIx(2), 1));
        assert!(neighbour.wants(MessageIx(1), 3_000_000));
        neighbour.beat(None, 700_000, 3_000_000);
        assert!(neighbour.unwanted.is_empty());
    }
}
