//! A small town in which somebody floods one validator for five minutes, while somebody else pays once a slot.

use std::collections::VecDeque;

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

/// A payment that is in no block yet.
struct Open {
    /// When it was made.
    since: u64,
    /// What is offered for it.
    fee: u64,
}

/// The place of the intruder's authority in the order of turns.
pub(crate) const OFFICE: usize = 3;

/// A town with an intruder at one of its validators, and somebody who pays once a slot.
pub(crate) struct Flood {
    seed: u64,
    /// Whether the intruder is an authority.
    in_office: bool,
    pub(crate) town: Town,
    pub(crate) intruder: PeerIx,
    pub(crate) shop: Address,
    requests: u64,
    pub(crate) paid: u64,
    /// The payments that have not arrived, in order.
    open: VecDeque<Open>,
    /// How long the others took until they were executed where they were made, in milliseconds.
    delays: Vec<u64>,
}

impl Flood {
    /// With an intruder that answers nothing.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, |_: Now, _: Input, _: &mut Vec<Output>| {})
    }

    pub(crate) fn with(seed: u64, script: impl FnMut(Now, Input, &mut Vec<Output>) + 'static) -> Self {
        Self::behind(seed, Access::default(), script)
    }

    /// With an intruder that reaches the others so.
    pub(crate) fn behind(
        seed: u64,
        access: Access,
        script: impl FnMut(Now, Input, &mut Vec<Output>) + 'static,
    ) -> Self {
        Self::build(seed, false, access, script)
    }

    /// With an intruder that has the fourth authority's key, [`OFFICE`]: every fourth turn is its own.
    pub(crate) fn in_office(seed: u64, script: impl FnMut(Now, Input, &mut Vec<Output>) + 'static) -> Self {
        Self::build(seed, true, Access::default(), script)
    }

    fn build(
        seed: u64,
        in_office: bool,
        access: Access,
        script: impl FnMut(Now, Input, &mut Vec<Output>) + 'static,
    ) -> Self {
        let mut town = Town::with_absent(seed, [3, usize::from(in_office), 2], MEMPOOL);
        let options = NodeOptions { access, ..town.options() };
        let intruder = town.world.add_puppet(options, script);
        let shop = address(&key("shop", 0));
        let (open, delays) = (VecDeque::new(), Vec::new());
        let mut flood = Self { seed, in_office, town, intruder, shop, requests: 0, paid: 0, open, delays };
        flood.town.world.run_for(3 * SLOT);
        flood.connect();
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
        let payer = self.town.followers[1];
        let fees = self.pool(payer).fees;
        let fee = fee_for(fees.next, Transaction::EMPTY_LEN).0;
        self.raise(payer, fee);
        // As many as one may have waiting; who pays more often has to wait.
        if self.open.len() < 16 {
            let payment = self.town.chain.transfer_for(0, self.shop, self.paid, fee);
            self.town.world.submit(payer, payment).expect("the suggested fee is enough");
            self.paid += 1;
            self.open.push_back(Open { since: self.town.world.elapsed(), fee });
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

    /// Offers what is suggested now for the first of those that wait, if it has waited for three slots and that is more.
    fn raise(&mut self, payer: PeerIx, fee: u64) {
        let (now, nonce) = (self.town.world.elapsed(), self.paid - self.open.len() as u64);
        let Some(first) = self.open.front_mut().filter(|first| now >= first.since + 3 * SLOT) else { return };
        if 10 * fee >= 11 * first.fee + 10 * Transaction::EMPTY_LEN as u64 {
            first.fee = fee;
            let payment = self.town.chain.transfer_for(0, self.shop, nonce, fee);
            self.town.world.submit(payer, payment).expect("it pays a tenth more");
        }
    }

    /// Lets time pass, and looks which payments arrive.
    fn watch(&mut self, millis: u64) {
        self.watch_with(millis, |_| {});
    }

    fn watch_with(&mut self, millis: u64, mut act: impl FnMut(&mut Self)) {
        for _ in 0..millis / LOOK {
            act(self);
            self.town.world.run_for(LOOK);
            let arrived = self.town.world.account(self.town.followers[1], self.shop).balance.0;
            while self.paid - (self.open.len() as u64) < arrived
                && let Some(payment) = self.open.pop_front()
            {
                self.delays.push(self.town.world.elapsed() - payment.since);
            }
        }
    }

    /// So many of 100 payments took no longer than this.
    fn delay(&mut self, percent: usize) -> u64 {
        self.watch(12 * SLOT);
        assert_eq!(self.open.len(), 0, "of {} payments some never arrive", self.paid);
        self.delays.sort_unstable();
        self.delays[(self.delays.len() * percent).div_ceil(100) - 1]
    }

    /// Payments took no more than half as long again as without the intruder, and the honest think well of each other.
    pub(crate) fn goes_on(&mut self) {
        let (with, without) = (self.delay(99), self.without());
        assert!(2 * with <= 3 * without, "99 of 100 payments took {with} ms instead of {without}");
        self.town.world.check_all();
    }

    /// What 99 of 100 payments take where the intruder is connected and does nothing.
    fn without(&self) -> u64 {
        let mute = |_: Now, _: Input, _: &mut Vec<Output>| {};
        let mut quiet = Self::build(self.seed, self.in_office, Access::default(), mute);
        for _ in 0..ROUNDS {
            quiet.slot();
        }
        quiet.delay(99)
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
