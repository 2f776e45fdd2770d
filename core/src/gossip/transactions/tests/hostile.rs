//! What a liar, a silent one and one who talks too much can do to a relay.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    super::{fetching::POSTPONED_MILLIS, sketch::sketch},
    pulling::{announce_to, deliver, greet, next},
    *,
};

#[test]
fn announcements_that_are_never_delivered_cost_less_and_less() {
    let mut relay = machine(TxMode::Pull, [1, 2]);
    let keys = [1, 2].map(|number| greet(&mut relay, number, TxMode::Pull, 0));
    announce_to(&mut relay, 1, &keys[0], &(0..1000).collect::<Vec<_>>(), 0);
    let nothing = TxResponse::Transactions(Vec::new()).to_bytes();
    let mut fetches = Vec::new();
    let mut now = 0;
    while now < 60_000 {
        now = relay.poll_timeout().map_or(60_000, |next| next.0.max(now));
        while let Some(outgoing) = relay.poll(&EMPTY, Mono(now)) {
            fetches.push(now);
            let answered = relay.answered(outgoing.id, &nothing, &EMPTY, Mono(now));
            assert_eq!(answered, Answered::default(), "that is no offence: they may be in a block");
        }
    }
    assert_eq!(fetches, [100, 1_100, 3_100, 7_100]);
    assert_eq!(relay.counts().undelivered, 1000);
    // Meanwhile another peer is asked as ever.
    announce_to(&mut relay, 2, &keys[1], &[5000], 60_000);
    let (id, _) = next(&mut relay, &EMPTY, 60_100, 2);
    assert_eq!(relay.answered(id, &deliver(&[5000]), &EMPTY, Mono(60_200)).check.len(), 1);
}

#[test]
fn who_delivers_never_waits_for_those_who_do_not_under_however_many_names() {
    let mut relay = machine(TxMode::Pull, [1]);
    let honest = greet(&mut relay, 1, TxMode::Pull, 0);
    announce_to(&mut relay, 1, &honest, &[0], 0);
    let (id, _) = next(&mut relay, &EMPTY, 100, 1);
    relay.answered(id, &deliver(&[0]), &EMPTY, Mono(100));
    let mut now = 1_000;
    for name in 2..30 {
        relay.peer_connected(peer(name), OpenedBy::Them, Mono(now));
        let key = greet(&mut relay, name, TxMode::Pull, now);
        announce_to(&mut relay, name, &key, &(1_000..1_256).collect::<Vec<_>>(), now);
        let nonce = u64::from(name);
        announce_to(&mut relay, 1, &honest, &[nonce], now);
        now += FETCH_GATHER_MILLIS;
        let asked: Vec<_> = std::iter::from_fn(|| relay.poll(&EMPTY, Mono(now))).collect();
        let to_honest = asked.iter().find(|outgoing| outgoing.peer == peer(1));
        let to_honest = to_honest.unwrap_or_else(|| panic!("{} others were asked instead", asked.len()));
        assert_eq!(relay.answered(to_honest.id, &deliver(&[nonce]), &EMPTY, Mono(now)).check.len(), 1);
        relay.peer_disconnected(&peer(name), Mono(now + 400));
        now += 400;
    }
}

#[test]
fn those_who_deliver_only_now_and_then_hold_others_up_for_two_seconds_at_most() {
    let mut relay = machine(TxMode::Pull, 1..=6);
    let keys: Vec<_> = (1..=6).map(|number| greet(&mut relay, number, TxMode::Pull, 0)).collect();
    // All have delivered once, so that all are waited for, and the honest one last, so that it is the last in turn.
    for (number, key) in (2..=6).chain([1]).map(|number| (number, &keys[usize::from(number) - 1])) {
        announce_to(&mut relay, number, key, &[number.into()], 0);
        let (id, _) = next(&mut relay, &EMPTY, 100, number);
        relay.answered(id, &deliver(&[number.into()]), &EMPTY, Mono(100));
    }
    // Each says that it has something of the size that the honest one has.
    for number in 2..=6 {
        announce_to(&mut relay, number, &keys[usize::from(number) - 1], &[200 + u64::from(number)], 1_000);
    }
    let mut asked = None;
    for now in (1_000..8_000).step_by(50) {
        if now == 1_150 {
            announce_to(&mut relay, 1, &keys[0], &[100], now);
        }
        while let Some(outgoing) = relay.poll(&EMPTY, Mono(now)) {
            if outgoing.peer == peer(1) {
                asked.get_or_insert(now);
            }
        }
    }
    let after = asked.expect("it was asked in the end") - 1_150 - FETCH_GATHER_MILLIS;
    // What is due within the time that is gathered for counts as due.
    assert_eq!(after, POSTPONED_MILLIS + FETCH_GATHER_MILLIS);
}

#[test]
fn one_who_never_answers_is_asked_less_and_less_and_its_announcements_are_forgotten() {
    let mut relay = machine(TxMode::Pull, [1]);
    let key = greet(&mut relay, 1, TxMode::Pull, 0);
    announce_to(&mut relay, 1, &key, &[0], 0);
    let mut asked = Vec::new();
    let mut now = 0;
    while now < 200_000 {
        now = relay.poll_timeout().expect("sketches go on").0.max(now);
        if let Some(outgoing) = relay.poll(&EMPTY, Mono(now)) {
            asked.push(now);
            now += 10_000;
            assert!(relay.poll(&EMPTY, Mono(now)).is_none());
            relay.failed(outgoing.id, Mono(now));
        }
    }
    assert_eq!(asked.len(), 1 + usize::from(MAX_FAILURES), "{asked:?}");
    assert_eq!(relay.peers[&peer(1)].offers.len(), 0);
}

#[test]
fn a_false_size_is_a_low_offence_and_the_transaction_is_taken() {
    let mut relay = machine(TxMode::Pull, [1]);
    let key = greet(&mut relay, 1, TxMode::Pull, 0);
    let short = key.short(&transaction(0).id());
    let size = transaction(0).encoded_len() as u32 + 1;
    ask(&mut relay, 1, &TxRequest::Announce(vec![Announcement { short, size }]), &EMPTY, 0);
    let (id, _) = next(&mut relay, &EMPTY, 100, 1);
    let answered = relay.answered(id, &deliver(&[0]), &EMPTY, Mono(200));
    assert_eq!(
        (answered.check.len(), answered.error.map(|error| error.offence())),
        (1, Some(Offence::FalseAnnouncement))
    );
    for size in [0, Transaction::EMPTY_LEN as u32 - 1, Transaction::MAX_LEN as u32 + 1, u32::MAX] {
        let announcement = Announcement { short: ShortId([1; 8]), size };
        let answer = ask(&mut relay, 1, &TxRequest::Announce(vec![announcement]), &EMPTY, 300);
        assert_eq!(answer.offence, Some(Offence::FalseAnnouncement), "no transaction has {size} bytes");
    }
    assert_eq!((relay.counts().false_sizes, relay.peers[&peer(1)].offers.len()), (5, 0));
}

#[test]
fn what_was_not_asked_for_is_an_offence_and_not_taken() {
    let mut relay = machine(TxMode::Pull, [1]);
    let key = greet(&mut relay, 1, TxMode::Pull, 0);
    for (wrong, taken) in [
        (deliver(&[7]), 0),
        (deliver(&[0, 0]), 1),
        (TxResponse::Done.to_bytes(), 0),
        (TxResponse::Symbols(Vec::new()).to_bytes(), 0),
    ] {
        relay.met = Met::new(7);
        relay.checks = Checks::default();
        announce_to(&mut relay, 1, &key, &[0, 1], 0);
        let due = relay.poll_timeout().unwrap().0;
        let (id, _) = next(&mut relay, &EMPTY, due, 1);
        let answered = relay.answered(id, &wrong, &EMPTY, Mono(due));
        assert_eq!(answered.error, Some(AnswerError::Unexpected), "{wrong:?}");
        assert_eq!(answered.check.len(), taken);
        relay.peers.get_mut(&peer(1)).unwrap().offers = offers::Offers::default();
    }
    assert_eq!(relay.in_flight.len(), 0);
}

#[test]
fn announcing_everything_twice_changes_nothing_and_more_than_there_is_room_for_is_forgotten() {
    let mut relay = machine(TxMode::Pull, [1]);
    let key = greet(&mut relay, 1, TxMode::Pull, 0);
    for from in (0..6000).step_by(1000) {
        let nonces: Vec<_> = (from..from + 1000).collect();
        for _ in 0..2 {
            assert_eq!(response(&announce_to(&mut relay, 1, &key, &nonces, 0)), TxResponse::Done);
        }
    }
    assert_eq!(relay.peers[&peer(1)].offers.len(), MAX_OFFERS);
    assert_eq!((relay.counts().heard, relay.counts().heard_before), (12_000, 12_000 - MAX_OFFERS as u64));
    let too_many = vec![Announcement { short: ShortId([1; 8]), size: 165 }; MAX_ANNOUNCED + 1];
    let answer = ask(&mut relay, 1, &TxRequest::Announce(too_many), &EMPTY, 0);
    assert_eq!(response(&answer), TxResponse::Refused(TxRefusal::TooMany));
    let too_many = TxRequest::Fetch(vec![ShortId([1; 8]); MAX_BATCH_COUNT + 1]);
    assert_eq!(response(&ask(&mut relay, 1, &too_many, &EMPTY, 0)), TxResponse::Refused(TxRefusal::TooMany));
}

#[test]
fn one_who_brings_too_much_is_told_so_and_blamed_only_when_it_goes_on() {
    let mut relay = machine(TxMode::Pull, [1, 2]);
    let key = greet(&mut relay, 1, TxMode::Pull, 0);
    greet(&mut relay, 2, TxMode::Pull, 0);
    let nonces: Vec<_> = (0..1000).collect();
    let busy = TxResponse::Refused(TxRefusal::Busy);
    let mut answers: Vec<_> = (0..100).map(|_| announce_to(&mut relay, 1, &key, &nonces, 0)).collect();
    let taken = answers.iter().take_while(|answer| response(answer) == TxResponse::Done).count();
    assert_eq!(taken, 16, "16,384 items at once");
    let refused = answers.split_off(taken);
    assert!(refused.iter().all(|answer| response(answer) == busy));
    let blamed = refused.iter().position(|answer| answer.offence == Some(Offence::Flood));
    assert_eq!(blamed, Some(REFUSALS.burst as usize));
    let fetch = TxRequest::Fetch(vec![ShortId([3; 8])]);
    assert_ne!(response(&ask(&mut relay, 2, &fetch, &EMPTY, 0)), busy, "nobody else is held back");
    assert_eq!(response(&announce_to(&mut relay, 1, &key, &nonces, 1000)), TxResponse::Done, "later it may");

    let mut relay = machine(TxMode::Pull, [1]);
    greet(&mut relay, 1, TxMode::Pull, 0);
    let large = TxRequest::Push((0..256).map(|nonce| with_memo(nonce, 400)).collect());
    let taken =
        (0..100).take_while(|_| response(&ask(&mut relay, 1, &large, &EMPTY, 0)) == TxResponse::Done).count();
    assert!((26..=30).contains(&taken), "4 MiB at once, and not {taken} messages");
}

#[test]
fn coming_back_allows_no_more_and_forgives_no_refusal() {
    let mut relay = machine(TxMode::Pull, []);
    let announcement = Announcement { short: ShortId([3; 8]), size: 165 };
    let body = TxRequest::Announce(vec![announcement; 1000]).to_bytes();
    let mut come = |number| {
        relay.peer_connected(peer(number), OpenedBy::Them, Mono(0));
        let answers = [(); 4].map(|()| relay.request(&peer(number), &body, &EMPTY, Mono(0)).unwrap());
        relay.peer_disconnected(&peer(number), Mono(0));
        answers
    };
    let answers: Vec<_> = (0..40).flat_map(|_| come(1)).collect();
    let taken = answers.iter().take_while(|answer| response(answer) == TxResponse::Done).count();
    assert_eq!(taken, 16, "16,384 items at once, over however many connections");
    let blamed = answers.iter().position(|answer| answer.offence == Some(Offence::Flood));
    assert_eq!(blamed, Some(taken + REFUSALS.burst as usize));
    assert!(come(2).iter().all(|answer| response(answer) == TxResponse::Done), "another has its own");
}

#[test]
fn greeting_twice_is_an_update_and_another_salt_a_restart_that_may_not_come_often() {
    let mut relay = machine(TxMode::PushPull, [1]);
    greet(&mut relay, 1, TxMode::PushPull, 0);
    let hello = |salt, mode| TxRequest::Hello { mode, salt, min_fee_rate: 0 };
    assert_eq!(response(&ask(&mut relay, 1, &hello(1, TxMode::Push), &EMPTY, 5)), TxResponse::Done);
    relay.forward(&transaction(0), Mono(10));
    let (id, request) = next(&mut relay, &EMPTY, 60, 1);
    assert_eq!(request, TxRequest::Push(vec![transaction(0)]), "it takes pushes now");
    relay.answered(id, &DONE, &EMPTY, Mono(70));
    let busy = TxResponse::Refused(TxRefusal::Busy);
    for salt in 2..9 {
        let answer = ask(&mut relay, 1, &hello(salt, TxMode::PushPull), &EMPTY, SALT_MILLIS - 1);
        assert_eq!((response(&answer), answer.offence), (busy.clone(), None));
    }
    let answer = ask(&mut relay, 1, &hello(2, TxMode::PushPull), &EMPTY, SALT_MILLIS);
    assert_eq!(response(&answer), TxResponse::Done);
    let (id, request) = next(&mut relay, &EMPTY, SALT_MILLIS, 1);
    assert!(matches!(request, TxRequest::Hello { .. }), "who restarted does not know our half");
    relay.answered(id, &DONE, &EMPTY, Mono(SALT_MILLIS));
    relay.forward(&transaction(0), Mono(SALT_MILLIS));
    assert!(relay.poll(&EMPTY, Mono(SALT_MILLIS + 500)).is_some(), "what it had is gone");
}

/// What a peer with this set answers to the relay's sketches, until it asks no more. Returns how many symbols that took.
fn reconcile(
    relay: &mut TransactionRelay,
    pool: &Fake,
    now: u64,
    mut answer: impl FnMut(usize, usize) -> Vec<Symbol>,
) -> usize {
    let mut asked = 0;
    while let Some(outgoing) = relay.poll(pool, Mono(now)) {
        let TxRequest::Sketch { offset, count } = said(&outgoing) else { return asked };
        asked = (offset + count) as usize;
        let symbols = TxResponse::Symbols(answer(offset as usize, count as usize)).to_bytes();
        relay.answered(outgoing.id, &symbols, pool, Mono(now));
    }
    asked
}

#[test]
fn sketches_that_never_decode_or_are_junk_end_in_an_announcement_and_a_pause() {
    let pool = Fake::of((0..50).map(transaction));
    let symbol = |byte: u8, count| Symbol { ids: [byte; 8], checksum: [byte; 4], count };
    type Answers = Box<dyn Fn(usize, usize) -> Vec<Symbol>>;
    let cases: [(&str, usize, Answers); 3] = [
        (
            "noise",
            MAX_SYMBOLS,
            Box::new(move |offset, count| {
                (offset..offset + count).map(|index| symbol(index as u8 | 1, 99)).collect()
            }),
        ),
        (
            "an endless difference",
            MAX_SYMBOLS,
            Box::new(|offset, count| {
                let key = super::super::short::PairKey::new(77, 88);
                let ids = (0..5000_u64).map(|id| ShortId(id.to_le_bytes()));
                sketch(&key, ids, MAX_SYMBOLS)[offset..offset + count].to_vec()
            }),
        ),
        ("nothing", FIRST_SYMBOLS, Box::new(|_, _| Vec::new())),
    ];
    for (name, expected, answer) in cases {
        let mut relay = machine(TxMode::PushPull, [1]);
        greet(&mut relay, 1, TxMode::PushPull, 0);
        assert_eq!(reconcile(&mut relay, &pool, SKETCH_MILLIS, answer), expected, "{name}");
        assert_eq!((relay.counts().sketches_failed, relay.counts().sketches_decoded), (1, 0), "{name}");
        let (id, request) = next(&mut relay, &pool, SKETCH_MILLIS + 250, 1);
        assert!(matches!(request, TxRequest::Announce(announced) if announced.len() == 50), "{name}");
        relay.answered(id, &DONE, &pool, Mono(SKETCH_MILLIS + 300));
        assert_eq!(relay.poll_timeout(), Some(Mono(SKETCH_MILLIS + SKETCH_PAUSE_MILLIS)), "{name}");
    }
    let mut relay = machine(TxMode::PushPull, [1]);
    greet(&mut relay, 1, TxMode::PushPull, 0);
    let (id, _) = next(&mut relay, &pool, SKETCH_MILLIS, 1);
    let too_many = TxResponse::Symbols(vec![symbol(1, 1); FIRST_SYMBOLS + 1]).to_bytes();
    let answered = relay.answered(id, &too_many, &pool, Mono(SKETCH_MILLIS));
    assert_eq!(answered.error, Some(AnswerError::Unexpected));
    assert!(!relay.reconciler.is_busy());
}

#[test]
fn a_sketch_is_served_in_order_within_its_bounds_and_its_time() {
    let mut relay = machine(TxMode::PushPull, [1]);
    let pool = Fake::of((0..50).map(transaction));
    let sketch = |offset, count| TxRequest::Sketch { offset, count };
    let early = ask(&mut relay, 1, &sketch(0, 16), &pool, 0);
    assert_eq!(response(&early), TxResponse::Refused(TxRefusal::Busy), "before the greeting");
    greet(&mut relay, 1, TxMode::PushPull, 0);
    let mut ask_for =
        |offset, count, now| match response(&ask(&mut relay, 1, &sketch(offset, count), &pool, now)) {
            TxResponse::Symbols(symbols) => Ok(symbols.len()),
            TxResponse::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        };
    let (busy, too_many) = (Err(TxRefusal::Busy), Err(TxRefusal::TooMany));
    assert_eq!(ask_for(16, 16, 0), busy, "nothing has begun");
    assert_eq!(ask_for(0, 16, 0), Ok(16));
    assert_eq!(ask_for(0, 0, 0), too_many);
    assert_eq!(ask_for(u32::MAX, u32::MAX, 0), too_many);
    assert_eq!(ask_for(32, 16, 0), busy, "out of order");
    assert_eq!(ask_for(16, 1008, 0), Ok(1008));
    assert_eq!(ask_for(1024, 1, 0), too_many);
    assert_eq!(ask_for(0, 16, 0), Ok(16), "afresh");
    assert_eq!(ask_for(16, 16, SKETCH_LIFE_MILLIS), busy, "too late");
    let begun = (0..100).take_while(|_| ask_for(0, 1, SKETCH_LIFE_MILLIS).is_ok()).count();
    assert!(begun < 32, "{begun} sketches at once");
}

#[test]
fn what_one_peer_has_us_remember_is_bounded() {
    let mut relay = machine(TxMode::Push, [1]);
    for round in 0..200_u64 {
        let from = round * 256;
        let body = push(from..from + 256);
        let answer = relay.request(&peer(1), &body, &EMPTY, Mono(round * 500)).unwrap();
        assert_eq!(answer.check.len(), 256);
        answer.check.iter().for_each(|one| relay.dropped(&one.id(), Mono(round * 500)));
    }
    assert_eq!(relay.met.iter().count(), MAX_KNOWN);
    assert_eq!(relay.peers[&peer(1)].known.len(), MAX_KNOWN);
}
