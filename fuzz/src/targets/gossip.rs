//! What peers tell each other unasked, and the list of peers that a relay serves.

use std::sync::OnceLock;

use libp2p::{Multiaddr, PeerId};
use weft_core::{
    chain::{Body, MAX_BLOCK_TRANSACTIONS, Transaction},
    gossip::{
        Announcement, Author, ChatRequest, ChatResponse, CompactBlock, MAX_LINES, MAX_PREFILLED_BYTES,
        MAX_TEXT_BYTES, Rebuild, ShortId, Symbol, Told, TxMode, TxRefusal, TxRequest, TxResponse, check_text,
    },
    peers::{MAX_NODE_LIST_BYTES, NodeList},
    primitives::{Hash, SecretKey, Wall, encode},
};

use crate::{canonical, sample::sample};

/// A question or an answer on `/tx/1`.
pub fn transactions(data: &[u8]) -> bool {
    let request = TxRequest::from_bytes(data).map(|request| assert_eq!(request.to_bytes(), data));
    let response = TxResponse::from_bytes(data).map(|response| assert_eq!(response.to_bytes(), data));
    request.is_ok() || response.is_ok()
}

/// One of each kind.
pub fn transactions_seeds() -> Vec<Vec<u8>> {
    let some: Vec<Transaction> = sample().chain.blocks[0].body.transactions.clone();
    let short = ShortId([3; 8]);
    let requests = [
        TxRequest::Hello { mode: TxMode::PushPull, salt: 5, min_fee_rate: 1000 },
        TxRequest::Push(some.clone()),
        TxRequest::Announce(vec![Announcement { short, size: 197 }]),
        TxRequest::Fetch(vec![short, short]),
        TxRequest::Sketch { offset: 7, count: 9 },
        TxRequest::FeeFilter(1000),
    ];
    let responses = [
        TxResponse::Done,
        TxResponse::Transactions(some),
        TxResponse::Symbols(vec![Symbol { ids: [1; 8], checksum: [2; 4], count: -3 }]),
        TxResponse::Refused(TxRefusal::Busy),
    ];
    let requests = requests.iter().map(TxRequest::to_bytes);
    requests.chain(responses.iter().map(TxResponse::to_bytes)).collect()
}

/// A block by short ids, for a peer that has all transactions of the sample: it comes to the block whose header it has, or to
/// none.
pub fn compact_block(data: &[u8]) -> bool {
    static POOL: OnceLock<Vec<(Hash, Transaction)>> = OnceLock::new();
    let blocks = &sample().chain.blocks;
    let pool = POOL.get_or_init(|| {
        let all = blocks.iter().flat_map(|block| &block.body.transactions);
        all.map(|transaction| (transaction.id(), transaction.clone())).collect()
    });
    let Some(compact) = canonical::<CompactBlock>(data, CompactBlock::MAX_LEN) else { return false };
    let (header, count, is_whole) = (compact.header.clone(), compact.len(), compact.short.is_empty());
    let prefilled = compact.prefilled.iter().map(|prefilled| prefilled.transaction.encoded_len());
    let prefilled: usize = prefilled.sum();
    let Ok(mut rebuild) = Rebuild::new(compact) else { return false };
    assert!(count <= MAX_BLOCK_TRANSACTIONS && (is_whole || prefilled <= MAX_PREFILLED_BYTES));
    rebuild.find(pool.iter().map(|(id, transaction)| (*id, transaction)));
    let missing = rebuild.missing();
    assert!(missing.len() <= count && missing.is_sorted_by(|a, b| a < b));
    let Ok(body) = rebuild.finish() else { return false };
    assert!(missing.is_empty() && body.check(&header).is_ok() && encode(&body).len() <= Body::MAX_LEN);
    let known = sample().has(&header).then(|| &blocks[header.height().0 as usize - 1].body);
    assert!(known.is_none_or(|known| *known == body), "another body for a known header");
    true
}

/// By short ids alone, with one whole transaction, and whole.
pub fn compact_block_seeds() -> Vec<Vec<u8>> {
    let blocks = &sample().chain.blocks;
    vec![
        encode(&CompactBlock::new(&blocks[0], |place| place == 1)),
        encode(&CompactBlock::new(&blocks[16], |_| false)),
        encode(&CompactBlock::whole(&blocks[1])),
    ]
}

/// A chat message, or a question or an answer about what was said.
pub fn chat(data: &[u8]) -> bool {
    let text = check_text(data).map(|text| {
        assert!(text.as_bytes() == data && (1..=MAX_TEXT_BYTES).contains(&data.len()));
        assert!(text.chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
    });
    let request = ChatRequest::from_bytes(data).map(|request| assert_eq!(request.to_bytes(), data));
    let response = ChatResponse::from_bytes(data).map(|response| {
        assert_eq!(response.to_bytes(), data);
        if let ChatResponse::Messages(messages) = &response {
            assert!(messages.len() <= MAX_LINES);
            assert!(messages.iter().all(|told| check_text(told.text.as_bytes()).is_ok()));
        }
    });
    text.is_ok() || request.is_ok() || response.is_ok()
}

/// The id of the peer that signs the lists.
pub(crate) fn peer(byte: u8) -> PeerId {
    let key = SecretKey::from_seed([byte; 32]).public();
    PeerId::from_bytes(&[&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20], &key.0[..]].concat()).expect("a peer's id")
}

/// A message, a question and an answer.
pub fn chat_seeds() -> Vec<Vec<u8>> {
    let told = |text: &str, sequence| Told {
        author: Author(peer(1)),
        sequence,
        text: text.to_owned(),
        at: 1_700_000_000_000,
    };
    let room = "lobby".parse().expect("a room's name");
    vec![
        "Grüße,\n\tWelt".as_bytes().to_vec(),
        ChatRequest::History { room, max: 256 }.to_bytes(),
        ChatResponse::Messages(vec![told("hi", Some(7)), told("ho", None)]).to_bytes(),
        ChatResponse::NotInRoom.to_bytes(),
    ]
}

const CHAIN: Hash = Hash([3; 32]);
const NOW: Wall = Wall(1_000);

fn signed_list() -> &'static NodeList {
    static LIST: OnceLock<NodeList> = OnceLock::new();
    LIST.get_or_init(|| {
        let address = |text: &str| text.parse::<Multiaddr>().expect("an address");
        let peers = [
            (peer(1), vec![address("/ip4/127.0.0.1/tcp/9001/ws")]),
            (peer(2), vec![address("/dns4/relay.example/tcp/443/wss"), address("/ip6/::1/udp/9/quic-v1")]),
        ];
        NodeList::sign(
            &SecretKey::from_seed([1; 32]),
            CHAIN,
            NOW,
            500,
            &peers,
            &[address("/ip4/192.0.2.1/udp/3478")],
        )
    })
}

/// A signed list of peers as JSON: nothing in it can be changed.
pub fn node_list(data: &[u8]) -> bool {
    if data.len() > MAX_NODE_LIST_BYTES {
        return false;
    }
    let Ok(list) = serde_json::from_slice::<NodeList>(data) else { return false };
    let Ok(peers) = list.verify(&CHAIN, NOW) else { return false };
    assert!(!peers.is_empty() && peers.iter().all(|(_, addresses)| !addresses.is_empty()));
    let known = signed_list();
    if list.signer == known.signer {
        // Hex digits may be of either case; all else is what was signed.
        assert_eq!(NodeList { signature: known.signature.clone(), ..list }, *known, "a forged list");
    }
    true
}

/// A list that is good.
pub fn node_list_seeds() -> Vec<Vec<u8>> {
    vec![serde_json::to_vec(signed_list()).expect("a list is plain data")]
}
