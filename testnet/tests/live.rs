//! `weft-testnet live`: scenarios with real programs.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use weft_testnet::live::{PATIENCE, Process, wait_for};

/// Everything that a run leaves on this machine, or should not.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// Starts a live run that keeps its files here.
    fn live(&self, scenario: &Path) -> Process {
        let temporary = self.dir.path().join("tmp");
        fs::create_dir_all(&temporary).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft-testnet"));
        command.arg("live").arg(scenario).arg("--out").arg(self.report()).env("TMPDIR", temporary);
        Process::start("live", command, self.dir.path()).unwrap()
    }

    fn report(&self) -> PathBuf {
        self.dir.path().join("report")
    }

    /// The programs whose files are here, by what they were started with.
    fn programs(&self) -> Vec<String> {
        let mark = self.dir.path().join("tmp").display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let commands = processes.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        commands.filter(|command| command.contains(&mark)).collect()
    }

    fn nothing_is_left(&self) {
        assert_eq!(self.programs(), Vec::<String>::new());
        let files: Vec<_> = fs::read_dir(self.dir.path().join("tmp")).unwrap().collect();
        assert!(files.is_empty(), "{files:?}");
    }
}

#[test]
fn programs_that_are_killed_paused_restarted_disconnected_and_cut_off_come_back_to_one_chain() {
    let place = Place::new();
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/perturbed.toml");
    let mut live = place.live(&scenario);
    let status = live.wait(3 * PATIENCE).unwrap();
    let table = live.lines().join("\n");
    assert!(status.success(), "{table}\n{}", live.log());
    let report: Value =
        serde_json::from_slice(&fs::read(place.report().join("report.json")).unwrap()).unwrap();
    let number = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).unwrap();
    // Seven peers, of which two were killed and one restarted.
    assert_eq!(number("/live/starts"), 10.0, "{table}");
    // Each of the two disconnected has at least the connection that it was cut off from later.
    assert!(number("/live/closed") >= 3.0, "{table}");
    assert!(number("/blocks/count") > 20.0 && number("/transactions/count") > 100.0, "{table}");
    // Who stood still for two seconds got a block as much later, and the others did not wait for it.
    assert!(number("/blocks/each/max") > 1_000.0 && number("/blocks/each/p50") < 500.0, "{table}");
    assert!(number("/finality/count") > 0.0 && number("/finalised/0") > 0.0, "{table}");
    for kind in ["block", "vote", "sync", "transactions", "over sockets"] {
        assert!(number(&format!("/bytes/{kind}/bytes")) > 0.0, "{kind}: {table}");
    }
    assert!(report["not_reproduced"].to_string().contains("loopback"), "{table}");
    for plot in ["delivery.svg", "bytes.svg", "duplicates.svg"] {
        assert!(fs::read_to_string(place.report().join(plot)).unwrap().ends_with("</svg>"));
    }
    place.nothing_is_left();
}

/// Three peers for a few seconds, and more of the file.
fn three_peers(place: &Place, seconds: u64, more: &str) -> PathBuf {
    let path = place.dir.path().join("three.toml");
    let text = format!(
        "name = \"three\"\nseconds = {seconds}\nwarm-up-seconds = 2\ncool-down-seconds = 1\nslot-millis = 500\n\
         [[peers]]\nname = \"all\"\nrole = \"native\"\ncount = 3\nvalidators = 3\ndials = 2\n{more}"
    );
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn an_expectation_that_is_not_met_is_told_by_the_exit_code() {
    let place = Place::new();
    let scenario = three_peers(
        &place,
        8,
        "[workload]\ntransfers-per-second = 5.0\n[expect]\ntransactions-p99-millis = 1.0\n",
    );
    let mut live = place.live(&scenario);
    assert_eq!(live.wait(PATIENCE).unwrap().code(), Some(1));
    assert!(live.log().contains("not as expected: 99 of 100 deliveries of transactions"), "{}", live.log());
    assert!(place.report().join("report.json").exists());
    place.nothing_is_left();
}

#[test]
fn a_run_that_is_interrupted_leaves_nothing_behind_even_of_who_stands_still() {
    let place = Place::new();
    let scenario = three_peers(
        &place,
        600,
        "[[faults]]\nkind = \"pause\"\nat = 1\nseconds = 500\ngroup = \"all\"\nshare = 0.3\n",
    );
    let mut live = place.live(&scenario);
    let stands = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    };
    let mark = place.dir.path().join("tmp").display().to_string();
    wait_for("one of them stands still", PATIENCE, || {
        live.check()?;
        let mut processes = fs::read_dir("/proc").unwrap().flatten();
        let found = processes.any(|entry| {
            let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
            command.contains(&mark) && stands(&entry.file_name().to_string_lossy())
        });
        Ok(found.then_some(()))
    })
    .unwrap();
    assert_eq!(place.programs().len(), 3);
    live.terminate().unwrap();
    assert_eq!(live.wait(PATIENCE).unwrap().code(), Some(1));
    assert!(live.log().contains("interrupted"), "{}", live.log());
    place.nothing_is_left();
}

#[test]
fn a_scenario_with_tabs_says_what_is_missing_for_them() {
    let place = Place::new();
    let scenario = three_peers(
        &place,
        8,
        "[[peers]]\nname = \"relay\"\nrole = \"relay\"\ncount = 1\n\
         [[peers]]\nname = \"tabs\"\nrole = \"browser\"\ncount = 1\n",
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_weft-testnet"));
    command.arg("live").arg(scenario).args(["--app", "/nonexistent"]).env("PATH", "/nonexistent");
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    for part in ["chromedriver", "Chromium", "cargo xtask app"] {
        assert!(told.contains(part), "{told}");
    }
}
