//! Those who ask without the token: so many questions of one host in a time. On this machine all are one, whichever user they belong
//! to; whoever has the token is not counted.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use weft_core::{
    peers::{Allowance, Bucket, Remembered},
    primitives::Mono,
};

/// What is left to each host.
pub(super) struct Guests {
    asks: Allowance,
    begun: Instant,
    hosts: Mutex<Remembered<Bucket, IpAddr>>,
}

/// What one customer of a provider has: an address of IPv4, a /64 of IPv6.
fn host(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => IpAddr::from((ip.to_bits() >> 64 << 64).to_be_bytes()),
    }
}

impl Guests {
    pub(super) fn new(asks: Allowance) -> Self {
        Self { asks, begun: Instant::now(), hosts: Mutex::default() }
    }

    /// Whether whoever is there may ask one more question.
    pub(super) fn may_ask(&self, from: IpAddr) -> bool {
        let now = Mono(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        // Nothing in here can be left half done.
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.of(&host(from), now, || Bucket::new(self.asks)).take(1, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_asks_only_so_much_and_others_are_not_held_back() {
        let guests = Guests::new(Allowance { per_second: 0, burst: 3 });
        let asks = |from: &str| guests.may_ask(from.parse().unwrap());
        assert_eq!([(); 4].map(|()| asks("192.0.2.1")), [true, true, true, false]);
        assert!(!asks("::ffff:192.0.2.1"));
        assert!(asks("192.0.2.2"));
        assert!(asks("2001:db8::1") && asks("2001:db8::2") && asks("2001:db8::3"));
        assert!(!asks("2001:db8::4"), "one customer has all of a /64");
        assert!(asks("2001:db8:0:1::1"));
    }
}
