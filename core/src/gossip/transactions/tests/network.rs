//! Many relays joined by a network in virtual time: what is given to one reaches all, in every mode.

use chacha20::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

/// How long a shell waits for an answer.
const TIMEOUT: u64 = 10_000;

enum Event {
    Given(Transaction),
    Request(u8, OutgoingId, Vec<u8>),
    Response(OutgoingId, Vec<u8>),
    Failed(OutgoingId),
}

struct Member {
    relay: TransactionRelay,
    pool: Fake,
    /// The order in which they came.
    order: Vec<(u8, u64)>,
}

/// A random network, in which every link has a delay of its own.
struct Net {
    rng: ChaCha8Rng,
    members: Vec<Member>,
    /// The share of requests, and of responses, that are lost, in thousandths.
    loss: u64,
    events: BTreeMap<(u64, u64), (u8, Event)>,
    next: u64,
    now: u64,
    /// A fingerprint of all that was said.
    trace: Hash,
}

impl Net {
    fn new(seed: u64, modes: &[TxMode], size: u8, loss: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let members = (0..size).map(|number| Member {
            relay: TransactionRelay::new(
                modes[usize::from(number) % modes.len()],
                Intake::All,
                1000,
                [seed, number.into()],
            ),
            pool: Fake::default(),
            order: Vec::new(),
        });
        let mut members: Vec<_> = members.collect();
        for one in 0..size {
            let random = [0; 3].map(|_: u8| (rng.next_u64() % u64::from(size)) as u8);
            for other in [[(one + 1) % size].as_slice(), &random].concat() {
                if other != one {
                    members[usize::from(one)].relay.peer_connected(peer(other), OpenedBy::Us, Mono(0));
                    members[usize::from(other)].relay.peer_connected(peer(one), OpenedBy::Them, Mono(0));
                }
            }
        }
        Self { rng, members, loss, events: BTreeMap::new(), next: 0, now: 0, trace: Hash::ZERO }
    }

    fn at(&mut self, time: u64, whom: u8, event: Event) {
        self.events.insert((time, self.next), (whom, event));
        self.next += 1;
    }

    fn delay(&self, one: u8, other: u8) -> u64 {
        20 + u64::from(one.min(other)) * 7 % 60 + u64::from(one.max(other)) * 13 % 50
    }

    fn is_lost(&mut self) -> bool {
        self.rng.next_u64() % 1000 < self.loss
    }

    fn number(&self, id: &PeerId) -> u8 {
        (0..self.members.len() as u8).find(|number| peer(*number) == *id).unwrap()
    }

    fn run(&mut self, until: u64) {
        loop {
            for number in 0..self.members.len() as u8 {
                self.drain(number);
            }
            let wakes = self.members.iter().filter_map(|member| member.relay.poll_timeout()).map(|at| at.0);
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let next = wakes.chain(event).min().unwrap_or(until).max(self.now);
            if next >= until {
                self.now = until;
                return;
            }
            assert!(next > self.now || event == Some(next), "it says it has something to say, and has not");
            self.now = next;
            while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= next) {
                let (whom, event) = entry.remove();
                self.happen(whom, event);
            }
        }
    }

    fn drain(&mut self, number: u8) {
        loop {
            let Member { relay, pool, .. } = &mut self.members[usize::from(number)];
            let Some(outgoing) = relay.poll(pool, Mono(self.now)) else {
                assert!(relay.due() > Mono(self.now), "it has something to say, and does not say it");
                return;
            };
            self.trace = Hash::of(&[&self.trace.0[..], &[number], &outgoing.body].concat());
            let to = self.number(&outgoing.peer);
            if self.is_lost() {
                self.at(self.now + TIMEOUT, number, Event::Failed(outgoing.id));
            } else {
                let there = self.now + self.delay(number, to);
                self.at(there, to, Event::Request(number, outgoing.id, outgoing.body));
            }
        }
    }

    fn happen(&mut self, number: u8, event: Event) {
        let now = Mono(self.now);
        let Member { relay, pool, .. } = &mut self.members[usize::from(number)];
        let check = match event {
            Event::Given(transaction) => vec![transaction],
            Event::Request(from, id, body) => {
                let answer = relay.request(&peer(from), &body, pool, now).unwrap();
                assert_eq!(answer.offence, None);
                if self.is_lost() {
                    self.at(self.now + TIMEOUT, from, Event::Failed(id));
                } else {
                    let back = self.now + self.delay(number, from);
                    self.at(back, from, Event::Response(id, answer.response));
                }
                answer.check
            }
            Event::Response(id, body) => {
                let answered = relay.answered(id, &body, pool, now);
                assert_eq!(answered.error, None);
                answered.check
            }
            Event::Failed(id) => {
                relay.failed(id, now);
                Vec::new()
            }
        };
        let Member { relay, pool, order } = &mut self.members[usize::from(number)];
        for transaction in check {
            relay.accepted(&transaction.id());
            assert!(pool.0.insert(transaction.id(), transaction.clone()).is_none(), "checked twice");
            order.push((transaction.content.from.0[0], transaction.content.nonce));
            relay.forward(&transaction, now);
        }
    }

    /// Gives `count` transactions of each of `senders` senders to random members, `gap` milliseconds apart, all of a
    /// sender's to one.
    fn give(&mut self, from: u64, senders: u8, count: u64, gap: u64) {
        for sender in 0..senders {
            let whom = (self.rng.next_u64() % self.members.len() as u64) as u8;
            for nonce in 0..count {
                let time = from + gap * (nonce * u64::from(senders) + u64::from(sender));
                self.at(time, whom, Event::Given(transaction_of(sender, nonce)));
            }
        }
    }

    fn total(&self, of: impl Fn(&RelayCounts) -> u64) -> u64 {
        self.members.iter().map(|member| of(&member.relay.counts())).sum()
    }

    fn assert_all_have(&self, count: usize, what: &str) {
        let held: Vec<_> = self.members.iter().map(|member| member.pool.0.len()).collect();
        assert!(held.iter().all(|held| *held == count), "{what}: {held:?} of {count}");
    }
}

const MODES: [TxMode; 3] = [TxMode::Push, TxMode::Pull, TxMode::PushPull];

#[test]
fn every_mode_alone_and_all_of_them_together_reach_everyone() {
    for (seed, modes) in [&MODES[..1], &MODES[1..2], &MODES[2..], &MODES].into_iter().enumerate() {
        let mut net = Net::new(seed as u64, modes, 30, 0);
        net.give(2_000, 10, 8, 25);
        net.run(12_000);
        net.assert_all_have(80, &format!("{modes:?}"));
    }
}

#[test]
fn every_mode_reaches_everyone_through_losses() {
    for (seed, modes) in [&MODES[..1], &MODES[1..2], &MODES[2..], &MODES].into_iter().enumerate() {
        let mut net = Net::new(10 + seed as u64, modes, 30, 50);
        net.give(5_000, 10, 8, 25);
        net.run(120_000);
        net.assert_all_have(80, &format!("{modes:?}"));
    }
}

#[test]
fn the_same_seed_says_the_same_bytes() {
    let run = |seed| {
        let mut net = Net::new(seed, &MODES, 20, 100);
        net.give(1_000, 6, 10, 40);
        net.run(60_000);
        net.trace
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_senders_nonce_order_survives() {
    for (seed, mode) in MODES.into_iter().enumerate() {
        let mut net = Net::new(20 + seed as u64, &[mode], 30, 0);
        net.give(2_000, 10, 16, 15);
        net.run(12_000);
        net.assert_all_have(160, &mode.to_string());
        let mut early = 0;
        for member in &net.members {
            let mut next = BTreeMap::<u8, u64>::new();
            for (sender, nonce) in &member.order {
                let next = next.entry(*sender).or_default();
                early += u64::from(nonce > next);
                *next = (*next).max(nonce + 1);
            }
        }
        // Where it is announced, two announcers may be asked at once, and the pool's queue puts it right.
        let allowed = match mode {
            TxMode::Push => 0,
            TxMode::PushPull => 30 * 160 / 100,
            TxMode::Pull => continue,
        };
        assert!(early <= allowed, "{mode}: {early} came before one they must follow");
    }
}

#[test]
fn pulling_and_both_together_say_less_than_pushing() {
    let bytes = MODES.map(|mode| {
        let mut net = Net::new(30, &[mode], 30, 0);
        net.give(2_000, 20, 8, 50);
        net.run(20_000);
        net.assert_all_have(160, &mode.to_string());
        net.total(|counts| counts.bytes_sent.total())
    });
    let [push, pull, both] = bytes;
    assert!(pull < both && 2 * both < push, "{bytes:?}");
}
