//! A slot on each relay, so that others can reach this tab.
//!
//! The node dials relays and comes back to them by itself. Here a slot is asked for once a relay is connected, and
//! again, ever more patiently, when it is refused or lost. libp2p renews it while it lasts. With a slot others can agree with this tab on a
//! direct connection, and that address is told too.

use std::collections::BTreeMap;

use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::{ConnectedPoint, transport::ListenerId},
    multiaddr::Protocol,
    relay,
    swarm::SwarmEvent,
};
use weft_core::{
    node::Input,
    peers::is_signalled,
    primitives::Mono,
    swarm::{Behaviour, BehaviourEvent},
};

use super::{Extra, ExtraEvent};

/// The first wait after a refusal, in milliseconds; doubled each time, up to the last.
const FIRST_WAIT: u64 = 1000;
const LAST_WAIT: u64 = 2 * 60 * 1000;

#[derive(Default)]
struct Relay {
    /// What to listen on for a slot, while the relay is connected.
    circuit: Option<Multiaddr>,
    /// The listener that stands for the slot, asked for or granted.
    listener: Option<ListenerId>,
    wait: u64,
    not_before: Mono,
}

/// The slots of this tab.
pub(super) struct Reservations(BTreeMap<PeerId, Relay>);

impl Reservations {
    /// Slots on the peers with these addresses.
    pub(super) fn new(relays: &[Multiaddr]) -> Self {
        let peers = relays.iter().filter_map(|address| {
            address.iter().find_map(|part| if let Protocol::P2p(peer) = part { Some(peer) } else { None })
        });
        Self(peers.map(|peer| (peer, Relay::default())).collect())
    }

    /// Follows what happens to relays and slots, and says where this tab can be reached by that. Pings are events too, so that a wait ends not long after its time.
    pub(super) fn observe(
        &mut self,
        swarm: &mut Swarm<Behaviour<Extra>>,
        event: &SwarmEvent<BehaviourEvent<Extra>>,
        now: Mono,
    ) -> Vec<Input> {
        let mut told = Vec::new();
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                endpoint: endpoint @ ConnectedPoint::Dialer { address, .. },
                ..
            } if !endpoint.is_relayed() => {
                if let Some(relay) = self.0.get_mut(peer_id) {
                    relay.circuit = Some(circuit(address, *peer_id));
                    relay.not_before = now;
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                if let Some(relay) = self.0.get_mut(peer_id) {
                    relay.circuit = None;
                    relay.wait = 0;
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Extra(ExtraEvent::Relay(
                relay::client::Event::ReservationReqAccepted { relay_peer_id, .. },
            ))) => {
                if let Some(relay) = self.0.get_mut(relay_peer_id) {
                    relay.wait = 0;
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                // The swarm tells others of an address it is given, but not us.
                if let Some(direct) = direct(address) {
                    swarm.add_external_address(direct.clone());
                    told.push(Input::Listening(direct));
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if let Some(direct) = direct(address) {
                    swarm.remove_external_address(&direct);
                    told.push(Input::NotListening(direct));
                }
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, .. } => {
                for direct in addresses.iter().filter_map(direct) {
                    swarm.remove_external_address(&direct);
                    told.push(Input::NotListening(direct));
                }
                for relay in self.0.values_mut().filter(|relay| relay.listener == Some(*listener_id)) {
                    relay.listener = None;
                    relay.wait = (relay.wait * 2).clamp(FIRST_WAIT, LAST_WAIT);
                    relay.not_before = now + relay.wait;
                }
            }
            _ => {}
        }
        for relay in self.0.values_mut().filter(|relay| relay.listener.is_none() && relay.not_before <= now) {
            let Some(circuit) = &relay.circuit else { continue };
            match swarm.listen_on(circuit.clone()) {
                Ok(listener) => relay.listener = Some(listener),
                Err(error) => {
                    tracing::warn!(%circuit, %error, "no slot can be asked for there");
                    relay.not_before = now + LAST_WAIT;
                }
            }
        }
        told
    }
}

/// Where others reach this tab through the relay with this address.
fn circuit(address: &Multiaddr, relay: PeerId) -> Multiaddr {
    let mut circuit: Multiaddr = address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
    circuit.push(Protocol::P2p(relay));
    circuit.push(Protocol::P2pCircuit);
    circuit
}

/// Where others agree with this tab on a direct connection, if it is reached over a circuit at this address.
fn direct(circuit: &Multiaddr) -> Option<Multiaddr> {
    let mut direct = Multiaddr::empty();
    for part in circuit {
        let is_circuit = part == Protocol::P2pCircuit;
        direct.push(part);
        if is_circuit {
            direct.push(Protocol::WebRTC);
        }
    }
    is_signalled(&direct).then_some(direct)
}
