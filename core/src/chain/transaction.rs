//! A transfer of money, signed by the account that pays.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{MAX_MEMO_BYTES, version::Version};
use crate::primitives::{
    Address, Amount, Domain, Hash, PublicKey, SecretKey, Signature, SignatureBatch, Slot, encode,
};

/// What a sender signs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct UnsignedTransaction {
    version: Version<1>,
    /// The key whose account pays amount and fee.
    pub from: PublicKey,
    /// The account that receives the amount.
    pub to: Address,
    /// What `to` receives.
    pub amount: Amount,
    /// What the block's proposer receives: at least the chain's minimum per encoded byte.
    pub fee: Amount,
    /// The number of transactions this account has sent before.
    pub nonce: u64,
    /// The last slot whose block may contain this transaction.
    pub valid_until: Slot,
    /// Up to [`MAX_MEMO_BYTES`] bytes for the receiver; usually UTF-8.
    pub memo: Vec<u8>,
}

/// A signed transfer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Transaction {
    /// What was signed.
    pub content: UnsignedTransaction,
    /// The sender's signature over the content.
    pub signature: Signature,
}

/// Why a transaction can never be valid on this chain, whatever the accounts hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize, thiserror::Error)]
pub enum TransactionError {
    /// The memo is too long.
    #[error("the memo has {0} bytes, of which at most {MAX_MEMO_BYTES} are allowed")]
    MemoTooLong(usize),
    /// The fee is below the minimum for the transaction's size.
    #[error("the fee is {fee}, and a transaction of this size pays at least {minimum}")]
    FeeTooLow {
        /// The fee offered.
        fee: Amount,
        /// The least this chain takes for these bytes.
        minimum: Amount,
    },
    /// Amount and fee together exceed the largest amount there is.
    #[error("amount and fee together are more than any account can hold")]
    Overflow,
}

impl UnsignedTransaction {
    /// A transfer without memo; set the fields that differ.
    #[must_use]
    pub fn transfer(
        from: PublicKey,
        to: Address,
        amount: Amount,
        fee: Amount,
        nonce: u64,
        valid_until: Slot,
    ) -> Self {
        Self { version: Version, from, to, amount, fee, nonce, valid_until, memo: Vec::new() }
    }

    /// The bytes that the signed transaction will have.
    #[must_use]
    pub fn signed_len(&self) -> usize {
        Transaction::EMPTY_LEN + self.memo.len()
    }

    /// Signs for the chain with this genesis hash. The key must be that of `from`, or the result is invalid.
    #[must_use]
    pub fn sign(self, key: &SecretKey, genesis: &Hash) -> Transaction {
        let signature = key.sign(Domain::Transaction, genesis, &encode(&self));
        Transaction { content: self, signature }
    }
}

impl Transaction {
    /// The encoded length of a transaction without memo.
    pub const EMPTY_LEN: usize = 1 + 32 + 32 + 4 * 8 + 4 + 64;
    /// The most bytes an encoded transaction has.
    pub const MAX_LEN: usize = Self::EMPTY_LEN + MAX_MEMO_BYTES;

    /// The transaction's identity: the hash of its encoding, signature included.
    #[must_use]
    pub fn id(&self) -> Hash {
        Hash::of(&encode(self))
    }

    /// The encoded length in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.content.signed_len()
    }

    /// The account that pays.
    #[must_use]
    pub fn sender(&self) -> Address {
        Address::of(&self.content.from)
    }

    /// Amount and fee together, or `None` when they exceed the largest amount.
    #[must_use]
    pub fn cost(&self) -> Option<Amount> {
        self.content.amount.checked_add(self.content.fee.0)
    }

    /// Checks all that needs neither accounts nor cryptography.
    ///
    /// # Errors
    /// When no state of the chain could make this transaction valid.
    pub fn check(&self, min_fee_per_byte: u64) -> Result<(), TransactionError> {
        if self.content.memo.len() > MAX_MEMO_BYTES {
            return Err(TransactionError::MemoTooLong(self.content.memo.len()));
        }
        let minimum = Amount(min_fee_per_byte.saturating_mul(self.encoded_len() as u64));
        if self.content.fee < minimum {
            return Err(TransactionError::FeeTooLow { fee: self.content.fee, minimum });
        }
        self.cost().map(|_| ()).ok_or(TransactionError::Overflow)
    }

    /// Adds the claim that the signature is right to a batch.
    pub fn add_to_batch(&self, genesis: &Hash, batch: &mut SignatureBatch) {
        batch.add_value(&self.content.from, Domain::Transaction, genesis, &self.content, &self.signature);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::primitives::{DecodeError, decode};

    const CHAIN: Hash = Hash([3; 32]);

    fn sample() -> Transaction {
        let key = SecretKey::from_seed([1; 32]);
        let mut content =
            UnsignedTransaction::transfer(key.public(), Address([2; 32]), Amount(5), Amount(400), 7, Slot(9));
        content.memo = b"hello".to_vec();
        content.sign(&key, &CHAIN)
    }

    #[test]
    fn golden_bytes() {
        let encoded = encode(&sample());
        assert_eq!(encoded.len(), sample().encoded_len());
        assert_eq!(
            hex::encode(&encoded[..encoded.len() - 64]),
            "018a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c\
             0202020202020202020202020202020202020202020202020202020202020202\
             05000000000000009001000000000000070000000000000009000000000000000500000068656c6c6f"
        );
        assert_eq!(sample().id().to_string(), Hash::of(&encoded).to_string());
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let mut encoded = encode(&sample());
        encoded[0] = 9;
        let error = decode::<Transaction>(&encoded, Transaction::MAX_LEN).unwrap_err();
        assert_eq!(error, DecodeError::Malformed("version 9 is not supported, only version 1 is".into()));
    }

    #[test]
    fn static_checks_name_what_is_wrong() {
        let good = sample();
        let len = good.encoded_len() as u64;
        assert_eq!(good.check(1), Ok(()));
        let mut memo = good.clone();
        memo.content.memo = vec![0; 257];
        assert_eq!(memo.check(1), Err(TransactionError::MemoTooLong(257)));
        let mut cheap = good.clone();
        cheap.content.fee = Amount(len - 1);
        assert_eq!(
            cheap.check(1),
            Err(TransactionError::FeeTooLow { fee: Amount(len - 1), minimum: Amount(len) })
        );
        let mut huge = good;
        huge.content.amount = Amount(u64::MAX);
        assert_eq!(huge.check(1), Err(TransactionError::Overflow));
    }
}
