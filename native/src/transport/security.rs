//! How a TCP connection is secured: by noise or by TLS, whichever the two sides agree on.

use futures::{
    AsyncRead, AsyncWrite, FutureExt,
    future::{BoxFuture, Either},
};
use libp2p::{
    PeerId,
    core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
    identity::Keypair,
    noise, tls,
};

use super::TransportError;

/// What a peer secures TCP connections with. QUIC has TLS built in, and WebSocket is for browsers, which have noise only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Noise before TLS, as the other side likes.
    #[default]
    Any,
    /// Noise alone.
    Noise,
    /// TLS 1.3 alone.
    Tls,
}

/// The upgrade that secures a connection, by what is offered, the best first.
#[derive(Clone)]
pub(super) struct Secure(Vec<Offer>);

#[derive(Clone)]
enum Offer {
    Noise(noise::Config),
    Tls(tls::Config),
}

impl Secure {
    pub(super) fn new(key: &Keypair, security: Security) -> Result<Self, TransportError> {
        let mut offers = Vec::new();
        if security != Security::Tls {
            offers.push(Offer::Noise(noise::Config::new(key)?));
        }
        if security != Security::Noise {
            offers.push(Offer::Tls(tls::Config::new(key)?));
        }
        Ok(Self(offers))
    }

    /// The offer of this name. Only names that were offered are ever agreed on.
    fn agreed(self, name: &str) -> Result<Offer, SecureError> {
        let found = self.0.into_iter().find(|offer| offer.name() == name);
        found.ok_or_else(|| SecureError::NotOffered(name.to_owned()))
    }
}

impl Offer {
    /// The name on the wire.
    fn name(&self) -> &'static str {
        let mut names = match self {
            Self::Noise(config) => config.protocol_info(),
            Self::Tls(config) => config.protocol_info(),
        };
        names.next().expect("each has one name")
    }
}

/// Why a connection could not be secured.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecureError {
    #[error(transparent)]
    Noise(#[from] noise::Error),
    #[error(transparent)]
    Tls(#[from] tls::UpgradeError),
    #[error("{0} was agreed on and not offered")]
    NotOffered(String),
}

type Secured<C> = (PeerId, Either<noise::Output<C>, tls::TlsStream<C>>);

impl UpgradeInfo for Secure {
    type Info = &'static str;
    type InfoIter = std::vec::IntoIter<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.iter().map(Offer::name).collect::<Vec<_>>().into_iter()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Secure {
    type Output = Secured<C>;
    type Error = SecureError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: C, name: Self::Info) -> Self::Future {
        async move {
            Ok(match self.agreed(name)? {
                Offer::Noise(noise) => {
                    let (peer, stream) = noise.upgrade_inbound(socket, name).await?;
                    (peer, Either::Left(stream))
                }
                Offer::Tls(tls) => {
                    let (peer, stream) = tls.upgrade_inbound(socket, name).await?;
                    (peer, Either::Right(stream))
                }
            })
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Secure {
    type Output = Secured<C>;
    type Error = SecureError;
    type Future = BoxFuture<'static, Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: C, name: Self::Info) -> Self::Future {
        async move {
            Ok(match self.agreed(name)? {
                Offer::Noise(noise) => {
                    let (peer, stream) = noise.upgrade_outbound(socket, name).await?;
                    (peer, Either::Left(stream))
                }
                Offer::Tls(tls) => {
                    let (peer, stream) = tls.upgrade_outbound(socket, name).await?;
                    (peer, Either::Right(stream))
                }
            })
        }
        .boxed()
    }
}
