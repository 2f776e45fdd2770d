//! mDNS alone: two chats, or two nodes, on one local network find each other without being told an address.
//!
//! mDNS skips loopback, so each runs in a network namespace of its own, joined by a virtual cable.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    io::Write,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use weft_testnet::live::{
    Chain, NodeOptions, PATIENCE, Process, answer, programs_dir, wait_for, without_namespaces,
};

const ROOM: &str = "harbour";

/// Two network namespaces with a cable between them; gone when dropped.
struct Cable {
    names: [String; 2],
}

fn ip(arguments: &str) -> Result<(), String> {
    let mut command = Command::new("ip");
    let output = command.args(arguments.split_whitespace()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`ip {arguments}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

impl Cable {
    fn lay() -> Result<Self, String> {
        static LAID: AtomicUsize = AtomicUsize::new(0);
        let id = format!("{}-{}", std::process::id(), LAID.fetch_add(1, Ordering::Relaxed));
        let cable = Self { names: [format!("weft-a-{id}"), format!("weft-b-{id}")] };
        for name in &cable.names {
            ip(&format!("netns add {name}"))?;
        }
        let [a, b] = &cable.names;
        ip(&format!("-n {a} link add cable type veth peer name cable netns {b}"))?;
        for (index, name) in cable.names.iter().enumerate() {
            ip(&format!("-n {name} addr add 10.77.0.{}/24 dev cable", index + 1))?;
            ip(&format!("-n {name} link set lo up"))?;
            ip(&format!("-n {name} link set cable up multicast on"))?;
            ip(&format!("-n {name} route add 224.0.0.0/4 dev cable"))?;
        }
        Ok(cable)
    }

    /// Lays it, or says why it cannot be.
    fn laid() -> Option<Self> {
        Self::lay().map_err(|reason| without_namespaces(&reason)).ok()
    }
}

/// The same command, in a namespace.
fn within(name: &str, command: &Command) -> Command {
    let mut inside = Command::new("ip");
    inside.args(["netns", "exec", name]).arg(command.get_program()).args(command.get_args());
    inside
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in &self.names {
            // The first may not have been made.
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// Waits for a line of JSON that fits.
fn says(chat: &mut Process, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    wait_for(&format!("{} says {what}", chat.name()), PATIENCE, || {
        chat.check()?;
        let lines = chat.lines();
        let mut lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.find(|line| fits(line)))
    })
    .unwrap()
}

#[test]
fn two_chats_on_one_local_network_find_each_other() {
    let Some(cable) = Cable::laid() else { return };
    let dir = tempfile::tempdir().unwrap();
    let weft = programs_dir().unwrap().join("weft");
    let mut chats = cable.names.clone().map(|name| {
        let mut chat = Command::new(&weft);
        chat.args(["chat", ROOM, "--json"]);
        Process::start(&name, within(&name, &chat), dir.path()).unwrap()
    });
    let [one, two] = &mut chats;
    let ready =
        |chat: &mut Process| says(chat, "that it is ready", |line| line["event"] == "ready")["peer"].clone();
    let peers = [ready(one), ready(two)];
    says(one, "that the other joined", |line| line["event"] == "joined" && line["peer"] == peers[1]);
    says(two, "that the other joined", |line| line["event"] == "joined" && line["peer"] == peers[0]);
    let mut inputs = [one.input().unwrap(), two.input().unwrap()];
    writeln!(inputs[0], "is anybody there?").unwrap();
    says(two, "the question", |line| line["text"] == "is anybody there?" && line["author"] == peers[0]);
    writeln!(inputs[1], "at the other end").unwrap();
    says(one, "the answer", |line| line["text"] == "at the other end" && line["author"] == peers[1]);
}

#[test]
fn a_node_that_is_told_of_nobody_finds_the_validator_next_door_and_one_without_mdns_nobody() {
    let Some(cable) = Cable::laid() else { return };
    let chain = Chain::new(200, 1).unwrap();
    let start = |name: &str, index: usize, mdns: bool| {
        let options = NodeOptions {
            validator: (name == "validator").then_some(0),
            listen: vec!["/ip4/0.0.0.0/tcp/0".to_owned()],
            mdns,
            ..NodeOptions::default()
        };
        let mut command = chain.node_command(name, &options);
        command.args(["--no-exchange", "--no-dht", "--no-rendezvous"]);
        Process::start_ready(name, within(&cable.names[index], &command), chain.dir()).unwrap()
    };
    // Who has it switched off was there before the two others.
    let silent = start("silent", 0, false);
    let (validator, mut follower) = (start("validator", 0, true), start("follower", 1, true));
    let ask = |index: usize, node: &Process, what: &str| {
        let mut weft = chain.weft();
        weft.args([what, "--json", "--rpc", node.rpc_address()]);
        answer(&mut within(&cable.names[index], &weft))
    };
    wait_for("the chain is followed", PATIENCE, || {
        follower.check()?;
        Ok(ask(1, &follower, "status")?["chain"]["height"].as_u64().filter(|height| *height >= 3))
    })
    .unwrap();
    // Both looked, and one of them dialled, or both did at once.
    let found = |index: usize, node: &Process| -> Vec<String> {
        let peers = ask(index, node, "peers").unwrap();
        serde_json::from_value(peers[0]["found"].clone()).unwrap()
    };
    let ways = [found(0, &validator), found(1, &follower)].concat();
    assert!(ways.iter().any(|way| way == "mdns"), "{ways:?}");
    assert!(ways.iter().all(|way| way == "mdns" || way == "inbound"), "{ways:?}");
    let met = ask(0, &silent, "peers").unwrap();
    assert_eq!(met.as_array().map(Vec::len), Some(0), "{met}");
    for (index, node) in [(0, &validator), (1, &follower)] {
        let peers = ask(index, node, "peers").unwrap();
        assert_eq!(peers.as_array().map(Vec::len), Some(1), "{peers}");
    }
}
