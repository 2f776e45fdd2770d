//! `cargo xtask bench`: what `docs/BENCHMARKS.md` tells, measured here.

use crate::{
    Fallible,
    command::{cargo, program, run},
    packages, target_dir,
    tools::{Tools, WASM},
};

/// The benchmarks: examples of core.
const EXAMPLES: [&str; 2] = ["apply", "state"];

/// Runs the benchmarks natively, and once more as the wasm that a tab runs, on Node.
///
/// # Errors
/// When something they need is missing, does not build, or fails.
pub(crate) fn run_all() -> Fallible<()> {
    for name in EXAMPLES {
        println!("-- {name}, natively");
        run(cargo(["run", "--locked", "--release"]).args(example(name)))?;
    }

    let tools = Tools::ready()?;
    packages::ready()?;
    for name in EXAMPLES {
        println!("-- {name}, as wasm on Node");
        run(cargo(["build", "--locked", "--profile", "wasm-release", "--target", WASM]).args(example(name)))?;
        let wasm = target_dir().join(WASM).join("wasm-release/examples").join(name).with_extension("wasm");
        let out = target_dir().join("bench");
        let mut bindgen = program(tools.wasm_bindgen(), ["--target", "nodejs", "--out-dir"]);
        run(bindgen.arg(&out).arg(wasm))?;
        run(program("node", [] as [&str; 0]).arg(out.join(name).with_extension("js")))?;
    }
    Ok(())
}

fn example(name: &str) -> [&str; 4] {
    ["--package", "weft-core", "--example", name]
}
