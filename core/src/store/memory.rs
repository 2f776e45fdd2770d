//! The store that lives in memory alone, and the memory of those that do not.

use std::collections::BTreeMap;

use super::{Batch, Seq, Store, Table};

/// Rows in ordered maps. What it holds, a restart forgets.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    seq: Seq,
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.tables.get(&table)?.get(key).cloned()
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let Some(rows) = self.tables.get(&table) else { return Vec::new() };
        rows.range(from.to_vec()..).take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn apply(&mut self, batch: Batch) -> Seq {
        for write in batch.0 {
            let rows = self.tables.entry(write.table).or_default();
            match write.value {
                Some(value) => rows.insert(write.key, value),
                None => rows.remove(&write.key),
            };
        }
        self.seq.0 += 1;
        self.seq
    }

    fn durable_at_once(&self) -> bool {
        true
    }
}
