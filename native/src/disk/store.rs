//! The store's rows: in memory for reading, and as redb keeps them.

use std::fmt;

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

/// Rows are taken into memory so many at a time.
const LOAD: usize = 1024;

/// Core's store: reads are from memory, and every batch also goes to the writer's queue. `apply` waits only when the
/// disk is far behind.
pub struct DiskStore {
    memory: MemoryStore,
    seq: Seq,
    queue: Queue,
}

impl DiskStore {
    pub(super) fn new(memory: MemoryStore, queue: Queue) -> Self {
        Self { memory, seq: Seq(0), queue }
    }
}

impl Store for DiskStore {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.memory.get(table, key)
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.memory.range(table, from, limit)
    }

    fn apply(&mut self, batch: Batch) -> Seq {
        self.memory.apply(batch.clone());
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
