//! Floods of announcements of blocks, and of answers that come too late: five minutes of each, in which honest payments take no
//! longer than they would.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use weft_core::{
    chain::{Body, Header, Mmr, Transaction, UnsignedHeader},
    gossip::{CompactBlock, CompactId, CompactKey, Topic, TxMode, TxRefusal, TxRequest, TxResponse},
    node::{BlockRef, Input, Output, Protocol},
    primitives::{Hash, Height, Now, Slot, decode, encode},
};

use crate::{
    flood::{Crowd, Flood, INTRUDERS, OFFICE, ROUNDS},
    pool_floods::made_up,
    town::SLOT,
};

/// How many transactions the intruder's blocks pretend to have.
const TRANSACTIONS: u8 = 200;

/// A header that the intruder signs for a slot.
fn header(flood: &Flood, slot: Slot, height: Height, parent: Hash) -> Header {
    header_over(flood, slot, height, parent, Hash([6; 32]))
}

/// The same, with a root of all headers before it.
fn header_over(flood: &Flood, slot: Slot, height: Height, parent: Hash, mmr_root: Hash) -> Header {
    let key = &flood.town.chain.validators[OFFICE];
    let [tx, state, diff, consensus] = [1, 3, 4, 5].map(|root| Hash([root; 32]));
    let roots = [tx, Body::default().system_root(), state, diff, consensus, mmr_root];
    UnsignedHeader::new(height, slot, parent, roots, 0, key.public()).sign(key, &flood.town.chain.hash())
}

/// Announces a block whose transactions nobody has.
fn announce(flood: &mut Flood, header: Header) {
    let short =
        (0..TRANSACTIONS).map(|place| CompactId([place, header.slot().0 as u8, 1, 2, 3, 4])).collect();
    let compact = CompactBlock { header, short, prefilled: Vec::new(), system: Vec::new() };
    let data = encode(&compact);
    flood.town.world.act(flood.intruder, Output::Publish { topic: Topic::Block, data });
}

#[test]
fn blocks_for_parents_that_nobody_has_delay_nobody() {
    let mut flood = Flood::in_office(|_: Now, _: Input, _: &mut Vec<Output>| {});
    flood.town.world.act(flood.intruder, Output::Subscribe(Topic::Block));
    let victim = flood.victim();
    for round in 0..ROUNDS {
        for number in 0..10 {
            let slot = Slot(flood.town.world.elapsed() / SLOT);
            let height = Height(flood.town.world.chain(victim).height.0 + 1 + u64::from(number));
            let mut parent = [number; 32];
            parent[..8].copy_from_slice(&round.to_le_bytes());
            let header = header(&flood, slot, height, Hash(parent));
            announce(&mut flood, header);
        }
        flood.slot();
    }
    assert!(!flood.is_blamed(), "who knows more may be right");
    flood.goes_on();
}

#[test]
fn blocks_whose_transactions_are_withheld_delay_nobody() {
    let mut flood = Flood::in_office(|_: Now, _: Input, _: &mut Vec<Output>| {});
    flood.town.world.act(flood.intruder, Output::Subscribe(Topic::Block));
    let (victim, mut hashes) = (flood.victim(), Vec::<Hash>::new());
    for _ in 0..ROUNDS {
        let slot = Slot(flood.town.world.elapsed() / SLOT);
        // One in each turn of its own: a second one would prove that it equivocates.
        if slot.0 % flood.town.chain.validators.len() as u64 == OFFICE as u64 {
            let head = flood.town.world.chain(victim).height.0;
            let mut hash_at = |height| {
                flood
                    .town
                    .block(victim, BlockRef::Height(height))
                    .expect("a block of the best chain")
                    .summary
                    .hash
            };
            while hashes.len() as u64 > head + 1
                || hashes.last().is_some_and(|last| *last != hash_at(hashes.len() as u64 - 1))
            {
                hashes.pop();
            }
            hashes.extend((hashes.len() as u64..=head).map(hash_at));
            let mut mmr = Mmr::default();
            hashes.iter().for_each(|hash| mmr.push(hash));
            let header = header_over(&flood, slot, Height(head + 1), hashes[head as usize], mmr.root());
            announce(&mut flood, header);
        }
        flood.slot();
    }
    let counts = flood.town.world.node(victim).and_then(|node| node.block_counts()).expect("it is up");
    assert!(
        counts.missing > ROUNDS / 5 * u64::from(TRANSACTIONS),
        "the victim took them for blocks: {counts:?}"
    );
    assert!(!flood.is_blamed(), "who does not answer is no liar");
    flood.goes_on();
}

#[test]
fn ids_of_what_fills_the_pool_under_headers_of_others_delay_nobody() {
    let filling = Rc::new(RefCell::new(VecDeque::new()));
    let ids = Rc::clone(&filling);
    let spoil = move |_: Now, input: Input, outputs: &mut Vec<Output>| {
        let Input::Gossip(message) = input else { return };
        if message.topic != Topic::Block {
            return;
        }
        let Ok(mut compact) = decode::<CompactBlock>(&message.data, CompactBlock::MAX_LEN) else { return };
        // What the victim has in its pool and the block has not; the first of them twice.
        let key = CompactKey::of(&compact.header.hash());
        let ids = ids.borrow();
        compact.short = ids.iter().chain(ids.front()).map(|id| key.short(id)).collect();
        compact.prefilled = Vec::new();
        outputs.push(Output::Publish { topic: Topic::Block, data: encode(&compact) });
    };
    let mut flood = Flood::with(spoil);
    flood.town.world.act(flood.intruder, Output::Subscribe(Topic::Block));
    for round in 0..ROUNDS {
        let transactions: Vec<_> = INTRUDERS
            .flat_map(|account| (0..8).map(move |nonce| (account, 8 * round + nonce)))
            .map(|(account, nonce)| flood.sign(account, nonce, |_| {}))
            .collect();
        {
            let mut filling = filling.borrow_mut();
            filling.extend(transactions.iter().map(Transaction::id));
            let old = filling.len().saturating_sub(2 * transactions.len());
            filling.drain(..old);
        }
        flood.round(&transactions);
    }
    let victim = flood.victim();
    let counts = flood.town.world.node(victim).and_then(|node| node.block_counts()).expect("it is up");
    assert!(counts.duplicates > ROUNDS, "the victim heard of them: {counts:?}");
    assert!(!flood.is_blamed(), "nobody has signed what is beside a header");
    flood.goes_on_beside(Some(Crowd { payments: 8, memo: 0 }));
}

#[test]
fn answers_that_come_nine_seconds_late_delay_nobody() {
    let asked = Rc::new(RefCell::new(VecDeque::new()));
    let line = Rc::clone(&asked);
    let note = move |now: Now, input: Input, _: &mut Vec<Output>| {
        if let Input::Request { id, protocol: Protocol::Transactions, body, .. } = input
            && let Ok(request) = TxRequest::from_bytes(&body)
        {
            let answer = match request {
                TxRequest::Fetch(_) => TxResponse::Transactions(Vec::new()),
                TxRequest::Sketch { .. } => TxResponse::Refused(TxRefusal::Busy),
                _ => TxResponse::Done,
            };
            line.borrow_mut().push_back((now.mono.0 + 9_000, id, answer.to_bytes()));
        }
    };
    let mut flood = Flood::with(note);
    flood.ask(TxRequest::Hello { mode: TxMode::PushPull, salt: 5, min_fee_rate: 0 }.to_bytes());
    let due = |now| {
        let mut line = asked.borrow_mut();
        let is_due = line.front().is_some_and(|(due, ..)| *due <= now);
        if is_due { line.pop_front() } else { None }
    };
    let mut answered = 0;
    for round in 0..ROUNDS {
        flood.ask(made_up(round, 165));
        flood.slot();
        let now = flood.town.world.now_of(flood.intruder).mono.0;
        while let Some((_, id, body)) = due(now) {
            flood.town.world.act(flood.intruder, Output::Respond { id, body });
            answered += 1;
        }
    }
    assert!(answered > 10, "{answered} answers");
    assert!(!flood.is_blamed(), "who is slow is asked less, and not blamed");
    flood.goes_on();
}
