//! The open connections, and the dials under way, by the names the node knows them by.

use std::collections::BTreeMap;

use libp2p::{
    Multiaddr, PeerId, TransportError,
    multiaddr::Protocol,
    swarm::{
        self, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::direct_only::is_circuit;
use crate::node::{ConnectionId, DialFailure, Link};

#[derive(Default)]
pub(super) struct Connections {
    open: BTreeMap<PeerId, BTreeMap<swarm::ConnectionId, (ConnectionId, Link)>>,
    dials: BTreeMap<swarm::ConnectionId, Multiaddr>,
    next: u64,
}

impl Connections {
    pub(super) fn opened(&mut self, peer: PeerId, id: swarm::ConnectionId, link: Link) -> ConnectionId {
        self.dials.remove(&id);
        let name = ConnectionId(self.next);
        self.next += 1;
        self.open.entry(peer).or_default().insert(id, (name, link));
        name
    }

    pub(super) fn closed(&mut self, peer: PeerId, id: swarm::ConnectionId) -> Option<ConnectionId> {
        let links = self.open.get_mut(&peer)?;
        let (name, _) = links.remove(&id)?;
        if links.is_empty() {
            self.open.remove(&peer);
        }
        Some(name)
    }

    /// What the swarm calls an open connection.
    pub(super) fn id(&self, peer: &PeerId, name: ConnectionId) -> Option<swarm::ConnectionId> {
        self.open.get(peer)?.iter().find(|(_, (other, _))| *other == name).map(|(id, _)| *id)
    }

    /// All that are open: the peer, the node's name and the swarm's.
    pub(super) fn open(&self) -> impl Iterator<Item = (PeerId, ConnectionId, swarm::ConnectionId)> {
        self.open.iter().flat_map(|(peer, links)| links.iter().map(|(id, (name, _))| (*peer, *name, *id)))
    }

    /// Whether there is more to the peer than a relayed connection, which is for signalling and small messages.
    pub(super) fn has_direct(&self, peer: &PeerId) -> bool {
        self.open.get(peer).is_some_and(|links| links.values().any(|(_, link)| *link == Link::Direct))
    }

    /// How to dial an address: a peer twice only to get from a relay to a direct connection.
    pub(super) fn dial(&mut self, address: Multiaddr) -> DialOpts {
        let options = match address.iter().last() {
            Some(Protocol::P2p(peer)) => {
                let relayed = is_circuit(&address);
                let condition = if relayed || self.has_direct(&peer) {
                    PeerCondition::DisconnectedAndNotDialing
                } else {
                    PeerCondition::NotDialing
                };
                DialOpts::peer_id(peer).condition(condition).addresses(vec![address.clone()]).build()
            }
            _ => DialOpts::unknown_peer_id().address(address.clone()).build(),
        };
        self.dials.insert(options.connection_id(), address);
        options
    }

    /// The address of a dial that failed, if it was the node that asked for it.
    pub(super) fn dial_failed(&mut self, id: swarm::ConnectionId) -> Option<Multiaddr> {
        self.dials.remove(&id)
    }
}

/// Why a dial failed.
pub(super) fn reason(error: &DialError) -> DialFailure {
    let words = match error {
        DialError::DialPeerConditionFalse(_) => return DialFailure::Busy,
        DialError::LocalPeerId { .. } => "this is our own address".to_owned(),
        DialError::NoAddresses => "no address to dial".to_owned(),
        DialError::Aborted => "given up".to_owned(),
        DialError::WrongPeerId { obtained, .. } => format!("another peer answered: {obtained}"),
        DialError::Denied { cause } => innermost(cause),
        DialError::Transport(errors) => {
            let mut reasons: Vec<_> = errors
                .iter()
                .map(|(_, error)| match error {
                    TransportError::MultiaddrNotSupported(_) => {
                        "this peer has no transport for that address".to_owned()
                    }
                    TransportError::Other(error) => innermost(error),
                })
                .collect();
            reasons.dedup();
            reasons.join("; ")
        }
    };
    DialFailure::Failed(words)
}

/// The cause at the bottom: what wraps it only says that it was wrapped.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::ConnectionId as Id;

    use super::*;

    #[test]
    fn a_relayed_connection_is_not_a_direct_one() {
        let (mut connections, peer) = (Connections::default(), PeerId::random());
        let [relayed, direct] = [Id::new_unchecked(1), Id::new_unchecked(2)];
        let first = connections.opened(peer, relayed, Link::Relayed);
        assert!(!connections.has_direct(&peer));
        let second = connections.opened(peer, direct, Link::Direct);
        assert!(connections.has_direct(&peer));
        assert_ne!(first, second);
        assert_eq!(connections.closed(peer, direct), Some(second));
        assert!(!connections.has_direct(&peer));
        assert_eq!(connections.closed(peer, relayed), Some(first));
        assert_eq!(connections.closed(peer, relayed), None);
    }

    #[test]
    fn a_dial_names_the_last_peer_of_its_address() {
        let (relay, target) = (PeerId::random(), PeerId::random());
        let address: Multiaddr =
            format!("/ip4/127.0.0.1/tcp/1/p2p/{relay}/p2p-circuit/p2p/{target}").parse().unwrap();
        let mut connections = Connections::default();
        let options = connections.dial(address.clone());
        assert_eq!(options.get_peer_id(), Some(target));
        assert_eq!(connections.dial_failed(options.connection_id()), Some(address));
        assert_eq!(connections.dial_failed(options.connection_id()), None, "told once");
    }
}
