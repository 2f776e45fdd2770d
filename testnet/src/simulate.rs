//! `weft-testnet sim`: a scenario from a file, in virtual time.

use std::{fs, path::Path, path::PathBuf, time::Instant};

use weft_testnet::{report::Outcome, scenario::Scenario, sim};

/// What the command line says besides the scenario.
#[derive(Debug, Default)]
pub(crate) struct Options {
    seed: Option<u64>,
    out: Option<PathBuf>,
    trace: Option<PathBuf>,
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
            "--trace" => found.trace = Some(PathBuf::from(value)),
            _ => return Err(format!("There is no option {name}.")),
        }
    }
    Ok(found)
}

/// Runs the scenario, prints the table, and writes what is asked for.
///
/// # Errors
/// When the file is no scenario, something cannot be written, or an expectation was not met.
pub(crate) fn run(path: &Path, options: &Options) -> Result<(), String> {
    let told = |error: std::io::Error, path: &Path| format!("{}: {error}", path.display());
    let scenario = read(path, options.seed)?;
    let start = Instant::now();
    let trace = options.trace.as_deref();
    let outcome = sim::run(&scenario, trace).map_err(|error| told(error, trace.unwrap_or(path)))?;
    let took = format!("took {:.1} s{}", start.elapsed().as_secs_f64(), memory());
    tell(&outcome, &took, options.out.as_deref())
}

/// The scenario in a file, with this seed if there is one.
///
/// # Errors
/// When the file is no scenario.
pub(crate) fn read(path: &Path, seed: Option<u64>) -> Result<Scenario, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| told(&error))?;
    let mut scenario = Scenario::parse(&text).map_err(|error| told(&error))?;
    scenario.seed = seed.unwrap_or(scenario.seed);
    Ok(scenario)
}

/// Prints what came of a run, and what it took, and writes it into a directory if there is one.
///
/// # Errors
/// When it cannot be written, or an expectation was not met.
pub(crate) fn tell(outcome: &Outcome, took: &str, out: Option<&Path>) -> Result<(), String> {
    println!("{}\n{took}", outcome.report);
    if let Some(directory) = out {
        let written = outcome.report.write(directory);
        written.map_err(|error| format!("{}: {error}", directory.display()))?;
    }
    if outcome.failures.is_empty() {
        Ok(())
    } else {
        Err(format!("not as expected: {}", outcome.failures.join("; ")))
    }
}

/// The most memory this process had, where the system tells.
fn memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    most.map(|most| format!(", at most {} of memory", most.trim())).unwrap_or_default()
}
