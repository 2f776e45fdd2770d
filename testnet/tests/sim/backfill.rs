//! Headers from before the block at which a peer joined: who downloads them, when, and whom it blames.

use std::{cell::Cell, rc::Rc, sync::OnceLock};

use weft_core::{
    chain::Header,
    node::{Command, CommandError, Prune, Reply, SyncPhase},
    primitives::{Height, decode, encode},
    sync::{Strategy, SyncResponse},
};
use weft_testnet::{
    fixture::{ChainMaker, LongChain, TestChain},
    sim::{EPOCH, Keep, NodeOptions, PeerIx, Tamper, World},
};

use super::strategies::{FINAL, anchor, answers, blames, is_there, join, made, options, servers};

/// Whether these headers are from before the block at which peers join.
fn are_old(headers: &[Header]) -> bool {
    headers.last().is_some_and(|last| last.height().0 < FINAL)
}

/// A server that brings few old headers at once, and counts them.
fn few_at_once(brought: &Rc<Cell<u64>>) -> Option<Tamper> {
    let brought = Rc::clone(brought);
    answers(move |response| match response {
        SyncResponse::Headers(mut headers) if are_old(&headers) => {
            let headers = headers.split_off(headers.len().saturating_sub(16));
            brought.set(brought.get() + headers.len() as u64);
            Some(SyncResponse::Headers(headers))
        }
        other => Some(other),
    })
}

/// The lowest header of those without a gap down from the newest.
fn oldest_header(world: &World, ix: PeerIx) -> Height {
    let headers: Vec<(Height, Header)> = world
        .storage(ix)
        .archive
        .iter()
        .map(|((height, _), block)| (*height, decode(&block.0, Header::LEN).expect("a header")))
        .collect();
    assert!(headers.iter().all(|(height, header)| header == made().header(*height)));
    let linked = headers.windows(2).rev().take_while(|pair| pair[0].0.0 + 1 == pair[1].0.0);
    linked.last().map_or(Height(u64::MAX), |pair| pair[0].0)
}

fn has_all_headers(world: &World, ix: PeerIx) -> bool {
    oldest_header(world, ix) == Height(1)
}

/// Whether the block with this height is shown with its transactions.
fn shows(world: &mut World, ix: PeerIx, height: u64) -> bool {
    use weft_core::node::BlockRef;
    match world.command(ix, Command::Block(BlockRef::Height(height))) {
        Ok(Reply::Block(view)) => !view.transactions.is_empty(),
        Err(CommandError::NoSuchBlock) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_warp_peer_follows_the_chain_first_and_then_has_every_header_down_to_the_genesis() {
    let brought = Rc::new(Cell::new(0));
    let (mut world, servers) = servers(21, vec![few_at_once(&brought), few_at_once(&brought)]);
    let ix = join(&mut world, &servers, Strategy::Warp);
    let joined = world.run_until(60_000, |world| is_there(world, ix));
    assert!(oldest_header(&world, ix) > Height(FINAL / 2), "headers came before the blocks");
    let view = world.chain(ix).sync;
    assert!(
        view.phase == SyncPhase::Following && view.backfill.is_some_and(|it| it.total == FINAL),
        "{view}"
    );

    let whole = world.run_until(60_000, |world| has_all_headers(world, ix));
    world.run_for(1_000);
    assert_eq!(world.chain(ix).sync.backfill, None);
    assert_eq!(brought.get(), FINAL - 1, "each header once");
    // Four questions a second, of sixteen headers here.
    assert!(whole >= 8_000, "all headers after {whole} ms more than {joined} ms");
    for server in &servers {
        assert!(world.seen(*server).requests > 0 && !blames(&mut world, ix, *server));
    }

    // It has the headers and not the bodies, and says so.
    assert!(shows(&mut world, ix, FINAL + 1) && !shows(&mut world, ix, FINAL) && !shows(&mut world, ix, 5));
    let late = join(&mut world, &[ix], Strategy::Full);
    world.run_for(30_000);
    assert_eq!(world.chain(late).height, Height(0), "bodies out of nothing");
    assert!(!blames(&mut world, late, ix));
    // From it alone another one gets them all.
    let next = join(&mut world, &[ix], Strategy::Warp);
    world.run_until(60_000, |world| is_there(world, next) && has_all_headers(world, next));
    assert!(!blames(&mut world, next, ix));
}

#[test]
fn only_those_download_old_headers_whose_strategy_says_so() {
    for (strategy, oldest) in [
        (Strategy::Fast, 1),
        (Strategy::Warp, 1),
        (anchor(480), 1),
        (Strategy::Snap, FINAL + 1),
        (Strategy::Full, 1),
    ] {
        let (mut world, servers) = servers(22, vec![None, None]);
        let ix = join(&mut world, &servers, strategy);
        world.run_until(60_000, |world| is_there(world, ix));
        world.run_for(20_000);
        assert_eq!(oldest_header(&world, ix), Height(oldest), "{strategy}");
        let view = world.chain(ix).sync;
        assert_eq!((view.phase, view.backfill), (SyncPhase::Following, None), "{strategy}");
    }
    // Whoever has joined may still change their mind.
    let (mut world, servers) = servers(22, vec![None, None]);
    let ix = join(&mut world, &servers, Strategy::Snap);
    world.run_until(60_000, |world| is_there(world, ix));
    world.run_for(5_000);
    world.kill(ix);
    let storage = world.storage(ix);
    let strategy = Strategy::Warp;
    let again = world.add_node(NodeOptions { storage, strategy, bootstrap: servers, ..options() });
    world.run_until(60_000, |world| has_all_headers(world, again));
}

#[test]
fn who_forgets_old_blocks_checks_the_old_headers_and_keeps_none() {
    for (strategy, prune) in
        [(Strategy::Warp, Prune::Full), (Strategy::Fast, Prune::Full), (anchor(480), Prune::Light)]
    {
        let brought = Rc::new(Cell::new(0));
        let (mut world, servers) = servers(24, vec![few_at_once(&brought), few_at_once(&brought)]);
        let ix = world.add_node(NodeOptions { strategy, prune, bootstrap: servers.clone(), ..options() });
        world.run_until(60_000, |_| brought.get() > FINAL / 2);
        world.restart(ix, Keep::All).unwrap();
        world.run_until(60_000, |world| is_there(world, ix) && world.chain(ix).sync.backfill.is_none());
        assert!((FINAL - 1..FINAL + 48).contains(&brought.get()), "{strategy}: {} headers", brought.get());
        assert_eq!(oldest_header(&world, ix), Height(FINAL + 1), "{strategy}");
        assert!(world.seen(ix).past_alarms.is_empty());
        assert!(servers.iter().all(|server| !blames(&mut world, ix, *server)), "{strategy}");
    }
}

#[test]
fn a_crash_at_any_time_costs_no_more_than_the_last_answer() {
    for strategy in [Strategy::Warp, Strategy::Fast, anchor(480)] {
        let mut phases = Vec::new();
        for step in 0..16 {
            let brought = Rc::new(Cell::new(0));
            let (mut world, servers) = servers(23 + step, vec![few_at_once(&brought), few_at_once(&brought)]);
            let ix = join(&mut world, &servers, strategy);
            world.run_for(400 + step * 100 + step * step * step);
            let view = world.chain(ix).sync;
            phases.push((view.phase, view.backfill.is_some()));
            for _ in 0..2 {
                let kept = world.unsettled(ix) / 2;
                world.restart(ix, Keep::Prefix(kept)).unwrap();
                world.run_for(700);
            }
            world.run_until(120_000, |world| is_there(world, ix) && has_all_headers(world, ix));
            assert!(world.seen(ix).past_alarms.is_empty());
            assert!(brought.get() <= FINAL + 2 * 3 * 16, "{strategy}, {step}: {} headers", brought.get());
            for server in &servers {
                assert!(!blames(&mut world, ix, *server), "{strategy}");
            }
        }
        let there = match strategy {
            Strategy::Fast => (SyncPhase::Headers, false),
            _ => (SyncPhase::Following, true),
        };
        for phase in [(SyncPhase::State, false), there] {
            assert!(phases.contains(&phase), "{strategy}: never died in {phase:?}, only in {phases:?}");
        }
    }
}

/// What one of three servers does to old headers, and whether that is an offence.
type Misdeed = (&'static str, bool, fn(Vec<Header>) -> Option<SyncResponse>);

const MISDEEDS: &[Misdeed] = &[
    ("a header of a fork", true, |mut headers| {
        if let Some(header) = headers.last_mut() {
            header.content.state_root = weft_core::primitives::Hash([7; 32]);
        }
        Some(SyncResponse::Headers(headers))
    }),
    ("a header left out", true, |mut headers| {
        if headers.len() > 4 {
            headers.remove(2);
        }
        Some(SyncResponse::Headers(headers))
    }),
    ("headers of another place", true, |mut headers| {
        headers.pop();
        Some(SyncResponse::Headers(headers))
    }),
    ("too many headers", true, |headers| {
        Some(SyncResponse::Headers(headers.iter().cycle().take(1_025).cloned().collect()))
    }),
    ("the answer to another question", true, |_| Some(SyncResponse::Pivot(None))),
    ("none", false, |_| Some(SyncResponse::Headers(Vec::new()))),
    ("silence", false, |_| None),
    ("being busy for ever", false, |_| Some(SyncResponse::Busy)),
];

#[test]
fn who_lies_about_old_headers_is_blamed_and_who_lacks_them_is_not() {
    for strategy in [Strategy::Warp, Strategy::Fast] {
        for (name, blamed, misdeed) in MISDEEDS {
            let tamper = answers(|response| match response {
                SyncResponse::Headers(headers) if are_old(&headers) => misdeed(headers),
                other => Some(other),
            });
            let brought = Rc::new(Cell::new(0));
            let helpers = || few_at_once(&brought);
            let (mut world, servers) = servers(24, vec![tamper, helpers(), helpers()]);
            let ix = join(&mut world, &servers, strategy);
            world.run_until(200_000, |world| is_there(world, ix) && has_all_headers(world, ix));
            assert_eq!(blames(&mut world, ix, servers[0]), *blamed, "{strategy}: {name}");
            for server in &servers[1..] {
                assert!(!blames(&mut world, ix, *server), "{strategy}: {name}: an honest server is blamed");
            }
        }
    }
}

/// A chain that is final in every way, but somebody else has signed one of its headers: only who checks each header sees it.
fn forged() -> &'static LongChain {
    static CHAIN: OnceLock<LongChain> = OnceLock::new();
    CHAIN.get_or_init(|| {
        let chain = TestChain::new(EPOCH, 1_000, 4, 3);
        LongChain::make(ChainMaker::voting(&chain), &chain, 100, |maker, height| {
            if height == 41 {
                maker.forge();
            }
            Vec::new()
        })
    })
}

#[test]
fn a_fast_peer_refuses_a_final_chain_with_one_header_that_nobody_rightly_signed() {
    for (strategy, refused) in [(Strategy::Fast, true), (Strategy::Warp, false)] {
        let mut world = World::new(25);
        world.set_wall(forged().now().0);
        let options =
            || NodeOptions { genesis: Some(forged().chain.genesis.clone()), ..NodeOptions::default() };
        let server = world.add_node(NodeOptions { storage: forged().storage(), ..options() });
        let ix = world.add_node(NodeOptions { bootstrap: vec![server], strategy, ..options() });
        world.run_for(60_000);
        let alarms = &world.seen(ix).alarms;
        assert_eq!(alarms.iter().any(|alarm| alarm.starts_with("the headers before")), refused, "{strategy}");
        assert_eq!(world.chain(ix).sync.phase == SyncPhase::Following, !refused, "{strategy}");
        assert!(!blames(&mut world, ix, server), "{strategy}: no server can have made that up");
    }
}

#[test]
fn an_archived_header_without_a_body_is_no_block() {
    let (mut world, servers) = servers(26, vec![None]);
    let ix = join(&mut world, &servers, Strategy::Warp);
    world.run_until(60_000, |world| is_there(world, ix) && has_all_headers(world, ix));
    let storage = world.storage(ix);
    let bodies = |from: u64, to: u64| {
        let range = storage.archive.range((Height(from), weft_core::primitives::Hash::ZERO)..);
        range.take_while(|((height, _), _)| height.0 <= to).filter(|(_, block)| !block.1.is_empty()).count()
    };
    assert_eq!((bodies(1, FINAL), bodies(FINAL + 1, 623)), (0, 31));
    let first = storage.archive.values().next().expect("headers are there");
    assert_eq!(first.0, encode(made().header(Height(1))));
}
