//! The two commands of the README, and what they need: the wasm target, the pinned tools, the app, the checks.
//!
//! `cargo xtask demo` shows a running network; `cargo xtask test` is what CI runs. Both build the native programs
//! with the same profile and features, so that the second to run finds them built.

mod app;
mod bench;
mod checks;
mod command;
mod demo;
mod fuzz;
mod packages;
mod tools;

use std::{env, path::PathBuf, process::ExitCode};

const USAGE: &str = "\
The commands of the Weft workspace:

  cargo xtask demo [--port N]          build everything, run a relay and three validators on this machine,
                                       and serve the app at http://127.0.0.1:N (9000 unless told)
  cargo xtask test [--full] [STEP...]  run every check that CI runs, or only the steps named;
                                       --full adds the long ones
  cargo xtask app                      only build the app, into browser/dist
  cargo xtask bench                    measure what docs/BENCHMARKS.md tells, natively and as wasm
  cargo xtask fuzz [TARGET...] [--minutes N]
                                       run libFuzzer on each decoder and verifier, or only on those named,
                                       for a minute unless told
  cargo xtask advisories               ask the Rust advisory database about all that Weft depends on
";

/// Why a command ends early, in words for the person who gave it.
type Fallible<T> = Result<T, String>;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["demo"] => demo::run(demo::DEFAULT_PORT),
        ["demo", "--port", port] => match port.parse() {
            Ok(port) => demo::run(port),
            Err(_) => Err(format!("`{port}` is not a port: give a number from 1 to 65535")),
        },
        ["test", rest @ ..] => checks::run(rest),
        ["app"] => app::build().map(|_| ()),
        ["bench"] => bench::run_all(),
        ["advisories"] => checks::advisories(),
        ["fuzz", rest @ ..] => fuzz::run_targets(rest),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn workspace() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where cargo puts what it builds for this workspace.
fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => workspace().join(dir),
        None => workspace().join("target"),
    }
}

/// Where the tools live, which outlive `target`: `WEFT_CACHE`, or `weft` in the user's cache directory.
fn cache_dir() -> Fallible<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("WEFT_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("weft")))
        .or_else(|| Some(set("HOME")?.join(".cache/weft")))
        .ok_or_else(|| {
            "neither WEFT_CACHE, XDG_CACHE_HOME nor HOME is set: set WEFT_CACHE to a directory".into()
        })
}
