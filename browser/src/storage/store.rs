//! The store's rows: in memory for reading, and behind that in IndexedDB, as core's [`Journal`] lays them out.

use std::{
    rc::Rc,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, channel::mpsc};
use futures_timer::Delay;
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::IdbKeyRange;
use weft_core::{
    node::Input,
    store::{Batch, Commit, Journal, JournalReader, MemoryStore, Seq, Store, Table},
};

use super::Trouble;
use crate::{
    in_words,
    indexed::{Database, finished},
};

/// The object store of one value: [`Commit::head`].
pub(super) const HEAD: &str = "head";
const HEAD_KEY: &str = "head";
/// The journal's entries by number.
pub(super) const JOURNAL: &str = "journal";
/// Pages by key.
pub(super) const PAGES: &str = "pages";

/// How many values are read at a time.
const READ: u32 = 64;
/// How long the oldest batch waits for company when nobody asked for a flush.
const GATHER: Duration = Duration::from_millis(100);
/// The bytes of waiting batches that are written without waiting for more.
const ENOUGH: usize = 1 << 20;
/// The bytes of waiting batches at which the disk is given up: a tab cannot wait for it.
const FULL: usize = 64 << 20;

/// What the store that core holds, the writer and whoever asks for a flush share. Only one thread ever has it; the lock is
/// what lets the store be `Send`, as it must be elsewhere.
#[derive(Default)]
struct Shared {
    memory: MemoryStore,
    waiting: Vec<Batch>,
    bytes: usize,
    applied: u64,
    flush: bool,
    /// Nothing is written any more.
    failed: bool,
}

fn open_shared(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Core's store: reads are from memory, and every batch also goes to the writer.
pub(super) struct TabStore {
    shared: Arc<Mutex<Shared>>,
    wake: mpsc::UnboundedSender<()>,
}

impl Store for TabStore {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        open_shared(&self.shared).memory.get(table, key)
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        open_shared(&self.shared).memory.range(table, from, limit)
    }

    fn apply(&mut self, batch: Batch) -> Seq {
        let mut shared = open_shared(&self.shared);
        shared.memory.apply(batch.clone());
        shared.applied += 1;
        if !shared.failed {
            shared.bytes += weight(&batch);
            shared.waiting.push(batch);
            // Nobody hears it once the writer has ended.
            let _ = self.wake.unbounded_send(());
        }
        Seq(shared.applied)
    }

    fn durable_at_once(&self) -> bool {
        false
    }
}

/// About how many bytes a batch occupies.
fn weight(batch: &Batch) -> usize {
    let row = size_of::<weft_core::store::Write>();
    batch.0.iter().map(|write| row + write.key.len() + write.value.as_ref().map_or(0, Vec::len)).sum()
}

/// Asks the writer for a flush.
pub(crate) struct Flusher {
    shared: Arc<Mutex<Shared>>,
    wake: mpsc::UnboundedSender<()>,
}

impl Flusher {
    /// Makes everything that was applied durable now.
    pub(super) fn flush(&self) {
        open_shared(&self.shared).flush = true;
        // As above.
        let _ = self.wake.unbounded_send(());
    }
}

/// Reads the rows. The writer runs until store and flusher are gone and everything is written, or a write fails; it tells
/// `report` how far it is.
pub(super) async fn open(
    database: Rc<Database>,
    report: impl Fn(Input),
) -> Result<(TabStore, Flusher, impl Future<Output = ()>), Trouble> {
    let (memory, journal) = load(&database).await?;
    let shared = Arc::new(Mutex::new(Shared { memory, ..Shared::default() }));
    let (wake, woken) = mpsc::unbounded();
    let writer = Writer { database, journal, first_entry: None, shared: shared.clone(), woken };
    let store = TabStore { shared: shared.clone(), wake: wake.clone() };
    Ok((store, Flusher { shared, wake }, writer.run(report)))
}

async fn load(database: &Database) -> Result<(MemoryStore, Journal), Trouble> {
    let mut reader = JournalReader::default();
    let damaged = |error: weft_core::store::JournalError| Trouble::Unreadable(error.to_string());
    each(database, PAGES, &mut |value| reader.page(value).map_err(damaged)).await?;
    each(database, JOURNAL, &mut |value| reader.entry(value).map_err(damaged)).await?;
    let head = database.read(HEAD)?.get(&HEAD_KEY.into()).map_err(in_words)?;
    let head = finished(&head).await?.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec);
    reader.finish(head.as_deref()).map_err(damaged)
}

/// Hands every value of an object store to `take`, in the order of the keys.
async fn each(
    database: &Database,
    store: &str,
    take: &mut dyn FnMut(&[u8]) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let mut rest = JsValue::UNDEFINED;
    loop {
        let store = database.read(store)?;
        let keys = store.get_all_keys_with_key_and_limit(&rest, READ).map_err(in_words)?;
        let values = store.get_all_with_key_and_limit(&rest, READ).map_err(in_words)?;
        // The second ends after the first.
        let values = Array::from(&finished(&values).await?);
        let keys = Array::from(&keys.result().map_err(in_words)?);
        for value in values.iter() {
            let value = value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec);
            take(&value.ok_or_else(|| Trouble::Unreadable("a stored value is not one of ours".into()))?)?;
        }
        if keys.length() < READ {
            return Ok(());
        }
        let last = keys.get(keys.length() - 1);
        rest = IdbKeyRange::lower_bound_with_open(&last, true).map_err(in_words)?.into();
    }
}

struct Writer {
    database: Rc<Database>,
    journal: Journal,
    /// The lowest entry that may be there.
    first_entry: Option<u64>,
    shared: Arc<Mutex<Shared>>,
    woken: mpsc::UnboundedReceiver<()>,
}

/// What the writer is to do next.
enum Next {
    Commit,
    /// All that was applied is durable already, and somebody asked.
    Tell,
    Wait,
}

impl Writer {
    async fn run(mut self, report: impl Fn(Input)) {
        let mut durable = Seq(0);
        let mut ended = false;
        loop {
            match self.next() {
                Next::Tell => report(Input::Persisted(durable)),
                Next::Wait if ended => return,
                Next::Wait => ended = self.woken.next().await.is_none(),
                Next::Commit => {
                    ended |= self.gather().await;
                    match self.commit().await {
                        Ok(seq) => {
                            durable = seq;
                            report(Input::Persisted(durable));
                        }
                        Err(reason) => {
                            let mut shared = open_shared(&self.shared);
                            shared.failed = true;
                            shared.waiting = Vec::new();
                            drop(shared);
                            return report(Input::StorageFailed(reason));
                        }
                    }
                }
            }
        }
    }

    fn next(&self) -> Next {
        let mut shared = open_shared(&self.shared);
        match (self.journal.is_folding() || !shared.waiting.is_empty(), std::mem::take(&mut shared.flush)) {
            (true, flush) => {
                shared.flush = flush;
                Next::Commit
            }
            (false, true) => Next::Tell,
            (false, false) => Next::Wait,
        }
    }

    /// Waits for more batches to share a commit, unless there are enough or somebody waits. Whether no more will come.
    async fn gather(&mut self) -> bool {
        let mut late = Delay::new(GATHER).fuse();
        loop {
            {
                let shared = open_shared(&self.shared);
                if shared.flush || shared.bytes >= ENOUGH || self.journal.is_folding() {
                    return false;
                }
            }
            futures::select! {
                woken = self.woken.next() => if woken.is_none() { return true },
                () = late => return false,
            }
        }
    }

    /// Makes everything that was applied durable.
    async fn commit(&mut self) -> Result<Seq, String> {
        let (commit, upto) = {
            let mut shared = open_shared(&self.shared);
            if shared.bytes > FULL {
                return Err("the browser writes to its disk more slowly than the chain grows".into());
            }
            let group = std::mem::take(&mut shared.waiting);
            shared.bytes = 0;
            shared.flush = false;
            (self.journal.commit(&shared.memory, &group), Seq(shared.applied))
        };
        self.write(commit).await?;
        Ok(upto)
    }

    async fn write(&mut self, commit: Commit) -> Result<(), String> {
        let transaction = self.database.write(&[HEAD, JOURNAL, PAGES])?;
        let (journal, pages) = (transaction.store(JOURNAL)?, transaction.store(PAGES)?);
        let bytes = |bytes: &[u8]| JsValue::from(Uint8Array::from(bytes));
        if let Some((number, entry)) = commit.entry {
            journal.put_with_key(&bytes(&entry), &(number as f64).into()).map_err(in_words)?;
        }
        for (key, page) in commit.pages {
            match page {
                Some(page) => pages.put_with_key(&bytes(&page), &bytes(&key)),
                None => pages.delete(&bytes(&key)),
            }
            .map_err(in_words)?;
        }
        if self.first_entry.replace(commit.first_entry) != Some(commit.first_entry) {
            let folded = IdbKeyRange::upper_bound_with_open(&(commit.first_entry as f64).into(), true);
            journal.delete(&folded.map_err(in_words)?.into()).map_err(in_words)?;
        }
        let head = transaction.store(HEAD)?;
        head.put_with_key(&bytes(&commit.head), &HEAD_KEY.into()).map_err(in_words)?;
        transaction.done().await
    }
}
