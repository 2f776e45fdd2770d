//! Peers that were named by a name in the DNS: asked for through the shell, and dialled while none of them is connected.

use std::collections::BTreeSet;

use libp2p::{Multiaddr, PeerId};
use rand_core::Rng;

use super::{Output, connections::Connections, effects::Effects, finding::Finding};
use crate::{
    peers::{Found, NameError, Names, Role, can_dial},
    primitives::{Held, Mono},
};

/// How many of a name's peers are dialled after each look-up that finds none of them connected, and how often each.
const DIALLED: usize = 4;
const TRIES: u32 = 2;

pub(super) struct Seeds {
    role: Role,
    names: Names,
}

impl Seeds {
    pub(super) fn held(&self) -> Held {
        self.names.held()
    }

    /// Takes up the names among the peers to begin with; the rest is none of ours.
    pub(super) fn new(role: Role, named: Vec<Multiaddr>, fx: &mut Effects) -> Self {
        let mut seeds = Self { role, names: Names::default() };
        for address in named {
            if let Err(error) = seeds.add(fx, &address) {
                fx.raise(format!("{address} is not looked up: {error}"));
            }
        }
        seeds
    }

    pub(super) fn add(&mut self, fx: &Effects, address: &Multiaddr) -> Result<(), NameError> {
        self.names.add(address, fx.now.mono)
    }

    pub(super) fn connected(&mut self, fx: &Effects, peer: &PeerId) {
        self.names.connected(peer, fx.now.mono);
    }

    pub(super) fn disconnected(&mut self, fx: &Effects, peer: &PeerId) {
        self.names.disconnected(peer, fx.now.mono);
    }

    pub(super) fn next_due(&self) -> Option<Mono> {
        self.names.next_due()
    }

    pub(super) fn tick(&mut self, fx: &mut Effects) {
        for name in self.names.due(fx.now.mono) {
            fx.push(Output::Resolve(name));
        }
    }

    /// The DNS said what a name stands for, or why it did not.
    pub(super) fn resolved(
        &mut self,
        fx: &mut Effects,
        connections: &mut Connections,
        finding: &mut Finding,
        name: &str,
        outcome: Result<Vec<String>, String>,
    ) {
        let problem = format!("no peers are found at {name}");
        let texts = match outcome {
            Ok(texts) => texts,
            Err(reason) => {
                fx.lower(&problem);
                fx.raise(format!("{problem}: {reason}; still trying"));
                return;
            }
        };
        let (mut found, refused) = self.names.answered(name, &texts, fx.now.mono);
        (0..refused).for_each(|_| fx.refuse("dns-record"));
        found.retain(|(_, address)| can_dial(self.role, address));
        fx.lower(&problem);
        if found.is_empty() && !texts.iter().any(|text| text.starts_with("dnsaddr=/dnsaddr/")) {
            fx.raise(format!(
                "{problem}: it has no record of one that can be dialled from here; still trying"
            ));
        }
        for (peer, address) in &found {
            finding.discovered(fx, *peer, address, Found::Dns);
        }
        let peers: BTreeSet<_> = found.iter().map(|(peer, _)| *peer).collect();
        if let Some(here) = peers.iter().find(|peer| connections.direct_address(peer).is_some()) {
            self.names.connected(here, fx.now.mono);
            return;
        }
        // Not the first ones, which all would dial.
        for end in (1..found.len()).rev() {
            let other = fx.rng.next_u64() % (end as u64 + 1);
            found.swap(end, usize::try_from(other).expect("an index before `end`, which is one"));
        }
        for (peer, address) in found.into_iter().take(DIALLED) {
            connections.found(fx, peer, address, TRIES);
        }
    }
}
