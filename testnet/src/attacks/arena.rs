//! Where attacks happen: an honest network with some load, and Sybils around it.

use std::{collections::BTreeSet, net::Ipv4Addr};

use weft_core::{
    chain::CHECKPOINT_INTERVAL,
    gossip::Topic,
    node::{BlockRef, Command, CommandId, OutboundId, Output, Protocol, Reply, Verdict, Without as Lacking},
    primitives::{Hash, Height, Wall},
};

use super::{
    Reading, Setting,
    sybil::{COME_BACK, Conduct, Orders, greedy, script},
};
use crate::{
    fixture::{TestChain, address, key},
    sim::{Access, Dice, EPOCH, Gossip, Keep, NodeOptions, PeerIx, World, gossipsub::Rules},
};

/// The length of a slot, that of a chain unless it says otherwise.
pub(super) const SLOT: u64 = 2_000;
/// How often orders are carried out and payments made, in milliseconds.
const STEP: u64 = 100;
/// Accounts that pay, each at one peer; together one payment each so many milliseconds.
pub(super) const PAYERS: usize = 40;
/// Accounts that attackers have the keys of.
const HOARDERS: usize = 20;
const PAY_EVERY: u64 = 500;
/// The last blocks and payments have so long to arrive.
const COOL_DOWN: u64 = 4 * SLOT;

/// How an honest network is made.
pub(super) struct Plan {
    pub(super) validators: usize,
    pub(super) followers: usize,
    /// How many honest peers each dials.
    pub(super) dials: usize,
    /// How many Sybils each dials besides, which it was told of.
    pub(super) sybils_dialled: usize,
    pub(super) sybils: usize,
    pub(super) conduct: Conduct,
    /// How many Sybils share an address; a network of its own each if they do not.
    pub(super) sybils_a_host: usize,
    /// Peers do not dial again whom they lost.
    pub(super) forgetful: bool,
    /// Honest peers show nobody out.
    pub(super) lenient: bool,
    /// Honest peers ask for blocks that gossip does not bring.
    pub(super) seek: bool,
}

/// An honest network under attack.
pub(super) struct Arena {
    pub(super) world: World,
    pub(super) validators: Vec<PeerIx>,
    /// All honest peers, the validators first.
    pub(super) honest: Vec<PeerIx>,
    pub(super) sybils: Vec<PeerIx>,
    /// Whom the Sybils are at; nobody at first.
    pub(super) targets: Vec<PeerIx>,
    pub(super) chain: TestChain,
    orders: Orders,
    dice: Dice,
    payers: Vec<Payer>,
    paid: usize,
    lenient: bool,
    seek: bool,
    flood: Option<Flood>,
}

/// What Sybils send to honest peers, and how often.
struct Flood {
    every: u64,
    junk: fn(&TestChain, u64) -> Vec<u8>,
    sent: u64,
}

/// An account that pays, at one peer.
struct Payer {
    at: PeerIx,
    nonce: u64,
    asked: Option<CommandId>,
}

impl Plan {
    /// A network of this scale, and so many Sybils for each honest peer.
    pub(super) const fn new(setting: &Setting, ratio: usize, conduct: Conduct) -> Self {
        let (validators, followers) = (5, 20 * setting.scale - 5);
        Self {
            validators,
            followers,
            dials: 4,
            sybils_dialled: 0,
            sybils: ratio * (validators + followers),
            conduct,
            sybils_a_host: 1,
            forgetful: false,
            lenient: false,
            seek: true,
        }
    }
}

/// What gossip is to do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// Nothing.
    Nothing,
    /// Nobody is scored, so that nobody gives way to a better one; no places in a mesh are kept for those a peer dialled itself.
    Judgement,
}

/// Weft's gossip, without some of what it has against those who only pretend to take part.
pub(super) fn rules(validators: usize, without: Without) -> Rules {
    let mut rules = Rules::weft(SLOT, validators);
    rules.change(|mesh, scores| {
        if without != Without::Nothing {
            mesh.outbound = 0;
            *scores = None;
        }
    });
    rules.set_scripted(greedy());
    rules
}

impl Arena {
    /// Starts the honest network, and lets it settle. Sybils are there and connected to nobody, but for those that are dialled.
    pub(super) fn new(setting: &Setting, plan: &Plan, rules: Rules) -> Self {
        let chain = TestChain::new(EPOCH, SLOT, plan.validators, PAYERS + HOARDERS);
        let mut world = World::new(setting.seed);
        world.set_gossip(Gossip::Mesh(rules.into()));
        // Counted instead: a bar of every attack.
        world.allow_blame();
        let mut arena = Self {
            world,
            validators: Vec::new(),
            honest: Vec::new(),
            sybils: Vec::new(),
            targets: Vec::new(),
            chain,
            orders: Orders::new(plan.conduct),
            dice: Dice::new(setting.seed ^ 0x6172_656e),
            payers: Vec::new(),
            paid: 0,
            lenient: plan.lenient,
            seek: plan.seek,
            flood: None,
        };
        for number in 0..plan.sybils {
            arena.add_sybil(number, plan.sybils_a_host);
        }
        for number in 0..plan.validators + plan.followers {
            let mut known = arena.honest.clone();
            arena.dice.draw(&mut known, plan.dials);
            let mut strangers = arena.sybils.clone();
            arena.dice.draw(&mut strangers, plan.sybils_dialled);
            known.append(&mut strangers);
            let named = if plan.forgetful { Vec::new() } else { known.clone() };
            let ix = arena.add_honest(number, plan.validators, named);
            for other in known.into_iter().filter(|_| plan.forgetful) {
                let address = arena.world.address(other);
                arena.world.act(ix, Output::Dial(address));
            }
        }
        arena.payers = (0..PAYERS)
            .map(|_| {
                let at = arena.honest[arena.dice.between(0, arena.honest.len() as u64 - 1) as usize];
                Payer { at, nonce: 0, asked: None }
            })
            .collect();
        arena
    }

    fn add_sybil(&mut self, number: usize, a_host: usize) {
        let ix = PeerIx(self.honest.len() + self.sybils.len());
        let options = NodeOptions {
            genesis: Some(self.chain.genesis.clone()),
            access: Access { host: Some(host(100, number / a_host.max(1))), ..Access::default() },
            ..NodeOptions::default()
        };
        let genesis = self.chain.hash();
        let added = self.world.add_puppet(options, script(ix, genesis, self.orders.clone()));
        assert_eq!(added, ix, "peers are numbered in the order of joining");
        for topic in [Topic::Block, Topic::Vote] {
            self.world.act(ix, Output::Subscribe(topic));
        }
        self.sybils.push(ix);
    }

    fn add_honest(&mut self, number: usize, validators: usize, bootstrap: Vec<PeerIx>) -> PeerIx {
        let validator = (number < validators).then(|| self.chain.validators[number].clone());
        let ix = self.world.add_node(NodeOptions {
            genesis: Some(self.chain.genesis.clone()),
            validator,
            bootstrap,
            lenient: self.lenient,
            without: Lacking { seeking: !self.seek, ..Lacking::default() },
            access: Access { host: Some(host(20, number)), ..Access::default() },
            ..NodeOptions::default()
        });
        if number < validators {
            self.validators.push(ix);
        }
        self.honest.push(ix);
        ix
    }

    /// One more honest peer, which knows so many honest ones and so many Sybils.
    pub(super) fn late(&mut self, honest: usize, sybils: usize) -> PeerIx {
        let mut known = self.honest.clone();
        self.dice.draw(&mut known, honest);
        let mut strangers = self.sybils.clone();
        self.dice.draw(&mut strangers, sybils);
        known.append(&mut strangers);
        self.add_honest(self.honest.len(), 0, known)
    }

    /// What Sybils do from now on.
    pub(super) fn order(&self, conduct: Conduct) {
        self.orders.give(conduct);
    }

    /// From now on all Sybils try to be connected to these.
    pub(super) fn besiege(&mut self, targets: Vec<PeerIx>) {
        self.targets = targets;
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, millis: u64) {
        self.run_paying(millis, true);
    }

    fn run_paying(&mut self, millis: u64, pays: bool) {
        let end = self.world.elapsed() + millis;
        while self.world.elapsed() < end {
            let now = self.world.elapsed();
            if now.is_multiple_of(COME_BACK) || now + millis == end {
                self.come_back();
            }
            if pays && now.is_multiple_of(PAY_EVERY) {
                self.pay();
            }
            self.send_junk();
            let due = self.orders.due(Wall(EPOCH + now));
            for (ix, id) in due {
                self.world.act(ix, Output::Judge { id, verdict: Verdict::Accept });
            }
            self.world.run_for(STEP.min(end - now));
        }
    }

    /// Starts all honest peers that make no blocks anew, one after the other, so that they build their meshes among Sybils.
    pub(super) fn restart_followers(&mut self, apart: u64) {
        for ix in self.honest.split_off(self.validators.len()) {
            self.world.restart(ix, Keep::All).expect("what a peer left lets it start");
            self.honest.push(ix);
            self.run(apart);
        }
    }

    /// From now on each Sybil sends two honest peers something each so many milliseconds, and comes back when it is shown out.
    pub(super) fn flood(&mut self, every: u64, junk: fn(&TestChain, u64) -> Vec<u8>) {
        self.flood = Some(Flood { every, junk, sent: 0 });
    }

    fn send_junk(&mut self) {
        let Some(flood) = &mut self.flood else { return };
        if !self.world.elapsed().is_multiple_of(flood.every) {
            return;
        }
        let round = self.world.elapsed() / flood.every;
        for (number, &ix) in self.sybils.iter().enumerate() {
            for target in [2 * number, 2 * number + 1].map(|at| self.honest[at % self.honest.len()]) {
                if !self.world.is_connected(ix, target) {
                    let address = self.world.address(target);
                    self.world.act(ix, Output::Dial(address));
                    continue;
                }
                flood.sent += 1;
                let (id, peer) = (OutboundId((1 << 32) + flood.sent), self.world.peer_id(target));
                let body = (flood.junk)(&self.chain, round);
                self.world.act(ix, Output::Request { id, peer, protocol: Protocol::Transactions, body });
            }
        }
    }

    /// How many things from outside honest peers have refused or blamed somebody for.
    pub(super) fn judged(&mut self) -> f64 {
        let refused = |world: &mut World, ix| world.status(ix).refusals.values().sum::<u64>();
        self.running().into_iter().map(|ix| refused(&mut self.world, ix)).sum::<u64>() as f64
    }

    fn come_back(&mut self) {
        for &ix in &self.sybils {
            for &target in &self.targets {
                if !self.world.is_connected(ix, target) {
                    let address = self.world.address(target);
                    self.world.act(ix, Output::Dial(address));
                }
            }
        }
    }

    /// The next account pays, unless its last payment has no answer yet.
    fn pay(&mut self) {
        let account = self.paid % self.payers.len();
        self.paid += 1;
        let payer = &mut self.payers[account];
        if !self.world.is_running(payer.at) {
            return;
        }
        if let Some(asked) = payer.asked {
            let Some(reply) = self.world.take_reply(asked) else { return };
            payer.nonce += u64::from(reply.is_ok());
        }
        let payment = self.chain.transfer(account, address(&key("shop", 0)), payer.nonce);
        self.world.measure_submitted(payer.at, payment.id());
        payer.asked = Some(self.world.send_command(payer.at, Command::Submit(payment)));
    }

    /// Measures what begins within so many milliseconds from now, and lets it arrive.
    pub(super) fn measure(&mut self, millis: u64) {
        let now = self.world.elapsed();
        self.world.measure(now, now + millis);
        self.run(millis);
        self.run_paying(COOL_DOWN, false);
    }

    /// Milliseconds within which 99 of 100 deliveries of blocks came about; infinite when they did not. Of one validator's, or all.
    pub(super) fn blocks_p99(&self, author: Option<PeerIx>) -> f64 {
        let measured = self.world.measured().expect("it was measured");
        millis(measured.blocks_within(0.99, author.map(|ix| ix.0)))
    }

    /// Milliseconds within which 99 of 100 blocks came to one peer, and how many never came.
    pub(super) fn victim(&self, ix: PeerIx) -> (f64, f64) {
        let (within, missed) = self.world.measured().expect("it was measured").blocks_to(ix.0, 0.99);
        (millis(within), missed as f64)
    }

    /// How many heartbeats, of a second, after the begin of the measurement the last block was published that did not reach everybody
    /// within a slot.
    pub(super) fn recovery(&self) -> f64 {
        let each = self.world.measured().expect("it was measured").each_block();
        let Some(&(begin, _)) = each.first() else { return f64::INFINITY };
        let slow = each.iter().rposition(|(_, took)| took.is_none_or(|took| took > SLOT * 1000));
        match slow {
            None => 0.0,
            Some(last) => each.get(last + 1).map_or(f64::INFINITY, |(at, _)| (at - begin) as f64 / 1e6),
        }
    }

    /// How many seconds a peer takes, of at most so many, to get to the height that the others have now.
    pub(super) fn until_caught_up(&mut self, ix: PeerIx, most: u64) -> f64 {
        let height = self.height();
        let there = |arena: &Self| {
            let head = arena.world.seen(ix).head.as_ref();
            head.is_some_and(|head| head.height.0 as f64 >= height)
        };
        self.until(most, there)
    }

    /// Honest peers that run.
    fn running(&self) -> Vec<PeerIx> {
        self.honest.iter().copied().filter(|ix| self.world.is_running(*ix)).collect()
    }

    /// The lowest height that any of these calls final.
    pub(super) fn finalised_of(&self, peers: &[PeerIx]) -> f64 {
        let heights = peers.iter().map(|ix| self.world.seen(*ix).finalised.map_or(0, |it| it.height.0));
        heights.min().unwrap_or(0) as f64
    }

    /// The lowest height that any honest peer calls final.
    pub(super) fn finalised(&self) -> f64 {
        self.finalised_of(&self.running())
    }

    /// The height of the highest head.
    pub(super) fn height(&self) -> f64 {
        let heads = self.running().into_iter().filter_map(|ix| self.world.seen(ix).head.as_ref());
        heads.map(|head| head.height.0).max().unwrap_or(0) as f64
    }

    /// How many blocks above the last final one there are, where that are most.
    pub(super) fn unfinished(&self) -> f64 {
        self.height() - self.finalised()
    }

    /// How many heads honest peers have that are not on the branch of the highest one, and that one.
    pub(super) fn heads(&mut self) -> f64 {
        let running = self.running();
        let height = running.iter().filter_map(|ix| Some(self.world.seen(*ix).head.as_ref()?.height)).min();
        let Some(height) = height else { return f64::INFINITY };
        let hashes: BTreeSet<_> = running.iter().map(|ix| self.hash_at(*ix, height)).collect();
        hashes.len() as f64
    }

    fn hash_at(&mut self, ix: PeerIx, height: Height) -> Option<Hash> {
        match self.world.command(ix, Command::Block(BlockRef::Height(height.0))) {
            Ok(Reply::Block(block)) => Some(block.summary.hash),
            _ => None,
        }
    }

    /// How many checkpoints two peers both call final, and differ on.
    pub(super) fn conflicts(&mut self, one: PeerIx, other: PeerIx) -> f64 {
        let last = self.finalised_of(&[one, other]) as u64;
        let heights = (CHECKPOINT_INTERVAL..=last).step_by(CHECKPOINT_INTERVAL as usize).map(Height);
        let differ = heights.filter(|height| self.hash_at(one, *height) != self.hash_at(other, *height));
        differ.count() as f64
    }

    /// Lets time pass until this holds; answers how many seconds that took, and infinity when it took longer than so many.
    pub(super) fn until(&mut self, most: u64, holds: impl Fn(&Self) -> bool) -> f64 {
        for second in 0..most {
            if holds(self) {
                return second as f64;
            }
            self.run(1_000);
        }
        f64::INFINITY
    }

    /// How many honest peers another honest one banned, or thinks ill of.
    pub(super) fn wronged(&mut self) -> f64 {
        let mut wronged = BTreeSet::new();
        for ix in self.running() {
            wronged.extend(self.world.seen(ix).banned.iter().filter(|other| self.honest.contains(other)));
            let Ok(Reply::Peers(views)) = self.world.command(ix, Command::Peers) else { continue };
            for view in views {
                let other = self.world.find(&view.peer);
                if view.score < 0 && self.honest.contains(&other) {
                    wronged.insert(other);
                }
            }
        }
        wronged.len() as f64
    }

    /// The bars of every attack: how fast blocks and payments are, and whether the honest think well of each other.
    pub(super) fn readings(&mut self) -> Vec<Reading> {
        let measured = self.world.measured().expect("it was measured");
        let (share, payments) = (measured.blocks().delivered, measured.transactions_within(0.99));
        vec![
            Reading::most("blocks: p99 of all deliveries, ms", self.blocks_p99(None), SLOT as f64),
            Reading::least("blocks: share delivered", share, 0.99),
            Reading::most("payments: p99 of all deliveries, ms", millis(payments), 2.0 * SLOT as f64),
            Reading::most("honest peers banned or thought ill of", self.wronged(), 0.0),
        ]
    }
}

fn millis(micros: Option<u64>) -> f64 {
    micros.map_or(f64::INFINITY, |micros| micros as f64 / 1000.0)
}

/// The address of a peer with this number, in a network of its own: a /16 each.
fn host(first: u8, number: usize) -> Ipv4Addr {
    let [.., high, low] = (number as u32).to_be_bytes();
    Ipv4Addr::new(first + high, low, 0, 1)
}
