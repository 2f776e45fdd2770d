//! Finding out whether others can dial this peer: the asking side of AutoNAT v2.
//!
//! The library asks others to dial each address that somebody says we have. Here it also learns of those we listen at, which it
//! would take for granted, as far as they can be dialled from where our peers are; and a stranger's claims are bounded.

use std::{
    collections::BTreeSet,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v2::client::{Behaviour, Event},
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};
use weft_core::peers::{Scope, is_circuit};

/// The most addresses that are ever tested. Each test costs up to 100 KB.
const MAX_TESTED: usize = 64;

/// Has the addresses of this peer tested.
#[derive(Default)]
pub struct Probe {
    inner: Behaviour,
    listening: BTreeSet<Multiaddr>,
    /// From how far those are who may test: they are peers that we dialled.
    testers: BTreeSet<Scope>,
    tested: BTreeSet<Multiaddr>,
}

impl Probe {
    /// Has the addresses tested that we listen at and that have not been.
    fn offer(&mut self) {
        let new: Vec<_> = self
            .listening
            .iter()
            .filter(|address| {
                !self.tested.contains(*address)
                    && Scope::of(address).is_some_and(|scope| self.testers.contains(&scope))
            })
            .cloned()
            .collect();
        for addr in new {
            if self.admits(&addr) {
                let event = NewExternalAddrCandidate { addr: &addr };
                self.inner.on_swarm_event(FromSwarm::NewExternalAddrCandidate(event));
            }
        }
    }

    fn admits(&mut self, address: &Multiaddr) -> bool {
        let known = self.tested.contains(address);
        let admitted =
            known || self.tested.len() < MAX_TESTED && Scope::of(address).is_some() && !is_circuit(address);
        if admitted && !known {
            self.tested.insert(address.clone());
        }
        admitted
    }
}

impl NetworkBehaviour for Probe {
    type ConnectionHandler = THandler<Behaviour>;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::NewExternalAddrCandidate(candidate) if !self.admits(candidate.addr) => return,
            FromSwarm::NewListenAddr(new) => {
                self.listening.insert(new.addr.clone());
                self.offer();
            }
            FromSwarm::ExpiredListenAddr(expired) => {
                self.listening.remove(expired.addr);
            }
            FromSwarm::ConnectionEstablished(established) => {
                if let ConnectedPoint::Dialer { address, .. } = established.endpoint
                    && !is_circuit(address)
                    && let Some(scope) = Scope::of(address)
                {
                    self.testers.insert(scope);
                    self.offer();
                }
            }
            _ => {}
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.inner.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_say_we_are_called_is_bounded() {
        let mut probe = Probe::default();
        let address = |port: u32| format!("/ip4/8.8.8.8/tcp/{port}").parse::<Multiaddr>().unwrap();
        let admitted = (1..1000).filter(|port| probe.admits(&address(*port))).count();
        assert_eq!(admitted, MAX_TESTED);
        assert!(probe.admits(&address(1)), "what is being tested may be said again");
        for useless in ["/ip4/0.0.0.0/tcp/1", "/ip4/224.0.0.1/tcp/1", "/p2p-circuit"] {
            assert!(!Probe::default().admits(&useless.parse().unwrap()), "{useless}");
        }
    }
}
