//! Tabs that dial peers by WebRTC-direct, and what they do where the browser forbids it.

use weft_testnet::live::{Chain, NodeOptions, Ports, Process, RelayOptions, in_namespace};

use crate::{Network, app, tab::Driver};

/// The address of the namespace that is not loopback, where Chromium speaks no WebRTC.
const LISTEN: &str = "/ip4/10.77.0.1/udp/0/webrtc-direct";

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_joins_by_webrtc_direct_alone() {
    if !in_namespace("webrtc_direct::a_tab_joins_by_webrtc_direct_alone") {
        return;
    }
    let chain = Chain::new(crate::SLOT_MILLIS, 1).unwrap();
    let options = RelayOptions {
        app: Some(app()),
        ports: Ports::free().unwrap(),
        webrtc_direct: Some(LISTEN.to_owned()),
        ..RelayOptions::default()
    };
    let mut relay =
        Process::start_ready("relay", chain.relay_command("relay", &options), chain.dir()).unwrap();
    let _validator = chain.validator(0, &relay).unwrap();
    let driver = Driver::start(chain.dir());
    let tab = driver.open(&format!("http://127.0.0.1:{}/", options.ports.http)).await;
    tab.follows(3).await;
    tab.reserved().await;
    assert!(relay.addresses("/ws").is_empty(), "there is no other way for a tab");
    let link = format!("[data-testid=\"peer\"][data-peer=\"{}\"] [data-testid=\"link\"]", relay.peer());
    tab.shows(&format!("{link}[data-transport=\"webrtc-direct\"][data-state=\"direct\"]")).await;
    let carried = "[...document.querySelectorAll('[data-testid=\"link-bytes\"]')]\
                   .some(it => Number(it.dataset.sent) > 0 && Number(it.dataset.received) > 2000)";
    tab.until("the page shows what went over it", carried).await;
    // What it serves and asks for goes over it both ways.
    tab.click("faucet").await;
    tab.shows("[data-testid=\"faucet-result\"][data-state=\"done\"]").await;
    let height = relay.height().unwrap();
    relay.reach(height + 2).unwrap();
    tab.follows(height + 2).await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_whose_browser_forbids_webrtc_direct_says_so_and_takes_websocket() {
    let network = Network::start();
    let options = NodeOptions {
        listen: vec!["/ip4/127.0.0.1/udp/0/webrtc-direct".to_owned(), "/ip4/127.0.0.1/tcp/0/ws".to_owned()],
        bootstrap: network.relay.tcp_addresses(),
        bootstrap_only: true,
        ..NodeOptions::default()
    };
    let native = network.chain.node("native", &options).unwrap();
    let (direct, socket) = (native.addresses("/webrtc-direct"), native.addresses("/ws"));
    assert_eq!((direct.len(), socket.len()), (1, 1), "{:?}", native.ready());
    let forbid = "--force-fieldtrials=WebRTC-NoSdpMangleUfrag/Enabled/".to_owned();
    let tab = network.driver.open_with("strict".to_owned(), &network.url(), &[forbid]).await;
    tab.fill("begin-peers", &format!("{}\n{}", direct[0], socket[0])).await;
    tab.click("begin-save").await;
    tab.shows("[data-testid=\"begin-result\"][data-state=\"done\"]").await;
    tab.client().refresh().await.unwrap();
    let said = "[...document.querySelectorAll('[data-testid=\"alarm\"]')]\
                .some(it => it.textContent.includes('does not let pages speak WebRTC-direct'))";
    tab.until("the person is told that the browser forbids it", said).await;
    let peer = format!("[data-testid=\"peer\"][data-peer=\"{}\"]", native.peer());
    tab.shows(&format!("{peer} [data-testid=\"link\"][data-transport=\"websocket\"]")).await;
    tab.close().await;
}
