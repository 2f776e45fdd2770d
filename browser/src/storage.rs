//! Where a tab keeps its chain: an IndexedDB database for each chain, or memory alone.
//!
//! Only the tab that holds the Web Lock keeps anything. What is stored can be downloaded again, so whatever cannot be used
//! is deleted, and the person told; the keys are in a database of their own, which nothing here touches.

mod archive;
mod memory;
mod store;

use std::rc::Rc;

use futures::channel::mpsc;
use js_sys::Reflect;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::StorageManager;
use weft_core::{
    node::{ArchiveId, Input},
    primitives::Hash,
    store::{ArchiveRequest, MemoryStore, SCHEMA, Seq, Store},
    swarm::InputSender,
};

use self::{memory::Archive, store::Flusher};
use crate::{
    in_words,
    indexed::{Database, OpenError},
    text::in_bytes,
};

/// The names of chains' databases begin with this, and end with the genesis hash.
const PREFIX: &str = "weft-chain-";
/// The version of the layout of a database. It is raised with every change, and with core's [`SCHEMA`].
const VERSION: u32 = 1 + (SCHEMA << 8);
const STORES: &[&str] = &[store::HEAD, store::JOURNAL, store::PAGES, archive::HEADERS, archive::BODIES];

/// Why a chain's database cannot be used.
#[derive(Debug)]
enum Trouble {
    /// What is in it makes no sense to this version: it may be deleted.
    Unreadable(String),
    /// The browser refuses.
    Refused(String),
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self::Refused(reason)
    }
}

/// What is behind a node's store, and its archive.
pub(crate) enum Storage {
    /// Nothing is kept.
    Memory { archive: Archive, inputs: InputSender },
    /// In a database.
    Kept {
        flusher: Flusher,
        requests: mpsc::UnboundedSender<(ArchiveId, ArchiveRequest)>,
        inputs: InputSender,
    },
}

/// A store, what is behind it, and what the person must know about it.
pub(crate) struct Opened {
    pub(crate) store: Box<dyn Store + Send>,
    pub(crate) storage: Storage,
    pub(crate) alarm: Option<String>,
}

impl Opened {
    /// In memory alone.
    pub(crate) fn memory(inputs: &InputSender) -> Self {
        Self {
            store: Box::new(MemoryStore::default()),
            storage: Storage::Memory { archive: Archive::default(), inputs: inputs.clone() },
            alarm: None,
        }
    }

    /// What is stored of this chain. When that is unreadable it is deleted, and when the browser refuses nothing is kept;
    /// either is an alarm.
    pub(crate) async fn kept(chain: &Hash, inputs: &InputSender) -> Self {
        forget_others(chain).await;
        match open(chain, inputs).await {
            Ok(opened) => opened,
            Err(Trouble::Unreadable(reason)) => Self::over(chain, inputs, &reason).await,
            Err(Trouble::Refused(reason)) => Self::refused(inputs, &reason),
        }
    }

    /// Deletes what is stored of this chain, which is not to be open any more, because of `reason`, and begins anew.
    pub(crate) async fn over(chain: &Hash, inputs: &InputSender, reason: &str) -> Self {
        let begun = match Database::delete(&name(chain)).await {
            Ok(()) => open(chain, inputs).await,
            Err(reason) => Err(Trouble::Refused(reason)),
        };
        match begun {
            Ok(mut opened) => {
                opened.alarm = Some(format!(
                    "the chain stored in this browser could not be used ({reason}), so it was deleted and this tab starts \
                     over; your keys are untouched"
                ));
                opened
            }
            Err(Trouble::Unreadable(reason) | Trouble::Refused(reason)) => Self::refused(inputs, &reason),
        }
    }

    fn refused(inputs: &InputSender, reason: &str) -> Self {
        let alarm = format!(
            "this browser does not let the tab keep the chain ({reason}): it is in memory only, and is downloaded and \
             verified again when the tab is reopened"
        );
        Self { alarm: Some(alarm), ..Self::memory(inputs) }
    }
}

impl Storage {
    /// Asks the archive. Ends in [`Input::Archive`], in the order of the requests.
    pub(crate) fn archive(&mut self, id: ArchiveId, request: ArchiveRequest) {
        match self {
            Self::Memory { archive, inputs } => inputs.send(Input::Archive(id, Ok(archive.answer(request)))),
            Self::Kept { requests, inputs, .. } => {
                if requests.unbounded_send((id, request)).is_err() {
                    inputs.send(Input::Archive(id, Err(archive::ended())));
                }
            }
        }
    }

    /// Makes all batches up to `seq` durable without waiting for more. Ends in [`Input::Persisted`], unless
    /// [`Input::StorageFailed`] was or is reported.
    pub(crate) fn flush(&mut self, seq: Seq) {
        match self {
            Self::Memory { inputs, .. } => inputs.send(Input::Persisted(seq)),
            Self::Kept { flusher, .. } => flusher.flush(),
        }
    }

    /// Whether a reload finds the chain again.
    pub(crate) const fn is_kept(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }
}

fn name(chain: &Hash) -> String {
    format!("{PREFIX}{chain}")
}

/// Deletes what is stored of this chain, which is not to be open.
///
/// # Errors
/// In words, when the browser does not.
pub(crate) async fn forget(chain: &Hash) -> Result<(), String> {
    Database::delete(&name(chain))
        .await
        .map_err(|error| format!("what this browser stores of the chain could not be deleted: {error}"))
}

/// A page comes from one server, and a server serves one chain: other chains' databases are left over.
async fn forget_others(chain: &Hash) {
    // A browser that does not list its databases keeps them.
    for other in Database::names().await.unwrap_or_default() {
        if other.starts_with(PREFIX) && other != name(chain) {
            tracing::info!(other, "deleting what is stored of another chain");
            if let Err(error) = Database::delete(&other).await {
                tracing::warn!(error, "it could not be deleted");
            }
        }
    }
}

async fn open(chain: &Hash, inputs: &InputSender) -> Result<Opened, Trouble> {
    let database = Database::open(&name(chain), VERSION, STORES).await.map_err(|error| match error {
        OpenError::OtherVersion => Trouble::Unreadable("another version of this app wrote it".into()),
        OpenError::Refused(reason) => Trouble::Refused(reason),
    })?;
    let database = Rc::new(database);
    let report = |inputs: &InputSender| {
        let inputs = inputs.clone();
        move |input| inputs.send(input)
    };
    let (store, flusher, writer) = store::open(database.clone(), report(inputs)).await?;
    wasm_bindgen_futures::spawn_local(writer);
    let (requests, asked) = mpsc::unbounded();
    wasm_bindgen_futures::spawn_local(archive::run(database, asked, report(inputs)));
    let storage = Storage::Kept { flusher, requests, inputs: inputs.clone() };
    Ok(Opened { store: Box::new(store), storage, alarm: None })
}

fn manager() -> Option<StorageManager> {
    let window = web_sys::window().filter(web_sys::Window::is_secure_context)?;
    Some(window.navigator().storage())
}

/// Asks the browser not to delete what this page stores when it runs out of room. It may ask the person.
pub(crate) async fn ask_to_persist() {
    let Some(Ok(asked)) = manager().map(|manager| manager.persist()) else { return };
    if let Err(error) = JsFuture::from(asked).await {
        tracing::info!(error = in_words(error), "the browser was not asked to keep what is stored");
    }
}

/// How much this page stores, in words, where the browser tells.
pub(crate) async fn usage() -> Option<String> {
    let manager = manager()?;
    let estimate = JsFuture::from(manager.estimate().ok()?).await.ok()?;
    let persistent = JsFuture::from(manager.persisted().ok()?).await.ok()?;
    let number = |name: &str| Some(Reflect::get(&estimate, &JsValue::from_str(name)).ok()?.as_f64()? as u64);
    let (used, allowed) = (in_bytes(number("usage")?), in_bytes(number("quota")?));
    let until = if persistent.is_truthy() { "" } else { ", until the browser runs out of room" };
    Some(format!("; {used} stored, of {allowed} allowed{until}"))
}

#[cfg(test)]
mod tests;
