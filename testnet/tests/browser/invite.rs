//! Links that lead to a tab.

use std::collections::BTreeSet;

use weft_testnet::live::{Chain, Ports, Process, RelayOptions, in_namespace};

use super::{Network, SLOT_MILLIS, app, tab::Driver};

/// A relay that tells nobody of anybody.
pub(crate) fn silent() -> Network {
    let (chain, ports) = (Chain::new(SLOT_MILLIS, 1).unwrap(), Ports::free().unwrap());
    let options = RelayOptions { app: Some(app()), ports, bootstrap_only: true, ..RelayOptions::default() };
    let relay = Process::start_ready("relay", chain.relay_command("relay", &options), chain.dir()).unwrap();
    let validators = vec![chain.validator(0, &relay).unwrap()];
    Network { driver: Driver::start(chain.dir()), relay, validators, ports, chain }
}

/// What a camera reads in squares that are drawn as `M5 4h1v1h-1z` each.
fn read(squares: &str) -> String {
    let dark: BTreeSet<(usize, usize)> = squares
        .split('M')
        .filter_map(|square| square.strip_suffix("h1v1h-1z")?.split_once(' '))
        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
        .collect();
    let side = dark.last().unwrap().0 + 5;
    let of_square = |x: usize, y: usize| if dark.contains(&(x / 4, y / 4)) { 0 } else { 255 };
    let mut picture = rqrr::PreparedImage::prepare_from_greyscale(4 * side, 4 * side, of_square);
    let codes = picture.detect_grids();
    assert_eq!(codes.len(), 1);
    codes[0].decode().unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_tabs_link_is_connected_with_that_tab() {
    if !in_namespace("invite::who_opens_a_tabs_link_is_connected_with_that_tab") {
        return;
    }
    let network = silent();
    let host = network.tab().await;
    host.reserved().await;
    let link = host.attribute("invite-link", "href").await;
    assert!(link.starts_with(&format!("{}#peer=", network.url())), "{link}");
    let code = host.shows("svg[data-testid=\"invite-code\"] path").await;
    assert_eq!(read(&code.attr("d").await.unwrap().unwrap()), link);

    let guest = network.driver.open(&link).await;
    let direct = format!(
        "[data-testid=\"peer\"][data-peer=\"{}\"] [data-testid=\"link\"][data-state=\"direct\"][data-transport=\"webrtc\"]",
        host.peer().await
    );
    guest.shows(&direct).await;
    let found =
        format!("[data-testid=\"peer\"][data-peer=\"{}\"] [data-testid=\"peer-found\"]", host.peer().await);
    let found = guest.shows(&found).await.text().await.unwrap();
    assert!(found.contains("named"), "{found}");

    // A tab that is open follows a link too, and says why it does not follow another.
    let late = network.tab().await;
    let (address, chain) = link.split_once("#peer=").unwrap().1.split_once("&chain=").unwrap();
    let other: String = chain.chars().rev().collect();
    let refused = "[...document.querySelectorAll(\"[data-testid=alarm]\")].map(it => it.textContent).find(it => it.includes(\"invitation\"))";
    for (fragment, reason) in [
        (format!("peer={address}&chain={other}"), "it is for another chain"),
        (format!("peer=/ip4/10.77.0.9/tcp/1&chain={chain}"), "cannot be dialled from here"),
        ("peer=".repeat(2_000), "it has more than 1024 bytes"),
        ("<b>hello</b>".to_owned(), "it does not say whom to dial"),
    ] {
        let go = format!("(location.hash = {}, true)", serde_json::json!(fragment));
        late.until("the address is changed", &go).await;
        let said = format!("({refused} || \"\").includes({})", serde_json::json!(reason));
        late.until(&format!("the page says: {reason}"), &said).await;
    }
    let unknown = format!("document.querySelector('[data-peer=\"{}\"]') === null", host.peer().await);
    late.until("nobody but the link told it of the first tab", &unknown).await;
    let go = format!("(location.hash = {}, true)", serde_json::json!(link.split_once('#').unwrap().1));
    late.until("the address is changed", &go).await;
    late.shows(&direct).await;
    late.until("nothing is refused any more", &format!("!{refused}")).await;
    for tab in [host, guest, late] {
        tab.close().await;
    }
}
