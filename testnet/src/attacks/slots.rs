//! Attacks on connections: all places that a peer has for others are taken, and those that one knows of are cut.

use std::{cell::Cell, net::Ipv4Addr};

use weft_core::{
    node::{Command, Discovery, Input, Output, Reply},
    peers::Guards,
    primitives::Now,
};

use super::{Attack, Bar, Reading, Setting};
use crate::{
    fixture::{LongChain, TestChain},
    sim::{Access, EPOCH, NodeOptions, PeerIx, World},
};

const SLOT: u64 = 2_000;
const SECOND: u64 = 1_000;
/// The chain that newcomers download.
const BLOCKS: u64 = 100;
/// Places that the server has for those who connect to it, the Sybils that want them, and the newcomers that do.
const PLACES: usize = 24;
const SYBILS: usize = 48;
const NEWCOMERS: usize = 8;
/// How often a Sybil that was shown out comes back, and how long a newcomer may take.
const COMES_BACK: u64 = 5 * SECOND;
const PATIENCE: u64 = 60 * SECOND;
/// The network whose links are cut, and how long it runs before.
const VALIDATORS: usize = 3;
const FOLLOWERS: usize = 40;
const QUIET: u64 = 180 * SECOND;

/// The attacks.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "held-places",
        about: "48 Sybils, each in a network of its own, hold all 24 places of the only server that newcomers know, and come back when they are shown out",
        defence: "nobody makes room: while all places are taken newcomers are shown out",
        idle: None,
        open: None,
        modelled: false,
        run: held_places,
    },
    Attack {
        name: "known-links",
        about: "everybody whom a peer exchanges transactions or addresses with is taken down at once: by these an attacker can learn who is connected to it",
        defence: "none of its connections are for blocks only",
        idle: None,
        open: None,
        modelled: false,
        run: known_links,
    },
];

/// Does nothing but be there.
fn idle() -> impl FnMut(Now, Input, &mut Vec<Output>) {
    |_, _, _| {}
}

fn held_places(setting: &Setting) -> Vec<Reading> {
    let chain = TestChain::new(EPOCH, SLOT, 4, 16);
    let made = LongChain::paying(&chain, BLOCKS);
    let mut world = World::new(setting.seed);
    world.allow_blame();
    world.set_wall(made.now().0);
    let at = |first, number: usize| Access {
        host: Some(Ipv4Addr::new(first, number as u8, 0, 1)),
        ..Access::default()
    };
    let options = || NodeOptions { genesis: Some(made.chain.genesis.clone()), ..NodeOptions::default() };
    let guards = Guards { eviction: setting.defended, ..Guards::ALL };
    let server = world.add_node(NodeOptions {
        storage: made.storage(),
        max_inbound: PLACES,
        discovery: Discovery { guards, ..Discovery::OFF },
        ..options()
    });
    let sybils: Vec<_> = (0..SYBILS)
        .map(|number| world.add_puppet(NodeOptions { access: at(100, number), ..options() }, idle()))
        .collect();
    let siege = |world: &mut World, millis: u64, until: &dyn Fn(&World) -> bool| {
        let end = world.elapsed() + millis;
        while world.elapsed() < end && !until(world) {
            let away: Vec<PeerIx> =
                sybils.iter().copied().filter(|ix| !world.is_connected(*ix, server)).collect();
            for ix in away {
                let address = world.address(server);
                world.act(ix, Output::Dial(address));
            }
            world.run_to(COMES_BACK, until);
        }
        until(world)
    };
    siege(&mut world, PATIENCE, &|_| false);
    let (mut slowest, wronged) = (0.0_f64, Cell::new(0.0));
    for number in 0..NEWCOMERS {
        let begun = world.elapsed();
        let ix = world.add_node(NodeOptions { bootstrap: vec![server], access: at(20, number), ..options() });
        let there =
            |world: &World| world.seen(ix).head.as_ref().is_some_and(|head| head.height == made.height());
        let arrived = siege(&mut world, PATIENCE, &there);
        slowest = if arrived { slowest.max((world.elapsed() - begun) as f64) } else { f64::INFINITY };
        if world.seen(server).banned.contains(&ix) || world.seen(ix).banned.contains(&server) {
            wronged.set(wronged.get() + 1.0);
        }
    }
    vec![
        Reading::most("the slowest of eight newcomers has the chain after, ms", slowest, PATIENCE as f64),
        Reading::most("honest peers banned", wronged.get(), 0.0),
    ]
}

fn known_links(setting: &Setting) -> Vec<Reading> {
    let chain = TestChain::new(EPOCH, SLOT, VALIDATORS, 2);
    let mut world = World::new(setting.seed);
    let guards = Guards { for_blocks: setting.defended, ..Guards::ALL };
    let discovery = Discovery { exchange: true, outbound: 8, guards, ..Discovery::OFF };
    let mut all: Vec<PeerIx> = Vec::new();
    for number in 0..VALIDATORS + FOLLOWERS {
        all.push(world.add_node(NodeOptions {
            genesis: Some(chain.genesis.clone()),
            validator: chain.validators.get(number).cloned(),
            bootstrap: all.first().copied().into_iter().collect(),
            discovery,
            access: Access { host: Some(Ipv4Addr::new(20, number as u8, 0, 1)), ..Access::default() },
            ..NodeOptions::default()
        }));
    }
    world.run_for(QUIET);
    // The last to come is told of by nobody else when it starts.
    let victim = all[all.len() - 1];
    let Ok(Reply::Peers(views)) = world.command(victim, Command::Peers) else { return Vec::new() };
    let (hidden, known): (Vec<_>, Vec<_>) = views.into_iter().partition(|view| view.for_blocks);
    for view in &known {
        let ix = world.find(&view.peer);
        world.kill(ix);
    }
    // A neighbour that is gone counts until the victim has noticed, so only those that run do.
    let begun = world.elapsed();
    let is_alone = |world: &World| !world.neighbours(victim).into_iter().any(|other| world.is_running(other));
    while is_alone(&world) && world.elapsed() - begun < PATIENCE {
        world.run_for(SECOND / 20);
    }
    let alone = if is_alone(&world) { f64::INFINITY } else { (world.elapsed() - begun) as f64 };
    vec![
        Reading::most("the victim has nobody for, ms", alone, SLOT as f64),
        Reading { what: "connections that were known", value: known.len() as f64, bar: Bar::None },
        Reading { what: "connections for blocks", value: hidden.len() as f64, bar: Bar::None },
    ]
}
