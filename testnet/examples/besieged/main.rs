//! The worst of the attack suite's Sybils, on fifty real swarms: the four by which blocks suffer most, and the one by which payments do.
//!
//! The suite plays them in virtual time, on a model of gossipsub. Here honest peers are native peers, five of them validators, and Sybils
//! are real swarms that follow the suite's own script: all in this process, over TCP on loopback, with the library's gossipsub. Nobody's
//! places for connections are what decides: a native peer has more than there are swarms.
//!
//! `besieged [NAME...]` runs these attacks, or all, with the defence and without, and prints a row of a table each; with `--without-defence`
//! only without. It fails when a bar is missed with the defence on. All share the machine, so nothing else should run beside it.
#![expect(clippy::unwrap_used, reason = "a measurement may")]

mod reading;
mod town;

use std::{process::ExitCode, time::Duration};

use weft_core::{node::Without, primitives::PublicKey};
use weft_testnet::attacks::Conduct;

use self::{
    reading::{Reading, Window},
    town::Town,
};

const SLOT_MILLIS: u64 = 2_000;
const VALIDATORS: usize = 5;
/// How long honest peers have to build their meshes among Sybils: sixty heartbeats, as in the suite.
const SETTLE: Duration = Duration::from_secs(60);
/// How long the Sybils of `covert-flash` serve; five minutes in the suite.
const SERVE: Duration = Duration::from_secs(60);
/// How many slots' blocks are measured.
const SLOTS: u64 = 20;
/// The last of them have so many slots to arrive.
const COOL_DOWN: u64 = 8;

/// An attack of the suite.
struct Attack {
    name: &'static str,
    honest: usize,
    sybils: u8,
    /// What Sybils do at first.
    conduct: fn(&PublicKey) -> Conduct,
    /// They do so for so long, and honest peers settle among them.
    lasts: Duration,
    /// They pass nothing on from then on.
    turn: bool,
    /// What is off where the defence is.
    without: Without,
}

const JUDGEMENT: Without = Without { seeking: true, quotas: false, judgement: true };
const SEEKING: Without = Without { seeking: true, quotas: false, judgement: false };

const ATTACKS: &[Attack] = &[
    Attack { conduct: |_| Conduct::Serve, lasts: SERVE, turn: true, ..attack("covert-flash", 10, 40) },
    attack("sybils-2", 17, 33),
    Attack {
        conduct: |validator| Conduct::Censor(*validator),
        without: SEEKING,
        ..attack("censorship", 10, 40)
    },
    attack("cold-boot", 10, 40),
    Attack { conduct: |_| Conduct::Delay(3_000), ..attack("degradation", 10, 40) },
];

const fn attack(name: &'static str, honest: usize, sybils: u8) -> Attack {
    let conduct = |_: &PublicKey| Conduct::Swallow;
    Attack { name, honest, sybils, conduct, lasts: SETTLE, turn: false, without: JUDGEMENT }
}

/// Plays one, and tells what it did to the honest.
async fn run(attack: &Attack, defended: bool) -> Reading {
    let without = if defended { Without::default() } else { attack.without };
    let town = Town::start(attack, without).await;
    tokio::time::sleep(attack.lasts).await;
    println!("  after {:?}: {}", attack.lasts, town.company().await);
    if attack.turn {
        town.orders.give(Conduct::Swallow);
    }
    let window = Window::from_next(&town.chain.genesis);
    let deliveries = town.watch(&window).await;
    let company = town.company().await;
    println!("  at the end: {company}");
    let reading = Reading {
        name: attack.name,
        defended,
        company,
        wronged: town.wronged().await,
        deliveries,
        censored: matches!((attack.conduct)(&town.censored()), Conduct::Censor(_)).then_some(0),
    };
    town.stop().await;
    reading
}

#[tokio::main]
async fn main() -> ExitCode {
    let (options, names): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let known = |name: &String| ATTACKS.iter().any(|attack| attack.name == name);
    if options.iter().any(|option| option != "--without-defence") || !names.iter().all(known) {
        let all: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
        eprintln!("besieged [NAME...] [--without-defence], where a name is one of: {}", all.join(", "));
        return ExitCode::FAILURE;
    }
    let kinds: &[bool] = if options.is_empty() { &[true, false] } else { &[false] };
    let mut readings = Vec::new();
    for attack in ATTACKS.iter().filter(|it| names.is_empty() || names.iter().any(|name| name == it.name)) {
        for &defended in kinds {
            println!("{}, {} the defence", attack.name, if defended { "with" } else { "without" });
            let reading = run(attack, defended).await;
            println!("{}\n{reading}\n", Reading::HEAD);
            readings.push(reading);
        }
    }
    println!("{}", Reading::HEAD);
    readings.iter().for_each(|reading| println!("{reading}"));
    let missed = readings.iter().any(|reading| reading.defended && !reading.holds());
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
