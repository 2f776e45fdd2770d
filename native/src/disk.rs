//! The disk: core's store and archive as two redb files in one data directory.
//!
//! The store's rows live in memory, but for those of cold tables, which are read from the file; what [`DiskStore`]
//! changes, one writer thread commits behind it, in order and several batches at a time. The archive is too large for memory and is read and written by a thread of its own. Both
//! tell what became of their work as [`Input`]s.
//!
//! Every row carries or adds to a checksum of ours, which is compared when it is read, so that a damaged disk is an
//! error with a name and not a wrong answer. redb locks its files: one process at a time.

mod archive;
mod file;
mod queue;
mod store;
mod writer;

use std::{io, path::Path, path::PathBuf, sync::Arc, thread, thread::JoinHandle};

use weft_core::{
    node::{ArchiveId, Input},
    store::{ArchiveRequest, SCHEMA, Seq},
};

use self::{archive::Archive, queue::Queue, writer::Writer};
pub use store::DiskStore;

/// The file of the store in the data directory.
pub const STORE_FILE: &str = "store.redb";
/// The file of the archive in the data directory.
pub const ARCHIVE_FILE: &str = "archive.redb";

/// The bytes that store and archive take in this directory.
///
/// # Errors
/// When a file is missing or cannot be looked at.
pub(crate) fn used(directory: &Path) -> io::Result<u64> {
    let size = |file: &str| directory.join(file).metadata().map(|metadata| metadata.len());
    Ok(size(STORE_FILE)? + size(ARCHIVE_FILE)?)
}

/// Why a data directory cannot be used. Nothing that was in it is changed by a refusal.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The directory or a file in it cannot be created, read or written.
    #[error("cannot use {}: {source}; check that it is a directory this user may write to", path.display())]
    Access {
        /// What could not be used.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{} is in use by another process: end that one, or use another data directory", path.display())]
    InUse {
        /// The file that is locked.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error(
        "{} is damaged: {reason}; restore the data directory from a copy, or move it away and synchronise again",
        path.display()
    )]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file is a database, but not one of ours.
    #[error("{} was not written by weft: use another data directory", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by another version.
    #[error(
        "{} is in format {stored}, and this version reads format {SCHEMA}: use the version that wrote it, or another data directory",
        path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// The format it is in.
        stored: u32,
    },
    /// Store and archive were not written together.
    #[error(
        "{STORE_FILE} and {ARCHIVE_FILE} in {} do not belong together: restore both from one copy, or move both away and synchronise again",
        directory.display()
    )]
    Mismatch {
        /// The data directory.
        directory: PathBuf,
    },
}

/// A data directory. See [`Disk::open`].
#[derive(Debug)]
pub struct Disk;

impl Disk {
    /// Opens the data directory, or makes a new one, and reads the store into memory.
    ///
    /// `report` receives [`Input::Persisted`], [`Input::StorageFailed`] (once, after which nothing is written any more)
    /// and [`Input::Archive`] from the threads of this disk; it must not block. This call itself blocks while it reads.
    ///
    /// # Errors
    /// When the directory cannot be used, is in use, or is damaged. Nothing in it is overwritten then.
    pub fn open<R>(directory: &Path, report: R) -> Result<(DiskStore, DiskHandles), DiskError>
    where
        R: Fn(Input) + Clone + Send + 'static,
    {
        let (store, archive) = file::open_pair(directory)?;
        let (memory, digest) = store::load(&store)?;
        let (queue, store) = (Queue::new(), Arc::new(store));
        let disk_store = DiskStore::new(memory, queue.clone(), &store);
        let writer = Writer::new(store, digest, queue.clone());
        let writer_report = report.clone();
        let writer_thread = spawn("weft-store", directory, move || writer.run(&writer_report))?;
        let (requests, waiting) = archive::queue();
        let archive_report = report.clone();
        let archive_thread = spawn("weft-archive", directory, move || {
            Archive::new(archive).run(&waiting, &archive_report);
        })?;
        let handles = DiskHandles {
            queue,
            requests: Some(requests),
            threads: vec![writer_thread, archive_thread],
            report: Box::new(report),
        };
        Ok((disk_store, handles))
    }
}

fn spawn(
    name: &str,
    directory: &Path,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, DiskError> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|source| DiskError::Access { path: directory.to_owned(), source })
}

/// What the shell uses to ask the disk's threads for something. Dropping it writes all that is queued, waits for that,
/// and closes the files.
pub struct DiskHandles {
    queue: Queue,
    requests: Option<archive::Requests>,
    threads: Vec<JoinHandle<()>>,
    report: Box<dyn Fn(Input) + Send>,
}

impl DiskHandles {
    /// Makes all batches up to `seq` durable without waiting for more. Ends in [`Input::Persisted`], unless
    /// [`Input::StorageFailed`] was or is reported.
    pub fn flush(&self, seq: Seq) {
        self.queue.flush(seq);
    }

    /// Asks the archive. Ends in [`Input::Archive`], in the order of the requests. Waits when very many are queued.
    pub fn archive(&self, id: ArchiveId, request: ArchiveRequest) {
        let refused = match &self.requests {
            Some(requests) => requests.send((id, request)).is_err(),
            None => true,
        };
        if refused {
            (self.report)(Input::Archive(id, Err(archive::ended())));
        }
    }
}

impl Drop for DiskHandles {
    fn drop(&mut self) {
        self.queue.close();
        self.requests = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the disk ended by itself");
            }
        }
    }
}

impl std::fmt::Debug for DiskHandles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskHandles").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
