//! What comes back of what the chain had others do: jobs by workers, and reads and writes by the archive.

use std::sync::Arc;

use libp2p::PeerId;

use super::{
    Chain,
    light::{Arrival, Candidates},
    pool, serve,
    undone::Undone,
};
use crate::{
    chain::{ConsensusRecord, Evidence, Header, Vote},
    finality::Certified,
    gossip::CompactBlock,
    node::{
        ArchiveId, CommandError, CommandId, GossipMessage, InboundId, Output, Verdict, WorkId,
        effects::Effects, jobs::Outcome, storage_failed, work::JobResult,
    },
    primitives::{Hash, Height, Slot},
    store::{ArchiveAnswer, ArchiveFailure},
    sync::{Fragment, Piece},
};

/// How the alarm about lost jobs begins; it is over when a job succeeds.
const WORKER_ALARM: &str = "a worker failed twice at the same job";

/// What a job was for.
pub(super) enum Purpose {
    /// The signature of a gossiped block's header.
    Gossip(GossipMessage, Box<CompactBlock>),
    /// The signatures of headers from before the checkpoint that is joined at.
    OldHeaders(Arc<Vec<Header>>),
    /// The signatures of headers a peer sent, which have these hashes.
    Headers(PeerId, Arc<Vec<Header>>, Vec<Hash>),
    /// The signatures of a body's transactions.
    Signatures(Hash),
    /// The signatures of a body's system items, which yield this record.
    Items(Hash, Arc<ConsensusRecord>),
    /// The signatures of gossiped votes.
    Votes(Vec<(GossipMessage, Vote)>),
    /// The signatures of a proof of finality that a peer was asked for.
    Claim(PeerId, Arc<Vec<Fragment>>),
    /// The signatures of a certificate that may contradict what is final here.
    Contradiction(PeerId, Box<Certified>),
    /// The signatures of gossiped evidence.
    Evidence(GossipMessage, Box<Evidence>),
    /// Executing a block.
    Execute(Hash),
    /// The trie after a block, from the head's and the diffs between.
    Rewind(Hash),
    /// Building our own block on this parent.
    Build(Hash, Slot),
    /// The signatures of transactions for the pool.
    Pool(pool::Candidates),
    /// The trie of the stored head.
    Restore,
    /// The signatures of fragments.
    Warp(Candidates),
    /// The signatures of headers above the newest proven checkpoint.
    Tip(PeerId, Arc<Vec<Header>>, Vec<Hash>),
    /// The proof of a piece of the state.
    Range(PeerId, Piece),
    /// The accounts that are here, with the changes up to a newer pivot.
    Arrival(Box<Arrival>),
    /// The trie of a checkpoint that is served.
    Pivot(Hash),
}

/// What an answer of the archive is for.
pub(super) enum Archived {
    /// This block is archived, which holds these transactions.
    Block(Hash, Vec<u8>),
    /// Old forks, or old blocks, are gone.
    Forks,
    /// Bodies of blocks that were undone, whose transactions wait again.
    Undone(Undone),
    /// These headers from before the block at which this peer joined are archived.
    OldHeaders(Vec<Header>),
    /// Whether the archive holds what the store says it does.
    Check,
    /// Headers for a peer.
    ServeHeaders(InboundId, PeerId, serve::OldHeaders),
    /// Something else for a peer that needs old headers or one old body.
    Serve(InboundId, PeerId, serve::Old),
    /// Bodies for a peer.
    ServeBodies(InboundId, PeerId),
    /// A block for a person: its header by height.
    ShowHeader(CommandId, Height),
    /// A block for a person: its body.
    ShowBody(CommandId, Box<Header>),
    /// A transaction for a person: the body of the first of the blocks that may hold it.
    ShowTransaction(CommandId, Hash, Vec<(Height, Hash)>),
}

impl Chain {
    /// Whether a job checks transactions for the mempool, and nothing else.
    pub(in crate::node) fn is_for_pool(&self, id: WorkId) -> bool {
        matches!(self.jobs.purpose(id), Some(Purpose::Pool(_)))
    }

    pub(in crate::node) fn work_done(&mut self, fx: &mut Effects, id: WorkId, result: JobResult) {
        match self.jobs.done(fx, id, result) {
            Outcome::Done(purpose, result) => {
                fx.lower(WORKER_ALARM);
                self.job_done(fx, purpose, result);
            }
            Outcome::Lost(purpose) => self.job_lost(fx, purpose),
            Outcome::Nothing => {}
        }
    }

    pub(in crate::node) fn work_failed(&mut self, fx: &mut Effects, id: WorkId) {
        if let Outcome::Lost(purpose) = self.jobs.failed(fx, id) {
            self.job_lost(fx, purpose);
        }
    }

    fn job_done(&mut self, fx: &mut Effects, purpose: Purpose, result: JobResult) {
        match (purpose, result) {
            (Purpose::Gossip(message, block), JobResult::Verified(valid)) => {
                self.gossiped_header_verified(fx, &message, *block, valid == [true]);
            }
            (Purpose::Headers(peer, headers, hashes), JobResult::Verified(valid)) => {
                self.headers_verified(fx, peer, hashes.into_iter().zip(headers.iter()), &valid);
            }
            (Purpose::OldHeaders(headers), JobResult::Verified(valid)) => {
                self.old_headers_verified(fx, &headers, Some(&valid));
            }
            (Purpose::Signatures(hash), JobResult::Verified(valid)) => {
                self.body_verified(fx, &hash, valid.iter().all(|valid| *valid));
            }
            (Purpose::Items(hash, record), JobResult::Verified(valid)) => {
                self.items_verified(fx, &hash, record, valid.iter().all(|valid| *valid));
            }
            (Purpose::Votes(line), JobResult::Verified(valid)) => self.votes_verified(fx, line, Some(&valid)),
            (Purpose::Evidence(message, evidence), JobResult::Verified(valid)) => {
                self.evidence_verified(fx, &message, *evidence, valid == [true]);
            }
            (Purpose::Claim(peer, fragments), JobResult::Verified(valid)) => {
                self.claim_verified(fx, peer, &fragments, &valid);
            }
            (Purpose::Contradiction(peer, certified), JobResult::Verified(valid)) => {
                self.contradiction_verified(fx, peer, *certified, valid == [true]);
            }
            (Purpose::Execute(hash), JobResult::Executed(outcome)) => self.executed(fx, hash, outcome),
            (Purpose::Rewind(hash), JobResult::Updated(trie)) => self.rewound(fx, hash, trie),
            (Purpose::Build(parent, slot), JobResult::Built(transactions, executed)) => {
                self.built(fx, parent, slot, transactions, executed);
            }
            (Purpose::Pool(candidates), JobResult::Verified(valid)) => {
                self.pool_verified(fx, candidates, &valid);
            }
            (Purpose::Restore, JobResult::Updated(trie)) => self.restored(fx, trie),
            (Purpose::Warp(candidates), JobResult::Verified(valid)) => {
                self.fragments_verified(fx, candidates, Some(&valid));
            }
            (Purpose::Tip(peer, headers, hashes), JobResult::Verified(valid)) => {
                self.tip_headers_verified(fx, peer, hashes.into_iter().zip(headers.iter()), &valid);
            }
            (Purpose::Range(peer, piece), JobResult::Range(outcome)) => {
                self.range_verified(fx, peer, &piece, Some(outcome));
            }
            (Purpose::Arrival(arrival), JobResult::Updated(trie)) => {
                self.arrived_at_pivot(fx, *arrival, Some(trie));
            }
            (Purpose::Pivot(hash), JobResult::Updated(trie)) => self.pivot_rebuilt(fx, &hash, Some(trie)),
            (purpose, _) => self.job_lost(fx, purpose),
        }
    }

    /// A job could not be run, twice. Whatever it was for is forgotten, so that it can be tried afresh.
    fn job_lost(&mut self, fx: &mut Effects, purpose: Purpose) {
        fx.refuse("job-lost");
        fx.raise(format!("{WORKER_ALARM}; the peer goes on without its result"));
        match purpose {
            Purpose::Gossip(message, block) => {
                self.verifying.remove(&block.header.hash());
                fx.judge(message.id, Verdict::Ignore);
            }
            Purpose::Headers(peer, ..) => self.headers_lost(fx, &peer),
            Purpose::OldHeaders(headers) => self.old_headers_verified(fx, &headers, None),
            Purpose::Votes(line) => self.votes_verified(fx, line, None),
            Purpose::Evidence(message, _) => fx.judge(message.id, Verdict::Ignore),
            Purpose::Signatures(hash) | Purpose::Items(hash, _) | Purpose::Execute(hash) => {
                self.drop_waiting(&hash)
            }
            Purpose::Rewind(hash) => {
                self.rewinding.remove(&hash);
            }
            Purpose::Build(..) => {
                if let Some(proposer) = &mut self.proposer {
                    proposer.building = false;
                }
            }
            Purpose::Claim(..) | Purpose::Contradiction(..) => {}
            Purpose::Pool(candidates) => self.pool_lost(fx, candidates),
            Purpose::Pivot(hash) => self.pivot_rebuilt(fx, &hash, None),
            Purpose::Warp(candidates) => self.fragments_verified(fx, candidates, None),
            Purpose::Tip(..) => self.tip_headers_lost(),
            Purpose::Range(peer, piece) => self.range_verified(fx, peer, &piece, None),
            Purpose::Arrival(arrival) => self.arrived_at_pivot(fx, *arrival, None),
            Purpose::Restore => {
                fx.raise("the stored state could not be rebuilt; restart the peer".to_owned())
            }
        }
    }

    pub(in crate::node) fn archive_answered(
        &mut self,
        fx: &mut Effects,
        id: ArchiveId,
        answer: Result<ArchiveAnswer, ArchiveFailure>,
    ) {
        let Some(purpose) = self.archived.remove(&id) else { return };
        let answer = answer.map(ArchiveAnswer::without_empty_bodies);
        match (purpose, answer) {
            (Archived::Block(hash, contents), Ok(ArchiveAnswer::Stored)) => {
                self.block_archived(fx, hash, contents);
            }
            (Archived::OldHeaders(headers), Ok(ArchiveAnswer::Stored)) => {
                self.old_headers_kept(fx, &headers);
            }
            (
                Archived::Block(..) | Archived::Forks | Archived::Check | Archived::OldHeaders(_),
                Err(failure),
            ) => {
                storage_failed(fx, failure.0);
            }
            (Archived::Check, Ok(answer)) => Self::archive_checked(fx, &answer),
            (Archived::Undone(undone), answer) => self.undone_read(fx, undone, answer.ok()),
            (Archived::ServeHeaders(id, peer, old), Ok(ArchiveAnswer::Headers(headers))) => {
                self.serve_old_headers(fx, id, peer, old, headers);
            }
            (Archived::ServeBodies(id, peer), Ok(ArchiveAnswer::Bodies(bodies))) => {
                self.serve_bodies(fx, id, &peer, bodies);
            }
            (Archived::ShowHeader(command, height), Ok(ArchiveAnswer::Headers(headers))) => {
                self.show_old_header(fx, command, height, &headers);
            }
            (Archived::ShowBody(command, header), Ok(ArchiveAnswer::Bodies(bodies))) => {
                self.show_body(fx, command, &header, &bodies);
            }
            (Archived::ShowTransaction(command, id, blocks), answer) => {
                self.show_transaction_of(fx, command, id, blocks, answer.ok().as_ref());
            }
            (Archived::Serve(id, peer, old), Ok(answer)) => self.serve_old(fx, id, &peer, old, &answer),
            (
                Archived::ServeHeaders(id, peer, _)
                | Archived::ServeBodies(id, peer)
                | Archived::Serve(id, peer, _),
                _,
            ) => {
                self.served(&peer);
                fx.push(Output::Refuse(id));
            }
            (Archived::ShowHeader(command, _) | Archived::ShowBody(command, _), _) => {
                fx.reply(command, Err(CommandError::NoSuchBlock));
            }
            (Archived::Block(..) | Archived::Forks | Archived::OldHeaders(_), Ok(_)) => {}
        }
    }
}
