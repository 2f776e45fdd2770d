//! The order of what lies ahead: like a heap, but most of what waits is not looked at until its day has come.
//!
//! A calendar queue (Brown, 1988) of days of about a millisecond. What is due today stands in a small heap, what comes in the next seconds
//! in a row for each day, in no order, and the little that comes later in a heap of its own. The order is that of one heap.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    mem,
};

use super::event::Micros;

/// When, in which order among those at one time, and where it is kept.
pub(super) type Key = (Micros, u64, u32);

/// A day has 2 to this power microseconds.
const DAY_BITS: u32 = 10;
/// So many days have a row of their own: some four seconds.
const DAYS: u64 = 4_096;

/// See the [module](self).
pub(super) struct Calendar {
    /// All before the first of `days`. It is not empty unless everything is.
    near: BinaryHeap<Reverse<Key>>,
    days: VecDeque<Vec<Key>>,
    /// The number of the first of `days`.
    first: u64,
    /// How many are in `days`.
    in_days: usize,
    later: BinaryHeap<Reverse<Key>>,
}

impl Default for Calendar {
    fn default() -> Self {
        Self {
            near: BinaryHeap::new(),
            days: (0..DAYS).map(|_| Vec::new()).collect(),
            first: 0,
            in_days: 0,
            later: BinaryHeap::new(),
        }
    }
}

impl Calendar {
    pub(super) fn push(&mut self, key: Key) {
        let day = key.0 >> DAY_BITS;
        match day.checked_sub(self.first) {
            None => self.near.push(Reverse(key)),
            Some(ahead) if ahead < DAYS => {
                self.days[ahead as usize].push(key);
                self.in_days += 1;
            }
            Some(_) => self.later.push(Reverse(key)),
        }
        self.turn();
    }

    pub(super) fn first(&self) -> Option<&Key> {
        self.near.peek().map(|Reverse(key)| key)
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        let Reverse(key) = self.near.pop()?;
        self.turn();
        Some(key)
    }

    /// All of it, in order.
    pub(super) fn take_all(&mut self) -> Vec<Key> {
        let Self { near, days, later, .. } = mem::take(self);
        let heaps = near.into_iter().chain(later).map(|Reverse(key)| key);
        let mut all: Vec<Key> = days.into_iter().flatten().chain(heaps).collect();
        all.sort_unstable();
        all
    }

    /// Goes on to the next day on which there is something, unless there is something today.
    fn turn(&mut self) {
        while self.near.is_empty() {
            if self.in_days == 0 {
                let Some(Reverse((at, ..))) = self.later.peek() else { return };
                self.first = at >> DAY_BITS;
            }
            while let Some(Reverse((at, ..))) = self.later.peek()
                && at >> DAY_BITS < self.first + DAYS
            {
                let day = (at >> DAY_BITS) - self.first;
                self.days[day as usize].extend(self.later.pop().map(|Reverse(key)| key));
                self.in_days += 1;
            }
            let mut today = self.days.pop_front().unwrap_or_default();
            self.first += 1;
            self.in_days -= today.len();
            self.near.extend(today.drain(..).map(Reverse));
            // Its room is used again.
            self.days.push_back(today);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_one_heap() {
        let (mut calendar, mut heap) = (Calendar::default(), BinaryHeap::new());
        let (mut lot, mut now) = (1_u64, 0);
        for sequence in 0..200_000_u64 {
            lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // At once, soon, in some seconds, in a minute; and a while in which nothing new comes.
            let ahead = [0, 300, 90_000, 9_000_000, 60_000_000][(lot >> 40) as usize % 5];
            if sequence % 20_000 < 11_000 {
                let key = (now + (lot >> 20) % (ahead + 1), sequence, 0);
                calendar.push(key);
                heap.push(Reverse(key));
            }
            if lot >> 63 == 0 || sequence % 20_000 >= 11_000 {
                assert_eq!(calendar.first(), heap.peek().map(|Reverse(key)| key));
                let next = heap.pop().map(|Reverse(key)| key);
                assert_eq!(calendar.pop(), next);
                now = next.map_or(now, |(at, ..)| at);
            }
        }
        let rest = heap.into_sorted_vec().into_iter().rev().map(|Reverse(key)| key);
        assert_eq!(calendar.take_all(), rest.collect::<Vec<_>>());
        assert_eq!(calendar.pop(), None);
    }
}
