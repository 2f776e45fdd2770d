//! The archive's thread: headers and bodies by height and hash, in the order they are asked for.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use weft_core::{
    node::{ArchiveId, Input},
    primitives::{Hash, Hasher, Height},
    store::{ArchiveAnswer, ArchiveFailure, ArchiveRequest},
};

use super::file::{File, Trouble};

/// The height as 8 big-endian bytes, then the hash.
type Key = [u8; 40];

/// Encoded headers, each behind a checksum.
const HEADERS: TableDefinition<'_, &Key, &[u8]> = TableDefinition::new("headers");
/// Encoded bodies, each behind a checksum.
pub(super) const BODIES: TableDefinition<'_, &Key, &[u8]> = TableDefinition::new("bodies");

/// The requests that may wait; whoever asks more waits too.
const WAITING: usize = 256;
/// The bytes that one commit takes up before it is made, when more changes follow at once.
const ENOUGH: usize = 32 << 20;
/// The bytes of checksum before each value.
const CHECKSUM: usize = 8;

type Request = (ArchiveId, ArchiveRequest);
pub(super) type Requests = SyncSender<Request>;

/// The queue to an archive's thread, which ends when the sending side is dropped.
pub(super) fn queue() -> (Requests, Receiver<Request>) {
    sync_channel(WAITING)
}

/// What is answered when there is no archive any more.
pub(super) fn ended() -> ArchiveFailure {
    ArchiveFailure("it is closed".to_owned())
}

pub(super) struct Archive {
    file: File,
}

impl Archive {
    pub(super) fn new(file: File) -> Self {
        Self { file }
    }

    /// Carries out requests in order. Changes that follow each other share a commit, and are answered after it.
    pub(super) fn run(self, requests: &Receiver<Request>, report: &dyn Fn(Input)) {
        let mut next = requests.recv().ok();
        while let Some((id, request)) = next.take() {
            if !is_change(&request) {
                report(Input::Archive(id, self.answer(&request)));
                next = requests.recv().ok();
                continue;
            }
            let mut bytes = weight(&request);
            let mut ids = vec![id];
            let mut changes = vec![request];
            while bytes < ENOUGH {
                match requests.try_recv() {
                    Ok((id, request)) if is_change(&request) => {
                        bytes += weight(&request);
                        ids.push(id);
                        changes.push(request);
                    }
                    Ok(other) => {
                        next = Some(other);
                        break;
                    }
                    Err(_) => break,
                }
            }
            let outcome = self.file.with(|database| change(database, &changes)).map_err(|e| self.failure(&e));
            for id in ids {
                report(Input::Archive(id, outcome.clone().map(|()| ArchiveAnswer::Stored)));
            }
            if next.is_none() {
                next = requests.recv().ok();
            }
        }
    }

    fn answer(&self, request: &ArchiveRequest) -> Result<ArchiveAnswer, ArchiveFailure> {
        self.file.with(|database| read(database, request)).map_err(|trouble| self.failure(&trouble))
    }

    fn failure(&self, trouble: &Trouble) -> ArchiveFailure {
        let failure = ArchiveFailure(format!("{}: {trouble}", self.file.path.display()));
        tracing::error!("{failure}");
        failure
    }
}

fn is_change(request: &ArchiveRequest) -> bool {
    matches!(request, ArchiveRequest::Put(_) | ArchiveRequest::Delete(_) | ArchiveRequest::Prune { .. })
}

fn weight(request: &ArchiveRequest) -> usize {
    match request {
        ArchiveRequest::Put(blocks) => blocks.iter().map(|b| b.header.len() + b.body.len()).sum(),
        _ => 0,
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

fn checksum(key: &Key, value: &[u8]) -> [u8; CHECKSUM] {
    let hash = Hasher::tagged(b"weft/block").add(key).add(value).finish();
    std::array::from_fn(|index| hash.0[index])
}

fn sealed(key: &Key, value: &[u8]) -> Vec<u8> {
    [checksum(key, value).as_slice(), value].concat()
}

fn opened(key: &Key, stored: &[u8]) -> Result<Vec<u8>, Trouble> {
    match stored.split_at_checked(CHECKSUM) {
        Some((sum, value)) if sum == checksum(key, value) => Ok(value.to_vec()),
        _ => Err(Trouble::Damaged(format!("the block at height {} is damaged", parts(key).0))),
    }
}

fn change(database: &Database, requests: &[ArchiveRequest]) -> Result<(), Trouble> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut headers = transaction.open_table(HEADERS)?;
        let mut bodies = transaction.open_table(BODIES)?;
        for request in requests {
            match request {
                ArchiveRequest::Put(blocks) => {
                    for block in blocks {
                        let key = key(block.height, &block.hash);
                        headers.insert(&key, sealed(&key, &block.header).as_slice())?;
                        bodies.insert(&key, sealed(&key, &block.body).as_slice())?;
                    }
                }
                ArchiveRequest::Delete(keys) => {
                    for (height, hash) in keys {
                        let key = key(*height, hash);
                        headers.remove(&key)?;
                        bodies.remove(&key)?;
                    }
                }
                ArchiveRequest::Prune { below } => {
                    let below = key(*below, &Hash::ZERO);
                    headers.retain_in::<&Key, _>(..&below, |_, _| false)?;
                    bodies.retain_in::<&Key, _>(..&below, |_, _| false)?;
                }
                ArchiveRequest::Headers { .. } | ArchiveRequest::Bodies { .. } => {}
            }
        }
    }
    Ok(transaction.commit()?)
}

fn read(database: &Database, request: &ArchiveRequest) -> Result<ArchiveAnswer, Trouble> {
    let transaction = database.begin_read()?;
    match request {
        ArchiveRequest::Headers { from, count } => {
            let mut found = Vec::new();
            match transaction.open_table(HEADERS) {
                Err(redb::TableError::TableDoesNotExist(_)) => {}
                table => {
                    for entry in table?.range::<&Key>(&key(*from, &Hash::ZERO)..)?.take(*count) {
                        let (key, value) = entry?;
                        let (height, hash) = parts(key.value());
                        found.push((height, hash, opened(key.value(), value.value())?));
                    }
                }
            }
            Ok(ArchiveAnswer::Headers(found))
        }
        ArchiveRequest::Bodies { keys, max_bytes } => {
            let table = match transaction.open_table(BODIES) {
                Err(redb::TableError::TableDoesNotExist(_)) => {
                    return Ok(ArchiveAnswer::Bodies(vec![None; keys.len()]));
                }
                table => table?,
            };
            let mut found = Vec::new();
            let mut bytes = 0;
            for (height, hash) in keys {
                let key = key(*height, hash);
                let body = table.get(&key)?.map(|stored| opened(&key, stored.value())).transpose()?;
                bytes += body.as_ref().map_or(0, Vec::len);
                found.push(body);
                if bytes > *max_bytes {
                    break;
                }
            }
            Ok(ArchiveAnswer::Bodies(found))
        }
        ArchiveRequest::Put(_) | ArchiveRequest::Delete(_) | ArchiveRequest::Prune { .. } => {
            Ok(ArchiveAnswer::Stored)
        }
    }
}
