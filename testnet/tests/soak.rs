//! A network that runs for half an hour while others come and go: what it takes of the machine stays what it was.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    env, fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use weft_core::node::Prune;
use weft_testnet::{
    fixture::{address, key},
    live::{Chain, LiveError, NodeOptions, Ports, Process, RelayOptions},
};

const SLOT_MILLIS: u64 = 500;
/// How long it runs in the full tier; `WEFT_SOAK_MINUTES` says otherwise.
const MINUTES: u64 = 30;
/// Between two looks. A peer comes or goes with each.
const PAUSE: Duration = Duration::from_secs(5);
/// What memory and disk may grow by from one half to the other, beside a tenth: caches fill.
const SLACK_BYTES: u64 = 24 << 20;
const SLACK_FILES: u64 = 8;
/// The places of those that stay and are no validators.
const NODE: usize = 3;
const RELAY: usize = 4;

/// What a peer takes: bytes of memory, open files, bytes on disk.
type Taken = [u64; 3];

fn taken(process: &Process, data: &Path) -> Taken {
    let proc = Path::new("/proc").join(process.pid().to_string());
    let status = fs::read_to_string(proc.join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    let files = fs::read_dir(proc.join("fd")).unwrap().count() as u64;
    [kib << 10, files, bytes_in(data)]
}

/// The bytes of all files in a directory, and in those within it.
fn bytes_in(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_in(&entry.path()),
        // It may be gone by now.
        found => found.map_or(0, |file| file.len()),
    });
    sizes.sum()
}

/// The middle one of each number.
fn median(looks: &[Taken]) -> Taken {
    std::array::from_fn(|what| {
        let mut sorted: Vec<u64> = looks.iter().map(|look| look[what]).collect();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    })
}

#[test]
fn memory_files_and_disk_stay_flat_while_peers_come_and_go() {
    let minutes = match env::var("WEFT_SOAK_MINUTES") {
        Ok(minutes) => minutes.parse().unwrap(),
        Err(_) if env::var_os("WEFT_FULL").is_some() => MINUTES,
        Err(_) => return,
    };
    let chain = Chain::new(SLOT_MILLIS, 3).unwrap();
    let light = |validator, bootstrap: &[&Process]| NodeOptions {
        validator,
        prune: Prune::Light,
        bootstrap: bootstrap.iter().flat_map(|process| process.tcp_addresses()).collect(),
        ..NodeOptions::default()
    };
    let options = RelayOptions { ports: Ports::free().unwrap(), ..RelayOptions::default() };
    let relay = Process::start_ready("relay", chain.relay_command("relay", &options), chain.dir()).unwrap();
    let mut stay: Vec<Process> = Vec::new();
    for index in 0..3 {
        let options = light(Some(index), &[&relay]);
        stay.push(chain.node(&format!("validator-{index}"), &options).unwrap());
    }
    stay.push(chain.node("node", &light(None, &[&relay, &stay[0]])).unwrap());
    stay[0].reach(2).unwrap();
    // It takes in all guests, and is measured like the others.
    stay.push(relay);

    let mut looks: Vec<Vec<Taken>> = stay.iter().map(|_| Vec::new()).collect();
    let (begun, mut guest, mut nonce, mut round) = (Instant::now(), None::<Process>, 0, 0_u64);
    while begun.elapsed() < Duration::from_secs(60 * minutes) {
        guest = match guest {
            // Every other time at once, as a crash would.
            Some(mut guest) if round % 4 == 1 => {
                guest.terminate().unwrap();
                guest.wait(Duration::from_secs(20)).unwrap();
                None
            }
            Some(_) => None,
            None => Some(chain.node(&format!("guest-{}", round / 2), &light(None, &[&stay[RELAY]])).unwrap()),
        };
        for _ in 0..10 {
            let payment = chain.payment(address(&key("payee", nonce % 50)), 10, nonce).unwrap();
            match stay[NODE].submit(&payment) {
                Ok(_) => nonce += 1,
                // As many wait as may.
                Err(LiveError::Answer(_)) => break,
                Err(error) => panic!("{error}"),
            }
        }
        sleep(PAUSE);
        for (process, looks) in stay.iter_mut().zip(&mut looks) {
            process.check().unwrap();
            looks.push(taken(process, &chain.data(process.name())));
        }
        round += 1;
    }
    let heights: Vec<u64> = stay.iter().map(|process| process.height().unwrap()).collect();
    println!("{round} rounds, {nonce} payments, heights {heights:?}");
    for (process, looks) in stay.iter().zip(&looks) {
        // The first fifth fills what is bounded.
        let looks = &looks[looks.len() / 5..];
        let (early, late) = looks.split_at(looks.len() / 2);
        let (early, late) = (median(early), median(late));
        println!("{}: memory, files, disk {early:?}, then {late:?}", process.name());
        for (what, slack) in [(0, SLACK_BYTES), (1, SLACK_FILES), (2, SLACK_BYTES)] {
            let most = early[what] + early[what] / 10 + slack;
            assert!(late[what] <= most, "{} grows: {early:?}, then {late:?}", process.name());
        }
        for view in process.peers().unwrap() {
            assert!(view.offences.is_empty(), "{} blames {}", process.name(), view.peer);
        }
    }
}
