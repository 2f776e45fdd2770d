//! What the machine wants done, in the words of the swarm.

use libp2p::{
    gossipsub::{IdentTopic, MessageAcceptance, PublishError},
    kad,
};

use super::{Engine, Machine};
use crate::{
    node::{DhtFailure, DhtQuery, Input, Output, Reply, RequestFailure, Verdict},
    peers::Whom,
    swarm::{
        Shell,
        connections::reason,
        dht,
        gossip::{score_room, topic_name},
    },
};

impl<S: Shell, N: Machine> Engine<S, N> {
    pub(super) fn carry_out(&mut self, output: Output) {
        match output {
            Output::Dial(address) => {
                let options = self.connections.dial(address);
                let id = options.connection_id();
                if let Err(error) = self.swarm.dial(options)
                    && let Some(address) = self.connections.dial_failed(id)
                {
                    self.echoes.push_back(Input::DialFailed { address, reason: reason(&error) });
                }
            }
            Output::Disconnect(peer) => {
                // Fails only when there is no connection, and then there is nothing to do.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Output::Close { peer, connection } => {
                if let Some(id) = self.connections.id(&peer, connection) {
                    self.swarm.close_connection(id);
                }
            }
            Output::Reserve { relay, circuit } => match self.swarm.listen_on(circuit) {
                Ok(listener) => {
                    self.slots.insert(relay, listener);
                }
                Err(error) => {
                    let reason = error.to_string();
                    self.echoes.push_back(Input::SlotLost { relay, reason });
                }
            },
            Output::Release(relay) => {
                if let Some(listener) = self.slots.get(&relay) {
                    self.swarm.remove_listener(*listener);
                }
            }
            Output::Ban(Whom::Peer(peer)) => {
                self.swarm.behaviour_mut().banned.block_peer(peer);
            }
            Output::Unban(Whom::Peer(peer)) => {
                self.swarm.behaviour_mut().banned.unblock_peer(peer);
            }
            Output::Dht(id, DhtQuery::Trace(target)) => {
                let local = *self.swarm.local_peer_id();
                let table = dht::everybody(&mut self.swarm.behaviour_mut().kademlia);
                if table.is_empty() {
                    self.echoes.push_back(Input::Dht(id, Err(DhtFailure::Alone)));
                } else {
                    self.traces.begin(local, id, target, table, self.shell.now().mono);
                    self.trace();
                }
            }
            Output::Ban(Whom::Range(range)) => self.swarm.behaviour_mut().barred.close(range),
            Output::Unban(Whom::Range(range)) => self.swarm.behaviour_mut().barred.open(&range),
            Output::Dht(id, query) => {
                let kademlia = &mut self.swarm.behaviour_mut().kademlia;
                if let Some(outcome) = self.lookups.begin(kademlia, id, query) {
                    self.echoes.push_back(Input::Dht(id, outcome));
                }
            }
            Output::Routable { peer, address } => {
                if let Some(kademlia) = self.swarm.behaviour_mut().kademlia.as_mut() {
                    kademlia.add_address(&peer, address);
                }
            }
            Output::ServeDht(serve) => {
                if let Some(kademlia) = self.swarm.behaviour_mut().kademlia.as_mut() {
                    kademlia.set_mode(Some(if serve { kad::Mode::Server } else { kad::Mode::Client }));
                }
            }
            Output::Request { id, peer, protocol, body } => {
                if protocol.name(self.genesis.as_ref()).is_none() {
                    self.echoes.push_back(Input::Response { id, outcome: Err(RequestFailure::Unsupported) });
                    return;
                }
                let requests = self.swarm.behaviour_mut().requests(protocol);
                // Asked of nobody, it would dial, and a dial that a relayed connection stands in the way of is never over.
                if requests.is_connected(&peer) {
                    self.traffic.of(protocol).asked.add(body.len());
                    let request = requests.send_request(&peer, Ok(body));
                    self.requests.sent(protocol, request, id);
                } else {
                    self.echoes
                        .push_back(Input::Response { id, outcome: Err(RequestFailure::ConnectionLost) });
                }
            }
            Output::Respond { id, body } => {
                let Some((protocol, channel)) = self.requests.take(id) else { return };
                self.traffic.of(protocol).answered.add(body.len());
                if self.swarm.behaviour_mut().requests(protocol).send_response(channel, body).is_err() {
                    tracing::debug!(?protocol, "the answer came too late");
                }
            }
            Output::Refuse(id) => drop(self.requests.take(id)),
            Output::Subscribe(topic) => {
                let Some(name) = topic_name(&topic, self.genesis.as_ref()) else { return };
                let ident = IdentTopic::new(name);
                let gossipsub = &mut self.swarm.behaviour_mut().gossipsub;
                score_room(gossipsub, &ident);
                match gossipsub.subscribe(&ident) {
                    Ok(_) => self.gossip.joined(ident.hash(), topic),
                    Err(error) => tracing::error!(%error, topic = %ident, "cannot subscribe"),
                }
            }
            Output::Unsubscribe(topic) => {
                let Some(name) = topic_name(&topic, self.genesis.as_ref()) else { return };
                let ident = IdentTopic::new(name);
                self.swarm.behaviour_mut().gossipsub.unsubscribe(&ident);
                self.gossip.left(&ident.hash());
            }
            Output::Publish { topic, data } => {
                let Some(name) = topic_name(&topic, self.genesis.as_ref()) else { return };
                match self.swarm.behaviour_mut().gossipsub.publish(IdentTopic::new(name), data) {
                    Ok(_) | Err(PublishError::Duplicate) => {}
                    Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => {
                        self.echoes.push_back(Input::PublishedToNobody(topic));
                    }
                    Err(error) => tracing::error!(%error, ?topic, "cannot publish"),
                }
            }
            Output::Judge { id, verdict } => {
                if let Some((message, from)) = self.gossip.judged(id) {
                    let acceptance = match verdict {
                        Verdict::Accept => MessageAcceptance::Accept,
                        Verdict::Reject => MessageAcceptance::Reject,
                        Verdict::Ignore => MessageAcceptance::Ignore,
                    };
                    self.swarm
                        .behaviour_mut()
                        .gossipsub
                        .report_message_validation_result(&message, &from, acceptance);
                }
            }
            Output::Score(peer, points) => {
                self.swarm.behaviour_mut().gossipsub.set_application_score(&peer, f64::from(points));
            }
            Output::Resolve(name) => self.shell.resolve(name),
            Output::FetchList(url) => self.shell.fetch_list(url),
            Output::Work(id, job) => self.shell.work(id, job),
            Output::Archive(id, request) => self.shell.archive(id, request),
            Output::Flush(seq) => self.shell.flush(seq),
            Output::Reply(id, outcome) => {
                let mut outcome = outcome;
                match &mut *outcome {
                    Ok(Reply::Metrics(snapshot)) => self.measure(snapshot),
                    Ok(Reply::RoutingTable(buckets)) => {
                        *buckets = dht::table(&mut self.swarm.behaviour_mut().kademlia);
                    }
                    _ => {}
                }
                if let Some(reply) = self.calls.remove(&id) {
                    // Fails when nobody waits any more.
                    let _ = reply.send(*outcome);
                }
            }
            Output::Notify(event) => self.subscribers.notify(&event),
        }
    }
}
