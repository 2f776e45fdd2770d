//! A peer for browsers to begin with: a full native peer that is also a circuit relay, and the server of the app.

mod http;
mod https;
mod limits;
mod options;
mod passing;
pub mod stun;

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, swarm::NetworkBehaviour};
use tokio::{
    task::JoinError,
    time::{sleep, timeout},
};
use weft::{
    certificate::{CertificateError, CertificateFiles, CertificateKeeper},
    genesis::{self, GenesisFileError},
    keyfile::{self, KeyFileError, KeyKind},
    peer::{DialBack, External, Peer, PeerConfig, PeerError, Storage, is_tls},
    rpc::{RpcError, RpcServer, Token, TokenError},
    transport::{WebrtcCertificate, is_webrtc},
};
use weft_core::{
    chain::Genesis,
    node::{Command, Discovery, Reply, Role},
    peers::{NodeList, Scope},
    primitives::{Hash, SecretKey, Wall},
};

use self::{
    http::{GuestBook, HttpServer},
    passing::Passing,
    stun::StunServer,
};
pub use self::{limits::RelayLimits, options::Options};

/// How long a list of peers is good for: a page may be open, or come from a cache, for a day.
const LIST_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How long listeners may take to tell their addresses, and how often they are asked.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The most addresses of one peer that a list holds.
const MAX_LISTED_ADDRESSES: usize = 16;

/// Why a relay cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The genesis file cannot be used.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// The certificate for https and wss cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// There is nothing to secure connections at an address with.
    #[error("{0} is for WebSocket over TLS, which takes a certificate: --tls-cert and --tls-key")]
    NoCertificate(Multiaddr),
    /// The peer cannot start.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The JSON-RPC server cannot start.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The token for it cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Another program has the HTTP port.
    #[error("cannot serve HTTP on {0}: the port is in use; stop the program that uses it, or choose another")]
    HttpInUse(SocketAddr),
    /// HTTP cannot be served there.
    #[error("cannot serve HTTP on {address}: {source}")]
    Http {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// STUN cannot be served there.
    #[error("cannot answer STUN on {address}: {source}")]
    Stun {
        /// Where.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
    /// The folder holds no app.
    #[error("{} holds no built app: there is no index.html in it", .0.display())]
    App(PathBuf),
    /// The demo's key would be given to everybody.
    #[error("--demo-key gives a key with money to whoever asks, so it is for loopback only, and {0} is not")]
    DemoNotLoopback(SocketAddr),
    /// The same, where a proxy lets others in.
    #[error("--demo-key gives a key with money to whoever asks, which behind a proxy is everybody")]
    DemoBehindProxy,
}

/// What a relay does for others that peers do not.
#[derive(NetworkBehaviour)]
struct Services {
    relay: Passing,
    dial_back: DialBack,
}

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    peer: Peer,
    http: HttpServer,
    rpc: Option<RpcServer>,
    stun: Option<StunServer>,
    certificate: Option<Arc<CertificateKeeper>>,
}

impl Relay {
    /// Starts a relay.
    ///
    /// # Errors
    /// When it cannot do what it is asked to; nothing is left running then.
    pub async fn start(options: Options) -> Result<Self, RelayError> {
        if let Some(app) = &options.app
            && !app.join("index.html").is_file()
        {
            return Err(RelayError::App(app.clone()));
        }
        let faucet = match &options.demo_key {
            Some(_) if !options.http.ip().is_loopback() => {
                return Err(RelayError::DemoNotLoopback(options.http));
            }
            Some(_) if !options.behind_proxy.is_empty() => return Err(RelayError::DemoBehindProxy),
            Some(path) => Some(keyfile::load(path, KeyKind::Account)?),
            None => None,
        };
        let rpc = match options.rpc {
            Some(address) => {
                // A service may have no home.
                let path = Token::path(options.rpc_token.as_deref());
                let path = path.unwrap_or_else(|_| options.data.join("rpc.token"));
                Some((address, Token::load_or_create(&path)?))
            }
            None => None,
        };
        let genesis = options.genesis.as_deref().map(genesis::read).transpose()?;
        let key = keyfile::load_or_create_peer_key(&options.data.join("peer.key"))?;
        let listen = options.addresses();
        let certificate = match options.tls_cert.clone().zip(options.tls_key.clone()) {
            Some((certificate, key)) => {
                Some(Arc::new(CertificateKeeper::start(CertificateFiles { certificate, key })?))
            }
            None => match listen.iter().find(|address| is_tls(address)) {
                Some(address) => return Err(RelayError::NoCertificate(address.clone())),
                None => None,
            },
        };
        if certificate.is_some() && !options.external.iter().chain(&listen).any(is_tls) {
            tracing::warn!(
                "pages that come over https can connect to wss only, and no --listen or --external address ends in it"
            );
        } else if certificate.is_some() && options.external.is_empty() {
            tracing::warn!(
                "browsers look for the name they dial in the certificate, and others are told of this relay's IP addresses: give names with --external"
            );
        }
        if certificate.is_none() && options.behind_proxy.is_empty() && options.external.iter().any(is_tls) {
            tracing::warn!(
                "an --external address has TLS and this relay has no certificate, so others come through a proxy: without --behind-proxy they are taken for neighbours of this machine"
            );
        }
        let listener = http::bind(options.http).await?;
        let stun = match options.stun {
            Some(address) => {
                let started = StunServer::start(address).await;
                Some(started.map_err(|source| RelayError::Stun { address, source })?)
            }
            None => None,
        };

        let mut config = PeerConfig::new(key.clone());
        config.role = Role::Relay;
        config.genesis = genesis.clone();
        config.listen = listen;
        if config.listen.iter().any(is_webrtc) {
            config.webrtc =
                Some(WebrtcCertificate::load_or_create(&options.data.join(WebrtcCertificate::FILE))?);
        }
        config.certificate = certificate.as_ref().map(|keeper| keeper.current());
        config.bootstrap = options.bootstrap;
        config.dns = options.dns_server;
        config.tx_mode = options.tx_mode;
        config.upload = u64::from(options.upload.get()) << 20;
        config.discovery = Discovery {
            exchange: !options.no_exchange,
            dht: !options.no_dht,
            rendezvous: !options.no_rendezvous,
            outbound: usize::from(options.outbound),
            ..Discovery::of(Role::Relay)
        };
        config.proxies.clone_from(&options.behind_proxy);
        config.storage = Storage::Disk(options.data.join("chain"));
        // A reservation names the addresses of the relay, so it has to know them.
        config.external =
            if options.external.is_empty() { External::Listening } else { External::Known(options.external) };
        let id = key.public().to_peer_id();
        let services = Services {
            relay: Passing::new(id, options.limits.config(), options.limits.of_host()),
            dial_back: DialBack::new(options.behind_proxy),
        };
        let (tally, guests) = (services.relay.tally(), GuestBook::new());
        let peer = Peer::start_with(config, services).await?;
        let rpc = match rpc {
            Some((address, token)) => {
                let caller = peer.caller();
                let certificate = certificate.clone();
                let stun = stun.as_ref().map(StunServer::answered);
                let guests = guests.clone();
                let answer = move |command| {
                    let (caller, tally, guests) = (caller.clone(), Arc::clone(&tally), guests.clone());
                    let (certificate, stun) = (certificate.clone(), stun.clone());
                    async move {
                        let mut reply = caller.call(command).await?;
                        if let Reply::Metrics(snapshot) = &mut reply {
                            snapshot.stun_answers = stun.map(|count| count.load(Ordering::Relaxed));
                            snapshot.held.extend(tally.held().into_iter().chain(guests.held()));
                            snapshot.certificate = certificate.map(|keeper| keeper.measured());
                        }
                        Ok(reply)
                    }
                };
                Some(RpcServer::start(address, false, token, answer).await?)
            }
            None => None,
        };
        let seed = key.try_into_ed25519().expect("key files hold ed25519 keys").secret();
        let seed = seed.as_ref().try_into().expect("an ed25519 secret has 32 bytes");
        let served = Served {
            peer: peer.handle().clone(),
            id,
            key: SecretKey::from_seed(seed),
            genesis,
            faucet,
            stun: stun.as_ref().map(StunServer::address),
        };
        let http = HttpServer::start(
            listener,
            certificate.as_ref().map(|keeper| keeper.current()),
            options.app,
            Arc::new(served),
            guests,
        );
        Ok(Self { peer, http, rpc, stun, certificate })
    }

    /// The relay's peer id.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.peer.id()
    }

    /// Where it serves HTTP.
    #[must_use]
    pub const fn http_address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Whether that is https.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.certificate.is_some()
    }

    /// Where it answers JSON-RPC, if it does.
    #[must_use]
    pub fn rpc_address(&self) -> Option<SocketAddr> {
        self.rpc.as_ref().map(RpcServer::address)
    }

    /// Where it answers STUN, if it does.
    #[must_use]
    pub fn stun_address(&self) -> Option<SocketAddr> {
        self.stun.as_ref().map(StunServer::address)
    }

    /// The addresses others can reach it at, once there are `count` of them or a while has passed.
    pub async fn addresses(&self, count: usize) -> Vec<Multiaddr> {
        let mut known = Vec::new();
        let all = async {
            while known.len() < count {
                known = addresses(self.peer.handle()).await;
                sleep(LOOK).await;
            }
        };
        if timeout(PATIENCE, all).await.is_err() {
            tracing::warn!("knows {} of {count} addresses so far", known.len());
        }
        known
    }

    /// Waits until the peer ends by itself.
    ///
    /// # Errors
    /// When it panicked.
    pub async fn ended(&mut self) -> Result<(), JoinError> {
        self.peer.ended().await
    }

    /// Stops everything and waits until it is on disk.
    ///
    /// # Errors
    /// When the peer had panicked.
    pub async fn stop(self) -> Result<(), JoinError> {
        self.http.stop().await;
        self.peer.stop().await
    }
}

/// What the HTTP server tells.
#[derive(Debug)]
struct Served {
    peer: weft_core::swarm::Handle,
    id: PeerId,
    key: SecretKey,
    genesis: Option<Genesis>,
    faucet: Option<SecretKey>,
    /// Where STUN is answered, as this machine names it.
    stun: Option<SocketAddr>,
}

impl Served {
    /// The list of peers to begin with: this one. `None` without a chain.
    async fn node_list(&self) -> Option<NodeList> {
        let chain: Hash = self.genesis.as_ref()?.hash();
        let mut addresses = addresses(&self.peer).await;
        addresses.truncate(MAX_LISTED_ADDRESSES);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let lifetime = LIST_LIFETIME.as_millis() as u64;
        let stun = self.stun.map(|bound| stun_addresses(&addresses, bound)).unwrap_or_default();
        Some(NodeList::sign(&self.key, chain, Wall(now), lifetime, &[(self.id, addresses)], &stun))
    }
}

/// Where this relay answers STUN: at the hosts where others dial it, as far as it listens there, the most far-reaching alone.
fn stun_addresses(addresses: &[Multiaddr], bound: SocketAddr) -> Vec<Multiaddr> {
    let fits = |host: &Multiaddr| match host.iter().next() {
        Some(Protocol::Ip4(ip)) if !bound.ip().is_unspecified() => bound.ip() == ip,
        Some(Protocol::Ip6(ip)) if !bound.ip().is_unspecified() => bound.ip() == ip,
        Some(Protocol::Ip4(_)) => bound.is_ipv4(),
        Some(Protocol::Ip6(_)) => bound.is_ipv6(),
        _ => !bound.ip().is_loopback(),
    };
    let hosts: BTreeSet<Multiaddr> =
        addresses.iter().map(|address| address.iter().take(1).collect()).collect();
    let hosts: Vec<_> = hosts.into_iter().filter(fits).collect();
    let farthest = hosts.iter().filter_map(Scope::of).max();
    let hosts = hosts.into_iter().filter(|host| Scope::of(host) == farthest);
    hosts.map(|host| host.with(Protocol::Udp(bound.port()))).collect()
}

async fn addresses(peer: &weft_core::swarm::Handle) -> Vec<Multiaddr> {
    let Ok(Reply::Status(status)) = peer.call(Command::Status).await else { return Vec::new() };
    let parsed = status.addresses.iter().filter_map(|address| address.parse::<Multiaddr>().ok());
    parsed
        .map(|address| address.into_iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stun_is_told_where_it_is_answered_and_reaches_farthest() {
        let addresses: Vec<Multiaddr> = [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/9.8.7.6/tcp/1/ws",
            "/ip4/9.8.7.6/udp/1/quic-v1",
            "/ip6/2a01:4f8::1/tcp/1",
            "/dns4/relay.example.org/tcp/443/wss",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let told = |bound: &str| {
            let told = stun_addresses(&addresses, bound.parse().unwrap());
            told.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told("0.0.0.0:3478"), ["/ip4/9.8.7.6/udp/3478", "/dns4/relay.example.org/udp/3478"]);
        assert_eq!(told("127.0.0.1:3478"), ["/ip4/127.0.0.1/udp/3478"]);
        assert_eq!(told("[::]:3478"), ["/ip6/2a01:4f8::1/udp/3478", "/dns4/relay.example.org/udp/3478"]);
        assert_eq!(told("10.0.0.1:3478")[..1], ["/dns4/relay.example.org/udp/3478"]);
    }
}
