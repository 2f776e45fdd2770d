//! The mempool under whatever order of operations the bytes say, held against a list of what it says it took and dropped.
//!
//! An operation is eight bytes: what is done, whose account, how far the nonce is ahead, the fee (two bytes), the length of
//! the memo, how long it is valid, and who vouches for it. Signatures are not the pool's business.

use std::collections::BTreeMap;

use weft_core::{
    chain::{Transaction, UnsignedTransaction},
    mempool::{AdmissionError, Limits, Mempool, Source},
    primitives::{Address, Amount, Hash, PublicKey, Signature, Slot},
    state::Account,
};

use super::gossip::peer;

/// A small pool, so that it is soon full.
const MAX_BYTES: usize = 6_000;
const ACCOUNTS: u8 = 8;
/// More says nothing new.
const MAX_OPERATIONS: usize = 2_000;
const OPERATION: usize = 8;

struct Trial {
    limits: Limits,
    pool: Mempool,
    accounts: BTreeMap<u8, Account>,
    slot: Slot,
    /// What the pool holds by its own word, and the bytes of each.
    held: BTreeMap<Hash, usize>,
}

impl Trial {
    fn new() -> Self {
        let limits = Limits { max_queued_of_peer: 6, ..Limits::new(MAX_BYTES, 1) };
        let account = Account { nonce: 0, balance: Amount(50_000) };
        let accounts = (0..ACCOUNTS).map(|who| (who, account)).collect();
        Self { limits, pool: Mempool::new(limits), accounts, slot: Slot(1), held: BTreeMap::new() }
    }

    /// Whether a transaction was taken.
    fn step(&mut self, operation: [u8; OPERATION]) -> bool {
        let [kind, who, ahead, high, low, memo, valid, source] = operation;
        let who = who % ACCOUNTS;
        let taken = match kind % 8 {
            0 => {
                self.head(who, ahead, u16::from_le_bytes([high, low]));
                false
            }
            1 => {
                self.slot = Slot(self.slot.0 + u64::from(valid) * 8);
                self.head(who, 0, u16::MAX);
                false
            }
            _ => {
                let fee = u64::from(u16::from_le_bytes([high, low]));
                self.offer(who, ahead, fee, memo, valid, source)
            }
        };
        self.check();
        taken
    }

    fn offer(&mut self, who: u8, ahead: u8, fee: u64, memo: u8, valid: u8, source: u8) -> bool {
        let account = self.accounts[&who];
        let nonce = (account.nonce + u64::from(ahead)).saturating_sub(2);
        let (from, to) = (PublicKey([who; 32]), Address([99; 32]));
        let valid_until = Slot((self.slot.0 + u64::from(valid)).saturating_sub(1));
        let mut content = UnsignedTransaction::transfer(from, to, Amount(1), Amount(fee), nonce, valid_until);
        content.memo = vec![0; memo.into()];
        let transaction = Transaction { content, signature: Signature([0; 64]) };
        let source = match source % 5 {
            0 => Source::Own,
            1 => Source::Undone,
            number => Source::Peer(peer(number)),
        };
        let checked = self.pool.check(&transaction, &account, self.slot, source);
        let outcome = self.pool.insert(&transaction, &account, self.slot, source);
        assert_eq!(
            checked,
            outcome.as_ref().map(|_| ()).map_err(|error| *error),
            "check and insert disagree"
        );
        match outcome {
            Ok(admitted) => {
                for gone in admitted.replaced.iter().chain(&admitted.evicted) {
                    assert!(self.held.remove(gone).is_some(), "it drops what it does not have");
                }
                self.held.insert(admitted.id, transaction.encoded_len());
                assert!(
                    admitted.promoted.iter().all(|id| self.pool.is_pending(id)),
                    "promoted, and not pending"
                );
                assert_eq!(admitted.pending, self.pool.is_pending(&admitted.id));
                true
            }
            Err(
                AdmissionError::Underpriced(fee)
                | AdmissionError::BelowMinimum(fee)
                | AdmissionError::Full(fee),
            ) => {
                assert!(fee > transaction.content.fee, "a fee that is offered already would do");
                false
            }
            Err(_) => false,
        }
    }

    fn head(&mut self, who: u8, executed: u8, balance: u16) {
        let account = self.accounts.get_mut(&who).expect("there is one for each");
        account.nonce = (account.nonce + u64::from(executed % 4)).saturating_sub(1);
        account.balance = Amount(u64::from(balance) * 2);
        let key = Address::of(&PublicKey([who; 32])).trie_key();
        for gone in self.pool.on_head([(key, *account)], self.slot).left {
            assert!(self.held.remove(&gone).is_some(), "it drops what it does not have");
        }
    }

    fn check(&self) {
        let pool = &self.pool;
        assert_eq!(pool.pending_count() + pool.queued_count(), self.held.len());
        assert_eq!(pool.bytes(), self.held.values().sum::<usize>());
        assert!(pool.bytes() <= self.limits.max_bytes, "over its bound");
        assert!(self.held.keys().all(|id| pool.contains(id)), "something is lost");
        assert!(pool.min_fee_rate(self.slot) >= 1000 * self.limits.min_fee_per_byte);
        let mut nonces = BTreeMap::new();
        let best = pool.best(usize::MAX, usize::MAX);
        assert_eq!(best.len(), pool.pending_count());
        for transaction in &best {
            let who = transaction.content.from.0[0];
            let next = nonces.entry(who).or_insert_with(|| self.accounts[&who].nonce);
            assert_eq!(transaction.content.nonce, *next, "a block in this order is not valid");
            *next += 1;
        }
        let shown: usize = pool.fee_histogram().iter().map(|bucket| bucket.count).sum();
        assert_eq!(shown, best.len());
    }
}

/// Runs the operations.
pub fn mempool(data: &[u8]) -> bool {
    let mut trial = Trial::new();
    let (operations, _) = data.as_chunks::<OPERATION>();
    operations.iter().take(MAX_OPERATIONS).filter(|operation| trial.step(**operation)).count() > 0
}

/// A crowd that fills the pool with rising fees, one that waits for gaps, and one that replaces.
pub fn mempool_seeds() -> Vec<Vec<u8>> {
    let crowd = (0..60_u8).flat_map(|step| [2, step, 2 + step / 8, 200 + step / 2, 1, step, 50, step]);
    let gaps = (0..60_u8).flat_map(|step| [2 + step % 4, step, 20 - step / 4, step, 4, 0, 9, 2 + step % 3]);
    let outbid = (0..40_u8).flat_map(|step| [3, 1, 2 + step % 2, 0, 1 + step, 0, 200, 3]);
    let moves = (0..40_u8).flat_map(|step| [step, step, 2 + step % 3, 255, 2 + step / 8, step, 40, step]);
    vec![crowd.collect(), gaps.collect(), outbid.collect(), moves.collect()]
}
