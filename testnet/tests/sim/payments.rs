//! A payment made at one peer is in a block that everyone has.

use weft_core::{mempool::AdmissionError, node::CommandError, state::TransferError};
use weft_testnet::fixture::{address, key};

use crate::town::{SLOT, Town, seeds};

#[test]
fn payments_made_at_a_follower_reach_a_block_everyone_has() {
    for seed in seeds(3) {
        let mut town = Town::new(seed, 3, 4);
        town.world.run_for(5 * SLOT);
        let to = address(&key("shop", 0));
        let from = town.followers[3];
        for account in 0..10 {
            for nonce in 0..3 {
                let transaction = town.chain.transfer(account, to, nonce);
                town.world.submit(from, transaction).unwrap();
            }
        }
        let all = town.all();
        town.world.run_until(10 * SLOT, |world| all.iter().all(|ix| world.account(*ix, to).balance.0 == 30));
        town.converge(5, 5 * SLOT);
        for ix in town.all() {
            let chain = town.world.chain(ix);
            assert_eq!((chain.pending, chain.queued), (0, 0), "{ix:?} has nothing left to wait for");
        }
        town.world.check_all();
    }
}

#[test]
fn better_fees_go_first_and_an_accounts_payments_stay_in_order() {
    let mut town = Town::new(1, 1, 2);
    town.world.run_for(2 * SLOT);
    let to = address(&key("shop", 0));
    for account in 0..8 {
        let fee = 1_000 + 100 * account as u64;
        for nonce in 0..2 {
            let transaction = town.chain.transfer_for(account, to, nonce, fee);
            town.world.submit(town.followers[1], transaction).unwrap();
        }
    }
    let all = town.all();
    town.world.run_until(10 * SLOT, |world| all.iter().all(|ix| world.account(*ix, to).balance.0 == 16));
    let found: Vec<(u64, u64)> = town
        .transactions(town.followers[0])
        .into_iter()
        .map(|(_, transaction)| (transaction.fee.0, transaction.nonce))
        .collect();
    let expected: Vec<(u64, u64)> =
        (0..8).rev().flat_map(|account| [(1_000 + 100 * account, 0), (1_000 + 100 * account, 1)]).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_wrong_payment_is_refused_with_its_reason() {
    let mut town = Town::new(2, 1, 1);
    town.world.run_for(3 * SLOT);
    let (at, to) = (town.followers[0], address(&key("shop", 0)));
    let stale = town.chain.transfer(0, to, 0);
    town.world.submit(at, stale.clone()).unwrap();
    assert_eq!(town.world.submit(at, stale.clone()), Err(CommandError::Refused(AdmissionError::Known)));
    town.world.run_until(5 * SLOT, |world| world.account(at, to).balance.0 == 1);
    let refused = town.world.submit(at, stale).unwrap_err();
    let expected = TransferError::Nonce { got: 0, expected: 1 };
    assert_eq!(refused, CommandError::Refused(AdmissionError::Invalid(expected)));

    let mut forged = town.chain.transfer(1, to, 0);
    forged.content.amount.0 += 1;
    assert_eq!(town.world.submit(at, forged), Err(CommandError::Refused(AdmissionError::Signature)));

    let mut rich = town.chain.unsigned(1, to, 0);
    rich.amount.0 = 2 * weft_testnet::fixture::TestChain::GRANT;
    let rich = rich.sign(&town.chain.accounts[1], &town.chain.hash());
    let refused = town.world.submit(at, rich).unwrap_err();
    assert!(
        matches!(refused, CommandError::Refused(AdmissionError::Invalid(TransferError::Overdraft { .. }))),
        "{refused}"
    );
}
