//! System items that are properly put together and wrongly signed, or of another branch: a block that carries one is not executed.

use std::sync::Arc;

use weft_core::{
    chain::{
        Ballot, Block, Body, CHECKPOINT_INTERVAL, Certificate, Change, Checkpoint, ConsensusRecord, Evidence,
        Header, Link, SignedBallot, SystemItem, Vote,
    },
    gossip::CompactBlock,
    primitives::{Hash, Height, encode},
};

use crate::siege::{Blame, Siege};

/// A checkpoint that all have voted for, the block after it, and what is to be wrong with what that block carries.
struct Carried {
    siege: Siege,
    /// The checkpoint's record.
    record: Arc<ConsensusRecord>,
}

impl Carried {
    /// At a checkpoint that has no certificate yet.
    fn new(seed: u64) -> Self {
        let mut siege = Siege::new(seed);
        for _ in 0..CHECKPOINT_INTERVAL {
            siege.goes_on(Vec::new());
        }
        let record = Arc::clone(siege.maker.record());
        Self { siege, record }
    }

    fn certificate(&self, checkpoint: &Header) -> Certificate {
        let target = Checkpoint { height: checkpoint.height(), hash: checkpoint.hash() };
        let link = Link { source: self.record.justified, target };
        let votes = self.siege.chain.validators.iter().map(|key| {
            let vote = Vote::sign(link, key, &self.siege.chain.hash());
            (vote.by, vote.signature)
        });
        Certificate::assemble(link, &self.record, &votes.collect()).expect("everybody has voted")
    }

    fn ballot(&self) -> SignedBallot {
        let [by, out] = [0, 1].map(|index: usize| &self.siege.chain.validators[index]);
        let serial = self.siege.maker.head().height().0 + 1;
        let ballot = Ballot { set_id: 0, serial, by: by.public(), change: Change::Remove(out.public()) };
        SignedBallot::sign(ballot, by, &self.siege.chain.hash())
    }

    fn votes(&self) -> [Vote; 2] {
        [1, 2].map(|byte| {
            let target = Checkpoint { height: Height(CHECKPOINT_INTERVAL), hash: Hash([byte; 32]) };
            let link = Link { source: self.record.justified, target };
            Vote::sign(link, &self.siege.chain.validators[0], &self.siege.chain.hash())
        })
    }

    /// Passes on the next block with these items and the record that they would yield. Returns its hash.
    fn gossip(&mut self, system: Vec<SystemItem>) -> Hash {
        let siege = &mut self.siege;
        let intruder = siege.mute();
        let slot = siege.next_slot();
        let (mut unsigned, _, _) = siege.maker.draft(slot, Vec::new());
        let body = Body { transactions: Vec::new(), system };
        unsigned.system_root = body.system_root();
        let record = siege.maker.record().after(unsigned.height, &body.system, Some(&self.record));
        unsigned.consensus_root = record.expect("all but the signatures is right").root();
        let block: Block = siege.sign(unsigned, body);
        siege.gossip(intruder, encode(&CompactBlock::whole(&block)));
        assert_eq!(siege.blame(intruder), Blame::none(), "its header says nothing of this");
        siege.world.kill(intruder);
        block.header.hash()
    }

    fn takes(mut self, item: SystemItem) {
        let hash = self.gossip(vec![item]);
        let siege = &mut self.siege;
        for ix in [siege.victim, siege.bystander] {
            assert_eq!(siege.world.chain(ix).head, hash, "a right one is not taken");
        }
    }

    fn refuses(&mut self, name: &str, item: SystemItem) {
        let hash = self.gossip(vec![item]);
        let siege = &mut self.siege;
        for ix in [siege.victim, siege.bystander] {
            assert_ne!(siege.world.chain(ix).head, hash, "{name} was taken");
        }
        siege.goes_on(Vec::new());
    }
}

#[test]
fn what_is_rightly_signed_is_taken() {
    let carried = Carried::new(1);
    let item = SystemItem::Certificate(carried.certificate(carried.siege.maker.head()));
    carried.takes(item);
    let carried = Carried::new(2);
    let item = SystemItem::Ballot(carried.ballot());
    carried.takes(item);
    let carried = Carried::new(3);
    let item = SystemItem::Evidence(Evidence::Votes(Box::new(carried.votes())));
    carried.takes(item);
}

#[test]
fn a_forged_signature_on_any_item_spoils_the_block() {
    for place in 0..3 {
        let mut carried = Carried::new(4);
        let mut certificate = carried.certificate(carried.siege.maker.head());
        certificate.signatures[place].1.0[7] ^= 1;
        carried.refuses("a forged certificate", SystemItem::Certificate(certificate));
    }
    let mut carried = Carried::new(5);
    let mut ballot = carried.ballot();
    ballot.signature.0[7] ^= 1;
    carried.refuses("a forged ballot", SystemItem::Ballot(ballot));
    for forged in 0..2 {
        let mut carried = Carried::new(6);
        let mut votes = carried.votes();
        votes[forged].signature.0[7] ^= 1;
        carried.refuses("forged evidence", SystemItem::Evidence(Evidence::Votes(Box::new(votes))));
    }
}

#[test]
fn a_certificate_on_a_sibling_spoils_the_block() {
    let mut siege = Siege::new(7);
    for _ in 1..CHECKPOINT_INTERVAL {
        siege.goes_on(Vec::new());
    }
    // Two checkpoints of one height, each executed by everybody; the next block builds on the second.
    let intruder = siege.mute();
    let slot = siege.next_slot();
    let (unsigned, body, _) = siege.maker.draft(slot, Vec::new());
    let sibling = siege.sign(unsigned, body);
    siege.gossip(intruder, encode(&CompactBlock::whole(&sibling)));
    assert_eq!(siege.world.chain(siege.victim).head, sibling.header.hash());
    siege.world.kill(intruder);
    let slot = siege.next_slot();
    let own = siege.maker.extend_at(slot, Vec::new());
    let intruder = siege.mute();
    siege.gossip(intruder, encode(&CompactBlock::whole(&own)));
    siege.world.kill(intruder);

    let record = Arc::clone(siege.maker.record());
    let mut carried = Carried { siege, record };
    let certificate = carried.certificate(&sibling.header);
    carried.refuses("a certificate on a sibling", SystemItem::Certificate(certificate));
    let certificate = carried.certificate(&own.header);
    carried.takes(SystemItem::Certificate(certificate));
}
