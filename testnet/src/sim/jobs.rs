//! Jobs: run at once, answered after a modelled time, in an order the seed shuffles.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use weft_core::{
    chain::Transaction,
    node::{Input, Job, JobResult, WorkId},
    primitives::{Hash, Hasher, encode},
};

use super::{
    event::{Event, Micros},
    ids::Ids,
    peer::PeerIx,
    scripts::Scripts,
    world::World,
};

/// What handing a job to a worker and back costs, besides the job.
const DISPATCH: Micros = 50;
/// How many executions are shared between nodes. They hold tries, so this is what bounds memory.
const EXECUTIONS: usize = 64;
/// How many verifications are shared: a few hundred bytes each.
const VERIFICATIONS: usize = 1 << 14;
/// How many verdicts on transactions are shared: a hundred bytes each.
const SIGNATURES: usize = 1 << 17;

/// Results of the jobs that every peer does alike: with them, a thousand peers verify a block for the price of one.
#[derive(Default)]
pub(super) struct Shared {
    executions: Results,
    verifications: Results,
    /// Peers get transactions in batches of their own, so verdicts are kept for each alone.
    signatures: Signatures,
}

/// Verdicts on transactions, the oldest forgotten first.
#[derive(Default)]
struct Signatures {
    /// By chain and id.
    known: HashMap<(Hash, Hash), bool>,
    order: VecDeque<(Hash, Hash)>,
}

impl Signatures {
    fn verify(&mut self, genesis: &Hash, transactions: &[Transaction], ids: &mut Ids) -> JobResult {
        let keys: Vec<(Hash, Hash)> = transactions.iter().map(|it| (*genesis, ids.of(it))).collect();
        let (fresh, unknown): (Vec<(Hash, Hash)>, Vec<Transaction>) = keys
            .iter()
            .zip(transactions)
            .filter(|(key, _)| !self.known.contains_key(key))
            .map(|(key, transaction)| (*key, transaction.clone()))
            .unzip();
        if !unknown.is_empty() {
            let job = Job::VerifyTransactions { genesis: *genesis, transactions: Arc::new(unknown) };
            let JobResult::Verified(valid) = job.run() else { return JobResult::Failed };
            for (key, valid) in fresh.into_iter().zip(valid) {
                self.known.insert(key, valid);
                self.order.push_back(key);
            }
        }
        let verdicts = keys.iter().map(|key| self.known.get(key).copied().unwrap_or(false)).collect();
        while self.order.len() > SIGNATURES {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        JobResult::Verified(verdicts)
    }
}

/// Results by what they depend on, the oldest forgotten first.
#[derive(Default)]
struct Results {
    known: BTreeMap<Hash, JobResult>,
    order: VecDeque<Hash>,
}

impl Shared {
    fn run(&mut self, job: &Job, ids: &mut Ids) -> JobResult {
        if let Job::VerifyTransactions { genesis, transactions } = job {
            return self.signatures.verify(genesis, transactions, ids);
        }
        let Some(key) = key(job) else { return job.run() };
        let (results, most) = match job {
            Job::Execute { .. } => (&mut self.executions, EXECUTIONS),
            _ => (&mut self.verifications, VERIFICATIONS),
        };
        if let Some(result) = results.known.get(&key) {
            return result.clone();
        }
        let result = job.run();
        if results.order.len() == most
            && let Some(oldest) = results.order.pop_front()
        {
            results.known.remove(&oldest);
        }
        results.order.push_back(key);
        results.known.insert(key, result.clone());
        result
    }
}

/// What a job's result depends on, for jobs that several peers do.
fn key(job: &Job) -> Option<Hash> {
    let mut hasher = Hasher::default();
    match job {
        Job::VerifyHeaders { genesis, headers } => {
            hasher.add(&[0]).add(&genesis.0).add(&encode(headers.as_ref()));
        }
        Job::Execute { trie, context, transactions } => {
            hasher.add(&[2]).add(&trie.root().0).add(&encode(context)).add(&encode(transactions.as_ref()));
        }
        Job::VerifyItems { genesis, items, target } => {
            let target = target.as_ref().map(|record| record.root());
            hasher.add(&[3]).add(&genesis.0).add(&encode(items.as_ref())).add(&encode(&target));
        }
        Job::VerifyVotes { genesis, votes } => {
            hasher.add(&[4]).add(&genesis.0).add(&encode(votes.as_ref()));
        }
        Job::VerifyWarp { genesis, fragments } => {
            hasher.add(&[5]).add(&genesis.0).add(&encode(fragments.as_ref()));
        }
        Job::VerifyRange { root, from, to, proof } => {
            hasher.add(&[6]).add(&root.0).add(&from.0).add(&to.0).add(&encode(proof.as_ref()));
        }
        Job::VerifyTransactions { .. } | Job::Build { .. } | Job::Update { .. } => return None,
    }
    Some(hasher.finish())
}

impl<S: Scripts> World<S> {
    pub(super) fn work(&mut self, ix: PeerIx, id: WorkId, job: &Job) {
        let peer = &mut self.peers[ix.0];
        peer.jobs += 1;
        assert!(
            peer.jobs <= peer.config.max_jobs,
            "{ix:?} has {} jobs in flight and may have {}",
            peer.jobs,
            peer.config.max_jobs
        );
        if let Job::Execute { transactions, .. } = job {
            self.measure_transactions(ix, transactions, true);
        }
        let peer = &mut self.peers[ix.0];
        let outcome = if self.dice.chance(peer.faults.work) {
            peer.seen.lost_jobs += 1;
            Input::WorkFailed(id)
        } else {
            let result = self.shared.run(job, &mut self.ids);
            if let JobResult::Built(chosen, _) = &result {
                self.note_built(ix, chosen);
            }
            Input::WorkDone(id, result)
        };
        let peer = &mut self.peers[ix.0];
        let took = (DISPATCH + job.cost_micros()) * self.dice.between(60, 160) / 100;
        let worker = peer.workers.iter_mut().min().expect("there is at least one worker");
        *worker = self.now.max(*worker) + took;
        self.queue.push(*worker, ix, peer.life, Event::Worked(Box::new(outcome)));
    }
}
