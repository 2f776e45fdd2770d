//! `FIND_NODE`: the one message of the libp2p kad-dht specification that a watched lookup needs, as protocol buffers.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, StreamProtocol, request_response};

use crate::peers::Scope;

/// The most bytes of an answer, as in [`dht`](super::super::dht).
const MAX_MESSAGE: usize = 16 << 10;
/// The most peers that an answer tells of, and addresses of one.
const MAX_TOLD: usize = 20;
const MAX_ADDRESSES: usize = 8;

/// A peer, and where it is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// Who.
    pub peer: PeerId,
    /// Where; only such as can be dialled by somebody.
    pub addresses: Vec<Multiaddr>,
}

/// A question for those nearest to a key, and its answer.
#[derive(Clone, Copy, Debug)]
pub struct FindNode;

/// `type = FIND_NODE`, and then the key.
const QUESTION: [u8; 3] = [0x08, 0x04, 0x12];

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn put_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

/// The question with its length before it.
fn question(key: &[u8]) -> Vec<u8> {
    let mut message = QUESTION.to_vec();
    put_length(&mut message, key.len());
    message.extend_from_slice(key);
    let mut framed = Vec::new();
    put_length(&mut framed, message.len());
    framed.extend(message);
    framed
}

/// The next number of an encoded message.
fn varint(bytes: &mut &[u8]) -> io::Result<u64> {
    let mut value = 0;
    for index in 0..10 {
        let (byte, rest) = bytes.split_first().ok_or_else(|| malformed("a message that is cut off"))?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number that is too long"))
}

/// Calls `field` with the number and the bytes of each field that has bytes; numbers are passed over.
fn fields<'a>(mut bytes: &'a [u8], mut field: impl FnMut(u64, &'a [u8]) -> io::Result<()>) -> io::Result<()> {
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let length = match tag & 7 {
            0 => {
                varint(&mut bytes)?;
                continue;
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).unwrap_or(usize::MAX),
            5 => 4,
            _ => return Err(malformed("a field of no kind")),
        };
        let (value, rest) =
            bytes.split_at_checked(length).ok_or_else(|| malformed("a field that is cut off"))?;
        bytes = rest;
        if tag & 7 == 2 {
            field(tag >> 3, value)?;
        }
    }
    Ok(())
}

/// The peers nearer to the key that an answer tells of. One that makes no sense is left out, as Kademlia does.
fn answer(bytes: &[u8]) -> io::Result<Vec<Near>> {
    const CLOSER_PEERS: u64 = 8;
    let mut told = Vec::new();
    fields(bytes, |number, peer| {
        if number != CLOSER_PEERS || told.len() >= MAX_TOLD {
            return Ok(());
        }
        let (mut id, mut addresses) = (None, Vec::new());
        fields(peer, |number, value| {
            match number {
                1 => id = PeerId::from_bytes(value).ok(),
                2 if addresses.len() < MAX_ADDRESSES => {
                    let address = Multiaddr::try_from(value.to_vec()).ok();
                    addresses.extend(address.filter(|address| Scope::of(address).is_some()));
                }
                _ => {}
            }
            Ok(())
        })?;
        told.extend(id.map(|peer| Near { peer, addresses }));
        Ok(())
    })?;
    Ok(told)
}

impl request_response::Codec for FindNode {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<Near>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        Err(malformed("a question that is not for us"))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<Near>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut length = 0;
        for index in 0.. {
            let mut byte = [0];
            io.read_exact(&mut byte).await?;
            length |= usize::from(byte[0] & 0x7f) << (7 * index);
            if byte[0] & 0x80 == 0 {
                break;
            }
            if index == 2 {
                return Err(malformed("an answer that is too long"));
            }
        }
        if length > MAX_MESSAGE {
            return Err(malformed("an answer that is too long"));
        }
        let mut message = Vec::new();
        io.take(length as u64).read_to_end(&mut message).await?;
        if message.len() != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer(&message)
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, key: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&question(&key)).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, _: &mut T, _: Vec<Near>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        Err(malformed("an answer to what was not asked"))
    }
}

#[cfg(test)]
#[cfg(not(target_arch = "wasm32"))]
mod tests {
    use futures::{FutureExt, io::Cursor};

    use super::*;

    fn near(byte: u8) -> Near {
        let mut seed = [byte; 32];
        let peer = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id();
        Near { peer, addresses: vec![format!("/ip4/8.8.8.{byte}/tcp/9").parse().unwrap()] }
    }

    /// As libp2p writes it: type, key, peers with id, addresses and kind of connection, and the cluster level.
    fn encoded(peers: &[Near]) -> Vec<u8> {
        let mut message = vec![0x08, 0x04];
        for near in peers {
            let mut peer = Vec::new();
            let id = near.peer.to_bytes();
            peer.push(0x0a);
            put_length(&mut peer, id.len());
            peer.extend(id);
            for address in &near.addresses {
                peer.push(0x12);
                put_length(&mut peer, address.len());
                peer.extend(address.to_vec());
            }
            peer.extend([0x18, 0x01]);
            message.push(0x42);
            put_length(&mut message, peer.len());
            message.extend(peer);
        }
        message.extend([0x50, 0x0a]);
        message
    }

    #[test]
    fn a_question_is_golden() {
        assert_eq!(question(&[0xab; 34]), [&[38, 0x08, 0x04, 0x12, 34][..], &[0xab; 34]].concat());
    }

    #[test]
    fn an_answer_tells_of_peers_and_noise_of_none() {
        let peers = [near(1), near(2)];
        let bytes = encoded(&peers);
        assert_eq!(answer(&bytes).unwrap(), peers);
        assert_eq!(answer(&[]).unwrap(), []);
        for cut in 1..bytes.len() {
            // Never more than was there, whatever is left of it.
            let left = answer(&bytes[..cut]).unwrap_or_default();
            assert!(left.len() <= 2 && left.iter().all(|near| peers.contains(near)), "{cut}");
        }
        for bit in 0..8 * bytes.len() {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(answer(&other).is_ok_and(|told| told.len() <= 2) || answer(&other).is_err());
        }
        let many: Vec<Near> = (0..40).map(|_| near(3)).collect();
        assert_eq!(answer(&encoded(&many)).unwrap().len(), MAX_TOLD);
        let nowhere = Near { addresses: vec!["/ip4/0.0.0.0/tcp/1".parse().unwrap()], ..near(1) };
        assert_eq!(answer(&encoded(&[nowhere])).unwrap()[0].addresses, []);
    }

    #[test]
    fn an_answer_is_bounded_before_it_is_read() {
        for length in [&[0xff, 0xff, 0x7f][..], &[0x81, 0x80, 0x01], &[0x80, 0x80, 0x80, 0x01]] {
            let mut stream = Cursor::new(length.to_vec());
            let (mut codec, protocol) = (FindNode, StreamProtocol::new("/x"));
            let read = request_response::Codec::read_response(&mut codec, &protocol, &mut stream);
            assert!(read.now_or_never().unwrap().is_err());
        }
    }
}
