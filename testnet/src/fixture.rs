//! Chains for tests: a genesis with validators and funded accounts, transfers, and whole chains made without a network.

mod directory;
mod disk;
mod long;
mod maker;

pub use directory::WriteError;
pub use long::{Extent, LongChain};
pub use maker::ChainMaker;

use weft_core::{
    chain::{Authority, Genesis, Grant, Transaction, UnsignedTransaction},
    primitives::{Address, Amount, Hash, Hasher, PublicKey, SecretKey, Slot},
};

/// A chain whose keys are known.
#[derive(Clone, Debug)]
pub struct TestChain {
    /// What peers agree on.
    pub genesis: Genesis,
    /// The validators' keys, in the order of turns.
    pub validators: Vec<SecretKey>,
    /// The keys of the funded accounts.
    pub accounts: Vec<SecretKey>,
    hash: Hash,
}

/// The key with this name and index.
#[must_use]
pub fn key(name: &str, index: u64) -> SecretKey {
    SecretKey::from_seed(Hasher::tagged(name.as_bytes()).add(&index.to_le_bytes()).finish().0)
}

/// The authority with this index, in the first set or let in later.
fn authority(index: u64) -> Authority {
    Authority { key: key("validator", index).public(), fee_address: address(&key("fees", index)) }
}

impl TestChain {
    /// What every funded account holds at first.
    pub const GRANT: u64 = 1_000_000_000;

    /// A chain that starts at `time`, with so many validators and funded accounts.
    #[must_use]
    pub fn new(time: u64, slot_millis: u64, validators: usize, accounts: usize) -> Self {
        Self::with_bystanders(time, slot_millis, validators, accounts, 0)
    }

    /// A chain with so many more funded accounts that nobody has the key of, which cost less to make.
    #[must_use]
    pub fn with_bystanders(
        time: u64,
        slot_millis: u64,
        validators: usize,
        accounts: usize,
        bystanders: usize,
    ) -> Self {
        let keys = |name: &str, count: usize| (0..count as u64).map(|index| key(name, index)).collect();
        let validators: Vec<SecretKey> = keys("validator", validators);
        let accounts: Vec<SecretKey> = keys("account", accounts);
        let authorities = (0..validators.len() as u64).map(authority).collect();
        let strangers = (0..bystanders as u64)
            .map(|index| Address(Hasher::tagged(b"bystander").add(&index.to_le_bytes()).finish().0));
        let grants = accounts
            .iter()
            .map(address)
            .chain(strangers)
            .map(|address| Grant { address, amount: Amount(Self::GRANT) })
            .collect();
        let genesis =
            Genesis { name: "test".to_owned(), time, slot_millis, min_fee_per_byte: 1, authorities, grants };
        let hash = genesis.hash();
        Self { genesis, validators, accounts, hash }
    }

    /// The genesis hash.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The address of a funded account.
    #[must_use]
    pub fn address(&self, account: usize) -> Address {
        address(&self.accounts[account])
    }

    /// An unsigned transfer of 1 from a funded account with an ordinary fee and no end; set what differs.
    #[must_use]
    pub fn unsigned(&self, from: usize, to: Address, nonce: u64) -> UnsignedTransaction {
        let from: PublicKey = self.accounts[from].public();
        let fee = Amount(2 * Transaction::EMPTY_LEN as u64);
        UnsignedTransaction::transfer(from, to, Amount(1), fee, nonce, Slot(u64::MAX))
    }

    /// A signed transfer of 1 from a funded account.
    #[must_use]
    pub fn transfer(&self, from: usize, to: Address, nonce: u64) -> Transaction {
        self.unsigned(from, to, nonce).sign(&self.accounts[from], &self.hash)
    }

    /// A signed transfer of 1 with this fee.
    #[must_use]
    pub fn transfer_for(&self, from: usize, to: Address, nonce: u64, fee: u64) -> Transaction {
        let mut unsigned = self.unsigned(from, to, nonce);
        unsigned.fee = Amount(fee);
        unsigned.sign(&self.accounts[from], &self.hash)
    }
}

/// The address of a key.
#[must_use]
pub fn address(key: &SecretKey) -> Address {
    Address::of(&key.public())
}
