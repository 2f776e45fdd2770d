//! Gossip: what both models of it share, which is messages, their ids and their verdicts.
//!
//! [`Gossip`] says which model a world runs. The flood is the baseline that costs least to think about and most to run;
//! the mesh is [gossipsub](super::gossipsub) as its specification says. Neither is the library that real peers run, so
//! whatever is measured here is a result of a model.

mod flood;
mod seen;

use std::{collections::BTreeMap, sync::Arc};

use libp2p::PeerId;
pub(super) use seen::Seen;
use weft_core::{
    gossip::Topic,
    node::{GossipId, GossipMessage, Input, Verdict},
    primitives::{Hash, Hasher},
};

use super::{event::Micros, gossipsub::Rules, peer::PeerIx, scripts::Scripts, traffic::Kind, world::World};

/// How long a message id is remembered, as the swarm sets it.
pub(super) const REMEMBER: Micros = 120_000_000;
/// A message waits for its verdict for as long as gossipsub's message cache lasts, four whole heartbeats of a second; a
/// later verdict forwards nothing.
const JUDGED_WITHIN: Micros = 4_000_000;
/// The most bytes of a message, as the swarm sets it.
const MAX_BYTES: usize = (1 << 20) + (16 << 10);
/// What strict signing and protobuf add to a message: source, sequence number, key, signature and tags.
const ENVELOPE: usize = 162;
/// The bytes of a message id in a control message, with its tag.
const ID_BYTES: usize = 34;

/// A model of gossip.
#[derive(Clone, Debug, Default)]
pub enum Gossip {
    /// Every copy goes to every connected subscriber, once, after the receiver before has accepted it.
    #[default]
    Flood,
    /// Gossipsub v1.2 as its specification says, with these rules.
    Mesh(Arc<Rules>),
}

/// A topic of one chain, or of no chain, by the order in which a world learnt of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicIx(pub(super) u32);

/// A message's identity: the beginning of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct MessageIx(pub(super) u64);

/// A message, shared by all its copies.
pub(super) struct Message {
    pub(super) index: MessageIx,
    pub(super) topic: TopicIx,
    pub(super) kind: Kind,
    pub(super) author: PeerIx,
    author_id: PeerId,
    sequence: u64,
    data: Vec<u8>,
    /// What a copy weighs before it is put into segments.
    pub(super) bytes: usize,
    /// When it was published.
    pub(super) since: Micros,
}

/// What peers say to each other about gossip.
#[derive(Clone)]
pub(super) enum Rpc {
    /// A message.
    Message(Arc<Message>),
    /// What the sender takes part in, said when a connection is new.
    Hello(Vec<TopicIx>),
    /// The sender takes part from now on.
    Subscribe(TopicIx),
    /// The sender takes part no longer.
    Unsubscribe(TopicIx),
    /// The receiver is in the sender's mesh.
    Graft(TopicIx),
    /// The receiver is no longer in the sender's mesh, and is not to graft for so many microseconds.
    Prune(TopicIx, Micros),
    /// The sender has these.
    IHave(TopicIx, Arc<[MessageIx]>),
    /// The sender wants these.
    IWant(Vec<MessageIx>),
    /// The sender has this one already.
    IDontWant(MessageIx),
}

impl Rpc {
    /// What it counts as, and its bytes. A topic's name is about 24 bytes long.
    pub(super) fn weight(&self) -> (Kind, usize) {
        let bytes = match self {
            Self::Message(message) => return (message.kind, message.bytes),
            Self::Hello(topics) => 8 + 28 * topics.len(),
            Self::Subscribe(_) | Self::Unsubscribe(_) => 36,
            Self::Graft(_) => 32,
            Self::Prune(..) => 36,
            Self::IHave(_, ids) => 32 + ID_BYTES * ids.len(),
            Self::IWant(ids) => 8 + ID_BYTES * ids.len(),
            Self::IDontWant(_) => 8 + ID_BYTES,
        };
        (Kind::Control, bytes)
    }
}

/// A message that waits for a verdict.
pub(super) struct Judging {
    pub(super) message: Arc<Message>,
    pub(super) from: PeerIx,
    /// Who else sent it in the meantime.
    pub(super) also: Vec<PeerIx>,
    pub(super) since: Micros,
}

/// The topics of a world, by short names.
#[derive(Clone, Default)]
pub(super) struct Names {
    topics: BTreeMap<(Option<Hash>, Topic), TopicIx>,
    by_index: Vec<Topic>,
}

impl Names {
    fn topic(&mut self, chain: Option<Hash>, topic: &Topic) -> TopicIx {
        let chain = if matches!(topic, Topic::Chat(_)) { None } else { chain };
        let next = TopicIx(u32::try_from(self.by_index.len()).expect("topics fit into memory"));
        let by_index = &mut self.by_index;
        *self.topics.entry((chain, topic.clone())).or_insert_with(|| {
            by_index.push(topic.clone());
            next
        })
    }

    pub(super) fn of_topic(&self, topic: TopicIx) -> &Topic {
        &self.by_index[topic.0 as usize]
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_index.len()
    }
}

fn message_ix(topic: TopicIx, name: &Topic, author: &PeerId, sequence: u64, data: &[u8]) -> MessageIx {
    let place = topic.0.to_le_bytes();
    let id = match name {
        Topic::Chat(_) => Hasher::tagged(b"author")
            .add(&place)
            .add(&author.to_bytes())
            .add(&sequence.to_le_bytes())
            .finish(),
        Topic::Block | Topic::Vote | Topic::Evidence => {
            Hasher::tagged(b"content").add(&place).add(data).finish()
        }
    };
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    MessageIx(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

impl<S: Scripts> World<S> {
    /// How peers gossip from now on. To be said before anybody joins.
    ///
    /// # Panics
    /// When somebody has joined already.
    pub fn set_gossip(&mut self, gossip: Gossip) {
        assert!(self.peers.is_empty(), "a world's peers all gossip in one way");
        self.gossip = gossip;
    }

    pub(super) fn subscribe(&mut self, ix: PeerIx, topic: &Topic) {
        let topic = self.names.topic(self.peers[ix.0].chain, topic);
        if self.peers[ix.0].topics.contains(&topic) {
            return;
        }
        self.peers[ix.0].topics.push(topic);
        if matches!(self.gossip, Gossip::Mesh(_)) {
            self.mesh_joined(ix, topic);
        }
    }

    pub(super) fn unsubscribe(&mut self, ix: PeerIx, topic: &Topic) {
        let topic = self.names.topic(self.peers[ix.0].chain, topic);
        let topics = &mut self.peers[ix.0].topics;
        let before = topics.len();
        topics.retain(|other| *other != topic);
        if topics.len() < before && matches!(self.gossip, Gossip::Mesh(_)) {
            self.mesh_left(ix, topic);
        }
    }

    pub(super) fn publish(&mut self, ix: PeerIx, topic: &Topic, data: Vec<u8>) {
        self.watch_published(ix, topic, &data);
        let whole = self.whole_blocks && *topic == Topic::Block;
        let data = if whole { self.made_whole(ix, data) } else { data };
        let now = self.now;
        let peer = &mut self.peers[ix.0];
        peer.published += 1;
        let (author_id, sequence, chain) = (peer.id, peer.published, peer.chain);
        let place = self.names.topic(chain, topic);
        let index = message_ix(place, topic, &author_id, sequence, &data);
        self.peers[ix.0].remembered.add(index, now);
        if data.len() > MAX_BYTES {
            self.peers[ix.0].seen.oversized += 1;
            return;
        }
        let kind = Kind::of_topic(topic);
        let bytes = data.len() + ENVELOPE;
        let author = ix;
        let message =
            Message { index, topic: place, kind, author, author_id, sequence, data, bytes, since: now };
        let message = Arc::new(message);
        let reached = match &self.gossip {
            Gossip::Flood => self.flood(ix, &message, &[]),
            Gossip::Mesh(_) => self.mesh_publish(ix, &message),
        };
        if reached == 0 {
            self.tell(ix, now, Input::PublishedToNobody(topic.clone()));
        }
    }

    pub(super) fn send_rpc(&mut self, from: PeerIx, to: PeerIx, rpc: Rpc) {
        let (kind, bytes) = rpc.weight();
        self.send(from, to, kind, bytes, super::event::Event::Gossip { from, rpc });
    }

    pub(super) fn arrive_gossip(&mut self, ix: PeerIx, from: PeerIx, rpc: Rpc) {
        if !self.peers[ix.0].is_linked(from) {
            return;
        }
        match (rpc, &self.gossip) {
            (rpc, Gossip::Mesh(_)) => self.mesh_heard(ix, from, rpc),
            (Rpc::Message(message), Gossip::Flood) => {
                if let Some(id) = self.take_message(ix, from, &message) {
                    self.submit_to_judge(ix, from, &message, id);
                }
            }
            (_, Gossip::Flood) => {}
        }
    }

    /// Notes a copy that came; answers by what name the node is to judge it, if it is the first.
    pub(super) fn take_message(
        &mut self,
        ix: PeerIx,
        from: PeerIx,
        message: &Arc<Message>,
    ) -> Option<GossipId> {
        let now = self.now;
        let peer = &mut self.peers[ix.0];
        if !peer.topics.contains(&message.topic) {
            return None;
        }
        if !peer.remembered.add(message.index, now) {
            peer.seen.duplicates += 1;
            peer.repeats[message.kind].messages += 1;
            peer.repeats[message.kind].bytes += message.bytes as u64;
            if matches!(self.gossip, Gossip::Flood) {
                self.came_again(ix, from, message);
            }
            return None;
        }
        peer.firsts[message.kind].messages += 1;
        peer.firsts[message.kind].bytes += message.bytes as u64;
        self.measure_first_copy(message);
        self.judgements += 1;
        let id = GossipId(self.judgements);
        let judging = Judging { message: Arc::clone(message), from, also: Vec::new(), since: now };
        self.peers[ix.0].judging.insert(id, judging);
        Some(id)
    }

    /// Hands the node what it is to judge.
    pub(super) fn submit_to_judge(&mut self, ix: PeerIx, from: PeerIx, message: &Message, id: GossipId) {
        let message = GossipMessage {
            id,
            topic: self.names.of_topic(message.topic).clone(),
            from: self.peers[from.0].id,
            author: message.author_id,
            sequence: message.sequence,
            data: message.data.clone(),
        };
        self.deliver(ix, Input::Gossip(message));
    }

    pub(super) fn judge(&mut self, ix: PeerIx, id: GossipId, verdict: Verdict) {
        let Some(judging) = self.peers[ix.0].judging.remove(&id) else {
            assert!(!self.peers[ix.0].is_honest(), "{ix:?} judged {id:?} twice, or never had it");
            return;
        };
        let in_time = self.now <= judging.since + JUDGED_WITHIN;
        if verdict == Verdict::Reject {
            *self.peers[ix.0].seen.rejected.entry(judging.from).or_default() += 1;
            self.watch_blame(ix, judging.from, "rejected gossip of");
        }
        match &self.gossip {
            Gossip::Mesh(_) => self.mesh_judged(ix, &judging, verdict, in_time),
            Gossip::Flood if verdict == Verdict::Accept && in_time => {
                let have = [&judging.also[..], &[judging.from]].concat();
                self.flood(ix, &judging.message, &have);
            }
            Gossip::Flood => {}
        }
    }

    /// The number of gossip messages the peer was handed and has not judged.
    #[must_use]
    pub fn unjudged(&self, ix: PeerIx) -> usize {
        self.peers[ix.0].judging.len()
    }
}
