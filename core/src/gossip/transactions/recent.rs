//! Bounded memory of transaction ids, the oldest forgotten first.

use std::collections::{BTreeSet, VecDeque};

use crate::primitives::{Hash, Mono};

/// The last ids that were added, up to a capacity.
#[derive(Debug)]
pub(super) struct Recent {
    capacity: usize,
    ids: BTreeSet<Hash>,
    /// The same ids with the time each was added, the oldest first.
    added: VecDeque<(Mono, Hash)>,
}

impl Recent {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, ids: BTreeSet::new(), added: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.added.len()
    }

    pub(super) fn contains(&self, id: &Hash) -> bool {
        self.ids.contains(id)
    }

    /// Adds an id; one that is there already keeps its age.
    pub(super) fn add(&mut self, id: Hash, now: Mono) {
        if self.ids.insert(id) {
            self.added.push_back((now, id));
            if self.added.len() > self.capacity {
                self.forget_oldest();
            }
        }
    }

    /// Forgets all ids that were added before `time`.
    pub(super) fn forget_before(&mut self, time: Mono) {
        while self.added.front().is_some_and(|(added, _)| *added < time) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.added.pop_front() {
            self.ids.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_oldest_are_forgotten_past_the_capacity_and_with_age() {
        let id = |byte| Hash([byte; 32]);
        let mut recent = Recent::new(3);
        for (byte, time) in [(1, 10), (2, 20), (1, 25), (3, 30), (4, 40)] {
            recent.add(id(byte), Mono(time));
        }
        let held = |recent: &Recent| (1..5).filter(|byte| recent.contains(&id(*byte))).collect::<Vec<_>>();
        assert_eq!(held(&recent), [2, 3, 4]);
        recent.forget_before(Mono(30));
        assert_eq!(held(&recent), [3, 4]);
        assert_eq!((recent.ids.len(), recent.added.len()), (2, 2));
    }
}
