//! The ways a native peer reaches others: TCP, QUIC, WebSocket and WebRTC-direct, with names resolved by the DNS, and through relays.
//!
//! TCP is secured by noise or by [TLS](Security), QUIC by the TLS it has built in, and WebSocket by noise, as browsers do. Every stream transport negotiates noise and yamux by the eager version of multistream-select, as browsers do: a mix
//! of versions fails.

mod renewed;
mod security;
#[cfg(test)]
mod tests;
mod webrtc;

use std::time::Duration;

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, OptionalTransport},
        upgrade::Version,
    },
    identity::Keypair,
    noise, quic, relay, tcp, tls, websocket, yamux,
};

use self::{renewed::Renewed, security::Secure};
pub use self::{
    security::Security,
    webrtc::{WebrtcCertificate, is_webrtc},
};
use crate::{certificate::CurrentCertificate, dns::Dns};

/// How long a connection may take to be secured.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// The largest WebSocket frame accepted. Noise frames have at most 64 KiB; a sender may join a few.
const MAX_FRAME: usize = 1 << 20;

/// Why a peer can have no transports.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Its key does not do for noise.
    #[error(transparent)]
    Noise(#[from] noise::Error),
    /// No certificate can be made with its key.
    #[error(transparent)]
    Tls(#[from] tls::certificate::GenError),
}

/// All transports in one, for the peer with this key. `relayed` is the one through relays. With a certificate it can listen for
/// WebSocket over TLS, with the other one for WebRTC-direct.
///
/// # Errors
/// When the key cannot secure connections.
pub(crate) fn transport(
    key: &Keypair,
    security: Security,
    dns: &Dns,
    (certificate, webrtc): (Option<CurrentCertificate>, Option<WebrtcCertificate>),
    relayed: relay::client::Transport,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, TransportError> {
    let mut websocket = websocket::Config::new(dns.with_names(tcp()));
    websocket.set_max_data_size(MAX_FRAME);
    let websocket = Renewed::new(websocket, certificate);
    let websocket = secured(websocket, Secure::new(key, Security::Noise)?);
    let quic = quic::tokio::Transport::new(quic::Config::new(key))
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let webrtc = match webrtc {
        Some(certificate) => OptionalTransport::some(webrtc::transport(key, certificate)),
        None => OptionalTransport::none(),
    };
    let datagrams = quic.or_transport(webrtc).map(|either, _| either.into_inner());
    let direct = datagrams.or_transport(secured(tcp(), Secure::new(key, security)?));
    let direct = dns.with_names(direct.map(|either, _| either.into_inner()));
    let relayed = secured(relayed, Secure::new(key, Security::Noise)?);
    // Relays first: the others take an address that goes on past what they know. Then WebSocket: it takes only addresses that
    // say so, and resolves names itself, since TLS needs them.
    let direct = websocket.or_transport(direct).map(|either, _| either.into_inner());
    Ok(relayed.or_transport(direct).map(|either, _| either.into_inner()).boxed())
}

fn tcp() -> tcp::tokio::Transport {
    tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
}

fn secured<T>(transport: T, secure: Secure) -> Boxed<(PeerId, StreamMuxerBox)>
where
    T: Transport<Error: Send + Sync, Dial: Send, ListenerUpgrade: Send> + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    transport
        .upgrade(Version::V1)
        .authenticate(secure)
        .multiplex(yamux::Config::default())
        .timeout(HANDSHAKE_TIMEOUT)
        .boxed()
}
