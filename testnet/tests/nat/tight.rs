//! A relay that gives next to nothing: one slot.

use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Process, RelayOptions, wait_for};

use super::{Nat, Over, Peer, RELAY, at_relay, street};

/// What a relay says when it has no more of something.
const REFUSAL: &str = "resource limit exceeded";

/// The first line of the log that has all of these words, once there is one.
fn logs(peer: &mut Peer<'_>, words: &[&str]) -> String {
    wait_for(&format!("{} logs {words:?}", peer.process.name()), PATIENCE, || {
        peer.process.check()?;
        let log = peer.process.log();
        Ok(log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned))
    })
    .unwrap()
}

#[test]
fn a_peer_that_a_relay_refuses_a_slot_says_so_and_follows_the_chain_all_the_same() {
    let Some(street) = street(&[Nat::Symmetric; 2]) else { return };
    let chain = Chain::new(500, 1).unwrap();
    let mut command = street.middle.inside(&chain.relay_command("relay", &RelayOptions::default()));
    command.args(["--listen", &Over::Tcp.at(RELAY)]).args(["--max-reservations", "1"]);
    let relay = Process::start_ready("relay", command, chain.dir()).unwrap();
    let at = at_relay(&relay, Over::Tcp);
    let options = NodeOptions { bootstrap: vec![at], bootstrap_only: true, ..NodeOptions::default() };
    let validator = NodeOptions { validator: Some(0), ..options.clone() };
    let mut lucky = Peer::start(&chain, &street.houses[0], "lucky", &validator, Over::Tcp);
    lucky.is_reached("relayed");

    // The one slot is taken.
    let mut late = Peer::start(&chain, &street.houses[1], "late", &options, Over::Tcp);
    logs(&mut late, &["passes no connections on to this peer", REFUSAL]);
    late.is_reached("no");

    // Both are with the relay still, which is worth more than what it refuses.
    let height = lucky.height().unwrap() + 4;
    for peer in [&mut lucky, &mut late] {
        wait_for(&format!("{} follows the chain", peer.process.name()), PATIENCE, || {
            peer.process.check()?;
            Ok((peer.height()? >= height).then_some(()))
        })
        .unwrap();
        assert_eq!(peer.links(relay.peer()).unwrap(), ["direct"], "{}", peer.process.name());
    }
    assert_eq!(lucky.is_reached("relayed")["relays"][0].as_str(), Some(relay.peer()));
}
