//! The one row of IndexedDB that holds the keys.

use futures::channel::oneshot;
use js_sys::{Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{IdbDatabase, IdbObjectStore, IdbOpenDbRequest, IdbRequest, IdbTransaction};

use crate::in_words;

const DATABASE: &str = "weft";
const SCHEMA: u32 = 1;
const STORE: &str = "identity";
const KEY: &str = "keys";

#[wasm_bindgen]
extern "C" {
    /// `IDBDatabase` with the option that web-sys still calls unstable.
    #[wasm_bindgen(extends = IdbDatabase)]
    type DurableDatabase;

    #[wasm_bindgen(method, catch)]
    fn transaction(
        this: &DurableDatabase,
        store: &str,
        mode: &str,
        options: &Object,
    ) -> Result<IdbTransaction, JsValue>;
}

/// Opens the database, and makes it if it is new.
pub(super) async fn open() -> Result<IdbDatabase, String> {
    let factory = web_sys::window()
        .and_then(|window| window.indexed_db().ok().flatten())
        .ok_or("there is no IndexedDB here")?;
    let request = factory.open_with_u32(DATABASE, SCHEMA).map_err(in_words)?;
    let upgrade = Closure::once({
        let request = request.clone();
        move || {
            if let Ok(database) = request.result().and_then(|result| result.dyn_into::<IdbDatabase>()) {
                // When it fails the transaction aborts, and opening fails with it.
                let _ = database.create_object_store(STORE);
            }
        }
    });
    request.set_onupgradeneeded(Some(upgrade.as_ref().unchecked_ref()));
    let opened = finished(&request).await;
    IdbOpenDbRequest::set_onupgradeneeded(&request, None);
    opened?.dyn_into().map_err(|_| "IndexedDB opened something else".into())
}

/// The stored bytes, if there are any.
pub(super) async fn read(database: &IdbDatabase) -> Result<Option<Vec<u8>>, String> {
    let store =
        database.transaction_with_str(STORE).and_then(|tx| tx.object_store(STORE)).map_err(in_words)?;
    let value = finished(&store.get(&KEY.into()).map_err(in_words)?).await?;
    Ok(value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec))
}

/// Stores the bytes, and returns once they are on disk.
pub(super) async fn write(database: &IdbDatabase, bytes: &[u8]) -> Result<(), String> {
    let options = Object::new();
    Reflect::set(&options, &"durability".into(), &"strict".into()).map_err(in_words)?;
    let transaction = database
        .unchecked_ref::<DurableDatabase>()
        .transaction(STORE, "readwrite", &options)
        .map_err(in_words)?;
    let store: IdbObjectStore = transaction.object_store(STORE).map_err(in_words)?;
    store.put_with_key(&Uint8Array::from(bytes), &KEY.into()).map_err(in_words)?;
    let (done, outcome) = oneshot::channel();
    let done = std::rc::Rc::new(std::cell::Cell::new(Some(done)));
    let complete = signal(&done, true);
    let abort = signal(&done, false);
    transaction.set_oncomplete(Some(complete.as_ref().unchecked_ref()));
    transaction.set_onabort(Some(abort.as_ref().unchecked_ref()));
    match outcome.await {
        Ok(true) => Ok(()),
        _ => Err(transaction.error().map_or_else(|| "the write was aborted".into(), |error| error.message())),
    }
}

/// A request's result.
async fn finished(request: &IdbRequest) -> Result<JsValue, String> {
    let (done, outcome) = oneshot::channel();
    let done = std::rc::Rc::new(std::cell::Cell::new(Some(done)));
    let success = signal(&done, true);
    let error = signal(&done, false);
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

type Done = std::rc::Rc<std::cell::Cell<Option<oneshot::Sender<bool>>>>;

fn signal(done: &Done, succeeded: bool) -> Closure<dyn FnMut()> {
    let done = done.clone();
    Closure::new(move || {
        if let Some(done) = done.take() {
            // Nobody waits any more when the page is going away.
            let _ = done.send(succeeded);
        }
    })
}
