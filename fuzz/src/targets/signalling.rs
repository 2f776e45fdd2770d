//! An agreement on a WebRTC connection, and a stream on it, whatever the other side says.

use weft_core::{
    primitives::Mono,
    signalling::{
        Action, Channel, Flag, Frame, Happened, Kind, MAX_CANDIDATES, Message, Prefixed, Read, Session, Side,
        Step,
    },
};

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

/// An offer, and one with addresses.
pub fn session_seeds() -> Vec<Vec<u8>> {
    let say = |kind, data: &str| Message { kind, data: data.to_owned() }.encode();
    let offer = say(Kind::Offer, OFFER);
    let candidate = say(Kind::Candidate, r#"{"candidate":"candidate:1 1 udp 1 10.0.0.1 4000 typ host"}"#);
    vec![offer.clone(), [offer, candidate.clone(), candidate].concat()]
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
