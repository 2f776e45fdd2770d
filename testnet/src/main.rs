//! `weft-testnet`: networks to look at.

mod attack;
mod demo;
mod made;
mod play_live;
mod simulate;

use std::{
    env,
    path::Path,
    process::{Command, ExitCode},
};

use mimalloc::MiMalloc;

/// Virtual peers make and drop many small things , and the system's allocator costs a sixth more time for it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What the allocator is told: to keep what it has, and in large pages. A long run in virtual time takes a fifth less time so.
const ALLOCATOR_SETTINGS: [(&str, &str); 2] =
    [("MIMALLOC_PURGE_DELAY", "-1"), ("MIMALLOC_ALLOW_LARGE_OS_PAGES", "1")];

const USAGE: &str = "\
usage: weft-testnet demo --app DIRECTORY --port PORT
       weft-testnet sim SCENARIO.toml [--seed N] [--out DIRECTORY] [--trace FILE]
       weft-testnet live SCENARIO.toml [--seed N] [--out DIRECTORY] [--app DIRECTORY]
       weft-testnet attack [NAME...] [--seed N] [--seeds N] [--scale N] [--without-defence] [--markdown]
       weft-testnet chain DIRECTORY [--blocks N] [--accounts N] [--hand-offs N] [--slot-millis N]

  demo    runs a relay and three validators, and serves the app
  sim     runs a scenario in virtual time and says what came of it; with --out also as report.json and plots, with --trace
          every step as a line of JSON. The same seed gives the same run. A long one says every half minute how far it is.
  live    runs the same scenario with programs, and tabs in headless Chromium, all on this machine, and says what came of it
          in the same way; the app for tabs is in browser/dist unless told otherwise. Both end with 1 when something is not
          as the scenario expects.
  attack  runs the attacks named, or all, in virtual time: each with the defence and beside it without, or only without; with
          --seeds so many times with other seeds. A scale of 5 has five times as many honest peers. Ends with 1 when one succeeds although the defence is on.
  chain   makes a chain that ends now, of 20,000 blocks, 100,000 accounts, eight hand-offs and slots of a second
          unless told otherwise, and writes it into a new directory: genesis.json, key files, and in `chain` the data of a
          peer. So a relay with all of it is `weft-relay --data DIRECTORY --genesis DIRECTORY/genesis.json`.";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if words.iter().any(|word| matches!(*word, "--help" | "-h")) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if matches!(words.first(), Some(&("sim" | "attack"))) {
        begin_again_with_settings(&arguments);
    }
    let outcome = match words.as_slice() {
        ["demo", "--app", app, "--port", port] => match port.parse() {
            Ok(port) => demo::run(Path::new(app), port).map_err(|error| error.to_string()),
            Err(_) => return misused("A port is a number from 1 to 65535."),
        },
        ["sim", scenario, options @ ..] => match simulate::options(options) {
            Ok(options) => simulate::run(Path::new(scenario), &options),
            Err(reason) => return misused(&reason),
        },
        ["live", scenario, options @ ..] => match play_live::options(options) {
            Ok(options) => play_live::run(Path::new(scenario), &options),
            Err(reason) => return misused(&reason),
        },
        ["attack", words @ ..] => match attack::options(words) {
            Ok(options) => attack::run(&options),
            Err(reason) => return misused(&reason),
        },
        ["chain", directory, options @ ..] => match made::extent(options) {
            Ok(extent) => made::write(Path::new(directory), &extent).map_err(|error| error.to_string()),
            Err(reason) => return misused(&reason),
        },
        _ => return misused(""),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The allocator reads its settings before any of our own code runs, so the program begins again with them. Where it cannot, and
/// where a person has set one of them, it goes on as it is.
fn begin_again_with_settings(arguments: &[String]) {
    if ALLOCATOR_SETTINGS.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    #[cfg(unix)]
    if let Ok(program) = env::current_exe() {
        use std::os::unix::process::CommandExt;
        let error = Command::new(program).args(arguments).envs(ALLOCATOR_SETTINGS).exec();
        eprintln!("the allocator keeps its usual settings, which is slower: {error}");
    }
}

fn misused(reason: &str) -> ExitCode {
    eprintln!("{USAGE}\n{reason}");
    ExitCode::from(2)
}
