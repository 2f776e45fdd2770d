//! A whole peer that joins the sample chain, and hears whatever the bytes say.
//!
//! The input's first byte chooses how the peer joins. Then come steps.

use std::collections::{BTreeMap, VecDeque};

use libp2p::Multiaddr;
use weft_core::{
    chain::Block,
    gossip::{CompactBlock, Topic, TxMode},
    node::{
        Config, ConnectionId, Discovery, Event, GossipId, GossipMessage, InboundId, Input, Link, Node,
        NodeLists, OutboundId, Output, Protocol, Prune, RequestFailure, Role, Without,
    },
    primitives::{Height, Mono, Now, SecretKey, Wall, encode},
    store::{MemoryArchive, MemoryStore},
    sync::Strategy,
};

use super::gossip::peer;
use crate::{
    sample::sample,
    steps::{step, steps},
};

const PROTOCOLS: [Protocol; 4] = [Protocol::Sync, Protocol::Archive, Protocol::Transactions, Protocol::Chat];
const STRATEGIES: [Strategy; 3] = [Strategy::Full, Strategy::Light, Strategy::Snap];

// The kinds of steps; a bit above them chooses the peer that it comes from.
const BLOCK: u8 = 0;
const VOTE: u8 = 1;
const EVIDENCE: u8 = 2;
const CHAT: u8 = 3;
const REQUEST: u8 = 4; // and the next three, one for each protocol
const RESPONSE: u8 = 8;
const FAILURE: u8 = 9;
const WAIT: u8 = 10;
const PEERS: u8 = 11; // a request too
const CONTENT: u8 = 12; // and one more
const RENDEZVOUS: u8 = 13; // and the last
const KINDS: u8 = 14;
const SECOND_PEER: u8 = 0x80;

/// A peer of this kind on the sample chain.
pub(super) fn config(role: Role) -> Config {
    Config {
        local: peer(9),
        role,
        genesis: Some(sample().chain.chain.genesis.clone()),
        key: Some(SecretKey::from_seed([9; 32])),
        discovery: Discovery::of(Role::Native),
        slots: Role::Native.slots(),
        validator: None,
        bootstrap: Vec::new(),
        lists: NodeLists::default(),
        strategy: Strategy::Full,
        prune: Prune::Archive,
        mempool_bytes: 1 << 20,
        tx_mode: TxMode::default(),
        max_inbound: 4,
        proxies: Vec::new(),
        upload: Role::Native.upload(),
        max_jobs: 4,
        without: Without::default(),
    }
}

/// It starts a moment after the last block of the sample.
pub(super) fn start(config: Config) -> (Node, Now) {
    let now = Now { mono: Mono(1_000), wall: Wall(sample().chain.now().0 + 100) };
    let node = Node::new(config, Box::new(MemoryStore::default()), [7; 32], now);
    (node.expect("a sound genesis"), now)
}

/// A peer with the shell's side of it: every effect ends at once.
struct Shell {
    node: Node,
    archive: MemoryArchive,
    now: Now,
    /// What it has asked and nobody has answered.
    asked: VecDeque<(OutboundId, Protocol, Vec<u8>)>,
    answered: BTreeMap<InboundId, Vec<u8>>,
    next: u64,
    height: Height,
    finalised: Height,
}

impl Shell {
    fn new(strategy: Strategy) -> Self {
        let (node, now) = start(Config { strategy, ..config(Role::Browser) });
        let mut shell = Self {
            node,
            archive: MemoryArchive::default(),
            now,
            asked: VecDeque::new(),
            answered: BTreeMap::new(),
            next: 0,
            height: Height(0),
            finalised: Height(0),
        };
        shell.drain();
        for byte in [1, 2] {
            let address: Multiaddr = format!("/ip4/10.0.0.{byte}/tcp/9000").parse().expect("an address");
            let connection = ConnectionId(byte.into());
            let (peer, link) = (peer(byte), Link::Direct);
            shell.handle(Input::Connected { peer, connection, link, address, outbound: true });
        }
        shell
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.drain();
    }

    fn wait(&mut self, millis: u64) {
        self.now.mono.0 += millis;
        self.now.wall.0 += millis;
        self.node.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            let answer = match output {
                Output::Work(id, job) => Input::WorkDone(id, job.run()),
                Output::Archive(id, request) => Input::Archive(id, Ok(self.archive.answer(request))),
                Output::Flush(seq) => Input::Persisted(seq),
                Output::Request { id, protocol, body, .. } => {
                    self.asked.push_back((id, protocol, body));
                    continue;
                }
                Output::Respond { id, body } => {
                    self.answered.insert(id, body);
                    continue;
                }
                Output::Notify(event) => {
                    self.watch(&event);
                    continue;
                }
                _ => continue,
            };
            self.node.handle(self.now, answer);
        }
    }

    /// Nobody but the sample's authorities can make blocks, and they have made none but the sample's.
    fn watch(&mut self, event: &Event) {
        match event {
            Event::Block(block) => {
                assert_eq!(sample().hashes.get(block.height.0 as usize), Some(&block.hash), "a forged block");
                self.height = block.height;
            }
            Event::Finalised(checkpoint) => {
                assert_eq!(*checkpoint, sample().checkpoint(checkpoint.height), "a forged checkpoint");
                assert!(checkpoint.height > self.finalised, "finality went back");
                self.finalised = checkpoint.height;
            }
            _ => {}
        }
    }

    fn step(&mut self, kind: u8, data: &[u8]) {
        let from = peer(if kind & SECOND_PEER == 0 { 1 } else { 2 });
        self.next += 1;
        let topic = match kind & !SECOND_PEER {
            BLOCK => Topic::Block,
            VOTE => Topic::Vote,
            EVIDENCE => Topic::Evidence,
            CHAT => Topic::Chat("lobby".parse().expect("a room's name")),
            RESPONSE => {
                if let Some((id, protocol, _)) = self.asked.pop_front() {
                    let outcome = Ok(data[..data.len().min(protocol.max_response())].to_vec());
                    self.handle(Input::Response { id, outcome });
                }
                return;
            }
            FAILURE => {
                if let Some((id, ..)) = self.asked.pop_front() {
                    self.handle(Input::Response { id, outcome: Err(RequestFailure::Timeout) });
                }
                return;
            }
            WAIT => {
                let millis = data.first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
                self.wait(millis.into());
                return;
            }
            kind => {
                let protocol = match kind {
                    PEERS => Protocol::Peers,
                    CONTENT => Protocol::Content,
                    RENDEZVOUS => Protocol::Rendezvous,
                    _ => PROTOCOLS[usize::from(kind - REQUEST)],
                };
                let body = data[..data.len().min(protocol.max_request())].to_vec();
                let id = InboundId(self.next);
                self.handle(Input::Request { id, peer: from, protocol, body });
                return;
            }
        };
        let (id, sequence) = (GossipId(self.next), self.next);
        let message = GossipMessage { id, topic, from, author: from, sequence, data: data.to_vec() };
        self.handle(Input::Gossip(message));
    }
}

/// See the [module](self).
pub fn node(data: &[u8]) -> bool {
    let Some((how, data)) = data.split_first() else { return false };
    let mut shell = Shell::new(STRATEGIES[usize::from(*how) % STRATEGIES.len()]);
    for (kind, bytes) in steps(data) {
        shell.step(((kind & !SECOND_PEER) % KINDS) | (kind & SECOND_PEER), bytes);
    }
    shell.wait(60_000);
    true
}

fn announced(block: &Block) -> Vec<u8> {
    encode(&CompactBlock::whole(block))
}

/// Lets a peer that has the sample chain answer one that joins by this strategy, and writes down what it says.
fn joining(how: u8) -> Vec<u8> {
    let mut server = Shell::new(Strategy::Full);
    sample().chain.blocks.iter().for_each(|block| server.step(BLOCK, &announced(block)));
    assert_eq!(server.height, sample().chain.height(), "gossip alone brings the whole chain");
    let mut joiner = Shell::new(STRATEGIES[usize::from(how)]);
    let mut seed = vec![how];
    for _ in 0..200 {
        let (kind, data) = match joiner.asked.front() {
            None => (WAIT, 2_500_u16.to_le_bytes().to_vec()),
            Some((id, protocol, body)) => {
                let (id, peer) = (InboundId(id.0), peer(3));
                server.handle(Input::Request { id, peer, protocol: *protocol, body: body.clone() });
                match server.answered.remove(&id) {
                    Some(answer) => (RESPONSE, answer),
                    None => (FAILURE, Vec::new()),
                }
            }
        };
        joiner.step(kind, &data);
        seed.extend(step(kind, &data));
        if joiner.height == server.height {
            break;
        }
    }
    seed
}

/// Gossip of the first blocks, questions of all kinds, and whole joinings.
pub fn node_seeds() -> Vec<Vec<u8>> {
    let blocks = sample().chain.blocks[..20].iter().flat_map(|block| step(BLOCK, &announced(block)));
    let mut asked: Vec<u8> = [0].into_iter().chain(blocks.clone()).collect();
    for (kind, seeds) in [
        (REQUEST, super::sync::request_seeds()),
        (REQUEST + 1, super::sync::bodies_seeds()[..1].to_vec()),
        (REQUEST + 2, super::gossip::transactions_seeds()[..6].to_vec()),
        (REQUEST + 3, super::gossip::chat_seeds()[1..2].to_vec()),
        (VOTE, super::chain::vote_seeds()),
        (EVIDENCE, super::chain::evidence_seeds()),
        (CHAT, super::gossip::chat_seeds()[..1].to_vec()),
        // Who is in the namespace `a`?
        (RENDEZVOUS, vec![vec![8, 3, 42, 3, 10, 1, b'a']]),
    ] {
        seeds.iter().for_each(|seed| asked.extend(step(kind, seed)));
    }
    vec![asked, joining(0), joining(1), joining(2)]
}
