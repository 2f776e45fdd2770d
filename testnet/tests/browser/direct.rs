//! Tabs that reach each other directly.

use std::path::Path;

use weft_testnet::live::{get, in_namespace};

use super::{Network, ROOM, Tab};

/// What a page says of how many payments wait.
pub(crate) const PENDING: &str = "document.querySelector('[data-testid=\"mempool-pending\"]').textContent";

/// Waits until a tab shows a connection to this peer that is as described.
async fn linked(tab: &Tab, peer: &str, state: &str, transport: &str) {
    let link = format!(
        "[data-testid=\"peer\"][data-peer=\"{peer}\"] \
         [data-testid=\"link\"][data-state=\"{state}\"][data-transport=\"{transport}\"]"
    );
    tab.shows(&link).await;
}

/// Waits until the only connection to this peer is a direct one.
pub(crate) async fn only_direct(tab: &Tab, peer: &str) {
    linked(tab, peer, "direct", "webrtc").await;
    let links = format!(
        "[...document.querySelectorAll('[data-testid=\"peer\"][data-peer=\"{peer}\"] [data-testid=\"link\"]')]"
    );
    let alone = format!("{links}.length === 1 && {links}[0].dataset.state === 'direct'");
    tab.until("the circuit is closed", &alone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_of_one_relay_reach_each_other_directly_and_go_on_without_it() {
    if !in_namespace("direct::two_tabs_of_one_relay_reach_each_other_directly_and_go_on_without_it") {
        return;
    }
    let mut network = Network::start();
    let (one, two) = tokio::join!(network.tab(), network.tab());
    let (first, second) = (one.peer().await, two.peer().await);
    one.join(ROOM).await;
    two.join(ROOM).await;
    only_direct(&one, &second).await;
    only_direct(&two, &first).await;
    let latency = format!(
        "document.querySelector('[data-testid=\"peer\"][data-peer=\"{second}\"] [data-testid=\"peer-latency\"]')\
         .textContent.endsWith(' ms')"
    );
    one.until("it is shown how long a word takes", &latency).await;
    // Both asked the relay, and nobody else, from where they are seen.
    let (_, _, metrics) = get(network.relay.rpc_address(), "/metrics").unwrap();
    let answers = metrics.lines().find_map(|line| line.strip_prefix("weft_stun_answers_total ")).unwrap();
    assert!(answers.parse::<f64>().unwrap() >= 2.0, "{answers}");
    // Pictures of it, to be looked at.
    let pictures = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, width, height) in [("direct", 1280, 920), ("direct-phone", 400, 844)] {
        let phone = width < 600;
        one.resize(width, height, phone).await;
        if phone {
            one.click("section-network").await;
        }
        one.until(
            "nothing is wider than the page",
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth \
             && [...document.querySelectorAll('.card')].every(card => card.scrollWidth <= card.clientWidth)",
        )
        .await;
        let picture = one.client().screenshot().await.unwrap();
        std::fs::write(pictures.join(format!("{name}.png")), picture).unwrap();
    }
    one.resize(1280, 900, false).await;

    // The second stands still while the chain grows, and nobody but the first can tell it of that.
    two.pause();
    let height = network.relay.height().unwrap() + 4;
    one.follows(height).await;
    network.relay.kill();
    two.resume();
    two.follows(height).await;

    one.say("without a relay").await;
    two.hears(&first, "without a relay").await;
    two.say("and back").await;
    one.hears(&second, "and back").await;
    // A payment reaches the other's pool, though no block will hold it.
    assert_eq!(two.evaluate(PENDING).await, "0");
    one.click("faucet").await;
    two.until("the payment is in the other's pool", &format!("{PENDING} === '1'")).await;
    only_direct(&one, &second).await;
    only_direct(&two, &first).await;
    one.close().await;
    two.close().await;
}
