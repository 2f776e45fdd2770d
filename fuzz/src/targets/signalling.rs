//! An agreement on a WebRTC connection, and a stream on it, whatever the other side says.

use weft_core::{
    primitives::Mono,
    signalling::{
        Action, Channel, DEADLINE_MILLIS, Flag, Frame, Happened, Kind, MAX_CANDIDATE_BYTES, MAX_CANDIDATES,
        Message, Prefixed, Read, Session, SessionError, Side, Step,
    },
};

use crate::steps::{step, steps};

/// The most bytes that a connection may keep unread here.
const ROOM: usize = 4 << 10;

const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:pFL5\r\n\
    a=ice-pwd:4pZlmHcUZOGcUBmcpzGKIZ0k\r\na=fingerprint:sha-256 \
    00:01:02:03:04:05:06:07:08:09:0a:0b:0c:0d:0e:0f:10:11:12:13:14:15:16:17:18:19:1a:1b:1c:1d:1e:1f\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n";

/// What an offerer says; valid when the session goes on to the end of the input and has an offer.
pub fn session(data: &[u8]) -> bool {
    let (mut stream, mut rest) = (Prefixed::new(16 << 10), data);
    while let Ok(Some(bytes)) = stream.next(&mut rest) {
        if let Ok(message) = Message::decode(&bytes) {
            let again = message.encode();
            let again = Prefixed::new(16 << 10).next(&mut again.as_slice());
            let again = again.ok().flatten().and_then(|bytes| Message::decode(&bytes).ok());
            assert_eq!(again, Some(message));
        }
    }
    let mut session = Session::new(Side::Answerer, Mono(0));
    let outcome = session.handle(Mono(1), Happened::Received(data));
    let actions: Vec<_> = std::iter::from_fn(|| session.poll_action()).collect();
    let offers = actions.iter().filter(|action| matches!(action, Action::Do(Step::Answer(_)))).count();
    let tried = actions.iter().filter(|action| matches!(action, Action::Do(Step::Try(_)))).count();
    assert!(offers + tried == actions.len() && offers <= 1 && tried <= MAX_CANDIDATES);
    assert!(tried == 0 || offers == 1, "an address is tried only for somebody who has offered");
    assert!(outcome.is_ok() || actions.is_empty());
    assert!(!session.is_usable());
    offers == 1
}

const CANDIDATE: &str = r#"{"candidate":"candidate:1 1 udp 1 10.0.0.1 4000 typ host"}"#;

fn say(kind: Kind, data: &str) -> Vec<u8> {
    Message { kind, data: data.to_owned() }.encode()
}

/// An offer, and one with addresses.
pub fn session_seeds() -> Vec<Vec<u8>> {
    let (offer, candidate) = (say(Kind::Offer, OFFER), say(Kind::Candidate, CANDIDATE));
    vec![offer.clone(), [offer, candidate.clone(), candidate].concat()]
}

// What happens to a session, as steps.
const RECEIVED: u8 = 0;
const ENDED: u8 = 1;
const DESCRIBED: u8 = 2;
const DESCRIBED_SO: u8 = 3;
const FOUND: u8 = 4;
const CONNECTED: u8 = 5;
const UNREACHABLE: u8 = 6;
const REFUSED: u8 = 7;
const OPENED: u8 = 8;
const CLOSED: u8 = 9;
const WAIT: u8 = 10;
const KINDS: u8 = 11;

/// Our own description: with another certificate than the other side's.
fn own() -> String {
    OFFER.replace(":1e:1f", ":1f:1e")
}

/// A session and what it has said so far.
struct Agreement {
    side: Side,
    session: Session,
    now: Mono,
    failed: bool,
    /// The kinds of what was sent.
    sent: Vec<Kind>,
    offers: usize,
    taken: usize,
    tried: usize,
    closes: usize,
    finished: usize,
}

impl Agreement {
    fn new(side: Side) -> Self {
        let (session, now, sent) = (Session::new(side, Mono(0)), Mono(0), Vec::new());
        let (offers, taken, tried, closes, finished) = (0, 0, 0, 0, 0);
        let mut new =
            Self { side, session, now, failed: false, sent, offers, taken, tried, closes, finished };
        new.drain();
        new
    }

    fn drain(&mut self) {
        while let Some(action) = self.session.poll_action() {
            assert!(!self.failed && self.finished == 0, "{action:?} when it is over");
            match (action, self.side) {
                (Action::Send(bytes), _) => {
                    let (mut stream, mut rest) = (Prefixed::new(16 << 10), bytes.as_slice());
                    let message = stream.next(&mut rest).ok().flatten();
                    let message = message.and_then(|bytes| Message::decode(&bytes).ok());
                    let Message { kind, data } = message.expect("a message");
                    assert!(
                        rest.is_empty() && (kind != Kind::Candidate || data.len() <= MAX_CANDIDATE_BYTES)
                    );
                    self.sent.push(kind);
                }
                (Action::Do(Step::Offer), Side::Offerer) => self.offers += 1,
                (Action::Do(Step::Answer(_)), Side::Answerer)
                | (Action::Do(Step::Accept(_)), Side::Offerer) => {
                    self.taken += 1;
                }
                (Action::Do(Step::Try(_)), _) => {
                    assert_eq!(self.taken, 1, "an address of somebody who has said nothing of itself");
                    self.tried += 1;
                }
                (Action::Do(Step::CloseInit), Side::Offerer) => self.closes += 1,
                (Action::Finish, _) => self.finished += 1,
                (action, side) => panic!("{action:?} for {side:?}"),
            }
        }
        let descriptions = self.sent.iter().filter(|kind| **kind != Kind::Candidate).count();
        let own = if self.side == Side::Offerer { Kind::Offer } else { Kind::Answer };
        assert!(self.sent.first().is_none_or(|kind| *kind == own) && descriptions <= 1);
        assert!(self.sent.len() <= 1 + MAX_CANDIDATES && self.tried <= MAX_CANDIDATES);
        assert!(self.offers <= 1 && self.taken <= 1 && self.closes <= 1 && self.finished <= 1);
        assert_eq!(self.session.is_usable(), self.finished == 1);
        let parts = self.session.parts();
        if self.finished == 1 {
            assert!(descriptions == 1 && self.taken == 1, "a connection that was not agreed on");
            assert!(parts.described <= parts.connected && parts.connected <= parts.usable);
        }
        let is_over = self.failed || self.finished == 1;
        assert_eq!(self.session.poll_timeout().is_none(), is_over);
    }

    fn step(&mut self, kind: u8, data: &[u8]) {
        let text = || String::from_utf8_lossy(data).into_owned();
        let happened = match kind {
            RECEIVED => Happened::Received(data),
            ENDED => Happened::Ended,
            DESCRIBED => Happened::Described(own()),
            DESCRIBED_SO => Happened::Described(text()),
            FOUND => Happened::Candidate(text()),
            CONNECTED => Happened::Connected,
            UNREACHABLE => Happened::Unreachable,
            REFUSED => Happened::Refused(text()),
            OPENED => Happened::InitOpened,
            CLOSED => Happened::InitClosed,
            _ => {
                let millis = data.first_chunk().map_or(0, |bytes| u16::from_le_bytes(*bytes));
                self.now = self.now + u64::from(millis);
                let late = self.session.handle_timeout(self.now);
                assert!(late.is_ok() || late == Err(SessionError::TimedOut) && self.now.0 >= DEADLINE_MILLIS);
                self.failed |= late.is_err();
                return self.drain();
            }
        };
        let is_over = self.failed || self.finished == 1;
        let outcome = self.session.handle(self.now, happened);
        assert!(outcome.is_ok() || !is_over, "it fails twice");
        self.failed |= outcome.is_err();
        self.drain();
    }
}

/// An agreement from either side, which the first byte chooses, in which anything happens; valid when it comes to a connection.
pub fn agreement(data: &[u8]) -> bool {
    let Some((side, data)) = data.split_first() else { return false };
    let mut agreement = Agreement::new([Side::Offerer, Side::Answerer][usize::from(side % 2)]);
    for (kind, bytes) in steps(data) {
        agreement.step(kind % KINDS, bytes);
    }
    agreement.finished == 1
}

/// Both sides, from the first word to the last.
pub fn agreement_seeds() -> Vec<Vec<u8>> {
    let (none, candidate) = (&[][..], say(Kind::Candidate, CANDIDATE));
    let own = [step(FOUND, CANDIDATE.as_bytes()), step(DESCRIBED, none), step(FOUND, b"{}")].concat();
    let theirs = |kind| [step(RECEIVED, &say(kind, OFFER)), step(RECEIVED, &candidate)].concat();
    let ends = [step(CONNECTED, none), step(OPENED, none), step(CLOSED, none)].concat();
    let offerer = [own.clone(), theirs(Kind::Answer), ends].concat();
    let answerer = [theirs(Kind::Offer), step(WAIT, &[0, 1]), own, step(CONNECTED, none)].concat();
    vec![[&[0], offerer.as_slice()].concat(), [&[1], answerer.as_slice()].concat()]
}

/// What comes on a data channel; valid when the stream is not given up.
pub fn channel(data: &[u8]) -> bool {
    let (mut channel, mut buffer, mut is_valid) = (Channel::default(), [0; 64], true);
    // A channel passes on pieces of any size.
    for piece in data.chunks(1000) {
        is_valid &= channel.received(piece, ROOM - channel.unread()).is_ok();
        assert!(channel.unread() <= ROOM);
        let signs = std::iter::from_fn(|| channel.poll_sign()).count();
        assert!(signs <= 2, "a sign is answered once, and a reset ends it");
        if matches!(channel.read(&mut buffer), Ok(Read::Bytes(count)) if count > buffer.len()) {
            panic!("more was read than there is room for");
        }
    }
    is_valid
}

/// Frames of each kind.
pub fn channel_seeds() -> Vec<Vec<u8>> {
    let data = Frame::encode(None, b"some bytes of a stream");
    let flag = |flag| Frame::encode(Some(flag), &[]);
    vec![
        [data.clone(), data.clone(), flag(Flag::Fin), flag(Flag::FinAck)].concat(),
        [data.clone(), flag(Flag::StopSending), data.clone()].concat(),
        [data, flag(Flag::Reset)].concat(),
    ]
}
