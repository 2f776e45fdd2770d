//! The store's rows: in memory for reading, and as redb keeps them.
//!
//! Rows of cold tables are not in memory: they are read from the file, or from the queue to it. In the file each is behind
//! a checksum of its own, since nobody compares that of all rows after the start.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Weak},
};

use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use weft_core::{
    primitives::Hasher,
    store::{Batch, MemoryStore, Seq, Store, Table},
};

use super::{
    DiskError,
    file::{DIGEST, File, META, Trouble, exactly},
    queue::Queue,
};

/// All rows of all tables: the length of the table's name, the name, the key.
pub(super) const ROWS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");

/// The bytes of checksum before a cold row's value.
const CHECKSUM: usize = 8;
/// Rows are taken into memory so many at a time.
const LOAD: usize = 1024;

/// Core's store: reads are from memory, and every batch also goes to the writer's queue. `apply` waits only when the
/// disk is far behind.
pub struct DiskStore {
    memory: MemoryStore,
    seq: Seq,
    queue: Queue,
    /// For cold rows; the writer closes it.
    file: Weak<File>,
}

impl DiskStore {
    pub(super) fn new(memory: MemoryStore, queue: Queue, file: &Arc<File>) -> Self {
        Self { memory, seq: Seq(0), queue, file: Arc::downgrade(file) }
    }

    /// At most `limit` rows of the file whose keys are at or after `first` and begin with `prefix`.
    fn read(&self, prefix: &[u8], first: &[u8], limit: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let Some(file) = self.file.upgrade() else { return BTreeMap::new() };
        let read = file.with(|database| {
            let rows = match database.begin_read()?.open_table(ROWS) {
                Err(redb::TableError::TableDoesNotExist(_)) => return Ok(BTreeMap::new()),
                rows => rows?,
            };
            let mut found = BTreeMap::new();
            for entry in rows.range(first..)?.take(limit) {
                let (row, value) = entry?;
                if !row.value().starts_with(prefix) {
                    break;
                }
                found.insert(row.value().to_vec(), value.value().to_vec());
            }
            Ok(found)
        });
        read.unwrap_or_else(|trouble| {
            tracing::error!("{} cannot be read: {trouble}", file.path.display());
            BTreeMap::new()
        })
    }

    fn cold_range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let prefix = row_key(table, &[]);
        let queued = self.queue.cold_rows(table, from);
        // So many of the file's may be replaced or gone.
        let limit_read = limit.saturating_add(queued.len());
        let mut rows = self.read(&prefix, &row_key(table, from), limit_read);
        for (row, value) in queued {
            match value {
                Some(value) => drop(rows.insert(row, value)),
                None => drop(rows.remove(&row)),
            }
        }
        let opened = |(row, value): (Vec<u8>, Vec<u8>)| Some((row[prefix.len()..].to_vec(), opened(&value)?));
        rows.into_iter().take(limit).filter_map(opened).collect()
    }
}

/// A cold row's value behind its checksum.
fn sealed(value: &[u8]) -> Vec<u8> {
    let sum = Hasher::tagged(b"weft/cold-row").add(value).finish();
    [&sum.0[..CHECKSUM], value].concat()
}

/// The value again; `None`, and a word to the person, when it is damaged.
fn opened(stored: &[u8]) -> Option<Vec<u8>> {
    let value = stored.get(CHECKSUM..).filter(|value| sealed(value) == stored);
    if value.is_none() {
        tracing::error!("a row of the store is damaged");
    }
    value.map(<[u8]>::to_vec)
}

impl Store for DiskStore {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        if !table.is_cold() {
            return self.memory.get(table, key);
        }
        let row = row_key(table, key);
        let value = match self.queue.cold_row(&row) {
            Some(queued) => queued,
            None => self.read(&row, &row, 1).remove(&row),
        };
        opened(&value?)
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        if table.is_cold() {
            self.cold_range(table, from, limit)
        } else {
            self.memory.range(table, from, limit)
        }
    }

    fn apply(&mut self, mut batch: Batch) -> Seq {
        let hot = batch.0.iter().filter(|write| !write.table.is_cold()).cloned().collect();
        self.memory.apply(Batch(hot));
        for write in batch.0.iter_mut().filter(|write| write.table.is_cold()) {
            write.value = write.value.as_deref().map(sealed);
        }
        self.seq.0 += 1;
        self.queue.push(self.seq, batch);
        self.seq
    }

    fn durable_at_once(&self) -> bool {
        false
    }
}

impl fmt::Debug for DiskStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskStore").field("seq", &self.seq).finish_non_exhaustive()
    }
}

/// The checksum of a set of rows: the sum of the rows' hashes, so that it is kept up to date at the cost of the rows
/// that change. It finds accidents; it is no defence against whoever can write the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u128);

impl Digest {
    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_le_bytes(bytes))
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }

    pub(super) fn add(&mut self, row: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(Self::of(row, value));
    }

    pub(super) fn remove(&mut self, row: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_sub(Self::of(row, value));
    }

    fn of(row: &[u8], value: &[u8]) -> u128 {
        let hash =
            Hasher::tagged(b"weft/row").add(&(row.len() as u64).to_le_bytes()).add(row).add(value).finish();
        u128::from_le_bytes(std::array::from_fn(|index| hash.0[index]))
    }
}

/// A row's key in [`ROWS`].
pub(super) fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let name = table.0.as_bytes();
    let length = u8::try_from(name.len()).expect("core's table names are short literals");
    let mut row = Vec::with_capacity(1 + name.len() + key.len());
    row.push(length);
    row.extend_from_slice(name);
    row.extend_from_slice(key);
    row
}

/// Takes a row's key apart again.
fn parts(row: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = row.split_first()?;
    let (name, key) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, key))
}

/// Reads every row, and compares their checksum with the one written beside them.
pub(super) fn load(file: &File) -> Result<(MemoryStore, Digest), DiskError> {
    file.with(|database| {
        let mut memory = MemoryStore::default();
        let mut digest = Digest::default();
        let transaction = database.begin_read()?;
        match transaction.open_table(ROWS) {
            Err(redb::TableError::TableDoesNotExist(_)) => {}
            rows => {
                let mut batch = Batch::default();
                for entry in rows?.iter()? {
                    let (row, value) = entry?;
                    digest.add(row.value(), value.value());
                    let (table, key) = parts(row.value())
                        .and_then(|(name, key)| Some((Table::named(name)?, key)))
                        .ok_or_else(|| Trouble::Damaged("a row has no table".to_owned()))?;
                    if table.is_cold() {
                        continue;
                    }
                    batch.put(table, key, value.value());
                    if batch.0.len() >= LOAD {
                        memory.apply(std::mem::take(&mut batch));
                    }
                }
                memory.apply(batch);
            }
        }
        let written = match transaction.open_table(META)?.get(DIGEST)? {
            Some(bytes) => Digest::from_bytes(exactly(bytes.value(), "its checksum")?),
            None => Digest::default(),
        };
        if written != digest {
            return Err(Trouble::Damaged("its rows are not those that were written".to_owned()));
        }
        Ok((memory, digest))
    })
    .map_err(|trouble| file.refusal(trouble))
}
