//! Where a peer keeps what must survive: a small ordered store in memory, written behind in batches, and an archive
//! for bodies and old headers.
//!
//! Reads and writes of the [`Store`] are immediate. A shell that has a disk hands core a store whose `apply` also queues
//! the batch; one writer commits batches in order and reports how far it is. A crash keeps some prefix of the batches.
//! Each folder owns its own tables and names them itself.

mod archive;
mod journal;
mod memory;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

pub use archive::{ArchiveAnswer, ArchiveFailure, ArchiveRequest, ArchivedBlock};
pub use journal::{Commit, Journal, JournalError, JournalReader};
pub use memory::{MemoryArchive, MemoryStore};

/// The version of everything that is stored. A store of another version is refused, not misread.
pub const SCHEMA: u32 = 1;

/// The name of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Table(pub &'static str);

/// The most names of tables that are kept; more are a sign of damage.
const MAX_TABLES: usize = 256;

impl Table {
    /// Whether there may be very many rows, which are seldom read: a store with a disk need not keep them in memory. The
    /// names of such tables begin with `cold/`.
    #[must_use]
    pub fn is_cold(&self) -> bool {
        self.0.starts_with("cold/")
    }

    /// The table of this name, for a name read from a disk: it is kept forever, once. `None` when there are too many.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return Some(Self(known));
        }
        if names.len() >= MAX_TABLES || name.len() > usize::from(u8::MAX) {
            return None;
        }
        let kept: &'static str = name.to_owned().leak();
        names.insert(kept);
        Some(Self(kept))
    }
}

/// The number of a batch: 1 for the first since the peer started. Durability is reported as "all up to".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seq(pub u64);

/// One row's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The table.
    pub table: Table,
    /// The row's key.
    pub key: Vec<u8>,
    /// The new value, or `None` to remove the row.
    pub value: Option<Vec<u8>>,
}

/// Changes that become visible, and durable, together or not at all. Later ones win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch(pub Vec<Write>);

impl Batch {
    /// Sets a row.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.0.push(Write { table, key: key.into(), value: Some(value.into()) });
    }

    /// Removes a row, if it is there.
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.0.push(Write { table, key: key.into(), value: None });
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An ordered map of bytes per table, in memory but for the [cold](Table::is_cold) ones.
pub trait Store {
    /// The row's value.
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>>;

    /// At most `limit` rows with keys at or after `from`, in key order.
    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)>;

    /// Makes a batch visible at once and queues it to be made durable. Batches become durable in the order of their
    /// numbers.
    fn apply(&mut self, batch: Batch) -> Seq;

    /// The last batch that is durable already when `apply` returns, for stores that have nothing slower behind them.
    /// A store with a disk answers `None` and lets the shell report with
    /// [`Input::Persisted`](crate::node::Input::Persisted).
    fn durable_at_once(&self) -> bool;
}
