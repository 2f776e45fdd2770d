//! Genesis files: a chain's genesis as JSON.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use weft_core::chain::{Genesis, GenesisError};

/// The most bytes a genesis file may have: the encoded bound, and room for JSON's wordiness.
const MAX_LEN: u64 = 4 * Genesis::MAX_LEN as u64;

/// Why a genesis file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GenesisFileError {
    /// It cannot be read or written.
    #[error("cannot use genesis file {}: {source}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is no genesis, or a damaged one.
    #[error("{} is not a genesis file: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It is a genesis that no chain can start from.
    #[error("the genesis in {} is invalid: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: GenesisError,
    },
}

/// Reads and checks a genesis.
///
/// # Errors
/// When the file cannot be read, or holds no valid genesis.
pub fn read(path: &Path) -> Result<Genesis, GenesisFileError> {
    let access = |source| GenesisFileError::Access { path: path.to_owned(), source };
    let corrupt = |reason| GenesisFileError::Corrupt { path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes)).map_err(access)?;
    if bytes.len() as u64 > MAX_LEN {
        return Err(corrupt(format!("it has more than {MAX_LEN} bytes")));
    }
    let genesis: Genesis = serde_json::from_slice(&bytes).map_err(|error| corrupt(error.to_string()))?;
    genesis.check().map_err(|source| GenesisFileError::Invalid { path: path.to_owned(), source })?;
    Ok(genesis)
}

/// Checks a genesis and writes it to a new file.
///
/// # Errors
/// When the genesis is invalid, or the file exists or cannot be written.
pub fn write(path: &Path, genesis: &Genesis) -> Result<(), GenesisFileError> {
    genesis.check().map_err(|source| GenesisFileError::Invalid { path: path.to_owned(), source })?;
    let mut text = serde_json::to_string_pretty(genesis).expect("texts and numbers are always JSON");
    text.push('\n');
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(|source| GenesisFileError::Access { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;
    use weft_core::{
        chain::{Authority, Grant},
        primitives::{Address, Amount, PublicKey},
    };

    use super::*;

    fn sample() -> Genesis {
        Genesis {
            name: "test".to_owned(),
            time: 1_700_000_000_000,
            slot_millis: 2000,
            min_fee_per_byte: 1,
            authorities: vec![Authority { key: PublicKey([3; 32]), fee_address: Address([4; 32]) }],
            grants: vec![Grant { address: Address([5; 32]), amount: Amount(u64::MAX) }],
        }
    }

    #[test]
    fn what_is_written_is_read_and_never_overwritten() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("genesis.json");
        write(&path, &sample()).unwrap();
        assert_eq!(read(&path).unwrap(), sample());
        assert_eq!(read(&path).unwrap().hash(), sample().hash());
        assert!(matches!(write(&path, &sample()), Err(GenesisFileError::Access { .. })));
    }

    #[test]
    fn damaged_and_invalid_files_are_told_apart() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("genesis.json");
        assert!(matches!(read(&path), Err(GenesisFileError::Access { .. })));
        let good = serde_json::to_string(&sample()).unwrap();
        for bad in [
            String::new(),
            good[1..].to_owned(),
            good.replace("\"time\"", "\"tide\""),
            good.replace("2000", "-1"),
            good.replace("2000", "2000,\"extra\":1"),
            good.replace("weft1", "weft2"),
        ] {
            fs::write(&path, &bad).unwrap();
            assert!(matches!(read(&path), Err(GenesisFileError::Corrupt { .. })), "{bad}");
        }
        for invalid in [good.replace("2000", "1"), good.replace("\"test\"", "\"\"")] {
            fs::write(&path, &invalid).unwrap();
            assert!(matches!(read(&path), Err(GenesisFileError::Invalid { .. })), "{invalid}");
        }
    }
}
