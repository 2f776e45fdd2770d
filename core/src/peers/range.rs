//! Ranges of IP addresses: what a ban reaches besides a peer's key, which costs nothing to replace.

use core::net::IpAddr;
use std::{fmt, str::FromStr};

use borsh::{BorshDeserialize, BorshSerialize};
use libp2p::{Multiaddr, multiaddr::Protocol};

use super::Scope;

/// The addresses that begin with the same bits (RFC 4632). An IPv4 address written as IPv6 counts as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct AddressRange {
    first: IpAddr,
    bits: u8,
}

/// Why a text names no range that can be banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It is no address, or no number of bits.
    #[error("neither an IP address nor a range such as 203.0.113.0/24")]
    Syntax,
    /// It would ban a large part of all there are.
    #[error("too wide a range: at least 8 bits of IPv4 or 16 of IPv6")]
    TooWide,
}

impl AddressRange {
    /// The range of addresses around `ip` that share its first bits, which are bounded to what the address has.
    fn around(ip: IpAddr, bits: u8) -> Self {
        let first = match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::from((ip.to_bits() & mask32(bits)).to_be_bytes()),
            IpAddr::V6(ip) => IpAddr::from((ip.to_bits() & mask128(bits)).to_be_bytes()),
        };
        Self { first, bits: bits.min(if first.is_ipv4() { 32 } else { 128 }) }
    }

    /// What one customer of a provider has: an address of IPv4, a /64 of IPv6. `None` for who is in our own network or
    /// machine, where a proxy would answer for all its users, and for who is behind a relay.
    #[must_use]
    pub fn of_host(address: &Multiaddr) -> Option<Self> {
        let ip = ip_of(address).filter(|_| Scope::of(address) == Some(Scope::World))?;
        Some(Self::around(ip, if ip.is_ipv4() { 32 } else { 64 }))
    }

    /// Whether the connection with this address comes from there, and not through a relay.
    #[must_use]
    pub fn covers(&self, address: &Multiaddr) -> bool {
        ip_of(address).is_some_and(|ip| self.contains(ip))
    }

    fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && Self::around(ip, self.bits) == *self
    }
}

const fn mask32(bits: u8) -> u32 {
    if bits == 0 { 0 } else { u32::MAX << (32 - if bits > 32 { 32 } else { bits }) }
}

const fn mask128(bits: u8) -> u128 {
    if bits == 0 { 0 } else { u128::MAX << (128 - if bits > 128 { 128 } else { bits }) }
}

/// The other side's IP address; `None` where a relay stands between, or introduced the two, since the address is its then.
fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    if address.iter().any(|part| matches!(part, Protocol::P2pCircuit)) {
        return None;
    }
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(IpAddr::from(ip).to_canonical()),
        _ => None,
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (ip, bits) = match text.split_once('/') {
            Some((ip, bits)) => (ip, Some(bits.parse().map_err(|_| RangeError::Syntax)?)),
            None => (text, None),
        };
        let ip = ip.parse::<IpAddr>().map_err(|_| RangeError::Syntax)?.to_canonical();
        let (least, most) = if ip.is_ipv4() { (8, 32) } else { (16, 128) };
        match bits.unwrap_or(most) {
            bits if bits < least => Err(RangeError::TooWide),
            bits if bits > most => Err(RangeError::Syntax),
            bits => Ok(Self::around(ip, bits)),
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = if self.first.is_ipv4() { 32 } else { 128 };
        if self.bits == most {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.bits)
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn range(text: &str) -> Result<AddressRange, RangeError> {
        text.parse()
    }

    fn host(address: &str) -> Option<String> {
        AddressRange::of_host(&address.parse().unwrap()).map(|range| range.to_string())
    }

    #[test]
    fn a_range_is_written_as_it_is_read_without_the_bits_that_do_not_count() {
        for (text, shown) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("::ffff:198.51.100.1", "198.51.100.1"),
            ("2001:db8:1:2:3::4/64", "2001:db8:1:2::/64"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(range(text).unwrap().to_string(), shown);
        }
        for text in
            ["", "/", "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/x", "::/129", "1.2.3.4/-1", "a.example"]
        {
            assert_eq!(range(text), Err(RangeError::Syntax), "{text}");
        }
        for text in ["0.0.0.0/0", "1.2.3.4/7", "::/0", "2001::/15"] {
            assert_eq!(range(text), Err(RangeError::TooWide), "{text}");
        }
    }

    #[test]
    fn it_covers_what_begins_alike_and_nobody_behind_a_relay() {
        let relay = libp2p::PeerId::random();
        let net = range("198.51.0.0/16").unwrap();
        let covers = |text: &str| net.covers(&text.parse().unwrap());
        assert!(covers("/ip4/198.51.100.1/tcp/1") && covers("/ip6/::ffff:198.51.7.7/udp/1/quic-v1"));
        assert!(!covers("/ip4/198.52.0.1/tcp/1") && !covers("/ip6/2001:db8::1/tcp/1"));
        assert!(!covers("/dns4/example.org/tcp/1") && !covers("/memory/1"));
        for behind in ["p2p-circuit", "p2p-circuit/webrtc"] {
            assert!(!covers(&format!("/ip4/198.51.100.1/tcp/1/p2p/{relay}/{behind}")), "{behind}");
        }
        assert!(!range("::/16").unwrap().covers(&"/ip4/0.0.0.1/tcp/1".parse().unwrap()), "families differ");
    }

    #[test]
    fn a_host_is_what_one_customer_has_and_never_our_own_network() {
        assert_eq!(host("/ip4/9.8.7.6/tcp/1").as_deref(), Some("9.8.7.6"));
        assert_eq!(host("/ip6/2a01:4f8::1:2/tcp/1").as_deref(), Some("2a01:4f8::/64"));
        for near in
            ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.2/tcp/1", "/ip6/::1/tcp/1", "/ip4/100.64.0.9/tcp/1"]
        {
            assert_eq!(host(near), None, "{near}");
        }
        assert_eq!(host("/dns/example.org/tcp/1"), None);
    }
}
