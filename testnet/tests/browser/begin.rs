//! How a tab finds others: each way alone, all others switched off.

use weft_core::node::Way;
use weft_testnet::live::{NameServer, NodeOptions, PATIENCE, Ports, Process, RelayOptions, wait_for};

use crate::{Network, files::dht, tab::Tab};

impl Tab {
    /// Switches all ways to find others off but these, from the next start on, and leaves the page. Whoever comes now cannot have been
    /// found in another way before.
    pub(crate) async fn only(&self, ways: &[Way]) {
        // Not under the top line, where it could not be clicked.
        self.shows("[data-testid=\"ways\"]").await;
        self.evaluate(
            "document.querySelector('[data-testid=\"ways\"]').scrollIntoView({ block: 'center' }), true",
        )
        .await;
        for way in Way::ALL {
            let id = format!("way-{way}");
            self.shows(&format!("[data-testid=\"{id}\"]")).await;
            let is_on =
                self.evaluate(&format!("document.querySelector('[data-testid=\"{id}\"]').checked")).await;
            if is_on != ways.contains(&way) {
                self.click(&id).await;
            }
        }
        self.click("ways-save").await;
        self.shows("[data-testid=\"ways-result\"][data-state=\"done\"]").await;
        self.client().goto("about:blank").await.unwrap();
    }

    /// Opens the page again, which uses these ways alone.
    pub(crate) async fn starts_with(&self, network: &Network, ways: &[Way]) {
        self.client().goto(&network.url()).await.unwrap();
        let names: Vec<_> = ways.iter().map(|way| way.name()).collect();
        self.shows(&format!("[data-testid=\"ways\"][data-on=\"{}\"]", names.join(" "))).await;
    }

    /// Waits until this peer is there, found in this way; in no other, but that it may have called too.
    async fn finds(&self, peer: &str, way: &str) {
        let ways = format!(
            "[...document.querySelectorAll('[data-testid=\"peer\"][data-peer=\"{peer}\"] [data-testid=\"peer-found\"]')]\
             .flatMap(it => it.textContent.split(', ')).filter(it => it !== 'it called')"
        );
        let found = self
            .until(&format!("{peer} is there: {way}"), &format!("{ways}.includes('{way}') && {ways}"))
            .await;
        assert_eq!(found, serde_json::json!([way]));
    }

    /// All peers that it is connected to.
    pub(crate) async fn peers(&self) -> Vec<String> {
        let all = "[...document.querySelectorAll('[data-testid=\"peer\"]')].map(it => it.dataset.peer)";
        let mut peers: Vec<String> = serde_json::from_value(self.evaluate(all).await).unwrap();
        peers.sort_unstable();
        peers
    }
}

/// A native that a tab can dial, and that tells the relay of itself.
pub(crate) fn native(network: &Network, name: &str, flags: &[&str]) -> Process {
    let options = NodeOptions {
        listen: vec!["/ip4/127.0.0.1/tcp/0/ws".to_owned()],
        bootstrap: network.relay.tcp_addresses(),
        ..NodeOptions::default()
    };
    let mut command = network.chain.node_command(name, &options);
    command.args(flags);
    Process::start_ready(name, command, network.chain.dir()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_finds_nobody_in_any_way_is_alone_until_one_is_switched_on() {
    let network = Network::start();
    let tab = network.tab().await;
    tab.only(&[]).await;
    tab.starts_with(&network, &[]).await;
    tab.shows("[data-testid=\"ways-none\"]").await;
    // Another one, which was opened later, has come up with the chain meanwhile.
    let other = network.tab().await;
    other.follows(network.relay.height().unwrap() + 4).await;
    assert_eq!(tab.peers().await, Vec::<String>::new());
    other.close().await;

    tab.only(&[Way::Bootstrap]).await;
    tab.starts_with(&network, &[Way::Bootstrap]).await;
    tab.follows(network.relay.height().unwrap()).await;
    assert_eq!(tab.peers().await, [network.relay.peer()]);
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_asks_peers_for_peers_finds_one_of_whom_its_relay_tells() {
    let network = Network::start();
    let (tab, only) = (network.tab().await, [Way::Bootstrap, Way::Exchange]);
    tab.only(&only).await;
    let told = native(&network, "told", &["--no-dht", "--no-rendezvous"]);
    tab.starts_with(&network, &only).await;
    tab.finds(told.peer(), "told by a peer").await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_looks_peers_up_finds_one_in_the_table() {
    let network = Network::start();
    let (tab, only) = (network.tab().await, [Way::Bootstrap, Way::Dht]);
    tab.only(&only).await;
    let listed = native(&network, "listed", &["--no-exchange", "--no-rendezvous"]);
    wait_for("the relay has it in its table", PATIENCE, || {
        let table = dht(&network, &network.relay, &["table"]);
        Ok(table.to_string().contains(listed.peer()).then_some(()))
    })
    .unwrap();
    tab.starts_with(&network, &only).await;
    tab.finds(listed.peer(), "by a lookup").await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_that_is_told_a_name_finds_whom_it_stands_for() {
    let network = Network::start();
    let names = NameServer::start().unwrap();
    let tab = network.tab().await;
    // What is none is refused, and nothing is kept of it.
    tab.fill("begin-peers", "/ip4/127.0.0.1/tcp/1").await;
    tab.click("begin-save").await;
    tab.shows("[data-testid=\"begin-result\"][data-state=\"refused\"]").await;

    tab.fill("begin-peers", "/dnsaddr/seeds.example").await;
    tab.fill("begin-resolver", &names.url()).await;
    tab.click("begin-save").await;
    tab.shows("[data-testid=\"begin-result\"][data-state=\"done\"]").await;
    let only = [Way::Names];
    tab.only(&only).await;
    let named = native(&network, "named", &[]);
    let records: Vec<_> = named.addresses("/ws").iter().map(|address| format!("dnsaddr={address}")).collect();
    assert!(!records.is_empty());
    names.set("_dnsaddr.seeds.example", records);
    tab.starts_with(&network, &only).await;
    // Whom it met before it may dial again; of this one it has only the name.
    tab.finds(named.peer(), "dns").await;
    tab.follows(network.relay.height().unwrap() + 2).await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_finds_a_native_that_only_registered_with_the_relay() {
    let network = Network::start();
    let (tab, only) = (network.tab().await, [Way::Bootstrap, Way::Rendezvous]);
    tab.only(&only).await;
    let native = native(&network, "registered", &["--no-exchange", "--no-dht"]);
    tab.starts_with(&network, &only).await;
    tab.finds(native.peer(), "at a relay’s rendezvous").await;
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
    let (tab, only) = (network.tab().await, [Way::Lists]);
    tab.only(&only).await;
    tab.starts_with(&network, &only).await;
    tab.finds(network.relay.peer(), "from a signed list").await;

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
    tab.finds(elsewhere.peer(), "from a signed list").await;
    assert_eq!(tab.refused_by_policy().await, Vec::<String>::new());
    tab.close().await;
}
