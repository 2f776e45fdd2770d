//! The thread that makes the store's batches durable, in order.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use redb::{Database, Durability};
use weft_core::{node::Input, store::Seq};

use super::{
    file::{DIGEST, File, META, Trouble},
    queue::{Group, Queue},
    store::{Digest, ROWS, row_key},
};

/// How long batches that nobody waits for wait at least for others.
const GATHER: Duration = Duration::from_millis(100);
/// And at most: what they hold is lost when the power fails, and done again.
const GATHER_MOST: Duration = Duration::from_secs(5);
/// They wait so many times as long as the last write took, so that the disk is mostly idle when a vote or a block of our own comes.
const IDLE: u32 = 3;

/// How long batches wait for others after a write that took so long.
fn gather(took: Duration) -> Duration {
    took.saturating_mul(IDLE).clamp(GATHER, GATHER_MOST)
}

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
        let mut took = Duration::ZERO;
        while let Some(group) = self.queue.next(gather(took)) {
            let begun = Instant::now();
            match self.file.with(|database| commit(database, self.digest, &group)) {
                Ok(digest) => {
                    if !group.is_empty() {
                        took = begun.elapsed();
                    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_idle_most_of_the_time() {
        let millis = Duration::from_millis;
        assert_eq!(gather(millis(3)), GATHER);
        assert_eq!(gather(millis(300)), millis(900));
        assert_eq!(gather(millis(60_000)), GATHER_MOST);
    }
}
