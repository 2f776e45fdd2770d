//! How the rows of a store are laid out where whole values are kept under keys: a journal of batches, folded into pages.
//!
//! Every commit appends one *entry*: the batches since the last commit. A *page* holds the rows of a range of keys of one
//! table. Reading all pages and then the entries over them, in order, gives the rows back. When the entries have become
//! long against the pages, a *fold* writes the pages again whose rows they changed, a few with every commit, and then
//! drops them. Entries say what rows are, not how they change, so it does no harm that some of a page's rows are newer
//! than the first entries read over it: a fold needs no moment at which everything stands still.
//!
//! What one commit writes must become durable together or not at all. Then a crash at any point keeps a prefix of the
//! batches. Checksums find accidents; they are no defence against whoever can write the disk.

use std::{collections::BTreeMap, ops::Bound};

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Batch, MemoryStore, Store, Table, Write};
use crate::primitives::{Hasher, decode, encode};

/// What the layout aims at, in bytes.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// A page that grows beyond this is divided. Chromium keeps values of more than 64 KiB in files of their own.
    page: usize,
    /// Entries of less than this are not folded, and of less than half the pages neither: so all in all at most three
    /// bytes of pages are written for one of the journal, and at most half again as much is read as there is.
    fold: usize,
    /// What one commit writes of a fold, not counting the last page.
    step: usize,
}

const SIZES: Sizes = Sizes { page: 48 << 10, fold: 1 << 20, step: 256 << 10 };

/// The bytes of checksum before each value.
const CHECKSUM: usize = 8;
/// About how many bytes a row has beside its key and value.
const ROW_OVERHEAD: usize = 8;

/// Why a journal and its pages cannot be read: something is missing or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored rows are damaged: {0}")]
pub struct JournalError(&'static str);

/// What a commit writes, all of it together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The one value that describes the others.
    pub head: Vec<u8>,
    /// A new entry and its number.
    pub entry: Option<(u64, Vec<u8>)>,
    /// Pages by key: the new value, or `None` to remove the page.
    pub pages: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Entries with lower numbers are to be removed.
    pub first_entry: u64,
}

/// The sum of the checksums of all pages, the number of the first entry, and of the next there will be.
type Head = (u64, u64, u64);

#[derive(BorshSerialize, BorshDeserialize)]
struct Entry {
    number: u64,
    /// Row key and value of each row that changes; later ones win.
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Rows {
    /// The row key at which the page's range begins; it ends where the table's next page begins.
    from: Vec<u8>,
    /// Key and value.
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A page as far as it is known without reading it.
#[derive(Debug)]
struct Page {
    table: Table,
    /// `None` when it has never been written.
    checksum: Option<u64>,
    bytes: usize,
    /// It differs from the rows in memory.
    changed: bool,
}

/// A fold under way: it passes over the pages in the order of their keys.
#[derive(Debug)]
struct Fold {
    /// The pages before this key are done.
    next: Vec<u8>,
    /// The entries below this are in the pages when all are done, and how many bytes that are.
    entries: u64,
    bytes: usize,
}

/// What is stored, without the rows, which are in a [`MemoryStore`].
#[derive(Debug)]
pub struct Journal {
    sizes: Sizes,
    /// By the row key at which their ranges begin.
    pages: BTreeMap<Vec<u8>, Page>,
    fold: Option<Fold>,
    first_entry: u64,
    next_entry: u64,
    /// The bytes of the entries.
    bytes: usize,
}

impl Default for Journal {
    fn default() -> Self {
        Self { sizes: SIZES, pages: BTreeMap::new(), fold: None, first_entry: 0, next_entry: 0, bytes: 0 }
    }
}

impl Journal {
    /// What to write so that `batches` are kept. `memory` holds the rows with all batches so far, these included, and
    /// nothing later.
    pub fn commit(&mut self, memory: &MemoryStore, batches: &[Batch]) -> Commit {
        let entry = self.append(batches);
        let pages: usize = self.pages.values().map(|page| page.bytes).sum();
        if self.fold.is_none() && self.bytes >= self.sizes.fold.max(pages / 2) {
            self.fold = Some(Fold { next: Vec::new(), entries: self.next_entry, bytes: self.bytes });
        }
        let mut pages = Vec::new();
        if let Some(mut fold) = self.fold.take() {
            let mut written = 0;
            while written < self.sizes.step
                && let Some(key) = self.changed_from(&fold.next)
            {
                written += self.write(memory, &key, &mut pages);
                fold.next = key;
            }
            if self.changed_from(&fold.next).is_none() {
                self.first_entry = fold.entries;
                self.bytes -= fold.bytes;
            } else {
                self.fold = Some(fold);
            }
        }
        let head: Head = (self.checksums(), self.first_entry, self.next_entry);
        Commit { head: sealed(&head).1, entry, pages, first_entry: self.first_entry }
    }

    /// Whether a fold waits for further commits, which may be empty.
    #[must_use]
    pub const fn is_folding(&self) -> bool {
        self.fold.is_some()
    }

    fn append(&mut self, batches: &[Batch]) -> Option<(u64, Vec<u8>)> {
        let mut writes = Vec::new();
        for write in batches.iter().flat_map(|batch| &batch.0) {
            let row = row_key(write.table, &write.key);
            self.touch(write.table, &row);
            writes.push((row, write.value.clone()));
        }
        if writes.is_empty() {
            return None;
        }
        let number = self.next_entry;
        let (_, bytes) = sealed(&Entry { number, writes });
        self.bytes += bytes.len();
        self.next_entry += 1;
        Some((number, bytes))
    }

    /// Notes that the page of this row has changed.
    fn touch(&mut self, table: Table, row: &[u8]) {
        let first = row_key(table, &[]);
        let range = (Bound::Included(first.as_slice()), Bound::Included(row));
        match self.pages.range_mut::<[u8], _>(range).next_back() {
            Some((_, page)) => page.changed = true,
            None => {
                self.pages.insert(first, Page { table, checksum: None, bytes: 0, changed: true });
            }
        }
    }

    /// The first page at or after this key that has changed.
    fn changed_from(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut rest = self.pages.range::<[u8], _>((Bound::Included(key), Bound::Unbounded));
        rest.find(|(_, page)| page.changed).map(|(key, _)| key.clone())
    }

    /// Writes a page's range as it now is, as one page, several, or none. Returns about how many bytes that are.
    fn write(
        &mut self,
        memory: &MemoryStore,
        from: &[u8],
        out: &mut Vec<(Vec<u8>, Option<Vec<u8>>)>,
    ) -> usize {
        let Some(Page { table, checksum, .. }) = self.pages.remove(from) else { return 0 };
        let prefix = row_key(table, &[]);
        let mut after = self.pages.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        let end = after.next().and_then(|(key, _)| key.strip_prefix(prefix.as_slice()));
        let rows: Vec<_> = memory.rows(table, &from[prefix.len()..], end).collect();
        let weight = |(key, value): &(&Vec<u8>, &Vec<u8>)| key.len() + value.len() + ROW_OVERHEAD;
        let total: usize = rows.iter().map(weight).sum();
        if rows.is_empty() && checksum.is_some() {
            out.push((from.to_vec(), None));
        }
        // Divided, the parts are half full, so that they are not divided again soon.
        let parts = if total <= self.sizes.page { 1 } else { total.div_ceil(self.sizes.page / 2) };
        let mut rows = rows.into_iter().peekable();
        let mut next = rows.peek().map(|_| from.to_vec());
        while let Some(from) = next {
            let mut page = Rows { from: from.clone(), rows: Vec::new() };
            let mut bytes = 0;
            while let Some(row) = rows.next_if(|_| bytes < total.div_ceil(parts)) {
                bytes += weight(&row);
                page.rows.push((row.0.clone(), row.1.clone()));
            }
            let (checksum, value) = sealed(&page);
            let known = Page { table, checksum: Some(checksum), bytes: value.len(), changed: false };
            self.pages.insert(from.clone(), known);
            out.push((from, Some(value)));
            next = rows.peek().map(|(key, _)| row_key(table, key));
        }
        total
    }

    fn checksums(&self) -> u64 {
        self.pages.values().filter_map(|page| page.checksum).fold(0, u64::wrapping_add)
    }
}

/// Reads a journal and its pages: first every page, then every entry in the order of the numbers.
#[derive(Debug, Default)]
pub struct JournalReader {
    memory: MemoryStore,
    journal: Journal,
}

impl JournalReader {
    /// Takes a page.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn page(&mut self, value: &[u8]) -> Result<(), JournalError> {
        let damaged = JournalError("a page");
        let (checksum, page): (_, Rows) = opened(value).ok_or(damaged)?;
        let (table, _) = parts(&page.from).ok_or(damaged)?;
        let known = Page { table, checksum: Some(checksum), bytes: value.len(), changed: false };
        self.journal.pages.insert(page.from, known);
        self.memory.insert(table, page.rows);
        Ok(())
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// When it is damaged, or not the one that follows.
    pub fn entry(&mut self, value: &[u8]) -> Result<(), JournalError> {
        let damaged = JournalError("an entry of the journal");
        let (_, entry): (_, Entry) = opened(value).ok_or(damaged)?;
        let journal = &mut self.journal;
        if journal.bytes == 0 {
            journal.first_entry = entry.number;
        } else if entry.number != journal.next_entry {
            return Err(JournalError("the journal has a gap"));
        }
        journal.next_entry = entry.number.saturating_add(1);
        journal.bytes += value.len();
        let mut batch = Batch::default();
        for (row, value) in entry.writes {
            let (table, key) = parts(&row).ok_or(damaged)?;
            journal.touch(table, &row);
            batch.0.push(Write { table, key: key.to_vec(), value });
        }
        self.memory.apply(batch);
        Ok(())
    }

    /// The rows, once everything was taken; `head` is `None` when nothing was ever written.
    ///
    /// # Errors
    /// When pages or entries are missing, or are not those of this head.
    pub fn finish(mut self, head: Option<&[u8]>) -> Result<(MemoryStore, Journal), JournalError> {
        let (pages, first, next) = match head {
            Some(bytes) => opened::<Head>(bytes).ok_or(JournalError("the head"))?.1,
            None => (0, 0, 0),
        };
        let journal = &mut self.journal;
        if journal.checksums() != pages {
            return Err(JournalError("its pages are not those that were written"));
        }
        if journal.bytes == 0 {
            (journal.first_entry, journal.next_entry) = (next, next);
        }
        if (journal.first_entry, journal.next_entry) != (first, next) {
            return Err(JournalError("its journal is not the one that was written"));
        }
        Ok((self.memory, self.journal))
    }
}

/// A row's key beside those of other tables: the length of the table's name, the name, the key.
fn row_key(table: Table, key: &[u8]) -> Vec<u8> {
    let length = u8::try_from(table.0.len()).expect("the names of tables are short literals");
    [[length].as_slice(), table.0.as_bytes(), key].concat()
}

/// Takes a row's key apart again.
fn parts(row: &[u8]) -> Option<(Table, &[u8])> {
    let (length, rest) = row.split_first()?;
    let (name, key) = rest.split_at_checked(usize::from(*length))?;
    Some((Table::named(std::str::from_utf8(name).ok()?)?, key))
}

fn checksum(value: &[u8]) -> [u8; CHECKSUM] {
    let hash = Hasher::tagged(b"weft/journal").add(value).finish();
    std::array::from_fn(|index| hash.0[index])
}

/// The value's bytes behind their checksum.
fn sealed<T: BorshSerialize>(value: &T) -> (u64, Vec<u8>) {
    let bytes = encode(value);
    let sum = checksum(&bytes);
    (u64::from_le_bytes(sum), [sum.as_slice(), &bytes].concat())
}

fn opened<T: BorshDeserialize>(stored: &[u8]) -> Option<(u64, T)> {
    let (sum, bytes) = stored.split_first_chunk::<CHECKSUM>()?;
    if *sum != checksum(bytes) {
        return None;
    }
    Some((u64::from_le_bytes(*sum), decode(bytes, bytes.len()).ok()?))
}

#[cfg(test)]
mod tests;
