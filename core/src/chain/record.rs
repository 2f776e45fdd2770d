//! The consensus record: who may propose and vote, and what is justified and final, as one block leaves it.
//!
//! It is hashed by the header's consensus root and always sent whole. A block without system items leaves its parent's
//! record as it was; [`ConsensusRecord::after`] says what the items do.

use std::collections::BTreeSet;

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

    /// Whether a key is that of an authority.
    #[must_use]
    pub fn contains(&self, key: &PublicKey) -> bool {
        self.authorities.iter().any(|authority| authority.key == *key)
    }

    /// Whether these are more than two thirds of the set.
    #[must_use]
    pub fn is_quorum(&self, keys: &BTreeSet<PublicKey>) -> bool {
        let present = self.authorities.iter().filter(|authority| keys.contains(&authority.key)).count();
        3 * present > 2 * self.authorities.len()
    }
}

/// A block at a height that can be voted on. The genesis checkpoint carries the genesis hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Checkpoint {
    /// A multiple of the checkpoint interval.
    pub height: Height,
    /// The header's hash.
    pub hash: Hash,
}

/// A change of membership that an authority asks for.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// Let this authority in.
    Add(Authority),
    /// Put the authority with this key out.
    Remove(PublicKey),
}

/// A ballot: each authority has at most one open, its latest.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Ballot {
    /// The id of the set that decides: a ballot dies with its set.
    pub set_id: u64,
    /// Higher than that of the authority's open ballot, so that no earlier one can be put in its place again.
    pub serial: u64,
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

/// A set that was in force and still counts beside its successor.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OutgoingSet {
    /// The set.
    pub set: AuthoritySet,
    /// The height of the block with whose children its successor came into force.
    pub since: Height,
}

/// What the execution of a block yields for consensus.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ConsensusRecord {
    /// The set in force for children of this block.
    pub set: AuthoritySet,
    /// The set before, while both count.
    pub outgoing: Option<OutgoingSet>,
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

    /// Who may vote for a checkpoint with this record: the set in force, then those of the outgoing set that are not in it.
    #[must_use]
    pub fn voters(&self) -> Vec<PublicKey> {
        let keys =
            |set: &AuthoritySet| set.authorities.iter().map(|authority| authority.key).collect::<Vec<_>>();
        let mut voters = keys(&self.set);
        let outgoing = self.outgoing.iter().flat_map(|outgoing| keys(&outgoing.set));
        voters.extend(outgoing.filter(|key| !self.set.contains(key)));
        voters
    }

    /// Whether these are more than two thirds of the set in force, and of the outgoing set if there is one.
    #[must_use]
    pub fn is_quorum(&self, keys: &BTreeSet<PublicKey>) -> bool {
        self.set.is_quorum(keys) && self.outgoing.as_ref().is_none_or(|outgoing| outgoing.set.is_quorum(keys))
    }

    /// The header's consensus root.
    #[must_use]
    pub fn root(&self) -> Hash {
        Hash::of(&encode(self))
    }
}
