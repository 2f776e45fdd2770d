//! What a tab reads from its disk.

use std::collections::BTreeMap;

use weft_core::{
    primitives::{Hasher, encode},
    store::{Batch, Commit, Journal, JournalError, JournalReader, MemoryStore, Store, Table},
};

const TABLES: [Table; 2] = [Table("one"), Table("second")];

/// What is on a disk.
#[derive(Default)]
struct Disk {
    head: Option<Vec<u8>>,
    pages: BTreeMap<Vec<u8>, Vec<u8>>,
    entries: BTreeMap<u64, Vec<u8>>,
}

impl Disk {
    fn keep(&mut self, commit: Commit) {
        self.head = Some(commit.head);
        self.entries.extend(commit.entry);
        self.entries = self.entries.split_off(&commit.first_entry);
        for (key, page) in commit.pages {
            match page {
                Some(page) => drop(self.pages.insert(key, page)),
                None => drop(self.pages.remove(&key)),
            }
        }
    }

    fn read(&self) -> Result<(MemoryStore, Journal), JournalError> {
        let mut reader = JournalReader::default();
        self.pages.values().try_for_each(|page| reader.page(page))?;
        self.entries.values().try_for_each(|entry| reader.entry(entry))?;
        reader.finish(self.head.as_deref())
    }
}

fn rows(store: &MemoryStore) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    TABLES.map(|table| store.range(table, &[], usize::MAX)).into()
}

/// Writes, four bytes each: what was committed is read again, and one byte of damage is noticed.
pub fn journal(data: &[u8]) -> bool {
    let (mut memory, mut journal, mut disk) = (MemoryStore::default(), Journal::default(), Disk::default());
    let mut batches = Vec::new();
    let mut damage = (0, 0);
    let (writes, _) = data.as_chunks();
    for [what, key, len, fill] in writes {
        let mut batch = Batch::default();
        let table = TABLES[usize::from(what & 1)];
        if what & 2 == 0 {
            batch.put(table, [*key], vec![*fill; usize::from(*len)]);
        } else {
            batch.delete(table, [*key]);
        }
        memory.apply(batch.clone());
        batches.push(batch);
        if what & 4 != 0 {
            disk.keep(journal.commit(&memory, &batches));
            batches.clear();
        }
        damage = (usize::from(*key), usize::from(*fill));
    }
    disk.keep(journal.commit(&memory, &batches));
    let (read, _) = disk.read().expect("what was written can be read");
    assert_eq!(rows(&read), rows(&memory));

    let values = disk.entries.values_mut().chain(disk.pages.values_mut()).chain(&mut disk.head);
    let mut values: Vec<&mut Vec<u8>> = values.collect();
    let which = damage.0 % values.len();
    let at = damage.1 % values[which].len();
    values[which][at] ^= 1 << (damage.0 % 8);
    assert!(disk.read().is_err(), "damage that nobody notices");
    !writes.is_empty()
}

/// Commits with puts and deletes.
pub fn journal_seeds() -> Vec<Vec<u8>> {
    let writes =
        |count: u8| (0..count).flat_map(|at| [at.wrapping_mul(37) % 8, at % 50, at, 255 - at]).collect();
    vec![writes(1), writes(40), writes(200)]
}

/// A value behind the checksum that it should have.
fn sealed(value: &[u8]) -> Vec<u8> {
    let sum = Hasher::tagged(b"weft/journal").add(value).finish();
    [&sum.0[..8], value].concat()
}

/// Values that are not damaged, but not what this program writes either: a kind, a length, and so many bytes, again and again.
pub fn journal_values(data: &[u8]) -> bool {
    let (mut reader, mut head, mut rest) = (JournalReader::default(), None, data);
    while let Some(([kind, low, high], after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (value, after) = after.split_at(len);
        let value = sealed(value);
        let taken = match kind % 3 {
            0 => reader.page(&value),
            1 => reader.entry(&value),
            _ => {
                head = Some(value);
                Ok(())
            }
        };
        if taken.is_err() {
            return false;
        }
        rest = after;
    }
    let Ok((mut memory, mut journal)) = reader.finish(head.as_deref()) else { return false };
    let mut batch = Batch::default();
    batch.put(TABLES[0], [7], [8]);
    memory.apply(batch.clone());
    let commit = journal.commit(&memory, &[batch]);
    commit.entry.is_some()
}

/// A journal with two entries, and an empty one.
pub fn journal_values_seeds() -> Vec<Vec<u8>> {
    let value = |kind: u8, value: Vec<u8>| {
        let len = u16::try_from(value.len()).expect("a small value");
        [&[kind][..], &len.to_le_bytes(), &value].concat()
    };
    let row = |key: u8| [&[3][..], b"one", &[key]].concat();
    let entry = |number: u64| encode(&(number, vec![(row(1), Some(vec![number as u8])), (row(2), None)]));
    let head = encode(&(0_u64, 4_u64, 6_u64));
    let page = encode(&(row(0), vec![(vec![0_u8], vec![9_u8])]));
    let sum = sealed(&page).first_chunk().map(|sum| u64::from_le_bytes(*sum)).unwrap_or_default();
    let with_page = encode(&(sum, 4_u64, 5_u64));
    vec![
        [value(1, entry(4)), value(1, entry(5)), value(2, head)].concat(),
        [value(0, page), value(1, entry(4)), value(2, with_page)].concat(),
        Vec::new(),
    ]
}
