//! Whom a tab begins with: a name that it is told, and whoever registered with its relay.

use weft_testnet::live::{NameServer, NodeOptions, Process};

use crate::Network;

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_is_told_a_name_finds_whom_it_stands_for() {
    let network = Network::start();
    let names = NameServer::start().unwrap();
    let options = NodeOptions {
        listen: vec!["/ip4/127.0.0.1/tcp/0/ws".to_owned()],
        bootstrap: network.relay.tcp_addresses(),
        ..NodeOptions::default()
    };
    let named = network.chain.node("named", &options).unwrap();
    let records: Vec<_> = named.addresses("/ws").iter().map(|address| format!("dnsaddr={address}")).collect();
    assert!(!records.is_empty());
    names.set("_dnsaddr.seeds.example", records);
    let tab = network.tab().await;
    // What is none is refused, and nothing is kept of it.
    tab.fill("begin-peers", "/ip4/127.0.0.1/tcp/1").await;
    tab.click("begin-save").await;
    tab.shows("[data-testid=\"begin-result\"][data-state=\"refused\"]").await;

    tab.fill("begin-peers", "/dnsaddr/seeds.example").await;
    tab.fill("begin-resolver", &names.url()).await;
    tab.click("begin-save").await;
    tab.shows("[data-testid=\"begin-result\"][data-state=\"done\"]").await;
    tab.client().refresh().await.unwrap();
    let found = format!(
        "[...document.querySelectorAll('[data-testid=\"peer\"]')].some(peer => peer.dataset.peer === '{}' \
         && peer.querySelector('[data-testid=\"peer-found\"]').textContent.includes('dns'))",
        named.peer()
    );
    tab.until("a peer that the DNS names is there", &found).await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_finds_a_native_that_only_registered_with_the_relay() {
    let network = Network::start();
    let options = NodeOptions {
        listen: vec!["/ip4/127.0.0.1/tcp/0/ws".to_owned()],
        bootstrap: network.relay.tcp_addresses(),
        ..NodeOptions::default()
    };
    let mut command = network.chain.node_command("registered", &options);
    command.args(["--no-exchange", "--no-dht"]);
    let native = Process::start_ready("registered", command, network.chain.dir()).unwrap();
    let tab = network.tab().await;
    let found = format!(
        "[...document.querySelectorAll('[data-testid=\"peer\"]')].some(peer => peer.dataset.peer === '{}' \
         && peer.querySelector('[data-testid=\"peer-found\"]').textContent.includes('rendezvous'))",
        native.peer()
    );
    tab.until("a peer that registered with the relay is there", &found).await;
    tab.close().await;
}
