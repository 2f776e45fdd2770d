//! A tab that follows a busy chain.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use weft_core::primitives::Hash;
use weft_testnet::{
    fixture::TestChain,
    live::{Chain, PATIENCE, Process, wait_for},
};

use crate::{Network, SLOT_MILLIS, tab::Tab};

/// Transfers a second, and how many seconds' worth of them.
const RATE: u64 = 200;
const SECONDS: u64 = 12;
/// Accounts that pay in turn, each at the same peer.
const ACCOUNTS: usize = 400;
/// How many submit at each peer: an answer comes once a transfer is on disk.
const LANES: usize = 8;

/// Submits what is due at each moment, in turn at each peer; returns the ids, and how many that was a second.
fn pay(made: &TestChain, peers: &[Process]) -> (BTreeSet<Hash>, f64) {
    let begun = Instant::now();
    let share = |turn: usize, peer: &Process| -> Vec<Hash> {
        let lanes = LANES * peers.len();
        let mine = (0..(RATE * SECONDS) as usize).filter(|number| number % ACCOUNTS % lanes == turn);
        let submit = |number: usize| {
            let due = Duration::from_millis(number as u64 * 1000 / RATE);
            thread::sleep(due.saturating_sub(begun.elapsed()));
            let (account, nonce) = (number % ACCOUNTS, (number / ACCOUNTS) as u64);
            let payment = made.transfer(account, made.address((account + 1) % ACCOUNTS), nonce);
            peer.submit(&payment).unwrap()
        };
        mine.map(submit).collect()
    };
    let ids = thread::scope(|scope| {
        let share = &share;
        let lanes = peers.iter().cycle().take(LANES * peers.len()).enumerate();
        let threads: Vec<_> = lanes.map(|(turn, peer)| scope.spawn(move || share(turn, peer))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    (ids, (RATE * SECONDS) as f64 / begun.elapsed().as_secs_f64())
}

/// Waits until a program has all of these in blocks; answers the height of the last of them.
fn settled(peer: &mut Process, made: &TestChain) -> u64 {
    let nonce = RATE * SECONDS / ACCOUNTS as u64;
    wait_for("all transfers are in blocks", PATIENCE, || {
        peer.check()?;
        let accounts = (0..ACCOUNTS).rev().map(|account| peer.account(&made.address(account)));
        for account in accounts {
            if account?.nonce < nonce {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .unwrap();
    peer.height().unwrap()
}

async fn count(tab: &Tab, name: &str) -> u64 {
    tab.debug().await[name].as_f64().unwrap() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_runs_on_the_main_thread_of_a_tab_that_follows_200_transfers_a_second() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let made = TestChain::new(now, SLOT_MILLIS, 3, ACCOUNTS);
    let mut network = Network::on(Chain::of(&made).unwrap());
    let tab = network.tab().await;
    // It has grown up: it checks transactions itself, and executes every block.
    tab.shows("[data-testid=\"sync-state\"][data-phase=\"following\"]").await;
    let before = tab.debug().await;
    let head = network.relay.height().unwrap();
    let (ids, rate) = tokio::task::block_in_place(|| pay(&made, &network.validators));
    assert_eq!(ids.len() as u64, RATE * SECONDS);
    // The last of them is due a little before the time is over.
    assert!(rate > 0.95 * RATE as f64, "the network took {rate:.0} transfers a second");
    let last = tokio::task::block_in_place(|| settled(&mut network.relay, &made));
    tab.follows(last).await;
    let after = tab.debug().await;
    println!(
        "{rate:.0} transfers a second; {} jobs in the worker, {} long tasks on the page before and {} after, the longest {} ms",
        after["jobs_in_worker"], before["long_tasks"], after["long_tasks"], after["longest_task_millis"]
    );
    // At least one for the execution of each block.
    let done = count(&tab, "jobs_in_worker").await - before["jobs_in_worker"].as_f64().unwrap() as u64;
    assert!(done > last - head, "{done} jobs for {} blocks", last - head);
    assert_eq!(count(&tab, "jobs_on_main").await, 0);
    assert_eq!((count(&tab, "jobs_lost").await, count(&tab, "workers_died").await), (0, 0));
    // What it followed it has executed.
    for id in [ids.first().unwrap(), ids.last().unwrap()] {
        tab.fill("lookup-id", &id.to_string()).await;
        tab.click("lookup").await;
        tab.shows("[data-testid=\"lookup-result\"][data-state=\"executed\"]").await;
    }
    tab.close().await;
}
