//! Peers that are known by a name in the DNS: `/dnsaddr/NAME`, which stands for the multiaddresses in the TXT records of
//! `_dnsaddr.NAME` (the multiaddr specification, "Resolving DNSADDR").
//!
//! A name is looked up again and again, ever more patiently, until one of its peers is connected, and then once in a
//! while, since what it stands for may change. The records are hearsay: whoever is dialled has to prove its id.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::primitives::{Held, Mono};

/// The most strings of one answer that are read.
pub const MAX_TEXTS: usize = 64;
/// The most bytes of one of them that are read: as much as a multiaddress needs.
pub const MAX_TEXT_BYTES: usize = 512;
/// The most names that are looked up, those that other names stand for included.
const MAX_NAMES: usize = 32;
/// So many names may stand for one another in a row, as with other users of `/dnsaddr`.
const MAX_DEPTH: u8 = 4;
/// The longest name (RFC 1035), less the prefix.
const MAX_NAME_BYTES: usize = 253 - PREFIX.len();
/// The most peers that one name stands for.
const MAX_PEERS: usize = 64;
const PREFIX: &str = "_dnsaddr.";

/// The pause after a look-up that leads nowhere, doubled up to the last.
const FIRST_PAUSE_MILLIS: u64 = 2_000;
const LAST_PAUSE_MILLIS: u64 = 5 * 60 * 1000;
/// The pause while one of a name's peers is connected.
const CALM_MILLIS: u64 = 30 * 60 * 1000;

/// Why an address does not name peers in the DNS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is not `/dnsaddr/NAME` or `/dnsaddr/NAME/p2p/ID`.
    #[error("not of the form /dnsaddr/NAME or /dnsaddr/NAME/p2p/ID")]
    Form,
    /// The name is none in the DNS.
    #[error("not a name in the DNS")]
    Name,
    /// There are as many names as are looked up.
    #[error("at most {MAX_NAMES} names are looked up")]
    TooMany,
}

#[derive(Clone, Debug)]
struct State {
    /// Only these of its peers are wanted; all, when there are none.
    only: BTreeSet<PeerId>,
    depth: u8,
    due: Mono,
    pause: u64,
    peers: BTreeSet<PeerId>,
}

/// The names and when to look them up.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<String, State>);

/// Whether an address is one that names peers in the DNS.
#[must_use]
pub fn is_name(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Dnsaddr(_)))
}

impl Names {
    /// How many there are.
    #[must_use]
    pub fn held(&self) -> Held {
        Held::new("names in the DNS", self.0.len(), MAX_NAMES)
    }

    /// Takes up `/dnsaddr/NAME`, or `/dnsaddr/NAME/p2p/ID` for this one of its peers.
    ///
    /// # Errors
    /// When it is not such an address, or there are too many of them.
    pub fn add(&mut self, address: &Multiaddr, now: Mono) -> Result<(), NameError> {
        self.add_at(address, 0, now)
    }

    fn add_at(&mut self, address: &Multiaddr, depth: u8, now: Mono) -> Result<(), NameError> {
        let mut parts = address.iter();
        let Some(Protocol::Dnsaddr(name)) = parts.next() else { return Err(NameError::Form) };
        let only = match (parts.next(), parts.next()) {
            (None, None) => None,
            (Some(Protocol::P2p(peer)), None) => Some(peer),
            _ => return Err(NameError::Form),
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if name.len() > MAX_NAME_BYTES || !name.split('.').all(is_label) {
            return Err(NameError::Name);
        }
        if let Some(known) = self.0.get_mut(&name) {
            match only {
                // Whoever is wanted without others no longer is.
                None => known.only.clear(),
                Some(peer) if !known.only.is_empty() && known.only.len() < MAX_PEERS => {
                    known.only.insert(peer);
                }
                Some(_) => {}
            }
            return Ok(());
        }
        if self.0.len() >= MAX_NAMES {
            return Err(NameError::TooMany);
        }
        let only = only.into_iter().collect();
        let state = State { only, depth, due: now, pause: FIRST_PAUSE_MILLIS, peers: BTreeSet::new() };
        self.0.insert(name, state);
        Ok(())
    }

    /// The names to ask the DNS for the TXT records of, `_dnsaddr` before them. What it says goes to [`Self::answered`].
    pub fn due(&mut self, now: Mono) -> Vec<String> {
        let due = self.0.iter_mut().filter(|(_, state)| state.due <= now);
        due.map(|(name, state)| {
            state.due = now + state.pause;
            state.pause = (2 * state.pause).min(LAST_PAUSE_MILLIS);
            format!("{PREFIX}{name}")
        })
        .collect()
    }

    /// When [`Self::due`] next has something to say.
    #[must_use]
    pub fn next_due(&self) -> Option<Mono> {
        self.0.values().map(|state| state.due).min()
    }

    /// Takes in the TXT records of a name that [`Self::due`] gave: at most [`MAX_TEXTS`], each of at most
    /// [`MAX_TEXT_BYTES`]; others are not looked at. Returns the peers that it stands for, each with its address and
    /// without those that stand for another name, which is looked up now, and how many records make no sense.
    pub fn answered(&mut self, name: &str, texts: &[String], now: Mono) -> (Vec<(PeerId, Multiaddr)>, usize) {
        let Some(name) = name.strip_prefix(PREFIX) else { return (Vec::new(), 0) };
        let Some(State { only, depth, .. }) = self.0.get(name).cloned() else { return (Vec::new(), 0) };
        let mut found = Vec::new();
        let mut refused = texts.len().saturating_sub(MAX_TEXTS);
        for text in texts.iter().take(MAX_TEXTS) {
            // Other uses of the name's TXT records are none of ours.
            let Some(value) = text.strip_prefix("dnsaddr=") else { continue };
            let address = value.parse::<Multiaddr>().ok().filter(|_| text.len() <= MAX_TEXT_BYTES);
            let peer = address.as_ref().and_then(|address| match address.iter().last() {
                Some(Protocol::P2p(peer)) => Some(peer),
                _ => None,
            });
            match (address, peer) {
                (Some(address), peer) if is_name(&address) => {
                    let is_wanted = only.is_empty() || peer.is_some_and(|peer| only.contains(&peer));
                    if is_wanted && (depth >= MAX_DEPTH || self.add_at(&address, depth + 1, now).is_err()) {
                        refused += 1;
                    }
                }
                (Some(address), Some(peer)) => {
                    if only.is_empty() || only.contains(&peer) {
                        found.push((peer, address));
                    }
                }
                _ => refused += 1,
            }
        }
        if let Some(state) = self.0.get_mut(name) {
            state.peers = found.iter().map(|(peer, _)| *peer).take(MAX_PEERS).collect();
        }
        (found, refused)
    }

    /// A peer is connected: its names can wait.
    pub fn connected(&mut self, peer: &PeerId, now: Mono) {
        for state in self.of(peer) {
            state.due = now + CALM_MILLIS;
        }
    }

    /// The last connection to a peer is closed: its names are looked up again soon.
    pub fn disconnected(&mut self, peer: &PeerId, now: Mono) {
        for state in self.of(peer) {
            state.pause = FIRST_PAUSE_MILLIS;
            state.due = state.due.min(now + FIRST_PAUSE_MILLIS);
        }
    }

    fn of(&mut self, peer: &PeerId) -> impl Iterator<Item = &mut State> {
        self.0.values_mut().filter(|state| state.peers.contains(peer))
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

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    fn names(text: &str) -> Names {
        let mut names = Names::default();
        names.add(&address(text), Mono(0)).unwrap();
        names
    }

    fn at(port: u16, byte: u8) -> String {
        format!("dnsaddr=/ip4/192.0.2.1/tcp/{port}/p2p/{}", peer(byte))
    }

    #[test]
    fn a_name_stands_for_the_peers_in_its_records() {
        let mut names = names("/dnsaddr/Seed.Example.org");
        assert_eq!(names.due(Mono(0)), ["_dnsaddr.seed.example.org"]);
        let texts = [at(1, 1), "v=spf1 -all".into(), at(2, 2), "dnsaddr=/ip4/192.0.2.1/tcp/3".into()];
        let (found, refused) = names.answered("_dnsaddr.seed.example.org", &texts, Mono(5));
        let peers: Vec<_> = found.iter().map(|(peer, _)| *peer).collect();
        assert_eq!((peers, refused), (vec![peer(1), peer(2)], 1), "an address without an id proves nothing");
    }

    #[test]
    fn of_a_name_with_an_id_only_that_peer_is_wanted() {
        let mut names = names(&format!("/dnsaddr/example.org/p2p/{}", peer(2)));
        names.due(Mono(0));
        let texts = [at(1, 1), at(2, 2)];
        let (found, _) = names.answered("_dnsaddr.example.org", &texts, Mono(5));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, peer(2));
        names.add(&address("/dnsaddr/example.org"), Mono(6)).unwrap();
        assert_eq!(names.answered("_dnsaddr.example.org", &texts, Mono(7)).0.len(), 2);
    }

    #[test]
    fn names_that_stand_for_names_are_followed_so_far_and_loops_end() {
        let mut names = names("/dnsaddr/n0.example");
        let mut looked_up = Vec::new();
        for round in 0..20 {
            for name in names.due(Mono(round)) {
                let next = looked_up.len() + 1;
                let texts =
                    [format!("dnsaddr=/dnsaddr/n{next}.example"), "dnsaddr=/dnsaddr/n0.example".into()];
                names.answered(&name, &texts, Mono(round));
                looked_up.push(name);
            }
        }
        let followed: Vec<_> = (0..=MAX_DEPTH).map(|depth| format!("_dnsaddr.n{depth}.example")).collect();
        assert_eq!(looked_up, followed);
    }

    #[test]
    fn there_are_so_many_names_and_no_more() {
        let mut names = names("/dnsaddr/example");
        let texts: Vec<_> = (0..200).map(|other| format!("dnsaddr=/dnsaddr/n{other}.example")).collect();
        names.due(Mono(0));
        let (_, refused) = names.answered("_dnsaddr.example", &texts, Mono(0));
        assert_eq!(names.0.len(), MAX_NAMES);
        assert_eq!(refused, 200 - (MAX_NAMES - 1));
        assert_eq!(names.add(&address("/dnsaddr/more.example"), Mono(0)), Err(NameError::TooMany));
    }

    #[test]
    fn a_name_is_looked_up_ever_less_often_until_a_peer_is_lost() {
        let mut names = names("/dnsaddr/example");
        let mut now = Mono(0);
        let mut last = 0;
        for _ in 0..12 {
            assert_eq!(names.due(now).len(), 1);
            assert!(names.due(now).is_empty());
            names.answered("_dnsaddr.example", &[at(1, 1)], now);
            let pause = names.next_due().unwrap() - now;
            assert!(pause >= last && pause <= LAST_PAUSE_MILLIS);
            last = pause;
            now = now + pause;
        }
        assert_eq!(last, LAST_PAUSE_MILLIS);
        names.connected(&peer(1), now);
        assert_eq!(names.next_due(), Some(now + CALM_MILLIS));
        names.disconnected(&peer(9), now);
        assert_eq!(names.next_due(), Some(now + CALM_MILLIS), "a stranger is no reason");
        names.disconnected(&peer(1), now);
        assert_eq!(names.next_due(), Some(now + FIRST_PAUSE_MILLIS));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let mut names = Names::default();
        let long = "a".repeat(64);
        let deep = ["abcdefgh"; 30].join(".");
        for (text, error) in [
            ("/dns4/example.org/tcp/1".to_owned(), NameError::Form),
            ("/dnsaddr/example.org/tcp/1".to_owned(), NameError::Form),
            (format!("/dnsaddr/{long}.org"), NameError::Name),
            (format!("/dnsaddr/{deep}"), NameError::Name),
            ("/dnsaddr/a..b".to_owned(), NameError::Name),
            ("/dnsaddr/a b".to_owned(), NameError::Name),
        ] {
            assert_eq!(names.add(&address(&text), Mono(0)), Err(error), "{text}");
        }
        assert_eq!(names.next_due(), None);
    }

    #[test]
    fn answers_to_what_was_not_asked_and_oversized_ones_change_nothing() {
        let mut names = names("/dnsaddr/example");
        assert_eq!(names.answered("_dnsaddr.other", &[at(1, 1)], Mono(0)).0, []);
        assert_eq!(names.answered("example", &[at(1, 1)], Mono(0)).0, []);
        let long = format!("dnsaddr=/dns4/{}/tcp/1/p2p/{}", "a".repeat(MAX_TEXT_BYTES), peer(1));
        assert_eq!(names.answered("_dnsaddr.example", &[long], Mono(0)), (Vec::new(), 1));
        let many: Vec<_> = (0..200).map(|port| at(port, 1)).collect();
        let (found, refused) = names.answered("_dnsaddr.example", &many, Mono(0));
        assert_eq!((found.len(), refused), (MAX_TEXTS, 200 - MAX_TEXTS));
    }
}
