//! What the ledger knows of one peer, in memory and on disk.

use std::collections::VecDeque;

use borsh::{BorshDeserialize, BorshSerialize};

use super::{BAN_MILLIS, Ban, CEILING, Cause, FLOOR, MAX_BAN_MILLIS, Offence};
use crate::primitives::{Mono, Now, Wall};

/// A score halves in ten minutes.
pub(super) const HALF_LIFE_MILLIS: u64 = 10 * 60 * 1000;
/// The most offences of a peer that are remembered one by one.
pub(super) const MAX_DEEDS: usize = 8;

/// Something that a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub offence: Offence,
    /// When.
    pub at: Wall,
}

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) score: i64,
    pub(super) as_of: Mono,
    pub(super) ban: Option<Ban>,
    /// The last, the oldest first.
    pub(super) deeds: VecDeque<Deed>,
}

/// An account on disk, in times of the wall clock.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Stored {
    score: i64,
    as_of: u64,
    banned_until: Option<u64>,
    by_hand: bool,
    /// The codes of offences, and when.
    deeds: Vec<(u8, u64)>,
}

impl Account {
    pub(super) const fn new(now: Mono) -> Self {
        Self { score: 0, as_of: now, ban: None, deeds: VecDeque::new() }
    }

    pub(super) fn remember(&mut self, offence: Offence, at: Wall) {
        if self.deeds.len() == MAX_DEEDS {
            self.deeds.pop_front();
        }
        self.deeds.push_back(Deed { offence, at });
    }

    pub(super) fn score_at(&self, now: Mono) -> i64 {
        decayed(self.score, now - self.as_of)
    }

    /// What is worth keeping over a restart. Credit is not: it is earned again soon.
    pub(super) fn stored(&self, now: Now) -> Option<Stored> {
        let score = self.score_at(now.mono).min(0);
        let ban = self.ban.filter(|ban| now.mono < ban.until);
        (score < 0 || ban.is_some()).then(|| Stored {
            score,
            as_of: now.wall.0,
            banned_until: ban.map(|ban| now.wall.0.saturating_add(ban.until - now.mono)),
            by_hand: ban.is_some_and(|ban| ban.cause == Cause::Person),
            deeds: self.deeds.iter().map(|deed| (deed.offence.code(), deed.at.0)).collect(),
        })
    }

    /// What a restart finds. A clock that was set back makes no ban longer than it was when it began.
    pub(super) fn restored(stored: Stored, now: Now) -> Self {
        let deeds: VecDeque<_> = stored
            .deeds
            .iter()
            .filter_map(|(code, at)| Some(Deed { offence: Offence::of_code(*code)?, at: Wall(*at) }))
            .take(MAX_DEEDS)
            .collect();
        let cause = match deeds.back() {
            Some(deed) if !stored.by_hand => Cause::Offence(deed.offence),
            _ => Cause::Person,
        };
        let longest = if stored.by_hand { MAX_BAN_MILLIS } else { BAN_MILLIS };
        let left = stored.banned_until.map_or(0, |until| until.saturating_sub(now.wall.0).min(longest));
        let score = stored.score.clamp(FLOOR, CEILING);
        Self {
            score: decayed(score, now.wall.0.saturating_sub(stored.as_of)),
            as_of: now.mono,
            ban: (left > 0).then(|| Ban { until: now.mono + left, cause }),
            deeds,
        }
    }
}

fn decayed(score: i64, elapsed: u64) -> i64 {
    let halvings = elapsed / HALF_LIFE_MILLIS;
    if halvings >= 40 {
        return 0;
    }
    // Division rounds towards zero, where a shift would leave a trace for ever.
    let whole = score / (1 << halvings);
    // Between two halvings the score moves in a straight line: near enough, and the same on every machine.
    let part = i64::try_from(elapsed % HALF_LIFE_MILLIS).expect("less than a half-life");
    whole - whole * part / (2 * i64::try_from(HALF_LIFE_MILLIS).expect("a small constant"))
}
