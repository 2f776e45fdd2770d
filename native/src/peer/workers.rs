//! Threads that run the node's jobs.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use weft_core::{
    node::{Input, Job, JobResult, WorkId},
    swarm::InputSender,
};

/// A pool as wide as the machine. Its threads end when it is dropped and the jobs in its queue are done.
pub(super) struct Workers {
    jobs: SyncSender<(WorkId, Job)>,
    inputs: InputSender,
    capacity: usize,
}

impl Workers {
    pub(super) fn start(inputs: &InputSender) -> io::Result<Self> {
        Self::start_running(inputs, |job| job.run())
    }

    fn start_running(inputs: &InputSender, run: fn(&Job) -> JobResult) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        // One job for each thread to run, and one to go on with.
        let capacity = 2 * threads;
        let (jobs, queue) = sync_channel(capacity);
        let queue = Arc::new(Mutex::new(queue));
        for index in 0..threads {
            let (queue, inputs) = (queue.clone(), inputs.clone());
            thread::Builder::new()
                .name(format!("weft-worker-{index}"))
                .spawn(move || work(&queue, &inputs, run))?;
        }
        Ok(Self { jobs, inputs: inputs.clone(), capacity })
    }

    /// The most jobs that may be under way.
    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Queues a job; one beyond the capacity fails at once.
    pub(super) fn run(&self, id: WorkId, job: Job) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.jobs.try_send((id, job)) {
            self.inputs.send(Input::WorkFailed(id));
        }
    }
}

fn work(queue: &Mutex<Receiver<(WorkId, Job)>>, inputs: &InputSender, run: fn(&Job) -> JobResult) {
    loop {
        // The lock is held while waiting, so idle threads queue up behind it; nobody can panic under it.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((id, job)) = next else { return };
        inputs.send(match catch_unwind(AssertUnwindSafe(|| run(&job))) {
            Ok(result) => Input::WorkDone(id, result),
            Err(_) => {
                tracing::error!(?id, "a job panicked");
                Input::WorkFailed(id)
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use futures::StreamExt;
    use weft_core::{primitives::Hash, swarm::inputs};

    use super::*;

    fn job(headers: bool) -> Job {
        let genesis = Hash::ZERO;
        if headers {
            Job::VerifyHeaders { genesis, headers: Arc::default() }
        } else {
            Job::VerifyTransactions { genesis, transactions: Arc::default() }
        }
    }

    #[tokio::test]
    async fn a_job_that_panics_fails_alone() {
        let (sender, mut inbox) = inputs();
        let workers = Workers::start_running(&sender, |job| match job {
            Job::VerifyHeaders { .. } => panic!("as the test wants"),
            job => job.run(),
        })
        .unwrap();
        let (mut done, mut failed) = (BTreeSet::new(), BTreeSet::new());
        let rounds = 3 * workers.capacity() as u64;
        for id in 0..rounds {
            workers.run(WorkId(id), job(id % 2 == 0));
            match inbox.next().await {
                Some(Input::WorkDone(id, JobResult::Verified(_))) => done.insert(id),
                Some(Input::WorkFailed(id)) => failed.insert(id),
                other => panic!("{other:?}"),
            };
        }
        assert_eq!(done, (0..rounds).filter(|id| id % 2 == 1).map(WorkId).collect());
        assert_eq!(failed, (0..rounds).filter(|id| id % 2 == 0).map(WorkId).collect());
    }
}
