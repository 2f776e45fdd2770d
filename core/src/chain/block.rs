//! A block: its header, and the body the header commits to.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Header, MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, MAX_SYSTEM_BYTES, SystemItem, Transaction};
use crate::primitives::{Hash, encode, merkle_root};

/// What a block does.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Body {
    /// Transfers, in the order they are executed.
    pub transactions: Vec<Transaction>,
    /// What the protocol itself adds.
    pub system: Vec<SystemItem>,
}

/// A header with its body.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// Who proposed it, on what, and what it commits to.
    pub header: Header,
    /// What it does.
    pub body: Body,
}

/// Why a body is not the one its header names, or breaks a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not the transactions or system items of this header.
    #[error("the body is not the one its header commits to")]
    Root,
    /// More than a block may hold.
    #[error("the body holds more than a block may")]
    TooLarge,
}

impl Body {
    /// The most bytes an encoded body has.
    pub const MAX_LEN: usize = MAX_BLOCK_BYTES - Header::LEN;

    /// The Merkle root of the transactions.
    #[must_use]
    pub fn tx_root(&self) -> Hash {
        merkle_root(self.transactions.iter().map(encode))
    }

    /// The Merkle root of the system items.
    #[must_use]
    pub fn system_root(&self) -> Hash {
        merkle_root(self.system.iter().map(encode))
    }

    /// Checks that this is the body `header` commits to and within the limits.
    ///
    /// # Errors
    /// [`BodyError::Root`] blames whoever sent the body; [`BodyError::TooLarge`] is the proposer's doing.
    pub fn check(&self, header: &Header) -> Result<(), BodyError> {
        if self.tx_root() != header.content.tx_root || self.system_root() != header.content.system_root {
            return Err(BodyError::Root);
        }
        let system: usize = self.system.iter().map(|item| encode(item).len()).sum();
        let transactions: usize = self.transactions.iter().map(Transaction::encoded_len).sum();
        if self.transactions.len() > MAX_BLOCK_TRANSACTIONS
            || system > MAX_SYSTEM_BYTES
            || 8 + transactions + system > Self::MAX_LEN
        {
            return Err(BodyError::TooLarge);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::{MAX_MEMO_BYTES, UnsignedHeader, UnsignedTransaction},
        primitives::{Address, Amount, DecodeError, Height, PublicKey, Signature, Slot, decode},
    };

    fn transaction(memo: usize) -> Transaction {
        let from = PublicKey([1; 32]);
        let mut content =
            UnsignedTransaction::transfer(from, Address([2; 32]), Amount(1), Amount(1), 0, Slot(1));
        content.memo = vec![0; memo];
        Transaction { content, signature: Signature([0; 64]) }
    }

    fn body(count: usize, memo: usize) -> Body {
        Body { transactions: vec![transaction(memo); count], system: Vec::new() }
    }

    fn header(body: &Body) -> Header {
        let roots = [body.tx_root(), body.system_root(), Hash::ZERO, Hash::ZERO, Hash::ZERO, Hash::ZERO];
        let content = UnsignedHeader::new(Height(1), Slot(1), Hash::ZERO, roots, 0, PublicKey([1; 32]));
        Header { content, signature: Signature([0; 64]) }
    }

    #[test]
    fn a_body_that_the_header_does_not_commit_to_is_refused() {
        let good = body(2, 0);
        assert_eq!(good.check(&header(&good)), Ok(()));
        assert_eq!(body(1, 0).check(&header(&good)), Err(BodyError::Root));
        assert_eq!(body(2, 1).check(&header(&good)), Err(BodyError::Root));
        let mut other_system = header(&good);
        other_system.content.system_root = Hash::ZERO;
        assert_eq!(good.check(&other_system), Err(BodyError::Root));
    }

    #[test]
    fn a_body_is_bounded_in_transactions_and_bytes() {
        let check = |body: Body| body.check(&header(&body));
        assert_eq!(check(body(MAX_BLOCK_TRANSACTIONS, 0)), Ok(()));
        assert_eq!(check(body(MAX_BLOCK_TRANSACTIONS + 1, 0)), Err(BodyError::TooLarge));

        let most = (Body::MAX_LEN - 8) / Transaction::MAX_LEN;
        let mut full = body(most, MAX_MEMO_BYTES);
        let room = Body::MAX_LEN - encode(&full).len();
        full.transactions.push(transaction(room - Transaction::EMPTY_LEN));
        assert_eq!(encode(&full).len(), Body::MAX_LEN);
        assert_eq!(check(full.clone()), Ok(()));
        full.transactions.pop();
        full.transactions.push(transaction(room - Transaction::EMPTY_LEN + 1));
        assert_eq!(check(full), Err(BodyError::TooLarge));
    }

    #[test]
    fn a_full_block_has_the_most_bytes() {
        let body = body(3, 0);
        let block = Block { header: header(&body), body };
        assert_eq!(encode(&block).len() - encode(&block.body).len(), MAX_BLOCK_BYTES - Body::MAX_LEN);
    }

    #[test]
    fn system_items_of_an_unknown_kind_are_refused() {
        let error = decode::<Body>(&[0, 0, 0, 0, 1, 0, 0, 0, 7], 100).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)));
    }
}
