//! What a node is told: flags, and a TOML file with the same names. A flag wins over the file.

use std::{
    env,
    fs::File,
    io::{self, Read},
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use clap::Args;
use libp2p::Multiaddr;
use serde::{Deserialize, Deserializer, de::Error};
use weft_core::{gossip::TxMode, node::Prune, peers::ListSource, sync::Strategy};

/// The most bytes a configuration file may have.
const MAX_LEN: u64 = 64 << 10;

/// The options of `weft node`, as flags or in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeOptions {
    /// The chain's genesis file. Default: `genesis.json` in the data directory, if there is one; without any, only
    /// peers and chat run.
    #[arg(long, value_name = "FILE")]
    pub genesis: Option<PathBuf>,
    /// Where the peer keeps its key and its data. Default: `$XDG_DATA_HOME/weft`, or `~/.local/share/weft`.
    #[arg(long, value_name = "DIR", env = "WEFT_DATA")]
    pub data: Option<PathBuf>,
    /// Listen here; may be given several times. Default: TCP and QUIC on port 4100, WebSocket on port 4101. With
    /// /ip4/0.0.0.0/udp/4103/webrtc-direct pages reach this peer too where it has no certificate.
    #[arg(long, value_name = "MULTIADDR")]
    #[serde(deserialize_with = "multiaddresses")]
    pub listen: Vec<Multiaddr>,
    /// Connect to this peer, and come back to it; may be given several times. /dnsaddr/NAME stands for the peers that the
    /// DNS has under that name.
    #[arg(long, value_name = "MULTIADDR")]
    #[serde(deserialize_with = "multiaddresses")]
    pub bootstrap: Vec<Multiaddr>,
    /// Fetch a signed list of peers from this URL (http, https or file:///), and believe the peer whose id follows after a #; may be
    /// given several times. Lists signed by the peers at the end of --bootstrap addresses are believed too, wherever they come from.
    #[arg(long, value_name = "URL#PEER")]
    #[serde(deserialize_with = "lists")]
    pub node_list: Vec<ListSource>,
    /// Propose blocks with the validator key in this file.
    #[arg(long, value_name = "KEYFILE")]
    pub validator: Option<PathBuf>,
    /// How to join the chain, unless the data directory holds it already: full, fast, warp, snap, checkpoint:HASH or light.
    /// `weft sync --explain` says how they differ. Default: full.
    #[arg(long, value_name = "STRATEGY")]
    pub sync: Option<Strategy>,
    /// How much of the past to keep: archive (every block), full (the last 1,024 final blocks), or light (as many as others
    /// need to join). What is gone once does not come back. Default: archive.
    #[arg(long, value_name = "MODE")]
    pub prune: Option<Prune>,
    /// How to pass transactions on: push (each peer is sent what it lacks), pull (announce, and let others fetch) or push-pull
    /// (some of each, and compare what is left). Default: push-pull.
    #[arg(long, value_name = "MODE")]
    pub tx_mode: Option<TxMode>,
    /// Send at most so many MiB a second to those who ask for blocks, states, files and history, half of it to one host. Default: 64.
    #[arg(long, value_name = "MIB")]
    pub upload: Option<NonZeroU32>,
    /// Answer JSON-RPC here. Default: 127.0.0.1:4102.
    #[arg(long, value_name = "ADDR")]
    pub rpc: Option<SocketAddr>,
    /// The file with the token that clients must say before they change anything, made when there is none. Default: `rpc.token`
    /// where the user's data is, where the commands look for it too.
    #[arg(long, value_name = "FILE")]
    pub rpc_token: Option<PathBuf>,
    /// Let other machines use the RPC: whoever reaches it sees what this peer does, and commands it with the token.
    #[arg(long)]
    pub rpc_allow_remote: bool,
    /// Do not answer JSON-RPC.
    #[arg(long, conflicts_with = "rpc")]
    pub no_rpc: bool,
    /// Ask this name server, instead of those that the system is configured with.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub dns_server: Option<SocketAddr>,
    /// Do not look for peers on the local network, nor tell it of this one.
    #[arg(long)]
    pub no_mdns: bool,
    /// Do not ask the router to pass on what comes to the ports this peer listens on (UPnP).
    #[arg(long)]
    pub no_upnp: bool,
    /// An address at which others reach this peer, when that is not one it listens on: a port that the router passes on, say
    /// /ip4/198.51.100.7/tcp/4100. May be given several times; then only these are told.
    #[arg(long, value_name = "MULTIADDR")]
    #[serde(deserialize_with = "multiaddresses")]
    pub external: Vec<Multiaddr>,
    /// When nobody can dial this peer, have so many relays pass connections on to it; 0 for none. Default: 2.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(0..=8))]
    pub relays: Option<u8>,
    /// Do not ask peers for others, nor tell them of any.
    #[arg(long)]
    pub no_exchange: bool,
    /// Take no part in the distributed hash table.
    #[arg(long)]
    pub no_dht: bool,
    /// Neither register with relays, so that others find this peer there, nor ask them for others.
    #[arg(long)]
    pub no_rendezvous: bool,
    /// Keep so many connections to others open, those to --bootstrap among them, and find peers for them in the address
    /// book; 0 for those to --bootstrap alone. Default: 8.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(0..=60))]
    pub outbound: Option<u8>,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read configuration file {}: {source}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is not what a configuration looks like; says where.
    #[error("in configuration file {}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its line.
        reason: String,
    },
    /// There is no place for the data by default.
    #[error("this user has no home directory: say where the data is with --data")]
    NoHome,
}

/// The data directory: the one given, or the user's place for it.
///
/// # Errors
/// When none is given and the user has no home directory.
pub fn data_directory(given: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
    if let Some(given) = given {
        return Ok(given);
    }
    let base = env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".local").join("share")));
    Ok(base.ok_or(ConfigError::NoHome)?.join("weft"))
}

impl NodeOptions {
    /// Reads a file. Relative paths in it are relative to the file's directory.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or names an option there is not.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let access = |source| ConfigError::Access { path: path.to_owned(), source };
        let corrupt = |reason| ConfigError::Corrupt { path: path.to_owned(), reason };
        let mut bytes = Vec::new();
        File::open(path).and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes)).map_err(access)?;
        if bytes.len() as u64 > MAX_LEN {
            return Err(corrupt(format!("it has more than {MAX_LEN} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| corrupt("it is not UTF-8 text".to_owned()))?;
        let mut options: Self =
            toml::from_str(&text).map_err(|error| corrupt(error.to_string().trim_end().to_owned()))?;
        let directory = path.parent().unwrap_or(Path::new("."));
        for file in [&mut options.genesis, &mut options.data, &mut options.validator].into_iter().flatten() {
            *file = directory.join(&*file);
        }
        Ok(options)
    }

    /// These options, and those of `file` where these say nothing.
    #[must_use]
    pub fn or(self, file: Self) -> Self {
        let list = |mine: Vec<_>, its| if mine.is_empty() { its } else { mine };
        let node_list = if self.node_list.is_empty() { file.node_list } else { self.node_list };
        let no_rpc = self.no_rpc || (file.no_rpc && self.rpc.is_none());
        Self {
            genesis: self.genesis.or(file.genesis),
            data: self.data.or(file.data),
            listen: list(self.listen, file.listen),
            bootstrap: list(self.bootstrap, file.bootstrap),
            node_list,
            validator: self.validator.or(file.validator),
            sync: self.sync.or(file.sync),
            prune: self.prune.or(file.prune),
            tx_mode: self.tx_mode.or(file.tx_mode),
            upload: self.upload.or(file.upload),
            rpc: self.rpc.or(file.rpc),
            rpc_token: self.rpc_token.or(file.rpc_token),
            rpc_allow_remote: self.rpc_allow_remote || file.rpc_allow_remote,
            no_rpc,
            dns_server: self.dns_server.or(file.dns_server),
            no_mdns: self.no_mdns || file.no_mdns,
            no_upnp: self.no_upnp || file.no_upnp,
            external: list(self.external, file.external),
            relays: self.relays.or(file.relays),
            no_exchange: self.no_exchange || file.no_exchange,
            no_dht: self.no_dht || file.no_dht,
            no_rendezvous: self.no_rendezvous || file.no_rendezvous,
            outbound: self.outbound.or(file.outbound),
        }
    }
}

fn multiaddresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Multiaddr>, D::Error> {
    Vec::<String>::deserialize(deserializer)?
        .into_iter()
        .map(|text| {
            text.parse().map_err(|error| D::Error::custom(format!("`{text}` is no multiaddress: {error}")))
        })
        .collect()
}

fn lists<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ListSource>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?.into_iter();
    texts.map(|text| text.parse().map_err(|error| D::Error::custom(format!("`{text}`: {error}")))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    fn parse(text: &str) -> Result<NodeOptions, ConfigError> {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("weft.toml");
        fs::write(&path, text).unwrap();
        NodeOptions::read(&path)
    }

    #[test]
    fn a_file_has_the_names_of_the_flags() {
        let options = parse(
            "no-mdns = true\nrpc = \"127.0.0.1:9\"\nlisten = [\"/ip4/0.0.0.0/tcp/1\"]\nvalidator = \"/keys/v.json\"\n\
             sync = \"snap\"\nprune = \"full\"\ntx-mode = \"pull\"\nupload = 8\n",
        )
        .unwrap();
        assert!(options.no_mdns && !options.rpc_allow_remote);
        assert_eq!(options.rpc, Some(([127, 0, 0, 1], 9).into()));
        assert_eq!(options.listen, ["/ip4/0.0.0.0/tcp/1".parse().unwrap()]);
        assert_eq!(options.validator, Some("/keys/v.json".into()));
        assert_eq!((options.sync, options.prune), (Some(Strategy::Snap), Some(Prune::Full)));
        assert_eq!(options.tx_mode, Some(TxMode::Pull));
        assert_eq!(options.upload, NonZeroU32::new(8));
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("weft.toml");
        fs::write(&path, "genesis = \"chain/genesis.json\"").unwrap();
        let options = NodeOptions::read(&path).unwrap();
        assert_eq!(options.genesis, Some(directory.path().join("chain/genesis.json")));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, wanted) in [
            ("no-mdns = true\nlisten = 5\n", "line 2"),
            ("\n\nno-mdsn = true\n", "line 3"),
            ("listen = [\"/ip4/300.0.0.1\"]", "`/ip4/300.0.0.1` is no multiaddress"),
            ("node-list = [\"ftp://a/b\"]", "`ftp://a/b`: a list of peers is at http://"),
            ("rpc = \"nowhere\"", "line 1"),
            ("= \n", "line 1"),
            ("no-mdns = \"yes\"", "line 1"),
            ("upload = 0", "line 1"),
            ("sync = \"fastest\"", "not one of full, fast, warp, snap"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text:?}: {error}");
        }
        assert!(parse(&"#".repeat(70 << 10)).is_err());
    }

    #[test]
    fn flags_win_over_the_file() {
        let file =
            parse("rpc = \"127.0.0.1:1\"\nno-mdns = true\nbootstrap = [\"/ip4/1.1.1.1/tcp/1\"]\n").unwrap();
        let flags = NodeOptions { rpc: Some(([127, 0, 0, 1], 2).into()), ..NodeOptions::default() };
        let both = flags.or(file.clone());
        assert_eq!(both.rpc, Some(([127, 0, 0, 1], 2).into()));
        assert_eq!(both.bootstrap, file.bootstrap);
        assert!(both.no_mdns);
    }
}
