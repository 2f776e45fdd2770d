//! A part of an answer is wrong: whoever sent it is blamed, nobody else is, and the peer that asked arrives all the same.

use std::{cell::Cell, rc::Rc};

use weft_core::{
    node::{Command, Output, Reply, SyncPhase},
    primitives::decode,
    sync::{BlockDiff, BodiesResponse, Strategy, SyncResponse},
};
use weft_testnet::sim::Tamper;

use crate::{
    strategies::{anchor, blames, growing, is_there, join, servers},
    town::seeds,
};

/// An answer that proves something, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Warp,
    Checkpoint,
    Pivot,
    Range,
    Headers,
    Bodies,
}

impl Kind {
    /// Which of these an answer is.
    fn of(body: &[u8]) -> Option<Self> {
        match decode::<SyncResponse>(body, usize::MAX) {
            Ok(SyncResponse::Warp { fragments, .. }) if !fragments.is_empty() => Some(Self::Warp),
            Ok(SyncResponse::Checkpoint(Some(_))) => Some(Self::Checkpoint),
            Ok(SyncResponse::Pivot(Some(_))) => Some(Self::Pivot),
            Ok(SyncResponse::Range(Some(_))) => Some(Self::Range),
            Ok(SyncResponse::Headers(headers)) if headers.len() > 1 => Some(Self::Headers),
            Ok(_) => None,
            Err(_) => {
                let BodiesResponse(bodies) = decode(body, usize::MAX).ok()?;
                bodies.iter().any(Option::is_some).then_some(Self::Bodies)
            }
        }
    }

    /// What a server is blamed for when one is wrong; if not even its form is right, for that.
    const fn offences(self) -> &'static [&'static str] {
        match self {
            Self::Warp | Self::Checkpoint | Self::Pivot | Self::Range => &["bad-proof", "malformed"],
            Self::Headers => &["bad-signature", "unrequested", "malformed"],
            Self::Bodies => &["wrong-body", "malformed"],
        }
    }

    /// A way to join that asks for these.
    fn strategy(self) -> Strategy {
        match self {
            Self::Warp | Self::Pivot | Self::Range => Strategy::Snap,
            Self::Checkpoint => anchor(480),
            Self::Headers | Self::Bodies => Strategy::Full,
        }
    }
}

/// Flips one bit of each answer of a kind: `at` of 2^32 of the way through it.
fn flips(kind: Kind, at: u64, flipped: &Rc<Cell<u32>>) -> Option<Tamper> {
    let flipped = Rc::clone(flipped);
    Some(Box::new(move |_, output| match output {
        Output::Respond { id, mut body } if Kind::of(&body) == Some(kind) => {
            // What kind of answer it is, and whether there is more, is no proof.
            let (first, last) = match kind {
                Kind::Warp => (1, body.len() - 1),
                _ => (1, body.len()),
            };
            let bits = 8 * (last - first) as u64;
            let bit = 8 * first as u64 + bits * (at & 0xffff_ffff) / (1 << 32);
            body[(bit / 8) as usize] ^= 1 << (bit % 8);
            flipped.set(flipped.get() + 1);
            vec![Output::Respond { id, body }]
        }
        other => vec![other],
    }))
}

#[test]
fn whoever_sends_a_proof_with_a_bit_flipped_is_blamed_and_nobody_else() {
    for kind in [Kind::Warp, Kind::Checkpoint, Kind::Pivot, Kind::Range, Kind::Headers, Kind::Bodies] {
        for seed in seeds(5) {
            let at = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
            let flipped = Rc::default();
            let (mut world, servers) = servers(seed, vec![flips(kind, at, &flipped), None, None]);
            // It alone at first, so that it is asked.
            let ix = join(&mut world, &servers[..1], kind.strategy());
            world.run_until(60_000, |_| flipped.get() > 0);
            for server in &servers[1..] {
                let address = world.address(*server);
                assert_eq!(world.command(ix, Command::Dial(address)), Ok(Reply::Done));
            }
            world.run_until(300_000, |world| is_there(world, ix));
            assert!(blames(&mut world, ix, servers[0]), "{kind:?}, seed {seed}: nobody is blamed");
            let offences: Vec<_> = world.penalties().into_keys().collect();
            let fit = |offence| kind.offences().contains(offence);
            assert!(!offences.is_empty() && offences.iter().all(fit), "{kind:?}, seed {seed}: {offences:?}");
            for server in &servers[1..] {
                assert!(
                    !blames(&mut world, ix, *server),
                    "{kind:?}, seed {seed}: an honest server is blamed"
                );
            }
        }
    }
}

/// What changed is committed to by each header; still, each way to tell it wrongly has to be seen and blamed.
type Lie = (&'static str, fn(&mut Vec<BlockDiff>));

const LIES: &[Lie] = &[
    ("another balance", |blocks| {
        blocks
            .iter_mut()
            .flat_map(|block| &mut block.accounts)
            .for_each(|(_, account)| account.balance.0 ^= 1)
    }),
    ("changes left out", |blocks| blocks.iter_mut().for_each(|block| block.accounts.clear())),
    ("a block left out", |blocks| drop(blocks.remove(blocks.len() / 2))),
    ("the same again", |blocks| blocks.extend(blocks.clone())),
];

#[test]
fn whoever_tells_changes_wrongly_while_the_pivot_moves_is_blamed_and_nobody_else() {
    for (name, lie) in LIES {
        let lied = Rc::new(Cell::new(false));
        let lies = Rc::clone(&lied);
        let (mut world, validators) = growing(9, move |response| match response {
            SyncResponse::Diffs(mut blocks) if !blocks.is_empty() => {
                lie(&mut blocks);
                lies.set(true);
                SyncResponse::Diffs(blocks)
            }
            other => other,
        });
        // It alone at first, so that it is asked.
        let ix = join(&mut world, &validators[..1], Strategy::Snap);
        world.run_until(600_000, |_| lied.get());
        world.run_for(5_000);
        assert!(blames(&mut world, ix, validators[0]), "{name}: nobody is blamed");
        for validator in &validators[1..] {
            let address = world.address(*validator);
            assert_eq!(world.command(ix, Command::Dial(address)), Ok(Reply::Done));
        }
        world.run_until(1_200_000, |world| world.chain(ix).sync.phase == SyncPhase::Following);
        world.run_for(10_000);
        let (here, there) = (world.chain(ix), world.chain(validators[1]));
        assert!(here.height.0 + 2 >= there.height.0, "{name}: {} of {}", here.height, there.height);
        for validator in &validators[1..] {
            assert!(!blames(&mut world, ix, *validator), "{name}: an honest server is blamed");
        }
    }
}
