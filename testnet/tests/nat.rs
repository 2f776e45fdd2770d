//! Real routers: peers in houses of which no port is open to the street find out that nobody can dial them, have a relay pass
//! connections on, and meet without it where their routers let them.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "nat/asked.rs"]
mod asked;
#[path = "nat/kept.rs"]
mod kept;
#[path = "nat/street.rs"]
mod street;
#[path = "nat/tight.rs"]
mod tight;

use std::{process::Command, time::Instant};

use serde_json::Value;
use street::{Nat, RELAY, Space, Street};
use weft_testnet::live::{
    Chain, LiveError, NodeOptions, PATIENCE, Process, RelayOptions, answer, wait_for, without_namespaces,
};

/// Two peers may try for so long: three attempts of 20 seconds, and what leads to them.
const ATTEMPTS: std::time::Duration = std::time::Duration::from_secs(100);

/// A transport that is used alone.
#[derive(Clone, Copy)]
enum Over {
    Tcp,
    Quic,
}

impl Over {
    fn at(self, ip: &str) -> String {
        match self {
            Self::Tcp => format!("/ip4/{ip}/tcp/4200"),
            Self::Quic => format!("/ip4/{ip}/udp/4200/quic-v1"),
        }
    }
}

/// A peer in a namespace, and how to ask it.
struct Peer<'a> {
    process: Process,
    space: &'a Space,
    weft: Command,
}

impl<'a> Peer<'a> {
    fn start(chain: &Chain, space: &'a Space, name: &str, options: &NodeOptions, over: Over) -> Self {
        let listen = vec![over.at("0.0.0.0")];
        let command = chain.node_command(name, &NodeOptions { listen, ..options.clone() });
        let process = Process::start_ready(name, space.inside(&command), chain.dir()).unwrap();
        Self { process, space, weft: chain.weft() }
    }

    fn ask(&self, what: &str) -> Result<Value, LiveError> {
        let mut command = self.space.inside(&self.weft);
        answer(command.args([what, "--json", "--rpc", self.process.rpc_address()]))
    }

    /// Waits until others can reach it in this way.
    fn is_reached(&mut self, state: &str) -> Value {
        wait_for(&format!("{} is reached: {state}", self.process.name()), PATIENCE, || {
            self.process.check()?;
            let status = self.ask("status")?;
            Ok(Some(status["reach"].clone()).filter(|reach| reach["state"] == state))
        })
        .unwrap()
    }

    /// The states of its connections to a peer.
    fn links(&self, to: &str) -> Result<Vec<String>, LiveError> {
        let peers = self.ask("peers")?;
        let peer = peers.as_array().into_iter().flatten().find(|peer| peer["peer"] == to);
        let links = peer.and_then(|peer| peer["links"].as_array()).into_iter().flatten();
        Ok(links.filter_map(|link| link["state"].as_str().map(str::to_owned)).collect())
    }

    fn height(&self) -> Result<u64, LiveError> {
        Ok(self.ask("status")?["chain"]["height"].as_u64().unwrap_or_default())
    }

    /// The milliseconds that it logged after these words.
    fn took(&mut self, words: &str) -> u64 {
        wait_for(&format!("{} logs that {words}", self.process.name()), ATTEMPTS, || {
            self.process.check()?;
            let log = self.process.log();
            let line = log.lines().find(|line| line.contains(words));
            let plain = line.map(|line| line.split("millis=").nth(1).unwrap_or_default().to_owned());
            Ok(plain.and_then(|rest| rest.split_whitespace().next()?.parse().ok()))
        })
        .unwrap()
    }
}

fn street(nats: &[Nat]) -> Option<Street> {
    match Street::new(nats) {
        Ok(street) => Some(street),
        Err(reason) => {
            without_namespaces(&reason);
            None
        }
    }
}

fn relay(chain: &Chain, street: &Street, over: Over) -> Process {
    let mut command = street.middle.inside(&chain.relay_command("relay", &RelayOptions::default()));
    command.args(["--listen", &over.at(RELAY)]);
    Process::start_ready("relay", command, chain.dir()).unwrap()
}

fn at_relay(relay: &Process, over: Over) -> String {
    format!("{}/p2p/{}", over.at(RELAY), relay.peer())
}

/// A validator in one house and a follower in another, which is told of the relay only. Gives back the two once the follower
/// has a circuit to the validator, with what must live as long.
fn meet<'a>(chain: &Chain, street: &'a Street, over: Over) -> (Process, Peer<'a>, Peer<'a>) {
    let relay = relay(chain, street, over);
    let bootstrap = vec![at_relay(&relay, over)];
    let options = NodeOptions { validator: Some(0), bootstrap: bootstrap.clone(), ..NodeOptions::default() };
    let begun = Instant::now();
    let mut validator = Peer::start(chain, &street.houses[0], "validator", &options, over);
    let reach = validator.is_reached("relayed");
    assert_eq!(
        (reach["proven"].as_array().map(Vec::len), reach["relays"][0].as_str()),
        (Some(0), Some(relay.peer()))
    );
    println!("a slot on the relay {} ms after the start", begun.elapsed().as_millis());

    let options = NodeOptions { bootstrap, ..NodeOptions::default() };
    let mut follower = Peer::start(chain, &street.houses[1], "follower", &options, over);
    wait_for("the two are connected", PATIENCE, || {
        follower.process.check()?;
        Ok((!follower.links(validator.process.peer())?.is_empty()).then_some(()))
    })
    .unwrap();
    (relay, validator, follower)
}

/// They meet, get off the relay, and go on without it.
fn punches(nats: [Nat; 2], over: Over, name: &str) {
    let Some(street) = street(&nats) else { return };
    let chain = Chain::new(500, 1).unwrap();
    let (mut relay, validator, mut follower) = meet(&chain, &street, over);
    let millis = follower.took("a direct connection replaces one through a relay");
    println!("{nats:?} over {name}: direct {millis} ms after the circuit");
    let peer = validator.process.peer().to_owned();
    let mut links = Vec::new();
    let left = wait_for("nothing but what is direct is left", PATIENCE, || {
        links = follower.links(&peer)?;
        Ok((!links.is_empty() && links.iter().all(|state| state == "upgraded")).then_some(()))
    });
    left.unwrap_or_else(|error| panic!("{error}: {links:?}"));
    relay.kill();
    let before = follower.height().unwrap();
    wait_for("blocks come without the relay", PATIENCE, || {
        follower.process.check()?;
        Ok((follower.height()? > before + 5).then_some(()))
    })
    .unwrap();
}

/// They meet and find no way off the relay.
fn stays(nats: [Nat; 2], over: Over, name: &str) {
    let Some(street) = street(&nats) else { return };
    let chain = Chain::new(500, 1).unwrap();
    let (relay, mut validator, follower) = meet(&chain, &street, over);
    let millis = validator.took("it stays on the relay");
    println!("{nats:?} over {name}: given up {millis} ms after the circuit");
    let links = follower.links(validator.process.peer()).unwrap();
    assert!(links.iter().all(|state| ["relayed", "upgrading"].contains(&state.as_str())), "{links:?}");
    // Both are served by the relay.
    let before = follower.height().unwrap();
    wait_for("blocks come from the relay", PATIENCE, || Ok((follower.height()? > before + 2).then_some(())))
        .unwrap();
    drop(relay);
}

#[test]
fn two_peers_behind_home_routers_meet_directly_over_tcp() {
    punches([Nat::Cone, Nat::Cone], Over::Tcp, "TCP");
}

#[test]
fn two_peers_behind_home_routers_meet_directly_over_quic() {
    punches([Nat::Cone, Nat::Cone], Over::Quic, "QUIC");
}

#[test]
fn two_peers_behind_symmetric_routers_stay_on_the_relay_over_tcp() {
    stays([Nat::Symmetric, Nat::Symmetric], Over::Tcp, "TCP");
}

#[test]
fn a_peer_behind_a_symmetric_router_and_one_behind_a_home_router_stay_on_the_relay_over_quic() {
    stays([Nat::Symmetric, Nat::Cone], Over::Quic, "QUIC");
}

#[test]
fn a_peer_behind_a_symmetric_router_dials_an_open_one_back_over_tcp() {
    punches([Nat::Symmetric, Nat::Forwarded], Over::Tcp, "TCP");
}

#[test]
fn a_peer_behind_a_symmetric_router_dials_an_open_one_back_over_quic() {
    punches([Nat::Symmetric, Nat::Forwarded], Over::Quic, "QUIC");
}

#[test]
fn a_peer_with_a_forwarded_port_learns_that_it_can_be_dialled() {
    let Some(street) = street(&[Nat::Forwarded, Nat::Symmetric]) else { return };
    let chain = Chain::new(500, 1).unwrap();
    let over = Over::Tcp;
    let relay = relay(&chain, &street, over);
    let options = NodeOptions { bootstrap: vec![at_relay(&relay, over)], ..NodeOptions::default() };
    let begun = Instant::now();
    let mut open = Peer::start(&chain, &street.houses[0], "open", &options, over);
    let reach = open.is_reached("direct");
    println!("known to be reachable {} ms after the start", begun.elapsed().as_millis());
    assert_eq!(reach["proven"][0]["address"], "/ip4/20.0.0.10/tcp/4200");
    assert_eq!(reach["proven"][0]["by"], "test");
    assert!(reach["relays"].as_array().is_some_and(Vec::is_empty), "{reach}");
    // One behind the worst of routers dials it: at once, or after the relay has brought them together, when the relay told it of
    // that peer before it knew where it can be dialled.
    let closed = Peer::start(&chain, &street.houses[1], "closed", &options, over);
    let mut links = Vec::new();
    let met = wait_for("the two are connected without the relay", PATIENCE, || {
        links = closed.links(open.process.peer())?;
        Ok((links == ["direct"] || links == ["upgraded"]).then_some(()))
    });
    met.unwrap_or_else(|error| panic!("{error}: {links:?}"));
}

#[test]
fn a_peer_whose_router_opens_a_port_when_asked_is_dialled_there() {
    let Some(street) = street(&[Nat::Cone, Nat::Symmetric]) else { return };
    let chain = Chain::new(500, 1).unwrap();
    let over = Over::Tcp;
    let mut router = asked::start(&street.routers[0], chain.dir());
    let relay = relay(&chain, &street, over);
    let bootstrap = vec![at_relay(&relay, over)];
    let options = NodeOptions { bootstrap, upnp: true, ..NodeOptions::default() };
    let begun = Instant::now();
    let mut asks = Peer::start(&chain, &street.houses[0], "asks", &options, over);
    let reach = asks.is_reached("direct");
    println!("known to be reachable {} ms after the start", begun.elapsed().as_millis());
    assert_eq!(reach["proven"][0]["address"], "/ip4/20.0.0.10/tcp/4200");
    // Before the relay has tested it, which comes to the same.
    assert!(asks.process.log().contains("by=\"mapping\""), "{reach}");
    assert_eq!(asked::opened(&mut router), ["TCP 4200 to 192.168.1.2:4200"]);
    // One behind the worst of routers dials it there.
    let there = format!("{}/p2p/{}", over.at("20.0.0.10"), asks.process.peer());
    let options = NodeOptions { bootstrap: vec![there], ..NodeOptions::default() };
    let closed = Peer::start(&chain, &street.houses[1], "closed", &options, over);
    wait_for("the two are connected", PATIENCE, || {
        Ok((closed.links(asks.process.peer())? == ["direct"]).then_some(()))
    })
    .unwrap();
}
