//! What happens in the swarm, in the words of the machine.

use libp2p::{
    PeerId,
    core::{ConnectedPoint, Endpoint, transport::ListenerId},
    gossipsub, identify, kad, ping,
    request_response::{self, Message},
    swarm::SwarmEvent,
};

use super::{Engine, Machine};
use crate::{
    node::{GossipMessage, Input, Link, Protocol, Refused, RequestFailure},
    peers::Found,
    swarm::{
        BehaviourEvent, Shell,
        codec::Oversized,
        connections::{innermost, reason},
        dht,
        direct_only::is_relayed,
        gossip::room,
        requests::failure,
    },
};

/// The longest agent name and the most protocol names that are passed on from another peer.
const MAX_AGENT: usize = 128;

const MAX_PROTOCOLS: usize = 128;

/// The most addresses of a peer that are passed on.
const MAX_ADDRESSES: usize = 16;

/// What a peer says of itself, as far as it is passed on.
fn identified(peer: PeerId, info: identify::Info) -> Input {
    let agent = info.agent_version.chars().take(MAX_AGENT).collect();
    let protocols = info.protocols.iter().take(MAX_PROTOCOLS).map(ToString::to_string).collect();
    let addresses = info.listen_addrs.into_iter().take(MAX_ADDRESSES).collect();
    Input::Identified { peer, agent, protocols, addresses }
}

impl<S: Shell, N: Machine> Engine<S, N> {
    pub(super) fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent<S::Extra>>) {
        let observed = self.shell.observe(&mut self.swarm, &event);
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id: peer,
                connection_id,
                endpoint,
                established_in,
                ..
            } => {
                let link = if is_relayed(&endpoint) { Link::Relayed } else { Link::Direct };
                let connection = self.connections.opened(peer, connection_id, link);
                let address = endpoint.get_remote_address().clone();
                // Of two peers that dial each other to get off a relay, one plays the part of the listener.
                let outbound =
                    matches!(endpoint, ConnectedPoint::Dialer { role_override: Endpoint::Dialer, .. });
                if outbound && link == Link::Relayed {
                    let millis = u64::try_from(established_in.as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(%peer, millis, "a circuit to a peer is open");
                }
                self.feed(Input::Connected { peer, connection, link, address, outbound });
            }
            SwarmEvent::ConnectionClosed { peer_id: peer, connection_id, cause, .. } => {
                tracing::debug!(%peer, ?cause, "connection closed");
                if let Some(connection) = self.connections.closed(peer, connection_id) {
                    self.feed(Input::Disconnected { peer, connection });
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                if let Some(address) = self.connections.dial_failed(connection_id) {
                    self.feed(Input::DialFailed { address, reason: reason(&error) });
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "an incoming connection failed");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.feed(Input::Listening(address));
                if let Some(relay) = self.relay_of(listener_id) {
                    self.feed(Input::SlotGranted(relay));
                }
            }
            SwarmEvent::ExternalAddrConfirmed { address } => self.feed(Input::Listening(address)),
            SwarmEvent::ExpiredListenAddr { address, .. } | SwarmEvent::ExternalAddrExpired { address } => {
                self.feed(Input::NotListening(address));
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                tracing::debug!(?addresses, ?reason, "a listener closed");
                for address in addresses {
                    self.feed(Input::NotListening(address));
                }
                let relay = self.relay_of(listener_id);
                if let Some(relay) = &relay {
                    self.slots.remove(relay);
                }
                match (relay, reason) {
                    (Some(relay), Ok(())) => {
                        self.feed(Input::SlotLost {
                            relay,
                            reason: "given back, or the relay is gone".to_owned(),
                        });
                    }
                    (Some(relay), Err(error)) => {
                        self.feed(Input::SlotLost { relay, reason: innermost(&error) });
                    }
                    (None, reason) => tracing::warn!(?reason, "this peer listens in one place less"),
                }
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!(%error, "a listener had an error"),
            _ => {}
        }
        for input in observed {
            self.feed(input);
        }
    }

    /// The relay on which this listener stands for a slot.
    fn relay_of(&self, listener: ListenerId) -> Option<PeerId> {
        self.slots.iter().find(|(_, other)| **other == listener).map(|(relay, _)| *relay)
    }

    pub(super) fn behaviour_event(&mut self, event: BehaviourEvent<S::Extra>) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.feed(identified(peer_id, info));
            }
            BehaviourEvent::Kademlia(kad::Event::OutboundQueryProgressed { id, result, step, .. }) => {
                if let Some((id, outcome)) = self.lookups.went_on(id, result, step.last) {
                    self.feed(Input::Dht(id, outcome));
                }
            }
            BehaviourEvent::Tracer(event) => {
                let (local, now) = (*self.swarm.local_peer_id(), self.shell.now().mono);
                self.traces.came(local, event, now);
                self.trace();
            }
            BehaviourEvent::Kademlia(kad::Event::InboundRequest { request }) => {
                let (kademlia, now) = (&mut self.swarm.behaviour_mut().kademlia, self.shell.now().mono);
                if let Some((peer, refused)) = dht::handled(kademlia, &mut self.strangers, request, now) {
                    self.feed(Input::TableTold(peer));
                    if let Some(refused) = refused {
                        self.feed(Input::Refused(refused));
                    }
                }
            }
            BehaviourEvent::Kademlia(kad::Event::RoutingUpdated {
                peer,
                addresses,
                is_new_peer: true,
                ..
            }) => {
                let address = addresses.first().clone();
                self.feed(Input::Discovered { peer, address, found: Found::Dht });
            }
            BehaviourEvent::Ping(ping::Event { peer, result: Ok(round_trip), .. }) => {
                let millis = u64::try_from(round_trip.as_millis()).unwrap_or(u64::MAX);
                self.feed(Input::Pinged { peer, millis });
            }
            BehaviourEvent::Gossipsub(gossipsub::Event::Message {
                propagation_source: from,
                message_id,
                message,
            }) => {
                self.swarm.behaviour().gossipsub.notes.was_new(&message.topic);
                let topic = self.gossip.topic(&message.topic).cloned();
                // Strict validation lets no message through that lacks one of these.
                if let (Some(topic), Some(author), Some(sequence)) =
                    (topic, message.source, message.sequence_number)
                {
                    let id = self.gossip.await_verdict(message_id, from);
                    let data = message.data;
                    self.feed(Input::Gossip(GossipMessage { id, topic, from, author, sequence, data }));
                }
            }
            BehaviourEvent::Gossipsub(gossipsub::Event::Subscribed { peer_id: peer, topic }) => {
                if let Some(room) = room(&topic) {
                    self.feed(Input::RoomEntered { peer, room });
                }
            }
            BehaviourEvent::Gossipsub(gossipsub::Event::Unsubscribed { peer_id: peer, topic }) => {
                if let Some(room) = room(&topic) {
                    self.feed(Input::RoomLeft { peer, room });
                }
            }
            BehaviourEvent::Sync(event) => self.request_event(Protocol::Sync, event),
            BehaviourEvent::Archive(event) => self.request_event(Protocol::Archive, event),
            BehaviourEvent::Transactions(event) => self.request_event(Protocol::Transactions, event),
            BehaviourEvent::Chat(event) => self.request_event(Protocol::Chat, event),
            BehaviourEvent::Peers(event) => self.request_event(Protocol::Peers, event),
            BehaviourEvent::Content(event) => self.request_event(Protocol::Content, event),
            BehaviourEvent::Rendezvous(event) => self.request_event(Protocol::Rendezvous, event),
            _ => {}
        }
    }

    pub(super) fn request_event(
        &mut self,
        protocol: Protocol,
        event: request_response::Event<Result<Vec<u8>, Oversized>, Vec<u8>>,
    ) {
        match event {
            request_response::Event::Message { peer, message, .. } => match message {
                // Dropping the channel refuses it.
                Message::Request { request: Err(error), .. } => {
                    tracing::debug!(%peer, ?protocol, %error, "a request was not read");
                    self.feed(Input::Oversized { peer, protocol });
                }
                Message::Request { request_id, request: Ok(body), channel } => {
                    self.traffic.of(protocol).was_asked.add(body.len());
                    match self.requests.received(protocol, request_id, channel) {
                        Some(id) => self.feed(Input::Request { id, peer, protocol, body }),
                        None => {
                            tracing::warn!(%peer, ?protocol, "refused: too many requests wait");
                            self.feed(Input::Refused(Refused::RequestUnheard));
                        }
                    }
                }
                Message::Response { request_id, response } => {
                    if let Some(id) = self.requests.answered(protocol, request_id) {
                        self.traffic.of(protocol).was_answered.add(response.len());
                        self.feed(Input::Response { id, outcome: Ok(response) });
                    }
                }
            },
            request_response::Event::OutboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, ?protocol, %error, "a request failed");
                if let Some(id) = self.requests.answered(protocol, request_id) {
                    self.traffic.of(protocol).failed += 1;
                    let failure = failure(&error);
                    if failure == RequestFailure::TooLarge {
                        self.feed(Input::Refused(Refused::AnswerOversized));
                    }
                    self.feed(Input::Response { id, outcome: Err(failure) });
                }
            }
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, ?protocol, %error, "a request could not be answered");
                self.requests.gone(protocol, request_id);
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{Multiaddr, StreamProtocol, identity::Keypair};

    use super::*;

    #[test]
    fn of_what_a_peer_says_of_itself_so_much_is_passed_on() {
        // The name's length, and how many protocols and addresses.
        let passed_on = |[agent, protocols, addresses]: [usize; 3]| {
            let public_key = Keypair::generate_ed25519().public();
            let peer = public_key.to_peer_id();
            let protocol = |at| StreamProtocol::try_from_owned(format!("/some/{at}")).unwrap();
            let address = |at| format!("/ip4/8.8.8.8/tcp/{at}").parse::<Multiaddr>().unwrap();
            let info = identify::Info {
                public_key,
                protocol_version: String::new(),
                agent_version: "é".repeat(agent),
                listen_addrs: (0..addresses).map(address).collect(),
                protocols: (0..protocols).map(protocol).collect(),
                observed_addr: address(1),
                signed_peer_record: None,
            };
            let Input::Identified { agent, protocols, addresses, .. } = identified(peer, info) else {
                panic!("it is said")
            };
            [agent.chars().count(), protocols.len(), addresses.len()]
        };
        let most = [MAX_AGENT, MAX_PROTOCOLS, MAX_ADDRESSES];
        assert_eq!(passed_on(most), most);
        assert_eq!(passed_on(most.map(|most| most + 1)), most);
    }
}
