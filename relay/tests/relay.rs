//! A whole relay on loopback: its HTTP server, its reservations, and what refuses to start.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "relay/rendezvous.rs"]
mod rendezvous;
#[path = "relay/secure.rs"]
mod secure;

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use clap::Parser;
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    multiaddr::Protocol,
    noise, relay,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use weft::{
    genesis,
    keyfile::{self, KeyKind},
};
use weft_core::{
    chain::{Authority, Genesis},
    peers::{NodeList, NodeListError},
    primitives::{Address, SecretKey, Wall},
};
use weft_relay::{Options, Relay, RelayError};

const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with an app, a genesis and a faucet key.
struct Fixture {
    folder: TempDir,
    genesis: Genesis,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let app = folder.path().join("app");
        fs::create_dir(&app).unwrap();
        fs::write(app.join("index.html"), "<title>the page</title>").unwrap();
        fs::write(app.join("weft-0123456789abcdef_bg.wasm"), b"\0asm").unwrap();
        fs::write(app.join("weft-0123456789abcdef_bg.wasm.br"), b"packed").unwrap();
        let key = SecretKey::from_seed([1; 32]).public();
        let genesis = Genesis {
            name: "test".to_owned(),
            time: 0,
            slot_millis: 2000,
            min_fee_per_byte: 1,
            authorities: vec![Authority { key, fee_address: Address::of(&key) }],
            grants: Vec::new(),
        };
        genesis::write(&folder.path().join("genesis.json"), &genesis).unwrap();
        keyfile::create(&folder.path().join("faucet.key"), KeyKind::Account).unwrap();
        Self { folder, genesis }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The options of a relay on loopback, and `more`.
    fn options(&self, more: &[&str]) -> Options {
        let (data, genesis, app) = (self.path("data"), self.path("genesis.json"), self.path("app"));
        let own = ["weft-relay", "--data", &data, "--genesis", &genesis, "--app", &app, "--listen"];
        let listen = ["/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/tcp/0/ws"];
        Options::try_parse_from([&own[..], &listen, more].concat()).unwrap()
    }

    async fn relay(&self, more: &[&str]) -> Relay {
        Relay::start(self.options(&[&["--http", "127.0.0.1:0"][..], more].concat())).await.unwrap()
    }
}

/// The head, in lower case, and the body of the answer to a GET.
async fn get(address: SocketAddr, path: &str, header: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    (head, answer[end + 4..].to_vec())
}

#[tokio::test]
async fn who_connects_to_the_app_and_does_not_ask_is_shown_out() {
    let fixture = Fixture::new();
    let relay = fixture.relay(&[]).await;
    for begins in
        [&b""[..], b"G", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost:"].map(<[u8]>::to_vec)
    {
        let mut silent = TcpStream::connect(relay.http_address()).await.unwrap();
        silent.write_all(&begins).await.unwrap();
        let mut answer = Vec::new();
        let ended = timeout(2 * PATIENCE, silent.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{begins:?}");
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{begins:?}");
    }
    relay.stop().await.unwrap();
}

#[tokio::test]
async fn it_serves_the_app_with_types_and_lifetimes() {
    let fixture = Fixture::new();
    let relay = fixture.relay(&[]).await;
    let address = relay.http_address();
    for page in ["/", "/blocks/17", "/index.html"] {
        let (head, body) = get(address, page, "").await;
        assert!(
            head.starts_with("http/1.1 200") && head.contains("content-type: text/html"),
            "{page}: {head}"
        );
        assert!(head.contains("cache-control: no-cache"), "{page}: {head}");
        assert_eq!(body, b"<title>the page</title>");
        for said in
            ["x-content-type-options: nosniff", "x-frame-options: deny", "referrer-policy: no-referrer"]
        {
            assert!(head.contains(said), "{page} without {said}: {head}");
        }
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
    }
    let wasm = "/weft-0123456789abcdef_bg.wasm";
    let (head, body) = get(address, wasm, "").await;
    assert!(head.contains("content-type: application/wasm") && head.contains("immutable"), "{head}");
    assert_eq!(body, b"\0asm");
    let (head, body) = get(address, wasm, "Accept-Encoding: gzip, br\r\n").await;
    assert!(head.contains("content-encoding: br") && head.contains("application/wasm"), "{head}");
    assert_eq!(body, b"packed");
    // What another version of the page asks for is missing, and is not to be remembered.
    let (head, _) = get(address, "/weft-fedcba9876543210_bg.wasm", "").await;
    assert!(head.starts_with("http/1.1 404") && !head.contains("immutable"), "{head}");
    for outside in ["/../genesis.json", "/%2e%2e/faucet.key", "/..%2ffaucet.key"] {
        let (head, body) = get(address, outside, "").await;
        assert!(!String::from_utf8_lossy(&body).contains("seed"), "{outside}: {head}");
    }
    relay.stop().await.unwrap();
}

#[tokio::test]
async fn it_tells_a_tab_how_to_begin() {
    let fixture = Fixture::new();
    let relay = fixture.relay(&[]).await;
    relay.addresses(2).await;
    let chain = fixture.genesis.hash();

    let (_, body) = get(relay.http_address(), "/genesis.json", "").await;
    assert_eq!(serde_json::from_slice::<Genesis>(&body).unwrap().hash(), chain);

    let (head, body) = get(relay.http_address(), "/bootstrap.json", "").await;
    assert!(head.contains("content-type: application/json"), "{head}");
    assert!(head.contains("access-control-allow-origin: *"), "pages of other servers may read it: {head}");
    let list: NodeList = serde_json::from_slice(&body).unwrap();
    let peers = list.verify(&chain, Wall(list.issued)).unwrap();
    assert_eq!(peers[0].0, relay.id());
    assert_eq!(list.signer, relay.id().to_string());
    assert!(peers[0].1.iter().any(|address| address.to_string().ends_with("/ws")), "{peers:?}");
    assert_eq!(list.verify(&chain, Wall(list.expires)), Err(NodeListError::Expired));

    assert!(get(relay.http_address(), "/demo.json", "").await.0.starts_with("http/1.1 404"));
    relay.stop().await.unwrap();
}

#[tokio::test]
async fn the_demo_key_is_for_loopback_only() {
    let fixture = Fixture::new();
    let key = fixture.path("faucet.key");
    let relay = fixture.relay(&["--demo-key", &key]).await;
    let (_, body) = get(relay.http_address(), "/demo.json", "").await;
    let seed = keyfile::load(Path::new(&key), KeyKind::Account).unwrap().seed();
    let served: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(served["faucet"], hex::encode(seed));
    relay.stop().await.unwrap();

    let public = fixture.options(&["--demo-key", &key, "--http", "0.0.0.0:0"]);
    assert!(matches!(Relay::start(public).await, Err(RelayError::DemoNotLoopback(_))));
    let proxied = fixture.options(&["--demo-key", &key, "--behind-proxy", "127.0.0.1"]);
    assert!(matches!(Relay::start(proxied).await, Err(RelayError::DemoBehindProxy)));
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let fixture = Fixture::new();
    let relay = fixture.relay(&[]).await;
    let taken = relay.http_address().to_string();
    let second = fixture.options(&["--http", &taken]);
    let mut second = Options { data: fixture.folder.path().join("second"), ..second };
    let error = Relay::start(second.clone()).await.unwrap_err();
    assert!(matches!(error, RelayError::HttpInUse(_)), "{error}");
    assert!(error.to_string().contains("in use"), "{error}");
    second.http = SocketAddr::from(([127, 0, 0, 1], 0));
    second.app = Some(fixture.folder.path().join("data"));
    assert!(matches!(Relay::start(second).await, Err(RelayError::App(_))));
    relay.stop().await.unwrap();
}

#[tokio::test]
async fn it_is_the_same_peer_after_a_restart() {
    let fixture = Fixture::new();
    let first = fixture.relay(&[]).await;
    let id = first.id();
    first.stop().await.unwrap();
    let second = fixture.relay(&[]).await;
    assert_eq!(second.id(), id);
    second.stop().await.unwrap();
}

fn client() -> Swarm<relay::client::Behaviour> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_, client| client)
        .unwrap()
        .build()
}

#[tokio::test]
async fn two_strangers_meet_over_a_reservation() {
    let fixture = Fixture::new();
    let relay = fixture.relay(&[]).await;
    let addresses = relay.addresses(2).await;
    let tcp = addresses.iter().find(|address| !address.to_string().ends_with("/ws")).unwrap();
    let through: Multiaddr = tcp.clone().with(Protocol::P2p(relay.id())).with(Protocol::P2pCircuit);

    let (mut one, mut two) = (client(), client());
    let one_id: PeerId = *one.local_peer_id();
    one.listen_on(through.clone()).unwrap();
    let reserved = async {
        loop {
            if let SwarmEvent::Behaviour(relay::client::Event::ReservationReqAccepted {
                relay_peer_id, ..
            }) = one.select_next_some().await
            {
                return relay_peer_id;
            }
        }
    };
    assert_eq!(timeout(PATIENCE, reserved).await.unwrap(), relay.id());

    let address = through.with(Protocol::P2p(one_id));
    two.dial(DialOpts::peer_id(one_id).addresses(vec![address]).build()).unwrap();
    tokio::spawn(async move { while one.next().await.is_some() {} });
    let met = async {
        loop {
            match two.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if peer_id == one_id => {
                    return endpoint;
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    };
    assert!(timeout(PATIENCE, met).await.unwrap().is_relayed());
    relay.stop().await.unwrap();
}

/// A relay with such limits, and where one asks it for a slot.
async fn limited(fixture: &Fixture, flags: &[&str]) -> (Relay, Multiaddr) {
    let relay = fixture.relay(flags).await;
    let addresses = relay.addresses(2).await;
    let tcp = addresses.iter().find(|address| !address.to_string().ends_with("/ws")).unwrap();
    let through = tcp.clone().with(Protocol::P2p(relay.id())).with(Protocol::P2pCircuit);
    (relay, through)
}

/// Asks for a slot, and says why there is none.
async fn reserve(client: &mut Swarm<relay::client::Behaviour>, through: &Multiaddr) -> Result<(), String> {
    client.listen_on(through.clone()).unwrap();
    let answered = async {
        loop {
            match client.select_next_some().await {
                SwarmEvent::Behaviour(relay::client::Event::ReservationReqAccepted { .. }) => return Ok(()),
                SwarmEvent::ListenerClosed { reason, .. } => {
                    return Err(reason.map_or_else(|error| format!("{error:?}"), |()| "closed".to_owned()));
                }
                _ => {}
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("an answer in time")
}

/// Dials a peer through the relay, and says why that failed.
async fn join(
    client: &mut Swarm<relay::client::Behaviour>,
    through: &Multiaddr,
    to: PeerId,
) -> Result<(), String> {
    let address = through.clone().with(Protocol::P2p(to));
    client.dial(DialOpts::peer_id(to).addresses(vec![address]).build()).unwrap();
    let answered = async {
        loop {
            match client.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == to => return Ok(()),
                SwarmEvent::OutgoingConnectionError { error, .. } => return Err(format!("{error:?}")),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, answered).await.expect("an answer in time")
}

/// A peer with a slot, which lives on by itself.
async fn resident(through: &Multiaddr) -> PeerId {
    let mut client = client();
    reserve(&mut client, through).await.unwrap();
    let id = *client.local_peer_id();
    tokio::spawn(async move { while client.next().await.is_some() {} });
    id
}

#[tokio::test]
async fn a_relay_without_room_for_another_slot_says_so() {
    for flags in [["--max-reservations", "1"], ["--asks-per-ip", "1"]] {
        let fixture = Fixture::new();
        let (relay, through) = limited(&fixture, &flags).await;
        resident(&through).await;
        let refused = reserve(&mut client(), &through).await.unwrap_err();
        assert!(
            refused.contains("ResourceLimitExceeded") || refused.contains("Refused"),
            "{flags:?}: {refused}"
        );
        relay.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_relay_without_room_for_another_circuit_says_so() {
    for flags in [["--max-circuits", "1"], ["--max-circuits-per-peer", "1"], ["--asks-per-peer", "1"]] {
        let fixture = Fixture::new();
        let (relay, through) = limited(&fixture, &flags).await;
        let (one, two) = (resident(&through).await, resident(&through).await);
        let mut guest = client();
        join(&mut guest, &through, one).await.unwrap();
        let refused = join(&mut guest, &through, two).await.unwrap_err();
        assert!(refused.contains("ResourceLimitExceeded"), "{flags:?}: {refused}");
        relay.stop().await.unwrap();
    }
}

/// What a relay says it holds of something, and how much that may be.
async fn held(relay: &Relay, what: &str) -> [Option<u64>; 2] {
    let (_, body) = get(relay.rpc_address().unwrap(), "/metrics", "").await;
    let text = String::from_utf8(body).unwrap();
    ["weft_held_items", "weft_limit_items"].map(|metric| {
        let name = format!("{metric}{{what=\"{what}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
    })
}

/// Waits until it says so.
async fn holds(relay: &Relay, what: &str, expected: [u64; 2]) {
    let said = async {
        while held(relay, what).await != expected.map(Some) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(PATIENCE, said).await.is_ok(), "{what}: {:?}", held(relay, what).await);
}

#[tokio::test]
async fn metrics_tell_how_much_it_does_for_others_and_how_much_it_may() {
    let fixture = Fixture::new();
    let (relay, through) = limited(&fixture, &["--rpc", "127.0.0.1:0", "--max-reservations", "9"]).await;
    holds(&relay, "peers with slots", [0, 9]).await;
    let one = resident(&through).await;
    let mut guest = client();
    join(&mut guest, &through, one).await.unwrap();
    holds(&relay, "peers with slots", [1, 9]).await;
    holds(&relay, "circuits of others", [1, 256]).await;
    drop(guest);
    holds(&relay, "circuits of others", [0, 256]).await;
    // The question for it is one.
    holds(&relay, "connections to the RPC", [1, 64]).await;
    let mut silent = TcpStream::connect(relay.http_address()).await.unwrap();
    silent.write_all(b"GET").await.unwrap();
    holds(&relay, "connections to the HTTP server", [1, 512]).await;
    relay.stop().await.unwrap();
}

#[tokio::test]
async fn a_circuit_ends_after_its_time() {
    let fixture = Fixture::new();
    let (relay, through) = limited(&fixture, &["--circuit-seconds", "1"]).await;
    let other = resident(&through).await;
    let mut guest = client();
    join(&mut guest, &through, other).await.unwrap();
    let closed = async {
        loop {
            if let SwarmEvent::ConnectionClosed { peer_id, .. } = guest.select_next_some().await
                && peer_id == other
            {
                return;
            }
        }
    };
    timeout(PATIENCE, closed).await.expect("it ends");
    relay.stop().await.unwrap();
}

#[tokio::test]
async fn a_circuit_ends_after_its_bytes() {
    let fixture = Fixture::new();
    // Not enough for the handshake, which has begun: nobody refused the circuit.
    let (relay, through) = limited(&fixture, &["--circuit-bytes", "100"]).await;
    let other = resident(&through).await;
    let failed = join(&mut client(), &through, other).await.unwrap_err();
    assert!(!failed.contains("ResourceLimitExceeded") && !failed.contains("Refused"), "{failed}");
    relay.stop().await.unwrap();

    let fixture = Fixture::new();
    let (relay, through) = limited(&fixture, &["--circuit-bytes", "4096"]).await;
    let other = resident(&through).await;
    join(&mut client(), &through, other).await.unwrap();
    relay.stop().await.unwrap();
}

#[test]
fn limits_that_would_mean_something_else_are_refused() {
    for wrong in ["--circuit-seconds=0", "--circuit-bytes=0", "--asks-per-ip=0", "--max-circuits-per-peer=0"]
    {
        assert!(Options::try_parse_from(["weft-relay", wrong]).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn whoever_asks_by_stun_is_told_from_where() {
    let fixture = Fixture::new();
    let relay = fixture.relay(&["--stun", "127.0.0.1:0"]).await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut question = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    question.extend([7; 12]);
    let mut answer = [0; 64];
    // What is no question in between keeps nobody from being answered.
    for datagram in [&[0; 20][..], &question] {
        socket.send_to(datagram, relay.stun_address().unwrap()).await.unwrap();
    }
    let (len, _) = timeout(PATIENCE, socket.recv_from(&mut answer)).await.unwrap().unwrap();
    assert_eq!((len, &answer[..2], &answer[8..20]), (32, &[1, 1][..], &[7; 12][..]));
    let port = u16::from_be_bytes([answer[26], answer[27]]) ^ 0x2112;
    assert_eq!(port, socket.local_addr().unwrap().port());
    // Tabs learn of it with the peers to begin with.
    relay.addresses(1).await;
    let (_, body) = get(relay.http_address(), "/bootstrap.json", "").await;
    let list: NodeList = serde_json::from_slice(&body).unwrap();
    let port = relay.stun_address().unwrap().port();
    assert_eq!(list.stun_uris(), [format!("stun:127.0.0.1:{port}")]);
    relay.stop().await.unwrap();
}
