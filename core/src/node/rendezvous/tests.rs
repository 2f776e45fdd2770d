use chacha20::ChaCha8Rng;
use libp2p::{Multiaddr, PeerId};
use rand_core::SeedableRng;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{
    MAX_POINTS, RENDEZVOUS_PROTOCOL, Rendezvous,
    message::{MAX_TOLD, Refusal, Registration, Request, Response},
    point::{MAX_OF_GROUP, MAX_REGISTRATIONS, Point},
    record::{sign, verify},
};
use crate::{
    node::effects::Effects,
    peers::{Group, Uploads, peer_id},
    primitives::{Held, Mono, Now, SecretKey, Wall},
    store::MemoryStore,
};

const NAMESPACE: &str = "weft/01020304";

/// A place where peers register, and time.
struct Place {
    point: Point,
    fx: Effects,
}

fn key(number: u16) -> SecretKey {
    let mut seed = [3; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(seed)
}

fn peer(number: u16) -> PeerId {
    peer_id(&key(number).public()).unwrap()
}

/// The network of a peer: each is in one of its own.
fn network(number: u16) -> Group {
    let [a, b] = number.to_be_bytes();
    Group::of(&format!("/ip4/8.{b}.{a}.1/tcp/1").parse().unwrap())
}

fn record(number: u16) -> Vec<u8> {
    let address: Multiaddr = format!("/ip4/9.9.9.9/tcp/{}", number + 1).parse().unwrap();
    sign(&key(number), &peer(number), Wall(1_000), &[address])
}

fn request(number: u16, seconds: Option<u64>) -> Request {
    Request::Register { namespace: NAMESPACE.to_owned(), record: record(number), seconds }
}

impl Place {
    fn new() -> Self {
        let now = Now { mono: Mono(0), wall: Wall(1_000_000) };
        let (store, uploads) = (Box::new(MemoryStore::default()), Uploads::new(1 << 20));
        let fx = Effects::new(store, ChaCha8Rng::from_seed([1; 32]), uploads, now);
        Self { point: Point::new(NAMESPACE.to_owned(), 7), fx }
    }

    fn refused(&self, why: &str) -> u64 {
        self.fx.refusals.get(why).copied().unwrap_or_default()
    }

    fn pass(&mut self, millis: u64) {
        self.fx.now.mono = self.fx.now.mono + millis;
    }

    fn ask(&mut self, number: u16, request: Request) -> Option<Response> {
        self.point.asked(&mut self.fx, peer(number), network(number), request)
    }

    fn register(&mut self, number: u16) -> Result<u64, Refusal> {
        match self.ask(number, request(number, None)) {
            Some(Response::Registered(outcome)) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn discover(&mut self, number: u16, cookie: &[u8]) -> (Vec<PeerId>, Vec<u8>) {
        let namespace = Some(NAMESPACE.to_owned());
        let request = Request::Discover { namespace, limit: None, cookie: cookie.to_vec() };
        match self.ask(number, request) {
            Some(Response::Discovered(Ok((told, cookie)))) => {
                let who = |told: &Registration| verify(&told.record).unwrap().0;
                (told.iter().map(who).collect(), cookie)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn who_registers_is_found_by_others_and_not_by_itself() {
    let mut place = Place::new();
    assert_eq!(place.register(1), Ok(7200));
    assert_eq!(place.discover(2, &[]).0, [peer(1)]);
    assert_eq!(place.discover(1, &[]).0, []);
}

#[test]
fn a_cookie_brings_only_those_who_came_since_and_one_of_another_start_brings_all() {
    let mut place = Place::new();
    (1..=3).for_each(|number| assert!(place.register(number).is_ok()));
    let (mut all, cookie) = place.discover(9, &[]);
    all.sort();
    let mut expected = [peer(1), peer(2), peer(3)];
    expected.sort();
    assert_eq!(all, expected);
    let (none, cookie) = place.discover(9, &cookie);
    assert_eq!(none, []);
    assert!(place.register(4).is_ok());
    assert_eq!(place.discover(9, &cookie).0, [peer(4)]);
    let mut other = cookie.clone();
    other[0] ^= 1;
    assert_eq!(place.discover(9, &other).0.len(), 4);
    assert_eq!(cookie[8..], *NAMESPACE.as_bytes(), "as libp2p's own reads it");
}

#[test]
fn a_registration_ends_with_its_time_or_when_it_is_taken_back() {
    let mut place = Place::new();
    assert_eq!(place.ask(1, request(1, Some(60))), Some(Response::Registered(Ok(60))));
    assert!(place.register(2).is_ok());
    place.pass(60_000);
    assert_eq!(place.discover(9, &[]).0, [peer(2)]);
    assert_eq!(place.ask(2, Request::Unregister { namespace: NAMESPACE.to_owned() }), None);
    assert_eq!(place.discover(9, &[]).0, []);
}

#[test]
fn who_registers_again_is_there_once() {
    let mut place = Place::new();
    for _ in 0..10 {
        assert!(place.register(1).is_ok());
    }
    assert_eq!(place.discover(9, &[]).0, [peer(1)]);
    place.pass(7_200_000);
    assert_eq!(place.discover(9, &[]).0, []);
}

#[test]
fn what_is_not_the_askers_own_or_not_of_this_chain_is_refused() {
    let mut place = Place::new();
    let with = |namespace: &str, record: Vec<u8>, seconds| Request::Register {
        namespace: namespace.to_owned(),
        record,
        seconds: Some(seconds),
    };
    let mut changed = record(1);
    changed[50] ^= 1;
    for (asked, refusal) in [
        (with("weft/05060708", record(1), 7200), Refusal::NAMESPACE),
        (with(NAMESPACE, record(2), 7200), Refusal::UNAUTHORIZED),
        (with(NAMESPACE, changed, 7200), Refusal::RECORD),
        (with(NAMESPACE, record(1), 59), Refusal::TTL),
        (with(NAMESPACE, record(1), u64::MAX), Refusal::TTL),
    ] {
        assert_eq!(place.ask(1, asked), Some(Response::Registered(Err(refusal))));
    }
    let elsewhere = Request::Discover { namespace: Some("a".into()), limit: None, cookie: Vec::new() };
    assert_eq!(place.ask(1, elsewhere), Some(Response::Discovered(Err(Refusal::NAMESPACE))));
    assert_eq!(place.discover(9, &[]).0, []);
}

#[test]
fn who_comes_too_often_is_told_so_until_it_has_paused() {
    let mut place = Place::new();
    let refused = (0..20).filter(|_| place.register(1).is_err()).count();
    assert_eq!(refused, 4);
    assert!(place.register(2).is_ok(), "nobody else is kept out");
    place.pass(10_000);
    assert!(place.register(1).is_ok());
}

#[test]
fn one_network_has_a_share_of_the_places() {
    let mut place = Place::new();
    let crowd = network(0);
    let outcomes: Vec<_> = (0..MAX_OF_GROUP as u16 + 1)
        .map(|number| place.point.asked(&mut place.fx, peer(number), crowd.clone(), request(number, None)))
        .collect();
    let refused: Vec<_> =
        outcomes.iter().filter(|it| **it == Some(Response::Registered(Err(Refusal::UNAVAILABLE)))).collect();
    assert_eq!(refused.len(), 1);
    assert!(place.register(1000).is_ok(), "another network has room");
    // Who is there already may renew.
    let renewed = place.point.asked(&mut place.fx, peer(0), crowd, request(0, None));
    assert_eq!(renewed, Some(Response::Registered(Ok(7200))));
}

#[test]
fn so_many_are_registered_and_one_more_is_when_somebody_leaves() {
    let mut place = Place::new();
    let most = MAX_REGISTRATIONS as u16;
    (0..most).for_each(|number| assert_eq!(place.register(number), Ok(7200), "{number}"));
    // All who came have paused since, so that it is not the count of those who ask that is full.
    place.pass(10_000);
    assert_eq!(place.register(most), Err(Refusal::UNAVAILABLE));
    assert_eq!(
        (place.refused("rendezvous-registration"), place.refused("rendezvous-asked-too-often")),
        (1, 0)
    );
    assert_eq!(place.register(0), Ok(7200), "who is there may renew");
    place.ask(1, Request::Unregister { namespace: NAMESPACE.to_owned() });
    assert_eq!(place.register(most), Ok(7200));
    let [Held { count, limit, .. }, ..] = place.point.held();
    assert_eq!((count, limit), (MAX_REGISTRATIONS, MAX_REGISTRATIONS));
}

#[test]
fn the_questions_of_so_many_are_counted_and_one_more_waits_until_they_have_paused() {
    let mut place = Place::new();
    let [.., Held { limit, .. }] = place.point.held();
    let looks = |place: &mut Place, number| {
        let request = Request::Discover { namespace: None, limit: None, cookie: Vec::new() };
        matches!(place.ask(number, request), Some(Response::Discovered(Ok(_))))
    };
    let most = u16::try_from(limit).unwrap();
    assert!((0..most).all(|number| looks(&mut place, number)));
    assert!(!looks(&mut place, most) && looks(&mut place, 0), "who is counted is not kept out");
    assert_eq!(place.refused("rendezvous-asked-too-often"), 1);
    place.pass(10_000);
    assert!(looks(&mut place, most));
}

#[test]
fn an_answer_has_a_size_and_its_choice_is_by_lot() {
    let mut place = Place::new();
    (0..100).for_each(|number| assert!(place.register(number).is_ok()));
    let first = place.discover(900, &[]).0;
    assert_eq!(first.len(), MAX_TOLD);
    assert_ne!(first, place.discover(900, &[]).0);
}

#[test]
fn so_many_relays_are_come_to_and_none_that_came_by_itself() {
    let mut fx = Place::new().fx;
    let native = (peer(0), crate::peers::Role::Native);
    let mut rendezvous =
        Rendezvous::new(native, Some(key(0)), Some(crate::primitives::Hash::ZERO), true, &mut fx);
    let speaks = [RENDEZVOUS_PROTOCOL.to_owned()];
    rendezvous.identified(&mut fx, peer(100), &speaks, false);
    assert_eq!(rendezvous.met.len(), 0, "strangers could take all places");
    for number in 1..=20 {
        rendezvous.identified(&mut fx, peer(number), &speaks, true);
    }
    assert_eq!(rendezvous.met.len(), MAX_POINTS);
    rendezvous.peer_left(&peer(1));
    rendezvous.identified(&mut fx, peer(20), &speaks, true);
    assert!(rendezvous.met.contains_key(&peer(20)), "there is room again");
}
