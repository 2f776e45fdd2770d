//! The DNS as a page can ask it: over HTTPS (RFC 8484), of a resolver that the person has chosen.

use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, rdata::RData};
use weft_core::{
    node::Input,
    peers::{MAX_TEXT_BYTES, MAX_TEXTS},
    swarm::InputSender,
};

use crate::{download::download, settings};

/// The most bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;
const MEDIA_TYPE: &str = "application/dns-message";

/// Asks for the TXT records of a name; the answer is an input for the driver.
pub(crate) fn resolve(name: String, inputs: InputSender) {
    wasm_bindgen_futures::spawn_local(async move {
        let outcome = texts(&name).await;
        inputs.send(Input::Resolved { name, outcome });
    });
}

async fn texts(name: &str) -> Result<Vec<String>, String> {
    let resolver = settings::resolver();
    let query = base64url(&question(name).ok_or("it is no name in the DNS")?);
    let joint = if resolver.contains('?') { '&' } else { '?' };
    let answer = download(&format!("{resolver}{joint}dns={query}"), Some(MEDIA_TYPE), MAX_ANSWER).await;
    let answer = answer.map_err(|_| format!("the resolver {resolver} does not answer"))?;
    let answer = answer.ok_or_else(|| format!("the resolver {resolver} is not there"))?;
    read(&answer).map_err(|reason| format!("the resolver {resolver} answers {reason}"))
}

/// The question for the TXT records of a name, as a DNS message (RFC 1035) with the id 0, so that answers can be cached.
fn question(name: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(0);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    let name = Name::new(name).ok()?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::TXT), QCLASS::CLASS(CLASS::IN), false));
    packet.build_bytes_vec().ok()
}

/// The strings of the TXT records in an answer, the parts of each joined.
///
/// # Errors
/// In words, when it is none.
fn read(answer: &[u8]) -> Result<Vec<String>, String> {
    let packet = Packet::parse(answer).map_err(|_| "nonsense".to_owned())?;
    match packet.rcode() {
        RCODE::NoError => {}
        RCODE::NameError => return Ok(Vec::new()),
        other => return Err(format!("with an error ({other:?})")),
    }
    let texts = packet.answers.iter().filter_map(|record| match &record.rdata {
        RData::TXT(txt) => {
            let mut bytes = Vec::new();
            for (key, value) in txt.iter_raw() {
                bytes.extend_from_slice(key);
                if let Some(value) = value {
                    bytes.push(b'=');
                    bytes.extend_from_slice(value);
                }
            }
            (bytes.len() <= MAX_TEXT_BYTES).then(|| String::from_utf8(bytes).ok())?
        }
        _ => None,
    });
    Ok(texts.take(MAX_TEXTS).collect())
}

/// The alphabet of RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use simple_dns::{ResourceRecord, rdata::TXT};
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn the_question_is_that_of_the_rfc_but_for_its_type() {
        // RFC 8484, section 4.1.1, asks for the address of www.example.com; byte 30 is the type.
        let mut question = question("www.example.com").unwrap();
        assert_eq!(question[30], 16);
        question[30] = 1;
        assert_eq!(base64url(&question), "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB");
    }

    #[test]
    fn the_parts_of_a_record_are_joined_and_other_records_left_out() {
        let mut packet = Packet::new_reply(0);
        let name = Name::new("_dnsaddr.example").unwrap();
        let txt =
            TXT::new().with_string("dnsaddr=/ip4/192.0.2.1").unwrap().with_string("/tcp/1/p2p/=x").unwrap();
        let long = "x".repeat(250);
        let long = (0..4).fold(TXT::new(), |txt, _| txt.with_string(&long).unwrap());
        for rdata in [RData::TXT(txt), RData::TXT(long), RData::A(core::net::Ipv4Addr::LOCALHOST.into())] {
            packet.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 60, rdata));
        }
        let bytes = packet.build_bytes_vec().unwrap();
        assert_eq!(read(&bytes).unwrap(), ["dnsaddr=/ip4/192.0.2.1/tcp/1/p2p/=x"]);
        for length in 0..bytes.len() {
            let _ = read(&bytes[..length]);
        }
        assert!(read(b"no DNS").is_err());
    }

    #[test]
    fn a_name_that_is_not_there_has_no_records_and_a_failure_is_none() {
        let mut packet = Packet::new_reply(0);
        *packet.rcode_mut() = RCODE::NameError;
        assert_eq!(read(&packet.build_bytes_vec().unwrap()), Ok(Vec::new()));
        *packet.rcode_mut() = RCODE::ServerFailure;
        assert!(read(&packet.build_bytes_vec().unwrap()).is_err());
    }
}
