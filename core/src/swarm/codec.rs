//! How requests and responses lie on a stream: an unsigned varint with the length, then that many bytes.

use std::io;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{StreamProtocol, request_response};

use crate::node::Protocol;

/// One protocol's framing. What the bytes mean is the node's business.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    protocol: Protocol,
}

impl Codec {
    /// That of this protocol.
    #[must_use]
    pub const fn new(protocol: Protocol) -> Self {
        Self { protocol }
    }
}

/// A frame that its sender, or we, made larger than the protocol allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes, and the protocol allows {max}")]
pub struct Oversized {
    pub(super) len: u64,
    pub(super) max: usize,
}

impl Oversized {
    fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// Whether this is why a stream ended.
    pub(super) fn caused(error: &io::Error) -> bool {
        Self::of(error).is_some()
    }
}

/// The most bytes of a length that any protocol here can need.
const MAX_LENGTH_BYTES: u32 = 4;

async fn read_frame<T: AsyncRead + Unpin + Send>(io: &mut T, max: usize) -> io::Result<Vec<u8>> {
    let mut len = 0_u64;
    for index in 0.. {
        if index == MAX_LENGTH_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Oversized { len, max }));
        }
        let mut byte = [0];
        io.read_exact(&mut byte).await?;
        len |= u64::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    if len > max as u64 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, Oversized { len, max }));
    }
    // Grows with what arrives: a length alone costs the sender a byte and us nothing.
    let mut frame = Vec::new();
    io.take(len).read_to_end(&mut frame).await?;
    if frame.len() as u64 == len { Ok(frame) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

async fn write_frame<T: AsyncWrite + Unpin + Send>(io: &mut T, frame: &[u8], max: usize) -> io::Result<()> {
    if frame.len() > max {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, Oversized { len: frame.len() as u64, max }));
    }
    let mut length = Vec::with_capacity(MAX_LENGTH_BYTES as usize);
    let mut rest = frame.len();
    while rest >= 0x80 {
        length.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    length.push(rest as u8);
    io.write_all(&length).await?;
    io.write_all(frame).await
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    /// One that is too large is read as an error and handed on as such: of a request that cannot be read the library tells
    /// nobody, and who sent it is to blame.
    type Request = Result<Vec<u8>, Oversized>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Self::Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        let read = read_frame(io, self.protocol.max_request()).await;
        read.map(Ok).or_else(|error| Oversized::of(&error).map(Err).ok_or(error))
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io, self.protocol.max_response()).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Self::Request,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let request = request.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        write_frame(io, &request, self.protocol.max_request()).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &response, self.protocol.max_response()).await
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use futures::{FutureExt, io::Cursor};

    use super::*;

    fn written(frame: &[u8], max: usize) -> io::Result<Vec<u8>> {
        let mut out = Cursor::new(Vec::new());
        write_frame(&mut out, frame, max).now_or_never().unwrap()?;
        Ok(out.into_inner())
    }

    fn read(bytes: &[u8], max: usize) -> io::Result<Vec<u8>> {
        read_frame(&mut Cursor::new(bytes), max).now_or_never().unwrap()
    }

    #[test]
    fn frames_survive_the_stream() {
        for len in [0, 1, 127, 128, 16_383, 16_384, 3 << 20] {
            let frame = vec![7; len];
            assert_eq!(read(&written(&frame, 3 << 20).unwrap(), 3 << 20).unwrap(), frame, "{len} bytes");
        }
    }

    #[test]
    fn the_length_is_an_unsigned_varint() {
        assert_eq!(written(b"abc", 10).unwrap(), b"\x03abc");
        assert_eq!(&written(&[0; 300], 300).unwrap()[..2], [0xac, 0x02]);
    }

    #[test]
    fn a_truncated_frame_is_an_error() {
        for bytes in [&b""[..], b"\x80", b"\x03ab"] {
            assert_eq!(read(bytes, 10).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{bytes:?}");
        }
    }

    /// A stream that ends the test when anything after the length is read.
    struct LengthOnly(Cursor<&'static [u8]>);

    impl AsyncRead for LengthOnly {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            out: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            assert!(self.0.position() < self.0.get_ref().len() as u64, "read past the length");
            Pin::new(&mut self.0).poll_read(cx, out)
        }
    }

    #[test]
    fn more_than_the_protocol_allows_is_refused_before_it_is_read() {
        for length in [&[0x0b][..], &[0xff, 0xff, 0xff, 0x7f], &[0x80, 0x80, 0x80, 0x80]] {
            let error = read_frame(&mut LengthOnly(Cursor::new(length)), 10).now_or_never().unwrap();
            let error = error.unwrap_err();
            assert!(Oversized::caused(&error), "{length:?}: {error}");
        }
        assert!(written(&[0; 11], 10).is_err());
    }
}
