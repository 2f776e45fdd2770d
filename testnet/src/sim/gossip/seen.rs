//! Which messages one peer has seen.

use std::collections::{HashMap, VecDeque};

use super::{MessageIx, REMEMBER};
use crate::sim::event::Micros;

/// Messages that were seen in the last two minutes.
#[derive(Default)]
pub(crate) struct Seen {
    /// Until when each is remembered. Looked up only, so that its order is of no account.
    until: HashMap<MessageIx, Micros>,
    /// When each time ends that a message was to be remembered; it may have come again since.
    ends: VecDeque<(Micros, MessageIx)>,
}

impl Seen {
    /// Notes a message; answers whether it is new.
    pub(crate) fn add(&mut self, index: MessageIx, now: Micros) -> bool {
        while let Some(&(end, old)) = self.ends.front().filter(|(end, _)| *end <= now) {
            self.ends.pop_front();
            if self.until.get(&old).is_some_and(|until| *until == end) {
                self.until.remove(&old);
            } else if let Some(until) = self.until.get(&old) {
                let place = self.ends.partition_point(|(other, _)| other <= until);
                self.ends.insert(place, (*until, old));
            }
        }
        let fresh = self.until.insert(index, now + REMEMBER).is_none();
        if fresh {
            self.ends.push_back((now + REMEMBER, index));
        }
        fresh
    }

    /// Whether a message was seen.
    pub(crate) fn has(&self, index: MessageIx, now: Micros) -> bool {
        self.until.get(&index).is_some_and(|until| *until > now)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
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
        assert!(seen.add(MessageIx(5), 3 * REMEMBER));
        assert_eq!((seen.until.len(), seen.ends.len()), (1, 1), "what is old is gone");
    }
}
