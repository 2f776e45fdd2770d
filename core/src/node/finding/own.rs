//! What is told of ourselves, and of the tabs that are connected here.

use libp2p::{Multiaddr, PeerId};

use super::{Finding, is_of, without_peer};
use crate::{
    node::{connections::Connections, effects::Effects},
    peers::{
        PeerRecord, RECORD_LIFETIME_MILLIS, Role, Scope, can_dial, can_dial_through, is_circuit,
        is_signalled, verify_records,
    },
    primitives::Held,
};

/// Own records are signed anew so often.
const SIGN_MILLIS: u64 = RECORD_LIFETIME_MILLIS / 4;

/// The most connected tabs that are told of, and the most of them in one answer.
const MAX_GUESTS: usize = 1024;

const MAX_GUESTS_TOLD: usize = 8;

impl Finding {
    /// What we say of ourselves; nothing while nobody can dial us.
    pub(super) fn own_record(&mut self, fx: &Effects, connections: &Connections) -> Option<&PeerRecord> {
        let key = self.key.as_ref()?;
        let addresses = self.own_addresses(connections);
        let is_current = self.own.as_ref().is_some_and(|(known, record)| {
            *known == addresses
                && record.issued() <= fx.now.wall
                && fx.now.wall.0 < record.issued().0.saturating_add(SIGN_MILLIS)
        });
        if !is_current {
            let record = PeerRecord::sign(key, &self.chain, fx.now.wall, &addresses);
            self.own = Some((addresses, record));
        }
        self.own.as_ref().filter(|(addresses, _)| !addresses.is_empty()).map(|(_, record)| record)
    }

    /// Where others reach us.
    pub(in crate::node) fn own_addresses(&self, connections: &Connections) -> Vec<Multiaddr> {
        let mut addresses: Vec<_> = connections
            .addresses
            .iter()
            .map(without_peer)
            .filter(|address| {
                let met = !is_circuit(address) || is_signalled(address) || self.is_met_there(address);
                Scope::of(address).is_some() && met
            })
            .collect();
        // The furthest first: of too many the nearest are left out.
        addresses.sort_by_key(|address| (std::cmp::Reverse(Scope::of(address)), is_circuit(address)));
        addresses.dedup();
        addresses
    }

    /// Whether others of our kind reach us through a relay at this address.
    fn is_met_there(&self, address: &Multiaddr) -> bool {
        self.role == Role::Native && can_dial_through(self.role, address)
    }

    pub(super) fn held_guests(&self) -> Held {
        Held::new("connected tabs to tell of", self.guests.len(), MAX_GUESTS)
    }

    /// Keeps what a connected peer says of itself that only tabs can make use of, to tell other tabs while it is connected.
    pub(super) fn welcome(&mut self, fx: &Effects, peer: PeerId, own: &PeerRecord) {
        let addresses = own.addresses();
        let is_guest = addresses.iter().any(|address| is_signalled(address) && is_of(address, &peer))
            && !addresses.iter().any(|address| can_dial(self.role, address));
        let is_known = self.guests.contains_key(&peer) || self.guests.len() < MAX_GUESTS;
        let is_proven = || verify_records(std::slice::from_ref(own), &self.chain) == [true];
        if is_guest && is_known && own.is_timely(fx.now.wall) && is_proven() {
            self.guests.insert(peer, own.clone());
        }
    }

    /// Some of them, by lot.
    pub(super) fn some_guests(&self, fx: &mut Effects, but: &PeerId) -> Vec<PeerRecord> {
        if self.guests.is_empty() {
            return Vec::new();
        }
        let skip = fx.random() as usize % self.guests.len();
        let lot = self.guests.iter().skip(skip).chain(self.guests.iter().take(skip));
        let lot = lot.filter(|(peer, record)| *peer != but && record.is_timely(fx.now.wall));
        lot.take(MAX_GUESTS_TOLD).map(|(_, record)| record.clone()).collect()
    }
}
