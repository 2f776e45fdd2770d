//! Bad input to real programs: each gets words and a code, or is outlived.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{fs, net::TcpListener, process::Command, time::Duration};

use weft_testnet::live::{Chain, LiveError, NodeOptions, PATIENCE, Ports, Process, post, wait_for};

const SLOT_MILLIS: u64 = 200;
/// A local file cannot be used.
const LOCAL_FILE: i32 = 4;
/// Something failed on the way.
const FAILED: i32 = 1;

fn validator() -> NodeOptions {
    NodeOptions { validator: Some(0), ..NodeOptions::default() }
}

/// Runs a command that must end with `code` and say each of `words` on the way.
fn fails(chain: &Chain, command: Command, code: i32, words: &[&str]) {
    let mut process = Process::start("refused", command, chain.dir()).unwrap();
    let status = process.wait(PATIENCE).unwrap();
    let said = process.log() + &process.lines().join("\n");
    assert_eq!(status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn peers_of_different_chains_say_so_and_keep_running() {
    let (one, two) = (Chain::new(SLOT_MILLIS, 1).unwrap(), Chain::new(SLOT_MILLIS, 1).unwrap());
    let mut first = one.node("first", &validator()).unwrap();
    let options = NodeOptions { bootstrap: first.tcp_addresses(), ..validator() };
    let mut second = two.node("second", &options).unwrap();
    wait_for("the second says that the first is on another chain", PATIENCE, || {
        second.check()?;
        let alarms = second.status()?.alarms.join("\n");
        Ok((alarms + &second.log()).contains("another chain").then_some(()))
    })
    .unwrap();
    for peer in [&mut first, &mut second] {
        let height = peer.height().unwrap();
        peer.reach(height + 3).unwrap();
    }
}

#[test]
fn a_damaged_database_is_refused_with_words() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut node = chain.node("node", &validator()).unwrap();
    node.reach(3).unwrap();
    node.kill();
    let files = fs::read_dir(chain.data("node")).unwrap().map(|entry| entry.unwrap().path());
    let databases: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|extension| extension == "redb")).collect();
    assert!(!databases.is_empty());
    for database in databases {
        fs::write(database, vec![0x5a; 64 << 10]).unwrap();
    }
    fails(&chain, chain.node_command("node", &validator()), LOCAL_FILE, &["weft"]);
}

#[test]
fn the_data_of_another_chain_is_refused_with_words() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut node = chain.node("node", &validator()).unwrap();
    node.reach(2).unwrap();
    node.kill();
    let other = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut command = other.weft();
    command.args([
        "node",
        "--no-mdns",
        "--no-upnp",
        "--rpc",
        "127.0.0.1:0",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
    ]);
    command.arg("--genesis").arg(other.genesis()).arg("--data").arg(chain.data("node"));
    fails(&chain, command, LOCAL_FILE, &["belongs to chain"]);
}

#[test]
fn damaged_keys_and_files_are_refused_with_words() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    fs::create_dir_all(chain.data("node")).unwrap();
    let peer_key = chain.data("node").join("peer-key.json");
    fs::write(&peer_key, "{\"kind\":\"peer\"}").unwrap();
    fails(&chain, chain.node_command("node", &NodeOptions::default()), LOCAL_FILE, &["peer-key.json"]);
    fs::remove_file(peer_key).unwrap();

    fs::write(chain.validator_key(0), "not a key").unwrap();
    fails(&chain, chain.node_command("node", &validator()), LOCAL_FILE, &["validator-0.json"]);

    let config = chain.dir().join("weft.toml");
    fs::write(&config, "listen = 7\n").unwrap();
    let mut command = chain.node_command("node", &NodeOptions::default());
    command.arg("--config").arg(config);
    fails(&chain, command, LOCAL_FILE, &["weft.toml"]);

    fs::write(chain.genesis(), "{\"name\": \"x\"}").unwrap();
    fails(&chain, chain.node_command("node", &NodeOptions::default()), LOCAL_FILE, &["genesis.json"]);
}

#[test]
fn a_port_in_use_is_named() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let number = port.to_string();

    let mut command = chain.weft();
    command.args([
        "node",
        "--no-mdns",
        "--no-upnp",
        "--no-rpc",
        "--listen",
        &format!("/ip4/127.0.0.1/tcp/{port}"),
    ]);
    command.arg("--genesis").arg(chain.genesis()).arg("--data").arg(chain.data("node"));
    fails(&chain, command, FAILED, &[&number]);

    let mut command = chain.weft();
    command.args([
        "node",
        "--no-mdns",
        "--no-upnp",
        "--listen",
        "/ip4/127.0.0.1/tcp/0",
        "--rpc",
        &format!("127.0.0.1:{port}"),
    ]);
    command.arg("--genesis").arg(chain.genesis()).arg("--data").arg(chain.data("node"));
    fails(&chain, command, FAILED, &[&number, "--rpc"]);

    match chain.relay(None, Ports { http: port, ..Ports::default() }) {
        Err(LiveError::Ended { log, .. }) => assert!(log.contains(&number), "{log}"),
        other => panic!("a relay on a taken port: {other:?}"),
    }
}

#[test]
fn a_bootstrap_address_that_nobody_answers_is_said_and_tried_again() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let ports = Ports::free().unwrap();
    // The peer to come keeps its id between the two.
    let first = chain.relay(None, ports).unwrap();
    let bootstrap = first.tcp_addresses();
    drop(first);
    let mut node = chain.node("node", &NodeOptions { bootstrap, ..validator() }).unwrap();
    let port = ports.tcp.to_string();
    let complaint = |alarm: &String| alarm.contains(&port) && alarm.contains("still trying");
    wait_for("it says that nobody answers", PATIENCE, || {
        node.check()?;
        Ok(node.status()?.alarms.iter().any(complaint).then_some(()))
    })
    .unwrap();
    let height = node.height().unwrap();
    node.reach(height + 2).unwrap();
    let mut relay = chain.relay(None, ports).unwrap();
    relay.reach(height + 2).unwrap();
    wait_for("the complaint is over", PATIENCE, || {
        Ok((!node.status()?.alarms.iter().any(complaint)).then_some(()))
    })
    .unwrap();
}

#[test]
fn nonsense_on_the_rpc_is_answered_and_outlived() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut node = chain.node("node", &validator()).unwrap();
    let huge = vec![b'['; 1 << 20];
    let requests: [&[u8]; 9] = [
        b"",
        b"\xff\xfe\x00",
        b"{",
        b"[[[[[[[[[[[[",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"weft_nothing\",\"params\":[]}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"weft_block\",\"params\":[-1]}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"weft_submit\",\"params\":[\"zz\"]}",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"weft_dial\",\"params\":[\"/ip4/nowhere\"]}",
        &huge,
    ];
    for request in requests {
        let shown = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        // What is too large may be cut off before it is read to the end.
        if let Ok((status, answer)) = post(node.rpc_address(), "/", "application/json", request) {
            let refused = status >= 400 || answer.contains("\"error\"");
            assert!(refused, "{shown} was answered with {status} {answer}");
        }
    }
    let height = node.height().unwrap();
    node.reach(height + 2).unwrap();
    assert!(!node.log().contains("panicked"), "{}", node.log());
    node.terminate().unwrap();
    assert_eq!(node.wait(Duration::from_secs(20)).unwrap().code(), Some(0));
}
