//! A relay that gives next to nothing: one slot, one circuit, and that for two seconds and a few kilobytes.

use weft_testnet::live::{Chain, NodeOptions, PATIENCE, Process, RelayOptions, wait_for};

use super::{Nat, Over, Peer, RELAY, at_relay, street};

/// What a relay says when it has no more of something.
const REFUSAL: &str = "resource limit exceeded";
/// What a peer says of another that closes at once, or to which it is cut off.
const CUT_OFF: &str = "lets us in and closes at once";
/// One circuit may be asked for by one peer, and then one in ten seconds.
const LIMITS: [&str; 10] = [
    "--max-reservations",
    "1",
    "--max-circuits",
    "1",
    "--circuit-seconds",
    "2",
    "--circuit-bytes",
    "4096",
    "--asks-per-peer",
    "1",
];

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
fn peers_that_a_relay_refuses_and_cuts_off_say_so_and_follow_the_chain_all_the_same() {
    let Some(street) = street(&[Nat::Symmetric; 3]) else { return };
    let chain = Chain::new(500, 1).unwrap();
    let mut command = street.middle.inside(&chain.relay_command("relay", &RelayOptions::default()));
    command.args(["--listen", &Over::Tcp.at(RELAY)]).args(LIMITS);
    let relay = Process::start_ready("relay", command, chain.dir()).unwrap();
    let at = at_relay(&relay, Over::Tcp);
    let options = |more: Vec<String>| NodeOptions {
        bootstrap: [vec![at.clone()], more].concat(),
        bootstrap_only: true,
        ..NodeOptions::default()
    };
    let validator = NodeOptions { validator: Some(0), ..options(Vec::new()) };
    let mut lucky = Peer::start(&chain, &street.houses[0], "lucky", &validator, Over::Tcp);
    lucky.is_reached("relayed");

    // The one slot is taken.
    let mut late = Peer::start(&chain, &street.houses[1], "late", &options(Vec::new()), Over::Tcp);
    logs(&mut late, &["passes no connections on to this peer", REFUSAL]);
    late.is_reached("no");

    // The circuit is cut off, and refused when it is asked for again too soon.
    let circuit = format!("{at}/p2p-circuit/p2p/{}", lucky.process.peer());
    let mut caller = Peer::start(&chain, &street.houses[2], "caller", &options(vec![circuit]), Over::Tcp);
    wait_for("the caller says that it does not get through", PATIENCE, || {
        caller.process.check()?;
        let status = caller.ask("status")?;
        let mut alarms = status["alarms"].as_array().into_iter().flatten().filter_map(|it| it.as_str());
        Ok(alarms
            .any(|alarm| {
                [lucky.process.peer(), "still trying"].iter().all(|part| alarm.contains(part))
                    && [REFUSAL, CUT_OFF].iter().any(|why| alarm.contains(why))
            })
            .then_some(()))
    })
    .unwrap();

    // All of them are with the relay still, which is worth more than what it refuses.
    let height = lucky.height().unwrap() + 4;
    for peer in [&mut lucky, &mut late, &mut caller] {
        wait_for(&format!("{} follows the chain", peer.process.name()), PATIENCE, || {
            peer.process.check()?;
            Ok((peer.height()? >= height).then_some(()))
        })
        .unwrap();
        assert_eq!(peer.links(relay.peer()).unwrap(), ["direct"], "{}", peer.process.name());
    }
    assert_eq!(lucky.is_reached("relayed")["relays"][0].as_str(), Some(relay.peer()));
}
