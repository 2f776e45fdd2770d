//! Real peers that meet at a relay's rendezvous, with all other ways switched off.
#![expect(clippy::unwrap_used, reason = "a test may")]

use weft_core::node::PeerView;
use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Process, RelayOptions, wait_for};

const ALONE: [&str; 2] = ["--no-dht", "--no-exchange"];

fn node(chain: &Chain, name: &str, relay: &Process, flags: &[&str]) -> Process {
    let options = NodeOptions { bootstrap: relay.tcp_addresses(), ..NodeOptions::default() };
    let mut command = chain.node_command(name, &options);
    command.args(ALONE).args(flags);
    Process::start_ready(name, command, chain.dir()).unwrap()
}

fn sees(process: &mut Process, other: &str) -> PeerView {
    wait_for(&format!("{} sees {other}", process.name()), PATIENCE, || {
        process.check()?;
        Ok(process.peers()?.into_iter().find(|peer| peer.peer == other && !peer.links.is_empty()))
    })
    .unwrap()
}

#[test]
fn nodes_that_know_a_relay_meet_at_its_rendezvous() {
    let chain = Chain::new(200, 1).unwrap();
    let mut command = chain.relay_command("relay", &RelayOptions::default());
    command.args(ALONE);
    let relay = Process::start_ready("relay", command, chain.dir()).unwrap();
    let mut silent = node(&chain, "silent", &relay, &["--no-rendezvous"]);
    let mut one = node(&chain, "one", &relay, &[]);
    let mut two = node(&chain, "two", &relay, &[]);
    let views = [sees(&mut one, two.peer()), sees(&mut two, one.peer())];
    // One of them found the other there, who may have been called before it looked itself.
    assert!(views.iter().any(|view| view.found.contains(&"rendezvous".to_owned())), "{views:?}");
    for view in &views {
        let known = ["rendezvous", "inbound"];
        assert!(view.found.iter().all(|way| known.contains(&way.as_str())), "{view:?}");
    }
    let mut peers = chain.weft();
    let dialled = if views[0].found.contains(&"rendezvous".to_owned()) { &one } else { &two };
    peers.args(["peers", "--why", "--rpc", dialled.rpc_address().trim_start_matches("http://")]);
    let said = String::from_utf8(peers.output().unwrap().stdout).unwrap();
    assert!(said.contains("rendezvous"), "{said}");
    // Who did not come is with the relay alone.
    assert_eq!(silent.peers().unwrap().len(), 1);
    silent.check().unwrap();
}
