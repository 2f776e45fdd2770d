//! mDNS alone: two chats on one local network find each other without being told an address.
//!
//! mDNS skips loopback, so each chat runs in a network namespace of its own, joined by a virtual cable.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{io::Write, process::Command};

use serde_json::Value;
use weft_testnet::live::{PATIENCE, Process, programs_dir, wait_for, without_namespaces};

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
        let id = std::process::id();
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
    let cable = match Cable::lay() {
        Ok(cable) => cable,
        Err(reason) => {
            without_namespaces(&reason);
            return;
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let weft = programs_dir().unwrap().join("weft");
    let mut chats = cable.names.clone().map(|name| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &name]).arg(&weft).args(["chat", ROOM, "--json"]);
        Process::start(&name, command, dir.path()).unwrap()
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
