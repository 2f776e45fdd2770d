//! The reputation ledger: one score a peer, lowered by offences, healed by time.

use std::collections::BTreeMap;

use libp2p::PeerId;

use super::{Offence, Severity};
use crate::primitives::Mono;

/// Points are kept in thousandths, so that decay does not round them away.
const SCALE: i64 = 1000;
/// The lowest score there is.
const FLOOR: i64 = -100 * SCALE;
/// Below this a peer is disconnected.
const DISCONNECT_BELOW: i64 = -20 * SCALE;
/// Below this a peer is banned.
const BAN_BELOW: i64 = -50 * SCALE;
/// A score halves in ten minutes.
const HALF_LIFE_MILLIS: u64 = 10 * 60 * 1000;
/// How long a ban lasts.
const BAN_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// The most peers remembered; past it the one with the best score is forgotten.
const MAX_PEERS: usize = 4096;

/// What follows from an offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// Remember it.
    None,
    /// Close the connections.
    Disconnect,
    /// Close the connections and accept no more until the ban ends.
    Ban,
}

#[derive(Clone, Debug)]
struct Account {
    score: i64,
    as_of: Mono,
    banned_until: Option<Mono>,
}

impl Account {
    fn score_at(&self, now: Mono) -> i64 {
        let elapsed = now - self.as_of;
        let halvings = elapsed / HALF_LIFE_MILLIS;
        if halvings >= 40 {
            return 0;
        }
        let whole = self.score >> halvings;
        // Between two halvings the score moves in a straight line: near enough, and the same on every machine.
        let part = i64::try_from(elapsed % HALF_LIFE_MILLIS).expect("less than a half-life");
        whole - whole * part / (2 * i64::try_from(HALF_LIFE_MILLIS).expect("a small constant"))
    }
}

/// Scores, and who is banned.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<PeerId, Account>,
}

impl Ledger {
    /// Books an offence and says what follows.
    pub fn report(&mut self, peer: PeerId, offence: Offence, now: Mono) -> Consequence {
        let account =
            self.accounts.entry(peer).or_insert(Account { score: 0, as_of: now, banned_until: None });
        let points = i64::from(offence.severity().points()) * SCALE;
        account.score = (account.score_at(now) - points).max(FLOOR);
        account.as_of = now;
        let consequence = if account.score < BAN_BELOW || offence.severity() == Severity::Fatal {
            account.banned_until = Some(now + BAN_MILLIS);
            Consequence::Ban
        } else if account.score < DISCONNECT_BELOW {
            Consequence::Disconnect
        } else {
            Consequence::None
        };
        self.forget_surplus(now);
        consequence
    }

    /// The peer's score in whole points: 0 is neutral.
    #[must_use]
    pub fn score(&self, peer: &PeerId, now: Mono) -> i32 {
        let score = self.accounts.get(peer).map_or(0, |account| account.score_at(now));
        i32::try_from(score / SCALE).expect("between the floor and zero")
    }

    /// Whether the peer is banned.
    #[must_use]
    pub fn is_banned(&self, peer: &PeerId, now: Mono) -> bool {
        self.accounts.get(peer).and_then(|account| account.banned_until).is_some_and(|until| now < until)
    }

    /// Ends bans that are over, and returns whose.
    pub fn end_bans(&mut self, now: Mono) -> Vec<PeerId> {
        let mut ended = Vec::new();
        for (peer, account) in &mut self.accounts {
            if account.banned_until.is_some_and(|until| until <= now) {
                account.banned_until = None;
                ended.push(*peer);
            }
        }
        ended
    }

    /// When the next ban ends.
    #[must_use]
    pub fn next_end(&self) -> Option<Mono> {
        self.accounts.values().filter_map(|account| account.banned_until).min()
    }

    fn forget_surplus(&mut self, now: Mono) {
        if self.accounts.len() > MAX_PEERS {
            let best = self.accounts.iter().max_by_key(|(_, account)| account.score_at(now));
            if let Some(peer) = best.map(|(peer, _)| *peer) {
                self.accounts.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn peer(byte: u8) -> PeerId {
        let mut seed = [byte; 32];
        libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
    }

    #[test]
    fn offences_add_up_to_disconnection_and_then_to_a_ban_that_ends() {
        let mut ledger = Ledger::default();
        let (mallory, now) = (peer(1), Mono(1000));
        assert_eq!(ledger.report(mallory, Offence::Malformed, now), Consequence::None);
        assert_eq!(ledger.report(mallory, Offence::Malformed, now), Consequence::None);
        assert_eq!(ledger.report(mallory, Offence::Malformed, now), Consequence::Disconnect);
        ledger.report(mallory, Offence::Malformed, now);
        ledger.report(mallory, Offence::Malformed, now);
        assert!(!ledger.is_banned(&mallory, now));
        assert_eq!(ledger.report(mallory, Offence::Malformed, now), Consequence::Ban);
        assert!(ledger.is_banned(&mallory, now) && !ledger.is_banned(&peer(2), now));
        let end = ledger.next_end().unwrap();
        assert_eq!(ledger.end_bans(end), [mallory]);
        assert!(!ledger.is_banned(&mallory, end));
        assert_eq!(ledger.score(&mallory, end), 0);
    }

    #[test]
    fn proven_malice_bans_at_once() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.report(peer(1), Offence::BadSignature, Mono(0)), Consequence::Ban);
    }

    #[test]
    fn scores_halve_in_ten_minutes() {
        let mut ledger = Ledger::default();
        ledger.report(peer(1), Offence::Malformed, Mono(0));
        ledger.report(peer(1), Offence::Malformed, Mono(0));
        assert_eq!(ledger.score(&peer(1), Mono(0)), -20);
        assert_eq!(ledger.score(&peer(1), Mono(HALF_LIFE_MILLIS / 2)), -15);
        assert_eq!(ledger.score(&peer(1), Mono(HALF_LIFE_MILLIS)), -10);
        assert_eq!(ledger.score(&peer(1), Mono(2 * HALF_LIFE_MILLIS)), -5);
    }

    #[test]
    fn the_ledger_stays_bounded_and_forgets_the_best_first() {
        let mut ledger = Ledger::default();
        let id = |index: usize| {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&(index as u64).to_le_bytes());
            libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
        };
        ledger.report(id(0), Offence::BadSignature, Mono(0));
        for index in 1..=MAX_PEERS + 3 {
            ledger.report(id(index), Offence::Flood, Mono(0));
        }
        assert_eq!(ledger.accounts.len(), MAX_PEERS);
        assert!(ledger.is_banned(&id(0), Mono(1)));
    }
}
