//! A scenario as it is played: what happens when, and the accounts that pay.
//!
//! Where it is played is a [`Stage`]: a world in virtual time, or real programs. Peers are numbers, in the order of the file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weft_core::{
    chain::Transaction,
    primitives::{Amount, SecretKey},
};

use crate::{
    fixture::TestChain,
    scenario::{Fault, Scenario},
    sim::Dice,
};

/// How often pools are looked into, in milliseconds.
const LOOK_EVERY: u64 = 5_000;

/// Where a scenario is played.
pub(crate) trait Stage {
    /// Why it cannot go on.
    type Error;
    /// A transaction that was handed to a peer and is not answered yet.
    type Ticket;

    /// Goes on until so many milliseconds after the beginning.
    fn run_until(&mut self, millis: u64) -> Result<(), Self::Error>;
    /// Does something to peers.
    fn act(&mut self, act: Act, peers: &[usize]) -> Result<(), Self::Error>;
    /// Hands a peer a transaction.
    fn submit(&mut self, ix: usize, transaction: Transaction) -> Self::Ticket;
    /// What the peer answered, once it has.
    fn answer(&mut self, ticket: &Self::Ticket) -> Option<Answer>;
    /// Looks into pools, those of peers drawn by lot where there are many.
    fn look(&mut self, dice: &mut Dice) -> Result<(), Self::Error>;
}

/// What is done to peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// They and all others no longer hear each other.
    Cut,
    /// All hear each other again.
    Heal,
    /// They end at once, as by a crash.
    Kill,
    /// They start again with what they have on disk.
    Start,
    /// They end as asked, and start again.
    Restart,
    /// They stand still.
    Pause,
    /// They go on.
    Resume,
    /// They lose their connections.
    Disconnect,
}

/// What became of a transaction that was handed to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The peer keeps it.
    Accepted,
    /// It does not, and the account's next nonce is this if it is known.
    Refused(Option<u64>),
}

/// Counts of what was submitted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Submitted {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// No account was free to pay.
    pub(crate) skipped: u64,
}

/// Something that happens at a time.
enum Step {
    /// Transfers are submitted, as many as are due.
    Submit,
    Look,
    Act(Act, Vec<usize>),
    /// Peers come and go, as many as in a second.
    Churn,
}

/// An account that pays.
struct Payer<T> {
    nonce: u64,
    at: usize,
    /// The transaction that has no answer yet.
    asked: Option<T>,
}

/// The dice of a play.
pub(crate) fn dice(scenario: &Scenario) -> Dice {
    Dice::new(scenario.seed ^ 0x706c_6179)
}

/// Plays the scenario to its end. Accounts pay at `wallets`, each at one of them.
pub(crate) fn play<S: Stage>(
    scenario: &Scenario,
    chain: &TestChain,
    wallets: &[usize],
    dice: Dice,
    stage: &mut S,
) -> Result<Submitted, S::Error> {
    let mut play = Play::new(scenario, chain, wallets, dice, stage);
    while let Some(((at, _), step)) = play.steps.pop_first() {
        play.stage.run_until(at)?;
        play.take(at, step)?;
    }
    play.stage.run_until(scenario.seconds * 1000)?;
    (0..play.payers.len()).for_each(|account| play.settle(account));
    Ok(play.submitted)
}

struct Play<'a, S: Stage> {
    scenario: &'a Scenario,
    chain: &'a TestChain,
    stage: &'a mut S,
    /// By milliseconds, and by the order they were planned in.
    steps: BTreeMap<(u64, u64), Step>,
    planned: u64,
    dice: Dice,
    payers: Vec<Payer<S::Ticket>>,
    /// The accounts, whoever paid longest ago first.
    turn: VecDeque<usize>,
    submitted: Submitted,
    /// Parts of a transfer, or of a peer, that are still owed.
    owed: f64,
    leaving: f64,
    /// Who may come and go.
    fickle: Vec<usize>,
    down: BTreeSet<usize>,
}

impl<'a, S: Stage> Play<'a, S> {
    fn new(
        scenario: &'a Scenario,
        chain: &'a TestChain,
        wallets: &[usize],
        mut dice: Dice,
        stage: &'a mut S,
    ) -> Self {
        let payers = (0..chain.accounts.len()).map(|_| {
            let at = wallets[dice.between(0, wallets.len() as u64 - 1) as usize];
            Payer { nonce: 0, at, asked: None }
        });
        let payers: Vec<_> = payers.collect();
        let mut play = Self {
            scenario,
            chain,
            stage,
            steps: BTreeMap::new(),
            planned: 0,
            dice,
            turn: (0..payers.len()).collect(),
            payers,
            submitted: Submitted::default(),
            owed: 0.0,
            leaving: 0.0,
            fickle: scenario.fickle(),
            down: BTreeSet::new(),
        };
        play.plan();
        play
    }

    fn at(&mut self, millis: u64, step: Step) {
        self.planned += 1;
        self.steps.insert((millis, self.planned), step);
    }

    fn plan(&mut self) {
        let (begin, end) = self.scenario.measured_millis();
        if self.scenario.rate() > 0.0 {
            (begin..end).step_by(self.submit_every() as usize).for_each(|at| self.at(at, Step::Submit));
        }
        (begin..end).step_by(LOOK_EVERY as usize).for_each(|at| self.at(at, Step::Look));
        if self.scenario.churn.share_per_minute > 0.0 {
            (begin..end).step_by(1_000).for_each(|at| self.at(at, Step::Churn));
        }
        for fault in &self.scenario.faults {
            let (at, until, group, share) = fault.parts();
            let mut hit = self.scenario.members(group);
            hit.truncate((hit.len() as f64 * share).ceil() as usize);
            let (first, last) = match fault {
                Fault::Partition { .. } => (Act::Cut, Some(Act::Heal)),
                Fault::Kill { .. } => (Act::Kill, Some(Act::Start)),
                Fault::Restart { .. } => (Act::Restart, None),
                Fault::Pause { .. } => (Act::Pause, Some(Act::Resume)),
                Fault::Disconnect { .. } => (Act::Disconnect, None),
            };
            self.at(at * 1000, Step::Act(first, hit.clone()));
            if let Some(last) = last {
                self.at(until * 1000, Step::Act(last, hit));
            }
        }
    }

    /// Twenty times a slot or second, so that submissions do not come all at once.
    fn submit_every(&self) -> u64 {
        (self.scenario.slot_millis / 20).clamp(20, 200)
    }

    fn take(&mut self, at: u64, step: Step) -> Result<(), S::Error> {
        match step {
            Step::Submit => self.submit(),
            Step::Look => self.stage.look(&mut self.dice)?,
            Step::Act(act, peers) => self.act(act, peers)?,
            Step::Churn => self.churn(at)?,
        }
        Ok(())
    }

    fn act(&mut self, act: Act, mut peers: Vec<usize>) -> Result<(), S::Error> {
        match act {
            Act::Kill => peers.retain(|ix| self.down.insert(*ix)),
            Act::Start => peers.retain(|ix| self.down.remove(ix)),
            Act::Restart => peers.retain(|ix| !self.down.contains(ix)),
            Act::Cut | Act::Heal | Act::Pause | Act::Resume | Act::Disconnect => {}
        }
        self.stage.act(act, &peers)
    }

    fn churn(&mut self, at: u64) -> Result<(), S::Error> {
        self.leaving += self.scenario.churn.share_per_minute * self.fickle.len() as f64 / 60.0;
        while self.leaving >= 1.0 {
            self.leaving -= 1.0;
            let mut up: Vec<usize> =
                self.fickle.iter().copied().filter(|ix| !self.down.contains(ix)).collect();
            self.dice.draw(&mut up, 1);
            let Some(ix) = up.pop() else { break };
            self.act(Act::Kill, vec![ix])?;
            let back = at + self.scenario.churn.away_seconds * 1000;
            self.at(back, Step::Act(Act::Start, vec![ix]));
        }
        Ok(())
    }

    /// Submits what is due since the last time.
    fn submit(&mut self) {
        self.owed += self.scenario.rate() * self.submit_every() as f64 / 1000.0;
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
        let Some(answer) = payer.asked.as_ref().and_then(|ticket| self.stage.answer(ticket)) else { return };
        payer.asked = None;
        match answer {
            Answer::Accepted => {
                payer.nonce += 1;
                self.submitted.accepted += 1;
            }
            // A payment may be there although its answer was lost, or never have got there although it was answered.
            Answer::Refused(next) => {
                payer.nonce = next.unwrap_or(payer.nonce);
                self.submitted.refused += 1;
            }
        }
    }

    fn pay(&mut self, account: usize) {
        let other = (account + 1) % self.payers.len();
        let (nonce, at) = (self.payers[account].nonce, self.payers[account].at);
        let mut unsigned = self.chain.unsigned(account, self.chain.address(other), nonce);
        let spread = self.scenario.workload.fee_spread * self.dice.between(0, 1_000) as f64 / 1000.0;
        unsigned.fee = Amount((unsigned.fee.0 as f64 * (1.0 + spread)) as u64);
        let key: &SecretKey = &self.chain.accounts[account];
        let transaction = unsigned.sign(key, &self.chain.hash());
        self.payers[account].asked = Some(self.stage.submit(at, transaction));
    }
}
