//! A scenario with real programs and tabs.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::runtime::{Handle, Runtime};
use weft_core::{
    chain::Transaction,
    node::{AccountView, BlockView, Role},
    primitives::{Hash, encode},
};

use super::{
    Chain, Driver, LiveError, Process,
    actor::{Actor, Ground},
    cast,
    links::Links,
    numbers::Numbers,
    rpc,
    told::{Found, Told},
};
use crate::{
    fixture::TestChain,
    measure::Measure,
    play::{self, Act, Answer, Stage, Submitted},
    report::{Bytes, LiveCounts, Outcome, Report, mean_by_role},
    scenario::Scenario,
    sim::Dice,
};

/// How often logs are read.
const LISTEN_EVERY: Duration = Duration::from_millis(500);
/// How long nothing is looked at.
const NAP: Duration = Duration::from_millis(20);
/// Kinds of gossip, as `/metrics` and reports call them.
const GOSSIP: [&str; 4] = ["block", "vote", "evidence", "chat"];
/// Protocols of requests: as `/metrics` calls them, and as reports do.
const PROTOCOLS: [(&str, &str); 4] =
    [("sync", "sync"), ("archive", "archive"), ("tx", "transactions"), ("chat", "history")];

/// What a live run needs besides its scenario.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where the built app is, for tabs.
    pub app: PathBuf,
    /// Set when the run is to end early.
    pub stop: Arc<AtomicBool>,
}

/// Runs a scenario to its end with the programs of this build, on loopback. All of them are gone when this returns.
///
/// # Errors
/// When the scenario asks for what programs cannot do, something needed is missing, a program fails, or [`Setup::stop`] is
/// set.
pub fn run(scenario: &Scenario, setup: &Setup) -> Result<Outcome, LiveError> {
    cast::check(scenario, &setup.app)?;
    let runtime = Runtime::new().map_err(LiveError::system("starting threads"))?;
    let outcome = run_on(runtime.handle(), scenario, setup);
    // A request may wait for an answer that no longer comes.
    runtime.shutdown_background();
    outcome
}

fn run_on(runtime: &Handle, scenario: &Scenario, setup: &Setup) -> Result<Outcome, LiveError> {
    // Before 1970 it is 1970.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let made = TestChain::new(now, scenario.slot_millis, scenario.validators(), scenario.accounts());
    let chain = Chain::of(&made)?;
    let tabs = scenario.peers.iter().any(|group| group.role == Role::Browser);
    let driver = if tabs { Some(Driver::start(chain.dir())?) } else { None };
    let links = Links::new(runtime.clone(), scenario.count());
    let ground = Ground { driver, links, chain, runtime: runtime.clone() };
    let actors = cast::cast(scenario, &ground, &setup.app)?;
    let mut stage = Real {
        actors,
        ground,
        told: Told::new(),
        pool: Vec::new(),
        begun: Instant::now(),
        listened: Instant::now(),
        stop: &setup.stop,
    };
    stage.begin()?;
    let submitted = play::play(scenario, &made, &cast::wallets(scenario), play::dice(scenario), &mut stage)?;
    stage.finish(scenario, submitted)
}

struct Real<'a> {
    // In the order they end: peers before the driver that started their browsers.
    actors: Vec<Actor>,
    ground: Ground,
    told: Told,
    /// Transactions in pools, as they were looked at.
    pool: Vec<u64>,
    begun: Instant,
    listened: Instant,
    stop: &'a AtomicBool,
}

impl Real<'_> {
    /// Starts all: relays before others, whose first dials then meet somebody, and tabs when there are pages to open.
    fn begin(&mut self) -> Result<(), LiveError> {
        for role in [Role::Relay, Role::Native, Role::Browser] {
            let of_role = |actor: &&mut Actor| actor.role() == role;
            for actor in self.actors.iter_mut().filter(of_role) {
                interrupted(self.stop)?;
                actor.begin(&self.ground)?;
            }
            self.actors.iter_mut().filter(of_role).try_for_each(|actor| actor.get_ready(&self.ground))?;
        }
        self.told = Told::new();
        self.begun = Instant::now();
        self.count();
        Ok(())
    }

    fn count(&mut self) {
        self.told.up(self.actors.iter().filter(|actor| actor.is_up()).count() as u64);
    }

    fn listen(&mut self) -> Result<(), LiveError> {
        self.listened = Instant::now();
        for actor in &mut self.actors {
            actor.check()?;
            actor.listen(&self.ground, &mut self.told)?;
        }
        Ok(())
    }

    fn finish(mut self, scenario: &Scenario, submitted: Submitted) -> Result<Outcome, LiveError> {
        self.listen()?;
        let mut numbers = Vec::new();
        let mut finalised = BTreeMap::new();
        for (ix, actor) in self.actors.iter().enumerate() {
            numbers.push(actor.numbers()?);
            if let Some(chain) = actor.status()?.and_then(|status| status.chain) {
                finalised.insert(ix, chain.finalised.0);
            }
        }
        let bodies = self.bodies();
        let (from, until) = scenario.measured_millis();
        let mut measure = Measure::new(from * 1000..until * 1000);
        self.pool.iter().for_each(|count| measure.pool.add(*count));
        let found = std::mem::replace(&mut self.told, Told::new()).replay(&mut measure, &bodies);
        for (ix, actor) in self.actors.iter().enumerate() {
            if actor.is_up() && actor.role() == Role::Browser {
                finalised.insert(ix, found.finalised.get(&ix).copied().unwrap_or(0));
            }
        }
        let heights: Vec<u64> = finalised.into_values().collect();
        let report = Report {
            gossip: "libp2p's gossipsub, in the programs themselves".to_owned(),
            bytes_are: "payload as natives and relays count it: gossip that they received, requests and responses that they \
                        sent; over sockets is all that they and tabs sent there, without TCP and IP"
                .to_owned(),
            not_reproduced: cast::not_reproduced(scenario),
            reorganisations: found.left.len() as u64,
            deepest: found.left.iter().copied().max().unwrap_or(0),
            duplicates: duplicates(&numbers),
            bytes: self.bytes(&numbers),
            bytes_by_role: mean_by_role(scenario, |ix| self.ground.links.sent(ix)),
            live: Some(LiveCounts {
                starts: self.actors.iter().map(Actor::starts).sum(),
                closed: self.ground.links.closed(),
            }),
            ..Report::of(scenario, &measure, submitted, &heights)
        };
        let mut failures = report.failures(&scenario.expect);
        failures.extend(self.wrong(scenario, &numbers, found));
        Ok(Outcome { report, failures })
    }

    /// What must never be, whatever a scenario expects.
    fn wrong(&self, scenario: &Scenario, numbers: &[Numbers], found: Found) -> Vec<String> {
        let mut wrong = found.conflicts;
        if !scenario.expect.blame_allowed {
            for (actor, numbers) in self.actors.iter().zip(numbers) {
                let blamed = numbers.counted("weft_peer_offences_total");
                if !blamed.is_empty() {
                    wrong.push(format!("{} blames honest peers: {}", actor.name(), blamed.join(", ")));
                }
            }
        }
        wrong
    }

    fn bytes(&self, numbers: &[Numbers]) -> BTreeMap<&'static str, Bytes> {
        let programs = || self.actors.iter().zip(numbers).filter(|(actor, _)| actor.role() != Role::Browser);
        let of = |counter: &str, label: &str, value: &str| {
            let (messages, bytes) = (format!("{counter}_messages_total"), format!("{counter}_bytes_total"));
            Bytes::of(
                programs().map(|(_, it)| (it.sum(&messages, label, value), it.sum(&bytes, label, value))),
            )
        };
        let gossip = GOSSIP.map(|kind| (kind, of("weft_gossip_received", "kind", kind)));
        let requests = PROTOCOLS.map(|(label, kind)| (kind, of("weft_request_sent", "protocol", label)));
        let mut all: BTreeMap<_, _> = gossip.into_iter().chain(requests).collect();
        all.retain(|_, bytes| bytes.messages > 0);
        all.insert(
            "over sockets",
            Bytes::of((0..self.actors.len()).map(|ix| (0, self.ground.links.sent(ix)))),
        );
        all
    }

    /// The transactions of the blocks of the best chain, as the first program that has all of it tells them.
    fn bodies(&self) -> BTreeMap<Hash, Vec<Hash>> {
        let bodies = |server: &Process| {
            let view = |height: u64| {
                let view = server.ask::<BlockView>("weft_block", json!([height]))?;
                let ids = view.transactions.iter().map(|transaction| transaction.id);
                Ok((view.summary.hash, ids.collect()))
            };
            (1..=server.height()?).map(view).collect::<Result<_, LiveError>>()
        };
        self.actors
            .iter()
            .filter_map(Actor::program)
            .find_map(|server| bodies(server).ok())
            .unwrap_or_default()
    }
}

fn duplicates(numbers: &[Numbers]) -> BTreeMap<&'static str, f64> {
    let kinds = ["block", "vote"].map(|kind| {
        let sum = |counter: &str| numbers.iter().map(|it| it.sum(counter, "kind", kind)).sum::<u64>();
        let again = sum("weft_gossip_duplicate_messages_total");
        let first = sum("weft_gossip_received_messages_total").saturating_sub(again);
        (kind, if first == 0 { 0.0 } else { again as f64 / first as f64 })
    });
    kinds.into_iter().collect()
}

fn interrupted(stop: &AtomicBool) -> Result<(), LiveError> {
    if stop.load(Ordering::Relaxed) { Err(LiveError::Interrupted) } else { Ok(()) }
}

impl Stage for Real<'_> {
    type Error = LiveError;
    type Ticket = Receiver<Answer>;

    fn run_until(&mut self, millis: u64) -> Result<(), LiveError> {
        let until = self.begun + Duration::from_millis(millis);
        loop {
            interrupted(self.stop)?;
            if self.listened.elapsed() >= LISTEN_EVERY {
                self.listen()?;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(NAP));
        }
    }

    fn act(&mut self, act: Act, peers: &[usize]) -> Result<(), LiveError> {
        let Self { actors, ground, told, .. } = self;
        match act {
            Act::Cut => ground.links.cut(peers),
            Act::Heal => ground.links.heal(),
            Act::Disconnect => peers.iter().for_each(|ix| ground.links.disconnect(*ix)),
            Act::Pause | Act::Resume => {
                peers.iter().try_for_each(|ix| actors[*ix].pause(act == Act::Pause))?;
            }
            Act::Kill | Act::Restart => {
                peers.iter().try_for_each(|ix| actors[*ix].end(ground, told, act == Act::Kill))?;
            }
            Act::Start => {}
        }
        if matches!(act, Act::Start | Act::Restart) {
            peers.iter().try_for_each(|ix| actors[*ix].begin(ground))?;
            peers.iter().try_for_each(|ix| actors[*ix].get_ready(ground))?;
        }
        self.count();
        Ok(())
    }

    fn submit(&mut self, ix: usize, transaction: Transaction) -> Receiver<Answer> {
        let (tell, answer) = mpsc::channel();
        // A peer that stands still is asked when it goes on, as a wallet would.
        if let Some(process) = self.actors[ix].program() {
            self.told.submitted(ix, transaction.id());
            let to = process.rpc_address().to_owned();
            self.ground.runtime.spawn_blocking(move || {
                // Nobody listens any more when the run is over.
                let _ = tell.send(submit(&to, &transaction));
            });
        } else {
            let _ = tell.send(Answer::Refused(None));
        }
        answer
    }

    fn answer(&mut self, ticket: &Receiver<Answer>) -> Option<Answer> {
        ticket.try_recv().ok()
    }

    fn look(&mut self, _: &mut Dice) -> Result<(), LiveError> {
        for actor in &self.actors {
            if let Some(chain) = actor.status()?.and_then(|status| status.chain) {
                self.pool.push((chain.pending + chain.queued) as u64);
            }
        }
        Ok(())
    }
}

/// Hands a transaction to the peer that answers there.
fn submit(to: &str, transaction: &Transaction) -> Answer {
    let bytes = hex::encode(encode(transaction));
    if rpc(to, "weft_submit", json!([bytes])).is_ok() {
        return Answer::Accepted;
    }
    // The account may have more in the pool than was answered.
    let account = rpc(to, "weft_account", json!([transaction.sender()])).ok();
    let account = account.and_then(|account: Value| serde_json::from_value::<AccountView>(account).ok());
    Answer::Refused(account.map(|account| account.next_nonce))
}
