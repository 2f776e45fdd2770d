//! Which peers of a host were banned: several of them within a day are enough to ban the host.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use super::{AddressRange, BAN_MILLIS};
use crate::primitives::{Mono, Now};

/// So many peers of a host are banned by the ledger, within the time a ban lasts, before the host is.
const HOST_STRIKES: usize = 3;
/// The most hosts whose banned peers are counted; past it the one that was quiet longest is forgotten.
pub(super) const MAX_HOSTS: usize = 1024;

/// What is kept of a host: the ids of its banned peers, and until when each counts, in milliseconds of the wall clock.
pub type StoredStrikes = Vec<(Vec<u8>, u64)>;

/// The banned peers of hosts.
#[derive(Clone, Debug, Default)]
pub(super) struct Strikes {
    /// Until when each of them counts.
    hosts: BTreeMap<AddressRange, BTreeMap<PeerId, Mono>>,
    /// Hosts of which there is something else to keep.
    changed: BTreeSet<AddressRange>,
}

impl Strikes {
    /// The number of hosts.
    pub(super) fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Counts a banned peer of a host, and says whether they are enough now; then they are forgotten.
    pub(super) fn add(&mut self, host: AddressRange, peer: PeerId, now: Mono) -> bool {
        if !self.hosts.contains_key(&host) && self.hosts.len() >= MAX_HOSTS {
            let quiet = self.hosts.iter().min_by_key(|(_, peers)| peers.values().max().copied());
            if let Some(quiet) = quiet.map(|(host, _)| *host) {
                self.forget(&quiet);
            }
        }
        self.changed.insert(host);
        let peers = self.hosts.entry(host).or_default();
        peers.retain(|_, until| now < *until);
        peers.insert(peer, now + BAN_MILLIS);
        let enough = peers.len() >= HOST_STRIKES;
        if enough {
            self.hosts.remove(&host);
        }
        enough
    }

    /// Forgets what speaks against a host.
    pub(super) fn forget(&mut self, host: &AddressRange) {
        if self.hosts.remove(host).is_some() {
            self.changed.insert(*host);
        }
    }

    /// Counts a peer no longer, wherever it was.
    pub(super) fn forgive(&mut self, peer: &PeerId) {
        for (host, peers) in &mut self.hosts {
            if peers.remove(peer).is_some() {
                self.changed.insert(*host);
            }
        }
        self.hosts.retain(|_, peers| !peers.is_empty());
    }

    /// The hosts of which there is something else to keep since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<AddressRange> {
        std::mem::take(&mut self.changed)
    }

    /// What is to be kept of a host for the next start; `None` when nothing.
    pub(super) fn stored(&self, host: &AddressRange, now: Now) -> Option<StoredStrikes> {
        let peers = self.hosts.get(host)?.iter().filter(|(_, until)| now.mono < **until);
        let wall = |until: Mono| now.wall.0.saturating_add(until - now.mono);
        let stored: StoredStrikes = peers.map(|(peer, until)| (peer.to_bytes(), wall(*until))).collect();
        (!stored.is_empty()).then_some(stored)
    }

    /// Takes up what was kept of a host. A clock that was set back lets nobody count for longer than at first.
    pub(super) fn restore(&mut self, host: AddressRange, stored: &StoredStrikes, now: Now) {
        let left = |until: u64| until.saturating_sub(now.wall.0).min(BAN_MILLIS);
        let peers = stored.iter().filter(|(_, until)| left(*until) > 0);
        let peers =
            peers.filter_map(|(peer, until)| Some((PeerId::from_bytes(peer).ok()?, now.mono + left(*until))));
        // One more would have been enough.
        let peers: BTreeMap<_, _> = peers.take(HOST_STRIKES - 1).collect();
        if !peers.is_empty() && self.hosts.len() < MAX_HOSTS {
            self.hosts.insert(host, peers);
        }
    }
}
