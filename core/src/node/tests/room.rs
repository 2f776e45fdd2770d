//! Who gets in, and who leaves for it, when there is room for eight connections that others open.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const ROOM: usize = 8;

fn id(number: u8) -> PeerId {
    let mut seed = [10 + number; 32];
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

/// A stranger opens a connection, or another one.
fn opens(alone: &mut Alone, number: u8, connection: u64, outbound: bool) {
    let address = format!("/ip4/8.{number}.0.1/tcp/1").parse().unwrap();
    let (peer, connection) = (id(number), ConnectionId(connection));
    alone.handle(Input::Connected { peer, connection, link: Link::Direct, address, outbound });
}

/// The connections that were told to close one by one, and the peers that were told to leave.
fn told(alone: &mut Alone) -> (Vec<u64>, Vec<PeerId>) {
    let outputs = std::mem::take(&mut alone.outputs);
    let (mut closed, mut left) = (Vec::new(), Vec::new());
    for output in outputs {
        match output {
            Output::Close { connection, .. } => closed.push(connection.0),
            Output::Disconnect(peer) => left.push(peer),
            _ => {}
        }
    }
    (closed, left)
}

#[test]
fn a_few_peers_with_several_connections_each_do_not_fill_the_room() {
    let mut alone = Alone::new(false, MemoryStore::default());
    for number in 0..2 {
        for connection in 0..4 {
            opens(&mut alone, number, u64::from(4 * number) + connection, false);
        }
    }
    assert_eq!(told(&mut alone), (vec![], vec![]));
    let mut open = ROOM;
    for newcomer in 2..8 {
        opens(&mut alone, newcomer, 100 + u64::from(newcomer), false);
        let (closed, left) = told(&mut alone);
        assert!(left.is_empty(), "a surplus connection is worth less than anybody's only one");
        assert!(closed.len() == 1 && closed[0] < 8, "{closed:?}");
        open = open + 1 - closed.len();
    }
    assert_eq!(open, ROOM);
    // Everybody has one left, so one of them has to leave, or the newcomer.
    opens(&mut alone, 8, 200, false);
    let (closed, left) = told(&mut alone);
    assert_eq!((closed.len(), left.len()), (0, 1));
}

#[test]
fn of_a_peers_connections_the_one_that_we_opened_stays() {
    let mut alone = Alone::new(false, MemoryStore::default());
    opens(&mut alone, 0, 0, true);
    opens(&mut alone, 0, 1, false);
    for number in 1..8 {
        opens(&mut alone, number, 1 + u64::from(number), false);
    }
    assert_eq!(told(&mut alone), (vec![], vec![]));
    opens(&mut alone, 8, 9, false);
    assert_eq!(told(&mut alone), (vec![1], vec![]));
}

#[test]
fn who_is_told_to_leave_and_comes_back_before_it_has_left_counts_again() {
    let mut alone = Alone::new(false, MemoryStore::default());
    for number in 0..9 {
        opens(&mut alone, number, number.into(), false);
    }
    let (_, left) = told(&mut alone);
    let [gone] = left[..] else { panic!("{left:?}") };
    let gone = (0..9).find(|number| id(*number) == gone).unwrap();
    // Its old connection does not close, and it opens one after the other.
    for again in 0..20 {
        opens(&mut alone, gone, 100 + again, false);
        let (closed, left) = told(&mut alone);
        assert_eq!(closed.len() + left.len(), 1, "its connection {again} costs nobody's place");
    }
}

#[test]
fn who_comes_through_a_relay_takes_up_room_too() {
    let mut alone = Alone::new(false, MemoryStore::default());
    for number in 0..20 {
        let (peer, connection) = (id(number), ConnectionId(number.into()));
        let address = format!("/p2p/{peer}").parse().unwrap();
        alone.handle(Input::Connected { peer, connection, link: Link::Relayed, address, outbound: false });
    }
    let (closed, left) = told(&mut alone);
    assert_eq!(closed.len() + left.len(), 20 - ROOM);
}
