//! A relay behind a proxy that adds TLS.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use weft_testnet::live::{Chain, NodeOptions, Ports, Process, RelayOptions, TestCertificate};

use crate::{SLOT_MILLIS, app, tab::Driver};

/// The most bytes with which a request begins.
const MAX_HEAD: usize = 16 << 10;

/// A proxy as people put one in front of a relay: on one port it adds TLS, and passes WebSockets on to the relay's port for tabs, and
/// all else to that of the app.
struct Proxy {
    port: u16,
    /// How many WebSockets it has passed on.
    sockets: Arc<AtomicUsize>,
}

impl Proxy {
    async fn start(certificate: &TestCertificate, ports: Ports) -> Self {
        let chain = vec![CertificateDer::from_pem_file(&certificate.file).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sockets);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
                // Who goes away in the middle is the browser's business.
                tokio::spawn(async move { pass_on(stream, acceptor, ports, &counted).await.ok() });
            }
        });
        Self { port, sockets }
    }
}

async fn pass_on(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    ports: Ports,
    sockets: &AtomicUsize,
) -> io::Result<()> {
    let mut outside = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if head.len() > MAX_HEAD || outside.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let port = if String::from_utf8_lossy(&head).to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n") {
        sockets.fetch_add(1, Ordering::Relaxed);
        ports.websocket
    } else {
        ports.http
    };
    let mut inside = TcpStream::connect(("127.0.0.1", port)).await?;
    inside.write_all(&head).await?;
    copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_joins_a_relay_behind_a_proxy_by_https_and_wss() {
    let chain = Chain::new(SLOT_MILLIS, 1).unwrap();
    let certificate = TestCertificate::make(chain.dir()).unwrap();
    let ports = Ports::free().unwrap();
    let proxy = Proxy::start(&certificate, ports).await;
    let outside = format!("/ip4/127.0.0.1/tcp/{}/wss", proxy.port);
    let options =
        RelayOptions { app: Some(app()), ports, proxy: Some(outside.clone()), ..RelayOptions::default() };
    let relay = Process::start_ready("relay", chain.relay_command("relay", &options), chain.dir()).unwrap();
    assert_eq!(relay.addresses("/wss"), [format!("{outside}/p2p/{}", relay.peer())]);
    let bootstrap = vec![format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", ports.tcp, relay.peer())];
    let validator = NodeOptions { validator: Some(0), bootstrap, ..NodeOptions::default() };
    let _validator = chain.node("validator", &validator).unwrap();

    let driver = Driver::start(chain.dir());
    let url = format!("https://127.0.0.1:{}/", proxy.port);
    let tab = driver.open_with("proxied".to_owned(), &url, &[certificate.argument()]).await;
    tab.follows(3).await;
    tab.reserved().await;
    let link = format!(
        "[data-testid=\"peer\"][data-peer=\"{}\"] \
         [data-testid=\"link\"][data-state=\"direct\"][data-transport=\"websocket\"]",
        relay.peer()
    );
    tab.shows(&link).await;
    assert!(proxy.sockets.load(Ordering::Relaxed) > 0, "no WebSocket came through the proxy");
    let kept = "document.querySelector('[data-testid=\"insecure-notice\"]') === null && isSecureContext";
    tab.until("nothing is missing", kept).await;
    assert_eq!(tab.refused_by_policy().await, Vec::<String>::new());
    tab.close().await;
}
