//! What a program holds of a running peer: commands with their answers, and events.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    SinkExt, Stream, StreamExt,
    channel::{mpsc, oneshot},
};

use crate::{
    node::{Command, CommandError, Event, Reply},
    primitives::Held,
};

/// Requests of a program that wait for the driver's attention.
const MAX_ASKS: usize = 64;

/// Events that wait for a subscriber.
const MAX_EVENTS: usize = 256;

/// Subscribers at a time.
const MAX_SUBSCRIBERS: usize = 64;

/// What a handle asks of the driver.
pub(super) enum Ask {
    Call(Command, oneshot::Sender<Result<Reply, CommandError>>),
    Subscribe(mpsc::Sender<Notice>),
    Stop,
}

/// A running peer, as a program sees it. The peer stops when all its handles are dropped.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<Ask>);

/// The way from a handle to the driver.
pub(super) fn handle() -> (Handle, mpsc::Receiver<Ask>) {
    let (sender, receiver) = mpsc::channel(MAX_ASKS);
    (Handle(sender), receiver)
}

impl Handle {
    /// Asks the peer for something and waits for the answer.
    ///
    /// # Errors
    /// When the peer does not do it, or has stopped.
    pub async fn call(&self, command: Command) -> Result<Reply, CommandError> {
        let (sender, reply) = oneshot::channel();
        self.ask(Ask::Call(command, sender)).await;
        reply.await.unwrap_or(Err(CommandError::Stopped))
    }

    /// What happens from now on. The stream ends when the peer stops, or at once when there are too many subscribers.
    pub async fn subscribe(&self) -> Events {
        let (sender, receiver) = mpsc::channel(MAX_EVENTS);
        self.ask(Ask::Subscribe(sender)).await;
        Events(receiver)
    }

    /// Ends the peer: connections are closed, and commands that wait fail. Wait for [`Driver::run`](super::Driver::run)
    /// to know that it is done.
    pub async fn stop(&self) {
        self.ask(Ask::Stop).await;
    }

    async fn ask(&self, ask: Ask) {
        // Fails only when the driver has ended; the answer's sender is dropped with the question then.
        let _ = self.0.clone().send(ask).await;
    }
}

/// An event, or the notice that some are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It happened.
    Event(Event),
    /// The subscriber was too slow, and this many events were dropped.
    Lost(u64),
}

/// A subscription to a peer's events. It holds a few hundred; a subscriber slower than that loses some and is told so.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Notice>);

impl Stream for Events {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.0.poll_next_unpin(cx)
    }
}

/// The driver's side of all subscriptions.
#[derive(Default)]
pub(super) struct Subscribers(Vec<(mpsc::Sender<Notice>, u64)>);

impl Subscribers {
    pub(super) fn held(&self) -> Held {
        Held::new("subscribers", self.0.len(), MAX_SUBSCRIBERS)
    }

    pub(super) fn add(&mut self, sender: mpsc::Sender<Notice>) {
        self.0.retain(|(sender, _)| !sender.is_closed());
        if self.0.len() < MAX_SUBSCRIBERS {
            self.0.push((sender, 0));
        }
    }

    pub(super) fn notify(&mut self, event: &Event) {
        self.0.retain_mut(|(sender, lost)| {
            if *lost > 0 && sender.try_send(Notice::Lost(*lost)).is_ok() {
                *lost = 0;
            }
            if *lost > 0 || sender.try_send(Notice::Event(event.clone())).is_err() {
                *lost += 1;
            }
            !sender.is_closed()
        });
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn next(events: &mut Events) -> Option<Notice> {
        events.next().now_or_never().flatten()
    }

    #[test]
    fn so_many_questions_wait_for_attention_and_who_asks_one_more_waits_itself() {
        let (handle, mut asks) = handle();
        for number in 0..MAX_ASKS {
            assert!(handle.subscribe().now_or_never().is_some(), "{number}");
        }
        let mut late = Box::pin(handle.subscribe());
        assert!(late.as_mut().now_or_never().is_none());
        assert!(asks.next().now_or_never().flatten().is_some());
        assert!(late.as_mut().now_or_never().is_some(), "there is room again");
    }

    #[test]
    fn a_slow_subscriber_loses_events_and_is_told_how_many() {
        let (sender, receiver) = mpsc::channel(MAX_EVENTS);
        let (mut subscribers, mut events) = (Subscribers::default(), Events(receiver));
        subscribers.add(sender);
        let total = MAX_EVENTS as u64 + 100;
        for undone in 0..total {
            subscribers.notify(&Event::Reorganised(undone));
        }
        let mut seen = 0;
        while let Some(notice) = next(&mut events) {
            assert_eq!(notice, Notice::Event(Event::Reorganised(seen)));
            seen += 1;
        }
        subscribers.notify(&Event::Peers);
        assert_eq!(next(&mut events), Some(Notice::Lost(total - seen)));
        assert_eq!(next(&mut events), Some(Notice::Event(Event::Peers)));
        assert_eq!(next(&mut events), None);
    }

    #[test]
    fn subscribers_are_bounded_and_leave_when_dropped() {
        let mut subscribers = Subscribers::default();
        let mut held: Vec<_> = (0..=MAX_SUBSCRIBERS)
            .map(|_| {
                let (sender, receiver) = mpsc::channel(1);
                subscribers.add(sender);
                receiver
            })
            .collect();
        assert_eq!(subscribers.0.len(), MAX_SUBSCRIBERS);
        assert!(held[MAX_SUBSCRIBERS].next().now_or_never().unwrap().is_none(), "refused");
        held.clear();
        subscribers.notify(&Event::Peers);
        assert!(subscribers.0.is_empty());
    }
}
