//! The command line.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use clap::Parser;
use libp2p::Multiaddr;
use weft_core::{gossip::TxMode, peers::AddressRange};

use crate::RelayLimits;

/// A Weft peer that browsers begin with: it relays between tabs, serves the app, and follows the chain like any other.
///
/// Exit codes: 0 when it was stopped, 1 when something failed, 2 when the command line is wrong.
#[derive(Clone, Debug, Parser)]
#[command(name = "weft-relay", version)]
pub struct Options {
    /// The directory that holds its peer key and its chain; it is made when it is not there.
    #[arg(long, value_name = "DIR", env = "WEFT_RELAY_DATA", default_value = "weft-relay")]
    pub data: PathBuf,

    /// The genesis of the chain to follow and to serve as /genesis.json. Without one it only relays.
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,

    /// Where to listen; may be given several times. Browsers need one that ends in /ws, and pages that come over https one in
    /// /wss; without a certificate /ip4/0.0.0.0/udp/4203/webrtc-direct does for those as well. Default: TCP and QUIC on port 4200, WebSocket on port 4201, and with a certificate WebSocket over TLS on port 4202.
    #[arg(long, value_name = "MULTIADDR")]
    pub listen: Vec<Multiaddr>,

    /// An address at which others reach this relay, when that is not one it listens on: behind a proxy that adds TLS,
    /// say /dns4/relay.example.org/tcp/443/wss. May be given several times; then only these are told.
    #[arg(long, value_name = "MULTIADDR")]
    pub external: Vec<Multiaddr>,

    /// Others come through a proxy at this address or range, say 127.0.0.1 or 10.0.0.0/8: nothing follows from the address of whoever
    /// connects from there. May be given several times.
    #[arg(long, value_name = "RANGE")]
    pub behind_proxy: Vec<AddressRange>,

    /// A peer to connect to, with its id: /ip4/192.0.2.1/tcp/4100/p2p/12D3... or /dnsaddr/NAME for those that the DNS has
    /// under a name. May be given several times.
    #[arg(long, value_name = "MULTIADDR")]
    pub bootstrap: Vec<Multiaddr>,

    /// Ask this name server, instead of those that the system is configured with.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub dns_server: Option<SocketAddr>,

    /// Do not ask peers for others, nor tell them of any.
    #[arg(long)]
    pub no_exchange: bool,

    /// Take no part in the distributed hash table.
    #[arg(long)]
    pub no_dht: bool,

    /// Keep no list of those who want to be found, and be in nobody's.
    #[arg(long)]
    pub no_rendezvous: bool,

    /// Keep so many connections to others open, those to --bootstrap among them, and find peers for them in the address
    /// book; 0 for those to --bootstrap alone.
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u8).range(0..=60))]
    pub outbound: u8,

    /// How to pass transactions on: push, pull or push-pull.
    #[arg(long, value_name = "MODE", default_value_t)]
    pub tx_mode: TxMode,

    /// Send at most so many MiB a second to those who ask for blocks, states, files and history, half of it to one host.
    #[arg(long, value_name = "MIB", default_value = "64")]
    pub upload: NonZeroU32,

    /// Where to serve HTTP: the app, /bootstrap.json and /genesis.json.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub http: SocketAddr,

    /// Serve https instead of http, and let browsers connect by wss, with the certificate in this PEM file, the chain that leads to
    /// it included. Its files are read again when they change.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Tell whoever asks by STUN at this UDP address from where it asks, so that tabs behind routers need no third party for that;
    /// 0.0.0.0:3478 is what others expect.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub stun: Option<SocketAddr>,

    /// What it does for others at most.
    #[command(flatten)]
    pub limits: RelayLimits,

    /// The folder with the built app.
    #[arg(long, value_name = "DIR")]
    pub app: Option<PathBuf>,

    /// Answer the `weft` commands over JSON-RPC at this loopback address.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub rpc: Option<SocketAddr>,

    /// The file with the token that clients must say before they change anything, made when there is none. Default: `rpc.token`
    /// where the user's data is, where the `weft` commands look for it too.
    #[arg(long, value_name = "FILE")]
    pub rpc_token: Option<PathBuf>,

    /// For a demo on this machine only: serve the secret of this account key file as /demo.json, so that every page can
    /// spend from it. Refused unless --http is a loopback address.
    #[arg(long, value_name = "FILE")]
    pub demo_key: Option<PathBuf>,

    /// What to log to standard error: error, warn, info, debug, trace, or a filter like weft_core=debug.
    #[arg(long, value_name = "FILTER", env = "WEFT_LOG", default_value = "info")]
    pub log: String,

    /// When ready, say so in one line of JSON instead of words.
    #[arg(long)]
    pub json: bool,
}

impl Options {
    /// Where it listens unless it is told otherwise.
    const USUAL: [&str; 3] =
        ["/ip4/0.0.0.0/tcp/4200", "/ip4/0.0.0.0/udp/4200/quic-v1", "/ip4/0.0.0.0/tcp/4201/ws"];
    /// And what only a relay with a certificate can.
    const USUAL_SECURE: &str = "/ip4/0.0.0.0/tcp/4202/wss";

    /// Where to listen.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        if !self.listen.is_empty() {
            return self.listen.clone();
        }
        let secure = self.tls_cert.as_ref().map(|_| Self::USUAL_SECURE);
        let usual = Self::USUAL.into_iter().chain(secure);
        usual.map(|address| address.parse().expect("they are written as multiaddresses")).collect()
    }
}
