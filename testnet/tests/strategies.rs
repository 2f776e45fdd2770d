//! Every way to join a long chain, between real programs: all end at the same finalised block and state, also when the
//! joining peer is killed half way.
#![expect(clippy::unwrap_used, reason = "a test may")]

use std::{
    env,
    process::Command,
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use weft_core::{
    node::{ChainView, SyncPhase},
    primitives::Height,
    sync::Strategy,
};
use weft_testnet::{
    fixture::{Extent, LongChain},
    live::{Chain, NodeOptions, PATIENCE, Process, rpc, wait_for},
};

/// How often a peer that joins is killed at each step.
const ROUNDS: u32 = 4;
/// What a peer says at the steps of joining.
const STEPS: [&str; 3] = ["proving what is final", "downloading accounts", "the state is downloaded"];

/// A chain that ends now, and three peers that have it.
struct Network {
    made: LongChain,
    chain: Chain,
    servers: Vec<Process>,
}

impl Network {
    fn start() -> Self {
        let (blocks, accounts, hand_offs) = match env::var_os("WEFT_FULL") {
            Some(_) => (20_000, 100_000, 8),
            None => (2_000, 5_000, 4),
        };
        let slot_millis = 1_000;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        let time = now - blocks * slot_millis;
        let made = LongChain::growing(&Extent { time, slot_millis, blocks, accounts, hand_offs });
        let chain = Chain::made(&made).unwrap();
        let servers = (0..3).map(|index| {
            let name = format!("server-{index}");
            chain.give(&name).unwrap();
            chain.node(&name, &NodeOptions::default()).unwrap()
        });
        let mut servers: Vec<_> = servers.collect();
        servers.iter_mut().for_each(|server| server.reach(blocks).unwrap());
        Self { servers, chain, made }
    }

    fn finalised(&self) -> Height {
        self.made.record(self.made.height()).finalised.height
    }

    fn options(&self, strategy: Strategy) -> NodeOptions {
        let bootstrap = self.servers.iter().flat_map(Process::tcp_addresses).collect();
        NodeOptions { bootstrap, strategy, ..NodeOptions::default() }
    }

    /// Waits until a peer has joined, and checks where.
    fn has_joined(&self, peer: &mut Process, strategy: Strategy) {
        let phase = match strategy {
            Strategy::Light => SyncPhase::Light,
            _ => SyncPhase::Following,
        };
        let height = self.made.height();
        let view: ChainView = wait_for(&format!("a peer has joined by {strategy}"), 5 * PATIENCE, || {
            peer.check()?;
            let view = peer.chain()?;
            let there = (view.sync.phase, view.height, view.sync.backfill) == (phase, height, None);
            Ok(there.then_some(view))
        })
        .unwrap();
        let (header, last) = (self.made.header(height), self.made.header(self.finalised()));
        assert_eq!((view.head, view.state_root), (header.hash(), header.content.state_root), "{strategy}");
        let end = (view.finalised_hash, view.finalised_state_root);
        assert_eq!(end, (last.hash(), last.content.state_root), "{strategy}");
        let paid = self.made.blocks[100].body.transactions[0].content.to;
        wait_for("it knows an account", PATIENCE, || Ok(peer.account(&paid).ok())).map_or_else(
            |error| panic!("{strategy}: {error}"),
            |account| assert_eq!(account.balance.0, 1, "{strategy}"),
        );
        assert!(peer.status().unwrap().alarms.is_empty(), "{:?}", peer.status().unwrap().alarms);
        for known in peer.peers().unwrap() {
            assert!(known.score >= 0, "{strategy}: an honest peer is blamed");
        }
    }
}

#[test]
fn every_strategy_ends_at_the_same_finalised_block_and_state() {
    let network = Network::start();
    let anchor = Strategy::Checkpoint(network.made.header(network.finalised()).hash());
    for strategy in [Strategy::Light, Strategy::Snap, anchor, Strategy::Warp, Strategy::Fast, Strategy::Full]
    {
        let name = strategy.to_string().replace(':', "-");
        let begun = Instant::now();
        let mut peer = network.chain.node(&name, &network.options(strategy)).unwrap();
        network.has_joined(&mut peer, strategy);
        println!("{strategy}: {} ms", begun.elapsed().as_millis());
        // What it has on disk is enough to go on from.
        peer.kill();
        let mut peer = network.chain.node(&name, &network.options(strategy)).unwrap();
        network.has_joined(&mut peer, strategy);
    }
}

#[test]
fn a_peer_killed_at_any_step_of_joining_goes_on_when_it_is_started_again() {
    let network = Network::start();
    let options = network.options(Strategy::Snap);
    let mut half_way = 0;
    for round in 0..ROUNDS {
        let name = format!("victim-{round}");
        for step in STEPS {
            let command = network.chain.node_command(&name, &options);
            let mut victim = Process::start(&name, command, network.chain.dir()).unwrap();
            let begun = Instant::now();
            while !victim.log().contains(step) {
                victim.check().unwrap();
                assert!(begun.elapsed() < PATIENCE, "{name} never says `{step}`");
                thread::yield_now();
            }
            victim.kill();
            half_way += u32::from(step == STEPS[1] && !victim.log().contains(STEPS[2]));
        }
        let mut victim = network.chain.node(&name, &options).unwrap();
        network.has_joined(&mut victim, Strategy::Snap);
    }
    assert!(half_way > 0, "it was never killed while accounts were on their way");
}

/// The bars among what was written to a terminal, each as how many of its 10 places are filled, with the words after it.
fn bars(written: &str) -> Vec<(usize, String)> {
    let lines = written.split(['\r', '\n']);
    let bars = lines.filter_map(|line| line.split_once('[')?.1.split_once("] "));
    let bars = bars.filter(|(bar, _)| bar.len() == 10 && bar.chars().all(|it| "=> ".contains(it)));
    bars.map(|(bar, words)| (bar.trim_end().len(), words.to_owned())).collect()
}

#[test]
fn a_person_at_a_terminal_sees_a_bar_until_the_node_has_caught_up() {
    let network = Network::start();
    let node = network.chain.node_command("watched", &network.options(Strategy::Full));
    let words =
        node.get_args().filter(|word| *word != "--json").map(|word| word.to_string_lossy().into_owned());
    let quoted: Vec<String> = words.map(|word| format!("'{word}'")).collect();
    let program = node.get_program().to_string_lossy().into_owned();
    // It gives the program a terminal, and passes on what is written there.
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--flush", "--command"]);
    terminal.arg(format!("exec '{program}' {}", quoted.join(" "))).arg("/dev/null");
    let mut terminal = Process::start("terminal", terminal, network.chain.dir()).unwrap();
    let address = wait_for("it is ready", PATIENCE, || {
        terminal.check()?;
        let written = terminal.lines().join(" ");
        let said = written.split_once("RPC on ").map(|(_, rest)| rest);
        let digits = |it: char| it.is_ascii_digit() || it == '.' || it == ':';
        Ok(said.and_then(|rest| rest.split_once(|it| !digits(it))).map(|(address, _)| address.to_owned()))
    })
    .unwrap();
    let height = network.made.height();
    wait_for("it has caught up", 5 * PATIENCE, || {
        terminal.check()?;
        let chain = rpc(&address, "weft_status", json!([]))?["chain"].take();
        Ok((chain["sync"]["phase"] == "following" && chain["height"] == height.0).then_some(()))
    })
    .unwrap();
    let (written, total) = (terminal.lines().join("\n"), height.to_string());
    let bars = bars(&written);
    let part = |(filled, words): &(usize, String)| {
        (1..10).contains(filled)
            && words.replace(',', "").contains(&format!(" of {total}"))
            && words.contains(" a second, ")
            && words.trim_end().ends_with(" left")
    };
    assert!(bars.iter().any(part), "{bars:?}");
    terminal.terminate().unwrap();
    terminal.wait(PATIENCE).unwrap();
}
