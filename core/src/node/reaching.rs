//! Being reached: whether others can dial this peer, the slots on relays if they cannot, and the way from a relayed connection
//! to a direct one.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId};

use super::{
    Output, ReachState, ReachView, ReachedAt, ReachedBy, connections::Connections, effects::Effects,
    metrics::Snapshot,
};
use crate::{
    peers::{RelaySlots, Role, Scope, SlotStep},
    primitives::{Held, Mono},
};

/// What a relay's protocols contain.
const RELAY_PROTOCOL: &str = "/libp2p/circuit/relay/0.2.0/hop";
/// How long others may take to find out whether a native peer can be dialled, from the first relay on, before it counts as one
/// that cannot; and after the first test that failed.
const TEST_MILLIS: u64 = 12_000;
const REST_OF_TESTS_MILLIS: u64 = 3_000;
/// How long two peers may try for a direct connection: three attempts of 20 seconds, and their preparation.
const UPGRADE_MILLIS: u64 = 75_000;
/// The most addresses of our own that are proven.
const MAX_PROVEN: usize = 64;
/// How often a relay is dialled again.
const TRIES: u32 = 1;

/// What became of attempts to replace circuits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpgradeCounts {
    /// A direct connection took its place.
    pub succeeded: u64,
    /// It did not come about.
    pub failed: u64,
}

pub(super) struct Reaching {
    role: Role,
    /// How many slots to keep when nobody can dial us.
    wanted: usize,
    slots: RelaySlots,
    proven: BTreeMap<Multiaddr, ReachedBy>,
    /// When a native peer that is not proven to be reachable counts as one that is not.
    decided: Option<Mono>,
    /// Peers reached by circuit only, and when to give up trying for more.
    upgrading: BTreeMap<PeerId, Mono>,
    counts: UpgradeCounts,
}

impl Reaching {
    pub(super) fn new(role: Role, wanted: usize) -> Self {
        Self {
            role,
            wanted,
            slots: RelaySlots::default(),
            proven: BTreeMap::new(),
            decided: None,
            upgrading: BTreeMap::new(),
            counts: UpgradeCounts::default(),
        }
    }

    pub(super) fn reachable(&mut self, address: Multiaddr, by: ReachedBy) {
        if self.proven.len() < MAX_PROVEN || self.proven.contains_key(&address) {
            tracing::info!(%address, by = by.label(), "others can reach this peer");
            self.proven.insert(address, by);
        }
    }

    pub(super) fn unreachable(&mut self, fx: &Effects, address: &Multiaddr) {
        tracing::info!(%address, "others cannot reach this peer there");
        self.proven.remove(address);
        let soon = fx.now.mono + REST_OF_TESTS_MILLIS;
        self.decided = self.decided.map(|at| at.min(soon));
    }

    /// A peer said which protocols it speaks.
    pub(super) fn identified(
        &mut self,
        fx: &Effects,
        connections: &Connections,
        peer: PeerId,
        protocols: &[String],
    ) {
        if !protocols.iter().any(|name| name == RELAY_PROTOCOL) {
            return;
        }
        if let Some((address, true)) = connections.direct_link(&peer) {
            self.slots.met(peer, address, fx.now.mono);
            self.decided.get_or_insert(fx.now.mono + TEST_MILLIS);
        }
    }

    /// The last direct connection to a peer is closed.
    pub(super) fn left(&mut self, fx: &Effects, peer: &PeerId) {
        self.slots.left(peer, fx.now.mono);
    }

    /// A relay granted a slot. `true` if this is news.
    pub(super) fn granted(&mut self, peer: &PeerId) -> bool {
        let new = self.slots.granted(peer);
        if new {
            tracing::info!(relay = %peer, "a relay passes connections on to this peer");
        }
        new
    }

    pub(super) fn lost(&mut self, fx: &mut Effects, peer: &PeerId, reason: &str) {
        tracing::info!(relay = %peer, reason, "a relay passes no connections on to this peer");
        let jitter = fx.random();
        self.slots.lost(peer, jitter, fx.now.mono);
    }

    /// Asks for all slots anew: they may have ended unnoticed.
    pub(super) fn renew(&mut self, fx: &mut Effects) {
        for relay in self.slots.renew(fx.now.mono) {
            fx.push(Output::Release(relay));
        }
    }

    /// A circuit to a peer is open that has no direct connection. Natives try for one by themselves (DCUtR); what a tab tries is
    /// [`super::upgrades`]'s.
    pub(super) fn relayed(&mut self, fx: &Effects, peer: PeerId) {
        if self.role == Role::Browser {
            return;
        }
        self.upgrading.entry(peer).or_insert(fx.now.mono + UPGRADE_MILLIS);
    }

    /// A direct connection is open to a peer that has a circuit.
    pub(super) fn upgraded(&mut self, fx: &Effects, peer: PeerId) {
        if let Some(until) = self.upgrading.remove(&peer) {
            self.counts.succeeded += 1;
            let millis = took(until, fx.now.mono);
            tracing::info!(%peer, millis, "a direct connection replaces one through a relay");
        }
    }

    /// There will be no direct connection. `true` if one was still hoped for.
    pub(super) fn upgrade_failed(&mut self, fx: &Effects, peer: &PeerId, reason: &str) -> bool {
        let Some(until) = self.upgrading.remove(peer) else { return false };
        self.counts.failed += 1;
        let millis = took(until, fx.now.mono);
        tracing::info!(%peer, millis, reason, "there is no direct way to a peer: it stays on the relay");
        true
    }

    /// The last connection to a peer is closed.
    pub(super) fn gone(&mut self, fx: &Effects, peer: &PeerId) -> bool {
        self.upgrade_failed(fx, peer, "the circuit closed")
    }

    pub(super) fn is_upgrading(&self, peer: &PeerId) -> bool {
        self.upgrading.contains_key(peer)
    }

    /// Whether others as far away as this can dial us.
    fn is_proven_from(&self, scope: Scope) -> bool {
        self.proven.keys().any(|address| Scope::of(address).is_some_and(|reach| reach >= scope))
    }

    /// How many slots to keep at this time.
    fn wanted(&self, now: Mono) -> usize {
        match self.role {
            Role::Browser => self.wanted,
            Role::Native | Role::Relay if self.decided.is_some_and(|at| at <= now) => self.wanted,
            Role::Native | Role::Relay => 0,
        }
    }

    pub(super) fn next_due(&self, now: Mono) -> Option<Mono> {
        let wanted = self.wanted(now);
        let useful = |address: &Multiaddr| self.is_useful(address);
        let decided = self.decided.filter(|at| *at > now);
        let slots = self.slots.next_due(wanted, useful);
        decided.into_iter().chain(slots).chain(self.upgrading.values().copied()).min()
    }

    /// Whether a slot on the relay at this address lets more reach us than do without.
    fn is_useful(&self, address: &Multiaddr) -> bool {
        Scope::of(address).is_some_and(|scope| !self.is_proven_from(scope))
    }

    /// Does what is due. Returns the peers to which no direct connection came about in time.
    pub(super) fn tick(&mut self, fx: &mut Effects, connections: &mut Connections) -> Vec<PeerId> {
        let now = fx.now.mono;
        let wanted = self.wanted(now);
        let proven = &self.proven;
        let useful = |address: &Multiaddr| {
            Scope::of(address).is_some_and(|scope| {
                !proven.keys().any(|own| Scope::of(own).is_some_and(|reach| reach >= scope))
            })
        };
        for step in self.slots.due(wanted, useful, now) {
            match step {
                SlotStep::Ask(relay, circuit) => fx.push(Output::Reserve { relay, circuit }),
                SlotStep::Release(relay) => fx.push(Output::Release(relay)),
                SlotStep::Dial(relay, address) => connections.found(fx, relay, address, TRIES),
            }
        }
        let late = self.upgrading.iter().filter(|(_, at)| **at <= now).map(|(peer, _)| *peer);
        let late: Vec<_> = late.collect();
        for peer in &late {
            self.upgrade_failed(fx, peer, "it took too long");
        }
        late
    }

    pub(super) fn held(&self) -> [Held; 2] {
        [self.slots.known(), Held::new("proven addresses", self.proven.len(), MAX_PROVEN)]
    }

    pub(super) fn measure(&self, snapshot: &mut Snapshot) {
        snapshot.slots = self.slots.held().count() as u64;
        snapshot.upgrades = self.counts;
        for by in ReachedBy::ALL {
            let count = self.proven.values().filter(|other| **other == by).count();
            snapshot.proven.insert(by.label(), count as u64);
        }
    }

    pub(super) fn view(&self, now: Mono) -> ReachView {
        let relays: Vec<_> = self.slots.held().map(|relay| relay.to_string()).collect();
        let state = if !self.proven.is_empty() {
            ReachState::Direct
        } else if !relays.is_empty() {
            ReachState::Relayed
        } else if self.role == Role::Browser || self.decided.is_some_and(|at| at <= now) {
            ReachState::No
        } else {
            ReachState::Unknown
        };
        let proven = self
            .proven
            .iter()
            .map(|(address, by)| ReachedAt { address: address.to_string(), by: by.label().to_owned() });
        ReachView { state, proven: proven.collect(), relays }
    }
}

/// How long two peers have been trying who may until then.
fn took(until: Mono, now: Mono) -> u64 {
    UPGRADE_MILLIS.saturating_sub(until - now)
}

#[cfg(test)]
mod tests;
