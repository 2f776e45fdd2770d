//! What an address tells: who can dial it, how far it reaches, and who else is probably in the same hands.

use core::net::{Ipv4Addr, Ipv6Addr};

use borsh::{BorshDeserialize, BorshSerialize};
use libp2p::{Multiaddr, multiaddr::Protocol};

use super::Role;

/// From how far an address can be reached. What somebody in one scope tells of a narrower one means other machines there than
/// here, so it is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// From the same machine: loopback.
    Machine,
    /// From the same network: private, link-local and shared addresses (RFC 1918, 3927, 4193, 6598).
    Network,
    /// From everywhere.
    World,
}

impl Scope {
    /// Where an address leads to; `None` when nothing can be dialled there, whoever tries.
    #[must_use]
    pub fn of(address: &Multiaddr) -> Option<Self> {
        if address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0))) {
            return None;
        }
        match address.iter().next()? {
            Protocol::Ip4(ip) => Self::of_ip4(ip),
            Protocol::Ip6(ip) => ip.to_ipv4_mapped().map_or_else(|| Self::of_ip6(ip), Self::of_ip4),
            Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => {
                let last = name.trim_end_matches('.').rsplit('.').next()?.to_ascii_lowercase();
                Some(match last.as_str() {
                    "localhost" => Self::Machine,
                    "local" | "internal" => Self::Network,
                    _ => Self::World,
                })
            }
            Protocol::Memory(_) => Some(Self::Machine),
            _ => None,
        }
    }

    fn of_ip4(ip: Ipv4Addr) -> Option<Self> {
        let [a, b, ..] = ip.octets();
        if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() || ip.is_documentation() || a >= 240
        {
            None
        } else if ip.is_loopback() {
            Some(Self::Machine)
        } else if ip.is_private() || ip.is_link_local() || a == 100 && b & 0xc0 == 64 {
            Some(Self::Network)
        } else {
            Some(Self::World)
        }
    }

    fn of_ip6(ip: Ipv6Addr) -> Option<Self> {
        if ip.is_unspecified() || ip.is_multicast() {
            None
        } else if ip.is_loopback() {
            Some(Self::Machine)
        } else if ip.is_unique_local() || ip.is_unicast_link_local() {
            Some(Self::Network)
        } else {
            Some(Self::World)
        }
    }
}

/// Whether a peer of this kind can open a direct connection to this address.
#[must_use]
pub fn can_dial(role: Role, address: &Multiaddr) -> bool {
    let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
    if Scope::of(address).is_none() {
        return false;
    }
    if has(|part| matches!(part, Protocol::P2pCircuit)) {
        let relay: Multiaddr =
            address.iter().take_while(|part| !matches!(part, Protocol::P2pCircuit)).collect();
        let named = matches!(relay.iter().last(), Some(Protocol::P2p(_)));
        return role == Role::Browser && is_signalled(address) && named && can_dial(role, &relay);
    }
    let memory = has(|part| matches!(part, Protocol::Memory(_)));
    let websocket = has(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_)));
    let other = has(|part| {
        matches!(part, Protocol::WebRTC | Protocol::WebRTCDirect | Protocol::WebTransport | Protocol::Quic)
    });
    match role {
        Role::Browser => memory || websocket || is_webrtc_direct(address),
        Role::Native | Role::Relay => {
            let raw = has(|part| matches!(part, Protocol::Tcp(_) | Protocol::QuicV1));
            memory || raw && !other
        }
    }
}

/// The code of SHA-256 among multihashes.
const SHA2_256: u64 = 0x12;

/// Whether an address is one of WebRTC-direct with all that is needed to dial it: the hash of the other side's certificate, and a number,
/// since a browser asks the DNS of none.
#[must_use]
pub fn is_webrtc_direct(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    matches!(parts.next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)))
        && matches!(parts.next(), Some(Protocol::Udp(_)))
        && matches!(parts.next(), Some(Protocol::WebRTCDirect))
        && matches!(parts.next(), Some(Protocol::Certhash(hash)) if hash.code() == SHA2_256 && hash.digest().len() == 32)
        && matches!(parts.next(), None | Some(Protocol::P2p(_)))
        && parts.next().is_none()
}

/// Whether an address is that of a peer to whom a direct connection is agreed on over a relay: it ends in `/p2p-circuit/webrtc`, but for
/// the peer's id.
#[must_use]
pub fn is_signalled(address: &Multiaddr) -> bool {
    let mut after = address.iter().skip_while(|part| !matches!(part, Protocol::P2pCircuit)).skip(1);
    let webrtc = matches!(after.next(), Some(Protocol::WebRTC));
    webrtc && matches!(after.next(), None | Some(Protocol::P2p(_))) && after.next().is_none()
}

/// The circuit over which a direct connection to a [signalled](is_signalled) address is agreed on; other addresses as they are.
#[must_use]
pub fn circuit_of(address: &Multiaddr) -> Multiaddr {
    if is_signalled(address) {
        address.iter().filter(|part| !matches!(part, Protocol::WebRTC)).collect()
    } else {
        address.clone()
    }
}

/// Whether a peer of this kind can make use of an address that somebody else told of who is no nearer than `from`: one that it can dial, and
/// that means the same here as there.
///
/// A name can stand for any address, today for one and tomorrow for another. So a stranger's name is believed only by a tab and with TLS, where
/// nobody answers but who has a certificate for it; natives have numbers. Names that a person gives, that a signed list has or that the DNS
/// itself names (`/dnsaddr`) are not asked about here.
#[must_use]
pub fn is_believable(role: Role, address: &Multiaddr, from: Scope) -> bool {
    let secure = || address.iter().any(|part| matches!(part, Protocol::Tls | Protocol::Wss(_)));
    (!has_name(address) || role == Role::Browser && secure())
        && Scope::of(address).is_some_and(|scope| scope >= from)
        && (can_dial(role, address) || can_dial_through(role, address))
}

/// Whether the DNS has a say in where an address leads.
#[must_use]
pub fn has_name(address: &Multiaddr) -> bool {
    address.iter().any(|part| {
        matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_))
    })
}

/// What is left of an address when it is not known at which machine and port it is. It has no [`Scope`] then, and no known [`Group`].
#[must_use]
pub fn without_host(address: &Multiaddr) -> Multiaddr {
    let is_host = |part: &Protocol<'_>| {
        matches!(part, Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Tcp(_) | Protocol::Udp(_))
    };
    address.iter().filter(|part| !is_host(part)).collect()
}

/// Whether an address leads through a relay.
#[must_use]
pub fn is_circuit(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// Whether a peer of this kind can reach a native peer at this address through a relay: it can dial the relay, and the two
/// can try for a direct connection from there.
#[must_use]
pub fn can_dial_through(role: Role, address: &Multiaddr) -> bool {
    if role == Role::Browser {
        return false;
    }
    let relay: Multiaddr = address.iter().take_while(|part| !matches!(part, Protocol::P2pCircuit)).collect();
    let after: Vec<_> = address.iter().skip(relay.iter().count()).collect();
    matches!(relay.iter().last(), Some(Protocol::P2p(_)))
        && matches!(after.as_slice(), [Protocol::P2pCircuit] | [Protocol::P2pCircuit, Protocol::P2p(_)])
        && can_dial(role, &relay)
}

/// The addresses that one operator probably has together: a /16 of IPv4, a /32 of IPv6, a domain of two labels. Strangers cannot
/// tell of [nearer](Scope) ones, so each of those stands for itself: a host in the same network, a port on the same machine. Whom a relay
/// lets us reach, it could have invented, so all of those are one group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
pub struct Group(Vec<u8>);

impl Group {
    /// The group of an address.
    #[must_use]
    pub fn of(address: &Multiaddr) -> Self {
        if is_circuit(address) {
            let before = address.iter().take_while(|part| !matches!(part, Protocol::P2pCircuit));
            return Self(match before.last() {
                Some(Protocol::P2p(relay)) => [b"r", relay.to_bytes().as_slice()].concat(),
                _ => Vec::new(),
            });
        }
        let of_ip4 = |ip: Ipv4Addr| [&[4], &ip.octets()[..2]].concat();
        let parts = address.iter();
        match Scope::of(address) {
            Some(Scope::Machine) => return Self(parts.take(2).collect::<Multiaddr>().to_vec()),
            Some(Scope::Network) => return Self(parts.take(1).collect::<Multiaddr>().to_vec()),
            Some(Scope::World) | None => {}
        }
        Self(match address.iter().next() {
            Some(Protocol::Ip4(ip)) => of_ip4(ip),
            Some(Protocol::Ip6(ip)) => {
                ip.to_ipv4_mapped().map_or_else(|| [&[6], &ip.octets()[..4]].concat(), of_ip4)
            }
            Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
                let labels: Vec<_> = name.trim_end_matches('.').rsplit('.').take(2).collect();
                [b"n", labels.join(".").to_ascii_lowercase().as_bytes()].concat()
            }
            _ => Vec::new(),
        })
    }

    /// Whether anything is known of where it is.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        !self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// From the libp2p specifications (`webrtc/webrtc-direct.md`).
    const CERTHASH: &str = "uEiDikp5KVUgkLta1EjUN-IKbHk-dUBg8VzKgf5nXxLK46w";

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn how_far_an_address_reaches() {
        for (text, scope) in [
            ("/ip4/127.0.0.1/tcp/1", Some(Scope::Machine)),
            ("/ip6/::1/tcp/1", Some(Scope::Machine)),
            ("/ip6/::ffff:127.0.0.1/tcp/1", Some(Scope::Machine)),
            ("/dns/localhost/tcp/1", Some(Scope::Machine)),
            ("/dns4/a.LOCALHOST./tcp/1", Some(Scope::Machine)),
            ("/ip4/10.1.2.3/tcp/1", Some(Scope::Network)),
            ("/ip4/172.31.0.1/tcp/1", Some(Scope::Network)),
            ("/ip4/192.168.0.1/tcp/1", Some(Scope::Network)),
            ("/ip4/169.254.0.1/tcp/1", Some(Scope::Network)),
            ("/ip4/100.127.0.1/tcp/1", Some(Scope::Network)),
            ("/ip6/fe80::1/tcp/1", Some(Scope::Network)),
            ("/ip6/fd00::1/tcp/1", Some(Scope::Network)),
            ("/dns4/printer.local/tcp/1", Some(Scope::Network)),
            ("/ip4/100.128.0.1/tcp/1", Some(Scope::World)),
            ("/ip4/8.8.8.8/udp/1/quic-v1", Some(Scope::World)),
            ("/ip6/2001:4860::1/tcp/1", Some(Scope::World)),
            ("/dns4/example.org/tcp/443/wss", Some(Scope::World)),
            ("/ip4/0.0.0.0/tcp/1", None),
            ("/ip4/255.255.255.255/tcp/1", None),
            ("/ip4/224.0.0.1/tcp/1", None),
            ("/ip4/240.0.0.1/tcp/1", None),
            ("/ip6/::/tcp/1", None),
            ("/ip6/ff02::1/tcp/1", None),
            ("/ip4/8.8.8.8/tcp/0", None),
        ] {
            assert_eq!(Scope::of(&address(text)), scope, "{text}");
        }
    }

    #[test]
    fn each_kind_of_peer_dials_what_it_has_transports_for() {
        let id = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        let direct = format!("/ip4/8.8.8.8/udp/1/webrtc-direct/certhash/{CERTHASH}");
        let circuit =
            "/ip4/8.8.8.8/tcp/1/ws/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5/p2p-circuit";
        for (text, native, browser) in [
            ("/ip4/8.8.8.8/tcp/1", true, false),
            ("/ip4/8.8.8.8/udp/1/quic-v1", true, false),
            ("/ip4/8.8.8.8/tcp/1/ws", true, true),
            ("/dns4/example.org/tcp/443/tls/ws", true, true),
            ("/ip4/8.8.8.8/udp/1/webrtc-direct", false, false),
            (&direct, false, true),
            (&format!("{direct}/p2p/{id}"), false, true),
            (&format!("{direct}/p2p/{id}/p2p-circuit/webrtc"), false, true),
            (&direct.replace("ip4/8.8.8.8", "dns4/example.org"), false, false),
            (&direct.replace("8.8.8.8", "0.0.0.0"), false, false),
            ("/ip4/0.0.0.0/tcp/1/ws", false, false),
            ("/ip4/8.8.8.8/udp/1", false, false),
            (circuit, false, false),
            (&format!("{circuit}/webrtc"), false, true),
            (&format!("{circuit}/webrtc/p2p/{id}"), false, true),
            (&format!("{circuit}/webrtc/p2p/{id}/p2p-circuit"), false, false),
            (&format!("{circuit}/ws/webrtc"), false, false),
            (&format!("/ip4/8.8.8.8/tcp/1/ws/p2p-circuit/webrtc/p2p/{id}"), false, false),
            (&format!("/ip4/8.8.8.8/tcp/1/p2p/{id}/p2p-circuit/webrtc"), false, false),
            (&format!("/p2p-circuit/webrtc/p2p/{id}"), false, false),
        ] {
            assert_eq!(can_dial(Role::Native, &address(text)), native, "{text}");
            assert_eq!(can_dial(Role::Relay, &address(text)), native, "{text}");
            assert_eq!(can_dial(Role::Browser, &address(text)), browser, "{text}");
        }
    }

    #[test]
    fn natives_reach_each_other_through_relays_they_can_dial() {
        let relay = "p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        for (text, native) in [
            (format!("/ip4/8.8.8.8/tcp/1/{relay}/p2p-circuit"), true),
            (format!("/ip4/8.8.8.8/udp/1/quic-v1/{relay}/p2p-circuit/{relay}"), true),
            (format!("/ip4/8.8.8.8/tcp/1/{relay}/p2p-circuit/webrtc"), false),
            (format!("/ip4/8.8.8.8/tcp/1/{relay}/p2p-circuit/{relay}/p2p-circuit"), false),
            (format!("/ip4/0.0.0.0/tcp/1/{relay}/p2p-circuit"), false),
            ("/ip4/8.8.8.8/tcp/1/p2p-circuit".to_owned(), false),
            ("/ip4/8.8.8.8/tcp/1".to_owned(), false),
            (format!("/{relay}/p2p-circuit"), false),
        ] {
            assert_eq!(can_dial_through(Role::Native, &address(&text)), native, "{text}");
            assert!(!can_dial_through(Role::Browser, &address(&text)), "{text}");
        }
    }

    #[test]
    fn strangers_are_believed_no_nearer_than_they_are_and_names_only_where_a_certificate_stands_for_them() {
        for (text, from, native, browser) in [
            ("/ip4/8.8.8.8/tcp/1/ws", Scope::World, true, true),
            ("/ip4/10.0.0.1/tcp/1/ws", Scope::World, false, false),
            ("/ip4/10.0.0.1/tcp/1/ws", Scope::Network, true, true),
            ("/ip4/127.0.0.1/tcp/1/ws", Scope::Network, false, false),
            ("/ip4/127.0.0.1/tcp/1/ws", Scope::Machine, true, true),
            ("/dns4/example.org/tcp/1/ws", Scope::World, false, false),
            ("/dns/example.org/tcp/1", Scope::Machine, false, false),
            ("/dns6/example.org/udp/1/quic-v1", Scope::World, false, false),
            ("/dns4/example.org/tcp/443/wss", Scope::World, false, true),
            ("/dns4/example.org/tcp/443/tls/ws", Scope::World, false, true),
            ("/dns4/localhost/tcp/443/wss", Scope::World, false, false),
        ] {
            for (role, believed) in [(Role::Native, native), (Role::Relay, native), (Role::Browser, browser)]
            {
                assert_eq!(is_believable(role, &address(text), from), believed, "{role:?}: {text}");
            }
        }
    }

    #[test]
    fn neighbours_are_of_one_group_and_strangers_are_not() {
        let group = |text: &str| Group::of(&address(text));
        assert_eq!(group("/ip4/8.8.8.8/tcp/1"), group("/ip4/8.8.4.4/udp/9/quic-v1"));
        assert_eq!(group("/ip4/8.8.8.8/tcp/1"), group("/ip6/::ffff:8.8.9.9/tcp/1"));
        assert_ne!(group("/ip4/8.8.8.8/tcp/1"), group("/ip4/8.9.8.8/tcp/1"));
        assert_eq!(group("/ip6/2001:db8:1::1/tcp/1"), group("/ip6/2001:db8:2::1/tcp/1"));
        assert_ne!(group("/ip6/2001:db8::1/tcp/1"), group("/ip6/2001:db9::1/tcp/1"));
        assert_eq!(group("/dns4/a.example.org/tcp/1"), group("/dns6/b.EXAMPLE.org./tcp/1"));
        assert_ne!(group("/dns4/example.org/tcp/1"), group("/dns4/example.com/tcp/1"));
        let relays = [
            "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5",
            "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp",
        ];
        let circuit = |relay: usize, at: &str| group(&format!("{at}/p2p/{}/p2p-circuit", relays[relay]));
        assert_eq!(circuit(0, "/ip4/8.8.8.8/tcp/1"), circuit(0, "/ip4/9.9.9.9/udp/1/quic-v1"));
        assert_ne!(circuit(0, "/ip4/8.8.8.8/tcp/1"), circuit(1, "/ip4/8.8.8.8/tcp/1"));
        assert_ne!(
            circuit(0, "/ip4/8.8.8.8/tcp/1"),
            group("/ip4/8.8.8.8/tcp/1"),
            "the relay is somebody else"
        );
        assert_ne!(group("/ip4/10.1.0.1/tcp/1"), group("/ip4/10.1.0.2/tcp/1"));
        assert_eq!(group("/ip4/10.1.0.1/tcp/1"), group("/ip4/10.1.0.1/tcp/2"));
        assert_ne!(group("/ip4/127.0.0.1/tcp/1"), group("/ip4/127.0.0.1/tcp/2"));
        assert_eq!(group("/ip4/127.0.0.1/tcp/1"), group("/ip4/127.0.0.1/tcp/1/ws"));
        let id = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        let behind = |ip: &str| group(&format!("/ip4/{ip}/tcp/1/ws/p2p/{id}/p2p-circuit/webrtc"));
        assert_eq!(behind("8.8.8.8"), behind("9.9.9.9"), "one relay, whatever its addresses");
        assert_ne!(behind("8.8.8.8"), group("/ip4/8.8.8.8/tcp/1/ws"));
    }

    #[test]
    fn what_is_signalled_is_reached_over_its_circuit_first() {
        let relay = "/ip4/8.8.8.8/tcp/1/ws/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
        let id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        let signalled = address(&format!("{relay}/p2p-circuit/webrtc/p2p/{id}"));
        assert_eq!(circuit_of(&signalled), address(&format!("{relay}/p2p-circuit/p2p/{id}")));
        for plain in [relay.to_owned(), format!("{relay}/p2p-circuit/p2p/{id}"), format!("/webrtc/p2p/{id}")]
        {
            assert_eq!(circuit_of(&address(&plain)), address(&plain));
        }
    }
}
