//! Both descriptions of a WebRTC connection, made by one side: libp2p's WebRTC-direct, as the side that dials speaks it.
//!
//! The address names the other side's certificate by its hash, and the dialler makes up the word by which each packet is known to belong
//! to this connection (user name and password at once). So nobody signals: the dialler changes its own offer to have that word, which is what
//! browsers are about to forbid, and writes the answer that the other side would give. See `webrtc/webrtc-direct.md` of the libp2p
//! specifications, version 1.

use core::net::IpAddr;
use std::fmt::Write;

use libp2p::{Multiaddr, multiaddr::Protocol};

use super::{MAX_SDP_BYTES, Sdp};
use crate::peers::is_webrtc_direct;

/// What the word begins with, by which the other side knows the version.
const WORD_PREFIX: &str = "libp2p+webrtc+v1/";
/// What binds the handshake of noise to both certificates begins with this.
const PROLOGUE_PREFIX: &[u8] = b"libp2p-webrtc-noise:";
/// A fingerprint as a multihash begins so: SHA-256, of 32 bytes.
const MULTIHASH_PREFIX: [u8; 2] = [0x12, 32];

/// The SHA-256 of a certificate.
type Fingerprint = [u8; 32];

/// Whom an address of WebRTC-direct names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    ip: IpAddr,
    port: u16,
    fingerprint: Fingerprint,
}

/// What the dialler hands its browser, and proves by noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptions {
    /// Our own.
    pub offer: String,
    /// The other side's.
    pub answer: String,
    /// What both put before the handshake of noise.
    pub prologue: Vec<u8>,
}

impl Server {
    /// The one that an address names; `None` when it is another kind of address.
    #[must_use]
    pub fn of(address: &Multiaddr) -> Option<Self> {
        if !is_webrtc_direct(address) {
            return None;
        }
        let mut parts = address.iter();
        let ip = match parts.next()? {
            Protocol::Ip4(ip) => ip.into(),
            Protocol::Ip6(ip) => ip.into(),
            _ => return None,
        };
        let Some(Protocol::Udp(port)) = parts.next() else { return None };
        let Some(Protocol::Certhash(hash)) = parts.nth(1) else { return None };
        Some(Self { ip, port, fingerprint: hash.digest().try_into().ok()? })
    }

    /// The two descriptions, from the offer that our browser made and 32 bytes that nobody can guess. `None` when the offer is none that has
    /// one SHA-256 of our certificate.
    #[must_use]
    pub fn describe(&self, offer: &str, random: [u8; 32]) -> Option<Descriptions> {
        let own = own_fingerprint(offer)?;
        let word = format!("{WORD_PREFIX}{}", hex::encode(random));
        Some(Descriptions {
            offer: with_word(offer, &word),
            answer: self.answer(&word),
            prologue: prologue(&own, &self.fingerprint),
        })
    }

    fn answer(&self, word: &str) -> String {
        let Self { ip, port, fingerprint } = self;
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let pairs: Vec<_> = fingerprint.iter().map(|byte| format!("{byte:02X}")).collect();
        let pairs = pairs.join(":");
        format!(
            "v=0\r\no=- 0 0 IN {family} {ip}\r\ns=-\r\nt=0 0\r\na=ice-lite\r\n\
             m=application {port} UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN {family} {ip}\r\na=mid:0\r\n\
             a=ice-options:ice2\r\na=ice-ufrag:{word}\r\na=ice-pwd:{word}\r\na=fingerprint:sha-256 {pairs}\r\n\
             a=setup:passive\r\na=sctp-port:5000\r\na=max-message-size:16384\r\n\
             a=candidate:1467250027 1 UDP 1467250027 {ip} {port} typ host\r\na=end-of-candidates\r\n"
        )
    }
}

/// The fingerprint in our own offer.
fn own_fingerprint(offer: &str) -> Option<Fingerprint> {
    if offer.len() > MAX_SDP_BYTES {
        return None;
    }
    let checked = Sdp::check(offer).ok()?;
    let mut all = checked.fingerprints.iter().filter_map(|value| value.strip_prefix("sha-256 "));
    let digits = all.next()?.replace(':', "");
    let mut fingerprint = [0; 32];
    hex::decode_to_slice(digits, &mut fingerprint).ok()?;
    all.next().is_none().then_some(fingerprint)
}

/// An offer with this word for its user name and password.
fn with_word(offer: &str, word: &str) -> String {
    let mut changed = String::with_capacity(offer.len() + 2 * word.len());
    for line in offer.lines().filter(|line| !line.is_empty()) {
        // Writing to a text does not fail.
        let _ = if line.starts_with("a=ice-ufrag:") {
            write!(changed, "a=ice-ufrag:{word}\r\n")
        } else if line.starts_with("a=ice-pwd:") {
            write!(changed, "a=ice-pwd:{word}\r\n")
        } else {
            write!(changed, "{line}\r\n")
        };
    }
    changed
}

fn prologue(dialler: &Fingerprint, server: &Fingerprint) -> Vec<u8> {
    [PROLOGUE_PREFIX, &MULTIHASH_PREFIX, dialler, &MULTIHASH_PREFIX, server].concat()
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::{super::sdp::tests::sdp, *};

    /// The address in the specification, and the hash in it.
    const ADDRESS: &str =
        "/ip4/192.0.2.7/udp/39901/webrtc-direct/certhash/uEiDikp5KVUgkLta1EjUN-IKbHk-dUBg8VzKgf5nXxLK46w";
    const HASH: &str = "e2929e4a5548242ed6b512350df8829b1e4f9d50183c5732a07f99d7c4b2b8eb";

    #[test]
    fn an_address_names_a_server_by_number_port_and_certificate() {
        let server = Server::of(&ADDRESS.parse().unwrap()).unwrap();
        assert_eq!((server.ip.to_string().as_str(), server.port), ("192.0.2.7", 39901));
        assert_eq!(hex::encode(server.fingerprint), HASH);
        for other in [
            ADDRESS.replace("webrtc-direct", "quic-v1"),
            ADDRESS.replace("/ip4/192.0.2.7", "/dns4/example.org"),
            ADDRESS.split("/certhash").next().unwrap().to_owned(),
            "/ip4/192.0.2.7/tcp/1/ws".to_owned(),
        ] {
            assert_eq!(other.parse().ok().and_then(|it| Server::of(&it)), None, "{other}");
        }
    }

    #[test]
    fn both_descriptions_have_the_word_and_each_its_certificate() {
        let server = Server::of(&ADDRESS.parse().unwrap()).unwrap();
        let made = sdp(0xab, "actpass");
        let it = server.describe(&made, [7; 32]).unwrap();
        let word = format!("libp2p+webrtc+v1/{}", "07".repeat(32));
        for text in [&it.offer, &it.answer] {
            Sdp::check(text).unwrap();
            for line in [format!("a=ice-ufrag:{word}\r\n"), format!("a=ice-pwd:{word}\r\n")] {
                assert_eq!(text.matches(&line).count(), 1, "{text}");
            }
        }
        assert_eq!(Sdp::check(&it.offer).unwrap().fingerprints, Sdp::check(&made).unwrap().fingerprints);
        let [theirs] = Vec::from_iter(Sdp::check(&it.answer).unwrap().fingerprints).try_into().unwrap();
        assert_eq!(theirs.replace(':', ""), format!("sha-256 {HASH}"));
        assert!(it.answer.contains("192.0.2.7 39901 typ host") && it.answer.contains("a=setup:passive"));
        let other = server.describe(&made, [8; 32]).unwrap();
        assert_ne!(other.offer, it.offer);
    }

    #[test]
    fn the_prologue_is_that_of_other_implementations() {
        // What rust-libp2p's libp2p-webrtc-utils 0.5 holds itself to.
        let hash = |text: &str| -> Fingerprint { hex::FromHex::from_hex(text).unwrap() };
        let one = hash("3e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca870");
        let two = hash("30fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99");
        assert_eq!(
            hex::encode(prologue(&one, &two)),
            "6c69627032702d7765627274632d6e6f6973653a12203e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca870122030fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99"
        );
    }

    #[test]
    fn an_offer_without_one_certificate_of_ours_is_none() {
        let server = Server::of(&ADDRESS.parse().unwrap()).unwrap();
        let made = sdp(0xab, "actpass");
        assert_eq!(server.describe("", [7; 32]), None);
        assert_eq!(server.describe(&made.replace("a=fingerprint", "a=finger"), [7; 32]), None);
        assert_eq!(server.describe(&(made + &"a".repeat(MAX_SDP_BYTES)), [7; 32]), None);
    }
}
