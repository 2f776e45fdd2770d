//! Servers that answer long after they were given up on: that is no offence, and what they bring is of no use.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use weft_core::{
    node::{Output, SyncPhase},
    primitives::{Height, decode},
    sync::{Strategy, SyncResponse},
};
use weft_testnet::sim::{NodeOptions, PeerIx, Tamper, World};

use crate::{
    strategies::{FINAL, blames, growing, is_there, join, made, options, servers},
    town::seeds,
};

/// The longest that an answer takes, in milliseconds.
const LONGEST: u64 = 10_000;

/// What peers have answered and not sent yet: by when each will, in milliseconds, and a number.
#[derive(Clone, Default)]
struct HeldBack(Rc<RefCell<BTreeMap<(u64, u64), Output>>>);

impl HeldBack {
    /// Every answer but that of where the peer is takes between two and ten seconds. Accounts are sent only if it `has_state`.
    fn tamper(&self, seed: u64, has_state: bool) -> Option<Tamper> {
        let (held, count) = (self.clone(), Cell::new(0));
        Some(Box::new(move |now, output| {
            let Output::Respond { body, .. } = &output else { return vec![output] };
            match decode(body, usize::MAX) {
                Ok(SyncResponse::Status(_)) => return vec![output],
                Ok(SyncResponse::Range(_)) if !has_state => return Vec::new(),
                _ => {}
            }
            count.set(count.get() + 1);
            let delay = 2_000 + (count.get() * 3_700 + seed * 1_300) % (LONGEST - 1_999);
            held.0.borrow_mut().insert((now.mono.0 + delay, count.get()), output);
            Vec::new()
        }))
    }

    fn send_due(&self, world: &mut World, ix: PeerIx) {
        let later = self.0.borrow_mut().split_off(&(world.now_of(ix).mono.0 + 1, 0));
        for output in self.0.replace(later).into_values() {
            world.act(ix, output);
        }
    }
}

/// Runs until something is so, while these peers send what they have held back.
fn run_until(
    world: &mut World,
    slow: &[(PeerIx, HeldBack)],
    millis: u64,
    mut condition: impl FnMut(&mut World) -> bool,
) {
    for _ in 0..millis / 250 {
        world.run_for(250);
        slow.iter().for_each(|(ix, held)| held.send_due(world, *ix));
        if condition(world) {
            return;
        }
    }
    panic!("not within {millis} ms\n{}", world.summary());
}

#[test]
fn whoever_answers_too_late_is_never_blamed() {
    for strategy in [Strategy::Snap, Strategy::Warp, Strategy::Fast, Strategy::Light] {
        for seed in seeds(8) {
            // One alone, or two of them.
            let held: Vec<HeldBack> = (0..=seed % 2).map(|_| HeldBack::default()).collect();
            let tampers = (seed..).zip(&held).map(|(seed, held)| held.tamper(seed, true)).collect();
            let (mut world, servers) = servers(seed, tampers);
            let slow: Vec<_> = servers.into_iter().zip(held).collect();
            let bootstrap: Vec<PeerIx> = slow.iter().map(|(ix, _)| *ix).collect();
            let ix = join(&mut world, &bootstrap, strategy);
            let end = if strategy == Strategy::Light { SyncPhase::Light } else { SyncPhase::Following };
            run_until(&mut world, &slow, 600_000, |world| {
                let sync = world.chain(ix).sync;
                sync.phase == end && sync.backfill.is_none()
            });
            assert_eq!(world.chain(ix).finalised, Height(FINAL), "{strategy}, seed {seed}");
            assert!(end == SyncPhase::Light || is_there(&mut world, ix), "{strategy}, seed {seed}");
            // Until the last answer to what has been asked so far is here; of what is asked now, since no block comes, there is no end.
            let until = world.elapsed() + LONGEST + 1_000;
            run_until(&mut world, &slow, 60_000, |world| world.elapsed() >= until);
            for server in bootstrap {
                assert!(!blames(&mut world, ix, server), "{strategy}, seed {seed}");
            }
        }
    }
}

/// While the pivot moves, each question is about something newer than the one before.
#[test]
fn whoever_answers_too_late_is_not_blamed_while_the_pivot_moves() {
    for seed in seeds(4) {
        let (mut world, validators) = growing(seed, |response| response);
        let slow: Vec<_> = (0..2)
            .map(|index| {
                let held = HeldBack::default();
                let (bootstrap, tamper) = (validators.clone(), held.tamper(seed + index, index == 0));
                let storage = made().storage();
                (world.add_node(NodeOptions { storage, bootstrap, tamper, ..options() }), held)
            })
            .collect();
        let all = [validators[0], slow[0].0, slow[1].0];
        run_until(&mut world, &slow, 120_000, |world| world.have_converged(&all, FINAL));
        let ix = join(&mut world, &all, Strategy::Snap);
        run_until(&mut world, &slow, 1_200_000, |world| world.chain(ix).sync.phase == SyncPhase::Following);
        for server in all {
            assert!(!blames(&mut world, ix, server), "seed {seed}");
        }
    }
}
