//! The one row of IndexedDB that holds the keys.

use js_sys::Uint8Array;
use wasm_bindgen::JsCast;

use crate::{
    in_words,
    indexed::{self, OpenError},
};

const DATABASE: &str = "weft";
const SCHEMA: u32 = 1;
const STORE: &str = "identity";
const KEY: &str = "keys";

pub(super) struct Database(indexed::Database);

impl Database {
    /// Opens the database, and makes it if it is new.
    pub(super) async fn open() -> Result<Self, String> {
        match indexed::Database::open(DATABASE, SCHEMA, &[STORE]).await {
            Ok(database) => Ok(Self(database)),
            Err(OpenError::OtherVersion) => Err("another version of this app stored your keys".into()),
            Err(OpenError::Refused(reason)) => Err(reason),
        }
    }

    /// The stored bytes, if there are any.
    pub(super) async fn read(&self) -> Result<Option<Vec<u8>>, String> {
        let request = self.0.read(STORE)?.get(&KEY.into()).map_err(in_words)?;
        Ok(indexed::finished(&request).await?.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec))
    }

    /// Stores the bytes, and returns once they are on disk.
    pub(super) async fn write(&self, bytes: &[u8]) -> Result<(), String> {
        let transaction = self.0.write(&[STORE])?;
        transaction.store(STORE)?.put_with_key(&Uint8Array::from(bytes), &KEY.into()).map_err(in_words)?;
        transaction.done().await
    }
}
