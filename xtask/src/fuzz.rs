//! `cargo xtask fuzz`: libFuzzer on the targets of the `fuzz` crate.
//!
//! The targets carry their own checks, and no code of ours is unsafe, so no sanitizer is used. Then the stable compiler is
//! enough, once it is told to let cargo-fuzz ask for the instrumentation that libFuzzer steers by.

use crate::{
    Fallible,
    command::{cargo, output, program, run},
    target_dir, tools,
};

/// How long a target runs unless told.
const DEFAULT_MINUTES: u32 = 1;
/// An input that takes longer, in seconds, or needs more memory, in MiB, is a failure.
const MAX_SECONDS: u32 = 10;
const MAX_MEGABYTES: u32 = 1024;

/// Runs the targets named in `arguments`, or all, one after the other.
///
/// # Errors
/// When an argument is no target, or a target failed: libFuzzer has said then where the input is.
pub(crate) fn run_targets(arguments: &[&str]) -> Fallible<()> {
    let (mut names, mut minutes) = (Vec::new(), DEFAULT_MINUTES);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--minutes" => {
                let number = arguments.next().and_then(|text| text.parse().ok()).filter(|number| *number > 0);
                minutes = number.ok_or("--minutes wants a whole number above 0")?;
            }
            name => names.push(name),
        }
    }
    let home = tools::cargo_fuzz()?;
    let corpus = target_dir().join("fuzz").join("corpus");
    let mut seeds =
        cargo(["run", "--locked", "--quiet", "--package", "weft-fuzz", "--example", "seeds", "--"]);
    let known = output(seeds.arg(&corpus).args(&names))?;
    let known: Vec<&str> = known.lines().collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(format!("`{unknown}` is not a target: see `name` in fuzz/Cargo.toml"));
    }
    let mut failed = Vec::new();
    for name in &known {
        println!("\n== {name}, for {minutes} min");
        let mut fuzz = program(home.join("cargo-fuzz"), ["run", name]);
        let layout = ["--fuzz-dir", "fuzz", "--sanitizer", "none", "--features", "libfuzzer", "--target-dir"];
        fuzz.args(layout).arg(target_dir().join("fuzz")).arg(corpus.join(name)).arg("--");
        fuzz.arg(format!("-max_total_time={}", u64::from(minutes) * 60));
        fuzz.arg(format!("-timeout={MAX_SECONDS}")).arg(format!("-rss_limit_mb={MAX_MEGABYTES}"));
        fuzz.args(["-print_final_stats=1", "-verbosity=0"]);
        // The instrumentation is an unstable flag; optimising across crates only costs time here.
        fuzz.env("RUSTC_BOOTSTRAP", "1").env("CARGO_PROFILE_RELEASE_LTO", "off");
        if let Err(reason) = run(fuzz.env_remove("RUSTFLAGS")) {
            eprintln!("error: {reason}");
            failed.push(*name);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("these targets failed: {}", failed.join(", "))) }
}
