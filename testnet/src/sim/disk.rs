//! A model of a peer's disk: a writer that commits batches in order, several at a time, and an archive.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use weft_core::{
    node::{ArchiveId, Input},
    primitives::{Hash, Height},
    store::{ArchiveAnswer, ArchiveFailure, ArchiveRequest, Batch, MemoryStore, Seq, Store, Table, Write},
};

use super::{
    event::{Event, Micros},
    peer::PeerIx,
    scripts::Scripts,
    world::World,
};

/// How long the writer gathers batches before it commits unasked.
const LINGER: Micros = 50_000;
/// The least and the longest duration of a commit.
const COMMIT: (u64, u64) = (2_000, 8_000);
/// The least and the longest time the archive takes to answer.
const ARCHIVE: (u64, u64) = (300, 3_000);

/// Blocks by height and hash: header and body, shared between copies.
pub type Archived = BTreeMap<(Height, Hash), Arc<Contents>>;

/// An archived block: header and body.
pub type Contents = (Vec<u8>, Vec<u8>);

/// The blocks in all archives: what thousands of peers keep alike is in memory once.
#[derive(Default)]
pub(super) struct Library {
    known: HashMap<Hash, Weak<Contents>>,
}

impl Library {
    fn keep(&mut self, hash: Hash, header: Vec<u8>, body: Vec<u8>) -> Arc<Contents> {
        let known = self.known.get(&hash).and_then(Weak::upgrade);
        // Whether there is a body depends on the peer.
        if let Some(same) = known.filter(|known| known.0 == header && known.1 == body) {
            return same;
        }
        let block = Arc::new((header, body));
        self.known.insert(hash, Arc::downgrade(&block));
        block
    }
}

/// What is on a disk.
#[derive(Clone, Debug, Default)]
pub struct Storage {
    /// The store's rows.
    pub store: MemoryStore,
    /// The archive's blocks.
    pub archive: Archived,
}

/// How much a crash leaves of the batches that were applied but not yet reported durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of them: the process died, the machine did not.
    All,
    /// The first so many.
    Prefix(usize),
}

/// What the store that core holds shares with the world.
#[derive(Default)]
struct Shelf {
    memory: MemoryStore,
    /// What undoes each batch that is not durable yet, oldest first: a second copy of all rows would be most of what a run with
    /// thousands of peers needs.
    waiting: VecDeque<Batch>,
    applied: u64,
}

struct SimStore(Arc<Mutex<Shelf>>);

fn open(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().expect("a panic while a shelf is open ends the run")
}

impl Store for SimStore {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        open(&self.0).memory.get(table, key)
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        open(&self.0).memory.range(table, from, limit)
    }

    fn apply(&mut self, batch: Batch) -> Seq {
        let mut shelf = open(&self.0);
        let before = |write: &Write| {
            let value = shelf.memory.get(write.table, &write.key);
            Write { table: write.table, key: write.key.clone(), value }
        };
        let undo = Batch(batch.0.iter().map(before).collect());
        shelf.waiting.push_back(undo);
        shelf.memory.apply(batch);
        shelf.applied += 1;
        Seq(shelf.applied)
    }

    fn durable_at_once(&self) -> bool {
        false
    }
}

/// The disk of one peer.
#[derive(Default)]
pub(super) struct Disk {
    shelf: Arc<Mutex<Shelf>>,
    archive: Archived,
    durable: u64,
    committing: Option<u64>,
    commit_due: Option<Micros>,
    wanted: u64,
    archive_free_at: Micros,
    failed: bool,
}

impl Disk {
    pub(super) fn new(storage: Storage) -> Self {
        let shelf = Shelf { memory: storage.store, ..Shelf::default() };
        Self { shelf: Arc::new(Mutex::new(shelf)), archive: storage.archive, ..Self::default() }
    }

    /// What core is handed.
    pub(super) fn store(&self) -> Box<dyn Store + Send> {
        Box::new(SimStore(Arc::clone(&self.shelf)))
    }

    /// The number of batches a crash may or may not keep.
    pub(super) fn waiting(&self) -> usize {
        open(&self.shelf).waiting.len()
    }

    /// The number of batches applied since the start.
    pub(super) fn applied(&self) -> u64 {
        open(&self.shelf).applied
    }

    /// What is there after a crash that keeps this much.
    pub(super) fn after_crash(&self, keep: Keep) -> Storage {
        let shelf = open(&self.shelf);
        let kept = match keep {
            Keep::All if !self.failed => shelf.waiting.len(),
            Keep::All => 0,
            Keep::Prefix(count) => count,
        };
        let mut store = shelf.memory.clone();
        for undo in shelf.waiting.iter().skip(kept).rev() {
            store.apply(undo.clone());
        }
        Storage { store, archive: self.archive.clone() }
    }

    fn carry_out(&mut self, request: ArchiveRequest, library: &mut Library) -> ArchiveAnswer {
        match request {
            ArchiveRequest::Put(blocks) => {
                for block in blocks {
                    let kept = library.keep(block.hash, block.header, block.body);
                    self.archive.insert((block.height, block.hash), kept);
                }
                ArchiveAnswer::Stored
            }
            ArchiveRequest::Delete(keys) => {
                for key in keys {
                    self.archive.remove(&key);
                }
                ArchiveAnswer::Stored
            }
            ArchiveRequest::Prune { below } => {
                self.archive = self.archive.split_off(&(below, Hash::ZERO));
                ArchiveAnswer::Stored
            }
            ArchiveRequest::Headers { from, count } => ArchiveAnswer::Headers(
                self.archive
                    .range((from, Hash::ZERO)..)
                    .take(count)
                    .map(|(&(height, hash), block)| (height, hash, block.0.clone()))
                    .collect(),
            ),
            ArchiveRequest::Bodies { keys, max_bytes } => {
                let mut sum = 0;
                let mut bodies = Vec::new();
                for key in keys {
                    let body = self.archive.get(&key).map(|block| block.1.clone());
                    sum += body.as_ref().map_or(0, Vec::len);
                    bodies.push(body);
                    if sum > max_bytes {
                        break;
                    }
                }
                ArchiveAnswer::Bodies(bodies)
            }
        }
    }
}

impl<S: Scripts> World<S> {
    /// Sees to it that what the peer has just applied is committed in time.
    pub(super) fn schedule_commit(&mut self, ix: PeerIx) {
        let now = self.now;
        let peer = &mut self.peers[ix.0];
        let disk = &mut peer.disk;
        if disk.failed || disk.committing.is_some() || disk.applied() == disk.durable {
            return;
        }
        let due = if disk.wanted > disk.durable { now } else { now + LINGER };
        if disk.commit_due.is_none_or(|planned| due < planned) {
            disk.commit_due = Some(due);
            self.queue.push(due, ix, peer.life, Event::CommitStart);
        }
    }

    pub(super) fn flush(&mut self, ix: PeerIx, seq: Seq) {
        let disk = &mut self.peers[ix.0].disk;
        disk.wanted = disk.wanted.max(seq.0);
        if seq.0 <= disk.durable {
            let durable = Seq(disk.durable);
            self.tell(ix, self.now, Input::Persisted(durable));
        }
    }

    pub(super) fn start_commit(&mut self, ix: PeerIx) {
        let peer = &mut self.peers[ix.0];
        if peer.disk.failed || peer.disk.committing.is_some() || peer.disk.commit_due != Some(self.now) {
            return;
        }
        peer.disk.commit_due = None;
        peer.disk.committing = Some(peer.disk.applied());
        let done = self.now + self.dice.between(COMMIT.0, COMMIT.1);
        self.queue.push(done, ix, peer.life, Event::CommitDone);
    }

    pub(super) fn finish_commit(&mut self, ix: PeerIx) {
        let disk = &mut self.peers[ix.0].disk;
        let Some(upto) = disk.committing.take() else { return };
        if disk.failed {
            return;
        }
        let count = usize::try_from(upto - disk.durable).expect("waiting batches are in memory");
        open(&disk.shelf).waiting.drain(..count);
        disk.durable = upto;
        self.deliver(ix, Input::Persisted(Seq(upto)));
    }

    pub(super) fn ask_archive(&mut self, ix: PeerIx, id: ArchiveId, request: ArchiveRequest) {
        let took = self.dice.between(ARCHIVE.0, ARCHIVE.1);
        let peer = &mut self.peers[ix.0];
        let at = self.now.max(peer.disk.archive_free_at) + took;
        peer.disk.archive_free_at = at;
        self.queue.push(at, ix, peer.life, Event::Archive { id, request });
    }

    pub(super) fn answer_archive(&mut self, ix: PeerIx, id: ArchiveId, request: ArchiveRequest) {
        let peer = &mut self.peers[ix.0];
        let answer = if peer.disk.failed || self.dice.chance(peer.faults.archive) {
            peer.seen.archive_failures += 1;
            Err(ArchiveFailure("simulated fault".to_owned()))
        } else {
            Ok(peer.disk.carry_out(request, &mut self.library))
        };
        self.deliver(ix, Input::Archive(id, answer));
    }

    /// The peer's disk takes no more writes from now on, and the peer is told so.
    pub fn fail_storage(&mut self, ix: PeerIx, reason: &str) {
        self.peers[ix.0].disk.failed = true;
        self.deliver(ix, Input::StorageFailed(reason.to_owned()));
    }

    /// What would be on the peer's disk if it ended now in good order.
    #[must_use]
    pub fn storage(&self, ix: PeerIx) -> Storage {
        self.peers[ix.0].disk.after_crash(Keep::All)
    }

    /// The number of batches the peer has applied that a crash could still lose.
    #[must_use]
    pub fn unsettled(&self, ix: PeerIx) -> usize {
        self.peers[ix.0].disk.waiting()
    }

    /// The number of batches the peer has applied since it started.
    #[must_use]
    pub fn applied(&self, ix: PeerIx) -> u64 {
        self.peers[ix.0].disk.applied()
    }
}

#[cfg(test)]
mod tests {
    use weft_core::store::ArchivedBlock;

    use super::*;

    #[test]
    fn pruning_forgets_what_is_below_a_height_and_a_crash_does_not_bring_it_back() {
        let mut disk = Disk::default();
        let blocks = (1..=4).map(|height| ArchivedBlock {
            height: Height(height),
            hash: Hash::ZERO,
            header: Vec::new(),
            body: Vec::new(),
        });
        let mut library = Library::default();
        let mut ask = |request| disk.carry_out(request, &mut library);
        assert_eq!(ask(ArchiveRequest::Put(blocks.collect())), ArchiveAnswer::Stored);
        assert_eq!(ask(ArchiveRequest::Prune { below: Height(3) }), ArchiveAnswer::Stored);
        let kept: Vec<_> = disk.after_crash(Keep::Prefix(0)).archive.into_keys().collect();
        assert_eq!(kept, [(Height(3), Hash::ZERO), (Height(4), Hash::ZERO)]);
    }

    #[test]
    fn a_crash_leaves_the_first_so_many_batches_of_those_that_are_not_durable() {
        const ROWS: Table = Table("rows");
        let disk = Disk::default();
        let mut store = disk.store();
        for value in 0..4_u8 {
            let mut batch = Batch::default();
            batch.put(ROWS, b"same".as_slice(), [value].as_slice());
            batch.put(ROWS, [value].as_slice(), b"own".as_slice());
            if value == 3 {
                batch.delete(ROWS, [1].as_slice());
                batch.put(ROWS, b"same".as_slice(), b"twice".as_slice());
            }
            store.apply(batch);
        }
        let rows = |keep| disk.after_crash(keep).store.range(ROWS, &[], 9);
        let row = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
        assert_eq!(rows(Keep::Prefix(0)), []);
        assert_eq!(
            rows(Keep::Prefix(3)),
            [row(&[0], b"own"), row(&[1], b"own"), row(&[2], b"own"), row(b"same", &[2])]
        );
        assert_eq!(
            rows(Keep::All),
            [row(&[0], b"own"), row(&[2], b"own"), row(&[3], b"own"), row(b"same", b"twice")]
        );
        assert_eq!(rows(Keep::Prefix(9)), rows(Keep::All));
    }
}
