//! Real peers that are told of one other each, and of nobody else, with all other ways to find peers switched off.
#![expect(clippy::unwrap_used, reason = "a test may")]

use weft_core::node::PeerView;
use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Ports, Process, wait_for};

fn start(chain: &Chain, name: &str, validator: Option<usize>, port: u16, bootstrap: Vec<String>) -> Process {
    let listen = vec![format!("/ip4/127.0.0.1/tcp/{port}")];
    let options =
        NodeOptions { validator, listen, bootstrap, bootstrap_only: true, ..NodeOptions::default() };
    chain.node(name, &options).unwrap()
}

/// Whom it is connected to.
fn linked(process: &mut Process) -> Vec<PeerView> {
    process.check().unwrap();
    process.peers().unwrap().into_iter().filter(|peer| !peer.links.is_empty()).collect()
}

#[test]
fn a_row_of_nodes_each_of_which_was_named_the_one_before_follows_one_chain_and_comes_back() {
    let chain = Chain::new(200, 1).unwrap();
    let port = Ports::free().unwrap().tcp;
    let mut first = start(&chain, "first", Some(0), 0, Vec::new());
    let mut second = start(&chain, "second", None, port, first.tcp_addresses());
    let mut third = start(&chain, "third", None, 0, second.tcp_addresses());
    third.reach(3).unwrap();
    // Nobody has come to know anybody else.
    let met = |peers: &[PeerView]| -> Vec<_> {
        peers.iter().map(|peer| (peer.peer.clone(), peer.found.clone())).collect()
    };
    let way = |process: &Process, way: &str| (process.peer().to_owned(), vec![way.to_owned()]);
    assert_eq!(met(&linked(&mut third)), [way(&second, "named")]);
    assert_eq!(met(&linked(&mut first)), [way(&second, "inbound")]);
    let mut both = [way(&first, "named"), way(&third, "inbound")];
    both.sort();
    let mut between = met(&linked(&mut second));
    between.sort();
    assert_eq!(between, both);
    let mut peers = chain.weft();
    peers.args(["peers", "--why", "--rpc", third.rpc_address().trim_start_matches("http://")]);
    let said = String::from_utf8(peers.output().unwrap().stdout).unwrap();
    assert!(said.contains("named") && said.contains(second.peer()), "{said}");

    // The one they know goes, and is come back to when it is there again.
    second.kill();
    wait_for("the third is alone", PATIENCE, || Ok(linked(&mut third).is_empty().then_some(()))).unwrap();
    let height = first.height().unwrap();
    let again = start(&chain, "second", None, port, first.tcp_addresses());
    third.reach(height + 2).unwrap();
    assert_eq!(met(&linked(&mut third)), [way(&again, "named")]);
}
