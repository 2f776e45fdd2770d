//! `cargo xtask test`: every check, each named and timed.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    Fallible, app,
    command::{self, cargo, program},
    packages,
    tools::{Tools, WASM},
    workspace,
};

/// How much to run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// What CI runs.
    Ci,
    /// The long runs too: tests see [`FULL`] in their environment.
    Full,
}

/// What tests look for when they are to take their time.
const FULL: &str = "WEFT_FULL";

/// What tests look for that make network namespaces: where they cannot, they fail instead of being left out.
const NAMESPACES_REQUIRED: &str = "WEFT_TEST_NAMESPACES_REQUIRED";

/// A check.
struct Step {
    name: &'static str,
    what: &'static str,
    run: fn(Extent) -> Fallible<()>,
}

/// In the order they run: the quick ones first, and what is built before what needs it.
const STEPS: [Step; 10] = [
    Step { name: "fmt", what: "the code is formatted", run: fmt },
    Step { name: "clippy", what: "no lint fires in native code and in tests", run: clippy },
    Step { name: "clippy-wasm", what: "no lint fires in what runs in a tab", run: clippy_wasm },
    Step { name: "build", what: "the native programs build", run: build },
    Step { name: "test", what: "unit, property, simulation and process tests pass", run: test },
    Step { name: "test-wasm", what: "core's unit tests pass as wasm, on Node", run: test_wasm },
    Step { name: "test-tab", what: "the tab's storage passes its tests, in Chromium", run: test_tab },
    Step { name: "app", what: "the app builds in release", run: app },
    Step { name: "browser", what: "tabs and natives form one network", run: browser },
    Step { name: "outside", what: "js-libp2p is a peer like any other", run: outside },
];

/// Tests with a step of their own, since they need the app or Node: `testnet/Cargo.toml` takes them out of a plain
/// `cargo test`.
const APART: [&str; 4] = ["--test", "browser", "--test", "outside"];

/// Runs the steps named in `arguments`, or all, and prints a table of how each went. A step that fails does not keep
/// the others from running.
///
/// # Errors
/// When an argument is not a step, or a step failed.
pub(crate) fn run(arguments: &[&str]) -> Fallible<()> {
    let (flags, names): (Vec<&str>, Vec<&str>) = arguments.iter().partition(|word| **word == "--full");
    if let Some(unknown) = names.iter().find(|name| !STEPS.iter().any(|step| step.name == **name)) {
        let known: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("`{unknown}` is not a step; the steps are: {}", known.join(", ")));
    }
    let extent = if flags.is_empty() { Extent::Ci } else { Extent::Full };
    let begun = Instant::now();
    let mut rows = Vec::new();
    for step in STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name)) {
        println!("\n== {}: {}", step.name, step.what);
        let begun = Instant::now();
        let outcome = (step.run)(extent);
        if let Err(reason) = &outcome {
            eprintln!("error: {reason}");
        }
        rows.push((step, begun.elapsed(), outcome.is_ok()));
    }
    println!();
    for (step, took, passed) in &rows {
        println!("{}  {:>7}  {:<12} {}", verdict(*passed), clock(*took), step.name, step.what);
    }
    let failed = rows.iter().filter(|(_, _, passed)| !passed).count();
    println!("{}  {:>7}  {} steps", verdict(failed == 0), clock(begun.elapsed()), rows.len());
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {} steps failed", rows.len())) }
}

const fn verdict(passed: bool) -> &'static str {
    if passed { "ok    " } else { "FAILED" }
}

fn clock(took: Duration) -> String {
    format!("{}:{:02}", took.as_secs() / 60, took.as_secs() % 60)
}

/// `cargo VERB` on all native crates.
fn native(verb: &str) -> Command {
    let mut command = cargo([verb]);
    command.args(["--locked", "--workspace", "--exclude", "weft-browser"]);
    command
}

fn fmt(_: Extent) -> Fallible<()> {
    command::run(&mut cargo(["fmt", "--all", "--check"]))
}

fn clippy(_: Extent) -> Fallible<()> {
    command::run(native("clippy").args(["--all-targets", "--", "--deny", "warnings"]))?;
    // `--all-targets` leaves out what a plain `cargo test` does.
    command::run(native("clippy").args(APART).args(["--", "--deny", "warnings"]))
}

fn clippy_wasm(_: Extent) -> Fallible<()> {
    Tools::ready()?;
    let tabs = ["--package", "weft-core", "--package", "weft-browser", "--all-targets"];
    let mut clippy = cargo(["clippy", "--locked", "--target", WASM]);
    command::run(clippy.args(tabs).args(["--", "--deny", "warnings"]))
}

/// Builds the native programs the way that the tests share.
///
/// # Errors
/// When they do not build.
pub(crate) fn build_native() -> Fallible<()> {
    command::run(&mut native("build"))
}

fn build(_: Extent) -> Fallible<()> {
    build_native()
}

fn test(extent: Extent) -> Fallible<()> {
    packages::ready()?;
    let mut test = native("test");
    // One that fails must not hide what others say.
    test.arg("--no-fail-fast").env(NAMESPACES_REQUIRED, "1");
    if extent == Extent::Full {
        test.env(FULL, "1");
    }
    command::run(&mut test)
}

fn test_wasm(_: Extent) -> Fallible<()> {
    let runner = Tools::ready()?.wasm_test_runner();
    packages::ready()?;
    let mut test = cargo(["test", "--locked", "--target", WASM, "--package", "weft-core", "--lib"]);
    command::run(test.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner))
}

fn test_tab(_: Extent) -> Fallible<()> {
    let runner = Tools::ready()?.wasm_test_runner();
    packages::ready()?;
    let mut test = cargo(["test", "--locked", "--target", WASM, "--package", "weft-browser"]);
    test.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner);
    // So that the runner takes this browser, and no other that may be there.
    command::run(test.env("CHROMEDRIVER", "chromedriver"))
}

fn app(_: Extent) -> Fallible<()> {
    app::build().map(|_| ())
}

fn browser(extent: Extent) -> Fallible<()> {
    packages::ready()?;
    let mut test = native("test");
    test.env(NAMESPACES_REQUIRED, "1");
    if extent == Extent::Full {
        test.env(FULL, "1");
    }
    command::run(test.args(["--test", "browser", "--", "--test-threads", "1"]))
}

fn outside(_: Extent) -> Fallible<()> {
    packages::ready()?;
    command::run(
        program("npm", ["ci", "--no-audit", "--no-fund"]).current_dir(workspace().join("testnet/js")),
    )?;
    command::run(native("test").args(["--test", "outside", "--", "--test-threads", "1"]))
}
