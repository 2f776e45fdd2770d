//! Which peer is sent a transaction, which is told of it, and which neither.

use std::hash::Hasher as _;

use libp2p::PeerId;
use siphasher::sip::SipHasher24;

use super::TxMode;
use crate::primitives::Address;

/// The most bytes of a transaction that is pushed to those who also take announcements. Longer ones are announced: the
/// price of a duplicate grows with the size, and that of a round trip does not.
pub const MAX_DIRECT_BYTES: usize = 4 << 10;

/// The most bytes that a peer's id has: a code and a length of up to ten bytes each, and a hash of 64.
const LONGEST_ID: usize = 84;

/// How one peer learns of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Push,
    Announce,
}

/// What this peer does by its configuration.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) mode: TxMode,
    /// Keyed with what nobody else knows, so that nobody can place itself where a sender's transactions come first.
    secret: SipHasher24,
}

impl Policy {
    pub(super) fn new(mode: TxMode, seed: [u64; 2]) -> Self {
        Self { mode, secret: SipHasher24::new_with_keys(seed[0], seed[1]) }
    }

    /// What nobody else knows, for what is kept here.
    pub(super) fn secret(&self) -> u64 {
        self.secret.hash(b"where what was met is kept")
    }

    /// Our half of the key of short ids with a peer, the `count`-th that we say.
    pub(super) fn salt(&self, peer: &PeerId, count: u64) -> u64 {
        self.secret.hash(&[&count.to_le_bytes()[..], &peer.to_bytes()].concat())
    }

    /// Which of these peers a transaction of this sender is pushed to: the square root of their number, rounded up, and
    /// always the same ones as long as they are there. So what one account sends in a row takes one path and keeps its
    /// order, and different accounts take different paths.
    ///
    /// Half of them, rounded up, are peers that this side dialled, which are told by `true`, and the others are not, as far as there are so
    /// many: who wants transactions to end with him can connect to us as often as he likes, but is dialled no more often than others. And
    /// where all are honest, those whom few have dialled are pushed to as often as the rest.
    ///
    /// Each peer has a name by which the caller knows it.
    pub(super) fn chosen<'a, N: Copy + Ord>(
        &self,
        sender: &Address,
        peers: impl Iterator<Item = (N, &'a PeerId, bool)>,
    ) -> Vec<N> {
        let mut drawer = self.secret;
        drawer.write(&sender.0);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (name, peer, dialled) in peers {
            let drawn = drawn(drawer, peer);
            if dialled { &mut ours } else { &mut theirs }.push((drawn, name));
        }
        let all = ours.len() + theirs.len();
        let root = all.isqrt();
        let count = root + usize::from(root * root < all);
        let of_theirs = (count / 2).max(count.saturating_sub(ours.len())).min(theirs.len());
        ours.sort_unstable();
        theirs.sort_unstable();
        let ours = ours.into_iter().take(count - of_theirs);
        ours.chain(theirs.into_iter().take(of_theirs)).map(|(_, name)| name).collect()
    }

    /// How a peer learns of a transaction of so many bytes, by how it wants to and whether it is among the chosen.
    pub(super) const fn way(&self, theirs: TxMode, is_chosen: bool, bytes: usize) -> Way {
        match (theirs, self.mode) {
            (TxMode::Push, _) | (TxMode::PushPull, TxMode::Push) => Way::Push,
            (TxMode::PushPull, TxMode::PushPull) if is_chosen && bytes <= MAX_DIRECT_BYTES => Way::Push,
            (TxMode::Pull, _) | (TxMode::PushPull, TxMode::Pull | TxMode::PushPull) => Way::Announce,
        }
    }
}

/// What a peer draws: a hash of what was written so far and its id.
fn drawn(mut drawer: SipHasher24, peer: &PeerId) -> u64 {
    let mut bytes = [0; LONGEST_ID];
    let length = peer.as_ref().write(&mut bytes[..]).unwrap_or(LONGEST_ID);
    drawer.write(&bytes[..length]);
    drawer.finish()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn peer(number: u8) -> PeerId {
        let key = [[0, 36, 8, 1, 18, 32].as_slice(), &[number; 32]].concat();
        PeerId::from_bytes(&key).unwrap()
    }

    #[test]
    fn a_sender_has_its_own_paths_as_many_as_the_root_of_the_peers() {
        let policy = Policy::new(TxMode::PushPull, [1, 2]);
        let peers: Vec<_> = (0..30).map(peer).collect();
        let chosen = |peers: &[PeerId], dialled: usize| {
            let sides = peers.iter().enumerate().map(|(place, peer)| (*peer, peer, place < dialled));
            policy.chosen(&Address([7; 32]), sides)
        };
        for (count, expected) in [(0, 0), (1, 1), (2, 2), (4, 2), (5, 3), (8, 3), (9, 3), (10, 4), (30, 6)] {
            assert_eq!(chosen(&peers[..count], 0).len(), expected, "{count}");
        }
        let of = |policy: &Policy, sender| {
            policy.chosen(&Address([sender; 32]), peers.iter().map(|peer| (*peer, peer, false)))
        };
        assert_eq!(of(&policy, 7), of(&policy, 7));
        let other = Policy::new(TxMode::PushPull, [1, 3]);
        assert_ne!(of(&policy, 7), of(&other, 7), "nobody else can tell who is chosen");
        let used: std::collections::BTreeSet<_> = (0..50).flat_map(|sender| of(&policy, sender)).collect();
        assert_eq!(used.len(), 30, "all peers carry some senders");
        let without: Vec<_> = peers.iter().filter(|peer| !of(&policy, 7).contains(*peer)).collect();
        let gone = *without[0];
        let others = peers.iter().filter(|peer| **peer != gone).map(|peer| (*peer, peer, false));
        let fewer = policy.chosen(&Address([7; 32]), others);
        assert_eq!(fewer, of(&policy, 7), "a peer that leaves does not move the paths of others");
        assert_ne!(policy.salt(&peer(1), 0), policy.salt(&peer(1), 1));
        for (dialled, expected) in [(0, 0), (1, 1), (2, 2), (3, 3), (15, 3), (27, 3), (28, 4), (30, 6)] {
            let chosen = chosen(&peers, dialled);
            assert_eq!(chosen.len(), 6);
            let ours = chosen.iter().filter(|peer| peers[..dialled].contains(peer)).count();
            assert_eq!(ours, expected, "of {dialled} that were dialled");
        }
    }

    #[test]
    fn every_pair_of_modes_has_its_way() {
        use TxMode::{Pull, Push, PushPull};
        let way = |ours, theirs, chosen| Policy::new(ours, [1, 2]).way(theirs, chosen, 421);
        for ours in [Push, Pull, PushPull] {
            assert_eq!(way(ours, Push, false), Way::Push);
            assert_eq!(way(ours, Pull, true), Way::Announce);
        }
        assert_eq!(
            [Push, Pull, PushPull].map(|ours| way(ours, PushPull, false)),
            [Way::Push, Way::Announce, Way::Announce]
        );
        assert_eq!(
            [Push, Pull, PushPull].map(|ours| way(ours, PushPull, true)),
            [Way::Push, Way::Announce, Way::Push]
        );
        let long = Policy::new(PushPull, [1, 2]).way(PushPull, true, MAX_DIRECT_BYTES + 1);
        assert_eq!(long, Way::Announce);
    }
}
