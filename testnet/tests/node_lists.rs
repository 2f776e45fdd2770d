//! Real peers that know of others only by a relay's signed list: from the relay, from a mirror, and from a mirror that lies.
#![expect(clippy::unwrap_used, reason = "a test may")]

use weft_core::node::PeerView;
use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Ports, Process, RelayOptions, get, wait_for};

/// A node that is told of nothing but a place of a list.
fn node(chain: &Chain, name: &str, list: &str) -> Process {
    let options = NodeOptions { bootstrap_only: true, ..NodeOptions::default() };
    let mut command = chain.node_command(name, &options);
    command.args(["--node-list", list]);
    Process::start_ready(name, command, chain.dir()).unwrap()
}

fn sees(process: &mut Process, other: &str) -> PeerView {
    wait_for(&format!("{} sees {other}", process.name()), PATIENCE, || {
        process.check()?;
        Ok(process.peers()?.into_iter().find(|peer| peer.peer == other && !peer.links.is_empty()))
    })
    .unwrap()
}

fn says(process: &mut Process, words: &str) {
    wait_for(&format!("{} says `{words}`", process.name()), PATIENCE, || {
        process.check()?;
        Ok(process.status()?.alarms.into_iter().find(|alarm| alarm.contains(words)))
    })
    .unwrap();
}

#[test]
fn a_node_that_is_told_of_a_list_joins_by_it_from_the_relay_or_a_mirror_and_not_from_one_that_lies() {
    let chain = Chain::new(200, 1).unwrap();
    let ports = Ports::free().unwrap();
    let command = chain.relay_command("relay", &RelayOptions { ports, ..RelayOptions::default() });
    let relay = Process::start_ready("relay", command, chain.dir()).unwrap();
    let (status, head, list) = get(&format!("127.0.0.1:{}", ports.http), "/bootstrap.json").unwrap();
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("access-control-allow-origin: *"), "{head}");

    let url = format!("http://127.0.0.1:{}/bootstrap.json", ports.http);
    let mut direct = node(&chain, "direct", &format!("{url}#{}", relay.peer()));
    assert_eq!(sees(&mut direct, relay.peer()).found, ["node-list"]);

    let place = |name: &str, text: &str| {
        let path = chain.dir().join(name);
        std::fs::write(&path, text).unwrap();
        format!("file://{}#{}", path.display(), relay.peer())
    };
    let mut mirrored = node(&chain, "mirrored", &place("mirror.json", &list));
    assert_eq!(sees(&mut mirrored, relay.peer()).found, ["node-list"]);
    // Anybody's address in the place of the relay's.
    let poisoned = list.replacen("/ip4/127.0.0.1/", "/ip4/127.0.0.2/", 1);
    assert_ne!(poisoned, list);
    let mut deceived = node(&chain, "deceived", &place("poisoned.json", &poisoned));
    says(&mut deceived, "is not signed by the peer that it names as its signer");
    // A list that is signed as it should be, by somebody nobody has named.
    let mut careful = node(&chain, "careful", &format!("{url}#{}", direct.peer()));
    says(&mut careful, "who is not known here");
    assert!(deceived.peers().unwrap().is_empty() && careful.peers().unwrap().is_empty());
}
