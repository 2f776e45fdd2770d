//! Every way to join a chain ends at the same block and state, whatever servers do and whenever the peer dies.

use std::{
    cell::Cell,
    collections::{BTreeSet, VecDeque},
    rc::Rc,
    sync::OnceLock,
};

use weft_core::{
    node::{Command, CommandError, Output, Protocol, Reply, SyncPhase, Verified},
    primitives::{Address, Hash, Height, Now, decode, encode},
    sync::{Strategy, SyncResponse, WEAK_SUBJECTIVITY_SLOTS},
};
use weft_testnet::{
    fixture::{ChainMaker, LongChain, TestChain, address, key},
    sim::{EPOCH, Keep, NodeOptions, PeerIx, Tamper, World},
};

const SLOT: u64 = 1_000;
/// The last finalised checkpoint of the made chain.
pub(super) const FINAL: u64 = 592;

/// 623 blocks in which one authority comes and another goes, and 1,500 accounts.
pub(super) fn made() -> &'static LongChain {
    static CHAIN: OnceLock<LongChain> = OnceLock::new();
    CHAIN.get_or_init(|| {
        let chain = TestChain::with_bystanders(EPOCH, SLOT, 4, 3, 1_500);
        LongChain::make(ChainMaker::voting(&chain), &chain, 623, |maker, height| {
            match height {
                20 => maker.let_in(4),
                90 => maker.put_out(0),
                _ => {}
            }
            vec![chain.transfer(height as usize % 3, address(&key("payee", height)), (height - 1) / 3)]
        })
    })
}

pub(super) fn options() -> NodeOptions {
    NodeOptions { genesis: Some(made().chain.genesis.clone()), ..NodeOptions::default() }
}

/// Peers that have the chain, and what each makes of its answers.
pub(super) fn servers(seed: u64, tampers: Vec<Option<Tamper>>) -> (World, Vec<PeerIx>) {
    let mut world = World::new(seed);
    world.set_wall(made().now().0);
    let servers = tampers
        .into_iter()
        .map(|tamper| world.add_node(NodeOptions { storage: made().storage(), tamper, ..options() }))
        .collect();
    world.run_for(3_000);
    (world, servers)
}

pub(super) fn join(world: &mut World, servers: &[PeerIx], strategy: Strategy) -> PeerIx {
    world.add_node(NodeOptions { bootstrap: servers.to_vec(), strategy, ..options() })
}

pub(super) fn anchor(height: u64) -> Strategy {
    Strategy::Checkpoint(made().header(Height(height)).hash())
}

pub(super) fn is_there(world: &mut World, ix: PeerIx) -> bool {
    let end = (made().tip.head().hash(), made().tip.trie().root());
    // A peer that is still joining knows of that head too.
    let joined = match world.command(ix, Command::Account(Address([7; 32]))) {
        Ok(Reply::Account(view)) => view.verified == Verified::Executed,
        _ => false,
    };
    // Looked at after that answer, which may have come from another peer and taken its time.
    let chain = world.chain(ix);
    (chain.head, chain.state_root) == end && joined
}

/// Changes what a peer answers.
pub(super) fn answers(
    mut change: impl FnMut(SyncResponse) -> Option<SyncResponse> + 'static,
) -> Option<Tamper> {
    Some(Box::new(move |_, output| {
        if let Output::Respond { id, body } = &output
            && let Ok(response) = decode::<SyncResponse>(body, usize::MAX)
        {
            let changed = change(response);
            return changed
                .map(|answer| Output::Respond { id: *id, body: encode(&answer) })
                .into_iter()
                .collect();
        }
        vec![output]
    }))
}

/// Whether a peer holds something against another.
pub(super) fn blames(world: &mut World, by: PeerIx, whom: PeerIx) -> bool {
    let id = world.peer_id(whom).to_string();
    let Ok(Reply::Peers(peers)) = world.command(by, Command::Peers) else { panic!("no peers") };
    let known = peers.iter().any(|view| view.peer == id);
    !known || peers.iter().any(|view| view.peer == id && view.score < 0)
}

#[test]
fn all_strategies_that_execute_end_at_the_same_block_and_state() {
    let strategies =
        [Strategy::Full, Strategy::Fast, Strategy::Warp, Strategy::Snap, anchor(128), anchor(FINAL)];
    for strategy in strategies {
        let (mut world, servers) = servers(1, vec![None, None, None]);
        let ix = join(&mut world, &servers, strategy);
        world.run_until(120_000, |world| is_there(world, ix));
        let chain = world.chain(ix);
        assert_eq!((chain.finalised, chain.sync.phase), (Height(FINAL), SyncPhase::Following), "{strategy}");
        assert_eq!(world.seen(ix).past_alarms.len(), 0, "{strategy}: {:?}", world.seen(ix).past_alarms);
        for server in &servers {
            assert!(!blames(&mut world, ix, *server), "{strategy}");
        }
        // Its own disk is enough from now on, and others can join by it.
        world.run_for(5_000);
        world.kill(ix);
        let storage = world.storage(ix);
        let again = world.add_node(NodeOptions { storage, strategy, ..options() });
        world.run_for(5_000);
        assert!(is_there(&mut world, again), "{strategy}");
        // Whoever began at a checkpoint can prove the chain to those who begin there or later.
        let start = if matches!(strategy, Strategy::Checkpoint(_)) { anchor(FINAL) } else { Strategy::Snap };
        let last = join(&mut world, &[again], start);
        world.run_until(120_000, |world| is_there(world, last));
    }
}

#[test]
fn a_light_peer_knows_the_finalised_checkpoint_and_proves_accounts() {
    let (mut world, servers) = servers(2, vec![None, None]);
    let ix = join(&mut world, &servers, Strategy::Light);
    world.run_until(60_000, |world| world.chain(ix).sync.phase == SyncPhase::Light);
    let chain = world.chain(ix);
    let header = made().header(Height(FINAL));
    assert_eq!((chain.finalised, chain.finalised_hash), (Height(FINAL), header.hash()));
    assert_eq!(chain.finalised_state_root, header.content.state_root);
    let payment = made().chain.transfer(0, Address([7; 32]), 0);
    let answer = world.command(ix, Command::Submit(payment));
    assert!(matches!(answer, Err(CommandError::Refused(_))), "its nonce is used: {answer:?}");
    let accounts = made().accounts(Height(FINAL));
    for (whose, known) in
        [(made().chain.address(1), true), (address(&key("payee", 50)), true), (Address([7; 32]), false)]
    {
        let Ok(Reply::Account(view)) = world.command(ix, Command::Account(whose)) else {
            panic!("no account")
        };
        let account = accounts.get(&whose.trie_key()).copied().unwrap_or_default();
        assert_eq!((view.balance, view.nonce, view.height), (account.balance, account.nonce, Height(FINAL)));
        assert_eq!(view.verified, Verified::Proven);
        assert_eq!(account.balance.0 > 0, known);
    }
    // A restart goes on from what was proven, without anybody.
    world.kill(ix);
    let storage = world.storage(ix);
    let again = world.add_node(NodeOptions { storage, strategy: Strategy::Light, ..options() });
    world.run_for(1_000);
    assert_eq!(world.chain(again).finalised_hash, header.hash());
    assert_eq!(world.command(again, Command::Account(Address([7; 32]))), Err(CommandError::Unproven));
}

#[test]
fn a_light_peer_takes_no_account_without_a_right_proof() {
    let lies = answers(|response| match response {
        SyncResponse::Account(Some(proof)) => {
            let mut bytes = encode(&proof);
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            Some(SyncResponse::Account(decode(&bytes, usize::MAX).ok()))
        }
        other => Some(other),
    });
    let (mut world, servers) = servers(3, vec![lies]);
    let ix = join(&mut world, &servers, Strategy::Light);
    world.run_until(60_000, |world| world.chain(ix).sync.phase == SyncPhase::Light);
    let answer = world.command(ix, Command::Account(made().chain.address(1)));
    assert_eq!(answer, Err(CommandError::Unproven));
    assert!(world.seen(ix).banned.contains(&servers[0]));
}

/// How one of three servers misbehaves, and whether that is an offence.
type Misdeed = (&'static str, bool, fn() -> Option<Tamper>);

const MISDEEDS: &[Misdeed] = &[
    ("a head it does not have", false, || {
        answers(|response| match response {
            SyncResponse::Status(mut status) => {
                status.finalised.height = Height(1 << 40);
                status.height = Height(1 << 40);
                Some(SyncResponse::Status(status))
            }
            other => Some(other),
        })
    }),
    ("fragments with a forged vote", true, || {
        answers(|response| match response {
            SyncResponse::Warp { mut fragments, finished } => {
                for fragment in &mut fragments {
                    fragment.certificate.signatures[0].1.0[5] ^= 1;
                }
                Some(SyncResponse::Warp { fragments, finished })
            }
            other => Some(other),
        })
    }),
    ("fragments of a fork", true, || {
        answers(|response| match response {
            SyncResponse::Warp { mut fragments, finished } => {
                for fragment in &mut fragments {
                    fragment.checkpoint.content.state_root = Hash([6; 32]);
                }
                Some(SyncResponse::Warp { fragments, finished })
            }
            other => Some(other),
        })
    }),
    ("the same fragments again and again", true, || {
        answers(|response| match response {
            SyncResponse::Warp { mut fragments, finished } => {
                fragments.extend(fragments.clone());
                Some(SyncResponse::Warp { fragments, finished })
            }
            other => Some(other),
        })
    }),
    ("another mountain range", true, || {
        answers(|response| match response {
            SyncResponse::Pivot(Some(mut parts)) => {
                parts.mmr.push(&Hash([1; 32]));
                Some(SyncResponse::Pivot(Some(parts)))
            }
            other => Some(other),
        })
    }),
    ("accounts that are not there", true, || {
        answers(|response| match response {
            SyncResponse::Range(Some(proof)) => {
                let mut bytes = encode(&proof);
                bytes[40] ^= 1;
                Some(SyncResponse::Range(decode(&bytes, usize::MAX).ok()))
            }
            other => Some(other),
        })
    }),
    ("the same accounts whatever is asked for", true, || {
        let mut first = None;
        answers(move |response| match response {
            SyncResponse::Range(Some(proof)) => {
                Some(SyncResponse::Range(Some(first.get_or_insert(proof).clone())))
            }
            other => Some(other),
        })
    }),
    ("half of the proof", false, || {
        let mut served = 0;
        answers(move |response| match response {
            SyncResponse::Warp { mut fragments, .. } => {
                fragments.truncate(1 - served);
                served = 1;
                Some(SyncResponse::Warp { fragments, finished: false })
            }
            other => Some(other),
        })
    }),
    ("half of the state", false, || {
        let mut served = 0;
        answers(move |response| match response {
            SyncResponse::Range(proof) => {
                served += 1;
                Some(SyncResponse::Range(proof.filter(|_| served < 3)))
            }
            other => Some(other),
        })
    }),
    ("no accounts", false, || {
        answers(|response| match response {
            SyncResponse::Range(_) => Some(SyncResponse::Range(None)),
            other => Some(other),
        })
    }),
    ("silence", false, || {
        answers(|response| Some(response).filter(|response| matches!(response, SyncResponse::Status(_))))
    }),
    ("a pivot that is gone", false, || {
        answers(|response| match response {
            SyncResponse::Pivot(_) => Some(SyncResponse::Pivot(None)),
            other => Some(other),
        })
    }),
    ("more than a message may hold", true, || {
        answers(|response| match response {
            SyncResponse::Warp { fragments, finished } => {
                let bytes = encode(&fragments).len().max(1);
                let often = Protocol::Sync.max_response() / bytes + 1;
                let fragments = fragments.iter().cycle().take(often * fragments.len()).cloned().collect();
                Some(SyncResponse::Warp { fragments, finished })
            }
            other => Some(other),
        })
    }),
    ("answers that come late", false, || {
        let mut late: VecDeque<(u64, Output)> = VecDeque::new();
        Some(Box::new(move |now, output| {
            let is_status =
                |body: &[u8]| matches!(decode::<SyncResponse>(body, usize::MAX), Ok(SyncResponse::Status(_)));
            match output {
                Output::Respond { id, body } if !is_status(&body) => {
                    late.push_back((now.mono.0 + 8_000, Output::Respond { id, body }));
                    Vec::new()
                }
                other => {
                    let due = late.partition_point(|(at, _)| *at <= now.mono.0);
                    late.drain(..due).map(|(_, output)| output).chain([other]).collect()
                }
            }
        }))
    }),
    ("being busy for ever", false, || {
        answers(|response| match response {
            SyncResponse::Status(_) => Some(response),
            _ => Some(SyncResponse::Busy),
        })
    }),
    ("the answer to another question", true, || {
        answers(|response| match response {
            SyncResponse::Status(_) | SyncResponse::Headers(_) => Some(response),
            _ => Some(SyncResponse::Headers(Vec::new())),
        })
    }),
];

#[test]
fn of_three_servers_one_that_misbehaves_is_blamed_or_passed_over() {
    for (name, blamed, tamper) in MISDEEDS {
        let (mut world, servers) = servers(4, vec![tamper(), None, None]);
        // It alone at first, so that it is asked.
        let ix = join(&mut world, &servers[..1], Strategy::Snap);
        world.run_for(4_000);
        for server in &servers[1..] {
            let address = world.address(*server);
            assert_eq!(world.command(ix, Command::Dial(address)), Ok(Reply::Done));
        }
        world.run_until(10_000, |world| servers[1..].iter().all(|server| world.is_connected(ix, *server)));
        world.run_until(300_000, |world| is_there(world, ix));
        assert_eq!(blames(&mut world, ix, servers[0]), *blamed, "{name}");
        for server in &servers[1..] {
            assert!(!blames(&mut world, ix, *server), "{name}: an honest server is blamed");
        }
    }
}

#[test]
fn a_checkpoint_that_nobody_knows_or_that_is_too_old_is_refused_and_said_so() {
    let (mut world, servers) = servers(5, vec![None, None]);
    let unknown = join(&mut world, &servers, Strategy::Checkpoint(Hash([9; 32])));
    world.run_for(60_000);
    assert_eq!(world.chain(unknown).height, Height(0));
    assert!(world.seen(unknown).alarms.iter().any(|alarm| alarm.starts_with("no peer brings")));
    for server in &servers {
        assert!(!blames(&mut world, unknown, *server));
    }

    let end = made().header(Height(FINAL)).slot().0 + WEAK_SUBJECTIVITY_SLOTS;
    world.set_wall(made().chain.genesis.slot_start(weft_core::primitives::Slot(end + 1)).0);
    let old = join(&mut world, &servers, anchor(FINAL));
    world.run_for(60_000);
    assert_eq!(world.chain(old).height, Height(0));
    assert!(world.seen(old).alarms.iter().any(|alarm| alarm.contains("slots ago")));
}

/// Old keys forge a history: accepted by plain warp, which cannot know, and refused with a checkpoint.
#[test]
fn forged_history_deceives_plain_warp_and_not_a_peer_with_a_checkpoint() {
    let honest = made();
    let forged = LongChain::make(ChainMaker::voting(&honest.chain), &honest.chain, 631, |_, _| Vec::new());
    for (strategy, deceived) in [(Strategy::Light, true), (Strategy::Warp, true), (anchor(480), false)] {
        let mut world = World::new(6);
        world.set_wall(forged.now().0);
        let forger = world.add_node(NodeOptions { storage: forged.storage(), ..options() });
        let server = world.add_node(NodeOptions { storage: honest.storage(), ..options() });
        world.run_for(2_000);
        let ix = join(&mut world, &[forger, server], strategy);
        world.run_for(60_000);
        let chain = world.chain(ix);
        let theirs = forged.record(forged.height()).finalised;
        assert_eq!(chain.finalised == theirs.height, deceived, "{strategy}");
        if !deceived {
            assert!(is_there(&mut world, ix));
        }
        assert!(!blames(&mut world, ix, server), "{strategy}: the honest one is blamed");
    }
}

/// Whether a peer that joins in this way has arrived.
fn has_joined(world: &mut World, ix: PeerIx, strategy: Strategy) -> bool {
    if strategy != Strategy::Light {
        return is_there(world, ix);
    }
    let chain = world.chain(ix);
    let head = made().tip.head().hash();
    (chain.finalised, chain.head, chain.sync.phase) == (Height(FINAL), head, SyncPhase::Light)
}

#[test]
fn a_crash_in_any_phase_of_any_strategy_ends_in_the_same_state() {
    use SyncPhase::{Bodies, Following, Headers, Light, Proof, State};
    let evenly: fn(u64) -> u64 = |step| 80 * step;
    let ever_later: fn(u64) -> u64 = |step| 20 * step * step;
    let cases = [
        (Strategy::Full, ever_later, vec![Headers, Bodies, Following]),
        (Strategy::Fast, evenly, vec![Proof, Headers, State, Following]),
        (Strategy::Warp, evenly, vec![Proof, State, Following]),
        (Strategy::Snap, evenly, vec![Proof, State, Following]),
        (anchor(480), evenly, vec![Proof, State, Following]),
        (Strategy::Light, ever_later, vec![Proof, Light]),
    ];
    for (strategy, moment, all) in cases {
        let mut phases = Vec::new();
        for step in 0..24 {
            let (mut world, servers) = servers(7 + step, vec![None, None]);
            let ix = join(&mut world, &servers, strategy);
            world.run_for(150 + moment(step));
            phases.push(world.chain(ix).sync.phase);
            let kept = world.unsettled(ix) / 2;
            world.restart(ix, Keep::Prefix(kept)).unwrap();
            world.run_until(120_000, |world| has_joined(world, ix, strategy));
            // It may have had all of it on its disk.
            world.run_for(3_000);
            assert!(world.seen(ix).past_alarms.is_empty(), "{strategy}, step {step}");
            for server in &servers {
                assert!(!blames(&mut world, ix, *server), "{strategy}, step {step}");
            }
        }
        for phase in all {
            assert!(phases.contains(&phase), "{strategy}: never died in {phase:?}, only in {phases:?}");
        }
    }
}

/// Four validators that go on with the chain, and send one piece of the state in 40 seconds. The answers of the first are
/// changed besides.
pub(super) fn growing(
    seed: u64,
    mut change: impl FnMut(SyncResponse) -> SyncResponse + 'static,
) -> (World, Vec<PeerIx>) {
    let mut world = World::new(seed);
    world.set_wall(made().now().0);
    let slow = || {
        let since = Rc::new(Cell::new(0_u64));
        move |now: Now, output: Output| {
            if let Output::Respond { body, .. } = &output
                && let Ok(SyncResponse::Range(_)) = decode::<SyncResponse>(body, usize::MAX)
            {
                if now.mono.0 < since.get() + 40_000 {
                    return Vec::new();
                }
                since.set(now.mono.0);
            }
            vec![output]
        }
    };
    let first = slow();
    let first: Tamper = Box::new(move |now, output| {
        let mut outputs = first(now, output);
        for output in &mut outputs {
            if let Output::Respond { body, .. } = output
                && let Ok(response) = decode::<SyncResponse>(body, usize::MAX)
            {
                *body = encode(&change(response));
            }
        }
        outputs
    });
    let mut first = Some(first);
    let mut validators: Vec<PeerIx> = Vec::new();
    for index in 1..=4 {
        let validator = Some(key("validator", index));
        let (storage, bootstrap) = (made().storage(), validators.clone());
        let tamper = first.take().unwrap_or_else(|| Box::new(slow()));
        let options = NodeOptions { storage, validator, bootstrap, tamper: Some(tamper), ..options() };
        validators.push(world.add_node(options));
    }
    world.run_for(5_000);
    (world, validators)
}

/// The chain goes on while the state comes slowly: the pivot moves, several times.
#[test]
fn the_pivot_moves_while_the_state_is_downloaded() {
    let (mut world, validators) = growing(8, |response| response);
    let ix = join(&mut world, &validators, Strategy::Snap);
    // Meanwhile new blocks are followed, by their headers: the head shown is never far behind.
    world.run_until(60_000, |world| world.chain(ix).sync.phase == SyncPhase::State);
    world.run_for(10_000);
    let (mut heads, mut finalised) = (BTreeSet::new(), BTreeSet::new());
    while world.chain(ix).sync.phase == SyncPhase::State && heads.len() < 1_000 {
        let (here, there) = (world.chain(ix), world.chain(validators[0]));
        assert!(
            here.height.0 + 2 >= there.height.0,
            "{} of {} while the state comes",
            here.height,
            there.height
        );
        heads.insert(here.height);
        finalised.insert(here.finalised);
        world.run_for(1_000);
    }
    assert!(heads.len() > 64 && finalised.len() > 2, "{} heads, {} final", heads.len(), finalised.len());
    world.run_until(1_200_000, |world| world.chain(ix).sync.phase == SyncPhase::Following);
    world.run_for(10_000);
    assert!(world.status(ix).refusals.is_empty(), "it began again");
    let base = world.chain(ix).finalised.0;
    assert!(base > FINAL + 64, "finalised at {base}");
    let (here, there) = (world.chain(ix), world.chain(validators[0]));
    assert!(here.height.0 + 2 >= there.height.0, "{} of {}", here.height, there.height);
    for validator in validators {
        assert!(!blames(&mut world, ix, validator));
    }
}
