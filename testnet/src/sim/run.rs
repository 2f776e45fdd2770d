//! A scenario in virtual time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    sync::Arc,
};

use weft_core::{
    chain::Transaction,
    mempool::AdmissionError,
    node::{Command, CommandError, CommandId, Output, Role},
    primitives::{Amount, Hash},
    state::TransferError,
};

use super::{
    Access, Gossip, Keep, Nat, Network, NodeOptions, PeerIx, World, country_named,
    dice::Dice,
    gossipsub::{Rules, library},
    report::Report,
};
use crate::{
    fixture::TestChain,
    scenario::{Fault, GossipKind, Group, NatKind, Scenario},
};

/// How often pools are looked into, in milliseconds.
const LOOK_EVERY: u64 = 5_000;
/// The most pools that are looked into at a time.
const POOLS: usize = 16;

/// What came of a run.
pub struct Outcome {
    /// What was measured.
    pub report: Report,
    /// Expectations that were not met, in words; empty when all were.
    pub failures: Vec<String>,
}

/// Something that happens at a time.
#[derive(Clone)]
enum Step {
    /// Transfers are submitted, of a slot or a second.
    Submit,
    Look,
    Cut(Vec<PeerIx>),
    Heal,
    Kill(Vec<PeerIx>),
    Start(Vec<PeerIx>),
    Pause(Vec<PeerIx>),
    Resume(Vec<PeerIx>),
    Disconnect(Vec<PeerIx>),
    /// Peers come and go, as many as in a second.
    Churn,
}

/// An account that pays.
struct Payer {
    nonce: u64,
    at: PeerIx,
    /// The command that has no reply yet, and the nonce it used.
    asked: Option<CommandId>,
}

/// Counts of what was submitted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Submitted {
    pub(super) accepted: u64,
    pub(super) refused: u64,
    /// No account was free to pay.
    pub(super) skipped: u64,
}

/// Runs a scenario to its end. With `trace`, every step of every peer is written there as a line of JSON.
///
/// # Errors
/// When the trace cannot be written.
///
/// # Panics
/// When something happens that never may: the seed of the run is printed, and replays it.
pub fn run(scenario: &Scenario, trace: Option<&Path>) -> std::io::Result<Outcome> {
    let mut play = Play::new(scenario, trace)?;
    while let Some((at, step)) = play.steps.pop_first().map(|((at, _), step)| (at, step)) {
        play.world.run_for(at.saturating_sub(play.world.elapsed()));
        play.take(step);
    }
    play.world.run_for((scenario.seconds * 1000).saturating_sub(play.world.elapsed()));
    play.finish()
}

struct Play<'a> {
    scenario: &'a Scenario,
    world: World,
    chain: TestChain,
    /// By milliseconds, and by the order they were planned in.
    steps: BTreeMap<(u64, u64), Step>,
    planned: u64,
    dice: Dice,
    payers: Vec<Payer>,
    /// The accounts, whoever paid longest ago first.
    turn: VecDeque<usize>,
    submitted: Submitted,
    /// Parts of a transfer, or of a peer, that are still owed.
    owed: f64,
    leaving: f64,
    /// Who may come and go.
    fickle: Vec<PeerIx>,
    down: BTreeSet<PeerIx>,
}

impl<'a> Play<'a> {
    fn new(scenario: &'a Scenario, trace: Option<&Path>) -> std::io::Result<Self> {
        let chain =
            TestChain::new(super::EPOCH, scenario.slot_millis, scenario.validators(), scenario.accounts());
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
        if scenario.expect.blame_allowed {
            world.allow_blame();
        }
        let end = (scenario.seconds - scenario.cool_down_seconds) * 1000;
        world.measure(scenario.warm_up_seconds * 1000, end);
        let mut play = Self {
            scenario,
            world,
            chain,
            steps: BTreeMap::new(),
            planned: 0,
            dice: Dice::new(scenario.seed ^ 0x706c_6179),
            payers: Vec::new(),
            turn: VecDeque::new(),
            submitted: Submitted::default(),
            owed: 0.0,
            leaving: 0.0,
            fickle: Vec::new(),
            down: BTreeSet::new(),
        };
        play.people();
        play.plan(end);
        Ok(play)
    }

    /// All peers join; then all start.
    fn people(&mut self) {
        let mut validators = self.chain.validators.clone().into_iter();
        let mut proposing = BTreeSet::new();
        let mut first = 0;
        let mut peers = Vec::new();
        let dials = self.scenario.dials();
        for group in &self.scenario.peers {
            for index in 0..group.count {
                let validator = if index < group.validators { validators.next() } else { None };
                if validator.is_some() {
                    proposing.insert(PeerIx(first + index));
                }
                let bootstrap = dials[first + index].iter().map(|to| PeerIx(*to)).collect();
                let ix = self.world.add_resting(NodeOptions {
                    genesis: Some(self.chain.genesis.clone()),
                    validator,
                    bootstrap,
                    role: group.role,
                    mempool_bytes: group.mempool_mib << 20,
                    tx_mode: group.tx_mode,
                    access: access(group, &mut self.dice),
                    ..NodeOptions::default()
                });
                peers.push(ix);
            }
            first += group.count;
        }
        for &ix in &peers {
            self.start(ix);
        }
        let churn = &self.scenario.churn.groups;
        let fickle = |name: &String| churn.is_empty() || churn.contains(name);
        self.fickle = peers_of(self.scenario, fickle);
        self.fickle.retain(|ix| !proposing.contains(ix));
        let at = &self.scenario.workload.at;
        let wallets = peers_of(self.scenario, |name| at.is_empty() || at.contains(name));
        self.payers = (0..self.chain.accounts.len())
            .map(|_| {
                let at = wallets[self.dice.between(0, wallets.len() as u64 - 1) as usize];
                Payer { nonce: 0, at, asked: None }
            })
            .collect();
        self.turn = (0..self.payers.len()).collect();
    }

    fn start(&mut self, ix: PeerIx) {
        self.world.restart(ix, Keep::All).unwrap_or_else(|error| panic!("{ix:?} cannot start: {error}"));
    }

    fn at(&mut self, millis: u64, step: Step) {
        self.planned += 1;
        self.steps.insert((millis, self.planned), step);
    }

    fn plan(&mut self, end: u64) {
        let begin = self.scenario.warm_up_seconds * 1000;
        if self.scenario.rate() > 0.0 {
            // Twenty times a slot or second, so that submissions do not come all at once.
            let each = (self.scenario.slot_millis / 20).clamp(20, 200);
            (begin..end).step_by(each as usize).for_each(|at| self.at(at, Step::Submit));
        }
        (begin..end).step_by(LOOK_EVERY as usize).for_each(|at| self.at(at, Step::Look));
        if self.scenario.churn.share_per_minute > 0.0 {
            (begin..end).step_by(1_000).for_each(|at| self.at(at, Step::Churn));
        }
        for fault in &self.scenario.faults {
            let (at, until, group, share) = fault.parts();
            let mut members = self.scenario.members(group);
            members.truncate((members.len() as f64 * share).ceil() as usize);
            let hit: Vec<PeerIx> = members.into_iter().map(PeerIx).collect();
            let (first, last) = match fault {
                Fault::Partition { .. } => (Step::Cut(hit), Some(Step::Heal)),
                Fault::Kill { .. } => (Step::Kill(hit.clone()), Some(Step::Start(hit))),
                Fault::Pause { .. } => (Step::Pause(hit.clone()), Some(Step::Resume(hit))),
                Fault::Disconnect { .. } => (Step::Disconnect(hit), None),
            };
            self.at(at * 1000, first);
            if let Some(last) = last {
                self.at(until * 1000, last);
            }
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Submit => self.submit(),
            Step::Look => self.look(),
            Step::Cut(group) => {
                let rest: Vec<PeerIx> =
                    (0..self.scenario.count()).map(PeerIx).filter(|ix| !group.contains(ix)).collect();
                self.world.split(&[&rest, &group]);
            }
            Step::Heal => self.world.heal(),
            Step::Kill(peers) => peers.into_iter().for_each(|ix| self.kill(ix)),
            Step::Start(peers) => {
                for ix in peers {
                    if self.down.remove(&ix) {
                        self.start(ix);
                    }
                }
            }
            Step::Pause(peers) => peers.into_iter().for_each(|ix| self.world.pause(ix)),
            Step::Resume(peers) => peers.into_iter().for_each(|ix| self.world.resume(ix)),
            Step::Disconnect(peers) => {
                for ix in peers {
                    for other in self.world.neighbours(ix) {
                        let peer = self.world.peer_id(other);
                        self.world.act(ix, Output::Disconnect(peer));
                    }
                }
            }
            Step::Churn => self.churn(),
        }
    }

    fn kill(&mut self, ix: PeerIx) {
        if self.down.insert(ix) {
            self.world.kill(ix);
        }
    }

    fn churn(&mut self) {
        self.leaving += self.scenario.churn.share_per_minute * self.fickle.len() as f64 / 60.0;
        while self.leaving >= 1.0 {
            self.leaving -= 1.0;
            let mut up: Vec<PeerIx> =
                self.fickle.iter().copied().filter(|ix| !self.down.contains(ix)).collect();
            self.dice.draw(&mut up, 1);
            let Some(ix) = up.pop() else { return };
            self.kill(ix);
            let back = self.world.elapsed() + self.scenario.churn.away_seconds * 1000;
            self.at(back, Step::Start(vec![ix]));
        }
    }

    /// Submits what is due since the last time.
    fn submit(&mut self) {
        let each = (self.scenario.slot_millis / 20).clamp(20, 200);
        self.owed += self.scenario.rate() * each as f64 / 1000.0;
        while self.owed >= 1.0 {
            self.owed -= 1.0;
            match self.free_account() {
                Some(account) => self.pay(account),
                None => self.submitted.skipped += 1,
            }
        }
    }

    /// The account that paid longest ago, of those whose last payment was answered and whose peer is up.
    fn free_account(&mut self) -> Option<usize> {
        for _ in 0..self.turn.len().min(64) {
            let account = self.turn.pop_front()?;
            self.turn.push_back(account);
            self.settle(account);
            let payer = &self.payers[account];
            if payer.asked.is_none() && !self.down.contains(&payer.at) {
                return Some(account);
            }
            if payer.asked.is_some() && self.down.contains(&payer.at) {
                // The reply died with the process; what it was about may be there or not, so the account rests.
                self.payers[account].asked = None;
            }
        }
        None
    }

    fn settle(&mut self, account: usize) {
        let payer = &mut self.payers[account];
        let Some(reply) = payer.asked.and_then(|id| self.world.take_reply(id)) else { return };
        payer.asked = None;
        match reply {
            Ok(_) => {
                payer.nonce += 1;
                self.submitted.accepted += 1;
            }
            Err(error) => {
                self.submitted.refused += 1;
                // Its last payment is there although the answer was lost, or never got there although it was answered.
                match error {
                    CommandError::Refused(AdmissionError::Invalid(TransferError::Nonce {
                        expected, ..
                    })) => {
                        payer.nonce = expected;
                    }
                    CommandError::Refused(AdmissionError::Known) => payer.nonce += 1,
                    _ => {}
                }
            }
        }
    }

    fn pay(&mut self, account: usize) {
        let other = (account + 1) % self.payers.len();
        let (nonce, at) = (self.payers[account].nonce, self.payers[account].at);
        let mut unsigned = self.chain.unsigned(account, self.chain.address(other), nonce);
        let spread = self.scenario.workload.fee_spread * self.dice.between(0, 1_000) as f64 / 1000.0;
        unsigned.fee = Amount((unsigned.fee.0 as f64 * (1.0 + spread)) as u64);
        let transaction: Transaction = unsigned.sign(&self.chain.accounts[account], &self.chain.hash());
        let id: Hash = transaction.id();
        self.world.measure_submitted(at, id);
        self.payers[account].asked = Some(self.world.send_command(at, Command::Submit(transaction)));
    }

    fn look(&mut self) {
        let mut some: Vec<PeerIx> = self.world.nodes().collect();
        self.dice.draw(&mut some, POOLS);
        for ix in some {
            if self.world.is_running(ix) {
                self.world.measure_pool(ix);
            }
        }
    }

    fn finish(mut self) -> std::io::Result<Outcome> {
        for account in 0..self.payers.len() {
            self.settle(account);
        }
        self.world.flush_trace()?;
        let trace = self.world.trace();
        let running: Vec<PeerIx> = self.world.nodes().filter(|ix| self.world.is_running(*ix)).collect();
        self.world.check_all();
        let finalised: Vec<u64> = running
            .iter()
            .map(|ix| self.world.seen(*ix).finalised.map_or(0, |checkpoint| checkpoint.height.0))
            .collect();
        let report = Report::of(self.scenario, &self.world, trace, self.submitted, &finalised);
        let failures = report.failures(&self.scenario.expect);
        Ok(Outcome { report, failures })
    }
}

fn peers_of(scenario: &Scenario, suits: impl Fn(&String) -> bool) -> Vec<PeerIx> {
    let all = scenario.groups().enumerate();
    all.filter(|(_, group)| suits(&group.name)).map(|(index, _)| PeerIx(index)).collect()
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
    Access { up: group.up_mbit.map(bits), down: group.down_mbit.map(bits), nat, country }
}

/// What a kind of peer is called in reports.
pub(super) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Relay => "relay",
        Role::Native => "native",
        Role::Browser => "browser",
    }
}
