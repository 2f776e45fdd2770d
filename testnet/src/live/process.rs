//! One running program.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{LiveError, PATIENCE};

/// How often something that cannot be waited for is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The lines of a log that an error quotes.
const QUOTED_LINES: usize = 30;

/// The directory with the programs of this build: that of the running program, or for a test or an example the one above.
///
/// # Errors
/// When `weft` or `weft-relay` is not there.
pub fn programs_dir() -> Result<PathBuf, LiveError> {
    let own = std::env::current_exe().map_err(LiveError::system("where this program is"))?;
    let mut dir = own.parent().unwrap_or(Path::new(".")).to_owned();
    if dir.ends_with("deps") || dir.ends_with("examples") {
        dir.pop();
    }
    for name in ["weft", "weft-relay"] {
        let program = dir.join(name).with_extension(std::env::consts::EXE_EXTENSION);
        if !program.exists() {
            return Err(LiveError::NotBuilt(program));
        }
    }
    Ok(dir)
}

/// Looks until `found` answers with something, for at most `patience`.
///
/// # Errors
/// [`LiveError::TooLate`], naming `what`, or what `found` fails with.
pub fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut found: impl FnMut() -> Result<Option<T>, LiveError>,
) -> Result<T, LiveError> {
    let begun = Instant::now();
    loop {
        if let Some(found) = found()? {
            return Ok(found);
        }
        if begun.elapsed() > patience {
            return Err(LiveError::TooLate { what: what.to_owned(), patience });
        }
        thread::sleep(LOOK);
    }
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// What it writes to standard output.
    output: PathBuf,
    /// What it writes to standard error.
    log: PathBuf,
    ready: Value,
}

impl Process {
    /// Starts `command`, with its output and log in `dir` under `name`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, dir: &Path) -> Result<Self, LiveError> {
        let file = |end: &str| {
            let path = dir.join(format!("{name}.{end}"));
            let file = File::create(&path).map_err(LiveError::system(path.display().to_string()))?;
            Ok::<_, LiveError>((path, file))
        };
        let (output, stdout) = file("out")?;
        let (log, stderr) = file("log")?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(LiveError::system(format!("starting {name}")))?;
        Ok(Self { name: name.to_owned(), child, output, log, ready: Value::Null })
    }

    /// Starts `command` and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be started, ends, or says nothing in time.
    pub fn start_ready(name: &str, command: Command, dir: &Path) -> Result<Self, LiveError> {
        let mut process = Self::start(name, command, dir)?;
        process.get_ready()?;
        Ok(process)
    }

    /// Waits for the line of JSON by which a peer says that it is ready.
    ///
    /// # Errors
    /// When it ends, or says nothing in time.
    pub fn get_ready(&mut self) -> Result<(), LiveError> {
        self.ready = wait_for(&format!("{} is ready", self.name.clone()), PATIENCE, || {
            self.check()?;
            let lines = self.lines();
            let first = lines.first().and_then(|line| serde_json::from_str::<Value>(line).ok());
            Ok(first.filter(|line| line["ready"] == true))
        })?;
        Ok(())
    }

    /// What it was called at start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The peer id it said it has.
    #[must_use]
    pub fn peer(&self) -> &str {
        self.ready["peer"].as_str().unwrap_or_default()
    }

    /// The line by which it said that it is ready.
    #[must_use]
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// The addresses it listens on that contain `part`, each with its peer id at the end.
    #[must_use]
    pub fn addresses(&self, part: &str) -> Vec<String> {
        let listed = self.ready["addresses"].as_array().into_iter().flatten();
        let found = listed.filter_map(Value::as_str).filter(|address| address.contains(part));
        found
            .map(|address| match address.contains("/p2p/") {
                true => address.to_owned(),
                false => format!("{address}/p2p/{}", self.peer()),
            })
            .collect()
    }

    /// The addresses it listens on by plain TCP.
    #[must_use]
    pub fn tcp_addresses(&self) -> Vec<String> {
        self.addresses("/tcp/").into_iter().filter(|address| !address.contains("/ws")).collect()
    }

    /// The address of its JSON-RPC server, `host:port`.
    #[must_use]
    pub fn rpc_address(&self) -> &str {
        self.ready["rpc"].as_str().unwrap_or_default().trim_start_matches("http://")
    }

    /// The lines it has written to standard output so far; the last may be unfinished.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        read(&self.output).lines().map(str::to_owned).collect()
    }

    /// The file that it logs to.
    #[must_use]
    pub(super) fn log_file(&self) -> &Path {
        &self.log
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// Its standard input, the first time.
    pub fn input(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, LiveError> {
        self.child.try_wait().map_err(LiveError::system(format!("looking after {}", self.name)))
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus, LiveError> {
        wait_for(&format!("{} has ended", self.name.clone()), patience, || self.ended())
    }

    /// Succeeds while it runs.
    ///
    /// # Errors
    /// [`LiveError::Ended`] once it does not.
    pub fn check(&mut self) -> Result<(), LiveError> {
        let Some(status) = self.ended()? else { return Ok(()) };
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let quoted = lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n");
        Err(LiveError::Ended { name: self.name.clone(), status: status.to_string(), log: quoted })
    }

    /// Asks it to end, as Ctrl-C and service managers do.
    ///
    /// # Errors
    /// When the system does not pass the signal on.
    pub fn terminate(&mut self) -> Result<(), LiveError> {
        self.signal("-TERM")
    }

    /// Lets it stand still, until [`Self::resume`].
    ///
    /// # Errors
    /// When the system does not pass the signal on.
    pub fn pause(&mut self) -> Result<(), LiveError> {
        self.signal("-STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the system does not pass the signal on.
    pub fn resume(&mut self) -> Result<(), LiveError> {
        self.signal("-CONT")
    }

    fn signal(&self, name: &str) -> Result<(), LiveError> {
        let mut kill = Command::new("kill");
        kill.args([name, &self.pid().to_string()]).stderr(Stdio::null());
        kill.status().map(|_| ()).map_err(LiveError::system(format!("signalling {}", self.name)))
    }

    /// Kills it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.name, self.log());
        }
    }
}

/// A file that a program writes to; nothing when it cannot be read yet.
fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
