//! What the chain knows of one account.

use borsh::{BorshDeserialize, BorshSerialize};

use crate::primitives::Amount;

/// An account's state. One with both fields zero does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Account {
    /// The number of transactions it has sent.
    pub nonce: u64,
    /// The money it holds.
    pub balance: Amount,
}

impl Account {
    /// Whether this is the same as no account.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        *self == Self::default()
    }
}
