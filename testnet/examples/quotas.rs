//! What quotas cost an honest peer: the same work with all of them and without, in turn, ten times each.
//!
//! All peers are native, in this process, over TCP on loopback. *Full sync*: a peer downloads and executes a chain of 200-transfer blocks
//! from three that have it. *Payments*: one peer is handed payments one after the other, and another is done when it has them all in its pool,
//! by the relay of transactions. Where quotas do not count, they do not for any of the peers.
#![expect(clippy::unwrap_used, reason = "a benchmark may")]

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use libp2p::{Multiaddr, identity::Keypair};
use tempfile::TempDir;
use weft::peer::{External, Peer, PeerConfig, Storage};
use weft_core::{
    chain::Transaction,
    node::{ChainView, Command, Reply, StatusView, SyncPhase, Without},
};
use weft_testnet::fixture::{ChainMaker, LongChain, TestChain};

const BLOCKS: u64 = 100;
const BLOCK: usize = 200;
const SENDERS: usize = 2_000;
/// Not more than a peer keeps of its own.
const PAYMENTS: usize = 1_000;
const SLOT_MILLIS: u64 = 1_000;
const ROUNDS: usize = 10;
/// Nobody proposes in this time, so that they stay in the pool.
const QUIET_SLOT_MILLIS: u64 = 600_000;

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn made() -> LongChain {
    let chain = TestChain::new(now() - BLOCKS * SLOT_MILLIS, SLOT_MILLIS, 4, SENDERS);
    LongChain::make(ChainMaker::voting(&chain), &chain, BLOCKS, |_, height| {
        let turn = |nth: usize| (height as usize - 1) * BLOCK + nth;
        let pay = |nth| {
            chain.transfer(
                turn(nth) % SENDERS,
                chain.address((nth + 7) % SENDERS),
                (turn(nth) / SENDERS) as u64,
            )
        };
        (0..BLOCK).map(pay).collect()
    })
}

async fn start(chain: &TestChain, directory: Option<&Path>, without: Without) -> (Peer, Multiaddr) {
    let mut config = PeerConfig::new(Keypair::generate_ed25519());
    config.genesis = Some(chain.genesis.clone());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.external = External::Listening;
    config.storage = directory.map_or(Storage::Memory, |directory| Storage::Disk(directory.to_owned()));
    config.log_progress = false;
    config.without = without;
    let peer = Peer::start(config).await.unwrap();
    let status = until(&peer, |status, _| !status.addresses.is_empty()).await;
    let address = format!("{}/p2p/{}", status.addresses[0], peer.id());
    (peer, address.parse().unwrap())
}

async fn until(peer: &Peer, condition: impl Fn(&StatusView, &ChainView) -> bool) -> StatusView {
    loop {
        let Ok(Reply::Status(status)) = peer.handle().call(Command::Status).await else {
            panic!("a peer does not tell how it is")
        };
        if condition(&status, status.chain.as_ref().unwrap()) {
            return *status;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn dial(peer: &Peer, address: &Multiaddr) {
    peer.handle().call(Command::Dial(address.clone())).await.unwrap();
}

/// What a peer without the chain takes to execute all of it.
async fn sync(made: &LongChain, servers: &[Multiaddr], without: Without) -> Duration {
    let directory = TempDir::new().unwrap();
    let (peer, _) = start(&made.chain, Some(directory.path()), without).await;
    until(&peer, |_, chain| chain.sync.phase == SyncPhase::Searching).await;
    let begun = Instant::now();
    for server in servers {
        dial(&peer, server).await;
    }
    let tip = made.tip.head().hash();
    until(&peer, |_, chain| chain.head == tip).await;
    let took = begun.elapsed();
    peer.stop().await.unwrap();
    took
}

/// What payments take from one peer's hand to another's pool.
async fn pay(chain: &TestChain, payments: &[Transaction], without: Without) -> Duration {
    let (giver, at) = start(chain, None, without).await;
    let (taker, _) = start(chain, None, without).await;
    dial(&taker, &at).await;
    until(&giver, |status, _| status.peers == 1).await;
    let begun = Instant::now();
    for payment in payments {
        giver.handle().call(Command::Submit(payment.clone())).await.unwrap();
    }
    until(&taker, |_, chain| chain.pending == payments.len()).await;
    let took = begun.elapsed();
    giver.stop().await.unwrap();
    taker.stop().await.unwrap();
    took
}

fn told(what: &str, of: f64, took: &[Duration]) {
    let mut rates: Vec<f64> = took.iter().map(|took| of / took.as_secs_f64()).collect();
    rates.sort_by(f64::total_cmp);
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (rates.len() - 1) as f64;
    // Student's t for nine degrees of freedom, 95 in 100.
    let half = 2.262 * (variance / rates.len() as f64).sqrt();
    println!(
        "{what}: {mean:.0} a second, 95 % interval {:.0} to {:.0}; min {:.0}, median {:.0}, max {:.0}",
        mean - half,
        mean + half,
        rates[0],
        rates[rates.len() / 2],
        rates[rates.len() - 1]
    );
}

#[tokio::main]
async fn main() {
    let made = made();
    let kinds = [Without::default(), Without { quotas: true, ..Without::default() }];
    let directory = TempDir::new().unwrap();
    let (mut servers, mut addresses) = (Vec::new(), [Vec::new(), Vec::new()]);
    for (kind, without) in kinds.into_iter().enumerate() {
        for name in ["a", "b", "c"] {
            let data = directory.path().join(format!("{name}-{kind}"));
            made.write_data(&data).unwrap();
            let (server, address) = start(&made.chain, Some(&data), without).await;
            let tip = made.tip.head().hash();
            until(&server, |_, chain| chain.head == tip).await;
            addresses[kind].push(address);
            servers.push(server);
        }
    }
    let quiet = TestChain::new(now(), QUIET_SLOT_MILLIS, 1, SENDERS);
    let payments: Vec<Transaction> =
        (0..PAYMENTS).map(|from| quiet.transfer(from, quiet.address(from + 1), 0)).collect();

    let (mut synced, mut paid) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        // Now the one first, now the other.
        for kind in [round % 2, 1 - round % 2] {
            synced[kind].push(sync(&made, &addresses[kind], kinds[kind]).await);
            paid[kind].push(pay(&quiet, &payments, kinds[kind]).await);
        }
    }
    for (kind, name) in ["with all quotas", "without"].into_iter().enumerate() {
        told(&format!("blocks synchronised, {name}"), BLOCKS as f64, &synced[kind]);
        told(&format!("payments relayed, {name}"), PAYMENTS as f64, &paid[kind]);
    }
    for server in servers {
        server.stop().await.unwrap();
    }
}
