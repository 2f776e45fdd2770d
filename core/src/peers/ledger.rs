//! The reputation ledger: one score a peer, lowered by offences, raised a little by service, healed by time; who is banned for
//! it, or because a person says so; and whom a person trusts.
//!
//! Good deeds do not buy bad ones: an offence first takes away all credit, and nobody below zero earns any. A peer's key costs
//! nothing to replace, so when several peers from one [host](AddressRange::of_host) were banned, the host is.

mod account;
mod strikes;

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

pub use account::{Deed, Stored};
pub use strikes::StoredStrikes;

use self::{
    account::Account,
    strikes::{MAX_HOSTS, Strikes},
};
use super::{AddressRange, Offence, Service, Severity};
use crate::primitives::{Held, Mono, Now};

/// Points are kept in thousandths, so that decay does not round them away.
const SCALE: i64 = 1000;
/// The lowest score there is.
const FLOOR: i64 = -100 * SCALE;
/// The highest: enough to tell who is of use, and no more.
const CEILING: i64 = 20 * SCALE;
/// Below this a peer is disconnected.
const DISCONNECT_BELOW: i64 = -20 * SCALE;
/// Below this a peer is banned.
const BAN_BELOW: i64 = -50 * SCALE;
/// How long the ledger's own ban of a peer lasts.
const BAN_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// How long that of a host does. Shorter, since others may have its address next, or share it.
const HOST_BAN_MILLIS: u64 = 60 * 60 * 1000;
/// The longest ban: a year.
pub const MAX_BAN_MILLIS: u64 = 366 * 24 * 60 * 60 * 1000;
/// The most peers remembered; past it the one with the best score is forgotten.
const MAX_ACCOUNTS: usize = 4096;
/// The most of them that are banned by the ledger; past it the ban that would end first does, so that the others still have scores.
const MAX_BANS: usize = 2048;
/// The most hosts that the ledger bans at a time; past it the ban that would end first does.
const MAX_HOST_BANS: usize = 256;
/// The most peers, and the most ranges, that a person bans at a time, and the most peers that a person trusts. None of these gives way.
const MAX_DECISIONS: usize = 256;

/// What follows from an offence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Remember it.
    None,
    /// Close the connections.
    Disconnect,
    /// Close the connections and accept no more until the ban ends.
    Ban,
    /// The same, and accept nobody else from this host.
    BanHost(AddressRange),
}

/// Whom a ban is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// The peer with this id, wherever it is.
    Peer(PeerId),
    /// Whoever connects directly from there, or would be dialled there.
    Range(AddressRange),
}

/// Why somebody is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its last offence.
    Offence(Offence),
    /// Several peers of this host were banned.
    Host,
    /// A person says so.
    Person,
}

impl Cause {
    /// The name for people and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offence(offence) => offence.name(),
            Self::Host => "several peers there were banned",
            Self::Person => "by hand",
        }
    }
}

/// A ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ban {
    /// When it ends.
    pub until: Mono,
    /// What for.
    pub cause: Cause,
}

/// As many ranges are banned, or peers trusted, as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are already {MAX_DECISIONS} of these, as many as may be: end one first")]
pub struct TooMany;

/// Scores, who is banned, and who is trusted.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<PeerId, Account>,
    ranges: BTreeMap<AddressRange, Ban>,
    trusted: BTreeSet<PeerId>,
    strikes: Strikes,
    /// Bans that gave way to others, until this is told.
    given_way: Vec<Whom>,
    /// No ban ends before this; none at all without it.
    soonest: Option<Mono>,
}

impl Ledger {
    /// How much is remembered.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        [
            Held::new("peers with a score", self.accounts.len(), MAX_ACCOUNTS),
            Held::new("hosts with banned peers", self.strikes.len(), MAX_HOSTS),
            Held::new("banned ranges of addresses", self.ranges.len(), MAX_HOST_BANS + MAX_DECISIONS),
            Held::new("trusted peers", self.trusted.len(), MAX_DECISIONS),
        ]
        .into_iter()
    }

    /// Books an offence and says what follows. `host` is where the peer is connected from, if that may be banned. Of whom a person
    /// trusts it is remembered, and nothing follows.
    pub fn report(
        &mut self,
        peer: PeerId,
        offence: Offence,
        host: Option<AddressRange>,
        now: Now,
    ) -> Consequence {
        let trusted = self.trusted.contains(&peer);
        let account = self.accounts.entry(peer).or_insert_with(|| Account::new(now.mono));
        let points = i64::from(offence.severity().points()) * SCALE;
        account.score = (account.score_at(now.mono).min(0) - points).max(FLOOR);
        account.as_of = now.mono;
        account.remember(offence, now.wall);
        let (score, severity) = (account.score, offence.severity());
        let consequence = if trusted {
            Consequence::None
        } else if score < BAN_BELOW || severity == Severity::Fatal {
            let ban = Ban { until: now.mono + BAN_MILLIS, cause: Cause::Offence(offence) };
            // What a person said stands, and no ban becomes shorter.
            let kept = account.ban.filter(|old| old.cause == Cause::Person || old.until >= ban.until);
            account.ban = Some(kept.unwrap_or(ban));
            self.give_way(peer);
            let host = host.filter(|host| self.strike(*host, peer, now.mono));
            self.look_ahead();
            host.map_or(Consequence::Ban, Consequence::BanHost)
        } else if score < DISCONNECT_BELOW {
            Consequence::Disconnect
        } else {
            Consequence::None
        };
        self.forget_surplus(now.mono);
        consequence
    }

    /// Counts a banned peer of a host, and says whether that bans the host.
    fn strike(&mut self, host: AddressRange, peer: PeerId, now: Mono) -> bool {
        if !self.strikes.add(host, peer, now) {
            return false;
        }
        let until = now + HOST_BAN_MILLIS;
        let ban = self.ranges.entry(host).or_insert(Ban { until, cause: Cause::Host });
        ban.until = ban.until.max(until);
        let others = self.ranges.iter().filter(|(range, ban)| ban.cause == Cause::Host && **range != host);
        if others.clone().count() >= MAX_HOST_BANS
            && let Some(first) = others.min_by_key(|(_, ban)| ban.until).map(|(range, _)| *range)
        {
            self.ranges.remove(&first);
            self.given_way.push(Whom::Range(first));
        }
        true
    }

    /// Makes room for the ban of a peer.
    fn give_way(&mut self, newest: PeerId) {
        let by_ledger = |account: &Account| account.ban.filter(|ban| ban.cause != Cause::Person);
        let others = self.accounts.iter().filter(|(peer, _)| **peer != newest);
        let others = others.filter_map(|(peer, account)| Some((by_ledger(account)?.until, *peer)));
        if others.clone().count() >= MAX_BANS
            && let Some((_, first)) = others.min()
        {
            self.accounts.remove(&first);
            self.given_way.push(Whom::Peer(first));
        }
    }

    /// Books that a peer was of use.
    pub fn credit(&mut self, peer: PeerId, service: Service, now: Mono) {
        let account = self.accounts.entry(peer).or_insert_with(|| Account::new(now));
        let score = account.score_at(now);
        if score >= 0 {
            account.score = (score + service.thousandths()).min(CEILING);
            account.as_of = now;
        }
        self.forget_surplus(now);
    }

    /// The peer's score in whole points, rounded towards zero: 0 is neutral, -100 the lowest, 20 the highest.
    #[must_use]
    pub fn score(&self, peer: &PeerId, now: Mono) -> i32 {
        let score = self.accounts.get(peer).map_or(0, |account| account.score_at(now));
        i32::try_from(score / SCALE).expect("between the floor and the ceiling")
    }

    /// Whose score is below 0, and what it is.
    pub fn blamed(&self, now: Mono) -> impl Iterator<Item = (PeerId, i32)> + '_ {
        let blamed = self.accounts.iter().filter(|(_, account)| account.score < 0);
        blamed.map(move |(peer, _)| (*peer, self.score(peer, now))).filter(|(_, score)| *score < 0)
    }

    /// The last offences of a peer, the oldest first.
    pub fn deeds(&self, peer: &PeerId) -> impl Iterator<Item = &Deed> {
        self.accounts.get(peer).into_iter().flat_map(|account| &account.deeds)
    }

    /// Whether the peer is banned.
    #[must_use]
    pub fn is_banned(&self, peer: &PeerId, now: Mono) -> bool {
        let ban = self.accounts.get(peer).and_then(|account| account.ban);
        ban.is_some_and(|ban| now < ban.until) && !self.trusted.contains(peer)
    }

    /// Whether a peer may not be here because of where it is; `address` is that of a connection, or where one would be made.
    #[must_use]
    pub fn is_barred(&self, peer: &PeerId, address: &libp2p::Multiaddr, now: Mono) -> bool {
        !self.trusted.contains(peer) && self.is_range_banned(address, now)
    }

    /// Whether nobody but trusted peers may be at this address.
    #[must_use]
    pub fn is_range_banned(&self, address: &libp2p::Multiaddr, now: Mono) -> bool {
        self.ranges.iter().any(|(range, ban)| now < ban.until && range.covers(address))
    }

    /// Whether a person trusts the peer.
    #[must_use]
    pub fn is_trusted(&self, peer: &PeerId) -> bool {
        self.trusted.contains(peer)
    }

    /// Bans because a person says so, for so many milliseconds and at most [`MAX_BAN_MILLIS`]. A trusted peer is trusted no longer.
    ///
    /// # Errors
    /// When there are too many.
    pub fn ban(&mut self, whom: Whom, millis: u64, now: Mono) -> Result<(), TooMany> {
        let ban = Ban { until: now + millis.min(MAX_BAN_MILLIS), cause: Cause::Person };
        match whom {
            Whom::Peer(peer) => {
                let others = self.accounts.iter().filter(|(other, account)| {
                    **other != peer && account.ban.is_some_and(|ban| ban.cause == Cause::Person)
                });
                if others.count() >= MAX_DECISIONS {
                    return Err(TooMany);
                }
                self.trusted.remove(&peer);
                self.accounts.entry(peer).or_insert_with(|| Account::new(now)).ban = Some(ban);
                self.forget_surplus(now);
            }
            Whom::Range(range) => {
                let others =
                    self.ranges.iter().filter(|(other, ban)| **other != range && ban.cause == Cause::Person);
                if others.count() >= MAX_DECISIONS {
                    return Err(TooMany);
                }
                self.ranges.insert(range, ban);
            }
        }
        self.look_ahead();
        Ok(())
    }

    /// Ends a ban, and forgives what led to it; a peer that is not banned is forgiven what it did. `false` when there was nothing.
    pub fn unban(&mut self, whom: Whom) -> bool {
        match whom {
            Whom::Peer(peer) => {
                let blamed = |account: &Account| account.ban.is_some() || account.score < 0;
                let blamed = self.accounts.get(&peer).is_some_and(blamed);
                if blamed {
                    self.forgive(&peer);
                }
                blamed
            }
            Whom::Range(range) => {
                self.strikes.forget(&range);
                self.ranges.remove(&range).is_some()
            }
        }
    }

    /// Forgets what a peer did, for its host too.
    fn forgive(&mut self, peer: &PeerId) {
        self.accounts.remove(peer);
        self.strikes.forgive(peer);
    }

    /// Trusts a peer, or no longer: a trusted one is never disconnected or banned for what it does. A ban of it ends.
    ///
    /// # Errors
    /// When there are too many.
    pub fn trust(&mut self, peer: PeerId, trust: bool) -> Result<(), TooMany> {
        if !trust {
            self.trusted.remove(&peer);
        } else if self.trusted.len() >= MAX_DECISIONS && !self.trusted.contains(&peer) {
            return Err(TooMany);
        } else {
            self.trusted.insert(peer);
            if self.accounts.get(&peer).is_some_and(|account| account.ban.is_some()) {
                self.forgive(&peer);
            }
        }
        Ok(())
    }

    /// Who is banned.
    pub fn bans(&self, now: Mono) -> impl Iterator<Item = (Whom, Ban)> + '_ {
        let peers =
            self.accounts.iter().filter_map(|(peer, account)| Some((Whom::Peer(*peer), account.ban?)));
        let ranges = self.ranges.iter().map(|(range, ban)| (Whom::Range(*range), *ban));
        peers.chain(ranges).filter(move |(_, ban)| now < ban.until)
    }

    /// Whom a person trusts.
    pub fn trusted(&self) -> impl Iterator<Item = &PeerId> {
        self.trusted.iter()
    }

    /// Ends bans that are over, and returns whose, those that gave way to others among them.
    pub fn end_bans(&mut self, now: Mono) -> Vec<Whom> {
        if self.given_way.is_empty() && self.soonest.is_none_or(|soonest| now < soonest) {
            return Vec::new();
        }
        let mut ended = std::mem::take(&mut self.given_way);
        for (peer, account) in &mut self.accounts {
            if account.ban.is_some_and(|ban| ban.until <= now) {
                account.ban = None;
                ended.push(Whom::Peer(*peer));
            }
        }
        let over: Vec<_> =
            self.ranges.iter().filter(|(_, ban)| ban.until <= now).map(|(range, _)| *range).collect();
        for range in over {
            self.ranges.remove(&range);
            ended.push(Whom::Range(range));
        }
        self.look_ahead();
        ended
    }

    /// When the next ban ends, or a little before: one that was ended early may still count.
    #[must_use]
    pub const fn next_end(&self) -> Option<Mono> {
        self.soonest
    }

    /// Looks anew for the ban that ends first. There may be thousands, and whoever asks does so at every message.
    fn look_ahead(&mut self) {
        let peers = self.accounts.values().filter_map(|account| account.ban);
        self.soonest = peers.chain(self.ranges.values().copied()).map(|ban| ban.until).min();
    }

    /// What is to be kept of a peer for the next start; `None` when nothing.
    #[must_use]
    pub fn stored(&self, peer: &PeerId, now: Now) -> Option<Stored> {
        self.accounts.get(peer).and_then(|account| account.stored(now))
    }

    /// What is to be kept of a range: when its ban ends, in milliseconds of the wall clock, and whether a person says so.
    #[must_use]
    pub fn stored_range(&self, range: &AddressRange, now: Now) -> Option<(u64, bool)> {
        let ban = self.ranges.get(range).filter(|ban| now.mono < ban.until)?;
        Some((now.wall.0.saturating_add(ban.until - now.mono), ban.cause == Cause::Person))
    }

    /// The hosts of whose banned peers there is something else to be kept since the last call.
    pub fn take_struck(&mut self) -> BTreeSet<AddressRange> {
        self.strikes.take_changed()
    }

    /// What is to be kept of the banned peers of a host; `None` when nothing.
    #[must_use]
    pub fn stored_strikes(&self, host: &AddressRange, now: Now) -> Option<StoredStrikes> {
        self.strikes.stored(host, now)
    }

    /// Takes up what was kept of the banned peers of a host.
    pub fn restore_strikes(&mut self, host: AddressRange, stored: &StoredStrikes, now: Now) {
        self.strikes.restore(host, stored, now);
    }

    /// Takes up what was kept of a peer.
    pub fn restore(&mut self, peer: PeerId, stored: Stored, now: Now) {
        if self.accounts.len() < MAX_ACCOUNTS {
            let account = Account::restored(stored, now);
            self.soonest = self.soonest.into_iter().chain(account.ban.map(|ban| ban.until)).min();
            self.accounts.insert(peer, account);
        }
    }

    /// Takes up what was kept of a range.
    pub fn restore_range(&mut self, range: AddressRange, (until, by_hand): (u64, bool), now: Now) {
        let (cause, longest) =
            if by_hand { (Cause::Person, MAX_BAN_MILLIS) } else { (Cause::Host, HOST_BAN_MILLIS) };
        let left = until.saturating_sub(now.wall.0).min(longest);
        let alike = self.ranges.values().filter(|ban| ban.cause == cause);
        if left > 0 && alike.count() < MAX_DECISIONS.min(MAX_HOST_BANS) {
            let until = now.mono + left;
            self.soonest = self.soonest.into_iter().chain([until]).min();
            self.ranges.insert(range, Ban { until, cause });
        }
    }

    fn forget_surplus(&mut self, now: Mono) {
        // A ban is never forgotten before its end; there are fewer of them than accounts.
        if self.accounts.len() > MAX_ACCOUNTS {
            let others = self.accounts.iter().filter(|(_, account)| account.ban.is_none());
            let best = others.max_by_key(|(_, account)| account.score_at(now));
            if let Some(peer) = best.map(|(peer, _)| *peer) {
                self.accounts.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests;
