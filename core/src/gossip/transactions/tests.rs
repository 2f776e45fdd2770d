//! The relay by example. Its submodules join many of them by a network, and lie to one.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

mod hostile;
mod network;
mod pulling;

use super::*;
use crate::{
    chain::UnsignedTransaction,
    primitives::{Address, Amount, PublicKey, Signature, Slot, encode},
};

/// A pool that takes everything and orders by id.
#[derive(Debug, Default)]
struct Fake(BTreeMap<Hash, Transaction>);

impl Pool for Fake {
    fn get(&self, id: &Hash) -> Option<&Transaction> {
        self.0.get(id)
    }

    fn best(&self) -> impl Iterator<Item = (Hash, &Transaction)> {
        self.0.iter().map(|(id, transaction)| (*id, transaction))
    }
}

impl Fake {
    fn of(transactions: impl IntoIterator<Item = Transaction>) -> Self {
        Self(transactions.into_iter().map(|transaction| (transaction.id(), transaction)).collect())
    }
}

const EMPTY: Fake = Fake(BTreeMap::new());

fn peer(number: u8) -> PeerId {
    let key = [[0, 36, 8, 1, 18, 32].as_slice(), &[number; 32]].concat();
    PeerId::from_bytes(&key).unwrap()
}

fn transaction_of(sender: u8, nonce: u64) -> Transaction {
    let (from, to) = (PublicKey([sender; 32]), Address([2; 32]));
    let content = UnsignedTransaction::transfer(from, to, Amount(3), Amount(400), nonce, Slot(6));
    Transaction { content, signature: Signature([8; 64]) }
}

fn transaction(nonce: u64) -> Transaction {
    transaction_of(1, nonce)
}

fn with_memo(nonce: u64, bytes: usize) -> Transaction {
    let mut transaction = transaction(nonce);
    transaction.content.memo = vec![0; bytes];
    transaction
}

fn machine(mode: TxMode, peers: impl IntoIterator<Item = u8>) -> TransactionRelay {
    let mut relay = TransactionRelay::new(mode, Intake::All, 1000, [7, 8]);
    peers.into_iter().for_each(|number| relay.peer_connected(peer(number), OpenedBy::Them, Mono(0)));
    relay
}

fn relay(peers: impl IntoIterator<Item = u8>) -> TransactionRelay {
    machine(TxMode::Push, peers)
}

fn push(transactions: impl IntoIterator<Item = u64>) -> Vec<u8> {
    TxRequest::Push(transactions.into_iter().map(transaction).collect()).to_bytes()
}

fn nonces(transactions: &[Transaction]) -> Vec<u64> {
    transactions.iter().map(|transaction| transaction.content.nonce).collect()
}

#[test]
fn on_a_link_for_blocks_no_transaction_is_sent_told_of_asked_for_or_taken() {
    for mode in [TxMode::Push, TxMode::Pull, TxMode::PushPull] {
        let (mut relay, pool) = (machine(mode, []), Fake::of([transaction(1)]));
        relay.peer_connected_for_blocks(peer(1), Mono(0));
        let hello = relay.poll(&pool, Mono(0)).unwrap();
        assert!(
            matches!(said(&hello), TxRequest::Hello { mode: TxMode::Pull, min_fee_rate: u64::MAX, .. }),
            "{mode:?}"
        );
        relay.answered(hello.id, &TxResponse::Done.to_bytes(), &pool, Mono(1));
        relay.forward(&transaction(2), Mono(2));
        relay.forward_to(&peer(1), &transaction(3), Mono(2));
        let their = TxRequest::Hello { mode, salt: 5, min_fee_rate: 0 }.to_bytes();
        let answer = relay.request(&peer(1), &their, &pool, Mono(3)).unwrap();
        assert_eq!(answer.response, TxResponse::Done.to_bytes());
        let announcement = Announcement { short: ShortId([1; 8]), size: 200 };
        for request in [
            push([4]),
            TxRequest::Announce(vec![announcement]).to_bytes(),
            TxRequest::Fetch(vec![ShortId([1; 8])]).to_bytes(),
            TxRequest::Sketch { offset: 0, count: 1 }.to_bytes(),
        ] {
            let answer = relay.request(&peer(1), &request, &pool, Mono(4)).unwrap();
            let refused = TxResponse::Refused(TxRefusal::NotInThisMode).to_bytes();
            assert_eq!((answer.response, answer.check, answer.offence), (refused, Vec::new(), None));
        }
        for at in [100, 5_000, 60_000, 600_000] {
            assert_eq!(relay.poll(&pool, Mono(at)), None, "{mode:?} at {at}");
        }
    }
}

fn said(outgoing: &Outgoing) -> TxRequest {
    TxRequest::from_bytes(&outgoing.body).unwrap()
}

/// The nonces that a push carries.
fn carried(outgoing: &Outgoing) -> Vec<u64> {
    match said(outgoing) {
        TxRequest::Push(transactions) => nonces(&transactions),
        other => panic!("{other:?} is no push"),
    }
}

fn ask(relay: &mut TransactionRelay, from: u8, request: &TxRequest, pool: &Fake, now: u64) -> Answer {
    relay.request(&peer(from), &request.to_bytes(), pool, Mono(now)).unwrap()
}

fn response(answer: &Answer) -> TxResponse {
    TxResponse::from_bytes(&answer.response).unwrap()
}

/// What is put in check of a push by a peer, at time 0, when the mempool is empty.
fn receive(relay: &mut TransactionRelay, from: u8, transactions: &[u64]) -> Vec<u64> {
    let body = push(transactions.iter().copied());
    let answer = relay.request(&peer(from), &body, &EMPTY, Mono(0)).unwrap();
    assert_eq!(answer.response, TxResponse::Done.to_bytes());
    nonces(&answer.check)
}

const DONE: [u8; 1] = [0];

#[test]
fn a_transaction_goes_to_all_who_are_not_known_to_have_it() {
    let mut relay = relay([1, 2, 3]);
    assert_eq!(receive(&mut relay, 1, &[0]), [0]);
    relay.accepted(&transaction(0).id());
    relay.forward(&transaction(0), Mono(10));
    relay.forward(&transaction(1), Mono(20));
    assert!(relay.poll(&EMPTY, Mono(59)).is_none(), "it is still being gathered");
    assert_eq!(relay.poll_timeout(), Some(Mono(60)));
    let sent: Vec<_> = std::iter::from_fn(|| relay.poll(&EMPTY, Mono(70))).collect();
    let sent: Vec<_> = sent.iter().map(|push| (push.peer, carried(push))).collect();
    assert_eq!(sent, [(peer(1), vec![1]), (peer(2), vec![0, 1]), (peer(3), vec![0, 1])]);
    relay.forward(&transaction(1), Mono(80));
    assert_eq!((relay.poll(&EMPTY, Mono(1000)), relay.poll_timeout()), (None, None), "nothing is sent twice");
}

#[test]
fn what_a_peer_sends_meanwhile_is_taken_out_of_its_queue() {
    let mut relay = relay([1]);
    relay.forward(&transaction(0), Mono(0));
    receive(&mut relay, 1, &[0]);
    assert_eq!((relay.poll(&EMPTY, Mono(1000)), relay.poll_timeout()), (None, None));
}

#[test]
fn each_transaction_is_checked_once_and_all_its_senders_answer_for_it() {
    let mut relay = relay([1, 2]);
    assert_eq!(receive(&mut relay, 1, &[0, 1, 0]), [0, 1]);
    assert_eq!(receive(&mut relay, 2, &[1, 2]), [2]);
    let id = transaction(1).id();
    assert_eq!(relay.refused(&id, Mono(5)), [peer(1), peer(2)]);
    assert!(receive(&mut relay, 3, &[1]).is_empty(), "refused before");
    assert_eq!(relay.refused(&id, Mono(6)), [], "nobody sent it since");
    relay.dropped(&transaction(0).id(), Mono(6));
    assert_eq!(receive(&mut relay, 2, &[0]), [0], "what was dropped may come again");
    let pool = Fake::of([transaction(7)]);
    let answer = relay.request(&peer(2), &push([7]), &pool, Mono(0)).unwrap();
    assert_eq!(answer.check, [], "the mempool has it");
    assert_eq!((relay.counts().received, relay.counts().duplicates), (8, 4));
}

#[test]
fn a_refusal_is_forgotten_in_time() {
    let mut relay = relay([1]);
    relay.refused(&transaction(0).id(), Mono(1000));
    let later = |relay: &mut TransactionRelay, now| {
        relay.request(&peer(1), &push([0]), &EMPTY, Mono(now)).unwrap().check.len()
    };
    assert_eq!(later(&mut relay, 1000 + REFUSED_MILLIS), 0);
    assert_eq!(later(&mut relay, 1001 + REFUSED_MILLIS), 1);
}

#[test]
fn so_many_refusals_are_remembered_and_the_oldest_gives_way() {
    let mut relay = relay([1]);
    let most = MAX_REFUSED as u64;
    (0..most).for_each(|nonce| _ = relay.refused(&transaction(nonce).id(), Mono(0)));
    assert!(receive(&mut relay, 1, &[0, most - 1]).is_empty());
    relay.refused(&transaction(most).id(), Mono(0));
    assert_eq!(receive(&mut relay, 1, &[0, 1, most]), [0]);
}

#[test]
fn requests_are_bounded_in_size_and_in_flight() {
    let mut relay = relay([1]);
    for nonce in 0..3 * MAX_BATCH_COUNT as u64 {
        relay.forward(&transaction(nonce), Mono(0));
    }
    let first = relay.poll(&EMPTY, Mono(0)).expect("a full request does not wait");
    let second = relay.poll(&EMPTY, Mono(0)).unwrap();
    assert_eq!((relay.poll(&EMPTY, Mono(1000)), relay.poll_timeout()), (None, None), "two are in flight");
    assert_eq!(carried(&first), (0..256).collect::<Vec<_>>());
    assert!(first.body.len() <= MAX_BATCH_BYTES + 5);
    assert_eq!(relay.answered(second.id, &DONE, &EMPTY, Mono(5)), Answered::default());
    let third = relay.poll(&EMPTY, Mono(50)).unwrap();
    assert_eq!(carried(&third), (512..768).collect::<Vec<_>>());
    assert_eq!(relay.counts().pushed, 768);

    relay.peer_disconnected(&peer(1), Mono(50));
    relay.peer_connected(peer(1), OpenedBy::Them, Mono(50));
    for nonce in 0..400 {
        relay.forward(&with_memo(nonce, 256), Mono(0));
    }
    let push = relay.poll(&EMPTY, Mono(50)).unwrap();
    assert!(carried(&push).len() == 256 && push.body.len() <= MAX_BATCH_BYTES + 5);
}

#[test]
fn a_slow_peer_loses_the_oldest_and_that_is_counted() {
    let mut relay = relay([1]);
    let total = MAX_OUTBOX_COUNT as u64 + 10;
    for nonce in 0..total {
        relay.forward(&transaction(nonce), Mono(0));
    }
    assert_eq!(relay.counts().unsent, 10);
    assert_eq!(carried(&relay.poll(&EMPTY, Mono(0)).unwrap())[0], 10);
}

#[test]
fn what_a_failed_request_carried_is_sent_again_in_its_place() {
    let mut relay = relay([1]);
    relay.forward(&transaction(0), Mono(0));
    relay.forward(&transaction(1), Mono(0));
    let push = relay.poll(&EMPTY, Mono(50)).unwrap();
    relay.forward(&transaction(2), Mono(60));
    relay.failed(push.id, Mono(100));
    assert_eq!(relay.poll_timeout(), Some(Mono(100 + PAUSE_MILLIS)));
    let push = relay.poll(&EMPTY, Mono(100 + PAUSE_MILLIS)).unwrap();
    assert_eq!(carried(&push), [0, 1, 2]);
    let busy = TxResponse::Refused(TxRefusal::Busy).to_bytes();
    assert_eq!(relay.answered(push.id, &busy, &EMPTY, Mono(2000)), Answered::default());
    let push = relay.poll(&EMPTY, Mono(3000)).unwrap();
    relay.failed(push.id, Mono(4000));
    assert_eq!(carried(&relay.poll(&EMPTY, Mono(5000)).unwrap()), [2], "two were sent three times in vain");
    assert_eq!(relay.counts().unsent, 2);
}

#[test]
fn a_newcomer_is_told_what_has_been_waiting_and_one_who_left_leaves_nothing() {
    let mut relay = relay([1]);
    let pool = Fake::of([transaction(0)]);
    relay.forward_to(&peer(2), &transaction(1), Mono(0));
    assert_eq!(std::iter::from_fn(|| relay.poll(&pool, Mono(0))).count(), 0);
    let first = relay.poll(&pool, Mono(50)).unwrap();
    assert_eq!((first.peer, carried(&first)), (peer(1), vec![0]), "what the pool had when it came");
    relay.peer_connected(peer(2), OpenedBy::Them, Mono(0));
    relay.forward_to(&peer(2), &transaction(1), Mono(0));
    let push = relay.poll(&EMPTY, Mono(50)).unwrap();
    assert_eq!((push.peer, carried(&push)), (peer(2), vec![1]));
    relay.peer_disconnected(&peer(2), Mono(50));
    relay.peer_connected(peer(2), OpenedBy::Them, Mono(50));
    assert!(relay.poll(&EMPTY, Mono(50)).is_none());
    relay.failed(push.id, Mono(60));
    relay.answered(first.id, &DONE, &EMPTY, Mono(60));
    assert_eq!((relay.poll_timeout(), relay.in_flight.len()), (None, 0));
    relay.forward(&transaction(1), Mono(100));
    let sent = std::iter::from_fn(|| relay.poll(&EMPTY, Mono(150))).count();
    assert_eq!(sent, 2, "it is new to the one and new again to the other");
}

#[test]
fn a_peer_that_takes_no_pushes_gets_none() {
    let mut relay = relay([1]);
    relay.forward(&transaction(0), Mono(0));
    let push = relay.poll(&EMPTY, Mono(50)).unwrap();
    let refusal = TxResponse::Refused(TxRefusal::NotInThisMode).to_bytes();
    assert_eq!(relay.answered(push.id, &refusal, &EMPTY, Mono(60)), Answered::default());
    relay.forward(&transaction(1), Mono(70));
    assert_eq!((relay.poll(&EMPTY, Mono(1000)), relay.poll_timeout()), (None, None));

    relay.peer_disconnected(&peer(1), Mono(1000));
    relay.peer_connected(peer(1), OpenedBy::Them, Mono(1000));
    relay.forward(&transaction(0), Mono(2000));
    let push = relay.poll(&EMPTY, Mono(2050)).unwrap();
    relay.unsupported(push.id, Mono(2050));
    relay.forward(&transaction(1), Mono(2060));
    assert_eq!(relay.poll_timeout(), None);
}

#[test]
fn an_answer_that_is_none_is_an_error_and_frees_the_place() {
    let mut relay = relay([1]);
    for (nonce, body) in [(0, vec![9]), (1, vec![]), (2, TxResponse::Symbols(Vec::new()).to_bytes())] {
        relay.forward(&transaction(nonce), Mono(0));
        let push = relay.poll(&EMPTY, Mono(1000)).unwrap();
        let answered = relay.answered(push.id, &body, &EMPTY, Mono(1000));
        assert!(answered.error.is_some(), "{body:?}");
    }
    assert_eq!(relay.in_flight.len(), 0);
    assert_eq!(relay.peers[&peer(1)].sending, 0);
}

#[test]
fn where_all_push_announcements_and_sketches_are_refused_without_blame_and_garbage_is_an_error() {
    let mut relay = relay([1]);
    let refused = |reason| Answer {
        response: TxResponse::Refused(reason).to_bytes(),
        check: Vec::new(),
        offence: None,
    };
    for request in [TxRequest::Announce(Vec::new()), TxRequest::Sketch { offset: 0, count: 1 }] {
        let answer = ask(&mut relay, 1, &request, &EMPTY, 0);
        assert_eq!(answer, refused(TxRefusal::NotInThisMode), "{request:?}");
    }
    let fetch = ask(&mut relay, 1, &TxRequest::Fetch(Vec::new()), &EMPTY, 0);
    assert_eq!(fetch, refused(TxRefusal::Busy), "nobody has said what short ids mean");
    let body = push(0..MAX_BATCH_COUNT as u64 + 1);
    let answer = relay.request(&peer(1), &body, &EMPTY, Mono(0)).unwrap();
    assert_eq!(answer, refused(TxRefusal::TooMany));
    assert!(relay.request(&peer(1), &[99], &EMPTY, Mono(0)).is_err());
    assert!(relay.request(&peer(1), &encode(&(1_u8, 5_u32)), &EMPTY, Mono(0)).is_err());
    assert_eq!(relay.counts().requests_refused, 4);
}

#[test]
fn one_peer_cannot_fill_what_is_in_check() {
    let mut relay = relay([]);
    let mut next = 0;
    let mut offer = |relay: &mut TransactionRelay, from| {
        next += 256;
        let answer = relay.request(&peer(from), &push(next..next + 256), &EMPTY, Mono(0)).unwrap();
        answer.check.len()
    };
    let taken = |relay: &mut TransactionRelay,
                 offer: &mut dyn FnMut(&mut TransactionRelay, u8) -> usize,
                 from| { (0..10).map(|_| offer(relay, from)).sum::<usize>() };
    assert_eq!(taken(&mut relay, &mut offer, 1), MAX_IN_CHECK_OF_PEER);
    assert_eq!(taken(&mut relay, &mut offer, 2), MAX_IN_CHECK_OF_PEER);
    (3..10).for_each(|from| {
        relay.peer_connected(peer(from), OpenedBy::Them, Mono(0));
        taken(&mut relay, &mut offer, from);
    });
    assert_eq!(relay.checks.len(), MAX_IN_CHECK);
    relay.checks.ids().iter().for_each(|id| relay.dropped(id, Mono(0)));
    assert!(relay.checks.is_empty());
    assert_eq!(offer(&mut relay, 3), 256);
}
