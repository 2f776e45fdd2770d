//! What a person sees and does in a tab.

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use fantoccini::{Client, Locator, elements::Element};
use serde_json::{Value, json};
use weft_testnet::live::{self, PATIENCE};

/// How often the page is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What starts the browsers.
pub(crate) struct Driver {
    driver: live::Driver,
    tabs: AtomicUsize,
}

impl Driver {
    pub(crate) fn start(dir: &Path) -> Self {
        Self { driver: live::Driver::start(dir).unwrap(), tabs: AtomicUsize::new(0) }
    }

    /// Opens `url` in a browser with a profile of its own.
    pub(crate) async fn open(&self, url: &str) -> Tab {
        let number = self.tabs.fetch_add(1, Ordering::Relaxed);
        self.open_in(format!("profile-{number}"), url).await
    }

    /// Opens `url` in a browser with the profile of this name, which no other browser has open.
    pub(crate) async fn open_in(&self, profile: String, url: &str) -> Tab {
        self.open_with(profile, url, &[]).await
    }

    /// The same in a browser that is started with further arguments.
    pub(crate) async fn open_with(&self, profile: String, url: &str, arguments: &[String]) -> Tab {
        Tab { tab: self.driver.open(&profile, url, arguments).await.unwrap(), profile }
    }

    /// The same in a network of the test's own, where `program` starts the browser.
    pub(crate) async fn open_through(&self, program: &Path, url: &str, arguments: &[String]) -> Tab {
        let profile = format!("profile-{}", self.tabs.fetch_add(1, Ordering::Relaxed));
        Tab { tab: self.driver.open_through(program, &profile, url, arguments).await.unwrap(), profile }
    }
}

/// One tab.
pub(crate) struct Tab {
    tab: live::Tab,
    profile: String,
}

impl Tab {
    /// The browser behind it.
    pub(crate) fn client(&self) -> &Client {
        self.tab.client()
    }

    /// Makes the page as large as a screen of this size, whatever the least size of a window is.
    pub(crate) async fn resize(&self, width: u32, height: u32, mobile: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics).await;
        self.until("the page has the size", &format!("innerWidth === {width}")).await;
    }

    /// Gives the browser a command of the DevTools protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: &Value) {
        self.tab.devtools(command, parameters).await.unwrap();
    }

    /// Lets the page evaluate an expression, and returns its value.
    pub(crate) async fn evaluate(&self, expression: &str) -> Value {
        self.tab.evaluate(expression).await.unwrap()
    }

    /// Waits until the expression holds in the page, and returns its value.
    pub(crate) async fn until(&self, what: &str, expression: &str) -> Value {
        self.until_within(PATIENCE, what, expression).await
    }

    /// The same for what may take longer than others.
    pub(crate) async fn until_within(&self, patience: Duration, what: &str, expression: &str) -> Value {
        let begun = Instant::now();
        loop {
            let value = self.tab.evaluate(expression).await.unwrap();
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if begun.elapsed() > patience {
                let text = self.tab.evaluate("document.body.innerText").await.unwrap();
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
        self.client().find(Locator::Css(selector)).await.unwrap()
    }

    async fn test_id(&self, id: &str) -> Element {
        self.shows(&format!("[data-testid=\"{id}\"]")).await
    }

    /// Clicks on an element. The page may grow at that moment, so that the click goes to what has taken the element's place: as a person
    /// would, it is tried again then.
    pub(crate) async fn click(&self, id: &str) {
        let watch = format!(
            "(window.weftClicked = false, \
             document.querySelector('[data-testid=\"{id}\"]')\
             .addEventListener('click', () => window.weftClicked = true, {{ capture: true, once: true }}))"
        );
        for _ in 0..10 {
            let element = self.test_id(id).await;
            self.tab.evaluate(&watch).await.unwrap();
            element.click().await.unwrap();
            if self.tab.evaluate("window.weftClicked").await.unwrap() != Value::Bool(false) {
                return;
            }
        }
        panic!("ten clicks went beside {id}");
    }

    /// What was written to the console since this was last asked.
    pub(crate) async fn console(&self) -> Vec<String> {
        self.tab.console().await.unwrap().into_iter().map(|(_, line)| line).collect()
    }

    /// What the browser kept the page from doing, as the console says.
    pub(crate) async fn refused_by_policy(&self) -> Vec<String> {
        let mut console = self.console().await;
        console.retain(|line| line.contains("Content Security Policy"));
        console
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

    /// Lets its browser stand still, until [`Self::resume`].
    pub(crate) fn pause(&self) {
        self.tab.pause().unwrap();
    }

    /// Lets its browser go on.
    pub(crate) fn resume(&self) {
        self.tab.resume().unwrap();
    }

    /// Kills the browser, as a crash or the end of the battery would. Returns the profile, to be opened again.
    pub(crate) async fn kill(self) -> String {
        self.tab.kill().await.unwrap();
        self.profile
    }

    /// Leaves; the browser ends.
    pub(crate) async fn close(self) {
        self.tab.close().await.unwrap();
    }
}
