//! What a relay bears: how much memory a thousand slots and two hundred busy circuits take, and how many bytes a second it passes on.
//!
//! One `weft-relay` process on loopback, with limits that do not bind, and a thousand bare libp2p peers in this process, each with a slot on
//! it. Of these 10, 50 and 200 pairs get the same number of bytes in all over as many circuits at once. The baseline is a process that
//! copies bytes between TCP connections and does nothing else, with as many connections as there were circuits. On a circuit the two
//! ends encrypt for each other, and each for the relay, which decrypts and encrypts; on bare TCP nobody does. All share the machine, so
//! that the ratio is what a byte costs everybody together.
//!
//! The programs must be built with the same profile: `cargo build --release` before `cargo run --release --example relay_load`.
#![expect(clippy::unwrap_used, reason = "a benchmark may")]

mod raw;

use std::{
    env, fs,
    net::SocketAddr,
    process::{Command, Stdio},
    time::Instant,
};

use futures::{
    StreamExt,
    future::join_all,
    stream::{self, FuturesUnordered},
};
use libp2p::{Multiaddr, multiaddr::Protocol};
use raw::Bare;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use weft_testnet::live::{Chain, Process, RelayOptions};

const SLOTS: usize = 1_000;
/// So many ask for a slot at once: a relay takes few connections of one host that are not secured yet.
const AT_ONCE: usize = 16;
const CIRCUITS: [usize; 3] = [10, 50, 200];
/// Over all circuits together, a round.
const BYTES: u64 = 256 << 20;
const ROUNDS: usize = 3;
/// The argument that makes this program the baseline's copying process.
const FORWARD: &str = "--forward-to";

/// Kilobytes of memory that a process has in use.
fn resident(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let row = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    row.split_whitespace().next().unwrap().parse().unwrap()
}

/// Copies what comes on each connection to another one to `target`, both ways, until it is killed. Says first where it listens.
async fn forward(target: SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    loop {
        let (mut from, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut to = TcpStream::connect(target).await.unwrap();
            // Whoever goes away first is done.
            let _ = copy_bidirectional(&mut from, &mut to).await;
        });
    }
}

/// Gives everybody who connects as many bytes as it asks for.
async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            while let Ok(mut left) = stream.read_u64().await {
                let piece = [7; 64 << 10];
                while left > 0 {
                    let count = left.min(piece.len() as u64);
                    stream.write_all(&piece[..count as usize]).await.unwrap();
                    left -= count;
                }
            }
        });
    }
}

async fn bare_get(stream: &mut TcpStream, count: u64) {
    stream.write_u64(count).await.unwrap();
    let (mut piece, mut left) = (vec![0; 64 << 10], count);
    while left > 0 {
        let most = left.min(piece.len() as u64) as usize;
        left -= stream.read_exact(&mut piece[..most]).await.unwrap() as u64;
    }
}

/// Megabytes a second over as many connections through the copying process.
async fn bare(forwarder: SocketAddr, count: usize) -> f64 {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(TcpStream::connect(forwarder).await.unwrap());
    }
    join_all(streams.iter_mut().map(|stream| bare_get(stream, 1))).await;
    let begun = Instant::now();
    join_all(streams.iter_mut().map(|stream| bare_get(stream, BYTES / count as u64))).await;
    BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

/// The same over circuits from the first so many to the next so many, which are opened before. Also the relay's memory in the middle.
async fn circuits(relay: u32, peers: &[Bare], slots: &[Multiaddr], count: usize) -> (f64, f64) {
    let pairs = || peers[..count].iter().zip(&slots[count..]);
    join_all(pairs().map(|(peer, slot)| peer.get(slot.clone(), 1))).await;
    let begun = Instant::now();
    let mut under_way: FuturesUnordered<_> =
        pairs().map(|(peer, slot)| peer.get(slot.clone(), BYTES / count as u64)).collect();
    let mut memory = 0.0_f64;
    while under_way.next().await.is_some() {
        memory = memory.max(resident(relay));
    }
    (BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64(), memory)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = env::args().collect();
    if let [_, flag, target] = arguments.as_slice()
        && flag == FORWARD
    {
        return forward(target.parse().unwrap()).await;
    }
    let chain = Chain::new(2_000, 1).unwrap();
    let mut command = chain.relay_command("relay", &RelayOptions::default());
    command.args(["--max-circuits", "1024", "--circuit-seconds", "3600", "--circuit-bytes", "1000000000000"]);
    command.args(["--asks-per-peer", "1000", "--asks-per-ip", "100000"]);
    let relay = Process::start_ready("relay", command, chain.dir()).unwrap();
    let place: Multiaddr = relay.tcp_addresses()[0].parse().unwrap();

    let before = resident(relay.pid());
    let begun = Instant::now();
    let slot = || async {
        let peer = Bare::start();
        let circuit = place.clone().with(Protocol::P2pCircuit);
        peer.listen(circuit.clone()).await;
        let slot = circuit.with_p2p(peer.id).unwrap();
        (peer, slot)
    };
    let (peers, slots): (Vec<_>, Vec<_>) =
        stream::iter(0..SLOTS).map(|_| slot()).buffered(AT_ONCE).unzip().await;
    let took = begun.elapsed().as_secs_f64();
    let idle = resident(relay.pid());
    println!(
        "{SLOTS} slots: {took:.1} s, the relay has {:.1} MB and had {:.1}: {:.1} kB a slot",
        idle / 1e3,
        before / 1e3,
        (idle - before) / SLOTS as f64
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    tokio::spawn(serve(listener));
    let mut copier = Command::new(env::current_exe().unwrap());
    copier.args([FORWARD, &server]).stdout(Stdio::piped());
    let mut copier = tokio::process::Command::from(copier).kill_on_drop(true).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(copier.stdout.take().unwrap()).read_line(&mut said).await.unwrap();
    let forwarder: SocketAddr = said.trim().parse().unwrap();

    for count in CIRCUITS {
        let (mut ratios, mut memories) = (Vec::new(), Vec::new());
        for round in 1..=ROUNDS {
            let bare = bare(forwarder, count).await;
            let (relayed, memory) = circuits(relay.pid(), &peers, &slots, count).await;
            println!("{count} circuits, round {round}: {relayed:.0} MB/s, bare {bare:.0} MB/s");
            ratios.push(relayed / bare);
            memories.push(memory);
        }
        let (ratio, memory) = (median(ratios), median(memories));
        println!(
            "{count} circuits: {ratio:.3} of bare TCP; the relay has {:.1} MB, {:.1} kB a circuit more than before",
            memory / 1e3,
            (memory - idle) / count as f64
        );
    }
}
