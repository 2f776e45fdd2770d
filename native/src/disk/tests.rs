//! With real files.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use tempfile::TempDir;
use weft_core::{
    node::{ArchiveId, Input},
    primitives::{Hash, Height},
    store::{ArchiveAnswer, ArchiveFailure, ArchiveRequest, ArchivedBlock, Batch, Seq, Store, Table},
};

use super::{ARCHIVE_FILE, Disk, DiskError, DiskHandles, DiskStore, STORE_FILE};

const ONE: Table = Table("one");
const TWO: Table = Table("two");
const PATIENCE: Duration = Duration::from_secs(30);

fn open(path: &Path) -> Result<(DiskStore, DiskHandles, Receiver<Input>), DiskError> {
    let (sender, inputs) = channel();
    let (store, handles) = Disk::open(path, move |input| {
        let _ = sender.send(input);
    })?;
    Ok((store, handles, inputs))
}

fn persisted(inputs: &Receiver<Input>, wanted: Seq) {
    loop {
        match inputs.recv_timeout(PATIENCE).unwrap() {
            Input::Persisted(seq) if seq >= wanted => return,
            Input::Persisted(_) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn answer(inputs: &Receiver<Input>, wanted: u64) -> Result<ArchiveAnswer, ArchiveFailure> {
    match inputs.recv_timeout(PATIENCE).unwrap() {
        Input::Archive(ArchiveId(id), outcome) if id == wanted => outcome,
        other => panic!("unexpected {other:?}"),
    }
}

fn put(table: Table, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(table, key, value);
    batch
}

fn block(height: u64, tag: u8, bytes: usize) -> ArchivedBlock {
    ArchivedBlock {
        height: Height(height),
        hash: Hash([tag; 32]),
        header: vec![tag; 10],
        body: vec![tag; bytes],
    }
}

/// Values by table and key.
type Rows = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

fn contents(store: &DiskStore) -> Rows {
    [ONE, TWO]
        .into_iter()
        .flat_map(|table| {
            store.range(table, &[], usize::MAX).into_iter().map(move |(key, value)| ((table.0, key), value))
        })
        .collect()
}

#[test]
fn rows_are_there_again_after_reopening() {
    let directory = TempDir::new().unwrap();
    let before = {
        let (mut store, handles, inputs) = open(directory.path()).unwrap();
        assert!(!store.durable_at_once());
        assert_eq!(store.apply(put(ONE, b"a", b"1")), Seq(1));
        assert_eq!(store.apply(put(TWO, b"a", b"other table")), Seq(2));
        assert_eq!(store.apply(put(ONE, b"", b"empty key")), Seq(3));
        store.apply(put(ONE, b"a", b"2"));
        let mut batch = Batch::default();
        batch.put(ONE, *b"b", *b"");
        batch.put(ONE, *b"gone", *b"x");
        batch.delete(ONE, *b"gone");
        batch.delete(TWO, *b"never there");
        let last = store.apply(batch);
        handles.flush(last);
        persisted(&inputs, last);
        contents(&store)
    };
    assert_eq!(before.len(), 4);
    let (mut store, _handles, _) = open(directory.path()).unwrap();
    assert_eq!(contents(&store), before);
    assert_eq!(store.apply(put(ONE, b"c", b"")), Seq(1), "batches are numbered from 1 after each start");
}

#[test]
fn closing_writes_what_was_queued() {
    let directory = TempDir::new().unwrap();
    let (mut store, handles, _) = open(directory.path()).unwrap();
    for number in 0..1000_u32 {
        store.apply(put(ONE, &number.to_be_bytes(), b"x"));
    }
    drop(handles);
    drop(store);
    let (store, ..) = open(directory.path()).unwrap();
    assert_eq!(store.range(ONE, &[], usize::MAX).len(), 1000);
}

#[test]
fn batches_are_persisted_in_order_and_without_a_flush_soon() {
    let directory = TempDir::new().unwrap();
    let (mut store, handles, inputs) = open(directory.path()).unwrap();
    let mut last = Seq(0);
    for number in 0..200_u32 {
        last = store.apply(put(ONE, &number.to_be_bytes(), b"x"));
        if number % 17 == 0 {
            handles.flush(last);
        }
    }
    let mut seen = Seq(0);
    while seen < last {
        match inputs.recv_timeout(PATIENCE).unwrap() {
            Input::Persisted(seq) => {
                assert!(seq >= seen, "{seq:?} after {seen:?}");
                seen = seq;
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    handles.flush(last);
    persisted(&inputs, last);
}

#[test]
fn the_archive_keeps_blocks_by_height_and_hash() {
    let directory = TempDir::new().unwrap();
    {
        let (_store, handles, inputs) = open(directory.path()).unwrap();
        handles.archive(ArchiveId(1), ArchiveRequest::Headers { from: Height(0), count: 9 });
        assert_eq!(answer(&inputs, 1), Ok(ArchiveAnswer::Headers(vec![])));
        handles.archive(ArchiveId(2), ArchiveRequest::Put(vec![block(300, 3, 100), block(2, 2, 100)]));
        handles.archive(ArchiveId(3), ArchiveRequest::Put(vec![block(2, 1, 100), block(4, 4, 100)]));
        handles.archive(ArchiveId(4), ArchiveRequest::Delete(vec![(Height(4), Hash([4; 32]))]));
        for id in 2..=4 {
            assert_eq!(answer(&inputs, id), Ok(ArchiveAnswer::Stored));
        }
    }
    let (_store, handles, inputs) = open(directory.path()).unwrap();
    handles.archive(ArchiveId(5), ArchiveRequest::Headers { from: Height(1), count: 9 });
    let row = |height, tag| (Height(height), Hash([tag; 32]), vec![tag; 10]);
    assert_eq!(answer(&inputs, 5), Ok(ArchiveAnswer::Headers(vec![row(2, 1), row(2, 2), row(300, 3)])));
    handles.archive(ArchiveId(6), ArchiveRequest::Headers { from: Height(3), count: 1 });
    assert_eq!(answer(&inputs, 6), Ok(ArchiveAnswer::Headers(vec![row(300, 3)])));
    let keys = [(300, 3), (7, 7), (2, 1), (2, 2)].map(|(h, t)| (Height(h), Hash([t; 32]))).to_vec();
    handles.archive(ArchiveId(7), ArchiveRequest::Bodies { keys: keys.clone(), max_bytes: 1000 });
    let body = |tag| Some(vec![tag; 100]);
    assert_eq!(answer(&inputs, 7), Ok(ArchiveAnswer::Bodies(vec![body(3), None, body(1), body(2)])));
    handles.archive(ArchiveId(8), ArchiveRequest::Bodies { keys, max_bytes: 150 });
    assert_eq!(answer(&inputs, 8), Ok(ArchiveAnswer::Bodies(vec![body(3), None, body(1)])));
}

#[test]
fn pruning_forgets_what_is_below_a_height_and_no_more() {
    let directory = TempDir::new().unwrap();
    {
        let (_store, handles, inputs) = open(directory.path()).unwrap();
        handles.archive(ArchiveId(1), ArchiveRequest::Prune { below: Height(9) });
        assert_eq!(answer(&inputs, 1), Ok(ArchiveAnswer::Stored), "an empty archive");
        // Heights that differ in more than their last byte, and the lowest and highest hash at the boundary.
        let heights = [(1, 1), (255, 2), (256, 0), (256, 255), (300, 3)];
        let blocks = heights.map(|(height, tag)| block(height, tag, 100)).to_vec();
        handles.archive(ArchiveId(2), ArchiveRequest::Put(blocks));
        handles.archive(ArchiveId(3), ArchiveRequest::Prune { below: Height(256) });
        assert_eq!(answer(&inputs, 2), Ok(ArchiveAnswer::Stored));
        assert_eq!(answer(&inputs, 3), Ok(ArchiveAnswer::Stored));
    }
    let (_store, handles, inputs) = open(directory.path()).unwrap();
    handles.archive(ArchiveId(4), ArchiveRequest::Headers { from: Height(0), count: 9 });
    let row = |height, tag| (Height(height), Hash([tag; 32]), vec![tag; 10]);
    let kept = vec![row(256, 0), row(256, 255), row(300, 3)];
    assert_eq!(answer(&inputs, 4), Ok(ArchiveAnswer::Headers(kept)));
    let keys = [(255, 2), (256, 0)].map(|(height, tag)| (Height(height), Hash([tag; 32]))).to_vec();
    handles.archive(ArchiveId(5), ArchiveRequest::Bodies { keys, max_bytes: 1000 });
    assert_eq!(answer(&inputs, 5), Ok(ArchiveAnswer::Bodies(vec![None, Some(vec![0; 100])])));
}

/// Rows of cold tables are told from the queue, from the file, and from both together: always as if they were in memory.
#[test]
fn cold_rows_are_as_if_they_were_in_memory() {
    const COLD: Table = Table("cold/one");
    const BESIDE: Table = Table("cold/two");
    let directory = TempDir::new().unwrap();
    let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for life in 0..3_u32 {
        let (mut store, handles, inputs) = open(directory.path()).unwrap();
        for round in 0..300_u32 {
            let step = life * 1000 + round;
            let key = (step.wrapping_mul(2_654_435_761) >> 26).to_be_bytes().to_vec();
            let mut batch = put(BESIDE, &key, b"beside");
            if step % 3 == 0 {
                batch.delete(COLD, key.clone());
                model.remove(&key);
            } else {
                batch.put(COLD, key.clone(), step.to_be_bytes());
                model.insert(key.clone(), step.to_be_bytes().to_vec());
            }
            let seq = store.apply(batch);
            if round % 50 == 49 {
                handles.flush(seq);
                persisted(&inputs, seq);
            }
            assert_eq!(store.get(COLD, &key), model.get(&key).cloned());
            let whole: Vec<_> = model.clone().into_iter().collect();
            assert_eq!(store.range(COLD, &[], usize::MAX), whole);
            let some: Vec<_> =
                model.range(key.clone()..).take(5).map(|(k, v)| (k.clone(), v.clone())).collect();
            assert_eq!(store.range(COLD, &key, 5), some);
        }
        drop(handles);
    }
    let (store, _handles, _) = open(directory.path()).unwrap();
    assert_eq!(store.range(COLD, &[], 1000), model.into_iter().collect::<Vec<_>>());
}

#[test]
fn one_process_at_a_time() {
    let directory = TempDir::new().unwrap();
    let (_store, _handles, _) = open(directory.path()).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, DiskError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

#[test]
fn a_path_that_cannot_be_a_directory_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "text").unwrap();
    let error = open(&file).unwrap_err();
    assert!(matches!(error, DiskError::Access { .. }), "{error}");
    fs::create_dir(directory.path().join(STORE_FILE)).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, DiskError::Access { .. }), "{error}");
}

#[test]
fn files_of_other_kinds_are_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(STORE_FILE);
    let text = "not a database at all\n".repeat(1000);
    fs::write(&path, &text).unwrap();
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, DiskError::Corrupt { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    fs::remove_file(&path).unwrap();
    let table: redb::TableDefinition<'_, u64, u64> = redb::TableDefinition::new("numbers");
    let database = redb::Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, DiskError::Foreign { .. }), "{error}");
}

#[test]
fn another_format_is_refused_by_name() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path()).unwrap());
    let database = redb::Database::open(directory.path().join(STORE_FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(super::file::META)
        .unwrap()
        .insert("format", 77_u32.to_le_bytes().as_slice())
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open(directory.path()).unwrap_err();
    assert!(matches!(error, DiskError::Schema { stored: 77, .. }), "{error}");
}

#[test]
fn store_and_archive_must_belong_together() {
    let directory = TempDir::new().unwrap();
    let other = TempDir::new().unwrap();
    drop(open(directory.path()).unwrap());
    drop(open(other.path()).unwrap());
    fs::copy(other.path().join(ARCHIVE_FILE), directory.path().join(ARCHIVE_FILE)).unwrap();
    assert!(matches!(open(directory.path()).unwrap_err(), DiskError::Mismatch { .. }));
    fs::remove_file(other.path().join(ARCHIVE_FILE)).unwrap();
    assert!(matches!(open(other.path()).unwrap_err(), DiskError::Mismatch { .. }));
}

/// A directory with rows and blocks enough for several levels of pages.
fn filled() -> (TempDir, Rows) {
    let directory = TempDir::new().unwrap();
    let (mut store, handles, inputs) = open(directory.path()).unwrap();
    for number in 0..600_u32 {
        store.apply(put(ONE, &number.to_be_bytes(), &[7; 200]));
    }
    handles.archive(ArchiveId(1), ArchiveRequest::Put((0..64).map(|n| block(n, n as u8, 500)).collect()));
    handles.flush(Seq(600));
    drop(handles);
    drop(inputs);
    let contents = contents(&store);
    (directory, contents)
}

fn copy_of(directory: &TempDir) -> TempDir {
    let copy = TempDir::new().unwrap();
    for name in [STORE_FILE, ARCHIVE_FILE] {
        fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
    }
    copy
}

#[test]
fn a_file_that_ends_early_is_an_error() {
    let (directory, _) = filled();
    for name in [STORE_FILE, ARCHIVE_FILE] {
        let full = fs::metadata(directory.path().join(name)).unwrap().len();
        for length in [0, 1, 100, 4095, 4096, full / 3, full / 2, full - 4096, full - 1] {
            let copy = copy_of(&directory);
            fs::OpenOptions::new().write(true).open(copy.path().join(name)).unwrap().set_len(length).unwrap();
            let error = open(copy.path()).map(|_| ()).unwrap_err();
            assert!(
                matches!(error, DiskError::Corrupt { .. } | DiskError::Mismatch { .. }),
                "{name} cut to {length}: {error}"
            );
        }
    }
}

#[test]
fn a_flipped_bit_is_found_or_without_effect() {
    let (directory, before) = filled();
    let length = fs::metadata(directory.path().join(STORE_FILE)).unwrap().len();
    let mut found = 0;
    for step in 0..150_u64 {
        let at = if step < 100 { step * 7 } else { step * 7919 * 31 % length };
        let copy = copy_of(&directory);
        flip(&copy.path().join(STORE_FILE), at, (step % 8) as u8);
        match open(copy.path()) {
            Ok((store, ..)) => assert_eq!(contents(&store), before, "bit {} of byte {at}", step % 8),
            Err(error) => {
                assert!(!matches!(error, DiskError::InUse { .. }), "{error}");
                found += 1;
            }
        }
    }
    assert!(found > 20, "{found} of 150 found");
}

#[test]
fn a_damaged_block_is_a_failure_and_not_an_answer() {
    let (directory, _) = filled();
    let path = directory.path().join(ARCHIVE_FILE);
    let bytes = fs::read(&path).unwrap();
    let body = [9; 500];
    let places: Vec<_> = (0..bytes.len() - 500).filter(|&at| bytes[at..at + 500] == body).collect();
    assert!(!places.is_empty());
    for at in places {
        flip(&path, at as u64 + 250, 3);
    }
    let (_store, handles, inputs) = open(directory.path()).unwrap();
    let bodies = |tag| ArchiveRequest::Bodies {
        keys: vec![(Height(u64::from(tag)), Hash([tag; 32]))],
        max_bytes: 9999,
    };
    handles.archive(ArchiveId(1), bodies(9));
    let failure = answer(&inputs, 1).unwrap_err();
    assert!(failure.to_string().contains("the block at height 9 is damaged"), "{failure}");
    handles.archive(ArchiveId(2), bodies(8));
    assert_eq!(answer(&inputs, 2), Ok(ArchiveAnswer::Bodies(vec![Some(vec![8; 500])])));
}

fn flip(path: &Path, at: u64, bit: u8) {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).unwrap();
    file.read_exact(&mut byte).unwrap();
    byte[0] ^= 1 << bit;
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&byte).unwrap();
}

const CRASH: &str = "WEFT_TEST_CRASH_DIRECTORY";

/// Not a test but the process that the next test kills: counts up in two tables, and prints what is durable.
#[test]
#[ignore = "run by `a_kill_keeps_a_prefix_with_all_that_was_persisted`"]
fn count_until_killed() {
    let Some(directory) = env::var_os(CRASH) else { return };
    let (mut store, handles, inputs) = open(Path::new(&directory)).unwrap();
    let start = store.get(TWO, b"count").map_or(0, |v| u32::from_be_bytes(v.try_into().unwrap()));
    println!("persisted {start}");
    let mut durable = 0;
    for number in start + 1.. {
        let mut batch = put(ONE, &number.to_be_bytes(), &[1; 300]);
        batch.put(TWO, *b"count", number.to_be_bytes());
        let seq = store.apply(batch);
        if number % 5 == 0 {
            handles.flush(seq);
        }
        while durable + 50 < seq.0 {
            let Input::Persisted(up_to) = inputs.recv().unwrap() else { panic!("the disk failed") };
            durable = up_to.0;
            println!("persisted {}", u64::from(start) + durable);
        }
    }
}

#[test]
fn a_kill_keeps_a_prefix_with_all_that_was_persisted() {
    let directory = TempDir::new().unwrap();
    for lines in [1, 3, 7, 20, 40] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "disk::tests::count_until_killed", "--ignored", "--nocapture"])
            .env(CRASH, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut told = 0;
        let mut reports = output.lines().map_while(Result::ok).filter_map(|line| {
            line.rsplit_once("persisted ").map(|(_, number)| number.parse::<u32>().unwrap())
        });
        for report in reports.by_ref().take(lines) {
            told = report;
        }
        child.kill().unwrap();
        told = reports.last().unwrap_or(told);
        child.wait().unwrap();
        let (store, ..) = open(directory.path()).unwrap();
        let count = store.get(TWO, b"count").map_or(0, |v| u32::from_be_bytes(v.try_into().unwrap()));
        assert!(count >= told, "{told} was reported durable, {count} is there");
        let keys: Vec<_> = store.range(ONE, &[], usize::MAX).into_iter().map(|(key, _)| key).collect();
        let wanted: Vec<_> = (1..=count).map(|number| number.to_be_bytes().to_vec()).collect();
        assert_eq!(keys, wanted);
    }
}
