//! What a block changes, sorted, so that a peer can follow without executing, and go back without asking.

use borsh::{BorshDeserialize, BorshSerialize};

use super::Account;
use crate::primitives::{Hash, encode, merkle_root};

/// One account before and after a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AccountChange {
    /// The account's key in the trie.
    pub key: Hash,
    /// Its state after the parent block.
    pub before: Account,
    /// Its state after this block; differs from `before`.
    pub after: Account,
}

/// All accounts a block changes, sorted by key, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Diff(pub Vec<AccountChange>);

impl Diff {
    /// The header's diff root: over each key with its new state. The old states are not committed to, since whoever
    /// applies a diff has them.
    #[must_use]
    pub fn root(&self) -> Hash {
        merkle_root(self.0.iter().map(|change| encode(&(change.key, change.after))))
    }

    /// The changes that lead from the parent's state to this block's.
    pub fn forward(&self) -> impl Iterator<Item = (Hash, Account)> + '_ {
        self.0.iter().map(|change| (change.key, change.after))
    }

    /// The changes that lead back to the parent's state.
    pub fn backward(&self) -> impl Iterator<Item = (Hash, Account)> + '_ {
        self.0.iter().map(|change| (change.key, change.before))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::primitives::Amount;

    #[test]
    fn golden_root() {
        let account = |nonce, balance| Account { nonce, balance: Amount(balance) };
        let change = |byte, before, after| AccountChange { key: Hash([byte; 32]), before, after };
        let diff =
            Diff(vec![change(1, account(0, 5), account(1, 2)), change(9, account(3, 4), Account::default())]);
        assert_eq!(
            diff.root().to_string(),
            "b962f4252a9068de870ab0e57820232bf0eb9ca42f56a7010864e14ad71e8a06"
        );
        assert_eq!(Diff::default().root(), Hash::of(&[]));
    }
}
