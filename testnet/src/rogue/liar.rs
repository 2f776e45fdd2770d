//! The state machine in the place of the node: it says what its deed is, one thing after the other, and answers as the deed wants.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use futures::channel::mpsc;
use libp2p::{Multiaddr, PeerId};
use weft_core::{
    gossip::Topic,
    node::{Input, Link, OutboundId, Output, Verdict},
    primitives::{Mono, Now},
    store::Seq,
    swarm::Machine,
};

use super::{
    Sight,
    deed::{Deed, Saying},
};
use crate::fixture::LongChain;

/// When what was published to nobody is published again: the victim has not said yet what it listens to.
const AGAIN_MILLIS: u64 = 100;

enum Order {
    Visit(Multiaddr),
    Strike,
}

/// What the test wants done.
#[derive(Clone, Default)]
pub(super) struct Orders(Arc<Mutex<VecDeque<Order>>>);

impl Orders {
    pub(super) fn visit(&self, address: Multiaddr) {
        self.give(Order::Visit(address));
    }

    pub(super) fn strike(&self) {
        self.give(Order::Strike);
    }

    fn give(&self, order: Order) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(order);
    }

    fn take(&self) -> Option<Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// An input that says nothing, after which orders are looked at.
pub(super) fn poke() -> Input {
    Input::Persisted(Seq::default())
}

pub(super) struct Liar {
    made: Arc<LongChain>,
    deed: Deed,
    orders: Orders,
    sights: mpsc::UnboundedSender<Sight>,
    victim: Option<PeerId>,
    /// How often it has struck.
    strikes: u64,
    /// What it has still to say. A question waits for the answer to the one before.
    sayings: VecDeque<Saying>,
    waiting: bool,
    /// What nobody has heard yet, and when it is said again.
    unheard: Option<(Mono, Vec<u8>)>,
    /// What was published last.
    published: Vec<u8>,
    next: u64,
    outputs: VecDeque<Output>,
}

impl Liar {
    pub(super) fn new(
        made: Arc<LongChain>,
        deed: Deed,
        orders: Orders,
        sights: mpsc::UnboundedSender<Sight>,
    ) -> Self {
        Self {
            made,
            deed,
            orders,
            sights,
            victim: None,
            strikes: 0,
            sayings: VecDeque::new(),
            waiting: false,
            unheard: None,
            published: Vec::new(),
            next: 0,
            outputs: [Output::Subscribe(Topic::Block)].into(),
        }
    }

    fn saw(&self, sight: Sight) {
        // Fails when the test looks no longer.
        let _ = self.sights.unbounded_send(sight);
    }

    fn go_on(&mut self) {
        while let (Some(peer), false) = (self.victim, self.waiting) {
            match self.sayings.pop_front() {
                None => return,
                Some(Saying::Gossip(data)) => self.publish(data),
                Some(Saying::Ask(protocol, body)) => {
                    self.next += 1;
                    self.waiting = true;
                    self.outputs.push_back(Output::Request {
                        id: OutboundId(self.next),
                        peer,
                        protocol,
                        body,
                    });
                }
            }
        }
    }

    fn publish(&mut self, data: Vec<u8>) {
        self.published.clone_from(&data);
        self.outputs.push_back(Output::Publish { topic: Topic::Block, data });
    }
}

impl Machine for Liar {
    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Connected { peer, link: Link::Direct, .. } => {
                self.victim = Some(peer);
                self.saw(Sight::Connected);
            }
            Input::Disconnected { .. } => {
                self.victim = None;
                self.waiting = false;
                self.sayings.clear();
                self.saw(Sight::Disconnected);
            }
            Input::DialFailed { reason, .. } => self.saw(Sight::Refused(reason.to_string())),
            Input::Response { .. } => self.waiting = false,
            Input::PublishedToNobody(_) => {
                self.unheard = Some((now.mono + AGAIN_MILLIS, std::mem::take(&mut self.published)));
            }
            Input::Gossip(message) => {
                self.outputs.push_back(Output::Judge { id: message.id, verdict: Verdict::Ignore });
            }
            Input::Request { id, protocol, body, .. } => {
                self.outputs.push_back(match self.deed.answer(&self.made, protocol, &body) {
                    Some(body) => Output::Respond { id, body },
                    None => Output::Refuse(id),
                });
            }
            _ => {}
        }
        while let Some(order) = self.orders.take() {
            match order {
                Order::Visit(address) => self.outputs.push_back(Output::Dial(address)),
                Order::Strike => {
                    self.sayings.extend(self.deed.sayings(&self.made, self.strikes));
                    self.strikes += 1;
                }
            }
        }
        self.go_on();
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn poll_timeout(&self) -> Option<Mono> {
        self.unheard.as_ref().map(|(due, _)| *due)
    }

    fn handle_timeout(&mut self, now: Now) {
        if let Some((_, data)) = self.unheard.take_if(|(due, _)| *due <= now.mono) {
            self.publish(data);
        }
    }
}
