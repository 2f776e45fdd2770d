//! Gossipsub as Weft uses it: what identifies a message, and which messages wait for their verdict.

use std::{collections::BTreeMap, time::Duration};

use libp2p::{
    PeerId,
    gossipsub::{
        AllowAllSubscriptionFilter, Behaviour, ConfigBuilder, IdentityTransform, MaxCountSubscriptionFilter,
        Message, MessageAuthenticity, MessageId, TopicHash, ValidationMode,
    },
    identity::Keypair,
};

use crate::{
    gossip::{Room, Topic},
    node::GossipId,
    primitives::{Hash, Hasher},
};

/// What chat topics' names begin with: on them anybody's libp2p peer takes part, under the ids that js-libp2p makes.
const CHAT: &str = "/weft/chat/";

/// A block of 1 MiB, and what gossipsub adds to it.
const MAX_MESSAGE: usize = (1 << 20) + (16 << 10);

/// Topics a peer may be subscribed to: a few of the chain's, its chat rooms, and those of applications that are none of
/// our business.
const MAX_TOPICS: usize = 256;

/// Messages that wait for a verdict. Gossipsub forgets them after a few heartbeats anyway.
const MAX_WAITING: usize = 4096;

pub(super) type Gossipsub =
    Behaviour<IdentityTransform, MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>;

/// Gossipsub for the peer with this key.
pub(super) fn gossipsub(key: &Keypair) -> Gossipsub {
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(700))
        .mesh_n(8)
        .mesh_n_low(6)
        .mesh_n_high(12)
        .max_transmit_size(MAX_MESSAGE)
        // Long enough that a message that went the long way round is still known.
        .duplicate_cache_time(Duration::from_secs(120))
        .message_id_fn(message_id)
        .build()
        .expect("the mesh bounds are in order and the sizes above the minimum");
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: MAX_TOPICS,
        max_subscriptions_per_request: MAX_TOPICS,
    };
    Behaviour::new_with_subscription_filter(MessageAuthenticity::Signed(key.clone()), config, filter)
        .expect("signing goes with strict validation")
}

/// What a topic is called on the wire; `None` for a topic that needs a chain, without one.
pub(super) fn topic_name(topic: &Topic, genesis: Option<&Hash>) -> Option<String> {
    match topic {
        Topic::Chat(_) => Some(topic.name(&Hash::ZERO)),
        Topic::Block | Topic::Vote | Topic::Evidence => genesis.map(|genesis| topic.name(genesis)),
    }
}

/// The chat room that a topic of this name is.
pub(super) fn room(topic: &TopicHash) -> Option<Room> {
    topic.as_str().strip_prefix(CHAT)?.parse().ok()
}

/// The identity of a message: author and sequence number in chat rooms, as js-libp2p has it, so that the same words may
/// be said twice; topic and content everywhere else, so that the same block from two authors is one, and that nothing said
/// on one topic can hide it on another.
fn message_id(message: &Message) -> MessageId {
    if !message.topic.as_str().starts_with(CHAT) {
        let id = Hasher::tagged(message.topic.as_str().as_bytes()).add(&[0]).add(&message.data).finish();
        return MessageId::new(&id.0);
    }
    let source = message.source.map(PeerId::to_bytes).unwrap_or_default();
    // The id of an ed25519 peer is an identity multihash: code 0, the length, then the protobuf public key itself.
    let key = match source.as_slice() {
        [0, _, key @ ..] => key,
        digest => digest,
    };
    MessageId::new(&[key, &message.sequence_number.unwrap_or_default().to_be_bytes()].concat())
}

/// The topics this peer takes part in, and the messages on them that are not judged yet.
#[derive(Default)]
pub(super) struct Gossip {
    topics: BTreeMap<TopicHash, Topic>,
    waiting: BTreeMap<GossipId, (MessageId, PeerId)>,
    next: u64,
}

impl Gossip {
    pub(super) fn joined(&mut self, hash: TopicHash, topic: Topic) {
        self.topics.insert(hash, topic);
    }

    pub(super) fn left(&mut self, hash: &TopicHash) {
        self.topics.remove(hash);
    }

    pub(super) fn topic(&self, hash: &TopicHash) -> Option<&Topic> {
        self.topics.get(hash)
    }

    /// Names a message until its verdict comes; the one that has waited longest gives way.
    pub(super) fn await_verdict(&mut self, message: MessageId, from: PeerId) -> GossipId {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_first();
        }
        let id = GossipId(self.next);
        self.next += 1;
        self.waiting.insert(id, (message, from));
        id
    }

    /// The message a verdict is about, unless it has waited too long.
    pub(super) fn judged(&mut self, id: GossipId) -> Option<(MessageId, PeerId)> {
        self.waiting.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, source: PeerId, sequence: u64) -> Message {
        Message {
            source: Some(source),
            data: b"hello".to_vec(),
            sequence_number: Some(sequence),
            topic: TopicHash::from_raw(topic),
        }
    }

    fn author(seed: u8) -> PeerId {
        Keypair::ed25519_from_bytes([seed; 32]).unwrap().public().to_peer_id()
    }

    #[test]
    fn a_chat_message_has_the_id_that_js_libp2p_gives_it() {
        let id = message_id(&message("/weft/chat/lobby", author(1), 0x0102_0304_0506_0708));
        // Protobuf: field 1 (key type) = 1 (ed25519); field 2 (data) = the 32 bytes of the key. Then the number.
        assert_eq!(
            hex::encode(&id.0),
            "08011220\
             8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c\
             0102030405060708"
        );
    }

    #[test]
    fn another_message_by_the_same_author_has_another_id_in_chat_only() {
        let id = |topic: &str, sequence| message_id(&message(topic, author(1), sequence));
        assert_ne!(id("/weft/chat/lobby", 1), id("/weft/chat/lobby", 2));
        assert_eq!(id("/weft/abababab/block", 1), id("/weft/abababab/block", 2));
        assert_eq!(
            message_id(&message("/weft/abababab/block", author(1), 1)),
            message_id(&message("/weft/abababab/block", author(2), 7)),
        );
    }

    #[test]
    fn what_waits_for_a_verdict_is_bounded() {
        let mut gossip = Gossip::default();
        let ids: Vec<_> =
            (0..=MAX_WAITING).map(|_| gossip.await_verdict(MessageId::new(b"x"), author(1))).collect();
        assert_eq!(gossip.waiting.len(), MAX_WAITING);
        assert!(gossip.judged(ids[0]).is_none());
        assert!(gossip.judged(ids[MAX_WAITING]).is_some());
        assert!(gossip.judged(ids[MAX_WAITING]).is_none(), "a verdict is given once");
    }
}
