//! Real programs in one network: payments, and validators that die.

use weft_testnet::{
    fixture::{address, key},
    live::{Chain, PATIENCE, Ports, answer, wait_for},
};

/// Slots as tests have them.
const SLOT_MILLIS: u64 = 200;

#[test]
fn a_payment_sent_from_the_command_line_ends_in_a_block_that_every_peer_has() {
    let chain = Chain::new(SLOT_MILLIS, 3).unwrap();
    let (relay, mut peers) = chain.start_all(None, Ports::default()).unwrap();
    // Through the relay, which proposes nothing: the payment has to travel.
    let to = address(&key("payee", 0));
    let mut send = chain.weft();
    send.args(["send", "--rpc", relay.rpc_address(), "--json", "--key"]).arg(chain.faucet_key());
    let sent = answer(send.args(["--to", &to.to_string(), "--amount", "1234"])).unwrap();
    let id = sent["id"].as_str().unwrap().parse().unwrap();
    peers.push(relay);
    let blocks: Vec<_> = peers.iter_mut().map(|peer| peer.block_with(&id).unwrap().hash).collect();
    assert!(blocks.iter().all(|block| *block == blocks[0]), "all have it in one block: {blocks:?}");
    for peer in &peers {
        assert_eq!(peer.account(&to).unwrap().balance.0, 1234);
    }
}

#[test]
fn the_chain_goes_on_when_a_validator_is_killed_and_takes_it_back() {
    let chain = Chain::new(SLOT_MILLIS, 3).unwrap();
    let (relay, mut validators) = chain.start_all(None, Ports::default()).unwrap();
    validators.iter_mut().for_each(|validator| validator.reach(6).unwrap());
    validators[1].kill();
    let at = validators[0].height().unwrap();
    validators[0].reach(at + 8).unwrap();
    validators[2].reach(at + 8).unwrap();

    validators[1] = chain.validator(1, &relay).unwrap();
    let at = validators[0].height().unwrap();
    validators[1].reach(at).unwrap();
    // Back means that it proposes again, and that the others take its blocks.
    let key = validators[1].chain().unwrap().validator.unwrap();
    wait_for("the validator proposes again", PATIENCE, || {
        let blocks = validators[0].blocks(16)?;
        Ok(blocks.iter().find(|block| block.proposer == key && block.height.0 > at).map(|_| ()))
    })
    .unwrap();
}
