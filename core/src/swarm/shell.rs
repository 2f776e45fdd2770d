//! What the driver asks of a shell.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt, channel::mpsc};
use libp2p::{
    Swarm,
    swarm::{NetworkBehaviour, SwarmEvent},
};

use super::{Behaviour, BehaviourEvent};
use crate::{
    node::{ArchiveId, Input, Job, WorkId},
    primitives::Now,
    store::{ArchiveRequest, Seq},
};

/// A platform: its clock, its workers, its disk. Whatever takes time is begun here and answered through the
/// [`InputSender`]; no method may block.
pub trait Shell {
    /// The behaviours only this platform has.
    type Extra: NetworkBehaviour;

    /// What time it is.
    fn now(&self) -> Now;

    /// Runs a job elsewhere. Answer with [`Input::WorkDone`] or [`Input::WorkFailed`].
    fn work(&mut self, id: WorkId, job: Job);

    /// Asks the archive. Answer with [`Input::Archive`]; requests are carried out in order.
    fn archive(&mut self, id: ArchiveId, request: ArchiveRequest);

    /// Makes all batches up to this one durable. Answer with [`Input::Persisted`] or [`Input::StorageFailed`].
    fn flush(&mut self, seq: Seq);

    /// Asks the DNS for the TXT records of this name. Answer with [`Input::Resolved`].
    fn resolve(&mut self, name: String);

    /// Fetches a list of peers, never more of it than [`MAX_NODE_LIST_BYTES`](crate::peers::MAX_NODE_LIST_BYTES). Answer with
    /// [`Input::ListFetched`].
    fn fetch_list(&mut self, url: String);

    /// Sees every event of the swarm before the driver acts on it, those of [`Self::Extra`] included, and may act on
    /// the swarm. What it answers, the node is told.
    fn observe(
        &mut self,
        swarm: &mut Swarm<Behaviour<Self::Extra>>,
        event: &SwarmEvent<BehaviourEvent<Self::Extra>>,
    ) -> Vec<Input> {
        let _ = (swarm, event);
        Vec::new()
    }

    /// Lets others that share the thread have their turn. Called when many things happen without a pause between.
    fn pause(&mut self) -> impl Future<Output = ()>;
}

/// Tells the driver what a worker, the archive or the store's writer has done. Never blocks; the queue is as long as what
/// the node has asked for and not yet had answered.
#[derive(Clone, Debug)]
pub struct InputSender(mpsc::UnboundedSender<Input>);

impl InputSender {
    /// Hands an input to the driver; without effect once that has ended.
    pub fn send(&self, input: Input) {
        let _ = self.0.unbounded_send(input);
    }
}

/// Where a driver hears what an [`InputSender`] says.
#[derive(Debug)]
pub struct Inbox(mpsc::UnboundedReceiver<Input>);

impl Stream for Inbox {
    type Item = Input;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Input>> {
        self.0.poll_next_unpin(cx)
    }
}

/// The way from a shell's workers to its driver.
#[must_use]
pub fn inputs() -> (InputSender, Inbox) {
    let (sender, receiver) = mpsc::unbounded();
    (InputSender(sender), Inbox(receiver))
}
