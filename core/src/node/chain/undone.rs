//! Transactions that leave the chain with a reorganisation come back into the pool: from memory near the head, from the archive
//! below that and after a restart.

use std::{collections::BTreeSet, sync::Arc};

use super::{Archived, Chain};
use crate::{
    chain::{Body, Transaction},
    mempool::Source,
    node::effects::Effects,
    primitives::{Hash, Height, decode},
    store::{ArchiveAnswer, ArchiveRequest},
};

/// What waits for the oldest undone blocks to be read: the transactions of an account come back in their order, or some of them
/// would be too far ahead.
pub(super) struct Undone {
    /// How many bodies are read.
    asked: usize,
    /// Those that follow and are here, oldest first.
    near: Vec<Arc<Body>>,
}

impl Chain {
    /// What these blocks held, tip first, waits again, unless it is in one of those that are done instead.
    pub(super) fn take_back(&mut self, fx: &mut Effects, undone: &[Hash], done: &[Hash]) {
        let (near, far): (Vec<_>, Vec<_>) =
            undone.iter().rev().partition(|hash| self.recent.contains_key(*hash));
        let near: Vec<_> = near
            .into_iter()
            .filter_map(|hash| self.recent.get(hash))
            .map(|recent| Arc::clone(&recent.body))
            .collect();
        let keys: Vec<(Height, Hash)> =
            far.into_iter().filter_map(|hash| Some((self.tree.height(hash)?, *hash))).collect();
        if keys.is_empty() {
            self.readmit(fx, &near, done);
            return;
        }
        let asked = keys.len();
        // More than the pool holds cannot come back. The archive answers in order, so that this is read before the blocks are
        // deleted, whenever that is asked for.
        let id = fx.archive(ArchiveRequest::Bodies { keys, max_bytes: self.mempool_bytes });
        self.archived.insert(id, Archived::Undone(Undone { asked, near }));
    }

    /// The archive's answer about undone blocks, if it had one.
    pub(super) fn undone_read(&mut self, fx: &mut Effects, undone: Undone, answer: Option<ArchiveAnswer>) {
        let read = match answer {
            Some(ArchiveAnswer::Bodies(bodies)) => bodies,
            _ => Vec::new(),
        };
        let decoded =
            read.into_iter().flatten().filter_map(|bytes| decode::<Body>(&bytes, Body::MAX_LEN).ok());
        let mut bodies: Vec<_> = decoded.map(Arc::new).collect();
        let lost = undone.asked - bodies.len();
        if lost > 0 {
            tracing::warn!(
                lost,
                asked = undone.asked,
                "undone blocks could not be read: what they held is forgotten here"
            );
            (0..lost).for_each(|_| fx.refuse("undone-block-unread"));
        }
        bodies.extend(undone.near);
        // The head may have moved since. What is executed by now is refused for its nonce.
        self.readmit(fx, &bodies, &[]);
        self.reinsert_own(fx);
        self.notify_mempool(fx);
    }

    fn readmit(&mut self, fx: &mut Effects, undone: &[Arc<Body>], done: &[Hash]) {
        if undone.is_empty() {
            return;
        }
        let done = done.iter().filter_map(|hash| self.recent.get(hash));
        let included: BTreeSet<Hash> =
            done.flat_map(|recent| recent.body.transactions.iter().map(Transaction::id)).collect();
        for transaction in undone.iter().flat_map(|body| &body.transactions) {
            if !included.contains(&transaction.id()) {
                // It may be in a block of the new chain's future, or never: its sender sees to it.
                let _ = self.admit(fx, transaction, Source::Undone);
            }
        }
    }
}
