//! What becomes of peers that do wrong, and of those a person has an opinion of.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::sync::{Arc, Mutex};

use super::*;
use crate::peers::{AddressRange, Whom};

/// A store that the next life of the peer finds again.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<MemoryStore>>);

impl Store for Kept {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(table, key)
    }

    fn range(&self, table: Table, from: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.0.lock().unwrap().range(table, from, limit)
    }

    fn apply(&mut self, batch: Batch) -> Seq {
        self.0.lock().unwrap().apply(batch)
    }

    fn durable_at_once(&self) -> bool {
        true
    }
}

const HOUR: u64 = 60 * 60 * 1000;

fn peer(seed: u8) -> PeerId {
    let mut seed = [100 + seed; 32];
    libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
}

fn range(text: &str) -> Whom {
    Whom::Range(text.parse::<AddressRange>().unwrap())
}

/// A peer connects from this address.
fn meet(alone: &mut Alone, seed: u8, address: &str, link: Link) -> PeerId {
    let (peer, connection) = (peer(seed), ConnectionId(seed.into()));
    let address = address.parse().unwrap();
    alone.handle(Input::Connected { peer, connection, link, address, outbound: false });
    peer
}

fn leave(alone: &mut Alone, seed: u8) {
    alone.handle(Input::Disconnected { peer: peer(seed), connection: ConnectionId(seed.into()) });
}

/// It sends bytes that are no message, so many times: ten points each.
fn babble(alone: &mut Alone, peer: PeerId, times: u64) {
    for id in 0..times {
        let body = vec![0xff; 7];
        alone.handle(Input::Request { id: InboundId(id), peer, protocol: Protocol::Sync, body });
    }
}

fn bans(alone: &mut Alone) -> Vec<Whom> {
    let outputs = std::mem::take(&mut alone.outputs);
    let bans = outputs.into_iter().filter_map(|output| match output {
        Output::Ban(whom) => Some(whom),
        _ => None,
    });
    bans.collect()
}

fn is_shown_out(alone: &Alone, peer: PeerId) -> bool {
    alone.outputs.iter().any(|output| matches!(output, Output::Disconnect(other) if *other == peer))
}

fn decide(alone: &mut Alone, command: StandingCommand) -> Result<Reply, CommandError> {
    alone.ask(Command::Standing(command))
}

fn listed(alone: &mut Alone) -> BansView {
    match alone.ask(Command::Bans) {
        Ok(Reply::Bans(view)) => view,
        other => panic!("{other:?}"),
    }
}

fn shown(alone: &mut Alone, peer: PeerId) -> PeerView {
    match alone.ask(Command::Peers) {
        Ok(Reply::Peers(peers)) => peers.into_iter().find(|it| it.peer == peer.to_string()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn three_banned_peers_of_one_host_ban_it_and_nobody_behind_a_relay_there() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let relayed = format!("/ip4/9.8.7.6/tcp/1/p2p/{}/p2p-circuit/webrtc", peer(99));
    for seed in 1..=3 {
        let bad = meet(&mut alone, seed, &format!("/ip4/9.8.7.6/tcp/{seed}"), Link::Direct);
        babble(&mut alone, bad, 6);
        leave(&mut alone, seed);
    }
    let host = range("9.8.7.6");
    assert_eq!(
        bans(&mut alone),
        [1, 2, 3].map(|seed| Whom::Peer(peer(seed))).into_iter().chain([host]).collect::<Vec<_>>()
    );
    let fourth = meet(&mut alone, 4, "/ip4/9.8.7.6/tcp/4", Link::Direct);
    let neighbour = meet(&mut alone, 5, "/ip4/9.8.7.7/tcp/4", Link::Direct);
    let tab = meet(&mut alone, 6, &relayed, Link::Direct);
    assert!(is_shown_out(&alone, fourth) && !is_shown_out(&alone, neighbour) && !is_shown_out(&alone, tab));
    let is_greeted = |alone: &Alone, whom| {
        alone.outputs.iter().any(|output| matches!(output, Output::Request { peer, .. } if *peer == whom))
    };
    assert!(!is_greeted(&alone, fourth) && is_greeted(&alone, neighbour), "who is banned never arrives");
    leave(&mut alone, 4);
    alone.outputs.clear();
    alone.run_to(HOUR + 1);
    assert!(alone.outputs.iter().any(|output| matches!(output, Output::Unban(whom) if *whom == host)));
}

#[test]
fn peers_of_one_network_or_machine_are_not_banned_together() {
    let mut alone = Alone::new(false, MemoryStore::default());
    for seed in 1..=5 {
        let bad = meet(&mut alone, seed, &format!("/ip4/127.0.0.1/tcp/{seed}"), Link::Direct);
        babble(&mut alone, bad, 6);
    }
    assert_eq!(bans(&mut alone), [1, 2, 3, 4, 5].map(|seed| Whom::Peer(peer(seed))));
}

#[test]
fn a_restart_keeps_who_is_banned_and_who_is_trusted() {
    let store = Kept::default();
    let mut alone = Alone::new(false, store.clone());
    let bad = meet(&mut alone, 1, "/ip4/9.8.7.6/tcp/1", Link::Direct);
    babble(&mut alone, bad, 6);
    let scolded = meet(&mut alone, 2, "/ip4/9.8.7.5/tcp/1", Link::Direct);
    babble(&mut alone, scolded, 1);
    let friend = peer(3);
    assert_eq!(decide(&mut alone, StandingCommand::Trust { peer: friend, trust: true }), Ok(Reply::Done));
    let net = range("203.0.113.0/24");
    assert_eq!(decide(&mut alone, StandingCommand::Ban { whom: net, millis: HOUR }), Ok(Reply::Done));
    // What is less than a ban is written down within a minute.
    alone.run_to(60_000);
    let before = listed(&mut alone);
    assert_eq!((before.bans.len(), before.trusted.clone()), (2, vec![friend.to_string()]));

    let mut alone = again(&store, alone.now().wall);
    assert_eq!(bans(&mut alone), [Whom::Peer(bad), net], "the shell is told again");
    meet(&mut alone, 1, "/ip4/9.8.7.6/tcp/1", Link::Direct);
    assert!(is_shown_out(&alone, bad));
    meet(&mut alone, 2, "/ip4/9.8.7.5/tcp/1", Link::Direct);
    let view = shown(&mut alone, scolded);
    assert_eq!((view.score, view.deeds.len()), (-9, 1), "a minute has healed a little");
    assert_eq!(view.deeds[0].offence, "malformed");
    meet(&mut alone, 3, "/ip4/9.8.7.4/tcp/1", Link::Direct);
    assert!(shown(&mut alone, friend).trusted);
}

/// Another life of the peer with this store, at this time.
fn again(store: &Kept, wall: Wall) -> Alone {
    let now = Now { mono: Mono(0), wall };
    let node = Node::new(config(false), Box::new(store.clone()), [8; 32], now).unwrap();
    let mut alone = Alone { node, mono: 0, outputs: VecDeque::new() };
    alone.drain();
    alone
}

#[test]
fn a_restart_between_them_does_not_spare_the_host_of_three_banned_peers() {
    let (store, host) = (Kept::default(), range("9.8.7.6"));
    let fall = |alone: &mut Alone, seed: u8| {
        let bad = meet(alone, seed, &format!("/ip4/9.8.7.6/tcp/{seed}"), Link::Direct);
        babble(alone, bad, 6);
        leave(alone, seed);
    };
    let mut alone = Alone::new(false, store.clone());
    fall(&mut alone, 1);
    let mut alone = again(&store, alone.now().wall);
    fall(&mut alone, 2);
    let mut alone = again(&store, alone.now().wall);
    assert_eq!(bans(&mut alone).len(), 2);
    fall(&mut alone, 3);
    assert_eq!(bans(&mut alone), [Whom::Peer(peer(3)), host]);
    // The three are answered for: after the hour nothing is left of them, in this life or the next.
    let rows = |key: u8| store.range(Table("peers/standing"), &[key], 1).first().map(|row| row.0[0]);
    assert_ne!(rows(b'h'), Some(b'h'));
    let mut alone = again(&store, alone.now().wall);
    alone.run_to(HOUR + 1);
    bans(&mut alone);
    fall(&mut alone, 4);
    assert_eq!(bans(&mut alone), [Whom::Peer(peer(4))]);
    assert_eq!(rows(b'h'), Some(b'h'));
}

#[test]
fn nothing_follows_from_what_a_trusted_peer_does() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let friend = meet(&mut alone, 1, "/ip4/9.8.7.6/tcp/1", Link::Direct);
    assert_eq!(decide(&mut alone, StandingCommand::Trust { peer: friend, trust: true }), Ok(Reply::Done));
    babble(&mut alone, friend, 20);
    let net = StandingCommand::Ban { whom: range("9.8.7.0/24"), millis: HOUR };
    assert_eq!(decide(&mut alone, net), Ok(Reply::Done));
    assert!(!is_shown_out(&alone, friend));
    assert!(!alone.outputs.iter().any(|output| matches!(output, Output::Score(..))), "gossip neither");
    assert_eq!(bans(&mut alone), [range("9.8.7.0/24")]);
    let view = shown(&mut alone, friend);
    assert_eq!((view.score, view.trusted), (-100, true), "and yet it is seen");
}

#[test]
fn a_person_bans_and_unbans() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let there = meet(&mut alone, 1, "/ip4/9.8.7.6/tcp/1", Link::Direct);
    let other = meet(&mut alone, 2, "/ip4/9.9.7.6/tcp/1", Link::Direct);
    let whom = range("9.8.0.0/16");
    assert_eq!(decide(&mut alone, StandingCommand::Ban { whom, millis: HOUR }), Ok(Reply::Done));
    assert!(is_shown_out(&alone, there) && !is_shown_out(&alone, other));
    assert_eq!(listed(&mut alone).bans[0].cause, "by hand");
    assert_eq!(decide(&mut alone, StandingCommand::Unban(whom)), Ok(Reply::Done));
    assert!(alone.outputs.iter().any(|output| matches!(output, Output::Unban(other) if *other == whom)));
    assert_eq!(decide(&mut alone, StandingCommand::Unban(whom)), Err(CommandError::NotBanned));
    let oneself = Whom::Peer(config(false).local);
    let ban = StandingCommand::Ban { whom: oneself, millis: HOUR };
    assert_eq!(decide(&mut alone, ban), Err(CommandError::Oneself));
}

#[test]
fn a_decision_is_answered_once_it_is_durable() {
    let mut alone = Alone::new(false, SlowStore::default());
    let ban = StandingCommand::Ban { whom: range("9.8.0.0/16"), millis: HOUR };
    alone.handle(Input::Command(CommandId(1), Command::Standing(ban)));
    assert!(alone.reply().is_none());
    let flush = alone.outputs.iter().find_map(|output| match output {
        Output::Flush(seq) => Some(*seq),
        _ => None,
    });
    alone.handle(Input::Persisted(flush.unwrap()));
    assert_eq!(alone.reply(), Some(Ok(Reply::Done)));
    alone.handle(Input::Command(CommandId(2), Command::Standing(ban)));
    alone.handle(Input::StorageFailed("full".into()));
    assert_eq!(alone.reply(), Some(Err(CommandError::Storage("full".into()))));
    alone.handle(Input::Command(CommandId(3), Command::Standing(ban)));
    assert_eq!(alone.reply(), Some(Err(CommandError::Storage("full".into()))));
}

#[test]
fn a_banned_peer_is_no_longer_dialled_and_takes_no_place_among_those_sought() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let address: Multiaddr = format!("/ip4/9.8.7.6/tcp/1/p2p/{}", peer(1)).parse().unwrap();
    alone.handle(Input::Discovered {
        peer: peer(1),
        address: address.clone(),
        found: crate::peers::Found::Mdns,
    });
    alone.run_to(10);
    let dials = |alone: &mut Alone| {
        let outputs = std::mem::take(&mut alone.outputs);
        outputs.into_iter().filter(|output| matches!(output, Output::Dial(to) if *to == address)).count()
    };
    assert_eq!(dials(&mut alone), 1);
    alone.handle(Input::DialFailed { address: address.clone(), reason: "no answer".into() });
    let ban = StandingCommand::Ban { whom: range("9.8.7.6"), millis: HOUR };
    assert_eq!(decide(&mut alone, ban), Ok(Reply::Done));
    alone.run_to(120_000);
    assert_eq!((dials(&mut alone), alone.node.connections.is_sought(&peer(1))), (0, false));
}

#[test]
fn many_peers_from_one_host_crowd_each_other_in_gossip() {
    let mut alone = Alone::new(false, MemoryStore::default());
    let scores = |alone: &mut Alone| {
        let outputs = std::mem::take(&mut alone.outputs);
        let scores = outputs.into_iter().filter_map(|output| match output {
            Output::Score(_, score) => Some(score),
            _ => None,
        });
        scores.collect::<Vec<_>>()
    };
    for seed in 1..=8 {
        meet(&mut alone, seed, &format!("/ip4/9.8.7.6/tcp/{seed}"), Link::Direct);
    }
    meet(&mut alone, 9, "/ip4/9.8.7.7/tcp/1", Link::Direct);
    assert_eq!(scores(&mut alone), [0; 0]);
    meet(&mut alone, 10, "/ip4/9.8.7.6/tcp/10", Link::Direct);
    assert_eq!(scores(&mut alone), [-1; 9], "all nine");
    leave(&mut alone, 1);
    assert_eq!(scores(&mut alone), [0; 8]);
    // A relay stands for all who come through it.
    for seed in 20..60 {
        let relayed = format!("/ip4/9.8.7.6/tcp/1/p2p/{}/p2p-circuit/webrtc", peer(99));
        meet(&mut alone, seed, &relayed, Link::Direct);
    }
    assert_eq!(scores(&mut alone), [0; 0]);
    for seed in 60..100 {
        meet(&mut alone, seed, &format!("/ip4/9.8.7.6/tcp/{seed}"), Link::Direct);
    }
    assert_eq!(scores(&mut alone).into_iter().min(), Some(-9), "never as much as an offence");
}
