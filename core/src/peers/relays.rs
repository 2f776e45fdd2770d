//! Slots on relays, so that others can reach a peer that nobody can dial.
//!
//! A slot (a *reservation* in the words of libp2p's circuit relay v2) makes a relay pass connections on. The libraries renew
//! one while it lasts; here is decided on which relays to ask for how many, and where to ask when one is refused or lost. Relays
//! in different networks are preferred, so that the failure of one network leaves a slot elsewhere.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::Group;
use crate::primitives::{Held, Mono};

/// The most relays that are known.
pub const MAX_RELAYS: usize = 32;
/// The first pause after a refusal; doubled each time, up to the last.
const FIRST_PAUSE_MILLIS: u64 = 1_000;
const LAST_PAUSE_MILLIS: u64 = 2 * 60 * 1000;
/// How long a relay may take to answer.
const ANSWER_MILLIS: u64 = 20_000;
/// The pause between two attempts to find a relay again that was connected once, and how many there are.
const REDIAL_MILLIS: u64 = 30_000;
const REDIALS: u32 = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Asked,
    Held,
}

#[derive(Clone, Debug)]
struct Relay {
    /// Where it was dialled, without its id.
    address: Multiaddr,
    connected: bool,
    state: State,
    failures: u32,
    /// Free: when it may be asked, or dialled. Asked: when it counts as silent.
    until: Mono,
}

/// What is to be done about a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotStep {
    /// Ask this relay for one, by listening on this address.
    Ask(PeerId, Multiaddr),
    /// Give the one on this relay back.
    Release(PeerId),
    /// Connect to this relay again.
    Dial(PeerId, Multiaddr),
}

/// The slots of a peer.
#[derive(Clone, Debug, Default)]
pub struct RelaySlots {
    relays: BTreeMap<PeerId, Relay>,
}

impl RelaySlots {
    /// How many relays are known. For those with a slot for us, see [`Self::held`].
    #[must_use]
    pub fn known(&self) -> Held {
        Held::new("relays that are known", self.relays.len(), MAX_RELAYS)
    }

    /// A relay is connected, which we dialled at this address.
    pub fn met(&mut self, relay: PeerId, address: &Multiaddr, now: Mono) {
        let address: Multiaddr = address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        if let Some(known) = self.relays.get_mut(&relay) {
            if !known.connected {
                (known.connected, known.address, known.until) = (true, address, now);
            }
            return;
        }
        if self.relays.len() >= MAX_RELAYS {
            let gone = self.relays.iter().find(|(_, relay)| !relay.connected).map(|(peer, _)| *peer);
            let Some(gone) = gone else { return };
            self.relays.remove(&gone);
        }
        let state = State::Free;
        self.relays.insert(relay, Relay { address, connected: true, state, failures: 0, until: now });
    }

    /// The last direct connection to a peer is closed.
    pub fn left(&mut self, peer: &PeerId, now: Mono) {
        if let Some(relay) = self.relays.get_mut(peer) {
            (relay.connected, relay.state) = (false, State::Free);
            (relay.failures, relay.until) = (0, now + FIRST_PAUSE_MILLIS);
        }
    }

    /// A relay has granted a slot. `true` if this is news.
    pub fn granted(&mut self, peer: &PeerId) -> bool {
        let asked = self.relays.get_mut(peer).filter(|relay| relay.state == State::Asked);
        let Some(relay) = asked else { return false };
        (relay.state, relay.failures) = (State::Held, 0);
        true
    }

    /// A relay has refused a slot, or ended one, or it was given back.
    pub fn lost(&mut self, peer: &PeerId, jitter: u64, now: Mono) {
        if let Some(relay) = self.relays.get_mut(peer) {
            relay.state = State::Free;
            relay.fail(jitter, now);
        }
    }

    /// Takes all slots for lost, since nobody may have said so. Returns the relays to give them back to; they are asked again soon.
    pub fn renew(&mut self, now: Mono) -> Vec<PeerId> {
        let held = self.relays.iter_mut().filter(|(_, relay)| relay.state == State::Held);
        held.map(|(peer, relay)| {
            (relay.state, relay.until) = (State::Free, now + FIRST_PAUSE_MILLIS);
            *peer
        })
        .collect()
    }

    /// The relays on which there is a slot.
    pub fn held(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.relays.iter().filter(|(_, relay)| relay.state == State::Held).map(|(peer, _)| *peer)
    }

    /// Whether any relay was ever met, and is not forgotten.
    #[must_use]
    pub fn knows_any(&self) -> bool {
        !self.relays.is_empty()
    }

    /// What to do now to have `wanted` slots, on relays for whose address `useful` says yes.
    pub fn due(&mut self, wanted: usize, useful: impl Fn(&Multiaddr) -> bool, now: Mono) -> Vec<SlotStep> {
        let mut steps = Vec::new();
        for relay in self.relays.values_mut() {
            if relay.state == State::Asked && relay.until <= now {
                relay.state = State::Free;
                relay.fail(0, now);
            }
        }
        let mut count = 0;
        for (peer, relay) in &mut self.relays {
            let active = relay.state != State::Free;
            if active && (count == wanted || !useful(&relay.address)) {
                relay.state = State::Free;
                relay.until = now + FIRST_PAUSE_MILLIS;
                steps.push(SlotStep::Release(*peer));
            } else if active {
                count += 1;
            }
        }
        while count < wanted {
            let Some(peer) = self.best(&useful, now) else { break };
            let Some(relay) = self.relays.get_mut(&peer) else { break };
            (relay.state, relay.until) = (State::Asked, now + ANSWER_MILLIS);
            let circuit = relay.address.clone().with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
            steps.push(SlotStep::Ask(peer, circuit));
            count += 1;
        }
        if count < wanted {
            self.redial(&useful, now, &mut steps);
        }
        steps
    }

    /// When [`Self::due`] with the same arguments next has something to say.
    #[must_use]
    pub fn next_due(&self, wanted: usize, useful: impl Fn(&Multiaddr) -> bool) -> Option<Mono> {
        let active = self.relays.values().filter(|relay| relay.state != State::Free).count();
        let asked = self.relays.values().filter(|relay| relay.state == State::Asked).map(|it| it.until);
        let free = self
            .relays
            .values()
            .filter(|relay| active < wanted && relay.state == State::Free && useful(&relay.address));
        asked.chain(free.map(|relay| relay.until)).min()
    }

    /// The free relay to ask: in a network of which no slot is, then the one that failed least.
    fn best(&self, useful: &impl Fn(&Multiaddr) -> bool, now: Mono) -> Option<PeerId> {
        let taken: Vec<Group> = self
            .relays
            .values()
            .filter(|relay| relay.state != State::Free)
            .map(|relay| Group::of(&relay.address))
            .collect();
        let free = self.relays.iter().filter(|(_, relay)| {
            relay.connected && relay.state == State::Free && relay.until <= now && useful(&relay.address)
        });
        free.min_by_key(|(_, relay)| (taken.contains(&Group::of(&relay.address)), relay.failures))
            .map(|(peer, _)| *peer)
    }

    /// Connects again to relays that were connected once, and forgets those that are gone for good.
    fn redial(&mut self, useful: &impl Fn(&Multiaddr) -> bool, now: Mono, steps: &mut Vec<SlotStep>) {
        for (peer, relay) in &mut self.relays {
            if !relay.connected && relay.until <= now && useful(&relay.address) {
                relay.failures += 1;
                relay.until = now + REDIAL_MILLIS;
                steps.push(SlotStep::Dial(*peer, relay.address.clone()));
            }
        }
        self.relays.retain(|_, relay| relay.connected || relay.failures <= REDIALS);
    }
}

impl Relay {
    fn fail(&mut self, jitter: u64, now: Mono) {
        let pause = (FIRST_PAUSE_MILLIS << self.failures.min(10)).min(LAST_PAUSE_MILLIS);
        self.failures += 1;
        self.until = now + pause + jitter % (pause / 4);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn relay(byte: u8) -> PeerId {
        super::super::identity::peer_id(&crate::primitives::SecretKey::from_seed([byte; 32]).public())
            .unwrap()
    }

    fn address(byte: u8) -> Multiaddr {
        format!("/ip4/8.{byte}.8.8/tcp/1").parse().unwrap()
    }

    fn all(_: &Multiaddr) -> bool {
        true
    }

    fn asked(steps: &[SlotStep]) -> Vec<PeerId> {
        let asked = steps.iter().map(|step| match step {
            SlotStep::Ask(peer, _) => *peer,
            other => panic!("{other:?}"),
        });
        asked.collect()
    }

    fn met(bytes: &[u8]) -> RelaySlots {
        let mut slots = RelaySlots::default();
        for byte in bytes {
            slots.met(relay(*byte), &address(*byte).with(Protocol::P2p(relay(*byte))), Mono(0));
        }
        slots
    }

    #[test]
    fn as_many_are_asked_for_as_are_wanted_and_a_lost_one_is_replaced() {
        let mut slots = met(&[1, 2, 3]);
        let steps = slots.due(2, all, Mono(0));
        let first = asked(&steps);
        assert_eq!(first.len(), 2);
        assert!(
            matches!(&steps[0], SlotStep::Ask(_, circuit) if circuit.to_string().ends_with("/p2p-circuit"))
        );
        assert!(first.iter().all(|peer| slots.granted(peer)));
        assert!(!slots.granted(&first[0]) && !slots.granted(&relay(9)), "no news");
        assert!(slots.due(2, all, Mono(1)).is_empty());
        slots.left(&first[0], Mono(10));
        slots.lost(&first[0], 0, Mono(10));
        let third = asked(&slots.due(2, all, Mono(10)));
        assert!(third.len() == 1 && !first.contains(&third[0]));
        assert_eq!(slots.held().collect::<Vec<_>>(), [first[1]]);
    }

    #[test]
    fn a_relay_that_refuses_is_asked_ever_more_patiently() {
        let mut slots = met(&[1]);
        let (mut now, mut last) = (Mono(0), 0);
        for round in 0..12 {
            assert_eq!(asked(&slots.due(1, all, now)), [relay(1)], "round {round}");
            slots.lost(&relay(1), 0, now);
            assert!(slots.due(1, all, now).is_empty(), "not at once");
            let pause = slots.next_due(1, all).unwrap() - now;
            assert!(pause >= last && pause <= LAST_PAUSE_MILLIS);
            (last, now) = (pause, now + pause);
        }
        assert_eq!(last, LAST_PAUSE_MILLIS);
    }

    #[test]
    fn slots_that_may_have_ended_unnoticed_are_given_back_and_asked_for_anew() {
        let mut slots = met(&[1, 2]);
        for peer in asked(&slots.due(2, all, Mono(0))) {
            slots.granted(&peer);
        }
        assert_eq!(slots.renew(Mono(7)).len(), 2);
        assert_eq!(slots.held().count(), 0);
        assert!(slots.due(2, all, Mono(7)).is_empty(), "they are being given back");
        slots.lost(&relay(1), 0, Mono(8));
        slots.lost(&relay(2), 0, Mono(8));
        let due = slots.next_due(2, all).unwrap();
        assert_eq!(asked(&slots.due(2, all, due)).len(), 2);
    }

    #[test]
    fn one_that_never_answers_gives_way_to_another() {
        let mut slots = met(&[1, 2]);
        let silent = asked(&slots.due(1, all, Mono(0)));
        assert!(slots.due(1, all, Mono(ANSWER_MILLIS - 1)).is_empty());
        assert_ne!(asked(&slots.due(1, all, Mono(ANSWER_MILLIS))), silent);
    }

    #[test]
    fn networks_without_a_slot_are_preferred() {
        let mut slots = RelaySlots::default();
        for (byte, at) in [(1, "/ip4/8.8.1.1/tcp/1"), (2, "/ip4/8.8.2.2/tcp/1"), (3, "/ip4/9.9.9.9/tcp/1")] {
            slots.met(relay(byte), &at.parse().unwrap(), Mono(0));
        }
        assert!(asked(&slots.due(2, all, Mono(0))).contains(&relay(3)));
    }

    #[test]
    fn what_is_not_needed_is_given_back() {
        let mut slots = met(&[1, 2]);
        for peer in asked(&slots.due(2, all, Mono(0))) {
            assert!(slots.granted(&peer));
        }
        assert_eq!(slots.due(1, all, Mono(1)).len(), 1);
        assert_eq!(slots.due(1, |_| false, Mono(1)).len(), 1);
        assert_eq!((slots.held().count(), slots.next_due(0, all)), (0, None));
    }

    #[test]
    fn a_relay_that_was_lost_is_dialled_again_for_a_while_when_slots_are_missing() {
        let mut slots = met(&[1]);
        slots.left(&relay(1), Mono(0));
        let (mut now, mut dials) = (Mono(0), 0);
        while let Some(due) = slots.next_due(1, all) {
            now = due;
            dials += slots.due(1, all, now).len();
        }
        assert_eq!(dials, REDIALS as usize + 1);
        assert!(!slots.knows_any());
        slots.met(relay(1), &address(1), now);
        assert_eq!(asked(&slots.due(1, all, now)), [relay(1)]);
    }

    #[test]
    fn relays_are_bounded_and_connected_ones_stay() {
        let mut slots = met(&(0..200).collect::<Vec<_>>());
        assert_eq!(slots.relays.len(), MAX_RELAYS);
        slots.left(&relay(0), Mono(0));
        slots.met(relay(201), &address(201), Mono(1));
        assert!(slots.relays.len() == MAX_RELAYS && !slots.relays.contains_key(&relay(0)));
    }
}
