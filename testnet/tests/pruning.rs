//! Programs that forget old blocks: their disks stay as large as they are while the chain grows, and that of one that keeps
//! everything does not.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    fs,
    sync::mpsc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use weft::disk::Disk;
use weft_core::{
    node::{ArchiveId, BlockView, Input, Prune, SyncPhase},
    primitives::Height,
    store::{ArchiveAnswer, ArchiveRequest},
    sync::Strategy,
};
use weft_testnet::{
    fixture::{LongChain, TestChain},
    live::{Chain, LiveError, NodeOptions, PATIENCE, Process, wait_for},
};

/// Longer than the window of 1,024 blocks, and then much longer.
const SHORT: u64 = 1_500;
const LONG: u64 = 6_000;
/// Finality is at most so many blocks behind the head of the made chain.
const NOT_FINAL: usize = 48;
/// Blocks are forgotten so many at a time.
const STEP: usize = 64;

/// Who joins how, and the most blocks it keeps.
const PEERS: [(&str, Strategy, Prune, usize); 4] = [
    ("archive", Strategy::Full, Prune::Archive, LONG as usize),
    ("full", Strategy::Full, Prune::Full, 1_024 + STEP + NOT_FINAL),
    ("light", Strategy::Full, Prune::Light, 8 * 16 + STEP + NOT_FINAL),
    ("snap", Strategy::Snap, Prune::Full, 1_024 + STEP + NOT_FINAL),
];

/// What is on a disk.
struct Held {
    /// The heights of the blocks in its archive, lowest first.
    blocks: Vec<u64>,
    /// The bytes of its files.
    bytes: u64,
}

/// Looks at the disk of a peer that does not run.
fn held(chain: &Chain, name: &str) -> Held {
    let directory = chain.data(name);
    let files = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let bytes = files.sum();
    let (tell, told) = mpsc::channel();
    let (_store, handles) = Disk::open(&directory, move |input| tell.send(input).unwrap()).unwrap();
    handles.archive(ArchiveId(0), ArchiveRequest::Headers { from: Height(0), count: usize::MAX });
    let Input::Archive(_, Ok(ArchiveAnswer::Headers(headers))) = told.recv().unwrap() else {
        panic!("the archive of {name} cannot be read")
    };
    Held { blocks: headers.iter().map(|(height, ..)| height.0).collect(), bytes }
}

/// Waits until a peer is at the end of the chain and has forgotten what it may; it ends. Then looks at its disk.
fn settles(chain: &Chain, mut peer: Process, height: u64, most: usize) -> Held {
    let name = peer.name().to_owned();
    let view = wait_for(&format!("{name} has what it keeps of {height} blocks"), 2 * PATIENCE, || {
        peer.check()?;
        let view = peer.chain()?;
        let there = (view.height.0, view.sync.phase) == (height, SyncPhase::Following);
        Ok((there && height < view.oldest.0.max(1) + most as u64).then_some(view))
    })
    .unwrap();
    assert!(peer.status().unwrap().alarms.is_empty(), "{:?}", peer.status().unwrap().alarms);
    for known in peer.peers().unwrap() {
        assert!(known.score >= 0, "{name} blames an honest peer");
    }
    // What is forgotten is written down first, and leaves the archive after.
    if let Some(below) = view.oldest.0.checked_sub(1).filter(|height| *height > 0) {
        wait_for(&format!("{name} has removed what it has forgotten"), PATIENCE, || {
            match peer.ask::<BlockView>("weft_block", json!([below])) {
                Ok(_) => Ok(None),
                Err(LiveError::Answer(reason)) if reason.contains("no such block here") => Ok(Some(())),
                Err(error) => Err(error),
            }
        })
        .unwrap();
    }
    peer.terminate().unwrap();
    peer.wait(Duration::from_secs(20)).unwrap();
    let held = held(chain, &name);
    println!("{name} at {height}: {} blocks, {} bytes", held.blocks.len(), held.bytes);
    let said = view.oldest.0.max(1)..=height;
    assert!(held.blocks.iter().copied().eq(said.clone()), "{name} says that it has all of {said:?}");
    held
}

#[test]
fn the_disk_of_a_peer_that_prunes_stays_as_it_is_while_the_chain_grows() {
    let slot_millis = 1_000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let genesis = TestChain::new(now - LONG * slot_millis, slot_millis, 4, 8);
    let (short, long) = (LongChain::paying(&genesis, SHORT), LongChain::paying(&genesis, LONG));
    let chain = Chain::made(&short).unwrap();
    chain.give("short").unwrap();
    long.write_data(&chain.data("long")).unwrap();

    let server = chain.node("short", &NodeOptions::default()).unwrap();
    let start = |(name, strategy, prune, _): (&str, Strategy, Prune, usize)| {
        let bootstrap = server.tcp_addresses();
        chain.node(name, &NodeOptions { bootstrap, strategy, prune, ..NodeOptions::default() }).unwrap()
    };
    let peers: Vec<_> = PEERS.into_iter().map(start).collect();
    let first = peers.into_iter().zip(PEERS).map(|(peer, (.., most))| settles(&chain, peer, SHORT, most));
    let first: Vec<_> = first.collect();

    // The chain goes on: somebody who has the rest of it finds them.
    let peers: Vec<_> = PEERS.into_iter().map(start).collect();
    let bootstrap = peers.iter().flat_map(Process::tcp_addresses).collect();
    let _longer = chain.node("long", &NodeOptions { bootstrap, ..NodeOptions::default() }).unwrap();
    let last = peers.into_iter().zip(PEERS).map(|(peer, (.., most))| settles(&chain, peer, LONG, most));
    let last: Vec<_> = last.collect();

    let (some, everything) = (first[0].bytes, last[0].bytes);
    assert_eq!((first[0].blocks.len() as u64, last[0].blocks.len() as u64), (SHORT, LONG));
    assert!(everything > 2 * some, "{some} bytes and then {everything}");
    for ((name, .., most), pruned) in PEERS.into_iter().zip(&last).skip(1) {
        assert!(pruned.blocks.len() <= most, "{name}: {} blocks", pruned.blocks.len());
        // The window and the accounts; a file that has to grow may double.
        let bytes = pruned.bytes;
        assert!(bytes < everything / 4 * 3, "{name}: {bytes} bytes of {everything}");
    }
}
