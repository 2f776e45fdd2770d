//! The distributed hash table between real peers, with every other way to find each other switched off.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::process::Output;

use serde_json::Value;
use weft_core::node::PeerView;
use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Process, wait_for};

const SLOT_MILLIS: u64 = 200;
const ALONE: [&str; 2] = ["--no-exchange", "--no-rendezvous"];

fn node(chain: &Chain, name: &str, bootstrap: Vec<String>, flags: &[&str]) -> Process {
    let mut command = chain.node_command(name, &NodeOptions { bootstrap, ..NodeOptions::default() });
    command.args(flags);
    Process::start_ready(name, command, chain.dir()).unwrap()
}

fn hub(chain: &Chain) -> Process {
    let mut command =
        chain.node_command("hub", &NodeOptions { validator: Some(0), ..NodeOptions::default() });
    command.args(ALONE);
    Process::start_ready("hub", command, chain.dir()).unwrap()
}

/// `weft dht ...`, asked of a node.
fn dht(chain: &Chain, node: &Process, arguments: &[&str]) -> Output {
    let rpc = node.rpc_address().trim_start_matches("http://").to_owned();
    chain.weft().arg("--json").arg("dht").args(arguments).args(["--rpc", &rpc]).output().unwrap()
}

/// The answer as text, once it fits.
fn says(chain: &Chain, node: &Process, arguments: &[&str], fits: impl Fn(&str) -> bool) -> String {
    wait_for(&format!("{} says what it should to {arguments:?}", node.name()), PATIENCE, || {
        let said = String::from_utf8(dht(chain, node, arguments).stdout).unwrap();
        Ok(fits(&said).then_some(said))
    })
    .unwrap()
}

#[test]
fn peers_are_found_and_what_is_provided_is_found_with_all_else_off() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let hub = hub(&chain);
    // They dial nobody but the hub of their own will.
    let flags = ["--no-exchange", "--no-rendezvous", "--outbound", "0"];
    let names = ["one", "two", "three", "four"];
    let nodes = names.map(|name| node(&chain, name, hub.tcp_addresses(), &flags));
    let [one, two, three, four] = &nodes;

    says(&chain, &hub, &["table"], |said| nodes.iter().all(|node| said.contains(node.peer())));
    let at = four.tcp_addresses();
    let place = at[0].split("/p2p/").next().unwrap();
    let found = says(&chain, one, &["find-peer", four.peer()], |said| said.contains(place));
    assert!(serde_json::from_str::<Vec<String>>(&found).is_ok(), "{found}");

    let provided = dht(&chain, two, &["provide", "song"]);
    assert!(provided.status.success(), "{}", String::from_utf8_lossy(&provided.stderr));
    let key = serde_json::from_slice::<Value>(&provided.stdout).unwrap()["key"].as_str().unwrap().to_owned();
    for asker in [one, three, four] {
        says(&chain, asker, &["providers", "song"], |said| said.contains(two.peer()));
        // Whether the key is given as text or as its hash.
        says(&chain, asker, &["providers", &key], |said| said.contains(two.peer()));
    }
    traced(&chain, one, four);
    let nobody = dht(&chain, three, &["providers", "silence"]);
    assert_eq!(String::from_utf8(nobody.stdout).unwrap().trim(), "[]");
}

/// A lookup of a peer, step by step: it ends at that peer, and everybody asked is as far from it as is said.
fn traced(chain: &Chain, asker: &Process, wanted: &Process) {
    let trace = dht(chain, asker, &["trace", wanted.peer()]);
    assert!(trace.status.success(), "{}", String::from_utf8_lossy(&trace.stderr));
    let trace: Value = serde_json::from_slice(&trace.stdout).unwrap();
    let steps = trace["steps"].as_array().unwrap();
    let bits = |step: &Value| step["distance_bits"].as_u64().unwrap();
    let distance = |step: &Value| step["distance"].as_str().unwrap().to_owned();
    for (index, step) in steps.iter().enumerate() {
        assert!(step["told_by"].as_u64().unwrap() <= index as u64, "{step}");
        let digits = distance(step);
        let leading = digits.len() - digits.trim_start_matches('0').len();
        assert!(digits.len() == 64 && bits(step).div_ceil(4) == (64 - leading) as u64, "{step}");
    }
    let at = steps.iter().find(|step| step["peer"] == wanted.peer()).unwrap();
    assert!(bits(at) == 0 && at["failed"].is_null() && at["told"].as_u64().unwrap() > 0, "{trace}");
    assert_eq!(trace["nearest"][0], wanted.peer());
    let found: Vec<_> = trace["nearest"].as_array().unwrap().iter().collect();
    let of = |peer: &Value| distance(steps.iter().find(|step| step["peer"] == *peer).unwrap());
    assert!(found.is_sorted_by_key(|peer| of(peer)) && found.len() > 1, "{trace}");
}

#[test]
fn lookups_make_peers_known_and_they_connect() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut hub = hub(&chain);
    let mut one = node(&chain, "one", hub.tcp_addresses(), &ALONE);
    let mut two = node(&chain, "two", hub.tcp_addresses(), &ALONE);
    // A lookup dials on its way, and tells whom it has found at its end. Whom the other one has found first may only know that it called.
    let names = [one.peer().to_owned(), two.peer().to_owned()];
    let met = wait_for("they are connected, and it is known how that came about", PATIENCE, || {
        let mut met = Vec::new();
        for (side, other) in [(&mut one, &names[1]), (&mut two, &names[0])] {
            side.check()?;
            let there = |peer: &PeerView| peer.peer == *other && !peer.links.is_empty();
            met.extend(side.peers()?.into_iter().find(there).into_iter().flat_map(|peer| peer.found));
        }
        Ok(met.iter().any(|way| way == "dht").then_some(met))
    })
    .unwrap();
    assert!(met.iter().all(|way| way == "dht" || way == "inbound"), "{met:?}");
    hub.terminate().unwrap();
    hub.wait(PATIENCE).unwrap();
    assert!(one.peers().unwrap().iter().any(|peer| peer.peer == two.peer()));
}

#[test]
fn who_takes_no_part_says_so() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let hub = hub(&chain);
    let silent = node(&chain, "silent", hub.tcp_addresses(), &["--no-exchange", "--no-dht"]);
    let refused = dht(&chain, &silent, &["find-peer", hub.peer()]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("takes no part in the distributed hash table"), "{said}");
    let unknown = dht(&chain, &hub, &["providers", "song"]);
    let said = String::from_utf8(unknown.stderr).unwrap();
    assert!(said.contains("knows nobody in the distributed hash table"), "{said}");
}
