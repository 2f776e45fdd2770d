//! `cargo xtask bench`: what `docs/BENCHMARKS.md` tells, measured here.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
};

use crate::{
    Fallible,
    command::{cargo, program, run},
    packages, target_dir,
    tools::{Tools, WASM},
};

/// The benchmarks that run natively and as wasm: examples of core.
const EXAMPLES: [&str; 4] = ["apply", "mempool", "state", "sync"];
/// Those of several peers in one process, natively only: examples of the testnet.
const SWARMS: [&str; 3] = ["full_sync", "fifty_peers", "quotas"];
/// The test that prints what each way to join downloads, which is the same however it was built.
const BYTES: &str =
    "measured::every_strategy_ends_at_the_same_block_and_state_and_those_that_trust_more_download_less";

/// What a page says in the end.
const DONE: &str = "the benchmark is done";
const FAILED: &str = "the benchmark failed: ";

/// Runs the benchmarks natively, and once more as the wasm that a tab runs, on Node and in Chromium.
///
/// # Errors
/// When something they need is missing, does not build, or fails.
pub(crate) fn run_all() -> Fallible<()> {
    println!("-- bytes downloaded by strategy");
    let mut bytes = cargo(["test", "--locked", "--workspace", "--exclude", "weft-browser", "--test", "sim"]);
    run(bytes.args([BYTES, "--", "--exact", "--nocapture"]))?;

    for name in EXAMPLES {
        println!("-- {name}, natively");
        run(cargo(["run", "--locked", "--release"]).args(example("weft-core", name)))?;
    }
    for name in SWARMS {
        println!("-- {name}, of peers in one process");
        run(cargo(["run", "--locked", "--release"]).args(example("weft-testnet", name)))?;
    }

    let tools = Tools::ready()?;
    packages::ready()?;
    for name in EXAMPLES {
        let mut build = cargo(["build", "--locked", "--profile", "wasm-release", "--target", WASM]);
        run(build.args(example("weft-core", name)))?;
        println!("-- {name}, as wasm on Node");
        let out = bind(&tools, name, "nodejs")?;
        run(program("node", [] as [&str; 0]).arg(out.join(name).with_extension("js")))?;
        println!("-- {name}, as wasm in headless Chromium");
        in_chromium(&bind(&tools, name, "no-modules")?, name)?;
    }
    Ok(())
}

/// Wraps a built example for a place to run; answers the directory it is in.
fn bind(tools: &Tools, name: &str, target: &str) -> Fallible<PathBuf> {
    let wasm = target_dir().join(WASM).join("wasm-release/examples").join(name).with_extension("wasm");
    let out = target_dir().join("bench").join(target);
    run(program(tools.wasm_bindgen(), ["--target", target, "--out-dir"]).arg(&out).arg(wasm))?;
    Ok(out)
}

/// Opens a page that runs an example, and prints what it writes to its console.
fn in_chromium(dir: &Path, name: &str) -> Fallible<()> {
    let (page, profile) = (dir.join(name).with_extension("html"), dir.join("profile"));
    let text = format!(
        "<!doctype html><script src=\"{name}.js\"></script><script>wasm_bindgen({{ module_or_path: \"{name}_bg.wasm\" }})\
         .then(() => console.log(\"{DONE}\"), (error) => console.log(\"{FAILED}\" + error))</script>"
    );
    fs::write(&page, text).map_err(|error| format!("cannot write {}: {error}", page.display()))?;
    let mut chromium = program("chromium", ["--headless", "--no-sandbox", "--disable-gpu"]);
    chromium.args(["--allow-file-access-from-files", "--enable-logging=stderr"]);
    chromium.arg(format!("--user-data-dir={}", profile.display()));
    chromium.arg(format!("file://{}", page.display())).stderr(Stdio::piped());
    let mut running = chromium.spawn().map_err(|error| format!("cannot start chromium: {error}"))?;
    let mut outcome = Err("chromium ended before the benchmark did".to_owned());
    for line in running.stderr.take().into_iter().flat_map(|log| BufReader::new(log).lines()) {
        let line = line.map_err(|error| format!("cannot read what chromium says: {error}"))?;
        // `[...:CONSOLE:7] "text", source: ...`
        let said = line.split_once(":CONSOLE").and_then(|(_, rest)| rest.split_once('"'));
        let Some((said, _)) = said.and_then(|(_, rest)| rest.rsplit_once("\", source:")) else { continue };
        if said == DONE || said.starts_with(FAILED) {
            outcome = if said == DONE { Ok(()) } else { Err(said.to_owned()) };
            break;
        }
        println!("{said}");
    }
    // Both fail only when it has ended already.
    let _ = running.kill();
    let _ = running.wait();
    outcome
}

fn example(package: &'static str, name: &'static str) -> [&'static str; 4] {
    ["--package", package, "--example", name]
}
