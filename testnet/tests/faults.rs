//! What goes wrong around a real program, and not in it: its clock, its disk, and the moment at which it ends.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;
use weft_core::node::BlockView;
use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Process, wait_for};

const SLOT_MILLIS: u64 = 500;

/// The library that gives a program another time, from Debian's package `faketime`.
fn other_time() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    let found = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    found.into_iter().find(|path| path.exists()).expect("the package faketime is installed")
}

/// Lets a command see the time that a file says, such as `+2s`, whenever it looks. What it times by runs on as it does.
fn clock(command: &mut Command, file: &Path) {
    command.env("LD_PRELOAD", other_time()).env("FAKETIME_TIMESTAMP_FILE", file);
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
}

fn options(validator: Option<usize>, bootstrap: &[&Process]) -> NodeOptions {
    let bootstrap = bootstrap.iter().flat_map(|process| process.tcp_addresses()).collect();
    NodeOptions { validator, bootstrap, ..NodeOptions::default() }
}

/// A peer with a clock of its own, and the file that sets it.
fn with_clock(chain: &Chain, name: &str, options: &NodeOptions, time: &str) -> (Process, PathBuf) {
    let file = chain.dir().join(format!("{name}.time"));
    fs::write(&file, time).unwrap();
    let mut command = chain.node_command(name, options);
    clock(&mut command, &file);
    (Process::start_ready(name, command, chain.dir()).unwrap(), file)
}

fn nobody_is_blamed(peers: &[&Process]) {
    for peer in peers {
        for view in peer.peers().unwrap() {
            assert!(view.offences.is_empty(), "{} blames {}: {:?}", peer.name(), view.peer, view.offences);
        }
    }
}

#[test]
fn blocks_become_final_although_two_of_four_validators_have_clocks_two_seconds_off() {
    let chain = Chain::new(SLOT_MILLIS, 4).unwrap();
    let (mut right, _) = with_clock(&chain, "right", &options(Some(0), &[]), "+0");
    let (also, _) = with_clock(&chain, "also", &options(Some(1), &[&right]), "+0");
    let (fast, _) = with_clock(&chain, "fast", &options(Some(2), &[&right, &also]), "+2s");
    let (slow, _) = with_clock(&chain, "slow", &options(Some(3), &[&right, &also, &fast]), "-2s");
    right.finalise(16).unwrap();
    nobody_is_blamed(&[&right, &also, &fast, &slow]);
}

#[test]
fn a_peer_whose_clock_is_set_follows_again_once_it_is_right_and_blames_nobody() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut validator = chain.node("validator", &options(Some(0), &[])).unwrap();
    let (mut node, file) = with_clock(&chain, "node", &options(None, &[&validator]), "+0");
    node.reach(3).unwrap();
    // An hour ahead, nothing is early.
    fs::write(&file, "+3600s").unwrap();
    let height = validator.height().unwrap();
    node.reach(height + 4).unwrap();
    // An hour behind, everything is, and waits.
    fs::write(&file, "-3600s").unwrap();
    let (height, behind) = (validator.height().unwrap(), node.height().unwrap());
    validator.reach(height + 10).unwrap();
    assert!(node.height().unwrap() < height + 10, "it took blocks of slots to come: {behind}");
    nobody_is_blamed(&[&node, &validator]);
    fs::write(&file, "+0").unwrap();
    let height = validator.height().unwrap();
    node.reach(height + 4).unwrap();
    nobody_is_blamed(&[&node, &validator]);
}

/// Whether a validator has a block among the last of the chain that another peer has, above this height.
fn has_proposed(validator: &Process, peer: &Process, above: u64) -> bool {
    let key = validator.chain().unwrap().validator;
    let blocks = peer.blocks(64).unwrap();
    blocks.iter().any(|block| block.height.0 > above && Some(block.proposer) == key)
}

#[test]
fn a_validator_whose_clock_is_set_signs_nothing_twice_and_proposes_again_once_it_is_right() {
    let chain = Chain::new(SLOT_MILLIS, 4).unwrap();
    let mut first = chain.node("first", &options(Some(0), &[])).unwrap();
    let second = chain.node("second", &options(Some(1), &[&first])).unwrap();
    let third = chain.node("third", &options(Some(2), &[&first, &second])).unwrap();
    let three = options(Some(3), &[&first, &second, &third]);
    let (mut set, file) = with_clock(&chain, "set", &three, "+0");
    let proposes = |set: &mut Process, first: &Process, above: u64| {
        wait_for("the validator with the other clock proposes", PATIENCE, || {
            set.check()?;
            Ok(has_proposed(set, first, above).then_some(()))
        })
        .unwrap();
    };
    proposes(&mut set, &first, 0);
    for time in ["+3600s", "-3600s"] {
        // Three of four are enough for the others, and it has its turn meanwhile.
        fs::write(&file, time).unwrap();
        let finalised = first.chain().unwrap().finalised.0;
        first.finalise(finalised + 16).unwrap();
        nobody_is_blamed(&[&first, &second, &third, &set]);
        fs::write(&file, "+0").unwrap();
        let height = first.height().unwrap();
        proposes(&mut set, &first, height);
        set.finalise(finalised + 16).unwrap();
        set.reach(height).unwrap();
    }
    nobody_is_blamed(&[&first, &second, &third, &set]);
    for peer in [&first, &second, &third, &set] {
        // Whoever signs two headers for a slot, or votes that contradict, is put out for good by whoever sees them.
        let authorities = peer.authorities().unwrap();
        assert_eq!((authorities.set_id, authorities.authorities.len()), (0, 4));
        assert!(authorities.pending.is_empty());
    }
}

/// Lets a program write no file beyond its first byte, as on a disk without room, or lifts that again.
fn disk(process: &Process, full: bool) {
    let limit = if full { "--fsize=1:" } else { "--fsize=unlimited:" };
    let status = Command::new("prlimit").args(["--pid", &process.pid().to_string(), limit]).status().unwrap();
    assert!(status.success());
}

/// The command in a shell that lets it live when it writes past the limit: it is told so instead.
fn told_of_limits(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

#[test]
fn a_full_disk_is_said_signs_nothing_more_and_costs_nothing_that_was_kept() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let command = told_of_limits(&chain.node_command("validator", &options(Some(0), &[])));
    let mut validator = Process::start_ready("validator", command, chain.dir()).unwrap();
    let mut node = chain.node("node", &options(None, &[&validator])).unwrap();
    node.reach(4).unwrap();
    disk(&validator, true);
    let alarms = wait_for("the validator says that its disk takes nothing", PATIENCE, || {
        validator.check()?;
        let alarms = validator.status()?.alarms;
        Ok((!alarms.is_empty()).then(|| alarms.join("\n")))
    })
    .unwrap();
    assert!(alarms.contains("disk") || alarms.contains("stor"), "{alarms}");
    // It proposes no more, since it could not keep its word on what it signed.
    let height = node.height().unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(8 * SLOT_MILLIS) {
        validator.check().unwrap();
        assert!(node.height().unwrap() <= height + 1, "it goes on proposing");
    }
    let kept = node.height().unwrap();
    validator.kill();
    let listen =
        validator.tcp_addresses().iter().map(|at| at.split("/p2p/").next().unwrap().to_owned()).collect();
    let again = NodeOptions { listen, ..options(Some(0), &[]) };
    let mut validator = chain.node("validator", &again).unwrap();
    validator.reach(kept + 3).unwrap();
    node.reach(kept + 3).unwrap();
    nobody_is_blamed(&[&node, &validator]);
}

/// A library that lets a program wait so many milliseconds whenever it has something put on its disk.
fn slow_disk(chain: &Chain, millis: u64) -> PathBuf {
    let (source, library) = (chain.dir().join("slow.c"), chain.dir().join("slow.so"));
    let text = format!(
        "#include <sys/syscall.h>\n#include <unistd.h>\n\
         static int late(long number, int file) {{ usleep({millis}000); return (int)syscall(number, file); }}\n\
         int fsync(int file) {{ return late(SYS_fsync, file); }}\n\
         int fdatasync(int file) {{ return late(SYS_fdatasync, file); }}\n"
    );
    fs::write(&source, text).unwrap();
    let mut compile = Command::new("cc");
    compile.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
    assert!(compile.status().unwrap().success(), "the C compiler with which Rust links");
    library
}

/// The validator signs only what is on its disk, so that its blocks come late and those of the others do not: as with 300 ms for each
/// flush and slots of 2 s, both of which are half as long here.
#[test]
fn a_slow_disk_makes_a_validator_late_and_nothing_worse() {
    const SLOT_MILLIS: u64 = 1_000;
    const FLUSH_MILLIS: u64 = 150;
    let chain = Chain::new(SLOT_MILLIS, 4).unwrap();
    let mut first = chain.node("validator-0", &options(Some(0), &[])).unwrap();
    let mut others = Vec::new();
    for index in 1..3 {
        others.push(chain.node(&format!("validator-{index}"), &options(Some(index), &[&first])).unwrap());
    }
    let mut command = chain.node_command("slow", &options(Some(3), &[&first]));
    command.env("LD_PRELOAD", slow_disk(&chain, FLUSH_MILLIS));
    let mut slow = Process::start_ready("slow", command, chain.dir()).unwrap();
    let from = first.height().unwrap() + 1;
    first.finalise(16).unwrap();
    slow.finalise(16).unwrap();
    let height = slow.height().unwrap();
    let alarms = slow.status().unwrap().alarms;
    assert!(alarms.is_empty(), "{alarms:?}");
    let proposers: Vec<_> = (from..=height)
        .map(|at| slow.ask::<BlockView>("weft_block", json!([at])).unwrap().summary.proposer)
        .collect();
    let mut counts = Vec::new();
    for peer in [&first, &others[0], &others[1], &slow] {
        let key = peer.status().unwrap().chain.unwrap().validator;
        counts.push(proposers.iter().filter(|of| Some(**of) == key).count());
    }
    println!("blocks of each of the four, the slow one last: {counts:?}");
    assert_eq!(counts.iter().sum::<usize>(), proposers.len());
    assert!(2 * counts[3] >= counts[0], "most of its blocks are lost: {counts:?}");
    nobody_is_blamed(&[&first, &others[0], &others[1], &slow]);
    // It goes on from what was on its disk, which may be less than it had heard.
    let kept = slow.status().unwrap().chain.unwrap().finalised;
    slow.kill();
    let mut again = chain.node("slow", &options(None, &[&first])).unwrap();
    again.finalise(kept.0).unwrap();
    again.reach(height + 3).unwrap();
}

/// Copies a directory file by file while somebody writes in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        // Locks and the like may be gone by now.
        let _ = fs::copy(entry.path(), to.join(entry.file_name()));
    }
}

#[test]
fn what_a_disk_kept_of_a_write_that_was_torn_is_gone_on_from_or_refused_in_words() {
    const LOCAL_FILE: i32 = 4;
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut writer = chain.node("writer", &options(Some(0), &[])).unwrap();
    writer.reach(3).unwrap();
    let mut went_on = 0;
    for round in 0..8 {
        let height = writer.height().unwrap();
        let name = format!("torn-{round}");
        copy(&chain.data("writer"), &chain.data(&name));
        // Another peer, with what this one wrote.
        fs::remove_file(chain.data(&name).join("peer-key.json")).unwrap();
        let command =
            chain.node_command(&name, &NodeOptions { bootstrap_only: true, ..options(None, &[&writer]) });
        let mut torn = Process::start(&name, command, chain.dir()).unwrap();
        match torn.get_ready() {
            Ok(()) => {
                assert!(torn.height().unwrap() <= height + 3);
                torn.reach(height + 3).unwrap();
                went_on += 1;
            }
            Err(_) => {
                let status = torn.wait(PATIENCE).unwrap();
                let said = torn.log();
                assert_eq!(status.code(), Some(LOCAL_FILE), "{said}");
                assert!(said.contains("corrupt") || said.contains("damaged"), "{said}");
            }
        }
        assert!(!torn.log().contains("panicked"), "{}", torn.log());
        writer.reach(height + 2).unwrap();
    }
    println!("{went_on} of 8 went on");
    assert!(went_on > 0, "a disk that is copied at the wrong moment is of no use at all");
}
