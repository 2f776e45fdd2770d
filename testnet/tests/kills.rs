//! A validator that is killed a hundred times, at moments drawn from a seed, keeps every promise it made: what it took
//! it keeps, and it never signs two blocks for one slot, nor two votes that contradict each other.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use weft_core::primitives::{Address, Hash};
use weft_testnet::{
    fixture::{address, key},
    live::{Chain, LiveError, NodeOptions, PATIENCE, Process, wait_for},
};

const KILLS: usize = 100;
/// It is killed on until it has voted so often.
const VOTES: usize = 4;
const SEED: u64 = 7;
/// A kill comes at most so long after the start, or after the peer was ready.
const LATEST_MILLIS: u64 = 500;

/// What the victim logs of itself, so that the slots it signed for, and its votes, can be read.
const LOG: &str = "weft_core::node::chain::propose=debug,weft_core::node::chain::finality=debug";
const PROPOSED: &str = "proposed a block";
const VOTED: &str = "voted target=";

/// Every block that was seen by slot and proposer.
#[derive(Default)]
struct Seen(BTreeMap<(u64, String), BTreeSet<Hash>>);

/// The slots for which a run of the victim published a block, by its own account.
fn published(victim: &Process) -> Vec<u64> {
    let log = victim.log();
    let lines = log.lines().filter(|line| line.contains(PROPOSED));
    let slot = |line: &str| line.split_once(" slot=")?.1.split_whitespace().next()?.parse().ok();
    lines.filter_map(slot).collect()
}

/// The heights of the votes that a run of the victim published, by its own account: target, source.
fn votes(victim: &Process) -> Vec<(u64, u64)> {
    let log = victim.log();
    let vote = |line: &str| {
        let (target, rest) = line.split_once(VOTED)?.1.split_once(" source=")?;
        Some((target.parse().ok()?, rest.split_whitespace().next()?.parse().ok()?))
    };
    log.lines().filter_map(vote).collect()
}

/// How the next kill is timed.
enum Moment {
    /// So long after the start.
    Starting(Duration),
    /// So long into its work.
    Working(Duration),
    /// At once when it has published a block: what it signed is out, and hardly on disk.
    Publishing,
}

impl Moment {
    fn draw(random: &mut ChaCha8Rng) -> Self {
        let delay = Duration::from_millis(random.next_u64() % LATEST_MILLIS);
        match random.next_u64() % 4 {
            0 => Self::Starting(delay),
            1 => Self::Working(delay),
            _ => Self::Publishing,
        }
    }
}

impl Seen {
    fn look(&mut self, peer: &Process) -> Result<(), LiveError> {
        for block in peer.blocks(64)?.into_iter().filter(|block| block.height.0 > 0) {
            self.0.entry((block.slot.0, block.proposer.to_string())).or_default().insert(block.hash);
        }
        Ok(())
    }
}

/// Pays one unit at a time through `peer` for a while, counting what it promised to keep.
fn pay(chain: &Chain, peer: &Process, to: Address, promised: &mut u64, until: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < until {
        // Refused only when the account has as many waiting as it may.
        if peer.submit(&chain.payment(to, 1, *promised).unwrap()).is_ok() {
            *promised += 1;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_validator_killed_a_hundred_times_loses_nothing_and_never_signs_two_things_that_contradict() {
    let chain = Chain::new(500, 2).unwrap();
    let mut other =
        chain.node("other", &NodeOptions { validator: Some(1), ..NodeOptions::default() }).unwrap();
    let bootstrap = other.tcp_addresses();
    let watcher = NodeOptions { bootstrap: bootstrap.clone(), ..NodeOptions::default() };
    let mut watcher = chain.node("watcher", &watcher).unwrap();
    let options = NodeOptions { validator: Some(0), bootstrap, ..NodeOptions::default() };
    let payer = address(&chain.key(&chain.faucet_key()).unwrap());
    let payee = address(&key("payee", 0));

    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let mut seen = Seen::default();
    let mut promised = 0;
    let (mut slots, mut cast) = (Vec::new(), Vec::new());
    let command = || {
        let mut command = chain.node_command("victim", &options);
        command.args(["--log", LOG]);
        command
    };
    // How many votes fall into a hundred kills depends on how fast it starts.
    for kill in 0..2 * KILLS {
        if kill >= KILLS && cast.len() >= VOTES {
            break;
        }
        let moment = Moment::draw(&mut random);
        if let Moment::Starting(delay) = moment {
            let mut victim = Process::start("victim", command(), chain.dir()).unwrap();
            thread::sleep(delay);
            victim.kill();
            slots.extend(published(&victim));
            cast.extend(votes(&victim));
            continue;
        }
        let mut victim = Process::start_ready("victim", command(), chain.dir()).unwrap();
        let kept = wait_for("it knows what it promised", PATIENCE, || {
            victim.check()?;
            match victim.account(&payer) {
                Ok(account) => Ok(Some(account.next_nonce).filter(|kept| *kept >= promised)),
                // Still reading its disk.
                Err(LiveError::Answer(_)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        // A payment may have been kept that it was killed before promising.
        promised = kept.unwrap_or_else(|error| {
            let kept = (victim.account(&payer).unwrap(), other.account(&payer).unwrap());
            panic!("after {kill} kills, {promised} payments were promised, and {kept:?} are kept: {error}")
        });
        if let Moment::Working(delay) = moment {
            pay(&chain, &victim, payee, &mut promised, delay);
        } else {
            pay(&chain, &victim, payee, &mut promised, Duration::from_millis(50));
            let before = published(&victim).len();
            let begun = Instant::now();
            while published(&victim).len() == before && begun.elapsed() < PATIENCE {
                thread::yield_now();
            }
        }
        victim.kill();
        slots.extend(published(&victim));
        cast.extend(votes(&victim));
        seen.look(&other).unwrap();
        seen.look(&watcher).unwrap();
    }

    assert!(promised > KILLS as u64 / 4, "the kills were of a validator at work: {promised} payments");
    let victim = chain.node("victim", &options).unwrap();
    for peer in [&mut other, &mut watcher] {
        wait_for("every payment is in a block", PATIENCE, || {
            peer.check()?;
            Ok((peer.account(&payee)?.balance.0 == promised).then_some(()))
        })
        .unwrap();
    }
    seen.look(&victim).unwrap();
    let own = victim.chain().unwrap().validator.unwrap();
    wait_for("it proposes again", PATIENCE, || {
        seen.look(&other)?;
        Ok(other.blocks(4)?.iter().any(|block| block.proposer == own).then_some(()))
    })
    .unwrap();
    let twice: Vec<_> = seen.0.iter().filter(|(_, blocks)| blocks.len() > 1).collect();
    assert!(twice.is_empty(), "others saw two blocks for one slot: {twice:?}");
    let distinct: BTreeSet<u64> = slots.iter().copied().collect();
    assert_eq!(distinct.len(), slots.len(), "it published twice for a slot: {slots:?}");
    assert!(slots.len() > KILLS / 2, "it published blocks for {} slots only", slots.len());
    // One for each height, and none around another.
    let in_order = cast.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
    assert!(in_order, "it voted against itself: {cast:?}");
    assert!(cast.len() >= VOTES, "it voted only for these: {cast:?}");
    for peer in [&other, &watcher] {
        assert_eq!(peer.authorities().unwrap().set_id, 0, "nobody has proof against it");
        let scores: Vec<i32> = peer.peers().unwrap().iter().map(|peer| peer.score).collect();
        assert!(scores.iter().all(|score| *score >= 0), "nobody is blamed for dying: {scores:?}");
    }
}
