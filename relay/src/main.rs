//! The `weft-relay` program.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::Parser;
use mimalloc::MiMalloc;
use serde_json::json;
use tokio::signal;
use tracing_subscriber::EnvFilter;
use weft_relay::{Options, Relay};

/// Peers make and drop many small things on several threads, and the system's allocator costs a sixth more time for it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let filter = match EnvFilter::try_new(&options.log) {
        Ok(filter) => filter,
        Err(error) => {
            eprintln!("error: `{}` is no log filter: {error}", options.log);
            return ExitCode::from(2);
        }
    };
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colours)
        // They would be written to standard error, which on a full disk panics in whatever thread had something to log.
        .log_internal_errors(false)
        .init();
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    // Before anything starts, so that a signal cannot come too early.
    let stopped = stop_signal()?;
    // Those it listens on, and those at which a person says that others reach it.
    let listens = options.addresses();
    let named = options.external.iter().filter(|address| !listens.contains(address));
    let (json, count) = (options.json, listens.len() + named.count());
    let mut relay = Relay::start(options).await?;
    announce(&relay, json, count).await?;
    tokio::select! {
        () = stopped => {}
        ended = relay.ended() => {
            ended?;
            return Err("the peer ended by itself".into());
        }
    }
    tracing::info!("stopping");
    relay.stop().await?;
    Ok(())
}

/// Says on standard output that the relay is ready, once it knows the ports it listens on.
async fn announce(relay: &Relay, json: bool, count: usize) -> io::Result<()> {
    let addresses = relay.addresses(count).await;
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    let http = format!("{}://{}", if relay.is_secure() { "https" } else { "http" }, relay.http_address());
    let rpc = relay.rpc_address().map(|address| format!("http://{address}"));
    let mut out = io::stdout().lock();
    if json {
        let ready = json!({
            "ready": true,
            "peer": relay.id().to_string(),
            "addresses": addresses,
            "http": http,
            "rpc": rpc,
            "stun": relay.stun_address(),
        });
        writeln!(out, "{ready}")?;
    } else {
        writeln!(out, "peer   {}", relay.id())?;
        for address in addresses {
            writeln!(out, "listen {address}/p2p/{}", relay.id())?;
        }
        writeln!(out, "http   {http}")?;
        if let Some(rpc) = rpc {
            writeln!(out, "rpc    {rpc}")?;
        }
        if let Some(stun) = relay.stun_address() {
            writeln!(out, "stun   {stun}")?;
        }
    }
    out.flush()
}

#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async { drop(signal::ctrl_c().await) })
}
