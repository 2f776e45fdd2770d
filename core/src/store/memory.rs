//! The store that lives in memory alone, and the memory of those that do not.

use std::{collections::BTreeMap, ops::Bound};

use super::{ArchiveAnswer, ArchiveRequest, ArchivedBlock, Batch, Seq, Store, Table};
use crate::primitives::{Hash, Height};

/// Rows in ordered maps. What it holds, a restart forgets.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    tables: BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>,
    seq: Seq,
}

impl MemoryStore {
    /// The rows of a table with keys from `from` on and before `end`, in key order.
    pub(super) fn rows(
        &self,
        table: Table,
        from: &[u8],
        end: Option<&[u8]>,
    ) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.tables.get(&table);
        rows.into_iter().flat_map(move |rows| rows.range::<[u8], _>((Bound::Included(from), end)))
    }

    /// Adds rows.
    pub(super) fn insert(&mut self, table: Table, rows: Vec<(Vec<u8>, Vec<u8>)>) {
        self.tables.entry(table).or_default().extend(rows);
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.tables.get(&table)?.get(key).cloned()
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.rows(table, from, None);
        rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
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

/// An archive without a disk. What it holds, a restart forgets.
#[derive(Clone, Debug, Default)]
pub struct MemoryArchive(BTreeMap<(Height, Hash), ArchivedBlock>);

impl MemoryArchive {
    /// Does what is asked, at once.
    pub fn answer(&mut self, request: ArchiveRequest) -> ArchiveAnswer {
        match request {
            ArchiveRequest::Put(blocks) => {
                self.0.extend(blocks.into_iter().map(|block| ((block.height, block.hash), block)));
                ArchiveAnswer::Stored
            }
            ArchiveRequest::Delete(keys) => {
                for key in keys {
                    self.0.remove(&key);
                }
                ArchiveAnswer::Stored
            }
            ArchiveRequest::Prune { below } => {
                self.0 = self.0.split_off(&(below, Hash::ZERO));
                ArchiveAnswer::Stored
            }
            ArchiveRequest::Headers { from, count } => {
                let blocks = self.0.range((from, Hash::ZERO)..).take(count);
                ArchiveAnswer::Headers(
                    blocks.map(|(&(height, hash), block)| (height, hash, block.header.clone())).collect(),
                )
            }
            ArchiveRequest::Bodies { keys, max_bytes } => {
                let mut sum = 0;
                let mut bodies = Vec::new();
                for key in keys {
                    let body = self.0.get(&key).map(|block| block.body.clone());
                    sum += body.as_ref().map_or(0, Vec::len);
                    bodies.push(body);
                    if sum > max_bytes {
                        break;
                    }
                }
                ArchiveAnswer::Bodies(bodies)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_archive_answers_in_key_order_and_within_bounds() {
        let mut archive = MemoryArchive::default();
        let key = |height: u64| (Height(height), Hash([height as u8; 32]));
        let block = |height| ArchivedBlock {
            height: key(height).0,
            hash: key(height).1,
            header: vec![height as u8],
            body: vec![0; 10],
        };
        archive.answer(ArchiveRequest::Put([3, 1, 2].map(block).to_vec()));
        archive.answer(ArchiveRequest::Delete(vec![key(1), key(9)]));
        let headers = archive.answer(ArchiveRequest::Headers { from: Height(0), count: 1 });
        assert_eq!(headers, ArchiveAnswer::Headers(vec![(Height(2), key(2).1, vec![2])]));
        let bodies = |max_bytes| ArchiveRequest::Bodies { keys: vec![key(1), key(2), key(3)], max_bytes };
        let body = Some(vec![0; 10]);
        assert_eq!(archive.answer(bodies(10)), ArchiveAnswer::Bodies(vec![None, body.clone(), body.clone()]));
        assert_eq!(archive.answer(bodies(9)), ArchiveAnswer::Bodies(vec![None, body.clone()]));

        archive.answer(ArchiveRequest::Prune { below: Height(3) });
        assert_eq!(archive.answer(bodies(30)), ArchiveAnswer::Bodies(vec![None, None, body]));
        let headers = archive.answer(ArchiveRequest::Headers { from: Height(0), count: 9 });
        assert_eq!(
            headers,
            ArchiveAnswer::Headers(vec![(Height(3), key(3).1, vec![3])]),
            "the height itself stays"
        );
    }
}
