//! What one peer keeps for gossipsub: its meshes, whom it leaves alone, what it can send again, what it waits for.

use std::{collections::VecDeque, sync::Arc};

use crate::sim::{
    event::Micros,
    gossip::{Message, MessageIx, TopicIx},
    peer::PeerIx,
};

struct Mesh {
    topic: TopicIx,
    /// In order.
    members: Vec<PeerIx>,
}

struct Backoff {
    topic: TopicIx,
    peer: PeerIx,
    until: Micros,
}

struct Cached {
    message: Arc<Message>,
    /// How often it was sent to whom asked for it.
    served: Vec<(PeerIx, u8)>,
}

struct Promise {
    message: MessageIx,
    by: PeerIx,
    until: Micros,
}

/// One peer's router.
#[derive(Default)]
pub(crate) struct Router {
    meshes: Vec<Mesh>,
    backoffs: Vec<Backoff>,
    /// The newest window first.
    windows: VecDeque<Vec<Cached>>,
    promises: Vec<Promise>,
}

impl Router {
    pub(super) fn join(&mut self, topic: TopicIx) {
        self.meshes.push(Mesh { topic, members: Vec::new() });
    }

    /// Returns who was in the mesh.
    pub(super) fn leave(&mut self, topic: TopicIx) -> Vec<PeerIx> {
        let members = self.members(topic).to_vec();
        self.meshes.retain(|mesh| mesh.topic != topic);
        members
    }

    pub(super) fn members(&self, topic: TopicIx) -> &[PeerIx] {
        self.meshes.iter().find(|mesh| mesh.topic == topic).map_or(&[], |mesh| &mesh.members)
    }

    pub(super) fn is_member(&self, topic: TopicIx, peer: PeerIx) -> bool {
        self.members(topic).binary_search(&peer).is_ok()
    }

    pub(super) fn add(&mut self, topic: TopicIx, peer: PeerIx) {
        if let Some(mesh) = self.meshes.iter_mut().find(|mesh| mesh.topic == topic)
            && let Err(place) = mesh.members.binary_search(&peer)
        {
            mesh.members.insert(place, peer);
        }
    }

    pub(super) fn remove(&mut self, topic: TopicIx, peer: PeerIx) {
        if let Some(mesh) = self.meshes.iter_mut().find(|mesh| mesh.topic == topic) {
            mesh.members.retain(|other| *other != peer);
        }
    }

    /// A neighbour is gone. What it is to be left alone for is kept.
    pub(super) fn forget(&mut self, peer: PeerIx) {
        for mesh in &mut self.meshes {
            mesh.members.retain(|other| *other != peer);
        }
        self.promises.retain(|promise| promise.by != peer);
    }

    pub(super) fn backs_off(&self, topic: TopicIx, peer: PeerIx, now: Micros) -> bool {
        self.backoffs.iter().any(|it| it.peer == peer && it.topic == topic && it.until > now)
    }

    pub(super) fn back_off(&mut self, topic: TopicIx, peer: PeerIx, until: Micros) {
        match self.backoffs.iter_mut().find(|it| it.peer == peer && it.topic == topic) {
            Some(known) => known.until = known.until.max(until),
            None => self.backoffs.push(Backoff { topic, peer, until }),
        }
    }

    pub(super) fn cache(&mut self, message: Arc<Message>) {
        if self.windows.is_empty() {
            self.windows.push_front(Vec::new());
        }
        self.windows[0].push(Cached { message, served: Vec::new() });
    }

    /// The ids of a topic in the newest windows.
    pub(super) fn recent(&self, topic: TopicIx, windows: usize) -> Vec<MessageIx> {
        let cached = self.windows.iter().take(windows).flatten();
        cached.filter(|it| it.message.topic == topic).map(|it| it.message.index).collect()
    }

    /// A message to send to who asks for it, for at most so many times.
    pub(super) fn serve(&mut self, index: MessageIx, to: PeerIx, most: u8) -> Option<Arc<Message>> {
        let cached = self.windows.iter_mut().flatten().find(|it| it.message.index == index)?;
        match cached.served.iter_mut().find(|(peer, _)| *peer == to) {
            Some((_, count)) if *count >= most => return None,
            Some((_, count)) => *count += 1,
            None => cached.served.push((to, 1)),
        }
        Some(Arc::clone(&cached.message))
    }

    pub(super) fn is_promised(&self, message: MessageIx, now: Micros) -> bool {
        self.promises.iter().any(|promise| promise.message == message && promise.until > now)
    }

    pub(super) fn promise(&mut self, by: PeerIx, messages: &[MessageIx], until: Micros) {
        self.promises.extend(messages.iter().map(|&message| Promise { message, by, until }));
    }

    /// A message came; answers whether it was promised.
    pub(super) fn fulfil(&mut self, message: MessageIx) -> bool {
        let before = self.promises.len();
        self.promises.retain(|promise| promise.message != message);
        self.promises.len() < before
    }

    /// A heartbeat later; answers who broke a promise.
    pub(super) fn beat(&mut self, history: usize, now: Micros) -> Vec<PeerIx> {
        self.windows.push_front(Vec::new());
        self.windows.truncate(history);
        self.backoffs.retain(|it| it.until > now);
        let broken = self.promises.iter().filter(|promise| promise.until <= now).map(|it| it.by).collect();
        self.promises.retain(|promise| promise.until > now);
        broken
    }

    /// The topics there is a mesh for.
    pub(super) fn topics(&self) -> Vec<TopicIx> {
        self.meshes.iter().map(|mesh| mesh.topic).collect()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
