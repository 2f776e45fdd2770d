//! A STUN server (RFC 8489), so far as a browser behind a router needs one: it says from which address a datagram came.
//!
//! Nothing is remembered of anybody. The answer goes where the question seems to come from, and so could be made to go to somebody
//! else; it is hardly longer than the question, and only so many are given in a second.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{net::UdpSocket, task::JoinHandle};
use weft_core::{
    peers::{Allowance, Bucket},
    primitives::Mono,
};

/// The most bytes of a question: what fits any path (RFC 8489, section 6.1).
const MAX_LEN: usize = 548;
/// The most bytes of its attributes that nobody knows and that are named in the answer.
const MAX_UNKNOWN: usize = 8;
/// How many questions are answered.
const ALLOWANCE: Allowance = Allowance { per_second: 500, burst: 1000 };

const HEADER: usize = 20;
const COOKIE: u32 = 0x2112_a442;
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// Attributes that must be understood and are: who asks may prove who it is, and is not asked to.
const UNDERSTOOD: [u16; 9] = [0x0006, 0x0008, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e, 0x0024, 0x0025];

/// The answer to a datagram from this address; `None` to what is no question.
#[must_use]
pub fn answer(datagram: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    if datagram.len() > MAX_LEN {
        return None;
    }
    let (header, attributes) = datagram.split_at_checked(HEADER)?;
    let word = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
    let id = header.get(8..)?;
    let sound = word(0)? == BINDING_REQUEST
        && usize::from(word(2)?) == attributes.len()
        && attributes.len().is_multiple_of(4)
        && header.get(4..8)? == COOKIE.to_be_bytes();
    if !sound {
        return None;
    }
    let (mut unknown, mut has_fingerprint, mut at) = (Vec::new(), false, 0);
    while at < attributes.len() {
        let [a, b, c, d] = *attributes.get(at..)?.first_chunk::<4>()?;
        let (kind, len) = (u16::from_be_bytes([a, b]), usize::from(u16::from_be_bytes([c, d])));
        let value = attributes.get(at + 4..at + 4 + len)?;
        if kind == FINGERPRINT {
            let covered = datagram.get(..HEADER + at)?;
            let is_last = at + 8 == attributes.len();
            if !is_last || value != (crc32(covered) ^ FINGERPRINT_XOR).to_be_bytes() {
                return None;
            }
            has_fingerprint = true;
        } else if kind < 0x8000 && !UNDERSTOOD.contains(&kind) && unknown.len() < MAX_UNKNOWN {
            unknown.push(kind);
        }
        at += 4 + len.next_multiple_of(4);
    }
    let mut message = Message::new(if unknown.is_empty() { BINDING_SUCCESS } else { BINDING_ERROR }, id);
    if unknown.is_empty() {
        message.attribute(XOR_MAPPED_ADDRESS, &xored(from, id));
    } else {
        message.attribute(ERROR_CODE, &[&[0, 0, 4, 20], &b"Unknown Attribute"[..]].concat());
        let unknown: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        message.attribute(UNKNOWN_ATTRIBUTES, &unknown);
    }
    Some(message.finish(has_fingerprint))
}

/// An address, mixed with what routers do not know, since some of them rewrite addresses they see in passing.
fn xored(from: SocketAddr, id: &[u8]) -> Vec<u8> {
    let mask: Vec<u8> = [&COOKIE.to_be_bytes()[..], id].concat();
    let port = from.port() ^ (COOKIE >> 16) as u16;
    let (family, ip) = match from.ip().to_canonical() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let ip = ip.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
    [0, family].into_iter().chain(port.to_be_bytes()).chain(ip).collect()
}

struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, id: &[u8]) -> Self {
        Self([&kind.to_be_bytes()[..], &[0, 0], &COOKIE.to_be_bytes(), id].concat())
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn set_len(&mut self, len: usize) {
        self.0[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    }

    fn finish(mut self, with_fingerprint: bool) -> Vec<u8> {
        let len = self.0.len() - HEADER;
        self.set_len(len);
        if with_fingerprint {
            // The length it covers is that with itself.
            self.set_len(len + 8);
            let fingerprint = crc32(&self.0) ^ FINGERPRINT_XOR;
            self.attribute(FINGERPRINT, &fingerprint.to_be_bytes());
        }
        self.0
    }
}

/// The checksum of ISO 3309, as in Ethernet and zip.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

/// A running server.
#[derive(Debug)]
pub(crate) struct StunServer {
    address: SocketAddr,
    answered: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl StunServer {
    pub(crate) async fn start(address: SocketAddr) -> io::Result<Self> {
        Self::within(address, ALLOWANCE).await
    }

    async fn within(address: SocketAddr, allowance: Allowance) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind(address).await?);
        let address = socket.local_addr()?;
        let answered = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(serve(socket, answered.clone(), allowance));
        Ok(Self { address, answered, task })
    }

    /// How many questions were answered, as it goes on.
    pub(crate) fn answered(&self) -> Arc<AtomicU64> {
        self.answered.clone()
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StunServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: Arc<UdpSocket>, answered: Arc<AtomicU64>, allowance: Allowance) {
    let (started, mut bucket) = (Instant::now(), Bucket::new(allowance));
    let mut buffer = [0; MAX_LEN + 1];
    loop {
        let (len, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // On some systems an answer that nobody took comes back as an error.
            Err(error) => {
                tracing::debug!(%error, "a datagram could not be received");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let now = Mono(u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX));
        let Some(answer) = answer(&buffer[..len], from).filter(|_| bucket.take(1, now)) else { continue };
        match socket.send_to(&answer, from).await {
            Ok(_) => {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => tracing::debug!(%error, "a STUN answer could not be sent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sample request and response of RFC 5769, sections 2.1 and 2.2, without what proves who asks.
    const ID: [u8; 12] = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut message = Message::new(BINDING_REQUEST, &ID);
        message.0.extend(attributes);
        message.finish(false)
    }

    fn from() -> SocketAddr {
        "192.0.2.1:32853".parse().unwrap()
    }

    #[test]
    fn golden_bytes() {
        let answer = answer(&request(&[]), from()).unwrap();
        // The address as in RFC 5769, section 2.2.
        assert_eq!(hex::encode(answer), "0101000c2112a442b7e7a701bc34d686fa87dfae002000080001a147e112a643");
        let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        // And in section 2.3.
        assert_eq!(
            hex::encode(super::answer(&request(&[]), v6).unwrap()),
            "010100182112a442b7e7a701bc34d686fa87dfae002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
        );
    }

    #[test]
    fn a_fingerprint_is_checked_and_answered_with_one() {
        let sound = Message::new(BINDING_REQUEST, &ID).finish(true);
        let answered = answer(&sound, from()).unwrap();
        assert_eq!(answered[answered.len() - 8..answered.len() - 4], [0x80, 0x28, 0, 4]);
        let covered = crc32(&answered[..answered.len() - 8]) ^ FINGERPRINT_XOR;
        assert_eq!(answered[answered.len() - 4..], covered.to_be_bytes());
        for bit in 0..sound.len() * 8 {
            let mut flipped = sound.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // What turns the fingerprint into something that may be ignored is answered as if there were none.
            let ignored = (160..176).contains(&bit);
            assert!(ignored || answer(&flipped, from()).is_none(), "bit {bit}");
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the check value of the checksum");
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_named() {
        let answer =
            answer(&request(&[0x00, 0x03, 0, 4, 0, 0, 0, 6, 0x80, 0x22, 0, 1, b'x', 0, 0, 0]), from())
                .unwrap();
        assert_eq!(answer[..2], BINDING_ERROR.to_be_bytes());
        let text = hex::encode(&answer[HEADER..]);
        assert!(text.starts_with("0009001500000414") && text.ends_with("000a000200030000"), "{text}");
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let sound = request(&[]);
        for len in 0..sound.len() {
            assert_eq!(answer(&sound[..len], from()), None);
        }
        let broken = [
            [&sound[..], &[0]].concat(),
            [&sound[..], &[0; 4]].concat(),
            request(&[0, 6, 0, 8, 1, 2, 3, 4]),
            request(&[0, 6]),
            answer(&sound, from()).unwrap(),
            request(&vec![0; MAX_LEN]),
        ];
        for question in broken {
            assert_eq!(answer(&question, from()), None, "{}", hex::encode(&question));
        }
    }

    #[test]
    fn an_answer_is_hardly_longer_than_its_question() {
        let v6 = "[2001:db8::1]:1".parse().unwrap();
        assert!(answer(&request(&[]), v6).unwrap().len() <= 3 * HEADER);
        let unknown: Vec<u8> = (0..100_u8).flat_map(|kind| [0x01, kind, 0, 0]).collect();
        assert!(answer(&request(&unknown), v6).unwrap().len() <= 4 * HEADER);
    }

    #[tokio::test]
    async fn so_many_are_answered_at_once_and_more_with_time() {
        let allowance = Allowance { per_second: 1, burst: 3 };
        let server = StunServer::within(([127, 0, 0, 1], 0).into(), allowance).await.unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server.address()).await.unwrap();
        let question = |number: u8| Message::new(BINDING_REQUEST, &[number; 12]).finish(false);
        for number in 0..10 {
            socket.send(&question(number)).await.unwrap();
        }
        let (mut at_once, mut answer) = (0_u64, [0; 128]);
        loop {
            socket.send(&question(10)).await.unwrap();
            let pause = tokio::time::sleep(std::time::Duration::from_millis(50));
            tokio::select! {
                heard = socket.recv(&mut answer) => {
                    heard.unwrap();
                    match answer[8] {
                        10 => break,
                        _ => at_once += 1,
                    }
                }
                () = pause => {}
            }
        }
        assert_eq!(at_once, allowance.burst);
    }
}
