//! What a person asks of the distributed hash table in a tab, beside what files ask of it.

use libp2p::PeerId;
use weft_testnet::live::{PATIENCE, wait_for};

use super::{Network, begin::native, files::dht};

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_finds_where_a_peer_is_and_says_that_it_has_something() {
    let network = Network::start();
    let wanted = native(&network, "wanted", &[]);
    wait_for("the relay has it in its table", PATIENCE, || {
        let table = dht(&network, &network.relay, &["table"]);
        Ok(table.to_string().contains(wanted.peer()).then_some(()))
    })
    .unwrap();
    let tab = network.tab().await;
    tab.click("table-show").await;
    let known = format!("[data-testid=\"table-buckets\"] [data-full=\"{}\"]", network.relay.peer());
    tab.shows(&known).await;

    // `weft dht find-peer`: by a peer's id.
    tab.fill("table-text", wanted.peer()).await;
    tab.click("table-ask").await;
    tab.shows("[data-testid=\"table-result\"][data-state=\"found\"]").await;
    let place = wanted.addresses("/ws").remove(0);
    let place = place.split("/p2p/").next().unwrap();
    let at = tab.text("table-found").await;
    assert!(at.contains(place), "{at} is not {place}");
    tab.fill("table-text", &PeerId::random().to_string()).await;
    tab.click("table-ask").await;
    tab.shows("[data-testid=\"table-result\"][data-state=\"nobody\"]").await;

    // `weft dht provide`: by whatever names it.
    tab.fill("table-text", "a song of mine").await;
    tab.click("table-provide").await;
    tab.shows("[data-testid=\"table-result\"][data-state=\"done\"]").await;
    let peer = tab.peer().await;
    for asker in [&network.validators[0], &network.relay] {
        let said = dht(&network, asker, &["providers", "a song of mine"]);
        assert!(said.to_string().contains(&peer), "{} says {said}", asker.name());
    }
    // And nothing at all is not looked for.
    tab.fill("table-text", " ").await;
    tab.click("table-ask").await;
    tab.shows("[data-testid=\"table-result\"][data-state=\"refused\"]").await;
    tab.close().await;
}
