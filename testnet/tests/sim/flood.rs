//! A small town in which somebody floods one validator for five minutes, while somebody else pays once a slot: how long blocks and
//! payments take to all honest peers, beside the same town without the flood. Gossip is the model of gossipsub, with Weft's numbers.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, OnceLock},
};

use weft_core::{
    chain::{Transaction, UnsignedTransaction},
    gossip::TxRequest,
    mempool::{FeeEstimate, fee_for},
    node::{Command, Input, MempoolView, OutboundId, Output, Protocol, Reply},
    primitives::{Address, Now},
};
use weft_testnet::{
    fixture::{address, key},
    sim::{Access, NodeOptions, PeerIx},
};

use crate::town::{SLOT, Town};

/// Room for about 150 of the largest transactions.
pub(crate) const MEMPOOL: usize = 64 << 10;
/// How long a flood lasts, in slots: five minutes.
pub(crate) const ROUNDS: u64 = 300;
/// How often somebody looks whether a payment has arrived, in milliseconds.
const LOOK: u64 = 50;
/// The accounts that the intruder has the keys of; the first is honest.
pub(crate) const INTRUDERS: std::ops::Range<usize> = 1..20;

/// The honest: enough that a mesh is not everybody.
const VALIDATORS: usize = 3;
const FOLLOWERS: usize = 10;
/// Of whom there are fewer in a village.
const VILLAGERS: usize = 2;

/// An honest payment.
struct Payment {
    /// When it was made.
    since: u64,
    /// What is offered for it.
    fee: u64,
}

/// Milliseconds within which 99 of 100 things came about, each counted for each honest peer that was to have it.
#[derive(Clone, Copy)]
struct Within {
    /// From a block's publication to its execution.
    blocks: f64,
    /// From a payment's submission to its arrival, in a block or before.
    payments: f64,
    /// From a payment's submission to its execution.
    executed: f64,
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blocks, payments, executed } = self;
        write!(f, "blocks {blocks:.0} ms, payments {payments:.0} ms, and {executed:.0} ms to their execution")
    }
}

/// Payments that the honest make, so many in each slot from each of the [`INTRUDERS`]' accounts, with so long a memo.
///
/// Who fills blocks with what it pays for makes them longer on their way, as any demand does. Such a flood is held to a town in
/// which the honest fill them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crowd {
    pub(crate) payments: u64,
    pub(crate) memo: usize,
}

/// A town without what the intruder does.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Setting {
    /// Whether the intruder is an authority.
    in_office: bool,
    /// Whether everybody is everybody's neighbour, and gossip goes to all of them, instead of a mesh.
    is_village: bool,
    /// Who pays beside the one who is watched.
    crowd: Option<Crowd>,
}

/// What it takes without a flood. Each is run once.
static WITHOUT: Mutex<BTreeMap<Setting, Arc<OnceLock<Within>>>> = Mutex::new(BTreeMap::new());
/// The seed of all runs, so that they differ by the flood alone.
const SEED: u64 = 1;
/// That of villages: here what fills the victim's pool fills the payer's too.
const VILLAGE_SEED: u64 = 7;

/// The place of the intruder's authority in the order of turns.
pub(crate) const OFFICE: usize = 3;

/// A town with an intruder at one of its validators, and somebody who pays once a slot.
pub(crate) struct Flood {
    setting: Setting,
    pub(crate) town: Town,
    pub(crate) intruder: PeerIx,
    pub(crate) shop: Address,
    requests: u64,
    pub(crate) paid: u64,
    /// All of them, in order.
    payments: Vec<Payment>,
    /// How many of them each honest peer has executed, and how many blocks it had announced when it was last looked at.
    executed: Vec<(usize, u64)>,
    /// How long each of those took to each of them, in milliseconds.
    delays: Vec<u64>,
}

impl Flood {
    /// With an intruder that answers nothing.
    pub(crate) fn new() -> Self {
        Self::with(|_: Now, _: Input, _: &mut Vec<Output>| {})
    }

    pub(crate) fn with(script: impl FnMut(Now, Input, &mut Vec<Output>) + 'static) -> Self {
        Self::behind(Access::default(), script)
    }

    /// With an intruder that reaches the others so.
    pub(crate) fn behind(access: Access, script: impl FnMut(Now, Input, &mut Vec<Output>) + 'static) -> Self {
        Self::build(Setting::default(), access, script)
    }

    /// With an intruder that has the fourth authority's key, [`OFFICE`]: every fourth turn is its own.
    pub(crate) fn in_office(script: impl FnMut(Now, Input, &mut Vec<Output>) + 'static) -> Self {
        Self::build(Setting { in_office: true, ..Setting::default() }, Access::default(), script)
    }

    /// In a town where everybody hears at once from everybody how full the pools are.
    pub(crate) fn in_village() -> Self {
        let mute = |_: Now, _: Input, _: &mut Vec<Output>| {};
        Self::build(Setting { is_village: true, ..Setting::default() }, Access::default(), mute)
    }

    fn build(
        setting: Setting,
        access: Access,
        script: impl FnMut(Now, Input, &mut Vec<Output>) + 'static,
    ) -> Self {
        let peers = |followers| [VALIDATORS, usize::from(setting.in_office), followers];
        let mut town = if setting.is_village {
            Town::with_absent(VILLAGE_SEED, peers(VILLAGERS), MEMPOOL)
        } else {
            Town::meshed(SEED, peers(FOLLOWERS), MEMPOOL)
        };
        let options = NodeOptions { access, ..town.options() };
        let intruder = town.world.add_puppet(options, script);
        let shop = address(&key("shop", 0));
        let (payments, executed, delays) = (Vec::new(), vec![(0, 0); town.all().len()], Vec::new());
        let mut flood =
            Self { setting, town, intruder, shop, requests: 0, paid: 0, payments, executed, delays };
        flood.town.world.run_for(3 * SLOT);
        flood.connect();
        let now = flood.town.world.elapsed();
        flood.town.world.measure(now, now + ROUNDS * SLOT);
        flood
    }

    pub(crate) fn victim(&self) -> PeerIx {
        self.town.validators[0]
    }

    fn connect(&mut self) {
        let (intruder, victim) = (self.intruder, self.victim());
        let address = self.town.world.address(victim);
        self.town.world.act(intruder, Output::Dial(address));
        self.town.world.run_to(5_000, |world| world.is_connected(intruder, victim));
    }

    /// Dials again if the victim has ended the connection.
    pub(crate) fn come_back(&mut self) {
        let (intruder, victim) = (self.intruder, self.victim());
        if !self.town.world.is_connected(intruder, victim) {
            let address = self.town.world.address(victim);
            self.town.world.act(intruder, Output::Dial(address));
            self.watch(LOOK);
        }
    }

    pub(crate) fn sign(
        &self,
        from: usize,
        nonce: u64,
        change: impl FnOnce(&mut UnsignedTransaction),
    ) -> Transaction {
        let mut content = self.town.chain.unsigned(from, address(&key("hoard", 0)), nonce);
        change(&mut content);
        content.sign(&self.town.chain.accounts[from], &self.town.chain.hash())
    }

    pub(crate) fn pool(&mut self, ix: PeerIx) -> MempoolView {
        match self.town.world.command(ix, Command::Mempool(0)) {
            Ok(Reply::Mempool(view)) => view,
            other => panic!("{ix:?} answered {other:?} when asked for its mempool"),
        }
    }

    /// The intruder asks the victim something.
    pub(crate) fn ask(&mut self, body: Vec<u8>) {
        self.requests += 1;
        let (id, protocol) = (OutboundId(self.requests), Protocol::Transactions);
        let peer = self.town.world.peer_id(self.victim());
        self.town.world.act(self.intruder, Output::Request { id, peer, protocol, body });
    }

    /// A slot in which the intruder pushes these, and an honest payment is made for what the peer suggests.
    pub(crate) fn round(&mut self, flood: &[Transaction]) -> FeeEstimate {
        for push in flood.chunks(200) {
            self.ask(TxRequest::Push(push.to_vec()).to_bytes());
        }
        self.slot()
    }

    /// A slot in which an honest payment is made for what the peer suggests.
    pub(crate) fn slot(&mut self) -> FeeEstimate {
        self.slot_with(|_| {})
    }

    /// The same, in which the intruder does something each time that somebody looks.
    pub(crate) fn slot_with(&mut self, mut act: impl FnMut(&mut Self)) -> FeeEstimate {
        self.watch_with(SLOT / 2, &mut act);
        let payer = self.payer();
        let fees = self.pool(payer).fees;
        let fee = fee_for(fees.next, Transaction::EMPTY_LEN).0;
        self.raise(fee);
        // As many as one may have waiting; who pays more often has to wait.
        if self.payments.len() < self.settled() + 16 {
            self.submit(self.paid, fee);
            self.paid += 1;
            self.payments.push(Payment { since: self.town.world.elapsed(), fee });
        }
        self.watch_with(SLOT / 2, &mut act);
        for ix in self.town.all() {
            let bytes = self.pool(ix).bytes;
            assert!(bytes <= MEMPOOL, "{ix:?} holds {bytes} bytes");
        }
        // Notices, announcements, checks, questions that wait: everything that has a limit.
        self.town.world.check_held();
        fees
    }

    /// Where payments are made.
    fn payer(&self) -> PeerIx {
        self.town.followers[1]
    }

    fn submit(&mut self, nonce: u64, fee: u64) {
        let (payer, payment) = (self.payer(), self.town.chain.transfer_for(0, self.shop, nonce, fee));
        self.town.world.measure_submitted(payer, payment.id());
        self.town
            .world
            .submit(payer, payment)
            .expect("the suggested fee is enough, and a tenth more than before");
    }

    /// How many payments are executed where they were made.
    fn settled(&self) -> usize {
        self.executed[VALIDATORS + 1].0
    }

    /// Offers what is suggested now for the first of those that wait, if it has waited for three slots and that is more.
    fn raise(&mut self, fee: u64) {
        let (now, place) = (self.town.world.elapsed(), self.settled());
        let Some(first) = self.payments.get_mut(place).filter(|first| now >= first.since + 3 * SLOT) else {
            return;
        };
        if 10 * fee >= 11 * first.fee + 10 * Transaction::EMPTY_LEN as u64 {
            first.fee = fee;
            self.submit(place as u64, fee);
        }
    }

    /// Lets time pass, and looks which payments are executed.
    fn watch(&mut self, millis: u64) {
        self.watch_with(millis, |_| {});
    }

    fn watch_with(&mut self, millis: u64, mut act: impl FnMut(&mut Self)) {
        for _ in 0..millis / LOOK {
            act(self);
            self.town.world.run_for(LOOK);
            for (place, ix) in self.town.all().into_iter().enumerate() {
                let blocks = self.town.world.seen(ix).blocks;
                // Without a block there is nothing new.
                if mem::replace(&mut self.executed[place].1, blocks) != blocks {
                    self.look(place, ix);
                }
            }
        }
    }

    fn look(&mut self, place: usize, ix: PeerIx) {
        let executed = self.town.world.account(ix, self.shop).balance.0 as usize;
        let (before, now) = (self.executed[place].0, self.town.world.elapsed());
        let new = self.payments.get(before..executed).unwrap_or_default();
        self.delays.extend(new.iter().map(|payment| now - payment.since));
        self.executed[place].0 = before.max(executed);
    }

    /// What took how long, once all of it is over.
    fn within(&mut self) -> Within {
        self.watch(12 * SLOT);
        for (ix, (executed, _)) in self.town.all().into_iter().zip(&self.executed) {
            assert_eq!(*executed, self.payments.len(), "payments never come to {ix:?}");
        }
        self.delays.sort_unstable();
        let executed = self.delays[(self.delays.len() * 99).div_ceil(100) - 1] as f64;
        let measured = self.town.world.measured().expect("it is from the start");
        let millis = |micros: Option<u64>| micros.map_or(f64::INFINITY, |micros| micros as f64 / 1000.0);
        let blocks = millis(measured.blocks_within(0.99, None));
        Within { blocks, payments: millis(measured.transactions_within(0.99)), executed }
    }

    /// Blocks and payments took no more than half as long again as without the intruder, and the honest think well of each other.
    pub(crate) fn goes_on(&mut self) {
        self.goes_on_beside(None);
    }

    /// The same, held to a town in which the honest fill the blocks.
    pub(crate) fn goes_on_beside(&mut self, crowd: Option<Crowd>) {
        let (with, without) = self.compare(crowd);
        assert!(
            2.0 * with.blocks <= 3.0 * without.blocks
                && 2.0 * with.payments <= 3.0 * without.payments
                && 2.0 * with.executed <= 3.0 * without.executed
        );
    }

    /// Payments took no more than half as long again until they were in a block.
    pub(crate) fn payments_go_on(&mut self) {
        let (with, without) = self.compare(None);
        assert!(2.0 * with.executed <= 3.0 * without.executed);
    }

    /// As [`Self::goes_on_beside`], but for payments: those came into a block one slot later.
    pub(crate) fn goes_on_a_slot_later(&mut self, crowd: Option<Crowd>) {
        let (with, without) = self.compare(crowd);
        assert!(2.0 * with.blocks <= 3.0 * without.blocks && with.executed <= without.executed + SLOT as f64);
    }

    /// What it took here, and in the same town without a flood. The honest think well of each other in any case.
    fn compare(&mut self, crowd: Option<Crowd>) -> (Within, Within) {
        let (with, without) = (self.within(), Self::without(Setting { crowd, ..self.setting }));
        println!("{with}; without the flood {without}");
        assert!(with.blocks.is_finite() && without.blocks.is_finite(), "blocks never come");
        self.town.world.check_all();
        let all = self.town.all();
        for (ix, other) in all.iter().flat_map(|ix| all.iter().map(move |other| (*ix, *other))) {
            let score = self.town.world.score(ix, other);
            assert!(score >= 0.0, "gossip at {ix:?} gives {other:?} {score}");
        }
        (with, without)
    }

    fn without(setting: Setting) -> Within {
        let mut runs = WITHOUT.lock().expect("nobody panics while it has this");
        let cell = Arc::clone(runs.entry(setting).or_default());
        drop(runs);
        *cell.get_or_init(|| {
            let mute = |_: Now, _: Input, _: &mut Vec<Output>| {};
            let mut quiet = Self::build(setting, Access::default(), mute);
            let mut made = BTreeMap::new();
            for _ in 0..ROUNDS {
                if let Some(crowd) = setting.crowd {
                    quiet.pay(crowd, &mut made);
                }
                quiet.slot();
            }
            quiet.within()
        })
    }

    /// The crowd pays, at every follower some of it, as much as the pools take.
    fn pay(&mut self, crowd: Crowd, made: &mut BTreeMap<usize, u64>) {
        let payer = self.payer();
        let fees = self.pool(payer).fees;
        for account in INTRUDERS {
            let at = self.town.followers[account % self.town.followers.len()];
            let made = made.entry(account).or_default();
            for _ in 0..crowd.payments {
                let payment = self.sign(account, *made, |content| {
                    content.memo = vec![0; crowd.memo];
                    content.fee = fee_for(fees.next, Transaction::EMPTY_LEN + crowd.memo);
                });
                if self.town.world.submit(at, payment).is_err() {
                    break;
                }
                *made += 1;
            }
        }
    }

    /// Whether the victim holds something against the intruder.
    pub(crate) fn is_blamed(&mut self) -> bool {
        let (victim, intruder) = (self.victim(), self.intruder);
        let id = self.town.world.peer_id(intruder).to_string();
        let Ok(Reply::Peers(peers)) = self.town.world.command(victim, Command::Peers) else {
            panic!("the victim does not tell its peers");
        };
        let view = peers.into_iter().find(|view| view.peer == id);
        self.town.world.seen(victim).banned.contains(&intruder)
            || view.is_none_or(|view| !view.offences.is_empty())
    }
}
