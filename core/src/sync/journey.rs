//! How the accounts came from one finalised checkpoint to a later one: the changes of each block between.
//!
//! The headers must be linked from the one to the other and each header commits to its block's changes. That a header
//! belongs to the chain is proven only by what follows: by the last one, which is the later checkpoint. So all of it comes
//! from one peer, and nothing is used before the end: if it does not end there, that peer has made it up.

use std::collections::BTreeMap;

use super::BlockDiff;
use crate::{
    chain::{Checkpoint, Header},
    primitives::{Hash, Height, encode, merkle_root},
    state::Account,
};

/// Changes on the way from one checkpoint to another.
#[derive(Clone, Debug)]
pub struct Journey {
    to: Checkpoint,
    at: Checkpoint,
    /// The last header met.
    header: Option<Header>,
    /// The hashes of the headers before that one.
    passed: Vec<Hash>,
    changes: BTreeMap<Hash, Account>,
}

/// Why changes are not those between the two checkpoints. Whoever sent them made them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JourneyError {
    /// A header is not the child of the one before.
    #[error("the headers are not linked")]
    Unlinked,
    /// A block's changes are not those its header commits to.
    #[error("the changes are not those of their block")]
    Changes,
    /// The headers lead somewhere else.
    #[error("the headers do not lead to the checkpoint")]
    Elsewhere,
}

impl Journey {
    /// From one checkpoint to a later one.
    #[must_use]
    pub const fn new(from: Checkpoint, to: Checkpoint) -> Self {
        Self { to, at: from, header: None, passed: Vec::new(), changes: BTreeMap::new() }
    }

    /// Where it leads.
    #[must_use]
    pub const fn to(&self) -> Checkpoint {
        self.to
    }

    /// How far the changes have come.
    #[must_use]
    pub const fn at(&self) -> Height {
        self.at.height
    }

    /// Takes in the next blocks' changes.
    ///
    /// # Errors
    /// Says why they are not the next.
    pub fn add(&mut self, diffs: Vec<BlockDiff>) -> Result<(), JourneyError> {
        for BlockDiff { header, accounts } in diffs {
            if header.content.parent != self.at.hash || Some(header.height()) != self.at.height.checked_add(1)
            {
                return Err(JourneyError::Unlinked);
            }
            let hash = header.hash();
            if header.height() >= self.to.height && hash != self.to.hash {
                return Err(JourneyError::Elsewhere);
            }
            if merkle_root(accounts.iter().map(encode)) != header.content.diff_root {
                return Err(JourneyError::Changes);
            }
            self.changes.extend(accounts);
            if self.header.is_some() {
                self.passed.push(self.at.hash);
            }
            self.at = Checkpoint { height: header.height(), hash };
            self.header = Some(header);
        }
        Ok(())
    }

    /// Whether the later checkpoint is reached.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.at == self.to
    }

    /// At the end: the later checkpoint's header, the hashes of the blocks between the two, and each account that changed,
    /// as it is then.
    #[must_use]
    pub fn finish(self) -> Option<(Header, Vec<Hash>, BTreeMap<Hash, Account>)> {
        let Self { to, at, header, passed, changes } = self;
        header.filter(|_| at == to).map(|header| (header, passed, changes))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::UnsignedHeader,
        primitives::{Amount, PublicKey, Signature, Slot, decode},
    };

    fn start() -> Checkpoint {
        Checkpoint { height: Height(16), hash: Hash([1; 32]) }
    }

    /// Blocks that each change two accounts, one of them always the same.
    fn blocks(count: u64) -> Vec<BlockDiff> {
        let mut at = start();
        (0..count)
            .map(|nonce| {
                let account = |balance| Account { nonce, balance: Amount(balance) };
                let accounts =
                    vec![(Hash([5; 32]), account(1)), (Hash::of(&nonce.to_le_bytes()), account(2))];
                let mut roots = [Hash::ZERO; 6];
                roots[3] = merkle_root(accounts.iter().map(encode));
                let height = at.height.checked_add(1).unwrap();
                let content =
                    UnsignedHeader::new(height, Slot(height.0), at.hash, roots, 0, PublicKey([0; 32]));
                let header = Header { content, signature: Signature([0; 64]) };
                at = Checkpoint { height, hash: header.hash() };
                BlockDiff { header, accounts }
            })
            .collect()
    }

    fn end(blocks: &[BlockDiff]) -> Checkpoint {
        let header = &blocks[blocks.len() - 1].header;
        Checkpoint { height: header.height(), hash: header.hash() }
    }

    #[test]
    fn changes_add_up_over_any_number_of_answers() {
        let blocks = blocks(32);
        for step in [1, 7, 32] {
            let mut journey = Journey::new(start(), end(&blocks));
            for part in blocks.chunks(step) {
                assert!(journey.clone().finish().is_none());
                journey.add(part.to_vec()).unwrap();
            }
            assert_eq!(journey.at(), Height(48));
            assert!(journey.is_over());
            let (header, passed, changes) = journey.finish().unwrap();
            assert_eq!(header, blocks[31].header);
            assert_eq!(passed, blocks[..31].iter().map(|block| block.header.hash()).collect::<Vec<_>>());
            assert_eq!(changes.len(), 33);
            assert_eq!(changes[&Hash([5; 32])].nonce, 31, "the last change counts");
        }
    }

    #[test]
    fn gaps_forks_and_blocks_beyond_the_end_are_refused() {
        let blocks = blocks(32);
        let journey = || Journey::new(start(), end(&blocks[..16]));
        assert_eq!(journey().add(blocks[1..].to_vec()), Err(JourneyError::Unlinked));
        assert_eq!(journey().add([&blocks[..3], &blocks[4..8]].concat()), Err(JourneyError::Unlinked));
        assert_eq!(journey().add(blocks.clone()), Err(JourneyError::Elsewhere), "more than was asked for");
        let elsewhere = Checkpoint { height: Height(32), hash: Hash([9; 32]) };
        let mut journey = Journey::new(start(), elsewhere);
        assert_eq!(journey.add(blocks[..15].to_vec()), Ok(()), "nobody can tell yet");
        assert_eq!(journey.add(blocks[15..16].to_vec()), Err(JourneyError::Elsewhere));
    }

    #[test]
    fn every_bit_of_the_changes_counts() {
        let blocks = blocks(2);
        let bytes = encode(&blocks);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(flipped) = decode::<Vec<BlockDiff>>(&flipped, bytes.len()) else { continue };
            let mut journey = Journey::new(start(), end(&blocks));
            assert!(journey.add(flipped).is_err(), "bit {bit} does not matter");
        }
    }
}
