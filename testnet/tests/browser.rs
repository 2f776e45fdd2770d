//! Two tabs and four natives in one network: the app as people get it, in headless Chromium.
//!
//! Needs the app in `browser/dist`, Chromium and its driver, and Node with the packages of `testnet/js`; `cargo xtask test app browser` sees to all of it.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "browser/begin.rs"]
mod begin;
#[path = "browser/busy.rs"]
mod busy;
#[path = "browser/direct.rs"]
mod direct;
#[path = "browser/files.rs"]
mod files;
#[path = "browser/firefox.rs"]
mod firefox;
#[path = "browser/identity.rs"]
mod identity;
#[path = "browser/invite.rs"]
mod invite;
#[path = "browser/joining.rs"]
mod joining;
#[path = "browser/js_page.rs"]
mod js_page;
#[path = "browser/life.rs"]
mod life;
#[path = "browser/long.rs"]
mod long;
#[path = "browser/mixed.rs"]
mod mixed;
#[path = "browser/proxy.rs"]
mod proxy;
#[path = "browser/routers.rs"]
mod routers;
#[path = "browser/secure.rs"]
mod secure;
#[path = "browser/storage.rs"]
mod storage;
#[path = "nat/street.rs"]
mod street;
#[path = "browser/tab.rs"]
mod tab;
#[path = "browser/table.rs"]
mod table;
#[path = "browser/webrtc_direct.rs"]
mod webrtc_direct;
#[path = "browser/webrtc_speed.rs"]
mod webrtc_speed;

use std::path::{Path, PathBuf};

use serde_json::json;
use tab::{Driver, Tab};
use weft_core::{
    chain::{CHECKPOINT_INTERVAL, Transaction, UnsignedTransaction},
    node::MempoolView,
    primitives::{Amount, Slot},
};
use weft_testnet::{
    fixture::{LongChain, address, key},
    live::{Chain, Ports, Process},
};

const SLOT_MILLIS: u64 = 500;
const ROOM: &str = "lobby";

/// A relay that serves the app, three validators, and browsers to come.
struct Network {
    driver: Driver,
    relay: Process,
    validators: Vec<Process>,
    ports: Ports,
    chain: Chain,
}

fn app() -> PathBuf {
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("../browser/dist");
    assert!(app.join("index.html").exists(), "the app is not built: run `cargo xtask app`");
    app
}

impl Network {
    fn start() -> Self {
        Self::on(Chain::new(SLOT_MILLIS, 3).unwrap())
    }

    /// The same on another chain with three validators.
    fn on(chain: Chain) -> Self {
        let ports = Ports::free().unwrap();
        let (relay, validators) = chain.start_all(Some(&app()), ports).unwrap();
        let driver = Driver::start(chain.dir());
        Self { driver, relay, validators, ports, chain }
    }

    /// A relay that has all of a chain that was made in advance, to which nobody adds.
    fn made(made: &LongChain) -> Self {
        let chain = Chain::made(made).unwrap();
        // Beside its key.
        chain.give("relay/chain").unwrap();
        let ports = Ports::free().unwrap();
        let mut relay = chain.relay(Some(&app()), ports).unwrap();
        relay.reach(made.height().0).unwrap();
        let driver = Driver::start(chain.dir());
        Self { driver, relay, validators: Vec::new(), ports, chain }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.ports.http)
    }

    /// Opens the page in a browser of its own, and waits until it is a peer that follows the chain.
    async fn tab(&self) -> Tab {
        let tab = self.driver.open(&self.url()).await;
        tab.follows(self.relay.height().unwrap()).await;
        tab
    }

    fn natives(&mut self) -> impl Iterator<Item = &mut Process> {
        std::iter::once(&mut self.relay).chain(&mut self.validators)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_reaches_tabs_and_natives_both_ways() {
    let mut network = Network::start();
    // Not the relay: it hosts the room because its guests are in it.
    network.validators.iter().for_each(|native| native.heard(ROOM).map(|_| ()).unwrap());
    let (one, two) = tokio::join!(network.tab(), network.tab());
    let (first, second) = (one.peer().await, two.peer().await);
    assert_ne!(first, second);
    one.join(ROOM).await;
    two.join(ROOM).await;

    one.say("hello from the first tab").await;
    two.hears(&first, "hello from the first tab").await;
    for native in network.natives() {
        assert_eq!(native.hears(ROOM, "hello from the first tab").unwrap().author, first);
    }
    two.say("hello from the second tab").await;
    one.hears(&second, "hello from the second tab").await;
    // From a validator, which no tab is connected to.
    let native = &network.validators[2];
    native.say(ROOM, "hello from a validator").unwrap();
    one.hears(native.peer(), "hello from a validator").await;
    two.hears(native.peer(), "hello from a validator").await;
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_made_in_a_tab_is_in_a_block_that_every_peer_has() {
    let mut network = Network::start();
    let (payer, other) = tokio::join!(network.tab(), network.tab());
    payer.click("faucet").await;
    payer.shows("[data-testid=\"faucet-result\"][data-state=\"done\"]").await;

    let to = address(&key("payee", 0));
    payer.fill("send-to", &to.to_string()).await;
    payer.fill("send-amount", "123").await;
    payer.click("send-submit").await;
    let done = payer.shows("[data-testid=\"send-result\"][data-state=\"done\"]").await;
    let id = done.attr("data-transaction").await.unwrap().unwrap();
    let mut block = None;
    for native in network.natives() {
        let held = native.block_with(&id.parse().unwrap()).unwrap();
        assert_eq!(*block.get_or_insert(held.hash), held.hash, "one block, the same everywhere");
        assert_eq!(native.account(&to).unwrap().balance.0, 123);
    }
    let block = block.unwrap();
    for tab in [&payer, &other] {
        // A person opens the block and sees the payment.
        tab.shows(&format!("[data-testid=\"block\"][data-hash=\"{block}\"] button"))
            .await
            .click()
            .await
            .unwrap();
        tab.shows(&format!("[data-testid=\"block-details\"] [data-id=\"{id}\"][data-amount=\"123\"]")).await;
    }
    // The app needs nothing that its content security policy does not let it have.
    assert_eq!(payer.refused_by_policy().await, Vec::<String>::new());
    payer.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reloaded_tab_keeps_its_identity_and_catches_up() {
    let mut network = Network::start();
    let tab = network.tab().await;
    let before = (tab.peer().await, tab.address().await);
    tab.client().goto("about:blank").await.unwrap();
    let away = network.relay.height().unwrap() + 6;
    network.validators[0].height().unwrap();
    network.relay.reach(away).unwrap();
    tab.client().goto(&network.url()).await.unwrap();
    tab.follows(away).await;
    assert_eq!((tab.peer().await, tab.address().await), before);
    tab.client().refresh().await.unwrap();
    tab.follows(away + 1).await;
    assert_eq!((tab.peer().await, tab.address().await), before);
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tabs_come_back_by_themselves_when_the_relay_is_restarted() {
    let mut network = Network::start();
    let (one, two) = tokio::join!(network.tab(), network.tab());
    for tab in [&one, &two] {
        tab.reserved().await;
        tab.join(ROOM).await;
    }
    network.relay.kill();
    for tab in [&one, &two] {
        tab.shows("[data-testid=\"connection-state\"]:not([data-state=\"connected\"])").await;
    }
    network.relay = network.chain.relay(Some(&app()), network.ports).unwrap();
    let height = network.validators[0].height().unwrap();
    for tab in [&one, &two] {
        tab.shows("[data-testid=\"connection-state\"][data-state=\"connected\"]").await;
        tab.reserved().await;
        tab.follows(height + 2).await;
    }
    one.say("back again").await;
    two.hears(&one.peer().await, "back again").await;
    one.close().await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_goes_on_for_a_tab_when_a_validator_is_killed() {
    let mut network = Network::start();
    let tab = network.tab().await;
    network.validators[1].kill();
    let height = network.relay.height().unwrap();
    tab.follows(height + 6).await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_tab_of_one_profile_is_a_guest() {
    let network = Network::start();
    let tab = network.tab().await;
    let owner = (tab.peer().await, tab.address().await);
    let opened = tab.client().new_window(true).await.unwrap();
    tab.client().switch_to_window(opened.handle).await.unwrap();
    tab.client().goto(&network.url()).await.unwrap();
    tab.follows(network.relay.height().unwrap()).await;
    tab.shows("[data-testid=\"guest-notice\"]").await;
    let guest = (tab.peer().await, tab.address().await);
    assert_ne!(guest.0, owner.0);
    assert_ne!(guest.1, owner.1);
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_runs_on_the_main_thread_of_a_tab_that_syncs() {
    const TRANSACTIONS: u64 = 400;
    let mut network = Network::start();
    // Something to sync: a chain with payments in it.
    let mut last = None;
    for nonce in 0..TRANSACTIONS {
        let payment = network.chain.payment(address(&key("payee", nonce % 50)), 10, nonce).unwrap();
        let sent =
            weft_testnet::live::wait_for("the pool takes a payment", weft_testnet::live::PATIENCE, || {
                match network.relay.submit(&payment) {
                    Ok(id) => Ok(Some(id)),
                    Err(weft_testnet::live::LiveError::Answer(_)) => Ok(None),
                    Err(error) => Err(error),
                }
            });
        last = Some(sent.unwrap());
    }
    network.relay.block_with(&last.unwrap()).unwrap();
    let tab = network.tab().await;
    let debug = tab.debug().await;
    println!(
        "synced to {}: {} jobs in the worker, {} long tasks on the page, the longest {} ms; {}",
        network.relay.height().unwrap(),
        debug["jobs_in_worker"],
        debug["long_tasks"],
        debug["longest_task_millis"],
        debug["marks"]
    );
    assert!(debug["jobs_in_worker"].as_f64().unwrap() > 0.0, "{debug}");
    assert_eq!(debug["jobs_on_main"].as_f64(), Some(0.0), "{debug}");
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_draws_how_late_the_last_blocks_came() {
    let network = Network::start();
    let tab = network.tab().await;
    tab.follows(network.relay.height().unwrap() + 4).await;
    // A bar for each block that is listed, the newest last, as high as its part of the latest; all in the list's words.
    let drawn = "(() => { \
        const bars = [...document.querySelectorAll('[data-testid=\"arrival-delays\"] > *')]; \
        const rows = [...document.querySelectorAll('[data-testid=\"block\"]')].reverse(); \
        const known = bars.filter(bar => bar.dataset.millis).map(bar => +bar.dataset.millis).sort((a, b) => a - b); \
        const most = known.at(-1); \
        return known.length >= 4 && bars.length === rows.length \
            && bars.every((bar, at) => bar.dataset.height === rows[at].dataset.height \
                && bar.title.endsWith(rows[at].querySelector('.delay').textContent)) \
            && bars.some(bar => +bar.dataset.millis === most && bar.clientHeight === bar.parentElement.clientHeight) \
            && +document.querySelector('[data-testid=\"arrival-delays\"]').dataset.median === known[Math.floor(known.length / 2)]; \
        })()";
    tab.until("the delays are drawn", drawn).await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_draws_what_waits_by_its_fee() {
    let mut network = Network::start();
    let tab = network.tab().await;
    // Nobody proposes, so that what is sent waits.
    network.validators.iter_mut().for_each(|validator| validator.pause().unwrap());
    let payer = network.chain.key(&network.chain.faucet_key()).unwrap();
    let genesis = network.chain.hash().unwrap();
    for (nonce, times) in [64, 64, 16, 2].into_iter().enumerate() {
        let fee = Amount(times * Transaction::EMPTY_LEN as u64);
        let (from, to) = (payer.public(), address(&key("payee", 0)));
        let unsigned = UnsignedTransaction::transfer(from, to, Amount(1), fee, nonce as u64, Slot(u64::MAX));
        network.relay.submit(&unsigned.sign(&payer, &genesis)).unwrap();
    }
    let view: MempoolView = network.relay.ask("weft_mempool", json!([])).unwrap();
    let counts: Vec<usize> = view.histogram.iter().map(|bucket| bucket.count).collect();
    assert_eq!(counts.iter().sum::<usize>(), 4, "{view:?}");
    assert!(counts.iter().filter(|count| **count > 0).count() == 3, "three fees: {counts:?}");
    // A bar for each bucket, the lowest fee first, as high as its part of the bytes in the fullest.
    let most = view.histogram.iter().map(|bucket| bucket.bytes).max().unwrap();
    let parts: Vec<String> =
        view.histogram.iter().map(|bucket| format!("{}%", (bucket.bytes * 100).div_ceil(most))).collect();
    let drawn = format!(
        "(() => {{ \
            const bars = [...document.querySelectorAll('[data-testid=\"fee-histogram\"] > *')]; \
            const counts = bars.map(bar => +/: (\\d+) transaction/.exec(bar.title)[1]); \
            const parts = bars.map(bar => bar.style.getPropertyValue('--part').trim()); \
            const least = document.querySelector('[data-testid=\"fee-histogram\"]').dataset.minimum; \
            return JSON.stringify([counts, parts, +least]) === JSON.stringify({}); \
        }})()",
        json!([counts, parts, view.fees.minimum])
    );
    tab.until("the fees are drawn", &drawn).await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saving_how_a_tab_joins_is_always_answered() {
    let network = Network::start();
    // At once, before anything is known of the chain, and without a change.
    let tab = network.driver.open(&network.url()).await;
    tab.click("strategy-save").await;
    tab.shows("[data-testid=\"strategy-result\"][data-state=\"done\"]").await;
    tab.click("strategy-light").await;
    tab.click("strategy-save").await;
    tab.until(
        "it says what comes next",
        "document.querySelector('[data-testid=\"strategy-result\"]').textContent.includes('Reload')",
    )
    .await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_fits_a_desktop_and_a_phone() {
    let mut network = Network::start();
    network.relay.finalise(CHECKPOINT_INTERVAL).unwrap();
    let tab = network.tab().await;
    tab.click("faucet").await;
    tab.shows("[data-testid=\"faucet-result\"][data-state=\"done\"]").await;
    tab.join(ROOM).await;
    tab.say("Good morning from a browser tab.").await;
    network.validators[0].heard(ROOM).unwrap();
    network.validators[0].say(ROOM, "Good morning, and welcome to the chain.").unwrap();
    tab.hears(network.validators[0].peer(), "Good morning, and welcome to the chain.").await;
    // A click on a reputation says why it is so, and the list is drawn anew with every block.
    tab.click("peer-score").await;
    tab.shows("[data-testid=\"peer-deeds\"] [data-testid=\"no-deeds\"]").await;
    tab.follows(network.relay.height().unwrap() + 2).await;
    tab.shows("[data-testid=\"peer-deeds\"]").await;
    // Pictures for the README, to be copied from there.
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tab.finalised(2 * CHECKPOINT_INTERVAL).await;
    for (name, width, height) in [("app", 1280, 920), ("app-phone", 390, 844)] {
        let phone = width < 600;
        tab.resize(width, height, phone).await;
        // A desktop shows all sections at once; the one for the picture comes last.
        for section in ["network", "wallet", "chat", "chain"] {
            if phone {
                tab.click(&format!("section-{section}")).await;
            }
            tab.until(
                &format!("nothing in {section} is wider than the page"),
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth \
                 && [...document.querySelectorAll('.card')].every(card => card.scrollWidth <= card.clientWidth)",
            )
            .await;
        }
        let picture = tab.client().screenshot().await.unwrap();
        std::fs::write(pictures.join(format!("{name}.png")), picture).unwrap();
    }
    tab.close().await;
}
