//! With a slot on a relay others can agree with this tab on a direct connection: what follows from it for the addresses that are told.
//!
//! The node asks relays for slots; here each address over a circuit gets another one beside it, for connections that begin there.

use libp2p::{Multiaddr, Swarm, multiaddr::Protocol, swarm::SwarmEvent};
use weft_core::{
    node::Input,
    peers::is_signalled,
    swarm::{Behaviour, BehaviourEvent},
};

use super::Extra;

/// Follows where this tab listens, and says where it can be reached by that.
pub(super) fn observe(
    swarm: &mut Swarm<Behaviour<Extra>>,
    event: &SwarmEvent<BehaviourEvent<Extra>>,
) -> Vec<Input> {
    match event {
        SwarmEvent::NewListenAddr { address, .. } => {
            // The swarm tells others of an address it is given, but not us.
            let direct = direct(address).into_iter();
            direct
                .map(|direct| {
                    swarm.add_external_address(direct.clone());
                    Input::Listening(direct)
                })
                .collect()
        }
        SwarmEvent::ExpiredListenAddr { address, .. } => gone(swarm, std::slice::from_ref(address)),
        SwarmEvent::ListenerClosed { addresses, .. } => gone(swarm, addresses),
        _ => Vec::new(),
    }
}

fn gone(swarm: &mut Swarm<Behaviour<Extra>>, circuits: &[Multiaddr]) -> Vec<Input> {
    let gone = circuits.iter().filter_map(direct);
    gone.map(|direct| {
        swarm.remove_external_address(&direct);
        Input::NotListening(direct)
    })
    .collect()
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
