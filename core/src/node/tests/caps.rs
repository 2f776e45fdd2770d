//! What a chain holds of what strangers bring before it is judged: never more than its limit, whoever brings it.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;
use crate::{
    chain::{Body, Header, Link as VoteLink, MAX_MEMO_BYTES, Mmr, UnsignedHeader},
    gossip::{CompactId, MAX_BATCH_COUNT},
    primitives::Held,
    sync::{MAX_MISSING, SyncRequest, SyncResponse},
};

/// What there is of something, and how much there may be.
fn held(alone: &Alone, what: &str) -> (usize, usize) {
    let all = alone.node.chain.as_ref().unwrap().held();
    let Held { count, limit, .. } = all.into_iter().find(|held| held.what == what).expect("it is counted");
    (count, limit)
}

fn refused(alone: &Alone, why: &str) -> u64 {
    alone.node.fx.refusals.get(why).copied().unwrap_or_default()
}

/// The first block of a lone validator.
fn first_block() -> Block {
    first_block_of(config(true))
}

fn first_block_of(config: Config) -> Block {
    let mut alone = Alone::with(config, MemoryStore::default());
    alone.run_to(SLOT + 10);
    alone.published().remove(0)
}

/// The headers of so many blocks, one for each slot, whose bodies have this root. They are rightly signed, and no more.
fn headers(count: u64, tx_root: Hash) -> Vec<Header> {
    let mut first = first_block().header.content;
    first.tx_root = tx_root;
    let mut mmr = Mmr::default();
    mmr.push(&first.parent);
    assert_eq!(mmr.root(), first.mmr_root);
    following(first, mmr, count)
}

/// So many headers, one for each slot, of which the first is to say this and the mountain range has all before it.
fn following(mut content: UnsignedHeader, mut mmr: Mmr, count: u64) -> Vec<Header> {
    let mut headers = Vec::new();
    for _ in 0..count {
        content.mmr_root = mmr.root();
        let header = content.clone().sign(&key(1), &genesis().hash());
        (content.height, content.slot) = (Height(content.height.0 + 1), Slot(content.slot.0 + 1));
        content.parent = header.hash();
        mmr.push(&content.parent);
        headers.push(header);
    }
    headers
}

fn gossip(topic: Topic, from: PeerId, number: u64, data: Vec<u8>) -> Input {
    let (id, author, sequence) = (GossipId(number), from, number);
    Input::Gossip(GossipMessage { id, topic, from, author, sequence, data })
}

/// The announcement of a block with this header, of which one transaction is known by its short id only.
fn announcement(header: &Header) -> Vec<u8> {
    let (header, short) = (header.clone(), vec![CompactId([7; 6])]);
    encode(&CompactBlock { header, short, prefilled: Vec::new(), system: Vec::new() })
}

/// A peer that does not propose, with room for as many others as a test needs.
fn roomy() -> Alone {
    Alone::with(Config { max_inbound: 64, ..config(false) }, MemoryStore::default())
}

/// Hands something to a node whose workers do not answer.
fn without_workers(alone: &mut Alone, input: Input) {
    alone.node.handle(alone.now(), input);
    while alone.node.poll_output().is_some() {}
}

#[test]
fn of_blocks_before_their_slot_one_peer_has_two_places_and_all_have_sixteen() {
    let block = first_block();
    let mut alone = roomy();
    let mut number = 0;
    let mut bring = |alone: &mut Alone, peer: PeerId| {
        number += 1;
        let mut header = block.header.clone();
        (header.content.slot, header.content.tx_root) = (Slot(2), Hash([number; 32]));
        alone.handle(gossip(Topic::Block, peer, number.into(), announcement(&header)));
        held(alone, "blocks of slots to come").0
    };
    let peers: Vec<_> = (0..9).map(|number| alone.meet(number)).collect();
    for (number, peer) in (1..).zip(&peers) {
        for brought in 1..=3 {
            let most = 2 * (number - 1) + brought.min(2);
            assert_eq!(bring(&mut alone, *peer), most.min(16));
        }
    }
    assert_eq!(held(&alone, "blocks of slots to come"), (16, 16));
    // The third of each of eight, and all of the ninth.
    assert_eq!(refused(&alone, "block-from-the-future"), 8 + 3);
    alone.run_to(2 * SLOT);
    assert_eq!(held(&alone, "blocks of slots to come").0, 0, "their time has come");
    assert_eq!(bring(&mut alone, peers[0]), 0, "and this one is not early");
}

#[test]
fn of_one_peers_headers_eight_are_checked_at_a_time_and_others_are_not_held_up() {
    let block = first_block();
    let mut alone = Alone::new(false, MemoryStore::default());
    alone.run_to(100 * SLOT);
    let (greedy, modest) = (alone.meet(0), alone.meet(1));
    let bring = |alone: &mut Alone, peer, slot| {
        let mut header = block.header.clone();
        header.content.slot = Slot(slot);
        without_workers(alone, gossip(Topic::Block, peer, slot, announcement(&header)));
    };
    for slot in 1..=10 {
        bring(&mut alone, greedy, slot);
    }
    assert_eq!(refused(&alone, "headers-in-check"), 2);
    bring(&mut alone, modest, 11);
    assert_eq!(refused(&alone, "headers-in-check"), 2);
}

#[test]
fn a_thousand_votes_wait_for_their_signatures_check_and_further_ones_do_not() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let greedy = alone.meet(0);
    let chain = genesis().hash();
    // Nothing is known of a signature before its check.
    let signed = Vote::sign(
        VoteLink {
            source: Checkpoint { height: Height(0), hash: chain },
            target: Checkpoint { height: Height(16), hash: Hash::ZERO },
        },
        &key(1),
        &chain,
    );
    for number in 0..1_030_u64 {
        let mut vote = signed.clone();
        vote.link.target.hash = Hash::of(&number.to_le_bytes());
        without_workers(&mut alone, gossip(Topic::Vote, greedy, number, encode(&vote)));
    }
    // The first is being checked.
    assert_eq!(refused(&alone, "votes-in-check"), 1_030 - 1 - 1_024);
}

#[test]
fn votes_are_taken_so_far_above_the_head_and_no_further() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let (peer, chain) = (alone.meet(0), genesis().hash());
    let judged = |alone: &mut Alone, height: u64| {
        let link = VoteLink {
            source: Checkpoint { height: Height(0), hash: chain },
            target: Checkpoint { height: Height(height), hash: Hash::of(&height.to_le_bytes()) },
        };
        alone.outputs.clear();
        alone.handle(gossip(Topic::Vote, peer, height, encode(&Vote::sign(link, &key(1), &chain))));
        alone.outputs.iter().find_map(|output| match output {
            Output::Judge { verdict, .. } => Some(*verdict),
            _ => None,
        })
    };
    assert_eq!(alone.height(), 0);
    assert_eq!(judged(&mut alone, 1_024), Some(Verdict::Accept));
    assert_eq!(judged(&mut alone, 1_024 + 16), Some(Verdict::Ignore), "the next checkpoint");
    assert_eq!(held(&alone, "votes of an authority").0, 1);
}

#[test]
fn so_many_own_transactions_are_kept() {
    const ACCOUNTS: u8 = 65;
    let payer = |number: u8| SecretKey::from_seed([100 + number; 32]);
    let mut config = config(false);
    let genesis = config.genesis.as_mut().unwrap();
    genesis.grants = (0..ACCOUNTS)
        .map(|number| Grant { address: Address::of(&payer(number).public()), amount: Amount(1_000_000) })
        .collect();
    genesis.grants.sort_by_key(|grant| grant.address);
    let chain = genesis.hash();
    let mut alone = Alone::with(config, MemoryStore::default());
    let mut submit = |number: u8, nonce: u64| {
        let from = payer(number);
        let payment = UnsignedTransaction::transfer(
            from.public(),
            address(6),
            Amount(10),
            Amount(500),
            nonce,
            Slot(1000),
        );
        alone.ask(Command::Submit(payment.sign(&from, &chain)))
    };
    for number in 0..ACCOUNTS - 1 {
        for nonce in 0..16 {
            let answer = submit(number, nonce);
            assert!(matches!(answer, Ok(Reply::Submitted(_))), "{number} {nonce} {answer:?}");
        }
    }
    let answer = submit(ACCOUNTS - 1, 0);
    assert!(matches!(answer, Err(CommandError::Refused(_))), "{answer:?}");
    assert_eq!(held(&alone, "own transactions"), (1_024, 1_024));
}

#[test]
fn announced_blocks_are_remembered_and_put_together_and_asked_for_within_limits() {
    let headers = headers(40, Hash::ZERO);
    let mut alone = Alone::new(false, MemoryStore::default());
    alone.run_to(40 * SLOT);
    let announcer = alone.meet(0);
    let mut asked = Vec::new();
    for (number, header) in (0..).zip(&headers) {
        alone.outputs.clear();
        alone.handle(gossip(Topic::Block, announcer, number, announcement(header)));
        let asks = |output: &Output| match output {
            Output::Request { protocol: Protocol::Sync, body, .. } => {
                matches!(decode(body, usize::MAX), Ok(SyncRequest::BlockTransactions { .. }))
            }
            _ => false,
        };
        asked.push(alone.outputs.iter().filter(|output| asks(output)).count());
        let ((count, limit), (together, most)) =
            (held(&alone, "announced blocks"), held(&alone, "blocks that are put together"));
        assert!(count <= limit && together <= most, "{count} {together}");
    }
    assert_eq!(asked[..32].iter().sum::<usize>(), 8, "for the others the whole body is downloaded");
    assert_eq!(held(&alone, "announced blocks"), (32, 32));
}

#[test]
fn so_many_wait_for_a_block_that_is_on_its_way_and_four_questions_of_each() {
    let block = first_block();
    let mut alone = roomy();
    alone.run_to(2 * SLOT);
    let announcer = alone.meet(0);
    alone.handle(gossip(Topic::Block, announcer, 0, announcement(&block.header)));
    alone.outputs.clear();
    let mut number = 0;
    for other in 1..=17 {
        let peer = alone.meet(other);
        for _ in 0..5 {
            number += 1;
            let asked = SyncRequest::BlockTransactions { block: block.header.hash(), indices: vec![0] };
            let (id, protocol, body) = (InboundId(number), Protocol::Sync, encode(&asked));
            alone.handle(Input::Request { id, peer, protocol, body });
        }
        let waiting = held(&alone, "questions that wait for a body").0;
        assert_eq!(waiting, (4 * usize::from(other)).min(64));
    }
    assert_eq!(held(&alone, "questions that wait for a body"), (64, 64));
    let nothing = |output: &&Output| {
        let Output::Respond { body, .. } = output else { return false };
        matches!(decode(body, usize::MAX), Ok(SyncResponse::BlockTransactions(None)))
    };
    // The fifth of each of sixteen, and all of the seventeenth.
    assert_eq!(alone.outputs.iter().filter(nothing).count(), 16 + 5);
}

/// A peer that follows a chain of blocks with one body, and is told all of it but the first: so nothing of it is ever executed.
struct Stopped {
    alone: Alone,
    announcer: PeerId,
    body: Body,
    /// The questions for what announcements lack.
    asked: Vec<OutboundId>,
    /// Blocks that are being executed.
    executing: usize,
}

impl Stopped {
    /// Has the peer look at something. All signatures are right, and nothing that is begun to be executed ends.
    fn handle(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.alone.node.handle(self.alone.now(), input);
            while let Some(output) = self.alone.node.poll_output() {
                match output {
                    Output::Work(_, Job::Execute { .. }) => self.executing += 1,
                    Output::Work(id, Job::VerifyTransactions { transactions, .. }) => {
                        let right = JobResult::Verified(vec![true; transactions.len()]);
                        inputs.push_back(Input::WorkDone(id, right));
                    }
                    Output::Work(id, job) => inputs.push_back(Input::WorkDone(id, job.run())),
                    Output::Request { id, protocol: Protocol::Sync, .. } => self.asked.push(id),
                    _ => {}
                }
            }
        }
    }

    /// Announces a block of which the peer has nothing, and returns its question for the rest.
    fn announce(&mut self, header: &Header) -> OutboundId {
        let block = Block { header: header.clone(), body: self.body.clone() };
        let announced = encode(&CompactBlock::new(&block, |_| false));
        self.handle(gossip(Topic::Block, self.announcer, header.content.height.0, announced));
        self.asked.pop().expect("it asks for what it lacks")
    }

    fn answer(&mut self, id: OutboundId) {
        let rest = SyncResponse::BlockTransactions(Some(self.body.transactions.clone()));
        self.handle(Input::Response { id, outcome: Ok(encode(&rest)) });
    }
}

#[test]
fn bodies_that_wait_for_their_turn_fill_so_much_memory_and_the_one_whose_turn_it_is_finds_room() {
    const BLOCKS: u64 = 180;
    let large = |nonce: u64| {
        let mut payment = transfer(0);
        (payment.content.nonce, payment.content.memo) = (nonce, vec![7; MAX_MEMO_BYTES]);
        payment
    };
    let transactions: Vec<_> = (0..MAX_MISSING as u64).map(large).collect();
    let bytes: usize = transactions.iter().map(Transaction::encoded_len).sum();
    let body = Body { transactions, system: Vec::new() };
    let headers = headers(BLOCKS, body.tx_root());
    let mut alone = Alone::new(false, MemoryStore::default());
    alone.run_to(BLOCKS * SLOT);
    let announcer = alone.meet(0);
    let mut peer = Stopped { alone, announcer, body, asked: Vec::new(), executing: 0 };

    peer.announce(&headers[0]);
    for header in &headers[1..] {
        let question = peer.announce(header);
        peer.answer(question);
    }
    let (waiting, most) = held(&peer.alone, "bytes of bodies that wait");
    assert_eq!((waiting, most), (most / bytes * bytes, 64 << 20));
    let beyond = BLOCKS - 1 - (most / bytes) as u64;
    assert_eq!((refused(&peer.alone, "bodies-beyond-memory"), peer.executing), (beyond, 0));

    // So many were announced since that it is asked for anew.
    let question = peer.announce(&headers[0]);
    peer.answer(question);
    assert_eq!(peer.executing, 1, "it is not kept out");
    assert_eq!(refused(&peer.alone, "bodies-beyond-memory"), beyond);
    assert_eq!(held(&peer.alone, "bytes of bodies that wait").0, waiting, "another went for it");
}

#[test]
fn an_announcement_is_compared_with_so_many_transactions_of_the_pool_the_best() {
    const MOST: usize = 32_768;
    let payer = |number: u16| {
        let mut bytes = [7; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        PublicKey(bytes)
    };
    // Nobody looks at the signatures.
    let signed = transfer(0);
    let payment = |number: u16, nonce: u64, fee: u64| {
        let mut payment = signed.clone();
        (payment.content.from, payment.content.nonce, payment.content.fee) =
            (payer(number), nonce, Amount(fee));
        payment
    };
    // The two worst come first, so that they are not among the last that came.
    let rest = (1..).flat_map(|number| (0..16).map(move |nonce| (number, nonce, 500)));
    let all: Vec<_> = [(0, 0, 499), (0, 1, 498)].into_iter().chain(rest).take(MOST + 1).collect();
    let all: Vec<_> = all.into_iter().map(|(number, nonce, fee)| payment(number, nonce, fee)).collect();

    let config = |validator| {
        let mut config = Config { mempool_bytes: 16 << 20, ..config(validator) };
        let genesis = config.genesis.as_mut().unwrap();
        genesis.grants = (0..2_049)
            .map(|number| Grant { address: Address::of(&payer(number)), amount: Amount(1_000_000) })
            .collect();
        genesis.grants.sort_by_key(|grant| grant.address);
        config
    };
    let chain = config(false).genesis.unwrap().hash();
    let first = first_block_of(config(true));
    let mut alone = Alone::with(config(false), MemoryStore::default());
    alone.run_to(2 * SLOT);
    let peers = [0, 1, 2, 3].map(|number| alone.meet(number));
    let mut peer =
        Stopped { alone, announcer: peers[0], body: first.body.clone(), asked: Vec::new(), executing: 0 };
    for (number, batch) in (0_u64..).zip(all.chunks(MAX_BATCH_COUNT)) {
        let (id, from) = (InboundId(number), peers[usize::try_from(number).unwrap() % peers.len()]);
        let body = TxRequest::Push(batch.to_vec()).to_bytes();
        peer.handle(Input::Request { id, peer: from, protocol: Protocol::Transactions, body });
    }
    match peer.alone.ask(Command::Mempool(0)) {
        Ok(Reply::Mempool(view)) => assert_eq!(view.pending, MOST + 1),
        other => panic!("{other:?}"),
    }

    let mut announce = |number, transaction: &Transaction| {
        let body = Body { transactions: vec![transaction.clone()], system: Vec::new() };
        let mut content = first.header.content.clone();
        content.tx_root = body.tx_root();
        let block = Block { header: content.sign(&key(1), &chain), body };
        let announced = encode(&CompactBlock::new(&block, |_| false));
        peer.handle(gossip(Topic::Block, peers[0], number, announced));
        (peer.executing, peer.asked.len())
    };
    assert_eq!(announce(0, &all[0]), (1, 0), "the last that is looked at is found");
    assert_eq!(announce(1, &all[1]), (1, 1), "and the next is asked for");
}

#[test]
fn of_the_further_announcements_of_a_block_two_are_compared() {
    let block = first_block();
    let right = encode(&CompactBlock::new(&block, |_| false));
    let made_up = |number| {
        let (header, short) = (block.header.clone(), vec![CompactId([number; 6])]);
        encode(&CompactBlock { header, short, prefilled: Vec::new(), system: Vec::new() })
    };
    for (before, height) in [(1, 1), (2, 0)] {
        let mut alone = Alone::new(false, MemoryStore::default());
        alone.run_to(2 * SLOT);
        let peer = alone.meet(0);
        for number in 0..=before {
            alone.handle(gossip(Topic::Block, peer, number.into(), made_up(number)));
        }
        alone.handle(gossip(Topic::Block, peer, 9, right.clone()));
        assert_eq!(alone.height(), height, "after {before} others");
    }
}

/// Lets a peer ask another, which knows it by this name, until it has no question about the chain left.
fn answer(asking: &mut Alone, name: PeerId, by: &mut Alone) {
    while let Some(output) = asking.outputs.pop_front() {
        let Output::Request { id, protocol: Protocol::Sync, body, .. } = output else { continue };
        by.outputs.clear();
        by.handle(Input::Request { id: InboundId(id.0), peer: name, protocol: Protocol::Sync, body });
        let answer = by.outputs.drain(..).find_map(|output| match output {
            Output::Respond { body, .. } => Some(body),
            _ => None,
        });
        asking.handle(Input::Response { id, outcome: Ok(answer.expect("an answer at once")) });
    }
}

/// As many headers as a light peer follows above the checkpoint, which is one of them.
const MOST_FOLLOWED: u64 = 8_192;

/// A light peer on whose chain nothing becomes final any more, a peer that it knows, and headers that go on from its newest: with all but
/// the last `beyond` of them it holds as many as it may.
fn light_without_finality(beyond: u64) -> (Alone, PeerId, Vec<Header>) {
    const START: u64 = 40;
    let mut full = Alone::new(true, MemoryStore::default());
    full.run_to(START * SLOT + 10);
    let blocks = full.published();
    let mut light =
        Alone::with(Config { strategy: Strategy::Light, ..config(false) }, MemoryStore::default());
    light.run_to(START * SLOT + 10);
    let (server, client) = (light.meet(0), full.meet(1));
    for _ in 0..5 {
        light.run_to(light.mono + SLOT);
        answer(&mut light, client, &mut full);
    }
    let (proven, height) = (light.chain().finalised.0, light.chain().height.0);
    assert!(proven > 0 && height == START, "{proven} {height}");

    let mut mmr = Mmr::default();
    blocks.iter().for_each(|block| mmr.push(&block.header.content.parent));
    let last = &blocks.last().unwrap().header;
    assert_eq!(mmr.root(), last.content.mmr_root);
    mmr.push(&last.hash());
    let mut next = last.content.clone();
    (next.height, next.slot, next.parent) = (Height(START + 1), Slot(last.slot().0 + 1), last.hash());
    let further = following(next, mmr, proven + MOST_FOLLOWED - 1 - START + beyond);
    light.mono = (START + MOST_FOLLOWED) * SLOT;
    (light, server, further)
}

/// Headers come by gossip, no faster than a peer may.
fn gossip_headers(light: &mut Alone, from: PeerId, headers: &[Header]) {
    for header in headers {
        light.mono += SLOT / 16;
        let (header, body) = (header.clone(), Body { transactions: Vec::new(), system: Vec::new() });
        let number = header.height().0;
        let announced = encode(&CompactBlock::new(&Block { header, body }, |_| false));
        light.outputs.clear();
        light.handle(gossip(Topic::Block, from, number, announced));
    }
}

#[test]
fn a_light_peer_follows_so_many_headers_above_what_is_proven_and_keeps_the_newest_bodies() {
    let (mut light, server, further) = light_without_finality(1);
    let proven = light.chain().finalised.0;
    gossip_headers(&mut light, server, &further);
    let top = proven + MOST_FOLLOWED - 1;
    assert_eq!(light.chain().height.0, top);
    assert_eq!(refused(&light, "headers-beyond-caps"), 1);
    let mut shown = |height| light.ask(Command::Block(BlockRef::Height(height))).is_ok();
    assert_eq!([top, top - 63, top - 64].map(&mut shown), [true, true, false]);
}

#[test]
fn nor_does_a_download_bring_a_light_peer_more() {
    let (mut light, server, further) = light_without_finality(10);
    let proven = light.chain().finalised.0;
    let (gossiped, missing) = further.split_at(further.len() - 20);
    gossip_headers(&mut light, server, gossiped);
    assert_eq!(light.chain().height.0, proven + MOST_FOLLOWED - 1 - 10);
    // The next but one by gossip: what is between is asked for, and more than that comes.
    light.mono += 20 * SLOT;
    gossip_headers(&mut light, server, &missing[1..2]);
    light.run_to(light.mono + SLOT);
    let ask = light.outputs.iter().find_map(|output| match output {
        Output::Request { id, protocol: Protocol::Sync, body, .. } => {
            let request = decode::<SyncRequest>(body, usize::MAX).unwrap();
            matches!(request, SyncRequest::Headers { .. }).then_some(*id)
        }
        _ => None,
    });
    let body = encode(&SyncResponse::Headers(missing.to_vec()));
    light.handle(Input::Response { id: ask.expect("it asks"), outcome: Ok(body) });
    light.run_to(light.mono + SLOT);
    assert_eq!(light.chain().height.0, proven + MOST_FOLLOWED - 1);
    assert_eq!(refused(&light, "headers-beyond-caps"), 1);
}

#[test]
fn what_is_held_goes_by_a_name_of_its_own_and_is_measured() {
    let mut alone = Alone::new(true, MemoryStore::default());
    alone.run_to(2 * SLOT);
    let held: Vec<Held> = alone.node.held().collect();
    let names: std::collections::BTreeSet<_> = held.iter().map(|held| held.what).collect();
    assert_eq!(names.len(), held.len(), "{held:?}");
    assert!(held.iter().all(|held| held.count <= held.limit), "{held:?}");
    assert_eq!(alone.node.measure().held, held);
}
