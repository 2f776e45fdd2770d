//! Slots that are kept for longer than they last.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Process, RelayOptions, wait_for};

use super::{Nat, Over, Peer, RELAY, Street, street};

/// How many seconds a slot lasts unless it is renewed: as few as a relay takes.
const LASTS: &str = "60";
/// More than twice that.
const WHILE: Duration = Duration::from_secs(130);
/// How often the slots are looked at meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// A relay with such short slots, and where it is.
fn relay(chain: &Chain, street: &Street, name: &str, port: u16) -> (Process, String) {
    let at = format!("/ip4/{RELAY}/tcp/{port}");
    let mut command = street.middle.inside(&chain.relay_command(name, &RelayOptions::default()));
    command.args(["--listen", &at, "--reservation-seconds", LASTS]);
    let relay = Process::start_ready(name, command, chain.dir()).unwrap();
    let at = format!("{at}/p2p/{}", relay.peer());
    (relay, at)
}

/// On which relays a peer has slots.
fn slots(peer: &Peer<'_>) -> Vec<String> {
    let status = peer.ask("status").unwrap();
    let relays = status["reach"]["relays"].as_array().into_iter().flatten();
    let mut relays: Vec<_> = relays.filter_map(|relay| relay.as_str().map(str::to_owned)).collect();
    relays.sort_unstable();
    relays
}

#[test]
fn slots_on_two_relays_are_kept_for_longer_than_they_last_and_both_lead_to_the_peer() {
    // A slot lasts a minute at least; so in the full tier only.
    if env::var_os("WEFT_FULL").is_none() {
        return;
    }
    let Some(street) = street(&[Nat::Symmetric; 3]) else { return };
    let chain = Chain::new(500, 1).unwrap();
    let relays = [("relay", 4200), ("second", 4201)].map(|(name, port)| relay(&chain, &street, name, port));
    let bootstrap = relays.iter().map(|(_, at)| at.clone()).collect();
    let options = NodeOptions { bootstrap, bootstrap_only: true, ..NodeOptions::default() };
    let mut resident = Peer::start(&chain, &street.houses[0], "resident", &options, Over::Tcp);
    resident.is_reached("relayed");
    let mut both: Vec<_> = relays.iter().map(|(relay, _)| relay.peer().to_owned()).collect();
    both.sort_unstable();
    wait_for("it has a slot on both relays", PATIENCE, || Ok((slots(&resident) == both).then_some(())))
        .unwrap();
    let begun = Instant::now();
    while begun.elapsed() < WHILE {
        assert_eq!(slots(&resident), both, "after {} ms", begun.elapsed().as_millis());
        thread::sleep(LOOK);
    }
    // It is not the word of the resident alone: somebody else comes to it through each of them, and in no other way.
    for ((relay, at), house) in relays.iter().zip(&street.houses[1..]) {
        let circuit = format!("{at}/p2p-circuit/p2p/{}", resident.process.peer());
        let options =
            NodeOptions { bootstrap: vec![circuit], bootstrap_only: true, ..NodeOptions::default() };
        let name = format!("visitor-of-{}", relay.name());
        let mut visitor = Peer::start(&chain, house, &name, &options, Over::Tcp);
        wait_for(&format!("{name} is connected with the resident"), PATIENCE, || {
            visitor.process.check()?;
            let links = visitor.links(resident.process.peer())?;
            Ok(links.iter().any(|state| ["relayed", "upgrading"].contains(&state.as_str())).then_some(()))
        })
        .unwrap();
    }
}
