//! The place where peers register, and others find them.
//!
//! libp2p's own keeps what is registered anew until the first time has passed, and answers with all there is; here a peer has one
//! registration, a network has a share of them, and an answer has a size.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::PeerId;

use super::{
    message::{MAX_TOLD, Refusal, Registration, Request, Response},
    record::verify,
};
use crate::{
    node::effects::Effects,
    peers::{Allowance, Bucket, Group},
    primitives::{Held, Mono},
};

/// The most registrations, and the most from one network.
pub(super) const MAX_REGISTRATIONS: usize = 4096;
pub(super) const MAX_OF_GROUP: usize = 256;
/// How long a registration may be asked for, and how long it is for who does not say, in seconds.
const SECONDS: std::ops::RangeInclusive<u64> = 60..=2 * 60 * 60;
const USUAL_SECONDS: u64 = 2 * 60 * 60;
/// How often one peer may come: each registration costs a signature.
const ALLOWANCE: Allowance = Allowance { per_second: 1, burst: 16 * COST };
const COST: u64 = 10;
/// The most peers whose questions are counted.
const MAX_COUNTED: usize = 4096;

struct Entry {
    number: u32,
    record: Vec<u8>,
    until: Mono,
    group: Group,
}

pub(super) struct Point {
    namespace: String,
    /// Tells our cookies from those of an earlier start.
    epoch: u32,
    /// Registrations are numbered as they come.
    last: u32,
    entries: BTreeMap<PeerId, Entry>,
    by_number: BTreeMap<u32, PeerId>,
    due: BTreeSet<(Mono, PeerId)>,
    of_group: BTreeMap<Group, usize>,
    askers: BTreeMap<PeerId, Bucket>,
}

impl Point {
    pub(super) fn held(&self) -> [Held; 3] {
        let of_group = self.of_group.values().copied().max().unwrap_or(0);
        [
            Held::new("registrations", self.entries.len(), MAX_REGISTRATIONS),
            Held::new("registrations of a network", of_group, MAX_OF_GROUP),
            Held::new("peers whose questions at the rendezvous are counted", self.askers.len(), MAX_COUNTED),
        ]
    }

    pub(super) fn new(namespace: String, epoch: u32) -> Self {
        Self {
            namespace,
            epoch,
            last: 0,
            entries: BTreeMap::new(),
            by_number: BTreeMap::new(),
            due: BTreeSet::new(),
            of_group: BTreeMap::new(),
            askers: BTreeMap::new(),
        }
    }

    /// The answer to a peer that asks from this network; none to who wants to be forgotten.
    pub(super) fn asked(
        &mut self,
        fx: &mut Effects,
        peer: PeerId,
        group: Group,
        request: Request,
    ) -> Option<Response> {
        let now = fx.now.mono;
        self.expire(now);
        if self.askers.len() >= MAX_COUNTED && !self.askers.contains_key(&peer) {
            self.askers.retain(|_, bucket| !bucket.has(ALLOWANCE.burst, now));
        }
        let counted = self.askers.len() < MAX_COUNTED || self.askers.contains_key(&peer);
        let allowed =
            counted && self.askers.entry(peer).or_insert_with(|| Bucket::new(ALLOWANCE)).take(COST, now);
        if !allowed {
            fx.refuse("rendezvous-asked-too-often");
        }
        match request {
            Request::Register { namespace, record, seconds } => {
                let outcome = if allowed {
                    self.register(now, peer, group, &namespace, record, seconds)
                } else {
                    Err(Refusal::UNAVAILABLE)
                };
                if outcome.is_err() {
                    fx.refuse("rendezvous-registration");
                }
                Some(Response::Registered(outcome))
            }
            Request::Unregister { namespace } => {
                if namespace == self.namespace {
                    self.remove(&peer);
                }
                None
            }
            Request::Discover { namespace, limit, cookie } => Some(Response::Discovered(if !allowed {
                Err(Refusal::UNAVAILABLE)
            } else if namespace.is_some_and(|name| name != self.namespace) {
                Err(Refusal::NAMESPACE)
            } else {
                let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(MAX_TOLD);
                Ok(self.discover(fx, &peer, limit.min(MAX_TOLD), &cookie))
            })),
        }
    }

    fn register(
        &mut self,
        now: Mono,
        peer: PeerId,
        group: Group,
        namespace: &str,
        record: Vec<u8>,
        seconds: Option<u64>,
    ) -> Result<u64, Refusal> {
        let seconds = seconds.unwrap_or(USUAL_SECONDS);
        if namespace != self.namespace {
            return Err(Refusal::NAMESPACE);
        }
        if !SECONDS.contains(&seconds) {
            return Err(Refusal::TTL);
        }
        let (of, _) = verify(&record).map_err(|_| Refusal::RECORD)?;
        if of != peer {
            return Err(Refusal::UNAUTHORIZED);
        }
        self.remove(&peer);
        if self.entries.len() >= MAX_REGISTRATIONS
            || group.is_known() && self.of_group.get(&group).is_some_and(|count| *count >= MAX_OF_GROUP)
        {
            return Err(Refusal::UNAVAILABLE);
        }
        self.last = self.last.checked_add(1).ok_or(Refusal::UNAVAILABLE)?;
        let until = now + seconds * 1000;
        self.by_number.insert(self.last, peer);
        self.due.insert((until, peer));
        *self.of_group.entry(group.clone()).or_default() += 1;
        self.entries.insert(peer, Entry { number: self.last, record, until, group });
        Ok(seconds)
    }

    /// With a cookie of ours, who came since; else some, by lot.
    fn discover(
        &self,
        fx: &mut Effects,
        asker: &PeerId,
        limit: usize,
        cookie: &[u8],
    ) -> (Vec<Registration>, Vec<u8>) {
        let since = cookie.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
        let since = since.filter(|it| it >> 32 == u64::from(self.epoch)).map(|it| it as u32);
        let (numbers, seen): (Vec<u32>, u32) = match since {
            Some(since) => {
                let after = self.by_number.range(since.saturating_add(1)..).take(limit);
                let numbers: Vec<_> = after.map(|(number, _)| *number).collect();
                let seen = numbers.last().copied().unwrap_or(since);
                (numbers, seen)
            }
            None => {
                let count = self.by_number.len().max(1);
                let skip = usize::try_from(fx.random() % count as u64).unwrap_or(0);
                let lot = self.by_number.keys().skip(skip).chain(self.by_number.keys().take(skip));
                (lot.take(limit).copied().collect(), self.last)
            }
        };
        let told = numbers.iter().filter_map(|number| {
            let peer = self.by_number.get(number).filter(|peer| *peer != asker)?;
            let entry = self.entries.get(peer)?;
            Some(Registration {
                namespace: self.namespace.clone(),
                record: entry.record.clone(),
                seconds: (entry.until - fx.now.mono) / 1000,
            })
        });
        let told = told.collect();
        let number = u64::from(self.epoch) << 32 | u64::from(seen);
        (told, [&number.to_be_bytes(), self.namespace.as_bytes()].concat())
    }

    fn remove(&mut self, peer: &PeerId) {
        let Some(entry) = self.entries.remove(peer) else { return };
        self.by_number.remove(&entry.number);
        self.due.remove(&(entry.until, *peer));
        if let Some(count) = self.of_group.get_mut(&entry.group) {
            *count -= 1;
            if *count == 0 {
                self.of_group.remove(&entry.group);
            }
        }
    }

    fn expire(&mut self, now: Mono) {
        while let Some((_, peer)) = self.due.first().copied().filter(|(until, _)| *until <= now) {
            self.remove(&peer);
        }
    }
}
