//! Floods of transactions: the pool keeps its bounds, honest payments still get into blocks, and whoever sends what no
//! honest peer would is the one to pay for it.

use std::{cell::Cell, rc::Rc};

use weft_core::{
    chain::Transaction,
    gossip::{
        Announcement, CompactBlock, CompactId, ShortId, Symbol, Topic, TxMode, TxRefusal, TxRequest,
        TxResponse,
    },
    mempool::Limits,
    node::{Input, Output, Protocol},
    primitives::{Amount, Now, Slot, decode, encode},
};
use weft_testnet::fixture::{address, key};

use crate::{
    flood::{Crowd, Flood, INTRUDERS, MEMPOOL, ROUNDS},
    town::SLOT,
};

#[test]
fn forged_and_worthless_ones_cost_their_sender_its_connection() {
    for (name, spoil) in [
        ("a wrong signature", (|transaction| transaction.content.amount.0 += 1) as fn(&mut Transaction)),
        ("a fee no chain takes", |transaction| transaction.content.fee = Amount(1)),
    ] {
        let mut flood = Flood::new();
        for round in 0..ROUNDS {
            // One bad among many good, another each time.
            let mut transactions: Vec<_> =
                INTRUDERS.map(|account| flood.sign(account, round, |_| {})).collect();
            spoil(&mut transactions[round as usize % 19]);
            flood.round(&transactions);
            flood.come_back();
        }
        assert!(flood.is_blamed(), "{name}");
        assert!(!flood.town.world.is_connected(flood.intruder, flood.victim()), "{name}");
        flood.goes_on();
    }
}

#[test]
fn the_same_ones_again_and_again_are_looked_at_once() {
    let mut flood = Flood::new();
    let transactions: Vec<_> = INTRUDERS.map(|account| flood.sign(account, 0, |_| {})).collect();
    for _ in 0..ROUNDS {
        flood.round(&[transactions.clone(), transactions.clone()].concat());
    }
    flood.goes_on();
    assert!(!flood.is_blamed());
    let hoard = address(&key("hoard", 0));
    let payer = flood.town.followers[1];
    assert_eq!(flood.town.world.account(payer, hoard).balance.0, INTRUDERS.len() as u64, "each once");
}

#[test]
fn one_peer_cannot_fill_the_future() {
    let mut flood = Flood::new();
    let limits = Limits::new(MEMPOOL, 1);
    for round in 0..ROUNDS {
        // Never the next nonce, at fees nobody else pays.
        let transactions: Vec<_> = INTRUDERS
            .flat_map(|account| (0..16).map(move |ahead| (account, 1 + ahead)))
            .map(|(account, nonce)| flood.sign(account, nonce, |content| content.fee = Amount(9_000 + round)))
            .collect();
        flood.round(&transactions);
        let victim = flood.victim();
        let queued = flood.pool(victim).queued * Transaction::EMPTY_LEN;
        assert!(queued <= limits.max_queued_bytes_of_peer, "{queued} bytes wait for one peer");
        for ix in flood.town.all().into_iter().skip(1) {
            assert_eq!(flood.pool(ix).queued, 0, "{ix:?} was told of what can be in no block");
        }
    }
    assert!(!flood.is_blamed(), "some of it may be true in time");
    // Another's payments that come in the wrong order still wait for each other, at the victim itself.
    flood.goes_on();
    let (victim, shop) = (flood.victim(), flood.shop);
    let late = flood.town.chain.transfer_for(0, shop, flood.paid + 1, 400);
    flood.town.world.submit(victim, late).unwrap();
    flood.town.world.run_for(SLOT);
    let first = flood.town.chain.transfer_for(0, shop, flood.paid, 400);
    let (payer, all) = (flood.town.followers[1], flood.paid + 2);
    flood.town.world.submit(payer, first).unwrap();
    flood.town.world.run_until(12 * SLOT, |world| world.account(payer, shop).balance.0 == all);
}

#[test]
fn what_is_replaced_again_and_again_pays_each_time() {
    let mut flood = Flood::new();
    let mut fee = 200;
    for round in 0..ROUNDS {
        let mut transactions = Vec::new();
        if round % 60 == 0 {
            // Another account, before it is more than one has.
            fee = 200;
        }
        for _ in 0..5 {
            // Half of what each step must be. It never gets into a block: the one before it is missing.
            fee += fee / 20;
            transactions.push(flood.sign(1 + round as usize / 60, 1, |content| content.fee = Amount(fee)));
        }
        flood.round(&transactions);
        let victim = flood.victim();
        assert!(flood.pool(victim).queued as u64 <= 1 + round / 60);
    }
    let victim = flood.victim();
    let refused = flood.town.world.status(victim).refusals;
    assert!(refused.get("transaction-underpriced").is_some_and(|count| *count > 100), "{refused:?}");
    flood.goes_on();
    assert!(!flood.is_blamed());
}

#[test]
fn what_expires_at_once_does_not_stay() {
    let mut flood = Flood::new();
    for _ in 0..ROUNDS {
        let slot = flood.town.world.elapsed() / SLOT;
        let transactions: Vec<_> = INTRUDERS
            .flat_map(|account| (0..16).map(move |nonce| (account, nonce)))
            .map(|(account, nonce)| {
                flood.sign(account, nonce + 2, |content| {
                    content.valid_until = Slot(slot + 1);
                    content.fee = Amount(5_000);
                })
            })
            .collect();
        flood.round(&transactions);
    }
    flood.town.world.run_for(3 * SLOT);
    let victim = flood.victim();
    assert_eq!(flood.pool(victim).queued, 0);
    flood.goes_on();
    assert!(!flood.is_blamed());
}

#[test]
fn valid_ones_that_pay_more_and_more_keep_nobody_out() {
    pay_more_and_more(Flood::in_village()).payments_go_on();
    // Who hears of the price only from those who are not flooded offers too little for the turn of the one who is.
    pay_more_and_more(Flood::new()).goes_on_a_slot_later(Some(Crowd { payments: 6, memo: 256 }));
}

fn pay_more_and_more(mut flood: Flood) -> Flood {
    let mut highest = 0;
    for round in 0..ROUNDS {
        let mut transactions = Vec::new();
        for account in INTRUDERS {
            let address = flood.town.chain.address(account);
            let start = flood.town.world.account(flood.victim(), address).nonce;
            // Each account pays more than those before, whose transactions so have to leave for it, and more than in
            // the slot before.
            let fee = Amount(Transaction::MAX_LEN as u64 + 20 * account as u64 + 2 * round);
            transactions.extend((start..start + 16).map(|nonce| {
                flood.sign(account, nonce, |content| {
                    content.memo = vec![0; 256];
                    content.fee = fee;
                })
            }));
        }
        highest = highest.max(flood.round(&transactions).minimum);
    }
    for _ in 0..30 {
        flood.slot();
    }
    assert!(highest > 2_000, "the pool was never full: the minimum rose to {highest}");
    assert!(!flood.is_blamed(), "each of these is good");
    // Who pays before the minimum has risen, and offers more when that does not come, waits longer; that is one in a hundred.
    flood
}

#[test]
fn those_below_what_a_full_pool_takes_are_refused_and_blame_nobody() {
    let mut flood = Flood::new();
    for _ in 0..ROUNDS {
        let mut transactions = Vec::new();
        for account in INTRUDERS {
            let address = flood.town.chain.address(account);
            let start = flood.town.world.account(flood.victim(), address).nonce;
            // Some fill the pool, and the others pay the least that the chain takes.
            let times = if account % 2 == 0 { 3 } else { 1 };
            transactions.extend((start..start + 16).map(|nonce| {
                flood.sign(account, nonce, |content| {
                    content.memo = vec![0; 256];
                    content.fee = Amount(times * Transaction::MAX_LEN as u64);
                })
            }));
        }
        flood.round(&transactions);
    }
    let victim = flood.victim();
    let refused = flood.town.world.status(victim).refusals;
    let cheap = ["transaction-below-minimum", "transaction-pool-full"];
    let cheap: u64 = cheap.iter().filter_map(|reason| refused.get(*reason)).sum();
    assert!(cheap > 1_000, "{refused:?}");
    assert!(!flood.is_blamed(), "what the pool takes changes from moment to moment");
    flood.goes_on_beside(Some(Crowd { payments: 6, memo: 256 }));
}

/// Answers a `Hello` as any peer does, and everything else with `answers`.
fn talker(
    mut answers: impl FnMut(TxRequest) -> Option<TxResponse> + 'static,
) -> impl FnMut(Now, Input, &mut Vec<Output>) {
    move |_: Now, input: Input, outputs: &mut Vec<Output>| {
        let Input::Request { id, protocol: Protocol::Transactions, body, .. } = input else { return };
        let response = match TxRequest::from_bytes(&body) {
            Ok(TxRequest::Hello { .. } | TxRequest::FeeFilter(_)) => Some(TxResponse::Done),
            Ok(request) => answers(request),
            Err(_) => None,
        };
        outputs.extend(response.map(|response| Output::Respond { id, body: response.to_bytes() }));
    }
}

fn hello() -> Vec<u8> {
    TxRequest::Hello { mode: TxMode::PushPull, salt: 5, min_fee_rate: 0 }.to_bytes()
}

/// Announcements of what nobody has, others each time.
pub(crate) fn made_up(round: u64, size: u32) -> Vec<u8> {
    let announcement =
        |number: u64| Announcement { short: ShortId((1000 * round + number).to_le_bytes()), size };
    TxRequest::Announce((0..1000).map(announcement).collect()).to_bytes()
}

#[test]
fn what_is_announced_and_never_comes_delays_nobody() {
    let fetches = Rc::new(Cell::new(0));
    let asked = Rc::clone(&fetches);
    let nothing = move |request| match request {
        TxRequest::Fetch(_) => {
            asked.set(asked.get() + 1);
            None
        }
        TxRequest::Sketch { .. } => Some(TxResponse::Refused(TxRefusal::NotInThisMode)),
        _ => Some(TxResponse::Done),
    };
    let mut flood = Flood::with(talker(nothing));
    flood.ask(hello());
    for round in 0..ROUNDS {
        flood.ask(made_up(round, 165));
        flood.slot();
    }
    assert!(!flood.is_blamed(), "who is slow is asked less, and not blamed");
    // Each is given up after 10 s, so that without a rest there would be thirty.
    assert!((3..=10).contains(&fetches.get()), "it was asked {} times in five minutes", fetches.get());
    flood.goes_on();
}

#[test]
fn false_sizes_cost_their_sender_its_connection() {
    let mut flood = Flood::with(talker(|_| Some(TxResponse::Done)));
    for round in 0..ROUNDS {
        flood.come_back();
        flood.ask(hello());
        flood.ask(made_up(round, 9));
        flood.slot();
    }
    assert!(flood.is_blamed());
    assert!(!flood.town.world.is_connected(flood.intruder, flood.victim()));
    flood.goes_on();
}

#[test]
fn sketches_of_junk_and_sketches_asked_for_without_end_delay_nobody() {
    let junk = |request| match request {
        TxRequest::Sketch { count, .. } => {
            let symbol = Symbol { ids: [7; 8], checksum: [9; 4], count: 1 };
            Some(TxResponse::Symbols(vec![symbol; count as usize]))
        }
        _ => Some(TxResponse::Done),
    };
    let mut flood = Flood::with(talker(junk));
    flood.ask(hello());
    for _ in 0..ROUNDS {
        flood.ask(TxRequest::Sketch { offset: 0, count: 1024 }.to_bytes());
        flood.slot();
    }
    let failed = flood.town.world.relay_counts(flood.victim()).sketches_failed;
    assert!(failed > 1, "{failed} sketches failed");
    assert!(!flood.is_blamed(), "both may have changed a lot");
    flood.goes_on();
}

#[test]
fn messages_that_are_none_or_too_large_cost_their_sender_its_connection() {
    for (name, length) in [
        ("noise", 1000),
        ("as much noise as may be", Protocol::Transactions.max_request()),
        ("more", 1 << 20),
    ] {
        let mut flood = Flood::new();
        for _ in 0..ROUNDS {
            flood.come_back();
            flood.ask(vec![0xaa; length]);
            flood.slot();
        }
        // What is larger than a message may be is not even read.
        let oversized = flood.town.world.seen(flood.victim()).oversized;
        assert_eq!(oversized > 0, length > Protocol::Transactions.max_request(), "{name}");
        assert!(flood.is_blamed(), "{name}");
        assert!(!flood.town.world.is_connected(flood.intruder, flood.victim()), "{name}");
        flood.goes_on();
    }
}

#[test]
fn headers_of_others_with_contents_made_up_delay_nobody() {
    let mut salt = 0;
    let spoil = move |_: Now, input: Input, outputs: &mut Vec<Output>| {
        let Input::Gossip(message) = input else { return };
        if message.topic != Topic::Block {
            return;
        }
        let Ok(compact) = decode::<CompactBlock>(&message.data, CompactBlock::MAX_LEN) else { return };
        for count in [1, 2, 200] {
            // Ids that nobody has, and of two the same: neither can be found, and nobody answers for them.
            salt = u8::wrapping_add(salt, 1);
            let id = |place: u8| CompactId([place / 2, salt, 1, 2, 3, 4]);
            let mut spoiled = compact.clone();
            (spoiled.short, spoiled.prefilled) = ((0..count).map(id).collect(), Vec::new());
            outputs.push(Output::Publish { topic: Topic::Block, data: encode(&spoiled) });
        }
    };
    let mut flood = Flood::with(spoil);
    flood.town.world.act(flood.intruder, Output::Subscribe(Topic::Block));
    for _ in 0..ROUNDS {
        flood.slot();
    }
    let counts =
        flood.town.world.node(flood.victim()).and_then(|node| node.block_counts()).expect("it is up");
    assert!(counts.duplicates > ROUNDS, "the victim heard of them: {counts:?}");
    flood.goes_on();
}
