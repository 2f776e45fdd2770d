//! IndexedDB with awaits in the place of callbacks.

use std::{cell::Cell, rc::Rc};

use futures::channel::oneshot;
use js_sys::{Array, JsString, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{Event, IdbDatabase, IdbFactory, IdbObjectStore, IdbOpenDbRequest, IdbRequest, IdbTransaction};

use crate::in_words;

#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase` with the option that web-sys still calls unstable.
    #[wasm_bindgen(extends = IdbDatabase)]
    type DurableDatabase;

    #[wasm_bindgen(method, catch)]
    fn transaction(
        this: &DurableDatabase,
        stores: &Array,
        mode: &str,
        options: &Object,
    ) -> Result<IdbTransaction, JsValue>;

    /// `IDBFactory` with the list of databases, for the same reason.
    #[wasm_bindgen(extends = IdbFactory)]
    type ListingFactory;

    #[wasm_bindgen(method, catch)]
    fn databases(this: &ListingFactory) -> Result<Promise, JsValue>;
}

/// Why a database cannot be opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It is there, in the layout of another version of this program.
    OtherVersion,
    /// The browser refuses, in words.
    Refused(String),
}

impl From<String> for OpenError {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

/// An open database; dropping it closes it.
pub(crate) struct Database(IdbDatabase);

impl Drop for Database {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn factory() -> Result<IdbFactory, String> {
    web_sys::window()
        .and_then(|window| window.indexed_db().ok().flatten())
        .ok_or_else(|| "there is no IndexedDB here".into())
}

impl Database {
    /// Opens the database of this name, and makes it with these object stores if it is new.
    pub(crate) async fn open(
        name: &str,
        version: u32,
        stores: &'static [&'static str],
    ) -> Result<Self, OpenError> {
        let request = factory()?.open_with_u32(name, version).map_err(in_words)?;
        let other_version = Rc::new(Cell::new(false));
        let upgrade = Closure::once({
            let (request, other_version) = (request.clone(), other_version.clone());
            move |event: Event| {
                let before =
                    Reflect::get(&event, &"oldVersion".into()).ok().and_then(|version| version.as_f64());
                if before != Some(0.0) {
                    other_version.set(true);
                    if let Some(transaction) = request.transaction() {
                        // It fails only when it has ended already.
                        let _ = transaction.abort();
                    }
                } else if let Ok(database) = request.result().and_then(JsCast::dyn_into::<IdbDatabase>) {
                    for store in stores {
                        // When it fails the transaction aborts, and opening fails with it.
                        let _ = database.create_object_store(store);
                    }
                }
            }
        });
        request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
        let opened = finished(&request).await;
        IdbOpenDbRequest::set_onupgradeneeded(&request, None);
        let later = request.error().ok().flatten().is_some_and(|error| error.name() == "VersionError");
        if other_version.get() || later {
            return Err(OpenError::OtherVersion);
        }
        Ok(Self(opened?.unchecked_into()))
    }

    /// Deletes the database of this name, if there is one. It must not be open.
    pub(crate) async fn delete(name: &str) -> Result<(), String> {
        finished(factory()?.delete_database(name).map_err(in_words)?.as_ref()).await.map(drop)
    }

    /// The names of this page's databases.
    pub(crate) async fn names() -> Result<Vec<String>, String> {
        let listed = factory()?.unchecked_into::<ListingFactory>().databases().map_err(in_words)?;
        let listed = wasm_bindgen_futures::JsFuture::from(listed).await.map_err(in_words)?;
        let name = |database| Reflect::get(&database, &"name".into()).ok()?.as_string();
        Ok(Array::from(&listed).iter().filter_map(name).collect())
    }

    /// A transaction that reads.
    pub(crate) fn read(&self, store: &str) -> Result<IdbObjectStore, String> {
        self.0
            .transaction_with_str(store)
            .and_then(|transaction| transaction.object_store(store))
            .map_err(in_words)
    }

    /// A transaction that writes. It is on disk when [`Transaction::done`] says so.
    pub(crate) fn write(&self, stores: &[&str]) -> Result<Transaction, String> {
        let options = Object::new();
        Reflect::set(&options, &"durability".into(), &"strict".into()).map_err(in_words)?;
        let stores: Array = stores.iter().map(|store| JsString::from(*store)).collect();
        let database = self.0.unchecked_ref::<DurableDatabase>();
        database.transaction(&stores, "readwrite", &options).map(Transaction).map_err(in_words)
    }
}

/// A transaction that writes.
pub(crate) struct Transaction(IdbTransaction);

impl Transaction {
    pub(crate) fn store(&self, name: &str) -> Result<IdbObjectStore, String> {
        self.0.object_store(name).map_err(in_words)
    }

    /// Returns once everything is on disk.
    pub(crate) async fn done(self) -> Result<(), String> {
        let (done, outcome) = oneshot::channel();
        let done = Rc::new(Cell::new(Some(done)));
        let (complete, abort) = (signal(&done, true), signal(&done, false));
        self.0.set_oncomplete(Some(complete.as_ref().unchecked_ref()));
        self.0.set_onabort(Some(abort.as_ref().unchecked_ref()));
        let succeeded = outcome.await == Ok(true);
        self.0.set_oncomplete(None);
        self.0.set_onabort(None);
        if succeeded {
            return Ok(());
        }
        Err(self.0.error().map_or_else(|| "the write was aborted".into(), |error| error.message()))
    }
}

/// A request's result.
pub(crate) async fn finished(request: &IdbRequest) -> Result<JsValue, String> {
    let (done, outcome) = oneshot::channel();
    let done = Rc::new(Cell::new(Some(done)));
    let (success, error) = (signal(&done, true), signal(&done, false));
    request.set_onsuccess(Some(success.as_ref().unchecked_ref()));
    request.set_onerror(Some(error.as_ref().unchecked_ref()));
    let succeeded = outcome.await == Ok(true);
    request.set_onsuccess(None);
    request.set_onerror(None);
    if succeeded {
        return request.result().map_err(in_words);
    }
    Err(request.error().ok().flatten().map_or_else(|| "it refused".into(), |error| error.message()))
}

type Done = Rc<Cell<Option<oneshot::Sender<bool>>>>;

fn signal(done: &Done, succeeded: bool) -> Closure<dyn FnMut()> {
    let done = done.clone();
    Closure::new(move || {
        if let Some(done) = done.take() {
            // Nobody waits any more when the page is going away.
            let _ = done.send(succeeded);
        }
    })
}
