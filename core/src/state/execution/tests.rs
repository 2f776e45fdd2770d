//! Transfers, judged one by one and against a plain map of balances.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::collections::BTreeMap;

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::{
    chain::UnsignedTransaction,
    primitives::{Hash, SecretKey},
};

const CHAIN: Hash = Hash([3; 32]);
const FEE: u64 = 1000;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn address(seed: u8) -> Address {
    Address::of(&key(seed).public())
}

fn trie(accounts: &[(u8, u64, u64)]) -> Trie {
    let account =
        |&(seed, nonce, balance)| (address(seed).trie_key(), Account { nonce, balance: Amount(balance) });
    Trie::default().update(&accounts.iter().map(account).collect()).unwrap()
}

fn account(trie: &Trie, seed: u8) -> (u64, u64) {
    let account = trie.get(&address(seed).trie_key()).unwrap();
    (account.nonce, account.balance.0)
}

fn transfer(from: u8, to: u8, amount: u64, nonce: u64) -> Transaction {
    UnsignedTransaction::transfer(
        key(from).public(),
        address(to),
        Amount(amount),
        Amount(FEE),
        nonce,
        Slot(10),
    )
    .sign(&key(from), &CHAIN)
}

fn context(fee_to: u8) -> BlockContext {
    BlockContext { slot: Slot(10), fee_address: address(fee_to), min_fee_per_byte: 1 }
}

#[test]
fn a_transfer_moves_amount_and_fee_and_counts_the_nonce() {
    let before = trie(&[(1, 7, 5000), (2, 0, 1)]);
    let block = [transfer(1, 2, 300, 7), transfer(2, 3, 0, 0)];
    assert!(matches!(
        execute(&before, &context(9), &block),
        Err(ExecutionError::Transfer { index: 1, error: TransferError::Overdraft { .. } })
    ));
    let after = execute(&before, &context(9), &block[..1]).unwrap();
    assert_eq!(account(&after.trie, 1), (8, 3700));
    assert_eq!(account(&after.trie, 2), (0, 301));
    assert_eq!(account(&after.trie, 9), (0, FEE));
    assert_eq!(after.diff.0.len(), 3);
    assert!(after.diff.0.is_sorted_by(|a, b| a.key < b.key));
}

#[test]
fn a_diff_leads_forward_and_back() {
    let before = trie(&[(1, 0, 5000), (2, 0, 1)]);
    let after = execute(&before, &context(9), &[transfer(1, 3, 4000, 0)]).unwrap();
    let forward = before.update(&after.diff.forward().collect()).unwrap();
    let backward = after.trie.update(&after.diff.backward().collect()).unwrap();
    assert_eq!((forward.root(), backward.root()), (after.trie.root(), before.root()));
}

#[test]
fn an_empty_block_changes_nothing() {
    let before = trie(&[(1, 0, 5000)]);
    let after = execute(&before, &context(9), &[]).unwrap();
    assert_eq!(after.trie.root(), before.root());
    assert_eq!(after.diff, Diff::default());
    assert_eq!(execute(&Trie::default(), &context(9), &[]).unwrap().trie.root(), Trie::default().root());
}

#[test]
fn transactions_of_one_sender_follow_each_other_and_money_can_be_spent_on() {
    let before = trie(&[(1, 0, 10_000)]);
    let block = [transfer(1, 2, 5000, 0), transfer(2, 3, 4000, 0), transfer(1, 3, 1, 1)];
    let after = execute(&before, &context(9), &block).unwrap().trie;
    assert_eq!([1, 2, 3, 9].map(|seed| account(&after, seed)), [(2, 2999), (1, 0), (0, 4001), (0, 3000)]);
}

#[test]
fn a_transfer_to_oneself_costs_the_fee_only() {
    let after = execute(&trie(&[(1, 0, 1500)]), &context(9), &[transfer(1, 1, 500, 0)]).unwrap().trie;
    assert_eq!(account(&after, 1), (1, 500));
}

#[test]
fn a_transfer_of_nothing_leaves_no_trace_at_the_receiver() {
    let after = execute(&trie(&[(1, 0, FEE)]), &context(9), &[transfer(1, 2, 0, 0)]).unwrap();
    assert_eq!(account(&after.trie, 1), (1, 0));
    assert_eq!(account(&after.trie, 2), (0, 0));
    assert!(after.diff.0.iter().all(|change| change.key != address(2).trie_key()));
}

#[test]
fn a_proposer_gets_fees_back_only_after_the_last_transaction() {
    let before = trie(&[(1, 0, 1500)]);
    let after = execute(&before, &context(1), &[transfer(1, 2, 500, 0)]).unwrap().trie;
    assert_eq!((account(&after, 1), account(&after, 2)), ((1, 1000), (0, 500)));
    let block = [transfer(1, 2, 500, 0), transfer(1, 2, 0, 1)];
    assert!(matches!(
        execute(&before, &context(1), &block),
        Err(ExecutionError::Transfer { index: 1, error: TransferError::Overdraft { .. } })
    ));
}

#[test]
fn a_check_names_what_is_wrong() {
    let good = transfer(1, 2, 500, 7);
    let account = Account { nonce: 7, balance: Amount(1500) };
    let check = |transaction: &Transaction, account: &Account, slot| {
        TransferError::check(transaction, account, Slot(slot), 1)
    };
    assert_eq!(check(&good, &account, 10), Ok(()));
    assert_eq!(check(&good, &account, 11), Err(TransferError::Expired(Slot(10))));
    let stale = Account { nonce: 8, ..account };
    assert_eq!(check(&good, &stale, 10), Err(TransferError::Nonce { got: 7, expected: 8 }));
    let poor = Account { balance: Amount(1499), ..account };
    assert_eq!(
        check(&good, &poor, 10),
        Err(TransferError::Overdraft { cost: Amount(1500), balance: Amount(1499) })
    );
    let mut huge = good.clone();
    huge.content.amount = Amount(u64::MAX);
    assert_eq!(check(&huge, &account, 10), Err(TransferError::Never(TransactionError::Overflow)));
    let mut cheap = good;
    cheap.content.fee = Amount(1);
    assert!(matches!(
        check(&cheap, &account, 10),
        Err(TransferError::Never(TransactionError::FeeTooLow { .. }))
    ));
}

#[test]
fn more_money_than_there_can_be_is_an_error() {
    let before = trie(&[(1, 0, 1500), (2, 0, u64::MAX), (3, u64::MAX, 1500)]);
    let overflow = |context, transaction| {
        assert_eq!(execute(&before, &context, &[transaction]).unwrap_err(), ExecutionError::Overflow);
    };
    overflow(context(9), transfer(1, 2, 1, 0));
    overflow(context(2), transfer(1, 9, 1, 0));
    overflow(context(9), transfer(3, 9, 1, u64::MAX));
    assert_eq!(
        select(&before, &context(2), vec![transfer(1, 9, 1, 0)]).unwrap_err(),
        ExecutionError::Overflow
    );
}

#[test]
fn a_stub_is_not_an_absent_account() {
    let before = trie(&[(1, 0, 5000), (2, 0, 1)]);
    let witness = before.witness(&[address(1).trie_key()].into());
    assert_eq!(
        execute(&witness, &context(1), &[transfer(1, 2, 1, 0)]).unwrap_err(),
        ExecutionError::Stub(StubReached)
    );
}

#[test]
fn selection_passes_over_what_is_invalid_and_keeps_the_order() {
    let before = trie(&[(1, 0, 5000), (2, 3, 2500)]);
    let mut expired = transfer(1, 2, 1, 1);
    expired.content.valid_until = Slot(9);
    let candidates = vec![
        transfer(1, 3, 100, 1),
        transfer(2, 3, 1500, 3),
        transfer(1, 3, 100, 0),
        transfer(1, 3, 9000, 1),
        expired,
        transfer(1, 2, 200, 1),
        transfer(2, 1, 1, 4),
    ];
    let expected = [1, 2, 5].map(|index: usize| candidates[index].clone());
    let (chosen, executed) = select(&before, &context(9), candidates).unwrap();
    assert_eq!(chosen, expected);
    let again = execute(&before, &context(9), &chosen).unwrap();
    assert_eq!((executed.trie.root(), executed.diff), (again.trie.root(), again.diff));
}

#[test]
fn random_blocks_agree_with_a_plain_map_and_keep_the_total() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut below = |end: u64| rng.next_u64() % end;
    let keys: Vec<_> = (0..8).map(key).collect();
    let addresses: Vec<_> = (0..8).map(address).collect();
    let mut model: BTreeMap<Hash, Account> = addresses
        .iter()
        .map(|address| (address.trie_key(), Account { nonce: 0, balance: Amount(20_000) }))
        .collect();
    let mut trie = Trie::default().update(&model).unwrap();
    for _ in 0..60 {
        let proposer = addresses[below(8) as usize];
        let candidates: Vec<_> = (0..below(12))
            .map(|_| {
                let (from, to) = (below(8) as usize, addresses[below(8) as usize]);
                let nonce = model[&addresses[from].trie_key()].nonce + below(2);
                let amount = Amount(below(3) * 3000);
                let from = &keys[from];
                UnsignedTransaction::transfer(from.public(), to, amount, Amount(FEE), nonce, Slot(10))
                    .sign(from, &CHAIN)
            })
            .collect();
        let context = BlockContext { fee_address: proposer, ..context(0) };
        let before = model.clone();
        let (chosen, executed) = select(&trie, &context, candidates).unwrap();
        for transaction in &chosen {
            let sender = model.get_mut(&transaction.sender().trie_key()).unwrap();
            assert_eq!(sender.nonce, transaction.content.nonce);
            sender.nonce += 1;
            sender.balance.0 -= transaction.content.amount.0 + FEE;
            model.get_mut(&transaction.content.to.trie_key()).unwrap().balance.0 +=
                transaction.content.amount.0;
        }
        model.get_mut(&proposer.trie_key()).unwrap().balance.0 += FEE * chosen.len() as u64;
        trie = executed.trie;
        assert_eq!(trie.root(), Trie::default().update(&model).unwrap().root());
        assert_eq!(model.values().map(|account| account.balance.0).sum::<u64>(), 8 * 20_000);
        let changed: Vec<_> = model.iter().filter(|(key, after)| before[*key] != **after).collect();
        assert_eq!(executed.diff.0.iter().map(|c| (&c.key, &c.after)).collect::<Vec<_>>(), changed);
    }
}
