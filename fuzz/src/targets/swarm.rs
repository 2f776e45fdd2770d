//! What lies on a stream before a peer looks at it: frames, and the answers to a watched lookup.

use futures::{FutureExt, io::Cursor};
use libp2p::{Multiaddr, PeerId, StreamProtocol, request_response::Codec as _};
use weft_core::{
    node::Protocol,
    peers::Scope,
    swarm::{Codec, FindNode},
};

use super::gossip::peer;

/// Whatever it is called.
const NAME: StreamProtocol = StreamProtocol::new("/x");
/// The most bytes of a length.
const LENGTH: usize = 4;

/// A question and an answer in a frame, on each protocol; valid when it is whole and no larger than all of them allow.
pub fn frame(data: &[u8]) -> bool {
    let whole = Protocol::ALL.into_iter().filter(|protocol| {
        let protocol = *protocol;
        let mut codec = Codec::new(protocol);
        let mut io = Cursor::new(data);
        let asked = codec.read_request(&NAME, &mut io).now_or_never().expect("all is there");
        let is_asked = match asked {
            Ok(Ok(frame)) => {
                fits(data, &io, &frame, protocol.max_request());
                let mut again = Cursor::new(Vec::new());
                let written = codec.write_request(&NAME, &mut again, Ok(frame.clone())).now_or_never();
                assert!(written.is_some_and(|written| written.is_ok()));
                assert!(again.into_inner().ends_with(&frame));
                true
            }
            Ok(Err(_)) => {
                assert!(io.position() <= LENGTH as u64, "what is too large was read");
                false
            }
            Err(_) => false,
        };
        let mut io = Cursor::new(data);
        let answered = codec.read_response(&NAME, &mut io).now_or_never().expect("all is there");
        let is_answered = answered.is_ok();
        if let Ok(frame) = answered {
            fits(data, &io, &frame, protocol.max_response());
            let mut again = Cursor::new(Vec::new());
            let written = codec.write_response(&NAME, &mut again, frame.clone()).now_or_never();
            assert!(written.is_some_and(|written| written.is_ok()));
            let mut again = Cursor::new(again.into_inner());
            let read = codec.read_response(&NAME, &mut again).now_or_never();
            assert_eq!(read.and_then(Result::ok), Some(frame), "another frame than was written");
        }
        is_asked && is_answered
    });
    whole.count() == Protocol::ALL.len()
}

/// A frame is what lies behind its length, and nothing behind it was read.
fn fits(data: &[u8], io: &Cursor<&[u8]>, frame: &[u8], max: usize) {
    assert!(frame.len() <= max, "a frame of {} bytes", frame.len());
    let end = usize::try_from(io.position()).expect("within the input");
    assert_eq!(&data[end - frame.len()..end], frame);
    assert!((1..=LENGTH).contains(&(end - frame.len())));
}

/// Nothing, a little, and a length of two bytes.
pub fn frame_seeds() -> Vec<Vec<u8>> {
    vec![vec![0], b"\x03abc".to_vec(), b"\x87\0seven..".to_vec()]
}

/// Who is told of by an answer to `FIND_NODE`; valid when somebody is.
pub fn find_node(data: &[u8]) -> bool {
    /// As told in `docs/SECURITY.md`.
    const MAX_TOLD: usize = 20;
    const MAX_ADDRESSES: usize = 8;
    const MAX_BYTES: u64 = 16 << 10;
    let mut io = Cursor::new(data);
    let read = FindNode.read_response(&NAME, &mut io).now_or_never().expect("all is there");
    assert!(io.position() <= MAX_BYTES + LENGTH as u64);
    let Ok(told) = read else { return false };
    assert!(told.len() <= MAX_TOLD);
    for near in &told {
        assert!(near.addresses.len() <= MAX_ADDRESSES);
        assert!(near.addresses.iter().all(|address| Scope::of(address).is_some()), "nobody can go there");
    }
    !told.is_empty()
}

fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2, u8::try_from(value.len()).expect("a short field")], value].concat()
}

/// An answer that tells of these, as libp2p writes it.
fn answer(near: &[(PeerId, Vec<Multiaddr>)]) -> Vec<u8> {
    let mut message = vec![0x08, 0x04];
    for (peer, addresses) in near {
        let addresses = addresses.iter().flat_map(|address| bytes(2, &address.to_vec()));
        let told: Vec<u8> = bytes(1, &peer.to_bytes()).into_iter().chain(addresses).collect();
        message.extend(bytes(8, &[told, vec![0x18, 0x01]].concat()));
    }
    message.extend([0x50, 0x0a]);
    let [low, high] = [message.len() as u8 & 0x7f | 0x80, (message.len() >> 7) as u8];
    [&[low, high], message.as_slice()].concat()
}

/// Answers that tell of one and of several peers.
pub fn find_node_seeds() -> Vec<Vec<u8>> {
    let at = |text: &str| text.parse::<Multiaddr>().expect("an address");
    let (near, far) = (at("/ip4/8.8.8.8/tcp/4100"), at("/ip6/2001:4860::1/udp/9/quic-v1"));
    vec![
        answer(&[(peer(1), vec![near.clone()])]),
        answer(&[(peer(1), vec![near, far.clone()]), (peer(2), Vec::new()), (peer(3), vec![far])]),
    ]
}
