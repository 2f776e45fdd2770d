//! Who leaves when more want in than there is room for.
//!
//! If newcomers were turned away, whoever fills the slots first would keep them, and if anyone at all could be pushed out, whoever
//! comes often enough would push out everybody. So, as in Bitcoin (`SelectNodeToEvict`), those that have shown a virtue which
//! is hard to fake keep their place, several by each of several virtues: an attacker would have to be better than the honest at
//! all of them. Of the rest the youngest of the largest group of neighbours leaves.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use libp2p::PeerId;

use super::Group;
use crate::primitives::{Hash, Mono};

/// So many keep their place because their networks come first in an order that nobody else knows.
const BY_GROUP: usize = 4;
/// So many because they are near: distance cannot be faked downwards.
const BY_PING: usize = 8;
/// So many because they were the last to be first with a transaction, and as many with a block.
const BY_TRANSACTIONS: usize = 4;
const BY_BLOCKS: usize = 4;
/// So many because they were of most use, whatever for.
const BY_SERVICE: usize = 4;

/// A peer that has connected to us, as far as that counts here.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Who.
    pub peer: PeerId,
    /// Where from.
    pub group: Group,
    /// Since when.
    pub since: Mono,
    /// Its shortest round trip, in milliseconds.
    pub ping: Option<u64>,
    /// When it last was the first to bring a block that was good.
    pub block: Option<Mono>,
    /// When it last was the first to bring a transaction that was good.
    pub transaction: Option<Mono>,
    /// Its score. Who has done wrong has no virtue; above 0 it was of use.
    pub score: i32,
}

/// Who of these is to leave; nobody when all keep their places. `key` is a secret.
#[must_use]
pub fn to_leave(guests: &[Guest], key: &[u8; 32]) -> Option<PeerId> {
    let (guilty, mut rest): (Vec<&Guest>, Vec<&Guest>) = guests.iter().partition(|guest| guest.score < 0);
    if !guilty.is_empty() {
        return youngest_of_largest_group(&guilty);
    }
    // The order of the input is nobody's merit.
    rest.sort_by_key(|guest| guest.peer);
    keep(&mut rest, BY_GROUP, |guest| Some(Hash::of(&[key, guest.group.bytes()].concat())));
    keep(&mut rest, BY_PING, |guest| guest.ping.map(Reverse));
    keep(&mut rest, BY_TRANSACTIONS, |guest| guest.transaction);
    keep(&mut rest, BY_BLOCKS, |guest| guest.block);
    keep(&mut rest, BY_SERVICE, |guest| (guest.score > 0).then_some(guest.score));
    let half = rest.len() / 2;
    keep(&mut rest, half, |guest| Some(Reverse(guest.since)));
    youngest_of_largest_group(&rest)
}

/// Takes out those that are best by a measure, at most so many; whoever has none is not taken.
fn keep<T: Ord>(guests: &mut Vec<&Guest>, count: usize, merit: impl Fn(&Guest) -> Option<T>) {
    let mut able: Vec<_> =
        guests.iter().filter_map(|guest| Some((Reverse(merit(guest)?), guest.peer))).collect();
    able.sort();
    let kept: BTreeSet<_> = able.into_iter().take(count).map(|(_, peer)| peer).collect();
    guests.retain(|guest| !kept.contains(&guest.peer));
}

/// Of groups of one size that with the youngest.
fn youngest_of_largest_group(guests: &[&Guest]) -> Option<PeerId> {
    let mut groups: BTreeMap<&Group, (usize, Mono, PeerId)> = BTreeMap::new();
    for guest in guests {
        let group = groups.entry(&guest.group).or_insert((0, guest.since, guest.peer));
        group.0 += 1;
        if (guest.since, guest.peer) > (group.1, group.2) {
            (group.1, group.2) = (guest.since, guest.peer);
        }
    }
    groups.into_values().max().map(|(_, _, peer)| peer)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn peer(number: u16) -> PeerId {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
    }

    /// A guest without virtues, of the network with this number.
    fn guest(number: u16, network: u8) -> Guest {
        let address = format!("/ip4/{}.{}.0.1/tcp/1", 11 + network / 200, network % 200);
        Guest {
            peer: peer(number),
            group: Group::of(&address.parse().unwrap()),
            since: Mono(u64::from(number)),
            ping: None,
            block: None,
            transaction: None,
            score: 0,
        }
    }

    /// Lets so many newcomers of one network in, each in the place of whoever has to leave, and says who is still there.
    fn after_a_flood(mut guests: Vec<Guest>, flood: u16, network: impl Fn(u16) -> u8) -> BTreeSet<PeerId> {
        for number in 1000..1000 + flood {
            if let Some(leaves) = to_leave(&guests, &KEY) {
                guests.retain(|guest| guest.peer != leaves);
                guests.push(guest(number, network(number)));
            }
        }
        guests.into_iter().map(|guest| guest.peer).collect()
    }

    #[test]
    fn the_youngest_of_the_largest_group_leaves() {
        let mut guests: Vec<_> = (0..40).map(|number| guest(number, number as u8)).collect();
        guests.extend((40..60).map(|number| guest(number, 99)));
        assert_eq!(to_leave(&guests, &KEY), Some(peer(59)));
    }

    #[test]
    fn who_has_done_wrong_leaves_first_whatever_its_virtues() {
        let mut guests: Vec<_> = (0..60).map(|number| guest(number, number as u8)).collect();
        guests[3].score = -1;
        guests[3].ping = Some(0);
        guests[3].block = Some(Mono(1_000_000));
        assert_eq!(to_leave(&guests, &KEY), Some(peer(3)));
    }

    #[test]
    fn a_few_guests_keep_their_places() {
        let few: Vec<_> = (0..4).map(|number| guest(number, number as u8)).collect();
        assert_eq!(to_leave(&few, &KEY), None);
        assert_eq!(to_leave(&[], &KEY), None);
    }

    #[test]
    fn each_virtue_keeps_a_place_against_a_flood_from_one_network_or_from_many() {
        let floods: [fn(u16) -> u8; 2] = [|_| 250, |number| (number % 250) as u8];
        for network in floods {
            let mut guests: Vec<_> = (0..60).map(|number| guest(number, (number % 30) as u8)).collect();
            for number in 0..usize::from(BY_PING as u16) {
                guests[50 + number].ping = Some(20);
            }
            for number in 0..4 {
                guests[42 + number].block = Some(Mono(500));
                guests[46 + number].transaction = Some(Mono(500));
            }
            let virtuous: BTreeSet<_> = guests[42..58].iter().map(|guest| guest.peer).collect();
            let left = after_a_flood(guests, 500, network);
            assert!(
                left.is_superset(&virtuous),
                "{} of {}",
                left.intersection(&virtuous).count(),
                virtuous.len()
            );
        }
    }

    #[test]
    fn half_of_those_without_virtue_stay_because_they_came_first() {
        let guests: Vec<_> = (0..100).map(|number| guest(number, (number % 50) as u8)).collect();
        let first: BTreeSet<_> = (0..48).map(peer).collect();
        let left = after_a_flood(guests, 1_000, |number| (number % 250) as u8);
        assert!(left.is_superset(&first), "{} of {}", left.intersection(&first).count(), first.len());
    }

    #[test]
    fn who_keeps_its_place_by_network_is_known_to_nobody_without_the_key() {
        let guests: Vec<_> = (0..9).map(|number| guest(number, number as u8)).collect();
        let leaves: BTreeSet<_> = (0..32).filter_map(|byte| to_leave(&guests, &[byte; 32])).collect();
        assert!(leaves.len() > 1);
    }
}
