//! The rows of IndexedDB that hold the keys, and the key that seals them.

use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};

use super::seal::Seal;
use crate::{
    in_words,
    indexed::{self, OpenError},
};

const SCHEMA: u32 = 1;
const STORE: &str = "identity";
const KEYS: &str = "keys";
const SEAL: &str = "seal";

pub(super) struct Database(indexed::Database);

impl Database {
    /// Opens the database of this name, and makes it if it is new.
    pub(super) async fn open(name: &str) -> Result<Self, String> {
        match indexed::Database::open(name, SCHEMA, &[STORE]).await {
            Ok(database) => Ok(Self(database)),
            Err(OpenError::OtherVersion) => Err("another version of this app stored your keys".into()),
            Err(OpenError::Refused(reason)) => Err(reason),
        }
    }

    /// The stored keys, if there are any; something else in their place is of no bytes.
    pub(super) async fn read(&self) -> Result<Option<Vec<u8>>, String> {
        let value = self.row(KEYS).await?;
        let bytes = || value.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec).unwrap_or_default();
        Ok((!value.is_undefined()).then(bytes))
    }

    /// The key that seals them, if there is one.
    pub(super) async fn seal(&self) -> Result<Option<Seal>, String> {
        Ok(Seal::from_stored(self.row(SEAL).await?))
    }

    async fn row(&self, key: &str) -> Result<JsValue, String> {
        let request = self.0.read(STORE)?.get(&key.into()).map_err(in_words)?;
        indexed::finished(&request).await
    }

    /// Stores the keys and what seals them, both or neither, and returns once they are on disk.
    pub(super) async fn write(&self, keys: &[u8], seal: Option<&Seal>) -> Result<(), String> {
        let transaction = self.0.write(&[STORE])?;
        let store = transaction.store(STORE)?;
        if let Some(seal) = seal {
            // First: a browser that cannot store it throws here, and nothing was written.
            store.put_with_key(seal.stored(), &SEAL.into()).map_err(in_words)?;
        }
        store.put_with_key(&Uint8Array::from(keys), &KEYS.into()).map_err(in_words)?;
        transaction.done().await
    }
}
