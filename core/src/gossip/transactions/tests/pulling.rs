//! Announcements, fetches, sketches, fees and greetings, by example.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{super::short::PairKey, *};

/// A session with a peer whose half of the key is its number; the relay's `Hello` is answered.
pub(super) fn greet(relay: &mut TransactionRelay, number: u8, mode: TxMode, now: u64) -> PairKey {
    let hello = TxRequest::Hello { mode, salt: number.into(), min_fee_rate: 0 };
    assert_eq!(response(&ask(relay, number, &hello, &EMPTY, now)), TxResponse::Done);
    loop {
        let outgoing = relay.poll(&EMPTY, Mono(now)).expect("it greets");
        relay.answered(outgoing.id, &DONE, &EMPTY, Mono(now));
        if let TxRequest::Hello { salt, .. } = said(&outgoing)
            && outgoing.peer == peer(number)
        {
            return PairKey::new(salt, number.into());
        }
    }
}

pub(super) fn announce_to(
    relay: &mut TransactionRelay,
    from: u8,
    key: &PairKey,
    nonces: &[u64],
    now: u64,
) -> Answer {
    let announcement = |nonce: &u64| Announcement {
        short: key.short(&transaction(*nonce).id()),
        size: transaction(*nonce).encoded_len() as u32,
    };
    ask(relay, from, &TxRequest::Announce(nonces.iter().map(announcement).collect()), &EMPTY, now)
}

fn shorts(key: &PairKey, nonces: &[u64]) -> Vec<ShortId> {
    nonces.iter().map(|nonce| key.short(&transaction(*nonce).id())).collect()
}

pub(super) fn deliver(nonces: &[u64]) -> Vec<u8> {
    TxResponse::Transactions(nonces.iter().map(|nonce| transaction(*nonce)).collect()).to_bytes()
}

/// The next request, which is to the peer of this number.
pub(super) fn next(relay: &mut TransactionRelay, pool: &Fake, now: u64, to: u8) -> (OutgoingId, TxRequest) {
    let outgoing = relay.poll(pool, Mono(now)).unwrap_or_else(|| panic!("nothing to say at {now}"));
    assert_eq!(outgoing.peer, peer(to), "{:?}", said(&outgoing));
    (outgoing.id, said(&outgoing))
}

#[test]
fn peers_greet_each_other_before_anything_else_and_a_silent_one_gets_pushes() {
    let mut relay = machine(TxMode::PushPull, [1]);
    relay.forward(&transaction(0), Mono(0));
    let (id, request) = next(&mut relay, &EMPTY, 0, 1);
    assert!(matches!(request, TxRequest::Hello { mode: TxMode::PushPull, min_fee_rate: 1000, .. }));
    assert!(relay.poll(&EMPTY, Mono(2999)).is_none(), "it may still say how it wants it");
    relay.failed(id, Mono(100));
    assert_eq!(relay.poll_timeout(), Some(Mono(GREETING_MILLIS)));
    let (push, request) = next(&mut relay, &EMPTY, GREETING_MILLIS, 1);
    assert_eq!(request, TxRequest::Push(vec![transaction(0)]));
    relay.answered(push, &DONE, &EMPTY, Mono(3100));
    let mut tries = 1;
    while let Some(at) = relay.poll_timeout() {
        let (id, request) = next(&mut relay, &EMPTY, at.0, 1);
        assert!(matches!(request, TxRequest::Hello { .. }));
        relay.failed(id, at);
        tries += 1;
    }
    assert_eq!(tries, MAX_GREETINGS_FAILED);

    let mut relay = machine(TxMode::Push, [1]);
    assert_eq!(relay.poll_timeout(), Some(Mono(0)), "for the introduction");
    assert!(relay.poll(&EMPTY, Mono(10_000)).is_none(), "where all push nobody greets first");
    greet(&mut relay, 1, TxMode::Pull, 10_000);
    relay.forward(&transaction(0), Mono(10_000));
    let (_, request) = next(&mut relay, &Fake::of([transaction(0)]), 11_000, 1);
    assert!(matches!(request, TxRequest::Announce(_)), "{request:?}");
}

#[test]
fn what_waited_for_the_greeting_is_announced_to_one_who_pulls() {
    let mut relay = machine(TxMode::PushPull, [1]);
    relay.forward(&transaction(0), Mono(0));
    let key = greet(&mut relay, 1, TxMode::Pull, 100);
    let (_, request) = next(&mut relay, &EMPTY, 100 + ANNOUNCE_SECOND_MILLIS, 1);
    let size = transaction(0).encoded_len() as u32;
    let short = key.short(&transaction(0).id());
    assert_eq!(request, TxRequest::Announce(vec![Announcement { short, size }]));
}

#[test]
fn the_root_is_pushed_to_and_the_rest_is_told() {
    let mut relay = machine(TxMode::PushPull, 1..=9);
    (1..=9).for_each(|number| {
        greet(&mut relay, number, TxMode::PushPull, 0);
    });
    let paths = |relay: &mut TransactionRelay, transaction: &Transaction| {
        relay.forward(transaction, Mono(0));
        let pool = Fake::default();
        let said_now: Vec<_> = std::iter::from_fn(|| relay.poll(&pool, Mono(1000))).collect();
        for outgoing in &said_now {
            relay.answered(outgoing.id, &DONE, &pool, Mono(1000));
        }
        let pushed = |outgoing: &&Outgoing| matches!(said(outgoing), TxRequest::Push(_));
        assert_eq!(said_now.len(), 9);
        said_now.iter().filter(pushed).map(|outgoing| outgoing.peer).collect::<Vec<_>>()
    };
    let first = paths(&mut relay, &transaction_of(1, 0));
    assert_eq!(first.len(), 3);
    assert_eq!(paths(&mut relay, &transaction_of(1, 1)), first, "a sender's path stays");
    let others: Vec<_> = (2..9).map(|sender| paths(&mut relay, &transaction_of(sender, 0))).collect();
    assert!(others.iter().any(|path| *path != first));
    assert_eq!((relay.counts().pushed, relay.counts().announced), (27, 54));
}

#[test]
fn an_announcement_is_fetched_when_the_push_does_not_come() {
    let mut relay = machine(TxMode::PushPull, [1, 2]);
    let keys = [1, 2].map(|number| greet(&mut relay, number, TxMode::PushPull, 0));
    announce_to(&mut relay, 1, &keys[0], &[0, 1, 2], 1000);
    announce_to(&mut relay, 1, &keys[0], &[3], 1050);
    assert!(relay.poll(&EMPTY, Mono(1499)).is_none());
    assert_eq!(relay.poll_timeout(), Some(Mono(1000 + PUSH_WAIT_MILLIS)));
    assert_eq!(receive(&mut relay, 2, &[1]), [1], "another pushes one of them");
    let (id, request) = next(&mut relay, &EMPTY, 1500, 1);
    assert_eq!(request, TxRequest::Fetch(shorts(&keys[0], &[0, 2, 3])), "gathered, in order");
    let answered = relay.answered(id, &deliver(&[0, 2, 3]), &EMPTY, Mono(1600));
    assert_eq!((nonces(&answered.check), answered.error), (vec![0, 2, 3], None));
    assert_eq!(relay.counts().fetched, 3);
    relay.accepted(&transaction(0).id());
    relay.forward(&transaction(0), Mono(1600));
    relay.forward(&transaction(1), Mono(1600));
    let pool = Fake::of([transaction(0), transaction(1)]);
    let told: Vec<_> = std::iter::from_fn(|| relay.poll(&pool, Mono(1900))).map(|said| said.peer).collect();
    assert_eq!(told, [peer(2)], "who announced it has it");
}

#[test]
fn two_who_announce_the_same_are_asked_one_after_the_other() {
    let mut relay = machine(TxMode::Pull, [1, 2, 3]);
    let keys = [1, 2, 3].map(|number| greet(&mut relay, number, TxMode::Pull, 0));
    announce_to(&mut relay, 1, &keys[0], &[0, 1], 0);
    announce_to(&mut relay, 2, &keys[1], &[1, 0], 0);
    let large = with_memo(9, 50);
    let other = Announcement { short: keys[2].short(&large.id()), size: large.encoded_len() as u32 };
    ask(&mut relay, 3, &TxRequest::Announce(vec![other]), &EMPTY, 0);
    let (first, request) = next(&mut relay, &EMPTY, 100, 1);
    assert_eq!(request, TxRequest::Fetch(shorts(&keys[0], &[0, 1])));
    let (_, request) = next(&mut relay, &EMPTY, 100, 3);
    assert_eq!(request, TxRequest::Fetch(vec![other.short]), "of another size, so it is another");
    assert!(relay.poll(&EMPTY, Mono(1000)).is_none(), "the second waits for the first");

    relay.answered(first, &deliver(&[0]), &EMPTY, Mono(1000));
    let (second, request) = next(&mut relay, &EMPTY, 1000, 2);
    assert_eq!(request, TxRequest::Fetch(shorts(&keys[1], &[1])), "what the first did not bring");
    relay.answered(second, &deliver(&[1]), &EMPTY, Mono(1100));
    assert_eq!((relay.counts().fetched, relay.counts().duplicates, relay.counts().undelivered), (2, 0, 1));
}

#[test]
fn when_the_first_is_slow_the_next_announcer_is_asked_and_all_get_their_turn() {
    let mut relay = machine(TxMode::Pull, [1, 2]);
    let keys = [1, 2].map(|number| greet(&mut relay, number, TxMode::Pull, 0));
    announce_to(&mut relay, 1, &keys[0], &[0], 0);
    announce_to(&mut relay, 2, &keys[1], &[0], 0);
    let (slow, _) = next(&mut relay, &EMPTY, 100, 1);
    assert!(relay.poll(&EMPTY, Mono(100)).is_none());
    assert_eq!(relay.poll_timeout(), Some(Mono(100 + COVER_MILLIS)));
    let (quick, request) = next(&mut relay, &EMPTY, 100 + COVER_MILLIS, 2);
    assert_eq!(request, TxRequest::Fetch(shorts(&keys[1], &[0])));
    relay.answered(quick, &deliver(&[0]), &EMPTY, Mono(1200));
    announce_to(&mut relay, 1, &keys[0], &[5], 1200);
    assert!(relay.poll(&EMPTY, Mono(100 + FETCH_TIMEOUT_MILLIS)).is_none(), "one fetch at a time");
    let late = relay.answered(slow, &deliver(&[0]), &EMPTY, Mono(5200));
    assert_eq!((late.check.len(), late.error), (0, None), "late, but asked for");
    assert_eq!(relay.counts().duplicates, 1);
    let (_, request) = next(&mut relay, &EMPTY, 100 + FETCH_TIMEOUT_MILLIS + FETCH_PAUSE_MILLIS, 1);
    assert_eq!(request, TxRequest::Fetch(shorts(&keys[0], &[5])), "after a pause");

    let mut relay = machine(TxMode::Pull, [1, 2]);
    let keys = [1, 2].map(|number| greet(&mut relay, number, TxMode::Pull, 0));
    let many: Vec<u64> = (0..600).collect();
    announce_to(&mut relay, 1, &keys[0], &many, 0);
    announce_to(&mut relay, 2, &keys[1], &[700], 0);
    let (first, _) = next(&mut relay, &EMPTY, 100, 1);
    relay.answered(first, &deliver(&many[..256]), &EMPTY, Mono(200));
    let (_, request) = next(&mut relay, &EMPTY, 200, 2);
    assert_eq!(request, TxRequest::Fetch(shorts(&keys[1], &[700])), "who waited longest is next");
}

#[test]
fn what_was_announced_is_served_as_long_as_it_is_here() {
    let mut relay = machine(TxMode::Pull, [1]);
    let key = greet(&mut relay, 1, TxMode::Pull, 0);
    (0..3).for_each(|nonce| relay.forward(&transaction(nonce), Mono(0)));
    let pool = Fake::of([transaction(0), transaction(2)]);
    let (_, request) = next(&mut relay, &pool, 250, 1);
    assert!(matches!(request, TxRequest::Announce(announced) if announced.len() == 3));
    let wanted = [shorts(&key, &[2, 1, 0, 7]), vec![ShortId([9; 8])]].concat();
    let answer = ask(&mut relay, 1, &TxRequest::Fetch(wanted), &pool, 300);
    assert_eq!(answer.response, deliver(&[2, 0]));
    let long: Vec<_> = (0..256).map(|nonce| with_memo(nonce, 1000)).collect();
    long.iter().for_each(|one| relay.forward(one, Mono(300)));
    let wanted = TxRequest::Fetch(long.iter().map(|one| key.short(&one.id())).collect());
    let answer = ask(&mut relay, 1, &wanted, &Fake::of(long), 400);
    assert!(
        (MAX_BATCH_BYTES - 2000..=MAX_BATCH_BYTES + 5).contains(&answer.response.len()),
        "at most a batch"
    );
}

#[test]
fn what_the_peer_announces_meanwhile_is_not_announced_back() {
    let mut relay = machine(TxMode::Pull, [1]);
    let key = greet(&mut relay, 1, TxMode::Pull, 0);
    relay.forward(&transaction(0), Mono(0));
    relay.forward(&transaction(1), Mono(0));
    announce_to(&mut relay, 1, &key, &[0], 50);
    let (_, request) = next(&mut relay, &EMPTY, 250, 1);
    assert!(matches!(request, TxRequest::Announce(announced) if announced.len() == 1));
    assert_eq!((relay.counts().heard, relay.counts().heard_before), (1, 1));
}

#[test]
fn below_a_peers_fee_filter_it_is_told_nothing() {
    let mut relay = machine(TxMode::PushPull, [1]);
    greet(&mut relay, 1, TxMode::PushPull, 0);
    let rate = fee_rate(&transaction(0));
    ask(&mut relay, 1, &TxRequest::FeeFilter(rate + 1), &EMPTY, 0);
    relay.forward(&transaction(0), Mono(0));
    assert!(relay.poll(&EMPTY, Mono(500)).is_none());
    ask(&mut relay, 1, &TxRequest::FeeFilter(rate), &EMPTY, 600);
    relay.forward(&transaction(0), Mono(600));
    assert!(relay.poll(&EMPTY, Mono(1000)).is_some());
}

#[test]
fn a_notable_change_of_our_own_fee_is_told_but_not_at_every_turn() {
    let mut relay = machine(TxMode::PushPull, [1]);
    greet(&mut relay, 1, TxMode::PushPull, 0);
    relay.set_min_fee_rate(1250);
    assert!(relay.poll(&EMPTY, Mono(20_000)).is_none(), "a quarter is not worth a message");
    relay.set_min_fee_rate(1251);
    let (id, request) = next(&mut relay, &EMPTY, 20_000, 1);
    assert_eq!(request, TxRequest::FeeFilter(1251));
    relay.answered(id, &DONE, &EMPTY, Mono(20_100));
    relay.set_min_fee_rate(9999);
    assert!(relay.poll(&EMPTY, Mono(20_000 + FEE_FILTER_MILLIS - 1)).is_none());
    assert_eq!(relay.poll_timeout(), Some(Mono(20_000 + FEE_FILTER_MILLIS)));
    let (_, request) = next(&mut relay, &EMPTY, 20_000 + FEE_FILTER_MILLIS, 1);
    assert_eq!(request, TxRequest::FeeFilter(9999));
}

#[test]
fn a_light_peer_sends_its_own_and_takes_no_flood_until_it_has_grown_up() {
    let mut light = TransactionRelay::new(TxMode::PushPull, Intake::Nothing, 1000, [1, 2]);
    light.peer_connected(peer(1), OpenedBy::Them, Mono(0));
    let (id, request) = next(&mut light, &EMPTY, 0, 1);
    let TxRequest::Hello { mode: TxMode::Pull, salt, min_fee_rate: u64::MAX } = request else {
        panic!("{request:?} does not say that it is light");
    };
    light.answered(id, &DONE, &EMPTY, Mono(0));
    ask(&mut light, 1, &TxRequest::Hello { mode: TxMode::PushPull, salt: 5, min_fee_rate: 0 }, &EMPTY, 0);
    let not_now = TxResponse::Refused(TxRefusal::NotInThisMode);
    for request in [
        TxRequest::Push(vec![transaction(0)]),
        TxRequest::Announce(Vec::new()),
        TxRequest::Sketch { offset: 0, count: 1 },
    ] {
        assert_eq!(response(&ask(&mut light, 1, &request, &EMPTY, 0)), not_now);
    }
    light.forward(&transaction(7), Mono(0));
    assert_eq!(next(&mut light, &EMPTY, 50, 1).1, TxRequest::Push(vec![transaction(7)]));
    assert!(light.poll(&Fake::of([transaction(7)]), Mono(60_000)).is_none(), "it compares nothing");

    let mut full = machine(TxMode::PushPull, [9]);
    let hello = |mode, min_fee_rate| TxRequest::Hello { mode, salt, min_fee_rate };
    ask(&mut full, 9, &hello(TxMode::Pull, u64::MAX), &EMPTY, 0);
    let (id, _) = next(&mut full, &EMPTY, 0, 9);
    full.answered(id, &DONE, &EMPTY, Mono(0));
    full.forward(&transaction(0), Mono(0));
    assert!(full.poll(&Fake::of([transaction(0)]), Mono(60_000)).is_none(), "the light one is left alone");

    light.set_intake(Intake::All, Mono(100));
    let (_, request) = next(&mut light, &EMPTY, 100, 1);
    assert_eq!(request, hello(TxMode::PushPull, 1000), "it says so with the same salt");
    assert_eq!(response(&ask(&mut full, 9, &request, &EMPTY, 60_100)), TxResponse::Done);
    full.forward(&transaction(3), Mono(60_100));
    assert!(full.poll(&EMPTY, Mono(60_400)).is_some());
}

#[test]
fn two_that_reconcile_learn_exactly_what_they_lack() {
    let mut one = machine(TxMode::PushPull, [2]);
    let mut two = machine(TxMode::PushPull, [1]);
    let shared = 0..300;
    let mut pools = [
        Fake::of(shared.clone().chain(300..310).map(transaction)),
        Fake::of(shared.chain(310..330).map(transaction)),
    ];
    let mut now = 0;
    // Old enough not to be on its way.
    for (relay, pool) in [(&mut one, &pools[0]), (&mut two, &pools[1])] {
        pool.0.keys().for_each(|id| {
            relay.meet(*id, Mono(0));
        });
    }
    while now < 60_000 {
        let mut quiet = true;
        for turn in 0..2 {
            let (from, to, ours, theirs) = if turn == 0 { (1, 2, 0, 1) } else { (2, 1, 1, 0) };
            let (sender, receiver) = if turn == 0 { (&mut one, &mut two) } else { (&mut two, &mut one) };
            while let Some(outgoing) = sender.poll(&pools[ours], Mono(now)) {
                assert_eq!(outgoing.peer, peer(to));
                quiet = false;
                let answer =
                    receiver.request(&peer(from), &outgoing.body, &pools[theirs], Mono(now)).unwrap();
                let answered = sender.answered(outgoing.id, &answer.response, &pools[ours], Mono(now));
                assert_eq!((answer.check.len(), answered.error), (0, None), "nothing is pushed");
                for transaction in answered.check {
                    sender.accepted(&transaction.id());
                    pools[ours].0.insert(transaction.id(), transaction);
                }
            }
        }
        now = if quiet {
            [&one, &two].iter().filter_map(|relay| relay.poll_timeout()).min().unwrap().0.max(now + 1)
        } else {
            now
        };
    }
    assert_eq!(pools[0].0, pools[1].0);
    assert_eq!((one.counts().fetched, two.counts().fetched), (20, 10));
    assert_eq!(one.counts().duplicates + two.counts().duplicates, 0);
    assert!(one.counts().sketches_decoded > 0 && two.counts().sketches_decoded > 0);
    assert_eq!(one.counts().sketches_failed + two.counts().sketches_failed, 0);
    let symbols = one.counts().bytes_sent.symbols + two.counts().bytes_sent.symbols;
    assert!(symbols < 64 * 16 + 30 * 16 * 21, "{symbols} bytes of symbols");
}

#[test]
fn what_has_waited_here_for_long_is_not_asked_of_a_newcomer_who_tells_of_it() {
    let mut relay = machine(TxMode::Pull, [1]);
    let pool = Fake::of([transaction(0)]);
    let hello = TxRequest::Hello { mode: TxMode::Pull, salt: 1, min_fee_rate: 0 };
    ask(&mut relay, 1, &hello, &pool, 0);
    let mut salt = None;
    while let Some(outgoing) = relay.poll(&pool, Mono(0)) {
        if let TxRequest::Hello { salt: ours, .. } = said(&outgoing) {
            salt = Some(ours);
            relay.answered(outgoing.id, &DONE, &pool, Mono(0));
        }
    }
    let key = PairKey::new(salt.expect("it greets"), 1);
    let announcements = [0, 1].map(|nonce| Announcement {
        short: key.short(&transaction(nonce).id()),
        size: transaction(nonce).encoded_len() as u32,
    });
    ask(&mut relay, 1, &TxRequest::Announce(announcements.to_vec()), &pool, 0);
    let mut fetched = Vec::new();
    while let Some(outgoing) = relay.poll(&pool, Mono(FETCH_GATHER_MILLIS)) {
        if let TxRequest::Fetch(shorts) = said(&outgoing) {
            fetched.extend(shorts);
        }
    }
    assert_eq!(fetched, shorts(&key, &[1]), "the other is here, though nobody was told of it");
}
