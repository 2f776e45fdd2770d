//! How fast transactions enter and leave the mempool while 100,000 wait in it, and how fast blocks are built from it.
//!
//! One thread. *Admission* is all that a peer computes for pushed transactions, 256 at a time and from distinct accounts: decode
//! them, look the senders up, ask the pool whether it would take them, verify their signatures as one batch, insert them.
//! *Bare* is ed25519-zebra's batch verification of as many signatures, 256 at a time. *Operations* are the pool's alone,
//! signatures known to be right: as many insertions with room to spare, replacements at a higher fee, and removals because a
//! block of 200 had them; then insertions that evict, since the pool is full. A *map* in which the same transactions are put
//! and removed by their hash is what any pool needs at least. *Building* chooses a block's transactions and executes them;
//! *executing* does that with the chosen ones. All take turns; the results are ratios.

mod platform;

use std::{
    collections::{BTreeMap, VecDeque},
    hint::black_box,
    sync::Arc,
};

use chacha20::ChaCha8Rng;
use ed25519_zebra::{SigningKey, VerificationKeyBytes, batch};
use libp2p::PeerId;
use platform::{millis, report, say};
use rand_core::{Rng, SeedableRng};
use weft_core::{
    chain::{MAX_BLOCK_TRANSACTIONS, Transaction, UnsignedTransaction},
    gossip::MAX_BATCH_COUNT,
    mempool::{Limits, Mempool, Source, Weighed},
    node::{Job, JobResult},
    primitives::{Address, Amount, Hash, PublicKey, SecretKey, Signature, Slot, decode, encode},
    state::{Account, BlockContext, Trie},
};

const ACCOUNTS: u32 = 100_000;
/// Accounts of which transactions wait all the time, and how many each has.
const RESIDENT_ACCOUNTS: u32 = 25_000;
const RESIDENT_EACH: u64 = 4;
/// Accounts whose transactions come and go.
const GUESTS: u32 = 4_096;
const BLOCK: usize = 200;
const ROUNDS: u64 = 11;
const CHAIN: Hash = Hash([7; 32]);
const SLOT: Slot = Slot(1);
const RICH: Account = Account { nonce: 0, balance: Amount(1 << 50) };
/// Room for all that waits and comes, little more than half full.
const ROOM: Limits = Limits::new(64 << 20, 1);

/// A transfer that pays for each byte about what `rate` says.
fn transfer(from: PublicKey, nonce: u64, rate: u64) -> UnsignedTransaction {
    let fee = Amount(rate * Transaction::EMPTY_LEN as u64 + nonce);
    UnsignedTransaction::transfer(from, Address([2; 32]), Amount(1), fee, nonce, Slot(100))
}

/// One whose signature nobody looks at.
fn unsigned(from: PublicKey, nonce: u64, rate: u64) -> Transaction {
    Transaction { content: transfer(from, nonce, rate), signature: Signature([0; 64]) }
}

/// The key of a resident account; nobody signs with it.
fn resident(index: u32) -> PublicKey {
    PublicKey(Hash::of(&index.to_le_bytes()).0)
}

fn fill(pool: &mut Mempool, rng: &mut ChaCha8Rng) {
    for index in 0..RESIDENT_ACCOUNTS {
        for nonce in 0..RESIDENT_EACH {
            let transaction = unsigned(resident(index), nonce, 1000 + u64::from(rng.next_u32() % 1000));
            pool.insert(&transaction, &RICH, SLOT, Source::Own).expect("there is room");
        }
    }
}

/// What taking in these pushed transactions took: as the node does it, once the relay has let them in.
fn admit(pool: &mut Mempool, trie: &Trie, bytes: &[u8], source: Source) -> f64 {
    let start = millis();
    let transactions: Vec<Transaction> = decode(bytes, bytes.len()).expect("made here");
    let weighed: Vec<_> = transactions.into_iter().map(Weighed::new).collect();
    let keys: Vec<_> = weighed.iter().map(Weighed::key).collect();
    let accounts = trie.get_all(&keys).expect("a whole trie");
    for (weighed, account) in weighed.iter().zip(&accounts) {
        pool.would_take(weighed, account, SLOT, source).expect("there is room");
    }
    let transactions = weighed.iter().map(|weighed| weighed.transaction().clone()).collect();
    let job = Job::VerifyTransactions { genesis: CHAIN, transactions: Arc::new(transactions) };
    let JobResult::Verified(valid) = job.run() else { unreachable!("a verification verifies") };
    assert!(valid.into_iter().all(|valid| valid));
    // The head has not moved, so these are the accounts still.
    for (weighed, account) in weighed.into_iter().zip(accounts) {
        pool.take(weighed, &account, SLOT, source).expect("there is room");
    }
    millis() - start
}

type Claims = Vec<(VerificationKeyBytes, ed25519_zebra::Signature, Vec<u8>)>;

/// What verifying these alone took.
fn bare(claims: &Claims, rng: &mut ChaCha8Rng) -> f64 {
    let start = millis();
    let mut verifier = batch::Verifier::new();
    for (key, signature, message) in claims {
        verifier.queue((*key, *signature, message));
    }
    verifier.verify(rng).expect("signatures made here");
    millis() - start
}

/// As many signatures over messages of the same length as the transactions have.
fn claims(senders: &[SecretKey]) -> Vec<Claims> {
    let length = 48 + encode(&transfer(senders[0].public(), 0, 1)).len();
    let claim = |sender: &SecretKey| {
        let (key, message) = (SigningKey::from_bytes(&sender.seed()), vec![0; length]);
        (VerificationKeyBytes::from(&key), key.sign(&message), message)
    };
    senders.chunks(MAX_BATCH_COUNT).map(|senders| senders.iter().map(claim).collect()).collect()
}

/// The pool drops what these accounts have waiting there, 200 accounts a block.
fn include(pool: &mut Mempool, transactions: &[Transaction]) {
    for block in transactions.chunks(BLOCK) {
        let after = |transaction: &Transaction| {
            (transaction.sender().trie_key(), Account { nonce: transaction.content.nonce + 1, ..RICH })
        };
        pool.on_head(block.iter().map(after).collect::<Vec<_>>(), SLOT);
    }
}

/// What a map needs for putting and removing these.
fn map(map: &mut BTreeMap<Hash, Transaction>, transactions: &[Transaction]) -> f64 {
    let start = millis();
    for transaction in transactions {
        map.insert(transaction.id(), transaction.clone());
    }
    for transaction in transactions {
        black_box(map.remove(&transaction.id()));
    }
    millis() - start
}

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let source = Source::Peer(
        PeerId::from_bytes(&[[0, 36, 8, 1, 18, 32].as_slice(), &[1; 32]].concat()).expect("a key"),
    );
    let guests: Vec<_> =
        (0..GUESTS).map(|index| SecretKey::from_seed(Hash::of(&index.to_be_bytes()).0)).collect();
    let strangers = ACCOUNTS - GUESTS - RESIDENT_ACCOUNTS;
    let keys = guests.iter().map(SecretKey::public).chain((0..RESIDENT_ACCOUNTS + strangers).map(resident));
    let accounts = keys.map(|key| (Address::of(&key).trie_key(), RICH)).collect();
    let trie = Trie::default().update(&accounts).expect("a whole trie");
    let mut pool = Mempool::new(ROOM);
    fill(&mut pool, &mut rng);
    let waiting = pool.pending_count();
    say(&format!("{waiting} transactions of {RESIDENT_ACCOUNTS} accounts wait; {ROUNDS} rounds"));

    let signed: Vec<_> =
        guests.iter().map(|guest| transfer(guest.public(), 0, 1500).sign(guest, &CHAIN)).collect();
    let pushes: Vec<_> = signed.chunks(MAX_BATCH_COUNT).map(|part| encode(&part.to_vec())).collect();
    let batches = claims(&guests);
    let admission = (0..ROUNDS).map(|_| {
        let turns = pushes.iter().zip(&batches);
        let times =
            turns.map(|(push, claims)| (admit(&mut pool, &trie, push, source), bare(claims, &mut rng)));
        let times: Vec<_> = times.collect();
        include(&mut pool, &signed);
        assert_eq!(pool.pending_count(), waiting);
        times.into_iter().fold((0.0, 0.0), |sum, turn| (sum.0 + turn.0, sum.1 + turn.1))
    });
    let admission: Vec<_> = admission.collect();
    say(&format!("{GUESTS} more enter in batches of {MAX_BATCH_COUNT}"));
    report("admission", "bare signatures", admission);

    let better: Vec<_> = guests.iter().map(|guest| unsigned(guest.public(), 0, 1800)).collect();
    let entries = |transaction: &Transaction| (transaction.id(), transaction.clone());
    let mut by_hash: BTreeMap<_, _> = pool.iter_best().map(|(_, waiting)| entries(waiting)).collect();
    let operations = (0..ROUNDS).map(|_| {
        let start = millis();
        for transaction in signed.iter().chain(&better) {
            pool.insert(transaction, &RICH, SLOT, source).expect("there is room");
        }
        include(&mut pool, &better);
        let took = millis() - start;
        assert_eq!(pool.pending_count(), waiting);
        (took, map(&mut by_hash, &signed) + map(&mut by_hash, &better))
    });
    let operations: Vec<_> = operations.collect();
    say(&format!("{GUESTS} inserted, replaced and removed: {} operations", 3 * GUESTS));
    report("operations", "map", operations);

    let mut full = Mempool::new(Limits::new(pool.bytes(), 1));
    fill(&mut full, &mut rng);
    let evicting = (0..ROUNDS).map(|round| {
        let newcomer = |guest: &SecretKey| unsigned(guest.public(), round, 3000);
        let newcomers: Vec<_> = guests.iter().map(newcomer).collect();
        let start = millis();
        for transaction in &newcomers {
            let admitted =
                full.insert(transaction, &RICH, SLOT, source).expect("it pays more than the worst");
            assert!(!admitted.evicted.is_empty());
        }
        (millis() - start, map(&mut by_hash, &newcomers))
    });
    let evicting: Vec<_> = evicting.collect();
    say(&format!("{GUESTS} inserted into a full pool, so that as many leave"));
    report("evicting", "map", evicting);

    let context = BlockContext { slot: SLOT, fee_address: Address([1; 32]), min_fee_per_byte: 1 };
    for count in [BLOCK, MAX_BLOCK_TRANSACTIONS] {
        let mut spent = VecDeque::new();
        let building = (0..ROUNDS).map(|_| {
            let start = millis();
            let candidates = Arc::new(pool.best(count, usize::MAX));
            let chosen = millis() - start;
            let job = Job::Build { trie: trie.clone(), context, candidates };
            let JobResult::Built(transactions, _) = job.run() else { unreachable!("a whole trie") };
            let built = millis() - start;
            spent.push_back(chosen);
            assert_eq!(transactions.len(), count);
            let job = Job::Execute { trie: trie.clone(), context, transactions: Arc::new(transactions) };
            let start = millis();
            black_box(job.run());
            (built, millis() - start)
        });
        let building: Vec<_> = building.collect();
        let chosen = spent.iter().copied().fold(f64::MAX, f64::min);
        say(&format!(
            "a block of {count} from {waiting} waiting; choosing alone takes {chosen:.3} ms at best"
        ));
        report("building", "executing", building);
    }
}
