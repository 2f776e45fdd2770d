//! What peers say in the distributed hash table that they do for others, and whom they look for there: in chat rooms, for old blocks,
//! for the accounts of a final checkpoint.
//!
//! A key is BLAKE3 of a text and of what it is about: `weft/room/1/` and the room's name; `weft/archive/1/`, the genesis hash and the
//! number of a range of [`RANGE`] heights, as eight bytes, little endian; `weft/snapshot/1/` and the genesis hash.

use std::{collections::BTreeSet, ops::RangeInclusive};

use super::{chain::Chain, dht::Dht, effects::Effects, offers::Offers, rooms::Rooms, seeking::Seeking};
use crate::{
    gossip::Room,
    primitives::{Hash, Hasher, Height, Mono},
};

/// The heights of one range: who has all of its blocks says so. Six days of slots of two seconds.
pub(super) const RANGE: u64 = 1 << 18;
/// The most ranges that one peer offers, the newest.
const MAX_RANGES: u64 = 64;
/// How often it is looked what is served and what is missing.
const LOOK_MILLIS: u64 = 2_000;
/// So many connected peers that have something are enough.
const ENOUGH: usize = 4;

/// The ranges of which a peer says that it has them, when it has all blocks from `oldest` to `head`.
pub(super) fn offered_ranges(oldest: Height, head: Height) -> RangeInclusive<u64> {
    let newest = head.0 / RANGE;
    oldest.0.div_ceil(RANGE).max(newest.saturating_sub(MAX_RANGES - 1))..=newest
}

/// The key of a room.
fn room_key(room: &Room) -> Hash {
    Hasher::tagged(b"weft/room/1/").add(room.to_string().as_bytes()).finish()
}

/// The key of a range of blocks of a chain.
pub(super) fn archive_key(genesis: &Hash, range: u64) -> Hash {
    Hasher::tagged(b"weft/archive/1/").add(&genesis.0).add(&range.to_le_bytes()).finish()
}

/// The key of the accounts of a chain's final checkpoints.
pub(super) fn snapshot_key(genesis: &Hash) -> Hash {
    Hasher::tagged(b"weft/snapshot/1/").add(&genesis.0).finish()
}

/// What is said and looked for on behalf of rooms and the chain.
#[derive(Debug, Default)]
pub(super) struct Services {
    look: Mono,
    offered: BTreeSet<Hash>,
    wanted: BTreeSet<Hash>,
}

impl Services {
    /// When to look again; never when the table is off.
    pub(super) fn next_due(&self, dht: &Dht) -> Option<Mono> {
        dht.is_on().then_some(self.look)
    }

    pub(super) fn tick(
        &mut self,
        fx: &mut Effects,
        (dht, offers, seeking): (&mut Dht, &mut Offers, &mut Seeking),
        chain: Option<&Chain>,
        rooms: &Rooms,
    ) {
        if self.look > fx.now.mono || !dht.is_on() {
            return;
        }
        self.look = fx.now.mono + LOOK_MILLIS;
        let rooms: Vec<_> = rooms.joined().iter().map(room_key).collect();
        let served = chain.into_iter().flat_map(Chain::served_keys);
        let offered: BTreeSet<_> = served.chain(rooms.iter().copied()).collect();
        let wanted: BTreeSet<_> =
            chain.and_then(|chain| chain.needed_key(fx.now.mono)).into_iter().chain(rooms).collect();
        for key in offered.difference(&self.offered) {
            offers.add(fx, *key);
        }
        for key in self.offered.difference(&offered) {
            offers.remove(fx, dht, key);
        }
        for key in wanted.difference(&self.wanted) {
            seeking.want(fx, *key, ENOUGH);
        }
        for key in self.wanted.difference(&wanted) {
            seeking.found_enough(key);
        }
        (self.offered, self.wanted) = (offered, wanted);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn keys_are_as_they_are_written_down() {
        let genesis = Hash([7; 32]);
        let of = |parts: &[&[u8]]| Hash::of(&parts.concat());
        assert_eq!(room_key(&"lobby".parse().unwrap()), of(&[b"weft/room/1/lobby"]));
        assert_eq!(
            archive_key(&genesis, 258),
            of(&[b"weft/archive/1/", &[7; 32], &[2, 1, 0, 0, 0, 0, 0, 0]])
        );
        assert_eq!(snapshot_key(&genesis), of(&[b"weft/snapshot/1/", &[7; 32]]));
    }

    #[test]
    fn so_many_ranges_are_offered_the_newest_and_none_that_is_not_whole() {
        let ranges = |oldest, head| offered_ranges(Height(oldest), Height(head));
        assert_eq!(ranges(0, 64 * RANGE - 1), 0..=63);
        assert_eq!(ranges(0, 64 * RANGE), 1..=64);
        assert_eq!(ranges(10 * RANGE + 1, 64 * RANGE), 11..=64);
        assert_eq!((ranges(0, 0), ranges(1, 5).count()), (0..=0, 0));
    }
}
