//! How transactions spread: in every mode alone, through losses, past liars, and not to those who cannot judge them.

use weft_core::{
    gossip::{Announcement, ShortId, TxMode, TxRefusal, TxRequest, TxResponse},
    node::{Input, OutboundId, Output, Protocol},
    primitives::Now,
    sync::Strategy,
};
use weft_testnet::{
    fixture::{TestChain, address, key},
    sim::{EPOCH, Network, NodeOptions, PeerIx, World},
};

use crate::{
    siege::{Blame, Siege},
    town::{SLOT, seeds},
};

const MODES: [TxMode; 3] = [TxMode::Push, TxMode::Pull, TxMode::PushPull];

/// Peers in a random mesh, and nobody who makes blocks: what is in a pool stays there.
fn mesh(seed: u64, mode: TxMode, size: usize) -> (World, TestChain, Vec<PeerIx>) {
    let chain = TestChain::new(EPOCH, SLOT, 1, 20);
    let mut world = World::new(seed);
    let mut peers: Vec<PeerIx> = Vec::new();
    for index in 0..size {
        let bootstrap = match index {
            0 => Vec::new(),
            _ => (0..4)
                .map(|turn| peers[(index * 7 + turn * 13 + turn * turn * 5 + seed as usize) % index])
                .collect(),
        };
        let genesis = Some(chain.genesis.clone());
        peers.push(world.add_node(NodeOptions {
            genesis,
            bootstrap,
            tx_mode: mode,
            ..NodeOptions::default()
        }));
    }
    world.run_for(10 * SLOT);
    (world, chain, peers)
}

/// Has so many payments made, one every 50 ms, each account's at one peer.
fn pay(world: &mut World, chain: &TestChain, peers: &[PeerIx], count: u64) {
    let to = address(&key("shop", 0));
    for payment in 0..count {
        let account = (payment % 10) as usize;
        let transaction = chain.transfer(account, to, payment / 10);
        world.submit(peers[account * 3 % peers.len()], transaction).expect("a good payment");
        world.run_for(50);
    }
}

fn have_all(world: &mut World, peers: &[PeerIx], count: usize) -> bool {
    peers.iter().all(|ix| world.chain(*ix).pending == count)
}

#[test]
fn every_mode_alone_brings_every_payment_to_everyone() {
    for (mode, loss, patience) in MODES.into_iter().flat_map(|mode| [(mode, 0.0, 10), (mode, 0.05, 120)]) {
        for seed in seeds(1) {
            let (mut world, chain, peers) = mesh(seed, mode, 30);
            world.set_network(Network { loss, ..Network::default() });
            pay(&mut world, &chain, &peers, 80);
            for _ in 0..patience {
                world.run_for(SLOT);
                if have_all(&mut world, &peers, 80) {
                    break;
                }
            }
            let held: Vec<_> = peers.iter().map(|ix| world.chain(*ix).pending).collect();
            assert!(held.iter().all(|held| *held == 80), "{mode} with {loss} lost, seed {seed}: {held:?}");
            world.check_all();
        }
    }
}

#[test]
fn pull_and_push_pull_cost_at_most_half_of_what_push_does() {
    let bytes = MODES.map(|mode| {
        let (mut world, chain, peers) = mesh(3, mode, 30);
        pay(&mut world, &chain, &peers, 100);
        world.run_for(10 * SLOT);
        assert!(have_all(&mut world, &peers, 100), "{mode}");
        peers.iter().map(|ix| world.relay_counts(*ix).bytes_sent.total()).sum::<u64>()
    });
    let [push, pull, both] = bytes;
    assert!(2 * pull < push && 2 * both < push, "{bytes:?}");
}

#[test]
fn a_light_peer_pays_and_is_spared_what_others_pay() {
    let (mut world, chain, peers) = mesh(4, TxMode::PushPull, 6);
    let genesis = Some(chain.genesis.clone());
    let bootstrap = peers[..3].to_vec();
    let light = world.add_node(NodeOptions {
        genesis,
        bootstrap,
        strategy: Strategy::Light,
        ..NodeOptions::default()
    });
    world.run_for(5 * SLOT);
    pay(&mut world, &chain, &peers, 40);
    world.run_for(60 * SLOT);
    let counts = world.relay_counts(light);
    assert_eq!((counts.received, counts.heard, counts.bytes_sent.symbols), (0, 0, 0), "{counts:?}");
    assert!(counts.bytes_received.total() < 300, "{counts:?}");
    assert!(have_all(&mut world, &peers, 40));
    world.check_all();
}

/// A peer that says `Hello`, answers what it is asked with `answers`, and takes everything else.
fn greeter(siege: &mut Siege, mut answers: impl FnMut(TxRequest) -> Option<TxResponse> + 'static) -> PeerIx {
    let intruder = siege.intruder(move |_: Now, input: Input, outputs: &mut Vec<Output>| {
        if let Input::Request { id, protocol: Protocol::Transactions, body, .. } = input
            && let Ok(request) = TxRequest::from_bytes(&body)
        {
            let response = match request {
                TxRequest::Hello { .. } | TxRequest::FeeFilter(_) => Some(TxResponse::Done),
                other => answers(other),
            };
            if let Some(response) = response {
                outputs.push(Output::Respond { id, body: response.to_bytes() });
            }
        }
    });
    let hello = TxRequest::Hello { mode: TxMode::PushPull, salt: 5, min_fee_rate: 0 };
    siege.request(intruder, Protocol::Transactions, hello.to_bytes());
    intruder
}

/// A payment from the bystander reaches the victim within a second, and a block everyone.
fn still_works(siege: &mut Siege, nonce: u64) {
    let payment = siege.chain.transfer(1, address(&key("shop", 0)), nonce);
    let (victim, bystander) = (siege.victim, siege.bystander);
    siege.world.submit(bystander, payment.clone()).expect("a good payment");
    siege.world.run_for(1_500);
    assert_eq!(siege.world.chain(victim).pending, 1, "the payment did not come through");
    siege.goes_on(vec![payment]);
    assert_eq!(siege.world.chain(victim).pending, 0);
}

fn announce(count: u64, size: u32) -> Vec<u8> {
    let announcement = |number: u64| Announcement { short: ShortId(number.to_le_bytes()), size };
    TxRequest::Announce((0..count).map(announcement).collect()).to_bytes()
}

#[test]
fn announcements_that_are_never_delivered_are_no_offence_and_hold_nothing_up() {
    let mut siege = Siege::new(21);
    siege.goes_on(Vec::new());
    let empty = greeter(&mut siege, |request| match request {
        TxRequest::Fetch(_) => Some(TxResponse::Transactions(Vec::new())),
        TxRequest::Sketch { .. } => Some(TxResponse::Refused(TxRefusal::NotInThisMode)),
        _ => Some(TxResponse::Done),
    });
    let mute = greeter(&mut siege, |_| None);
    for round in 0..20 {
        for intruder in [empty, mute] {
            siege.request(intruder, Protocol::Transactions, announce(1000, 165));
        }
        still_works(&mut siege, round);
    }
    for intruder in [empty, mute] {
        assert_eq!(siege.blame(intruder), Blame::none());
    }
    let (victim, asked) = (siege.victim, siege.world.relay_counts(siege.victim).asked);
    siege.world.run_for(60 * SLOT);
    let later = siege.world.relay_counts(victim).asked - asked;
    assert!(later <= 2 * 256, "the liars are asked for {later} more in a minute");
}

#[test]
fn false_sizes_and_what_was_not_asked_for_are_blamed_on_who_sent_them() {
    let mut siege = Siege::new(22);
    siege.goes_on(Vec::new());
    let liar = greeter(&mut siege, |_| Some(TxResponse::Done));
    siege.request(liar, Protocol::Transactions, announce(1, 9));
    assert_eq!(siege.blame(liar).offences.get("false-announcement"), Some(&1));

    let other = siege.chain.transfer(5, address(&key("shop", 0)), 0);
    let stranger = greeter(&mut siege, move |request| match request {
        TxRequest::Fetch(_) => Some(TxResponse::Transactions(vec![other.clone()])),
        _ => Some(TxResponse::Done),
    });
    siege.request(stranger, Protocol::Transactions, announce(1, 165));
    assert_eq!(siege.blame(stranger).offences.get("unrequested"), Some(&1));
    still_works(&mut siege, 0);
}

#[test]
fn junk_sketches_end_in_announcements_and_blame_nobody() {
    let mut siege = Siege::new(23);
    let payment = siege.chain.transfer(1, address(&key("shop", 0)), 0);
    siege.world.submit(siege.victim, payment).unwrap();
    let intruder = greeter(&mut siege, |request| match request {
        TxRequest::Sketch { count, .. } => {
            let symbol = weft_core::gossip::Symbol { ids: [7; 8], checksum: [9; 4], count: 1 };
            Some(TxResponse::Symbols(vec![symbol; count as usize]))
        }
        _ => Some(TxResponse::Done),
    });
    siege.world.run_for(60 * SLOT);
    let counts = siege.world.relay_counts(siege.victim);
    assert_eq!(counts.sketches_failed, 1, "{counts:?}");
    assert_eq!(siege.blame(intruder), Blame::none());
    siege.world.check_all();
}

#[test]
fn one_who_floods_announcements_is_blamed_in_the_end_and_nobody_else_waits() {
    let mut siege = Siege::new(24);
    siege.goes_on(Vec::new());
    let intruder = greeter(&mut siege, |_| Some(TxResponse::Done));
    let peer = siege.world.peer_id(siege.victim);
    for id in 0..400 {
        let (id, body) = (OutboundId(10_000 + id), announce(1000, 165));
        siege.world.act(intruder, Output::Request { id, peer, protocol: Protocol::Transactions, body });
    }
    siege.world.run_for(2_000);
    let is_connected = siege.world.is_connected(intruder, siege.victim);
    assert!(!is_connected, "{:?}", siege.blame(intruder));
    still_works(&mut siege, 0);
}
