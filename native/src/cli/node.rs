//! `weft node`

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use futures::StreamExt;
use libp2p::Multiaddr;
use serde_json::json;
use tokio::time::{sleep, timeout};
use weft_core::{
    node::{Command, Discovery, Event, NodeLists, Reply, Role},
    swarm::{Handle, Notice},
};

use super::{
    DEFAULT_RPC, Failure, Output, key::PEER_KEY_FILE, output::printable, progress::Screen, signals::Signals,
};
use crate::{
    config::{NodeOptions, data_directory},
    genesis,
    keyfile::{self, KeyKind},
    peer::{Caller, External, Peer, PeerConfig, PeerError, Storage},
    rpc::{RpcServer, Token},
    transport::{WebrtcCertificate, is_webrtc},
};

/// Where a node listens unless told otherwise.
const DEFAULT_LISTEN: [&str; 3] =
    ["/ip4/0.0.0.0/tcp/4100", "/ip4/0.0.0.0/udp/4100/quic-v1", "/ip4/0.0.0.0/tcp/4101/ws"];
/// How long listeners may take to tell their addresses.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often they are asked.
const LOOK: Duration = Duration::from_millis(10);
/// The genesis that is used when none is named.
const GENESIS_FILE: &str = "genesis.json";

#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    #[command(flatten)]
    options: NodeOptions,
    /// Read options from this TOML file; it has the names of the flags, without dashes before them. Flags win.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Start(_) | PeerError::Disk(_) | PeerError::Key(_) => {
                Self::LocalFile(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

pub(super) async fn run(args: NodeArgs, output: Output, screen: &Screen) -> Result<(), Failure> {
    let options = match &args.config {
        Some(file) => args.options.or(NodeOptions::read(file)?),
        None => args.options,
    };
    let mut signals = Signals::new()?;
    let rpc_address = (!options.no_rpc).then(|| options.rpc.unwrap_or(DEFAULT_RPC));
    let allow_remote = options.rpc_allow_remote;
    // Before anything runs: a peer that nobody can command is of little use.
    let rpc_address = match rpc_address {
        Some(address) => Some((address, Token::load_or_create(&Token::path(options.rpc_token.as_deref())?)?)),
        None => None,
    };
    let bar = screen.is_terminal() && !output.is_json();
    let config = PeerConfig { log_progress: !bar, ..peer_config(options)? };
    let listeners = config.listen.len();
    let mut peer = Peer::start(config).await?;
    let rpc = match rpc_address {
        None => None,
        Some((address, token)) => match serve(address, allow_remote, token, peer.caller()).await {
            Ok(rpc) => Some(rpc),
            Err(failure) => {
                // What failed first is what the person should read.
                let _ = peer.stop().await;
                return Err(failure);
            }
        },
    };
    ready(&peer, listeners, rpc.as_ref(), output).await;
    if bar {
        tokio::spawn(show_progress(peer.handle().clone(), screen.clone()));
    }
    tokio::select! {
        () = signals.wait() => {
            screen.clear();
            tracing::info!("ending");
            drop(rpc);
            peer.stop().await.map_err(|error| Failure::Failed(format!("the peer failed as it ended: {error}")))
        }
        ended = peer.ended() => Err(Failure::Failed(match ended {
            Ok(()) => "the peer ended by itself".to_owned(),
            Err(error) => format!("the peer failed: {error}"),
        })),
    }
}

fn peer_config(options: NodeOptions) -> Result<PeerConfig, Failure> {
    let data = data_directory(options.data)?;
    let default_genesis = data.join(GENESIS_FILE);
    let genesis = match options.genesis {
        Some(file) => Some(genesis::read(&file)?),
        None if default_genesis.exists() => Some(genesis::read(&default_genesis)?),
        None => None,
    };
    let validator = options.validator.map(|file| keyfile::load(&file, KeyKind::Validator)).transpose()?;
    if validator.is_some() && genesis.is_none() {
        return Err(Failure::Usage(
            "--validator needs --genesis: without a chain there is nothing to propose".to_owned(),
        ));
    }
    if let (Some(key), Some(genesis)) = (&validator, &genesis)
        && !genesis.authorities.iter().any(|authority| authority.key == key.public())
    {
        tracing::warn!("validator {} is not among the chain's first authorities", key.public());
    }
    let key = keyfile::load_or_create_peer_key(&data.join(PEER_KEY_FILE))?;
    let listen = if options.listen.is_empty() { default_listen() } else { options.listen };
    let webrtc = match listen.iter().any(is_webrtc) {
        true => Some(WebrtcCertificate::load_or_create(&data.join(WebrtcCertificate::FILE))?),
        false => None,
    };
    Ok(PeerConfig {
        genesis,
        validator,
        listen,
        webrtc,
        external: match options.external.is_empty() {
            true => External::Listening,
            false => External::Known(options.external),
        },
        bootstrap: options.bootstrap,
        lists: NodeLists { sources: options.node_list, signers: Vec::new() },
        strategy: options.sync.unwrap_or(Role::Native.strategy()),
        prune: options.prune.unwrap_or(Role::Native.prune()),
        tx_mode: options.tx_mode.unwrap_or_default(),
        upload: options.upload.map_or(Role::Native.upload(), |mib| u64::from(mib.get()) << 20),
        mdns: !options.no_mdns,
        dns: options.dns_server,
        upnp: !options.no_upnp,
        slots: options.relays.map_or(Role::Native.slots(), usize::from),
        discovery: Discovery {
            exchange: !options.no_exchange,
            dht: !options.no_dht,
            rendezvous: !options.no_rendezvous,
            outbound: options.outbound.map_or(Discovery::of(Role::Native).outbound, usize::from),
            ..Discovery::of(Role::Native)
        },
        storage: Storage::Disk(data),
        ..PeerConfig::new(key)
    })
}

fn default_listen() -> Vec<Multiaddr> {
    DEFAULT_LISTEN.iter().map(|text| text.parse().expect("the literals above are multiaddresses")).collect()
}

async fn serve(
    address: SocketAddr,
    allow_remote: bool,
    token: Token,
    peer: Caller,
) -> Result<RpcServer, Failure> {
    Ok(RpcServer::start(address, allow_remote, token, move |command| peer.clone().call(command)).await?)
}

/// Shows how far the peer is until it stops.
async fn show_progress(handle: Handle, screen: Screen) {
    let mut events = handle.subscribe().await;
    // What it does as it starts was told before anybody listened.
    if let Ok(Reply::Status(status)) = handle.call(Command::Status).await
        && let Some(chain) = status.chain
    {
        screen.show(&chain.sync);
    }
    while let Some(notice) = events.next().await {
        if let Notice::Event(Event::Sync(view)) = notice {
            screen.show(&view);
        }
    }
    screen.clear();
}

/// Says that the peer is up, with its id and addresses, in one line.
async fn ready(peer: &Peer, listeners: usize, rpc: Option<&RpcServer>, output: Output) {
    let addresses = addresses(peer, listeners).await;
    let rpc = rpc.map(RpcServer::address);
    let id = peer.id().to_string();
    let json = json!({ "ready": true, "peer": id, "addresses": addresses, "rpc": rpc });
    output.print(&json, || {
        let rpc = rpc.map_or_else(|| "no RPC".to_owned(), |address| format!("RPC on {address}"));
        let addresses: String =
            addresses.iter().map(|address| format!("\n  {}", printable(address))).collect();
        format!("peer {id} is ready ({rpc}){addresses}")
    });
}

/// The addresses to give to others, once every listener has told its own, or after a while those that have.
async fn addresses(peer: &Peer, listeners: usize) -> Vec<String> {
    let suffix = format!("/p2p/{}", peer.id());
    let mut known = Vec::new();
    let told = timeout(PATIENCE, async {
        while known.len() < listeners {
            sleep(LOOK).await;
            let Ok(Reply::Status(status)) = peer.handle().call(Command::Status).await else { return };
            known = status.addresses;
        }
    });
    if told.await.is_err() {
        tracing::warn!("listening on {} of {listeners} addresses so far", known.len());
    }
    known.into_iter().map(|known| if known.contains("/p2p/") { known } else { known + &suffix }).collect()
}
