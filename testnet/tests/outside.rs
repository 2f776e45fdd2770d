//! A peer of another family: js-libp2p connects to the relay, pings it, is told what it is, and chats with it and
//! with a native peer behind it, both ways. It provides, finds and serves in the distributed hash table, and is reached through the relay.
//!
//! Needs Node, and `npm ci` in `testnet/js`; `cargo xtask test outside` sees to both.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{io::Write, path::Path, process::Command};

use serde_json::Value;
use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Ports, Process, wait_for};

const ROOM: &str = "harbour";

/// Waits until the js peer says that something happened.
fn happens(js: &mut Process, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("js-libp2p says `{event}`"), PATIENCE, || {
        let lines = js.lines();
        let mut events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let found = events.find(|line| line["event"] == event && fits(line));
        if found.is_none() {
            js.check()?;
        }
        Ok(found)
    })
    .unwrap()
}

fn chats_over(part: &str) {
    let chain = Chain::new(500, 1).unwrap();
    let (mut relay, mut natives) = chain.start_all(None, Ports::default()).unwrap();
    let native = &mut natives[0];
    relay.heard(ROOM).unwrap();
    native.heard(ROOM).unwrap();

    let address =
        relay.addresses("/tcp/").into_iter().find(|address| address.contains("/ws") == (part == "/ws"));
    let mut command = Command::new("node");
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("js"));
    command.args(["peer.mjs", &address.unwrap(), ROOM]);
    let mut js = Process::start("js", command, chain.dir()).unwrap();

    let connected = happens(&mut js, "connected", |_| true);
    assert_eq!(connected["peer"], relay.peer());
    happens(&mut js, "pinged", |pinged| pinged["millis"].is_number());
    let identified = happens(&mut js, "identified", |identified| identified["peer"] == relay.peer());
    let agent = identified["agent"].as_str().unwrap();
    assert!(agent.starts_with("weft/") && agent.ends_with("(relay)"), "{agent}");
    wait_for("the relay knows what js-libp2p is", PATIENCE, || {
        let agents = relay.peers()?.into_iter().filter_map(|peer| peer.agent);
        Ok(agents.into_iter().find(|agent| agent.starts_with("js-libp2p/")))
    })
    .unwrap();

    happens(&mut js, "joined", |_| true);
    // Kept open: js-libp2p leaves when its input ends.
    let mut input = js.input().unwrap();
    writeln!(input, "ahoy from js").unwrap();
    let own = connected["own"].as_str().unwrap();
    for peer in [&mut relay, &mut *native] {
        assert_eq!(peer.hears(ROOM, "ahoy from js").unwrap().author, own);
    }
    for (peer, text) in [(&mut relay, "ahoy from the relay"), (native, "ahoy from a native")] {
        peer.say(ROOM, text).unwrap();
        let heard = happens(&mut js, "heard", |heard| heard["text"] == text);
        assert_eq!(heard["author"], peer.peer());
    }
}

#[test]
fn js_libp2p_chats_through_the_relay_over_tcp() {
    chats_over("/tcp");
}

#[test]
fn js_libp2p_chats_through_the_relay_over_websocket() {
    chats_over("/ws");
}

/// `weft dht ...`, asked of a node, as JSON.
fn dht(chain: &Chain, node: &Process, arguments: &[&str]) -> Value {
    let rpc = node.rpc_address().trim_start_matches("http://").to_owned();
    let output =
        chain.weft().arg("--json").arg("dht").args(arguments).args(["--rpc", &rpc]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// A js peer that takes part in the table of a chain, which it knows one peer of.
fn in_table(chain: &Chain, name: &str, known: &str, third: Option<&str>) -> Process {
    let protocol = format!("/weft/{}/kad/1", hex::encode(&chain.hash().unwrap().0[..4]));
    let mut command = Command::new("node");
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("js"));
    command.args(["table.mjs", known, &protocol]).args(third);
    Process::start(name, command, chain.dir()).unwrap()
}

#[test]
fn js_libp2p_provides_and_finds_in_the_table_and_is_reached_through_the_relay() {
    let chain = Chain::new(500, 1).unwrap();
    let (relay, natives) = chain.start_all(None, Ports::default()).unwrap();
    let native = &natives[0];
    let address = relay.tcp_addresses()[0].clone();
    let mut js = in_table(&chain, "js", &address, None);
    let own = happens(&mut js, "connected", |_| true)["own"].as_str().unwrap().to_owned();
    let reserved = happens(&mut js, "reserved", |_| true)["address"].as_str().unwrap().to_owned();
    let mut input = js.input().unwrap();

    // What it provides, ours find.
    let key = "5a".repeat(32);
    writeln!(input, "provide {key}").unwrap();
    happens(&mut js, "provide", |_| true);
    wait_for("a native finds what js-libp2p provides", PATIENCE, || {
        Ok(dht(&chain, native, &["providers", &key]).to_string().contains(&own).then_some(()))
    })
    .unwrap();
    // What ours provide, it finds.
    let provided = dht(&chain, native, &["provide", "song"])["key"].as_str().unwrap().to_owned();
    writeln!(input, "find {provided}").unwrap();
    let found = happens(&mut js, "find", |_| true);
    assert!(found["providers"].to_string().contains(native.peer()), "{found}");
    // And another one reaches it through the relay.
    let mut other = in_table(&chain, "other", &address, Some(&reserved));
    let pinged = happens(&mut other, "pinged", |_| true);
    assert_eq!((pinged["peer"].as_str(), pinged["limited"].as_bool()), (Some(own.as_str()), Some(true)));
}

#[test]
fn js_libp2p_serves_the_table_to_ours() {
    let chain = Chain::new(500, 1).unwrap();
    let (relay, natives) = chain.start_all(None, Ports::default()).unwrap();
    let mut js = in_table(&chain, "js", &relay.tcp_addresses()[0], Some("serve"));
    let at = happens(&mut js, "listening", |_| true)["address"].as_str().unwrap().to_owned();
    let own = happens(&mut js, "connected", |_| true)["own"].as_str().unwrap().to_owned();
    let mut input = js.input().unwrap();
    // Nobody else knows of this.
    let kept = "5a".repeat(32);
    writeln!(input, "hold {kept}").unwrap();
    happens(&mut js, "hold", |_| true);

    // One of ours that knows only js-libp2p, and can be told of others by nothing but the table.
    let options = NodeOptions { bootstrap: vec![at], ..NodeOptions::default() };
    let mut command = chain.node_command("asker", &options);
    command.args(["--no-exchange", "--no-rendezvous", "--outbound", "0"]);
    let asker = Process::start_ready("asker", command, chain.dir()).unwrap();
    wait_for("js-libp2p says who provides what it holds", PATIENCE, || {
        Ok(dht(&chain, &asker, &["providers", &kept]).to_string().contains(&own).then_some(()))
    })
    .unwrap();
    let place = relay.tcp_addresses()[0].split("/p2p/").next().unwrap().to_owned();
    wait_for("js-libp2p says where the relay is", PATIENCE, || {
        Ok(dht(&chain, &asker, &["find-peer", relay.peer()]).to_string().contains(&place).then_some(()))
    })
    .unwrap();

    // What ours provide is told to it too: it has it, without asking anybody.
    let mut key = String::new();
    wait_for("the relay knows that js-libp2p serves", PATIENCE, || {
        Ok(dht(&chain, &relay, &["table"]).to_string().contains(&own).then_some(()))
    })
    .unwrap();
    for native in [&natives[0], &asker] {
        let text = format!("song of {}", native.name());
        wait_for("it is provided", PATIENCE, || {
            let provided = dht(&chain, native, &["provide", &text]);
            Ok(provided["key"].as_str().map(|it| key = it.to_owned()))
        })
        .unwrap();
        writeln!(input, "held {key}").unwrap();
        let held = happens(&mut js, "held", |held| held["key"] == key.as_str());
        assert_eq!(held["providers"], serde_json::json!([native.peer()]), "{held}");
    }
}
