//! Which messages one peer has seen.

use std::collections::VecDeque;

use super::{MessageIx, REMEMBER};
use crate::sim::event::Micros;

/// Messages that were seen in the last two minutes. Messages come about in the order in which they are made, so a sorted
/// row beats a tree.
#[derive(Default)]
pub(crate) struct Seen(VecDeque<(MessageIx, Micros)>);

impl Seen {
    /// Notes a message; answers whether it is new.
    pub(crate) fn add(&mut self, index: MessageIx, now: Micros) -> bool {
        while self.0.front().is_some_and(|(_, until)| *until <= now) {
            self.0.pop_front();
        }
        let place = self.0.partition_point(|(other, _)| *other < index);
        match self.0.get_mut(place) {
            Some((other, until)) if *other == index => {
                let fresh = *until <= now;
                *until = now + REMEMBER;
                fresh
            }
            _ => {
                self.0.insert(place, (index, now + REMEMBER));
                true
            }
        }
    }

    /// Whether a message was seen.
    pub(crate) fn has(&self, index: MessageIx, now: Micros) -> bool {
        let found = self.0.binary_search_by_key(&index, |(other, _)| *other);
        found.is_ok_and(|place| self.0[place].1 > now)
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_once_until_it_is_forgotten() {
        let mut seen = Seen::default();
        assert!(seen.add(MessageIx(7), 0) && seen.add(MessageIx(3), 1) && seen.add(MessageIx(9), 2));
        assert!(!seen.add(MessageIx(3), 5) && seen.has(MessageIx(9), 5) && !seen.has(MessageIx(8), 5));
        assert!(seen.add(MessageIx(9), REMEMBER + 3));
        assert!(!seen.add(MessageIx(3), REMEMBER + 4), "it came again since");
    }
}
