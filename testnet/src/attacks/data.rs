//! Attacks on those who download: servers that forge what they are asked for, and servers that never answer.

use weft_core::{
    node::Output,
    primitives::{Now, decode, encode},
    sync::{BodiesResponse, SyncResponse},
};

use super::{Attack, Bar, Reading, Setting};
use crate::{
    fixture::{LongChain, TestChain},
    sim::{EPOCH, NodeOptions, Tamper, World},
};

const SLOT: u64 = 2_000;
/// The chain that a newcomer downloads.
const BLOCKS: u64 = 600;
/// In how much time it has to have the chain, in milliseconds: the longest patience of the download with one server.
const TIME: f64 = 64_000.0;

/// The attacks.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "forged-data",
        about: "three of the four peers that a newcomer knows answer with bodies that are not those it asked for",
        defence: "the newcomer's shell shows nobody out: it carries out no ban and no disconnection",
        idle: Some("others are asked for what one did not bring; a ban saves traffic"),
        open: None,
        modelled: false,
        run: |setting| joined(setting, forger),
    },
    Attack {
        name: "stalling-servers",
        about: "three of the four peers that a newcomer knows say how far they are, and answer nothing else",
        defence: "there is no switch: patience, and rests for who fails, are how a download works. It lasts twice that of the run without attackers",
        idle: Some("both runs are the same; the time without attackers stands beside it"),
        open: None,
        modelled: false,
        run: |setting| joined(setting, staller),
    },
];

fn forger() -> Tamper {
    Box::new(|_: Now, output: Output| {
        if let Output::Respond { id, body } = &output
            && let Ok(BodiesResponse(mut bodies)) = decode::<BodiesResponse>(body, usize::MAX)
            && bodies.iter().any(Option::is_some)
        {
            for byte in bodies.iter_mut().flatten().filter_map(|body| body.last_mut()) {
                *byte ^= 1;
            }
            return vec![Output::Respond { id: *id, body: encode(&BodiesResponse(bodies)) }];
        }
        vec![output]
    })
}

fn staller() -> Tamper {
    Box::new(|_: Now, output: Output| match &output {
        Output::Respond { body, .. }
            if !matches!(
                decode(body, usize::MAX),
                Ok(SyncResponse::Status(_) | SyncResponse::Headers(_))
            ) =>
        {
            Vec::new()
        }
        _ => vec![output],
    })
}

fn joined(setting: &Setting, tamper: fn() -> Tamper) -> Vec<Reading> {
    let chain = TestChain::new(EPOCH, SLOT, 4, 16);
    let made = LongChain::paying(&chain, BLOCKS);
    let (took, wronged) = join(setting, &made, Some(tamper));
    let (alone, _) = join(setting, &made, None);
    vec![
        Reading::most("a newcomer has the chain after, ms", took, TIME),
        Reading { what: "the same when all four are honest, ms", value: alone, bar: Bar::None },
        Reading::most("honest peers banned or thought ill of", wronged, 0.0),
    ]
}

/// How long a newcomer takes, and whether it banned the honest server.
fn join(setting: &Setting, made: &LongChain, tamper: Option<fn() -> Tamper>) -> (f64, f64) {
    let mut world = World::new(setting.seed);
    world.allow_blame();
    world.set_wall(made.now().0);
    let options = || NodeOptions { genesis: Some(made.chain.genesis.clone()), ..NodeOptions::default() };
    let servers: Vec<_> = (0..4)
        .map(|number| {
            let tamper = tamper.filter(|_| number < 3).map(|tamper| tamper());
            world.add_node(NodeOptions { storage: made.storage(), tamper, ..options() })
        })
        .collect();
    world.run_for(2_000);
    let (honest, begun) = (servers[3], world.elapsed());
    let ix = world.add_node(NodeOptions { bootstrap: servers, lenient: !setting.defended, ..options() });
    let there = |world: &World| world.seen(ix).head.as_ref().is_some_and(|head| head.height == made.height());
    let took = if world.run_to(600_000, there) { (world.elapsed() - begun) as f64 } else { f64::INFINITY };
    (took, f64::from(u8::from(world.seen(ix).banned.contains(&honest))))
}
