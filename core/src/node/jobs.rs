//! The jobs in flight: a bounded number at once, the rest in line, each retried once if its worker dies.

use std::collections::{BTreeMap, VecDeque};

use super::{
    WorkId,
    effects::Effects,
    work::{Job, JobResult},
};

struct InFlight<P> {
    purpose: P,
    job: Job,
    retried: bool,
}

/// What becomes of a job that came back.
pub(super) enum Outcome<P> {
    /// It is done.
    Done(P, JobResult),
    /// Its worker died twice.
    Lost(P),
    /// It is being tried again, or nobody waits for it.
    Nothing,
}

pub(super) struct Jobs<P> {
    in_flight: BTreeMap<WorkId, InFlight<P>>,
    /// Short jobs that somebody waits for, before long ones.
    urgent: VecDeque<(P, Job)>,
    line: VecDeque<(P, Job)>,
    max: usize,
}

impl<P> Jobs<P> {
    pub(super) fn new(max: usize) -> Self {
        Self { in_flight: BTreeMap::new(), urgent: VecDeque::new(), line: VecDeque::new(), max: max.max(1) }
    }

    /// How many are in flight, and how many in line.
    pub(super) fn counts(&self) -> [u64; 2] {
        [self.in_flight.len() as u64, (self.urgent.len() + self.line.len()) as u64]
    }

    /// What a job in flight is for.
    pub(super) fn purpose(&self, id: WorkId) -> Option<&P> {
        self.in_flight.get(&id).map(|flight| &flight.purpose)
    }

    /// Starts a job before all that are in line.
    pub(super) fn urgent(&mut self, fx: &mut Effects, purpose: P, job: Job) {
        self.urgent.push_back((purpose, job));
        self.start(fx);
    }

    /// Starts a job when its turn comes.
    pub(super) fn add(&mut self, fx: &mut Effects, purpose: P, job: Job) {
        self.line.push_back((purpose, job));
        self.start(fx);
    }

    fn start(&mut self, fx: &mut Effects) {
        while self.in_flight.len() < self.max {
            let Some((purpose, job)) = self.urgent.pop_front().or_else(|| self.line.pop_front()) else {
                return;
            };
            let id = fx.work(job.clone());
            self.in_flight.insert(id, InFlight { purpose, job, retried: false });
        }
    }

    pub(super) fn done(&mut self, fx: &mut Effects, id: WorkId, result: JobResult) -> Outcome<P> {
        if matches!(result, JobResult::Failed) {
            return self.failed(fx, id);
        }
        let Some(flight) = self.in_flight.remove(&id) else { return Outcome::Nothing };
        self.start(fx);
        Outcome::Done(flight.purpose, result)
    }

    pub(super) fn failed(&mut self, fx: &mut Effects, id: WorkId) -> Outcome<P> {
        let Some(mut flight) = self.in_flight.remove(&id) else { return Outcome::Nothing };
        if flight.retried {
            self.start(fx);
            return Outcome::Lost(flight.purpose);
        }
        flight.retried = true;
        let id = fx.work(flight.job.clone());
        self.in_flight.insert(id, flight);
        Outcome::Nothing
    }
}
