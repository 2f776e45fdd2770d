//! What of which files is here, with an end to how much that may be.
//!
//! Each file counts with its whole size from the beginning, so that one that has been begun can be finished. When there is no room for
//! another, those go that nobody has asked to be kept, the one that was asked for longest ago first.

mod chunks;

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};

pub(super) use self::chunks::Chunks;
use super::{MAX_MANIFEST_BYTES, Manifest};
use crate::{
    peers::Role,
    primitives::{Hash, Wall, decode, encode},
    store::{Batch, Store, Table},
};

/// What is known of a file, by the hash of its manifest.
const FILES: Table = Table("content/files");
/// Which of its chunks are here: a bit for each.
const HAVE: Table = Table("content/have");
/// The chunks, by that hash and their number, big endian.
const CHUNKS: Table = Table("cold/content-chunks");

/// The most files, begun or whole: their manifests are in memory.
pub const MAX_FILES: usize = 512;

/// What a file is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The person wants it kept, and others told that it is here.
    Kept,
    /// It is being fetched.
    Wanted,
    /// Others are to be told that it is here.
    Offered,
    /// It is fetched no longer.
    Ended,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it consists of.
    pub manifest: Manifest,
    /// The person wants it kept.
    pub pinned: bool,
    /// It is being fetched, and goes on being so after a restart.
    pub wanted: bool,
    /// Others are to be told that it is here, once all of it is.
    pub offered: bool,
    /// When it was last asked for.
    used: Wall,
    have: Chunks,
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Row {
    pinned: bool,
    wanted: bool,
    offered: bool,
    used: u64,
    manifest: Vec<u8>,
}

/// The most bytes of a row: its manifest and what is beside it.
const MAX_ROW_BYTES: usize = 1 + 1 + 1 + 8 + 4 + MAX_MANIFEST_BYTES;

/// Why a file is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShelfError {
    /// What is to be kept already leaves no room.
    #[error("there is no room: the files here may have {} MiB in all, and those that are to be kept leave too little; let one go", .0 >> 20)]
    Full(u64),
    /// There are as many files as there may be.
    #[error("there are {MAX_FILES} files here that are to be kept, as many as there may be: let one go")]
    TooMany,
}

impl File {
    /// Whether all of it is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.have.count() == self.manifest.count()
    }

    /// Whether this chunk is here.
    #[must_use]
    pub fn has(&self, index: u32) -> bool {
        self.have.has(index)
    }

    /// The chunks that are not here.
    pub fn missing(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.manifest.count() as u32).filter(|index| !self.have.has(*index))
    }

    /// How many bytes of it are here.
    #[must_use]
    pub fn bytes_here(&self) -> u64 {
        let missing: usize = self.missing().filter_map(|index| self.manifest.chunk_bytes(index)).sum();
        self.manifest.bytes() - missing as u64
    }

    /// What it takes up, when it is whole.
    fn weight(&self) -> u64 {
        self.manifest.bytes() + self.manifest.count() as u64 * 32
    }

    fn row(&self) -> Vec<u8> {
        let Self { pinned, wanted, offered, used, .. } = *self;
        encode(&Row { pinned, wanted, offered, used: used.0, manifest: self.manifest.to_bytes() })
    }
}

fn chunk_key(content: &Hash, index: u32) -> Vec<u8> {
    [&content.0[..], &index.to_be_bytes()].concat()
}

/// The files that are here. What changes is written with the batch that a caller hands in.
#[derive(Debug)]
pub struct Shelf {
    capacity: u64,
    files: BTreeMap<Hash, File>,
}

impl Shelf {
    /// How much a peer of this kind keeps: natively on disk; a tab in memory too, where two of the largest fit.
    #[must_use]
    pub const fn capacity_of(role: Role) -> u64 {
        match role {
            Role::Native | Role::Relay => 1 << 30,
            Role::Browser => 130 << 20,
        }
    }

    /// What the store holds; what of that makes no sense goes with `batch`.
    #[must_use]
    pub fn open(store: &dyn Store, capacity: u64, batch: &mut Batch) -> Self {
        let mut shelf = Self { capacity, files: BTreeMap::new() };
        let mut from = Vec::new();
        loop {
            let rows = store.range(FILES, &from, MAX_FILES);
            let Some((last, _)) = rows.last() else { break };
            from = [last.as_slice(), &[0]].concat();
            for (key, value) in rows {
                let name = <[u8; 32]>::try_from(key.as_slice()).map(Hash);
                let file = decode::<Row>(&value, MAX_ROW_BYTES).ok().and_then(|row| {
                    let manifest = Manifest::from_bytes(&row.manifest).ok()?;
                    let bits = store.get(HAVE, &key).unwrap_or_default();
                    let have = Chunks::from_bytes(&bits, manifest.count());
                    Some(File {
                        manifest,
                        pinned: row.pinned,
                        wanted: row.wanted,
                        offered: row.offered,
                        used: Wall(row.used),
                        have,
                    })
                });
                match (name, file) {
                    (Ok(name), Some(file)) if file.manifest.hash() == name => {
                        shelf.files.insert(name, file);
                    }
                    _ => {
                        batch.delete(FILES, key.clone());
                        batch.delete(HAVE, key);
                    }
                }
            }
        }
        shelf
    }

    /// What may be here, in bytes.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What is known of a file.
    #[must_use]
    pub fn file(&self, content: &Hash) -> Option<&File> {
        self.files.get(content)
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = (&Hash, &File)> {
        self.files.iter()
    }

    /// Makes a place for a file; a file that has one keeps what is here of it.
    ///
    /// # Errors
    /// When there is no room, even when all goes that nobody wants kept; nothing has changed then.
    pub fn place(&mut self, manifest: Manifest, now: Wall, batch: &mut Batch) -> Result<Hash, ShelfError> {
        let content = manifest.hash();
        let old = self.files.get(&content);
        let marks = |file: &File| (file.pinned, file.wanted, file.offered);
        let (pinned, wanted, offered) = old.map_or((false, false, false), marks);
        let have = old.map_or_else(Chunks::default, |file| file.have);
        let file = File { manifest, pinned, wanted, offered, used: now, have };
        if old.is_none() {
            self.make_room(file.weight(), batch)?;
        }
        batch.put(FILES, content.0, file.row());
        self.files.insert(content, file);
        Ok(content)
    }

    fn make_room(&mut self, weight: u64, batch: &mut Batch) -> Result<(), ShelfError> {
        let mut free = self.capacity.saturating_sub(self.files.values().map(File::weight).sum());
        let mut count = self.files.len();
        let mut idle: Vec<_> = self.files.iter().filter(|(_, file)| !file.pinned && !file.wanted).collect();
        idle.sort_by_key(|(_, file)| file.used);
        let mut going = Vec::new();
        for (content, file) in idle {
            if free >= weight && count < MAX_FILES {
                break;
            }
            free += file.weight();
            count -= 1;
            going.push(*content);
        }
        if free < weight {
            return Err(ShelfError::Full(self.capacity));
        }
        if count >= MAX_FILES {
            return Err(ShelfError::TooMany);
        }
        for content in going {
            self.remove(&content, batch);
        }
        Ok(())
    }

    /// Changes what a file is here for.
    pub fn mark(&mut self, content: &Hash, mark: Mark, batch: &mut Batch) {
        if let Some(file) = self.files.get_mut(content) {
            match mark {
                Mark::Kept => (file.pinned, file.offered) = (true, true),
                Mark::Wanted => file.wanted = true,
                Mark::Offered => file.offered = true,
                Mark::Ended => file.wanted = false,
            }
            batch.put(FILES, content.0, file.row());
        }
    }

    /// Keeps a chunk that has been checked against the manifest.
    pub fn keep(&mut self, content: &Hash, index: u32, bytes: Vec<u8>, batch: &mut Batch) {
        let Some(file) = self.files.get_mut(content) else { return };
        if file.manifest.chunk_bytes(index).is_some() && file.have.insert(index) {
            batch.put(CHUNKS, chunk_key(content, index), bytes);
            batch.put(HAVE, content.0, file.have.to_bytes());
        }
    }

    /// A chunk's bytes, if it is here. One that a disk has spoilt is not, from then on.
    pub fn chunk(
        &mut self,
        store: &dyn Store,
        content: &Hash,
        index: u32,
        batch: &mut Batch,
    ) -> Option<Vec<u8>> {
        let file = self.files.get_mut(content).filter(|file| file.have.has(index))?;
        let bytes = store.get(CHUNKS, &chunk_key(content, index));
        let right = bytes.filter(|bytes| file.manifest.is_chunk(index, bytes));
        if right.is_none() {
            tracing::error!(cid = %super::Cid(*content), index, "a stored chunk is damaged, and forgotten");
            file.have.remove(index);
            batch.put(HAVE, content.0, file.have.to_bytes());
            batch.delete(CHUNKS, chunk_key(content, index));
        }
        right
    }

    /// Lets a file go. Returns whether it was here.
    pub fn remove(&mut self, content: &Hash, batch: &mut Batch) -> bool {
        let Some(file) = self.files.remove(content) else { return false };
        batch.delete(FILES, content.0);
        batch.delete(HAVE, content.0);
        for index in (0..file.manifest.count() as u32).filter(|index| file.have.has(*index)) {
            batch.delete(CHUNKS, chunk_key(content, index));
        }
        true
    }
}

#[cfg(test)]
mod tests;
