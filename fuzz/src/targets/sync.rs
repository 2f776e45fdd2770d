//! What peers tell each other to catch up.

use weft_core::{
    chain::{ConsensusRecord, Header},
    node::Protocol,
    primitives::{Hash, Height, InclusionProof, SignatureBatch, encode},
    sync::{
        BlockDiff, BodiesRequest, BodiesResponse, Fragment, Journey, MAX_BODIES, PivotParts, Proven,
        SyncRequest, SyncResponse, SyncStatus, TransactionProof,
    },
};

use crate::{
    canonical,
    sample::{PIVOT, sample},
};

/// Fragments from the genesis on: nothing is proven final that is not, and no other set.
pub fn fragments(data: &[u8]) -> bool {
    let Some(fragments) = canonical::<Vec<Fragment>>(data, Protocol::Sync.max_response()) else {
        return false;
    };
    let sample = sample();
    let Ok(proven) = Proven::genesis(&sample.chain.chain.genesis).follow_all(&fragments) else {
        return false;
    };
    let mut batch = SignatureBatch::default();
    fragments.iter().for_each(|fragment| fragment.add_to_batch(&sample.genesis(), &mut batch));
    if !batch.verify() {
        return false;
    }
    let height = proven.checkpoint.height;
    if height > Height(0) {
        assert!(sample.fragments.iter().any(|known| known.checkpoint.height() == height));
        assert_eq!(proven.checkpoint, sample.checkpoint(height), "a forged checkpoint");
    }
    assert_eq!(proven.record, **sample.chain.record(height), "a forged set");
    true
}

/// All fragments of the sample, the fewest that lead to its end, and none.
pub fn fragments_seeds() -> Vec<Vec<u8>> {
    let all = &sample().fragments;
    let set = |fragment: &Fragment| fragment.record.set.id;
    let turns = all.iter().enumerate().filter(|(at, fragment)| {
        let last = at.checked_sub(1).map(|before| &all[before]);
        let pending = fragment.record.pending.is_some();
        *at + 1 == all.len() || last.is_some_and(|last| set(last) != set(fragment)) || pending
    });
    let turns: Vec<Fragment> = turns.map(|(_, fragment)| fragment.clone()).collect();
    vec![encode(all), encode(&turns), encode(&all[..1].to_vec()), encode(&Vec::<Fragment>::new())]
}

/// The headers and changes from one checkpoint to the next, in two parts: they lead there, or they are refused.
pub fn journey(data: &[u8]) -> bool {
    let Some((cut, data)) = data.split_first() else { return false };
    let Some(mut diffs) = canonical::<Vec<BlockDiff>>(data, Protocol::Sync.max_response()) else {
        return false;
    };
    let sample = sample();
    let mut journey = Journey::new(sample.checkpoint(Height(PIVOT.0 - 16)), sample.checkpoint(PIVOT));
    let rest = diffs.split_off(diffs.len().min((*cut).into()));
    if journey.add(diffs).is_err() || journey.add(rest).is_err() {
        return false;
    }
    let over = journey.is_over();
    let Some((header, passed, changes)) = journey.finish() else { return false };
    assert!(over && sample.has(&header) && header.height() == PIVOT);
    assert_eq!(passed, sample.hashes[PIVOT.0 as usize - 15..PIVOT.0 as usize]);
    for (key, account) in changes {
        assert_eq!(sample.accounts.get(&key).copied().unwrap_or_default(), account, "a forged account");
    }
    true
}

/// The sample's headers and changes before the pivot.
pub fn journey_seeds() -> Vec<Vec<u8>> {
    let block = |height: u64| {
        let height = Height(height);
        let chain = &sample().chain;
        BlockDiff { header: chain.header(height).clone(), accounts: chain.diff(height).forward().collect() }
    };
    let blocks: Vec<BlockDiff> = (PIVOT.0 - 15..=PIVOT.0).map(block).collect();
    [0, 5, 255].map(|cut| [&[cut][..], &encode(&blocks)].concat()).into()
}

/// An id, and a proof that the transaction with it is final at the pivot.
pub fn transaction_proof(data: &[u8]) -> bool {
    let Some((id, data)) = data.split_first_chunk().map(|(bytes, rest)| (Hash(*bytes), rest)) else {
        return false;
    };
    let Some(proof) = canonical::<TransactionProof>(data, TransactionProof::MAX_LEN) else { return false };
    let sample = sample();
    if proof.verify(sample.chain.header(PIVOT), &id).is_err() {
        return false;
    }
    let height = sample.transactions.get(&id).expect("a forged transaction");
    assert!(*height <= PIVOT && proof.header == *sample.chain.header(*height), "a forged place");
    assert_eq!(proof.transaction.id(), id);
    true
}

/// Proofs of transactions in early blocks, and in the checkpoint's own.
pub fn transaction_proof_seeds() -> Vec<Vec<u8>> {
    let (sample, prover) = (sample(), sample().prover());
    let prove = |(height, index): (u64, usize)| {
        let transactions = &sample.chain.blocks[height as usize - 1].body.transactions;
        let header = |at: u64| sample.hashes.get(at as usize).copied();
        let ancestry = (height < PIVOT.0).then(|| prover.prove(height, PIVOT.0, header));
        let proof = TransactionProof {
            transaction: transactions[index].clone(),
            header: sample.chain.header(Height(height)).clone(),
            inclusion: InclusionProof::make(transactions.iter().map(encode), index).expect("it is there"),
            ancestry: ancestry.map(|proof| proof.expect("all headers are there")),
        };
        [&transactions[index].id().0[..], &encode(&proof)].concat()
    };
    [(1, 0), (33, 2), (96, 1)].map(prove).into()
}

/// A header with its record, as the finalised checkpoint of this hash.
pub fn checkpoint(data: &[u8]) -> bool {
    let max = Protocol::Sync.max_response();
    let Some((header, record)) = canonical::<(Header, ConsensusRecord)>(data, max) else { return false };
    let wanted = sample().checkpoint(PIVOT);
    let Some(proven) = Proven::believed(&header, record).filter(|it| it.checkpoint == wanted) else {
        return false;
    };
    assert_eq!(proven.record, **sample().chain.record(PIVOT), "a forged record");
    true
}

/// The checkpoint that others start from.
pub fn checkpoint_seeds() -> Vec<Vec<u8>> {
    vec![encode(&(sample().chain.header(PIVOT).clone(), (**sample().chain.record(PIVOT)).clone()))]
}

/// What of the pivot is not in its header.
pub fn pivot(data: &[u8]) -> bool {
    let Some(parts) = canonical::<PivotParts>(data, Protocol::Sync.max_response()) else { return false };
    if !parts.are_of(sample().chain.header(PIVOT)) {
        return false;
    }
    assert_eq!(parts.mmr, sample().mmr_before(PIVOT), "a forged range");
    true
}

/// The pivot's.
pub fn pivot_seeds() -> Vec<Vec<u8>> {
    vec![encode(&PivotParts { mmr: sample().mmr_before(PIVOT) })]
}

/// A question on `/sync/1`.
pub fn request(data: &[u8]) -> bool {
    canonical::<SyncRequest>(data, Protocol::Sync.max_request()).is_some()
}

fn status() -> SyncStatus {
    let (sample, head) = (sample(), sample().chain.tip.head());
    SyncStatus {
        genesis: sample.genesis(),
        head: head.hash(),
        height: head.height(),
        finalised: sample.checkpoint(PIVOT),
        oldest: Height(0),
    }
}

/// One of each kind.
pub fn request_seeds() -> Vec<Vec<u8>> {
    let (hash, height) = (sample().hashes[96], PIVOT);
    let requests = [
        SyncRequest::Status(status()),
        SyncRequest::Headers { locator: vec![(height, hash), (Height(0), sample().hashes[0])], max: 1024 },
        SyncRequest::Warp { from: Height(0) },
        SyncRequest::Checkpoint { hash },
        SyncRequest::Pivot { hash },
        SyncRequest::Diffs { from: Height(80), to: sample().checkpoint(height) },
        SyncRequest::HeadersBefore { height, hash, max: 9 },
        SyncRequest::Account { pivot: hash, key: hash },
        SyncRequest::Range { pivot: hash, from: Hash::ZERO, to: hash },
        SyncRequest::Transaction { pivot: hash, id: hash },
        SyncRequest::BlockTransactions { block: hash, indices: vec![0, 2, 4_095] },
        SyncRequest::Ancestor { height, pivot: hash },
    ];
    requests.iter().map(encode).collect()
}

/// An answer on `/sync/1`.
pub fn response(data: &[u8]) -> bool {
    canonical::<SyncResponse>(data, Protocol::Sync.max_response()).is_some()
}

/// One of each kind.
pub fn response_seeds() -> Vec<Vec<u8>> {
    let sample = sample();
    let proof = |seeds: Vec<Vec<u8>>, skip: usize| seeds[0][skip..].to_vec();
    // The answer's number, whether there is one, and what the other targets take.
    let told = |kind: u8, proof: Vec<u8>| [&[kind, 1][..], &proof].concat();
    let headers: Vec<Header> = sample.chain.blocks[..8].iter().map(|block| block.header.clone()).collect();
    let record = (**sample.chain.record(PIVOT)).clone();
    let plain = [
        SyncResponse::Status(status()),
        SyncResponse::Headers(headers),
        SyncResponse::Busy,
        SyncResponse::Warp { fragments: sample.fragments[..2].to_vec(), finished: false },
        SyncResponse::Checkpoint(Some(Box::new((sample.chain.header(PIVOT).clone(), record)))),
        SyncResponse::Pivot(Some(PivotParts { mmr: sample.mmr_before(PIVOT) })),
        SyncResponse::Account(None),
        SyncResponse::BlockTransactions(Some(sample.chain.blocks[0].body.transactions.clone())),
    ];
    let mut seeds: Vec<Vec<u8>> = plain.iter().map(encode).collect();
    seeds.push([&[6][..], &proof(journey_seeds(), 1)].concat());
    seeds.push(told(8, proof(super::state::account_proof_seeds(), 32)));
    seeds.push(told(9, proof(super::state::range_proof_seeds(), 64)));
    seeds.push(told(10, proof(transaction_proof_seeds(), 32)));
    seeds.push(told(7, proof(super::chain::mmr_proof_seeds(), 8)));
    seeds
}

/// A question or an answer on `/archive/1`.
pub fn bodies(data: &[u8]) -> bool {
    let asked = canonical::<BodiesRequest>(data, Protocol::Archive.max_request());
    let answered = canonical::<BodiesResponse>(data, Protocol::Archive.max_response());
    if let Some(BodiesResponse(bodies)) = &answered {
        assert!(bodies.len() <= MAX_BODIES);
    }
    asked.is_some() || answered.is_some()
}

/// A question, and its answer.
pub fn bodies_seeds() -> Vec<Vec<u8>> {
    let keys = (1..4).map(|height| (Height(height), sample().hashes[height as usize])).collect();
    let bodies = sample().chain.blocks[..3].iter().map(|block| Some(encode(&block.body)));
    let response = BodiesResponse(bodies.chain([None]).collect());
    vec![encode(&BodiesRequest(keys)), encode(&response)]
}
