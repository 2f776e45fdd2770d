//! A peer that has acted on a final checkpoint goes on only to one that builds on it.

use std::{cell::Cell, rc::Rc};

use weft_core::{
    node::{Command, CommandError, Output, Reply, SyncPhase, Verified},
    primitives::{Height, Now, decode, encode},
    sync::{Strategy, SyncResponse},
};
use weft_testnet::sim::{Keep, NodeOptions, PeerIx, Tamper, World};

use crate::{
    strategies::blames,
    town::{SLOT, Town, seeds},
};

fn halted(world: &World, ix: PeerIx) -> Option<String> {
    world.seen(ix).alarms.iter().find(|alarm| alarm.starts_with("finality is broken")).cloned()
}

/// Changes each of a peer's answers, or drops it.
fn changed(mut change: impl FnMut(SyncResponse) -> Option<SyncResponse> + 'static) -> Tamper {
    Box::new(move |_: Now, output: Output| match &output {
        Output::Respond { id, body } => match decode::<SyncResponse>(body, usize::MAX) {
            Ok(response) => {
                let changed = change(response);
                changed.map(|answer| Output::Respond { id: *id, body: encode(&answer) }).into_iter().collect()
            }
            Err(_) => vec![output],
        },
        _ => vec![output],
    })
}

/// Two of four validators run twice, so that either side of the world has three and makes its own chain final. The first of each side is
/// the honest one. Nobody sends the accounts of a checkpoint.
fn two_final_chains(seed: u64) -> (Town, [Vec<PeerIx>; 2]) {
    let mut town = Town::new(seed, 4, 0);
    town.world.allow_blame();
    town.world.allow_conflicting_finality();
    for index in [2, 3] {
        town.world.kill(town.validators[index]);
    }
    let mut sides = [vec![town.validators[0]], vec![town.validators[1]]];
    for side in &mut sides {
        for index in [2, 3] {
            let tamper = changed(|response| match response {
                SyncResponse::Range(_) => None,
                other => Some(other),
            });
            let options = NodeOptions {
                validator: Some(town.chain.validators[index].clone()),
                bootstrap: side.clone(),
                tamper: Some(tamper),
                ..town.options()
            };
            side.push(town.world.add_node(options));
        }
    }
    town.world.split(&[&sides[0], &sides[1]]);
    town.world.run_for(80 * SLOT);
    (town, sides)
}

#[test]
fn another_final_chain_stops_whoever_has_acted_on_the_first() {
    for (strategy, phase) in [(Strategy::Light, SyncPhase::Light), (Strategy::Snap, SyncPhase::State)] {
        let (mut town, sides) = two_final_chains(11);
        let ix = town.world.add_node(NodeOptions {
            bootstrap: [&sides[0][1..], &sides[1][1..]].concat(),
            strategy,
            ..town.options()
        });
        town.world.split(&[&[&sides[0][..], &[ix]].concat(), &sides[1]]);
        town.world.run_until(60 * SLOT, |world| world.chain(ix).sync.phase == phase);
        let (seen, known) = (town.world.chain(ix), town.world.chain(sides[0][0]));
        assert!(seen.finalised.0 >= 32 && seen.finalised <= known.finalised);
        let account = Command::Account(town.chain.address(0));
        let Ok(Reply::Account(view)) = town.world.command(ix, account.clone()) else { panic!("no account") };
        assert_eq!((view.verified, view.height), (Verified::Proven, seen.finalised));
        assert_eq!(halted(&town.world, ix), None);

        town.world.split(&[&sides[0], &[&sides[1][..], &[ix]].concat()]);
        town.world.run_until(200 * SLOT, |world| halted(world, ix).is_some());
        let alarm = halted(&town.world, ix).unwrap();
        let stopped = town.world.chain(ix);
        assert!(alarm.contains(&stopped.finalised_hash.to_string()), "{alarm}");
        // It shows nothing as verified and follows nothing, after a restart neither.
        for _ in 0..2 {
            town.world.run_for(40 * SLOT);
            let chain = town.world.chain(ix);
            assert!(chain.finalised <= stopped.finalised && chain.height <= stopped.height);
            assert_eq!(town.world.command(ix, account.clone()), Err(CommandError::Starting));
            assert_eq!(halted(&town.world, ix).as_ref(), Some(&alarm));
            town.world.restart(ix, Keep::All).unwrap();
        }
    }
}

/// A town in which a light peer was away for so long that it has no headers to the newest checkpoint; its servers' answers
/// about ancestors are changed. Answers how many right ones they gave.
fn was_away(
    seed: u64,
    liars: usize,
    change: fn(SyncResponse) -> Option<SyncResponse>,
) -> (Town, PeerIx, Vec<PeerIx>, Rc<Cell<u64>>) {
    let mut town = Town::new(seed, 4, 0);
    let shown = Rc::new(Cell::new(0));
    let servers: Vec<PeerIx> = (0..3)
        .map(|index| {
            let shown = Rc::clone(&shown);
            let tamper = changed(move |response| match response {
                SyncResponse::Ancestor(_) if index < liars => change(response),
                SyncResponse::Ancestor(Some(_)) => {
                    shown.set(shown.get() + 1);
                    Some(response)
                }
                other => Some(other),
            });
            let bootstrap = town.validators.clone();
            town.world.add_node(NodeOptions { bootstrap, tamper: Some(tamper), ..town.options() })
        })
        .collect();
    town.world.run_for(60 * SLOT);
    let bootstrap = servers.clone();
    let strategy = Strategy::Light;
    let light = town.world.add_node(NodeOptions { bootstrap, strategy, ..town.options() });
    town.world.run_for(60 * SLOT);
    let before = town.world.chain(light);
    assert!(before.finalised.0 >= 64 && before.sync.phase == SyncPhase::Light);
    assert_eq!(shown.get(), 0, "the headers it follows lead from one checkpoint to the next");
    town.world.kill(light);
    town.world.run_for(200 * SLOT);
    town.world.restart(light, Keep::All).expect("it starts from what it has written down");
    (town, light, servers, shown)
}

fn is_back(world: &mut World, light: PeerIx) -> bool {
    let chain = world.chain(light);
    chain.finalised >= Height(256) && chain.height.0 > chain.finalised.0
}

#[test]
fn who_was_away_asks_for_the_way_from_what_it_knew() {
    for seed in seeds(3) {
        let (mut town, light, servers, shown) = was_away(seed, 0, Some);
        town.world.run_until(30 * SLOT, |world| is_back(world, light));
        assert_eq!(shown.get(), 1, "seed {seed}");
        town.world.run_for(60 * SLOT);
        assert_eq!(shown.get(), 1, "seed {seed}: its headers lead on from there");
        assert!(town.world.seen(light).past_alarms.is_empty());
        for server in servers {
            assert!(!blames(&mut town.world, light, server));
        }
    }
}

#[test]
fn who_shows_a_wrong_way_is_blamed_and_who_shows_none_is_passed_over() {
    let wrong = |response| match response {
        SyncResponse::Ancestor(Some(mut ancestor)) => {
            ancestor.hash.0[0] ^= 1;
            Some(SyncResponse::Ancestor(Some(ancestor)))
        }
        other => Some(other),
    };
    let mut caught = 0;
    for seed in 0..4 {
        let (mut town, light, servers, shown) = was_away(seed, 2, wrong);
        town.world.run_until(60 * SLOT, |world| is_back(world, light));
        assert_eq!(shown.get(), 1, "seed {seed}");
        assert!(!blames(&mut town.world, light, servers[2]));
        assert!(town.world.seen(light).past_alarms.is_empty());
        caught += town.world.seen(light).banned.len();
    }
    assert!(caught > 0, "the liars were never asked");

    let mut passed_over = 0;
    for seed in 0..4 {
        let (mut town, light, servers, shown) = was_away(seed, 2, |_| Some(SyncResponse::Ancestor(None)));
        town.world.run_until(60 * SLOT, |world| is_back(world, light));
        assert_eq!(shown.get(), 1, "seed {seed}");
        for server in servers {
            assert!(!blames(&mut town.world, light, server));
        }
        passed_over += town.world.status(light).refusals.get("ancestor-not-shown").copied().unwrap_or(0);
    }
    assert!(passed_over > 0, "the others were never asked");
}
