//! What a peer says of itself to those who measure networks of real peers: a line of its log for each block, each final
//! one and each transaction, at the moment when it has it, under a target of its own.
//!
//! A tab's program keeps no lines below [`Level::INFO`], so there they have that; its console leaves them out unless asked.

use tracing::Level;

use super::BlockSummary;
use crate::{chain::Checkpoint, primitives::Hash};

const LEVEL: Level = if cfg!(target_arch = "wasm32") { Level::INFO } else { Level::DEBUG };
/// The target of these lines.
const TARGET: &str = "weft_core::told";

/// The best chain has a new head.
pub(super) fn block(block: &BlockSummary) {
    tracing::event!(target: TARGET, LEVEL, height = %block.height, hash = %block.hash, "a new block");
}

/// A checkpoint is final.
pub(super) fn checkpoint(checkpoint: &Checkpoint) {
    tracing::event!(target: TARGET, LEVEL, height = %checkpoint.height, hash = %checkpoint.hash, "a new final block");
}

/// The mempool has a transaction.
pub(super) fn transaction(id: &Hash) {
    tracing::event!(target: TARGET, LEVEL, %id, "took a transaction");
}
