//! How many bytes of blocks, states, files and history this peer sends to those who ask: so many a second in all, half of that to one
//! host. Keys cost nothing, so what each peer may ask for bounds nothing by itself.

use std::collections::BTreeMap;

use libp2p::{Multiaddr, PeerId};

use super::{AddressRange, Allowance, Bucket, Remembered};
use crate::primitives::{Held, Mono};

/// So many seconds' worth may be sent at once, after a silence.
const BURST_SECONDS: u64 = 4;

/// Why somebody is not answered at the moment. Nobody is to blame for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// What may be sent at all.
    Total,
    /// What may be sent to the host that asks.
    Host,
}

impl Spent {
    /// How it is called in counters.
    #[must_use]
    pub const fn refusal(self) -> &'static str {
        match self {
            Self::Total => "upload-total",
            Self::Host => "upload-host",
        }
    }
}

/// What is left to send.
#[derive(Debug)]
pub struct Uploads {
    total: Bucket,
    of_host: Allowance,
    /// They outlive connections, so that coming back fills none.
    hosts: Remembered<Bucket, AddressRange>,
    /// Where those are that are connected directly from a host that can be told apart.
    peers: BTreeMap<PeerId, AddressRange>,
}

const fn allowance(per_second: u64) -> Allowance {
    Allowance { per_second, burst: per_second.saturating_mul(BURST_SECONDS) }
}

impl Uploads {
    /// Of how many hosts something is remembered.
    #[must_use]
    pub fn held(&self) -> Held {
        self.hosts.held("hosts whose share of uploads is remembered")
    }

    /// With so many bytes a second in all.
    #[must_use]
    pub fn new(per_second: u64) -> Self {
        Self {
            total: Bucket::new(allowance(per_second)),
            of_host: allowance(per_second.div_ceil(2)),
            hosts: Remembered::default(),
            peers: BTreeMap::new(),
        }
    }

    /// A peer connected directly from there; of several places the first counts.
    pub fn connected(&mut self, peer: PeerId, address: &Multiaddr) {
        if let Some(host) = AddressRange::of_host(address) {
            self.peers.entry(peer).or_insert(host);
        }
    }

    /// A peer has no direct connection any more.
    pub fn left(&mut self, peer: &PeerId) {
        self.peers.remove(peer);
    }

    /// Whether a peer may be answered.
    ///
    /// # Errors
    /// Says what is spent.
    pub fn may(&mut self, peer: &PeerId, now: Mono) -> Result<(), Spent> {
        if !self.total.has(1, now) {
            return Err(Spent::Total);
        }
        let of_host = self.host(peer, now).is_none_or(|bucket| bucket.has(1, now));
        of_host.then_some(()).ok_or(Spent::Host)
    }

    /// A peer was sent so many bytes.
    pub fn sent(&mut self, peer: &PeerId, bytes: usize, now: Mono) {
        self.total.spend(bytes as u64);
        if let Some(bucket) = self.host(peer, now) {
            bucket.spend(bytes as u64);
        }
    }

    fn host(&mut self, peer: &PeerId, now: Mono) -> Option<&mut Bucket> {
        let host = self.peers.get(peer)?;
        Some(self.hosts.of(host, now, || Bucket::new(self.of_host)))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn peer(number: u32) -> PeerId {
        let key = [number.to_le_bytes(); 8].concat();
        PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &key].concat()).unwrap()
    }

    fn connected(uploads: &mut Uploads, number: u32, host: &str) -> PeerId {
        uploads.connected(peer(number), &format!("/ip4/{host}/tcp/1").parse().unwrap());
        peer(number)
    }

    /// Asks each millisecond for a second, after what may be sent at once is spent. Returns the bytes sent.
    fn in_a_second(uploads: &mut Uploads, peers: &[PeerId], each: usize) -> usize {
        let mut sent = 0;
        for now in 0..1000 {
            for peer in peers {
                if uploads.may(peer, Mono(now)).is_ok() {
                    uploads.sent(peer, each, Mono(now));
                    sent += each;
                }
            }
        }
        sent
    }

    #[test]
    fn many_keys_of_one_host_get_half_and_others_the_rest() {
        let mut uploads = Uploads::new(1_000_000);
        let crowd: Vec<_> = (0..50).map(|number| connected(&mut uploads, number, "9.9.9.9")).collect();
        let at_once = in_a_second(&mut uploads, &crowd, 10_000);
        assert!((2_000_000..2_600_000).contains(&at_once), "four seconds' worth, and one: {at_once}");
        assert_eq!(uploads.may(&crowd[7], Mono(999)), Err(Spent::Host));
        // Nor do they by coming back.
        uploads.left(&crowd[7]);
        let back = connected(&mut uploads, 7, "9.9.9.9");
        assert_eq!(uploads.may(&back, Mono(999)), Err(Spent::Host));
        let other = connected(&mut uploads, 100, "9.9.9.8");
        assert_eq!(uploads.may(&other, Mono(999)), Ok(()));
    }

    #[test]
    fn nobody_gets_more_than_there_is_wherever_they_are() {
        let mut uploads = Uploads::new(1_000_000);
        // In our own network, and each from elsewhere.
        let near: Vec<_> = (0..20).map(|number| connected(&mut uploads, number, "127.0.0.1")).collect();
        let far = (20..40).map(|number| connected(&mut uploads, number, &format!("9.9.9.{number}")));
        let all: Vec<_> = near.into_iter().chain(far.collect::<Vec<_>>()).collect();
        let at_once = in_a_second(&mut uploads, &all, 100_000);
        assert!((4_000_000..5_200_000).contains(&at_once), "{at_once}");
        assert_eq!(uploads.may(&all[0], Mono(999)), Err(Spent::Total));
    }

    #[test]
    fn what_was_too_large_is_made_up_for() {
        let mut uploads = Uploads::new(1_000);
        let who = connected(&mut uploads, 1, "127.0.0.1");
        uploads.sent(&who, 6_000, Mono(0));
        assert_eq!(uploads.may(&who, Mono(1_999)), Err(Spent::Total));
        assert_eq!(uploads.may(&who, Mono(2_001)), Ok(()));
    }
}
