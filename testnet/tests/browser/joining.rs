//! The ways a tab joins the chain, as a person chooses them: all end where the natives are.

use weft_core::{chain::CHECKPOINT_INTERVAL, node::BlockView, primitives::Hash};

use weft_testnet::fixture::{address, key};

use crate::{Network, tab::Tab};

/// What the faucet gives.
const GIFT: &str = "1000";

impl Tab {
    /// Chooses a way to join, and opens the page again.
    pub(crate) async fn choose(&self, way: &str, hash: Option<&str>) {
        self.click(&format!("strategy-{way}")).await;
        if let Some(hash) = hash {
            self.fill("strategy-hash", hash).await;
        }
        self.click("strategy-save").await;
        self.shows("[data-testid=\"strategy-result\"][data-state=\"done\"]").await;
        self.client().refresh().await.unwrap();
        self.shows(&format!("[data-testid=\"strategy\"][data-strategy^=\"{way}\"]")).await;
    }

    /// The finalised block it shows, once that is at `height` or above.
    pub(crate) async fn finalised(&self, height: u64) -> (u64, Hash) {
        let element = "document.querySelector('[data-testid=\"finalised\"]').dataset";
        let shown = format!("+{element}.height >= {height} && [{element}.height, {element}.hash]");
        let shown = self.until(&format!("height {height} is final"), &shown).await;
        (shown[0].as_str().unwrap().parse().unwrap(), shown[1].as_str().unwrap().parse().unwrap())
    }

    /// The head it shows and the state root after it.
    async fn head(&self) -> (Hash, Hash) {
        let full =
            |id: &str| format!("document.querySelector('[data-testid=\"{id}\"] [data-full]').dataset.full");
        let shown =
            self.until("head and root", &format!("[{}, {}]", full("head-hash"), full("state-root"))).await;
        (shown[0].as_str().unwrap().parse().unwrap(), shown[1].as_str().unwrap().parse().unwrap())
    }

    async fn joined_at(&self) -> u64 {
        self.attribute("ground", "data-joined-at").await.parse().unwrap()
    }
}

impl Network {
    /// Whether the tab has the same chain as the natives, with the same state.
    async fn agrees_with(&self, tab: &Tab, finalised: u64) {
        let (height, hash) = tab.finalised(finalised).await;
        assert_eq!(self.relay.block(height).unwrap().summary.hash, hash);
        tab.follows(self.relay.height().unwrap()).await;
        let (head, root) = tab.head().await;
        let block: BlockView = self.relay.ask("weft_block", serde_json::json!([head])).unwrap();
        assert_eq!(block.state_root, root);
        tab.shows("[data-testid=\"verified\"][data-verified=\"executed\"]").await;
        tab.shows(&format!("[data-testid=\"balance\"][data-amount=\"{GIFT}\"]")).await;
        let marked = "[...document.querySelectorAll('[data-testid=\"block\"]')].every(block => (block.dataset.final === 'true') \
                      === (+block.dataset.height <= +document.querySelector('[data-testid=\"finalised\"]').dataset.height))";
        tab.until("what is final is marked, and nothing else", marked).await;
        assert_ne!(head, hash);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_joins_by_proof_or_by_execution_ends_where_the_natives_are() {
    let mut network = Network::start();
    network.relay.finalise(CHECKPOINT_INTERVAL).unwrap();
    // Unless the person chooses otherwise a tab takes over the state of a finalised block.
    let tab = network.tab().await;
    assert_eq!(tab.attribute("strategy", "data-strategy").await, "snap");
    let joined_at = tab.joined_at().await;
    assert!(joined_at >= CHECKPOINT_INTERVAL, "joined at {joined_at}");
    tab.click("faucet").await;
    tab.shows("[data-testid=\"faucet-result\"][data-state=\"done\"]").await;
    let paid = network.relay.height().unwrap();
    network.agrees_with(&tab, joined_at).await;
    let owner = tab.address().await;

    tab.choose("light", None).await;
    network.relay.finalise(paid).unwrap();
    let (height, hash) = tab.finalised(paid).await;
    assert_eq!(network.relay.block(height).unwrap().summary.hash, hash);
    tab.shows("[data-testid=\"sync-state\"][data-phase=\"light\"]").await;
    tab.shows("[data-testid=\"verified\"][data-verified=\"proven\"]").await;
    tab.shows(&format!("[data-testid=\"balance\"][data-amount=\"{GIFT}\"]")).await;
    assert_eq!(tab.address().await, owner);
    assert_eq!(network.relay.account(&owner.parse().unwrap()).unwrap().balance.to_string(), GIFT);
    // Opened again it goes on from the last header it knows to be final.
    tab.client().refresh().await.unwrap();
    assert!(tab.opened_at().await >= paid);
    tab.shows("[data-testid=\"verified\"][data-verified=\"proven\"]").await;

    tab.choose("full", None).await;
    network.agrees_with(&tab, paid).await;
    assert_eq!(tab.joined_at().await, 0);
    assert_eq!(tab.address().await, owner);

    for way in ["warp", "fast"] {
        tab.choose(way, None).await;
        network.agrees_with(&tab, paid).await;
        assert!(tab.joined_at().await >= CHECKPOINT_INTERVAL, "{way}");
    }

    let anchor = network.relay.block(CHECKPOINT_INTERVAL).unwrap().summary.hash;
    tab.choose("checkpoint", Some(&anchor.to_string())).await;
    network.agrees_with(&tab, paid).await;
    assert!(tab.joined_at().await >= CHECKPOINT_INTERVAL);
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_light_tab_pays_and_finds_its_payment_by_proof() {
    let mut network = Network::start();
    network.relay.finalise(CHECKPOINT_INTERVAL).unwrap();
    let tab = network.tab().await;
    tab.choose("light", None).await;
    tab.shows("[data-testid=\"verified\"][data-verified=\"proven\"]").await;
    tab.click("faucet").await;
    tab.shows("[data-testid=\"faucet-result\"][data-state=\"done\"]").await;
    tab.shows(&format!("[data-testid=\"balance\"][data-amount=\"{GIFT}\"]")).await;
    tab.fill("send-to", &address(&key("payee", 0)).to_string()).await;
    tab.fill("send-amount", "123").await;
    tab.click("send-submit").await;
    let done = tab.shows("[data-testid=\"send-result\"][data-state=\"done\"]").await;
    let id = done.attr("data-transaction").await.unwrap().unwrap();
    assert_eq!(network.relay.account(&address(&key("payee", 0))).unwrap().balance.0, 123);
    tab.fill("lookup-id", &id).await;
    tab.click("lookup").await;
    tab.shows("[data-testid=\"lookup-result\"][data-state=\"proven\"]").await;
    tab.fill("lookup-id", &"0".repeat(64)).await;
    tab.click("lookup").await;
    tab.shows("[data-testid=\"lookup-result\"][data-state=\"refused\"]").await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_none_is_refused_and_nothing_changes() {
    let network = Network::start();
    let tab = network.tab().await;
    for wrong in ["12", "checkpoint", &"0".repeat(64), &"g".repeat(64)] {
        tab.click("strategy-checkpoint").await;
        tab.fill("strategy-hash", wrong).await;
        tab.click("strategy-save").await;
        tab.shows("[data-testid=\"strategy-result\"][data-state=\"refused\"]").await;
        assert!(tab.text("strategy-result").await.contains("hash"), "{wrong}");
    }
    tab.client().refresh().await.unwrap();
    assert_eq!(tab.attribute("strategy", "data-strategy").await, "snap");
    tab.close().await;
}
