//! `weft-testnet live`: a scenario from a file, with programs and tabs.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use signal_hook::consts::{SIGINT, SIGTERM};
use weft_testnet::live;

use crate::simulate::{read, tell};

/// Where `cargo xtask app` puts the app.
const APP: &str = "browser/dist";

/// What the command line says besides the scenario.
#[derive(Debug, Default)]
pub(crate) struct Options {
    seed: Option<u64>,
    out: Option<PathBuf>,
    app: Option<PathBuf>,
}

/// What the options say.
///
/// # Errors
/// Says which option is wrong.
pub(crate) fn options(options: &[&str]) -> Result<Options, String> {
    let mut found = Options::default();
    for option in options.chunks(2) {
        let [name, value] = option else { return Err(format!("{} needs a value.", option[0])) };
        match *name {
            "--seed" => found.seed = Some(value.parse().map_err(|_| format!("`{value}` is not a number."))?),
            "--out" => found.out = Some(PathBuf::from(value)),
            "--app" => found.app = Some(PathBuf::from(value)),
            _ => return Err(format!("There is no option {name}.")),
        }
    }
    Ok(found)
}

/// Runs the scenario, prints the table, and writes what is asked for. Ctrl-C ends it and all that it has started.
///
/// # Errors
/// When the file is no scenario, it cannot be run, or an expectation was not met.
pub(crate) fn run(path: &Path, options: &Options) -> Result<(), String> {
    let scenario = read(path, options.seed)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("waiting for Ctrl-C: {error}"))?;
    }
    let app = options.app.clone().unwrap_or_else(|| PathBuf::from(APP));
    let start = Instant::now();
    let outcome = live::run(&scenario, &live::Setup { app, stop }).map_err(|error| error.to_string())?;
    let took = format!("took {:.1} s", start.elapsed().as_secs_f64());
    tell(&outcome, &took, options.out.as_deref())
}
