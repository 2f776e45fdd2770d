//! `cargo xtask test`: every check, each named and timed.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    Fallible, app,
    command::{self, cargo, program},
    packages,
    tools::{self, Tools, WASM},
    workspace,
};

/// How much to run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
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
    /// The least at which it runs without being named.
    from: Extent,
    run: fn(Extent) -> Fallible<()>,
}

impl Step {
    const fn ci(name: &'static str, what: &'static str, run: fn(Extent) -> Fallible<()>) -> Self {
        Self { name, what, from: Extent::Ci, run }
    }
}

/// In the order they run: the quick ones first, and what is built before what needs it.
const STEPS: [Step; 11] = [
    Step::ci("fmt", "the code is formatted", fmt),
    Step::ci("clippy", "no lint fires in native code and in tests", clippy),
    Step::ci("clippy-wasm", "no lint fires in what runs in a tab", clippy_wasm),
    Step::ci("build", "the native programs build", build),
    Step::ci("test", "unit, property, simulation and process tests pass", test),
    Step::ci("test-wasm", "core's unit tests pass as wasm, on Node", test_wasm),
    Step::ci("test-tab", "the tab's storage passes its tests, in Chromium", test_tab),
    Step::ci("app", "the app builds in release", app),
    Step::ci("browser", "tabs and natives form one network", browser),
    Step::ci("outside", "js-libp2p is a peer like any other", outside),
    Step {
        from: Extent::Full,
        ..Step::ci("deny", "no dependency has a licence, a source or a double that it may not have", deny)
    },
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
    let runs = |step: &&Step| if names.is_empty() { step.from <= extent } else { names.contains(&step.name) };
    for step in STEPS.iter().filter(runs) {
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

fn deny(_: Extent) -> Fallible<()> {
    denied(&["bans", "licenses", "sources"])
}

/// Looks for dependencies with known faults, or that were withdrawn, in a list that is fetched from GitHub.
///
/// # Errors
/// When there is one, or the list cannot be had.
pub(crate) fn advisories() -> Fallible<()> {
    denied(&["advisories"])
}

/// What cargo-deny says of the lock file, by `deny.toml`.
fn denied(checks: &[&str]) -> Fallible<()> {
    let program_file = tools::cargo_deny()?.join("cargo-deny");
    let mut deny = program(program_file, ["--locked", "--workspace", "check"]);
    command::run(deny.args(checks).current_dir(workspace()))
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

/// The packages of `testnet/js`, as its lock file has them.
fn js_packages() -> Fallible<()> {
    packages::ready()?;
    command::run(
        program("npm", ["ci", "--no-audit", "--no-fund"]).current_dir(workspace().join("testnet/js")),
    )
}

fn browser(extent: Extent) -> Fallible<()> {
    js_packages()?;
    let mut test = native("test");
    test.env(NAMESPACES_REQUIRED, "1");
    if extent == Extent::Full {
        packages::firefox()?;
        test.env(FULL, "1");
    }
    command::run(test.args(["--test", "browser", "--", "--test-threads", "1"]))
}

fn outside(_: Extent) -> Fallible<()> {
    js_packages()?;
    command::run(native("test").args(["--test", "outside", "--", "--test-threads", "1"]))
}
