//! With real databases, in a browser.

use futures::StreamExt;
use js_sys::Uint8Array;
use wasm_bindgen_test::{wasm_bindgen_test as test, wasm_bindgen_test_configure};
use weft_core::{
    primitives::Height,
    store::{ArchiveAnswer, ArchivedBlock, Batch, Table},
    swarm::{Inbox, inputs},
};

use super::*;

wasm_bindgen_test_configure!(run_in_browser);

const ROWS: Table = Table("rows");

/// A tab's storage and what it tells.
struct Tab {
    store: Box<dyn Store + Send>,
    storage: Storage,
    alarm: Option<String>,
    inbox: Inbox,
}

async fn open(chain: Hash) -> Tab {
    let (sender, inbox) = inputs();
    let Opened { store, storage, alarm } = Opened::kept(&chain, &sender).await;
    Tab { store, storage, alarm, inbox }
}

impl Tab {
    fn put(&mut self, key: u64, value: &[u8]) -> Seq {
        let mut batch = Batch::default();
        batch.put(ROWS, key.to_be_bytes(), value);
        self.store.apply(batch)
    }

    async fn persisted(&mut self, wanted: Seq) {
        loop {
            match self.inbox.next().await {
                Some(Input::Persisted(seq)) if seq >= wanted => return,
                Some(Input::Persisted(_)) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    async fn ask(&mut self, request: ArchiveRequest) -> ArchiveAnswer {
        self.storage.archive(ArchiveId(7), request);
        match self.inbox.next().await {
            Some(Input::Archive(ArchiveId(7), Ok(answer))) => answer,
            other => panic!("unexpected {other:?}"),
        }
    }

    /// Closes it as a crash would, but for what is on its way already: that is awaited, so that the next may open it.
    async fn close(self) {
        let Self { store, storage, mut inbox, .. } = self;
        drop((store, storage));
        while inbox.next().await.is_some() {}
    }

    fn rows(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.store.range(ROWS, &[], usize::MAX)
    }
}

/// A chain that no other test has, with nothing stored.
async fn fresh(test: u8) -> Hash {
    let chain = Hash([test; 32]);
    Database::delete(&name(&chain)).await.unwrap();
    chain
}

async fn raw(chain: &Hash) -> Database {
    Database::open(&name(chain), VERSION, STORES).await.map_err(|_| ()).unwrap()
}

fn block(height: u64) -> ArchivedBlock {
    ArchivedBlock {
        height: Height(height),
        hash: Hash([height as u8; 32]),
        header: vec![height as u8; 10],
        body: vec![height as u8; 100],
    }
}

fn bodies(heights: impl IntoIterator<Item = u64>, max_bytes: usize) -> ArchiveRequest {
    let keys = heights.into_iter().map(|height| (Height(height), Hash([height as u8; 32]))).collect();
    ArchiveRequest::Bodies { keys, max_bytes }
}

#[test]
async fn rows_are_there_again_and_the_journal_is_folded() {
    let chain = fresh(1).await;
    let mut tab = open(chain).await;
    assert!(tab.storage.is_kept() && tab.alarm.is_none() && tab.rows().is_empty());
    // Far more than the journal may hold.
    for round in 0..30 {
        let mut batch = Batch::default();
        for key in 0..2000_u64 {
            batch.put(ROWS, key.to_be_bytes(), vec![round; 100]);
        }
        let seq = tab.store.apply(batch);
        tab.storage.flush(seq);
        tab.persisted(seq).await;
    }
    let seq = tab.put(5, b"last");
    tab.storage.flush(seq);
    tab.persisted(seq).await;
    let before = tab.rows();
    tab.close().await;

    let database = raw(&chain).await;
    let all = finished_all(&database, store::JOURNAL).await;
    assert!(all < 3 << 20, "{all} bytes of journal after 7 MB of batches");
    drop(database);
    let tab = open(chain).await;
    assert_eq!(tab.rows(), before);
    assert!(tab.alarm.is_none(), "{:?}", tab.alarm);
    tab.close().await;
}

async fn finished_all(database: &Database, store: &str) -> u32 {
    let values = database.read(store).unwrap().get_all().unwrap();
    let values = js_sys::Array::from(&crate::indexed::finished(&values).await.unwrap());
    values.iter().map(|value| Uint8Array::new(&value).length()).sum()
}

#[test]
async fn a_hundred_thousand_accounts_load_within_a_second() {
    let chain = fresh(2).await;
    let mut tab = open(chain).await;
    for part in 0..10_u32 {
        let mut batch = Batch::default();
        for number in 0..10_000_u32 {
            batch.put(ROWS, Hash::of(&(part * 10_000 + number).to_le_bytes()).0, [7; 16]);
        }
        let seq = tab.store.apply(batch);
        tab.storage.flush(seq);
        tab.persisted(seq).await;
    }
    tab.close().await;
    let begun = js_sys::Date::now();
    let tab = open(chain).await;
    let took = js_sys::Date::now() - begun;
    wasm_bindgen_test::console_log!("100,000 rows were loaded in {took} ms");
    assert_eq!(tab.store.range(ROWS, &[], usize::MAX).len(), 100_000);
    assert!(took < 1000.0, "{took} ms");
    tab.close().await;
}

#[test]
async fn what_is_damaged_is_said_deleted_and_begun_anew() {
    for (number, damage) in [store::HEAD, store::JOURNAL, archive::HEADERS].into_iter().enumerate() {
        let chain = fresh(10 + number as u8).await;
        let mut tab = open(chain).await;
        let seq = tab.put(1, b"value");
        tab.storage.flush(seq);
        tab.persisted(seq).await;
        assert_eq!(tab.ask(ArchiveRequest::Put(vec![block(1)])).await, ArchiveAnswer::Stored);
        tab.close().await;
        let database = raw(&chain).await;
        let writing = database.write(&[damage]).unwrap();
        writing.store(damage).unwrap().clear().unwrap();
        writing.done().await.unwrap();
        drop(database);
        let mut tab = open(chain).await;
        if damage == archive::HEADERS {
            // Core finds that out for itself, by asking for its head.
            assert_eq!(tab.alarm, None);
        } else {
            assert!(
                tab.alarm.as_ref().unwrap().contains("starts over; your keys are untouched"),
                "{:?}",
                tab.alarm
            );
            assert!(tab.rows().is_empty() && tab.storage.is_kept());
            assert_eq!(tab.ask(bodies([1], 9)).await, ArchiveAnswer::Bodies(vec![None]));
        }
        tab.close().await;
    }
}

#[test]
async fn another_versions_database_is_said_and_begun_anew() {
    for (number, version) in [VERSION - 1, VERSION + 1].into_iter().enumerate() {
        let chain = fresh(20 + number as u8).await;
        drop(Database::open(&name(&chain), version, &["other"]).await.map_err(|_| ()).unwrap());
        let tab = open(chain).await;
        assert!(
            tab.alarm.as_ref().unwrap().contains("another version of this app wrote it"),
            "{:?}",
            tab.alarm
        );
        assert!(tab.storage.is_kept());
        tab.close().await;
        let tab = open(chain).await;
        assert_eq!(tab.alarm, None, "once");
        tab.close().await;
    }
}

#[test]
async fn the_archive_answers_in_order_and_within_bounds_and_forgets_below_a_height() {
    let chain = fresh(30).await;
    let mut tab = open(chain).await;
    assert_eq!(
        tab.ask(ArchiveRequest::Put([300, 2, 1, 256, 4].map(block).to_vec())).await,
        ArchiveAnswer::Stored
    );
    let four = vec![(Height(4), Hash([4; 32])), (Height(9), Hash([9; 32]))];
    assert_eq!(tab.ask(ArchiveRequest::Delete(four)).await, ArchiveAnswer::Stored);
    tab.close().await;
    let mut tab = open(chain).await;
    let row = |height: u64| (Height(height), Hash([height as u8; 32]), vec![height as u8; 10]);
    let headers = |from, count| ArchiveRequest::Headers { from: Height(from), count };
    assert_eq!(tab.ask(headers(2, 2)).await, ArchiveAnswer::Headers(vec![row(2), row(256)]));
    assert_eq!(tab.ask(headers(2, 0)).await, ArchiveAnswer::Headers(vec![]));
    let body = |height: u64| Some(vec![height as u8; 100]);
    let wanted = [300, 4, 2, 1];
    assert_eq!(
        tab.ask(bodies(wanted, 200)).await,
        ArchiveAnswer::Bodies(vec![body(300), None, body(2), body(1)])
    );
    assert_eq!(tab.ask(bodies(wanted, 150)).await, ArchiveAnswer::Bodies(vec![body(300), None, body(2)]));
    assert_eq!(tab.ask(ArchiveRequest::Prune { below: Height(256) }).await, ArchiveAnswer::Stored);
    assert_eq!(tab.ask(headers(0, 9)).await, ArchiveAnswer::Headers(vec![row(256), row(300)]));
    assert_eq!(tab.ask(bodies([2, 256], 999)).await, ArchiveAnswer::Bodies(vec![None, body(256)]));
    tab.close().await;
}

#[test]
async fn a_damaged_block_is_a_failure_and_not_an_answer() {
    let chain = fresh(31).await;
    let mut tab = open(chain).await;
    tab.ask(ArchiveRequest::Put(vec![block(1)])).await;
    tab.close().await;
    let database = raw(&chain).await;
    let writing = database.write(&[archive::BODIES]).unwrap();
    let key = [1_u64.to_be_bytes().as_slice(), &[1; 32]].concat();
    let bodies_store = writing.store(archive::BODIES).unwrap();
    bodies_store
        .put_with_key(&Uint8Array::from([0; 108].as_slice()), &Uint8Array::from(key.as_slice()))
        .unwrap();
    writing.done().await.unwrap();
    drop(database);
    let mut tab = open(chain).await;
    tab.storage.archive(ArchiveId(1), bodies([1], 999));
    let Some(Input::Archive(_, Err(failure))) = tab.inbox.next().await else { panic!("it answered") };
    assert!(failure.0.contains("the block at height 1 is damaged"), "{failure}");
    tab.close().await;
}

#[test]
async fn another_chains_database_is_deleted() {
    let (one, two) = (fresh(40).await, fresh(41).await);
    open(one).await.close().await;
    open(two).await.close().await;
    let names = Database::names().await.unwrap();
    assert!(!names.contains(&name(&one)) && names.contains(&name(&two)), "{names:?}");
}
