//! Costly work, away from the page: a few Web Workers that run [`Job`]s.
//!
//! No job ever runs on the page's own thread. A worker that dies takes its jobs with it: the node is told that they
//! failed, and a new worker is started. While none can be started at all, jobs fail, and the person is told.

mod inside;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    time::Duration,
};

use futures_timer::Delay;
use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{ErrorEvent, Event, MessageEvent, Worker, WorkerOptions, WorkerType};
use weft_core::node::{Job, JobResult, WorkId};

use crate::{in_words, measure};

pub(crate) use inside::serve;

/// The most workers: beyond it a tab takes more of a machine than it should.
const MAX_WORKERS: usize = 4;
/// How long a worker may take to start.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long after a worker failed to start the next attempt is made: doubled each time, up to this.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

#[wasm_bindgen]
extern "C" {
    /// Where this program's glue code came from: the name has a hash, and a worker needs the same.
    #[wasm_bindgen(thread_local_v2, js_namespace = ["import", "meta"], js_name = url)]
    static GLUE: String;
}

/// What the workers have to tell.
pub(crate) enum Report {
    /// A job is done.
    Done(WorkId, JobResult),
    /// A job was lost with its worker.
    Lost(WorkId),
    /// No worker can be started, in words.
    Broken(String),
    /// Workers can be started again.
    Mended,
}

/// How many workers this machine has room for beside the page.
pub(crate) fn room() -> usize {
    let cores = web_sys::window().map_or(1.0, |window| window.navigator().hardware_concurrency());
    (cores as usize).saturating_sub(1).clamp(1, MAX_WORKERS)
}

/// The workers of this page.
#[derive(Clone)]
pub(crate) struct Workers(Rc<Pool>);

struct Pool {
    slots: Vec<RefCell<Slot>>,
    broken: Cell<bool>,
    report: Box<dyn Fn(Report)>,
}

#[derive(Default)]
struct Slot {
    worker: Option<Running>,
    ready: bool,
    /// In the order they were given, which is the order of the answers.
    jobs: VecDeque<(WorkId, Job)>,
    failed_starts: u32,
    /// Tells the callbacks and time-outs of earlier workers from those of the present one.
    generation: u32,
}

struct Running {
    worker: Worker,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _error: Closure<dyn FnMut(Event)>,
}

impl Workers {
    /// Starts `count` workers, which report to `report`.
    pub(crate) fn start(count: usize, report: impl Fn(Report) + 'static) -> Self {
        let slots = (0..count).map(|_| RefCell::default()).collect();
        let workers = Self(Rc::new(Pool { slots, broken: Cell::new(false), report: Box::new(report) }));
        for index in 0..count {
            workers.launch(index);
        }
        workers
    }

    /// Runs a job on the worker with the least to do.
    pub(crate) fn run(&self, id: WorkId, job: Job) {
        if self.0.broken.get() {
            measure::job_lost(false);
            (self.0.report)(Report::Lost(id));
            return;
        }
        let least = self.0.slots.iter().min_by_key(|slot| slot.borrow().jobs.len());
        let Some(slot) = least else { return };
        let mut slot = slot.borrow_mut();
        if slot.ready {
            slot.send(&job);
        }
        slot.jobs.push_back((id, job));
        measure::job_waits();
    }

    fn launch(&self, index: usize) {
        let generation = {
            let mut slot = self.0.slots[index].borrow_mut();
            slot.ready = false;
            slot.generation += 1;
            slot.generation
        };
        match self.running(index, generation) {
            Ok(running) => self.0.slots[index].borrow_mut().worker = Some(running),
            Err(error) => return self.died(index, generation, &error),
        }
        let workers = self.clone();
        wasm_bindgen_futures::spawn_local(async move {
            Delay::new(START_PATIENCE).await;
            if !workers.0.slots[index].borrow().ready {
                workers.died(index, generation, "it did not start in time");
            }
        });
    }

    fn running(&self, index: usize, generation: u32) -> Result<Running, String> {
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        options.set_name("weft");
        let worker = Worker::new_with_options("worker.js", &options).map_err(in_words)?;
        let workers = self.clone();
        let message = Closure::<dyn FnMut(MessageEvent)>::new(move |message: MessageEvent| {
            workers.heard(index, generation, &message.data());
        });
        let workers = self.clone();
        let error = Closure::<dyn FnMut(Event)>::new(move |event: Event| {
            // A script that cannot be fetched is a plain event without a message.
            let message = event.dyn_ref::<ErrorEvent>().map(ErrorEvent::message);
            let message = message.unwrap_or_else(|| "its program could not be fetched".into());
            workers.died(index, generation, &message);
        });
        worker.set_onmessage(Some(message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(error.as_ref().unchecked_ref()));
        let program = Object::new();
        Reflect::set(&program, &"glue".into(), &GLUE.with(Clone::clone).into()).map_err(in_words)?;
        Reflect::set(&program, &"module".into(), &wasm_bindgen::module()).map_err(in_words)?;
        worker.post_message(&program).map_err(in_words)?;
        Ok(Running { worker, _message: message, _error: error })
    }

    /// A worker said that it is ready, gave an answer, or said in words why it cannot start.
    fn heard(&self, index: usize, generation: u32, data: &JsValue) {
        let slot = &self.0.slots[index];
        if slot.borrow().generation != generation {
            return;
        }
        let Some(bytes) = data.dyn_ref::<Uint8Array>() else {
            return self.died(index, generation, &in_words(data.clone()));
        };
        if !slot.borrow().ready {
            let mut slot = slot.borrow_mut();
            slot.ready = true;
            slot.failed_starts = 0;
            for (_, job) in &slot.jobs {
                slot.send(job);
            }
            drop(slot);
            if self.0.broken.replace(false) {
                (self.0.report)(Report::Mended);
            }
            return;
        }
        let Some((id, job)) = slot.borrow_mut().jobs.pop_front() else {
            return self.died(index, generation, "it answered without being asked");
        };
        let result = JobResult::from_bytes(&bytes.to_vec(), &job);
        measure::job_done(&job, &result);
        (self.0.report)(Report::Done(id, result));
    }

    /// Ends a worker, gives up its jobs, and starts another: at once when it had run, after a while when it had not.
    fn died(&self, index: usize, generation: u32, error: &str) {
        let (jobs, failed_starts) = {
            let mut slot = self.0.slots[index].borrow_mut();
            if slot.generation != generation {
                return;
            }
            tracing::warn!(error, "a worker died");
            slot.generation += 1;
            if let Some(running) = slot.worker.take() {
                running.worker.terminate();
                // This may run inside one of its callbacks, which must not be freed under its feet.
                wasm_bindgen_futures::spawn_local(async move { drop(running) });
            }
            if !slot.ready {
                slot.failed_starts += 1;
            }
            slot.ready = false;
            (std::mem::take(&mut slot.jobs), slot.failed_starts)
        };
        measure::worker_died();
        let none_runs = self.0.slots.iter().all(|slot| slot.borrow().failed_starts > 0);
        if none_runs && !self.0.broken.replace(true) {
            (self.0.report)(Report::Broken(error.to_owned()));
        }
        for (id, _) in jobs {
            measure::job_lost(true);
            (self.0.report)(Report::Lost(id));
        }
        let wait = Duration::from_millis(500).saturating_mul(1 << failed_starts.min(10)).min(MAX_BACK_OFF);
        let workers = self.clone();
        wasm_bindgen_futures::spawn_local(async move {
            if failed_starts > 0 {
                Delay::new(wait).await;
            }
            workers.launch(index);
        });
    }
}

impl Slot {
    fn send(&self, job: &Job) {
        let Some(running) = &self.worker else { return };
        let bytes = Uint8Array::from(job.to_bytes().as_slice());
        let buffer = Array::of1(&bytes.buffer());
        // Fails only when bytes cannot be cloned; the job then counts as lost when the worker is given up.
        if let Err(error) = running.worker.post_message_with_transfer(&bytes, &buffer) {
            tracing::warn!(error = in_words(error), "a job could not be sent");
        }
    }
}
