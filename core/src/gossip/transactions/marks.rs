//! Which transactions one peer has: a bit for each, since a peer has most of those that are remembered.

use std::collections::VecDeque;

use super::met::Serial;

const BITS: u64 = u64::BITS as u64;

/// A set of serials. It takes room for all between the least and the greatest, of which there are never more than
/// [`MAX_KNOWN`](super::MAX_KNOWN): whoever adds one has it remembered, and what is forgotten is removed.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The number of the first word.
    first: u64,
    words: VecDeque<u64>,
}

impl Marks {
    pub(super) fn insert(&mut self, serial: Serial) {
        let word = serial / BITS;
        if self.words.is_empty() {
            self.first = word;
        }
        while word < self.first {
            self.first -= 1;
            self.words.push_front(0);
        }
        let place = (word - self.first) as usize;
        if place >= self.words.len() {
            self.words.resize(place + 1, 0);
        }
        self.words[place] |= 1 << (serial % BITS);
    }

    pub(super) fn contains(&self, serial: Serial) -> bool {
        self.word(serial).is_some_and(|place| self.words[place] & 1 << (serial % BITS) != 0)
    }

    pub(super) fn remove(&mut self, serial: Serial) {
        if let Some(place) = self.word(serial) {
            self.words[place] &= !(1 << (serial % BITS));
        }
        while self.words.front() == Some(&0) {
            self.words.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn clear(&mut self) {
        self.words.clear();
    }

    /// The place of the word that a serial would be in, if there is one.
    fn word(&self, serial: Serial) -> Option<usize> {
        let place = usize::try_from((serial / BITS).checked_sub(self.first)?).ok()?;
        (place < self.words.len()).then_some(place)
    }

    pub(super) fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn marks_are_a_set_and_take_no_room_for_what_is_forgotten() {
        let (mut marks, mut set) = (Marks::default(), BTreeSet::new());
        let mut at = 1_u64;
        for step in 0..4_000_u64 {
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // A window that moves on, with what leaves it removed.
            let serial = step + (at >> 33) % 500;
            if at & (1 << 20) == 0 {
                marks.insert(serial);
                set.insert(serial);
            } else {
                marks.remove(serial);
                set.remove(&serial);
            }
            marks.remove(step);
            set.remove(&step);
            assert_eq!(
                (marks.contains(serial), marks.len()),
                (set.contains(&serial), set.len()),
                "step {step}"
            );
            assert!(marks.words.len() <= 500 / 64 + 2, "{} words in step {step}", marks.words.len());
        }
        assert!(!set.is_empty() && set.iter().all(|serial| marks.contains(*serial)));
        marks.clear();
        assert!(!marks.contains(3_999) && marks.len() == 0);
        marks.insert(1_000_000);
        marks.insert(999_900);
        assert!(
            marks.contains(1_000_000) && marks.contains(999_900) && !marks.contains(0) && marks.len() == 2
        );
    }
}
