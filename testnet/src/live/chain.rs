//! A chain of one's own: keys, a genesis, and the peers that run it.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use tempfile::TempDir;
use weft_core::{
    chain::{Genesis, Transaction, UnsignedTransaction},
    gossip::TxMode,
    node::Prune,
    primitives::{Address, Amount, Hash, SecretKey, Slot},
    sync::Strategy,
};

use super::{LiveError, Process, TestCertificate, programs_dir};
use crate::fixture::{LongChain, TestChain, WriteError};

/// What the account that has money holds at first.
const GRANT: u64 = 1_000_000_000;

/// How a peer is started.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// Propose with the validator key of this number.
    pub validator: Option<usize>,
    /// Where to listen; on loopback by TCP, on a port the system chooses, when there is none.
    pub listen: Vec<String>,
    /// Whom to connect to.
    pub bootstrap: Vec<String>,
    /// How to join the chain.
    pub strategy: Strategy,
    /// How many old blocks to keep.
    pub prune: Prune,
    /// How to pass transactions on.
    pub tx_mode: TxMode,
    /// Connect to those of `bootstrap` and nobody else, and tell nobody of others.
    pub bootstrap_only: bool,
    /// Look for peers on the local network (mDNS).
    pub mdns: bool,
    /// Ask the router for the port (UPnP).
    pub upnp: bool,
    /// What to log, where that is not the ordinary.
    pub log: Option<String>,
}

/// How a relay is started.
#[derive(Clone, Debug, Default)]
pub struct RelayOptions {
    /// The app that it serves.
    pub app: Option<PathBuf>,
    /// Where it listens.
    pub ports: Ports,
    /// On which of this machine's addresses; on loopback without one.
    pub host: Option<Ipv4Addr>,
    /// What it shows to browsers: https in place of http then, and wss in place of ws.
    pub certificate: Option<TestCertificate>,
    /// Where others reach it through a proxy on this machine, which has the certificate in its place.
    pub proxy: Option<String>,
    /// Where tabs reach it by WebRTC-direct, in place of WebSocket.
    pub webrtc_direct: Option<String>,
    /// Whom to connect to.
    pub bootstrap: Vec<String>,
    /// How to pass transactions on.
    pub tx_mode: TxMode,
    /// Connect to those of `bootstrap` and nobody else, and tell nobody of others.
    pub bootstrap_only: bool,
    /// What to log, where that is not the ordinary.
    pub log: Option<String>,
}

/// The ports on which a relay listens; 0 lets the system choose.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// For the app and `/bootstrap.json`.
    pub http: u16,
    /// For natives.
    pub tcp: u16,
    /// For tabs.
    pub websocket: u16,
}

impl Ports {
    /// Three ports that are free at this moment: for a relay that is to be restarted on the same.
    ///
    /// # Errors
    /// When the system has none.
    pub fn free() -> Result<Self, LiveError> {
        let bind = || TcpListener::bind(("127.0.0.1", 0)).map_err(LiveError::system("finding a free port"));
        // All three at once, so that no two are the same.
        let listeners = [bind()?, bind()?, bind()?];
        let port = |index: usize| {
            let address = listeners[index].local_addr().map_err(LiveError::system("finding a free port"));
            address.map(|address| address.port())
        };
        Ok(Self { http: port(0)?, tcp: port(1)?, websocket: port(2)? })
    }
}

/// A genesis with its keys, and the data of the peers that run it, in a directory that goes when this is dropped.
#[derive(Debug)]
pub struct Chain {
    programs: PathBuf,
    dir: TempDir,
    validators: usize,
}

impl Chain {
    /// A chain with `validators` validators, and one account that has money.
    ///
    /// # Errors
    /// When the programs are not built, or refuse.
    pub fn new(slot_millis: u64, validators: usize) -> Result<Self, LiveError> {
        let chain = Self { programs: programs_dir()?, dir: temporary()?, validators };
        let mut genesis = chain.weft();
        genesis.args(["genesis", "--name", "testnet", "--slot-millis", &slot_millis.to_string(), "--json"]);
        genesis.arg("--output").arg(chain.genesis());
        for index in 0..validators {
            let file = chain.validator_key(index);
            answer(chain.weft().args(["key", "new", "--validator", "--json"]).arg(&file))?;
            genesis.arg("--authority").arg(file);
        }
        let faucet = answer(chain.weft().args(["key", "new", "--json"]).arg(chain.faucet_key()))?;
        genesis.args(["--grant", &format!("{}={GRANT}", faucet["address"].as_str().unwrap_or_default())]);
        answer(&mut genesis)?;
        Ok(chain)
    }

    /// A chain whose blocks were made in advance.
    ///
    /// # Errors
    /// When the programs are not built, or it cannot be written.
    pub fn made(made: &LongChain) -> Result<Self, LiveError> {
        let dir = temporary()?;
        made.write(dir.path()).map_err(unwritten)?;
        Ok(Self { programs: programs_dir()?, dir, validators: made.validators().len() })
    }

    /// A chain whose keys are known, and which has no blocks yet.
    ///
    /// # Errors
    /// When the programs are not built, or it cannot be written.
    pub fn of(chain: &TestChain) -> Result<Self, LiveError> {
        let dir = temporary()?;
        chain.write(dir.path()).map_err(unwritten)?;
        Ok(Self { programs: programs_dir()?, dir, validators: chain.validators.len() })
    }

    /// Gives a peer, before its first start, the data of one that has executed all of the chain that was made.
    ///
    /// # Errors
    /// When the chain was not made in advance, or its data cannot be copied.
    pub fn give(&self, name: &str) -> Result<(), LiveError> {
        let (from, to) = (self.dir().join("chain"), self.data(name));
        let copy = || {
            fs::create_dir_all(&to)?;
            for entry in fs::read_dir(&from)? {
                let entry = entry?;
                fs::copy(entry.path(), to.join(entry.file_name()))?;
            }
            Ok(())
        };
        copy().map_err(LiveError::system(format!("copying {} to {}", from.display(), to.display())))
    }

    /// The `weft` command, without arguments.
    #[must_use]
    pub fn weft(&self) -> Command {
        Command::new(self.programs.join("weft"))
    }

    /// The directory with everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The genesis file.
    #[must_use]
    pub fn genesis(&self) -> PathBuf {
        self.dir().join("genesis.json")
    }

    /// The key file of the account that has money.
    #[must_use]
    pub fn faucet_key(&self) -> PathBuf {
        self.dir().join("faucet.json")
    }

    /// The key file of a validator.
    #[must_use]
    pub fn validator_key(&self, index: usize) -> PathBuf {
        self.dir().join(format!("validator-{index}.json"))
    }

    /// The data directory of the peer of this name.
    #[must_use]
    pub fn data(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// The command that starts a native peer.
    #[must_use]
    pub fn node_command(&self, name: &str, options: &NodeOptions) -> Command {
        let mut command = self.weft();
        command.arg("node").arg("--genesis").arg(self.genesis()).arg("--data").arg(self.data(name));
        command.args(["--rpc", "127.0.0.1:0", "--json"]);
        let off = [("--no-mdns", !options.mdns), ("--no-upnp", !options.upnp)];
        command.args(off.iter().filter(|(_, off)| *off).map(|(flag, _)| flag));
        if let Some(index) = options.validator {
            command.arg("--validator").arg(self.validator_key(index));
        }
        let default = ["/ip4/127.0.0.1/tcp/0".to_owned()];
        let listen = if options.listen.is_empty() { default.as_slice() } else { &options.listen };
        for address in listen {
            command.args(["--listen", address]);
        }
        for address in &options.bootstrap {
            command.args(["--bootstrap", address]);
        }
        command.args(["--sync", &options.strategy.to_string()]);
        command.args(["--prune", &options.prune.to_string()]);
        command.args(["--tx-mode", &options.tx_mode.to_string()]);
        if options.bootstrap_only {
            command.args(["--no-exchange", "--no-dht", "--no-rendezvous", "--outbound", "0"]);
        }
        if let Some(log) = &options.log {
            command.args(["--log", log]);
        }
        command
    }

    /// Starts a native peer and waits until it is ready. Started again under the same name, it goes on with its data.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn node(&self, name: &str, options: &NodeOptions) -> Result<Process, LiveError> {
        Process::start_ready(name, self.node_command(name, options), self.dir())
    }

    /// The command that starts a relay: it serves the app and, where nobody else reaches it, gives away money from the faucet.
    #[must_use]
    pub fn relay_command(&self, name: &str, options: &RelayOptions) -> Command {
        let (ports, host) = (options.ports, options.host.unwrap_or(Ipv4Addr::LOCALHOST));
        let mut command = Command::new(self.programs.join("weft-relay"));
        command.arg("--genesis").arg(self.genesis()).arg("--data").arg(self.data(name));
        command.args(["--rpc", "127.0.0.1:0", "--json", "--http", &format!("{host}:{}", ports.http)]);
        command.args(["--listen", &format!("/ip4/{host}/tcp/{}", ports.tcp)]);
        let websocket = if options.certificate.is_some() { "wss" } else { "ws" };
        let websocket = format!("/ip4/{host}/tcp/{}/{websocket}", ports.websocket);
        command.args(["--listen", options.webrtc_direct.as_ref().unwrap_or(&websocket)]);
        if let Some(certificate) = &options.certificate {
            command.arg("--tls-cert").arg(&certificate.file).arg("--tls-key").arg(&certificate.key);
        }
        command.args(["--stun", &format!("{host}:0")]);
        if let Some(outside) = &options.proxy {
            command.args(["--external", outside, "--behind-proxy", "127.0.0.0/8"]);
        } else if host.is_loopback() {
            command.arg("--demo-key").arg(self.faucet_key());
        }
        if let Some(app) = &options.app {
            command.arg("--app").arg(app);
        }
        for address in &options.bootstrap {
            command.args(["--bootstrap", address]);
        }
        command.args(["--tx-mode", &options.tx_mode.to_string()]);
        if options.bootstrap_only {
            command.args(["--no-exchange", "--no-dht", "--no-rendezvous", "--outbound", "0"]);
        }
        if let Some(log) = &options.log {
            command.args(["--log", log]);
        }
        command
    }

    /// Starts the relay and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn relay(&self, app: Option<&Path>, ports: Ports) -> Result<Process, LiveError> {
        let options = RelayOptions { app: app.map(Path::to_owned), ports, ..RelayOptions::default() };
        Process::start_ready("relay", self.relay_command("relay", &options), self.dir())
    }

    /// A relay and all validators, connected through it.
    ///
    /// # Errors
    /// When one of them does not get ready.
    pub fn start_all(&self, app: Option<&Path>, ports: Ports) -> Result<(Process, Vec<Process>), LiveError> {
        let relay = self.relay(app, ports)?;
        let validators = (0..self.validators).map(|index| self.validator(index, &relay));
        let validators = validators.collect::<Result<_, _>>()?;
        Ok((relay, validators))
    }

    /// Starts a validator that knows the relay. Started again, it goes on with its data.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn validator(&self, index: usize, relay: &Process) -> Result<Process, LiveError> {
        let bootstrap = relay.tcp_addresses();
        let options = NodeOptions { validator: Some(index), bootstrap, ..NodeOptions::default() };
        self.node(&format!("validator-{index}"), &options)
    }

    /// The secret in a key file.
    ///
    /// # Errors
    /// When the file is not one.
    pub fn key(&self, path: &Path) -> Result<SecretKey, LiveError> {
        let text = fs::read_to_string(path).map_err(LiveError::system(path.display().to_string()))?;
        let file: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut seed = [0; 32];
        hex::decode_to_slice(file["seed"].as_str().unwrap_or_default(), &mut seed)
            .map_err(|_| LiveError::Answer(format!("{} is not a key file", path.display())))?;
        Ok(SecretKey::from_seed(seed))
    }

    /// A signed payment from the account that has money, with an ordinary fee.
    ///
    /// # Errors
    /// When its key file or the genesis cannot be read.
    pub fn payment(&self, to: Address, amount: u64, nonce: u64) -> Result<Transaction, LiveError> {
        let key = self.key(&self.faucet_key())?;
        let fee = Amount(2 * Transaction::EMPTY_LEN as u64);
        let unsigned =
            UnsignedTransaction::transfer(key.public(), to, Amount(amount), fee, nonce, Slot(u64::MAX));
        Ok(unsigned.sign(&key, &self.hash()?))
    }

    /// The genesis hash.
    ///
    /// # Errors
    /// When the genesis file cannot be read.
    pub fn hash(&self) -> Result<Hash, LiveError> {
        let path = self.genesis();
        let text = fs::read_to_string(&path).map_err(LiveError::system(path.display().to_string()))?;
        let genesis: Genesis = serde_json::from_str(&text)
            .map_err(|error| LiveError::Answer(format!("{}: {error}", path.display())))?;
        Ok(genesis.hash())
    }
}

fn unwritten(error: WriteError) -> LiveError {
    LiveError::Answer(format!("writing a made chain: {error}"))
}

fn temporary() -> Result<TempDir, LiveError> {
    let dir = tempfile::Builder::new().prefix("weft-").tempdir();
    dir.map_err(LiveError::system("making a temporary directory"))
}

/// Runs a command that answers in JSON.
///
/// # Errors
/// When it fails, with what it said.
pub fn answer(command: &mut Command) -> Result<Value, LiveError> {
    let output = command.output().map_err(LiveError::system("running weft"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(LiveError::Answer(format!("{command:?} failed: {}\n{complaint}", output.status)));
    }
    if said.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&said)
        .map_err(|error| LiveError::Answer(format!("{command:?} said `{said}`: {error}")))
}
