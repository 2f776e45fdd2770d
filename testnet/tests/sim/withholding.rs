//! Intruders that take part in the relay of transactions like everybody, but for what they give: nothing of what they announce, under one
//! name after the other; sets that only they have; other sizes than they said; all of it, too slowly. Five minutes of each.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use weft_core::{
    chain::Transaction,
    gossip::{Intake, OpenedBy, OutgoingId, Pool, TransactionRelay, TxMode, TxRequest},
    node::{Input, OutboundId, Output, Protocol},
    primitives::{Amount, Hash, Mono, Now},
};
use weft_testnet::sim::{Access, PeerIx};

use crate::flood::{Crowd, Flood, INTRUDERS, ROUNDS};

/// How many an intruder announces: what a fetch asks for.
const GOODS: u64 = 256;

/// What an intruder says that it has.
#[derive(Default)]
struct Goods(BTreeMap<Hash, Transaction>);

impl Pool for Goods {
    fn get(&self, id: &Hash) -> Option<&Transaction> {
        self.0.get(id)
    }

    fn best(&self) -> impl Iterator<Item = (Hash, &Transaction)> {
        self.0.iter().map(|(id, transaction)| (*id, transaction))
    }
}

/// An intruder that speaks by a relay like everybody's.
struct Dealer {
    relay: TransactionRelay,
    goods: Goods,
    /// Whether it gives what it is asked for.
    delivers: bool,
    /// Whether it tells the sizes of what it has.
    is_exact: bool,
    /// Whether it says that it takes pushes. What is pushed to it goes no further.
    takes_pushes: bool,
    under_way: BTreeMap<OutboundId, OutgoingId>,
    requests: u64,
    /// How often it was asked for what it announced.
    asked: u64,
}

type Shared = Rc<RefCell<Dealer>>;

impl Dealer {
    fn new(number: u64, goods: impl IntoIterator<Item = Transaction>) -> Self {
        let goods = goods.into_iter().map(|transaction| (transaction.id(), transaction)).collect();
        Self {
            // It announces what it has, and pushes nothing.
            relay: TransactionRelay::new(TxMode::Pull, Intake::All, 0, [number, 7]),
            goods: Goods(goods),
            delivers: false,
            is_exact: true,
            takes_pushes: false,
            under_way: BTreeMap::new(),
            // Apart from those of the flood itself.
            requests: 1 << 32,
            asked: 0,
        }
    }

    fn hear(&mut self, now: Mono, input: Input, outputs: &mut Vec<Output>) {
        match input {
            Input::Connected { peer, .. } => {
                self.relay.peer_connected(peer, OpenedBy::Them, now);
                for transaction in self.goods.0.values() {
                    self.relay.forward_to(&peer, transaction, now);
                }
            }
            Input::Disconnected { peer, .. } => self.relay.peer_disconnected(&peer, now),
            Input::Request { id, peer, protocol: Protocol::Transactions, body } => {
                if matches!(TxRequest::from_bytes(&body), Ok(TxRequest::Fetch(_))) {
                    self.asked += 1;
                    if !self.delivers {
                        return;
                    }
                }
                let answer = self.relay.request(&peer, &body, &self.goods, now).expect("the honest are");
                answer.check.iter().for_each(|one| self.relay.dropped(&one.id(), now));
                outputs.push(Output::Respond { id, body: answer.response });
            }
            Input::Response { id, outcome } => match (self.under_way.remove(&id), outcome) {
                (Some(id), Ok(body)) => {
                    self.relay.answered(id, &body, &self.goods, now);
                }
                (Some(id), Err(_)) => self.relay.failed(id, now),
                (None, _) => {}
            },
            _ => {}
        }
        self.speak(now, outputs);
    }

    fn speak(&mut self, now: Mono, outputs: &mut Vec<Output>) {
        while let Some(outgoing) = self.relay.poll(&self.goods, now) {
            let said = match TxRequest::from_bytes(&outgoing.body).expect("it was written here") {
                TxRequest::Hello { salt, min_fee_rate, .. } if self.takes_pushes => {
                    TxRequest::Hello { mode: TxMode::PushPull, salt, min_fee_rate }
                }
                TxRequest::Announce(mut announcements) if !self.is_exact => {
                    announcements.iter_mut().for_each(|one| one.size += 1);
                    TxRequest::Announce(announcements)
                }
                // It compares nothing, but lets others compare.
                TxRequest::Sketch { .. } => {
                    self.relay.failed(outgoing.id, now);
                    continue;
                }
                other => other,
            };
            self.requests += 1;
            let id = OutboundId(self.requests);
            self.under_way.insert(id, outgoing.id);
            let (peer, protocol) = (outgoing.peer, Protocol::Transactions);
            outputs.push(Output::Request { id, peer, protocol, body: said.to_bytes() });
        }
    }
}

fn script(dealer: &Shared) -> impl FnMut(Now, Input, &mut Vec<Output>) + 'static {
    let dealer = Rc::clone(dealer);
    move |now, input, outputs| dealer.borrow_mut().hear(now.mono, input, outputs)
}

/// Has an intruder say what is due: it hears nothing of the time.
fn speak(flood: &mut Flood, ix: PeerIx, dealer: &Shared) {
    let mut outputs = Vec::new();
    dealer.borrow_mut().speak(flood.town.world.now_of(ix).mono, &mut outputs);
    outputs.into_iter().for_each(|output| flood.town.world.act(ix, output));
}

/// An intruder has more, and announces it.
fn bring(flood: &mut Flood, dealer: &Shared, more: Vec<Transaction>) {
    let now = flood.town.world.now_of(flood.intruder).mono;
    for transaction in more {
        let mut dealer = dealer.borrow_mut();
        dealer.relay.forward(&transaction, now);
        dealer.goods.0.insert(transaction.id(), transaction);
    }
}

/// Transactions as large as any payment, which nobody else ever sees.
fn unseen(flood: &Flood, from: u64, count: u64) -> Vec<Transaction> {
    (from..from + count).map(|nonce| flood.sign(1, nonce, |_| {})).collect()
}

/// Each second somebody under a new name announces to everybody what it never gives, as many as a fetch asks for; four of them are there
/// at a time.
fn under_new_names(takes_pushes: bool) -> Flood {
    const NAMES: usize = 4;
    let mut flood = Flood::new();
    let goods = unseen(&flood, 0, GOODS);
    let mut there: VecDeque<(PeerIx, Shared)> = VecDeque::new();
    let mut asked = 0;
    for round in 0..ROUNDS {
        if there.len() == NAMES
            && let Some((ix, dealer)) = there.pop_front()
        {
            asked += dealer.borrow().asked;
            flood.town.world.kill(ix);
        }
        let dealer = Dealer { takes_pushes, ..Dealer::new(round, goods.clone()) };
        let dealer = Rc::new(RefCell::new(dealer));
        let options = flood.town.options();
        let ix = flood.town.world.add_puppet(options, script(&dealer));
        for other in flood.town.all() {
            let address = flood.town.world.address(other);
            flood.town.world.act(ix, Output::Dial(address));
        }
        there.push_back((ix, dealer));
        flood.slot_with(|flood| there.iter().for_each(|(ix, dealer)| speak(flood, *ix, dealer)));
    }
    assert!(asked > ROUNDS, "they were asked {asked} times");
    flood
}

#[test]
fn what_is_withheld_under_one_name_after_the_other_delays_nobody() {
    under_new_names(false).goes_on();
}

/// They are half of those who could be pushed to, but whoever is pushed to is first of all somebody whom the honest dialled.
#[test]
fn those_who_have_payments_pushed_to_them_as_well_delay_nobody_either() {
    under_new_names(true).goes_on_a_slot_later(None);
}

#[test]
fn sets_that_decode_to_what_never_comes_delay_nobody() {
    let dealer = Rc::new(RefCell::new(Dealer::new(0, Vec::new())));
    let mut flood = Flood::with(script(&dealer));
    for round in 0..ROUNDS {
        if round % 20 == 0 {
            // Others, and none of them is announced.
            let others = unseen(&flood, 600 * (round + 1), 600);
            dealer.borrow_mut().goods.0 = others.into_iter().map(|one| (one.id(), one)).collect();
        }
        flood.slot_with(|flood| speak(flood, flood.intruder, &dealer));
    }
    let counts = flood.town.world.relay_counts(flood.victim());
    assert!(counts.sketches_decoded > 5 && counts.found >= 600, "{counts:?}");
    assert!(dealer.borrow().asked > 3, "{} questions", dealer.borrow().asked);
    assert!(!flood.is_blamed(), "all of it may have been replaced");
    flood.goes_on();
}

#[test]
fn other_sizes_than_were_announced_cost_their_sender_its_connection() {
    let dealer = Rc::new(RefCell::new(Dealer::new(0, Vec::new())));
    {
        let mut dealer = dealer.borrow_mut();
        (dealer.delivers, dealer.is_exact) = (true, false);
    }
    let mut flood = Flood::with(script(&dealer));
    for round in 0..ROUNDS {
        flood.come_back();
        let more = INTRUDERS.map(|account| flood.sign(account, round, |_| {})).collect();
        bring(&mut flood, &dealer, more);
        flood.slot_with(|flood| speak(flood, flood.intruder, &dealer));
    }
    assert!(flood.town.world.relay_counts(flood.victim()).false_sizes > 10);
    assert!(flood.is_blamed());
    assert!(!flood.town.world.is_connected(flood.intruder, flood.victim()));
    flood.goes_on_beside(Some(Crowd { payments: 1, memo: 0 }));
}

#[test]
fn one_who_brings_all_it_announces_over_a_line_of_sixteen_kilobits_delays_nobody() {
    let dealer = Rc::new(RefCell::new(Dealer::new(0, Vec::new())));
    dealer.borrow_mut().delivers = true;
    let thin = Access { up: Some(16_000), ..Access::default() };
    let mut flood = Flood::behind(thin, script(&dealer));
    for round in 0..ROUNDS {
        let large = |account: usize, ahead: u64| {
            flood.sign(account, 8 * round + ahead, |content| {
                content.memo = vec![0; 256];
                content.fee = Amount(Transaction::MAX_LEN as u64);
            })
        };
        let more = INTRUDERS.flat_map(|account| (0..8).map(move |ahead| (account, ahead)));
        let more = more.map(|(account, ahead)| large(account, ahead)).collect();
        bring(&mut flood, &dealer, more);
        flood.slot_with(|flood| speak(flood, flood.intruder, &dealer));
    }
    assert!(dealer.borrow().asked > 3, "{} questions", dealer.borrow().asked);
    assert!(!flood.is_blamed(), "who is slow is asked less, and not blamed");
    flood.goes_on();
}
