//! https and wss, from certificate files that change.

use std::{fs, net::SocketAddr, sync::Arc};

use futures::StreamExt;
use libp2p::{
    PeerId, Swarm, SwarmBuilder, Transport, core::upgrade::Version, noise, ping, swarm::SwarmEvent, tcp,
    websocket, yamux,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use weft_relay::{Relay, RelayError};

use crate::{Fixture, PATIENCE};

impl Fixture {
    /// Writes a new certificate, and returns it.
    fn certify(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, key_pair } =
            generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        fs::write(self.path("certificate.pem"), cert.pem()).unwrap();
        fs::write(self.path("certificate.key"), key_pair.serialize_pem()).unwrap();
        cert.der().clone()
    }

    async fn secure_relay(&self) -> Relay {
        let (certificate, key) = (self.path("certificate.pem"), self.path("certificate.key"));
        let listen = ["--listen", "/ip4/127.0.0.1/tcp/0/wss"];
        self.relay(&[&listen[..], &["--tls-cert", &certificate, "--tls-key", &key]].concat()).await
    }
}

/// A connection to https from somebody who trusts this certificate alone.
async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(address.ip().to_string()).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// The page, asked for over this connection, which stays open.
async fn page(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"</title>") {
        let mut piece = [0; 1024];
        let len = stream.read(&mut piece).await.unwrap();
        assert!(len > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend(&piece[..len]);
    }
    String::from_utf8(answer).unwrap()
}

/// A peer that dials WebSocket over TLS and trusts this certificate besides those that everybody does.
fn dialer(trusted: &CertificateDer<'static>) -> Swarm<ping::Behaviour> {
    let mut tls = websocket::tls::Config::builder();
    tls.add_trust(&websocket::tls::Certificate::new(trusted.to_vec())).unwrap();
    let mut transport = websocket::Config::new(tcp::tokio::Transport::new(tcp::Config::default()));
    transport.set_tls_config(tls.finish());
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(|key| {
            let noise = noise::Config::new(key).unwrap();
            transport.upgrade(Version::V1).authenticate(noise).multiplex(yamux::Config::default())
        })
        .unwrap()
        .with_behaviour(|_| ping::Behaviour::default())
        .unwrap()
        .build()
}

/// Dials the relay by wss.
async fn dial(swarm: &mut Swarm<ping::Behaviour>, relay: &Relay) -> Result<PeerId, String> {
    let addresses = relay.addresses(3).await;
    let address = addresses.iter().find(|address| address.to_string().ends_with("/wss")).unwrap();
    swarm.dial(address.clone()).unwrap();
    let dialled = async {
        loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => return Ok(peer_id),
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(format!("{error:?}")),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, dialled).await.expect("an end in time")
}

#[tokio::test]
async fn it_serves_https_and_wss_and_takes_a_new_certificate_without_dropping_anybody() {
    let fixture = Fixture::new();
    let first = fixture.certify();
    let relay = fixture.secure_relay().await;
    assert!(relay.is_secure());
    let mut before = connect(relay.http_address(), &first).await.unwrap();
    assert!(page(&mut before).await.contains("<title>the page</title>"));
    let mut peer = dialer(&first);
    assert_eq!(dial(&mut peer, &relay).await, Ok(relay.id()));
    // Not everybody's: only who trusts it comes in, and nobody without TLS.
    let other = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    assert!(connect(relay.http_address(), other.cert.der()).await.is_err());
    assert!(dial(&mut dialer(other.cert.der()), &relay).await.is_err());

    let second = fixture.certify();
    let renewed = async {
        while connect(relay.http_address(), &second).await.is_err() {
            sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, renewed).await.expect("the new certificate is in use");
    assert!(connect(relay.http_address(), &first).await.is_err(), "the old one is not");
    assert_eq!(dial(&mut dialer(&second), &relay).await, Ok(relay.id()));
    assert!(dial(&mut dialer(&first), &relay).await.is_err());
    // Those who were there stay.
    assert!(page(&mut before).await.contains("<title>the page</title>"));
    assert!(peer.is_connected(&relay.id()));
    let pinged = async {
        loop {
            if let SwarmEvent::Behaviour(event) = peer.select_next_some().await {
                return event.result.is_ok();
            }
        }
    };
    assert!(timeout(PATIENCE, pinged).await.unwrap());
    relay.stop().await.unwrap();
}

#[tokio::test]
async fn who_says_nothing_before_its_connection_is_secured_holds_up_nobody_and_is_shown_out() {
    let fixture = Fixture::new();
    let trusted = fixture.certify();
    let relay = fixture.secure_relay().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(relay.http_address()).await.unwrap());
    }
    let mut other = connect(relay.http_address(), &trusted).await.unwrap();
    assert!(page(&mut other).await.contains("<title>the page</title>"));
    let mut byte = [0];
    let closed = timeout(PATIENCE, silent[0].read(&mut byte)).await.expect("it has to go");
    assert_eq!(closed.unwrap_or(0), 0);
    relay.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_good_certificate_it_does_not_start() {
    let fixture = Fixture::new();
    fixture.certify();
    let (certificate, key, index) =
        (fixture.path("certificate.pem"), fixture.path("certificate.key"), fixture.path("app/index.html"));
    for (certificate, key) in [(&key, &certificate), (&index, &key), (&certificate, &index)] {
        let options =
            fixture.options(&["--http", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key]);
        let error = Relay::start(options).await.unwrap_err();
        assert!(matches!(error, RelayError::Certificate(_)), "{error}");
    }
    let options = fixture.options(&["--http", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0/wss"]);
    let error = Relay::start(options).await.unwrap_err();
    assert!(
        matches!(error, RelayError::NoCertificate(_)) && error.to_string().contains("--tls-cert"),
        "{error}"
    );
}
