//! A relay and three validators on this machine, and a page that joins them, until Ctrl-C.

use std::{
    io,
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use signal_hook::consts::{SIGINT, SIGTERM};
use weft_testnet::live::{Chain, LiveError, PATIENCE, Ports, Process, wait_for};

/// The length of a slot, as on a real chain.
const SLOT_MILLIS: u64 = 2000;
const VALIDATORS: usize = 3;
/// How long the programs may take to end by themselves after Ctrl-C, before they are killed.
const GOODBYE: Duration = Duration::from_secs(5);

/// Shows the network: the app in `app` at `port`, the relay's listeners on the two ports after it.
///
/// # Errors
/// When a port is taken, or a program does not start or ends by itself.
pub(crate) fn run(app: &Path, port: u16) -> Result<(), LiveError> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| LiveError::System { what: "waiting for Ctrl-C".to_owned(), error })?;
    }
    let ports = free(port)?;
    let chain = Chain::new(SLOT_MILLIS, VALIDATORS)?;
    println!(
        "Starting a relay and {VALIDATORS} validators; data and logs are in {} ...",
        chain.dir().display()
    );
    let (relay, validators) = chain.start_all(Some(app), ports)?;
    let mut processes = validators;
    processes.insert(0, relay);
    let height = wait_for("blocks flow", PATIENCE, || {
        if stop.load(Ordering::Relaxed) {
            return Ok(Some(0));
        }
        processes.iter_mut().try_for_each(Process::check)?;
        Ok(Some(processes[0].height()?).filter(|height| *height >= 2))
    })?;
    if height > 0 {
        println!(
            "Blocks flow. Open\n\n    http://127.0.0.1:{port}\n\nand press Ctrl-C here to end all of it."
        );
    }
    while !stop.load(Ordering::Relaxed) {
        processes.iter_mut().try_for_each(Process::check)?;
        thread::sleep(Duration::from_millis(100));
    }
    println!("\nEnding ...");
    for process in &mut processes {
        process.terminate()?;
    }
    for process in &mut processes {
        // Who is not gone by then is killed when it is dropped.
        let _ = process.wait(GOODBYE);
    }
    Ok(())
}

/// `port` and the two after it, when all three are free.
fn free(port: u16) -> Result<Ports, LiveError> {
    let taken = |port: u16, error: io::Error| LiveError::System {
        what: format!("port {port} cannot be used: choose another with --port"),
        error,
    };
    let overflow = || taken(port, io::Error::other("two more ports are needed above it"));
    let last = port.checked_add(2).filter(|_| port > 0).ok_or_else(overflow)?;
    for port in port..=last {
        TcpListener::bind(("127.0.0.1", port)).map_err(|error| taken(port, error))?;
    }
    Ok(Ports { http: port, tcp: port + 1, websocket: last })
}
