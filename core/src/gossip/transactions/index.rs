//! Where what was met is found by eight bytes of its name: one place to look in, where a tree has many.
//!
//! A table with open addresses and linear probing. A peer that relays meets each transaction once with every neighbour, so this is what
//! it does most, and all of it is waiting for memory. Nothing is ever taken out by itself: what the ring of [`Met`](super::met::Met) has
//! forgotten is left behind when the table is made anew, which it is when it has filled up.
//!
//! Where an entry goes is its key multiplied by a secret (Dietzfelbinger and others, 1997): nobody can have many go to one place without
//! knowing it.

use super::met::Serial;

/// The least number of places.
const LEAST: usize = 64;

/// A place that holds no serial yet.
const FREE: Serial = Serial::MAX;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Index {
    /// As many as a power of two.
    places: Vec<(u64, Serial)>,
    used: usize,
    /// Odd.
    secret: u64,
}

impl Index {
    /// An empty one. `secret` is what nobody else knows.
    pub(super) fn new(secret: u64) -> Self {
        Self { places: vec![(0, FREE); LEAST], used: 0, secret: secret | 1 }
    }

    /// What nobody else knows, for another one.
    pub(super) const fn secret(&self) -> u64 {
        self.secret
    }

    /// Adds a serial under a key, which others may have, too. What is before `first` is forgotten.
    pub(super) fn add(&mut self, key: u64, serial: Serial, first: Serial) {
        if self.used >= self.places.len() / 4 * 3 {
            self.renew(first);
        }
        self.put(key, serial);
    }

    /// The serial with this key for which the condition holds.
    pub(super) fn find(&self, key: u64, mut is: impl FnMut(Serial) -> bool) -> Option<Serial> {
        let mut at = self.home(key);
        loop {
            match self.places[at] {
                // There always is a free place.
                (_, FREE) => return None,
                (other, serial) if other == key && is(serial) => return Some(serial),
                _ => at = (at + 1) & (self.places.len() - 1),
            }
        }
    }

    fn put(&mut self, key: u64, serial: Serial) {
        let mut at = self.home(key);
        while self.places[at].1 != FREE {
            at = (at + 1) & (self.places.len() - 1);
        }
        self.places[at] = (key, serial);
        self.used += 1;
    }

    /// Leaves behind what is forgotten. A third of the places are free then at least, and a twelfth can be filled before it is done again.
    fn renew(&mut self, first: Serial) {
        let keep = |(_, serial): &(u64, Serial)| *serial != FREE && *serial >= first;
        let kept = self.places.iter().filter(|place| keep(place)).count();
        let count = (kept + kept / 2 + 1).next_power_of_two().max(LEAST);
        let places = std::mem::replace(&mut self.places, vec![(0, FREE); count]);
        self.used = 0;
        places.into_iter().filter(keep).for_each(|(key, serial)| self.put(key, serial));
    }

    /// Where a key goes first.
    fn home(&self, key: u64) -> usize {
        // The highest bits are those that all bits of the key have a part in.
        (key.wrapping_mul(self.secret) >> (u64::BITS - self.places.len().trailing_zeros())) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn it_finds_what_a_tree_finds_and_takes_no_room_for_what_is_forgotten() {
        for keys in [20, 1 << 40] {
            let mut index = Index::new(0x9e37_79b9_7f4a_7c15);
            let (mut ring, mut tree) = (VecDeque::new(), BTreeMap::new());
            let (mut at, mut first) = (1_u64, 0);
            for serial in 0..20_000 {
                at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let key = (at >> 20) % keys;
                index.add(key, serial, first);
                ring.push_back(key);
                tree.insert((key, serial), ());
                // What is remembered becomes more and less, and nothing for a while.
                let most = [10, 3_000, 200, 0][serial as usize / 2_500 % 4];
                while ring.len() > most {
                    tree.remove(&(ring.pop_front().unwrap(), first));
                    first += 1;
                }
                for key in [key, (at >> 21) % keys, *ring.front().unwrap_or(&0)] {
                    let expected =
                        tree.range((key, 0)..=(key, u64::MAX)).next().map(|((_, serial), ())| *serial);
                    let found = index.find(key, |serial| serial >= first && Some(serial) == expected);
                    assert_eq!(found, expected, "{key} at {serial}");
                    assert_eq!(index.find(key, |serial| serial >= first).is_some(), expected.is_some());
                }
                assert!(index.places.len() <= 8_192);
            }
            assert!(index.places.len() <= 256, "{} places for nothing", index.places.len());
        }
    }

    #[test]
    fn keys_that_differ_in_few_bits_go_to_different_places() {
        for shift in [0, 16, 32, 56] {
            let mut index = Index::new(0xd129_0dd3_67f6_1ab5);
            (0..200_u64).for_each(|number| index.add(number << shift, number, 0));
            let far = (0..200_u64).map(|number| {
                let (home, mask) = (index.home(number << shift), index.places.len() - 1);
                let at = index.places.iter().position(|(_, serial)| *serial == number).unwrap();
                at.wrapping_sub(home) & mask
            });
            assert!(far.max().unwrap() < 40);
        }
    }
}
