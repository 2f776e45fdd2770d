//! The relay by example, and many of them joined by a network without faults.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::*;
use crate::{
    chain::UnsignedTransaction,
    primitives::{Address, Amount, PublicKey, Signature, Slot, encode},
};

fn peer(number: u8) -> PeerId {
    let key = [[0, 36, 8, 1, 18, 32].as_slice(), &[number; 32]].concat();
    PeerId::from_bytes(&key).unwrap()
}

fn transaction(nonce: u64) -> Transaction {
    let (from, to) = (PublicKey([1; 32]), Address([2; 32]));
    let content = UnsignedTransaction::transfer(from, to, Amount(3), Amount(400), nonce, Slot(6));
    Transaction { content, signature: Signature([8; 64]) }
}

fn relay(peers: impl IntoIterator<Item = u8>) -> TransactionRelay {
    let mut relay = TransactionRelay::new();
    peers.into_iter().for_each(|number| relay.peer_connected(peer(number)));
    relay
}

fn push(transactions: impl IntoIterator<Item = u64>) -> Vec<u8> {
    TxRequest::Push(transactions.into_iter().map(transaction).collect()).to_bytes()
}

fn nonces(transactions: &[Transaction]) -> Vec<u64> {
    transactions.iter().map(|transaction| transaction.content.nonce).collect()
}

/// The nonces that a push carries.
fn carried(push: &Push) -> Vec<u64> {
    match TxRequest::from_bytes(&push.body).unwrap() {
        TxRequest::Push(transactions) => nonces(&transactions),
        other => panic!("{other:?} is no push"),
    }
}

/// What is put in check of a push by a peer, at time 0, when the mempool is empty.
fn receive(relay: &mut TransactionRelay, from: u8, transactions: &[u64]) -> Vec<u64> {
    let body = push(transactions.iter().copied());
    let answer = relay.request(&peer(from), &body, |_| false, Mono(0)).unwrap();
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
    assert_eq!(relay.poll(Mono(59)), None, "it is still being gathered");
    assert_eq!(relay.poll_timeout(), Some(Mono(60)));
    let sent: Vec<_> = std::iter::from_fn(|| relay.poll(Mono(70))).collect();
    let sent: Vec<_> = sent.iter().map(|push| (push.peer, carried(push))).collect();
    assert_eq!(sent, [(peer(1), vec![1]), (peer(2), vec![0, 1]), (peer(3), vec![0, 1])]);
    relay.forward(&transaction(1), Mono(80));
    assert_eq!((relay.poll(Mono(1000)), relay.poll_timeout()), (None, None), "nothing is sent twice");
}

#[test]
fn what_a_peer_sends_meanwhile_is_taken_out_of_its_queue() {
    let mut relay = relay([1]);
    relay.forward(&transaction(0), Mono(0));
    receive(&mut relay, 1, &[0]);
    assert_eq!((relay.poll(Mono(1000)), relay.poll_timeout()), (None, None));
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
    relay.dropped(&transaction(0).id());
    assert_eq!(receive(&mut relay, 2, &[0]), [0], "what was dropped may come again");
    let answer = relay.request(&peer(2), &push([7]), |id| *id == transaction(7).id(), Mono(0)).unwrap();
    assert_eq!(answer.check, [], "the mempool has it");
    assert_eq!((relay.counts().received, relay.counts().duplicates), (8, 4));
}

#[test]
fn a_refusal_is_forgotten_in_time() {
    let mut relay = relay([1]);
    relay.refused(&transaction(0).id(), Mono(1000));
    let later = |relay: &mut TransactionRelay, now| {
        relay.request(&peer(1), &push([0]), |_| false, Mono(now)).unwrap().check.len()
    };
    assert_eq!(later(&mut relay, 1000 + REFUSED_MILLIS), 0);
    assert_eq!(later(&mut relay, 1001 + REFUSED_MILLIS), 1);
}

#[test]
fn requests_are_bounded_in_size_and_in_flight() {
    let mut relay = relay([1]);
    for nonce in 0..3 * MAX_BATCH_COUNT as u64 {
        relay.forward(&transaction(nonce), Mono(0));
    }
    let first = relay.poll(Mono(0)).expect("a full request does not wait");
    let second = relay.poll(Mono(0)).unwrap();
    assert_eq!((relay.poll(Mono(1000)), relay.poll_timeout()), (None, None), "two are in flight");
    assert_eq!(carried(&first), (0..256).collect::<Vec<_>>());
    assert!(first.body.len() <= MAX_BATCH_BYTES + 5);
    relay.answered(second.id, &DONE, Mono(5)).unwrap();
    let third = relay.poll(Mono(50)).unwrap();
    assert_eq!(carried(&third), (512..768).collect::<Vec<_>>());
    assert_eq!(relay.counts().sent, 768);

    relay.peer_disconnected(&peer(1));
    relay.peer_connected(peer(1));
    for nonce in 0..400 {
        let mut large = transaction(nonce);
        large.content.memo = vec![0; 256];
        relay.forward(&large, Mono(0));
    }
    let push = relay.poll(Mono(50)).unwrap();
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
    assert_eq!(carried(&relay.poll(Mono(0)).unwrap())[0], 10);
}

#[test]
fn what_a_failed_request_carried_is_sent_again_in_its_place() {
    let mut relay = relay([1]);
    relay.forward(&transaction(0), Mono(0));
    relay.forward(&transaction(1), Mono(0));
    let push = relay.poll(Mono(50)).unwrap();
    relay.forward(&transaction(2), Mono(60));
    relay.failed(push.id, Mono(100));
    assert_eq!(relay.poll_timeout(), Some(Mono(100 + PAUSE_MILLIS)));
    let push = relay.poll(Mono(100 + PAUSE_MILLIS)).unwrap();
    assert_eq!(carried(&push), [0, 1, 2]);
    let busy = TxResponse::Refused(TxRefusal::Busy).to_bytes();
    relay.answered(push.id, &busy, Mono(2000)).unwrap();
    let push = relay.poll(Mono(3000)).unwrap();
    relay.failed(push.id, Mono(4000));
    assert_eq!(carried(&relay.poll(Mono(5000)).unwrap()), [2], "two were sent three times in vain");
    assert_eq!(relay.counts().unsent, 2);
}

#[test]
fn a_newcomer_is_told_what_has_been_waiting_and_one_who_left_leaves_nothing() {
    let mut relay = relay([1]);
    relay.forward_to(&peer(2), &transaction(0), Mono(0));
    relay.peer_connected(peer(2));
    relay.forward_to(&peer(2), &transaction(0), Mono(0));
    let push = relay.poll(Mono(50)).unwrap();
    assert_eq!(push.peer, peer(2));
    relay.peer_disconnected(&peer(2));
    relay.peer_connected(peer(2));
    relay.failed(push.id, Mono(60));
    assert_eq!((relay.poll_timeout(), relay.in_flight.len()), (None, 0));
    relay.forward(&transaction(0), Mono(100));
    assert_eq!(std::iter::from_fn(|| relay.poll(Mono(150))).count(), 2, "it is new to both again");
}

#[test]
fn a_peer_that_takes_no_pushes_gets_none() {
    let mut relay = relay([1]);
    relay.forward(&transaction(0), Mono(0));
    let push = relay.poll(Mono(50)).unwrap();
    let refusal = TxResponse::Refused(TxRefusal::NotInThisMode).to_bytes();
    assert_eq!(relay.answered(push.id, &refusal, Mono(60)), Ok(()));
    relay.forward(&transaction(1), Mono(70));
    assert_eq!((relay.poll(Mono(1000)), relay.poll_timeout()), (None, None));

    relay.peer_disconnected(&peer(1));
    relay.peer_connected(peer(1));
    relay.forward(&transaction(0), Mono(2000));
    let push = relay.poll(Mono(2050)).unwrap();
    relay.unsupported(push.id);
    relay.forward(&transaction(1), Mono(2060));
    assert_eq!(relay.poll_timeout(), None);
}

#[test]
fn an_answer_that_is_none_is_an_error_and_frees_the_place() {
    let mut relay = relay([1]);
    for (nonce, body) in [(0, vec![9]), (1, vec![]), (2, TxResponse::Symbols(Vec::new()).to_bytes())] {
        relay.forward(&transaction(nonce), Mono(0));
        let push = relay.poll(Mono(1000)).unwrap();
        assert!(relay.answered(push.id, &body, Mono(1000)).is_err(), "{body:?}");
    }
    assert_eq!(relay.in_flight.len(), 0);
}

#[test]
fn other_modes_are_refused_without_blame_and_garbage_is_an_error() {
    let mut relay = relay([1]);
    let requests = [
        TxRequest::Hello { mode: TxMode::Pull, salt: 1, min_fee_rate: 2 },
        TxRequest::Announce(Vec::new()),
        TxRequest::Fetch(Vec::new()),
        TxRequest::Sketch { offset: 0, count: 1 },
        TxRequest::FeeFilter(1),
    ];
    let refused = |reason| TxResponse::Refused(reason).to_bytes();
    for request in requests {
        let answer = relay.request(&peer(1), &request.to_bytes(), |_| false, Mono(0)).unwrap();
        assert_eq!(answer.response, refused(TxRefusal::NotInThisMode), "{request:?}");
    }
    let body = push(0..MAX_BATCH_COUNT as u64 + 1);
    let answer = relay.request(&peer(1), &body, |_| false, Mono(0)).unwrap();
    assert_eq!(answer, Answer { response: refused(TxRefusal::TooMany), check: Vec::new() });
    assert!(relay.request(&peer(1), &[99], |_| false, Mono(0)).is_err());
    assert!(relay.request(&peer(1), &encode(&(1_u8, 5_u32)), |_| false, Mono(0)).is_err());
    assert_eq!(relay.counts().requests_refused, 6);
}

#[test]
fn one_peer_cannot_fill_what_is_in_check() {
    let mut relay = relay([]);
    let mut next = 0;
    let mut offer = |relay: &mut TransactionRelay, from| {
        next += 256;
        let answer = relay.request(&peer(from), &push(next..next + 256), |_| false, Mono(0)).unwrap();
        answer.check.len()
    };
    let taken = |relay: &mut TransactionRelay,
                 offer: &mut dyn FnMut(&mut TransactionRelay, u8) -> usize,
                 from| { (0..10).map(|_| offer(relay, from)).sum::<usize>() };
    assert_eq!(taken(&mut relay, &mut offer, 1), MAX_IN_CHECK_OF_PEER);
    assert_eq!(taken(&mut relay, &mut offer, 2), MAX_IN_CHECK_OF_PEER);
    (3..10).for_each(|from| {
        taken(&mut relay, &mut offer, from);
    });
    assert_eq!(relay.in_check.len(), MAX_IN_CHECK);
    let ids: Vec<_> = relay.in_check.keys().copied().collect();
    ids.iter().for_each(|id| relay.dropped(id));
    assert!(relay.in_check_of.is_empty());
    assert_eq!(offer(&mut relay, 1), 256);
}

/// Many relays joined by a fault-free network: whatever one takes reaches all, and nobody is sent what it sent.
#[test]
fn a_flood_reaches_every_peer_of_a_random_mesh() {
    for seed in 0..10 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let size = 12_u8;
        let mut relays: Vec<_> = (0..size).map(|_| TransactionRelay::new()).collect();
        let mut pools = vec![BTreeMap::<Hash, Transaction>::new(); size as usize];
        for one in 0..size {
            let random = (rng.next_u64() % u64::from(size)) as u8;
            for other in [(one + 1) % size, random] {
                relays[one as usize].peer_connected(peer(other));
                relays[other as usize].peer_connected(peer(one));
            }
        }
        for nonce in 0..50 {
            let at = (rng.next_u64() % u64::from(size)) as usize;
            pools[at].insert(transaction(nonce).id(), transaction(nonce));
            relays[at].forward(&transaction(nonce), Mono(nonce));
        }
        let mut now = Mono(0);
        while let Some(next) = relays.iter().filter_map(TransactionRelay::poll_timeout).min() {
            now = now.max(next);
            for from in 0..size {
                while let Some(push) = relays[from as usize].poll(now) {
                    let to = (0..size).find(|number| peer(*number) == push.peer).unwrap() as usize;
                    let answer = relays[to]
                        .request(&peer(from), &push.body, |id| pools[to].contains_key(id), now)
                        .unwrap();
                    for transaction in answer.check {
                        relays[to].accepted(&transaction.id());
                        pools[to].insert(transaction.id(), transaction.clone());
                        relays[to].forward(&transaction, now);
                    }
                    relays[from as usize].answered(push.id, &answer.response, now).unwrap();
                }
            }
            assert!(now < Mono(60_000), "seed {seed}: it does not come to rest");
        }
        assert!(pools.iter().all(|pool| pool.len() == 50), "seed {seed}");
    }
}
