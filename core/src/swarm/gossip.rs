//! Gossipsub as Weft uses it: what identifies a message, and which messages wait for their verdict.

use std::{collections::BTreeMap, time::Duration};

use libp2p::{
    PeerId,
    gossipsub::{
        AllowAllSubscriptionFilter, Behaviour, ConfigBuilder, IdentTopic, MaxCountSubscriptionFilter,
        Message, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds, TopicHash,
        TopicScoreParams, ValidationMode,
    },
    identity::Keypair,
};

use super::traffic::GossipCounter;
use crate::{
    chain::Genesis,
    gossip::{MeshParameters, Room, ScoreParameters, Topic, TopicScore},
    node::{GossipId, Role, Without},
    primitives::{Hash, Hasher, Held},
};

/// What chat topics' names begin with: on them anybody's libp2p peer takes part, under the ids that js-libp2p makes.
pub(super) const CHAT: &str = "/weft/chat/";

/// A block of 1 MiB, and what gossipsub adds to it.
const MAX_MESSAGE: usize = (1 << 20) + (16 << 10);

/// Topics a peer may be subscribed to: a few of the chain's, its chat rooms, and those of applications that are none of
/// our business.
pub(super) const MAX_TOPICS: usize = 256;

/// The slot that scores are derived from where there is no chain: how fast chat's are forgotten.
const NO_SLOT_MILLIS: u64 = 2000;

/// Messages that wait for a verdict. Gossipsub forgets them after a few heartbeats anyway.
const MAX_WAITING: usize = 4096;

pub(super) type Gossipsub = Behaviour<GossipCounter, MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>>;

/// How gossip chooses its neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct Meshing {
    /// How large the mesh is, and how fast gossip.
    pub mesh: MeshParameters,
    /// Whether neighbours are scored.
    pub scores: bool,
}

impl Meshing {
    /// What peers of this kind do, but for what they are told to do without.
    #[must_use]
    pub const fn of(role: Role, without: Without) -> Self {
        let mut mesh = MeshParameters::for_role(role);
        if without.judgement {
            mesh.outbound = 0;
        }
        Self { mesh, scores: !without.judgement }
    }
}

/// Gossipsub for the peer with this key.
pub(super) fn gossipsub(
    key: &Keypair,
    genesis: Option<&Genesis>,
    meshing: &Meshing,
    counter: GossipCounter,
) -> Gossipsub {
    let mesh = &meshing.mesh;
    let config = ConfigBuilder::default()
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        .heartbeat_initial_delay(Duration::from_millis(100))
        .heartbeat_interval(Duration::from_millis(mesh.heartbeat_millis))
        .mesh_n(mesh.target)
        .mesh_n_low(mesh.low)
        .mesh_n_high(mesh.high)
        .mesh_outbound_min(mesh.outbound)
        .retain_scores(mesh.best)
        .gossip_lazy(mesh.lazy)
        .gossip_factor(mesh.gossip_factor)
        .history_length(mesh.history)
        .history_gossip(mesh.history_told)
        .duplicate_cache_time(Duration::from_millis(mesh.seen_millis))
        .iwant_followup_time(Duration::from_millis(mesh.promise_millis))
        .idontwant_message_size_threshold(mesh.idontwant_bytes)
        .flood_publish(mesh.flood_publish)
        .prune_backoff(Duration::from_millis(mesh.prune_backoff_millis))
        .unsubscribe_backoff(Duration::from_millis(mesh.leave_backoff_millis))
        .opportunistic_graft_ticks(mesh.opportunity_heartbeats)
        .opportunistic_graft_peers(mesh.opportunity_peers)
        .max_transmit_size(MAX_MESSAGE)
        // After a restart others still pass on what we said before. The library would blame them for it.
        .allow_self_origin(true)
        .message_id_fn(message_id)
        .build()
        .expect("the mesh bounds are in order and the sizes above the minimum");
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: MAX_TOPICS,
        max_subscriptions_per_request: MAX_TOPICS,
    };
    let mut gossipsub = Behaviour::new_with_subscription_filter_and_transform(
        MessageAuthenticity::Signed(key.clone()),
        config,
        filter,
        counter,
    )
    .expect("signing goes with strict validation");
    if meshing.scores {
        let (slot_millis, committee) =
            genesis.map_or((NO_SLOT_MILLIS, 1), |genesis| (genesis.slot_millis, genesis.authorities.len()));
        let parameters = ScoreParameters::derive(slot_millis, committee, mesh);
        let (scores, thresholds) = scores(&parameters, genesis.map(Genesis::hash).as_ref());
        gossipsub.with_peer_score(scores, thresholds).expect("derived parameters are in bounds");
    }
    gossipsub
}

/// What [`ScoreParameters`] are to the library.
fn scores(parameters: &ScoreParameters, genesis: Option<&Hash>) -> (PeerScoreParams, PeerScoreThresholds) {
    let chat = (TopicHash::from_raw(CHAT), topic_score(&parameters.chat));
    let of_chain = Topic::OF_CHAIN.into_iter().filter_map(|topic| {
        let name = topic_name(&topic, genesis)?;
        Some((TopicHash::from_raw(name), topic_score(parameters.topic(&topic))))
    });
    let scores = PeerScoreParams {
        topics: of_chain.chain([chat]).collect(),
        topic_score_cap: parameters.topic_cap,
        app_specific_weight: parameters.application_weight,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: parameters.lapse_weight,
        behaviour_penalty_threshold: parameters.lapses_tolerated,
        behaviour_penalty_decay: parameters.lapse_decay,
        decay_interval: Duration::from_millis(parameters.tick_millis),
        decay_to_zero: parameters.zero,
        retain_score: Duration::from_millis(parameters.retain_millis),
        // Slowness is no offence.
        slow_peer_weight: 0.0,
        ..PeerScoreParams::default()
    };
    let thresholds = PeerScoreThresholds {
        gossip_threshold: parameters.gossip_threshold,
        publish_threshold: parameters.publish_threshold,
        graylist_threshold: parameters.graylist_threshold,
        opportunistic_graft_threshold: parameters.opportunity_threshold,
        ..PeerScoreThresholds::default()
    };
    (scores, thresholds)
}

fn topic_score(score: &TopicScore) -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: score.weight,
        time_in_mesh_weight: score.in_mesh_weight,
        time_in_mesh_quantum: Duration::from_millis(score.in_mesh_quantum_millis),
        time_in_mesh_cap: score.in_mesh_cap,
        first_message_deliveries_weight: score.first_weight,
        first_message_deliveries_decay: score.first_decay,
        first_message_deliveries_cap: score.first_cap,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: score.invalid_weight,
        invalid_message_deliveries_decay: score.invalid_decay,
        ..TopicScoreParams::default()
    }
}

/// Has a chat room scored before it is joined, as the prefix of all is, which no room is called.
pub(super) fn score_room(gossipsub: &mut Gossipsub, topic: &IdentTopic) {
    let score = gossipsub.get_topic_params(&IdentTopic::new(CHAT)).cloned();
    if let (Some(_), Some(score)) = (room(&topic.hash()), score) {
        // Fails only without scores, and then there is none of chat's.
        let _ = gossipsub.set_topic_params(topic.clone(), score);
    }
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
    pub(super) fn held(&self) -> Held {
        Held::new("gossip that waits for its verdict", self.waiting.len(), MAX_WAITING)
    }

    pub(super) fn joined(&mut self, hash: TopicHash, topic: Topic) {
        self.topics.insert(hash, topic);
    }

    pub(super) fn left(&mut self, hash: &TopicHash) {
        self.topics.remove(hash);
    }

    pub(super) fn topics(&self) -> &BTreeMap<TopicHash, Topic> {
        &self.topics
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
    use crate::{
        chain::Authority,
        primitives::{Address, PublicKey},
    };

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
    fn the_library_takes_what_is_derived_for_every_peer_on_every_chain() {
        let key = Keypair::ed25519_from_bytes([1; 32]).unwrap();
        for role in [Role::Native, Role::Relay, Role::Browser] {
            for (slot_millis, authorities) in [(50, 1), (2000, 4), (600_000, 256)] {
                let authority = Authority { key: PublicKey([1; 32]), fee_address: Address([1; 32]) };
                let genesis = Genesis {
                    name: "test".into(),
                    time: 0,
                    slot_millis,
                    min_fee_per_byte: 1,
                    authorities: vec![authority; authorities],
                    grants: Vec::new(),
                };
                let meshing = Meshing::of(role, Without::default());
                let mut gossipsub = gossipsub(&key, Some(&genesis), &meshing, GossipCounter::new(None));
                let chain = genesis.hash();
                for topic in Topic::OF_CHAIN {
                    let name = topic_name(&topic, Some(&chain)).unwrap();
                    assert!(gossipsub.get_topic_params(&IdentTopic::new(name)).is_some(), "{topic:?}");
                }
                let lobby = IdentTopic::new("/weft/chat/lobby");
                assert!(gossipsub.get_topic_params(&lobby).is_none());
                score_room(&mut gossipsub, &lobby);
                assert!(gossipsub.get_topic_params(&lobby).is_some());
            }
        }
    }

    #[test]
    fn the_library_takes_a_mesh_in_which_nobody_is_judged() {
        let key = Keypair::ed25519_from_bytes([1; 32]).unwrap();
        for role in [Role::Native, Role::Relay, Role::Browser] {
            let meshing = Meshing::of(role, Without { judgement: true, ..Without::default() });
            let mut gossipsub = gossipsub(&key, None, &meshing, GossipCounter::new(None));
            let lobby = IdentTopic::new("/weft/chat/lobby");
            score_room(&mut gossipsub, &lobby);
            assert!(gossipsub.get_topic_params(&lobby).is_none());
            assert!(!gossipsub.set_application_score(&author(2), -100.0), "nobody keeps scores");
        }
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
