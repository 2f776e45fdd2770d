//! Whole peers on loopback: every transport, and what refuses to start.

use std::time::Duration;

use futures::StreamExt;
use tokio::time::{sleep, timeout};
use weft_core::{
    node::{Command, Event, PeerView, Reply, StatusView},
    swarm::Notice,
};

use super::*;

fn config(listen: &str) -> PeerConfig {
    let mut config = PeerConfig::new(Keypair::generate_ed25519());
    config.listen = vec![listen.parse().unwrap()];
    config
}

async fn status(peer: &Peer) -> StatusView {
    match peer.handle().call(Command::Status).await.unwrap() {
        Reply::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

/// The first address the peer listens on, with its id.
async fn address(peer: &Peer) -> Multiaddr {
    loop {
        if let Some(address) = status(peer).await.addresses.first() {
            let address: Multiaddr = address.parse().unwrap();
            return if address.iter().any(|part| matches!(part, Protocol::P2p(_))) {
                address
            } else {
                address.with(Protocol::P2p(peer.id()))
            };
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// What `peer` says of the only peer it is connected to, once that has said what it is.
async fn identified(peer: &Peer) -> PeerView {
    let mut events = peer.handle().subscribe().await;
    let found = async {
        loop {
            let Ok(Reply::Peers(peers)) = peer.handle().call(Command::Peers).await else {
                panic!("no answer")
            };
            if let Some(view) = peers.into_iter().find(|view| view.agent.is_some()) {
                return view;
            }
            while events.next().await != Some(Notice::Event(Event::Peers)) {}
        }
    };
    timeout(Duration::from_secs(30), found).await.expect("in time")
}

/// Two peers that know no other transport, and secure TCP in no other way, meet.
async fn meet_over(listen: &str, security: Security, transport: &str) {
    let one = Peer::start(PeerConfig { security, ..config(listen) }).await.unwrap();
    let mut second = PeerConfig::new(Keypair::generate_ed25519());
    second.security = security;
    second.bootstrap = vec![address(&one).await];
    let two = Peer::start(second).await.unwrap();
    for (peer, other, outbound) in [(&two, &one, true), (&one, &two, false)] {
        let view = identified(peer).await;
        assert_eq!(view.peer, other.id().to_string());
        assert_eq!(
            (view.links[0].transport.as_str(), view.links[0].outbound),
            (transport, outbound),
            "{view:?}"
        );
        assert!(view.agent.is_some_and(|agent| agent.ends_with(" (native)")));
    }
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

const TCP: &str = "/ip4/127.0.0.1/tcp/0";

#[tokio::test]
async fn two_peers_meet_over_tcp_with_noise() {
    meet_over(TCP, Security::Noise, "tcp").await;
}

#[tokio::test]
async fn two_peers_meet_over_tcp_with_tls() {
    meet_over(TCP, Security::Tls, "tcp").await;
}

#[tokio::test]
async fn two_peers_meet_over_quic() {
    meet_over("/ip4/127.0.0.1/udp/0/quic-v1", Security::Any, "quic").await;
}

#[tokio::test]
async fn two_peers_meet_over_websocket() {
    meet_over("/ip4/127.0.0.1/tcp/0/ws", Security::Any, "websocket").await;
}

#[tokio::test]
async fn two_peers_meet_over_webrtc_direct() {
    let listen = "/ip4/127.0.0.1/udp/0/webrtc-direct";
    let with = |listen| PeerConfig { webrtc: Some(WebrtcCertificate::generate().unwrap()), ..config(listen) };
    let one = Peer::start(with(listen)).await.unwrap();
    let dialled = address(&one).await;
    assert!(dialled.iter().any(|part| matches!(part, Protocol::Certhash(_))), "{dialled}");
    let mut second = with(listen);
    second.bootstrap = vec![dialled];
    let two = Peer::start(second).await.unwrap();
    for (peer, other, outbound) in [(&two, &one, true), (&one, &two, false)] {
        let view = identified(peer).await;
        assert_eq!(view.peer, other.id().to_string());
        assert_eq!((view.links[0].transport.as_str(), view.links[0].outbound), ("webrtc-direct", outbound));
    }
    one.stop().await.unwrap();
    two.stop().await.unwrap();
}

#[tokio::test]
async fn a_peer_with_both_ways_to_secure_tcp_meets_those_with_one_and_they_not_each_other() {
    let both = Peer::start(config(TCP)).await.unwrap();
    let noise = Peer::start(PeerConfig { security: Security::Noise, ..config(TCP) }).await.unwrap();
    let tls = PeerConfig { security: Security::Tls, ..config(TCP) };
    let tls = Peer::start(PeerConfig { bootstrap: vec![address(&noise).await, address(&both).await], ..tls })
        .await
        .unwrap();
    noise.handle().call(Command::Dial(address(&both).await)).await.unwrap();
    assert_eq!(identified(&tls).await.peer, both.id().to_string());
    assert_eq!(identified(&noise).await.peer, both.id().to_string());
    let mut events = tls.handle().subscribe().await;
    let refused = async {
        while status(&tls).await.alarms.is_empty() {
            events.next().await;
        }
    };
    timeout(Duration::from_secs(30), refused).await.expect("in time");
    let alarms = status(&tls).await.alarms;
    assert!(alarms[0].contains(&noise.id().to_string()), "{alarms:?}");
    for peer in [both, noise, tls] {
        peer.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    for kind in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0/ws"] {
        let first = Peer::start(config(kind)).await.unwrap();
        let mut taken = address(&first).await;
        taken.pop();
        let error = Peer::start(config(&taken.to_string())).await.unwrap_err();
        assert!(matches!(&error, PeerError::PortInUse(address) if *address == taken), "{error:?}");
        first.stop().await.unwrap();
        Peer::start(config(&taken.to_string())).await.unwrap().stop().await.unwrap();
    }
}

#[tokio::test]
async fn an_address_that_is_none_to_listen_on_is_refused() {
    for bad in ["/dns4/localhost/tcp/0", "/ip4/127.0.0.1/udp/0", "/memory/7", "/ip4/192.0.2.1/tcp/0"] {
        let error = Peer::start(config(bad)).await.unwrap_err();
        assert!(matches!(&error, PeerError::Listen { .. }), "{bad}: {error:?}");
    }
}

#[tokio::test]
async fn a_bootstrap_address_that_nobody_answers_does_not_keep_a_peer_from_starting() {
    let mut lonely = config("/ip4/127.0.0.1/tcp/0");
    lonely.bootstrap =
        vec!["/ip4/127.0.0.1/tcp/1".parse().unwrap(), "/dns4/no.invalid/tcp/1".parse().unwrap()];
    let peer = Peer::start(lonely).await.unwrap();
    assert_eq!(status(&peer).await.peers, 0);
    peer.stop().await.unwrap();
}

#[tokio::test]
async fn a_data_directory_can_be_used_again_after_a_stop() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut config = config("/ip4/127.0.0.1/tcp/0");
        config.storage = Storage::Disk(directory.path().to_owned());
        Peer::start(config).await.unwrap().stop().await.unwrap();
    }
}

#[tokio::test]
async fn who_says_nothing_is_shown_out_before_the_connection_is_secured() {
    // The time is the library's own, which cannot be set; so in the full tier only.
    if std::env::var_os("WEFT_FULL").is_none() {
        return;
    }
    let peer = Peer::start(config("/ip4/127.0.0.1/tcp/0")).await.unwrap();
    let at = address(&peer).await;
    let port = at.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    let mut silent = tokio::net::TcpStream::connect(("127.0.0.1", port.unwrap())).await.unwrap();
    let mut heard = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut heard);
    // Closed or reset.
    let _ = timeout(Duration::from_secs(40), read).await.expect("it is shown out");
    assert_eq!(status(&peer).await.peers, 0);
    peer.stop().await.unwrap();
}
