//! What a tab stores of its chain, and what it finds again.

use serde_json::{Value, json};

use crate::{Network, tab::Tab};

impl Network {
    /// Waits until natives and the tab are so many blocks further.
    async fn grow(&self, tab: &Tab, blocks: u64) -> u64 {
        let height = self.relay.height().unwrap() + blocks;
        tab.follows(height).await;
        height
    }
}

/// Makes a request of IndexedDB in the page that is open, and waits for its result.
pub(crate) async fn indexed(tab: &Tab, script: &str) -> Value {
    let whole = format!(
        "const done = arguments[0]; const fail = error => done('failed: ' + error); \
         const open = name => new Promise((yes, no) => {{ const r = indexedDB.open(name); r.onsuccess = () => yes(r.result); r.onerror = () => no(r.error); }}); \
         const ended = r => new Promise((yes, no) => {{ r.onsuccess = () => yes(r.result); r.onerror = () => no(r.error); }}); \
         (async () => {{ {script} }})().then(done, fail);"
    );
    tab.client().execute_async(&whole, Vec::new()).await.unwrap()
}

/// Finds the name of the database that holds the chain.
pub(crate) const CHAIN: &str =
    "const name = (await indexedDB.databases()).map(d => d.name).find(n => n.startsWith('weft-chain-'));";

#[tokio::test(flavor = "multi_thread")]
async fn a_reloaded_tab_goes_on_from_its_stored_height() {
    let network = Network::start();
    let tab = network.tab().await;
    assert_eq!(tab.opened_at().await, 0, "there was nothing yet");
    let height = network.grow(&tab, 6).await;
    tab.client().refresh().await.unwrap();
    let opened_at = tab.opened_at().await;
    // What was written in the last moment before may be lost; a second later at most it is kept.
    assert!(opened_at + 3 >= height, "it followed at {height} and was opened again at {opened_at}");
    network.grow(&tab, 2).await;
    assert!(tab.debug().await["marks"]["stored chain loaded"].is_number());
    let alarms = tab.client().find_all(fantoccini::Locator::Css("[data-testid=\"alarm\"]")).await.unwrap();
    assert!(alarms.is_empty(), "a tab that keeps its chain has nothing to complain about");
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_is_killed_goes_on_from_what_it_had_stored() {
    let network = Network::start();
    let mut tab = network.tab().await;
    let owner = (tab.peer().await, tab.address().await);
    let mut stored = 0;
    for _ in 0..3 {
        let height = network.grow(&tab, 4).await;
        let profile = tab.kill().await;
        tab = network.driver.open_in(profile, &network.url()).await;
        let opened_at = tab.opened_at().await;
        assert!(opened_at > stored, "opened at {opened_at} after {stored}");
        assert!(opened_at + 3 >= height, "it followed at {height} and was opened again at {opened_at}");
        stored = opened_at;
        network.grow(&tab, 1).await;
        assert_eq!((tab.peer().await, tab.address().await), owner);
    }
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_tab_keeps_nothing() {
    let network = Network::start();
    let tab = network.tab().await;
    let opened = tab.client().new_window(true).await.unwrap();
    tab.client().switch_to_window(opened.handle).await.unwrap();
    tab.client().goto(&network.url()).await.unwrap();
    network.grow(&tab, 1).await;
    tab.shows("[data-testid=\"guest-notice\"]").await;
    tab.shows("[data-testid=\"storage\"][data-opened-at=\"\"]").await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_said_and_begun_anew_with_the_same_keys() {
    let network = Network::start();
    let tab = network.tab().await;
    let owner = (tab.peer().await, tab.address().await);
    network.grow(&tab, 3).await;
    // Another page of the same origin, so that nobody has the database open.
    tab.client().goto(&format!("{}genesis.json", network.url())).await.unwrap();
    let damage = format!(
        "{CHAIN} const db = await open(name); \
         const journal = db.transaction('journal', 'readwrite').objectStore('journal'); \
         const key = (await ended(journal.getAllKeys()))[0]; const value = await ended(journal.get(key)); \
         value[value.length - 1] ^= 1; await ended(journal.put(value, key)); db.close(); return 'done';"
    );
    assert_eq!(indexed(&tab, &damage).await, "done");
    tab.client().goto(&network.url()).await.unwrap();
    assert_eq!(tab.opened_at().await, 0, "it starts over");
    let said = "[...document.querySelectorAll('[data-testid=\"alarm\"]')].some(alarm => alarm.textContent.includes('starts over'))";
    tab.until("the person is told", said).await;
    network.grow(&tab, 1).await;
    assert_eq!((tab.peer().await, tab.address().await), owner);
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_refuses_to_store_is_said() {
    let network = Network::start();
    let tab = network.tab().await;
    // The keys have their place; from here on the browser takes nothing more.
    let refuse = json!({
        "source": "const put = IDBObjectStore.prototype.put; IDBObjectStore.prototype.put = function (...rest) { \
                   if (this.transaction.db.name.startsWith('weft-chain-')) throw new DOMException('no room is left', 'QuotaExceededError'); \
                   return put.apply(this, rest); };"
    });
    tab.devtools("Page.addScriptToEvaluateOnNewDocument", &refuse).await;
    tab.client().refresh().await.unwrap();
    let said = "[...document.querySelectorAll('[data-testid=\"alarm\"]')].some(alarm => alarm.textContent.includes('no room is left'))";
    tab.until("the person is told", said).await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_is_closed_in_the_middle_of_a_write_goes_on_from_the_one_before() {
    let network = Network::start();
    let tab = network.tab().await;
    let owner = (tab.peer().await, tab.address().await);
    // The page goes once part of a commit is given to the database, and before the rest is.
    let leave = json!({
        "source": "const put = IDBObjectStore.prototype.put; let puts = 0; IDBObjectStore.prototype.put = function (...rest) { \
                   if (!this.transaction.db.name.startsWith('weft-chain-') || !sessionStorage.getItem('leave')) return put.apply(this, rest); \
                   const request = put.apply(this, rest); \
                   if (++puts === 3) { sessionStorage.removeItem('leave'); location.href = '/genesis.json'; } \
                   return request; };"
    });
    tab.devtools("Page.addScriptToEvaluateOnNewDocument", &leave).await;
    let mut stored = 0;
    for _ in 0..3 {
        tab.client().goto(&network.url()).await.unwrap();
        let height = network.grow(&tab, 3).await;
        tab.client().execute("sessionStorage.setItem('leave', 'yes')", Vec::new()).await.unwrap();
        tab.until("the page is gone", "location.pathname === '/genesis.json'").await;
        tab.client().goto(&network.url()).await.unwrap();
        let opened_at = tab.opened_at().await;
        assert!(opened_at > stored, "opened at {opened_at} after {stored}");
        assert!(opened_at + 3 >= height, "it followed at {height} and was opened again at {opened_at}");
        stored = opened_at;
        network.grow(&tab, 1).await;
        assert_eq!((tab.peer().await, tab.address().await), owner);
        let alarms =
            tab.client().find_all(fantoccini::Locator::Css("[data-testid=\"alarm\"]")).await.unwrap();
        assert!(alarms.is_empty(), "nothing is lost or damaged");
    }
    tab.close().await;
}
