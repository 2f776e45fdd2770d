//! What becomes of each input.

use libp2p::{Multiaddr, PeerId, multiaddr};

use super::{
    GossipMessage, InboundId, Input, Link, Node, OutboundId, Output, Protocol, RequestFailure, Verdict,
    chain::Chain,
    connections::Presence,
    dht_protocol,
    effects::{Ask, Asked, Effects},
    waking,
};
use crate::{
    gossip::{OpenedBy, Topic},
    peers::{Found, Offence, Traffic},
    primitives::Now,
};

/// How often a peer is dialled that the shell found in the local network.
const LOCAL_TRIES: u32 = 3;

impl Node {
    /// Takes in what happened. Drain [`Self::poll_output`] afterwards.
    pub fn handle(&mut self, now: Now, input: Input) {
        self.pass(now);
        // Most of what there is to handle on a busy chain, and of no concern to anything else.
        let relayed = match &input {
            Input::Request { protocol, .. } => *protocol == Protocol::Transactions,
            Input::Response { id, .. } => {
                self.fx.asked.get(id).is_some_and(|asked| asked.protocol == Protocol::Transactions)
            }
            Input::WorkDone(id, _) => self.chain.as_ref().is_some_and(|chain| chain.is_for_pool(*id)),
            _ => false,
        };
        match input {
            Input::Resumed => match self.waking.resumed() {
                Some(millis) => self.wake(millis),
                None => self.connections.hurry(&self.fx),
            },
            Input::Offline => {
                tracing::info!("the platform says that there is no network");
                self.fx.raise(waking::OFFLINE.to_owned());
                self.doubt();
            }
            Input::Online => {
                self.fx.lower(waking::OFFLINE);
                self.wake(0);
            }
            Input::Connected { peer, connection, link, address, outbound } => {
                let address = if outbound { address } else { self.connections.behind_proxy(address) };
                let at = address.clone();
                let circuit = self.connections.dialled_circuit(&peer).cloned();
                let has_circuit = self.connections.has_circuit(&peer);
                let presence =
                    self.connections.connected(&mut self.fx, peer, connection, link, address, outbound);
                let first = presence == Presence::Arrived;
                if first {
                    self.arrived(peer, outbound);
                }
                if presence == Presence::Unwanted {
                    tracing::debug!(%peer, "a banned peer got in, and is shown out");
                } else if link == Link::Direct {
                    self.fx.uploads.connected(peer, &at);
                    self.seeds.connected(&self.fx, &peer);
                    let (fx, connections) = (&mut self.fx, &mut self.connections);
                    // Where two peers met behind their routers nobody else finds them.
                    let at = circuit.filter(|_| first).unwrap_or(at);
                    self.finding.connected(fx, connections, peer, &at, outbound, first);
                    if has_circuit {
                        self.reaching.upgraded(&self.fx, peer);
                    }
                } else if self.connections.direct_link(&peer).is_some() {
                    self.reaching.upgraded(&self.fx, peer);
                } else {
                    self.reaching.relayed(&self.fx, peer);
                }
            }
            Input::Disconnected { peer, connection } => {
                if self.connections.disconnected(&mut self.fx, peer, connection) == Presence::Left {
                    self.fx.uploads.left(&peer);
                    self.waking.left(&peer);
                    self.rooms.peer_left(&peer);
                    self.contents.peer_left(&peer);
                    self.finding.disconnected(&self.fx, &peer);
                    self.seeds.disconnected(&self.fx, &peer);
                    self.reaching.left(&self.fx, &peer);
                    self.rendezvous.peer_left(&peer);
                    if let Some(chain) = &mut self.chain {
                        chain.peer_left(&self.fx, &peer);
                    }
                }
                if self.connections.count() == 0 {
                    self.lists.alone(&self.fx);
                }
                if !self.connections.is_connected(&peer) && self.reaching.gone(&self.fx, &peer) {
                    self.stays_relayed(&peer);
                }
            }
            Input::DialFailed { address, reason } => {
                if self.connections.dial_failed(&mut self.fx, &address, &reason) {
                    self.finding.dial_failed(&self.fx, &address);
                }
            }
            Input::Identified { peer, agent, protocols, addresses } => {
                self.identified(peer, agent, &protocols, &addresses);
            }
            Input::Carried { peer, connection, sent, received } => {
                self.connections.carried(&peer, connection, (sent, received));
            }
            Input::Pinged { peer, millis } => self.connections.pinged(&peer, millis),
            Input::Discovered { peer, address, found: Found::Dht } => {
                // The machinery runs where nobody takes part, too.
                if self.dht.is_on() {
                    self.finding.met_in_table(&mut self.fx, &self.connections, peer, address);
                }
            }
            Input::Discovered { peer, address, found } => {
                self.finding.discovered(&self.fx, peer, &address, found);
                // Who is near is few, and wanted; of the others so many are dialled as are missing.
                if found == Found::Mdns {
                    self.connections.found(&self.fx, peer, address, LOCAL_TRIES);
                }
            }
            Input::Resolved { name, outcome } => {
                let (connections, finding) = (&mut self.connections, &mut self.finding);
                self.seeds.resolved(&mut self.fx, connections, finding, &name, outcome);
            }
            Input::ListFetched { url, outcome } => {
                let (connections, finding) = (&mut self.connections, &mut self.finding);
                self.lists.fetched(&mut self.fx, connections, finding, &url, outcome);
            }
            Input::Dht(id, outcome) => {
                if let Some(told) = self.dht.answered(&mut self.fx, id, outcome) {
                    self.told(told);
                }
            }
            Input::Listening(address) => {
                self.connections.listening(&mut self.fx, address);
                self.dht.reachable(&mut self.fx, &self.connections.addresses);
                self.rendezvous.moved(&mut self.fx);
            }
            Input::NotListening(address) => {
                self.connections.not_listening(&address);
                self.dht.reachable(&mut self.fx, &self.connections.addresses);
                self.rendezvous.moved(&mut self.fx);
            }
            Input::Reachable { address, by } => self.reaching.reachable(address, by),
            Input::Unreachable(address) => self.reaching.unreachable(&self.fx, &address),
            Input::SlotGranted(relay) => {
                if self.reaching.granted(&relay) {
                    self.finding.tell_soon(&mut self.fx);
                    self.rendezvous.moved(&mut self.fx);
                }
            }
            Input::SlotLost { relay, reason } => self.reaching.lost(&mut self.fx, &relay, &reason),
            Input::UpgradeFailed { peer, reason } => {
                if self.reaching.upgrade_failed(&self.fx, &peer, &reason) {
                    self.stays_relayed(&peer);
                }
            }
            Input::Gossip(message) => self.gossip(message),
            Input::PublishedToNobody(topic) => self.rooms.published_to_nobody(&mut self.fx, &topic),
            Input::RoomEntered { peer, room } => {
                let peers: Vec<_> = self.connections.direct().collect();
                self.rooms.entered(&mut self.fx, peer, room, &peers);
            }
            Input::RoomLeft { peer, room } => self.rooms.guest_left(&peer, &room),
            Input::Request { id, peer, protocol, body } => self.request(id, peer, protocol, &body),
            Input::Oversized { peer, protocol } => {
                tracing::debug!(%peer, protocol = protocol.label(), "a request is larger than any may be");
                self.fx.refuse("request-oversized");
                self.fx.offend(peer, Offence::Malformed);
            }
            Input::TableTold(peer) => {
                // The quota blames; there is nothing to refuse any more.
                let _ = self.fx.may(peer, Traffic::Table, 0);
            }
            Input::Refused(what) => self.fx.refuse(what.label()),
            Input::Response { id, outcome } => self.response(id, outcome),
            Input::WorkDone(id, result) => {
                if let Some(chain) = &mut self.chain {
                    chain.work_done(&mut self.fx, id, result);
                }
            }
            Input::WorkFailed(id) => {
                if let Some(chain) = &mut self.chain {
                    chain.work_failed(&mut self.fx, id);
                }
            }
            Input::Archive(id, answer) => {
                if let Some(chain) = &mut self.chain {
                    chain.archive_answered(&mut self.fx, id, answer);
                }
            }
            Input::Persisted(seq) => self.fx.persisted(seq),
            Input::StorageFailed(reason) => storage_failed(&mut self.fx, reason),
            Input::Command(id, command) => self.command(id, command),
        }
        self.settle_chain(relayed);
        if !relayed || self.rest_due <= now.mono || self.fx.has_judged() {
            self.settle_rest();
        }
    }

    /// A peer is reached through a relay and not otherwise, which is of little use: unless a person named it, it is not come back
    /// to when the relay ends the circuit.
    pub(super) fn stays_relayed(&mut self, peer: &PeerId) {
        self.connections.forget(peer);
        self.finding.stays_relayed(&self.fx, peer);
    }

    fn arrived(&mut self, peer: PeerId, outbound: bool) {
        if let Some(chain) = &mut self.chain {
            if outbound && self.finding.is_for_blocks(&peer) {
                chain.peer_arrived_for_blocks(&mut self.fx, peer);
            } else {
                let opened = if outbound { OpenedBy::Us } else { OpenedBy::Them };
                chain.peer_arrived(&mut self.fx, peer, opened);
            }
        }
        self.rooms.peer_arrived(&mut self.fx, peer);
        for key in self.seeking.arrived(&peer) {
            self.contents.provider(&key, peer);
        }
        self.contents.peer_arrived(peer);
    }

    pub(super) fn identified(
        &mut self,
        peer: PeerId,
        agent: String,
        protocols: &[String],
        addresses: &[Multiaddr],
    ) {
        let ours = self.chain.as_ref().map(|chain| chain.id().short());
        self.connections.identified(&mut self.fx, &peer, agent, protocols, ours.as_deref());
        self.reaching.identified(&self.fx, &self.connections, peer, protocols);
        if self.finding.is_for_blocks(&peer) {
            // It is told nothing of who and where we are, and others are told nothing of it.
            return;
        }
        let dialled = self.connections.direct_link(&peer).is_some_and(|(_, outbound)| outbound);
        self.rendezvous.identified(&mut self.fx, peer, protocols, dialled);
        let serves = self.chain.as_ref().is_some_and(|chain| protocols.contains(&dht_protocol(&chain.id())));
        if let Some((at, outbound)) = self.connections.direct_link(&peer).filter(|_| serves) {
            self.dht.met(&mut self.fx, peer, &at.clone(), outbound, addresses);
        }
    }

    pub(super) fn gossip(&mut self, message: GossipMessage) {
        let traffic = match &message.topic {
            Topic::Block => Traffic::Blocks,
            Topic::Vote => Traffic::Votes,
            Topic::Evidence => Traffic::Evidence,
            Topic::Chat(_) => Traffic::Chat,
        };
        // Gossipsub passes on the first copy of a message and no other, whoever brought it. So a vote or evidence that may matter
        // is looked at although its bringer is past the quota, who could keep it from us for ever else.
        let matters = |chain: &Chain| chain.may_matter(&message);
        if !self.fx.may(message.from, traffic, message.data.len())
            && !self.chain.as_ref().is_some_and(matters)
        {
            self.fx.judge(message.id, Verdict::Ignore);
            return;
        }
        match (&message.topic, &mut self.chain) {
            (Topic::Block, Some(chain)) => chain.gossiped(&mut self.fx, message),
            (Topic::Vote, Some(chain)) => chain.vote_came(&mut self.fx, message),
            (Topic::Evidence, Some(chain)) => chain.evidence_came(&mut self.fx, message),
            (Topic::Block | Topic::Vote | Topic::Evidence, None) => {
                self.fx.judge(message.id, Verdict::Ignore)
            }
            (Topic::Chat(_), _) => self.rooms.heard(&mut self.fx, message),
        }
    }

    pub(super) fn request(&mut self, id: InboundId, peer: PeerId, protocol: Protocol, body: &[u8]) {
        match (protocol, &mut self.chain) {
            (Protocol::Sync, Some(chain)) => chain.sync_asked(&mut self.fx, id, peer, body),
            (Protocol::Archive, Some(chain)) => chain.bodies_asked(&mut self.fx, id, peer, body),
            (Protocol::Transactions, Some(chain)) => {
                chain.transactions_asked(&mut self.fx, id, peer, body);
            }
            (Protocol::Chat, _) => self.rooms.asked(&mut self.fx, id, peer, body),
            (Protocol::Peers, _) => self.finding.asked(&mut self.fx, &self.connections, id, peer, body),
            (Protocol::Content, _) => self.contents.asked(&mut self.fx, id, peer, body),
            (Protocol::Rendezvous, _) => {
                self.rendezvous.asked(&mut self.fx, &self.connections, id, peer, body);
            }
            (_, None) => self.fx.push(Output::Refuse(id)),
        }
    }

    pub(super) fn response(&mut self, id: OutboundId, outcome: Result<Vec<u8>, RequestFailure>) {
        let Some(Asked { peer, protocol, ask }) = self.fx.asked.remove(&id) else { return };
        tracing::trace!(%peer, ?protocol, failed = outcome.is_err(), "a request is over");
        if self.waking.answered(&peer, id, outcome.as_ref().err().copied()) {
            tracing::info!(%peer, "a peer that was here before is silent");
            self.fx.refuse("silent-after-waking");
            self.fx.push(Output::Disconnect(peer));
        }
        let fx = &mut self.fx;
        match (&ask, &mut self.chain) {
            (Ask::Status | Ask::Headers(_) | Ask::Claim | Ask::Contradiction, Some(chain)) => {
                chain.sync_answered(fx, peer, &ask, outcome)
            }
            (Ask::Lookup(lookup), Some(chain)) => chain.looked_up(fx, peer, (**lookup).clone(), outcome),
            (Ask::Missing(block), Some(chain)) => chain.missing_answered(fx, peer, *block, outcome),
            (Ask::Backfill(before), Some(chain)) => chain.backfill_answered(fx, peer, before, outcome),
            (Ask::Bodies(keys), Some(chain)) => chain.bodies_answered(fx, peer, keys, outcome),
            (Ask::Transactions(id), Some(chain)) => chain.transactions_answered(fx, peer, *id, outcome),
            (Ask::Light(ask), Some(chain)) => chain.light_answered(fx, id, peer, ask.clone(), outcome),
            (Ask::History(room), _) => self.rooms.answered(fx, peer, room, outcome),
            (Ask::Peers, _) => self.finding.answered(fx, &self.connections, peer, outcome),
            (Ask::Register | Ask::Discover, _) => {
                let (finding, connections) = (&mut self.finding, &self.connections);
                self.rendezvous.answered(fx, finding, connections, (peer, &ask), outcome);
            }
            (Ask::Content(content, part), _) => self.contents.answered(fx, peer, (*content, *part), outcome),
            (_, None) => {}
        }
    }
}

/// The peer at the end of an address, if there is one.
pub(super) fn last_peer(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(multiaddr::Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The disk takes no more writes: nothing is promised any more, and the person is told.
pub(super) fn storage_failed(fx: &mut Effects, reason: String) {
    fx.raise(format!(
        "storage failed, so this peer neither proposes nor accepts anything any more: {reason}; mend it and restart"
    ));
    fx.storage_failed.get_or_insert(reason);
}
