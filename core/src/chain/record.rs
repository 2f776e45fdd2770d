//! The consensus record: who may propose and vote, and what is justified and final, as one block leaves it.
//!
//! It is hashed by the header's consensus root and always sent whole. Its shape is complete; until certificates and
//! ballots exist, every block leaves its parent's record as it was.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::Genesis;
use crate::primitives::{Address, Hash, Height, PublicKey, Slot, encode};

/// One member of an authority set.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// What signs headers and votes.
    pub key: PublicKey,
    /// The account that receives the fees of this authority's blocks.
    pub fee_address: Address,
}

/// The authorities in force, in the order of their turns: never empty.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AuthoritySet {
    /// Zero for the genesis set, one more for each later one.
    pub id: u64,
    /// At least one, at most [`MAX_AUTHORITIES`](super::MAX_AUTHORITIES).
    pub authorities: Vec<Authority>,
}

impl AuthoritySet {
    /// The authority whose turn `slot` is: `set[slot mod n]`.
    #[must_use]
    pub fn proposer(&self, slot: Slot) -> &Authority {
        let index = slot.0 % self.authorities.len() as u64;
        &self.authorities[usize::try_from(index).expect("an index below the length of a vector")]
    }
}

/// A block at a height that can be voted on. The genesis checkpoint carries the genesis hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Checkpoint {
    /// A multiple of the checkpoint interval.
    pub height: Height,
    /// The header's hash.
    pub hash: Hash,
}

/// A change of membership that an authority asks for.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Change {
    /// Let this authority in.
    Add(Authority),
    /// Put the authority with this key out.
    Remove(PublicKey),
}

/// An open ballot: each authority has at most one.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ballot {
    /// The key of the authority that cast it.
    pub by: PublicKey,
    /// What it asks for.
    pub change: Change,
}

/// A set that has been decided on and waits for a checkpoint recording it to be final.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PendingSet {
    /// The set to come.
    pub set: AuthoritySet,
    /// The height of the block that decided it.
    pub since: Height,
}

/// What the execution of a block yields for consensus.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ConsensusRecord {
    /// The set in force for children of this block.
    pub set: AuthoritySet,
    /// The set before, while both count.
    pub outgoing: Option<AuthoritySet>,
    /// The hand-off that is waiting.
    pub pending: Option<PendingSet>,
    /// Open ballots, sorted by authority key.
    pub ballots: Vec<Ballot>,
    /// The highest justified checkpoint.
    pub justified: Checkpoint,
    /// The highest finalised checkpoint.
    pub finalised: Checkpoint,
}

impl ConsensusRecord {
    /// The record of the genesis block, which is justified and final by definition.
    #[must_use]
    pub fn of_genesis(genesis: &Genesis) -> Self {
        let checkpoint = Checkpoint { height: Height(0), hash: genesis.hash() };
        Self {
            set: AuthoritySet { id: 0, authorities: genesis.authorities.clone() },
            outgoing: None,
            pending: None,
            ballots: Vec::new(),
            justified: checkpoint,
            finalised: checkpoint,
        }
    }

    /// The header's consensus root.
    #[must_use]
    pub fn root(&self) -> Hash {
        Hash::of(&encode(self))
    }
}
