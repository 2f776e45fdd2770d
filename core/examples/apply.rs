//! How fast blocks are taken in, against the signature checks alone.
//!
//! Blocks of 200 transfers from distinct accounts, on 100,000 accounts, one thread. *Applied* is all that a peer computes
//! for a block that arrives: decode the body, check its roots, verify its signatures as one batch, execute it, update the
//! trie, hash the diff. *Bare* is ed25519-zebra's batch verification of as many signatures over messages of the same
//! length. Both take turns block by block; the result is their ratio, once a round.

mod platform;

use std::sync::Arc;

use chacha20::ChaCha8Rng;
use ed25519_zebra::{SigningKey, VerificationKeyBytes, batch};
use rand_core::{Rng, SeedableRng};
use weft_core::{
    chain::{Body, Header, Transaction, UnsignedHeader, UnsignedTransaction},
    node::{Job, JobResult},
    primitives::{Address, Amount, Hash, Height, PublicKey, SecretKey, Signature, Slot, decode, encode},
    state::{Account, BlockContext, Trie},
};

const ACCOUNTS: u32 = 100_000;
const SENDERS: u32 = 8_000;
const BLOCK: usize = 200;
const ROUNDS: u64 = 11;
const CHAIN: Hash = Hash([7; 32]);

fn seed(index: u32) -> [u8; 32] {
    Hash::of(&index.to_le_bytes()).0
}

/// The block's header, so far as the body is checked against it, and the body's bytes.
fn block(senders: &[SecretKey], nonce: u64, rng: &mut ChaCha8Rng) -> (Header, Vec<u8>) {
    let transfer = |sender: &SecretKey| {
        let to = Address(Hash::of(&(rng.next_u32() % ACCOUNTS).to_le_bytes()).0);
        let (amount, fee) = (Amount(1), Amount(Transaction::EMPTY_LEN as u64));
        UnsignedTransaction::transfer(sender.public(), to, amount, fee, nonce, Slot(1)).sign(sender, &CHAIN)
    };
    let body = Body { transactions: senders.iter().map(transfer).collect(), system: Vec::new() };
    let roots = [body.tx_root(), body.system_root(), Hash::ZERO, Hash::ZERO, Hash::ZERO, Hash::ZERO];
    let content = UnsignedHeader::new(Height(1), Slot(1), Hash::ZERO, roots, 0, PublicKey([0; 32]));
    (Header { content, signature: Signature([0; 64]) }, encode(&body))
}

/// What applying one block took, and the state after it.
fn apply(trie: Trie, context: BlockContext, header: &Header, bytes: &[u8]) -> (Trie, f64) {
    let start = platform::millis();
    let body: Body = decode(bytes, Body::MAX_LEN).expect("a body made here");
    body.check(header).expect("the body of this header");
    let transactions = Arc::new(body.transactions);
    let verify = Job::VerifyTransactions { genesis: CHAIN, transactions: transactions.clone() };
    let JobResult::Verified(valid) = verify.run() else { unreachable!("a verification verifies") };
    assert!(valid.iter().all(|&valid| valid));
    let JobResult::Executed(Ok(executed)) = (Job::Execute { trie, context, transactions }).run() else {
        unreachable!("these transfers are valid")
    };
    std::hint::black_box(executed.diff.root());
    (executed.trie, platform::millis() - start)
}

/// What verifying these signatures alone took.
fn bare(claims: &[(VerificationKeyBytes, ed25519_zebra::Signature, Vec<u8>)], rng: &mut ChaCha8Rng) -> f64 {
    let start = platform::millis();
    let mut verifier = batch::Verifier::new();
    for (key, signature, message) in claims {
        verifier.queue((*key, *signature, message));
    }
    verifier.verify(rng).expect("signatures made here");
    platform::millis() - start
}

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let senders: Vec<_> = (0..SENDERS).map(|index| SecretKey::from_seed(seed(index))).collect();
    let rich = Account { nonce: 0, balance: Amount(1 << 40) };
    let sending = senders.iter().map(|sender| Address::of(&sender.public()));
    let receiving = (0..ACCOUNTS - SENDERS).map(|index| Address(seed(index)));
    let accounts = sending.chain(receiving).map(|address| (address.trie_key(), rich)).collect();
    let start = platform::millis();
    let mut trie = Trie::default().update(&accounts).expect("a whole trie");
    let took = platform::millis() - start;
    platform::say(&format!("a trie of {ACCOUNTS} accounts is built in {took:.0} ms"));

    let message = encode(&decode::<Body>(&block(&senders[..1], 0, &mut rng).1, 1000).expect("made here"));
    let message_len = 48 + message.len() - 8 - 64;
    let claims: Vec<_> = senders[..BLOCK]
        .iter()
        .map(|sender| {
            let key = SigningKey::from_bytes(&sender.seed());
            let mut message = vec![0; message_len];
            rng.fill_bytes(&mut message);
            (VerificationKeyBytes::from(&key), key.sign(&message), message)
        })
        .collect();

    let context = BlockContext { slot: Slot(1), fee_address: Address([1; 32]), min_fee_per_byte: 1 };
    let rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|nonce| {
            let blocks: Vec<_> =
                senders.chunks(BLOCK).map(|senders| block(senders, nonce, &mut rng)).collect();
            let (mut applied, mut alone) = (0.0, 0.0);
            for (header, bytes) in &blocks {
                alone += bare(&claims, &mut rng);
                let took;
                (trie, took) = apply(trie.clone(), context, header, bytes);
                applied += took;
            }
            (applied, alone)
        })
        .collect();
    platform::say(&format!(
        "{SENDERS} transfers a round, in blocks of {BLOCK}, {ROUNDS} rounds; a time of 100 ms is {} transfers a second",
        SENDERS * 10
    ));
    platform::report("applied", "bare signatures", rounds);
}
