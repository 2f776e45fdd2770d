//! WebRTC-direct: data channels over UDP, to whoever knows the hash of our certificate from our address.
//!
//! It is how a browser reaches a peer that has no certificate for TLS. The library keeps each data channel of a connection until the connection
//! closes, whoever is done with it, and numbers its own upwards for ever, of which Chromium takes the first 1,024. So a connection has a
//! [bounded](Bounded) number of streams in its life, closes, and is dialled again.

use std::{
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use chacha20::{ChaCha20Rng, rand_core::SeedableRng};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent},
        transport::{Boxed, timeout::TransportTimeout},
    },
    identity::Keypair,
    multiaddr::Protocol,
};
use libp2p_webrtc::tokio as webrtc;
use rustls::crypto::ring;

use super::HANDSHAKE_TIMEOUT;
use crate::{keyfile::KeyFileError, private_file};

/// The most bytes a file with a certificate may have; ours have about 900.
const MAX_LEN: u64 = 16 << 10;

/// How many streams we open on one connection: 512 of the numbers that Chromium takes are ours, and one is for the handshake.
const MAX_OPENED: usize = 500;
/// How many the other side opens. It may give numbers back, and still each costs us about 2 KiB until the end.
const MAX_TAKEN: usize = 4096;

/// What a peer shows to those who dial it by WebRTC-direct. Its hash is in the peer's addresses, so it is kept over restarts.
#[derive(Clone, Debug)]
pub struct WebrtcCertificate(webrtc::Certificate);

impl WebrtcCertificate {
    /// The name of its file in a data directory.
    pub const FILE: &str = "webrtc.pem";

    /// A new one.
    ///
    /// # Errors
    /// When the system gives no randomness, or makes no key of it.
    pub fn generate() -> Result<Self, KeyFileError> {
        let entropy = |error: &dyn std::fmt::Display| KeyFileError::Entropy(error.to_string());
        let seed = private_file::random().map_err(|error| entropy(&error))?;
        let made = webrtc::Certificate::generate(&mut ChaCha20Rng::from_seed(seed));
        Ok(Self(made.map_err(|error| entropy(&error))?))
    }

    /// The one in the file, or a new one that is written there, readable by its owner only. Of two processes that start at once
    /// both get the same.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is damaged.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyFileError> {
        let access = |source| KeyFileError::Access { path: path.to_owned(), source };
        match Self::load(path) {
            Err(KeyFileError::Access { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let made = Self::generate()?;
                match private_file::write_new(path, made.0.serialize_pem().as_bytes()) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
                    written => written.map(|()| made).map_err(access),
                }
            }
            loaded => loaded,
        }
    }

    fn load(path: &Path) -> Result<Self, KeyFileError> {
        let corrupt = |reason: String| KeyFileError::Corrupt { path: path.to_owned(), reason };
        let bytes = private_file::read(path, MAX_LEN).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => corrupt(source.to_string()),
            _ => KeyFileError::Access { path: path.to_owned(), source },
        })?;
        let text = String::from_utf8(bytes).map_err(|_| corrupt("it is not text".to_owned()))?;
        // The library reads the first eight bytes of the first block, and panics when there are fewer.
        let first = text.lines().nth(1).unwrap_or_default();
        if first.len() != 12 || !first.ends_with('=') || first.ends_with("==") {
            return Err(corrupt("it does not begin with the day on which the certificate ends".to_owned()));
        }
        webrtc::Certificate::from_pem(&text).map(Self).map_err(|error| corrupt(error.to_string()))
    }

    /// An address of WebRTC-direct with the hash by which this certificate is known, if it has none yet; others as they are.
    #[must_use]
    pub fn named_in(&self, address: &Multiaddr) -> Multiaddr {
        let named = address.iter().any(|part| matches!(part, Protocol::Certhash(_)));
        if named || !is_webrtc(address) {
            return address.clone();
        }
        let hash = Protocol::Certhash(self.0.fingerprint().to_multihash());
        address
            .iter()
            .flat_map(|part| {
                let after = matches!(part, Protocol::WebRTCDirect).then(|| hash.clone());
                std::iter::once(part).chain(after)
            })
            .collect()
    }
}

/// Whether an address is one of WebRTC-direct.
#[must_use]
pub fn is_webrtc(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::WebRTCDirect))
}

/// The transport, which dials only while it listens: the library sends from the port it listens at.
pub(super) fn transport(key: &Keypair, certificate: WebrtcCertificate) -> Boxed<(PeerId, StreamMuxerBox)> {
    // The library takes the process's implementation of cryptography. It can be chosen once, and somebody may have done so.
    let _ = ring::default_provider().install_default();
    let transport = webrtc::Transport::new(key.clone(), certificate.0)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(Bounded::new(connection))));
    TransportTimeout::new(transport, HANDSHAKE_TIMEOUT).boxed()
}

/// A connection that fails when it has had its number of streams.
struct Bounded<M> {
    inner: M,
    opened: usize,
    taken: usize,
}

impl<M> Bounded<M> {
    const fn new(inner: M) -> Self {
        Self { inner, opened: 0, taken: 0 }
    }
}

/// Why a connection closes that had its number of streams.
#[derive(Debug, thiserror::Error)]
#[error("it had as many streams as one WebRTC connection may have")]
struct Spent;

impl<M: StreamMuxer<Error: Send + Sync + 'static> + Unpin> StreamMuxer for Bounded<M> {
    type Substream = M::Substream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<M::Substream>> {
        if self.taken >= MAX_TAKEN {
            return Poll::Ready(Err(io::Error::other(Spent)));
        }
        let stream = Pin::new(&mut self.inner).poll_inbound(cx).map_err(io::Error::other);
        self.taken += usize::from(matches!(stream, Poll::Ready(Ok(_))));
        stream
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<M::Substream>> {
        if self.opened >= MAX_OPENED {
            return Poll::Ready(Err(io::Error::other(Spent)));
        }
        let stream = Pin::new(&mut self.inner).poll_outbound(cx).map_err(io::Error::other);
        self.opened += usize::from(matches!(stream, Poll::Ready(Ok(_))));
        stream
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx).map_err(io::Error::other)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.inner).poll(cx).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, future::poll_fn, task::ready, time::Duration};

    use futures::{
        AsyncReadExt, AsyncWriteExt, StreamExt, channel::mpsc, future::join, io::Cursor, task::noop_waker,
    };
    use libp2p::core::{
        Endpoint,
        muxing::StreamMuxerExt,
        transport::{DialOpts, ListenerId, PortUse, TransportEvent},
    };
    use tempfile::TempDir;
    use tokio::{runtime, time::timeout};

    use super::*;

    #[test]
    fn a_certificate_is_made_once_for_its_owner_and_stands_in_addresses() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("data").join("webrtc.pem");
        let made = WebrtcCertificate::load_or_create(&path).unwrap();
        let again = WebrtcCertificate::load_or_create(&path).unwrap();
        let plain: Multiaddr = "/ip4/9.8.7.6/udp/4/webrtc-direct".parse().unwrap();
        let named = made.named_in(&plain);
        assert!(named.to_string().starts_with("/ip4/9.8.7.6/udp/4/webrtc-direct/certhash/uEi"), "{named}");
        assert_eq!(again.named_in(&plain), named, "a restart changes nothing");
        assert_eq!(made.named_in(&named), named);
        assert_ne!(WebrtcCertificate::generate().unwrap().named_in(&plain), named);
        let other: Multiaddr = "/ip4/9.8.7.6/udp/4/quic-v1".parse().unwrap();
        assert_eq!(made.named_in(&other), other);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_new_certificate() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("webrtc.pem");
        WebrtcCertificate::load_or_create(&path).unwrap();
        let good = fs::read_to_string(&path).unwrap();
        let day = good.lines().nth(1).unwrap();
        let cases = [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace(day, "AAAA"),
            good.replace(day, "AAAAAAAAAA=="),
            good.replace("CERTIFICATE", "CERT"),
            good.replace("PRIVATE_KEY", "KEY"),
            good.clone() + &" ".repeat(20_000),
        ];
        for case in cases {
            fs::write(&path, &case).unwrap();
            let error = WebrtcCertificate::load_or_create(&path).unwrap_err();
            assert!(matches!(error, KeyFileError::Corrupt { .. }), "{case:?}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), case);
        }
    }

    /// A connection on which streams can be opened for ever.
    struct Endless;

    impl StreamMuxer for Endless {
        type Substream = Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Ready(Ok(Cursor::default()))
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Ready(Ok(Cursor::default()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_connection_ends_with_the_last_stream_it_may_have() {
        let waker = noop_waker();
        let cx = &mut Context::from_waker(&waker);
        let mut muxer = Bounded::new(Endless);
        for _ in 0..MAX_OPENED {
            assert!(matches!(Pin::new(&mut muxer).poll_outbound(cx), Poll::Ready(Ok(_))));
        }
        assert!(matches!(Pin::new(&mut muxer).poll_outbound(cx), Poll::Ready(Err(_))));
        for _ in 0..MAX_TAKEN {
            assert!(matches!(Pin::new(&mut muxer).poll_inbound(cx), Poll::Ready(Ok(_))));
        }
        assert!(matches!(Pin::new(&mut muxer).poll_inbound(cx), Poll::Ready(Err(_))));
    }

    type Connected = (PeerId, StreamMuxerBox);
    type Listening = Boxed<Connected>;

    /// A transport that listens, and its address.
    async fn listening() -> (Listening, Multiaddr) {
        let mut made = transport(&Keypair::generate_ed25519(), WebrtcCertificate::generate().unwrap());
        made.listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/webrtc-direct".parse().unwrap()).unwrap();
        let event = poll_fn(|cx| Pin::new(&mut made).poll(cx)).await;
        let TransportEvent::NewAddress { listen_addr, .. } = event else { panic!("{event:?}") };
        (made, listen_addr)
    }

    /// Has the transport do its work, and gives what it takes.
    fn driven(
        mut transport: Listening,
    ) -> mpsc::UnboundedReceiver<<Listening as Transport>::ListenerUpgrade> {
        let (taken, incoming) = mpsc::unbounded();
        tokio::spawn(poll_fn(move |cx| {
            loop {
                if let TransportEvent::Incoming { upgrade, .. } = ready!(Pin::new(&mut transport).poll(cx))
                    && taken.unbounded_send(upgrade).is_err()
                {
                    return Poll::Ready(());
                }
            }
        }));
        incoming
    }

    #[test]
    fn webrtc_direct_carries_what_either_side_opens_at_once() {
        const DIALS: usize = 12;
        const LEN: usize = 100_000;
        let runtime = runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let all = async {
            let (listener, address) = listening().await;
            let (mut dialler, _) = listening().await;
            let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
            let dials: Vec<_> = (0..DIALS).map(|_| dialler.dial(address.clone(), opts).unwrap()).collect();
            let (_dialler, mut incoming) = (driven(dialler), driven(listener));
            for dial in dials {
                let listens = async {
                    let (_, mut connection) = incoming.next().await.unwrap().await.unwrap();
                    let mut stream = poll_fn(|cx| connection.poll_outbound_unpin(cx)).await.unwrap();
                    stream.write_all(&vec![7; LEN]).await.unwrap();
                    stream.close().await.unwrap();
                    connection
                };
                let dials = async {
                    let (_, mut connection) = dial.await.unwrap();
                    let mut stream = poll_fn(|cx| connection.poll_inbound_unpin(cx)).await.unwrap();
                    let mut received = Vec::new();
                    stream.read_to_end(&mut received).await.unwrap();
                    assert_eq!(received.len(), LEN);
                    connection
                };
                // The next comes from the same port, so both sides must be done with this one.
                let (mut dialled, mut taken) = join(dials, listens).await;
                poll_fn(|cx| dialled.poll_close_unpin(cx)).await.unwrap();
                poll_fn(|cx| taken.poll_close_unpin(cx)).await.unwrap();
            }
        };
        runtime.block_on(async { timeout(Duration::from_secs(60), all).await }).unwrap();
    }
}
