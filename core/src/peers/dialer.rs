//! Whom to dial, and when to try again.
//!
//! Addresses given at start are tried for ever, with a pause that doubles up to a bound; addresses found along the way
//! are dropped after as many failures as whoever found them thinks fit. Whoever lets us in and closes at once, as a peer does
//! that has banned us, has failed too: else it would be dialled again and again without a pause.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::primitives::{Held, Mono};

/// The pause after a connection that lasted; the first after a failure is twice that.
const FIRST_PAUSE_MILLIS: u64 = 500;
/// The longest pause: short enough that a tab comes back soon after its relay does.
const LONGEST_PAUSE_MILLIS: u64 = 15_000;
/// The pause after a dial that was not made.
const BUSY_PAUSE_MILLIS: u64 = 1_000;
/// How long a dial may take before it counts as failed, should the shell never answer.
const DIAL_TIMEOUT_MILLIS: u64 = 30_000;
/// A connection that ends within this time was as good as none.
const SETTLED_MILLIS: u64 = 10_000;
/// The most addresses found along the way that are kept.
const MAX_FOUND: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Mono },
    Dialling { since: Mono },
}

#[derive(Clone, Debug)]
struct Target {
    address: Multiaddr,
    peer: Option<PeerId>,
    fixed: bool,
    /// After so many failures in a row it is dropped, unless it is fixed.
    tries: u32,
    /// Since when the peer is connected.
    connected: Option<Mono>,
    failures: u32,
    state: State,
}

impl Target {
    /// Waits longer than the last time. Returns how often in a row it has failed now.
    fn failed(&mut self, jitter: u64, now: Mono) -> u32 {
        self.failures += 1;
        let pause = (FIRST_PAUSE_MILLIS << self.failures.min(10)).min(LONGEST_PAUSE_MILLIS);
        self.state = State::Waiting { until: now + pause + jitter % (pause / 4) };
        self.failures
    }

    /// When its connection will have lasted, if that is still to be seen and matters.
    fn settles_at(&self) -> Option<Mono> {
        self.connected.filter(|_| self.failures > 0).map(|since| since + SETTLED_MILLIS)
    }
}

/// The dialling schedule.
#[derive(Clone, Debug, Default)]
pub struct Dialer {
    targets: Vec<Target>,
}

/// The peer that an address ends at, if it says so.
fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

impl Dialer {
    /// How many of the targets were found, not named.
    #[must_use]
    pub fn held(&self) -> Held {
        let found = self.targets.iter().filter(|target| !target.fixed).count();
        Held::new("found peers to dial", found, MAX_FOUND)
    }

    /// Adds an address that is tried for ever.
    pub fn add_fixed(&mut self, address: Multiaddr, now: Mono) {
        self.targets.retain(|target| target.fixed || target.address != address);
        self.add(address, true, u32::MAX, now);
    }

    /// Adds an address that was found along the way, to be dropped after so many failures in a row. Of these only so many are
    /// kept.
    pub fn add_found(&mut self, address: Multiaddr, tries: u32, now: Mono) {
        if self.targets.iter().filter(|target| !target.fixed).count() < MAX_FOUND {
            self.add(address, false, tries, now);
        }
    }

    fn add(&mut self, address: Multiaddr, fixed: bool, tries: u32, now: Mono) {
        if self.targets.iter().any(|target| target.address == address) {
            return;
        }
        let peer = peer_of(&address);
        let known = self.targets.iter().filter(|target| target.peer == peer && peer.is_some());
        let connected = known.filter_map(|target| target.connected).min();
        let state = State::Waiting { until: now };
        self.targets.push(Target { address, peer, fixed, tries, connected, failures: 0, state });
    }

    /// A connection to this peer is open, at this address if this side dialled.
    pub fn connected(&mut self, peer: PeerId, address: &Multiaddr, now: Mono) {
        for target in &mut self.targets {
            if target.peer.is_none() && target.address == *address {
                target.peer = Some(peer);
            }
            if target.peer == Some(peer) {
                target.connected.get_or_insert(now);
                target.state = State::Waiting { until: now };
            }
        }
    }

    /// Whether an address of this peer is tried, or will be again.
    #[must_use]
    pub fn knows(&self, peer: &PeerId) -> bool {
        self.targets.iter().any(|target| target.peer == Some(*peer))
    }

    /// Tries this peer no more, unless a person named it.
    pub fn forget(&mut self, peer: &PeerId) {
        self.targets.retain(|target| target.fixed || target.peer != Some(*peer));
    }

    /// Tries these no more, unless a person named them: a target that is passed over would count as sought for ever.
    pub fn forget_banned(&mut self, banned: impl Fn(Option<&PeerId>, &Multiaddr) -> bool) {
        self.targets.retain(|target| target.fixed || !banned(target.peer.as_ref(), &target.address));
    }

    /// Whether a person named an address of this peer.
    #[must_use]
    pub fn is_fixed(&self, peer: &PeerId) -> bool {
        self.targets.iter().any(|target| target.fixed && target.peer == Some(*peer))
    }

    /// The last connection to this peer is closed. Returns those of its addresses that are tried for ever, each with how often in
    /// a row it has failed: not at all when the connection had lasted.
    pub fn disconnected(&mut self, peer: PeerId, jitter: u64, now: Mono) -> Vec<(Multiaddr, u32)> {
        let mut fixed = Vec::new();
        for target in self.targets.iter_mut().filter(|target| target.peer == Some(peer)) {
            let Some(since) = target.connected.take() else { continue };
            if now - since < SETTLED_MILLIS {
                target.failed(jitter, now);
            } else {
                target.failures = 0;
                target.state = State::Waiting { until: now + FIRST_PAUSE_MILLIS };
            }
            if target.fixed {
                fixed.push((target.address.clone(), target.failures));
            }
        }
        self.drop_failed();
        fixed
    }

    /// Forgets the failures of those whose connections have lasted, and returns their addresses.
    pub fn settle(&mut self, now: Mono) -> Vec<Multiaddr> {
        let settled = self.targets.iter_mut().filter(|it| it.settles_at().is_some_and(|at| at <= now));
        settled
            .map(|target| {
                target.failures = 0;
                target.address.clone()
            })
            .collect()
    }

    /// A dial failed. Returns the number of failures in a row at an address that is tried for ever, and 0 at others.
    pub fn failed(&mut self, address: &Multiaddr, jitter: u64, now: Mono) -> u32 {
        let target = self.targets.iter_mut().find(|target| target.address == *address);
        let failures = target.map_or(0, |target| {
            let failures = target.failed(jitter, now);
            if target.fixed { failures } else { 0 }
        });
        self.drop_failed();
        failures
    }

    /// A dial was not made, since the peer is being dialled at another address: it is tried again when that may be over, and has
    /// not failed.
    pub fn busy(&mut self, address: &Multiaddr, now: Mono) {
        for target in self.targets.iter_mut().filter(|target| target.address == *address) {
            target.state = State::Waiting { until: now + BUSY_PAUSE_MILLIS };
        }
    }

    /// Waits no longer: what was wrong before may be over.
    pub fn hurry(&mut self, now: Mono) {
        for target in self.targets.iter_mut().filter(|target| target.connected.is_none()) {
            target.failures = 0;
            if let State::Waiting { until } = &mut target.state {
                *until = now.min(*until);
            }
        }
    }

    fn drop_failed(&mut self) {
        self.targets.retain(|target| target.fixed || target.failures < target.tries);
    }

    /// The addresses to dial now. `banned` ones are passed over.
    pub fn due(&mut self, now: Mono, banned: impl Fn(Option<&PeerId>, &Multiaddr) -> bool) -> Vec<Multiaddr> {
        let mut due: Vec<Multiaddr> = Vec::new();
        for index in 0..self.targets.len() {
            if self.ready_at(index, &banned).is_some_and(|at| at <= now) {
                due.push(self.targets[index].address.clone());
                self.targets[index].state = State::Dialling { since: now };
            }
        }
        due
    }

    /// When [`Self::due`] or [`Self::settle`] next has something to say, as long as nobody's ban begins or ends.
    #[must_use]
    pub fn next_due(&self, banned: impl Fn(Option<&PeerId>, &Multiaddr) -> bool) -> Option<Mono> {
        let ready = (0..self.targets.len()).filter_map(|index| self.ready_at(index, &banned));
        ready.chain(self.targets.iter().filter_map(Target::settles_at)).min()
    }

    /// When a target may be dialled: after its pause, and after dials to the same peer at other addresses.
    fn ready_at(&self, index: usize, banned: &impl Fn(Option<&PeerId>, &Multiaddr) -> bool) -> Option<Mono> {
        let target = &self.targets[index];
        if target.connected.is_some() || banned(target.peer.as_ref(), &target.address) {
            return None;
        }
        let own = match target.state {
            State::Waiting { until } => until,
            State::Dialling { since } => since + DIAL_TIMEOUT_MILLIS,
        };
        let others = self.targets.iter().filter(|other| {
            target.peer.is_some() && other.peer == target.peer && other.address != target.address
        });
        let busy = others.filter_map(|other| match other.state {
            State::Dialling { since } => Some(since + DIAL_TIMEOUT_MILLIS),
            State::Waiting { .. } => None,
        });
        Some(busy.fold(own, Mono::max))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn peer(byte: u8) -> PeerId {
        let mut seed = [byte; 32];
        libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap().public().to_peer_id()
    }

    fn address(port: u16, byte: u8) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", peer(byte)).parse().unwrap()
    }

    #[test]
    fn a_given_address_is_tried_for_ever_with_growing_pauses() {
        let (mut dialer, target, mut now) = (Dialer::default(), address(1, 1), Mono(0));
        dialer.add_fixed(target.clone(), now);
        let mut last = 0;
        for round in 0..20 {
            assert_eq!(dialer.due(now, |_, _| false), std::slice::from_ref(&target));
            assert!(dialer.due(now, |_, _| false).is_empty(), "one dial at a time");
            dialer.failed(&target, 0, now);
            let pause = dialer.next_due(|_, _| false).unwrap() - now;
            assert!(pause >= last && pause <= LONGEST_PAUSE_MILLIS, "round {round}: {pause}");
            last = pause;
            now = now + pause;
        }
        assert_eq!(last, LONGEST_PAUSE_MILLIS);
    }

    #[test]
    fn a_lost_peer_is_dialled_again_and_a_connected_one_is_not() {
        let (mut dialer, target) = (Dialer::default(), address(1, 1));
        dialer.add_fixed(target.clone(), Mono(0));
        dialer.due(Mono(0), |_, _| false);
        dialer.connected(peer(1), &target, Mono(5));
        assert_eq!(
            (dialer.due(Mono(99_999), |_, _| false), dialer.next_due(|_, _| false)),
            (Vec::new(), None)
        );
        assert_eq!(dialer.disconnected(peer(1), 0, Mono(100_000)), [(target.clone(), 0)]);
        assert_eq!(dialer.due(Mono(100_000 + FIRST_PAUSE_MILLIS), |_, _| false), [target]);
    }

    #[test]
    fn who_lets_us_in_and_closes_at_once_is_dialled_ever_more_patiently_until_a_connection_lasts() {
        let (mut dialer, target, mut now) = (Dialer::default(), address(1, 1), Mono(0));
        dialer.add_fixed(target.clone(), now);
        let mut last = 0;
        for round in 1..10 {
            assert_eq!(dialer.due(now, |_, _| false), std::slice::from_ref(&target));
            dialer.connected(peer(1), &target, now);
            now = now + (SETTLED_MILLIS - 1);
            assert!(dialer.settle(now).is_empty());
            assert_eq!(dialer.disconnected(peer(1), 0, now), [(target.clone(), round)]);
            let pause = dialer.next_due(|_, _| false).unwrap() - now;
            assert!(pause > FIRST_PAUSE_MILLIS && pause >= last, "round {round}: {pause}");
            last = pause;
            now = now + pause;
        }
        assert_eq!(last, LONGEST_PAUSE_MILLIS);
        dialer.due(now, |_, _| false);
        dialer.connected(peer(1), &target, now);
        assert_eq!(dialer.next_due(|_, _| false), Some(now + SETTLED_MILLIS));
        assert_eq!(dialer.settle(now + SETTLED_MILLIS), std::slice::from_ref(&target));
        assert_eq!(dialer.next_due(|_, _| false), None);
        now = now + SETTLED_MILLIS;
        assert_eq!(dialer.disconnected(peer(1), 0, now), [(target, 0)]);
        assert_eq!(dialer.next_due(|_, _| false), Some(now + FIRST_PAUSE_MILLIS));
    }

    #[test]
    fn a_dial_that_was_not_made_is_tried_again_soon_and_has_not_failed() {
        let (mut dialer, found) = (Dialer::default(), address(1, 1));
        dialer.add_found(found.clone(), 1, Mono(0));
        for round in 0..9 {
            let now = Mono(round * BUSY_PAUSE_MILLIS);
            assert_eq!(dialer.due(now, |_, _| false), std::slice::from_ref(&found));
            dialer.busy(&found, now);
            assert!(dialer.due(now, |_, _| false).is_empty());
        }
        dialer.failed(&found, 0, Mono(9_000));
        assert!(!dialer.knows(&peer(1)), "it has failed once");
    }

    #[test]
    fn who_comes_back_waits_no_longer_for_those_who_did_not_answer_before() {
        let (mut dialer, target) = (Dialer::default(), address(1, 1));
        dialer.add_fixed(target.clone(), Mono(0));
        for _ in 0..9 {
            dialer.failed(&target, 0, Mono(0));
        }
        assert!(dialer.due(Mono(1), |_, _| false).is_empty());
        dialer.hurry(Mono(1));
        assert_eq!(dialer.due(Mono(1), |_, _| false), std::slice::from_ref(&target));
        dialer.failed(&target, 0, Mono(1));
        assert_eq!(dialer.next_due(|_, _| false), Some(Mono(1 + 2 * FIRST_PAUSE_MILLIS)), "and begins anew");
    }

    #[test]
    fn a_found_peer_that_closes_at_once_is_dropped_as_one_that_does_not_answer() {
        let (mut dialer, target) = (Dialer::default(), address(1, 1));
        dialer.add_found(target.clone(), 1, Mono(0));
        dialer.connected(peer(1), &target, Mono(0));
        assert!(dialer.disconnected(peer(1), 0, Mono(1)).is_empty());
        assert!(!dialer.knows(&peer(1)));
    }

    #[test]
    fn a_found_address_is_dropped_after_failures_and_banned_peers_are_not_dialled() {
        let (mut dialer, target) = (Dialer::default(), address(1, 1));
        dialer.add_found(target.clone(), 3, Mono(0));
        assert!(dialer.due(Mono(0), |_, _| true).is_empty());
        assert_eq!(dialer.next_due(|_, _| true), None, "a ban is nothing to wake up for");
        let mut named = dialer.clone();
        named.add_fixed(target.clone(), Mono(0));
        for (dialer, left) in [(&mut named, 1), (&mut dialer.clone(), 0)] {
            dialer.forget_banned(|_, _| true);
            assert_eq!(dialer.targets.len(), left);
        }
        for _ in 0..3 {
            assert!(dialer.knows(&peer(1)));
            dialer.failed(&target, 0, Mono(0));
        }
        assert!(dialer.due(Mono(1_000_000), |_, _| false).is_empty());
    }

    #[test]
    fn two_addresses_of_one_peer_are_not_dialled_at_once() {
        let mut dialer = Dialer::default();
        dialer.add_fixed(address(1, 1), Mono(0));
        dialer.add_fixed(address(2, 1), Mono(0));
        assert_eq!(dialer.due(Mono(0), |_, _| false), [address(1, 1)]);
        assert_eq!(dialer.next_due(|_, _| false), Some(Mono(DIAL_TIMEOUT_MILLIS)));
        dialer.failed(&address(1, 1), 0, Mono(10));
        assert_eq!(dialer.due(Mono(10), |_, _| false), [address(2, 1)]);
    }

    #[test]
    fn found_addresses_are_bounded() {
        let mut dialer = Dialer::default();
        for port in 0..500 {
            dialer.add_found(address(port, 1), 3, Mono(0));
        }
        assert_eq!(dialer.targets.len(), MAX_FOUND);
    }
}
