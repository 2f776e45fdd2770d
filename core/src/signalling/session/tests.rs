#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::{super::sdp::tests::sdp, *};

const CANDIDATE: &str =
    r#"{"candidate":"candidate:1 1 udp 2122 10.0.0.1 40000 typ host","sdpMid":"0","sdpMLineIndex":0}"#;

/// Two sessions with browsers that do as they are told, and a stream between that cuts as it likes.
struct Pair {
    now: Mono,
    sides: [Session; 2],
    /// What is on its way to each.
    wires: [Vec<u8>; 2],
    /// What each browser still has to tell.
    told: [VecDeque<Happened<'static>>; 2],
    finished: [bool; 2],
    tried: [Vec<String>; 2],
    /// The browsers have both descriptions.
    accepted: [bool; 2],
}

impl Pair {
    fn new() -> Self {
        Self {
            now: Mono(1_000),
            sides: [Session::new(Side::Offerer, Mono(1_000)), Session::new(Side::Answerer, Mono(1_000))],
            wires: [Vec::new(), Vec::new()],
            told: Default::default(),
            finished: [false; 2],
            tried: Default::default(),
            accepted: [false; 2],
        }
    }

    fn drain(&mut self, side: usize) {
        let described = |byte, setup| Happened::Described(sdp(byte, setup));
        while let Some(action) = self.sides[side].poll_action() {
            match action {
                Action::Send(bytes) => self.wires[1 - side].extend(bytes),
                Action::Do(Step::Offer) => self.told[side].extend([
                    // A browser may be quicker with an address than with its promise of a description.
                    Happened::Candidate(CANDIDATE.to_owned()),
                    described(1, "actpass"),
                    Happened::Candidate(CANDIDATE.replace("10.0.0.1", "10.0.0.3")),
                ]),
                Action::Do(Step::Answer(offer)) => {
                    assert_eq!(offer, sdp(1, "actpass"));
                    self.told[side].extend([
                        described(2, "active"),
                        Happened::Candidate(CANDIDATE.replace("10.0.0.1", "10.0.0.2")),
                    ]);
                    self.accepted[side] = true;
                }
                Action::Do(Step::Accept(answer)) => {
                    assert_eq!(answer, sdp(2, "active"));
                    self.accepted[side] = true;
                    self.told[0].extend([Happened::Connected, Happened::InitOpened]);
                    self.told[1].push_back(Happened::Connected);
                }
                Action::Do(Step::Try(candidate)) => self.tried[side].push(candidate),
                Action::Do(Step::CloseInit) => self.told[side].push_back(Happened::InitClosed),
                Action::Finish => self.finished[side] = true,
            }
        }
    }

    /// One thing happens to one side; `false` when nothing is left to happen.
    fn step(&mut self, rng: &mut ChaCha8Rng) -> bool {
        let begin = (rng.next_u32() % 4) as usize;
        for choice in (0..4).map(|offset| (begin + offset) % 4) {
            let side = choice % 2;
            let happened = if choice < 2 {
                if self.wires[side].is_empty() {
                    continue;
                }
                let count = 1 + rng.next_u32() as usize % self.wires[side].len();
                let bytes: Vec<u8> = self.wires[side].drain(..count).collect();
                self.sides[side].handle(self.now, Happened::Received(&bytes))
            } else {
                let Some(happened) = self.told[side].pop_front() else { continue };
                self.sides[side].handle(self.now, happened)
            };
            assert_eq!(happened, Ok(()));
            self.drain(side);
            self.now = self.now + 1;
            return true;
        }
        false
    }
}

#[test]
fn both_sides_come_to_a_connection_in_whatever_order_things_happen() {
    let mut tried = [0; 2];
    for seed in 0..500 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut pair = Pair::new();
        pair.drain(0);
        while pair.step(&mut rng) {}
        for (count, side) in tried.iter_mut().zip(&pair.tried) {
            *count += side.len();
        }
        assert!(pair.sides.iter().all(Session::is_usable), "seed {seed}: {:?}", pair.sides);
        assert_eq!(pair.finished, [true; 2], "seed {seed}");
        assert!(pair.accepted == [true; 2], "seed {seed}");
        for (side, others) in [(0, ["10.0.0.2"].as_slice()), (1, &["10.0.0.1", "10.0.0.3"])] {
            // What came after the connection stood was not needed.
            for (tried, other) in pair.tried[side].iter().zip(others) {
                assert!(tried.contains(other), "seed {seed}");
            }
        }
        let parts = pair.sides[0].parts();
        assert!(
            parts.described < parts.connected && parts.connected < parts.usable,
            "seed {seed}: {parts:?}"
        );
        assert_eq!(pair.sides[0].poll_timeout(), None);
    }
    assert!(
        tried.iter().all(|count| *count > 50),
        "addresses are tried before the connection stands: {tried:?}"
    );
}

fn said(kind: Kind, data: &str) -> Vec<u8> {
    Message { kind, data: data.to_owned() }.encode()
}

fn actions(session: &mut Session) -> Vec<Action> {
    std::iter::from_fn(|| session.poll_action()).collect()
}

/// One that has heard an offer.
fn answerer() -> Session {
    let mut session = Session::new(Side::Answerer, Mono(0));
    let offer = said(Kind::Offer, &sdp(1, "actpass"));
    session.handle(Mono(1), Happened::Received(&offer)).unwrap();
    assert_eq!(actions(&mut session), [Action::Do(Step::Answer(sdp(1, "actpass")))]);
    session
}

/// One that has made an offer.
fn offerer() -> Session {
    let mut session = Session::new(Side::Offerer, Mono(0));
    assert_eq!(actions(&mut session), [Action::Do(Step::Offer)]);
    session.handle(Mono(1), Happened::Described(sdp(1, "actpass"))).unwrap();
    assert_eq!(actions(&mut session), [Action::Send(said(Kind::Offer, &sdp(1, "actpass")))]);
    session
}

fn refused(session: &mut Session, kind: Kind, data: &str) -> SessionError {
    let error = session.handle(Mono(2), Happened::Received(&said(kind, data))).unwrap_err();
    assert_eq!(actions(session), [], "nothing is done for whoever is refused");
    assert_eq!(session.poll_timeout(), None);
    assert!(session.handle(Mono(3), Happened::Connected).is_ok() && !session.is_usable());
    error
}

#[test]
fn what_comes_out_of_turn_is_refused() {
    use Kind::{Answer, Candidate, Offer};
    let fresh = || Session::new(Side::Answerer, Mono(0));
    assert_eq!(refused(&mut fresh(), Answer, &sdp(2, "active")), SessionError::OutOfTurn(Answer));
    assert_eq!(refused(&mut fresh(), Candidate, CANDIDATE), SessionError::OutOfTurn(Candidate));
    assert_eq!(
        refused(&mut answerer(), Offer, &sdp(1, "actpass")),
        SessionError::OutOfTurn(Offer),
        "a replay"
    );
    assert_eq!(refused(&mut answerer(), Answer, &sdp(3, "active")), SessionError::OutOfTurn(Answer));
    assert_eq!(refused(&mut offerer(), Offer, &sdp(3, "actpass")), SessionError::OutOfTurn(Offer));
    assert_eq!(refused(&mut offerer(), Candidate, CANDIDATE), SessionError::OutOfTurn(Candidate));
    let mut twice = offerer();
    twice.handle(Mono(2), Happened::Received(&said(Answer, &sdp(2, "active")))).unwrap();
    actions(&mut twice);
    assert_eq!(refused(&mut twice, Answer, &sdp(2, "active")), SessionError::OutOfTurn(Answer), "a replay");
    let mut early = Session::new(Side::Offerer, Mono(0));
    actions(&mut early);
    assert_eq!(refused(&mut early, Answer, &sdp(2, "active")), SessionError::OutOfTurn(Answer));
}

#[test]
fn our_own_description_sent_back_is_refused() {
    assert_eq!(refused(&mut offerer(), Kind::Answer, &sdp(1, "active")), SessionError::Reflected);
    let mut session = answerer();
    let reflected = session.handle(Mono(2), Happened::Described(sdp(1, "active")));
    assert_eq!(reflected, Err(SessionError::Reflected));
}

#[test]
fn absurd_descriptions_and_messages_are_refused() {
    let mut session = Session::new(Side::Answerer, Mono(0));
    let refusal = refused(&mut session, Kind::Offer, "v=0\r\nm=audio 9 RTP/AVP 0\r\n");
    assert_eq!(refusal, SessionError::Sdp(SdpError::NotData));
    let mut session = Session::new(Side::Answerer, Mono(0));
    let long = said(Kind::Offer, &"v=0\r\n".repeat(MAX_MESSAGE_BYTES));
    let refusal = session.handle(Mono(1), Happened::Received(&long));
    assert_eq!(refusal, Err(SessionError::Malformed(Malformed::TooLong)));
    let mut session = Session::new(Side::Answerer, Mono(0));
    let refusal = session.handle(Mono(1), Happened::Received(&[2, 8, 7]));
    assert_eq!(refusal, Err(SessionError::Malformed(Malformed::Meaning)));
}

#[test]
fn addresses_are_bounded_and_a_replayed_one_is_tried_once() {
    let mut session = answerer();
    let replay = said(Kind::Candidate, CANDIDATE);
    for _ in 0..MAX_CANDIDATES {
        session.handle(Mono(2), Happened::Received(&replay)).unwrap();
    }
    assert_eq!(actions(&mut session), [Action::Do(Step::Try(CANDIDATE.to_owned()))]);
    assert_eq!(refused(&mut session, Kind::Candidate, CANDIDATE), SessionError::TooManyCandidates);
    let long = "x".repeat(MAX_CANDIDATE_BYTES + 1);
    assert_eq!(refused(&mut answerer(), Kind::Candidate, &long), SessionError::TooManyCandidates);
    let crowded = sdp(1, "actpass") + &"a=candidate:1\r\n".repeat(MAX_CANDIDATES + 1);
    let mut session = Session::new(Side::Answerer, Mono(0));
    assert_eq!(refused(&mut session, Kind::Offer, &crowded), SessionError::TooManyCandidates);
    for end in ["", "null", "\"\""] {
        let mut session = answerer();
        session.handle(Mono(2), Happened::Received(&said(Kind::Candidate, end))).unwrap();
        assert_eq!(actions(&mut session), [], "that there are no more is nothing to try");
    }
}

#[test]
fn our_own_addresses_are_told_after_the_description_and_no_more_than_may_be() {
    let mut session = Session::new(Side::Offerer, Mono(0));
    actions(&mut session);
    for number in 0..2 * MAX_CANDIDATES {
        session.handle(Mono(1), Happened::Candidate(number.to_string())).unwrap();
    }
    assert_eq!(actions(&mut session), []);
    session.handle(Mono(2), Happened::Described(sdp(1, "actpass"))).unwrap();
    let said_all = actions(&mut session);
    assert_eq!(said_all.len(), 1 + MAX_CANDIDATES);
    assert_eq!(said_all[0], Action::Send(said(Kind::Offer, &sdp(1, "actpass"))));
    assert_eq!(said_all[1], Action::Send(said(Kind::Candidate, "0")));
    session.handle(Mono(3), Happened::Candidate("one more".to_owned())).unwrap();
    assert_eq!(actions(&mut session), []);
}

#[test]
fn who_stalls_is_given_up_and_who_ends_before_all_is_said_is_too() {
    for mut session in [Session::new(Side::Answerer, Mono(0)), offerer(), answerer()] {
        assert_eq!(session.poll_timeout(), Some(Mono(DEADLINE_MILLIS)));
        assert_eq!(session.handle_timeout(Mono(DEADLINE_MILLIS - 1)), Ok(()));
        assert_eq!(session.handle_timeout(Mono(DEADLINE_MILLIS)), Err(SessionError::TimedOut));
        assert_eq!(session.poll_timeout(), None);
    }
    assert_eq!(offerer().handle(Mono(2), Happened::Ended), Err(SessionError::Ended));
    let mut session = answerer();
    session.handle(Mono(2), Happened::Ended).unwrap();
    session.handle(Mono(3), Happened::Described(sdp(2, "active"))).unwrap();
    actions(&mut session);
    session.handle(Mono(4), Happened::Connected).unwrap();
    assert!(session.is_usable(), "whoever saw the connection first has ended the stream");
}

#[test]
fn a_browser_that_refuses_or_finds_no_way_ends_it() {
    let refused = offerer().handle(Mono(2), Happened::Refused("no".to_owned()));
    assert_eq!(refused, Err(SessionError::Browser("no".to_owned())));
    assert_eq!(answerer().handle(Mono(2), Happened::Unreachable), Err(SessionError::Unreachable));
    assert_eq!(offerer().handle(Mono(2), Happened::InitClosed), Err(SessionError::Unreachable));
}

#[test]
fn random_bytes_never_make_a_connection() {
    for seed in 0..2_000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut session = if seed % 2 == 0 { answerer() } else { offerer() };
        let mut bytes = vec![0; 64];
        rng.fill_bytes(&mut bytes);
        let outcome = session.handle(Mono(2), Happened::Received(&bytes));
        assert!(!session.is_usable() && actions(&mut session).len() <= 64, "seed {seed}: {outcome:?}");
    }
}
