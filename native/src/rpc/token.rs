//! The word without which nobody changes anything over the RPC: a file that only this user can read.
//!
//! Loopback keeps other machines out, and the checks of [`super::guard`] keep web pages out; other users of this machine, and programs
//! that may not read this user's files, are kept out by this. All peers of a user share it, so that no command has to be told.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use weft_core::primitives::Hash;

use crate::{
    config::{ConfigError, data_directory},
    private_file,
};

/// The file's name in the user's data directory.
const FILE: &str = "rpc.token";

/// The most bytes its file may have; ours have 65.
const MAX_LEN: u64 = 256;

/// A token: 64 hex digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Why the token's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read or written.
    #[error("cannot use the RPC token in {}: {source}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is no token.
    #[error("{} holds no RPC token, which is 64 hex digits: move it away, and start the peer again", .0.display())]
    Corrupt(PathBuf),
    /// There is no place for it by default.
    #[error("this user has no home directory: say where the RPC token is with --rpc-token")]
    NoHome,
}

impl From<ConfigError> for TokenError {
    fn from(_: ConfigError) -> Self {
        Self::NoHome
    }
}

impl Token {
    /// Where it is: the file given, or `rpc.token` in the user's data directory.
    ///
    /// # Errors
    /// When none is given and the user has no home directory.
    pub fn path(given: Option<&Path>) -> Result<PathBuf, TokenError> {
        Ok(match given {
            Some(given) => given.to_owned(),
            None => data_directory(None)?.join(FILE),
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// When there is none, or it makes no sense.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let access = |source| TokenError::Access { path: path.to_owned(), source };
        let bytes = private_file::read(path, MAX_LEN).map_err(access)?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        if text.len() != 64 || hex::decode(&text).is_err() {
            return Err(TokenError::Corrupt(path.to_owned()));
        }
        Ok(Self(text))
    }

    /// Reads it, and makes it first when there is none. Two peers that start at once get the same.
    ///
    /// # Errors
    /// When it cannot be read or made, or makes no sense.
    pub fn load_or_create(path: &Path) -> Result<Self, TokenError> {
        match Self::load(path) {
            Err(TokenError::Access { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let access = |source| TokenError::Access { path: path.to_owned(), source };
                let text = hex::encode(private_file::random::<32>().map_err(access)?) + "\n";
                match private_file::write_new(path, text.as_bytes()) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    written => written.map_err(access)?,
                }
                Self::load(path)
            }
            loaded => loaded,
        }
    }

    /// What a client says: the value of an `Authorization` header (RFC 6750).
    #[must_use]
    pub fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether a client said it. Hashes are compared, so that the time it takes tells nothing.
    pub(super) fn is_said(&self, header: &str) -> bool {
        Hash::of(header.as_bytes()) == Hash::of(self.header().as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn it_is_made_once_and_only_its_words_count() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("deep").join("rpc.token");
        assert!(matches!(Token::load(&path), Err(TokenError::Access { .. })));
        let token = Token::load_or_create(&path).unwrap();
        assert_eq!(Token::load_or_create(&path).unwrap(), token);
        let said = token.header();
        assert!(token.is_said(&said));
        for wrong in ["", "Bearer ", &said[7..], &said[..said.len() - 1], &said.replace("Bearer", "bearer")] {
            assert!(!token.is_said(wrong), "{wrong}");
        }
        assert!(!format!("{token:?}").contains(&said[7..]), "it is not written into logs");
    }

    #[test]
    fn a_file_that_holds_something_else_is_refused_and_kept() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("rpc.token");
        for text in ["", "secret", &"g".repeat(64), &"0".repeat(63), &"0".repeat(300)] {
            fs::write(&path, text).unwrap();
            assert!(Token::load_or_create(&path).is_err(), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
