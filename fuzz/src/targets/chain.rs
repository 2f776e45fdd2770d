//! What the chain is made of.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use weft_core::{
    chain::{
        Ballot, Block, Body, CHECKPOINT_INTERVAL, Certificate, Change, Checkpoint, ConsensusRecord, Evidence,
        Genesis, Header, Link, MAX_AUTHORITIES, MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, MAX_MEMO_BYTES,
        MAX_SYSTEM_BYTES, Mmr, MmrProof, SignedBallot, SystemItem, Transaction, UnsignedHeader, Vote,
    },
    finality::{BlockTree, Counted, InsertError, VotePool},
    primitives::{Hash, Height, PublicKey, SignatureBatch, Slot, encode},
};

use crate::{
    canonical,
    sample::{PIVOT, Sample, sample},
};

/// Whether all that is added to the batch is rightly signed.
fn signed(add: impl FnOnce(&Hash, &mut SignatureBatch)) -> bool {
    let mut batch = SignatureBatch::default();
    add(&sample().genesis(), &mut batch);
    batch.verify()
}

/// The tree of all headers of the sample, none of them executed but the genesis.
fn tree() -> &'static BlockTree {
    static TREE: OnceLock<BlockTree> = OnceLock::new();
    TREE.get_or_init(|| {
        let chain = &sample().chain;
        let genesis = chain.header(Height(0)).clone();
        let mut tree = BlockTree::new(genesis, Mmr::default(), Arc::clone(chain.record(Height(0))));
        for block in &chain.blocks {
            let height = block.header.height();
            let hash = tree.insert(block.header.clone()).expect("the sample's headers follow each other");
            tree.executed(&hash, Arc::clone(chain.record(height)));
        }
        tree
    })
}

/// A header: what enters the tree follows its parent, and nobody but the authorities signs for them.
pub fn header(data: &[u8]) -> bool {
    let Some(header) = canonical::<Header>(data, Header::LEN) else { return false };
    let sample = sample();
    let verdict = tree().check(&header.hash(), &header);
    assert_eq!(verdict == Err(InsertError::Known), sample.has(&header));
    if verdict.is_ok() {
        let parent = tree().header(&header.content.parent).expect("it was found");
        assert_eq!(header.height().0, parent.height().0 + 1);
        assert!(header.slot() > parent.slot() && sample.authorities.contains_key(&header.content.proposer));
    }
    let right = signed(|genesis, batch| header.add_to_batch(genesis, batch));
    if right && sample.authorities.contains_key(&header.content.proposer) {
        assert!(sample.has(&header), "a forged header");
    }
    right
}

/// Headers of the sample.
pub fn header_seeds() -> Vec<Vec<u8>> {
    [1, 16, 53, 116].map(|height| encode(sample().chain.header(Height(height)))).into()
}

/// A body: a header commits to one.
pub fn body(data: &[u8]) -> bool {
    let Some(body) = canonical::<Body>(data, Body::MAX_LEN) else { return false };
    let mut known = false;
    for height in [1, 17, 21, 49] {
        let block = &sample().chain.blocks[height - 1];
        let is = body.check(&block.header).is_ok();
        assert_eq!(is, body == block.body, "a header commits to one body");
        known |= is;
    }
    known
}

/// Bodies with transactions, a certificate, and ballots.
pub fn body_seeds() -> Vec<Vec<u8>> {
    [1, 17, 21, 49].map(|height| encode(&sample().chain.blocks[height - 1].body)).into()
}

/// A block: within all limits if its body is its header's.
pub fn block(data: &[u8]) -> bool {
    let Some(block) = canonical::<Block>(data, MAX_BLOCK_BYTES) else { return false };
    let right = block.body.check(&block.header).is_ok();
    if right {
        let system: usize = block.body.system.iter().map(|item| encode(item).len()).sum();
        assert!(block.body.transactions.len() <= MAX_BLOCK_TRANSACTIONS && system <= MAX_SYSTEM_BYTES);
    }
    right
}

/// Blocks of the sample.
pub fn block_seeds() -> Vec<Vec<u8>> {
    [1, 17].map(|height| encode(&sample().chain.blocks[height - 1])).into()
}

/// A transaction: what passes the check fits its limits, and nobody signs for the sample's accounts.
pub fn transaction(data: &[u8]) -> bool {
    let Some(transaction) = canonical::<Transaction>(data, Transaction::MAX_LEN) else { return false };
    assert_eq!(transaction.encoded_len(), data.len());
    let sample = sample();
    let admitted = transaction.check(1).is_ok();
    if admitted {
        assert!(transaction.content.memo.len() <= MAX_MEMO_BYTES);
        assert!(transaction.content.fee.0 >= data.len() as u64 && transaction.cost().is_some());
    }
    let right = signed(|genesis, batch| transaction.add_to_batch(genesis, batch));
    if right && sample.is_sender(&transaction) {
        assert!(sample.transactions.contains_key(&transaction.id()), "a forged transaction");
    }
    admitted && right
}

/// Transactions of the sample.
pub fn transaction_seeds() -> Vec<Vec<u8>> {
    sample().chain.blocks[0].body.transactions.iter().map(encode).collect()
}

/// A height, and the system items of a block at it: what they do to the record keeps it sound.
pub fn system_items(data: &[u8]) -> bool {
    let Some((place, data)) = data.split_first() else { return false };
    let Some(items) = canonical::<Vec<SystemItem>>(data, MAX_SYSTEM_BYTES) else { return false };
    let sample = sample();
    let Some(parent) = sample.header(Height((*place).into())).map(Header::height) else { return false };
    let target = items.iter().find_map(|item| match item {
        SystemItem::Certificate(certificate) => Some(certificate.link.target),
        SystemItem::Ballot(_) | SystemItem::Evidence(_) => None,
    });
    let known = target.filter(|target| target.height <= parent && is_checkpoint_of(sample, target));
    let target = known.map(|target| &**sample.chain.record(target.height));
    let before = sample.chain.record(parent);
    let Ok(after) = before.after(Height(parent.0 + 1), &items, target) else { return false };
    assert!((1..=MAX_AUTHORITIES).contains(&after.set.authorities.len()));
    assert!(after.set.id == before.set.id || after.set.id == before.set.id + 1);
    assert_eq!(after.set.id != before.set.id, after.pending.is_none() && before.pending.is_some());
    assert!(after.justified.height >= before.justified.height);
    assert!(after.finalised.height >= before.finalised.height);
    assert!(after.finalised.height <= after.justified.height);
    assert!(after.ballots.is_sorted_by(|a, b| a.by < b.by));
    assert!(after.ballots.iter().all(|ballot| before.set.contains(&ballot.by)));
    assert!(!items.is_empty() || after == **before);
    true
}

fn is_checkpoint_of(sample: &Sample, checkpoint: &Checkpoint) -> bool {
    sample.header(checkpoint.height).is_some() && sample.checkpoint(checkpoint.height) == *checkpoint
}

/// System items of the sample at their places, and evidence.
pub fn system_items_seeds() -> Vec<Vec<u8>> {
    let block = |height: u8| {
        [&[height - 1][..], &encode(&sample().chain.blocks[usize::from(height) - 1].body.system)].concat()
    };
    let guilty = SystemItem::Evidence(equivocations().swap_remove(0));
    vec![block(2), block(17), block(20), block(49), block(70), [&[60][..], &encode(&vec![guilty])].concat()]
}

/// A vote: nobody votes for the authorities.
pub fn vote(data: &[u8]) -> bool {
    let Some(vote) = canonical::<Vote>(data, Vote::LEN) else { return false };
    let right = signed(|genesis, batch| vote.add_to_batch(genesis, batch));
    if right && sample().authorities.contains_key(&vote.by) {
        assert!(sample().links.contains(&vote.link), "a forged vote");
    }
    let Link { source, target } = vote.link;
    assert!(!vote.link.is_well_formed() || target.height > source.height);
    assert!(!vote.link.finalises_source() || target.height.0 == source.height.0 + CHECKPOINT_INTERVAL);
    right
}

/// Votes in the sample's certificates.
pub fn vote_seeds() -> Vec<Vec<u8>> {
    sample_votes().iter().take(4).map(encode).collect()
}

/// All votes in the certificates of the sample.
fn sample_votes() -> Vec<Vote> {
    let sample = sample();
    let votes = sample
        .certificates()
        .flat_map(|certificate| certificate.votes(sample.chain.record(certificate.link.target.height)));
    votes.collect()
}

/// Votes that all were rightly signed: the pool stays bounded, and accuses whoever has contradicted itself, nobody else.
pub fn votes(data: &[u8]) -> bool {
    let Some(votes) = canonical::<Vec<Vote>>(data, 64 << 10) else { return false };
    let mut pool = VotePool::default();
    let mut cast: BTreeMap<PublicKey, Vec<Link>> = BTreeMap::new();
    for vote in votes {
        let (by, link) = (vote.by, vote.link);
        let news = pool.is_news(&vote);
        match pool.add(vote) {
            Counted::Nothing => assert!(!news),
            Counted::Counts => assert!(news),
            Counted::Equivocation(evidence) => {
                assert_eq!(evidence.guilty(), Some(by));
                assert!(cast[&by].iter().any(|earlier| earlier.conflicts_with(&link)));
            }
        }
        cast.entry(by).or_default().push(link);
        let record = sample().chain.record(PIVOT);
        if let Some(certified) = pool.certify(link.target, record) {
            assert!(certified.certificate.check(record).is_ok());
        }
    }
    pool.finalised(PIVOT);
    let _ = pool.conflict();
    true
}

/// The sample's votes, and one for the highest checkpoint there could be.
pub fn votes_seeds() -> Vec<Vec<u8>> {
    let votes = sample_votes();
    let mut far = votes[0].clone();
    far.link.target.height = Height(u64::MAX - u64::MAX % CHECKPOINT_INTERVAL);
    vec![encode(&votes), encode(&votes[..3].to_vec()), encode(&vec![far])]
}

/// A certificate: what the records of the sample take is signed by more than two thirds of each set that counts.
pub fn certificate(data: &[u8]) -> bool {
    let Some(certificate) = canonical::<Certificate>(data, MAX_SYSTEM_BYTES) else { return false };
    let mut proves = false;
    for height in (16..=112).step_by(16).map(Height) {
        let record = sample().chain.record(height);
        if certificate.check(record).is_err() {
            continue;
        }
        assert_eq!(certificate.link.source, record.justified);
        let signers = certificate.signers(record).expect("it was checked");
        assert_eq!(signers.len(), certificate.signatures.len(), "nobody counts twice");
        let sets = [Some(&record.set), record.outgoing.as_ref().map(|outgoing| &outgoing.set)];
        for set in sets.into_iter().flatten() {
            let count = set.authorities.iter().filter(|one| signers.contains(&one.key)).count();
            assert!(3 * count > 2 * set.authorities.len(), "no quorum");
        }
        if signed(|genesis, batch| certificate.add_to_batch(genesis, record, batch)) {
            assert!(sample().links.contains(&certificate.link), "a forged certificate");
            proves = true;
        }
    }
    proves
}

/// Certificates of the sample, before, in and after a hand-off.
pub fn certificate_seeds() -> Vec<Vec<u8>> {
    sample().certificates().map(encode).collect()
}

/// Two blocks of one authority for one slot, and two votes for one height.
fn equivocations() -> Vec<Evidence> {
    let (chain, genesis) = (&sample().chain, sample().genesis());
    let header = chain.header(Height(60));
    let secret = &sample().authorities[&header.content.proposer];
    let mut other: UnsignedHeader = header.content.clone();
    other.state_root = Hash::ZERO;
    let headers = Evidence::Headers(Box::new([header.clone(), other.sign(secret, &genesis)]));
    let vote = sample_votes().swap_remove(0);
    let mut link = vote.link;
    link.target.hash = Hash::ZERO;
    let other = Vote::sign(link, &sample().authorities[&vote.by], &genesis);
    vec![headers, Evidence::Votes(Box::new([vote, other]))]
}

/// Evidence: only those are guilty who have signed both, and only those have who did.
pub fn evidence(data: &[u8]) -> bool {
    let Some(evidence) = canonical::<Evidence>(data, Evidence::MAX_LEN) else { return false };
    let Some(guilty) = evidence.guilty() else { return false };
    let right = signed(|genesis, batch| evidence.add_to_batch(genesis, batch));
    if right && sample().authorities.contains_key(&guilty) {
        let swapped = match evidence.clone() {
            Evidence::Headers(mut pair) => {
                pair.swap(0, 1);
                Evidence::Headers(pair)
            }
            Evidence::Votes(mut pair) => {
                pair.swap(0, 1);
                Evidence::Votes(pair)
            }
        };
        let true_ones = equivocations();
        assert!(true_ones.contains(&evidence) || true_ones.contains(&swapped), "forged evidence");
    }
    right
}

/// True evidence.
pub fn evidence_seeds() -> Vec<Vec<u8>> {
    equivocations().iter().map(encode).collect()
}

/// A ballot: nobody votes for the authorities.
pub fn ballot(data: &[u8]) -> bool {
    let Some(ballot) = canonical::<SignedBallot>(data, 1 << 10) else { return false };
    let right = signed(|genesis, batch| ballot.add_to_batch(genesis, batch));
    if right && sample().authorities.contains_key(&ballot.content.by) {
        assert!(sample_ballots().any(|true_one| *true_one == ballot), "a forged ballot");
    }
    right
}

fn sample_ballots() -> impl Iterator<Item = &'static SignedBallot> {
    let items = sample().chain.blocks.iter().flat_map(|block| &block.body.system);
    items.filter_map(|item| match item {
        SystemItem::Ballot(ballot) => Some(ballot),
        SystemItem::Certificate(_) | SystemItem::Evidence(_) => None,
    })
}

/// Ballots of the sample.
pub fn ballot_seeds() -> Vec<Vec<u8>> {
    sample_ballots().map(encode).collect()
}

/// A consensus record: everything that is asked of one told by a peer, before it is known to be right.
pub fn record(data: &[u8]) -> bool {
    let Some(record) = canonical::<ConsensusRecord>(data, 256 << 10) else { return false };
    let voters = record.voters();
    let all: BTreeSet<PublicKey> = voters.iter().copied().collect();
    assert!(!record.is_quorum(&BTreeSet::new()), "nobody is no quorum");
    if record.is_quorum(&all) {
        assert!(!record.set.authorities.is_empty());
        assert!(all.contains(&record.set.proposer(Slot(u64::MAX)).key));
    }
    for change in record.ballots.iter().map(|ballot| &ballot.change) {
        let _ = record.set.admits(change);
    }
    let by = PublicKey([0; 32]);
    let ballot = Ballot { set_id: record.set.id, serial: 0, by, change: Change::Remove(by) };
    let _ = (record.admits_ballot(&ballot), record.root());
    record.is_quorum(&all)
}

/// Records before, in and after a hand-off.
pub fn record_seeds() -> Vec<Vec<u8>> {
    [0, 20, 49, 80, 116].map(|height| encode(&**sample().chain.record(Height(height)))).into()
}

/// A genesis file: one that passes the check starts a chain, and is the same when it is written and read again.
pub fn genesis(data: &[u8]) -> bool {
    let Ok(genesis) = serde_json::from_slice::<Genesis>(data) else { return false };
    let text = serde_json::to_vec(&genesis).expect("a genesis is plain data");
    let again: Genesis = serde_json::from_slice(&text).expect("it was just written");
    assert_eq!(again, genesis);
    let bytes = encode(&genesis);
    assert_eq!(canonical::<Genesis>(&bytes, bytes.len()).map(|read| read.hash()), Some(genesis.hash()));
    if genesis.check().is_err() {
        return false;
    }
    let _ = genesis.slot_at(genesis.slot_start(Slot(u64::MAX)));
    let header = genesis.header(Hash::ZERO);
    let record = ConsensusRecord::of_genesis(&genesis);
    assert_eq!(header.content.consensus_root, record.root());
    assert!(record.set.contains(&record.set.proposer(Slot(u64::MAX)).key));
    true
}

/// The sample's genesis.
pub fn genesis_seeds() -> Vec<Vec<u8>> {
    let mut small = sample().chain.chain.genesis.clone();
    small.grants.truncate(3);
    vec![serde_json::to_vec(&small).expect("a genesis is plain data")]
}

/// An index, a hash, and a proof that the header with that hash is there in the range before [`PIVOT`].
pub fn mmr_proof(data: &[u8]) -> bool {
    let Some((index, data)) =
        data.split_first_chunk().map(|(bytes, rest)| (u64::from_le_bytes(*bytes), rest))
    else {
        return false;
    };
    let Some((hash, data)) = data.split_first_chunk().map(|(bytes, rest)| (Hash(*bytes), rest)) else {
        return false;
    };
    let Some(proof) = canonical::<MmrProof>(data, MmrProof::MAX_LEN) else { return false };
    static ROOT: OnceLock<Hash> = OnceLock::new();
    let root = ROOT.get_or_init(|| sample().mmr_before(PIVOT).root());
    for count in [0, 1, PIVOT.0 - 1, PIVOT.0 + 1, u64::MAX] {
        assert!(!proof.verify(root, count, index, &hash), "a range has one length");
    }
    let proven = proof.verify(root, PIVOT.0, index, &hash);
    let there = usize::try_from(index).ok().and_then(|at| sample().hashes[..PIVOT.0 as usize].get(at));
    assert!(!proven || there == Some(&hash), "a forged place");
    proven
}

/// Proofs for a few headers.
pub fn mmr_proof_seeds() -> Vec<Vec<u8>> {
    let prover = sample().prover();
    let prove = |index: u64| {
        let header = |at: u64| sample().hashes.get(at as usize).copied();
        let proof = prover.prove(index, PIVOT.0, header).expect("all headers are there");
        [&index.to_le_bytes()[..], &sample().hashes[index as usize].0, &encode(&proof)].concat()
    };
    [0, 5, 63, 64, 95].map(prove).into()
}
