//! The thread that makes the store's batches durable, in order.

use std::sync::Arc;

use redb::{Database, Durability};
use weft_core::{node::Input, store::Seq};

use super::{
    file::{DIGEST, File, META, Trouble},
    queue::{Group, Queue},
    store::{Digest, ROWS, row_key},
};

pub(super) struct Writer {
    file: Arc<File>,
    digest: Digest,
    queue: Queue,
    persisted: Seq,
}

impl Writer {
    pub(super) fn new(file: Arc<File>, digest: Digest, queue: Queue) -> Self {
        Self { file, digest, queue, persisted: Seq(0) }
    }

    /// Writes until the queue is closed or a write fails. A failed write is the last one: what follows it must not be
    /// durable without it.
    pub(super) fn run(mut self, report: &dyn Fn(Input)) {
        while let Some(group) = self.queue.next() {
            match self.file.with(|database| commit(database, self.digest, &group)) {
                Ok(digest) => {
                    self.digest = digest;
                    self.queue.written(&group);
                    self.persisted = group.last().map_or(self.persisted, |(seq, _)| *seq);
                    report(Input::Persisted(self.persisted));
                }
                Err(trouble) => {
                    let reason = format!("{}: {trouble}", self.file.path.display());
                    self.queue.abandon();
                    report(Input::StorageFailed(reason.clone()));
                    tracing::error!("the store cannot be written any more: {reason}");
                    return;
                }
            }
        }
        self.queue.abandon();
    }
}

/// Makes a group durable in one transaction, and answers with the checksum of all rows after it.
fn commit(database: &Database, mut digest: Digest, group: &Group) -> Result<Digest, Trouble> {
    if group.is_empty() {
        return Ok(digest);
    }
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut rows = transaction.open_table(ROWS)?;
        for write in group.iter().flat_map(|(_, batch)| &batch.0) {
            let row = row_key(write.table, &write.key);
            let old = match &write.value {
                Some(value) => {
                    digest.add(&row, value);
                    rows.insert(row.as_slice(), value.as_slice())?
                }
                None => rows.remove(row.as_slice())?,
            };
            if let Some(old) = old {
                digest.remove(&row, old.value());
            }
        }
        transaction.open_table(META)?.insert(DIGEST, digest.to_bytes().as_slice())?;
    }
    transaction.commit()?;
    Ok(digest)
}
