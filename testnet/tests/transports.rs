//! Each native transport alone: with all the others off, a follower reaches the head of a validator.
#![expect(clippy::unwrap_used, reason = "a test may")]

use weft_testnet::live::{Chain, NodeOptions, PATIENCE};

/// A validator and a follower that listen at `listen` only, and whose connection must be called `transport`.
fn follows_over(listen: &str, transport: &str) {
    let chain = Chain::new(200, 1).unwrap();
    let listen = vec![listen.to_owned()];
    let options = NodeOptions { validator: Some(0), listen: listen.clone(), ..NodeOptions::default() };
    let validator = chain.node("validator", &options).unwrap();
    let bootstrap = validator.addresses("/ip4/127.0.0.1/");
    assert_eq!(bootstrap.len(), 1, "{:?}", validator.ready());
    let options = NodeOptions { listen, bootstrap, ..NodeOptions::default() };
    let mut follower = chain.node("follower", &options).unwrap();
    let goal = validator.height().unwrap() + 5;
    follower.reach(goal).unwrap();

    let peers = follower.peers().unwrap();
    assert_eq!(peers.len(), 1);
    let links: Vec<&str> = peers[0].links.iter().map(|link| link.transport.as_str()).collect();
    assert!(!links.is_empty() && links.iter().all(|name| *name == transport), "{links:?}");
    let received: u64 = peers[0].links.iter().map(|link| link.received).sum();
    let sent: u64 = validator.peers().unwrap()[0].links.iter().map(|link| link.sent).sum();
    assert!(received > 2000 && sent >= received, "{received} bytes of {sent} are here");
    assert_eq!(follower.block(goal).unwrap().summary.hash, validator.block(goal).unwrap().summary.hash);
}

#[test]
fn a_follower_reaches_the_head_over_tcp_alone() {
    follows_over("/ip4/127.0.0.1/tcp/0", "tcp");
}

#[test]
fn a_follower_reaches_the_head_over_quic_alone() {
    follows_over("/ip4/127.0.0.1/udp/0/quic-v1", "quic");
}

#[test]
fn a_follower_reaches_the_head_over_websocket_alone() {
    follows_over("/ip4/127.0.0.1/tcp/0/ws", "websocket");
}

#[test]
fn a_follower_reaches_the_head_over_webrtc_direct_alone() {
    follows_over("/ip4/127.0.0.1/udp/0/webrtc-direct", "webrtc-direct");
}

#[test]
fn a_node_keeps_its_webrtc_certificate_over_a_restart() {
    let chain = Chain::new(200, 1).unwrap();
    let listen = vec!["/ip4/127.0.0.1/udp/0/webrtc-direct".to_owned()];
    let options = NodeOptions { listen, ..NodeOptions::default() };
    let certificate = |name: &str| {
        let mut node = chain.node(name, &options).unwrap();
        let address = node.addresses("/ip4/127.0.0.1/")[0].clone();
        node.terminate().unwrap();
        node.wait(PATIENCE).unwrap();
        let (_, rest) = address.split_once("/certhash/").unwrap();
        rest.split('/').next().unwrap().to_owned()
    };
    let first = certificate("one");
    assert_eq!(certificate("one"), first);
    assert_ne!(certificate("other"), first);
}
