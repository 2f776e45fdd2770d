//! Whom a tab begins with: a name that it is told, whoever registered with its relay, and those in a list from elsewhere.

use weft_testnet::live::{NameServer, NodeOptions, Ports, Process, RelayOptions};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_takes_a_list_from_elsewhere_when_it_knows_who_has_signed_it() {
    let network = Network::start();
    // Nobody knows this relay, and nobody is told of it but by its own list.
    let ports = Ports::free().unwrap();
    let options = RelayOptions { ports, bootstrap_only: true, ..RelayOptions::default() };
    let command = network.chain.relay_command("elsewhere", &options);
    let elsewhere = Process::start_ready("elsewhere", command, network.chain.dir()).unwrap();
    let url = format!("http://127.0.0.1:{}/bootstrap.json", ports.http);
    let tab = network.tab().await;

    let save = async |text: &str, state: &str| {
        tab.fill("begin-lists", text).await;
        tab.click("begin-save").await;
        tab.shows(&format!("[data-testid=\"begin-result\"][data-state=\"{state}\"]")).await;
    };
    save("file:///etc/passwd", "refused").await;
    // Without a word on who signs it, only the relay of this page is believed, wherever the list is.
    save(&url, "done").await;
    tab.client().refresh().await.unwrap();
    let refused = "[...document.querySelectorAll('[data-testid=\"alarm\"]')].some(it => it.textContent.includes('not known here'))";
    tab.until("a stranger's list is refused", refused).await;
    tab.shows("[data-testid=\"refusal\"][data-reason=\"node-list-stranger\"]").await;
    save(&format!("{url}#{}", elsewhere.peer()), "done").await;
    tab.client().refresh().await.unwrap();
    let found = format!(
        "[...document.querySelectorAll('[data-testid=\"peer\"]')].some(peer => peer.dataset.peer === '{}' \
         && peer.querySelector('[data-testid=\"peer-found\"]').textContent.includes('signed list'))",
        elsewhere.peer()
    );
    tab.until("the other relay is there", &found).await;
    assert_eq!(tab.refused_by_policy().await, Vec::<String>::new());
    tab.close().await;
}
