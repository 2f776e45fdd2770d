//! Against a model, with a crash after every commit.

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const ONE: Table = Table("one");
const TWO: Table = Table("second");
/// So small that everything happens often.
const SMALL: Sizes = Sizes { page: 300, fold: 1000, step: 400 };

/// What a disk holds after some commits, each kept whole.
#[derive(Clone, Default)]
struct Kept {
    head: Option<Vec<u8>>,
    pages: BTreeMap<Vec<u8>, Vec<u8>>,
    entries: BTreeMap<u64, Vec<u8>>,
}

impl Kept {
    fn keep(&mut self, commit: Commit) {
        self.head = Some(commit.head);
        self.entries.extend(commit.entry);
        self.entries = self.entries.split_off(&commit.first_entry);
        for (key, value) in commit.pages {
            match value {
                Some(value) => self.pages.insert(key, value),
                None => Some(self.pages.remove(&key).expect("only pages that are there are removed")),
            };
        }
    }

    fn read(&self) -> Result<(MemoryStore, Journal), JournalError> {
        let mut reader = JournalReader::default();
        self.pages.values().try_for_each(|page| reader.page(page))?;
        self.entries.values().try_for_each(|entry| reader.entry(entry))?;
        reader.finish(self.head.as_deref())
    }

    fn bytes(&self) -> usize {
        self.pages.values().chain(self.entries.values()).map(Vec::len).sum()
    }
}

/// Rows by table and key.
type Contents = Vec<(&'static str, Vec<u8>, Vec<u8>)>;

fn contents(store: &MemoryStore) -> Contents {
    let rows = |table: Table| {
        let rows = store.range(table, &[], usize::MAX);
        rows.into_iter().map(move |(key, value)| (table.0, key, value))
    };
    [ONE, TWO].into_iter().flat_map(rows).collect()
}

fn small() -> Journal {
    Journal { sizes: SMALL, ..Journal::default() }
}

/// Some writes; `TWO` has rows that come at the end and go at the beginning, as headers do.
fn batch(rng: &mut ChaCha8Rng, round: u64) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..rng.next_u32() % 6 {
        let key = (rng.next_u32() % 300).to_be_bytes();
        if rng.next_u32().is_multiple_of(3) {
            batch.delete(ONE, key);
        } else {
            batch.put(ONE, key, vec![round as u8; (rng.next_u32() % 40) as usize]);
        }
    }
    batch.put(TWO, round.to_be_bytes(), [round as u8; 20]);
    if let Some(old) = round.checked_sub(50) {
        batch.delete(TWO, old.to_be_bytes());
    }
    batch
}

#[test]
fn after_every_commit_the_rows_are_those_of_the_batches_so_far() {
    for seed in 0..6 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut memory, mut journal, mut kept) = (MemoryStore::default(), small(), Kept::default());
        let (mut folds, mut removed) = (0, 0);
        for round in 0..600 {
            let batches: Vec<Batch> = (0..rng.next_u32() % 3).map(|_| batch(&mut rng, round)).collect();
            for batch in &batches {
                memory.apply(batch.clone());
            }
            let commit = journal.commit(&memory, &batches);
            assert_eq!(commit.entry.is_none(), batches.is_empty());
            folds += usize::from(!commit.pages.is_empty());
            removed += commit.pages.iter().filter(|(_, value)| value.is_none()).count();
            kept.keep(commit);
            let (read, mut reopened) = kept.read().unwrap();
            assert_eq!(contents(&read), contents(&memory), "seed {seed}, round {round}");
            // A crash here, now and then, and on from what it left.
            if rng.next_u32().is_multiple_of(20) {
                reopened.sizes = SMALL;
                (memory, journal) = (read, reopened);
            }
        }
        assert!(folds > 20 && removed > 3, "seed {seed}: {folds} commits wrote pages, {removed} removed one");
        assert!(kept.pages.len() > 5, "the rows are in several pages");
        assert!(kept.pages.values().all(|page| page.len() < 3 * SMALL.page), "no page has stayed large");
    }
}

#[test]
fn what_is_kept_is_bounded_by_what_there_is() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let (mut memory, mut journal, mut kept) = (MemoryStore::default(), small(), Kept::default());
    let mut highest = 0;
    for round in 0..3000_u64 {
        let mut batch = Batch::default();
        for _ in 0..4 {
            batch.put(ONE, (rng.next_u32() % 200).to_be_bytes(), [round as u8; 30]);
        }
        memory.apply(batch.clone());
        kept.keep(journal.commit(&memory, std::slice::from_ref(&batch)));
        highest = highest.max(kept.bytes());
    }
    let rows: usize = contents(&memory).iter().map(|(_, key, value)| key.len() + value.len()).sum();
    assert!(highest < 4 * rows, "{highest} bytes for {rows} of rows");
}

#[test]
fn a_fold_goes_on_with_empty_commits_until_it_is_done() {
    let (mut memory, mut journal, mut kept) = (MemoryStore::default(), small(), Kept::default());
    let mut batch = Batch::default();
    for number in 0..1000_u32 {
        batch.put(ONE, number.to_be_bytes(), [1; 20]);
    }
    memory.apply(batch.clone());
    kept.keep(journal.commit(&memory, std::slice::from_ref(&batch)));
    // One page became many, and the entry is gone.
    assert!(!journal.is_folding() && kept.entries.is_empty() && kept.pages.len() > 50);
    memory.apply(batch.clone());
    kept.keep(journal.commit(&memory, std::slice::from_ref(&batch)));
    let mut commits = 0;
    while journal.is_folding() {
        let commit = journal.commit(&memory, &[]);
        assert!(commit.entry.is_none() && commit.pages.len() <= 4, "a little at a time");
        kept.keep(commit);
        assert_eq!(contents(&kept.read().unwrap().0), contents(&memory));
        commits += 1;
    }
    assert!(commits > 10 && kept.entries.is_empty());
}

#[test]
fn rows_that_are_all_removed_leave_no_page() {
    let (mut memory, mut journal, mut kept) = (MemoryStore::default(), small(), Kept::default());
    let all = |value: Option<Vec<u8>>| {
        let key = |number: u32| number.to_be_bytes().to_vec();
        Batch((0..200).map(|n| Write { table: ONE, key: key(n), value: value.clone() }).collect())
    };
    let mut commit = |batch: Batch| {
        memory.apply(batch.clone());
        kept.keep(journal.commit(&memory, std::slice::from_ref(&batch)));
        while journal.is_folding() {
            kept.keep(journal.commit(&memory, &[]));
        }
        (kept.pages.len(), kept.entries.len())
    };
    assert!(commit(all(Some(vec![1; 50]))).0 > 10);
    // The second time the entries are long enough for a fold.
    let left = [0; 4].map(|_| commit(all(None)));
    assert!(left.contains(&(0, 0)), "{left:?}");
    assert!(kept.read().is_ok());
}

/// Several pages and several entries.
fn filled() -> (Kept, Contents) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let (mut memory, mut journal, mut kept) = (MemoryStore::default(), small(), Kept::default());
    for round in 0.. {
        let batch = batch(&mut rng, round);
        memory.apply(batch.clone());
        kept.keep(journal.commit(&memory, std::slice::from_ref(&batch)));
        if kept.pages.len() > 3 && kept.entries.len() > 3 {
            break;
        }
    }
    (kept, contents(&memory))
}

#[test]
fn nothing_that_is_missing_or_from_before_goes_unseen() {
    let (kept, before) = filled();
    assert_eq!(contents(&kept.read().unwrap().0), before);
    for key in kept.pages.keys() {
        let mut less = kept.clone();
        less.pages.remove(key);
        assert!(less.read().is_err(), "a page is missing");
    }
    for number in kept.entries.keys() {
        let mut less = kept.clone();
        less.entries.remove(number);
        assert!(less.read().is_err(), "entry {number} is missing");
    }
    let headless = Kept { head: None, ..kept.clone() };
    assert!(headless.read().is_err());
    assert!(Kept { head: kept.head.clone(), ..Kept::default() }.read().is_err());
    assert!(Kept::default().read().is_ok(), "an empty disk is a new one");
}

#[test]
fn no_flipped_bit_goes_unseen() {
    let (kept, _) = filled();
    let flips = |value: &[u8]| {
        let value = value.to_vec();
        (0..value.len()).map(move |at| {
            let mut flipped = value.clone();
            flipped[at] ^= 1 << (at % 8);
            flipped
        })
    };
    for flipped in flips(kept.head.as_ref().unwrap()) {
        assert!(Kept { head: Some(flipped), ..kept.clone() }.read().is_err());
    }
    for (key, page) in &kept.pages {
        for flipped in flips(page) {
            let mut kept = kept.clone();
            kept.pages.insert(key.clone(), flipped);
            assert!(kept.read().is_err());
        }
    }
    for (number, entry) in &kept.entries {
        for flipped in flips(entry) {
            let mut kept = kept.clone();
            kept.entries.insert(*number, flipped);
            assert!(kept.read().is_err());
        }
    }
}

#[test]
fn the_format_is_this() {
    let (mut memory, mut journal) =
        (MemoryStore::default(), Journal { sizes: Sizes { fold: 1, ..SMALL }, ..small() });
    let mut batch = Batch::default();
    batch.put(ONE, *b"k", *b"v");
    batch.delete(ONE, *b"x");
    memory.apply(batch.clone());
    let commit = journal.commit(&memory, std::slice::from_ref(&batch));
    let (key, page) = commit.pages[0].clone();
    assert_eq!(key, b"\x03one");
    assert_eq!(
        [commit.entry.unwrap().1, page.unwrap(), commit.head].map(hex::encode),
        [
            "1b9333190542abff00000000000000000200000005000000036f6e656b01010000007605000000036f6e657800",
            "a79ce06a83016a3a04000000036f6e6501000000010000006b0100000076",
            "4a5e85daca43be05a79ce06a83016a3a01000000000000000100000000000000",
        ]
    );
}
