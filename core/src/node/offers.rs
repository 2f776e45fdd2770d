//! What this peer says in the distributed hash table that it has: said until somebody has heard it, once more a while later when more of
//! the table is known, and from then on by libp2p, every 12 hours, since others forget it after 48.

use std::collections::BTreeMap;

use super::{DhtQuery, dht::Dht, effects::Effects};
use crate::primitives::{Hash, Mono};

/// The first pause after nobody could be told, and the longest: it doubles.
const FIRST_PAUSE_MILLIS: u64 = 1_000;
const LAST_PAUSE_MILLIS: u64 = 60_000;
/// When it is said once more.
const AGAIN_MILLIS: u64 = 10 * 60 * 1000;

#[derive(Debug)]
struct Offer {
    due: Option<Mono>,
    pause: u64,
    told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Offers(BTreeMap<Hash, Offer>);

impl Offers {
    /// Says from now on that we have what this key names.
    pub(super) fn add(&mut self, fx: &Effects, key: Hash) {
        let offer = || Offer { due: Some(fx.now.mono), pause: FIRST_PAUSE_MILLIS, told: false };
        self.0.entry(key).or_insert_with(offer);
    }

    /// Says it no longer; others forget it in time.
    pub(super) fn remove(&mut self, fx: &mut Effects, dht: &mut Dht, key: &Hash) {
        if self.0.remove(key).is_some() {
            dht.say(fx, DhtQuery::Withdraw(*key));
        }
    }

    /// Whether somebody has been told of it.
    pub(super) fn is_told(&self, key: &Hash) -> bool {
        self.0.get(key).is_some_and(|offer| offer.told)
    }

    /// Somebody was told of it, or nobody could be.
    pub(super) fn said(&mut self, fx: &Effects, key: &Hash, heard: bool) {
        let Some(offer) = self.0.get_mut(key) else { return };
        if heard {
            offer.due = (!offer.told).then_some(fx.now.mono + AGAIN_MILLIS);
            offer.told = true;
        } else {
            offer.due = Some(fx.now.mono + offer.pause);
            offer.pause = (2 * offer.pause).min(LAST_PAUSE_MILLIS);
        }
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        self.0.values().filter_map(|offer| offer.due).min()
    }

    pub(super) fn tick(&mut self, fx: &mut Effects, dht: &mut Dht) {
        let now = fx.now.mono;
        for (key, offer) in self.0.iter_mut().filter(|(_, offer)| offer.due.is_some_and(|due| due <= now)) {
            if dht.has_room() {
                offer.due = None;
                dht.offer(fx, *key);
            } else {
                offer.due = Some(now + offer.pause);
            }
        }
    }
}
