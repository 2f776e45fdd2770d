//! The fingerprint of a run: a hash over what every peer was told and did, and when.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use serde::Serialize;
use weft_core::{
    node::{Input, Job, Output},
    primitives::{Hash, Hasher},
};

use super::{event::Micros, peer::PeerIx, scripts::Scripts, world::World};

/// Steps are hashed so many bytes at a time, which takes a fraction of what hashing each alone does.
const AT_ONCE: usize = 64 << 10;

pub(super) struct Trace {
    hasher: Hasher,
    /// What is not hashed yet.
    steps: Vec<u8>,
    print: bool,
    file: Option<BufWriter<File>>,
    /// Why the file is no longer written.
    failed: Option<io::Error>,
}

/// Adds words as they are made, without putting them together first.
struct Words<'a>(&'a mut Vec<u8>);

impl fmt::Write for Words<'_> {
    fn write_str(&mut self, words: &str) -> fmt::Result {
        self.0.extend_from_slice(words.as_bytes());
        Ok(())
    }
}

/// One step, as a line of a trace file.
#[derive(Serialize)]
struct Line<'a> {
    micros: Micros,
    peer: usize,
    /// `<` for what the peer is told, `>` for what it wants done.
    way: &'a str,
    what: &'a str,
}

impl Trace {
    /// With `WEFT_SIM_TRACE` set, every step is printed as it happens.
    pub(super) fn new() -> Self {
        let print = std::env::var_os("WEFT_SIM_TRACE").is_some();
        Self { hasher: Hasher::default(), steps: Vec::new(), print, file: None, failed: None }
    }

    pub(super) fn tells(&self) -> bool {
        self.print || self.file.is_some()
    }

    fn tell(&mut self, micros: Micros, ix: PeerIx, way: &str, what: &str) {
        if self.print {
            eprintln!("{micros:>12} {:>3} {way} {what}", ix.0);
        }
        if let Some(file) = &mut self.file {
            let line = Line { micros, peer: ix.0, way, what };
            let written = serde_json::to_writer(&mut *file, &line).map_err(io::Error::from);
            if let Err(error) = written.and_then(|()| file.write_all(b"\n")) {
                self.failed.get_or_insert(error);
                self.file = None;
            }
        }
    }

    pub(super) fn hash(&self) -> Hash {
        self.hasher.clone().add(&self.steps).finish()
    }

    fn add(&mut self, now: Micros, ix: PeerIx, tag: u8, payload: &[u8]) {
        let mut step = [0; 25];
        step[..8].copy_from_slice(&now.to_le_bytes());
        step[8..16].copy_from_slice(&(ix.0 as u64).to_le_bytes());
        step[16] = tag;
        step[17..].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        self.steps.extend_from_slice(&step);
        self.steps.extend_from_slice(payload);
        if self.steps.len() >= AT_ONCE {
            self.hasher.add(&self.steps);
            self.steps.clear();
        }
    }

    pub(super) fn input(&mut self, now: Micros, ix: PeerIx, input: &Input) {
        let (tag, name) = match input {
            Input::Connected { .. } => (0, "connected"),
            Input::Disconnected { .. } => (1, "disconnected"),
            Input::DialFailed { .. } => (2, "dial failed"),
            Input::Identified { .. } => (3, "identified"),
            Input::Pinged { .. } => (4, "pinged"),
            Input::Carried { .. } => (37, "carried"),
            Input::Discovered { .. } => (5, "discovered"),
            Input::Listening(_) => (6, "listening"),
            Input::NotListening(_) => (7, "not listening"),
            Input::Gossip(_) => (8, "gossip"),
            Input::PublishedToNobody(_) => (9, "published to nobody"),
            Input::Request { .. } => (10, "request"),
            Input::Oversized { .. } => (26, "oversized request"),
            Input::Response { .. } => (11, "response"),
            Input::WorkDone(..) => (12, "work done"),
            Input::WorkFailed(_) => (13, "work failed"),
            Input::Archive(..) => (14, "archive"),
            Input::Persisted(_) => (15, "persisted"),
            Input::StorageFailed(_) => (16, "storage failed"),
            Input::Command(..) => (17, "command"),
            Input::RoomEntered { .. } => (18, "room entered"),
            Input::RoomLeft { .. } => (19, "room left"),
            Input::Dht(..) => (20, "dht"),
            Input::Resolved { .. } => (30, "resolved"),
            Input::ListFetched { .. } => (31, "list fetched"),
            Input::Resumed => (32, "resumed"),
            Input::Offline => (33, "offline"),
            Input::Online => (34, "online"),
            Input::Reachable { .. } => (21, "reachable"),
            Input::Unreachable(_) => (22, "unreachable"),
            Input::SlotGranted(_) => (23, "slot granted"),
            Input::SlotLost { .. } => (24, "slot lost"),
            Input::UpgradeFailed { .. } => (25, "upgrade failed"),
            Input::TableTold(_) => (36, "table told"),
            Input::Refused(_) => (38, "refused"),
        };
        let body: &[u8] = match input {
            Input::Gossip(message) => &message.data,
            Input::Request { body, .. } | Input::Response { outcome: Ok(body), .. } => body,
            _ => &[],
        };
        if self.tells() {
            self.tell(now, ix, "<", &format!("{name} {}", brief_input(input)));
        }
        self.add(now, ix, tag, body);
    }

    pub(super) fn output(&mut self, now: Micros, ix: PeerIx, output: &Output) {
        if self.tells() {
            self.tell(now, ix, ">", &brief_output(output));
        }
        match output {
            // What jobs carry may be large and is a function of what came before; the result shows in later outputs.
            Output::Work(id, _) => self.add(now, ix, 101, &id.0.to_le_bytes()),
            Output::Request { body, .. } => self.add(now, ix, 102, body),
            Output::Respond { body, .. } => self.add(now, ix, 103, body),
            Output::Publish { data, .. } => self.add(now, ix, 104, data),
            Output::Archive(id, _) => self.add(now, ix, 105, &id.0.to_le_bytes()),
            other => {
                self.add(now, ix, 100, &[]);
                // A row takes everything, so writing into it cannot fail.
                let _ = write!(Words(&mut self.steps), "{other:?}");
            }
        }
    }
}

fn brief_input(input: &Input) -> String {
    match input {
        Input::Gossip(message) => {
            format!("{:?} of {} bytes from {}", message.topic, message.data.len(), message.from)
        }
        Input::Request { id, protocol, body, .. } => format!("{id:?} {protocol:?} of {} bytes", body.len()),
        Input::Response { id, outcome } => format!("{id:?} {:?}", outcome.as_ref().map(Vec::len)),
        Input::WorkDone(id, _) => format!("{id:?}"),
        Input::Archive(id, answer) => format!("{id:?} {}", if answer.is_ok() { "ok" } else { "failed" }),
        other => format!("{other:?}"),
    }
}

fn brief_output(output: &Output) -> String {
    match output {
        Output::Work(id, job) => {
            let (name, count) = match job {
                Job::VerifyHeaders { headers, .. } => ("verify headers", headers.len()),
                Job::VerifyTransactions { transactions, .. } => ("verify transactions", transactions.len()),
                Job::VerifyItems { items, .. } => ("verify items", items.len()),
                Job::VerifyVotes { votes, .. } => ("verify votes", votes.len()),
                Job::VerifyWarp { fragments, .. } => ("verify warp", fragments.len()),
                Job::VerifyRange { proof, .. } => ("verify range", proof.leaf_count()),
                Job::Execute { transactions, .. } => ("execute", transactions.len()),
                Job::Build { candidates, .. } => ("build", candidates.len()),
                Job::Update { changes, .. } => ("update", changes.len()),
            };
            format!("{id:?} {name} {count}")
        }
        Output::Request { id, peer, protocol, body } => {
            format!("request {id:?} {protocol:?} of {} bytes to {peer}", body.len())
        }
        Output::Respond { id, body } => format!("respond {id:?} {} bytes", body.len()),
        Output::Publish { topic, data } => format!("publish {topic:?} {} bytes", data.len()),
        Output::Archive(id, _) => format!("archive {id:?}"),
        other => format!("{other:?}"),
    }
}

impl<S: Scripts> World<S> {
    /// Writes every step that follows into a file, as lines of JSON.
    ///
    /// # Errors
    /// When the file cannot be made.
    ///
    /// # Panics
    /// When the world is in halves, whose steps have no order among each other.
    pub fn write_trace(&mut self, path: &Path) -> io::Result<()> {
        assert!(self.halves.is_none(), "halves are not traced step by step");
        self.trace.file = Some(BufWriter::new(File::create(path)?));
        Ok(())
    }

    /// Finishes the file.
    ///
    /// # Errors
    /// When it could not be written whole.
    pub fn flush_trace(&mut self) -> io::Result<()> {
        match (self.trace.failed.take(), &mut self.trace.file) {
            (Some(error), _) => Err(error),
            (None, Some(file)) => file.flush(),
            (None, None) => Ok(()),
        }
    }
}
