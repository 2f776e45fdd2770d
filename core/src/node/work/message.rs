//! Jobs and results as messages between a page and its Web Worker, which share no memory.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use super::{Job, JobResult};
use crate::{
    chain::Transaction,
    primitives::{DecodeError, Hash, decode, encode},
    state::{BlockContext, Trie},
};

impl Job {
    /// The job as a message, its trie cut to what the job touches.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut job = self.clone();
        if let Some(trie) = job.trie_mut() {
            *trie = trie.witness(&self.touched());
        }
        encode(&job)
    }

    /// The job in a message, ready to run.
    ///
    /// # Errors
    /// When the bytes are not from [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode(bytes, bytes.len())
    }

    fn trie_mut(&mut self) -> Option<&mut Trie> {
        match self {
            Self::VerifyHeaders { .. }
            | Self::VerifyTransactions { .. }
            | Self::VerifyItems { .. }
            | Self::VerifyVotes { .. }
            | Self::VerifyWarp { .. }
            | Self::VerifyRange { .. } => None,
            Self::Execute { trie, .. } | Self::Build { trie, .. } | Self::Update { trie, .. } => Some(trie),
        }
    }

    /// The keys of all accounts that the job may read or set.
    fn touched(&self) -> BTreeSet<Hash> {
        match self {
            Self::VerifyHeaders { .. }
            | Self::VerifyTransactions { .. }
            | Self::VerifyItems { .. }
            | Self::VerifyVotes { .. }
            | Self::VerifyWarp { .. }
            | Self::VerifyRange { .. } => BTreeSet::new(),
            Self::Execute { context, transactions, .. } => accounts(context, transactions),
            Self::Build { context, candidates, .. } => accounts(context, candidates),
            Self::Update { changes, .. } => changes.iter().map(|(key, _)| *key).collect(),
        }
    }
}

fn accounts(context: &BlockContext, transactions: &Arc<Vec<Transaction>>) -> BTreeSet<Hash> {
    let parties = transactions.iter().flat_map(|transaction| [transaction.sender(), transaction.content.to]);
    parties.chain([context.fee_address]).map(|address| address.trie_key()).collect()
}

impl JobResult {
    /// The result as a message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// The result in the answer to `job`'s message, put back into the whole that `job` holds. Bytes that are no result
    /// of such a job are [`JobResult::Failed`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8], job: &Job) -> Self {
        let Ok(result) = decode(bytes, bytes.len()) else { return Self::Failed };
        match (job, result) {
            (Job::VerifyHeaders { headers, .. }, Self::Verified(valid)) if valid.len() == headers.len() => {
                Self::Verified(valid)
            }
            (Job::VerifyTransactions { transactions, .. }, Self::Verified(valid))
                if valid.len() == transactions.len() =>
            {
                Self::Verified(valid)
            }
            (Job::VerifyItems { items, .. }, Self::Verified(valid)) if valid.len() == items.len() => {
                Self::Verified(valid)
            }
            (Job::VerifyVotes { votes, .. }, Self::Verified(valid)) if valid.len() == votes.len() => {
                Self::Verified(valid)
            }
            (Job::VerifyWarp { fragments, .. }, Self::Verified(valid)) if valid.len() == fragments.len() => {
                Self::Verified(valid)
            }
            (Job::VerifyRange { .. }, Self::Range(outcome)) => Self::Range(outcome),
            (Job::Execute { trie, .. }, Self::Executed(mut outcome)) => {
                if let Ok(executed) = &mut outcome {
                    executed.trie = executed.trie.graft(trie, &job.touched());
                }
                Self::Executed(outcome)
            }
            (Job::Build { trie, .. }, Self::Built(chosen, mut executed)) => {
                executed.trie = executed.trie.graft(trie, &job.touched());
                Self::Built(chosen, executed)
            }
            (Job::Update { trie, .. }, Self::Updated(updated)) => {
                Self::Updated(updated.graft(trie, &job.touched()))
            }
            _ => Self::Failed,
        }
    }
}
