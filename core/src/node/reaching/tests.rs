//! A node alone that nobody can dial, and one that others reach through a relay.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::VecDeque;

use super::*;
use crate::{
    gossip::TxMode,
    node::{
        Command, CommandId, Config, ConnectionId, Discovery, Input, Link, LinkState, Node, NodeLists, Prune,
        Reply, Without,
    },
    primitives::{Now, Wall},
    store::MemoryStore,
    sync::Strategy,
};

/// When a circuit beside a direct connection is closed for certain ([`super::super::upgrades`]).
const CLOSED_AFTER_MILLIS: u64 = 2_000;

struct Alone {
    node: Node,
    now: u64,
    connections: u64,
    outputs: VecDeque<Output>,
}

fn peer(byte: u8) -> PeerId {
    let mut seed = [byte; 32];
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

fn at(byte: u8) -> Multiaddr {
    format!("/ip4/8.{byte}.8.8/tcp/4200").parse().unwrap()
}

impl Alone {
    fn new(role: Role) -> Self {
        let config = Config {
            local: peer(0),
            role,
            key: None,
            discovery: Discovery::OFF,
            slots: role.slots(),
            max_inbound: 60,
            proxies: Vec::new(),
            upload: role.upload(),
            genesis: None,
            validator: None,
            bootstrap: Vec::new(),
            lists: NodeLists::default(),
            strategy: Strategy::Full,
            prune: Prune::Archive,
            mempool_bytes: 0,
            tx_mode: TxMode::default(),
            max_jobs: 1,
            without: Without::default(),
        };
        let now = Now { mono: Mono(0), wall: Wall(0) };
        let node = Node::new(config, Box::new(MemoryStore::default()), [7; 32], now).unwrap();
        Self { node, now: 0, connections: 0, outputs: VecDeque::new() }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.now), wall: Wall(self.now) }
    }

    fn handle(&mut self, input: Input) {
        self.node.handle(self.now(), input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            self.outputs.push_back(output);
        }
    }

    /// Lets so much time pass, stopping wherever the node wants to be woken.
    fn wait(&mut self, millis: u64) {
        let end = self.now + millis;
        while self.now < end {
            self.now = self.node.poll_timeout().map_or(end, |wake| wake.0.clamp(self.now + 1, end));
            self.node.handle_timeout(self.now());
            self.drain();
        }
    }

    fn connect(&mut self, byte: u8, link: Link, outbound: bool) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let address = match link {
            Link::Direct => at(byte),
            Link::Relayed => {
                format!("{}/p2p/{}/p2p-circuit/p2p/{}", at(99), peer(99), peer(byte)).parse().unwrap()
            }
        };
        self.handle(Input::Connected { peer: peer(byte), connection, link, address, outbound });
        connection
    }

    fn meet_relay(&mut self, byte: u8) -> ConnectionId {
        let connection = self.connect(byte, Link::Direct, true);
        let protocols = vec![RELAY_PROTOCOL.to_owned()];
        self.handle(Input::Identified {
            peer: peer(byte),
            agent: "a relay".to_owned(),
            protocols,
            addresses: Vec::new(),
        });
        connection
    }

    /// The relays that were asked for a slot since the last look.
    fn asked(&mut self) -> Vec<PeerId> {
        let outputs = std::mem::take(&mut self.outputs);
        let asked = outputs.into_iter().filter_map(|output| match output {
            Output::Reserve { relay, circuit } => {
                assert!(circuit.to_string().ends_with(&format!("/p2p/{relay}/p2p-circuit")), "{circuit}");
                Some(relay)
            }
            _ => None,
        });
        asked.collect()
    }

    fn closed(&mut self) -> Vec<ConnectionId> {
        let outputs = std::mem::take(&mut self.outputs);
        let closed = outputs.into_iter().filter_map(|output| match output {
            Output::Close { connection, .. } => Some(connection),
            _ => None,
        });
        closed.collect()
    }

    fn ask(&mut self, command: Command) -> Reply {
        self.handle(Input::Command(CommandId(1), command));
        let reply = self.outputs.iter().find_map(|output| match output {
            Output::Reply(_, reply) => Some((**reply).clone()),
            _ => None,
        });
        self.outputs.retain(|output| !matches!(output, Output::Reply(..)));
        reply.unwrap().unwrap()
    }

    fn state(&mut self) -> ReachState {
        match self.ask(Command::Status) {
            Reply::Status(status) => status.reach.state,
            other => panic!("{other:?}"),
        }
    }

    fn link(&mut self, byte: u8) -> Vec<LinkState> {
        match self.ask(Command::Peers) {
            Reply::Peers(peers) => {
                let found = peers.into_iter().find(|view| view.peer == peer(byte).to_string());
                found.into_iter().flat_map(|view| view.links).map(|link| link.state).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    fn upgrades(&mut self) -> (u64, u64) {
        match self.ask(Command::Metrics) {
            Reply::Metrics(snapshot) => (snapshot.upgrades.succeeded, snapshot.upgrades.failed),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_native_asks_for_slots_when_nobody_was_able_to_dial_it_for_a_while() {
    let mut node = Alone::new(Role::Native);
    node.connect(5, Link::Direct, true);
    node.wait(2 * TEST_MILLIS);
    assert!(node.asked().is_empty(), "no relay, no slot");
    for byte in [1, 2, 3] {
        node.meet_relay(byte);
    }
    node.wait(TEST_MILLIS - 1);
    assert_eq!((node.asked(), node.state()), (Vec::new(), ReachState::Unknown));
    node.wait(1);
    let asked = node.asked();
    assert_eq!((asked.len(), node.state()), (2, ReachState::No));
    node.handle(Input::SlotGranted(asked[0]));
    assert_eq!(node.state(), ReachState::Relayed);
    // One refuses: the third is asked.
    node.handle(Input::SlotLost { relay: asked[1], reason: "full".to_owned() });
    let third = node.asked();
    assert!(third.len() == 1 && !asked.contains(&third[0]));
}

#[test]
fn a_failed_test_makes_it_ask_sooner_and_a_good_one_not_at_all() {
    let mut node = Alone::new(Role::Native);
    node.meet_relay(1);
    node.handle(Input::Unreachable(at(7)));
    node.wait(REST_OF_TESTS_MILLIS);
    let asked = node.asked();
    assert_eq!(asked, [peer(1)]);
    node.handle(Input::SlotGranted(asked[0]));
    // Another address can be dialled after all: the slot is given back.
    node.handle(Input::Reachable { address: at(8), by: ReachedBy::Test });
    assert!(node.outputs.iter().any(|output| matches!(output, Output::Release(relay) if *relay == peer(1))));
    node.handle(Input::SlotLost { relay: peer(1), reason: "given back".to_owned() });
    node.wait(10 * TEST_MILLIS);
    assert_eq!((node.asked(), node.state()), (Vec::new(), ReachState::Direct));
    // The router forgets the mapping.
    node.handle(Input::Unreachable(at(8)));
    assert_eq!(node.asked(), [peer(1)]);
}

#[test]
fn what_can_be_dialled_from_near_only_does_not_do_for_those_far_away() {
    let mut node = Alone::new(Role::Native);
    node.handle(Input::Reachable {
        address: "/ip4/192.168.1.2/tcp/4100".parse().unwrap(),
        by: ReachedBy::Test,
    });
    node.meet_relay(1);
    node.wait(TEST_MILLIS);
    assert_eq!(node.asked(), [peer(1)]);
}

#[test]
fn a_tab_asks_at_once_and_a_relay_never() {
    let mut tab = Alone::new(Role::Browser);
    tab.meet_relay(1);
    assert_eq!(tab.asked(), [peer(1)]);
    let mut relay = Alone::new(Role::Relay);
    relay.meet_relay(1);
    relay.wait(10 * TEST_MILLIS);
    assert!(relay.asked().is_empty());
}

#[test]
fn one_who_connected_to_us_or_relays_nothing_is_not_asked() {
    let mut node = Alone::new(Role::Browser);
    node.connect(1, Link::Direct, false);
    let told = |protocols: &[&str], byte| Input::Identified {
        peer: peer(byte),
        agent: String::new(),
        protocols: protocols.iter().map(|name| (*name).to_owned()).collect(),
        addresses: Vec::new(),
    };
    node.handle(told(&[RELAY_PROTOCOL], 1));
    node.connect(2, Link::Direct, true);
    node.handle(told(&["/ipfs/ping/1.0.0"], 2));
    assert!(node.asked().is_empty());
}

#[test]
fn a_lost_relay_is_replaced_by_another() {
    let mut node = Alone::new(Role::Browser);
    let first = node.meet_relay(1);
    node.meet_relay(2);
    node.meet_relay(3);
    for relay in node.asked() {
        node.handle(Input::SlotGranted(relay));
    }
    node.handle(Input::Disconnected { peer: peer(1), connection: first });
    assert_eq!(node.asked(), [peer(3)]);
}

#[test]
fn a_direct_connection_takes_the_place_of_a_circuit() {
    let mut node = Alone::new(Role::Native);
    let circuit = node.connect(1, Link::Relayed, true);
    assert_eq!(node.link(1), [LinkState::Upgrading]);
    node.wait(400);
    node.connect(1, Link::Direct, true);
    assert_eq!(node.link(1), [LinkState::Relayed, LinkState::Upgraded]);
    assert!(node.closed().is_empty(), "not before it is seen to last");
    node.wait(CLOSED_AFTER_MILLIS);
    assert_eq!((node.closed(), node.upgrades()), (vec![circuit], (1, 0)));
    node.handle(Input::Disconnected { peer: peer(1), connection: circuit });
    assert_eq!(node.link(1), [LinkState::Upgraded]);
}

#[test]
fn a_circuit_is_not_closed_when_the_direct_connection_does_not_last() {
    let mut node = Alone::new(Role::Native);
    node.connect(1, Link::Relayed, true);
    let direct = node.connect(1, Link::Direct, true);
    node.handle(Input::Disconnected { peer: peer(1), connection: direct });
    node.wait(10 * CLOSED_AFTER_MILLIS);
    assert!(node.closed().is_empty());
}

#[test]
fn a_circuit_beside_a_direct_connection_is_closed() {
    let mut node = Alone::new(Role::Native);
    node.connect(1, Link::Direct, false);
    let circuit = node.connect(1, Link::Relayed, false);
    node.wait(CLOSED_AFTER_MILLIS);
    assert_eq!((node.closed(), node.upgrades()), (vec![circuit], (0, 0)));
}

#[test]
fn where_there_is_no_direct_way_the_peer_stays_on_the_relay() {
    let mut node = Alone::new(Role::Native);
    node.connect(1, Link::Relayed, false);
    node.handle(Input::UpgradeFailed { peer: peer(1), reason: "three attempts".to_owned() });
    assert_eq!((node.link(1), node.upgrades()), (vec![LinkState::Relayed], (0, 1)));
    // The side that does not hear of the end stops hoping.
    node.connect(2, Link::Relayed, true);
    node.wait(UPGRADE_MILLIS);
    assert_eq!((node.link(2), node.upgrades()), (vec![LinkState::Relayed], (0, 2)));
    assert!(node.closed().is_empty());
    // A circuit that ends first is one that failed, too.
    let third = node.connect(3, Link::Relayed, true);
    node.handle(Input::Disconnected { peer: peer(3), connection: third });
    assert_eq!(node.upgrades(), (0, 3));
}

#[test]
fn own_addresses_are_bounded() {
    let mut node = Alone::new(Role::Native);
    for port in 1..1000 {
        let address = format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap();
        node.handle(Input::Reachable { address, by: ReachedBy::Mapping });
    }
    let Reply::Status(status) = node.ask(Command::Status) else { panic!() };
    assert_eq!(status.reach.proven.len(), MAX_PROVEN);
}
