//! What a person thinks of a peer counts, also after a restart: real programs, and the commands a person has.
#![expect(clippy::unwrap_used, reason = "a test may")]

use serde_json::Value;
use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Process, answer, wait_for};

const SLOT_MILLIS: u64 = 200;

fn run(chain: &Chain, at: &Process, words: &[&str]) -> Value {
    let mut command = chain.weft();
    answer(command.args(words).args(["--json", "--rpc", at.rpc_address()])).unwrap()
}

/// Waits until a node has a connection to another, or none.
fn is_connected(node: &mut Process, other: &str, wanted: bool) {
    let what = if wanted { "are connected" } else { "are apart" };
    wait_for(&format!("{} and {other} {what}", node.name()), PATIENCE, || {
        node.check()?;
        let there = node.peers()?.into_iter().any(|peer| peer.peer == other && !peer.links.is_empty());
        Ok((there == wanted).then_some(()))
    })
    .unwrap();
}

#[test]
fn a_ban_holds_over_a_restart_and_ends_when_a_person_says_so() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut first =
        chain.node("first", &NodeOptions { validator: Some(0), ..NodeOptions::default() }).unwrap();
    let options =
        NodeOptions { bootstrap: first.tcp_addresses(), bootstrap_only: true, ..NodeOptions::default() };
    let mut second = chain.node("second", &options).unwrap();
    let peer = second.peer().to_owned();
    is_connected(&mut first, &peer, true);

    run(&chain, &first, &["ban", &peer, "--hours", "2"]);
    is_connected(&mut first, &peer, false);
    is_connected(&mut second, first.peer(), false);
    let bans = run(&chain, &first, &["bans"]);
    assert_eq!(
        (&bans["bans"][0]["whom"], &bans["bans"][0]["cause"]),
        (&peer.clone().into(), &"by hand".into())
    );

    // It comes back to the port that the second one knows.
    let again = NodeOptions {
        validator: Some(0),
        listen: first.tcp_addresses().iter().map(|at| at.split("/p2p/").next().unwrap().to_owned()).collect(),
        ..NodeOptions::default()
    };
    first.kill();
    let mut first = chain.node("first", &again).unwrap();
    assert_eq!(run(&chain, &first, &["bans"])["bans"][0]["whom"], peer.as_str());
    // It tries again and again meanwhile, and is not let in.
    let height = first.height().unwrap();
    first.reach(height + 20).unwrap();
    is_connected(&mut first, &peer, false);
    second.check().unwrap();

    run(&chain, &first, &["unban", &peer]);
    is_connected(&mut first, &peer, true);
    run(&chain, &first, &["trust", &peer]);
    let peers = run(&chain, &first, &["peers"]);
    assert_eq!(peers[0]["trusted"], true, "{peers}");
    assert_eq!(run(&chain, &first, &["bans"])["trusted"][0], peer.as_str());
}

#[test]
fn a_banned_range_of_addresses_shows_everybody_out_but_whom_a_person_trusts_and_lets_nobody_in() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut first =
        chain.node("first", &NodeOptions { validator: Some(0), ..NodeOptions::default() }).unwrap();
    let options =
        NodeOptions { bootstrap: first.tcp_addresses(), bootstrap_only: true, ..NodeOptions::default() };
    let mut second = chain.node("second", &options).unwrap();
    let mut third = chain.node("third", &options).unwrap();
    let (friend, stranger) = (second.peer().to_owned(), third.peer().to_owned());
    is_connected(&mut first, &friend, true);
    is_connected(&mut first, &stranger, true);
    run(&chain, &first, &["trust", &friend]);
    run(&chain, &first, &["ban", "127.0.0.0/8"]);
    is_connected(&mut first, &stranger, false);
    is_connected(&mut first, &friend, true);
    second.check().unwrap();
    // Nobody else gets as far as a handshake.
    wait_for("the third is refused", PATIENCE, || {
        third.check()?;
        let alarms = third.status()?.alarms;
        Ok(alarms.into_iter().find(|alarm| alarm.contains("cannot reach")))
    })
    .unwrap();
    run(&chain, &first, &["unban", "127.0.0.0/8"]);
    is_connected(&mut first, &stranger, true);
}
