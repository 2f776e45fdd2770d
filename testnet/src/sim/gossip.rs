//! A model of gossip: every copy goes to every connected subscriber, once, after the receiver before has accepted it.
//!
//! There is no mesh, no lazy gossip and no scoring; a result from here says nothing about amplification.

use std::sync::Arc;

use libp2p::PeerId;
use weft_core::{
    gossip::Topic,
    node::{GossipId, GossipMessage, Input, Verdict},
    primitives::{Hash, Hasher},
};

use super::{
    event::{Event, Micros},
    peer::PeerIx,
    world::World,
};

/// How long a message id is remembered, as the swarm sets it.
const REMEMBER: Micros = 120_000_000;
/// A message waits for its verdict for as long as gossipsub's message cache lasts, five heartbeats of 700 ms; a later
/// verdict forwards nothing.
const JUDGED_WITHIN: Micros = 3_500_000;
/// The most bytes of a message, as the swarm sets it.
const MAX_BYTES: usize = (1 << 20) + (16 << 10);

/// What travels.
pub(super) struct Copy {
    id: Hash,
    topic: Topic,
    author: PeerId,
    sequence: u64,
    data: Vec<u8>,
}

/// A message that waits for a verdict.
pub(super) struct Judging {
    copy: Arc<Copy>,
    from: PeerIx,
    since: Micros,
}

fn message_id(topic: &Topic, author: &PeerId, sequence: u64, data: &[u8]) -> Hash {
    match topic {
        Topic::Chat(_) => {
            Hasher::tagged(b"author").add(&author.to_bytes()).add(&sequence.to_le_bytes()).finish()
        }
        Topic::Block | Topic::Vote | Topic::Evidence => {
            Hasher::tagged(format!("{topic:?}").as_bytes()).add(data).finish()
        }
    }
}

impl World {
    pub(super) fn publish(&mut self, ix: PeerIx, topic: Topic, data: Vec<u8>) {
        self.watch_published(ix, &topic, &data);
        let peer = &mut self.peers[ix.0];
        peer.published += 1;
        let (author, sequence) = (peer.id, peer.published);
        let id = message_id(&topic, &author, sequence, &data);
        peer.known.insert(id, self.now + REMEMBER);
        if data.len() > MAX_BYTES {
            peer.seen.oversized += 1;
            return;
        }
        let copy = Arc::new(Copy { id, topic, author, sequence, data });
        if self.spread(ix, &copy, None) == 0 {
            self.tell(ix, self.now, Input::PublishedToNobody(copy.topic.clone()));
        }
    }

    /// Sends a copy to everyone connected who listens; answers how many that were.
    fn spread(&mut self, ix: PeerIx, copy: &Arc<Copy>, except: Option<PeerIx>) -> usize {
        let listeners: Vec<PeerIx> = self.peers[ix.0]
            .links
            .keys()
            .copied()
            .filter(|&to| {
                let peer = &self.peers[to.0];
                Some(to) != except
                    && peer.id != copy.author
                    && peer.topics.contains(&copy.topic)
                    && (matches!(copy.topic, Topic::Chat(_)) || peer.chain == self.peers[ix.0].chain)
            })
            .collect();
        for &to in &listeners {
            let at = self.now + self.delay(ix, to);
            if !self.is_cut(ix, to) && !self.is_lost() {
                let event = Event::Gossip { from: ix, copy: Arc::clone(copy) };
                self.queue.push(at, to, self.peers[to.0].life, event);
            }
        }
        listeners.len()
    }

    pub(super) fn arrive_gossip(&mut self, ix: PeerIx, from: PeerIx, copy: Arc<Copy>) {
        let now = self.now;
        let peer = &mut self.peers[ix.0];
        if !peer.is_linked(from) || !peer.topics.contains(&copy.topic) {
            return;
        }
        if peer.known.insert(copy.id, now + REMEMBER).is_some_and(|until| until > now) {
            peer.seen.duplicates += 1;
            return;
        }
        if peer.known.len() > 4096 {
            peer.known.retain(|_, until| *until > now);
        }
        self.gossip += 1;
        let id = GossipId(self.gossip);
        peer.judging.insert(id, Judging { copy: Arc::clone(&copy), from, since: now });
        let message = GossipMessage {
            id,
            topic: copy.topic.clone(),
            from: self.peers[from.0].id,
            author: copy.author,
            sequence: copy.sequence,
            data: copy.data.clone(),
        };
        self.deliver(ix, Input::Gossip(message));
    }

    pub(super) fn judge(&mut self, ix: PeerIx, id: GossipId, verdict: Verdict) {
        let Some(Judging { copy, from, since }) = self.peers[ix.0].judging.remove(&id) else {
            assert!(!self.peers[ix.0].is_honest(), "{ix:?} judged {id:?} twice, or never had it");
            return;
        };
        match verdict {
            Verdict::Accept if self.now <= since + JUDGED_WITHIN => {
                self.spread(ix, &copy, Some(from));
            }
            Verdict::Accept | Verdict::Ignore => {}
            Verdict::Reject => {
                *self.peers[ix.0].seen.rejected.entry(from).or_default() += 1;
                self.watch_blame(ix, from, "rejected gossip of");
            }
        }
    }

    /// The number of gossip messages the peer was handed and has not judged.
    #[must_use]
    pub fn unjudged(&self, ix: PeerIx) -> usize {
        self.peers[ix.0].judging.len()
    }
}
