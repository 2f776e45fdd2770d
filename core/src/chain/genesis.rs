//! The genesis: everything that all peers of one chain agree on before the first block.

use std::collections::BTreeSet;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use super::{Authority, ConsensusRecord, Header, MAX_AUTHORITIES, Mmr, UnsignedHeader};
use crate::primitives::{
    Address, Amount, Hash, Hasher, Height, PublicKey, Signature, Slot, Wall, encode, merkle_root,
};

/// Money that exists from the beginning.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Whose it is.
    pub address: Address,
    /// How much.
    pub amount: Amount,
}

/// The constants and first state of a chain. Its hash names the chain in every signature and protocol.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// What people call the chain: 1 to 64 bytes.
    pub name: String,
    /// When slot 0 begins, in milliseconds since the Unix epoch.
    pub time: u64,
    /// The length of a slot in milliseconds: 50 to 600,000.
    pub slot_millis: u64,
    /// The least fee for an encoded byte of a transaction.
    pub min_fee_per_byte: u64,
    /// The first authority set, in the order of turns.
    pub authorities: Vec<Authority>,
    /// The first accounts.
    pub grants: Vec<Grant>,
}

/// Why a genesis cannot start a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Empty or long.
    #[error("the chain's name must have 1 to 64 bytes")]
    Name,
    /// Out of range.
    #[error("a slot must last 50 to 600,000 milliseconds")]
    SlotMillis,
    /// None, too many, or one twice.
    #[error("a chain needs 1 to {MAX_AUTHORITIES} different authorities")]
    Authorities,
    /// An account twice or empty, or too much money in all.
    #[error("grants must be to different addresses, not zero, and add up to less than 2^64")]
    Grants,
}

impl Genesis {
    /// The most bytes an encoded genesis may have.
    pub const MAX_LEN: usize = 16 << 20;

    /// Checks that a chain can start from this.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn check(&self) -> Result<(), GenesisError> {
        if self.name.is_empty() || self.name.len() > 64 {
            return Err(GenesisError::Name);
        }
        if !(50..=600_000).contains(&self.slot_millis) {
            return Err(GenesisError::SlotMillis);
        }
        let keys: BTreeSet<_> = self.authorities.iter().map(|authority| authority.key).collect();
        if keys.is_empty() || keys.len() != self.authorities.len() || keys.len() > MAX_AUTHORITIES {
            return Err(GenesisError::Authorities);
        }
        let addresses: BTreeSet<_> = self.grants.iter().map(|grant| grant.address).collect();
        let total = self.grants.iter().try_fold(Amount(0), |sum, grant| sum.checked_add(grant.amount.0));
        if addresses.len() != self.grants.len()
            || total.is_none()
            || self.grants.iter().any(|g| g.amount.0 == 0)
        {
            return Err(GenesisError::Grants);
        }
        Ok(())
    }

    /// The chain's name in signatures and protocols: the hash of the encoded genesis.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hasher::tagged(b"weft/genesis/1").add(&encode(self)).finish()
    }

    /// The header of height 0, given the root of the granted accounts. Nobody signs it; its parent is the genesis hash.
    #[must_use]
    pub fn header(&self, state_root: Hash) -> Header {
        let nothing = merkle_root::<&[u8]>([]);
        let record = ConsensusRecord::of_genesis(self);
        let roots = [nothing, nothing, state_root, nothing, record.root(), Mmr::default().root()];
        Header {
            content: UnsignedHeader::new(Height(0), Slot(0), self.hash(), roots, 0, PublicKey([0; 32])),
            signature: Signature([0; 64]),
        }
    }

    /// When `slot` begins.
    #[must_use]
    pub const fn slot_start(&self, slot: Slot) -> Wall {
        Wall(self.time.saturating_add(slot.0.saturating_mul(self.slot_millis)))
    }

    /// The slot that `wall` lies in, or `None` before the genesis time.
    #[must_use]
    pub const fn slot_at(&self, wall: Wall) -> Option<Slot> {
        match wall.0.checked_sub(self.time) {
            Some(elapsed) => Some(Slot(elapsed / self.slot_millis)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn genesis() -> Genesis {
        let authority = |byte| Authority { key: PublicKey([byte; 32]), fee_address: Address([0; 32]) };
        let grant = |byte, amount| Grant { address: Address([byte; 32]), amount: Amount(amount) };
        Genesis {
            name: "test".into(),
            time: 1000,
            slot_millis: 50,
            min_fee_per_byte: 0,
            authorities: vec![authority(1), authority(2)],
            grants: vec![grant(1, 5), grant(2, u64::MAX - 5)],
        }
    }

    fn judge(change: impl FnOnce(&mut Genesis)) -> Result<(), GenesisError> {
        let mut genesis = genesis();
        change(&mut genesis);
        genesis.check()
    }

    #[test]
    fn limits_are_judged_at_their_edges() {
        assert_eq!(judge(|_| ()), Ok(()));
        assert_eq!(judge(|genesis| genesis.name = "x".repeat(64)), Ok(()));
        assert_eq!(judge(|genesis| genesis.name = "x".repeat(65)), Err(GenesisError::Name));
        assert_eq!(judge(|genesis| genesis.name.clear()), Err(GenesisError::Name));
        assert_eq!(judge(|genesis| genesis.slot_millis = 49), Err(GenesisError::SlotMillis));
        assert_eq!(judge(|genesis| genesis.slot_millis = 600_000), Ok(()));
        assert_eq!(judge(|genesis| genesis.slot_millis = 600_001), Err(GenesisError::SlotMillis));
    }

    #[test]
    fn authorities_are_some_different_and_not_too_many() {
        let many = |count: usize| {
            move |genesis: &mut Genesis| {
                let authority = |index: usize| {
                    let key = PublicKey(Hash::of(&index.to_le_bytes()).0);
                    Authority { key, fee_address: Address([0; 32]) }
                };
                genesis.authorities = (0..count).map(authority).collect();
            }
        };
        assert_eq!(judge(many(MAX_AUTHORITIES)), Ok(()));
        assert_eq!(judge(many(MAX_AUTHORITIES + 1)), Err(GenesisError::Authorities));
        assert_eq!(judge(many(0)), Err(GenesisError::Authorities));
        let twice = judge(|genesis| genesis.authorities[1] = genesis.authorities[0].clone());
        assert_eq!(twice, Err(GenesisError::Authorities));
    }

    #[test]
    fn grants_are_different_not_zero_and_fit_an_amount() {
        assert_eq!(judge(|genesis| genesis.grants.clear()), Ok(()));
        assert_eq!(judge(|genesis| genesis.grants[0].amount.0 += 1), Err(GenesisError::Grants));
        assert_eq!(judge(|genesis| genesis.grants[0].amount.0 = 0), Err(GenesisError::Grants));
        let twice = judge(|genesis| {
            genesis.grants[1] = Grant { amount: Amount(1), ..genesis.grants[0].clone() };
        });
        assert_eq!(twice, Err(GenesisError::Grants));
    }

    #[test]
    fn slots_are_counted_from_the_genesis_time() {
        let genesis = genesis();
        let slot = |wall| genesis.slot_at(Wall(wall));
        assert_eq!([999, 1000, 1049, 1050].map(slot), [None, Some(Slot(0)), Some(Slot(0)), Some(Slot(1))]);
        assert_eq!(genesis.slot_start(Slot(2)), Wall(1100));
        assert_eq!(genesis.slot_start(Slot(u64::MAX)), Wall(u64::MAX));
    }

    #[test]
    fn a_chain_is_named_by_all_of_its_genesis() {
        let changes: [fn(&mut Genesis); 6] = [
            |genesis| genesis.name.push('x'),
            |genesis| genesis.time += 1,
            |genesis| genesis.slot_millis += 1,
            |genesis| genesis.min_fee_per_byte += 1,
            |genesis| genesis.authorities.reverse(),
            |genesis| genesis.grants.reverse(),
        ];
        for change in changes {
            let mut other = genesis();
            change(&mut other);
            assert_ne!(other.hash(), genesis().hash());
        }
    }
}
