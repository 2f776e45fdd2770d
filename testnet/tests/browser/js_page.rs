//! A page of another family: js-libp2p in a tab of its own, which dials one of our tabs by `/webrtc` and is dialled by another.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use weft_testnet::live::in_namespace;

use super::{
    Network, ROOM,
    direct::only_direct,
    invite::silent,
    tab::{Driver, Tab},
};

/// Opens a page in which js-libp2p joins the room, with a slot on this relay. Needs the packages of `testnet/js`.
pub(crate) async fn open(driver: &Driver, dir: &Path, relay: &str) -> Tab {
    let mut esbuild = Command::new("node");
    esbuild.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("js"));
    esbuild.args(["node_modules/esbuild/bin/esbuild", "page.mjs", "--bundle", "--format=esm"]);
    esbuild.args(["--log-level=warning", &format!("--outfile={}", dir.join("page.js").display())]);
    assert!(
        esbuild.status().unwrap().success(),
        "the page is not bundled: `npm ci` in testnet/js comes before"
    );
    // Not as a module of its own, which a browser does not load from a file.
    let page = "<!doctype html><meta charset=utf-8><title>js-libp2p</title><script type=module>\n";
    let script = fs::read_to_string(dir.join("page.js")).unwrap().replace("</script", "<\\/script");
    fs::write(dir.join("page.html"), [page, &script, "</script>\n"].concat()).unwrap();
    let hash = format!("{relay} {ROOM}").replace(' ', "%20");
    driver.open(&format!("file://{}#{hash}", dir.join("page.html").display())).await
}

/// What the page says of something that happened, once it did.
pub(crate) async fn happens(js: &Tab, event: &str, fits: &str) -> Value {
    let found = format!("window.peer.events.find(it => it.event === '{event}' && {fits})");
    js.until(&format!("js-libp2p says `{event}`"), &found).await
}

/// Waits until one direct connection is all that leads from the page to this peer.
async fn directly(js: &Tab, peer: &str) {
    let links = format!("window.peer.links('{peer}')");
    let alone =
        format!("{links}.length === 1 && {links}[0].direct && {links}[0].address.includes('/webrtc')");
    js.until("js-libp2p has one direct connection and no other", &alone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_js_libp2p_dials_our_tab_by_webrtc_and_is_dialled_by_another() {
    if !in_namespace("js_page::a_page_of_js_libp2p_dials_our_tab_by_webrtc_and_is_dialled_by_another") {
        return;
    }
    // Its relay tells nobody of anybody: who is connected was dialled by address.
    let mut network: Network = silent();
    let relay = network.relay.addresses("/ws").remove(0);
    let js = open(&network.driver, network.chain.dir(), &relay).await;
    let own = js.until("js-libp2p has begun", "window.peer.id").await.as_str().unwrap().to_owned();
    let slot = js.until("js-libp2p has a slot", "window.peer.address()").await.as_str().unwrap().to_owned();

    // It dials.
    let called = network.tab().await;
    called.join(ROOM).await;
    called.reserved().await;
    let one = called.peer().await;
    js.evaluate(&format!("window.peer.dial('{relay}/p2p-circuit/webrtc/p2p/{one}')")).await;
    assert_eq!(happens(&js, "dialled", "true").await["direct"], true);
    directly(&js, &one).await;
    only_direct(&called, &own).await;

    // It is dialled: by who opens an invitation to it.
    let invitation = format!("{}#peer={slot}&chain={}", network.url(), network.chain.hash().unwrap());
    let caller = network.driver.open(&invitation).await;
    caller.join(ROOM).await;
    let two = caller.peer().await;
    only_direct(&caller, &own).await;
    directly(&js, &two).await;

    // From here on nothing goes through the relay, nor from one of ours to the other but through js-libp2p.
    network.relay.kill();
    for peer in [&one, &two] {
        js.evaluate(&format!("window.peer.ping('{peer}')")).await;
        happens(&js, "pinged", &format!("it.id === '{peer}' && it.millis >= 0")).await;
        js.until("the two pass on to each other what is said", &format!("window.peer.meshed('{peer}')"))
            .await;
    }
    js.evaluate("window.peer.say('ahoy from js')").await;
    called.hears(&own, "ahoy from js").await;
    caller.hears(&own, "ahoy from js").await;
    for (tab, peer, other) in [(&called, &one, &caller), (&caller, &two, &called)] {
        let text = format!("ahoy from {peer}");
        tab.say(&text).await;
        let heard = happens(&js, "heard", &format!("it.text === {}", json!(text))).await;
        assert_eq!(heard["author"], peer.as_str());
        other.hears(peer, &text).await;
    }
    directly(&js, &one).await;
    directly(&js, &two).await;
    only_direct(&called, &own).await;
    only_direct(&caller, &own).await;
    for tab in [js, called, caller] {
        tab.close().await;
    }
}
