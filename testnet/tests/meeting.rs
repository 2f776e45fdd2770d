//! Real peers that are told of one other, and find the rest by asking, with all other ways switched off.
#![expect(clippy::unwrap_used, reason = "a test may")]

use weft_core::node::PeerView;
use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Process, wait_for};

const SLOT_MILLIS: u64 = 200;

fn start(chain: &Chain, name: &str, options: &NodeOptions, flags: &[&str]) -> Process {
    let mut command = chain.node_command(name, options);
    command.args(["--no-dht", "--no-rendezvous"]).args(flags);
    Process::start_ready(name, command, chain.dir()).unwrap()
}

fn node(chain: &Chain, name: &str, bootstrap: Vec<String>, flags: &[&str]) -> Process {
    start(chain, name, &NodeOptions { bootstrap, ..NodeOptions::default() }, flags)
}

fn hub(chain: &Chain) -> Process {
    start(chain, "hub", &NodeOptions { validator: Some(0), ..NodeOptions::default() }, &[])
}

fn sees(process: &mut Process, other: &str) -> PeerView {
    wait_for(&format!("{} sees {other}", process.name()), PATIENCE, || {
        process.check()?;
        Ok(process.peers()?.into_iter().find(|peer| peer.peer == other && !peer.links.is_empty()))
    })
    .unwrap()
}

#[test]
fn nodes_that_know_one_other_meet_and_meet_again_without_it() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut hub = hub(&chain);
    let mut one = node(&chain, "one", hub.tcp_addresses(), &[]);
    let two = node(&chain, "two", hub.tcp_addresses(), &[]);
    let met = sees(&mut one, two.peer());
    let dialled = met.links.iter().any(|link| link.outbound);
    assert!(
        met.found.contains(&if dialled { "exchange".to_owned() } else { "inbound".to_owned() }),
        "{met:?}"
    );

    let mut peers = chain.weft();
    peers.args(["peers", "--why", "--rpc", one.rpc_address().trim_start_matches("http://")]);
    let said = String::from_utf8(peers.output().unwrap().stdout).unwrap();
    assert!(said.contains("FOUND") && said.contains("named") && said.contains(two.peer()), "{said}");

    // One of them has dialled the other, and comes back to it from its address book.
    let (mut back, mut stays) = if dialled { (one, two) } else { (two, one) };
    let name = back.name().to_owned();
    hub.terminate().unwrap();
    hub.wait(PATIENCE).unwrap();
    back.terminate().unwrap();
    back.wait(PATIENCE).unwrap();
    let mut back = node(&chain, &name, Vec::new(), &[]);
    sees(&mut back, stays.peer());
    sees(&mut stays, back.peer());
}

#[test]
fn a_node_that_is_told_to_keeps_to_those_that_are_named() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let mut hub = hub(&chain);
    let mut silent = node(&chain, "silent", hub.tcp_addresses(), &["--no-exchange"]);
    let mut alone = node(&chain, "alone", hub.tcp_addresses(), &["--outbound", "0"]);
    let mut busy = node(&chain, "busy", hub.tcp_addresses(), &[]);
    // The busy one learns of the one that only listens; nobody learns of the silent one.
    sees(&mut busy, alone.peer());
    sees(&mut alone, busy.peer());
    sees(&mut hub, silent.peer());
    for process in [&mut alone, &mut busy] {
        assert!(process.peers().unwrap().iter().all(|peer| peer.peer != silent.peer()), "{}", process.name());
    }
    assert_eq!(silent.peers().unwrap().len(), 1);
    silent.check().unwrap();
}
