//! The app in Firefox, where there is time for long tests.

use std::{
    env,
    io::Write,
    path::Path,
    process::{ChildStdin, Command},
    time::Duration,
};

use serde_json::{Value, json};
use weft_testnet::live::{PATIENCE, Process, in_namespace, signal_all, wait_for};

use super::{Network, ROOM, direct::PENDING, invite::silent};

/// How long it may take to end.
const GOODBYE: Duration = Duration::from_secs(20);
/// What it is called: Debian's, and others'.
const NAMES: [&str; 2] = ["firefox-esr", "firefox"];

/// One tab in a Firefox of its own.
struct Firefox {
    process: Process,
    /// Where it keeps its profile, which its programs were told.
    profile: String,
    /// It ends with this.
    input: Option<ChildStdin>,
    /// How many answers there were.
    answers: usize,
}

impl Drop for Firefox {
    fn drop(&mut self) {
        self.input = None;
        // What stands still does not end.
        let _ = signal_all("-CONT", &self.profile);
        // Else it is killed, and its browser is left behind.
        let _ = self.process.wait(GOODBYE);
    }
}

fn program() -> &'static str {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = |name: &&str| env::split_paths(&path).any(|dir| dir.join(name).is_file());
    NAMES.into_iter().find(found).expect("there is no Firefox on the PATH")
}

impl Firefox {
    fn open(network: &Network, name: &str, url: &str) -> Self {
        let dir = network.chain.dir();
        let mut command = Command::new("node");
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("js"));
        let profile = dir.join(format!("profile-{name}")).display().to_string();
        command.args(["firefox.mjs", program(), &profile, url]);
        let mut process = Process::start(name, command, dir).unwrap();
        let input = process.input();
        Self { process, profile, input, answers: 0 }
    }

    /// Lets it stand still, until [`Self::resume`].
    fn pause(&self) {
        signal_all("-STOP", &self.profile).unwrap();
    }

    fn resume(&self) {
        signal_all("-CONT", &self.profile).unwrap();
    }

    fn evaluate(&mut self, expression: &str) -> Value {
        writeln!(self.input.as_mut().unwrap(), "{expression}").unwrap();
        self.answers += 1;
        let (process, wanted) = (&mut self.process, self.answers);
        let line = wait_for("Firefox answers", PATIENCE, || {
            let line = process.lines().get(wanted - 1).cloned();
            if line.is_none() {
                process.check()?;
            }
            Ok(line)
        });
        serde_json::from_str(&line.unwrap()).unwrap()
    }

    /// Waits until the expression holds in the page, and returns its value.
    fn until(&mut self, what: &str, expression: &str) -> Value {
        wait_for(what, PATIENCE, || {
            let value = self.evaluate(expression);
            Ok((!matches!(value, Value::Null | Value::Bool(false))).then_some(value))
        })
        .unwrap()
    }

    fn text(&mut self, what: &str, expression: &str) -> String {
        self.until(what, expression).as_str().unwrap().to_owned()
    }

    fn fill(&mut self, id: &str, text: &str) {
        let fill = format!(
            "(() => {{ \
                const field = document.querySelector('[data-testid=\"{id}\"]'); \
                field.value = {}; \
                return field.dispatchEvent(new Event('input', {{ bubbles: true }})); \
            }})()",
            json!(text)
        );
        self.until(&format!("{id} is there"), &fill);
    }

    fn click(&mut self, id: &str) {
        let click = format!("(document.querySelector('[data-testid=\"{id}\"]').click(), true)");
        self.until(&format!("{id} is there"), &click);
    }

    /// Waits until it follows the chain at `height` or above.
    fn follows(&mut self, height: u64) {
        let follows = format!(
            "document.querySelector('[data-testid=\"sync-state\"]').dataset.phase === 'following' && \
             Math.max(...[...document.querySelectorAll('[data-testid=\"block\"]')].map(b => +b.dataset.height)) >= {height}"
        );
        self.until(&format!("the tab follows the chain at {height}"), &follows);
    }

    fn peer(&mut self) -> String {
        self.text("it has an id", "document.querySelector('[data-testid=\"peer-id\"]').dataset.full")
    }

    fn join(&mut self) {
        self.fill("chat-join", ROOM);
        self.click("chat-join-submit");
        let shown = format!("!!document.querySelector('[data-testid=\"chat-room\"][data-room=\"{ROOM}\"]')");
        self.until("the room is shown", &shown);
    }

    fn say(&mut self, text: &str) {
        self.fill("chat-input", text);
        self.click("chat-send");
    }

    fn hears(&mut self, author: &str, text: &str) {
        let said = format!(
            "[...document.querySelectorAll('[data-testid=\"chat-message\"][data-author=\"{author}\"] \
             [data-testid=\"chat-text\"]')].some(words => words.textContent === {})",
            json!(text)
        );
        self.until(&format!("the tab hears `{text}`"), &said);
    }

    /// Waits until the only connection to this peer is a direct one.
    fn only_direct(&mut self, peer: &str) {
        let alone = format!(
            "(links => links.length === 1 && links[0].dataset.state === 'direct' && links[0].dataset.transport === 'webrtc')\
             ([...document.querySelectorAll('[data-testid=\"peer\"][data-peer=\"{peer}\"] [data-testid=\"link\"]')])"
        );
        self.until("the direct connection is all there is", &alone);
    }
}

#[test]
fn two_tabs_in_firefox_reach_each_other_directly_and_go_on_without_the_relay() {
    if env::var_os("WEFT_FULL").is_none()
        || !in_namespace("firefox::two_tabs_in_firefox_reach_each_other_directly_and_go_on_without_the_relay")
    {
        return;
    }
    let mut network = silent();
    let mut one = Firefox::open(&network, "one", &network.url());
    let invitation = "document.querySelector('[data-testid=\"invite-link\"]').href";
    let invitation = one.text("the relay has a slot for it", invitation);
    let mut two = Firefox::open(&network, "two", &invitation);
    let (first, second) = (one.peer(), two.peer());
    one.only_direct(&second);
    two.only_direct(&first);
    one.join();
    two.join();
    two.follows(1);
    // The second stands still while the chain grows, and nobody but the first can tell it of that.
    two.pause();
    let height = network.relay.height().unwrap() + 4;
    one.follows(height);
    network.relay.kill();
    two.resume();
    two.follows(height);
    one.say("without a relay");
    two.hears(&first, "without a relay");
    two.say("and back");
    one.hears(&second, "and back");
    // A payment reaches the other's pool, though no block will hold it.
    assert_eq!(two.text("its pool is shown", PENDING), "0");
    one.click("faucet");
    two.until("the payment is in the other's pool", &format!("{PENDING} === '1'"));
    one.only_direct(&second);
    two.only_direct(&first);
}
