//! What went wrong, and the exit code that says so.

use crate::{
    config::ConfigError,
    disk::DiskError,
    genesis::GenesisFileError,
    keyfile::KeyFileError,
    rpc::{RpcError, RpcFailure, TokenError},
};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The peer refused, or something failed on the way.
    #[error("{0}")]
    Failed(String),
    /// The flags make no sense together.
    #[error("{0}")]
    Usage(String),
    /// No peer to ask.
    #[error("{0}")]
    Unreachable(String),
    /// A key, genesis, configuration or database that cannot be used.
    #[error("{0}")]
    LocalFile(String),
}

impl Failure {
    /// The exit code, as `weft --help` lists them.
    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::LocalFile(_) => 4,
        }
    }
}

impl From<RpcFailure> for Failure {
    fn from(failure: RpcFailure) -> Self {
        match failure {
            RpcFailure::Refused { .. } => Self::Failed(failure.to_string()),
            RpcFailure::Unreachable { .. } => Self::Unreachable(failure.to_string()),
        }
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::NotLoopback(_) => Self::Usage(error.to_string()),
            RpcError::Bind { .. } => Self::Failed(error.to_string()),
        }
    }
}

macro_rules! local_file {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::LocalFile(error.to_string())
            }
        }
    )*};
}

local_file!(ConfigError, DiskError, GenesisFileError, KeyFileError, TokenError);
