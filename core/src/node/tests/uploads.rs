//! What peers are sent in a time, whatever keys they have.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// A peer with this key connects from this address.
fn meet(alone: &mut Alone, number: u8, ip: &str) -> PeerId {
    let mut seed = [50 + number; 32];
    let peer = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id();
    let (connection, link) = (ConnectionId(number.into()), Link::Direct);
    let address = format!("/ip4/{ip}/tcp/1").parse().unwrap();
    alone.handle(Input::Connected { peer, connection, link, address, outbound: false });
    peer
}

#[test]
fn when_a_host_was_sent_as_much_as_it_may_be_all_its_keys_wait_and_nobody_is_blamed() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let crowd = [meet(&mut alone, 0, "9.9.9.9"), meet(&mut alone, 1, "9.9.9.9")];
    let other = meet(&mut alone, 2, "9.9.9.8");
    let (all, now) = (Role::Native.upload(), alone.now().mono);
    let refused = |alone: &Alone| {
        ["upload-host", "upload-total"].map(|it| alone.node.fx.refusals.get(it).copied().unwrap_or_default())
    };
    // Two seconds' worth of everything: what one host may have at once.
    alone.node.fx.uploads.sent(&crowd[0], usize::try_from(2 * all).unwrap(), now);
    let bulk: Vec<_> = Traffic::ALL.into_iter().filter(|traffic| traffic.is_bulk()).collect();
    assert_eq!(bulk, [Traffic::Sync, Traffic::Archive, Traffic::History, Traffic::Content]);
    for (number, traffic) in (0..).zip(bulk.iter().copied()) {
        for peer in crowd {
            alone.handle(said(traffic, peer, number));
        }
        assert_eq!(refused(&alone), [2 * (number + 1), 0], "{traffic:?}");
        alone.handle(said(traffic, other, number));
        assert_eq!(refused(&alone), [2 * (number + 1), 0], "others are answered");
    }
    // Where a peer is and what a new block lacks is small, and cannot wait.
    for traffic in [Traffic::Status, Traffic::Missing] {
        alone.handle(said(traffic, crowd[0], 10));
    }
    assert_eq!(refused(&alone), [8, 0]);
    alone.node.fx.uploads.sent(&other, usize::try_from(2 * all).unwrap(), now);
    let near = meet(&mut alone, 3, "127.0.0.1");
    alone.handle(said(Traffic::Sync, near, 0));
    assert_eq!(refused(&alone), [8, 1], "nothing is left for anybody");
    let Ok(Reply::Peers(views)) = alone.ask(Command::Peers) else { panic!("the peers") };
    assert!(views.iter().all(|view| view.offences.is_empty()));
    alone.run_to(1_000);
    alone.handle(said(Traffic::Sync, near, 1));
    assert_eq!(refused(&alone), [8, 1], "a second later there is more");
}
