//! Finality between real programs: what is final is told, silence stops it and nothing else, and the set changes by the
//! command line.
#![expect(clippy::unwrap_used, reason = "a test may")]

use serde_json::Value;
use weft_testnet::{
    fixture::{address, key},
    live::{Chain, NodeOptions, PATIENCE, Ports, Process, answer, wait_for},
};

/// Slots as tests have them.
const SLOT_MILLIS: u64 = 200;

/// How the alarm about missing finality begins.
const STALLED: &str = "the chain grows but is not finalised";

fn is_stalled(peer: &Process) -> bool {
    peer.status().unwrap().alarms.iter().any(|alarm| alarm.starts_with(STALLED))
}

#[test]
fn with_a_third_silent_the_chain_grows_and_says_that_it_is_not_final_until_they_return() {
    let chain = Chain::new(SLOT_MILLIS, 3).unwrap();
    let (relay, mut validators) = chain.start_all(None, Ports::default()).unwrap();
    validators.iter_mut().for_each(|validator| validator.finalise(16).unwrap());
    let hashes: Vec<_> =
        validators.iter().map(|validator| validator.block(16).unwrap().summary.hash).collect();
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "one block is final: {hashes:?}");
    let told = answer(chain.weft().args(["status", "--json", "--rpc", relay.rpc_address()])).unwrap();
    assert!(told["chain"]["finalised"].as_u64().unwrap() >= 16, "{told}");

    validators[1].kill();
    wait_for("a peer says that nothing becomes final", 2 * PATIENCE, || {
        Ok(is_stalled(&validators[0]).then_some(()))
    })
    .unwrap();
    let stalled = validators[0].chain().unwrap();
    assert!(stalled.height.0 > stalled.finalised.0 + 96, "{stalled:?}");

    validators[1] = chain.validator(1, &relay).unwrap();
    for validator in &mut validators {
        validator.finalise(stalled.height.0 - 16).unwrap();
        assert!(!is_stalled(validator), "{} is over it", validator.name());
    }
}

#[test]
fn a_validator_let_in_by_all_the_others_proposes_and_one_put_out_does_not() {
    let chain = Chain::new(SLOT_MILLIS, 3).unwrap();
    let (relay, mut peers) = chain.start_all(None, Ports::default()).unwrap();
    let made = answer(chain.weft().args(["key", "new", "--validator", "--json"]).arg(chain.validator_key(3)));
    let added = made.unwrap()["public"].as_str().unwrap().to_owned();
    let fees = address(&key("fees", 3)).to_string();
    let ask = |peer: &Process, args: &[&str]| -> Value {
        let rpc = ["--json", "--rpc", peer.rpc_address()];
        answer(chain.weft().arg("authority").args(args).args(rpc)).unwrap()
    };
    // All three: two are not more than two thirds.
    for peer in &peers {
        ask(peer, &["add", &added, &fees]);
    }
    let options =
        NodeOptions { validator: Some(3), bootstrap: relay.tcp_addresses(), ..NodeOptions::default() };
    peers.push(chain.node("validator-3", &options).unwrap());
    wait_for("the new validator's block is in the others' chain", PATIENCE, || {
        let blocks = peers[0].blocks(8)?;
        Ok(blocks.iter().any(|block| block.proposer.to_string() == added).then_some(()))
    })
    .unwrap();
    let in_force = ask(&peers[0], &["list"]);
    assert_eq!((&in_force["set_id"], in_force["authorities"].as_array().unwrap().len()), (&1.into(), 4));

    // The others put the first one out; with four, three are enough.
    let first = peers[0].chain().unwrap().validator.unwrap();
    for peer in &peers[1..] {
        ask(peer, &["remove", &first.to_string()]);
    }
    for peer in &mut peers {
        wait_for("the set without it counts alone", PATIENCE, || {
            peer.check()?;
            let view = peer.authorities()?;
            let out = view.authorities.iter().all(|authority| authority.key != first);
            Ok((out && view.set_id == 2 && view.outgoing.is_empty()).then_some(()))
        })
        .unwrap();
    }
    let since = peers[1].height().unwrap();
    peers[1].reach(since + 8).unwrap();
    let blocks = peers[1].blocks(8).unwrap();
    assert!(blocks.iter().all(|block| block.proposer != first), "it is no authority any more");
    peers[1].finalise(since).unwrap();
}
