//! Tabs that are frozen, asleep, offline or hidden for a while, and come back by themselves.

use serde_json::json;
use weft_testnet::live::{
    Chain, NodeOptions, PATIENCE, Ports, Process, RelayOptions, in_namespace, wait_for,
};

use super::{
    Network, ROOM, SLOT_MILLIS, app,
    direct::only_direct,
    tab::{Driver, Tab},
};

/// So many blocks take longer than a busy page is ever late.
const WHILE: u64 = 8_000 / SLOT_MILLIS;

async fn freeze(tab: &Tab, state: &str) {
    tab.devtools("Page.setWebLifecycleState", &json!({ "state": state })).await;
}

async fn offline(tab: &Tab, offline: bool) {
    let conditions =
        json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    tab.devtools("Network.enable", &json!({})).await;
    tab.devtools("Network.emulateNetworkConditions", &conditions).await;
}

/// Waits until the tab says that it is back, and returns for how many milliseconds it says it stood still.
async fn woke(tab: &Tab) -> u64 {
    tab.attribute("woke", "data-millis").await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_tab_says_for_how_long_it_stood_still_and_goes_on() {
    let mut network = Network::start();
    let (tab, other) = tokio::join!(network.tab(), network.tab());
    tab.reserved().await;
    tab.join(ROOM).await;
    other.join(ROOM).await;
    let height = network.relay.height().unwrap();
    freeze(&tab, "frozen").await;
    network.relay.reach(height + WHILE).unwrap();
    freeze(&tab, "active").await;
    let still = woke(&tab).await;
    assert!((5_000..120_000).contains(&still), "{still} ms");
    tab.follows(height + WHILE).await;
    tab.reserved().await;
    tab.say("back from the ice").await;
    other.hears(&tab.peer().await, "back from the ice").await;
    tab.click("woke-seen").await;
    tab.until("the notice is gone", "document.querySelector('[data-testid=\"woke\"]') === null").await;
    // Who was not frozen has nothing to say.
    other.until("the other tab ran on", "document.querySelector('[data-testid=\"woke\"]') === null").await;
    tab.close().await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_says_that_it_is_offline_and_is_back_at_once_when_the_network_is() {
    let mut network = Network::start();
    let tab = network.tab().await;
    tab.reserved().await;
    offline(&tab, true).await;
    let alarms = "[...document.querySelectorAll('[data-testid=\"alarm\"]')].some(it => it.textContent.includes('no network'))";
    tab.until("it says that there is no network", alarms).await;
    // What it was connected to is gone, and it cannot come back yet.
    network.relay.kill();
    tab.shows("[data-testid=\"connection-state\"]:not([data-state=\"connected\"])").await;
    network.relay = network.chain.relay(Some(&app()), network.ports).unwrap();
    offline(&tab, false).await;
    assert_eq!(woke(&tab).await, 0);
    tab.until("it says so no longer", &format!("!({alarms})")).await;
    let height = network.validators[0].height().unwrap();
    tab.follows(height + 2).await;
    tab.reserved().await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_whose_machine_slept_has_its_slot_again_although_the_relay_forgot_it() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let options = RelayOptions { app: Some(app()), ports: Ports::free().unwrap(), ..RelayOptions::default() };
    let relay =
        || Process::start_ready("relay", chain.relay_command("relay", &options), chain.dir()).unwrap();
    let mut first = relay();
    let mut validator = chain.validator(0, &first).unwrap();
    let driver = Driver::start(chain.dir());
    let tab = driver.open(&format!("http://127.0.0.1:{}/", options.ports.http)).await;
    tab.follows(2).await;
    tab.reserved().await;
    tab.pause();
    first.kill();
    let second = relay();
    let height = validator.height().unwrap();
    validator.reach(height + WHILE).unwrap();
    tab.resume();
    tab.follows(height + WHILE).await;
    tab.reserved().await;
    // Somebody else reaches it there, over the relay and in no other way.
    let circuit = format!("{}/p2p-circuit/p2p/{}", second.tcp_addresses()[0], tab.peer().await);
    let visitor = NodeOptions { bootstrap: vec![circuit], bootstrap_only: true, ..NodeOptions::default() };
    let mut visitor = chain.node("visitor", &visitor).unwrap();
    let peer = tab.peer().await;
    wait_for("the tab is reached through the relay", PATIENCE, || {
        visitor.check()?;
        Ok(visitor.peers()?.into_iter().find(|it| it.peer == peer && !it.links.is_empty()))
    })
    .unwrap();
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_tab_follows_the_chain_and_is_up_to_date_when_it_is_shown_again() {
    let mut network = Network::start();
    let tab = network.tab().await;
    tab.reserved().await;
    tab.join(ROOM).await;
    network.validators[0].heard(ROOM).unwrap();
    // Before the page itself hears of it.
    let watch = "window.weftSeen = [], window.addEventListener('visibilitychange', () => \
                 window.weftSeen.push([document.visibilityState, +document.querySelector('[data-testid=\"block\"]').dataset.height, \
                 document.querySelector('[data-testid=\"relay\"]').dataset.reserved]), true), true";
    tab.until("the page is watched", &format!("({watch})")).await;
    let own = tab.client().window().await.unwrap();
    let other = tab.client().new_window(true).await.unwrap();
    tab.client().switch_to_window(other.handle).await.unwrap();
    tab.devtools("Page.bringToFront", &json!({})).await;
    let height = network.relay.height().unwrap();
    network.relay.reach(height + WHILE).unwrap();
    network.validators[0].say(ROOM, "behind its back").unwrap();
    tab.client().switch_to_window(own).await.unwrap();
    tab.devtools("Page.bringToFront", &json!({})).await;
    tab.until("it was hidden and is shown", "window.weftSeen.map(it => it[0]).join() === 'hidden,visible'")
        .await;
    tab.follows(height + WHILE).await;
    let shown = tab.evaluate("window.weftSeen[1]").await;
    let back = shown[1].as_u64().unwrap();
    assert!(back > height, "it stood still while it was hidden: at {back}, and {height} when it was hidden");
    assert_eq!(shown[2], "true", "it lost its slot while it was hidden");
    tab.hears(network.validators[0].peer(), "behind its back").await;
    tab.close().await;
}

/// Leaves the app for another page of the relay's, and returns where it was and who.
async fn leave(tab: &Tab) -> (String, String) {
    let (peer, here) = (tab.peer().await, tab.client().current_url().await.unwrap());
    tab.client().goto(here.join("bootstrap.json").unwrap().as_str()).await.unwrap();
    (here.to_string(), peer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_was_left_and_is_come_back_to_is_the_same_peer_and_up_to_date() {
    let mut network = Network::start();
    let tab = network.tab().await;
    tab.follows(2).await;
    tab.reserved().await;
    let (_, peer) = leave(&tab).await;
    let height = network.relay.height().unwrap();
    network.relay.reach(height + WHILE).unwrap();
    tab.client().back().await.unwrap();
    tab.follows(height + WHILE).await;
    tab.reserved().await;
    assert_eq!(tab.peer().await, peer);
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_was_left_lends_its_identity_to_the_next_and_comes_back_as_a_guest() {
    let network = Network::start();
    let tab = network.tab().await;
    tab.follows(2).await;
    let (here, peer) = leave(&tab).await;
    let own = tab.client().window().await.unwrap();
    let other = tab.client().new_window(true).await.unwrap();
    tab.client().switch_to_window(other.handle).await.unwrap();
    tab.client().goto(&here).await.unwrap();
    tab.follows(2).await;
    assert_eq!(tab.peer().await, peer);
    tab.client().switch_to_window(own).await.unwrap();
    tab.client().back().await.unwrap();
    tab.shows("[data-testid=\"guest-notice\"]").await;
    tab.follows(2).await;
    assert_ne!(tab.peer().await, peer);
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_of_two_relays_dies_tabs_go_on_by_the_other() {
    if !in_namespace("life::when_one_of_two_relays_dies_tabs_go_on_by_the_other") {
        return;
    }
    let mut network = Network::start();
    let natives = [&network.relay, &network.validators[0]];
    let options = RelayOptions {
        ports: Ports::free().unwrap(),
        bootstrap: natives.iter().flat_map(|native| native.tcp_addresses()).collect(),
        ..RelayOptions::default()
    };
    let command = network.chain.relay_command("second", &options);
    let second = Process::start_ready("second", command, network.chain.dir()).unwrap();
    let (one, two) = tokio::join!(network.tab(), network.tab());
    let (first, other) = (one.peer().await, two.peer().await);
    for tab in [&one, &two] {
        // Nobody has told them of it but the relay that they began with.
        tab.shows(&format!("[data-testid=\"peer\"][data-peer=\"{}\"]", second.peer())).await;
        tab.join(ROOM).await;
    }
    network.validators[0].heard(ROOM).unwrap();
    only_direct(&one, &other).await;
    only_direct(&two, &first).await;
    network.relay.kill();
    let height = second.height().unwrap() + 4;
    for tab in [&one, &two] {
        tab.follows(height).await;
        tab.shows(&format!("[data-testid=\"invite-link\"][href*=\"{}\"]", second.peer())).await;
    }
    // Between themselves they need no relay; to a native there is no way but the other one.
    let native = &mut network.validators[0];
    for (tab, text) in [(&one, "by the other relay"), (&two, "so do I")] {
        tab.say(text).await;
        native.hears(ROOM, text).unwrap();
    }
    one.hears(&other, "so do I").await;
    native.say(ROOM, "and back").unwrap();
    for tab in [&one, &two] {
        tab.hears(native.peer(), "and back").await;
    }
    one.close().await;
    two.close().await;
}
