//! Finding those who have something: who they are and where, both by the distributed hash table, and a connection to them.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};

use super::{connections::Connections, dht::Dht, effects::Effects};
use crate::{
    peers::{Role, can_dial},
    primitives::{Hash, Held, Mono},
};

/// The first pause between two looks for the same, and the longest: it doubles.
const FIRST_PAUSE_MILLIS: u64 = 1_000;
const LAST_PAUSE_MILLIS: u64 = 60_000;
/// The most peers that are remembered for having the same.
const MAX_NAMED: usize = 20;
/// The most peers that are dialled for what they have, at a time, and where and how often each.
const MAX_REACHED: usize = 16;
const MAX_ADDRESSES: usize = 3;
const TRIES: u32 = 2;
/// After so long another takes the place of one that was not reached.
const REACH_MILLIS: u64 = 15_000;

#[derive(Debug)]
struct Wanted {
    look: Mono,
    pause: u64,
    named: BTreeSet<PeerId>,
    /// So many of them are enough to be connected.
    enough: usize,
}

#[derive(Debug)]
pub(super) struct Seeking {
    local: PeerId,
    role: Role,
    wanted: BTreeMap<Hash, Wanted>,
    /// Whom we are about to connect to, and until when.
    reached: BTreeMap<PeerId, Mono>,
}

impl Seeking {
    pub(super) const fn new((local, role): (PeerId, Role)) -> Self {
        Self { local, role, wanted: BTreeMap::new(), reached: BTreeMap::new() }
    }

    pub(super) fn held(&self) -> [Held; 2] {
        let named = self.wanted.values().map(|wanted| wanted.named.len()).max().unwrap_or(0);
        [
            Held::new("peers named for what they have", named, MAX_NAMED),
            Held::new("peers dialled for what they have", self.reached.len(), MAX_REACHED),
        ]
    }

    /// Looks for those who have what this key names, again and again, until [`Self::found_enough`].
    pub(super) fn want(&mut self, fx: &Effects, key: Hash, enough: usize) {
        let wanted =
            || Wanted { look: fx.now.mono, pause: FIRST_PAUSE_MILLIS, named: BTreeSet::new(), enough };
        self.wanted.entry(key).or_insert_with(wanted);
    }

    pub(super) fn found_enough(&mut self, key: &Hash) {
        self.wanted.remove(key);
    }

    /// The table was asked who has what a key names. Returns those of them who are connected.
    pub(super) fn named(
        &mut self,
        fx: &mut Effects,
        dht: &mut Dht,
        connections: &Connections,
        key: &Hash,
        peers: Vec<PeerId>,
    ) -> Vec<PeerId> {
        let now = fx.now.mono;
        self.reached.retain(|_, until| *until > now);
        let Some(wanted) = self.wanted.get_mut(key) else { return Vec::new() };
        let peers: Vec<_> = peers.into_iter().filter(|peer| *peer != self.local).collect();
        let (connected, others): (Vec<_>, Vec<_>) =
            peers.into_iter().partition(|peer| connections.direct_link(peer).is_some());
        wanted.named.extend(connected.iter().copied().take(MAX_NAMED.saturating_sub(wanted.named.len())));
        if connected.len() >= wanted.enough {
            return connected;
        }
        for peer in others {
            if wanted.named.len() < MAX_NAMED {
                wanted.named.insert(peer);
            }
            if self.reached.len() < MAX_REACHED
                && !self.reached.contains_key(&peer)
                && connections.is_free(&peer, now)
                && dht.has_room()
            {
                self.reached.insert(peer, now + REACH_MILLIS);
                dht.reach(fx, peer);
            }
        }
        connected
    }

    /// The table was asked where a peer is.
    pub(super) fn located(
        &mut self,
        fx: &mut Effects,
        connections: &mut Connections,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
    ) {
        if !self.reached.contains_key(&peer) || !connections.is_free(&peer, fx.now.mono) {
            return;
        }
        let is_told = !addresses.is_empty();
        let usable: Vec<_> = addresses
            .into_iter()
            .filter(|address| can_dial(self.role, address) && connections.is_believable(address))
            .take(MAX_ADDRESSES)
            .collect();
        if is_told && usable.is_empty() {
            fx.refuse("address-without-use");
        }
        for address in usable {
            connections.found(fx, peer, address, TRIES);
        }
    }

    /// A peer is connected. Returns what it is said to have.
    pub(super) fn arrived(&mut self, peer: &PeerId) -> Vec<Hash> {
        self.reached.remove(peer);
        let has = self.wanted.iter().filter(|(_, wanted)| wanted.named.contains(peer));
        has.map(|(key, _)| *key).collect()
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        self.wanted.values().map(|wanted| wanted.look).min()
    }

    pub(super) fn tick(&mut self, fx: &mut Effects, dht: &mut Dht) {
        let now = fx.now.mono;
        for (key, wanted) in self.wanted.iter_mut().filter(|(_, wanted)| wanted.look <= now) {
            wanted.look = now + wanted.pause;
            wanted.pause = (2 * wanted.pause).min(LAST_PAUSE_MILLIS);
            if dht.has_room() {
                dht.look(fx, *key);
            }
        }
    }
}
