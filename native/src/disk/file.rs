//! One redb file: opening it, knowing it for ours, and keeping its failures from becoming panics.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTableMetadata, StorageError, TableDefinition,
    TableHandle,
};
use weft_core::store::SCHEMA;

use super::{ARCHIVE_FILE, DiskError, STORE_FILE, archive::BODIES};

/// What a file says about itself: [`FORMAT`], [`PAIR`] and, in the store, [`DIGEST`].
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
/// The version of everything stored, as 4 little-endian bytes.
const FORMAT: &str = "format";
/// 16 random bytes that a store and its archive share.
const PAIR: &str = "pair";
/// The checksum of all rows of the store, as 16 little-endian bytes.
pub(super) const DIGEST: &str = "digest";

/// The bytes of the archive that redb may keep in memory.
const ARCHIVE_CACHE: usize = 32 << 20;
/// The same for the store, whose rows are in memory already.
const STORE_CACHE: usize = 16 << 20;

/// An open file. Closing it can write, and so can fail; that is logged, and repaired at the next start.
pub(super) struct File {
    pub(super) path: PathBuf,
    database: Option<Database>,
}

/// Why redb did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error("{0}")]
    Redb(#[from] redb::Error),
    #[error("{0}")]
    Damaged(String),
}

/// Lets `?` turn every error of redb into [`Trouble`].
macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}

from_redb!(
    DatabaseError,
    StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::SetDurabilityError
);

/// Runs `work` with redb; on a damaged file redb can panic, and that is an error like the others.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no reason given");
        Err(Trouble::Damaged(format!("redb cannot read it ({words})")))
    })
}

impl File {
    /// Runs `work` on the database, with panics as errors.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, Trouble>) -> Result<T, Trouble> {
        match &self.database {
            Some(database) => guarded(|| work(database)),
            None => Err(Trouble::Damaged("it is closed".to_owned())),
        }
    }

    /// What `trouble` with this file means for whoever wanted to open it.
    pub(super) fn refusal(&self, trouble: Trouble) -> DiskError {
        refusal(&self.path, trouble)
    }

    fn open(path: PathBuf, cache: usize) -> Result<Self, DiskError> {
        guarded(|| Ok(Database::builder().set_cache_size(cache).create(&path)?))
            .map(|database| Self { path: path.clone(), database: Some(database) })
            .map_err(|trouble| refusal(&path, trouble))
    }

    /// The mark this file shares with its partner, or `None` when the file is new.
    fn pair(&self) -> Result<Option<[u8; 16]>, DiskError> {
        let found = self.with(|database| {
            let transaction = database.begin_read()?;
            let tables: Vec<_> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
            if tables.is_empty() {
                return Ok(Head::New);
            }
            if !tables.iter().any(|name| name == META.name()) {
                return Ok(Head::Foreign);
            }
            let meta = match transaction.open_table(META) {
                Err(redb::TableError::Storage(error)) => return Err(error.into()),
                Err(_) => return Ok(Head::Foreign),
                Ok(meta) => meta,
            };
            let Some(format) = meta.get(FORMAT)? else { return Ok(Head::Foreign) };
            let format = u32::from_le_bytes(exactly(format.value(), "its format")?);
            if format != SCHEMA {
                return Ok(Head::Other(format));
            }
            let pair = meta.get(PAIR)?;
            let pair = pair.as_ref().map(redb::AccessGuard::value).unwrap_or_default();
            Ok(Head::Ours(exactly(pair, "its mark")?))
        });
        match found.map_err(|trouble| self.refusal(trouble))? {
            Head::New => Ok(None),
            Head::Ours(pair) => Ok(Some(pair)),
            Head::Foreign => Err(DiskError::Foreign { path: self.path.clone() }),
            Head::Other(stored) => Err(DiskError::Schema { path: self.path.clone(), stored }),
        }
    }

    fn begin(&self, pair: [u8; 16]) -> Result<(), DiskError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut meta = transaction.open_table(META)?;
                meta.insert(FORMAT, SCHEMA.to_le_bytes().as_slice())?;
                meta.insert(PAIR, pair.as_slice())?;
            }
            Ok(transaction.commit()?)
        })
        .map_err(|trouble| self.refusal(trouble))
    }

    /// Whether no block was ever put into this archive.
    fn holds_no_blocks(&self) -> Result<bool, DiskError> {
        self.with(|database| match database.begin_read()?.open_table(BODIES) {
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(true),
            table => Ok(table?.is_empty()?),
        })
        .map_err(|trouble| self.refusal(trouble))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let database = self.database.take();
        if let Err(trouble) = guarded(|| {
            drop(database);
            Ok(())
        }) {
            tracing::error!("closing {}: {trouble}", self.path.display());
        }
    }
}

enum Head {
    New,
    Ours([u8; 16]),
    Foreign,
    Other(u32),
}

/// `bytes` as an array, or the complaint that `what` has another length.
pub(super) fn exactly<const N: usize>(bytes: &[u8], what: &str) -> Result<[u8; N], Trouble> {
    bytes.try_into().map_err(|_| Trouble::Damaged(format!("{what} has {} bytes and not {N}", bytes.len())))
}

fn refusal(path: &Path, trouble: Trouble) -> DiskError {
    let path = path.to_owned();
    match trouble {
        Trouble::Redb(redb::Error::DatabaseAlreadyOpen) => DiskError::InUse { path },
        // redb says so of a file that does not begin as its own do, and of one that ends early.
        Trouble::Redb(redb::Error::Io(error))
            if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            DiskError::Corrupt { path, reason: error.to_string() }
        }
        Trouble::Redb(redb::Error::Io(source)) => DiskError::Access { path, source },
        other => DiskError::Corrupt { path, reason: other.to_string() },
    }
}

/// Opens store and archive, in this order, since the store's lock stands for the directory's; makes them when both are
/// new.
pub(super) fn open_pair(directory: &Path) -> Result<(File, File), DiskError> {
    fs::create_dir_all(directory)
        .map_err(|source| DiskError::Access { path: directory.to_owned(), source })?;
    let store = File::open(directory.join(STORE_FILE), STORE_CACHE)?;
    let archive = File::open(directory.join(ARCHIVE_FILE), ARCHIVE_CACHE)?;
    match (store.pair()?, archive.pair()?) {
        (Some(mine), Some(its)) if mine == its => {}
        (None, None) => {
            let mut pair = [0; 16];
            getrandom::fill(&mut pair).map_err(|error| DiskError::Access {
                path: directory.to_owned(),
                source: io::Error::other(error.to_string()),
            })?;
            archive.begin(pair)?;
            store.begin(pair)?;
        }
        // The last start ended between the two lines above.
        (None, Some(pair)) if archive.holds_no_blocks()? => store.begin(pair)?,
        _ => return Err(DiskError::Mismatch { directory: directory.to_owned() }),
    }
    Ok((store, archive))
}
