//! The `weft` command.

mod account;
mod authority;
mod block;
mod chat;
mod dht;
mod failure;
mod genesis;
mod key;
mod mempool;
mod node;
mod output;
mod peers;
mod progress;
mod send;
mod signals;
mod standing;
mod status;
mod sync;
mod tx;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use self::{failure::Failure, output::Output, progress::Screen};
use crate::rpc::{RpcClient, Token};

/// Where a node's RPC is unless told otherwise.
const DEFAULT_RPC: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4102);

/// Run and use a peer of a Weft network.
#[derive(Debug, Parser)]
#[command(name = "weft", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print JSON, one document a line, and errors as JSON on standard error.
    #[arg(long, global = true)]
    json: bool,
    /// What to log to standard error, such as `debug` or `warn,weft_core=trace`. Default: `info` for a node, else `warn`.
    #[arg(long, global = true, value_name = "FILTER", env = "WEFT_LOG")]
    log: Option<String>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the peer refused, or failed at it
  2  the command line is wrong
  3  no peer's RPC could be reached
  4  a local file (key, genesis, configuration, database) cannot be used";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a full peer; with a validator key, propose blocks.
    Node(node::NodeArgs),
    /// Make and show keys.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Make a genesis, or show one.
    Genesis(Box<genesis::GenesisArgs>),
    /// Send money.
    Send(send::SendArgs),
    /// How is the peer?
    Status(RpcArgs),
    /// How far is the peer, and how do the ways to join a chain differ?
    Sync(sync::SyncArgs),
    /// Who is connected to the peer?
    Peers(peers::PeersArgs),
    /// Have nothing to do with a peer, or with an address or range of addresses, for a time.
    Ban(standing::BanArgs),
    /// End a ban, and forgive what a peer did.
    Unban(standing::UnbanArgs),
    /// Never disconnect or ban a peer, whatever it does.
    Trust(standing::TrustArgs),
    /// Who is banned, why and for how long; who is trusted.
    Bans(RpcArgs),
    /// Ask the distributed hash table of the chain's peers.
    #[command(subcommand)]
    Dht(dht::DhtCommand),
    /// What does an account hold?
    Account(account::AccountArgs),
    /// Who proposes and votes; let this peer's authority ask for a change.
    #[command(subcommand)]
    Authority(authority::AuthorityCommand),
    /// Show a block with its transactions.
    Block(block::BlockArgs),
    /// Where is a transaction, and how does the peer know?
    Tx(tx::TxArgs),
    /// What waits to be in a block?
    Mempool(mempool::MempoolArgs),
    /// What does it cost to be in a block soon?
    Fees(RpcArgs),
    /// Chat in a room, with a peer of its own that lives as long as the conversation.
    Chat(chat::ChatArgs),
}

/// Which peer to ask.
#[derive(Debug, Args)]
struct RpcArgs {
    /// Where the peer's RPC listens.
    #[arg(long, value_name = "ADDR", env = "WEFT_RPC", default_value_t = DEFAULT_RPC)]
    rpc: SocketAddr,
    /// The file with the token that a peer wants to hear before it changes anything. Default: `rpc.token` where the user's data is.
    #[arg(long, value_name = "FILE", env = "WEFT_RPC_TOKEN")]
    rpc_token: Option<PathBuf>,
}

impl RpcArgs {
    fn client(&self) -> Result<RpcClient, Failure> {
        let token = match &self.rpc_token {
            Some(path) => Some(Token::load(path)?),
            // Without one it can be asked all the same, and says what is missing when more is wanted.
            None if self.rpc.ip().is_loopback() => Token::path(None).and_then(|path| Token::load(&path)).ok(),
            // It is not sent to other machines unless somebody says so.
            None => None,
        };
        Ok(RpcClient::new(self.rpc, token.as_ref())?)
    }
}

/// Runs the command this process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    match cli.run(output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.code())
        }
    }
}

impl Cli {
    fn run(self, output: Output) -> Result<(), Failure> {
        let level = if matches!(self.command, Command::Node(_)) { "info" } else { "warn" };
        let screen = Screen::new();
        log_to_stderr(self.log.as_deref().unwrap_or(level), screen.clone())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::Failed(format!("cannot start threads: {error}")))?;
        let outcome = runtime.block_on(async {
            match self.command {
                Command::Node(args) => node::run(args, output, &screen).await,
                Command::Key(command) => key::run(command, output),
                Command::Genesis(args) => genesis::run(*args, output),
                Command::Send(args) => send::run(args, output).await,
                Command::Status(args) => status::run(&args, output).await,
                Command::Sync(args) => sync::run(args, output, &screen).await,
                Command::Peers(args) => peers::run(&args, output).await,
                Command::Ban(args) => standing::ban(args, output).await,
                Command::Unban(args) => standing::unban(args, output).await,
                Command::Trust(args) => standing::trust(args, output).await,
                Command::Bans(args) => standing::list(&args, output).await,
                Command::Dht(command) => dht::run(command, output, &screen).await,
                Command::Account(args) => account::run(args, output).await,
                Command::Authority(command) => authority::run(command, output).await,
                Command::Block(args) => block::run(args, output).await,
                Command::Tx(args) => tx::run(args, output).await,
                Command::Mempool(args) => mempool::run(args, output).await,
                Command::Fees(args) => mempool::fees(&args, output).await,
                Command::Chat(args) => chat::run(args, output).await,
            }
        });
        // A thread may be waiting for a line of standard input that never comes.
        runtime.shutdown_background();
        outcome
    }
}

fn log_to_stderr(filter: &str, screen: Screen) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| Failure::Usage(format!("`{filter}` is not a log filter: {error}")))?;
    // Fails only when the process has a subscriber already, which then keeps it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(screen.is_terminal())
        // They would be written to standard error, which on a full disk panics in whatever thread had something to log.
        .log_internal_errors(false)
        .with_writer(screen)
        .try_init();
    Ok(())
}

#[cfg(test)]
mod tests;
