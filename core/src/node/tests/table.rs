//! Who answers others' questions of the distributed hash table.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// Whether it was told to answer since, or to answer no more.
fn told(alone: &mut Alone) -> Vec<bool> {
    let outputs = std::mem::take(&mut alone.outputs);
    outputs
        .into_iter()
        .filter_map(|output| match output {
            Output::ServeDht(serve) => Some(serve),
            _ => None,
        })
        .collect()
}

#[test]
fn who_can_be_dialled_answers_and_a_slot_on_a_relay_or_a_tab_is_not_enough() {
    let with = |role, dht| {
        let discovery = Discovery { dht, ..Discovery::OFF };
        Alone::with(Config { role, discovery, ..config(false) }, MemoryStore::default())
    };
    let direct: Multiaddr = "/ip4/8.8.8.8/tcp/4001".parse().unwrap();
    let websocket: Multiaddr = "/ip4/8.8.8.8/tcp/4001/ws".parse().unwrap();
    let slot: Multiaddr =
        format!("/ip4/9.9.9.9/tcp/4001/p2p/{}/p2p-circuit", PeerId::random()).parse().unwrap();
    let signalled = slot.clone().with(libp2p::multiaddr::Protocol::WebRTC);

    let mut native = with(Role::Native, true);
    native.handle(Input::Listening(slot.clone()));
    assert!(told(&mut native).is_empty());
    native.handle(Input::Listening(direct.clone()));
    native.handle(Input::Listening(websocket.clone()));
    assert_eq!(told(&mut native), [true]);
    native.handle(Input::NotListening(websocket.clone()));
    native.handle(Input::NotListening(direct.clone()));
    assert_eq!(told(&mut native), [false]);

    let mut tab = with(Role::Browser, true);
    let mut apart = with(Role::Native, false);
    for address in [slot, signalled, websocket, direct] {
        tab.handle(Input::Listening(address.clone()));
        apart.handle(Input::Listening(address));
    }
    assert!(told(&mut tab).is_empty() && told(&mut apart).is_empty());
}
