//! The fingerprint of a run: a hash over what every peer was told and did, and when.

use weft_core::{
    node::{Input, Job, Output},
    primitives::{Hash, Hasher},
};

use super::{event::Micros, peer::PeerIx};

pub(super) struct Trace {
    hasher: Hasher,
    print: bool,
}

impl Trace {
    /// With `WEFT_SIM_TRACE` set, every step is printed as it happens.
    pub(super) fn new() -> Self {
        Self { hasher: Hasher::default(), print: std::env::var_os("WEFT_SIM_TRACE").is_some() }
    }

    pub(super) fn hash(&self) -> Hash {
        self.hasher.finish()
    }

    fn add(&mut self, now: Micros, ix: PeerIx, tag: u8, payload: &[u8]) {
        self.hasher
            .add(&now.to_le_bytes())
            .add(&(ix.0 as u64).to_le_bytes())
            .add(&[tag])
            .add(&(payload.len() as u64).to_le_bytes())
            .add(payload);
    }

    pub(super) fn input(&mut self, now: Micros, ix: PeerIx, input: &Input) {
        let (tag, name) = match input {
            Input::Connected { .. } => (0, "connected"),
            Input::Disconnected { .. } => (1, "disconnected"),
            Input::DialFailed { .. } => (2, "dial failed"),
            Input::Identified { .. } => (3, "identified"),
            Input::Pinged { .. } => (4, "pinged"),
            Input::Discovered { .. } => (5, "discovered"),
            Input::Listening(_) => (6, "listening"),
            Input::NotListening(_) => (7, "not listening"),
            Input::Gossip(_) => (8, "gossip"),
            Input::PublishedToNobody(_) => (9, "published to nobody"),
            Input::Request { .. } => (10, "request"),
            Input::Response { .. } => (11, "response"),
            Input::WorkDone(..) => (12, "work done"),
            Input::WorkFailed(_) => (13, "work failed"),
            Input::Archive(..) => (14, "archive"),
            Input::Persisted(_) => (15, "persisted"),
            Input::StorageFailed(_) => (16, "storage failed"),
            Input::Command(..) => (17, "command"),
            Input::RoomEntered { .. } => (18, "room entered"),
            Input::RoomLeft { .. } => (19, "room left"),
        };
        let body: &[u8] = match input {
            Input::Gossip(message) => &message.data,
            Input::Request { body, .. } | Input::Response { outcome: Ok(body), .. } => body,
            _ => &[],
        };
        if self.print {
            eprintln!("{:>12} {:>3} < {name} {}", now, ix.0, brief_input(input));
        }
        self.add(now, ix, tag, body);
    }

    pub(super) fn output(&mut self, now: Micros, ix: PeerIx, output: &Output) {
        if self.print {
            eprintln!("{:>12} {:>3} > {}", now, ix.0, brief_output(output));
        }
        match output {
            // What jobs carry may be large and is a function of what came before; the result shows in later outputs.
            Output::Work(id, _) => self.add(now, ix, 101, &id.0.to_le_bytes()),
            Output::Request { body, .. } => self.add(now, ix, 102, body),
            Output::Respond { body, .. } => self.add(now, ix, 103, body),
            Output::Publish { data, .. } => self.add(now, ix, 104, data),
            Output::Archive(id, _) => self.add(now, ix, 105, &id.0.to_le_bytes()),
            other => self.add(now, ix, 100, format!("{other:?}").as_bytes()),
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
