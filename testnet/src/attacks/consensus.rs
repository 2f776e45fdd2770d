//! Attacks on agreement: authorities that are silent or run twice, and networks that are cut in two.

use weft_core::{node::Output, primitives::Now};

use super::{
    Attack, Bar, Reading, Setting,
    arena::{Arena, Plan, SLOT, Without, rules},
    sybil::Conduct,
};
use crate::sim::{Keep, NodeOptions, PeerIx};

/// How many heartbeats, of a second, honest peers have until everything is as before.
const RECOVERY: u64 = 60;
/// Blocks from the head down to what is final on a healthy chain: two checkpoints, and the way there.
const FINAL_WITHIN: f64 = 48.0;
/// How long authorities are silent, or the network cut.
const TROUBLE: u64 = 90 * SLOT;
/// What is off where the network is cut.
const FORGETFUL: &str = "nobody dials again those it lost";

/// The attacks.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "silent-authorities",
        about: "two of seven authorities, less than a third, are silent for three minutes",
        defence: "three of seven are silent, so that the two thirds that finality takes are not there",
        idle: None,
        open: None,
        modelled: true,
        run: silent,
    },
    Attack {
        name: "twins",
        about: "one of four authorities runs twice, once on either side of a network that is cut in two, and signs on both",
        defence: "two of four do, so that more than a third lies",
        idle: None,
        open: None,
        modelled: true,
        run: twins,
    },
    partition("partition-50", "the network is cut in two halves for three minutes, and heals", |setting| {
        cut(setting, 5)
    }),
    partition(
        "partition-70",
        "seven in ten peers and the others are cut off from each other for three minutes",
        |setting| cut(setting, 7),
    ),
];

const fn partition(name: &'static str, about: &'static str, run: fn(&Setting) -> Vec<Reading>) -> Attack {
    Attack { name, about, defence: FORGETFUL, idle: None, open: None, modelled: true, run }
}

fn plan(setting: &Setting, validators: usize) -> Plan {
    Plan { validators, followers: 20 * setting.scale - validators, ..Plan::new(setting, 0, Conduct::Swallow) }
}

fn silent(setting: &Setting) -> Vec<Reading> {
    let plan = plan(setting, 7);
    let mut arena = Arena::new(setting, &plan, rules(plan.validators, Without::Nothing));
    arena.run(30 * SLOT);
    let silent = arena.validators[..if setting.defended { 2 } else { 3 }].to_vec();
    for &ix in &silent {
        arena.world.kill(ix);
    }
    arena.measure(TROUBLE);
    let lag = arena.unfinished();
    let mut readings = arena.readings();
    readings.push(Reading::most("blocks that are not final, at the end", lag, FINAL_WITHIN));
    for &ix in &silent {
        arena.world.restart(ix, Keep::All).expect("what a peer left lets it start");
    }
    let height = arena.height();
    let final_again = arena.until(300, |arena| arena.finalised() >= height);
    readings.push(Reading::most(
        "heartbeats until that head is final after they are back",
        final_again,
        120.0,
    ));
    readings
}

fn twins(setting: &Setting) -> Vec<Reading> {
    let plan = plan(setting, 4);
    let mut arena = Arena::new(setting, &plan, rules(plan.validators, Without::Nothing));
    arena.world.allow_conflicting_finality();
    arena.run(10 * SLOT);
    let liars = if setting.defended { 1..2 } else { 1..3 };
    let followers = arena.honest.split_off(4);
    let (near, far) = followers.split_at(followers.len() / 2);
    let mut sides = [near.to_vec(), far.to_vec()];
    sides[0].push(arena.validators[0]);
    sides[1].push(arena.validators[3]);
    if setting.defended {
        sides[0].push(arena.validators[2]);
    }
    for index in liars.clone() {
        let ix = arena.validators[index];
        arena.world.kill(ix);
        for side in &mut sides {
            let twin = arena.world.add_node(NodeOptions {
                genesis: Some(arena.chain.genesis.clone()),
                validator: Some(arena.chain.validators[index].clone()),
                bootstrap: side.clone(),
                tamper: Some(Box::new(|_: Now, output: Output| vec![output])),
                ..NodeOptions::default()
            });
            side.push(twin);
        }
    }
    arena.honest = followers;
    arena
        .honest
        .extend(arena.validators.iter().enumerate().filter(|(it, _)| !liars.contains(it)).map(|(_, ix)| *ix));
    arena.world.split(&[&sides[0], &sides[1]]);
    arena.run(TROUBLE);
    let conflicts = arena.conflicts(arena.honest[0], sides[1][0]);
    arena.world.heal();
    arena.run(60 * SLOT);
    let alarmed = arena.honest.iter().filter(|ix| {
        arena.world.seen(**ix).past_alarms.iter().any(|alarm| alarm.starts_with("finality is broken"))
    });
    let alarmed = alarmed.count() as f64;
    vec![
        Reading::most("heights that were finalised in two ways", conflicts, 0.0),
        Reading { what: "honest peers that halted and said why", value: alarmed, bar: Bar::None },
        Reading::most("honest peers banned or thought ill of", arena.wronged(), 0.0),
    ]
}

/// Cuts off so many tenths of all peers, of ten validators as of the others.
fn cut(setting: &Setting, tenths: usize) -> Vec<Reading> {
    let plan = Plan {
        validators: 10,
        followers: 20 * setting.scale - 10,
        forgetful: !setting.defended,
        ..plan(setting, 10)
    };
    let mut arena = Arena::new(setting, &plan, rules(plan.validators, Without::Nothing));
    arena.run(30 * SLOT);
    let (followers, before) = (arena.honest[10..].to_vec(), arena.finalised());
    let (here, there) = followers.split_at(followers.len() * tenths / 10);
    let major: Vec<PeerIx> = [&arena.validators[..tenths], here].concat();
    let minor: Vec<PeerIx> = [&arena.validators[tenths..], there].concat();
    arena.world.split(&[&major, &minor]);
    arena.run(TROUBLE);
    let gained = arena.finalised_of(&minor) - before;
    arena.world.heal();
    arena.measure(RECOVERY * 1000);
    let recovery = arena.recovery();
    arena.measure(RECOVERY * 1000);
    let mut readings = arena.readings();
    readings.push(Reading::most("heartbeats until every block is in time again", recovery, RECOVERY as f64));
    readings.push(Reading::most("blocks the smaller side finalised meanwhile", gained, 32.0));
    readings.push(Reading::most("heads at the end, of all honest peers", arena.heads(), 1.0));
    readings
}
