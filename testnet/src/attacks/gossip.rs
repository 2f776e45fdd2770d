//! Attacks on the mesh, by peers of whom one attacker has many.
//!
//! In all of them each Sybil has an address in a network of its own, connects to its targets again whenever it was shown out, and grafts
//! them all. A mesh that is complete takes nobody in, so attackers come early: most of those that honest peers know when they start are
//! Sybils, which are there already.

use super::{
    Attack, Reading, Setting,
    arena::{Arena, Plan, SLOT, Without, rules},
    sybil::Conduct,
};

/// What is off where the attack is about whom a mesh consists of.
const JUDGEMENT: &str = "neighbours are not scored, so that nobody gives way to a better one, and no places in a mesh are kept for \
                         those a peer dialled itself; and nobody asks for blocks that gossip does not bring";
/// What is off where the attack is about what Sybils leave out.
const SEEKING: &str = "nobody asks for a block that should be there and that gossip does not bring, and who says that he has something is \
                       believed";
/// Why that makes no visible difference among so few peers.
const STILL: &str =
    "whoever showed a block and never answers stops nobody, and blocks that came by asking are passed on";

/// How many heartbeats, of a second, honest peers have for the bars to hold again.
const RECOVERY: u64 = 60;
/// How long an attack is measured.
const LASTS: u64 = 45 * SLOT;

/// The attacks.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        idle: Some(
            "a complete mesh takes nobody in, and those who start anew know honest peers, whose meshes have room",
        ),
        ..attack(
            "sybils-late",
            "two Sybils for each honest peer come to a network that runs, and pass nothing on; then all followers start anew",
            sybils_late,
        )
    },
    attack("sybils-1", "as cold-boot, with one Sybil for each honest peer", |setting| {
        booted(setting, 1, Conduct::Swallow, false)
    }),
    attack("sybils-2", "as cold-boot, with two", |setting| booted(setting, 2, Conduct::Swallow, false)),
    attack(
        "cold-boot",
        "four Sybils for each honest peer are there before it, most of those it dials are such, and they pass nothing on; measured \
         from the 60th heartbeat on",
        |setting| booted(setting, 4, Conduct::Swallow, false),
    ),
    attack(
        "covert-flash",
        "the same Sybils serve better than anybody for five minutes, and then pass nothing on, all at once",
        covert_flash,
    ),
    attack("eclipse-one", "all Sybils surround one peer that starts among them", eclipse_one),
    attack(
        "eclipse-publishers",
        "all Sybils surround those who make blocks, from their start on, and pass nothing on",
        |setting| booted(setting, 4, Conduct::Swallow, true),
    ),
    Attack {
        defence: SEEKING,
        idle: Some(STILL),
        ..attack(
            "censorship",
            "Sybils as in cold-boot serve well, but pass nothing on that one validator signed, and answer no question for it",
            censorship,
        )
    },
    Attack {
        defence: SEEKING,
        ..attack(
            "withholding",
            "Sybils as in cold-boot pass everything on, say that they have the whole chain, and answer no question for it; one more \
             honest peer joins, which knows two honest ones and eight Sybils",
            withholding,
        )
    },
    attack("degradation", "Sybils as in cold-boot pass everything on three seconds late", |setting| {
        booted(setting, 4, Conduct::Delay(3_000), false)
    }),
];

const fn attack(name: &'static str, about: &'static str, run: fn(&Setting) -> Vec<Reading>) -> Attack {
    Attack { name, about, defence: JUDGEMENT, idle: None, open: None, modelled: true, run }
}

const fn off(setting: &Setting) -> Without {
    if setting.defended { Without::Nothing } else { Without::Judgement }
}

fn sybils_late(setting: &Setting) -> Vec<Reading> {
    let plan = Plan { seek: setting.defended, ..Plan::new(setting, 2, Conduct::Swallow) };
    let mut arena = Arena::new(setting, &plan, rules(plan.validators, off(setting)));
    arena.run(20_000);
    arena.besiege(arena.honest.clone());
    arena.run(5_000);
    arena.restart_followers(1_000);
    arena.run(RECOVERY * 1000);
    arena.measure(LASTS);
    arena.readings()
}

/// A network in which each peer knows three honest ones and eight Sybils when it starts.
fn among_sybils(setting: &Setting, ratio: usize, conduct: Conduct) -> Arena {
    let plan =
        Plan { dials: 3, sybils_dialled: 8, seek: setting.defended, ..Plan::new(setting, ratio, conduct) };
    Arena::new(setting, &plan, rules(plan.validators, off(setting)))
}

fn booted(setting: &Setting, ratio: usize, conduct: Conduct, publishers: bool) -> Vec<Reading> {
    let mut arena = among_sybils(setting, ratio, conduct);
    arena.besiege(if publishers { arena.validators.clone() } else { arena.honest.clone() });
    arena.run(RECOVERY * 1000);
    arena.measure(LASTS);
    arena.readings()
}

fn covert_flash(setting: &Setting) -> Vec<Reading> {
    let mut arena = among_sybils(setting, 4, Conduct::Serve);
    arena.besiege(arena.honest.clone());
    arena.run(300_000);
    arena.order(Conduct::Swallow);
    arena.measure(2 * LASTS);
    let recovery =
        Reading::most("heartbeats until every block is in time again", arena.recovery(), RECOVERY as f64);
    let mut readings = arena.readings();
    readings.push(recovery);
    readings
}

fn eclipse_one(setting: &Setting) -> Vec<Reading> {
    let plan = Plan { seek: setting.defended, ..Plan::new(setting, 4, Conduct::Swallow) };
    let mut arena = Arena::new(setting, &plan, rules(plan.validators, off(setting)));
    arena.run(20_000);
    let victim = arena.late(2, 8);
    arena.besiege(vec![victim]);
    arena.run(RECOVERY * 1000);
    arena.measure(LASTS);
    let (p99, missed) = arena.victim(victim);
    let mut readings = arena.readings();
    readings.push(Reading::most("the victim: p99 of blocks, ms", p99, SLOT as f64));
    readings.push(Reading::most("the victim: blocks it never had", missed, 0.0));
    readings
}

/// Sybils for neighbours, and what is off is the search for blocks.
fn seeking(setting: &Setting, conduct: Conduct) -> Arena {
    let plan = Plan { dials: 3, sybils_dialled: 8, seek: setting.defended, ..Plan::new(setting, 4, conduct) };
    Arena::new(setting, &plan, rules(plan.validators, Without::Nothing))
}

fn withholding(setting: &Setting) -> Vec<Reading> {
    let mut arena = seeking(setting, Conduct::Withhold);
    arena.besiege(arena.honest.clone());
    arena.run(RECOVERY * 1000);
    let newcomer = arena.late(2, 8);
    arena.besiege(arena.honest.clone());
    let caught_up = arena.until_caught_up(newcomer, 300);
    arena.measure(LASTS);
    let mut readings = arena.readings();
    readings.push(Reading::most("a newcomer has the chain after, s", caught_up, RECOVERY as f64));
    readings
}

fn censorship(setting: &Setting) -> Vec<Reading> {
    let mut arena = seeking(setting, Conduct::Serve);
    let target = arena.validators[0];
    arena.order(Conduct::Censor(arena.chain.validators[0].public()));
    arena.besiege(arena.honest.clone());
    arena.run(RECOVERY * 1000);
    arena.measure(LASTS);
    let censored =
        Reading::most("blocks of the censored one: p99, ms", arena.blocks_p99(Some(target)), SLOT as f64);
    let mut readings = arena.readings();
    readings.push(censored);
    readings
}
