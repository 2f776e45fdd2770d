//! How one side wants to be connected to, as browsers write it (RFC 8866, RFC 8841), as far as it must be looked at.
//!
//! It comes from a stranger and is handed to the browser, so what no peer of libp2p has reason to say is refused before: sound and
//! pictures, more than one section, more lines than such a description has.

use std::collections::BTreeSet;

/// The most bytes: ten times what browsers write.
pub const MAX_SDP_BYTES: usize = 8 << 10;
/// The most lines, and the most bytes of one.
const MAX_LINES: usize = 128;
const MAX_LINE_BYTES: usize = 1024;
/// How long user name and password of a connection are (RFC 8839, section 5.4).
const UFRAG: std::ops::RangeInclusive<usize> = 4..=256;
const PASSWORD: std::ops::RangeInclusive<usize> = 22..=256;

/// Why a description is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// More bytes or lines than it may have.
    #[error("the description is longer than it may be")]
    TooLong,
    /// It is no session description.
    #[error("the description is none")]
    NotSdp,
    /// It asks for something else than one connection for data.
    #[error("the description asks for something else than a connection for data")]
    NotData,
    /// There is no proper fingerprint of a certificate in it, by which the other side would be known.
    #[error("the description has no fingerprint of a certificate")]
    NoFingerprint,
    /// There is no proper user name or password in it.
    #[error("the description has no user name and password")]
    NoCredentials,
}

/// What matters of a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp {
    /// The fingerprints of certificates, in small letters.
    pub fingerprints: BTreeSet<String>,
    /// How many addresses it names.
    pub candidates: usize,
}

impl Sdp {
    /// Looks at a description.
    ///
    /// # Errors
    /// When it is not one that a peer has reason to send.
    pub fn check(text: &str) -> Result<Self, SdpError> {
        if text.len() > MAX_SDP_BYTES {
            return Err(SdpError::TooLong);
        }
        let (mut sections, mut candidates) = (0, 0);
        let (mut user, mut password) = (false, false);
        let mut fingerprints = BTreeSet::new();
        let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        for (index, line) in lines.filter(|line| !line.is_empty()).enumerate() {
            if index >= MAX_LINES || line.len() > MAX_LINE_BYTES {
                return Err(SdpError::TooLong);
            }
            if line.chars().any(char::is_control) || (index == 0) != (line == "v=0") {
                return Err(SdpError::NotSdp);
            }
            let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
                return Err(SdpError::NotSdp);
            };
            match (kind, value.split_once(':')) {
                ("m", _) => {
                    sections += 1;
                    // A port of 0 means that the section is not wanted.
                    let mut words = value.split(' ');
                    let is_data = words.next() == Some("application")
                        && words.next().is_some_and(|port| port != "0")
                        && words.any(|format| format == "webrtc-datachannel");
                    if !is_data || sections > 1 {
                        return Err(SdpError::NotData);
                    }
                }
                ("a", Some(("fingerprint", value))) => {
                    fingerprints.insert(fingerprint(value).ok_or(SdpError::NoFingerprint)?);
                }
                ("a", Some(("ice-ufrag", value))) if UFRAG.contains(&value.len()) => user = true,
                ("a", Some(("ice-pwd", value))) if PASSWORD.contains(&value.len()) => password = true,
                ("a", Some(("ice-ufrag" | "ice-pwd", _))) => return Err(SdpError::NoCredentials),
                ("a", Some(("candidate", _))) => candidates += 1,
                _ => {}
            }
        }
        match (sections, fingerprints.is_empty(), user && password) {
            (0, ..) => Err(if text.starts_with("v=0") { SdpError::NotData } else { SdpError::NotSdp }),
            (_, true, _) => Err(SdpError::NoFingerprint),
            (_, _, false) => Err(SdpError::NoCredentials),
            _ => Ok(Self { fingerprints, candidates }),
        }
    }
}

/// A fingerprint by a hash that is not broken, as it is compared.
fn fingerprint(value: &str) -> Option<String> {
    let (hash, digits) = value.split_once(' ')?;
    let bytes = match hash.to_ascii_lowercase().as_str() {
        "sha-256" => 32,
        "sha-384" => 48,
        "sha-512" => 64,
        _ => return None,
    };
    let pairs: Vec<&str> = digits.trim_end().split(':').collect();
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    (pairs.len() == bytes && pairs.iter().all(is_pair)).then(|| value.trim_end().to_ascii_lowercase())
}

#[cfg(test)]
pub(super) mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    /// As Chromium writes one, with a fingerprint of this byte.
    pub(in crate::signalling) fn sdp(byte: u8, setup: &str) -> String {
        let fingerprint = vec![format!("{byte:02X}"); 32].join(":");
        format!(
            "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             a=extmap-allow-mixed\r\na=msid-semantic: WMS\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:pFL5\r\n\
             a=ice-pwd:4pZlmHcUZOGcUBmcpzGKIZ0k\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {fingerprint}\r\n\
             a=setup:{setup}\r\na=mid:0\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n"
        )
    }

    #[test]
    fn what_browsers_write_is_taken() {
        let checked = Sdp::check(&sdp(0xab, "actpass")).unwrap();
        assert_eq!(checked.fingerprints.len(), 1);
        assert!(checked.fingerprints.iter().all(|it| it.starts_with("sha-256 ab:ab:ab")));
        assert_eq!(checked.candidates, 0);
        // libdatachannel, which js-libp2p uses on Node, writes addresses into it.
        let with = sdp(1, "active") + "a=candidate:1 1 UDP 2122317823 10.0.0.1 4000 typ host\r\n";
        assert_eq!(Sdp::check(&with).unwrap().candidates, 1);
    }

    #[test]
    fn what_no_peer_has_reason_to_say_is_refused() {
        let good = sdp(1, "actpass");
        let with = |line: &str| format!("{good}{line}\r\n");
        let without = |name: &str| -> String {
            good.lines().filter(|line| !line.contains(name)).map(|line| format!("{line}\r\n")).collect()
        };
        for (text, error) in [
            (String::new(), SdpError::NotSdp),
            ("hello".to_owned(), SdpError::NotSdp),
            ("v=0".to_owned(), SdpError::NotData),
            (with("v=0"), SdpError::NotSdp),
            (with("a=x\u{0}"), SdpError::NotSdp),
            (with("audio"), SdpError::NotSdp),
            (with("m=audio 9 UDP/TLS/RTP/SAVPF 111"), SdpError::NotData),
            (with("m=application 9 UDP/DTLS/SCTP webrtc-datachannel"), SdpError::NotData),
            (good.replace("application 9", "application 0"), SdpError::NotData),
            (good.replace("application", "video"), SdpError::NotData),
            (without("fingerprint"), SdpError::NoFingerprint),
            (good.replace("sha-256", "sha-1"), SdpError::NoFingerprint),
            (good.replace("01:01:", "01:"), SdpError::NoFingerprint),
            (good.replace("01:01:", "zz:01:"), SdpError::NoFingerprint),
            (without("ice-ufrag"), SdpError::NoCredentials),
            (without("ice-pwd"), SdpError::NoCredentials),
            (good.replace("pFL5", "pFL"), SdpError::NoCredentials),
            (good.replace("4pZlmHcUZOGcUBmcpzGKIZ0k", "short"), SdpError::NoCredentials),
            (with(&format!("a={}", "x".repeat(MAX_LINE_BYTES))), SdpError::TooLong),
            (with(&"a=x\r\n".repeat(MAX_LINES)), SdpError::TooLong),
            (with(&"a=xxxxxxxxxxxxxx\r\n".repeat(1000)), SdpError::TooLong),
        ] {
            assert_eq!(Sdp::check(&text).map(drop), Err(error), "{text}");
        }
    }
}
