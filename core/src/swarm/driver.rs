//! The loop that joins a swarm, a node and a shell: what happens becomes the node's inputs, and its outputs are done.

mod events;
mod measures;
mod outputs;

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
use libp2p::{PeerId, Swarm, core::transport::ListenerId, swarm::SwarmEvent};

use super::{
    Behaviour, BehaviourEvent, Handle, Inbox, Shell,
    connections::Connections,
    dht::Lookups,
    gossip::Gossip,
    handle::{Ask, Subscribers, handle},
    providers::Strangers,
    requests::Requests,
    trace::Traces,
    traffic::RequestCounter,
};
use crate::{
    node::{Command, CommandError, CommandId, Input, Node, Output, Reply},
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

    /// Goes on with the lookups that are watched.
    fn trace(&mut self) {
        let connected: BTreeSet<_> = self.swarm.connected_peers().copied().collect();
        let now = self.shell.now().mono;
        let tracer = &mut self.swarm.behaviour_mut().tracer;
        if let Some((id, answer)) = self.traces.go_on(tracer, |peer| connected.contains(peer), now) {
            self.echoes.push_back(Input::Dht(id, Ok(answer)));
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
