//! Key files: a secret key as one small JSON document that only its owner may read.
//!
//! Peer, account and validator keys are three different keys, and a file says which it holds. A key file is never
//! overwritten: losing a key is the one thing nobody can repair.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use libp2p::identity::Keypair;
use serde::{Deserialize, Serialize};
use weft_core::primitives::{PublicKey, SecretKey};

use crate::private_file;

/// The most bytes a key file may have; ours have about 200.
const MAX_LEN: u64 = 4096;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// Spends money.
    Account,
    /// Signs blocks.
    Validator,
    /// Names a peer on the network.
    Peer,
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account => "account",
            Self::Validator => "validator",
            Self::Peer => "peer",
        })
    }
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("cannot use key file {}: {source}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A new key was to be written where a file is.
    #[error("{} exists already, and keys are never overwritten: choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is not a key file, or a damaged one.
    #[error("{} is not an intact key file: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It holds a key for something else.
    #[error("{} holds a key of kind `{found}`, and one of kind `{wanted}` is needed", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: KeyKind,
        /// What was asked for.
        wanted: KeyKind,
    },
    /// The system has no randomness to make a key from.
    #[error("the system gives no randomness to make a key from: {0}")]
    Entropy(String),
}

/// The document in the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    kind: KeyKind,
    public: PublicKey,
    seed: String,
}

/// Makes a new key and writes it to a new file, readable by its owner only. The key is durable when this returns.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn create(path: &Path, kind: KeyKind) -> Result<SecretKey, KeyFileError> {
    let seed = private_file::random().map_err(|error| KeyFileError::Entropy(error.to_string()))?;
    let key = SecretKey::from_seed(seed);
    let document = Document { kind, public: key.public(), seed: hex::encode(key.seed()) };
    let mut text = serde_json::to_string_pretty(&document)
        .expect("a struct of an enum without data and two texts is always JSON");
    text.push('\n');
    private_file::write_new(path, text.as_bytes()).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
        _ => KeyFileError::Access { path: path.to_owned(), source },
    })?;
    Ok(key)
}

/// Reads a key of a known kind. Warns when others may read the file.
///
/// # Errors
/// When the file cannot be read, is damaged, or holds a key of another kind.
pub fn load(path: &Path, wanted: KeyKind) -> Result<SecretKey, KeyFileError> {
    let (found, key) = load_any(path)?;
    if found != wanted {
        return Err(KeyFileError::Kind { path: path.to_owned(), found, wanted });
    }
    Ok(key)
}

/// Reads a key of any kind, as [`load`] does.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn load_any(path: &Path) -> Result<(KeyKind, SecretKey), KeyFileError> {
    let access = |source| KeyFileError::Access { path: path.to_owned(), source };
    let corrupt = |reason: String| KeyFileError::Corrupt { path: path.to_owned(), reason };
    let bytes = private_file::read(path, MAX_LEN).map_err(|source| match source.kind() {
        io::ErrorKind::InvalidData => corrupt(source.to_string()),
        _ => access(source),
    })?;
    let document: Document = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    let mut seed = [0; 32];
    hex::decode_to_slice(&document.seed, &mut seed)
        .map_err(|_| corrupt("its seed is not 64 hex digits".into()))?;
    let key = SecretKey::from_seed(seed);
    if key.public() != document.public {
        return Err(corrupt("its public key is not that of its seed".into()));
    }
    Ok((document.kind, key))
}

/// The peer's own key: read from the file, or made and written there the first time. Two processes that start at once
/// get the same key.
///
/// # Errors
/// When the file cannot be read or written, is damaged, or holds a key of another kind.
pub fn load_or_create_peer_key(path: &Path) -> Result<Keypair, KeyFileError> {
    let key = match load(path, KeyKind::Peer) {
        Err(KeyFileError::Access { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            match create(path, KeyKind::Peer) {
                Err(KeyFileError::Exists { .. }) => load(path, KeyKind::Peer)?,
                made => made?,
            }
        }
        loaded => loaded?,
    };
    Keypair::ed25519_from_bytes(key.seed())
        .map_err(|error| KeyFileError::Corrupt { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_key_is_written_once_for_its_owner_and_read_back() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("deep").join("key.json");
        let key = create(&path, KeyKind::Validator).unwrap();
        assert_eq!(load(&path, KeyKind::Validator).unwrap().seed(), key.seed());
        assert!(matches!(create(&path, KeyKind::Validator), Err(KeyFileError::Exists { .. })));
        assert_eq!(load(&path, KeyKind::Validator).unwrap().seed(), key.seed());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no other file is left behind");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused_by_name() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("key.json");
        create(&path, KeyKind::Account).unwrap();
        let error = load(&path, KeyKind::Validator).unwrap_err();
        assert!(error.to_string().contains("holds a key of kind `account`"), "{error}");
    }

    #[test]
    fn damaged_files_are_errors() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("key.json");
        create(&path, KeyKind::Account).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let other = create(&directory.path().join("other.json"), KeyKind::Account).unwrap();
        let seed = hex::encode(load(&path, KeyKind::Account).unwrap().seed());
        let cases = [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace("account", "acount"),
            good.replace("\"seed\"", "\"sead\""),
            good.replace(&seed, &seed[2..]),
            good.replace(&seed, &hex::encode(other.seed())),
            " ".repeat(5000) + &good,
        ];
        for case in cases {
            fs::write(&path, &case).unwrap();
            let error = load(&path, KeyKind::Account).unwrap_err();
            assert!(matches!(error, KeyFileError::Corrupt { .. }), "{case:?}: {error}");
            assert!(!error.to_string().contains(&seed), "an error must not tell the secret");
        }
        fs::write(&path, [0xff; 100]).unwrap();
        assert!(matches!(load(&path, KeyKind::Account), Err(KeyFileError::Corrupt { .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(load(&path, KeyKind::Account), Err(KeyFileError::Access { .. })));
    }

    #[test]
    fn the_peer_key_is_made_once() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("data").join("peer.json");
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load_or_create_peer_key(&path).unwrap().public().to_peer_id()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
        assert_eq!(load_or_create_peer_key(&path).unwrap().public().to_peer_id(), ids[0]);
        fs::write(&path, "{}").unwrap();
        assert!(matches!(load_or_create_peer_key(&path), Err(KeyFileError::Corrupt { .. })));
    }
}
