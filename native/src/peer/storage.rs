//! Store and archive, on disk or not.

use weft_core::{
    node::{ArchiveId, Input},
    store::{ArchiveRequest, MemoryArchive, MemoryStore, Seq, Store},
    swarm::InputSender,
};

use super::{PeerError, Storage};
use crate::disk::{Disk, DiskHandles};

/// What is behind the node's store.
pub(super) enum Backing {
    Memory { archive: MemoryArchive, inputs: InputSender },
    Disk(DiskHandles),
}

pub(super) async fn open(
    storage: Storage,
    inputs: &InputSender,
) -> Result<(Backing, Box<dyn Store + Send>), PeerError> {
    let inputs = inputs.clone();
    let directory = match storage {
        Storage::Memory => {
            let archive = MemoryArchive::default();
            return Ok((Backing::Memory { archive, inputs }, Box::new(MemoryStore::default())));
        }
        Storage::Disk(directory) => directory,
    };
    let opened =
        tokio::task::spawn_blocking(move || Disk::open(&directory, move |input: Input| inputs.send(input)));
    let (store, handles) = opened.await.expect("opening a directory returns its errors")?;
    Ok((Backing::Disk(handles), Box::new(store)))
}

impl Backing {
    pub(super) fn archive(&mut self, id: ArchiveId, request: ArchiveRequest) {
        match self {
            Self::Memory { archive, inputs } => {
                inputs.send(Input::Archive(id, Ok(archive.answer(request))));
            }
            Self::Disk(handles) => handles.archive(id, request),
        }
    }

    pub(super) fn flush(&mut self, seq: Seq) {
        match self {
            Self::Memory { inputs, .. } => inputs.send(Input::Persisted(seq)),
            Self::Disk(handles) => handles.flush(seq),
        }
    }
}
