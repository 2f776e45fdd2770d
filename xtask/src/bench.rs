//! `cargo xtask bench`: what `docs/BENCHMARKS.md` tells, measured here.

use crate::{
    Fallible,
    command::{cargo, program, run},
    packages, target_dir,
    tools::{Tools, WASM},
};

/// Runs the benchmark natively, and once more as the wasm that a tab runs, on Node.
///
/// # Errors
/// When something it needs is missing, does not build, or fails.
pub(crate) fn run_all() -> Fallible<()> {
    let example = ["--package", "weft-core", "--example", "apply"];
    println!("-- natively");
    run(cargo(["run", "--locked", "--release"]).args(example))?;

    let tools = Tools::ready()?;
    packages::ready()?;
    println!("-- as wasm, on Node");
    run(cargo(["build", "--locked", "--profile", "wasm-release", "--target", WASM]).args(example))?;
    let wasm = target_dir().join(WASM).join("wasm-release/examples/apply.wasm");
    let out = target_dir().join("bench");
    let mut bindgen = program(tools.wasm_bindgen(), ["--target", "nodejs", "--out-dir"]);
    run(bindgen.arg(&out).arg(wasm))?;
    run(program("node", [] as [&str; 0]).arg(out.join("apply.js")))
}
