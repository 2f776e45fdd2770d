//! The archive in IndexedDB: headers and bodies by height and hash, in the order they are asked for.

use std::rc::Rc;

use futures::{FutureExt, StreamExt, channel::mpsc};
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::IdbKeyRange;
use weft_core::{
    node::{ArchiveId, Input},
    primitives::{Hash, Hasher, Height},
    store::{ArchiveAnswer, ArchiveFailure, ArchiveRequest},
};

use crate::{
    in_words,
    indexed::{Database, finished},
};

/// Encoded headers, each behind a checksum.
pub(super) const HEADERS: &str = "headers";
/// Encoded bodies, each behind a checksum.
pub(super) const BODIES: &str = "bodies";

/// The requests that share a transaction, when more changes follow at once.
const ENOUGH: usize = 64;
/// The bytes of checksum before each value.
const CHECKSUM: usize = 8;

/// The height as 8 big-endian bytes, then the hash.
type Key = [u8; 40];

/// What is answered when there is no archive any more.
pub(super) fn ended() -> ArchiveFailure {
    ArchiveFailure("it is closed".to_owned())
}

/// Carries out requests in order. Changes that follow each other share a transaction, and are answered after it.
pub(super) async fn run(
    database: Rc<Database>,
    mut requests: mpsc::UnboundedReceiver<(ArchiveId, ArchiveRequest)>,
    report: impl Fn(Input),
) {
    let mut next = requests.next().await;
    while let Some((id, request)) = next.take() {
        if !is_change(&request) {
            report(Input::Archive(id, read(&database, request).await.map_err(ArchiveFailure)));
            next = requests.next().await;
            continue;
        }
        let mut ids = vec![id];
        let mut changes = vec![request];
        while changes.len() < ENOUGH {
            match requests.next().now_or_never().flatten() {
                Some((id, request)) if is_change(&request) => {
                    ids.push(id);
                    changes.push(request);
                }
                other => {
                    next = other;
                    break;
                }
            }
        }
        let outcome = change(&database, changes).await.map_err(ArchiveFailure);
        for id in ids {
            report(Input::Archive(id, outcome.clone().map(|()| ArchiveAnswer::Stored)));
        }
        if next.is_none() {
            next = requests.next().await;
        }
    }
}

fn is_change(request: &ArchiveRequest) -> bool {
    matches!(request, ArchiveRequest::Put(_) | ArchiveRequest::Delete(_) | ArchiveRequest::Prune { .. })
}

async fn change(database: &Database, requests: Vec<ArchiveRequest>) -> Result<(), String> {
    let transaction = database.write(&[HEADERS, BODIES])?;
    let (headers, bodies) = (transaction.store(HEADERS)?, transaction.store(BODIES)?);
    let delete = |keys: &JsValue| headers.delete(keys).and_then(|_| bodies.delete(keys)).map_err(in_words);
    for request in requests {
        match request {
            ArchiveRequest::Put(blocks) => {
                for block in blocks {
                    let key = key(block.height, &block.hash);
                    for (store, value) in [(&headers, &block.header), (&bodies, &block.body)] {
                        store.put_with_key(&sealed(&key, value), &js(&key)).map_err(in_words)?;
                    }
                }
            }
            ArchiveRequest::Delete(keys) => {
                for (height, hash) in keys {
                    delete(&js(&key(height, &hash)))?;
                }
            }
            ArchiveRequest::Prune { below } => {
                let below = js(&key(below, &Hash::ZERO));
                delete(&IdbKeyRange::upper_bound_with_open(&below, true).map_err(in_words)?.into())?;
            }
            ArchiveRequest::Headers { .. } | ArchiveRequest::Bodies { .. } => {}
        }
    }
    transaction.done().await
}

async fn read(database: &Database, request: ArchiveRequest) -> Result<ArchiveAnswer, String> {
    match request {
        ArchiveRequest::Headers { from, count } if count > 0 => {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let range = IdbKeyRange::lower_bound(&js(&key(from, &Hash::ZERO))).map_err(in_words)?;
            let store = database.read(HEADERS)?;
            let keys = store.get_all_keys_with_key_and_limit(&range, count).map_err(in_words)?;
            let values = store.get_all_with_key_and_limit(&range, count).map_err(in_words)?;
            // The second ends after the first.
            let values = Array::from(&finished(&values).await?);
            let keys = Array::from(&keys.result().map_err(in_words)?);
            let headers = keys.iter().zip(values.iter()).map(|(key, value)| {
                let key: Key =
                    Uint8Array::new(&key).to_vec().try_into().map_err(|_| "a block has no height")?;
                let (height, hash) = parts(&key);
                Ok((height, hash, opened(&key, &value)?))
            });
            headers.collect::<Result<_, String>>().map(ArchiveAnswer::Headers)
        }
        ArchiveRequest::Bodies { keys, max_bytes } => {
            let store = database.read(BODIES)?;
            let mut bodies = Vec::new();
            let mut bytes = 0;
            for (height, hash) in keys {
                let key = key(height, &hash);
                let value = finished(&store.get(&js(&key)).map_err(in_words)?).await?;
                let body = if value.is_undefined() { None } else { Some(opened(&key, &value)?) };
                bytes += body.as_ref().map_or(0, Vec::len);
                bodies.push(body);
                if bytes > max_bytes {
                    break;
                }
            }
            Ok(ArchiveAnswer::Bodies(bodies))
        }
        // A count of 0 would mean all of them to the browser.
        ArchiveRequest::Headers { .. } => Ok(ArchiveAnswer::Headers(Vec::new())),
        ArchiveRequest::Put(_) | ArchiveRequest::Delete(_) | ArchiveRequest::Prune { .. } => {
            Ok(ArchiveAnswer::Stored)
        }
    }
}

fn key(height: Height, hash: &Hash) -> Key {
    let mut key = [0; 40];
    key[..8].copy_from_slice(&height.0.to_be_bytes());
    key[8..].copy_from_slice(&hash.0);
    key
}

fn parts(key: &Key) -> (Height, Hash) {
    let height = std::array::from_fn(|index| key[index]);
    let hash = std::array::from_fn(|index| key[8 + index]);
    (Height(u64::from_be_bytes(height)), Hash(hash))
}

fn js(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}

fn checksum(key: &Key, value: &[u8]) -> [u8; CHECKSUM] {
    let hash = Hasher::tagged(b"weft/block").add(key).add(value).finish();
    std::array::from_fn(|index| hash.0[index])
}

fn sealed(key: &Key, value: &[u8]) -> JsValue {
    js(&[checksum(key, value).as_slice(), value].concat())
}

fn opened(key: &Key, stored: &JsValue) -> Result<Vec<u8>, String> {
    let stored = stored.dyn_ref::<Uint8Array>().map(Uint8Array::to_vec).unwrap_or_default();
    match stored.split_at_checked(CHECKSUM) {
        Some((sum, value)) if sum == checksum(key, value) => Ok(value.to_vec()),
        _ => Err(format!("the block at height {} is damaged", parts(key).0)),
    }
}
