//! Tabs in headless Chromium, each in a browser of its own, driven over WebDriver.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, wd::Capabilities};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use super::{LiveError, PATIENCE, Process, namespace::is_inside, post, wait_for};

/// What every browser is started with: nothing on a screen, and nothing that leaves this machine.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
];
/// Keeps WebRTC off the network, where that is not one of the test's own; Chromium has called it by both names.
const NO_WEBRTC: [&str; 2] = [
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
];
/// Makes the driver speak with the browser through pipes in place of a port.
const PIPE: &str = "--remote-debugging-pipe";
/// How long the driver may take to end its browsers.
const GOODBYE: Duration = Duration::from_secs(5);
/// The driver, and the browsers it looks for.
const DRIVER: &str = "chromedriver";
/// What the driver says when the port that it was given for IPv6 is another's for IPv4, of which it can know nothing
/// beforehand, and how often it is started in all.
const PORT_TAKEN: &str = "Address already in use";
const DRIVER_TRIES: u32 = 5;
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// What Chromium is called on this machine, where it is on the `PATH`.
#[must_use]
pub fn chromium() -> Option<&'static str> {
    BROWSERS.into_iter().find(|name| on_path(name))
}

/// What tabs need and this machine lacks, in words.
#[must_use]
pub fn missing_for_tabs(app: &Path) -> Vec<String> {
    let mut missing = Vec::new();
    if !on_path(DRIVER) {
        missing.push(format!("there is no `{DRIVER}` on the PATH"));
    }
    if chromium().is_none() {
        missing.push("there is no Chromium on the PATH".to_owned());
    }
    if !app.join("index.html").is_file() {
        missing.push(format!("the app is not in {}: run `cargo xtask app`", app.display()));
    }
    missing
}

fn failed(what: &str) -> impl FnOnce(fantoccini::error::CmdError) -> LiveError {
    let what = what.to_owned();
    move |error| LiveError::Answer(format!("{what}: {error}"))
}

/// A running chromedriver, which starts the browsers. They end with it.
#[derive(Debug)]
pub struct Driver {
    process: Process,
    address: String,
    /// Where its browsers have their profiles.
    dir: PathBuf,
}

impl Driver {
    /// Starts one, with its log and the profiles of its browsers in `dir`.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(dir: &Path) -> Result<Self, LiveError> {
        let mut tries = 1;
        loop {
            match Self::start_once(dir) {
                Err(LiveError::Ended { log, .. }) if tries < DRIVER_TRIES && log.contains(PORT_TAKEN) => {
                    tries += 1
                }
                started => return started,
            }
        }
    }

    fn start_once(dir: &Path) -> Result<Self, LiveError> {
        let mut command = Command::new(DRIVER);
        command.arg("--port=0");
        let mut process = Process::start(DRIVER, command, dir)?;
        let port = wait_for("chromedriver says its port", PATIENCE, || {
            process.check()?;
            let lines = process.lines();
            let said = lines.iter().find(|line| line.contains("started successfully on port"));
            Ok(said.map(|line| line.chars().filter(char::is_ascii_digit).collect::<String>()))
        })?;
        Ok(Self { process, address: format!("127.0.0.1:{port}"), dir: dir.to_owned() })
    }

    /// Opens `url` in a browser with the profile of this name, which no other browser has open, and with further
    /// arguments.
    ///
    /// # Errors
    /// When the browser does not start, or the page does not load.
    pub async fn open(&self, profile: &str, url: &str, more: &[String]) -> Result<Tab, LiveError> {
        self.open_by(None, profile, url, more).await
    }

    /// The same in a browser that `program` starts, by running Chromium with its own arguments in a network of the test's own.
    /// It passes on the files that are open: the driver speaks with the browser through them, since loopback is another there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_through(
        &self,
        program: &Path,
        profile: &str,
        url: &str,
        more: &[String],
    ) -> Result<Tab, LiveError> {
        self.open_by(Some(program), profile, url, more).await
    }

    async fn open_by(
        &self,
        program: Option<&Path>,
        profile: &str,
        url: &str,
        more: &[String],
    ) -> Result<Tab, LiveError> {
        let profile = self.dir.join(profile);
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).into();
        if program.is_some() {
            arguments.push(PIPE.to_owned());
        } else if !is_inside() {
            arguments.extend(NO_WEBRTC.map(str::to_owned));
        }
        arguments.push(user_data_dir(&profile));
        arguments.extend_from_slice(more);
        let mut options = json!({ "args": arguments });
        if let Some(program) = program {
            options["binary"] = json!(program);
        }
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".into(), options);
        capabilities.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://{}", self.address))
            .await
            .map_err(|error| LiveError::Answer(format!("Chromium does not start: {error}")))?;
        client.goto(url).await.map_err(failed("opening the page"))?;
        Ok(Tab { client, driver: self.address.clone(), profile })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Ends the browsers of sessions that were left open; a killed driver would leave them behind.
        let _ = self.process.terminate();
        let _ = self.process.wait(GOODBYE);
        let mark = user_data_dir(&self.dir);
        let left = browsers(|argument| argument.starts_with(&mark));
        if !left.is_empty() {
            // They may have ended since.
            let _ = signal("-KILL", &left);
        }
    }
}

fn user_data_dir(profile: &Path) -> String {
    format!("--user-data-dir={}", profile.display())
}

/// The processes with an argument that suits, and all that they have started.
fn browsers(suits: impl Fn(&str) -> bool) -> Vec<String> {
    let (mut pids, mut others) = (BTreeSet::new(), Vec::new());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        let Ok(command) = fs::read_to_string(entry.path().join("cmdline")) else { continue };
        if command.split(['\0', ' ']).any(&suits) {
            pids.insert(pid);
        } else if let Some(parent) = parent(&entry.path()) {
            others.push((pid, parent));
        }
    }
    while let Some(at) = others.iter().position(|(_, parent)| pids.contains(parent)) {
        pids.insert(others.swap_remove(at).0);
    }
    pids.into_iter().collect()
}

/// Who started a process: the second field after its name, which ends with a bracket and may hold anything.
fn parent(process: &Path) -> Option<String> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1).map(str::to_owned)
}

fn signal(name: &str, pids: &[String]) -> Result<(), LiveError> {
    let mut kill = Command::new("kill");
    kill.arg(name).args(pids).stderr(std::process::Stdio::null());
    kill.status().map(|_| ()).map_err(LiveError::system("signalling a browser"))
}

/// Sends a signal, such as `-STOP` or `-CONT`, to the programs that have this argument and to all that they have started.
///
/// # Errors
/// When the system does not pass it on.
pub fn signal_all(name: &str, argument: &str) -> Result<(), LiveError> {
    signal(name, &browsers(|it| it == argument))
}

/// One tab, in a browser of its own.
#[derive(Debug)]
pub struct Tab {
    client: Client,
    driver: String,
    profile: PathBuf,
}

impl Tab {
    /// The browser behind it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The value of a JavaScript expression in the page; null where it throws.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn evaluate(&self, expression: &str) -> Result<Value, LiveError> {
        let script = format!("try {{ return {expression}; }} catch (error) {{ return null; }}");
        self.client.execute(&script, Vec::new()).await.map_err(failed("asking the page"))
    }

    /// Gives the browser a command of the DevTools protocol.
    ///
    /// # Errors
    /// When it refuses.
    pub async fn devtools(&self, command: &str, parameters: &Value) -> Result<(), LiveError> {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await.map(|_| ())
    }

    /// What was written to its console since this was last asked: when, in milliseconds since the Unix epoch, and what.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn console(&self) -> Result<Vec<(u64, String)>, LiveError> {
        let answer = self.post("se/log", &json!({ "type": "browser" })).await?;
        let entries = answer.as_array().into_iter().flatten();
        let entry =
            |entry: &Value| Some((entry["timestamp"].as_u64()?, entry["message"].as_str()?.to_owned()));
        Ok(entries.filter_map(entry).collect())
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, LiveError> {
        let session = self.client.session_id().await.map_err(failed("asking the driver"))?;
        let path = format!("/session/{}/{path}", session.unwrap_or_default());
        let (status, answer) = post(&self.driver, &path, "application/json", body.to_string().as_bytes())?;
        if status != 200 {
            return Err(LiveError::Answer(format!("the driver refused {path}: {answer}")));
        }
        let mut answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        Ok(answer["value"].take())
    }

    fn pids(&self) -> Vec<String> {
        let argument = user_data_dir(&self.profile);
        browsers(|word| word == argument)
    }

    /// Lets all of its browser stand still, until [`Self::resume`].
    ///
    /// # Errors
    /// When the system does not pass the signal on.
    pub fn pause(&self) -> Result<(), LiveError> {
        signal("-STOP", &self.pids())
    }

    /// Lets its browser go on.
    ///
    /// # Errors
    /// When the system does not pass the signal on.
    pub fn resume(&self) -> Result<(), LiveError> {
        signal("-CONT", &self.pids())
    }

    /// Kills the browser, as a crash or the end of the battery would. Its profile can be opened again.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn kill(self) -> Result<(), LiveError> {
        let pids = self.pids();
        if pids.is_empty() {
            return Err(LiveError::Answer(format!("no browser has {}", self.profile.display())));
        }
        signal("-KILL", &pids)?;
        wait_for("the browser is gone", PATIENCE, || {
            Ok(pids.iter().all(|pid| !Path::new("/proc").join(pid).join("exe").exists()).then_some(()))
        })?;
        // Nothing to end any more, which is an error to the driver.
        let _ = self.client.close().await;
        Ok(())
    }

    /// Leaves; the browser ends. Its profile can be opened again.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn close(self) -> Result<(), LiveError> {
        self.client.close().await.map_err(failed("closing the tab"))
    }
}
