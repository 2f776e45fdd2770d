//! The mempool by example, and against a model that works everything out from a plain list each time.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use libp2p::PeerId;

use super::*;
use crate::{
    chain::{TransactionError, UnsignedTransaction},
    primitives::{Address, PublicKey, Signature},
    state::TransferError,
};

mod model;

const LIMITS: Limits = Limits::new(1 << 20, 1);
const SLOT: Slot = Slot(10);
const RICH: Account = Account { nonce: 0, balance: Amount(1_000_000) };

/// A transfer of 10 from account `who`; its signature is not looked at here.
fn transaction(who: u8, nonce: u64, fee: u64) -> Transaction {
    let from = PublicKey([who; 32]);
    let content =
        UnsignedTransaction::transfer(from, Address([9; 32]), Amount(10), Amount(fee), nonce, Slot(100));
    Transaction { content, signature: Signature([0; 64]) }
}

fn peer(number: u8) -> Source {
    let key = [[0, 36, 8, 1, 18, 32].as_slice(), &[number; 32]].concat();
    Source::Peer(PeerId::from_bytes(&key).unwrap())
}

fn address(who: u8) -> Address {
    Address::of(&PublicKey([who; 32]))
}

fn filled(limits: Limits, transactions: &[Transaction]) -> Mempool {
    let mut pool = Mempool::new(limits);
    for transaction in transactions {
        pool.insert(transaction, &RICH, SLOT, Source::Own).unwrap();
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
    assert_eq!(pool.next_nonce(&address(1).trie_key(), &RICH), 0);
    let admitted = pool.insert(&transaction(1, 0, 300), &RICH, SLOT, Source::Own).unwrap();
    assert!(admitted.pending);
    assert_eq!(admitted.promoted, [1, 2].map(|nonce| transaction(1, nonce, 300).id()));
    assert_eq!((pool.pending_count(), pool.queued_count()), (3, 0));
    assert_eq!(pool.next_nonce(&address(1).trie_key(), &RICH), 3);
    assert_eq!(pool.pending_balance(&address(1).trie_key(), &RICH), Amount(1_000_000 - 930));
    assert_eq!(pool.next_nonce(&address(2).trie_key(), &Account { nonce: 5, ..RICH }), 5);
}

#[test]
fn each_refusal_says_what_is_wrong() {
    let pool = filled(LIMITS, &[transaction(1, 0, 300)]);
    let check = |tx: &Transaction, account| pool.check(tx, &account, SLOT, Source::Own).unwrap_err();
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
        pool.insert(&transaction(1, 0, 464), &RICH, SLOT, Source::Own),
        Err(AdmissionError::Underpriced(Amount(300 + 165)))
    );
    let admitted = pool.insert(&transaction(1, 0, 4000), &RICH, SLOT, Source::Own).unwrap();
    assert_eq!(admitted.replaced, Some(transaction(1, 0, 300).id()));
    assert_eq!(
        pool.insert(&transaction(1, 0, 4399), &RICH, SLOT, Source::Own),
        Err(AdmissionError::Underpriced(Amount(4400)))
    );
    pool.insert(&transaction(1, 0, 4400), &RICH, SLOT, Source::Own).unwrap();
    assert_eq!((pool.pending_count(), pool.bytes()), (1, 165));
}

#[test]
fn a_replacement_cannot_make_what_follows_unaffordable() {
    let account = Account { nonce: 0, balance: Amount(1000) };
    let mut pool = Mempool::new(LIMITS);
    pool.insert(&transaction(1, 0, 300), &account, SLOT, Source::Own).unwrap();
    pool.insert(&transaction(1, 1, 300), &account, SLOT, Source::Own).unwrap();
    assert_eq!(
        pool.insert(&transaction(1, 0, 700), &account, SLOT, Source::Own),
        Err(AdmissionError::Committed { cost: Amount(710), left: Amount(690) })
    );
}

#[test]
fn an_account_has_sixteen_pending_and_sixteen_queued() {
    let mut pool = Mempool::new(LIMITS);
    for nonce in 1..17 {
        pool.insert(&transaction(1, nonce, 300), &RICH, SLOT, Source::Own).unwrap();
    }
    assert_eq!(
        pool.insert(&transaction(1, 17, 300), &RICH, SLOT, Source::Own),
        Err(AdmissionError::AccountFull)
    );
    pool.insert(&transaction(1, 0, 300), &RICH, SLOT, Source::Own).unwrap();
    assert_eq!((pool.pending_count(), pool.queued_count()), (16, 1));
    for nonce in 17..32 {
        pool.insert(&transaction(1, nonce, 300), &RICH, SLOT, Source::Own).unwrap();
    }
    assert_eq!((pool.pending_count(), pool.queued_count()), (16, 16));
    assert_eq!(pool.next_nonce(&address(1).trie_key(), &RICH), 32);
}

#[test]
fn a_new_head_drops_what_was_executed_overtaken_or_cannot_be_paid_and_promotes_the_rest() {
    let mut pool = filled(LIMITS, &(0..18).map(|nonce| transaction(1, nonce, 300)).collect::<Vec<_>>());
    let account = Account { nonce: 3, balance: Amount(310 * 14) };
    let moved = pool.on_head([(address(1).trie_key(), account)], SLOT);
    let ids =
        |nonces: &[u64]| nonces.iter().map(|nonce| transaction(1, *nonce, 300).id()).collect::<Vec<_>>();
    assert_eq!(moved, Moved { left: ids(&[0, 1, 2, 17]), promoted: ids(&[16]) });
    assert_eq!((pool.pending_count(), pool.queued_count()), (14, 0));
    let back = Account { nonce: 2, ..account };
    assert_eq!(pool.on_head([(address(1).trie_key(), back)], SLOT), Moved::default());
    assert_eq!((pool.pending_count(), pool.queued_count()), (0, 14), "a reorganisation opens a gap");
    assert_eq!(
        pool.on_head([(address(2).trie_key(), account)], SLOT),
        Moved::default(),
        "strangers do not matter"
    );
}

#[test]
fn what_can_no_longer_be_in_a_block_expires() {
    let mut short = transaction(1, 0, 300);
    short.content.valid_until = Slot(12);
    let mut pool = filled(LIMITS, &[short.clone(), transaction(1, 1, 300), transaction(2, 0, 300)]);
    assert_eq!(pool.on_head([], Slot(12)), Moved::default());
    assert_eq!(pool.on_head([], Slot(13)).left, [short.id()]);
    assert_eq!((pool.pending_count(), pool.queued_count()), (1, 1));
    assert_eq!(pool.on_head([], Slot(101)).left.len(), 2);
    assert_eq!((pool.bytes(), pool.pending_count(), pool.queued_count()), (0, 0, 0));
}

/// Room for four transactions without memo.
const SMALL: Limits = Limits::new(4 * Transaction::EMPTY_LEN, 1);

#[test]
fn when_full_the_queued_leave_first_then_the_worst() {
    let mut pool = filled(
        SMALL,
        &[transaction(1, 0, 300), transaction(2, 0, 400), transaction(3, 1, 9000), transaction(4, 1, 8000)],
    );
    let admitted = pool.insert(&transaction(5, 0, 200), &RICH, SLOT, Source::Own).unwrap();
    assert_eq!(admitted.evicted, [transaction(4, 1, 8000).id()]);
    let mut large = transaction(6, 0, 2000);
    large.content.memo = vec![0; 1];
    let admitted = pool.insert(&large, &RICH, SLOT, Source::Own).unwrap();
    assert_eq!(admitted.evicted, [transaction(3, 1, 9000).id(), transaction(5, 0, 200).id()]);
    assert_eq!(order(&pool), [(6, 0), (2, 0), (1, 0)]);
    assert_eq!(pool.bytes(), 3 * Transaction::EMPTY_LEN + 1);
}

#[test]
fn when_full_a_newcomer_is_told_the_fee_that_finds_room() {
    let mut pool = filled(SMALL, &[300, 310, 320, 330].map(|fee| transaction((fee / 5) as u8, 0, fee)));
    assert_eq!(
        pool.insert(&transaction(1, 0, 300), &RICH, SLOT, Source::Own),
        Err(AdmissionError::Full(Amount(301))),
        "first come, first served"
    );
    assert_eq!(
        pool.insert(&transaction(1, 1, 9000), &RICH, SLOT, Source::Own),
        Err(AdmissionError::FullForFollower)
    );
    assert_eq!(pool.insert(&transaction(1, 0, 301), &RICH, SLOT, Source::Own).unwrap().evicted.len(), 1);
    assert_eq!(
        pool.insert(&transaction(1, 1, 9000), &RICH, SLOT, Source::Own),
        Err(AdmissionError::FullForFollower),
        "it counts for no more than what it follows, which is the worst here"
    );
}

#[test]
fn a_pool_smaller_than_one_transaction_refuses_all() {
    let mut pool = Mempool::new(Limits::new(100, 0));
    assert_eq!(
        pool.insert(&transaction(1, 0, 300), &RICH, SLOT, Source::Own),
        Err(AdmissionError::FullForFollower)
    );
}

/// Four transactions of 300 to 330, and then one that makes the first leave.
fn crowded() -> Mempool {
    let mut pool = filled(SMALL, &[300, 310, 320, 330].map(|fee| transaction((fee / 5) as u8, 0, fee)));
    pool.insert(&transaction(1, 0, 1000), &RICH, SLOT, peer(1)).unwrap();
    pool
}

#[test]
fn after_an_eviction_the_minimum_is_above_what_left_and_fades() {
    assert_eq!(filled(SMALL, &[]).min_fee_rate(SLOT), 1000);
    let mut pool = crowded();
    // 300 for 165 bytes, rounded up, and the chain's minimum on top.
    assert_eq!(pool.min_fee_rate(SLOT), 1819 + 1000);
    let needed = AdmissionError::BelowMinimum(Amount(466));
    for source in [Source::Own, peer(1)] {
        assert_eq!(pool.check(&transaction(2, 0, 465), &RICH, SLOT, source), Err(needed));
        assert_eq!(pool.check(&transaction(2, 0, 466), &RICH, SLOT, source), Ok(()));
    }
    let undone = pool.check(&transaction(2, 0, 465), &RICH, SLOT, Source::Undone);
    assert_eq!(undone, Ok(()), "a block had it already");
    assert_eq!(
        pool.check(&transaction(62, 0, 350), &RICH, SLOT, Source::Own),
        Err(AdmissionError::Underpriced(Amount(475))),
        "the dearer of the two is named"
    );
    assert_eq!(pool.min_fee_rate(Slot(SLOT.0 + HALF_LIFE)), 1409);
    assert_eq!(pool.min_fee_rate(Slot(SLOT.0 + 2 * HALF_LIFE)), 1000);
    let emptied = Account { nonce: 1, ..RICH };
    pool.on_head([62, 64, 66].map(|who| (address(who).trie_key(), emptied)), SLOT);
    assert_eq!(pool.min_fee_rate(Slot(SLOT.0 + HALF_LIFE / 2)), 1409, "an emptier pool forgets faster");
}

#[test]
fn what_is_queued_leaves_without_raising_the_minimum() {
    let mut pool = filled(SMALL, &[1, 2, 3, 4].map(|who| transaction(who, 1, 9000)));
    for who in 5..9 {
        assert_eq!(pool.insert(&transaction(who, 0, 200), &RICH, SLOT, peer(1)).unwrap().evicted.len(), 1);
    }
    assert_eq!((pool.pending_count(), pool.min_fee_rate(SLOT)), (4, 1000));
}

#[test]
fn one_peer_cannot_fill_the_room_for_what_waits() {
    let limits = Limits { max_queued_of_peer: 3, ..LIMITS };
    let mut pool = Mempool::new(limits);
    for who in 1..4 {
        pool.insert(&transaction(who, 1, 300), &RICH, SLOT, peer(1)).unwrap();
    }
    let next = transaction(4, 1, 300);
    assert_eq!(pool.insert(&next, &RICH, SLOT, peer(1)), Err(AdmissionError::PeerFull));
    pool.insert(&transaction(5, 0, 300), &RICH, SLOT, peer(1)).expect("it waits for nothing");
    pool.insert(&transaction(3, 1, 900), &RICH, SLOT, peer(1)).expect("it takes another's place");
    assert_eq!(pool.check(&next, &RICH, SLOT, peer(2)), Ok(()));
    assert_eq!(pool.check(&next, &RICH, SLOT, Source::Own), Ok(()));
    assert_eq!(pool.check(&next, &RICH, SLOT, Source::Undone), Ok(()));

    let promoted = pool.insert(&transaction(1, 0, 300), &RICH, SLOT, peer(2)).unwrap().promoted;
    assert_eq!(promoted, [transaction(1, 1, 300).id()]);
    pool.insert(&next, &RICH, SLOT, peer(1)).expect("one of the peer's waits no longer");
    assert!(pool.is_pending(&promoted[0]) && !pool.is_pending(&next.id()));
    pool.on_head([], Slot(101));
    assert_eq!(pool.queued_of.len(), 0);
}

#[test]
fn the_bytes_that_wait_for_one_peer_are_bounded_too() {
    let limits = Limits { max_queued_bytes_of_peer: 2 * Transaction::EMPTY_LEN, ..LIMITS };
    let mut pool = Mempool::new(limits);
    pool.insert(&transaction(1, 1, 300), &RICH, SLOT, peer(1)).unwrap();
    let mut large = transaction(2, 1, 300);
    large.content.memo = vec![0];
    assert_eq!(pool.insert(&large, &RICH, SLOT, peer(1)), Err(AdmissionError::PeerFull));
    pool.insert(&transaction(2, 1, 300), &RICH, SLOT, peer(1)).unwrap();
    let usual = Limits::new(64 << 20, 1);
    assert_eq!((usual.max_queued_of_peer, usual.max_queued_bytes_of_peer), (256, 1 << 20));
    assert_eq!(Limits::new(1 << 10, 1).max_queued_bytes_of_peer, MAX_QUEUED * Transaction::MAX_LEN);
}

#[test]
fn a_block_looks_no_further_than_a_thousand_that_do_not_fit() {
    let crowd = |large: u16| {
        let mut pool = Mempool::new(LIMITS);
        for who in 0..large {
            let mut transaction = transaction(0, 0, 9000);
            transaction.content.from.0[1..3].copy_from_slice(&who.to_le_bytes());
            transaction.content.memo = vec![0; 9];
            pool.insert(&transaction, &RICH, SLOT, Source::Own).unwrap();
        }
        pool.insert(&transaction(9, 0, 300), &RICH, SLOT, Source::Own).unwrap();
        pool.best(10, Transaction::EMPTY_LEN + 8)
    };
    assert_eq!(crowd(999), [transaction(9, 0, 300)]);
    assert_eq!(crowd(1000), []);
}

#[test]
fn the_histogram_weighs_by_bytes_in_few_buckets() {
    assert_eq!(filled(LIMITS, &[]).fee_histogram(), []);
    let pool = filled(
        LIMITS,
        &[
            transaction(1, 0, 165),
            transaction(2, 0, 247),
            transaction(3, 0, 248),
            transaction(4, 0, 700),
            transaction(4, 1, 165),
            transaction(5, 3, 900_000),
        ],
    );
    let bucket = |from, count| FeeBucket { from, count, bytes: count * Transaction::EMPTY_LEN };
    let expected = [bucket(1000, 3), bucket(1500, 1), bucket(2000, 0), bucket(3000, 0), bucket(4000, 1)];
    assert_eq!(pool.fee_histogram(), expected);
    let extremes = filled(LIMITS, &[transaction(1, 0, 165), transaction(2, 0, 900_000)]).fee_histogram();
    assert_eq!((extremes.len(), extremes[MAX_BUCKETS - 1]), (MAX_BUCKETS, bucket(4_096_000, 1)));
}

#[test]
fn it_counts_what_goes_through() {
    let mut pool = crowded();
    pool.insert(&transaction(1, 0, 2000), &RICH, SLOT, peer(1)).unwrap();
    pool.on_head([(address(1).trie_key(), Account { nonce: 1, ..RICH })], SLOT);
    pool.on_head([], Slot(101));
    let expected = PoolCounts { admitted: 6, replaced: 1, evicted: 1, expired: 3, settled: 1 };
    assert_eq!(pool.counts(), expected);
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
    let (mut evictions, mut full, mut fitted, mut below, mut peer_full) = (0, 0, 0, 0, 0);
    for seed in 0..24 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let limits = Limits {
            max_queued_of_peer: 6,
            max_queued_bytes_of_peer: 1500,
            ..Limits::new([2000, 6000, 20_000][seed as usize % 3], 1)
        };
        let mut accounts = vec![Account { nonce: 0, balance: Amount(12_000) }; 6];
        let (mut pool, mut model) = (Mempool::new(limits), model::Model::new(limits));
        let mut slot = SLOT;
        for step in 0..600 {
            let context = format!("seed {seed}, step {step}");
            if pick(&mut rng, 12) > 0 {
                let transaction = random_transaction(&mut rng, &accounts, slot);
                let account = accounts[transaction.content.from.0[0] as usize];
                let source = match pick(&mut rng, 8) {
                    0 => Source::Own,
                    1 => Source::Undone,
                    number => peer(number as u8 % 3),
                };
                let checked = pool.check(&transaction, &account, slot, source);
                let inserted = pool.insert(&transaction, &account, slot, source);
                assert_eq!(checked, inserted.as_ref().map(|_| ()).map_err(|error| *error), "{context}");
                assert_eq!(inserted, model.insert(&transaction, &account, slot, source), "{context}");
                evictions += inserted.as_ref().map_or(0, |admitted| admitted.evicted.len());
                peer_full += usize::from(inserted == Err(AdmissionError::PeerFull));
                if let Err(AdmissionError::Full(fee) | AdmissionError::BelowMinimum(fee)) = inserted {
                    match inserted {
                        Err(AdmissionError::Full(_)) => full += 1,
                        _ => below += 1,
                    }
                    let mut enough = transaction;
                    enough.content.fee = fee;
                    match pool.check(&enough, &account, slot, source) {
                        Ok(()) => fitted += 1,
                        // What it is refused for then is no matter of fees, or another full pool's.
                        Err(
                            AdmissionError::Committed { .. }
                            | AdmissionError::Invalid(_)
                            | AdmissionError::AccountFull
                            | AdmissionError::PeerFull,
                        ) => {}
                        Err(AdmissionError::Full(_) | AdmissionError::FullForFollower)
                            if matches!(inserted, Err(AdmissionError::BelowMinimum(_))) => {}
                        Err(error) => panic!("{context}: the fee asked for is not enough: {error}"),
                    }
                }
            } else {
                let most = if pick(&mut rng, 10) == 0 { 2_000 } else { 6 };
                slot.0 += pick(&mut rng, most);
                let mut changes = Vec::new();
                for (who, account) in accounts.iter_mut().enumerate() {
                    if pick(&mut rng, 2) == 0 {
                        account.nonce = (account.nonce + pick(&mut rng, 5)).saturating_sub(pick(&mut rng, 3));
                        account.balance = Amount(pick(&mut rng, 24_000));
                        changes.push((address(who as u8), *account));
                    }
                }
                let mut moved =
                    pool.on_head(changes.iter().map(|(who, account)| (who.trie_key(), *account)), slot);
                moved.left.sort();
                moved.promoted.sort();
                assert_eq!(moved, model.on_head(&changes, slot), "{context}");
            }
            model.compare(&pool, &accounts, slot, &context);
        }
    }
    assert!(
        evictions > 100 && full > 100 && fitted > 20 && below > 100 && peer_full > 100,
        "the pool was hardly ever full: {evictions} evictions, {full} refusals, {below} below the minimum, \
         {peer_full} for the peer, {fitted} with a fee that helps"
    );
}

#[test]
fn a_minimum_that_has_risen_is_suggested_with_headroom() {
    let suggested_beside = |pool: &Mempool, slot, elsewhere| {
        let estimate = Estimator::default().estimate(pool, slot, elsewhere);
        let FeeEstimate { minimum, next, soon, slow, .. } = estimate;
        [minimum, next, soon, slow]
    };
    let suggested = |pool: &Mempool, slot| suggested_beside(pool, slot, 0);
    let empty = filled(SMALL, &[]);
    assert_eq!(suggested(&empty, SLOT), [1000; 4]);
    assert_eq!(suggested_beside(&empty, SLOT, 3000), [1000, 6000, 4500, 3750], "it has risen elsewhere");
    assert_eq!(
        suggested_beside(&empty, SLOT, u64::MAX),
        [1000, 32_000, 24_000, 20_000],
        "no more is believed"
    );
    let pool = crowded();
    assert_eq!(suggested(&pool, SLOT), [2819, 5619, 4219, 3519]);
    assert_eq!(suggested(&pool, Slot(SLOT.0 + 2 * HALF_LIFE)), [1000; 4]);
}
