//! How many transactions a second reach the pools of all of fifty peers, against a plain gossipsub topic.
//!
//! Fifty native peers in this process, each of which dials eight others, over TCP on loopback, and nobody makes blocks.
//! Transactions are submitted at all of them in turn, at an even rate for [`SECONDS`], whether or not earlier ones have arrived. A rate is
//! *sustained* when every pool has all of them [`GRACE`] after the last. The greatest such rate is looked for by doubling and halving.
//! The baselines are fifty bare libp2p swarms with the same connections and one gossipsub topic with the
//! library's defaults, which carries the same encoded transactions, one a message. *Plain*: the library checks the signature of
//! a message's author, and nobody looks at the transaction. *Checked*: the transaction's own signature is verified as well before it
//! is counted and passed on, as whoever has a pool must.
//!
//! All peers share the machine, so that a rate is what its processors do for fifty. Bytes are what the kernel counts on the
//! loopback interface at the [`EASY`] rate, everything included: nothing else should use it meanwhile.
#![expect(clippy::unwrap_used, reason = "a benchmark may")]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, future::join_all};
use libp2p::{
    Multiaddr, Swarm, Transport,
    core::upgrade::Version,
    gossipsub::{Behaviour, ConfigBuilder, Event, IdentTopic, MessageAcceptance, MessageAuthenticity},
    identity::Keypair,
    noise,
    swarm::{self, SwarmEvent},
    tcp, yamux,
};
use tokio::{sync::mpsc, task::JoinSet};
use weft::peer::{External, Peer, PeerConfig};
use weft_core::{
    chain::Transaction,
    node::{Command, Job, JobResult, Reply, StatusView, metrics::Count},
    primitives::{Hash, decode, encode},
};
use weft_testnet::{fixture::TestChain, scenario::Scenario};

const PEERS: usize = 50;
/// For how long a rate is kept up.
const SECONDS: usize = 8;
/// What has not come so long after the last was submitted came too late.
const GRACE: Duration = Duration::from_secs(4);
/// Transactions a second that everybody should manage: bytes are compared there, and the search begins there.
const EASY: usize = 32;
/// Where the search ends.
const MOST: usize = 2_048;
/// The search ends, too, when what is sustained and what is not differ by less than this share of the former.
const CLOSE_ENOUGH: usize = 8;
/// How many batches a second: each peer submits its part of each.
const BATCHES: usize = 8;
const ROUNDS: usize = 3;
/// Meshes form in so long, and short ids are agreed on.
const SETTLE: Duration = Duration::from_secs(4);
/// How often it is looked what has come.
const LOOK: Duration = Duration::from_millis(5);
const SLOT_MILLIS: u64 = 2_000;

/// Whom each peer dials.
fn dials() -> Vec<Vec<usize>> {
    let text = format!(
        "name = \"fifty\"\nseed = 9\nseconds = 60\nslot-millis = {SLOT_MILLIS}\n\
         [[peers]]\nname = \"all\"\nrole = \"native\"\ncount = {PEERS}\nvalidators = 1\ndials = 8\n"
    );
    Scenario::parse(&text).unwrap().dials()
}

/// How many others each peer is connected to.
fn neighbours(dials: &[Vec<usize>]) -> Vec<usize> {
    let mut count: Vec<usize> = dials.iter().map(Vec::len).collect();
    dials.iter().flatten().for_each(|to| count[*to] += 1);
    count
}

/// Fifty peers that are connected.
trait Crowd {
    /// Hands each peer its part of a batch.
    async fn submit(&mut self, batch: &[Transaction]);
    /// Whether every pool has so many.
    async fn has(&mut self, count: usize) -> bool;
    /// The requests and responses that all have sent, where there are any.
    async fn said(&self) -> Option<Count>;
    async fn stop(self);
}

/// Weft's peers.
struct Weft {
    peers: Vec<Peer>,
    /// The first of which it is not known that its pool has what was asked last.
    lacking: usize,
}

async fn status(peer: &Peer) -> StatusView {
    let Ok(Reply::Status(status)) = peer.handle().call(Command::Status).await else {
        panic!("a peer does not tell how it is")
    };
    *status
}

async fn until(peer: &Peer, condition: impl Fn(&StatusView) -> bool) -> StatusView {
    loop {
        let status = status(peer).await;
        if condition(&status) {
            return status;
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Weft {
    async fn start(chain: &TestChain, dials: &[Vec<usize>]) -> Self {
        let (mut peers, mut addresses) = (Vec::new(), Vec::new());
        for _ in 0..PEERS {
            let mut config = PeerConfig::new(Keypair::generate_ed25519());
            config.genesis = Some(chain.genesis.clone());
            config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
            config.external = External::Listening;
            config.log_progress = false;
            let peer = Peer::start(config).await.unwrap();
            let status = until(&peer, |status| !status.addresses.is_empty()).await;
            addresses
                .push(format!("{}/p2p/{}", status.addresses[0], peer.id()).parse::<Multiaddr>().unwrap());
            peers.push(peer);
        }
        for (peer, dials) in peers.iter().zip(dials) {
            for to in dials {
                peer.handle().call(Command::Dial(addresses[*to].clone())).await.unwrap();
            }
        }
        for (peer, wanted) in peers.iter().zip(neighbours(dials)) {
            until(peer, |status| status.peers == wanted).await;
        }
        tokio::time::sleep(SETTLE).await;
        Self { peers, lacking: 0 }
    }
}

impl Crowd for Weft {
    async fn submit(&mut self, batch: &[Transaction]) {
        let submit = |(me, peer): (usize, &Peer)| {
            let (handle, mine) = (peer.handle().clone(), batch.iter().skip(me).step_by(PEERS));
            async move {
                for transaction in mine {
                    handle.call(Command::Submit(transaction.clone())).await.unwrap();
                }
            }
        };
        join_all(self.peers.iter().enumerate().map(submit)).await;
    }

    async fn has(&mut self, count: usize) -> bool {
        while let Some(peer) = self.peers.get(self.lacking) {
            if status(peer).await.chain.unwrap().pending < count {
                return false;
            }
            self.lacking += 1;
        }
        self.lacking = 0;
        true
    }

    async fn said(&self) -> Option<Count> {
        let mut said = Count::default();
        for peer in &self.peers {
            let Ok(Reply::Metrics(snapshot)) = peer.handle().call(Command::Metrics).await else {
                panic!("a peer does not tell its numbers")
            };
            for sent in snapshot.requests.values().flat_map(|traffic| [traffic.asked, traffic.answered]) {
                (said.number, said.bytes) = (said.number + sent.number, said.bytes + sent.bytes);
            }
        }
        Some(said)
    }

    async fn stop(self) {
        for peer in self.peers {
            peer.stop().await.unwrap();
        }
    }
}

/// Bare swarms.
struct Bare {
    publish: Vec<mpsc::UnboundedSender<Vec<u8>>>,
    have: Vec<Arc<AtomicUsize>>,
    peers: JoinSet<()>,
}

fn topic() -> IdentTopic {
    IdentTopic::new("transactions")
}

fn bare(checks: bool) -> Swarm<Behaviour> {
    let key = Keypair::generate_ed25519();
    let id = key.public().to_peer_id();
    let transport = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let mut config = ConfigBuilder::default();
    if checks {
        config.validate_messages();
    }
    let mut behaviour = Behaviour::new(MessageAuthenticity::Signed(key), config.build().unwrap()).unwrap();
    behaviour.subscribe(&topic()).unwrap();
    // Nobody else keeps these connections open.
    let idle = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(600));
    Swarm::new(transport, behaviour, id, idle)
}

fn is_signed(genesis: Hash, data: &[u8]) -> bool {
    let Ok(transaction) = decode::<Transaction>(data, Transaction::MAX_LEN) else { return false };
    let job = Job::VerifyTransactions { genesis, transactions: Arc::new(vec![transaction]) };
    matches!(job.run(), JobResult::Verified(valid) if valid == [true])
}

/// A swarm at work: what it has counts in `have`, and who takes part beside it in `known`.
async fn run(
    mut swarm: Swarm<Behaviour>,
    checks: Option<Hash>,
    mut publish: mpsc::UnboundedReceiver<Vec<u8>>,
    have: Arc<AtomicUsize>,
    known: Arc<AtomicUsize>,
) {
    loop {
        tokio::select! {
            data = publish.recv() => {
                let Some(data) = data else { return };
                swarm.behaviour_mut().publish(topic(), data).unwrap();
                have.fetch_add(1, Ordering::Relaxed);
            }
            event = swarm.select_next_some() => match event {
                SwarmEvent::Behaviour(Event::Message { propagation_source, message_id, message }) => {
                    if let Some(genesis) = checks {
                        assert!(is_signed(genesis, &message.data));
                        swarm.behaviour_mut().report_message_validation_result(
                            &message_id,
                            &propagation_source,
                            MessageAcceptance::Accept,
                        );
                    }
                    have.fetch_add(1, Ordering::Relaxed);
                }
                SwarmEvent::Behaviour(Event::Subscribed { .. }) => {
                    known.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            },
        }
    }
}

impl Bare {
    async fn start(checks: Option<Hash>, dials: &[Vec<usize>]) -> Self {
        let mut swarms: Vec<_> = (0..PEERS).map(|_| bare(checks.is_some())).collect();
        let mut addresses: Vec<Multiaddr> = Vec::new();
        for swarm in &mut swarms {
            swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
            let address = loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    break address;
                }
            };
            addresses.push(address.with_p2p(*swarm.local_peer_id()).unwrap());
        }
        let (mut peers, mut publish, mut have, mut known) =
            (JoinSet::new(), Vec::new(), Vec::new(), Vec::new());
        for (mut swarm, dials) in swarms.into_iter().zip(dials) {
            for to in dials {
                swarm.dial(addresses[*to].clone()).unwrap();
            }
            let (sender, receiver) = mpsc::unbounded_channel();
            let (has, knows) = (Arc::default(), Arc::default());
            peers.spawn(run(swarm, checks, receiver, Arc::clone(&has), Arc::clone(&knows)));
            publish.push(sender);
            have.push(has);
            known.push(knows);
        }
        for (known, wanted) in known.iter().zip(neighbours(dials)) {
            while known.load(Ordering::Relaxed) < wanted {
                tokio::time::sleep(LOOK).await;
            }
        }
        tokio::time::sleep(SETTLE).await;
        Self { publish, have, peers }
    }
}

impl Crowd for Bare {
    async fn submit(&mut self, batch: &[Transaction]) {
        for (number, transaction) in batch.iter().enumerate() {
            self.publish[number % PEERS].send(encode(transaction)).unwrap();
        }
    }

    async fn has(&mut self, count: usize) -> bool {
        self.have.iter().all(|have| have.load(Ordering::Relaxed) >= count)
    }

    async fn said(&self) -> Option<Count> {
        None
    }

    async fn stop(mut self) {
        self.peers.shutdown().await;
    }
}

/// The bytes that have gone over loopback, where the kernel tells.
fn loopback() -> Option<u64> {
    let table = fs::read_to_string("/proc/net/dev").ok()?;
    let row = table.lines().find_map(|line| line.trim().strip_prefix("lo:"))?;
    row.split_whitespace().next()?.parse().ok()
}

/// What each peer sent for one transaction.
#[derive(Clone, Copy, Default)]
struct Sent {
    /// All bytes, by the kernel's count.
    bytes: Option<f64>,
    /// Requests and responses, and the bytes of these, without what carries them.
    said: Option<[f64; 2]>,
}

/// Whether all arrive everywhere in time that are submitted at this rate, and what each peer sent for one of them.
async fn sustains(crowd: &mut impl Crowd, transactions: &[Transaction], rate: usize) -> (bool, Sent) {
    let transactions = &transactions[..rate * SECONDS];
    let before = (loopback(), crowd.said().await);
    let mut due = Instant::now();
    for batch in transactions.chunks(rate / BATCHES) {
        tokio::time::sleep_until(due.into()).await;
        due += Duration::from_secs(1) / BATCHES as u32;
        crowd.submit(batch).await;
    }
    let wait = async {
        while !crowd.has(transactions.len()).await {
            tokio::time::sleep(LOOK).await;
        }
    };
    // Who is slow to submit is not given time for that.
    let arrived = tokio::time::timeout_at((due + GRACE).into(), wait).await.is_ok();
    let each = |before: u64, after: u64| (after - before) as f64 / (PEERS * transactions.len()) as f64;
    let said = before.1.zip(crowd.said().await);
    let sent = Sent {
        bytes: before.0.zip(loopback()).map(|(before, after)| each(before, after)),
        said: said
            .map(|(before, after)| [each(before.number, after.number), each(before.bytes, after.bytes)]),
    };
    (arrived, sent)
}

/// What a search came to.
struct Round {
    /// The greatest rate that was sustained.
    rate: Option<f64>,
    /// What each peer sent for a transaction at [`EASY`].
    sent: Sent,
}

/// Looks for the greatest rate, each time with a new crowd.
async fn search<C: Crowd>(what: &str, start: impl AsyncFn() -> C, transactions: &[Transaction]) -> Round {
    let (mut sustained, mut missed, mut sent) = (None, None, Sent::default());
    let mut rate = EASY;
    loop {
        let mut crowd = start().await;
        let (arrived, each) = sustains(&mut crowd, transactions, rate).await;
        crowd.stop().await;
        if rate == EASY && arrived {
            sent = each;
        }
        *if arrived { &mut sustained } else { &mut missed } = Some(rate);
        rate = match (sustained, missed) {
            (Some(sustained), None) if sustained < MOST => 2 * sustained,
            (Some(sustained), Some(missed)) if (missed - sustained) * CLOSE_ENOUGH > sustained => {
                (sustained + missed) / 2 / BATCHES * BATCHES
            }
            _ => break,
        };
    }
    println!(
        "{what}: {} a second, {:.0} bytes a peer and transaction",
        sustained.map_or("none".to_owned(), |rate| rate.to_string()),
        sent.bytes.unwrap_or(f64::NAN)
    );
    if let Some([number, bytes]) = sent.said {
        println!("of these bytes {bytes:.0} in {number:.1} requests and responses, the rest carries them");
    }
    Round { rate: sustained.map(|rate| rate as f64), sent }
}

fn told(what: &str, numbers: impl Iterator<Item = Option<f64>>) {
    let mut numbers: Vec<f64> = numbers.flatten().collect();
    numbers.sort_by(f64::total_cmp);
    let Some((least, most)) = numbers.first().zip(numbers.last()) else {
        println!("{what}: no round that counts");
        return;
    };
    println!(
        "{what}: min {least:.2}  median {:.2}  max {most:.2}, {} rounds",
        numbers[numbers.len() / 2],
        numbers.len()
    );
}

#[tokio::main]
async fn main() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let count = MOST * SECONDS;
    let chain = TestChain::new(now, SLOT_MILLIS, 1, count);
    let to = chain.address(0);
    let transactions: Vec<_> = (0..count).map(|account| chain.transfer(account, to, 0)).collect();
    let dials = dials();
    println!(
        "transactions of {} bytes to the pools of {PEERS} peers, {SECONDS} s each time",
        Transaction::EMPTY_LEN
    );
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let weft = search("weft", async || Weft::start(&chain, &dials).await, &transactions).await;
        let plain = search("plain topic", async || Bare::start(None, &dials).await, &transactions).await;
        let genesis = Some(chain.hash());
        let checked =
            search("checked topic", async || Bare::start(genesis, &dials).await, &transactions).await;
        rounds.push((weft, plain, checked));
    }
    told("weft, transactions a second", rounds.iter().map(|(weft, ..)| weft.rate));
    let over = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    told("rate, weft / plain topic", rounds.iter().map(|(weft, plain, _)| over(weft.rate, plain.rate)));
    told("rate, weft / checked topic", rounds.iter().map(|(weft, _, checked)| over(weft.rate, checked.rate)));
    told(
        "bytes, weft / plain topic",
        rounds.iter().map(|(weft, plain, _)| over(weft.sent.bytes, plain.sent.bytes)),
    );
    told(
        "bytes, weft / checked topic",
        rounds.iter().map(|(weft, _, checked)| over(weft.sent.bytes, checked.sent.bytes)),
    );
}
