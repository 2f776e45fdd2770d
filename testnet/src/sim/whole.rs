//! Whole blocks on the block topic, as a baseline for short ids.

use weft_core::{
    chain::{Block, Body, Transaction},
    gossip::CompactBlock,
    primitives::{decode, encode},
};

use super::{peer::PeerIx, scripts::Scripts, world::World};

impl<S: Scripts> World<S> {
    /// Lets proposers announce their blocks whole from now on. Everybody else does as ever: a block with nothing but prefilled
    /// transactions is one that nodes know how to take.
    pub fn announce_whole_blocks(&mut self) {
        self.whole_blocks = true;
    }

    /// Keeps what a proposer has chosen for its block: the announcement tells it by short ids only.
    pub(super) fn note_built(&mut self, ix: PeerIx, chosen: &[Transaction]) {
        if self.whole_blocks {
            self.peers[ix.0].built = chosen.to_vec();
        }
    }

    /// The whole block instead of its announcement, if this is of what the peer has built last.
    pub(super) fn made_whole(&self, ix: PeerIx, announcement: Vec<u8>) -> Vec<u8> {
        let Ok(compact) = decode::<CompactBlock>(&announcement, CompactBlock::MAX_LEN) else {
            return announcement;
        };
        let CompactBlock { header, system, .. } = compact;
        let body = Body { transactions: self.peers[ix.0].built.clone(), system };
        if body.tx_root() != header.content.tx_root {
            return announcement;
        }
        encode(&CompactBlock::whole(&Block { header, body }))
    }
}
