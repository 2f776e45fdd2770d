//! A scenario in virtual time.

use std::{
    convert::Infallible,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use weft_core::{
    chain::Transaction,
    mempool::AdmissionError,
    node::{Command, CommandError, CommandId, Output},
    state::TransferError,
};

use super::{
    Access, Gossip, Keep, Nat, Network, NodeOptions, PeerIx, World, country_named,
    dice::Dice,
    gossipsub::{Rules, library},
    report,
};
use crate::{
    fixture::TestChain,
    play::{self, Act, Answer, Stage},
    report::Outcome,
    scenario::{BlockKind, GossipKind, Group, NatKind, Scenario},
};

/// How often a person who waits is told how far the run is.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// With fewer peers, one thread does as well as two, and what peers hold and think is looked at after every step of them, and not only
/// where pools are looked into.
const WORTH_HALVING: usize = 200;
/// When links have come about, in milliseconds.
const LINKED: u64 = 5_000;
/// The most pools that are looked into at a time.
const POOLS: usize = 16;

/// Runs a scenario to its end. With `trace`, every step of every peer is written there as a line of JSON.
///
/// # Errors
/// When the trace cannot be written.
///
/// # Panics
/// When something happens that never may: the seed of the run is printed, and replays it.
pub fn run(scenario: &Scenario, trace: Option<&Path>) -> std::io::Result<Outcome> {
    let chain =
        TestChain::new(super::EPOCH, scenario.slot_millis, scenario.validators(), scenario.accounts());
    let mut dice = play::dice(scenario);
    let world = world(scenario, &chain, &mut dice, trace)?;
    let is_whole = scenario.count() < WORTH_HALVING;
    let mut stage = Virtual { scenario, world, is_whole, told: Instant::now() };
    let Ok(submitted) = play::play(scenario, &chain, &scenario.wallets(), dice, &mut stage);
    let world = &mut stage.world;
    world.flush_trace()?;
    let trace = world.trace();
    let running: Vec<PeerIx> = world.nodes().filter(|ix| world.is_running(*ix)).collect();
    world.check_all();
    let finalised: Vec<u64> = running
        .iter()
        .map(|ix| world.seen(*ix).finalised.map_or(0, |checkpoint| checkpoint.height.0))
        .collect();
    let mut report = report::report(scenario, world, trace, submitted, &finalised);
    report.penalties = Some(world.penalties());
    let failures = report.failures(&scenario.expect);
    Ok(Outcome { report, failures })
}

/// The world with all peers in it, who start at once.
fn world(
    scenario: &Scenario,
    chain: &TestChain,
    dice: &mut Dice,
    trace: Option<&Path>,
) -> std::io::Result<World> {
    let mut world = World::new(scenario.seed);
    if let Some(path) = trace {
        world.write_trace(path)?;
    }
    world.set_network(Network {
        loss: scenario.network.loss,
        jitter: scenario.network.jitter,
        ..Network::default()
    });
    world.set_gossip(gossip(scenario));
    if scenario.blocks == BlockKind::Full {
        world.announce_whole_blocks();
    }
    if scenario.expect.blame_allowed {
        world.allow_blame();
    }
    if scenario.count() >= WORTH_HALVING {
        world.check_when_asked();
    }
    let (begin, end) = scenario.measured_millis();
    world.measure(begin, end);
    let mut validators = chain.validators.iter().cloned();
    let mut peers = Vec::new();
    let dials = scenario.dials();
    for (ix, (group, proposes)) in scenario.groups().zip(scenario.proposing()).enumerate() {
        peers.push(world.add_resting(NodeOptions {
            genesis: Some(chain.genesis.clone()),
            validator: if proposes { validators.next() } else { None },
            bootstrap: dials[ix].iter().map(|to| PeerIx(*to)).collect(),
            role: group.role,
            mempool_bytes: group.mempool_mib << 20,
            tx_mode: group.tx_mode,
            access: access(group, dice),
            ..NodeOptions::default()
        }));
    }
    for ix in peers {
        start(&mut world, ix);
    }
    Ok(world)
}

fn start(world: &mut World, ix: PeerIx) {
    world.restart(ix, Keep::All).unwrap_or_else(|error| panic!("{ix:?} cannot start: {error}"));
}

struct Virtual<'a> {
    scenario: &'a Scenario,
    world: World,
    /// It is not to be halved, or not again.
    is_whole: bool,
    /// When the person was told last.
    told: Instant,
}

impl Virtual<'_> {
    fn act_on(&mut self, act: Act, ix: PeerIx) {
        match act {
            Act::Kill => self.world.kill(ix),
            // An orderly end and a start leave what all writes left.
            Act::Start | Act::Restart => start(&mut self.world, ix),
            Act::Pause => self.world.pause(ix),
            Act::Resume => self.world.resume(ix),
            Act::Disconnect => {
                for other in self.world.neighbours(ix) {
                    let peer = self.world.peer_id(other);
                    self.world.act(ix, Output::Disconnect(peer));
                }
            }
            Act::Cut | Act::Heal => {}
        }
    }
}

impl Stage for Virtual<'_> {
    type Error = Infallible;
    /// The command, and the nonce after that of the transaction.
    type Ticket = (CommandId, u64);

    fn run_until(&mut self, millis: u64) -> Result<(), Infallible> {
        self.world.run_for(millis.saturating_sub(self.world.elapsed()));
        if !self.is_whole && millis >= LINKED {
            self.is_whole = true;
            self.world.run_in_halves();
        }
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            eprintln!("{} of {} virtual seconds", self.world.elapsed() / 1000, self.scenario.seconds);
        }
        Ok(())
    }

    fn act(&mut self, act: Act, peers: &[usize]) -> Result<(), Infallible> {
        let all = (0..self.scenario.count()).map(PeerIx);
        let peers: Vec<PeerIx> = peers.iter().copied().map(PeerIx).collect();
        match act {
            Act::Cut => {
                let rest: Vec<PeerIx> = all.filter(|ix| !peers.contains(ix)).collect();
                self.world.split(&[&rest, &peers]);
            }
            Act::Heal => self.world.heal(),
            _ => peers.into_iter().for_each(|ix| self.act_on(act, ix)),
        }
        Ok(())
    }

    fn submit(&mut self, ix: usize, transaction: Transaction) -> Self::Ticket {
        self.world.measure_submitted(PeerIx(ix), transaction.id());
        let next = transaction.content.nonce + 1;
        (self.world.send_command(PeerIx(ix), Command::Submit(transaction)), next)
    }

    fn answer(&mut self, &(command, next): &Self::Ticket) -> Option<Answer> {
        Some(match self.world.take_reply(command)? {
            Ok(_) => Answer::Accepted,
            Err(CommandError::Refused(AdmissionError::Invalid(TransferError::Nonce {
                expected, ..
            }))) => Answer::Refused(Some(expected)),
            Err(CommandError::Refused(AdmissionError::Known)) => Answer::Refused(Some(next)),
            Err(_) => Answer::Refused(None),
        })
    }

    fn look(&mut self, dice: &mut Dice) -> Result<(), Infallible> {
        let mut some: Vec<PeerIx> = self.world.nodes().collect();
        dice.draw(&mut some, POOLS);
        for ix in some {
            if self.world.is_running(ix) {
                self.world.measure_pool(ix);
                self.world.check_standings(ix);
            }
        }
        self.world.check_held();
        Ok(())
    }
}

fn gossip(scenario: &Scenario) -> Gossip {
    match scenario.gossip {
        GossipKind::Model => Gossip::Mesh(Arc::new(Rules::weft(scenario.slot_millis, scenario.validators()))),
        GossipKind::Library => Gossip::Mesh(Arc::new(Rules::plain(library(), None))),
        GossipKind::Flood => Gossip::Flood,
    }
}

fn access(group: &Group, dice: &mut Dice) -> Access {
    let bits = |mbit: f64| (mbit * 1e6) as u64;
    let country = match group.countries.len() {
        0 => None,
        count => country_named(&group.countries[dice.between(0, count as u64 - 1) as usize]),
    };
    let nat = match group.nat {
        NatKind::Open => Nat::Open,
        NatKind::Signalled => Nat::Signalled,
        NatKind::Closed => Nat::Closed,
    };
    let (up, down) = (group.up_mbit.map(bits), group.down_mbit.map(bits));
    Access { up, down, nat, country, host: None }
}
