//! Coming back after having stood still: a tab that was frozen or hidden, a machine that slept, a network that was away.
//!
//! Nobody says beforehand that this will happen, and often nobody says afterwards that it has. So it is seen by the clocks: what was due
//! long ago is done only now, or the clock on the wall is ahead of the one that counts while the machine runs. A shell adds what its
//! platform tells it, so that less than that is enough. Connections may have died without a word then, so everybody who
//! is connected is asked something, and whoever does not answer is taken for gone.

use std::collections::BTreeSet;

use libp2p::PeerId;

use crate::{
    node::{OutboundId, RequestFailure},
    primitives::{Mono, Now},
};

/// What is late by so much was not held up by work.
const STILL_MILLIS: u64 = 5_000;
/// What is late by so much stood still, whatever the platform says. Browsers wake hidden pages once a minute.
const LONG_MILLIS: u64 = 75_000;
/// So far a clock on the wall that is set right does not jump.
const SLEPT_MILLIS: u64 = 10_000;
/// For so long it is known, when the platform tells that a peer goes on, how long it stood still.
const MEMORY_MILLIS: u64 = 5_000;

/// What is said while the platform takes itself for offline.
pub(super) const OFFLINE: &str = "this device has no network";

/// How time passes for this peer.
#[derive(Debug)]
pub(super) struct Waking {
    last: Now,
    /// When it was seen that it had stood still, and for how long.
    stood: Option<(Mono, u64)>,
    /// Who has not answered since, and the first of the questions that count.
    doubted: BTreeSet<PeerId>,
    since: OutboundId,
}

impl Waking {
    pub(super) const fn new(now: Now) -> Self {
        Self { last: now, stood: None, doubted: BTreeSet::new(), since: OutboundId(0) }
    }

    /// Whether nothing was heard of this peer for so long that it matters what was due.
    pub(super) fn has_rested(&self, now: Now) -> bool {
        now.mono - self.last.mono >= STILL_MILLIS
    }

    /// It is this time now, and the next thing to do was `due` at that, as far as [`Self::has_rested`]. Says for how many milliseconds
    /// this peer has stood still, if that is beyond doubt.
    pub(super) fn passed(&mut self, now: Now, due: Option<Mono>) -> Option<u64> {
        let ran = now.mono - self.last.mono;
        let slept = now.wall.0.saturating_sub(self.last.wall.0).saturating_sub(ran);
        let late = due.map_or(0, |due| now.mono - due);
        self.last = now;
        let still = late.max(slept);
        if still >= STILL_MILLIS {
            self.stood = Some((now.mono, still));
        }
        (late >= LONG_MILLIS || slept >= SLEPT_MILLIS).then_some(still)
    }

    /// The platform says that this peer goes on. Returns for how long it has stood still, if that is worth anything.
    pub(super) fn resumed(&mut self) -> Option<u64> {
        let (at, still) = self.stood.take()?;
        (self.last.mono - at < MEMORY_MILLIS).then_some(still)
    }

    /// These are to answer what they are asked from this question on.
    pub(super) fn doubt(&mut self, peers: impl IntoIterator<Item = PeerId>, since: OutboundId) {
        self.stood = None;
        self.since = since;
        self.doubted = peers.into_iter().collect();
    }

    /// A peer was asked something, and this came of it. Says whether it is to be taken for gone. What was asked before may have been
    /// answered while nobody listened.
    pub(super) fn answered(
        &mut self,
        peer: &PeerId,
        id: OutboundId,
        failure: Option<RequestFailure>,
    ) -> bool {
        id >= self.since && self.doubted.remove(peer) && failure == Some(RequestFailure::Timeout)
    }

    /// A peer is gone.
    pub(super) fn left(&mut self, peer: &PeerId) {
        self.doubted.remove(peer);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::primitives::Wall;

    const DAY: u64 = 24 * 60 * 60 * 1000;

    fn now(mono: u64, wall: u64) -> Now {
        Now { mono: Mono(mono), wall: Wall(DAY + wall) }
    }

    fn waking() -> Waking {
        Waking::new(now(0, 0))
    }

    #[test]
    fn who_is_called_when_something_is_due_or_happens_has_not_stood_still() {
        let mut waking = waking();
        assert!(waking.has_rested(now(600_000, 600_000)));
        assert_eq!(waking.passed(now(600_000, 600_000), Some(Mono(600_000))), None, "nothing was due before");
        assert_eq!(waking.passed(now(700_000, 700_000), None), None);
        assert_eq!(waking.passed(now(760_000, 760_000), Some(Mono(701_000))), None, "a hidden page's minute");
        assert!(!waking.has_rested(now(764_000, 764_000)));
        assert_eq!(waking.passed(now(770_000, 0), None), None, "the clock on the wall was set back");
        assert_eq!(waking.resumed(), None);
    }

    #[test]
    fn a_long_stop_and_a_jump_of_the_clock_on_the_wall_are_seen_without_being_told() {
        let mut waking = waking();
        assert_eq!(waking.passed(now(100_000, 100_000), Some(Mono(2_000))), Some(98_000));
        let night = 8 * 60 * 60 * 1000;
        assert_eq!(waking.passed(now(101_000, 101_000 + night), Some(Mono(100_500))), Some(night));
    }

    #[test]
    fn a_shorter_stop_counts_when_the_platform_tells_of_it() {
        let mut waking = waking();
        assert_eq!(waking.passed(now(12_000, 12_000), Some(Mono(1_000))), None);
        assert_eq!(waking.passed(now(12_100, 12_100), None), None);
        assert_eq!(waking.resumed(), Some(11_000));
        assert_eq!(waking.resumed(), None, "once");
        assert_eq!(waking.passed(now(24_000, 24_000), Some(Mono(13_000))), None);
        assert_eq!(waking.passed(now(24_000 + MEMORY_MILLIS, 24_000 + MEMORY_MILLIS), None), None);
        assert_eq!(waking.resumed(), None, "that was something else");
    }

    #[test]
    fn only_who_is_in_doubt_and_silent_is_taken_for_gone() {
        let peers: Vec<_> = (0..5).map(|_| PeerId::random()).collect();
        let mut waking = waking();
        waking.doubt(peers[..4].iter().copied(), OutboundId(5));
        let silence = Some(RequestFailure::Timeout);
        assert!(!waking.answered(&peers[0], OutboundId(5), None));
        assert!(!waking.answered(&peers[0], OutboundId(6), silence), "it had answered");
        assert!(
            !waking.answered(&peers[1], OutboundId(7), Some(RequestFailure::Unsupported)),
            "that is an answer too"
        );
        assert!(!waking.answered(&peers[2], OutboundId(4), silence), "that was asked before");
        assert!(waking.answered(&peers[2], OutboundId(8), silence));
        waking.left(&peers[3]);
        assert!(!waking.answered(&peers[3], OutboundId(9), silence), "it has come back since");
        assert!(!waking.answered(&peers[4], OutboundId(9), silence));
    }
}
