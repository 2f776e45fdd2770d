//! Whom to connect to: from the book, and in no network in which we have a connection already.

use std::collections::BTreeSet;

use libp2p::{Multiaddr, PeerId};

use super::{
    FIRST_ASK_MILLIS, FIRST_HURRY_MILLIS, Finding, LONG_HURRY_MILLIS, LOOK_MILLIS, NOBODY_MILLIS,
    SPREAD_MILLIS, can_reach,
};
use crate::{
    node::{connections::Connections, effects::Effects},
    peers::{Group, Scope, is_circuit},
    primitives::Mono,
};

impl Finding {
    /// Whether the peer was chosen here, and is dialled, or would be again.
    pub(super) fn is_sought(&self, connections: &Connections, peer: &PeerId) -> bool {
        self.chosen.contains(peer) && connections.is_sought(peer)
    }

    /// How many of the chosen peers are tried and not connected, over circuits for want of better included. Whom a person named is
    /// tried for ever, and keeps no place meanwhile.
    pub(super) fn seeking(&self, connections: &Connections) -> usize {
        let tried = |peer: &&PeerId| connections.is_sought(peer) && !connections.is_named(peer);
        let chosen = self.chosen.iter().filter(tried);
        chosen.filter(|peer| connections.direct_link(peer).is_none()).count()
    }

    /// Forgets the choice of those who were tried in vain, or have left.
    pub(super) fn unchoose(&mut self, connections: &Connections) {
        self.chosen.retain(|peer| connections.is_sought(peer));
    }

    /// How many connections to others are missing.
    pub(in crate::node) fn missing(&self, connections: &Connections) -> usize {
        self.discovery.outbound.saturating_sub(self.outbound.len() + self.seeking(connections))
    }

    /// Dials one more peer if connections are missing, and says when to look again.
    pub(super) fn fill(&mut self, fx: &mut Effects, connections: &mut Connections) -> Option<Mono> {
        self.unchoose(connections);
        if self.missing(connections) == 0 {
            self.hurry_pause = FIRST_HURRY_MILLIS;
            return None;
        }
        // Whoever we know may know somebody new by now.
        self.ask_all(fx);
        let for_blocks = self.is_next_for_blocks(connections);
        let is_cut_off = self.hurry_pause >= LONG_HURRY_MILLIS
            && self.outbound.iter().all(|peer| self.for_blocks.contains(peer));
        let choice = self.choose(fx, connections, false);
        // Where there is nobody else they are of more use for everything.
        if is_cut_off || (choice.is_none() && !for_blocks) {
            self.widen_one(fx);
        }
        let Some((peer, address)) = choice else {
            return Some(fx.now.mono + NOBODY_MILLIS);
        };
        self.chosen.insert(peer);
        if self.left.contains(&peer) {
            connections.keep(fx, peer, address);
            self.take(peer);
            return Some(fx.now.mono + LOOK_MILLIS);
        }
        // Who is met through a relay is known there.
        if for_blocks && !is_circuit(&address) {
            self.for_blocks.insert(peer);
        }
        connections.found(fx, peer, address, 1);
        Some(fx.now.mono + LOOK_MILLIS)
    }

    /// Whether the next connection of our own is for blocks only: when only such are missing.
    fn is_next_for_blocks(&mut self, connections: &Connections) -> bool {
        let outbound = &self.outbound;
        self.for_blocks.retain(|peer| outbound.contains(peer) || connections.is_sought(peer));
        let full = (self.outbound.len() + self.seeking(connections)).saturating_sub(self.for_blocks.len());
        full + self.discovery.for_blocks() >= self.discovery.outbound
            && self.for_blocks.len() < self.discovery.for_blocks()
    }

    /// Whether neither transactions nor addresses of peers pass between us and a peer.
    pub(in crate::node) fn is_for_blocks(&self, peer: &PeerId) -> bool {
        self.for_blocks.contains(peer)
    }

    /// Makes use of a connection that is for blocks only, if there is one, for everything.
    fn widen_one(&mut self, fx: &mut Effects) {
        let Some(peer) = self.outbound.iter().copied().find(|peer| self.for_blocks.remove(peer)) else {
            return;
        };
        self.widened.push(peer);
        if self.discovery.exchange {
            let after = FIRST_ASK_MILLIS + fx.random() % SPREAD_MILLIS;
            self.ask_at(peer, fx.now.mono + after);
        }
    }

    /// Peers that were connected for blocks only, and now are for everything, since this was last asked.
    pub(in crate::node) fn take_widened(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.widened)
    }

    pub(super) fn feel(&mut self, fx: &mut Effects, connections: &mut Connections) {
        self.unchoose(connections);
        if let Some((peer, address)) = self.choose(fx, connections, true) {
            self.feelers.insert(peer);
            self.chosen.insert(peer);
            connections.found(fx, peer, address, 1);
        }
    }

    /// A peer to dial and where, in no network in which we have a connection already, unless that is our own. Where something else has
    /// opened a connection to a peer, that will do. For a test any network will do: it lasts a moment.
    fn choose(
        &mut self,
        fx: &mut Effects,
        connections: &Connections,
        test: bool,
    ) -> Option<(PeerId, Multiaddr)> {
        let taken: BTreeSet<_> = self
            .outbound
            .iter()
            .filter(|_| self.discovery.guards.diversity)
            .filter_map(|peer| Some(Group::of(connections.direct_address(peer)?)))
            .collect();
        let role = self.role;
        let usable = |address: &Multiaddr| {
            can_reach(role, address)
                && (test || Scope::of(address) != Some(Scope::World) || !taken.contains(&Group::of(address)))
        };
        let now = fx.now;
        let left =
            |peer: &PeerId| self.left.contains(peer).then(|| connections.direct_address(peer)).flatten();
        let wanted = |peer: &PeerId, addresses: &[Multiaddr]| match left(peer) {
            Some(at) => !test && usable(at),
            None => connections.is_free(peer, now.mono) && addresses.iter().any(usable),
        };
        let (peer, addresses) = if test {
            let here = |peer: &PeerId| connections.direct_address(peer).is_some();
            self.book.to_test(&mut fx.rng, now.wall, &here, &wanted)?
        } else {
            self.book.pick(&mut fx.rng, now.wall, &wanted)?
        };
        if let Some(at) = left(&peer) {
            return Some((peer, at.clone()));
        }
        // Through a relay only when there is no other way.
        let direct = addresses.iter().find(|address| usable(address) && !is_circuit(address)).cloned();
        Some((peer, direct.or_else(|| addresses.into_iter().find(usable))?))
    }
}
