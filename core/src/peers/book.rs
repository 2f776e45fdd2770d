//! The addresses of peers, kept so that a stranger who tells many cannot make us forget the others.
//!
//! After Bitcoin's address manager and the attacks on its first design (Heilman et al., Eclipse Attacks on Bitcoin's
//! Peer-to-Peer Network, 2015). Peers we have only heard of are *new*, peers we have connected to are *tried*; each sits in one
//! place of one bucket, found by hashing with a secret key. For new peers the bucket depends on who told us, so one teller
//! reaches a sixteenth of the buckets; for tried ones on the group of their own address, so one network reaches few of them. A tried peer gives
//! way only when it no longer answers ([`Book::to_test`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use borsh::{BorshDeserialize, BorshSerialize};
use libp2p::{Multiaddr, PeerId};
use rand_core::Rng;

use super::{Found, Group, Guards, PeerRecord};
use crate::primitives::{Hash, Held, Wall, encode};

/// The most addresses kept of a peer.
const MAX_ADDRESSES: usize = 8;
/// Buckets for new peers that one teller's group reaches.
const BUCKETS_OF_TELLER: u64 = 64;
/// Buckets for tried peers that one group of addresses reaches.
const BUCKETS_OF_GROUP: u64 = 8;
/// The most peers that wait for another's test.
const MAX_CLASHES: usize = 16;
/// Each call of [`Book::to_test`] is a turn to test one of those others. One that could not be tested in so many, more than there are
/// clashes, gives way untested, or those who wait would keep the places of all who come later.
const CLASH_TURNS: u32 = 20;
/// A peer that was tried so lately is not tried again soon.
const LATELY_MILLIS: u64 = 10 * 60 * 1000;
/// A tried peer that answered so lately needs no test.
const FRESH_MILLIS: u64 = 4 * 60 * 60 * 1000;
/// How long a test may take.
const TEST_MILLIS: u64 = 60 * 1000;
/// The chance of a peer that nothing speaks against.
const CERTAIN: u64 = 1 << 16;
/// Who has not been heard of for so long is given up.
const HORIZON_MILLIS: u64 = 30 * 24 * 60 * 60 * 1000;
/// Who never answered is given up after so many attempts, and who once did after more, and a week.
const NEVER_ANSWERED: u32 = 3;
const LONG_SILENT: u32 = 10;
const WEEK_MILLIS: u64 = 7 * 24 * 60 * 60 * 1000;

/// How large a book is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BookShape {
    /// Buckets for new peers.
    pub new: u16,
    /// Buckets for tried peers.
    pub tried: u16,
    /// Places in a bucket, at most 64.
    pub places: u8,
}

impl BookShape {
    /// Bitcoin's: up to 65,536 new and 16,384 tried peers, at some 400 bytes each.
    pub const NATIVE: Self = Self { new: 1024, tried: 256, places: 64 };
    /// A sixty-fourth of it, for a tab.
    pub const BROWSER: Self = Self { new: 128, tried: 32, places: 8 };
}

/// Where in the book a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    New(u16, u8),
    Tried(u16, u8),
}

/// What is known of a peer.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
struct Entry {
    addresses: Vec<Vec<u8>>,
    /// What it says of itself, to be passed on.
    record: Option<PeerRecord>,
    /// All the ways it was found.
    found: BTreeSet<Found>,
    /// The group of who told of it first.
    teller: Group,
    /// When somebody last told of it, or it answered; milliseconds since the Unix epoch, as the others.
    heard: u64,
    tried: u64,
    answered: u64,
    /// Attempts since it last answered.
    failures: u32,
    is_tried: bool,
}

/// Something that is known of a peer, to be written down.
pub type Row = (PeerId, Option<Vec<u8>>);

/// The address book.
pub struct Book {
    key: [u8; 32],
    shape: BookShape,
    guards: Guards,
    entries: BTreeMap<PeerId, (Entry, Place)>,
    places: BTreeMap<Place, PeerId>,
    /// Peers that answered, and whose place among the tried is taken, each with the turns that it waits.
    clashes: VecDeque<(PeerId, u32)>,
    changed: BTreeSet<PeerId>,
}

/// Where somebody is said to be.
#[derive(Clone, Debug)]
pub struct Rumour {
    /// Who.
    pub peer: PeerId,
    /// Where, without its id.
    pub addresses: Vec<Multiaddr>,
    /// In its own words.
    pub record: Option<PeerRecord>,
    /// How we know.
    pub found: Found,
    /// The group of who says so.
    pub teller: Group,
}

impl Book {
    /// An empty book. `key` is secret, and the same each time: who knows it could choose addresses that fall on others'.
    #[must_use]
    pub const fn new(key: [u8; 32], shape: BookShape, guards: Guards) -> Self {
        Self {
            key,
            shape,
            guards,
            entries: BTreeMap::new(),
            places: BTreeMap::new(),
            clashes: VecDeque::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Takes back a row that was [written down](Self::take_changes); `false` when it makes no sense.
    pub fn restore(&mut self, peer: PeerId, bytes: &[u8]) -> bool {
        let Ok(entry) = borsh::from_slice::<Entry>(bytes) else { return false };
        if entry.addresses.is_empty() || entry.addresses.len() > MAX_ADDRESSES {
            return false;
        }
        let place =
            if entry.is_tried { self.tried_place(&peer, &entry) } else { self.new_place(&peer, &entry) };
        let Some(place) = place.filter(|place| !self.places.contains_key(place)) else { return false };
        self.places.insert(place, peer);
        self.entries.insert(peer, (entry, place));
        true
    }

    /// What has changed since the last call: rows to write, `None` for those to remove.
    pub fn take_changes(&mut self) -> Vec<Row> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|peer| (peer, self.entries.get(&peer).map(|(entry, _)| encode(entry))))
            .collect()
    }

    /// How much is held, and how much may be. New and tried peers have limits of their own; this is all of both.
    pub fn held(&self) -> impl Iterator<Item = Held> {
        let BookShape { new, tried, places } = self.shape;
        let room = (usize::from(new) + usize::from(tried)) * usize::from(places);
        [
            Held::new("peers in the address book", self.places.len(), room),
            Held::new("peers that wait for another's test", self.clashes.len(), MAX_CLASHES),
        ]
        .into_iter()
    }

    /// The number of new and of tried peers.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let tried = self.places.range(Place::Tried(0, 0)..).count();
        (self.places.len() - tried, tried)
    }

    /// Where a peer is said to be, the address that answered last first.
    #[must_use]
    pub fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.entries.get(peer).map(|(entry, _)| entry.addresses()).unwrap_or_default()
    }

    /// How a peer was found; nothing for one that is not in the book.
    pub fn found(&self, peer: &PeerId) -> impl Iterator<Item = Found> + '_ {
        self.entries.get(peer).into_iter().flat_map(|(entry, _)| entry.found.iter().copied())
    }

    /// Takes note of where somebody is said to be. `true` if it is in the book now.
    pub fn heard(&mut self, rumour: Rumour, now: Wall) -> bool {
        let Rumour { peer, addresses, record, found, teller } = rumour;
        let told: Vec<_> = addresses.iter().map(Multiaddr::to_vec).collect();
        if let Some((entry, _)) = self.entries.get_mut(&peer) {
            let newer = record
                .as_ref()
                .is_some_and(|told| entry.record.as_ref().is_none_or(|known| known.issued() < told.issued()));
            let before = (entry.addresses.len(), entry.found.len());
            entry.found.insert(found);
            if newer {
                // A tried peer keeps the address it answered at: what it says of itself is not proven yet.
                let proven = entry.addresses.first().filter(|_| entry.is_tried).cloned();
                entry.addresses = proven.into_iter().collect();
                entry.record = record;
                entry.heard = now.0;
            }
            for address in told {
                if entry.addresses.len() < MAX_ADDRESSES && !entry.addresses.contains(&address) {
                    entry.addresses.push(address);
                }
            }
            if newer || before != (entry.addresses.len(), entry.found.len()) {
                self.changed.insert(peer);
            }
            return true;
        }
        if told.is_empty() {
            return false;
        }
        let entry = Entry {
            addresses: told.into_iter().take(MAX_ADDRESSES).collect(),
            record,
            found: BTreeSet::from([found]),
            teller,
            heard: now.0,
            tried: 0,
            answered: 0,
            failures: 0,
            is_tried: false,
        };
        let Some(place) = self.new_place(&peer, &entry) else { return false };
        if let Some(holder) = self.places.get(&place).copied() {
            let useless = self.entries.get(&holder).is_some_and(|(holder, _)| holder.is_useless(now));
            if !useless {
                return false;
            }
            self.remove(&holder);
        }
        self.put(peer, entry, place);
        true
    }

    /// A peer answered at this address, which we dialled: it is what it says it is, and it is there.
    pub fn answered(&mut self, peer: &PeerId, address: &Multiaddr, now: Wall) {
        let Some((entry, place)) = self.entries.get_mut(peer) else { return };
        let address = address.to_vec();
        entry.addresses.retain(|other| *other != address);
        entry.addresses.insert(0, address);
        entry.addresses.truncate(MAX_ADDRESSES);
        (entry.tried, entry.answered, entry.heard, entry.failures) = (now.0, now.0, now.0, 0);
        self.changed.insert(*peer);
        let (entry, place) = (entry.clone(), *place);
        if !entry.is_tried {
            self.promote(peer, entry, place, now);
        }
    }

    /// A peer did not answer where we dialled it.
    pub fn failed(&mut self, peer: &PeerId, now: Wall) {
        let Some((entry, _)) = self.entries.get_mut(peer) else { return };
        // Several attempts in a row are one.
        if now.0.saturating_sub(entry.tried) < TEST_MILLIS && entry.failures > 0 {
            return;
        }
        entry.tried = now.0;
        entry.failures = entry.failures.saturating_add(1);
        self.changed.insert(*peer);
        if entry.is_useless(now) {
            self.remove(peer);
        }
        self.settle(now);
    }

    /// Whom to dial next to be connected to: by lot, new and tried with the same chance, lately tried and failing ones with less.
    /// Of those for whom `wanted` says no, none.
    pub fn pick(
        &self,
        rng: &mut impl Rng,
        now: Wall,
        wanted: &dyn Fn(&PeerId, &[Multiaddr]) -> bool,
    ) -> Option<(PeerId, Vec<Multiaddr>)> {
        let tried_first = rng.next_u32().is_multiple_of(2);
        let first = self.pick_from(rng, tried_first, now, wanted);
        first.or_else(|| self.pick_from(rng, !tried_first, now, wanted))
    }

    /// Whom to dial to find out whether it is there: a tried peer whose place another wants, or else a new one. Who is `here` needs no test.
    pub fn to_test(
        &mut self,
        rng: &mut impl Rng,
        now: Wall,
        here: &dyn Fn(&PeerId) -> bool,
        wanted: &dyn Fn(&PeerId, &[Multiaddr]) -> bool,
    ) -> Option<(PeerId, Vec<Multiaddr>)> {
        for (_, turns) in &mut self.clashes {
            *turns += 1;
        }
        for holder in
            self.clashes.iter().filter_map(|(newcomer, _)| self.holder(newcomer)).collect::<Vec<_>>()
        {
            if let Some((entry, _)) = self.entries.get_mut(&holder).filter(|_| here(&holder)) {
                (entry.answered, entry.failures) = (now.0, 0);
                self.changed.insert(holder);
            }
        }
        self.settle(now);
        for (newcomer, _) in &self.clashes {
            let holder = self.holder(newcomer);
            let Some((holder, (entry, _))) = holder.and_then(|it| Some((it, self.entries.get(&it)?))) else {
                continue;
            };
            let addresses = entry.addresses();
            if now.0.saturating_sub(entry.tried) >= TEST_MILLIS && wanted(&holder, &addresses) {
                return Some((holder, addresses));
            }
        }
        self.pick_from(rng, false, now, wanted)
    }

    /// Who has the place among the tried that a peer wants.
    fn holder(&self, newcomer: &PeerId) -> Option<PeerId> {
        let (entry, _) = self.entries.get(newcomer)?;
        self.places.get(&self.tried_place(newcomer, entry)?).copied()
    }

    /// What some peers say of themselves, by lot, to be passed on: at most `count`, none of them out of date.
    pub fn sample(&self, rng: &mut impl Rng, count: usize, now: Wall) -> Vec<PeerRecord> {
        let mut known: Vec<_> = self
            .entries
            .values()
            .filter(|(entry, _)| entry.failures == 0)
            .filter_map(|(entry, _)| entry.record.as_ref())
            .filter(|record| record.is_timely(now))
            .collect();
        let count = count.min(known.len());
        for at in 0..count {
            let other = at + rng.next_u64() as usize % (known.len() - at);
            known.swap(at, other);
        }
        known.into_iter().take(count).cloned().collect()
    }

    fn pick_from(
        &self,
        rng: &mut impl Rng,
        tried: bool,
        now: Wall,
        wanted: &dyn Fn(&PeerId, &[Multiaddr]) -> bool,
    ) -> Option<(PeerId, Vec<Multiaddr>)> {
        let place = |bucket, at| if tried { Place::Tried(bucket, at) } else { Place::New(bucket, at) };
        let buckets = if tried { self.shape.tried } else { self.shape.new };
        let held =
            |bucket| self.places.range(place(bucket, 0)..=place(bucket, u8::MAX)).map(|(_, peer)| peer);
        // Each bucket has the same chance, however full it is, so that filling one is no use.
        let filled: Vec<_> = (0..buckets).filter(|bucket| held(*bucket).next().is_some()).collect();
        if filled.is_empty() {
            return None;
        }
        // Each round of refusals makes the next less choosy, so that there is an end.
        let mut patience = 1000;
        for _ in 0..64 {
            let held: Vec<_> = held(filled[rng.next_u32() as usize % filled.len()]).collect();
            let peer = held[rng.next_u32() as usize % held.len()];
            let Some((entry, _)) = self.entries.get(peer) else { continue };
            let addresses = entry.addresses();
            let lot = u64::from(rng.next_u32()) % CERTAIN;
            if lot * 1000 < entry.chance(now) * patience && wanted(peer, &addresses) {
                return Some((*peer, addresses));
            }
            patience = patience * 6 / 5;
        }
        None
    }

    /// Moves a peer that answered to the tried ones, or lets it wait until the holder of its place is tested.
    fn promote(&mut self, peer: &PeerId, mut entry: Entry, from: Place, now: Wall) {
        let Some(place) = self.tried_place(peer, &entry) else { return };
        if self.places.contains_key(&place) {
            if !self.clashes.iter().any(|(other, _)| other == peer) && self.clashes.len() < MAX_CLASHES {
                self.clashes.push_back((*peer, 0));
            }
            self.settle(now);
            return;
        }
        self.places.remove(&from);
        entry.is_tried = true;
        self.put(*peer, entry, place);
    }

    /// Decides who keeps a place among the tried, where that is known by now.
    fn settle(&mut self, now: Wall) {
        for (newcomer, turns) in std::mem::take(&mut self.clashes) {
            let Some((entry, from)) = self.entries.get(&newcomer).cloned() else { continue };
            let Some(place) = self.tried_place(&newcomer, &entry).filter(|_| !entry.is_tried) else {
                continue;
            };
            let Some(holder) = self.places.get(&place).copied() else {
                self.promote(&newcomer, entry, from, now);
                continue;
            };
            let Some((held, _)) = self.entries.get(&holder).cloned() else { continue };
            let tests = self.guards.test_before_evict;
            if tests && now.0.saturating_sub(held.answered) < FRESH_MILLIS && held.failures == 0 {
                continue;
            }
            let untested = held.failures == 0 || held.answered >= held.tried;
            if tests && untested && turns < CLASH_TURNS {
                self.clashes.push_back((newcomer, turns));
                continue;
            }
            // It failed its test, or there could be none: back to the new ones, if there is room.
            self.remove(&holder);
            let held = Entry { is_tried: false, ..held };
            if let Some(back) = self.new_place(&holder, &held).filter(|back| !self.places.contains_key(back))
            {
                self.put(holder, held, back);
            }
            self.promote(&newcomer, entry, from, now);
        }
    }

    fn put(&mut self, peer: PeerId, entry: Entry, place: Place) {
        self.places.insert(place, peer);
        self.entries.insert(peer, (entry, place));
        self.changed.insert(peer);
    }

    fn remove(&mut self, peer: &PeerId) {
        if let Some((_, place)) = self.entries.remove(peer) {
            self.places.remove(&place);
            self.changed.insert(*peer);
        }
    }

    /// A number that nobody else can foretell.
    fn keyed(&self, parts: &[&[u8]]) -> u64 {
        let joined: Vec<u8> = parts.iter().flat_map(|part| [&[part.len() as u8], *part].concat()).collect();
        let hash = Hash::keyed(&self.key, &joined).0;
        u64::from_le_bytes(hash[..8].try_into().expect("a hash has 32 bytes"))
    }

    fn new_place(&self, peer: &PeerId, entry: &Entry) -> Option<Place> {
        let (address, teller) = (entry.first()?, entry.teller.bytes());
        let group = Group::of(&address);
        if !self.guards.groups {
            let bucket = self.keyed(&[b"any", &peer.to_bytes()]) % u64::from(self.shape.new);
            return Some(Place::New(bucket as u16, self.seat(b"place", bucket, peer)));
        }
        let turn = self.keyed(&[b"turn", group.bytes(), teller]) % BUCKETS_OF_TELLER;
        let bucket = self.keyed(&[b"new", teller, &turn.to_le_bytes()]) % u64::from(self.shape.new);
        Some(Place::New(bucket as u16, self.seat(b"place", bucket, peer)))
    }

    /// Where in a bucket a peer sits.
    fn seat(&self, what: &[u8], bucket: u64, peer: &PeerId) -> u8 {
        (self.keyed(&[what, &bucket.to_le_bytes(), &peer.to_bytes()]) % u64::from(self.shape.places)) as u8
    }

    fn tried_place(&self, peer: &PeerId, entry: &Entry) -> Option<Place> {
        let group = Group::of(&entry.first()?);
        let turn = self.keyed(&[b"peer", &peer.to_bytes()]) % BUCKETS_OF_GROUP;
        let bucket = if self.guards.groups {
            self.keyed(&[b"tried", group.bytes(), &turn.to_le_bytes()])
        } else {
            self.keyed(&[b"any", &peer.to_bytes()])
        };
        let bucket = bucket % u64::from(self.shape.tried);
        Some(Place::Tried(bucket as u16, self.seat(b"seat", bucket, peer)))
    }
}

impl Entry {
    fn addresses(&self) -> Vec<Multiaddr> {
        self.addresses.iter().filter_map(|bytes| Multiaddr::try_from(bytes.clone()).ok()).collect()
    }

    fn first(&self) -> Option<Multiaddr> {
        Multiaddr::try_from(self.addresses.first()?.clone()).ok()
    }

    /// How likely it should be picked, of [`CERTAIN`].
    fn chance(&self, now: Wall) -> u64 {
        let lately = self.tried > 0 && now.0.saturating_sub(self.tried) < LATELY_MILLIS;
        let chance = CERTAIN >> self.failures.min(8);
        if lately { chance / 64 } else { chance }
    }

    /// Whether nothing is lost with it.
    const fn is_useless(&self, now: Wall) -> bool {
        now.0.saturating_sub(self.heard) > HORIZON_MILLIS
            || self.answered == 0 && self.failures >= NEVER_ANSWERED
            || self.failures >= LONG_SILENT && now.0.saturating_sub(self.answered) > WEEK_MILLIS
    }
}

#[cfg(test)]
mod tests;
