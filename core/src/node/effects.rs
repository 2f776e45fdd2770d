//! What the parts of a node share: the time, the outputs, the store, and what waits for durability.

use std::collections::{BTreeMap, VecDeque};

use chacha20::ChaCha8Rng;
use libp2p::PeerId;
use rand_core::Rng;

use super::{
    ArchiveId, CommandError, CommandId, Event, GossipId, InboundId, OutboundId, Output, Protocol, Reply,
    Verdict, WorkId, chain::Lookup, metrics::Delays, told, work::Job,
};
use crate::{
    content::Part,
    gossip::{OutgoingId, Room},
    peers::{Offence, Quotas, Service, Traffic, Uploads},
    primitives::{Hash, Height, Held, Now},
    store::{ArchiveRequest, Batch, Seq, Store},
    sync::Piece,
};

/// What a request to a peer was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Where are you?
    Status,
    /// Headers past this locator.
    Headers(Vec<(Height, Hash)>),
    /// Prove what you call final.
    Claim,
    /// What contradicts ours?
    Contradiction,
    /// Headers before the one with this hash.
    Backfill(Hash),
    /// What a person asks for.
    Lookup(Box<Lookup>),
    /// What is missing of this announced block.
    Missing(Hash),
    /// These bodies.
    Bodies(Vec<(Height, Hash)>),
    /// What the transaction relay says.
    Transactions(OutgoingId),
    /// What was said in this room?
    History(Room),
    /// Who else is there?
    Peers,
    /// Tell others of us.
    Register,
    /// Who has registered?
    Discover,
    /// A part of this file.
    Content(Hash, Part),
    /// What joining by proof needs.
    Light(LightAsk),
}

/// What a peer that joins by proof asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LightAsk {
    /// The person's checkpoint.
    Checkpoint,
    /// Fragments.
    Warp,
    /// Which block this checkpoint has in the place of the newest that is known to be final.
    Ancestor(Hash),
    /// What the header of this pivot does not tell.
    Pivot(Hash),
    /// The changes from one pivot to the next.
    Diffs,
    /// What the header of this checkpoint does not tell, to follow the headers above it.
    Tip(Hash),
    /// Headers above it, past this locator.
    Headers(Vec<(Height, Hash)>),
    /// Accounts of the pivot.
    Range(Piece),
}

/// A request in flight.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) peer: PeerId,
    pub(super) protocol: Protocol,
    pub(super) ask: Ask,
}

/// So many services of peers are credited at once; fewer wait until there is something else to look after.
const CREDITED_AT: usize = 64;

pub(super) struct Effects {
    pub(super) now: Now,
    pub(super) rng: ChaCha8Rng,
    pub(super) store: Box<dyn Store + Send>,
    /// All batches up to this one are durable.
    durable: Seq,
    /// Why the disk takes no more writes.
    pub(super) storage_failed: Option<String>,
    pub(super) asked: BTreeMap<OutboundId, Asked>,
    /// Misbehaviour noticed since the last look; the node books it.
    pub(super) offences: Vec<(PeerId, Offence)>,
    /// Of what use peers were since the last look; the node notes it.
    pub(super) services: Vec<(PeerId, Service)>,
    /// How often something was refused, by reason.
    pub(super) refusals: BTreeMap<&'static str, u64>,
    /// Verdicts given: accept, reject, ignore.
    pub(super) verdicts: [u64; 3],
    /// How long after the start of their slots blocks were executed.
    pub(super) delays: Delays,
    /// Quotas do not count.
    pub(super) unbounded: bool,
    quotas: Quotas,
    pub(super) uploads: Uploads,
    alarms: Vec<String>,
    outputs: VecDeque<Output>,
    next_id: u64,
}

impl Effects {
    pub(super) fn held(&self) -> [Held; 2] {
        [self.quotas.held(), self.uploads.held()]
    }

    pub(super) fn new(store: Box<dyn Store + Send>, rng: ChaCha8Rng, uploads: Uploads, now: Now) -> Self {
        Self {
            now,
            rng,
            store,
            durable: Seq::default(),
            storage_failed: None,
            asked: BTreeMap::new(),
            offences: Vec::new(),
            services: Vec::new(),
            refusals: BTreeMap::new(),
            verdicts: [0; 3],
            delays: Delays::default(),
            unbounded: false,
            quotas: Quotas::default(),
            uploads,
            alarms: Vec::new(),
            outputs: VecDeque::new(),
            next_id: 0,
        }
    }

    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    pub(super) fn pop(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    pub(super) fn ask(&mut self, peer: PeerId, protocol: Protocol, ask: Ask, body: Vec<u8>) -> OutboundId {
        let id = OutboundId(self.id());
        self.asked.insert(id, Asked { peer, protocol, ask });
        self.push(Output::Request { id, peer, protocol, body });
        id
    }

    pub(super) fn respond(&mut self, id: InboundId, body: Vec<u8>) {
        self.push(Output::Respond { id, body });
    }

    pub(super) fn judge(&mut self, id: GossipId, verdict: Verdict) {
        self.verdicts[verdict as usize] += 1;
        self.push(Output::Judge { id, verdict });
    }

    pub(super) fn work(&mut self, job: Job) -> WorkId {
        let id = WorkId(self.id());
        self.push(Output::Work(id, job));
        id
    }

    pub(super) fn archive(&mut self, request: ArchiveRequest) -> ArchiveId {
        let id = ArchiveId(self.id());
        self.push(Output::Archive(id, request));
        id
    }

    pub(super) fn reply(&mut self, id: CommandId, reply: Result<Reply, CommandError>) {
        self.push(Output::Reply(id, Box::new(reply)));
    }

    pub(super) fn notify(&mut self, event: Event) {
        match &event {
            Event::Block(block) => told::block(block),
            Event::Finalised(checkpoint) => told::checkpoint(checkpoint),
            _ => {}
        }
        self.push(Output::Notify(event));
    }

    /// Writes a batch, to become durable when the disk gets round to it.
    pub(super) fn apply(&mut self, batch: Batch) -> Seq {
        let seq = self.store.apply(batch);
        if self.store.durable_at_once() {
            self.durable = seq;
        }
        seq
    }

    /// Writes a batch that something waits for.
    pub(super) fn apply_now(&mut self, batch: Batch) -> Seq {
        let seq = self.apply(batch);
        if !self.is_durable(seq) {
            self.push(Output::Flush(seq));
        }
        seq
    }

    pub(super) fn persisted(&mut self, seq: Seq) {
        self.durable = self.durable.max(seq);
    }

    pub(super) fn is_durable(&self, seq: Seq) -> bool {
        seq <= self.durable
    }

    pub(super) fn offend(&mut self, peer: PeerId, offence: Offence) {
        self.offences.push((peer, offence));
    }

    /// Whether somebody misbehaved since the last look, or many were of use.
    pub(super) fn has_judged(&self) -> bool {
        !self.offences.is_empty() || self.services.len() >= CREDITED_AT
    }

    /// Counts something that was refused and blames nobody.
    pub(super) fn refuse(&mut self, reason: &'static str) {
        *self.refusals.entry(reason).or_default() += 1;
    }

    /// Whether a peer may ask for or bring something of so many bytes; where answers count, give none. What is too much is
    /// counted, and who goes on is to blame, unless it is others who ask too much.
    pub(super) fn may(&mut self, peer: PeerId, traffic: Traffic, bytes: usize) -> bool {
        if self.unbounded {
            return true;
        }
        let now = self.now.mono;
        let allowed = self.quotas.take(&peer, traffic, bytes, now);
        if !allowed {
            self.refuse(traffic.refusal());
            if self.quotas.overrun(&peer, now) {
                self.offend(peer, Offence::Flood);
            }
        } else if traffic.is_bulk()
            && let Err(spent) = self.uploads.may(&peer, now)
        {
            self.refuse(spent.refusal());
            return false;
        }
        allowed
    }

    /// Answers a peer at the cost of its quota.
    pub(super) fn respond_at_cost(&mut self, id: InboundId, peer: PeerId, traffic: Traffic, body: Vec<u8>) {
        self.answered(peer, traffic, body.len());
        if !self.unbounded {
            self.uploads.sent(&peer, body.len(), self.now.mono);
        }
        self.respond(id, body);
    }

    /// What was done for a peer counts as so many bytes.
    pub(super) fn answered(&mut self, peer: PeerId, traffic: Traffic, bytes: usize) {
        if !self.unbounded {
            self.quotas.answered(&peer, traffic, bytes, self.now.mono);
        }
    }

    /// Tells the person that something is wrong, once until it is over.
    pub(super) fn raise(&mut self, alarm: String) {
        if !self.alarms.contains(&alarm) {
            tracing::warn!("{alarm}");
            self.alarms.push(alarm.clone());
            self.notify(Event::Alarm(alarm));
        }
    }

    /// Tells the person that what began with these words is over.
    pub(super) fn lower(&mut self, prefix: &str) {
        let (over, still) =
            std::mem::take(&mut self.alarms).into_iter().partition(|alarm| alarm.starts_with(prefix));
        self.alarms = still;
        let over: Vec<String> = over;
        for alarm in over {
            self.notify(Event::AlarmOver(alarm));
        }
    }

    pub(super) fn alarms(&self) -> &[String] {
        &self.alarms
    }
}
