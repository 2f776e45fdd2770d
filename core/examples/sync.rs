//! How fast a chain's headers and the proof of its newest checkpoint are checked, against the signature checks alone.
//!
//! 21 authorities, one thread. *Headers* is all that a peer computes for a response of 1,024 headers: decode it, check that
//! they are linked, verify their signatures as one batch, and take each into the tree, which checks its place there. *Warp*
//! is all it computes for the proof over 1,000 hand-offs, in responses of the size that servers send: decode, follow the
//! records, verify the signatures. *Bare* is ed25519-zebra's batch verification of the same signatures in the same
//! batches. Both take turns; the results are ratios.

mod platform;

use std::sync::Arc;

use chacha20::ChaCha8Rng;
use ed25519_zebra::{VerificationKeyBytes, batch};
use platform::{millis, report, say};
use rand_core::SeedableRng;
use weft_core::{
    chain::{
        Authority, AuthoritySet, Certificate, Checkpoint, ConsensusRecord, Genesis, Header, Link, Mmr,
        OutgoingSet, PendingSet, UnsignedHeader, Vote,
    },
    finality::BlockTree,
    node::{Job, JobResult},
    primitives::{Address, Hash, Height, PublicKey, SecretKey, Signature, Slot, decode, encode},
    sync::{Fragment, MAX_HEADERS, MAX_PROOF_BYTES, Proven, SyncResponse},
};

const AUTHORITIES: u64 = 21;
const HAND_OFFS: u64 = 1_000;
const RESPONSES: usize = 8;
const ROUNDS: usize = 11;
/// How many bytes a header's signature is over, and a vote's.
const HEADER_MESSAGE: usize = 48 + Header::LEN - 64;
const VOTE_MESSAGE: usize = 48 + 80;

fn key(index: u64) -> SecretKey {
    SecretKey::from_seed(Hash::of(&index.to_le_bytes()).0)
}

fn authority(index: u64) -> Authority {
    Authority { key: key(index).public(), fee_address: Address([1; 32]) }
}

fn genesis() -> Genesis {
    Genesis {
        name: "bench".into(),
        time: 0,
        slot_millis: 1000,
        min_fee_per_byte: 1,
        authorities: (0..AUTHORITIES).map(authority).collect(),
        grants: Vec::new(),
    }
}

/// Signatures to be checked as one batch.
type Claims = Vec<(VerificationKeyBytes, ed25519_zebra::Signature, Vec<u8>)>;

/// As many claims by these keys as these, over messages of a length.
fn claims(signers: impl Iterator<Item = SecretKey>, length: usize) -> Claims {
    signers
        .zip(0_u64..)
        .map(|(key, nth)| {
            let mut message = vec![0; length];
            message[..8].copy_from_slice(&nth.to_le_bytes());
            let key = ed25519_zebra::SigningKey::from_bytes(&key.seed());
            (VerificationKeyBytes::from(&key), key.sign(&message), message)
        })
        .collect()
}

/// What verifying these alone took.
fn bare(claims: &Claims, rng: &mut ChaCha8Rng) -> f64 {
    let start = millis();
    let mut verifier = batch::Verifier::new();
    for (key, signature, message) in claims {
        verifier.queue((*key, *signature, message));
    }
    verifier.verify(rng).expect("signatures made here");
    millis() - start
}

fn is_right(job: &Job) -> bool {
    let JobResult::Verified(valid) = job.run() else { unreachable!("a verification verifies") };
    valid.into_iter().all(|valid| valid)
}

/// A chain's headers in encoded responses.
fn headers(genesis: &Genesis) -> Vec<Vec<u8>> {
    let (id, record) = (genesis.hash(), ConsensusRecord::of_genesis(genesis));
    let (mut mmr, mut parent) = (Mmr::default(), genesis.header(Hash::ZERO).hash());
    let mut header = |height: u64| {
        mmr.push(&parent);
        let roots = [Hash::ZERO, Hash::ZERO, Hash::ZERO, Hash::ZERO, record.root(), mmr.root()];
        let signer = key(height % AUTHORITIES);
        let unsigned = UnsignedHeader::new(Height(height), Slot(height), parent, roots, 0, signer.public());
        let header = unsigned.sign(&signer, &id);
        parent = header.hash();
        header
    };
    let all: Vec<Header> = (1..=(RESPONSES * MAX_HEADERS) as u64).map(&mut header).collect();
    all.chunks(MAX_HEADERS).map(|part| encode(&SyncResponse::Headers(part.to_vec()))).collect()
}

/// What taking in a response with headers took.
fn take_in(tree: &mut BlockTree, id: Hash, bytes: &[u8]) -> f64 {
    let start = millis();
    let Ok(SyncResponse::Headers(headers)) = decode(bytes, bytes.len()) else {
        unreachable!("headers made here")
    };
    let hashes = Header::linked(&headers).expect("each builds on the one before");
    let headers = Arc::new(headers);
    assert!(is_right(&Job::VerifyHeaders { genesis: id, headers: Arc::clone(&headers) }));
    for (hash, header) in hashes.into_iter().zip(headers.iter()) {
        tree.insert_hashed(hash, header.clone()).expect("each follows the one before");
    }
    millis() - start
}

/// The header of a checkpoint as far as a fragment speaks of it.
fn checkpoint(height: u64, record: &ConsensusRecord) -> Header {
    let roots = [Hash::ZERO, Hash::ZERO, Hash::ZERO, Hash::ZERO, record.root(), Hash::ZERO];
    let id = record.set.id;
    let content =
        UnsignedHeader::new(Height(height), Slot(height), Hash::ZERO, roots, id, PublicKey([0; 32]));
    Header { content, signature: Signature([0; 64]) }
}

/// The proof that a record's checkpoint is final, signed by everybody who may. The next checkpoint's record is `child`.
fn fragment(id: &Hash, height: u64, record: ConsensusRecord, mut child: ConsensusRecord) -> Fragment {
    let header = checkpoint(height, &record);
    let source = Checkpoint { height: header.height(), hash: header.hash() };
    child.justified = source;
    let next = checkpoint(height + 16, &child);
    let link = Link { source, target: Checkpoint { height: next.height(), hash: next.hash() } };
    let lowest = child.outgoing.as_ref().map_or(child.set.id, |outgoing| outgoing.set.id);
    let signers = (lowest..=child.set.id + AUTHORITIES).map(|index| {
        let vote = Vote::sign(link, &key(index), id);
        (vote.by, vote.signature)
    });
    let certificate = Certificate::assemble(link, &child, &signers.collect()).expect("all have signed");
    Fragment { checkpoint: header, record, child: next, child_record: child, certificate }
}

/// The proof over all hand-offs: in each the longest authority goes and another comes. One fragment shows the set that is
/// to come, and one is signed by both sets. In encoded responses.
fn proof(genesis: &Genesis) -> Vec<Vec<Fragment>> {
    let id = genesis.hash();
    let set =
        |nth: u64| AuthoritySet { id: nth, authorities: (nth..nth + AUTHORITIES).map(authority).collect() };
    let mut fragments = Vec::new();
    let mut record = ConsensusRecord::of_genesis(genesis);
    for nth in 1..=HAND_OFFS {
        let height = nth * 96;
        let decided = PendingSet { set: set(nth), since: Height(height - 5) };
        let waiting = ConsensusRecord { pending: Some(decided), outgoing: None, ..record };
        fragments.push(fragment(&id, height, waiting.clone(), waiting.clone()));
        let outgoing = OutgoingSet { set: waiting.set.clone(), since: Height(height + 33) };
        record = ConsensusRecord { set: set(nth), outgoing: Some(outgoing), pending: None, ..waiting };
        fragments.push(fragment(&id, height + 48, record.clone(), record.clone()));
    }
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for fragment in fragments {
        bytes += encode(&fragment).len();
        if bytes > MAX_PROOF_BYTES {
            parts.push(Vec::new());
            bytes = encode(&fragment).len();
        }
        parts.last_mut().expect("there is one").push(fragment);
    }
    parts
}

/// What following a response with fragments took.
fn follow(known: &mut Proven, id: Hash, bytes: &[u8]) -> f64 {
    let start = millis();
    let Ok(SyncResponse::Warp { fragments, .. }) = decode(bytes, bytes.len()) else {
        unreachable!("a proof made here")
    };
    *known = known.follow_all(&fragments).expect("a true proof");
    assert!(is_right(&Job::VerifyWarp { genesis: id, fragments: Arc::new(fragments) }));
    millis() - start
}

/// Both times of a round in which they take turns, response by response.
fn round(
    responses: &[Vec<u8>],
    batches: &[Claims],
    rng: &mut ChaCha8Rng,
    mut check: impl FnMut(&[u8]) -> f64,
) -> (f64, f64) {
    let turns = responses.iter().zip(batches).map(|(bytes, claims)| (check(bytes), bare(claims, rng)));
    turns.fold((0.0, 0.0), |sum, turn| (sum.0 + turn.0, sum.1 + turn.1))
}

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let genesis = genesis();
    let id = genesis.hash();

    let responses = headers(&genesis);
    let signers = || (0..MAX_HEADERS as u64).map(|nth| key(nth % AUTHORITIES));
    let batches: Vec<Claims> = (0..RESPONSES).map(|_| claims(signers(), HEADER_MESSAGE)).collect();
    let record = Arc::new(ConsensusRecord::of_genesis(&genesis));
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let mut tree = BlockTree::new(genesis.header(Hash::ZERO), Mmr::default(), Arc::clone(&record));
            round(&responses, &batches, &mut rng, |bytes| take_in(&mut tree, id, bytes))
        })
        .collect();
    let count = RESPONSES * MAX_HEADERS;
    say(&format!("{count} headers in {RESPONSES} responses, {AUTHORITIES} authorities, {ROUNDS} rounds"));
    report("headers", "bare signatures", rounds);

    let parts = proof(&genesis);
    let signers = |fragment: &Fragment| {
        let record = &fragment.child_record;
        let lowest = record.outgoing.as_ref().map_or(record.set.id, |outgoing| outgoing.set.id);
        (lowest..).take(fragment.certificate.signatures.len()).map(key)
    };
    let batches: Vec<Claims> =
        parts.iter().map(|part| claims(part.iter().flat_map(signers), VOTE_MESSAGE)).collect();
    let response = |fragments| encode(&SyncResponse::Warp { fragments, finished: false });
    let responses: Vec<Vec<u8>> = parts.into_iter().map(response).collect();
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let mut known = Proven::genesis(&genesis);
            let times = round(&responses, &batches, &mut rng, |bytes| follow(&mut known, id, bytes));
            assert_eq!(known.record.set.id, HAND_OFFS);
            times
        })
        .collect();
    let signatures: usize = batches.iter().map(Vec::len).sum();
    let bytes: usize = responses.iter().map(Vec::len).sum();
    say(&format!(
        "the proof over {HAND_OFFS} hand-offs of {AUTHORITIES} authorities: {signatures} signatures, {bytes} bytes in {} \
         responses, {ROUNDS} rounds",
        responses.len()
    ));
    report("warp", "bare signatures", rounds);
}
