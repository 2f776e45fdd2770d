//! Floods of transactions: the pool keeps its bounds, honest payments still get into blocks, and whoever sends what no
//! honest peer would is the one to pay for it.

use weft_core::{
    chain::{Transaction, UnsignedTransaction},
    gossip::TxRequest,
    mempool::{FeeEstimate, Limits, fee_for},
    node::{Command, Input, MempoolView, OutboundId, Output, Protocol, Reply},
    primitives::{Address, Amount, Now, Slot},
};
use weft_testnet::{
    fixture::{address, key},
    sim::PeerIx,
};

use crate::town::{SLOT, Town};

/// Room for about 150 of the largest transactions.
const MEMPOOL: usize = 64 << 10;
/// How long a flood lasts, in slots.
const ROUNDS: u64 = 60;
/// The accounts that the intruder has the keys of; the first is honest.
const INTRUDERS: std::ops::Range<usize> = 1..20;

/// A town with an intruder at one of its validators, and somebody who pays once a slot.
struct Flood {
    town: Town,
    intruder: PeerIx,
    shop: Address,
    requests: u64,
    paid: u64,
}

impl Flood {
    fn new(seed: u64) -> Self {
        let mut town = Town::with_mempool(seed, 3, 2, MEMPOOL);
        let options = town.options();
        let intruder = town.world.add_puppet(options, |_: Now, _: Input, _: &mut Vec<Output>| {});
        let shop = address(&key("shop", 0));
        let mut flood = Self { town, intruder, shop, requests: 0, paid: 0 };
        flood.town.world.run_for(3 * SLOT);
        flood.connect();
        flood
    }

    fn victim(&self) -> PeerIx {
        self.town.validators[0]
    }

    fn connect(&mut self) {
        let (intruder, victim) = (self.intruder, self.victim());
        let address = self.town.world.address(victim);
        self.town.world.act(intruder, Output::Dial(address));
        self.town.world.run_to(5_000, |world| world.is_connected(intruder, victim));
    }

    fn sign(&self, from: usize, nonce: u64, change: impl FnOnce(&mut UnsignedTransaction)) -> Transaction {
        let mut content = self.town.chain.unsigned(from, address(&key("hoard", 0)), nonce);
        change(&mut content);
        content.sign(&self.town.chain.accounts[from], &self.town.chain.hash())
    }

    fn pool(&mut self, ix: PeerIx) -> MempoolView {
        match self.town.world.command(ix, Command::Mempool(0)) {
            Ok(Reply::Mempool(view)) => view,
            other => panic!("{ix:?} answered {other:?} when asked for its mempool"),
        }
    }

    /// A slot in which the intruder sends these, and an honest payment is made for what the peer suggests.
    fn round(&mut self, flood: &[Transaction]) -> FeeEstimate {
        let peer = self.town.world.peer_id(self.victim());
        for push in flood.chunks(200) {
            self.requests += 1;
            let body = TxRequest::Push(push.to_vec()).to_bytes();
            let (id, protocol) = (OutboundId(self.requests), Protocol::Transactions);
            self.town.world.act(self.intruder, Output::Request { id, peer, protocol, body });
        }
        self.town.world.run_for(SLOT / 2);
        let payer = self.town.followers[1];
        let fees = self.pool(payer).fees;
        let fee = fee_for(fees.next, Transaction::EMPTY_LEN).0;
        let payment = self.town.chain.transfer_for(0, self.shop, self.paid, fee);
        self.town.world.submit(payer, payment).expect("the suggested fee is enough");
        self.paid += 1;
        self.town.world.run_for(SLOT / 2);
        for ix in self.town.all() {
            let bytes = self.pool(ix).bytes;
            assert!(bytes <= MEMPOOL, "{ix:?} holds {bytes} bytes");
        }
        fees
    }

    /// What was paid is in blocks within a few slots, and the honest think well of each other.
    fn goes_on(&mut self) {
        let (payer, shop, paid) = (self.town.followers[1], self.shop, self.paid);
        self.town.world.run_until(12 * SLOT, |world| world.account(payer, shop).balance.0 == paid);
        self.town.world.check_all();
    }

    /// Whether the victim holds something against the intruder.
    fn is_blamed(&mut self) -> bool {
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

#[test]
fn forged_and_worthless_ones_cost_their_sender_its_connection() {
    for (name, spoil) in [
        ("a wrong signature", (|transaction| transaction.content.amount.0 += 1) as fn(&mut Transaction)),
        ("a fee no chain takes", |transaction| transaction.content.fee = Amount(1)),
    ] {
        let mut flood = Flood::new(2);
        for round in 0..ROUNDS / 3 {
            // One bad among many good, another each time.
            let mut transactions: Vec<_> =
                INTRUDERS.map(|account| flood.sign(account, round, |_| {})).collect();
            spoil(&mut transactions[round as usize % 19]);
            flood.round(&transactions);
            if !flood.town.world.is_connected(flood.intruder, flood.victim()) {
                flood.connect();
            }
        }
        assert!(flood.is_blamed(), "{name}");
        assert!(!flood.town.world.is_connected(flood.intruder, flood.victim()), "{name}");
        flood.goes_on();
    }
}

#[test]
fn the_same_ones_again_and_again_are_looked_at_once() {
    let mut flood = Flood::new(3);
    let transactions: Vec<_> = INTRUDERS.map(|account| flood.sign(account, 0, |_| {})).collect();
    for _ in 0..ROUNDS {
        flood.round(&[transactions.clone(), transactions.clone()].concat());
    }
    flood.goes_on();
    assert!(!flood.is_blamed());
    let hoard = address(&key("hoard", 0));
    let payer = flood.town.followers[1];
    assert_eq!(flood.town.world.account(payer, hoard).balance.0, INTRUDERS.len() as u64, "each once");
}

#[test]
fn one_peer_cannot_fill_the_future() {
    let mut flood = Flood::new(4);
    let limits = Limits::new(MEMPOOL, 1);
    for round in 0..ROUNDS {
        // Never the next nonce, at fees nobody else pays.
        let transactions: Vec<_> = INTRUDERS
            .flat_map(|account| (0..16).map(move |ahead| (account, 1 + ahead)))
            .map(|(account, nonce)| flood.sign(account, nonce, |content| content.fee = Amount(9_000 + round)))
            .collect();
        flood.round(&transactions);
        let victim = flood.victim();
        let queued = flood.pool(victim).queued * Transaction::EMPTY_LEN;
        assert!(queued <= limits.max_queued_bytes_of_peer, "{queued} bytes wait for one peer");
        for ix in flood.town.all().into_iter().skip(1) {
            assert_eq!(flood.pool(ix).queued, 0, "{ix:?} was told of what can be in no block");
        }
    }
    assert!(!flood.is_blamed(), "some of it may be true in time");
    // Another's payments that come in the wrong order still wait for each other, at the victim itself.
    let (victim, shop) = (flood.victim(), flood.shop);
    let late = flood.town.chain.transfer_for(0, shop, flood.paid + 1, 400);
    flood.town.world.submit(victim, late).unwrap();
    flood.town.world.run_for(SLOT);
    let first = flood.town.chain.transfer_for(0, shop, flood.paid, 400);
    let payer = flood.town.followers[1];
    flood.town.world.submit(payer, first).unwrap();
    flood.paid += 2;
    flood.goes_on();
}

#[test]
fn what_is_replaced_again_and_again_pays_each_time() {
    let mut flood = Flood::new(5);
    let mut fee = 200;
    for _ in 0..ROUNDS {
        let mut transactions = Vec::new();
        for _ in 0..5 {
            // Half of what each step must be. It never gets into a block: the one before it is missing.
            fee += fee / 20;
            transactions.push(flood.sign(1, 1, |content| content.fee = Amount(fee)));
        }
        flood.round(&transactions);
        let victim = flood.victim();
        assert!(flood.pool(victim).queued <= 1);
    }
    let victim = flood.victim();
    let refused = flood.town.world.status(victim).refusals;
    assert!(refused.get("transaction-underpriced").is_some_and(|count| *count > 100), "{refused:?}");
    flood.goes_on();
    assert!(!flood.is_blamed());
}

#[test]
fn what_expires_at_once_does_not_stay() {
    let mut flood = Flood::new(6);
    for _ in 0..ROUNDS {
        let slot = flood.town.world.elapsed() / SLOT;
        let transactions: Vec<_> = INTRUDERS
            .flat_map(|account| (0..16).map(move |nonce| (account, nonce)))
            .map(|(account, nonce)| {
                flood.sign(account, nonce + 2, |content| {
                    content.valid_until = Slot(slot + 1);
                    content.fee = Amount(5_000);
                })
            })
            .collect();
        flood.round(&transactions);
    }
    flood.town.world.run_for(3 * SLOT);
    let victim = flood.victim();
    assert_eq!(flood.pool(victim).queued, 0);
    flood.goes_on();
    assert!(!flood.is_blamed());
}
