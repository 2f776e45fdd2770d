//! Real programs on one machine: the `weft` and `weft-relay` that were built beside the running program.
//!
//! A [`Chain`] is a genesis with its keys in a directory of its own; a [`Process`] is one running program with its log,
//! ended when it is dropped. Everything listens on loopback, on ports the system chooses unless told otherwise.
//! [`run()`] plays a scenario with such programs, and with tabs.

mod actor;
mod cast;
mod certificate;
mod chain;
mod links;
mod names;
mod namespace;
mod numbers;
mod peer;
mod process;
mod rpc;
mod run;
mod said;
mod tab;
mod told;

pub use certificate::TestCertificate;
pub use chain::{Chain, NodeOptions, Ports, RelayOptions, answer};
pub use names::NameServer;
pub use namespace::{in_namespace, without_namespaces};
pub use process::{Process, programs_dir, wait_for};
pub use rpc::{get, post, rpc};
pub use run::{Setup, run};
pub use tab::{Driver, Tab, chromium, missing_for_tabs, signal_all};

use std::{io, path::PathBuf, time::Duration};

/// How long a program may take to be ready, or a network to agree, before something is wrong: generous, since a
/// machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Why a live network is not as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// A program was not built.
    #[error("{} is missing: run `cargo build` first", .0.display())]
    NotBuilt(PathBuf),
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        error: io::Error,
    },
    /// A program ended by itself.
    #[error("{name} ended ({status}); the end of its log:\n{log}")]
    Ended {
        /// Which.
        name: String,
        /// How.
        status: String,
        /// Its last lines.
        log: String,
    },
    /// What was waited for did not happen in time.
    #[error("waited {} s in vain until {what}", .patience.as_secs())]
    TooLate {
        /// What was waited for.
        what: String,
        /// How long.
        patience: Duration,
    },
    /// A program answered something unexpected.
    #[error("{0}")]
    Answer(String),
    /// The scenario cannot be run with programs, or not here.
    #[error("this scenario cannot be run live: {0}")]
    Refused(String),
    /// Somebody asked for the end.
    #[error("interrupted")]
    Interrupted,
}

impl LiveError {
    /// For `map_err` on what the system refused.
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::System { what, error }
    }
}
