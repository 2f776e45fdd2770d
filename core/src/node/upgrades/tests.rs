#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

fn peer(byte: u8) -> PeerId {
    let mut seed = [byte; 32];
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

/// Two peers in the order of their ids.
fn two() -> (PeerId, PeerId) {
    let (one, other) = (peer(1), peer(2));
    (one.min(other), one.max(other))
}

fn relay() -> Multiaddr {
    format!("/ip4/10.0.0.1/tcp/1/ws/p2p/{}", peer(9)).parse().unwrap()
}

/// A circuit that we dialled, or that was dialled to us.
fn circuit(to: PeerId, outbound: bool) -> Multiaddr {
    if outbound {
        relay().with(Protocol::P2pCircuit).with(Protocol::P2p(to))
    } else {
        Protocol::P2p(to).into()
    }
}

fn direct(to: PeerId) -> Multiaddr {
    relay().with(Protocol::P2pCircuit).with(Protocol::WebRTC).with(Protocol::P2p(to))
}

fn relayed(upgrades: &mut Upgrades, id: u64, to: PeerId, outbound: bool, now: u64) {
    upgrades.connected(to, ConnectionId(id), Link::Relayed, (&circuit(to, outbound), outbound), Mono(now));
    upgrades.identified(&to, &["/ipfs/ping/1.0.0".into(), PROTOCOL.into()]);
}

#[test]
fn whoever_opened_the_circuit_begins_at_once_and_the_other_after_a_while() {
    let (local, other) = two();
    let mut upgrades = Upgrades::new(local, true);
    relayed(&mut upgrades, 1, other, true, 100);
    assert_eq!(upgrades.next_due(), Some(Mono(100)));
    assert_eq!(upgrades.tick(Mono(100)), [Act::Dial(direct(other))]);
    assert_eq!(upgrades.tick(Mono(101)), [], "one attempt at a time");
    assert!(upgrades.is_under_way(&other));

    let mut upgrades = Upgrades::new(local, true);
    relayed(&mut upgrades, 1, other, false, 100);
    assert_eq!(upgrades.next_due(), Some(Mono(100 + PATIENCE_MILLIS)));
    assert_eq!(upgrades.tick(Mono(99 + PATIENCE_MILLIS)), []);
    let address =
        Multiaddr::empty().with(Protocol::P2pCircuit).with(Protocol::WebRTC).with(Protocol::P2p(other));
    assert_eq!(upgrades.tick(Mono(100 + PATIENCE_MILLIS)), [Act::Dial(address)]);
}

#[test]
fn when_both_opened_a_circuit_the_smaller_id_begins() {
    let (small, large) = two();
    for (local, other, begins) in [(small, large, true), (large, small, false)] {
        let mut upgrades = Upgrades::new(local, true);
        relayed(&mut upgrades, 1, other, true, 0);
        relayed(&mut upgrades, 2, other, false, 0);
        assert_eq!(upgrades.tick(Mono(0)).len() == 1, begins);
    }
}

#[test]
fn who_does_not_speak_the_protocol_is_left_on_the_circuit() {
    let (local, other) = two();
    let mut unable = Upgrades::new(local, false);
    relayed(&mut unable, 1, other, true, 0);
    assert_eq!((unable.tick(Mono(60_000)), unable.next_due()), (Vec::new(), None));
    let mut upgrades = Upgrades::new(local, true);
    upgrades.connected(other, ConnectionId(1), Link::Relayed, (&circuit(other, true), true), Mono(0));
    upgrades.identified(&other, &["/ipfs/ping/1.0.0".into()]);
    assert_eq!((upgrades.tick(Mono(60_000)), upgrades.next_due()), (Vec::new(), None));
    assert!(!upgrades.is_under_way(&other));
}

#[test]
fn failures_are_tried_again_ever_more_patiently_and_then_given_up() {
    let (local, other) = two();
    let mut upgrades = Upgrades::new(local, true);
    relayed(&mut upgrades, 1, other, true, 0);
    let mut now = Mono(0);
    let mut pauses = Vec::new();
    for _ in 0..MAX_TRIES {
        let due = upgrades.next_due().unwrap();
        pauses.push(due - now);
        now = due;
        assert_eq!(upgrades.tick(now), [Act::Dial(direct(other))]);
        assert!(upgrades.failed(&direct(other), now));
    }
    assert_eq!(pauses, [0, FIRST_PAUSE_MILLIS, 4 * FIRST_PAUSE_MILLIS]);
    assert_eq!(upgrades.tick(now), [Act::GiveUp(other)]);
    assert_eq!((upgrades.tick(now + 1), upgrades.next_due()), (Vec::new(), None), "told once");
    assert!(!upgrades.is_under_way(&other));
    // Coming back changes nothing, for a while.
    upgrades.disconnected(other, ConnectionId(1), now);
    relayed(&mut upgrades, 2, other, true, now.0 + 1);
    assert_eq!(upgrades.tick(now + 1), [Act::GiveUp(other)]);
    upgrades.disconnected(other, ConnectionId(2), now);
    relayed(&mut upgrades, 3, other, true, now.0 + FORGET_MILLIS);
    assert_eq!(upgrades.tick(now + FORGET_MILLIS), [Act::Dial(direct(other))]);
    assert!(!upgrades.failed(&circuit(other, true), now), "another dial than ours");
}

#[test]
fn after_the_upgrade_the_circuits_are_closed_and_a_lost_direct_connection_is_made_again() {
    let (local, other) = two();
    let mut upgrades = Upgrades::new(local, true);
    relayed(&mut upgrades, 1, other, true, 0);
    relayed(&mut upgrades, 2, other, true, 0);
    upgrades.tick(Mono(0));
    upgrades.connected(other, ConnectionId(3), Link::Direct, (&direct(other), true), Mono(500));
    assert_eq!(upgrades.next_due(), Some(Mono(500 + GOODBYE_MILLIS)));
    assert_eq!(upgrades.tick(Mono(499 + GOODBYE_MILLIS)), []);
    let close = [1, 2].map(|id| Act::Close(other, ConnectionId(id)));
    assert_eq!(upgrades.tick(Mono(500 + GOODBYE_MILLIS)), close);
    upgrades.disconnected(other, ConnectionId(1), Mono(3_000));
    upgrades.disconnected(other, ConnectionId(3), Mono(4_000));
    assert_eq!(upgrades.tick(Mono(4_000)), [Act::Dial(direct(other))], "one circuit was still there");
    upgrades.disconnected(other, ConnectionId(2), Mono(4_001));
    assert!(upgrades.peers.is_empty());
}

#[test]
fn many_circuits_do_not_make_many_connection_objects() {
    let mut upgrades = Upgrades::new(peer(1), true);
    for byte in 2..100 {
        relayed(&mut upgrades, u64::from(byte), peer(byte), true, 0);
    }
    let dials = upgrades.tick(Mono(0)).len() as u64;
    assert_eq!(dials, ALLOWANCE.burst / COST);
    let mut later = 0;
    for second in 1..=60 {
        later += upgrades.tick(Mono(second * 1000)).len() as u64;
    }
    assert_eq!(later, 60 / COST);
}

#[test]
fn failures_of_so_many_peers_are_remembered_the_latest() {
    let local = two().0;
    let mut upgrades = Upgrades::new(local, true);
    let peers: Vec<_> = (0..MAX_REMEMBERED as u64 + 10)
        .map(|number| {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
        })
        .collect();
    for (number, peer) in (0..).zip(&peers) {
        // Four a minute may be tried.
        let now = 15_000 * number;
        relayed(&mut upgrades, number, *peer, true, now);
        assert_eq!(upgrades.tick(Mono(now)), [Act::Dial(direct(*peer))]);
        assert!(upgrades.failed(&direct(*peer), Mono(now)));
        upgrades.disconnected(*peer, ConnectionId(number), Mono(now));
    }
    assert_eq!(upgrades.failures.len(), MAX_REMEMBERED);
    assert!(peers[10..].iter().all(|peer| upgrades.failures.contains_key(peer)));
}
