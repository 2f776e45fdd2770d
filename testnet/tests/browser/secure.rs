//! Pages over https, and pages that lack it.

use weft_testnet::live::{Chain, Ports, Process, RelayOptions, TestCertificate};

use crate::{app, tab::Driver};

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_whose_page_came_over_https_joins_by_wss() {
    let chain = Chain::new(crate::SLOT_MILLIS, 1).unwrap();
    let certificate = TestCertificate::make(chain.dir()).unwrap();
    let options = RelayOptions {
        app: Some(app()),
        ports: Ports::free().unwrap(),
        certificate: Some(certificate.clone()),
        ..RelayOptions::default()
    };
    let relay = Process::start_ready("relay", chain.relay_command("relay", &options), chain.dir()).unwrap();
    let _validator = chain.validator(0, &relay).unwrap();
    let driver = Driver::start(chain.dir());
    let url = format!("https://127.0.0.1:{}/", options.ports.http);
    let tab = driver.open_with("secure".to_owned(), &url, &[certificate.argument()]).await;
    tab.follows(3).await;
    tab.reserved().await;
    // There is no other way for a tab: the relay listens on wss alone.
    let sockets = relay.addresses("/ws");
    assert!(sockets.len() == 1 && sockets[0].contains("/wss"), "{sockets:?}");
    let kept = "document.querySelector('[data-testid=\"insecure-notice\"]') === null && isSecureContext";
    tab.until("nothing is missing", kept).await;
    tab.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_https_says_what_it_lacks() {
    let network = crate::Network::start();
    // A name that is not this machine's, and that only this browser takes for it.
    let url = format!("http://relay.test:{}/", network.ports.http);
    let named = "--host-resolver-rules=MAP relay.test 127.0.0.1".to_owned();
    let tab = network.driver.open_with("insecure".to_owned(), &url, &[named]).await;
    tab.shows("[data-testid=\"insecure-notice\"]").await;
    assert!(tab.text("insecure-notice").await.contains("without https"));
    // A guest, who takes part all the same.
    tab.shows("[data-testid=\"guest-notice\"]").await;
    tab.follows(3).await;
    tab.close().await;
}
