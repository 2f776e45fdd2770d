//! How fast a file goes from one peer to another, against a bare stream on the same transport.
//!
//! Two native peers in this process, over TCP on loopback with noise and yamux; nobody makes blocks. A file is put at the first,
//! and the second finds it in the distributed hash table and fetches it, each chunk checked as it comes, until it is whole: from the moment it is asked for.
//! The second is another one each round, since nobody is sent more than 72 MiB at once and 16 MiB a second from then on.
//! The baseline are two bare libp2p swarms with the same transport, of which one sends as many bytes to the other on one stream.
#![expect(clippy::unwrap_used, reason = "a benchmark may")]

mod raw;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libp2p::{Multiaddr, identity::Keypair};
use raw::Bare;
use weft::peer::{External, Peer, PeerConfig};
use weft_core::{
    content::{CHUNK_BYTES, Maker, Manifest},
    node::{Command, ContentCommand, Discovery, FileState, FileView, Reply, Role},
};
use weft_testnet::fixture::TestChain;

const BYTES: usize = 32 << 20;
const ROUNDS: usize = 5;
/// How often it is looked whether all is here.
const LOOK: Duration = Duration::from_millis(2);

/// A peer that sends as fast as it can, and where it listens.
async fn peer(chain: &TestChain, bootstrap: Vec<Multiaddr>) -> (Peer, Multiaddr) {
    let mut config = PeerConfig::new(Keypair::generate_ed25519());
    config.genesis = Some(chain.genesis.clone());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.external = External::Listening;
    config.discovery = Discovery::of(Role::Native);
    config.bootstrap = bootstrap;
    config.upload = 1 << 32;
    config.log_progress = false;
    let peer = Peer::start(config).await.unwrap();
    loop {
        let Reply::Status(status) = peer.handle().call(Command::Status).await.unwrap() else {
            panic!("a peer does not tell how it is")
        };
        if let Some(address) = status.addresses.first() {
            let address = format!("{address}/p2p/{}", peer.id()).parse().unwrap();
            return (peer, address);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn ask(peer: &Peer, command: ContentCommand) -> Reply {
    peer.handle().call(Command::Content(command)).await.unwrap()
}

/// Waits until the file is as it should be at a peer.
async fn until(peer: &Peer, manifest: &Manifest, fits: impl Fn(&FileView) -> bool) {
    loop {
        let Reply::File(view) = ask(peer, ContentCommand::Show(manifest.cid())).await else {
            panic!("a peer knows nothing of the file")
        };
        assert_eq!(view.problem, None);
        if fits(&view) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// A file that is unlike those of other rounds, put at a peer and told of. Answers with its manifest.
async fn put(peer: &Peer, round: usize) -> Manifest {
    let bytes: Vec<u8> = (0..BYTES).map(|at| ((at * at + round * 7_919) >> 9) as u8).collect();
    let mut maker = Maker::default();
    bytes.chunks(CHUNK_BYTES).for_each(|chunk| maker.add(chunk).unwrap());
    let manifest = maker.finish("bench");
    ask(peer, ContentCommand::Offer(manifest.clone())).await;
    for (index, chunk) in (0..).zip(bytes.chunks(CHUNK_BYTES)) {
        ask(peer, ContentCommand::Put { cid: manifest.cid(), index, bytes: chunk.to_vec() }).await;
    }
    until(peer, &manifest, |view| view.told).await;
    manifest
}

#[tokio::main]
async fn main() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let chain = TestChain::new(now, 2_000, 1, 1);
    let (one, address) = peer(&chain, Vec::new()).await;
    let (bare, other) = (Bare::start(), Bare::start());
    let place = bare.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await;
    other.get(place.clone(), 1).await;
    let rate = |begun: Instant| BYTES as f64 / 1e6 / begun.elapsed().as_secs_f64();
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let begun = Instant::now();
        other.get(place.clone(), BYTES as u64).await;
        let stream = rate(begun);
        let (two, _) = peer(&chain, vec![address.clone()]).await;
        let manifest = put(&one, round).await;
        let begun = Instant::now();
        ask(&two, ContentCommand::Fetch { cid: manifest.cid(), offer: false }).await;
        until(&two, &manifest, |view| view.state == FileState::Here).await;
        let file = rate(begun);
        println!("round {round}: the file {file:.0} MB/s, a bare stream {stream:.0} MB/s");
        ratios.push(file / stream);
        ask(&one, ContentCommand::Drop(manifest.cid())).await;
        two.stop().await.unwrap();
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "median {:.3} of a bare stream ({:.3} to {:.3})",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
}
