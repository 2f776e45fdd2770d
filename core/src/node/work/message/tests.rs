//! A job run far away is the job run here.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::sync::Arc;

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;
use crate::{
    chain::{Header, UnsignedHeader, UnsignedTransaction},
    primitives::{Address, Amount, Height, SecretKey, Slot},
    state::Account,
};

const CHAIN: Hash = Hash([3; 32]);

struct Random {
    rng: ChaCha8Rng,
    keys: Vec<SecretKey>,
}

impl Random {
    fn new(seed: u64) -> Self {
        let keys = (0..20).map(|seed| SecretKey::from_seed([seed; 32])).collect();
        Self { rng: ChaCha8Rng::seed_from_u64(seed), keys }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end
    }

    fn key(&mut self) -> SecretKey {
        let index = self.below(20) as usize;
        self.keys[index].clone()
    }

    fn address(&mut self) -> Address {
        Address::of(&self.key().public())
    }

    fn account(&mut self) -> Account {
        Account { nonce: self.below(2), balance: Amount(self.below(4) * 1500) }
    }

    fn trie(&mut self) -> Trie {
        let known: Vec<_> = (0..15).map(|_| (self.address().trie_key(), self.account())).collect();
        let others = (0..40_u8).map(|other| (Hash::of(&[other]), Account { nonce: 1, balance: Amount(1) }));
        Trie::default().update(&known.into_iter().chain(others).collect()).unwrap()
    }

    fn context(&mut self) -> BlockContext {
        BlockContext { slot: Slot(5), fee_address: self.address(), min_fee_per_byte: 1 }
    }

    fn transactions(&mut self) -> Arc<Vec<Transaction>> {
        let transaction = |this: &mut Self| {
            let key = this.key();
            let (to, amount, nonce) = (this.address(), Amount(this.below(4) * 500), this.below(2));
            let chain = if this.below(4) == 0 { Hash::ZERO } else { CHAIN };
            UnsignedTransaction::transfer(key.public(), to, amount, Amount(500), nonce, Slot(5))
                .sign(&key, &chain)
        };
        Arc::new((0..self.below(8)).map(|_| transaction(self)).collect())
    }

    fn headers(&mut self) -> Arc<Vec<Header>> {
        let header = |this: &mut Self| {
            let (proposer, signer) = (this.keys[0].public(), this.below(2) as usize);
            UnsignedHeader::new(Height(1), Slot(this.below(9)), CHAIN, [CHAIN; 6], 0, proposer)
                .sign(&this.keys[signer], &CHAIN)
        };
        Arc::new((0..self.below(8)).map(|_| header(self)).collect())
    }

    fn changes(&mut self) -> Vec<(Hash, Account)> {
        (0..self.below(30)).map(|_| (self.address().trie_key(), self.account())).collect()
    }

    fn job(&mut self) -> Job {
        match self.below(7) {
            0 => Job::VerifyHeaders { genesis: CHAIN, headers: self.headers() },
            1 => Job::VerifyTransactions { genesis: CHAIN, transactions: self.transactions() },
            2 => {
                Job::Execute { trie: self.trie(), context: self.context(), transactions: self.transactions() }
            }
            3 => Job::Build { trie: self.trie(), context: self.context(), candidates: self.transactions() },
            4 => Job::Update { trie: self.trie(), changes: self.changes() },
            5 => {
                let (trie, from, to) = (self.trie(), self.address().trie_key(), self.address().trie_key());
                let proof = Box::new(trie.prove_range(&from, &to, 9).unwrap());
                Job::VerifyRange { root: trie.root(), from, to, proof }
            }
            _ => Job::Update { trie: Trie::default(), changes: self.changes() },
        }
    }
}

#[test]
fn a_job_run_through_bytes_gives_the_same_result() {
    let mut kinds = BTreeSet::new();
    for seed in 0..600 {
        let job = Random::new(seed).job();
        let here = job.run();
        let answer = Job::from_bytes(&job.to_bytes()).unwrap().run().to_bytes();
        let there = JobResult::from_bytes(&answer, &job);
        // The encoding tells stubs from what they stand for, so equal bytes mean that nothing is missing.
        assert_eq!(here.to_bytes(), there.to_bytes(), "seed {seed}");
        kinds.insert(match here {
            JobResult::Verified(_) => "verified",
            JobResult::Range(Ok(_)) => "range",
            JobResult::Range(Err(_)) => "no range",
            JobResult::Executed(Ok(_)) => "executed",
            JobResult::Executed(Err(_)) => "invalid",
            JobResult::Built(..) => "built",
            JobResult::Updated(_) => "updated",
            JobResult::Failed => "failed",
        });
    }
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["built", "executed", "invalid", "no range", "range", "updated", "verified"]
    );
}

#[test]
fn a_message_holds_only_what_the_job_touches() {
    let accounts = (0..5000_u32)
        .map(|index| (Hash::of(&index.to_le_bytes()), Account { nonce: 1, balance: Amount(1) }))
        .collect();
    let trie = Trie::default().update(&accounts).unwrap();
    let changes = vec![(Hash::of(b"new"), Account { nonce: 1, balance: Amount(1) })];
    assert!(Job::Update { trie, changes }.to_bytes().len() < 1500);
}

#[test]
fn a_result_that_is_none_of_this_job_is_a_failure() {
    let job = Job::VerifyHeaders { genesis: CHAIN, headers: Arc::new(Vec::new()) };
    let failed = |bytes: &[u8]| matches!(JobResult::from_bytes(bytes, &job), JobResult::Failed);
    assert!(!failed(&JobResult::Verified(Vec::new()).to_bytes()));
    assert!(failed(&JobResult::Verified(vec![true]).to_bytes()));
    assert!(failed(&JobResult::Updated(Trie::default()).to_bytes()));
    assert!(failed(&JobResult::Failed.to_bytes()));
    assert!(failed(&[]));
    assert!(failed(&[99]));
    assert!(Job::from_bytes(&[99]).is_err());
}

#[test]
fn the_modelled_cost_grows_with_the_job() {
    let update =
        |count| Job::Update { trie: Trie::default(), changes: vec![(CHAIN, Account::default()); count] };
    assert_eq!(update(0).cost_micros(), 0);
    assert_eq!(update(500).cost_micros(), 1000);
}
