//! Bad input on every protocol and topic: refused or ignored as it deserves, blamed on nobody else, and survived.

use weft_core::{
    chain::{Block, Checkpoint, Transaction, UnsignedTransaction},
    content::ContentRequest,
    gossip::{Topic, TxRequest},
    node::{Command, Input, Output, Protocol, Reply},
    peers::PeersRequest,
    primitives::{Amount, Hash, Height, Now, Slot, decode, encode},
    sync::{BodiesResponse, SyncRequest, SyncResponse, SyncStatus},
};
use weft_testnet::{
    fixture::{TestChain, address, key},
    sim::{EPOCH, NodeOptions},
};

use crate::{
    siege::{Blame, Siege, payment},
    town::{SLOT, Town, seeds},
};

#[test]
fn bad_requests_are_refused_and_answers_never_owed() {
    let mut siege = Siege::new(2);
    siege.goes_on(Vec::new());
    let status = encode(&SyncRequest::Headers { locator: vec![(Height(0), Hash::ZERO)], max: 9 });
    let push = TxRequest::Push(vec![payment(&siege, |_| {})]).to_bytes();
    for protocol in Protocol::ALL {
        let valid = match protocol {
            Protocol::Sync => status.clone(),
            Protocol::Archive => encode(&vec![(Height(1), Hash::ZERO)]),
            Protocol::Transactions => push.clone(),
            Protocol::Chat => vec![1, 0, 0, 0, b'x'],
            Protocol::Peers => encode(&PeersRequest { chain: Hash::ZERO, own: None }),
            Protocol::Content => encode(&ContentRequest::Chunk { content: Hash::ZERO, index: 0 }),
            // Who is in the namespace `a`?
            Protocol::Rendezvous => vec![8, 3, 42, 3, 10, 1, b'a'],
        };
        let most = protocol.max_request();
        let mut bad = vec![Vec::new(), vec![0xff; most.min(64)], vec![0xff; most]];
        bad.push([valid.as_slice(), &[0]].concat());
        if protocol != Protocol::Chat {
            bad.push(valid[..valid.len() - 1].to_vec());
        }
        // What is longer is not read at all.
        bad.retain(|body| body.len() <= most);
        for body in bad {
            let intruder = siege.mute();
            let what = format!("{protocol:?}, {} bytes", body.len());
            siege.request(intruder, protocol, body);
            let blame = siege.blame(intruder);
            assert_eq!(blame.offences.get("malformed"), Some(&1), "{what}: {blame:?}");
            siege.world.kill(intruder);
        }
        let intruder = siege.mute();
        let before = siege.world.seen(siege.victim).oversized;
        siege.request(intruder, protocol, vec![0; protocol.max_request() + 1]);
        assert_eq!(siege.world.seen(siege.victim).oversized, before + 1, "{protocol:?}");
        assert_eq!(siege.blame(intruder).offences.get("malformed"), Some(&1), "{protocol:?}");
        siege.world.kill(intruder);
        assert_eq!(siege.world.unanswered(siege.victim), 0, "{protocol:?}");
    }
    siege.goes_on(Vec::new());
}

#[test]
fn bad_payments_stay_out_of_the_pool_and_only_what_no_honest_peer_sends_is_blamed() {
    let mut siege = Siege::new(3);
    let to = address(&key("shop", 0));
    siege.goes_on(vec![siege.chain.transfer(0, to, 0)]);
    siege.goes_on(vec![siege.chain.transfer(0, to, 1)]);
    let forged = {
        let mut forged = payment(&siege, |payment| payment.nonce = 2);
        forged.content.amount.0 += 1;
        forged
    };
    let foreign = {
        let mut content = siege.chain.unsigned(0, to, 2);
        content.amount = Amount(3);
        content.sign(&siege.chain.accounts[0], &Hash::ZERO)
    };
    let next = |siege: &Siege, change: fn(&mut UnsignedTransaction)| {
        payment(siege, |payment| {
            payment.nonce = 2;
            change(payment);
        })
    };
    let cases: [(&str, Transaction, Option<&str>); 8] = [
        ("a forged signature", forged, Some("banned")),
        ("another chain's", foreign, Some("banned")),
        ("a low fee", next(&siege, |payment| payment.fee = Amount(3)), Some("invalid-transaction")),
        (
            "an overflow",
            next(&siege, |payment| payment.amount = Amount(u64::MAX)),
            Some("invalid-transaction"),
        ),
        (
            "a memo too long",
            next(&siege, |payment| {
                payment.memo = vec![7; 257];
                payment.fee = Amount(9_999);
            }),
            Some("invalid-transaction"),
        ),
        ("a stale nonce", payment(&siege, |payment| payment.amount = Amount(8)), None),
        ("an overdraft", next(&siege, |payment| payment.amount = Amount(2 * TestChain::GRANT)), None),
        ("an expired one", next(&siege, |payment| payment.valid_until = Slot(0)), None),
    ];
    for (name, transaction, expected) in cases {
        let intruder = siege.mute();
        siege.request(intruder, Protocol::Transactions, TxRequest::Push(vec![transaction]).to_bytes());
        let blame = siege.blame(intruder);
        match expected {
            Some("banned") => assert!(blame.banned, "{name}: {blame:?}"),
            Some(offence) => assert_eq!(blame.offences.get(offence), Some(&1), "{name}: {blame:?}"),
            None => assert_eq!(blame, Blame::none(), "{name}"),
        }
        let chain = siege.world.chain(siege.victim);
        assert_eq!((chain.pending, chain.queued), (0, 0), "{name} is in the pool");
        siege.world.kill(intruder);
    }
    siege.goes_on(vec![siege.chain.transfer(0, to, 2)]);
}

#[test]
fn a_flood_of_payments_stays_within_the_pools_bound_and_cannot_keep_good_ones_out() {
    let mut siege = Siege::new(4);
    siege.goes_on(Vec::new());
    let to = address(&key("shop", 0));
    let intruder = siege.mute();
    for account in 0..19 {
        let flood = (0..40)
            .map(|nonce| {
                let mut content = siege.chain.unsigned(account, to, nonce);
                content.memo = vec![1; 250];
                content.fee = Amount(500);
                content.sign(&siege.chain.accounts[account], &siege.chain.hash())
            })
            .collect();
        siege.request(intruder, Protocol::Transactions, TxRequest::Push(flood).to_bytes());
    }
    siege.world.check_all();
    let (victim, bystander) = (siege.victim, siege.bystander);
    let chain = siege.world.chain(victim);
    assert!(chain.pending > 50, "{} payments are waiting", chain.pending);
    let good = siege.chain.transfer_for(19, to, 0, 5_000);
    siege.world.submit(bystander, good.clone()).unwrap();
    siege.world.run_for(3_000);
    let Ok(Reply::Mempool(pool)) = siege.world.command(victim, Command::Mempool(1)) else {
        panic!("no mempool");
    };
    assert_eq!(pool.best.first().map(|best| best.id), Some(good.id()), "the best one is first");
}

fn status(chain: &TestChain, height: u64) -> SyncStatus {
    let finalised = Checkpoint { height: Height(0), hash: chain.hash() };
    SyncStatus {
        genesis: chain.hash(),
        head: Hash([7; 32]),
        height: Height(height),
        finalised,
        oldest: Height(0),
    }
}

#[test]
fn one_who_names_another_genesis_on_our_protocol_is_banned() {
    let mut siege = Siege::new(5);
    let mut other = status(&siege.chain, 5);
    other.genesis = Hash([1; 32]);
    let intruder = siege.mute();
    siege.request(intruder, Protocol::Sync, encode(&SyncRequest::Status(other)));
    assert!(siege.blame(intruder).banned);
    siege.goes_on(Vec::new());
}

#[test]
fn peers_of_another_chain_are_left_alone_and_can_still_chat() {
    let mut siege = Siege::new(6);
    let other = TestChain::new(EPOCH, 999, 1, 1);
    let options = NodeOptions {
        genesis: Some(other.genesis.clone()),
        bootstrap: vec![siege.victim],
        ..NodeOptions::default()
    };
    let foreigner = siege.world.add_node(options);
    siege.world.run_for(30_000);
    siege.world.check_all();
    let room: weft_core::gossip::Room = "lobby".parse().unwrap();
    let victim = siege.victim;
    siege.world.command(victim, Command::Join(room.clone())).unwrap();
    siege.world.command(foreigner, Command::Say(room, "hello from abroad".to_owned())).unwrap();
    siege.world.run_for(2_000);
    let heard: Vec<_> = siege.world.seen(victim).chat.iter().map(|line| line.text.clone()).collect();
    assert_eq!(heard, ["hello from abroad"]);
    siege.goes_on(Vec::new());
}

#[test]
fn chat_that_is_no_text_is_not_passed_on() {
    let mut siege = Siege::new(7);
    let room: weft_core::gossip::Room = "lobby".parse().unwrap();
    for ix in [siege.victim, siege.bystander] {
        siege.world.command(ix, Command::Join(room.clone())).unwrap();
    }
    let intruder = siege.mute();
    for (count, data) in [vec![0xff, 0xfe], Vec::new(), vec![b'x'; 100_000]].into_iter().enumerate() {
        siege.world.act(intruder, Output::Publish { topic: Topic::Chat(room.clone()), data });
        siege.world.run_for(1_000);
        assert_eq!(siege.blame(intruder).rejected, count as u64 + 1);
    }
    assert!(siege.world.seen(siege.bystander).chat.is_empty());
    siege.goes_on(Vec::new());
}

/// A way to answer what the victim asks.
type Answer = (&'static str, Option<&'static str>, fn(&TestChain, Protocol, &[u8]) -> Option<Vec<u8>>);

fn tall(chain: &TestChain) -> Vec<u8> {
    encode(&SyncResponse::Status(status(chain, 1_000_000)))
}

fn asks_status(body: &[u8]) -> bool {
    matches!(decode(body, usize::MAX), Ok(SyncRequest::Status(_)))
}

const BAD_ANSWERS: &[Answer] = &[
    ("noise", Some("malformed"), |_, _, _| Some(vec![0xa5; 99])),
    ("nothing at all", Some("malformed"), |_, _, _| Some(Vec::new())),
    ("silence", None, |_, _, _| None),
    ("too much", Some("unrequested"), |_, protocol, _| Some(vec![0; protocol.max_response() + 1])),
    ("the answer to another question", Some("unrequested"), |chain, _, body| {
        Some(match asks_status(body) {
            true => encode(&SyncResponse::Headers(Vec::new())),
            false => tall(chain),
        })
    }),
    ("a height it cannot show", None, |chain, protocol, body| {
        (protocol == Protocol::Sync).then(|| match asks_status(body) {
            true => tall(chain),
            false => encode(&SyncResponse::Headers(Vec::new())),
        })
    }),
    ("busy for ever", None, |chain, protocol, body| {
        let busy = || if asks_status(body) { tall(chain) } else { encode(&SyncResponse::Busy) };
        (protocol == Protocol::Sync).then(busy)
    }),
    ("headers without a link", Some("unrequested"), |chain, _, body| {
        let header = chain.genesis.header(Hash::ZERO);
        let headers = vec![header.clone(), header];
        Some(if asks_status(body) { tall(chain) } else { encode(&SyncResponse::Headers(headers)) })
    }),
    ("headers without end", Some("unrequested"), |chain, _, body| {
        let headers = vec![chain.genesis.header(Hash::ZERO); 1_100];
        Some(if asks_status(body) { tall(chain) } else { encode(&SyncResponse::Headers(headers)) })
    }),
    ("a forged header", Some("banned"), |chain, _, body| {
        let maker = weft_testnet::fixture::ChainMaker::new(chain);
        let (unsigned, ..) = maker.draft(Slot(1), Vec::new());
        let header = unsigned.sign(&chain.accounts[0], &chain.hash());
        Some(if asks_status(body) { tall(chain) } else { encode(&SyncResponse::Headers(vec![header])) })
    }),
];

#[test]
fn bad_answers_are_charged_to_the_one_who_gave_them() {
    for (name, expected, answer) in BAD_ANSWERS {
        let mut siege = Siege::new(8);
        siege.world.run_for(2_000);
        let chain = siege.chain.clone();
        let intruder = siege.intruder(move |_, input, outputs| {
            if let Input::Request { id, protocol, body, .. } = input {
                outputs.extend(answer(&chain, protocol, &body).map(|body| Output::Respond { id, body }));
            }
        });
        siege.world.run_for(3_000);
        let blame = siege.blame(intruder);
        let gone = !siege.world.is_connected(siege.victim, intruder);
        match expected {
            Some("banned") => assert!(blame.banned, "{name}: {blame:?}"),
            Some(offence) => {
                assert!(blame.offences.contains_key(*offence) || gone, "{name}: {blame:?}");
            }
            None => {
                siege.world.run_for(60_000);
                assert_eq!(siege.blame(intruder), Blame::none(), "{name}");
            }
        }
        siege.goes_on(Vec::new());
    }
}

#[test]
fn a_validator_cannot_outrun_the_others_with_blocks_of_slots_to_come() {
    let mut siege = Siege::new(9);
    for _ in 0..3 {
        siege.goes_on(Vec::new());
    }
    let mut ahead = siege.maker.clone();
    let first = (siege.slot().0 / 3 + 10) * 3;
    let blocks: Vec<Block> =
        (0..40).map(|turn| ahead.extend_at(Slot(first + 3 * turn), Vec::new())).collect();
    let chain = siege.chain.clone();
    let intruder = siege.intruder(move |_, input, outputs| {
        let Input::Request { id, protocol, body, .. } = input else { return };
        let last = blocks.last().expect("there are some");
        let body = match protocol {
            Protocol::Sync if asks_status(&body) => {
                let mut status = status(&chain, last.header.height().0);
                status.head = last.header.hash();
                encode(&SyncResponse::Status(status))
            }
            Protocol::Sync => {
                encode(&SyncResponse::Headers(blocks.iter().map(|block| block.header.clone()).collect()))
            }
            Protocol::Archive => {
                let keys: Vec<(Height, Hash)> = decode(&body, usize::MAX).expect("the victim is honest");
                let find = |(_, hash): &(Height, Hash)| {
                    blocks.iter().find(|block| block.header.hash() == *hash).map(|block| encode(&block.body))
                };
                encode(&BodiesResponse(keys.iter().map(find).collect()))
            }
            _ => return,
        };
        outputs.push(Output::Respond { id, body });
    });
    siege.world.run_for(10_000);
    let head = siege.world.chain(siege.victim).head;
    assert_eq!(head, siege.maker.head().hash(), "the victim follows blocks of slots that have not begun");
    assert!(!siege.blame(intruder).banned);
    siege.goes_on(Vec::new());
}

/// Changes some bytes of a part of what a peer says.
fn garble(seed: u64) -> weft_testnet::sim::Tamper {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut draw = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    Box::new(move |_: Now, mut output| {
        let bytes = match &mut output {
            Output::Request { body, .. } | Output::Respond { body, .. } => Some(body),
            Output::Publish { data, .. } => Some(data),
            _ => None,
        };
        if let Some(bytes) = bytes
            && draw(3) == 0
        {
            match draw(4) {
                0 => bytes.truncate(draw(bytes.len())),
                1 => bytes.extend((0..draw(300)).map(|byte| byte as u8)),
                _ => {
                    for _ in 0..=draw(4) {
                        let at = draw(bytes.len());
                        bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << draw(8));
                    }
                }
            }
        }
        vec![output]
    })
}

#[test]
fn a_peer_that_garbles_what_it_says_harms_nobody_but_itself() {
    for seed in seeds(12) {
        let mut town = Town::new(seed, 3, 2);
        let options = NodeOptions { bootstrap: town.all(), tamper: Some(garble(seed)), ..town.options() };
        town.world.add_node(options);
        let to = address(&key("shop", 0));
        for nonce in 0..20 {
            let transaction = town.chain.transfer(3, to, nonce);
            town.world.submit(town.followers[0], transaction).unwrap();
            town.world.run_for(SLOT);
        }
        town.converge(15, 10 * SLOT);
        town.world.check_all();
    }
}
