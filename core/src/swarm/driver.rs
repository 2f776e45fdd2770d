//! The loop that joins a swarm, a node and a shell: what happens becomes the node's inputs, and its outputs are done.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
};
use futures_timer::Delay;
use libp2p::{
    PeerId, Swarm,
    core::{ConnectedPoint, Endpoint, transport::ListenerId},
    gossipsub::{self, IdentTopic, MessageAcceptance, PublishError},
    identify, kad, ping,
    request_response::{self, Message},
    swarm::SwarmEvent,
};

use super::{
    Behaviour, BehaviourEvent, Handle, Inbox, Shell,
    codec::Oversized,
    connections::{Connections, innermost, reason},
    dht::{self, Lookups},
    direct_only::is_relayed,
    gossip::{Gossip, room, score_room, topic_name},
    handle::{Ask, Subscribers, handle},
    providers::Strangers,
    requests::{Requests, failure},
    trace::Traces,
    traffic::RequestCounter,
};
use crate::{
    gossip::Topic,
    node::{
        Command, CommandError, CommandId, DhtFailure, DhtQuery, GossipMessage, Input, Link, Node, Output,
        Protocol, Reply, RequestFailure, Verdict, metrics::Snapshot,
    },
    peers::{Found, Whom},
    primitives::{Hash, Mono, Now},
};

/// What happens without a pause before others on the thread have their turn.
const BURST: usize = 64;

/// Commands of programs that wait for the node's answer.
const MAX_CALLS: usize = 1024;

/// The longest the timer sleeps. Browsers cannot count further than some weeks, and waking early is harmless.
const MAX_SLEEP: u64 = 60 * 60 * 1000;

/// How long connections may take to close at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// The longest agent name and the most protocol names that are passed on from another peer.
const MAX_AGENT: usize = 128;
const MAX_PROTOCOLS: usize = 128;
/// The most addresses of a peer that are passed on.
const MAX_ADDRESSES: usize = 16;

/// A peer that is ready to run.
pub struct Driver<S: Shell, N: Machine = Node>(Engine<S, N>);

impl<S: Shell, N: Machine> Driver<S, N> {
    /// Joins the three parts. `inbox` is what `shell`'s workers answer to; `genesis` is the hash of the genesis that
    /// `node` has.
    #[must_use]
    pub fn new(
        swarm: Swarm<Behaviour<S::Extra>>,
        node: N,
        shell: S,
        inbox: Inbox,
        genesis: Option<Hash>,
    ) -> (Self, Handle) {
        let (engine, handle) = Engine::new(swarm, node, shell, inbox, genesis);
        (Self(engine), handle)
    }

    /// Runs the peer until [`Handle::stop`] is called or all handles are dropped. The node, and with it its store, is
    /// dropped before the shell is handed back.
    pub async fn run(self) -> S {
        self.0.run().await
    }
}

/// The state machine that is driven: the node, or a stand-in, as tests have them. See [`Node`] for the contract.
pub trait Machine {
    /// Takes in what happened.
    fn handle(&mut self, now: Now, input: Input);
    /// What to do about it, until there is nothing more.
    fn poll_output(&mut self) -> Option<Output>;
    /// When to call [`Self::handle_timeout`].
    fn poll_timeout(&self) -> Option<Mono>;
    /// Time has passed.
    fn handle_timeout(&mut self, now: Now);
}

impl Machine for Node {
    fn handle(&mut self, now: Now, input: Input) {
        Self::handle(self, now, input);
    }

    fn poll_output(&mut self) -> Option<Output> {
        Self::poll_output(self)
    }

    fn poll_timeout(&self) -> Option<Mono> {
        Self::poll_timeout(self)
    }

    fn handle_timeout(&mut self, now: Now) {
        Self::handle_timeout(self, now);
    }
}

enum Happened<E> {
    Asked(Ask),
    Told(Input),
    Swarm(SwarmEvent<E>),
    Due,
    Stop,
}

type Call = oneshot::Sender<Result<Reply, CommandError>>;
type Happening<S> = Happened<BehaviourEvent<<S as Shell>::Extra>>;

struct Engine<S: Shell, N> {
    swarm: Swarm<Behaviour<S::Extra>>,
    node: N,
    shell: S,
    genesis: Option<Hash>,
    asks: mpsc::Receiver<Ask>,
    inbox: Inbox,
    /// Inputs that arose while outputs were carried out. They are taken in turn like others, so that a node that
    /// answers failure with another attempt cannot keep the thread.
    echoes: VecDeque<Input>,
    timer: Option<(Mono, Delay)>,
    /// The source to look at first, so that none can starve the others.
    turn: usize,
    calls: BTreeMap<CommandId, Call>,
    next_call: u64,
    subscribers: Subscribers,
    connections: Connections,
    requests: Requests,
    traffic: RequestCounter,
    gossip: Gossip,
    lookups: Lookups,
    /// The listeners that stand for slots on relays, asked for or granted.
    slots: BTreeMap<PeerId, ListenerId>,
    traces: Traces,
    /// Whose provider records are held.
    strangers: Strangers,
}

impl<S: Shell, N: Machine> Engine<S, N> {
    fn new(
        swarm: Swarm<Behaviour<S::Extra>>,
        node: N,
        shell: S,
        inbox: Inbox,
        genesis: Option<Hash>,
    ) -> (Self, Handle) {
        let (handle, asks) = handle();
        let engine = Self {
            swarm,
            node,
            shell,
            genesis,
            asks,
            inbox,
            echoes: VecDeque::new(),
            timer: None,
            turn: 0,
            calls: BTreeMap::new(),
            next_call: 0,
            subscribers: Subscribers::default(),
            connections: Connections::default(),
            requests: Requests::default(),
            traffic: RequestCounter::default(),
            gossip: Gossip::default(),
            lookups: Lookups::default(),
            slots: BTreeMap::new(),
            traces: Traces::default(),
            strangers: Strangers::default(),
        };
        (engine, handle)
    }

    async fn run(mut self) -> S {
        self.drain();
        let mut burst = 0;
        loop {
            let mut waited = false;
            let happened = poll_fn(|cx| {
                let poll = self.poll_next(cx);
                waited |= poll.is_pending();
                poll
            })
            .await;
            burst = if waited { 0 } else { burst + 1 };
            match happened {
                Happened::Asked(ask) => self.asked(ask),
                Happened::Told(input) => self.feed(input),
                Happened::Swarm(event) => self.swarm_event(event),
                Happened::Due => {
                    self.node.handle_timeout(self.shell.now());
                    self.drain();
                }
                Happened::Stop => return self.close().await,
            }
            if burst == BURST {
                burst = 0;
                self.shell.pause().await;
            }
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Happening<S>> {
        const SOURCES: usize = 5;
        for offset in 0..SOURCES {
            let source = (self.turn + offset) % SOURCES;
            let poll = match source {
                0 => self.asks.poll_next_unpin(cx).map(|ask| match ask {
                    None | Some(Ask::Stop) => Happened::Stop,
                    Some(ask) => Happened::Asked(ask),
                }),
                1 => match self.inbox.poll_next_unpin(cx) {
                    Poll::Ready(Some(input)) => Poll::Ready(Happened::Told(input)),
                    // A shell without workers may have dropped its sender.
                    Poll::Ready(None) | Poll::Pending => Poll::Pending,
                },
                2 => self.poll_timer(cx).map(|()| Happened::Due),
                3 => {
                    self.echoes.pop_front().map_or(Poll::Pending, |input| Poll::Ready(Happened::Told(input)))
                }
                _ => {
                    self.swarm.poll_next_unpin(cx).map(|event| event.map_or(Happened::Stop, Happened::Swarm))
                }
            };
            if poll.is_ready() {
                self.turn = source + 1;
                return poll;
            }
        }
        Poll::Pending
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.node.poll_timeout() else {
            self.timer = None;
            return Poll::Pending;
        };
        let wait = due - self.shell.now().mono;
        if wait == 0 {
            self.timer = None;
            return Poll::Ready(());
        }
        let sleep = Duration::from_millis(wait.min(MAX_SLEEP));
        let timer = match &mut self.timer {
            Some(timer) if timer.0 == due => timer,
            other => other.insert((due, Delay::new(sleep))),
        };
        timer.1.poll_unpin(cx).map(|()| self.timer = None)
    }

    fn feed(&mut self, input: Input) {
        self.node.handle(self.shell.now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            self.carry_out(output);
        }
    }

    fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Call(_, reply) if self.calls.len() == MAX_CALLS => {
                let _ = reply.send(Err(CommandError::Busy));
            }
            Ask::Call(command, reply) => self.call(command, reply),
            Ask::Subscribe(sender) => self.subscribers.add(sender),
            Ask::Stop => {}
        }
    }

    fn call(&mut self, command: Command, reply: Call) {
        let id = CommandId(self.next_call);
        self.next_call += 1;
        self.calls.insert(id, reply);
        if command == Command::Peers {
            self.carried();
        }
        self.feed(Input::Command(id, command));
    }

    /// Tells the node what went over its connections, for a person who looks at them.
    fn carried(&mut self) {
        let now = self.shell.now();
        let meter = &self.swarm.behaviour().meter;
        for (peer, connection, id) in self.connections.open() {
            if let Some((sent, received)) = meter.bytes(id) {
                self.node.handle(now, Input::Carried { peer, connection, sent, received });
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
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

    /// Goes on with the lookups that are watched.
    fn trace(&mut self) {
        let connected: BTreeSet<_> = self.swarm.connected_peers().copied().collect();
        let now = self.shell.now().mono;
        let tracer = &mut self.swarm.behaviour_mut().tracer;
        if let Some((id, answer)) = self.traces.go_on(tracer, |peer| connected.contains(peer), now) {
            self.echoes.push_back(Input::Dht(id, Ok(answer)));
        }
    }

    /// Adds what went over the wire to the node's numbers.
    fn measure(&self, snapshot: &mut Snapshot) {
        let gossipsub = &self.swarm.behaviour().gossipsub;
        for (hash, topic) in self.gossip.topics() {
            let name = match topic {
                Topic::Block => "block".to_owned(),
                Topic::Vote => "vote".to_owned(),
                Topic::Evidence => "evidence".to_owned(),
                Topic::Chat(room) => format!("chat/{room}"),
            };
            snapshot.mesh.insert(name, gossipsub.mesh_peers(hash).count() as u64);
        }
        snapshot.gossip = gossipsub.notes.traffic();
        snapshot.requests = self.traffic.traffic();
    }

    fn swarm_event(&mut self, event: SwarmEvent<BehaviourEvent<S::Extra>>) {
        let observed = self.shell.observe(&mut self.swarm, &event);
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id: peer, connection_id, endpoint, .. } => {
                let link = if is_relayed(&endpoint) { Link::Relayed } else { Link::Direct };
                let connection = self.connections.opened(peer, connection_id, link);
                let address = endpoint.get_remote_address().clone();
                // Of two peers that dial each other to get off a relay, one plays the part of the listener.
                let outbound =
                    matches!(endpoint, ConnectedPoint::Dialer { role_override: Endpoint::Dialer, .. });
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

    fn behaviour_event(&mut self, event: BehaviourEvent<S::Extra>) {
        match event {
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                let agent = info.agent_version.chars().take(MAX_AGENT).collect();
                let protocols = info.protocols.iter().take(MAX_PROTOCOLS).map(ToString::to_string).collect();
                let addresses = info.listen_addrs.into_iter().take(MAX_ADDRESSES).collect();
                self.feed(Input::Identified { peer: peer_id, agent, protocols, addresses });
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
                let kademlia = &mut self.swarm.behaviour_mut().kademlia;
                if let Some(peer) = dht::handled(kademlia, &mut self.strangers, request) {
                    self.feed(Input::TableTold(peer));
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

    fn request_event(
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
                        None => tracing::warn!(%peer, ?protocol, "refused: too many requests wait"),
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
                    self.feed(Input::Response { id, outcome: Err(failure(&error)) });
                }
            }
            request_response::Event::InboundFailure { peer, request_id, error, .. } => {
                tracing::debug!(%peer, ?protocol, %error, "a request could not be answered");
                self.requests.gone(protocol, request_id);
            }
            request_response::Event::ResponseSent { .. } => {}
        }
    }

    /// Lets connections close in order. Commands that wait are told so by their senders' end.
    async fn close(self) -> S {
        let Self { mut swarm, shell, node, calls, asks, subscribers, .. } = self;
        drop((node, calls, asks, subscribers));
        let peers: Vec<_> = swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = swarm.disconnect_peer_id(peer);
        }
        let mut deadline = Delay::new(CLOSE_TIMEOUT);
        poll_fn(|cx| {
            while swarm.connected_peers().next().is_some() {
                if deadline.poll_unpin(cx).is_ready() {
                    break;
                }
                if swarm.poll_next_unpin(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
        shell
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests;
