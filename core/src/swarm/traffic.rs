//! What goes over the wire, counted.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use libp2p::gossipsub::{DataTransform, Message, RawMessage, TopicHash};

use super::gossip::{CHAT, topic_name};
use crate::{
    gossip::Topic,
    node::{
        Protocol,
        metrics::{Count, GossipTraffic, RequestTraffic},
    },
    primitives::Hash,
};

/// Kinds of gossip.
const KINDS: [&str; 5] = ["block", "vote", "evidence", "chat", "other"];
const BLOCK: usize = 0;
const VOTE: usize = 1;
const EVIDENCE: usize = 2;
const CHAT_KIND: usize = 3;
const OTHER: usize = 4;

#[derive(Default)]
struct Cell {
    number: AtomicU64,
    bytes: AtomicU64,
}

impl Cell {
    fn add(&self, bytes: usize) {
        self.number.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count(&self) -> Count {
        Count { number: self.number.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// Gossip as gossipsub passes it through, duplicates included: it sees no more of them than this.
#[derive(Default)]
struct Cells {
    received: [Cell; KINDS.len()],
    new: [Cell; KINDS.len()],
    published: [Cell; KINDS.len()],
}

/// Counts gossip by kind. Clones count together: gossipsub holds one as its transform, which changes nothing.
#[derive(Clone)]
pub struct GossipCounter {
    cells: Arc<Cells>,
    kinds: Arc<[(TopicHash, usize)]>,
}

impl GossipCounter {
    pub(super) fn new(genesis: Option<&Hash>) -> Self {
        let of_chain = [(Topic::Block, BLOCK), (Topic::Vote, VOTE), (Topic::Evidence, EVIDENCE)];
        let kinds = of_chain.into_iter().filter_map(|(topic, kind)| {
            let name = topic_name(&topic, genesis)?;
            Some((TopicHash::from_raw(name), kind))
        });
        Self { cells: Arc::default(), kinds: kinds.collect() }
    }

    /// A message was new.
    pub(super) fn was_new(&self, topic: &TopicHash) {
        self.cells.new[self.kind(topic)].add(0);
    }

    pub(super) fn traffic(&self) -> BTreeMap<&'static str, GossipTraffic> {
        let traffic = |kind: usize| GossipTraffic {
            received: self.cells.received[kind].count(),
            new: self.cells.new[kind].count().number,
            published: self.cells.published[kind].count(),
        };
        KINDS.iter().enumerate().map(|(kind, name)| (*name, traffic(kind))).collect()
    }

    fn kind(&self, topic: &TopicHash) -> usize {
        let known = self.kinds.iter().find(|(known, _)| known == topic).map(|(_, kind)| *kind);
        known.unwrap_or(if topic.as_str().starts_with(CHAT) { CHAT_KIND } else { OTHER })
    }
}

impl DataTransform for GossipCounter {
    fn inbound_transform(&self, raw: RawMessage) -> io::Result<Message> {
        self.cells.received[self.kind(&raw.topic)].add(raw.data.len());
        let RawMessage { source, data, sequence_number, topic, .. } = raw;
        Ok(Message { source, data, sequence_number, topic })
    }

    fn outbound_transform(&self, topic: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        self.cells.published[self.kind(topic)].add(data.len());
        Ok(data)
    }
}

/// Counts requests by protocol.
#[derive(Default)]
pub(super) struct RequestCounter(BTreeMap<Protocol, RequestTraffic>);

impl RequestCounter {
    pub(super) fn of(&mut self, protocol: Protocol) -> &mut RequestTraffic {
        self.0.entry(protocol).or_default()
    }

    pub(super) fn traffic(&self) -> BTreeMap<&'static str, RequestTraffic> {
        let of = |protocol| self.0.get(&protocol).copied().unwrap_or_default();
        Protocol::ALL.into_iter().map(|protocol| (protocol.label(), of(protocol))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossip_is_counted_by_kind_and_duplicates_are_what_was_not_new() {
        let genesis = Hash([0xab; 32]);
        let counter = GossipCounter::new(Some(&genesis));
        let gossipsubs = counter.clone();
        for name in
            ["/weft/abababab/block", "/weft/abababab/block", "/weft/chat/lobby", "/weft/00000000/block"]
        {
            let raw = RawMessage {
                source: None,
                data: vec![0; 10],
                sequence_number: None,
                topic: TopicHash::from_raw(name),
                signature: None,
                key: None,
                validated: false,
            };
            assert_eq!(gossipsubs.inbound_transform(raw).unwrap().data, [0; 10]);
        }
        let block = TopicHash::from_raw("/weft/abababab/block");
        counter.was_new(&block);
        gossipsubs.outbound_transform(&block, vec![0; 5]).unwrap();
        let traffic = counter.traffic();
        assert_eq!(traffic["block"].received, Count { number: 2, bytes: 20 });
        assert_eq!(traffic["block"].duplicates(), 1);
        assert_eq!(traffic["block"].published, Count { number: 1, bytes: 5 });
        assert_eq!((traffic["chat"].received.number, traffic["other"].received.number), (1, 1));
    }
}
