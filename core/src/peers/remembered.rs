//! What is kept of each peer, or of each host, whether it is connected or not, for as many as there is room for.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use crate::primitives::{Held, Mono};

/// The most peers or hosts of which something is remembered, connected or not: past that, the one heard of longest ago is forgotten. It
/// is more than twice what a relay lets in, so that those who are there are not pushed out by those who come and go.
const MAX_PEERS: usize = 4096;

/// Who was heard of no longer ago than this is not put in another place for it: most are heard of all the time.
const EXACT_MILLIS: u64 = 1_000;

/// A value for each of the 4,096 peers, or whatever `K` names, that were heard of last, to within a second.
#[derive(Debug)]
pub struct Remembered<T, K = PeerId> {
    peers: BTreeMap<K, (Mono, T)>,
    /// The same, by when they were heard of.
    order: BTreeSet<(Mono, K)>,
}

impl<T, K> Default for Remembered<T, K> {
    fn default() -> Self {
        Self { peers: BTreeMap::new(), order: BTreeSet::new() }
    }
}

impl<T, K: Copy + Ord> Remembered<T, K> {
    /// How many there are.
    pub fn held(&self, what: &'static str) -> Held {
        Held::new(what, self.peers.len(), MAX_PEERS)
    }

    /// What is remembered of one that is heard of now; a new value if that is nothing.
    pub fn of(&mut self, peer: &K, now: Mono, new: impl FnOnce() -> T) -> &mut T {
        if self.peers.len() == MAX_PEERS
            && !self.peers.contains_key(peer)
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.peers.remove(&oldest);
        }
        let (heard, value) = self.peers.entry(*peer).or_insert_with(|| {
            self.order.insert((now, *peer));
            (now, new())
        });
        if *heard + EXACT_MILLIS <= now {
            self.order.remove(&(*heard, *peer));
            self.order.insert((now, *peer));
            *heard = now;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn peer(number: u32) -> PeerId {
        let key = [number.to_le_bytes(); 8].concat();
        PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &key].concat()).unwrap()
    }

    #[test]
    fn the_one_heard_of_longest_ago_is_forgotten() {
        let mut remembered = Remembered::default();
        for number in 0..MAX_PEERS as u32 {
            remembered.of(&peer(number), Mono(u64::from(number)), || number);
        }
        // The first is heard of again, so that the second is the oldest.
        let later = Mono(MAX_PEERS as u64);
        assert_eq!(*remembered.of(&peer(0), later, || u32::MAX), 0);
        for number in 0..10 {
            remembered.of(&peer(1_000_000 + number), later, || number);
        }
        assert_eq!((remembered.peers.len(), remembered.order.len()), (MAX_PEERS, MAX_PEERS));
        let is_known = |number| remembered.peers.contains_key(&peer(number));
        assert_eq!([0, 1, 10, 11].map(is_known), [true, false, false, true]);
    }
}
