//! The batches between the peer and the writer: bounded, and gathered into groups.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use weft_core::store::{Batch, Seq, Table};

use super::store::row_key;

/// The bytes of waiting batches that are written without waiting for more.
const ENOUGH: usize = 4 << 20;
/// The bytes of waiting batches at which the peer waits for the disk.
const FULL: usize = 64 << 20;

/// The queue, shared by the store that fills it, the handle that asks for a flush, and the writer.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Seq, Batch)>,
    /// Rows of cold tables that are not in the file yet, by their keys there; `None` for one that is to go.
    cold: BTreeMap<Vec<u8>, (Seq, Option<Vec<u8>>)>,
    bytes: usize,
    oldest: Option<Instant>,
    flush: Option<Seq>,
    closed: bool,
    abandoned: bool,
}

/// What the writer is to make durable together. Empty when all that a flush asked for is durable already.
pub(super) type Group = Vec<(Seq, Batch)>;

impl Queue {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch; waits while the queue is full. Once the writer has ended, batches are dropped.
    pub(super) fn push(&self, seq: Seq, batch: Batch) {
        let bytes = weight(&batch);
        let mut state = self.lock();
        for write in batch.0.iter().filter(|write| write.table.is_cold()) {
            state.cold.insert(row_key(write.table, &write.key), (seq, write.value.clone()));
        }
        while state.bytes >= FULL && !state.abandoned {
            state = self.wait(state);
        }
        if state.abandoned {
            return;
        }
        state.bytes += bytes;
        state.oldest.get_or_insert_with(Instant::now);
        state.waiting.push_back((seq, batch));
        self.0.changed.notify_all();
    }

    /// Asks for everything up to `seq` now.
    pub(super) fn flush(&self, seq: Seq) {
        let mut state = self.lock();
        state.flush = state.flush.max(Some(seq));
        self.0.changed.notify_all();
    }

    /// No more batches will come: the writer ends when it has written what is here.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.0.changed.notify_all();
    }

    /// The writer ends: nothing is kept for it any more.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        let cold = std::mem::take(&mut state.cold);
        *state = State { cold, abandoned: true, closed: true, ..State::default() };
        self.0.changed.notify_all();
    }

    /// What is to become of a row of a cold table, if that is not in the file yet.
    pub(super) fn cold_row(&self, row: &[u8]) -> Option<Option<Vec<u8>>> {
        self.lock().cold.get(row).map(|(_, value)| value.clone())
    }

    /// [`Self::cold_row`] of all rows of a table from one on.
    pub(super) fn cold_rows(&self, table: Table, from: &[u8]) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        let (prefix, first) = (row_key(table, &[]), row_key(table, from));
        let state = self.lock();
        let rows = state.cold.range(first..).take_while(|(row, _)| row.starts_with(&prefix));
        rows.map(|(row, (_, value))| (row.clone(), value.clone())).collect()
    }

    /// These batches are in the file.
    pub(super) fn written(&self, group: &Group) {
        let mut state = self.lock();
        for (seq, batch) in group {
            for write in batch.0.iter().filter(|write| write.table.is_cold()) {
                let row = row_key(write.table, &write.key);
                if state.cold.get(&row).is_some_and(|(last, _)| last <= seq) {
                    state.cold.remove(&row);
                }
            }
        }
    }

    /// Waits for the next group; when nobody asks for a flush the oldest batch waits so long for company. `None` when the queue is closed
    /// and empty.
    pub(super) fn next(&self, gather: Duration) -> Option<Group> {
        let mut state = self.lock();
        loop {
            let age = state.oldest.map(|oldest| oldest.elapsed());
            match age {
                None if state.flush.take().is_some() => return Some(Group::new()),
                None if state.closed => return None,
                None => state = self.wait(state),
                Some(age) => {
                    if state.closed || state.flush.is_some() || state.bytes >= ENOUGH || age >= gather {
                        state.bytes = 0;
                        state.oldest = None;
                        state.flush = None;
                        let group = state.waiting.drain(..).collect();
                        self.0.changed.notify_all();
                        return Some(group);
                    }
                    let waited = self.0.changed.wait_timeout(state, gather - age);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}

/// About how many bytes a batch occupies.
fn weight(batch: &Batch) -> usize {
    let row = size_of::<weft_core::store::Write>();
    batch.0.iter().map(|write| row + write.key.len() + write.value.as_ref().map_or(0, Vec::len)).sum()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn batches_wait_for_company_until_somebody_waits_for_one_of_them() {
        let queue = Queue::new();
        let writer = thread::spawn({
            let queue = queue.clone();
            move || queue.next(Duration::from_secs(3600))
        });
        for seq in 1..=3 {
            queue.push(Seq(seq), Batch::default());
        }
        queue.flush(Seq(2));
        let group = writer.join().unwrap().unwrap();
        assert_eq!(group.iter().map(|(seq, _)| seq.0).collect::<Vec<_>>(), [1, 2, 3]);
        queue.push(Seq(4), Batch::default());
        assert_eq!(queue.next(Duration::ZERO).unwrap().len(), 1);
        queue.close();
        assert!(queue.next(Duration::from_secs(3600)).is_none());
    }
}
