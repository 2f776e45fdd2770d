//! The voting rule, explored exhaustively: every order in which the authorities of a small set may vote on two branches.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeSet;

use super::Voter;
use crate::{
    chain::{CHECKPOINT_INTERVAL, Checkpoint, Link},
    primitives::{Hash, Height},
};

/// Checkpoints on each branch above genesis.
const STEPS: u64 = 3;
const AUTHORITIES: usize = 4;

/// A checkpoint of the model: genesis is common, the rest lies on one of two branches.
fn checkpoint(step: u64, branch: u8) -> Checkpoint {
    let branch = if step == 0 { 0 } else { branch + 1 };
    Checkpoint { height: Height(step * CHECKPOINT_INTERVAL), hash: Hash([branch; 32]) }
}

/// Every link along a branch.
fn links() -> Vec<Link> {
    let along = |branch| {
        (0..STEPS).flat_map(move |from| {
            (from + 1..=STEPS)
                .map(move |to| Link { source: checkpoint(from, branch), target: checkpoint(to, branch) })
        })
    };
    (0..2).flat_map(along).collect()
}

/// What each honest authority has voted for, as bits among [`links`]. They are alike, so their order does not matter.
type Votes = Vec<u16>;

struct Model {
    links: Vec<Link>,
    /// Authorities that vote for everything.
    faulty: usize,
}

impl Model {
    fn certified(&self, votes: &Votes, link: usize) -> bool {
        let honest = votes.iter().filter(|cast| *cast & (1 << link) != 0).count();
        3 * (honest + self.faulty) > 2 * AUTHORITIES
    }

    /// The checkpoints that a chain of certificates leads to from genesis.
    fn justified(&self, votes: &Votes) -> BTreeSet<Checkpoint> {
        let mut justified = BTreeSet::from([checkpoint(0, 0)]);
        // Links are in the order of their sources, so one pass sees every source before what it justifies.
        for (at, link) in self.links.iter().enumerate() {
            if justified.contains(&link.source) && self.certified(votes, at) {
                justified.insert(link.target);
            }
        }
        justified
    }

    fn finalised(&self, votes: &Votes) -> Vec<Checkpoint> {
        let justified = self.justified(votes);
        let links = self.links.iter().enumerate();
        links
            .filter(|(at, link)| {
                link.finalises_source() && justified.contains(&link.source) && self.certified(votes, *at)
            })
            .map(|(_, link)| link.source)
            .collect()
    }

    /// All that can be reached by one more honest vote: for any target, from any justified checkpoint of its branch.
    fn next(&self, votes: &Votes) -> Vec<Votes> {
        let justified = self.justified(votes);
        let mut found = Vec::new();
        for authority in 0..votes.len() {
            let cast = self.links.iter().enumerate().filter(|(at, _)| votes[authority] & (1 << at) != 0);
            let last = cast.map(|(_, link)| *link).max_by_key(|link| link.target.height);
            for (at, link) in self.links.iter().enumerate() {
                if justified.contains(&link.source) && Voter::new(last).may_vote(link) {
                    let mut next = votes.clone();
                    next[authority] |= 1 << at;
                    next.sort_unstable();
                    found.push(next);
                }
            }
        }
        found
    }

    /// Every state that can be reached.
    fn explore(&self) -> BTreeSet<Votes> {
        let mut known = BTreeSet::from([vec![0; AUTHORITIES - self.faulty]]);
        let mut open: Vec<Votes> = known.iter().cloned().collect();
        while let Some(votes) = open.pop() {
            open.extend(self.next(&votes).into_iter().filter(|next| known.insert(next.clone())));
        }
        known
    }
}

/// Whether two checkpoints lie on different branches.
fn conflict(a: &Checkpoint, b: &Checkpoint) -> bool {
    a.height.0 > 0 && b.height.0 > 0 && a.hash != b.hash
}

fn conflicting_states(faulty: usize) -> (usize, usize) {
    let model = Model { links: links(), faulty };
    let states = model.explore();
    let conflicting = states.iter().filter(|votes| {
        let finalised = model.finalised(votes);
        finalised.iter().any(|a| finalised.iter().any(|b| conflict(a, b)))
    });
    (conflicting.count(), states.len())
}

#[test]
fn fewer_than_a_third_of_faulty_ones_never_finalise_two_branches() {
    for faulty in [0, 1] {
        let (conflicting, states) = conflicting_states(faulty);
        assert!(states > 100, "{states} states are no exploration");
        assert_eq!(conflicting, 0, "with {faulty} faulty, in {states} states");
    }
}

#[test]
fn half_of_them_can() {
    assert!(conflicting_states(2).0 > 0, "the model can tell");
}

#[test]
fn whatever_was_voted_a_new_checkpoint_can_be_finalised() {
    // Two steps above everything that was voted for, on the branch with the highest justified checkpoint.
    let model = Model { links: links(), faulty: 1 };
    for votes in model.explore() {
        let justified = model.justified(&votes).into_iter().max_by_key(|one| one.height).unwrap();
        let branch = justified.hash.0[0].saturating_sub(1);
        let above = |step| checkpoint(STEPS + step, branch);
        let way = [Link { source: justified, target: above(1) }, Link { source: above(1), target: above(2) }];
        for cast in &votes {
            let last = model.links.iter().enumerate().filter(|(at, _)| cast & (1 << at) != 0);
            let mut voter = Voter::new(last.map(|(_, link)| *link).max_by_key(|link| link.target.height));
            assert!(way.iter().all(|link| voter.bind(link)), "{votes:?} from {justified:?}");
        }
    }
}
