//! Files between real peers that find each other by the distributed hash table alone.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Output, Stdio},
};

use serde_json::{Value, json};
use weft_core::content::{CHUNK_BYTES, Maker, Manifest};
use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Process, get, rpc, wait_for};

const SLOT_MILLIS: u64 = 200;
/// They find each other by the table, and dial nobody but the first of their own will.
const ALONE: [&str; 3] = ["--no-exchange", "--outbound", "0"];

fn node(chain: &Chain, name: &str, hub: Option<&Process>) -> Process {
    let bootstrap = hub.map(Process::tcp_addresses).unwrap_or_default();
    let mut command = chain.node_command(name, &NodeOptions { bootstrap, ..NodeOptions::default() });
    command.args(ALONE);
    Process::start_ready(name, command, chain.dir()).unwrap()
}

fn rpc_of(node: &Process) -> String {
    node.rpc_address().trim_start_matches("http://").to_owned()
}

fn dht(chain: &Chain, node: &Process, arguments: &[&str]) -> Output {
    chain.weft().arg("--json").arg("dht").args(arguments).args(["--rpc", &rpc_of(node)]).output().unwrap()
}

fn done(chain: &Chain, node: &Process, arguments: &[&str]) -> Value {
    let output = dht(chain, node, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A fetch that goes on beside the test.
fn begin(chain: &Chain, node: &Process, cid: &str, to: &Path) -> Child {
    let mut command = chain.weft();
    command.args(["--json", "dht", "get", cid, "--rpc", &rpc_of(node), "-o"]).arg(to);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn song(chunks: usize) -> (Manifest, Vec<u8>) {
    let bytes: Vec<u8> = (0..chunks * CHUNK_BYTES - 77).map(|at| ((at * at) >> 9) as u8).collect();
    let mut maker = Maker::default();
    bytes.chunks(CHUNK_BYTES).for_each(|chunk| maker.add(chunk).unwrap());
    (maker.finish("song.ogg"), bytes)
}

fn write(chain: &Chain, name: &str, bytes: &[u8]) -> PathBuf {
    let path = chain.dir().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Gives a peer those of the chunks that are chosen, and lets it say that it has the file.
fn give(
    chain: &Chain,
    node: &Process,
    (manifest, bytes): (&Manifest, &[u8]),
    chosen: impl Fn(usize) -> bool,
) {
    let call = |method, params| rpc(node.rpc_address(), method, params).unwrap();
    call("weft_offerFile", json!([hex::encode(manifest.to_bytes())]));
    for (index, chunk) in bytes.chunks(CHUNK_BYTES).enumerate().filter(|(index, _)| chosen(*index)) {
        call("weft_putChunk", json!([manifest.cid(), index, hex::encode(chunk)]));
    }
    wait_for("it is said", PATIENCE, || {
        Ok(dht(chain, node, &["provide", &manifest.cid().to_string()]).status.success().then_some(()))
    })
    .unwrap();
}

/// The bytes of the answers on `/content/1` that a peer was given.
fn downloaded(node: &Process) -> usize {
    let (_, _, text) = get(node.rpc_address(), "/metrics").unwrap();
    let line = text.lines().find(|line| line.starts_with(DOWNLOADED)).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

const DOWNLOADED: &str = r#"weft_request_received_bytes_total{protocol="content",part="response"}"#;

fn shown(chain: &Chain, node: &Process, cid: &str) -> Value {
    let files = done(chain, node, &["files"]);
    files.as_array().unwrap().iter().find(|file| file["cid"] == cid).cloned().unwrap_or_default()
}

#[test]
fn a_file_that_is_put_at_one_peer_is_got_at_another_by_its_name() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let hub = node(&chain, "hub", None);
    let [one, two] = ["one", "two"].map(|name| node(&chain, name, Some(&hub)));
    let (manifest, bytes) = song(5);
    let path = write(&chain, "song.ogg", &bytes);

    let put = done(&chain, &one, &["put", path.to_str().unwrap()]);
    assert_eq!((&put["cid"], &put["bytes"]), (&json!(manifest.cid()), &json!(bytes.len())));
    let cid = manifest.cid().to_string();
    wait_for("it is found", PATIENCE, || {
        let said = String::from_utf8(dht(&chain, &two, &["providers", &cid]).stdout).unwrap();
        Ok(said.contains(one.peer()).then_some(()))
    })
    .unwrap();
    let to = chain.dir().join("got.ogg");
    let got = done(&chain, &two, &["get", &cid, "-o", to.to_str().unwrap()]);
    assert_eq!(got["bytes"], json!(bytes.len()));
    assert_eq!(fs::read(&to).unwrap(), bytes);
    // What is written is never written over.
    let again = dht(&chain, &two, &["get", &cid, "-o", to.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(4), "{}", String::from_utf8_lossy(&again.stderr));
    assert!(!chain.dir().join("got.ogg.part").exists());

    let file = shown(&chain, &one, &cid);
    assert!(file["kept"] == true && file["told"] == true && file["state"] == "here", "{file}");
    done(&chain, &one, &["drop", &cid]);
    assert_eq!(done(&chain, &one, &["files"]), json!([]));
    assert_eq!(dht(&chain, &one, &["drop", &cid]).status.code(), Some(1));
    assert_eq!(dht(&chain, &one, &["get", "bafk"]).status.code(), Some(2));
}

#[test]
fn who_got_a_file_provides_it_unless_told_not_to() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let hub = node(&chain, "hub", None);
    let [mut one, two, quiet, late] =
        ["one", "two", "quiet", "late"].map(|name| node(&chain, name, Some(&hub)));
    let (manifest, bytes) = song(3);
    let path = write(&chain, "song.ogg", &bytes);
    done(&chain, &one, &["put", path.to_str().unwrap()]);
    let cid = manifest.cid().to_string();
    let place = |name: &str| chain.dir().join(name).to_str().unwrap().to_owned();
    done(&chain, &quiet, &["get", &cid, "--no-provide", "-o", &place("quiet.ogg")]);
    done(&chain, &two, &["get", &cid, "-o", &place("two.ogg")]);
    let told = |node: &Process| shown(&chain, node, &cid)["told"] == true;
    wait_for("the second says that it has it", PATIENCE, || Ok(told(&two).then_some(()))).unwrap();
    let said = String::from_utf8(dht(&chain, &late, &["providers", &cid]).stdout).unwrap();
    assert!(said.contains(two.peer()) && !said.contains(quiet.peer()), "{said}");
    assert!(!told(&quiet));

    // The last one dials nobody but the hub of its own will, and the first has gone.
    one.kill();
    done(&chain, &late, &["get", &cid, "-o", &place("late.ogg")]);
    assert_eq!(fs::read(place("late.ogg")).unwrap(), bytes);
}

#[test]
fn a_file_comes_from_two_at_once_and_one_that_dies_half_way_is_replaced_after_a_restart() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let hub = node(&chain, "hub", None);
    let [even, mut odd, other, mut asker] =
        ["even", "odd", "other", "asker"].map(|name| node(&chain, name, Some(&hub)));
    let (manifest, bytes) = song(48);
    let cid = manifest.cid().to_string();

    // Nobody has all of it, so that it has to come from both.
    give(&chain, &even, (&manifest, &bytes), |index| index % 2 == 0 && index < 24);
    give(&chain, &odd, (&manifest, &bytes), |index| index % 2 == 1 && index < 24);
    let to = chain.dir().join("song.ogg");
    let mut begun = begin(&chain, &asker, &cid, &to);
    let half = 24 * CHUNK_BYTES as u64;
    wait_for("half of it is there", PATIENCE, || {
        let file = shown(&chain, &asker, &cid);
        Ok((file["bytes_here"] == half && file["state"] == "coming").then_some(()))
    })
    .unwrap();
    odd.kill();
    asker.terminate().unwrap();
    asker.wait(PATIENCE).unwrap();
    assert!(!begun.wait().unwrap().success() && !to.exists());

    // It goes on by itself.
    let asker = node(&chain, "asker", Some(&hub));
    let file = shown(&chain, &asker, &cid);
    assert!(file["bytes_here"] == half && file["state"] == "coming", "{file}");
    give(&chain, &other, (&manifest, &bytes), |_| true);
    let got = done(&chain, &asker, &["get", &cid, "-o", to.to_str().unwrap()]);
    assert_eq!(got["bytes"], json!(bytes.len()));
    assert!(fs::read(&to).unwrap() == bytes, "another file came");
    let downloaded = downloaded(&asker);
    assert!(downloaded < 25 * CHUNK_BYTES, "{downloaded} bytes for what was missing");
}

#[test]
fn the_largest_file_comes_from_three_and_goes_on_after_a_restart() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let hub = node(&chain, "hub", None);
    let thirds = ["first", "second", "third"].map(|name| node(&chain, name, Some(&hub)));
    let mut asker = node(&chain, "asker", Some(&hub));
    let (manifest, bytes) = song(256);
    assert_eq!(bytes.len().div_ceil(1 << 20), 64);
    let cid = manifest.cid().to_string();
    let given = |third: usize| give(&chain, &thirds[third], (&manifest, &bytes), |index| index % 3 == third);

    // What the last of them has is missing until after the restart.
    given(0);
    given(1);
    let to = chain.dir().join("song.ogg");
    let mut begun = begin(&chain, &asker, &cid, &to);
    let part: usize = bytes
        .chunks(CHUNK_BYTES)
        .enumerate()
        .filter(|(index, _)| index % 3 < 2)
        .map(|(_, chunk)| chunk.len())
        .sum();
    wait_for("all that there is has come", PATIENCE, || {
        let file = shown(&chain, &asker, &cid);
        Ok((file["bytes_here"] == part && file["state"] == "coming").then_some(()))
    })
    .unwrap();
    asker.terminate().unwrap();
    asker.wait(PATIENCE).unwrap();
    assert!(!begun.wait().unwrap().success() && !to.exists());

    let asker = node(&chain, "asker", Some(&hub));
    assert_eq!(shown(&chain, &asker, &cid)["bytes_here"], part);
    given(2);
    let got = done(&chain, &asker, &["get", &cid, "-o", to.to_str().unwrap()]);
    assert_eq!(got["bytes"], json!(bytes.len()));
    assert!(fs::read(&to).unwrap() == bytes, "another file came");
    let downloaded = downloaded(&asker);
    assert!(downloaded < bytes.len() - part + CHUNK_BYTES, "{downloaded} bytes for what was missing");
}
