//! What people are shown of a file.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{content::Cid, node::grouped};

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// All of it is here.
    Here,
    /// It is being fetched.
    Coming,
    /// A part of it is here, and nobody asks for the rest.
    Begun,
    /// Nothing of it is here.
    Absent,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileView {
    /// What it is named by.
    pub cid: Cid,
    /// What whoever put it called it; empty when it has no name or it is not known yet.
    pub name: String,
    /// Its size in bytes, once that is known.
    pub bytes: Option<u64>,
    /// How many of them are here.
    pub bytes_here: u64,
    /// How many chunks it has.
    pub chunks: usize,
    /// The person wants it kept: it never makes room for others.
    pub kept: bool,
    /// Others have been told, in the distributed hash table, that it is here.
    pub told: bool,
    /// Where it is.
    pub state: FileState,
    /// The peers it comes from.
    pub peers: usize,
    /// How fast it comes.
    pub bytes_per_second: u64,
    /// Why the last attempt to fetch it failed, in words.
    pub problem: Option<String>,
}

impl FileView {
    /// How much of it is here, in thousandths.
    #[must_use]
    pub fn permille(&self) -> u64 {
        match self.bytes {
            None => 0,
            Some(0) => 1000,
            Some(bytes) => self.bytes_here.saturating_mul(1000) / bytes,
        }
    }
}

/// How far it is, in a line.
impl fmt::Display for FileView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: u64| grouped(bytes.div_ceil(1024));
        let peers = match self.peers {
            1 => "1 peer".to_owned(),
            peers => format!("{peers} peers"),
        };
        match (self.state, self.bytes) {
            (FileState::Coming, None) => write!(f, "looking for it, asking {peers}"),
            (FileState::Coming, Some(bytes)) => {
                let rate = kib(self.bytes_per_second);
                write!(f, "{} of {} KiB, {rate} KiB/s from {peers}", kib(self.bytes_here), kib(bytes))
            }
            (FileState::Here, Some(bytes)) => write!(f, "{} KiB, all here", kib(bytes)),
            (FileState::Begun, Some(bytes)) => {
                write!(f, "{} of {} KiB here", kib(self.bytes_here), kib(bytes))
            }
            _ => f.write_str("not here"),
        }
    }
}
