//! How a tab stores its keys, and what it does when it cannot.

use serde_json::json;

use crate::{
    Network,
    storage::indexed,
    tab::{Driver, Tab},
};

/// Opens the rows of the keys. Whoever can run scripts in the page can have them opened; nobody can take the key along.
const ROWS: &str = "const db = await open('weft'); \
    const rows = () => db.transaction('identity', 'readwrite').objectStore('identity'); \
    const keys = await ended(rows().get('keys')), seal = await ended(rows().get('seal')); ";

async fn who(tab: &Tab) -> (String, String) {
    (tab.peer().await, tab.address().await)
}

/// The stored form's version and length, whether the page may export what seals it, and whether it can.
async fn stored(tab: &Tab) -> serde_json::Value {
    let script = format!(
        "{ROWS} db.close(); const exported = seal && await crypto.subtle.exportKey('raw', seal).then(() => true, () => false); \
         return [keys[0], keys.length, seal && seal.extractable, exported];"
    );
    indexed(tab, &script).await
}

impl Driver {
    /// Opens a page of the app's server that is not the app, so that nobody has the keys.
    async fn beside(&self, network: &Network) -> Tab {
        self.open(&format!("{}genesis.json", network.url())).await
    }
}

async fn leave(tab: &Tab, network: &Network) {
    tab.client().goto(&format!("{}genesis.json", network.url())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_stores_its_keys_sealed_and_replaces_none_that_it_cannot_open() {
    let network = Network::start();
    let tab = network.tab().await;
    let owner = who(&tab).await;
    assert_eq!(stored(&tab).await, json!([2, 93, false, false]));
    tab.client().refresh().await.unwrap();
    assert_eq!(who(&tab).await, owner);

    // As an earlier version of the app stored them.
    leave(&tab, &network).await;
    let plain = format!(
        "{ROWS} const additionalData = new TextEncoder().encode('weft/identity/2'); \
         const way = {{ name: 'AES-GCM', iv: keys.slice(1, 13), additionalData }}; \
         const seeds = new Uint8Array(await crypto.subtle.decrypt(way, seal, keys.slice(13))); \
         await ended(rows().put(new Uint8Array([1, ...seeds]), 'keys')); await ended(rows().delete('seal')); db.close(); \
         return seeds.length;"
    );
    assert_eq!(indexed(&tab, &plain).await, 64);
    tab.client().goto(&network.url()).await.unwrap();
    assert_eq!(who(&tab).await, owner);
    assert_eq!(stored(&tab).await, json!([2, 93, false, false]));

    // What sealed them is lost.
    leave(&tab, &network).await;
    let lose = format!("{ROWS} await ended(rows().delete('seal')); db.close(); return 'done';");
    assert_eq!(indexed(&tab, &lose).await, "done");
    tab.client().goto(&network.url()).await.unwrap();
    let said =
        "document.querySelector('[data-testid=\"guest-notice\"]').textContent.includes('left untouched')";
    tab.until("the person is told that the keys cannot be read", said).await;
    assert_ne!(who(&tab).await, owner);
    assert_eq!(stored(&tab).await, json!([2, 93, null, null]));
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_browser_cannot_encrypt_the_person_is_told_until_it_can() {
    const EXPOSED: &str = "[...document.querySelectorAll('[data-testid=\"alarm\"]')].some(alarm => alarm.textContent.includes('cannot encrypt your keys'))";
    let network = Network::start();
    let tab = network.driver.beside(&network).await;
    let without = json!({
        "source": "if (location.search === '?without-crypto') Object.defineProperty(crypto, 'subtle', { value: undefined });"
    });
    tab.devtools("Page.addScriptToEvaluateOnNewDocument", &without).await;
    tab.client().goto(&format!("{}?without-crypto", network.url())).await.unwrap();
    tab.until("the person is told", EXPOSED).await;
    let owner = who(&tab).await;
    assert_eq!(stored(&tab).await, json!([1, 65, null, null]));
    tab.client().goto(&network.url()).await.unwrap();
    assert_eq!(who(&tab).await, owner);
    assert_eq!(stored(&tab).await, json!([2, 93, false, false]));
    tab.until("there is nothing to tell any more", &format!("!({EXPOSED})")).await;
    tab.close().await;
}

/// What a page that is slow to leave does: it lets go of the lock when the next one has been there for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_reloaded_tab_waits_for_what_was_its_own() {
    let network = Network::start();
    let tab = network.tab().await;
    let owner = who(&tab).await;
    let own = tab.client().window().await.unwrap();
    let beside = tab.client().new_window(true).await.unwrap().handle;
    tab.client().switch_to_window(beside.clone()).await.unwrap();
    leave(&tab, &network).await;
    // Granted once the tab has let go, and before it asks again.
    let hold = "navigator.locks.request('weft', () => new Promise(done => setTimeout(done, 3000))).then(() => { window.over = true; }); \
                return (await navigator.locks.query()).pending.length;";
    assert_eq!(indexed(&tab, hold).await, 1);
    tab.client().switch_to_window(own.clone()).await.unwrap();
    tab.client().refresh().await.unwrap();
    assert_eq!(who(&tab).await, owner);
    tab.client().switch_to_window(beside).await.unwrap();
    tab.until("the other had it in between", "window.over").await;
    tab.client().close_window().await.unwrap();
    tab.client().switch_to_window(own).await.unwrap();
    tab.close().await;
}
