//! Costly computation, as values: a pure job, and its result.
//!
//! A job carries all it needs, so a shell may run it on any thread, in a Web Worker, or at once. A [`Trie`] inside a job
//! is shared memory natively; a browser sends the part that the job touches
//! ([`Job::to_bytes`]) and puts the answer back together ([`JobResult::from_bytes`]).

mod message;

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::{
    chain::{ConsensusRecord, Header, SystemItem, Transaction, Vote},
    primitives::{Hash, SignatureBatch, verify_each},
    state::{
        Account, BlockContext, Executed, ExecutionError, ProofError, RangeProof, Trie, VerifiedRange,
        execute, select,
    },
    sync::Fragment,
};

/// The name of a job in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub u64);

/// A pure computation.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub enum Job {
    /// Which of these headers are signed by the proposer they name.
    VerifyHeaders {
        /// The chain.
        genesis: Hash,
        /// What to check.
        headers: Arc<Vec<Header>>,
    },
    /// Which of these transactions are signed by their senders.
    VerifyTransactions {
        /// The chain.
        genesis: Hash,
        /// What to check.
        transactions: Arc<Vec<Transaction>>,
    },
    /// Which of these system items are rightly signed.
    VerifyItems {
        /// The chain.
        genesis: Hash,
        /// What to check.
        items: Arc<Vec<SystemItem>>,
        /// The record of the certificate's target, if one is among the items.
        target: Option<Arc<ConsensusRecord>>,
    },
    /// Which of these votes are rightly signed.
    VerifyVotes {
        /// The chain.
        genesis: Hash,
        /// What to check.
        votes: Arc<Vec<Vote>>,
    },
    /// Which of these fragments are rightly signed.
    VerifyWarp {
        /// The chain.
        genesis: Hash,
        /// What to check.
        fragments: Arc<Vec<Fragment>>,
    },
    /// What accounts this proves.
    VerifyRange {
        /// The state root it must lead to.
        root: Hash,
        /// The first key of the range.
        from: Hash,
        /// The last one.
        to: Hash,
        /// The proof.
        proof: Box<RangeProof>,
    },
    /// What these transactions do; their signatures are known to be right.
    Execute {
        /// The accounts before.
        trie: Trie,
        /// The block around them.
        context: BlockContext,
        /// What to execute.
        transactions: Arc<Vec<Transaction>>,
    },
    /// Choose what fits from the candidates, best first; their signatures are known to be right.
    Build {
        /// The accounts before.
        trie: Trie,
        /// The block to be.
        context: BlockContext,
        /// The candidates, together no larger than a block.
        candidates: Arc<Vec<Transaction>>,
    },
    /// Set these accounts: how the trie is rebuilt at start, and how a deep reorganisation finds its state.
    Update {
        /// The accounts before.
        trie: Trie,
        /// Accounts to set; later ones win.
        changes: Vec<(Hash, Account)>,
    },
}

/// A job's outcome.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub enum JobResult {
    /// For the jobs that verify: which are right, in order.
    Verified(Vec<bool>),
    /// For [`Job::VerifyRange`].
    Range(Result<Box<VerifiedRange>, ProofError>),
    /// For [`Job::Execute`].
    Executed(Result<Executed, ExecutionError>),
    /// For [`Job::Build`]: what was chosen, and what it does.
    Built(Vec<Transaction>, Executed),
    /// For [`Job::Update`].
    Updated(Trie),
    /// The job was handed a state too small for it: a fault of the shell, retried with the whole.
    Failed,
}

/// The modelled cost of checking one signature in a batch.
const SIGNATURE_MICROS: u64 = 33;
/// The modelled cost of one transfer, the hashing of its accounts' paths included.
const TRANSFER_MICROS: u64 = 5;
/// The modelled cost of hashing one account and its share of the branches above.
const LEAF_MICROS: u64 = 1;
/// The modelled cost of setting one account.
const ACCOUNT_MICROS: u64 = 2;

/// How many signatures a system item holds.
fn signatures(item: &SystemItem) -> usize {
    match item {
        SystemItem::Certificate(certificate) => certificate.signatures.len(),
        SystemItem::Ballot(_) => 1,
        SystemItem::Evidence(_) => 2,
    }
}

impl Job {
    /// How long the job takes on one thread, in microseconds of virtual time. This is a model for the simulator, so that
    /// runs replay exactly; it is linear in the job's size and was set near what one core of a small server needs.
    #[must_use]
    pub fn cost_micros(&self) -> u64 {
        let (count, each) = match self {
            Self::VerifyHeaders { headers, .. } => (headers.len(), SIGNATURE_MICROS),
            Self::VerifyTransactions { transactions, .. } => (transactions.len(), SIGNATURE_MICROS),
            Self::VerifyItems { items, .. } => (items.iter().map(signatures).sum(), SIGNATURE_MICROS),
            Self::VerifyVotes { votes, .. } => (votes.len(), SIGNATURE_MICROS),
            Self::VerifyWarp { fragments, .. } => {
                (fragments.iter().map(|it| it.certificate.signatures.len()).sum(), SIGNATURE_MICROS)
            }
            Self::VerifyRange { proof, .. } => (proof.leaf_count(), LEAF_MICROS),
            Self::Execute { transactions, .. } => (transactions.len(), TRANSFER_MICROS),
            Self::Build { candidates, .. } => (candidates.len(), TRANSFER_MICROS),
            Self::Update { changes, .. } => (changes.len(), ACCOUNT_MICROS),
        };
        each.saturating_mul(count as u64)
    }

    /// Does the work.
    #[must_use]
    pub fn run(&self) -> JobResult {
        match self {
            Self::VerifyHeaders { genesis, headers } => {
                JobResult::Verified(verify_each(headers.len(), |index, batch: &mut SignatureBatch| {
                    headers[index].add_to_batch(genesis, batch)
                }))
            }
            Self::VerifyTransactions { genesis, transactions } => {
                JobResult::Verified(verify_each(transactions.len(), |index, batch: &mut SignatureBatch| {
                    transactions[index].add_to_batch(genesis, batch)
                }))
            }
            Self::VerifyItems { genesis, items, target } => {
                JobResult::Verified(verify_each(items.len(), |index, batch: &mut SignatureBatch| {
                    items[index].add_to_batch(genesis, target.as_deref(), batch)
                }))
            }
            Self::VerifyVotes { genesis, votes } => {
                JobResult::Verified(verify_each(votes.len(), |index, batch: &mut SignatureBatch| {
                    votes[index].add_to_batch(genesis, batch)
                }))
            }
            Self::VerifyWarp { genesis, fragments } => {
                JobResult::Verified(verify_each(fragments.len(), |index, batch: &mut SignatureBatch| {
                    fragments[index].add_to_batch(genesis, batch)
                }))
            }
            Self::VerifyRange { root, from, to, proof } => {
                JobResult::Range(proof.as_ref().clone().verify(root, from, to).map(Box::new))
            }
            Self::Execute { trie, context, transactions } => match execute(trie, context, transactions) {
                Err(ExecutionError::Stub(_)) => JobResult::Failed,
                outcome => JobResult::Executed(outcome),
            },
            Self::Build { trie, context, candidates } => {
                match select(trie, context, candidates.as_ref().clone()) {
                    Ok((chosen, executed)) => JobResult::Built(chosen, executed),
                    Err(_) => JobResult::Failed,
                }
            }
            Self::Update { trie, changes } => {
                trie.update(&changes.iter().copied().collect()).map_or(JobResult::Failed, JobResult::Updated)
            }
        }
    }
}
