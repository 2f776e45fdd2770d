//! The messages of `/weft/<chain>/sync/1` and `/weft/<chain>/archive/1`.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{ancestor::Ancestor, transaction::TransactionProof, warp::Fragment};
use crate::{
    chain::{Certificate, Checkpoint, ConsensusRecord, Header, Mmr, Transaction},
    primitives::{Hash, Height, at_most},
    state::{Account, AccountProof, RangeProof},
};

/// The most headers in one response: 345 bytes each.
pub const MAX_HEADERS: usize = 1024;
/// The most entries of a locator: enough for 2^30 blocks at doubling distances.
pub const MAX_LOCATOR: usize = 40;
/// The most bodies in one request.
pub const MAX_BODIES: usize = 16;
/// A server stops adding bodies once a response has so many bytes; one more body may take it past that.
pub const SOFT_RESPONSE_BYTES: usize = 2 << 20;

/// The most transactions of a block in one request: 431 KB of them. Who lacks more downloads the body.
pub const MAX_MISSING: usize = 1024;

/// A server stops adding fragments or changes to a response before it has more than so many bytes; the first is always in it.
pub const MAX_PROOF_BYTES: usize = 384 << 10;

/// The most certificates in one response: with 256 authorities in three sets 80 KiB each.
pub const MAX_CERTIFICATES: usize = 4;

/// The most accounts in one response: 240 KB.
pub const MAX_RANGE_LEAVES: usize = 5_000;

/// Where a peer is on the chain.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct SyncStatus {
    /// The whole genesis hash, of which the protocol's name carries only a part.
    pub genesis: Hash,
    /// The best executed block.
    pub head: Hash,
    /// Its height.
    pub height: Height,
    /// The finalised checkpoint.
    pub finalised: Checkpoint,
    /// The lowest block whose header and body it can serve; 0 for all.
    pub oldest: Height,
}

/// The hashes of these headers if they can be the answer to a question with this locator: at most [`MAX_HEADERS`], each building on
/// the one before it, and the first on one of its blocks or, from a peer on a branch that left ours below the last of them, on the
/// genesis block.
#[must_use]
pub fn follow(locator: &[(Height, Hash)], headers: &[Header]) -> Option<Vec<Hash>> {
    let to_genesis = locator.last().is_some_and(|(height, _)| *height == Height(0));
    let anchored = headers.first().is_none_or(|first| {
        locator.iter().any(|(_, hash)| *hash == first.content.parent)
            || first.height() == Height(1) && !to_genesis
    });
    if anchored && headers.len() <= MAX_HEADERS { Header::linked(headers) } else { None }
}

/// A question about status or headers.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SyncRequest {
    /// I am here; where are you? Answered with [`SyncResponse::Status`].
    Status(SyncStatus),
    /// The headers of your best chain after the highest of these blocks that is on it, or after the genesis block.
    /// Answered with [`SyncResponse::Headers`].
    Headers {
        /// Blocks of the asker's best chain, highest first, at growing distances; at most [`MAX_LOCATOR`].
        locator: Vec<(Height, Hash)>,
        /// The most headers wanted; at most [`MAX_HEADERS`].
        max: u32,
    },
    /// The proof that checkpoints above this height are final. Answered with [`SyncResponse::Warp`].
    Warp {
        /// The height of the last checkpoint that the asker knows to be final.
        from: Height,
    },
    /// The finalised checkpoint with this hash. Answered with [`SyncResponse::Checkpoint`].
    Checkpoint {
        /// The header's hash.
        hash: Hash,
    },
    /// What it takes to go on from the finalised checkpoint with this hash. Answered with [`SyncResponse::Pivot`].
    Pivot {
        /// The header's hash.
        hash: Hash,
    },
    /// How the accounts came from one block of the finalised chain to a later one. Answered with [`SyncResponse::Diffs`].
    Diffs {
        /// The height of the block whose accounts the asker has.
        from: Height,
        /// The finalised checkpoint that the asker is going to.
        to: Checkpoint,
    },
    /// The headers before a block of the finalised chain. Answered with [`SyncResponse::Headers`].
    HeadersBefore {
        /// The block's height.
        height: Height,
        /// Its hash.
        hash: Hash,
        /// The most headers wanted; at most [`MAX_HEADERS`].
        max: u32,
    },
    /// Which block is on the way to a finalised checkpoint at some height. Answered with [`SyncResponse::Ancestor`].
    Ancestor {
        /// The block's height: below the checkpoint's.
        height: Height,
        /// The checkpoint's hash.
        pivot: Hash,
    },
    /// One account after a finalised checkpoint. Answered with [`SyncResponse::Account`].
    Account {
        /// The checkpoint's hash.
        pivot: Hash,
        /// The account's key in the trie.
        key: Hash,
    },
    /// All accounts between two keys after a finalised checkpoint. Answered with [`SyncResponse::Range`].
    Range {
        /// The checkpoint's hash.
        pivot: Hash,
        /// The first key.
        from: Hash,
        /// The last key.
        to: Hash,
    },
    /// A transaction in a block up to a finalised checkpoint. Answered with [`SyncResponse::Transaction`].
    Transaction {
        /// The checkpoint's hash.
        pivot: Hash,
        /// The transaction's id.
        id: Hash,
    },
    /// Transactions of a block that the asked peer has announced. Answered with [`SyncResponse::BlockTransactions`].
    BlockTransactions {
        /// The hash of the block's header.
        block: Hash,
        /// Their places in the block, in order; at most [`MAX_MISSING`].
        #[borsh(deserialize_with = "at_most::<MAX_MISSING, _, _>")]
        indices: Vec<u16>,
    },
    /// The certificates that lead to or past this height, of a checkpoint that the asker or the asked calls final and the other does
    /// not have. Answered with [`SyncResponse::Certificates`].
    Certificates {
        /// The height of the lower of the two sides' checkpoints.
        around: Height,
    },
}

/// An answer to a [`SyncRequest`].
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum SyncResponse {
    /// Where the answering peer is.
    Status(SyncStatus),
    /// Headers in order, each the parent of the next; empty when there are none past the locator.
    Headers(Vec<Header>),
    /// The peer cannot answer now, because it is starting or its disk failed; it may be asked again later.
    Busy,
    /// Fragments, lowest first: those at which a pending set appears or a new set is in force for the first time, and the
    /// newest. Empty when the peer knows nothing above the asker's checkpoint. At most [`MAX_PROOF_BYTES`] after the first.
    Warp {
        /// The fragments.
        fragments: Vec<Fragment>,
        /// Whether the last one is the newest the peer has.
        finished: bool,
    },
    /// The checkpoint and its record; `None` when it is not finalised here, or its record is not kept any more.
    Checkpoint(Option<Box<(Header, ConsensusRecord)>>),
    /// `None` when the state of this checkpoint is not served, or no longer.
    Pivot(Option<PivotParts>),
    /// In order, beginning with the block after the asker's and not beyond the checkpoint it named; empty when the peer does
    /// not have them, or no longer. At most [`MAX_PROOF_BYTES`] after the first.
    Diffs(Vec<BlockDiff>),
    /// The block's hash with a proof of its place; `None` when the state of this checkpoint is not served, or the peer does not
    /// have the headers that the proof takes.
    Ancestor(Option<Box<Ancestor>>),
    /// The proof of what the account is, or that there is none; `None` when the state of this checkpoint is not served, or
    /// no longer.
    Account(Option<AccountProof>),
    /// The first of these accounts, at most [`MAX_RANGE_LEAVES`], with a proof that there are no others between; `None` when
    /// the state of this checkpoint is not served, or no longer.
    Range(Option<RangeProof>),
    /// The proof that the transaction is final; `None` when the state of this checkpoint is not served, or the transaction is
    /// not in any block that the peer remembers up to there, which proves nothing.
    Transaction(Option<Box<TransactionProof>>),
    /// The transactions asked for, in order; `None` when the peer cannot or will not have them: it did not announce the block, or
    /// what it announced was not right.
    BlockTransactions(Option<Vec<Transaction>>),
    /// Certificates with the records of their targets, at most [`MAX_CERTIFICATES`].
    Certificates(
        #[borsh(deserialize_with = "at_most::<MAX_CERTIFICATES, _, _>")] Vec<(Certificate, ConsensusRecord)>,
    ),
}

/// What of a checkpoint cannot be told from its header, which commits to it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct PivotParts {
    /// The mountain range over all earlier headers.
    pub mmr: Mmr,
}

impl PivotParts {
    /// Whether these are the parts of the checkpoint with this header.
    #[must_use]
    pub fn are_of(&self, checkpoint: &Header) -> bool {
        self.mmr.count() == checkpoint.height().0 && self.mmr.root() == checkpoint.content.mmr_root
    }
}

/// What one block changed. The header commits to it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BlockDiff {
    /// The block's header.
    pub header: Header,
    /// The accounts it changed, sorted by key, as they are after it.
    pub accounts: Vec<(Hash, Account)>,
}

/// A question for bodies: at most [`MAX_BODIES`] of them.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BodiesRequest(pub Vec<(Height, Hash)>);

/// The encoded bodies in the order asked for; `None` for one the peer does not have; shorter than the question when the
/// response would grow too large.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct BodiesResponse(
    // A `None` is one byte here and many in memory.
    #[borsh(deserialize_with = "at_most::<MAX_BODIES, _, _>")] pub Vec<Option<Vec<u8>>>,
);

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;
    use crate::{
        chain::{AuthoritySet, Link, MmrProver, UnsignedHeader, UnsignedTransaction},
        primitives::{Address, Amount, PublicKey, Signature, Slot, decode, encode},
    };

    #[test]
    fn golden_bytes() {
        let status = SyncStatus {
            genesis: Hash([1; 32]),
            head: Hash([2; 32]),
            height: Height(3),
            finalised: Checkpoint { height: Height(4), hash: Hash([5; 32]) },
            oldest: Height(6),
        };
        let status_bytes = format!(
            "{}{}0300000000000000{}{}0600000000000000",
            "01".repeat(32),
            "02".repeat(32),
            "0400000000000000",
            "05".repeat(32)
        );
        assert_eq!(hex::encode(encode(&SyncRequest::Status(status.clone()))), format!("00{status_bytes}"));
        assert_eq!(hex::encode(encode(&SyncResponse::Status(status))), format!("00{status_bytes}"));
        let headers = SyncRequest::Headers { locator: vec![(Height(1), Hash([7; 32]))], max: 9 };
        assert_eq!(
            hex::encode(encode(&headers)),
            format!("01010000000100000000000000{}09000000", "07".repeat(32))
        );
        assert_eq!(encode(&SyncResponse::Headers(Vec::new())), [1, 0, 0, 0, 0]);
        assert_eq!(encode(&SyncResponse::Busy), [2]);
        let bodies = BodiesRequest(vec![(Height(1), Hash([7; 32]))]);
        assert_eq!(hex::encode(encode(&bodies)), format!("010000000100000000000000{}", "07".repeat(32)));
        assert_eq!(encode(&BodiesResponse(vec![None, Some(vec![8])])), [2, 0, 0, 0, 0, 1, 1, 0, 0, 0, 8]);
    }

    #[test]
    fn golden_bytes_of_proofs() {
        let (three, hash) = ("0300000000000000", "07".repeat(32));
        let to = Checkpoint { height: Height(3), hash: Hash([7; 32]) };
        let request = |request| hex::encode(encode::<SyncRequest>(&request));
        assert_eq!(request(SyncRequest::Warp { from: to.height }), format!("02{three}"));
        assert_eq!(request(SyncRequest::Checkpoint { hash: to.hash }), format!("03{hash}"));
        assert_eq!(request(SyncRequest::Pivot { hash: to.hash }), format!("04{hash}"));
        assert_eq!(request(SyncRequest::Diffs { from: to.height, to }), format!("05{three}{three}{hash}"));
        let before = SyncRequest::HeadersBefore { height: to.height, hash: to.hash, max: 9 };
        assert_eq!(request(before), format!("06{three}{hash}09000000"));
        let ancestor = SyncRequest::Ancestor { height: to.height, pivot: to.hash };
        assert_eq!(request(ancestor), format!("07{three}{hash}"));
        let account = SyncRequest::Account { pivot: to.hash, key: Hash([8; 32]) };
        assert_eq!(request(account), format!("08{hash}{}", "08".repeat(32)));
        let range = SyncRequest::Range { pivot: to.hash, from: Hash([8; 32]), to: Hash([9; 32]) };
        assert_eq!(request(range), format!("09{hash}{}{}", "08".repeat(32), "09".repeat(32)));
        let transaction = SyncRequest::Transaction { pivot: to.hash, id: Hash([8; 32]) };
        assert_eq!(request(transaction), format!("0a{hash}{}", "08".repeat(32)));

        let response = |response| hex::encode(encode::<SyncResponse>(&response));
        assert_eq!(response(SyncResponse::Warp { fragments: Vec::new(), finished: true }), "030000000001");
        assert_eq!(response(SyncResponse::Checkpoint(None)), "0400");
        let mmr = Mmr::from_peaks(4, vec![to.hash]).unwrap();
        let peaks = format!("05010400000000000000{hash}");
        assert_eq!(response(SyncResponse::Pivot(Some(PivotParts { mmr }))), peaks);
        let content = UnsignedHeader::new(to.height, Slot(1), to.hash, [to.hash; 6], 0, PublicKey([0; 32]));
        let header = Header { content, signature: Signature([0; 64]) };
        let account = Account { nonce: 3, balance: Amount(3) };
        let diff = BlockDiff { header: header.clone(), accounts: vec![(to.hash, account)] };
        let bytes = format!("0601000000{}01000000{hash}{three}{three}", hex::encode(encode(&header)));
        assert_eq!(response(SyncResponse::Diffs(vec![diff])), bytes);
        assert_eq!(response(SyncResponse::Ancestor(None)), "0700");
        let proof = MmrProver::default().prove(0, 3, |_| Some(to.hash)).unwrap();
        let beside = hex::encode(Hash::of(&[&[0][..], &to.hash.0].concat()).0);
        let ancestor = SyncResponse::Ancestor(Some(Box::new(Ancestor { hash: to.hash, proof })));
        assert_eq!(response(ancestor), format!("0701{hash}01000000{beside}01000000{beside}"));
        assert_eq!(response(SyncResponse::Account(None)), "0800");
        assert_eq!(response(SyncResponse::Range(None)), "0900");
        assert_eq!(response(SyncResponse::Transaction(None)), "0a00");

        assert_eq!(request(SyncRequest::Certificates { around: to.height }), format!("0c{three}"));
        let certificate = Certificate { link: Link { source: to, target: to }, signatures: Vec::new() };
        let set = AuthoritySet { id: 0, authorities: Vec::new() };
        let (outgoing, pending, ballots) = (None, None, Vec::new());
        let record = ConsensusRecord { set, outgoing, pending, ballots, justified: to, finalised: to };
        let pair = format!("{three}{hash}{three}{hash}00000000{}", hex::encode(encode(&record)));
        let certificates =
            |count| SyncResponse::Certificates(vec![(certificate.clone(), record.clone()); count]);
        assert_eq!(response(certificates(1)), format!("0c01000000{pair}"));
        let most = encode(&certificates(MAX_CERTIFICATES));
        assert!(decode::<SyncResponse>(&most, 1 << 14).is_ok());
        assert!(decode::<SyncResponse>(&encode(&certificates(MAX_CERTIFICATES + 1)), 1 << 14).is_err());
    }

    #[test]
    fn headers_follow_what_was_asked_for_or_the_genesis() {
        let after = |height: u64, parent: u8| {
            let content = UnsignedHeader::new(
                Height(height),
                Slot(1),
                Hash([parent; 32]),
                [Hash::ZERO; 6],
                0,
                PublicKey([0; 32]),
            );
            [Header { content, signature: Signature([0; 64]) }]
        };
        let whole = [(Height(5), Hash([5; 32])), (Height(0), Hash([9; 32]))];
        let pruned = &whole[..1];
        let fits = |locator, headers: &[Header]| follow(locator, headers).is_some();
        assert!(fits(&whole, &[]) && fits(&whole, &after(6, 5)) && fits(&whole, &after(1, 9)));
        assert!(!fits(&whole, &after(6, 4)) && !fits(&whole, &after(1, 8)));
        assert!(fits(pruned, &after(1, 8)), "who has no genesis block cannot tell");
        assert!(!fits(pruned, &after(2, 8)));
    }

    #[test]
    fn golden_bytes_of_what_a_block_lacks() {
        let request = |indices| encode(&SyncRequest::BlockTransactions { block: Hash([7; 32]), indices });
        let bytes = format!("0b{}0200000001000101", "07".repeat(32));
        assert_eq!(hex::encode(request(vec![1, 257])), bytes);
        assert!(decode::<SyncRequest>(&request(vec![0; MAX_MISSING]), 1 << 14).is_ok());
        assert!(decode::<SyncRequest>(&request(vec![0; MAX_MISSING + 1]), 1 << 14).is_err());

        let response = |transactions| encode(&SyncResponse::BlockTransactions(transactions));
        assert_eq!(response(None), [11, 0]);
        let content = UnsignedTransaction::transfer(
            PublicKey([1; 32]),
            Address([2; 32]),
            Amount(3),
            Amount(4),
            5,
            Slot(6),
        );
        let transaction = Transaction { content, signature: Signature([0; 64]) };
        let bytes = format!("0b0101000000{}", hex::encode(encode(&transaction)));
        assert_eq!(hex::encode(response(Some(vec![transaction]))), bytes);
    }

    #[test]
    fn unknown_kinds_and_truncated_messages_are_refused() {
        let whole = encode(&SyncRequest::Headers { locator: vec![(Height(1), Hash::ZERO)], max: 9 });
        assert!(decode::<SyncRequest>(&whole, 1000).is_ok());
        for cut in 0..whole.len() {
            assert!(decode::<SyncRequest>(&whole[..cut], 1000).is_err());
        }
        assert!(decode::<SyncRequest>(&[99], 1000).is_err());
    }
}
