//! A tab in headless Chromium, driven over WebDriver, and what a person sees and does in it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element, wd::Capabilities};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use weft_testnet::live::{PATIENCE, Process, post, wait_for};

/// How often the page is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A running chromedriver, which starts the browsers.
pub(crate) struct Driver {
    process: Process,
    address: String,
    /// Where profiles go. They are removed with it, once the browsers are gone.
    dir: PathBuf,
    tabs: AtomicUsize,
}

impl Driver {
    pub(crate) fn start(dir: &Path) -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0");
        let mut process = Process::start("chromedriver", command, dir).unwrap();
        let port = wait_for("chromedriver says its port", PATIENCE, || {
            process.check()?;
            let lines = process.lines();
            let said = lines.iter().find(|line| line.contains("started successfully on port"));
            Ok(said.map(|line| line.chars().filter(char::is_ascii_digit).collect::<String>()))
        });
        Self {
            process,
            address: format!("127.0.0.1:{}", port.unwrap()),
            dir: dir.to_owned(),
            tabs: AtomicUsize::new(0),
        }
    }

    /// Opens `url` in a browser with a profile of its own.
    pub(crate) async fn open(&self, url: &str) -> Tab {
        let number = self.tabs.fetch_add(1, Ordering::Relaxed);
        self.open_in(self.dir.join(format!("profile-{number}")), url).await
    }

    /// Opens `url` in a browser with this profile, which no other browser has open.
    pub(crate) async fn open_in(&self, profile: PathBuf, url: &str) -> Tab {
        let mut arguments: Vec<String> = [
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
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--user-data-dir={}", profile.display()));
        let mut capabilities = Capabilities::new();
        capabilities.insert("goog:chromeOptions".into(), json!({ "args": arguments }));
        capabilities.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://{}", self.address))
            .await;
        let client = client.unwrap();
        client.goto(url).await.unwrap();
        Tab { client, driver: self.address.clone(), profile }
    }
}

/// One tab.
pub(crate) struct Tab {
    client: Client,
    driver: String,
    profile: PathBuf,
}

impl Tab {
    /// The browser behind it.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Makes the page as large as a screen of this size, whatever the least size of a window is.
    pub(crate) async fn resize(&self, width: u32, height: u32, mobile: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics).await;
        self.until("the page has the size", &format!("innerWidth === {width}")).await;
    }

    /// Gives the browser a command of the DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: &Value) {
        let session = self.client.session_id().await.unwrap().unwrap();
        let command = json!({ "cmd": command, "params": parameters });
        let path = format!("/session/{session}/goog/cdp/execute");
        let answer = post(&self.driver, &path, "application/json", command.to_string().as_bytes()).unwrap();
        assert_eq!(answer.0, 200, "{}", answer.1);
    }

    /// Waits until the expression holds in the page, and returns its value.
    pub(crate) async fn until(&self, what: &str, expression: &str) -> Value {
        self.until_within(PATIENCE, what, expression).await
    }

    /// The same for what may take longer than others.
    pub(crate) async fn until_within(&self, patience: Duration, what: &str, expression: &str) -> Value {
        let script = format!("try {{ return {expression}; }} catch (error) {{ return null; }}");
        let begun = Instant::now();
        loop {
            let value = self.client.execute(&script, Vec::new()).await.unwrap();
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if begun.elapsed() > patience {
                let text = self.client.execute("return document.body.innerText", Vec::new()).await.unwrap();
                panic!("waited in vain until {what}; the page says:\n{}", text.as_str().unwrap_or_default());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The text of the first element with this test id.
    pub(crate) async fn text(&self, id: &str) -> String {
        self.test_id(id).await.text().await.unwrap()
    }

    /// The value of an attribute of the first element with this test id, once it has one.
    pub(crate) async fn attribute(&self, id: &str, name: &str) -> String {
        let expression = format!("document.querySelector('[data-testid=\"{id}\"]').getAttribute('{name}')");
        let value = self.until(&format!("{id} has {name}"), &expression).await;
        value.as_str().unwrap().to_owned()
    }

    /// Waits until an element matches.
    pub(crate) async fn shows(&self, selector: &str) -> Element {
        let found = format!("document.querySelector('{selector}') !== null");
        self.until(&format!("the page shows {selector}"), &found).await;
        self.client.find(Locator::Css(selector)).await.unwrap()
    }

    async fn test_id(&self, id: &str) -> Element {
        self.shows(&format!("[data-testid=\"{id}\"]")).await
    }

    pub(crate) async fn click(&self, id: &str) {
        self.test_id(id).await.click().await.unwrap();
    }

    /// Types over what is in a field.
    pub(crate) async fn fill(&self, id: &str, text: &str) {
        let field = self.test_id(id).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Waits until the tab follows the chain at `height` or above.
    pub(crate) async fn follows(&self, height: u64) {
        let phase = "document.querySelector('[data-testid=\"sync-state\"]').dataset.phase === 'following'";
        let at = format!(
            "Math.max(...[...document.querySelectorAll('[data-testid=\"block\"]')].map(b => +b.dataset.height)) >= {height}"
        );
        self.until(&format!("the tab follows the chain at {height}"), &format!("{phase} && {at}")).await;
    }

    /// Waits until a relay reserved a slot for the tab.
    pub(crate) async fn reserved(&self) {
        self.shows("[data-testid=\"relay\"][data-reserved=\"true\"]").await;
    }

    /// Its peer id.
    pub(crate) async fn peer(&self) -> String {
        self.attribute("peer-id", "data-full").await
    }

    /// Its account's address.
    pub(crate) async fn address(&self) -> String {
        self.attribute("address", "data-full").await
    }

    /// Joins a room and shows it.
    pub(crate) async fn join(&self, room: &str) {
        self.fill("chat-join", room).await;
        self.click("chat-join-submit").await;
        self.shows(&format!("[data-testid=\"chat-room\"][data-room=\"{room}\"]")).await;
    }

    /// Says something in the room that is shown.
    pub(crate) async fn say(&self, text: &str) {
        self.fill("chat-input", text).await;
        self.click("chat-send").await;
    }

    /// Waits until `author` is seen to have said `text` in the room that is shown.
    pub(crate) async fn hears(&self, author: &str, text: &str) {
        let said = format!(
            "[...document.querySelectorAll('[data-testid=\"chat-message\"][data-author=\"{author}\"] \
             [data-testid=\"chat-text\"]')].some(words => words.textContent === {})",
            json!(text)
        );
        self.until(&format!("the tab hears `{text}`"), &said).await;
    }

    /// What `window.weft.debug()` tells.
    pub(crate) async fn debug(&self) -> Value {
        self.until("the page can be asked", "window.weft.debug()").await
    }

    /// The height of the chain that was stored when the page was opened.
    pub(crate) async fn opened_at(&self) -> u64 {
        self.attribute("storage", "data-opened-at").await.parse().unwrap()
    }

    /// Kills the browser, as a crash or the end of the battery would. Returns the profile, to be opened again.
    pub(crate) async fn kill(self) -> PathBuf {
        let argument = format!("--user-data-dir={}", self.profile.display());
        // The browser itself first: the processes it has started go with it.
        let mut pids = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(command) = std::fs::read_to_string(entry.path().join("cmdline")) else { continue };
            let words: Vec<&str> = command.split(['\0', ' ']).collect();
            if words.contains(&argument.as_str()) && !words.iter().any(|word| word.starts_with("--type=")) {
                pids.push(entry.file_name().into_string().unwrap());
            }
        }
        assert!(!pids.is_empty(), "no browser has {argument}");
        assert!(Command::new("kill").arg("-KILL").args(&pids).status().unwrap().success());
        wait_for("the browser is gone", PATIENCE, || {
            Ok(pids.iter().all(|pid| !Path::new("/proc").join(pid).join("exe").exists()).then_some(()))
        })
        .unwrap();
        // Nothing to end any more, which is an error to the driver.
        let _ = self.client.close().await;
        self.profile
    }

    /// Leaves; the browser ends.
    pub(crate) async fn close(self) {
        self.client.close().await.unwrap();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Ends the browsers of sessions that a failed test left open; a killed driver would leave them behind.
        let _ = self.process.terminate();
        let _ = self.process.wait(Duration::from_secs(5));
    }
}
