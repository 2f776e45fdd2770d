//! The mempool by example, and against a model that works everything out from a plain list each time.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::*;
use crate::{
    chain::{TransactionError, UnsignedTransaction},
    primitives::{PublicKey, Signature},
};

mod model;

const LIMITS: Limits = Limits { max_bytes: 1 << 20, min_fee_per_byte: 1 };
const SLOT: Slot = Slot(10);
const RICH: Account = Account { nonce: 0, balance: Amount(1_000_000) };

/// A transfer of 10 from account `who`; its signature is not looked at here.
fn transaction(who: u8, nonce: u64, fee: u64) -> Transaction {
    let from = PublicKey([who; 32]);
    let content =
        UnsignedTransaction::transfer(from, Address([9; 32]), Amount(10), Amount(fee), nonce, Slot(100));
    Transaction { content, signature: Signature([0; 64]) }
}

fn address(who: u8) -> Address {
    Address::of(&PublicKey([who; 32]))
}

fn filled(limits: Limits, transactions: &[Transaction]) -> Mempool {
    let mut pool = Mempool::new(limits);
    for transaction in transactions {
        pool.insert(transaction, &RICH, SLOT).unwrap();
    }
    pool
}

fn order(pool: &Mempool) -> Vec<(u8, u64)> {
    pool.iter_best().map(|(_, tx)| (tx.content.from.0[0], tx.content.nonce)).collect()
}

#[test]
fn a_transaction_counts_for_the_least_rate_it_must_follow() {
    let pool = filled(
        LIMITS,
        &[transaction(1, 0, 200), transaction(1, 1, 900), transaction(2, 0, 400), transaction(3, 0, 200)],
    );
    assert_eq!(order(&pool), [(2, 0), (1, 0), (1, 1), (3, 0)]);
    let best: Vec<_> = pool.best(2, usize::MAX).iter().map(|tx| tx.content.from.0[0]).collect();
    assert_eq!(best, [2, 1]);
}

#[test]
fn a_block_passes_over_what_does_not_fit_and_all_that_follows_it() {
    let mut large = transaction(1, 0, 9000);
    large.content.memo = vec![0; 200];
    let pool = filled(LIMITS, &[large, transaction(1, 1, 9000), transaction(2, 0, 300)]);
    let best = pool.best(10, 2 * Transaction::EMPTY_LEN);
    assert_eq!(best, [transaction(2, 0, 300)]);
    assert_eq!(pool.best(10, 0), []);
}

#[test]
fn what_waits_for_a_gap_is_promoted_when_it_closes() {
    let mut pool = filled(LIMITS, &[transaction(1, 2, 300), transaction(1, 1, 300)]);
    assert_eq!((pool.pending_count(), pool.queued_count()), (0, 2));
    assert_eq!(pool.next_nonce(&address(1), &RICH), 0);
    let admitted = pool.insert(&transaction(1, 0, 300), &RICH, SLOT).unwrap();
    assert!(admitted.pending);
    assert_eq!((pool.pending_count(), pool.queued_count()), (3, 0));
    assert_eq!(pool.next_nonce(&address(1), &RICH), 3);
    assert_eq!(pool.pending_balance(&address(1), &RICH), Amount(1_000_000 - 930));
    assert_eq!(pool.next_nonce(&address(2), &Account { nonce: 5, ..RICH }), 5);
}

#[test]
fn each_refusal_says_what_is_wrong() {
    let pool = filled(LIMITS, &[transaction(1, 0, 300)]);
    let check = |tx: &Transaction, account| pool.check(tx, &account, SLOT).unwrap_err();
    let poor = Account { nonce: 0, balance: Amount(400) };
    assert_eq!(check(&transaction(1, 0, 300), RICH), AdmissionError::Known);
    assert_eq!(
        check(&transaction(1, 1, 164), RICH),
        AdmissionError::Invalid(TransferError::Never(TransactionError::FeeTooLow {
            fee: Amount(164),
            minimum: Amount(165)
        }))
    );
    let mut expired = transaction(1, 1, 300);
    expired.content.valid_until = Slot(9);
    assert_eq!(check(&expired, RICH), AdmissionError::Invalid(TransferError::Expired(Slot(9))));
    assert_eq!(
        check(&transaction(2, 3, 300), Account { nonce: 4, ..RICH }),
        AdmissionError::Invalid(TransferError::Nonce { got: 3, expected: 4 })
    );
    assert_eq!(check(&transaction(2, 32, 300), RICH), AdmissionError::TooFarAhead { got: 32, next: 0 });
    assert_eq!(
        check(&transaction(2, 0, 391), poor),
        AdmissionError::Invalid(TransferError::Overdraft { cost: Amount(401), balance: Amount(400) })
    );
    assert_eq!(
        check(&transaction(1, 1, 300), poor),
        AdmissionError::Committed { cost: Amount(310), left: Amount(90) }
    );
    let mut overflow = transaction(2, 0, 300);
    overflow.content.amount = Amount(u64::MAX);
    assert_eq!(
        check(&overflow, RICH),
        AdmissionError::Invalid(TransferError::Never(TransactionError::Overflow))
    );
}

#[test]
fn a_replacement_pays_a_tenth_more_and_for_its_own_bytes() {
    let mut pool = filled(LIMITS, &[transaction(1, 0, 300)]);
    assert_eq!(
        pool.insert(&transaction(1, 0, 464), &RICH, SLOT),
        Err(AdmissionError::Underpriced(Amount(300 + 165)))
    );
    let admitted = pool.insert(&transaction(1, 0, 4000), &RICH, SLOT).unwrap();
    assert_eq!(admitted.replaced, Some(transaction(1, 0, 300).id()));
    assert_eq!(
        pool.insert(&transaction(1, 0, 4399), &RICH, SLOT),
        Err(AdmissionError::Underpriced(Amount(4400)))
    );
    pool.insert(&transaction(1, 0, 4400), &RICH, SLOT).unwrap();
    assert_eq!((pool.pending_count(), pool.bytes()), (1, 165));
}

#[test]
fn a_replacement_cannot_make_what_follows_unaffordable() {
    let account = Account { nonce: 0, balance: Amount(1000) };
    let mut pool = Mempool::new(LIMITS);
    pool.insert(&transaction(1, 0, 300), &account, SLOT).unwrap();
    pool.insert(&transaction(1, 1, 300), &account, SLOT).unwrap();
    assert_eq!(
        pool.insert(&transaction(1, 0, 700), &account, SLOT),
        Err(AdmissionError::Committed { cost: Amount(710), left: Amount(690) })
    );
}

#[test]
fn an_account_has_sixteen_pending_and_sixteen_queued() {
    let mut pool = Mempool::new(LIMITS);
    for nonce in 1..17 {
        pool.insert(&transaction(1, nonce, 300), &RICH, SLOT).unwrap();
    }
    assert_eq!(pool.insert(&transaction(1, 17, 300), &RICH, SLOT), Err(AdmissionError::AccountFull));
    pool.insert(&transaction(1, 0, 300), &RICH, SLOT).unwrap();
    assert_eq!((pool.pending_count(), pool.queued_count()), (16, 1));
    for nonce in 17..32 {
        pool.insert(&transaction(1, nonce, 300), &RICH, SLOT).unwrap();
    }
    assert_eq!((pool.pending_count(), pool.queued_count()), (16, 16));
    assert_eq!(pool.next_nonce(&address(1), &RICH), 32);
}

#[test]
fn a_new_head_drops_what_was_executed_overtaken_or_cannot_be_paid_and_promotes_the_rest() {
    let mut pool = filled(LIMITS, &(0..18).map(|nonce| transaction(1, nonce, 300)).collect::<Vec<_>>());
    let account = Account { nonce: 3, balance: Amount(310 * 14) };
    let left = pool.on_head([(address(1).trie_key(), account)], SLOT);
    let expected: Vec<_> = [0, 1, 2, 17].map(|nonce| transaction(1, nonce, 300).id()).to_vec();
    assert_eq!(left, expected);
    assert_eq!((pool.pending_count(), pool.queued_count()), (14, 0));
    let back = Account { nonce: 2, ..account };
    assert_eq!(pool.on_head([(address(1).trie_key(), back)], SLOT), []);
    assert_eq!((pool.pending_count(), pool.queued_count()), (0, 14), "a reorganisation opens a gap");
    assert_eq!(pool.on_head([(address(2).trie_key(), account)], SLOT), [], "strangers do not matter");
}

#[test]
fn what_can_no_longer_be_in_a_block_expires() {
    let mut short = transaction(1, 0, 300);
    short.content.valid_until = Slot(12);
    let mut pool = filled(LIMITS, &[short.clone(), transaction(1, 1, 300), transaction(2, 0, 300)]);
    assert_eq!(pool.on_head([], Slot(12)), []);
    assert_eq!(pool.on_head([], Slot(13)), [short.id()]);
    assert_eq!((pool.pending_count(), pool.queued_count()), (1, 1));
    assert_eq!(pool.on_head([], Slot(101)).len(), 2);
    assert_eq!((pool.bytes(), pool.pending_count(), pool.queued_count()), (0, 0, 0));
}

/// Room for four transactions without memo.
const SMALL: Limits = Limits { max_bytes: 4 * Transaction::EMPTY_LEN, min_fee_per_byte: 1 };

#[test]
fn when_full_the_queued_leave_first_then_the_worst() {
    let mut pool = filled(
        SMALL,
        &[transaction(1, 0, 300), transaction(2, 0, 400), transaction(3, 1, 9000), transaction(4, 1, 8000)],
    );
    let admitted = pool.insert(&transaction(5, 0, 200), &RICH, SLOT).unwrap();
    assert_eq!(admitted.evicted, [transaction(4, 1, 8000).id()]);
    let mut large = transaction(6, 0, 2000);
    large.content.memo = vec![0; 1];
    let admitted = pool.insert(&large, &RICH, SLOT).unwrap();
    assert_eq!(admitted.evicted, [transaction(3, 1, 9000).id(), transaction(5, 0, 200).id()]);
    assert_eq!(order(&pool), [(6, 0), (2, 0), (1, 0)]);
    assert_eq!(pool.bytes(), 3 * Transaction::EMPTY_LEN + 1);
}

#[test]
fn when_full_a_newcomer_is_told_the_fee_that_finds_room() {
    let mut pool = filled(SMALL, &[300, 310, 320, 330].map(|fee| transaction((fee / 5) as u8, 0, fee)));
    assert_eq!(
        pool.insert(&transaction(1, 0, 300), &RICH, SLOT),
        Err(AdmissionError::Full(Amount(301))),
        "first come, first served"
    );
    assert_eq!(pool.insert(&transaction(1, 1, 9000), &RICH, SLOT), Err(AdmissionError::FullForFollower));
    assert_eq!(pool.insert(&transaction(1, 0, 301), &RICH, SLOT).unwrap().evicted.len(), 1);
    assert_eq!(
        pool.insert(&transaction(1, 1, 9000), &RICH, SLOT),
        Err(AdmissionError::FullForFollower),
        "it counts for no more than what it follows, which is the worst here"
    );
}

#[test]
fn a_pool_smaller_than_one_transaction_refuses_all() {
    let mut pool = Mempool::new(Limits { max_bytes: 100, min_fee_per_byte: 0 });
    assert_eq!(pool.insert(&transaction(1, 0, 300), &RICH, SLOT), Err(AdmissionError::FullForFollower));
}

/// A random transaction of one of a few accounts, often colliding with others in nonce and rate.
fn random_transaction(rng: &mut ChaCha8Rng, accounts: &[Account], slot: Slot) -> Transaction {
    let who = pick(rng, accounts.len() as u64) as usize;
    let reach = if pick(rng, 8) == 0 { 36 } else { 6 };
    let ahead = pick(rng, reach);
    let nonce = (accounts[who].nonce + ahead).saturating_sub(pick(rng, 3));
    let mut transaction = transaction(who as u8, nonce, 0);
    transaction.content.memo = vec![0; if pick(rng, 2) == 0 { 0 } else { pick(rng, 257) as usize }];
    transaction.content.fee = Amount(transaction.encoded_len() as u64 + pick(rng, 40) * 20 - pick(rng, 2));
    transaction.content.amount = Amount(pick(rng, 500));
    transaction.content.valid_until = Slot((slot.0 + pick(rng, 40)).saturating_sub(1));
    transaction
}

fn pick(rng: &mut ChaCha8Rng, below: u64) -> u64 {
    rng.next_u64() % below
}

#[test]
fn under_random_operations_it_is_what_the_model_says() {
    let (mut evictions, mut full, mut fitted) = (0, 0, 0);
    for seed in 0..24 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let limits = Limits { max_bytes: [2000, 6000, 20_000][seed as usize % 3], min_fee_per_byte: 1 };
        let mut accounts = vec![Account { nonce: 0, balance: Amount(12_000) }; 6];
        let (mut pool, mut model) = (Mempool::new(limits), model::Model::new(limits));
        let mut slot = SLOT;
        for step in 0..600 {
            let context = format!("seed {seed}, step {step}");
            if pick(&mut rng, 12) > 0 {
                let transaction = random_transaction(&mut rng, &accounts, slot);
                let account = accounts[transaction.content.from.0[0] as usize];
                let checked = pool.check(&transaction, &account, slot);
                let inserted = pool.insert(&transaction, &account, slot);
                assert_eq!(checked, inserted.as_ref().map(|_| ()).map_err(|error| *error), "{context}");
                assert_eq!(inserted, model.insert(&transaction, &account, slot), "{context}");
                evictions += inserted.as_ref().map_or(0, |admitted| admitted.evicted.len());
                if let Err(AdmissionError::Full(fee)) = inserted {
                    full += 1;
                    let mut enough = transaction;
                    enough.content.fee = fee;
                    match pool.check(&enough, &account, slot) {
                        Ok(()) => fitted += 1,
                        Err(AdmissionError::Committed { .. } | AdmissionError::Invalid(_)) => {}
                        Err(error) => panic!("{context}: the fee asked for is not enough: {error}"),
                    }
                }
            } else {
                slot.0 += pick(&mut rng, 6);
                let mut changes = Vec::new();
                for (who, account) in accounts.iter_mut().enumerate() {
                    if pick(&mut rng, 2) == 0 {
                        account.nonce = (account.nonce + pick(&mut rng, 5)).saturating_sub(pick(&mut rng, 3));
                        account.balance = Amount(pick(&mut rng, 24_000));
                        changes.push((address(who as u8), *account));
                    }
                }
                let mut left =
                    pool.on_head(changes.iter().map(|(who, account)| (who.trie_key(), *account)), slot);
                left.sort();
                assert_eq!(left, model.on_head(&changes, slot), "{context}");
            }
            model.compare(&pool, &accounts, &context);
        }
    }
    assert!(
        evictions > 100 && full > 100 && fitted > 20,
        "the pool was hardly ever full: {evictions} evictions, {full} refusals, {fitted} with a fee that helps"
    );
}
