//! A running native peer: transports, swarm, node, workers and storage, put together.

mod dial_back;
mod extra;
mod log;
mod probe;
mod punch;
mod shell;
mod storage;
mod workers;

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
};

use libp2p::{
    Multiaddr, PeerId, Transport, TransportError,
    identity::Keypair,
    multiaddr::Protocol,
    relay,
    swarm::{self, NetworkBehaviour, dummy},
};
use tokio::task::{JoinError, JoinHandle};
use weft_core::{
    chain::Genesis,
    gossip::TxMode,
    node::{
        Command, CommandError, Config, Discovery, Input, Node, NodeLists, Prune, ReachedBy, Reply, Role,
        StartError, Without,
    },
    peers::AddressRange,
    primitives::SecretKey,
    swarm::{Behaviour, Driver, Handle, Limits, Meshing, Shell, inputs},
    sync::Strategy,
};

pub use self::{dial_back::DialBack, extra::Extra};
use self::{
    extra::Switches,
    punch::{Guarded, Refused},
    shell::NativeShell,
    workers::Workers,
};
use crate::{
    certificate::CurrentCertificate,
    disk::{self, DiskError},
    dns::Dns,
    lists::ListFetcher,
    transport::{self, Security, WebrtcCertificate, is_webrtc, transport},
};

/// What a peer is to be.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// The peer's key, which names it.
    pub key: Keypair,
    /// Its kind.
    pub role: Role,
    /// The chain to follow; without one only peers and chat run.
    pub genesis: Option<Genesis>,
    /// Propose blocks with this key.
    pub validator: Option<SecretKey>,
    /// Where to listen, for example `/ip4/0.0.0.0/tcp/4100`, `/ip4/0.0.0.0/udp/4100/quic-v1`,
    /// `/ip4/0.0.0.0/tcp/4101/ws` or `/ip4/0.0.0.0/udp/4103/webrtc-direct`.
    pub listen: Vec<Multiaddr>,
    /// The addresses at which others reach this peer.
    pub external: External,
    /// Peers to connect to, and to come back to.
    pub bootstrap: Vec<Multiaddr>,
    /// Where signed lists of peers can be had.
    pub lists: NodeLists,
    /// Look for peers in the local network by mDNS, and answer those that look.
    pub mdns: bool,
    /// The name server to ask; without one those that the system is configured with.
    pub dns: Option<SocketAddr>,
    /// Ask the router to pass on what comes to the ports this peer listens on (UPnP).
    pub upnp: bool,
    /// On how many relays it keeps a slot while nobody can dial it.
    pub slots: usize,
    /// Where proxies are through which others come.
    pub proxies: Vec<AddressRange>,
    /// How else it looks for peers.
    pub discovery: Discovery,
    /// What secures its TCP connections.
    pub security: Security,
    /// What it shows to those who dial it by WebSocket over TLS; without it nobody can.
    pub certificate: Option<CurrentCertificate>,
    /// What it shows to those who dial it by WebRTC-direct; without it nobody can, and it dials nobody so.
    pub webrtc: Option<WebrtcCertificate>,
    /// Where its chain is kept.
    pub storage: Storage,
    /// How it joins the chain, unless its storage holds it already.
    pub strategy: Strategy,
    /// How much of the past it keeps.
    pub prune: Prune,
    /// The most bytes of transactions the mempool holds.
    pub mempool_bytes: usize,
    /// How it passes transactions on.
    pub tx_mode: TxMode,
    /// How many bytes a second it sends to those who ask for blocks, states, files and history.
    pub upload: u64,
    /// Log how far it is while it catches up; not wanted where a bar shows it.
    pub log_progress: bool,
    /// What it does without: nothing, but in benchmarks.
    pub without: Without,
}

impl PeerConfig {
    /// The most bytes of transactions a mempool holds unless it is told otherwise: 64 MiB.
    pub const MEMPOOL_BYTES: usize = 64 << 20;

    /// A peer that listens nowhere, knows nobody and keeps nothing.
    #[must_use]
    pub fn new(key: Keypair) -> Self {
        Self {
            key,
            role: Role::Native,
            genesis: None,
            validator: None,
            listen: Vec::new(),
            external: External::Known(Vec::new()),
            bootstrap: Vec::new(),
            lists: NodeLists::default(),
            mdns: false,
            dns: None,
            upnp: false,
            slots: 0,
            proxies: Vec::new(),
            discovery: Discovery::OFF,
            security: Security::default(),
            certificate: None,
            webrtc: None,
            storage: Storage::Memory,
            strategy: Strategy::Full,
            prune: Prune::Archive,
            mempool_bytes: Self::MEMPOOL_BYTES,
            tx_mode: TxMode::default(),
            upload: Role::Native.upload(),
            log_progress: true,
            without: Without::default(),
        }
    }
}

/// How a peer knows its own addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum External {
    /// Somebody who knows the network says so.
    Known(Vec<Multiaddr>),
    /// They are those it listens on.
    Listening,
}

/// Where a chain is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Nowhere: a restart forgets it.
    Memory,
    /// In this directory.
    Disk(PathBuf),
}

/// Why a peer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Genesis or stored data do not allow it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The data directory cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another program listens there.
    #[error("cannot listen on {0}: the port is in use; stop the program that uses it, or choose another")]
    PortInUse(Multiaddr),
    /// It cannot listen there.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// Where.
        address: Multiaddr,
        /// Why, in words.
        reason: String,
    },
    /// The peer's key cannot secure connections.
    #[error("the peer key cannot be used: {0}")]
    Key(#[from] transport::TransportError),
    /// The system lets no mDNS socket be opened.
    #[error("cannot look for peers in the local network: {0}; start without mDNS")]
    Mdns(io::Error),
    /// The system has no randomness.
    #[error("the system gives no randomness: {0}")]
    Entropy(String),
    /// The system gives no threads.
    #[error("cannot start a worker thread: {0}")]
    Threads(io::Error),
}

/// How a program asks a peer for something, with what only this machine knows added to the answers.
#[derive(Clone, Debug)]
pub struct Caller {
    handle: Handle,
    directory: Option<PathBuf>,
}

impl Caller {
    /// Asks the peer for something and waits for the answer.
    ///
    /// # Errors
    /// When the peer does not do it, or has stopped.
    pub async fn call(self, command: Command) -> Result<Reply, CommandError> {
        let mut reply = self.handle.call(command).await?;
        if let (Reply::Metrics(snapshot), Some(directory)) = (&mut reply, self.directory) {
            let measured = tokio::task::spawn_blocking(move || disk::used(&directory)).await;
            snapshot.stored_bytes = measured.ok().and_then(Result::ok);
        }
        Ok(reply)
    }
}

/// A running peer.
#[derive(Debug)]
pub struct Peer {
    id: PeerId,
    handle: Handle,
    directory: Option<PathBuf>,
    task: JoinHandle<()>,
}

impl Peer {
    /// Starts a peer. It listens when this returns; the addresses, with the ports the system chose, are in its status a
    /// moment later.
    ///
    /// # Errors
    /// When the peer cannot do what it is asked to; nothing is left running then.
    pub async fn start(config: PeerConfig) -> Result<Self, PeerError> {
        Self::start_with(config, dummy::Behaviour).await
    }

    /// Starts a peer with a behaviour that other native peers have not.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with<X>(config: PeerConfig, more: X) -> Result<Self, PeerError>
    where
        X: NetworkBehaviour<ToSwarm: std::fmt::Debug + Send> + Send,
    {
        let id = config.key.public().to_peer_id();
        let genesis = config.genesis.as_ref().map(Genesis::hash);
        let (inputs, inbox) = inputs();

        let (through_relays, relayed) = relay::client::new(id);
        // A relay is where everybody must be able to dial it, and its person sees to that.
        let switches = Switches { mdns: config.mdns, upnp: config.upnp, probe: config.role != Role::Relay };
        let left_out = Refused::default();
        let extra = Extra::new(id, switches, left_out.clone(), relayed, more).map_err(PeerError::Mdns)?;
        let meshing = Meshing::of(config.role, config.without);
        let behaviour =
            Behaviour::with_mesh(&config.key, config.role, config.genesis.as_ref(), &meshing, extra);
        let executor = swarm::Config::with_tokio_executor();
        let dns = Dns::new(config.dns);
        let webrtc = config.webrtc;
        let certificates = (config.certificate, webrtc.clone());
        let transport = transport(&config.key, config.security, &dns, certificates, through_relays)?;
        let transport = Guarded::new(transport, left_out).boxed();
        let mut swarm = weft_core::swarm::swarm(transport, behaviour, id, executor);
        for address in &config.listen {
            if in_use(address) {
                return Err(PeerError::PortInUse(address.clone()));
            }
            swarm.listen_on(address.clone()).map_err(|error| refused(address, error))?;
        }
        if let External::Known(addresses) = &config.external {
            for address in addresses {
                // Whoever wrote it down did not know the hash.
                let address = webrtc.as_ref().map_or_else(|| address.clone(), |it| it.named_in(address));
                swarm.add_external_address(address.clone());
                inputs.send(Input::Listening(address.clone()));
                inputs.send(Input::Reachable { address, by: ReachedBy::Named });
            }
        }

        let workers = Workers::start(&inputs).map_err(PeerError::Threads)?;
        let max_jobs = workers.capacity();
        let announce = config.external == External::Listening;
        let directory = match &config.storage {
            Storage::Memory => None,
            Storage::Disk(directory) => Some(directory.clone()),
        };
        let (archive, store) = storage::open(config.storage, &inputs).await?;
        let shell =
            NativeShell::new(workers, archive, (dns.resolver(&inputs), ListFetcher::new(&inputs)), announce);
        let node_config = Config {
            local: id,
            role: config.role,
            key: Some(signing_key(config.key)),
            discovery: config.discovery,
            slots: config.slots,
            genesis: config.genesis,
            validator: config.validator,
            bootstrap: config.bootstrap,
            lists: config.lists,
            strategy: config.strategy,
            prune: config.prune,
            mempool_bytes: config.mempool_bytes,
            tx_mode: config.tx_mode,
            max_inbound: Limits::of(config.role).guests(),
            proxies: config.proxies,
            upload: config.upload,
            max_jobs,
            without: config.without,
        };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| PeerError::Entropy(error.to_string()))?;
        let node = Node::new(node_config, store, seed, shell.now())?;

        let (driver, handle) = Driver::new(swarm, node, shell, inbox, genesis);
        let task = tokio::spawn(async move {
            let shell = driver.run().await;
            // Waits for the disk.
            let _ = tokio::task::spawn_blocking(move || drop(shell)).await;
        });
        tokio::spawn(log::log(handle.subscribe().await, config.log_progress));
        Ok(Self { id, handle, directory, task })
    }

    /// The peer's id.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// What the peer is told what to do with.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What asks it for something, for a server that others ask.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller { handle: self.handle.clone(), directory: self.directory.clone() }
    }

    /// Stops the peer and waits until all is closed and on disk.
    ///
    /// # Errors
    /// When the peer had panicked.
    pub async fn stop(self) -> Result<(), JoinError> {
        self.handle.stop().await;
        self.task.await
    }

    /// Waits until the peer ends by itself, which it does not unless it panics or another handle stops it.
    ///
    /// # Errors
    /// When the peer panicked.
    pub async fn ended(&mut self) -> Result<(), JoinError> {
        (&mut self.task).await
    }
}

/// The peer's key as core signs with it.
fn signing_key(key: Keypair) -> SecretKey {
    let secret = key.try_into_ed25519().expect("key files hold ed25519 keys").secret();
    SecretKey::from_seed(secret.as_ref().try_into().expect("an ed25519 secret has 32 bytes"))
}

/// Whether a program has this port already. The library would share a TCP port with it (`SO_REUSEPORT`), and each
/// would get a part of the connections.
fn in_use(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return false,
    };
    let tried = match parts.next() {
        Some(Protocol::Tcp(port)) => TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) => UdpSocket::bind((ip, port)).map(drop),
        _ => return false,
    };
    tried.is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
}

/// Whether an address is one of WebSocket over TLS.
#[must_use]
pub fn is_tls(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Tls | Protocol::Wss(_)))
}

fn refused(address: &Multiaddr, error: TransportError<io::Error>) -> PeerError {
    let address = address.clone();
    match error {
        TransportError::MultiaddrNotSupported(asked) if is_tls(&asked) => PeerError::Listen {
            address,
            reason: "WebSocket over TLS takes a certificate, and there is none".to_owned(),
        },
        TransportError::MultiaddrNotSupported(asked) if is_webrtc(&asked) => PeerError::Listen {
            address,
            reason: "WebRTC-direct is listened for at /ip4/…/udp/…/webrtc-direct".to_owned(),
        },
        TransportError::MultiaddrNotSupported(_) => PeerError::Listen {
            address,
            reason: "this is no address of TCP, QUIC, WebSocket or WebRTC-direct with a number".to_owned(),
        },
        TransportError::Other(error) => match cause(&error) {
            Some(cause) if cause.kind() == io::ErrorKind::AddrInUse => PeerError::PortInUse(address),
            Some(cause) => PeerError::Listen { address, reason: cause.to_string() },
            None => PeerError::Listen { address, reason: error.to_string() },
        },
    }
}

/// The system's answer inside the errors that transports wrap around it.
fn cause(error: &io::Error) -> Option<&io::Error> {
    let Some(inner) = error.get_ref() else { return Some(error) };
    let mut inner: &(dyn std::error::Error + 'static) = inner;
    loop {
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            return cause(error);
        }
        inner = inner.source()?;
    }
}

#[cfg(test)]
mod tests;
