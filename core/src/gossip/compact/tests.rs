#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::{
    chain::{Ballot, Change, SignedBallot, UnsignedHeader, UnsignedTransaction},
    primitives::{Address, Amount, Height, PublicKey, Signature, Slot, decode},
};

fn transaction(nonce: u64) -> Transaction {
    let (from, to) = (PublicKey([1; 32]), Address([2; 32]));
    let content = UnsignedTransaction::transfer(from, to, Amount(3), Amount(4), nonce, Slot(5));
    Transaction { content, signature: Signature([6; 64]) }
}

/// A system item; nobody checks its signature here.
fn ballot() -> SystemItem {
    let by = PublicKey([7; 32]);
    let content = Ballot { set_id: 0, serial: 1, by, change: Change::Remove(by) };
    SystemItem::Ballot(SignedBallot { content, signature: Signature([8; 64]) })
}

fn header(body: &Body) -> Header {
    let roots = [body.tx_root(), body.system_root(), Hash::ZERO, Hash::ZERO, Hash::ZERO, Hash::ZERO];
    let content = UnsignedHeader::new(Height(1), Slot(2), Hash::ZERO, roots, 0, PublicKey([9; 32]));
    Header { content, signature: Signature([10; 64]) }
}

fn block_of(body: Body) -> Block {
    Block { header: header(&body), body }
}

fn block(count: u64) -> Block {
    block_of(Body { transactions: (0..count).map(transaction).collect(), system: vec![ballot()] })
}

/// Transactions as a pool has them.
fn pool(transactions: &[Transaction]) -> Vec<(Hash, &Transaction)> {
    transactions.iter().map(|transaction| (transaction.id(), transaction)).collect()
}

/// What is put together of these transactions, or the places that are missing.
fn rebuild(compact: CompactBlock, here: &[Transaction]) -> Result<Result<Body, BodyError>, Vec<u16>> {
    let mut rebuild = Rebuild::new(compact).unwrap();
    rebuild.find(pool(here));
    let missing = rebuild.missing();
    if missing.is_empty() { Ok(rebuild.finish()) } else { Err(missing) }
}

#[test]
fn short_ids_are_siphash_of_the_id_under_the_header_hash() {
    // The reference vector of SipHash-2-4 for 15 bytes, and ours for the same key.
    let bytes = std::array::from_fn::<u8, 32, _>(|at| at as u8);
    let key = CompactKey::of(&Hash(bytes));
    assert_eq!(key.0.hash(&bytes[..15]), 0xa129_ca61_49be_45e5);
    assert_eq!(hex::encode(key.short(&Hash(bytes)).0), "ce7cf2722f51");
    assert_ne!(CompactKey::of(&Hash::ZERO).short(&Hash(bytes)), key.short(&Hash(bytes)));
}

#[test]
fn golden_bytes() {
    let block = block(3);
    let compact = CompactBlock::new(&block, |place| place == 1);
    let key = CompactKey::of(&block.header.hash());
    let [first, second, third] = std::array::from_fn(|at| block.body.transactions[at].clone());
    let expected = [
        encode(&block.header),
        vec![2, 0, 0, 0],
        key.short(&first.id()).0.to_vec(),
        key.short(&third.id()).0.to_vec(),
        vec![1, 0, 0, 0, 1, 0],
        encode(&second),
        vec![1, 0, 0, 0],
        encode(&ballot()),
    ];
    assert_eq!(hex::encode(encode(&compact)), hex::encode(expected.concat()));
    assert_eq!(
        Hash::of(&encode(&compact)).to_string(),
        "df353897aebc9fcfaf94c00e0bd2c064cd9588c657e6014f99771eed19e863e3"
    );
    assert_eq!(decode::<CompactBlock>(&encode(&compact), CompactBlock::MAX_LEN), Ok(compact));
}

#[test]
fn a_block_of_known_transactions_is_put_together_whatever_is_prefilled() {
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = |below: u64| rng.next_u64() % below;
        let block = block(draw(60));
        let compact = CompactBlock::new(&block, |_| draw(4) == 0);
        let compact: CompactBlock = decode(&encode(&compact), CompactBlock::MAX_LEN).unwrap();
        // The pool is in another order, and has more.
        let mut here: Vec<_> = (0..90).map(transaction).collect();
        for at in 1..here.len() {
            here.swap(at, draw(at as u64 + 1) as usize);
        }
        assert_eq!(rebuild(compact.clone(), &here), Ok(Ok(block.body.clone())), "seed {seed}");

        // Of what is not here, exactly that is asked for, and it completes the block.
        here.retain(|_| draw(3) > 0);
        let mut partial = Rebuild::new(compact).unwrap();
        partial.find(pool(&here[..here.len() / 2]));
        partial.find(pool(&here));
        let missing = partial.missing();
        let given: Vec<_> =
            missing.iter().map(|at| block.body.transactions[usize::from(*at)].clone()).collect();
        assert!(given.iter().all(|transaction| !here.contains(transaction)), "seed {seed}");
        partial.give(given).unwrap();
        assert_eq!(partial.finish(), Ok(block.body), "seed {seed}");
    }
}

#[test]
fn a_whole_block_needs_nothing() {
    let block = block(20);
    assert_eq!(rebuild(CompactBlock::whole(&block), &[]), Ok(Ok(block.body)));
    let empty = self::block(0);
    assert!(CompactBlock::whole(&empty).is_empty());
    assert_eq!(rebuild(CompactBlock::whole(&empty), &[]), Ok(Ok(empty.body)));
}

#[test]
fn what_is_withheld_is_missing_until_it_is_given() {
    let block = block(5);
    let compact = CompactBlock::new(&block, |place| place == 3);
    let transactions = &block.body.transactions;
    let mut partial = Rebuild::new(compact.clone()).unwrap();
    partial.find(pool(&transactions[1..2]));
    assert_eq!(partial.missing(), [0, 2, 4]);
    assert_eq!(partial.clone().finish(), Err(BodyError::Root));
    let right = [0, 2, 4].map(|at| transactions[at].clone());
    for wrong in [
        vec![],
        right[..2].to_vec(),
        [right.as_slice(), &right[..1]].concat(),
        vec![right[1].clone(), right[0].clone(), right[2].clone()],
        vec![right[0].clone(), right[1].clone(), transaction(77)],
    ] {
        assert_eq!(partial.give(wrong), Err(Unasked));
    }
    assert_eq!(partial.missing(), [0, 2, 4], "a wrong answer changes nothing");
    partial.give(right.to_vec()).unwrap();
    assert_eq!(partial.finish(), Ok(block.body));
}

/// Two ids with one short id in the block without transactions whose other roots are zero.
const COLLIDING: [u64; 2] = [4_359_969, 10_670_137];

#[test]
fn two_transactions_with_one_short_id_count_as_none() {
    let body = Body::default();
    let mut header = header(&body);
    header.content.tx_root = Hash::ZERO;
    let key = CompactKey::of(&header.hash());
    let [a, b] = COLLIDING.map(|number| {
        let mut id = Hash::ZERO;
        id.0[..8].copy_from_slice(&number.to_le_bytes());
        id
    });
    let short = key.short(&a);
    assert_eq!(key.short(&b), short, "the header is another: search again");
    let compact = CompactBlock { header, short: vec![short], prefilled: Vec::new(), system: Vec::new() };
    let (first, second) = (transaction(0), transaction(1));

    let mut one = Rebuild::new(compact.clone()).unwrap();
    one.find([(a, &first), (a, &first)]);
    assert!(one.missing().is_empty(), "the same one twice is one");
    let mut both = Rebuild::new(compact.clone()).unwrap();
    both.find([(a, &first)]);
    // Nothing is looked for any more: an accident that the roots tell.
    both.find([(b, &second)]);
    assert!(both.missing().is_empty());

    let more = CompactBlock { short: vec![short, CompactId([0; 6])], ..compact };
    let mut both = Rebuild::new(more).unwrap();
    both.find([(a, &first), (b, &second), (a, &first)]);
    assert_eq!(both.missing(), [0, 1]);
}

#[test]
fn a_short_id_that_the_block_has_twice_is_missing_twice() {
    let block = block(4);
    let mut compact = CompactBlock::new(&block, |_| false);
    compact.short[2] = compact.short[0];
    assert_eq!(rebuild(compact, &block.body.transactions), Err(vec![0, 2]));
}

#[test]
fn short_ids_that_somebody_made_up_make_another_body() {
    let block = block(4);
    let honest = CompactBlock::new(&block, |place| place == 0);
    let mut swapped = honest.clone();
    swapped.short.swap(0, 1);
    assert_eq!(rebuild(swapped, &block.body.transactions), Ok(Err(BodyError::Root)));
    let mut fewer = honest.clone();
    fewer.short.pop();
    assert_eq!(rebuild(fewer, &block.body.transactions), Ok(Err(BodyError::Root)));
    let mut filled = honest.clone();
    filled.prefilled[0].transaction = transaction(9);
    assert_eq!(rebuild(filled, &block.body.transactions), Ok(Err(BodyError::Root)));
    let mut noise = honest;
    noise.short = (0..3).map(|byte| CompactId([byte; 6])).collect();
    assert_eq!(rebuild(noise, &block.body.transactions), Err(vec![1, 2, 3]));
}

#[test]
fn what_cannot_be_a_block_is_refused_at_once() {
    let block = block(4);
    let honest = CompactBlock::new(&block, |place| place == 2);
    assert_eq!(honest.check(), Ok(()));
    let spoilt = |spoil: fn(&mut CompactBlock)| {
        let mut compact = honest.clone();
        spoil(&mut compact);
        assert_eq!(Rebuild::new(compact.clone()).err(), compact.check().err());
        compact.check()
    };
    assert_eq!(spoilt(|it| it.prefilled[0].skip = 3), Ok(()));
    assert_eq!(spoilt(|it| it.prefilled[0].skip = 4), Err(CompactError::Skip));
    assert_eq!(spoilt(|it| it.short.clear()), Err(CompactError::Skip));
    assert_eq!(spoilt(|it| it.system.clear()), Err(CompactError::Body(BodyError::Root)));
    assert_eq!(
        spoilt(|it| it.short.resize(MAX_BLOCK_TRANSACTIONS, CompactId([0; 6]))),
        Err(CompactError::TooMany)
    );
    let long = |it: &mut CompactBlock| {
        it.prefilled[0].transaction.content.memo = vec![0; MAX_PREFILLED_BYTES - Transaction::EMPTY_LEN];
    };
    assert_eq!(spoilt(long), Ok(()));
    let too_long = |it: &mut CompactBlock| {
        it.prefilled[0].transaction.content.memo = vec![0; MAX_PREFILLED_BYTES - Transaction::EMPTY_LEN + 1];
    };
    assert_eq!(spoilt(too_long), Err(CompactError::Prefilled));
    let mut whole = CompactBlock::whole(&block);
    too_long(&mut whole);
    assert_eq!(whole.check(), Err(CompactError::Body(BodyError::Root)), "nothing of a whole one is unproven");
    let too_much = |it: &mut CompactBlock| it.system = vec![ballot(); MAX_SYSTEM_BYTES / 100];
    assert_eq!(spoilt(too_much), Err(CompactError::Body(BodyError::TooLarge)));
}

#[test]
fn false_counts_are_refused_unread() {
    let compact = encode(&CompactBlock::new(&block(0), |_| false));
    for at in [Header::LEN, Header::LEN + 4] {
        let mut bytes = compact.clone();
        bytes[at..at + 4].copy_from_slice(&(MAX_BLOCK_TRANSACTIONS as u32 + 1).to_le_bytes());
        let refused = decode::<CompactBlock>(&bytes, CompactBlock::MAX_LEN).unwrap_err().to_string();
        assert!(refused.contains("at most 4096"), "{refused}");
    }
    assert!(decode::<CompactBlock>(&vec![0; CompactBlock::MAX_LEN + 1], CompactBlock::MAX_LEN).is_err());
}
