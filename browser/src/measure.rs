//! What the page knows about itself: when it got where, and what ran on its thread.
//!
//! `window.weft.debug()` answers with an object, for tests and the curious:
//! `{ marks: { name: milliseconds since navigation }, jobs_given, jobs_in_worker, jobs_waiting, jobs_lost, jobs_on_main,
//! workers_died, long_tasks, longest_task_millis }`. `jobs_on_main` is what the node gave out and no worker answered,
//! lost or still has.

use std::cell::{Cell, RefCell};

use js_sys::{Array, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{PerformanceObserver, PerformanceObserverEntryList, PerformanceObserverInit};
use weft_core::node::{Job, JobResult};

use crate::in_words;

/// A moment of the way from nothing to a verified block.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The program runs.
    Started,
    /// The keys are there.
    Identified,
    /// What is stored of the chain has been read.
    Loaded,
    /// A peer is connected.
    Connected,
    /// A header's signature was found right.
    FirstHeader,
    /// A block was executed and its roots were right.
    FirstBlock,
    /// This tab's account was verified: by proof, or by execution.
    Balance,
    /// The peer follows the chain, or what is final of it.
    Synced,
}

impl Mark {
    const fn name(self) -> &'static str {
        match self {
            Self::Started => "program started",
            Self::Identified => "keys loaded",
            Self::Loaded => "stored chain loaded",
            Self::Connected => "connected",
            Self::FirstHeader => "first header verified",
            Self::FirstBlock => "first block verified",
            Self::Balance => "balance verified",
            Self::Synced => "synced",
        }
    }
}

#[derive(Default)]
struct Measured {
    marks: RefCell<Vec<(Mark, f64)>>,
    jobs_given: Cell<u32>,
    jobs_in_worker: Cell<u32>,
    jobs_waiting: Cell<u32>,
    jobs_lost: Cell<u32>,
    workers_died: Cell<u32>,
    long_tasks: Cell<u32>,
    longest_task: Cell<f64>,
}

thread_local! {
    static MEASURED: Measured = Measured::default();
}

/// Marks the moment, the first time only.
pub(crate) fn mark(mark: Mark) {
    MEASURED.with(|measured| {
        let mut marks = measured.marks.borrow_mut();
        if marks.iter().any(|(earlier, _)| *earlier == mark) {
            return;
        }
        let Some(performance) = web_sys::window().and_then(|window| window.performance()) else { return };
        marks.push((mark, performance.now()));
        // Shows up in the browser's profiler; a browser that refuses loses only that.
        let _ = performance.mark(&format!("weft: {}", mark.name()));
    });
}

fn add(counter: impl Fn(&Measured) -> &Cell<u32>, difference: i32) {
    MEASURED.with(|measured| {
        let counter = counter(measured);
        counter.set(counter.get().saturating_add_signed(difference));
    });
}

/// The node gave out a job.
pub(crate) fn job_given() {
    add(|measured| &measured.jobs_given, 1);
}

/// A worker has a job, or has one in its queue.
pub(crate) fn job_waits() {
    add(|measured| &measured.jobs_waiting, 1);
}

/// A job was lost with its worker; `waited` when it had been counted as waiting.
pub(crate) fn job_lost(waited: bool) {
    add(|measured| &measured.jobs_lost, 1);
    if waited {
        add(|measured| &measured.jobs_waiting, -1);
    }
}

/// A worker did a job.
pub(crate) fn job_done(job: &Job, result: &JobResult) {
    add(|measured| &measured.jobs_in_worker, 1);
    add(|measured| &measured.jobs_waiting, -1);
    if let (Job::VerifyHeaders { .. }, JobResult::Verified(valid)) = (job, result)
        && valid.contains(&true)
    {
        mark(Mark::FirstHeader);
    }
}

/// A worker died, or could not be started.
pub(crate) fn worker_died() {
    add(|measured| &measured.workers_died, 1);
}

/// Begins to watch this thread, and puts `weft` on the window.
pub(crate) fn start() {
    mark(Mark::Started);
    if let Err(error) = watch_long_tasks() {
        tracing::info!(error = in_words(error), "this browser does not tell about long tasks");
    }
    if let Err(error) = expose() {
        tracing::warn!(error = in_words(error), "window.weft is missing");
    }
}

fn watch_long_tasks() -> Result<(), JsValue> {
    let seen =
        Closure::<dyn FnMut(PerformanceObserverEntryList)>::new(|list: PerformanceObserverEntryList| {
            MEASURED.with(|measured| {
                for entry in list.get_entries() {
                    let duration = Reflect::get(&entry, &"duration".into()).ok();
                    let millis = duration.and_then(|value| value.as_f64()).unwrap_or_default();
                    add(|measured| &measured.long_tasks, 1);
                    measured.longest_task.set(measured.longest_task.get().max(millis));
                }
            });
        });
    let observer = PerformanceObserver::new(seen.as_ref().unchecked_ref())?;
    observer.observe(&PerformanceObserverInit::new(&Array::of1(&"longtask".into())));
    seen.forget();
    Ok(())
}

fn expose() -> Result<(), JsValue> {
    let debug = Closure::<dyn Fn() -> Result<Object, JsValue>>::new(debug);
    let weft = Object::new();
    Reflect::set(&weft, &"debug".into(), debug.as_ref())?;
    Reflect::set(&js_sys::global(), &"weft".into(), &weft)?;
    debug.forget();
    Ok(())
}

fn debug() -> Result<Object, JsValue> {
    MEASURED.with(|measured| {
        let marks = Object::new();
        for (mark, millis) in measured.marks.borrow().iter() {
            Reflect::set(&marks, &mark.name().into(), &(*millis).into())?;
        }
        let all = Object::new();
        Reflect::set(&all, &"marks".into(), &marks)?;
        let given = measured.jobs_given.get();
        let in_worker = measured.jobs_in_worker.get();
        let (waiting, lost) = (measured.jobs_waiting.get(), measured.jobs_lost.get());
        for (name, count) in [
            ("jobs_given", given),
            ("jobs_in_worker", in_worker),
            ("jobs_waiting", waiting),
            ("jobs_lost", lost),
            ("jobs_on_main", given.saturating_sub(in_worker + waiting + lost)),
            ("workers_died", measured.workers_died.get()),
            ("long_tasks", measured.long_tasks.get()),
        ] {
            Reflect::set(&all, &name.into(), &count.into())?;
        }
        Reflect::set(&all, &"longest_task_millis".into(), &measured.longest_task.get().into())?;
        Ok(all)
    })
}
