#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    content::{CHUNK_BYTES, Cid, Maker},
    store::MemoryStore,
};

fn file(seed: u8, bytes: usize) -> (Manifest, Vec<Vec<u8>>) {
    let file: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8 ^ seed).collect();
    let mut maker = Maker::default();
    file.chunks(CHUNK_BYTES).for_each(|chunk| maker.add(chunk).unwrap());
    (maker.finish(""), file.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect())
}

struct Kept {
    store: MemoryStore,
    shelf: Shelf,
}

impl Kept {
    fn new(capacity: u64) -> Self {
        let store = MemoryStore::default();
        let shelf = Shelf::open(&store, capacity, &mut Batch::default());
        Self { store, shelf }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Shelf, &MemoryStore, &mut Batch) -> T) -> T {
        let mut batch = Batch::default();
        let outcome = act(&mut self.shelf, &self.store, &mut batch);
        self.store.apply(batch);
        outcome
    }

    fn place(&mut self, manifest: &Manifest, at: u64) -> Result<Hash, ShelfError> {
        self.with(|shelf, _, batch| shelf.place(manifest.clone(), Wall(at), batch))
    }

    /// A whole file that nobody wants kept.
    fn put(&mut self, seed: u8, bytes: usize, at: u64) -> Hash {
        let (manifest, chunks) = file(seed, bytes);
        let content = self.place(&manifest, at).unwrap();
        for (index, chunk) in chunks.into_iter().enumerate() {
            self.with(|shelf, _, batch| shelf.keep(&content, index as u32, chunk, batch));
        }
        content
    }

    fn rows(&self) -> [usize; 3] {
        [FILES, HAVE, CHUNKS].map(|table| self.store.range(table, &[], 10_000).len())
    }
}

#[test]
fn what_is_kept_is_there_after_a_restart_and_the_rest_is_missing() {
    let mut kept = Kept::new(10 << 20);
    let (manifest, chunks) = file(1, 3 * CHUNK_BYTES + 7);
    let content = kept.place(&manifest, 5).unwrap();
    kept.with(|shelf, _, batch| {
        shelf.keep(&content, 3, chunks[3].clone(), batch);
        shelf.keep(&content, 1, chunks[1].clone(), batch);
        shelf.keep(&content, 9, vec![0], batch);
        for mark in [Mark::Offered, Mark::Wanted] {
            shelf.mark(&content, mark, batch);
        }
    });
    let mut batch = Batch::default();
    let again = Shelf::open(&kept.store, 10 << 20, &mut batch);
    assert!(batch.is_empty());
    let file = again.file(&content).unwrap();
    assert_eq!(Some(file), kept.shelf.file(&content));
    assert!(file.offered && file.wanted && !file.pinned && !file.is_whole());
    assert_eq!(file.missing().collect::<Vec<_>>(), [0, 2]);
    assert_eq!(file.bytes_here(), CHUNK_BYTES as u64 + 7);
    assert_eq!(
        kept.with(|shelf, store, batch| shelf.chunk(store, &content, 3, batch)),
        Some(chunks[3].clone())
    );
    assert_eq!(kept.with(|shelf, store, batch| shelf.chunk(store, &content, 0, batch)), None);
    // To place it again costs nothing.
    kept.place(&manifest, 6).unwrap();
    assert_eq!(kept.shelf.file(&content).unwrap().missing().count(), 2);
}

#[test]
fn room_is_made_by_what_nobody_wants_kept_the_oldest_first() {
    let mut kept = Kept::new(3 * (CHUNK_BYTES as u64 + 32));
    let [old, pinned, newer] = [(1, 10), (2, 1), (3, 20)].map(|(seed, at)| kept.put(seed, CHUNK_BYTES, at));
    kept.with(|shelf, _, batch| shelf.mark(&pinned, Mark::Kept, batch));
    let four = kept.put(4, CHUNK_BYTES, 30);
    let here = |kept: &Kept| kept.shelf.files().map(|(content, _)| *content).collect::<Vec<_>>();
    assert!(!here(&kept).contains(&old) && [pinned, newer, four].iter().all(|it| here(&kept).contains(it)));
    assert_eq!(kept.rows(), [3, 3, 3], "nothing is left of what went");

    kept.with(|shelf, _, batch| shelf.mark(&newer, Mark::Wanted, batch));
    kept.with(|shelf, _, batch| shelf.mark(&four, Mark::Kept, batch));
    let before = here(&kept);
    assert_eq!(kept.place(&file(5, 1).0, 40), Err(ShelfError::Full(kept.shelf.capacity())));
    assert_eq!(here(&kept), before, "nothing went in vain");
    assert!(kept.with(|shelf, _, batch| shelf.remove(&four, batch)));
    assert!(!kept.with(|shelf, _, batch| shelf.remove(&four, batch)));
    assert!(kept.place(&file(5, 1).0, 40).is_ok());
}

#[test]
fn files_are_counted_too() {
    let mut kept = Kept::new(1 << 30);
    for seed in 0..MAX_FILES as u64 {
        let mut maker = Maker::default();
        maker.add(&seed.to_le_bytes()).unwrap();
        let content = kept.place(&maker.finish(""), seed).unwrap();
        if seed != 7 {
            kept.with(|shelf, _, batch| shelf.mark(&content, Mark::Kept, batch));
        }
    }
    kept.put(1, 3, 1);
    assert_eq!(kept.shelf.files().count(), MAX_FILES);
    let last = kept.shelf.files().find(|(_, file)| !file.pinned).map(|(content, _)| *content).unwrap();
    kept.with(|shelf, _, batch| shelf.mark(&last, Mark::Kept, batch));
    assert_eq!(kept.place(&file(9, 9).0, 1), Err(ShelfError::TooMany));
}

#[test]
fn damage_is_found_and_forgotten() {
    let mut kept = Kept::new(10 << 20);
    let content = kept.put(1, 2 * CHUNK_BYTES, 1);
    let mut spoilt = Batch::default();
    spoilt.put(CHUNKS, chunk_key(&content, 1), vec![0; CHUNK_BYTES]);
    kept.store.apply(spoilt);
    assert_eq!(kept.with(|shelf, store, batch| shelf.chunk(store, &content, 1, batch)), None);
    assert_eq!(kept.shelf.file(&content).unwrap().missing().collect::<Vec<_>>(), [1]);

    let row = kept.store.get(FILES, &content.0).unwrap();
    let mut damaged = Batch::default();
    damaged.put(FILES, [7; 32], row);
    damaged.put(FILES, [8; 3], vec![1]);
    kept.store.apply(damaged);
    let mut batch = Batch::default();
    let shelf = Shelf::open(&kept.store, 10 << 20, &mut batch);
    assert_eq!(shelf.files().count(), 1, "{}", Cid(content));
    kept.store.apply(batch);
    assert_eq!(kept.rows()[0], 1);
}
