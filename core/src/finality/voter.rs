//! When an authority may vote: never so that two of its votes could be held against it.

use crate::chain::Link;

/// What an authority has bound itself to by its votes: enough to vote on for ever without equivocating.
///
/// The rule is stricter than the two slashing rules and needs only the last vote: targets rise, and sources do not fall.
/// Then no two votes have one target height, and none lies around another. It costs no liveness: whoever votes starts from
/// a justified checkpoint, so the highest justified one is never below an earlier source, and the next checkpoint above
/// all targets is open to everybody (Buterin and Griffith, 2017, theorem 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voter {
    last: Option<Link>,
}

impl Voter {
    /// A voter whose last vote ever was for this link.
    #[must_use]
    pub const fn new(last: Option<Link>) -> Self {
        Self { last }
    }

    /// The last vote.
    #[must_use]
    pub const fn last(&self) -> Option<Link> {
        self.last
    }

    /// Whether a vote for this link can never be held against any earlier one.
    #[must_use]
    pub fn may_vote(&self, link: &Link) -> bool {
        link.is_well_formed()
            && self.last.is_none_or(|last| {
                link.target.height > last.target.height && link.source.height >= last.source.height
            })
    }

    /// Binds the voter to a vote for this link, if it may vote for it. The vote must be durable before it is told to
    /// anybody.
    pub fn bind(&mut self, link: &Link) -> bool {
        let may = self.may_vote(link);
        if may {
            self.last = Some(*link);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::{CHECKPOINT_INTERVAL, Checkpoint},
        primitives::{Hash, Height},
    };

    fn checkpoint(step: u64, branch: u8) -> Checkpoint {
        Checkpoint { height: Height(step * CHECKPOINT_INTERVAL), hash: Hash([branch; 32]) }
    }

    /// All links among checkpoints of a few heights on two branches, in every order of three.
    #[test]
    fn no_two_votes_ever_conflict() {
        let ends = |from: u64, to: u64| {
            (0..4_u8).map(move |branches| Link {
                source: checkpoint(from, branches & 1),
                target: checkpoint(to, branches >> 1),
            })
        };
        let links: Vec<Link> = (0..5).flat_map(|from| (0..5).flat_map(move |to| ends(from, to))).collect();
        let mut cast_in_all = 0;
        for a in &links {
            for b in &links {
                for c in &links {
                    let mut voter = Voter::default();
                    let cast: Vec<&Link> = [a, b, c].into_iter().filter(|link| voter.bind(link)).collect();
                    cast_in_all += cast.len();
                    for (at, one) in cast.iter().enumerate() {
                        assert!(cast[at + 1..].iter().all(|other| !one.conflicts_with(other)));
                    }
                }
            }
        }
        assert!(cast_in_all > links.len() * links.len() * links.len() / 4);
    }

    #[test]
    fn a_higher_target_from_the_same_or_a_later_source_is_always_open() {
        let link = |from, to| Link { source: checkpoint(from, 0), target: checkpoint(to, 0) };
        let voter = Voter::new(Some(link(1, 3)));
        assert!(voter.may_vote(&link(1, 4)) && voter.may_vote(&link(3, 4)));
        assert!(!voter.may_vote(&link(1, 3)) && !voter.may_vote(&link(2, 3)), "the same target height");
        assert!(!voter.may_vote(&link(0, 4)), "around the last");
        assert!(!voter.may_vote(&link(1, 2)), "inside the last");
    }
}
