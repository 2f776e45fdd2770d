//! How fast a peer executes a chain that it downloads, against verifying and executing the same blocks alone.
//!
//! Four native peers in this process, over TCP on loopback: three have a chain of 200-transfer blocks on 100,000 accounts,
//! the fourth has its genesis, is told of the three, and is done when its head is theirs. *Alone* is what it computes:
//! decode, check roots, verify signatures, execute; once on one thread, and once with the signatures on as many threads as
//! a peer has workers, ahead of the execution. All peers share the machine, so what the servers need is part of the sync.
#![expect(clippy::unwrap_used, reason = "a benchmark may")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use libp2p::{Multiaddr, identity::Keypair};
use mimalloc::MiMalloc;
use tempfile::TempDir;
use weft::peer::{External, Peer, PeerConfig, Storage};
use weft_core::{
    chain::{Body, Header},
    node::{ChainView, Command, Job, JobResult, Reply, StatusView, SyncPhase},
    primitives::{Hash, decode, encode},
    state::{Account, BlockContext, Trie},
};
use weft_testnet::fixture::{ChainMaker, LongChain, TestChain};

/// As in the programs that people run.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const BLOCKS: u64 = 250;
const BLOCK: usize = 200;
const SENDERS: usize = 2_000;
const ACCOUNTS: usize = 100_000;
const SLOT_MILLIS: u64 = 1_000;
const ROUNDS: usize = 5;

fn made() -> LongChain {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let time = now - BLOCKS * SLOT_MILLIS;
    let chain = TestChain::with_bystanders(time, SLOT_MILLIS, 4, SENDERS, ACCOUNTS - SENDERS);
    LongChain::make(ChainMaker::voting(&chain), &chain, BLOCKS, |_, height| {
        let turn = |nth: usize| (height as usize - 1) * BLOCK + nth;
        (0..BLOCK)
            .map(|nth| {
                let to = chain.genesis.grants[(turn(nth) * 7_919) % ACCOUNTS].address;
                chain.transfer(turn(nth) % SENDERS, to, (turn(nth) / SENDERS) as u64)
            })
            .collect()
    })
}

/// A block as it comes.
struct Coming {
    header: Vec<u8>,
    body: Vec<u8>,
}

/// What is checked of a block before it is executed.
fn verify(genesis: Hash, coming: &Coming) -> (Header, Body) {
    let header: Header = decode(&coming.header, Header::LEN).unwrap();
    let body: Body = decode(&coming.body, Body::MAX_LEN).unwrap();
    body.check(&header).unwrap();
    let transactions = Arc::new(body.transactions.clone());
    for job in [
        Job::VerifyHeaders { genesis, headers: Arc::new(vec![header.clone()]) },
        Job::VerifyTransactions { genesis, transactions },
    ] {
        let JobResult::Verified(valid) = job.run() else { unreachable!("a verification verifies") };
        assert!(valid.into_iter().all(|valid| valid));
    }
    (header, body)
}

fn execute(made: &LongChain, trie: &Trie, header: &Header, body: Body) -> Trie {
    let context = BlockContext {
        slot: header.slot(),
        fee_address: made.record(header.height()).set.proposer(header.slot()).fee_address,
        min_fee_per_byte: made.chain.genesis.min_fee_per_byte,
    };
    let job = Job::Execute { trie: trie.clone(), context, transactions: Arc::new(body.transactions) };
    let JobResult::Executed(Ok(executed)) = job.run() else { unreachable!("these transfers are valid") };
    assert_eq!(executed.trie.root(), header.content.state_root);
    assert_eq!(executed.diff.root(), header.content.diff_root);
    executed.trie
}

fn on_one_thread(made: &LongChain, coming: &[Coming], trie: &Trie) -> Duration {
    let begun = Instant::now();
    let mut trie = trie.clone();
    for coming in coming {
        let (header, body) = verify(made.chain.hash(), coming);
        trie = execute(made, &trie, &header, body);
    }
    begun.elapsed()
}

fn on_all_threads(made: &LongChain, coming: &[Coming], trie: &Trie) -> Duration {
    let begun = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let genesis = made.chain.hash();
    thread::scope(|scope| {
        let (verified, ready) = mpsc::channel();
        for first in 0..threads {
            let verified = verified.clone();
            scope.spawn(move || {
                for (place, coming) in coming.iter().enumerate().skip(first).step_by(threads) {
                    verified.send((place, verify(genesis, coming))).unwrap();
                }
            });
        }
        drop(verified);
        let (mut trie, mut waiting, mut next) = (trie.clone(), BTreeMap::new(), 0);
        for (place, block) in ready {
            waiting.insert(place, block);
            while let Some((header, body)) = waiting.remove(&next) {
                trie = execute(made, &trie, &header, body);
                next += 1;
            }
        }
    });
    begun.elapsed()
}

async fn start(made: &LongChain, directory: &Path) -> Peer {
    let mut config = PeerConfig::new(Keypair::generate_ed25519());
    config.genesis = Some(made.chain.genesis.clone());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.external = External::Listening;
    config.storage = Storage::Disk(directory.to_owned());
    config.log_progress = false;
    Peer::start(config).await.unwrap()
}

async fn status(peer: &Peer) -> StatusView {
    let Ok(Reply::Status(status)) = peer.handle().call(Command::Status).await else {
        panic!("a peer does not tell how it is")
    };
    *status
}

async fn until(peer: &Peer, condition: impl Fn(&StatusView, &ChainView) -> bool) -> StatusView {
    loop {
        let status = status(peer).await;
        if condition(&status, status.chain.as_ref().unwrap()) {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What a peer without the chain takes to execute all of it.
async fn sync(made: &LongChain, servers: &[Multiaddr]) -> Duration {
    let directory = TempDir::new().unwrap();
    let peer = start(made, directory.path()).await;
    until(&peer, |status, chain| !status.addresses.is_empty() && chain.sync.phase == SyncPhase::Searching)
        .await;
    let begun = Instant::now();
    for server in servers {
        peer.handle().call(Command::Dial(server.clone())).await.unwrap();
    }
    let tip = made.tip.head().hash();
    let status = until(&peer, |_, chain| chain.head == tip).await;
    let took = begun.elapsed();
    assert!(status.alarms.is_empty(), "{:?}", status.alarms);
    peer.stop().await.unwrap();
    took
}

fn ratio(alone: Duration, synced: Duration) -> f64 {
    alone.as_secs_f64() / synced.as_secs_f64()
}

fn told(what: &str, mut ratios: Vec<f64>) {
    ratios.sort_by(f64::total_cmp);
    println!(
        "{what} / full sync: min {:.3}  median {:.3}  max {:.3}",
        ratios[0],
        ratios[ratios.len() / 2],
        ratios[ratios.len() - 1]
    );
}

#[tokio::main]
async fn main() {
    let made = made();
    let granted = made.chain.genesis.grants.iter();
    let accounts = granted.map(|it| (it.address.trie_key(), Account { nonce: 0, balance: it.amount }));
    let trie = Trie::default().update(&accounts.collect()).unwrap();
    let coming: Vec<Coming> = made
        .blocks
        .iter()
        .map(|block| Coming { header: encode(&block.header), body: encode(&block.body) })
        .collect();
    let bytes: usize = coming.iter().map(|it| it.header.len() + it.body.len()).sum();
    println!("{BLOCKS} blocks of {BLOCK} transfers, {bytes} bytes, on {ACCOUNTS} accounts; {ROUNDS} rounds");

    let directory = TempDir::new().unwrap();
    let (mut servers, mut addresses) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let data = directory.path().join(name);
        made.write_data(&data).unwrap();
        let server = start(&made, &data).await;
        let tip = made.tip.head().hash();
        let status = until(&server, |status, chain| !status.addresses.is_empty() && chain.head == tip).await;
        let own = format!("{}/p2p/{}", status.addresses[0], server.id());
        addresses.push(own.parse::<Multiaddr>().unwrap());
        servers.push(server);
    }
    let (mut one, mut all) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let single = on_one_thread(&made, &coming, &trie);
        let threaded = on_all_threads(&made, &coming, &trie);
        let synced = sync(&made, &addresses).await;
        println!(
            "full sync {} ms; alone on one thread {} ms, on all threads {} ms",
            synced.as_millis(),
            single.as_millis(),
            threaded.as_millis()
        );
        one.push(ratio(single, synced));
        all.push(ratio(threaded, synced));
    }
    told("alone on one thread", one);
    told("alone on all threads", all);
    for server in servers {
        server.stop().await.unwrap();
    }
}
