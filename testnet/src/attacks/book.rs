//! Attacks on the address book: one attacker has many peers, each where nobody else is, and a few of them tell a victim of all the others.
//! What counts is whom the victim is connected to of its own choice once it was restarted.
//!
//! After Heilman et al., Eclipse Attacks on Bitcoin's Peer-to-Peer Network (2015). The victim's book is smaller than a real one, in
//! the same proportions, so that an attacker of a hundred peers is to it what one of thousands is to a real one.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    net::Ipv4Addr,
    rc::Rc,
};

use weft_core::{
    node::{Command, Discovery, Input, Output, Protocol, Reply},
    peers::{BookShape, Guards, MAX_RECORDS, PeerRecord, PeersResponse},
    primitives::{Now, encode},
};

use super::{Attack, Bar, Reading, Setting};
use crate::sim::{Access, Dice, Keep, NodeOptions, PeerIx, World};

const HONEST: usize = 16;
const SYBILS: usize = 240;
/// Those of the Sybils who connect to the victim and tell of the others.
const TELLERS: usize = 3;
/// A reading is the mean of so many networks.
const NETWORKS: u64 = 3;
/// A sixteenth of the buckets of new peers is what one teller reaches, as in a real book.
const SHAPE: BookShape = BookShape { new: 1024, tried: 16, places: 1 };
const MINUTE: u64 = 60_000;
/// How long the victim is among honest peers before it begins.
const QUIET: u64 = 10 * MINUTE;
/// How long the attacker tells of his peers.
const TELLS: u64 = 150 * MINUTE;
/// How long after its restart the victim's connections are looked at.
const SETTLES: u64 = 3 * MINUTE;
/// The same where what counts is how soon it has connections: one dialled where nobody is fails at once here, and takes long in earnest.
const HURRIES: u64 = MINUTE / 6;
/// How many connections of its own a peer keeps.
const OWN: usize = 8;

/// The attacks.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        run: |setting| {
            let off = |guards: &mut Guards| guards.groups = false;
            besieged(setting, &Plan { lacks: |guards| guards.anchors = false, off, ..PLAN })
        },
        idle: Some("half of the choice is among tried peers, and those who answer keep their places"),
        ..attack(
            "book-groups",
            "three Sybils in one network tell a peer without anchors of 240 in as many networks, for two and a half hours; then it is restarted",
            "where in the book a peer is put depends on nobody's network",
        )
    },
    Attack {
        run: |setting| {
            let off = |guards: &mut Guards| guards.test_before_evict = false;
            besieged(setting, &Plan { lacks: |guards| guards.anchors = false, off, ..PLAN })
        },
        ..attack(
            "book-eviction",
            "the same; the Sybils answer when they are tested, and take the places of tried peers",
            "a newcomer takes the place of a tried peer without a test",
        )
    },
    Attack {
        run: |setting| {
            let lacks = |guards: &mut Guards| (guards.groups, guards.test_before_evict) = (false, false);
            let off = |guards: &mut Guards| guards.anchors = false;
            besieged(setting, &Plan { lacks, off, ..PLAN })
        },
        ..attack(
            "book-restart",
            "the same at a peer with anchors, whose book neither minds networks nor tests whom it evicts, so that Sybils fill it",
            "after a restart no peer is dialled since one was connected to it before",
        )
    },
    Attack {
        run: |setting| {
            let off = |guards: &mut Guards| guards.diversity = false;
            besieged(setting, &Plan { off, one_network: true, ..PLAN })
        },
        idle: Some("one network reaches few places of the book"),
        ..attack(
            "book-network",
            "the same as book-groups with anchors, and all Sybils in one network",
            "a peer may have several connections of its own to one network",
        )
    },
    Attack {
        run: |setting| {
            let off = |guards: &mut Guards| guards.feelers = false;
            besieged(setting, &Plan { off, nobody_there: true, ..PLAN })
        },
        ..attack(
            "book-nobody",
            "the same as book-groups, and nobody is at the 240 addresses; all that the peer was connected to leave before it starts again; of its eight connections those count that it has after ten seconds",
            "nobody is dialled only to see whether he is there, so that none but those it was connected to are tried",
        )
    },
];

const fn attack(name: &'static str, about: &'static str, defence: &'static str) -> Attack {
    Attack { name, about, defence, idle: None, open: None, modelled: false, run: |_| Vec::new() }
}

/// How an attack goes.
#[derive(Clone, Copy)]
struct Plan {
    /// Switches off, in both runs, what would hide what it is about.
    lacks: fn(&mut Guards),
    /// Switches off what it is about.
    off: fn(&mut Guards),
    one_network: bool,
    /// The tellers tell of addresses where nobody is, and whom the victim was connected to is gone when it starts again.
    nobody_there: bool,
}

const PLAN: Plan = Plan { lacks: |_| {}, off: |_| {}, one_network: false, nobody_there: false };

/// The least mean share of honest peers among the victim's own connections: one of eight.
const LEAST: f64 = 1.0 / OWN as f64;

fn besieged(setting: &Setting, plan: &Plan) -> Vec<Reading> {
    let mut guards = Guards { shape: Some(SHAPE), ..Guards::ALL };
    (plan.lacks)(&mut guards);
    if !setting.defended {
        (plan.off)(&mut guards);
    }
    let shares: Vec<f64> =
        (0..NETWORKS).map(|number| honest_share(setting.seed * NETWORKS + number, guards, plan)).collect();
    let worst = shares.iter().copied().fold(f64::INFINITY, f64::min);
    let mean = shares.iter().sum::<f64>() / NETWORKS as f64;
    vec![
        Reading::least("honest share of own connections, mean", mean, LEAST),
        Reading { what: "the same where it is lowest", value: worst, bar: Bar::None },
    ]
}

/// Tells whoever asks of the attacker's peers, one part after the other.
fn teller(records: Rc<RefCell<Vec<PeerRecord>>>) -> impl FnMut(Now, Input, &mut Vec<Output>) {
    let told = Cell::new(0);
    move |_, input, outputs| {
        if let Input::Request { id, protocol: Protocol::Peers, .. } = input {
            let records = records.borrow();
            let part = records.iter().cycle().skip(told.get()).take(MAX_RECORDS.min(records.len()));
            let body = encode(&PeersResponse(part.cloned().collect()));
            told.set((told.get() + MAX_RECORDS) % records.len().max(1));
            outputs.push(Output::Respond { id, body });
        }
    }
}

/// Which part of the connections of its own choice a victim has to honest peers in the end.
fn honest_share(seed: u64, guards: Guards, plan: &Plan) -> f64 {
    let mut world = World::new(seed);
    let mut dice = Dice::new(seed ^ 0x626f_6f6b);
    let discovery = Discovery { exchange: true, outbound: OWN, ..Discovery::OFF };
    let mut honest: Vec<PeerIx> = Vec::new();
    for number in 0..HONEST {
        let mut bootstrap = honest.clone();
        dice.draw(&mut bootstrap, 1);
        let access = Access { host: Some(Ipv4Addr::new(20, number as u8, 0, 1)), ..Access::default() };
        // They answer, and need nobody else.
        let discovery = Discovery { outbound: 0, ..discovery };
        honest.push(world.add_node(NodeOptions { bootstrap, discovery, access, ..NodeOptions::default() }));
    }
    let records = Rc::new(RefCell::new(Vec::new()));
    let sybils: Vec<PeerIx> = (0..SYBILS)
        .map(|number| {
            let host = match (number < TELLERS, plan.one_network) {
                (true, _) | (_, true) => Ipv4Addr::new(100, 0, number as u8, 1),
                (false, false) => Ipv4Addr::new(101, number as u8, 0, 1),
            };
            let access = Access { host: Some(host), ..Access::default() };
            world.add_puppet(NodeOptions { access, ..NodeOptions::default() }, teller(Rc::clone(&records)))
        })
        .collect();
    let introducers = honest[..2].to_vec();
    let victim = world.add_node(NodeOptions {
        bootstrap: introducers.clone(),
        discovery: Discovery { guards, ..discovery },
        access: Access { host: Some(Ipv4Addr::new(30, 0, 0, 1)), ..Access::default() },
        ..NodeOptions::default()
    });
    world.run_for(QUIET);
    records.borrow_mut().extend(sybils.iter().map(|ix| world.record(*ix)));
    if plan.nobody_there {
        sybils[TELLERS..].iter().for_each(|ix| world.kill(*ix));
    }
    let end = world.elapsed() + TELLS;
    while world.elapsed() < end {
        for teller in &sybils[..TELLERS] {
            if !world.is_connected(*teller, victim) {
                let address = world.address(victim);
                world.act(*teller, Output::Dial(address));
            }
        }
        world.run_for(MINUTE);
    }
    // Whom it was told of by a person is not to help it.
    let mut gone: BTreeSet<PeerIx> = introducers.into_iter().collect();
    if plan.nobody_there {
        gone.extend(world.neighbours(victim).into_iter().filter(|ix| honest.contains(ix)));
    }
    gone.into_iter().for_each(|ix| world.kill(ix));
    world.restart(victim, Keep::All).expect("what a peer left lets it start");
    world.run_for(if plan.nobody_there { HURRIES } else { SETTLES });
    let Ok(Reply::Peers(views)) = world.command(victim, Command::Peers) else { return 0.0 };
    let own: BTreeSet<PeerIx> = views
        .into_iter()
        .filter(|view| view.links.iter().any(|link| link.outbound))
        .map(|view| world.find(&view.peer))
        .collect();
    let to_honest = own.iter().filter(|ix| honest.contains(ix)).count();
    // Where nobody else is there, what counts is how many it found.
    let of = if plan.nobody_there { OWN } else { own.len().max(1) };
    to_honest as f64 / of as f64
}
